"""The command that puts polyseme itself on trial: audit."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyseme.checks.core.commands.options import TheoryFile
from polyseme.checks.core.terminal import plain_errors, progress_bar
from polyseme.errors import PolysemeError

if TYPE_CHECKING:
    from polyseme.checks.core.theory import AuditMaterial, Plant, Theory


def audit(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write audit.json and audit.html here.")] = Path("out/audit"),
    only: Annotated[
        str, typer.Option(metavar="GLOB", help="Plant only the errors whose operator matches, for example 'sign'.")
    ] = "*",
    trials: Annotated[
        int, typer.Option(help="Random regimes for the detection rate of a 1% error; 299 show 0.99. 0: none.")
    ] = 300,
    runs: Annotated[int, typer.Option(help="Runs of true claims. 0: none.")] = 3000,
    seed: Annotated[int, typer.Option(help="The seed of the random regimes and of the true claims.")] = 0,
    plant: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.py",
            help="Plant an error of your own alone: a file with patch(recursion) -> recursion. It is run: only one that you trust.",
        ),
    ] = None,
    theory_file: TheoryFile = None,
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
        from polyseme.checks.core.theories import theory_of

        theory = theory_of(theory_file=theory_file)
        material = _material(theory)
        plants = [_own(plant, material)] if plant else list(_chosen(only, material))
        found = Audit(plants=[])
        try:
            found = _run(found, theory, plants, trials=0 if plant else trials, runs=0 if plant else runs, seed=seed)
        except KeyboardInterrupt:
            # The lists were filled as the audit went on.
            found = Audit(plants=found.plants, rates=found.rates, true_claims=found.true_claims, interrupted=True)
        write(found, out)
        print_tables(found)
        typer.echo("\n".join([*found.sentences(), f"Page: {out / 'audit.html'}"]))
    if found.interrupted:
        raise typer.Exit(130)
    raise typer.Exit(0 if found.is_sound else 1)


def _run(found: "Audit", theory: "Theory", plants: "list[Plant]", *, trials: int, runs: int, seed: int) -> "Audit":  # noqa: F821
    from polyseme.checks.core.audit.rates import rates
    from polyseme.checks.core.audit.trial import Bench, try_plants
    from polyseme.checks.core.audit.true_claims import false_alarms
    from polyseme.checks.core.budget import even_share, family_size

    level = even_share(family_size(theory.claims))
    with progress_bar("plant errors") as progress:

        def announce(caught: object) -> None:
            found.plants.append(caught)  # pyright: ignore[reportArgumentType]
            progress(len(found.plants), len(plants))

        try_plants(plants, Bench(theory=theory, level=level), announce=announce)
    detection = _material(theory).detection
    if trials and detection:
        with progress_bar(f"errors of {detection.delta:.0%} in random regimes") as progress:
            found.rates.extend(rates(theory, detection, trials=trials, level=level, seed=seed, progress=progress))
    if runs:
        with progress_bar("true claims") as progress:
            for one in false_alarms(theory, runs=runs, level=level, seed=seed, progress=progress):
                found.true_claims.append(one)
    return found


def _material(theory: "Theory") -> "AuditMaterial":
    if theory.audit is None:
        raise PolysemeError(
            f"the theory {theory.name} plants no errors, expected some; give it audit = AuditMaterial(...) (docs/own_theory.md)"
        )
    return theory.audit


def _chosen(only: str, material: "AuditMaterial") -> "Iterator[Plant]":
    import fnmatch

    plants = list(material.plants())
    operators = list(dict.fromkeys(plant.operator for plant in plants))
    chosen = [plant for plant in plants if fnmatch.fnmatchcase(plant.operator, only)]
    if not chosen:
        raise PolysemeError(f"--only '{only}' matches no operator; type one of {', '.join(map(repr, operators))}")
    yield from chosen


def _own(path: Path, material: "AuditMaterial") -> "Plant":
    """A user's patch as the one planted error; PolysemeError for whatever is wrong with the file."""
    from polyseme.checks.core.user_files import run_file

    if material.from_user is None:
        raise PolysemeError("got --plant for a theory that takes no errors of a user's; leave it out")
    module = run_file(path, "an edit of the recursion")
    patch = getattr(module, "patch", None)
    if not callable(patch):
        raise PolysemeError(
            f"{path}: got a file without a function patch, expected patch(recursion) that returns the edited recursion; type "
            "def patch(recursion): ... (docs/own_claims.md has one)"
        )
    try:
        return material.from_user(path.name, patch)  # pyright: ignore[reportArgumentType]  (what it gives is checked)
    except (Exception, SystemExit) as problem:  # whatever a user's function does is a sentence about the file
        raise PolysemeError(
            f"{path}: patch(recursion) failed with {type(problem).__name__} ({problem}), expected an edited Recursion; "
            "type dataclasses.replace(recursion, gradient=...)"
        ) from None
