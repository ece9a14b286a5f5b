"""The command that puts polyseme itself on trial: audit."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyseme.checks.core.terminal import plain_errors, progress_bar
from polyseme.errors import PolysemeError

if TYPE_CHECKING:
    from polyseme.checks.multi_concept.audit.plants import Plant


def audit(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write audit.json and audit.html here.")] = Path("out/audit"),
    only: Annotated[
        str, typer.Option(metavar="GLOB", help="Plant only the errors whose operator matches, for example 'sign'.")
    ] = "*",
    trials: Annotated[
        int, typer.Option(help="Random regimes for the detection rate of a 1% error; 299 show 0.99. 0: none.")
    ] = 300,
    runs: Annotated[int, typer.Option(help="Runs of true claims. 0: none.")] = 3000,
    seed: Annotated[int, typer.Option(help="The seed of the random regimes and of the bank.")] = 0,
    plant: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.py",
            help="Plant an error of your own alone: a file with patch(recursion) -> recursion. It is run: only one that you trust.",
        ),
    ] = None,
) -> None:
    """Plant wrong theorems and count what is caught; try true ones thousands of times and count false alarms.

    Exit status: 0 every error refuted or proved to be none, and no false alarm; 1 an error missed, or a false alarm;
    2 bad input; 130 interrupted, with what had been done until then written.

    Example: polyseme audit --only 'coefficient' --trials 50 --runs 0

    Example: polyseme audit --plant docs/examples/wrong_theory.py
    """
    with plain_errors():
        for name, value in (("trials", trials), ("runs", runs), ("seed", seed)):
            if value < 0:
                raise PolysemeError(f"got --{name} {value}, expected a whole number of at least 0; type --{name} 0")
        from polyseme.files import require_writable

        require_writable(out, folder=True)
        from polyseme.checks.core.audit.page import Audit, print_tables, write

        plants = [_own(plant)] if plant else list(_chosen(only))
        found = Audit(plants=[])
        try:
            found = _run(found, plants, trials=0 if plant else trials, runs=0 if plant else runs, seed=seed)
        except KeyboardInterrupt:
            # The lists were filled as the audit went on.
            found = Audit(plants=found.plants, rates=found.rates, bank=found.bank, interrupted=True)
        write(found, out)
        print_tables(found)
        typer.echo("\n".join([*found.sentences(), f"Page: {out / 'audit.html'}"]))
    if found.interrupted:
        raise typer.Exit(130)
    raise typer.Exit(0 if found.is_sound else 1)


def _run(found: "Audit", plants: "list[Plant]", *, trials: int, runs: int, seed: int) -> "Audit":  # noqa: F821
    from polyseme.checks.core.audit.rates import rates
    from polyseme.checks.core.audit.trial import Bench, try_plants
    from polyseme.checks.core.audit.true_claims import balances
    from polyseme.checks.core.budget import even_share, family_size
    from polyseme.checks.multi_concept.claims import CLAIMS

    level = even_share(family_size(CLAIMS))
    with progress_bar("plant errors") as progress:

        def announce(caught: object) -> None:
            found.plants.append(caught)  # pyright: ignore[reportArgumentType]
            progress(len(found.plants), len(plants))

        try_plants(plants, Bench(level=level), announce=announce)
    if trials:
        with progress_bar("errors of 1% in random regimes") as progress:
            found.rates.extend(rates(trials=trials, level=level, seed=seed, progress=progress))
    if runs:
        with progress_bar("true claims") as progress:
            for balance in balances(runs=runs, level=level, seed=seed, progress=progress):
                found.bank.append(balance)
    return found


def _chosen(only: str) -> "Iterator[Plant]":
    import fnmatch

    from polyseme.checks.multi_concept.audit.plants import all_plants

    plants = list(all_plants())
    operators = list(dict.fromkeys(plant.operator for plant in plants))
    chosen = [plant for plant in plants if fnmatch.fnmatchcase(plant.operator, only)]
    if not chosen:
        raise PolysemeError(f"--only '{only}' matches no operator; type one of {', '.join(map(repr, operators))}")
    yield from chosen


def _own(path: Path) -> "Plant":
    """A user's patch as the one planted error; PolysemeError for whatever is wrong with the file."""
    from polyseme.checks.core.own_claims import run_file
    from polyseme.checks.multi_concept.audit.plants import from_user

    module = run_file(path, "an edit of the recursion")
    patch = getattr(module, "patch", None)
    if not callable(patch):
        raise PolysemeError(
            f"{path}: got a file without a function patch, expected patch(recursion) that returns the edited recursion; type "
            "def patch(recursion): ... (docs/own_claims.md has one)"
        )
    try:
        return from_user(path.name, patch)  # pyright: ignore[reportArgumentType]  (what it gives is checked)
    except (Exception, SystemExit) as problem:  # whatever a user's function does is a sentence about the file
        raise PolysemeError(
            f"{path}: patch(recursion) failed with {type(problem).__name__} ({problem}), expected an edited Recursion; "
            "type dataclasses.replace(recursion, gradient=...)"
        ) from None
