"""The command that shows what was judged: report."""

from pathlib import Path
from typing import Annotated

import typer

from polyseme.checks.core.commands.options import TheoryFile
from polyseme.checks.core.terminal import plain_errors


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Folders that polyseme verify wrote, for example out/default."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Write the page here; DIR/report.html if absent, out/comparison.html for several DIR.",
        ),
    ] = None,
    theory_file: TheoryFile = None,
) -> None:
    """Write the report of a run again from its folder, or compare several runs side by side. Nothing is run.

    One DIR gives the same page as `verify` wrote, from results.json, report.json and figures/*.svg. Several give one page
    with a table of claims against runs, the keys in which their regimes differ, and their figures next to each other.

    Example: polyseme report out/default

    Example: polyseme report out/default out/rate --out out/comparison.html
    """
    with plain_errors():
        from polyseme.checks.core.report.compare import load_sides, write_comparison
        from polyseme.checks.core.report.page import write_report
        from polyseme.checks.core.report.run import load_run
        from polyseme.checks.core.theories import theory_of
        from polyseme.checks.core.theory import Theory
        from polyseme.files import require_writable

        def theory() -> Theory:
            return theory_of(theory_file=theory_file)

        several = len(folders) > 1
        path = out or (Path("out") / "comparison.html" if several else folders[0] / "report.html")
        if several:
            sides = load_sides(folders, older=theory)
            require_writable(path)
            write_comparison(path, sides)
        else:
            run = load_run(folders[0], older=theory)
            require_writable(path)
            write_report(path, run)
        typer.echo(f"{'Comparison' if several else 'Report'}: {path}")
