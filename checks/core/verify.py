"""A whole verification of one regime: simulate, integrate, try every claim, write results, figures and report."""

import platform
import time
from collections.abc import Callable, Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from polyseme.checks.core.budget import SUITE_FALSE_ALARM, even_share, family_size
from polyseme.checks.core.claim import Claim
from polyseme.checks.core.evaluation import evaluate_claim, settle_records
from polyseme.checks.core.parallel import ParallelClaims
from polyseme.checks.core.provenance import Record, close_over_uses
from polyseme.checks.core.report.page import write_report
from polyseme.checks.core.report.run import Equation, Run, save_run
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.context import Effort, TrainingContext
from polyseme.checks.multi_concept.curves import Curves, level_of, noisy_curves, simulate_ensemble, theory_curves
from polyseme.checks.multi_concept.out_of_distribution.curves import (
    DEFAULT,
    Elsewhere,
    can_keep_weights,
    elsewhere,
    thinned,
    without_weights,
)
from polyseme.checks.multi_concept.out_of_distribution.scenarios import scenario
from polyseme.checks.multi_concept.report_figures import exhibits
from polyseme.files import save_json, save_npz
from polyseme.theory.multi_concept.article.notation import fates, notation
from polyseme.theory.multi_concept.article.show import definitions, equations, latex, text
from polyseme.theory.multi_concept.derivation.derive import Recursion, derive
from polyseme.theory.multi_concept.regime import Regime

Progress = Callable[[int, int], None]

PACKAGES = ("jaxtyping", "jinja2", "latex2mathml", "matplotlib", "numpy", "pydantic", "scipy", "sympy", "torch")


def verify(
    regime: Regime,
    claims: tuple[Claim, ...],
    out: Path,
    *,
    registered: Sequence[Claim],
    name: str,
    replay: str,
    again: str = "",
    announce: Callable[[Record], None],
    progress: Callable[[str], Progress],
    drop: Collection[str] = (),
    effort: Effort = "small",
) -> list[Record]:
    """Try `claims` on `regime` and write results.json, trajectories, figures, report.json and report.html into `out`.

    `registered` are all claims that share the false-alarm budget, those tried among them; hypotheses with a key in `drop`
    are not asked for. `replay` is the command of which each claim's is made, `again` that of the whole where it has more options. `announce` is called with each record as it is judged, and once more if the others change it;
    `progress(task)` gives a callback for a long task. `effort` is that of `TrainingContext`.
    Returns the records; see `court.exit_status`.
    """
    start = time.perf_counter()
    family = family_size(registered)
    context = TrainingContext(regime, level=even_share(family), effort=effort)
    with ParallelClaims(claims, context, replay=replay, drop=drop) as parallel:
        shown_elsewhere = any(claim.family == "ood" for claim in claims) and can_keep_weights(regime)
        initial, simulation = simulate_ensemble(
            regime, keep_weights=shown_elsewhere, progress=progress("train the full model")
        )
        level = level_of(regime, initial)
        integrated = noisy_curves if level == "N" else theory_curves
        theory = integrated(regime, initial, progress=progress(f"integrate level {level or 'B'}"))
        curves = Curves(simulation=without_weights(simulation), theory=theory, level=level)
        found: list[Elsewhere] = []
        if shown_elsewhere:
            laws = [scenario(each) for each in DEFAULT]
            found = elsewhere(
                regime, initial, thinned(simulation), theory, laws, progress=progress("test on other laws")
            )
        records = _tried(claims, context, parallel, replay=replay, announce=announce, drop=drop, waiting=progress)
    first = [record["verdict"] for record in records]
    settle_records(records, family)
    for before, record in zip(first, records, strict=True):
        if record["verdict"] != before:
            announce(record)
    close_over_uses(records)

    # First what took long, then what is drawn from it.
    save_json(out / "results.json", records)
    save_npz(out / "simulation.npz", curves.simulation)
    save_npz(out / "theory.npz", curves.theory)
    figures = list(exhibits(regime, curves, found, records, out, name=name))
    run = Run(
        records=records,
        equations=report_equations(_recursion(regime, level)),
        notation=notation(_recursion(regime, level)),
        blocks=_blocks(_recursion(regime, level)),
        partial=len(claims) < len(registered),
        total=len(registered),
        figures=figures,
        regime_tables=regime.model_dump(),
        provenance=_provenance(regime, context, family, name=name, seconds=time.perf_counter() - start),
        replay=again or replay,
    )
    save_run(out, run)
    write_report(out / "report.html", run)
    return records


def _tried(
    claims: Sequence[Claim],
    context: TrainingContext,
    parallel: ParallelClaims,
    *,
    replay: str,
    announce: Callable[[Record], None],
    drop: Collection[str],
    waiting: Callable[[str], object],
) -> list[Record]:
    """The records in the order of the claims, each announced when it is known; `waiting` is told which one is being tried."""
    found: dict[str, Record] = {}

    def take(records: list[Record]) -> None:
        for record in records:
            found[record["id"]] = record
            announce(record)

    def try_here(claim: Claim) -> None:
        # A context shares what it has run, which a claim of unknown origin may change: such a claim has one of its own.
        here = (
            context if claim.id in ours else TrainingContext(context.regime, level=context.level, effort=context.effort)
        )
        waiting(claim.id)
        take([evaluate_claim(claim, here, replay=replay, drop=drop)])

    ours = {claim.id for claim in CLAIMS}
    for claim in claims:
        take(parallel.collect())
        if claim.id not in parallel.ids:
            try_here(claim)
    parallel.one_more()
    while parallel.is_working():
        take(parallel.collect(seconds=0.5))
    for claim in claims:
        if claim.id not in found:  # its process ended by itself
            try_here(claim)
    return [found[claim.id] for claim in claims]


def report_equations(recursion: Recursion) -> list[Equation]:
    """The executed objects, printed."""
    rows = [
        Equation(caption=f"definition of {text(name)}", latex=f"{latex(name)} = {latex(meaning)}")
        for name, meaning in definitions(recursion)
    ]
    return rows + [
        Equation(caption=f"update of {text(x)}", latex=rf"{latex(x)} \leftarrow {latex(right)}")
        for x, right in equations(recursion)
    ]


def _recursion(regime: Regime, level: Literal["B", "N"] | None) -> Recursion:
    """The recursion of the regime's loss and activation that the figure draws."""
    return derive(level or "B", loss=regime.training.loss, activation=regime.model.activation)


def _blocks(recursion: Recursion) -> list[tuple[str, str, str, str]]:
    """Matrix, kinds of blocks, whether they live, and why."""
    return [
        (
            matrix,
            ", ".join(f"{s}{t}" if len(s + t.rstrip("'")) == 2 else f"{s} {t}" for s, t in kinds),
            "yes" if lives else "no",
            reason,
        )
        for matrix, lives, kinds, reason in fates(recursion)
    ]


def _provenance(regime: Regime, context: TrainingContext, family: int, *, name: str, seconds: float) -> dict[str, Any]:
    return {
        "regime": name,
        "seconds": seconds,
        "regime hash (SHA-256)": regime.digest(),
        "effort": context.effort,
        "seeds": {"first seed": regime.ensemble.seed, "members": regime.ensemble.seeds},
        "false-alarm budget": {
            "whole suite": SUITE_FALSE_ALARM,
            "statistical claims": family,
            "each of them, true claims refuted": even_share(family),
            "each of them, false claims supported": even_share(family),
        },
        "versions": {package: version(package) for package in ("polyseme", *PACKAGES)},
        "simulation": context.versions(),
        "Python": platform.python_version(),
    }
