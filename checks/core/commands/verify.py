"""Commands that judge: claims, verify."""

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyseme.checks.core.commands.options import ClaimFiles, Dropped, TheoryFile
from polyseme.checks.core.terminal import plain_errors, progress_bar
from polyseme.errors import PolysemeError

if TYPE_CHECKING:
    from polyseme.checks.core.claim import Claim
    from polyseme.checks.core.theory import Theory


class Effort(StrEnum):
    """Two declared designs."""

    small = "small"
    full = "full"


def claims(claim_files: ClaimFiles = None, theory_file: TheoryFile = None) -> None:
    """List the claims: id, statement, how they are judged, and the keys of their hypotheses.

    A claim about any regime looks at none and says the same in each. Statistical claims share the budget of false alarms.

    Example: polyseme claims

    Example: polyseme claims --theory docs/examples/noisy_quadratic.py
    """
    with plain_errors():
        from polyseme.checks.core.theories import theory_of

        registry, problems = registry_with(theory_of(theory_file=theory_file), claim_files)
        for claim in registry:
            rules = dict.fromkeys(part.rule.name for part in claim.parts)
            how = f"{', '.join(rules)}{', statistical' if claim.is_statistical else ''}"
            typer.echo(f"{claim.id}\n    {claim.statement}\n    judged: {how}; about {claim.scope}")
            if claim.asked:
                typer.echo(f"    needs: {', '.join(x.key for x in claim.asked)}")
    end_with(problems)


def verify(
    regime_file: Annotated[
        Path | None, typer.Argument(metavar="[REGIME.toml]", help="The regime; the shipped default if absent.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Evaluate only the claims whose id matches, for example 'closure/*'; may be given several times.",
        ),
    ] = None,
    this_regime: Annotated[
        bool,
        typer.Option(
            "--this-regime", help="Leave out the claims that look at no regime: they say the same in every one."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write results.json, figures and report.html here; out/NAME if absent, out/NAME-part where claims are left out.",
        ),
    ] = None,
    effort: Annotated[
        Effort,
        typer.Option(
            help="The size of the claims that need large ensembles: 'full' has four times the seeds and takes several times as long as 'small'; "
            "what it gave stands in benchmarks/RESULTS.md.",
        ),
    ] = Effort.small,
    claim_files: ClaimFiles = None,
    theory_file: TheoryFile = None,
    drop: Dropped = None,
) -> None:
    """Evaluate every claim on a regime, each with its negative control, and write the report.

    Exit status: 0 all applicable claims supported; 1 some claim refuted or some check broken; 2 bad input, a bad claim
    file included, after the other claims were tried; 3 inconclusive, missing, or nothing to try; 130 interrupted.

    Example: polyseme verify regimes/minimal.toml --only 'gradient/*' --out out/gradient

    Example: polyseme verify regimes/rate.toml --this-regime

    Example: polyseme verify regimes/rate.toml --only 'exponential/*' --effort full --out out/rate

    Example: polyseme verify regimes/minimal.toml --only closure/mirrored_population_descent_equals_level_s --drop mirrored

    Example: polyseme verify --theory docs/examples/noisy_quadratic.py
    """
    with plain_errors():
        from polyseme.checks.core.theories import theory_of

        theory = theory_of(regime_file, theory_file)
        path = regime_file or theory.default
        regime, name = (theory.regime.load(path), path.stem) if path else (theory.regime(), theory.name)
        from polyseme.files import require_writable

        # A part never overwrites the whole unless it is told to.
        folder = out or Path("out") / (name if (only or ["*"]) == ["*"] and not this_regime else f"{name}-part")
        require_writable(folder, folder=True)
        from polyseme.checks.core.choice import chosen_claims, dropped_keys
        from polyseme.checks.core.evaluation import exit_status
        from polyseme.checks.core.report.summary import summary_sentence
        from polyseme.checks.core.verify import verify as run

        registry, problems = registry_with(theory, claim_files)
        try:
            chosen = chosen_claims(only or (), registry, this_regime=this_regime, said=("--only", "--this-regime"))
        except PolysemeError:
            end_with(problems)  # what is not found may stand in the file that is bad
            raise
        dropped = dropped_keys(drop or (), chosen)
        replay = replay_line(regime_file, claim_files, effort, theory_file=theory_file)
        with _announced() as (announce, progress):
            records = run(
                regime,
                chosen,
                folder,
                theory=theory,
                registered=registry,
                name=name,
                replay=replay,
                again=again_line(replay, only=only, this_regime=this_regime, drop=drop, out=out),
                announce=announce,
                progress=progress,
                drop=dropped,
                effort=effort.value,
            )
        sentence = summary_sentence(records, partial=len(chosen) < len(registry), total=len(registry))
        typer.echo(f"\n{sentence}\nReport: {folder / 'report.html'}")
    end_with(problems)
    raise typer.Exit(exit_status(records))


def registry_with(theory: "Theory", claim_files: Sequence[Path] | None) -> tuple[tuple["Claim", ...], tuple[str, ...]]:
    """All claims of a theory and those of the files; the problems of the files are also reported at once."""
    if not claim_files:
        return theory.claims, ()
    from polyseme.checks.core.own_claims import load_claims

    loaded = load_claims(claim_files, theory.claims)
    for problem in loaded.problems:
        typer.echo(f"polyseme: {problem}", err=True)
    return (*theory.claims, *loaded.claims), loaded.problems


def end_with(problems: Sequence[str]) -> None:
    """Exit status 2 if a claim file was bad, however the claims beside it fared; each problem is reported once more."""
    if problems:
        typer.echo("polyseme: left out, since a claim file is bad:", err=True)
        for problem in problems:
            typer.echo(f"polyseme: {problem}", err=True)
        raise typer.Exit(2)


def again_line(
    replay: str, *, only: Sequence[str] | None, this_regime: bool, drop: Sequence[str] | None, out: Path | None
) -> str:
    """The whole call, with the options that say what is tried and where it is written."""
    parts = [part for glob in only or () if glob != "*" for part in ("--only", glob)]
    parts += ["--this-regime"] if this_regime else []
    parts += [part for key in drop or () for part in ("--drop", key)]
    parts += ["--out", os.path.relpath(out)] if out else []
    return f"{replay} {shlex.join(parts)}" if parts else replay


def replay_line(
    regime_file: Path | None,
    claim_files: Sequence[Path] | None,
    effort: Effort = Effort.small,
    *,
    theory_file: Path | None = None,
) -> str:
    """`polyseme verify` with the regime, the theory, the claim files and the effort, to be pasted into a shell."""
    regime = [os.path.relpath(regime_file)] if regime_file else []
    theory = ["--theory", os.path.relpath(theory_file)] if theory_file else []
    own = [part for file in claim_files or () for part in ("--claims", os.path.relpath(file))]
    big = ["--effort", effort.value] if effort != Effort.small else []
    return shlex.join(["polyseme", "verify", *regime, *theory, *own, *big])


@contextmanager
def _announced() -> Iterator[tuple[Any, Any]]:
    """Callbacks for a verification: a line on standard output per verdict, and progress on standard error."""
    from polyseme.checks.core.claim import VERDICTS, Verdict

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
