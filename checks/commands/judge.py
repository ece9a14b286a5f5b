"""Commands that judge: claims, verify."""

import os
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from checks.terminal import plain_errors, progress_bar
from theory.setting import load_regime


def claims() -> None:
    """List the registered claims: id and statement.

    Example: polyseme claims
    """
    with plain_errors():
        from checks.claims import CLAIMS

        for claim in CLAIMS:
            typer.echo(f"{claim.id}\n    {claim.statement}")


def verify(
    regime_file: Annotated[
        Path | None, typer.Argument(metavar="[REGIME.toml]", help="The regime; the shipped default if absent.")
    ] = None,
    only: Annotated[
        str, typer.Option(metavar="GLOB", help="Try only the claims whose id matches, for example 'closure/*'.")
    ] = "*",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write results.json, figures and report.html here; out/NAME if absent, out/NAME-part with --only.",
        ),
    ] = None,
) -> None:
    """Try every claim on a regime, each with its wrong twin, and write the report.

    Exit status: 0 all applicable claims supported; 1 some claim refuted or some check broken; 2 bad input;
    3 inconclusive, missing, or nothing to try; 130 interrupted.

    Example: polyseme verify regimes/minimal.toml --only 'gradient/*' --out out/gradient
    """
    with plain_errors():
        path = regime_file or default_regime()
        regime, name = load_regime(path), path.stem
        from checks.files import require_writable

        # A part never overwrites the whole unless it is told to.
        folder = out or Path("out") / (name if only == "*" else f"{name}-part")
        require_writable(folder, folder=True)
        from checks.claims import CLAIMS
        from checks.court import exit_status, select
        from checks.report import summary_sentence
        from checks.verify import verify as run

        chosen = select(only)
        with _announced() as (announce, progress):
            replay = shlex.join(["polyseme", "verify", *([os.path.relpath(path)] if regime_file else [])])
            records = run(
                regime,
                chosen,
                folder,
                registered=CLAIMS,
                name=name,
                replay=replay,
                announce=announce,
                progress=progress,
            )
        sentence = summary_sentence(records, partial=len(chosen) < len(CLAIMS), total=len(CLAIMS))
        typer.echo(f"\n{sentence}\nReport: {folder / 'report.html'}")
    raise typer.Exit(exit_status(records))


@contextmanager
def _announced() -> Iterator[tuple[Any, Any]]:
    """Callbacks for a verification: a line on standard output per verdict, and progress on standard error."""
    from checks.claim import VERDICTS, Verdict

    colours = {Verdict.SUPPORTED: "green", Verdict.REFUTED: "red", Verdict.ERROR: "magenta"}
    with ExitStack() as bar:

        def progress(task: str) -> Any:
            bar.close()  # one bar at a time
            return bar.enter_context(progress_bar(task))

        def announce(record: dict[str, Any]) -> None:
            bar.close()
            verdict = Verdict(record["verdict"])
            typer.secho(f"{VERDICTS[verdict][0]} {verdict:<14}", fg=colours.get(verdict, "yellow"), nl=False)
            typer.echo(f" {record['id']}" + ("" if verdict == Verdict.SUPPORTED else f": {record['sentence']}"))

        yield announce, progress


def default_regime() -> Path:
    """The shipped regime that is judged when none is named."""
    from importlib.resources import files

    return Path(str(files("regimes") / "default.toml"))
