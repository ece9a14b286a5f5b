"""The command that draws where claims hold: map."""

from pathlib import Path
from typing import Annotated

import typer

from polyseme.checks.core.commands.options import ClaimFiles, TheoryFile
from polyseme.checks.core.commands.verify import end_with, registry_with
from polyseme.checks.core.terminal import plain_errors


def map(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a sweep, which may still run.")],
    x: Annotated[
        str | None, typer.Option("--x", metavar="KEY", help="The key across; the first that varies if absent.")
    ] = None,
    y: Annotated[
        str | None,
        typer.Option(
            "--y", metavar="KEY", help="The key upwards; the next that varies if absent. None if one key varies."
        ),
    ] = None,
    claim: Annotated[
        str | None, typer.Option(metavar="ID", help="This claim alone; every claim of the sweep if absent.")
    ] = None,
    show: Annotated[
        str,
        typer.Option(
            metavar="WHAT", help="verdict, margin (measured over allowed), or the name of a fact that is a number."
        ),
    ] = "verdict",
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR2", help="Write here; DIR/maps if absent.")] = None,
    claim_files: ClaimFiles = None,
    theory_file: TheoryFile = None,
) -> None:
    """Draw where claims hold: a map over two keys of a sweep for each claim, as SVG and PDF, with the numbers behind it.

    Of a sweep over one key, besides the seed, a profile: the share supported at each value, or its margins, or a fact.

    Over both the boundaries that the theory predicts, where it predicts one, and the edges of the hypotheses that the sweep
    dropped: what lies between both is what a condition asks in excess.

    Example: polyseme map out/width

    Example: polyseme map out/width --x m --y lam --show margin
    """
    with plain_errors():
        from polyseme.checks.core.sweeps.folder import Folder
        from polyseme.checks.core.theories import theory_in

        theory = theory_in(theory_file) if theory_file else Folder(path=folder).theory()
        registry, problems = registry_with(theory, claim_files)
        end_with(problems)
        from polyseme.checks.core.figures.maps import FOLDER, draw_maps
        from polyseme.files import require_writable

        target = out or folder / FOLDER
        if out is not None:
            require_writable(target, folder=True)
        for path in draw_maps(folder, target, theory, registry, x=x, y=y, claim=claim, show=show):
            typer.echo(f"Written to {path}")
