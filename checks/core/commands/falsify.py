"""Commands that search for what breaks a claim: falsify."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyseme.checks.core.commands.options import ClaimFiles, Dropped, TheoryFile
from polyseme.checks.core.commands.verify import end_with, registry_with, replay_line
from polyseme.checks.core.terminal import plain_errors, progress_bar
from polyseme.errors import PolysemeError

if TYPE_CHECKING:
    from polyseme.checks.core.falsify import Search
    from polyseme.checks.core.theory import Theory


def falsify(
    claim: Annotated[str, typer.Argument(metavar="CLAIM", help="The id of a claim; `polyseme claims` lists them.")],
    budget: Annotated[int, typer.Option(help="How many regimes to try; shrinking takes some more.")] = 200,
    drop: Dropped = None,
    seed: Annotated[int, typer.Option(help="The seed of the search.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="Write the counterexample here; out/falsify/CLAIM.toml if absent."),
    ] = None,
    claim_files: ClaimFiles = None,
    theory_file: TheoryFile = None,
) -> None:
    """Search regimes that satisfy a claim's hypotheses for one that breaks the claim, and shrink it.

    With --drop, regimes where that hypothesis fails: a counterexample shows that it is needed. What is found is written as a
    regime file. Exit status: 0 nothing found; 1 a counterexample; 2 bad input; 3 nothing could be decided; 130 interrupted.

    Example: polyseme falsify closure/population_descent_equals_level_b --budget 100

    Example: polyseme falsify closure/mirrored_population_descent_equals_level_s --drop mirrored
    """
    with plain_errors():
        from polyseme.checks.core.choice import claim_to_break, dropped_keys
        from polyseme.checks.core.theories import key_for, theory_of

        theory = theory_of(theory_file=theory_file)
        registry, problems = registry_with(theory, claim_files)
        try:
            chosen = claim_to_break(claim, registry)
        except PolysemeError:
            end_with(problems)  # what is not found may stand in the file that is bad
            raise
        dropped = dropped_keys(drop or (), [chosen])
        path = out or Path("out") / "falsify" / f"{claim.replace('/', '-')}.toml"
        from polyseme.files import require_writable

        require_writable(path)
        from polyseme.checks.core.budget import even_share, family_size
        from polyseme.checks.core.falsify import search

        level = even_share(family_size(registry))
        with progress_bar(f"search {budget} regimes") as progress:
            found = search(
                chosen,
                theory,
                budget=budget,
                level=level,
                drop=dropped,
                seed=seed,
                progress=lambda so_far: progress(min(len(so_far.outcomes), budget), budget),
            )
        typer.echo(_summary(found))
        if found.counterexample:
            _write(found, path, key_for(theory))
            dropping = [part for key in sorted(dropped) for part in ("--drop", key)]
            replay = replay_line(path, claim_files)
            line = shlex.join([*shlex.split(replay), "--only", claim, *dropping])
            typer.echo(f"Written to {path}\nReplay: {line}\n{_predicted(found, theory, line, level)}")
    end_with(problems)
    if found.interrupted:
        raise typer.Exit(130)
    raise typer.Exit(1 if found.counterexample else 0 if found.decided else 3)


def _summary(found: "Search") -> str:
    """What was tried, what became of it, and the smallest counterexample or the nearest miss, in a few lines."""
    from polyseme.checks.core.claim import VERDICTS
    from polyseme.checks.core.differences import in_words

    counts = found.counts
    each = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]) or "none"
    hypotheses = f"without {', '.join(sorted(found.drop))}" if found.drop else "within its hypotheses"
    lines = [f"{found.claim.id}: {len(found.outcomes)} regimes {hypotheses}: {each}"]
    lines += ["interrupted; the search was not finished"] if found.interrupted else []
    if found.counterexample:
        regime, outcome = found.counterexample
        lines += [f"✗ refuted: {outcome.sentence}", f"  in the smallest regime: {in_words(regime)}"]
    elif found.nearest:
        regime, outcome = found.nearest
        lines += [f"No counterexample. Nearest: {outcome.share:.2g} of what is allowed, in {in_words(regime)}"]
    for verdict, (sentence, number) in found.troubles.items():
        lines += [f"  {number} {verdict}, the first: {sentence}"]
    return "\n".join(lines)


def _predicted(found: "Search", theory: "Theory", replay: str, level: float) -> str:
    """What the replay will say: it tries the negative control too, and judges a sample at one regime's share of the budget."""
    from polyseme.checks.core.evaluation import evaluate_claim

    assert found.counterexample
    regime, _ = found.counterexample
    record = evaluate_claim(found.claim, theory.context(regime, level=level), replay=replay, drop=found.drop)
    return f"It will say: {record['verdict']}: {record['sentence']}"


def _write(found: "Search", path: Path, theory: str) -> None:
    """The counterexample as a regime file: the keys that differ from the defaults."""
    from polyseme.checks.core.differences import as_toml
    from polyseme.files import write_atomic

    assert found.counterexample
    regime, outcome = found.counterexample
    without = f", without {', '.join(sorted(found.drop))}" if found.drop else ""
    head = f"# A counterexample to {found.claim.id}{without}:\n# {' '.join(outcome.sentence.split())}\n\n"
    write_atomic(path, head + as_toml(regime, theory))
