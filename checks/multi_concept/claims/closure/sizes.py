"""A claim about the number of demonstrations and the batch size (P8 of THEORY.md): what they cost."""

from collections.abc import Callable

import numpy as np

from polyseme.checks.core.claim import Claim, NegativeControl, Plan
from polyseme.checks.core.evidence import Counted, Evidence
from polyseme.checks.core.provenance import STATISTICS
from polyseme.checks.core.rules.bound import UpperBound
from polyseme.checks.multi_concept.claims.exponential.error_curve import learnable
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.stochastic.ensembles import Curve, Stream, error_curve, in_chunks
from polyseme.theory.multi_concept.coefficients import project
from polyseme.theory.multi_concept.regime import Regime, parse_regime

# The regime of the error curve (THEORY.md section 6.5), with other L and B.
BASE = parse_regime(
    {
        "concepts": {"K1": 2, "K2": 0, "d_x": 6, "d_y": 6},
        "model": {"m": 16},
        "training": {"steps": 1200, "lam": 2e-4, "gamma": 4000.0},
    },
    source="sizes",
)
DEMONSTRATIONS = {"small": (1, 2, 4, 16), "full": (1, 2, 4, 8, 16, 64)}
BATCHES = (1, 8, 64, 256)
SEEDS = 256
BOTH, ONE = 0.0, 0.3
"""The largest error of a seed that has learned both concepts, and of one that has learned one: 1/4, or a bit more."""
FEW, HALF = 0.1, 0.5

Expected = Callable[[int, int, float], bool | None]
"""Whether seeds come down to an error with L demonstrations and batch B by the end; None where nothing is said."""


def _expected(L: int, batch: int, error: float) -> bool | None:
    if error == BOTH:
        return True if L <= 4 else False if L >= 16 else None
    if L < 16:
        return None
    return True if batch >= 64 else False if batch <= 8 else None


def _always(L: int, batch: int, error: float) -> bool | None:
    del L, batch, error
    return True


def _curve(context: TrainingContext, L: int, batch: int) -> Curve:
    """Seeds from a start of L = 4 that population descent learns, with other prompts."""

    def run() -> Curve:
        of_four = context.at(BASE.replace(prompt={"L": 4}))
        _, start = learnable(of_four)
        regime: Regime = BASE.replace(prompt={"L": L}, training={"batch": batch})
        chunks = in_chunks(
            regime, start["r"], project(start, 2), members=SEEDS, every=40, stream=Stream.GRID, number=(L, batch)
        )
        return error_curve(chunks)

    return context.cached(f"curve at L = {L}, B = {batch}", run)


def _grid(context: TrainingContext, expected: Expected) -> Evidence:
    rows, table = [], {}
    for L in DEMONSTRATIONS[context.effort]:
        for batch in BATCHES:
            of = _curve(context, L, batch)
            survives = ~of.extinct[-1]
            error = of.excess.sum(axis=1) / max(1, survives.sum())
            below = np.flatnonzero(error <= 0.1)
            table[f"L = {L}, B = {batch}"] = {
                "share that goes extinct": float(1 - survives.mean()),
                "error of survivors at the end": float(error[-1]),
                "first record with an error of at most 0.1": int(of.steps[below[0]]) if len(below) else None,
            }
            for name, most in (("both concepts", BOTH), ("one concept", ONE)):
                if (learned := expected(L, batch, most)) is None:
                    continue
                reached = of.errors[-1] <= most
                # Who goes extinct never learns both; that is the floor's affair.
                event = reached if not learned else ~reached & survives if most == BOTH else ~reached
                bound = HALF if most == ONE and not learned else FEW
                title = f"L = {L}, B = {batch}: has {'not ' if learned else ''}learned {name}"
                rows.append(Counted(name=title, hits=int(event.sum()), trials=SEEDS, bound=bound))
    return Evidence(rows=tuple(rows), facts={"seeds": SEEDS, "steps": BASE.training.steps, "grid": table})


RULE = UpperBound(
    reason="a tenth of all seeds is few; at most half that learned one concept is what tells small batches from large ones, of which nearly all did"
)


def _plan(context: TrainingContext) -> Plan:
    cells = ((L, batch, error) for L in DEMONSTRATIONS[context.effort] for batch in BATCHES for error in (BOTH, ONE))
    rows = sum(_expected(*cell) is not None for cell in cells)
    return RULE.design_counts(bound=FEW, truth=0.003, rows=rows, level=context.level, samples=SEEDS)


SIZES = Claim.single(
    id="exponential/demonstrations_and_batch_set_how_long_it_takes",
    statement="In 1200 steps from one start (K1 = 2, m = 16), with up to 4 demonstrations fewer than a tenth of the seeds survive without having learned both "
    "concepts, at every batch size from 1 to 256; with 16 or more fewer than a tenth have learned both. One of the two is then learned by all but a tenth at "
    "batches of 64 and more, and by less than half at batches of up to 8.",
    formula=r"\Pr(\text{survives},\, e(T) > 0) < \tfrac1{10} \ (L \le 4),\quad \Pr(\text{survives},\, e(T) = 0) < \tfrac1{10} \ (L \ge 16)",
    section="7",
    hypotheses=(),
    scope="any regime",
    asserts=lambda: _expected,
    measure=_grid,
    rule=RULE,
    plan=_plan,
    controls=(
        NegativeControl(
            name="no requirement",
            statement="in every cell of the grid survivors have learned both concepts, whatever L and B",
            asserts=lambda: _always,
        ),
    ),
    rests_on=(STATISTICS,),
)

CLAIMS = (SIZES,)
