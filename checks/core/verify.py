"""A whole verification of one regime: run what is shown, judge every claim, write results, figures and report."""

import platform
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from polyseme.checks.core.budget import SUITE_FALSE_ALARM, even_share, family_size
from polyseme.checks.core.claim import Claim
from polyseme.checks.core.context import Context, Effort
from polyseme.checks.core.evaluation import evaluate_claim, settle_records
from polyseme.checks.core.figures.graph import uses_graph
from polyseme.checks.core.figures.margins import measured_against_allowed
from polyseme.checks.core.figures.style import save_figure
from polyseme.checks.core.parallel import ParallelClaims
from polyseme.checks.core.provenance import Record, close_over_uses
from polyseme.checks.core.report.page import write_report
from polyseme.checks.core.report.run import Run, save_run
from polyseme.checks.core.theory import FigureEntry, Progress, Theory
from polyseme.files import save_json, save_npz
from polyseme.regime import BaseRegime

SHOWN_PACKAGES = ("jaxtyping", "jinja2", "latex2mathml", "matplotlib", "pydantic")
"""Distributions whose versions every report shows, besides those of the theory."""


def verify(
    regime: BaseRegime,
    claims: tuple[Claim, ...],
    out: Path,
    *,
    theory: Theory,
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
    `progress(task)` gives a callback for a long task. `effort` is that of `Context`.
    Returns the records; see `evaluation.exit_status`.
    """
    start = time.perf_counter()
    family = family_size(registered)
    context = theory.context(regime, level=even_share(family), effort=effort)
    with ParallelClaims(claims, context, theory, replay=replay, drop=drop) as parallel:
        shown = theory.present(regime, claims, progress=progress) if theory.present else None
        records = _evaluated(
            claims, context, theory, parallel, replay=replay, announce=announce, drop=drop, waiting=progress
        )
    first = [record["verdict"] for record in records]
    settle_records(records, family)
    for before, record in zip(first, records, strict=True):
        if record["verdict"] != before:
            announce(record)
    close_over_uses(records)

    # First what took long, then what is drawn from it.
    save_json(out / "results.json", records)
    for archive, arrays in (shown.arrays if shown else {}).items():
        save_npz(out / f"{archive}.npz", arrays)
    figures = list(shown.figures(records, out, name=name)) if shown else []
    figures = _in_order([*figures, *_of_any_theory(records, out)], theory)
    run = Run(
        records=records,
        steps=theory.steps,
        equations=shown.equations if shown else (),
        notation=shown.notation if shown else (),
        blocks=shown.blocks if shown else (),
        blocks_caption=shown.blocks_caption if shown else "",
        partial=len(claims) < len(registered),
        total=len(registered),
        figures=figures,
        regime_tables=regime.model_dump(),
        meanings={key.name: key.meaning for key in type(regime).keys().values()},
        provenance=_provenance(theory, regime, context, family, name=name, seconds=time.perf_counter() - start),
        replay=again or replay,
        sections=tuple(theory.sections()),
    )
    save_run(out, run)
    write_report(out / "report.html", run)
    return records


_MARGINS = "Every claim's measured and allowed value, and its negative control's."
_USES = (
    "An arc leads from each claim to those further down that use it; a full dot is supported with all that it rests on."
)


def _of_any_theory(records: list[Record], out: Path) -> list[FigureEntry]:
    """The figures that need nothing but records."""
    drawn = (
        ("margins", "Measured against allowed", measured_against_allowed(records), _MARGINS),
        ("uses", "What rests on what", uses_graph(records), _USES),
    )
    entries = []
    for stem, title, figure, caption in drawn:
        if figure is not None:
            svg, _ = save_figure(figure, out / "figures", stem)
            entries.append(FigureEntry(title=title, caption=caption, svg=svg.read_text(encoding="utf-8"), stem=stem))
    return entries


def _in_order(figures: Sequence[FigureEntry], theory: Theory) -> list[FigureEntry]:
    """The figures in the theory's order, with the claims that they belong to."""
    order = {stem: place for place, stem in enumerate(theory.figure_claims)}
    placed = sorted(figures, key=lambda entry: order.get(entry.stem, len(order)))
    return [replace(entry, claims=theory.figure_claims.get(entry.stem, entry.claims)) for entry in placed]


def _evaluated(
    claims: Sequence[Claim],
    context: Context,
    theory: Theory,
    parallel: ParallelClaims,
    *,
    replay: str,
    announce: Callable[[Record], None],
    drop: Collection[str],
    waiting: Callable[[str], object],
) -> list[Record]:
    """The records in the order of the claims, each announced when it is known; `waiting` gets the one that is being tried."""
    found: dict[str, Record] = {}

    def take(records: list[Record]) -> None:
        for record in records:
            found[record["id"]] = record
            announce(record)

    def try_here(claim: Claim) -> None:
        # A context shares what it has run, which a claim of unknown origin may change: such a claim has one of its own.
        here = (
            context if claim.id in ours else theory.context(context.regime, level=context.level, effort=context.effort)
        )
        waiting(claim.id)
        take([evaluate_claim(claim, here, replay=replay, drop=drop)])

    ours = {claim.id for claim in theory.claims}
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


def _provenance(
    theory: Theory, regime: BaseRegime, context: Context, family: int, *, name: str, seconds: float
) -> dict[str, Any]:
    members = regime.model_dump().get("ensemble", {}).get("seeds")
    packages = dict.fromkeys(("polyseme", *theory.packages, *SHOWN_PACKAGES))
    return {
        "theory": theory.name,
        "regime": name,
        "seconds": seconds,
        "regime hash (SHA-256)": regime.digest(),
        "effort": context.effort,
        "seeds": {"first seed": regime.seed_value} | ({"members": members} if members is not None else {}),
        "false-alarm budget": {
            "whole suite": SUITE_FALSE_ALARM,
            "statistical claims": family,
            "each of them, true claims refuted": even_share(family),
            "each of them, false claims supported": even_share(family),
        },
        "versions": {package: version(package) for package in sorted(packages)},
        "simulation": context.versions(),
        "Python": platform.python_version(),
    }
