"""Commands over many regimes: sweep."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyseme.checks.core.commands.options import ClaimFiles, TheoryFile
from polyseme.checks.core.commands.verify import end_with, registry_with
from polyseme.checks.core.terminal import plain_errors, progress_bar
from polyseme.errors import PolysemeError

if TYPE_CHECKING:
    from polyseme.checks.core.sweeps.run import Layout, State
    from polyseme.checks.core.theories import TheoryReference

_SECONDS_BETWEEN_LINES = 60.0


def sweep(
    grid_file: Annotated[
        Path,
        typer.Argument(
            metavar="GRID.toml", help="A regime file some of whose keys go through many values; see regimes/sweeps."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Keep every point and the table here.")],
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Send the points to the Dask cluster whose scheduler is there, for example tcp://10.0.0.1:8786.",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(help="So many processes of this machine, with one thread each; one for each core if absent."),
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try the points again that were quarantined because a check broke.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Lay out the points, say what would be tried, and stop.")
    ] = False,
    point: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="Print the regime of this point of the table as a regime file, and stop."),
    ] = None,
    claim_files: ClaimFiles = None,
    theory_file: TheoryFile = None,
) -> None:
    """Judge claims at every point of a design: where do they hold?

    Each point is kept as it is judged. After Ctrl-C, a crash or a lost cluster, type the same command: it goes on with what is
    missing. DIR/results.parquet has a row for each point and claim, also while the sweep runs. A point at which a check breaks is quarantined with
    its traceback, in DIR/quarantine, and the sweep goes on.

    Exit status: 0 every point judged, whatever the verdicts; 1 some quarantined; 2 bad input, or the scheduler is gone; 130 interrupted.

    Example: polyseme sweep regimes/sweeps/width.toml --out out/width

    Example: polyseme sweep regimes/sweeps/width.toml --out out/width --scheduler tcp://10.0.0.1:8786

    Example: polyseme sweep regimes/sweeps/width.toml --out out/width --point 24 > point.toml
    """
    with plain_errors():
        if processes is not None and processes < 1:
            raise PolysemeError(
                f"got --processes {processes}, expected a whole number of at least 1; type --processes 2"
            )
        if scheduler and "://" not in scheduler and not Path(scheduler).is_file():
            raise PolysemeError(
                f"got --scheduler {scheduler}, expected the address of a Dask scheduler or its --scheduler-file; type for example tcp://10.0.0.1:8786"
            )
        if scheduler and processes:
            raise PolysemeError("got --processes with --scheduler, which has workers of its own; leave out one of them")
        from polyseme.checks.core.theories import key_for, reference_to, theory_of

        if point is not None:
            from polyseme.checks.core.differences import as_toml
            from polyseme.checks.core.sweeps.folder import Folder

            theory = theory_of(grid_file if grid_file.is_file() else None, theory_file)
            typer.echo(as_toml(Folder(path=out).regime_of(point, theory.regime), key_for(theory)), nl=False)
            return
        theory = theory_of(grid_file, theory_file)
        registry, problems = registry_with(theory, claim_files)
        end_with(problems)
        from polyseme.checks.core.sweeps.folder import QUARANTINE, TABLE, Folder
        from polyseme.checks.core.sweeps.grid import load_grid
        from polyseme.checks.core.sweeps.run import counted, lay_out, run
        from polyseme.checks.core.sweeps.task import files_of
        from polyseme.files import require_writable

        require_writable(out, folder=True)
        grid = load_grid(grid_file, theory, registry)
        if scheduler and grid.sweep.seconds:
            raise PolysemeError(
                f"{grid_file}: [sweep] seconds = {grid.sweep.seconds:g} is for processes of this machine, which can be interrupted, got --scheduler; leave out one of them"
            )
        with progress_bar("lay out the points") as progress:
            layout = lay_out(grid, files=files_of(claim_files), progress=progress)
        typer.echo(_announcement(layout), err=not dry_run)
        folder = Folder(path=out)
        if dry_run:
            kept = folder.done() if folder.exists() else set()
            typer.echo(f"{sum(task.digest in kept for task in layout.tasks())} of them are judged already, in {out}")
            return
        from polyseme.processes import stopping

        with folder.locked(), stopping(threading.Event(), after="point") as stop:
            if retry and (forgotten := folder.forget_quarantined()):
                typer.echo(f"{forgotten} points that were quarantined are tried again", err=True)
            with _pool(scheduler, processes, reference_to(theory)) as pool, _progress() as report:
                state = run(layout, folder, pool, stop, report)
        if others := len(folder.done()) - state.kept:
            typer.echo(f"{out} holds {others} points of other designs, too, which the table leaves out", err=True)
        typer.echo(_summary(state, folder.path / TABLE, folder.path / QUARANTINE, counted(state.verdicts)))
    if state.kept < state.total:
        typer.echo(
            "polyseme: interrupted; every point that was judged is kept: type the same command to go on", err=True
        )
        raise typer.Exit(130)
    raise typer.Exit(1 if state.quarantined else 0)


@contextmanager
def _pool(scheduler: str | None, workers: int | None, theory: "TheoryReference") -> Iterator[Any]:
    from polyseme.checks.core.sweeps import pools
    from polyseme.processes import cores

    with pools.cluster(scheduler, theory) if scheduler else pools.processes(workers or cores(), theory) as pool:
        yield pool


@contextmanager
def _progress() -> Iterator[Callable[["State"], None]]:
    """A bar with verdicts and time left on a terminal; elsewhere a line a minute."""
    from polyseme.checks.core.sweeps.run import counted

    began, said = time.monotonic(), [time.monotonic()]
    with progress_bar("points") as bar:

        def report(state: "State") -> None:
            words = counted(state.verdicts)
            if bar.is_shown:
                bar(state.kept, state.total, note=words)
            elif time.monotonic() - said[0] > _SECONDS_BETWEEN_LINES:
                said[0] = time.monotonic()
                here = state.kept - state.found
                left = (state.total - state.kept) * (said[0] - began) / max(here, 1)
                typer.echo(
                    f"{state.kept} of {state.total} points, about {left / 60:.0f} minutes left: {words}", err=True
                )

        yield report


def _announcement(layout: "Layout") -> str:
    grid = layout.grid
    lines = [f"{layout.points} points over {', '.join(grid.varied)}; at each: {', '.join(layout.judged.claims)}"]
    if grid.sweep.drop:
        lines += [f"across the edges of: {', '.join(grid.sweep.drop)}"]
    if layout.outside:
        failing = ", ".join(f"{key} at {number}" for key, number in layout.outside.most_common())
        lines += [
            f"{layout.inside} inside the hypotheses that are asked for; these fail, so that a claim is not applicable: {failing}"
        ]
        lines += ["(name one in drop = [...] to judge there, too, or type inside = true to leave such points out)"] * (
            layout.inside < layout.points
        )
    if layout.family:
        lines += [
            f"{layout.family} statistical judgements share the budget of false alarms: {layout.judged.level:.2g} each, in each direction"
        ]
    return "\n".join(lines)


def _summary(state: "State", table: Path, quarantined: Path, words: str) -> str:
    before = f" ({state.found} of them before)" if state.found else ""
    lines = [f"{state.kept} of {state.total} points judged{before}{': ' + words if words else ''}"]
    if state.quarantined:
        lines += [
            f"{state.quarantined} points were quarantined, with the tracebacks of the checks that broke, in {quarantined}; --retry tries them again"
        ]
    return "\n".join([*lines, f"Table: {table}"])
