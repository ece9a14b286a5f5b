"""Claims about the 0-1 error of an ensemble: how fast it falls, and to which floor (THEORY.md sections 5, 6.5 and 6.7).

All seeds start from one state whose concepts population descent learns; the error of each is exact under the prompt law.
What is said of the rate is said of seeds that survive: no concept of theirs goes extinct.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from polyseme.checks.core.claim import Claim, Hypothesis, NegativeControl, OutsideHypotheses, Plan
from polyseme.checks.core.evidence import Estimated, Evidence, Facts
from polyseme.checks.core.provenance import STATISTICS
from polyseme.checks.core.rules.bound import proportion_interval
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.multi_concept.context import Arrays, TrainingContext
from polyseme.checks.multi_concept.hypotheses import MATCHED, MINIBATCHES, MLP_STARTS, PURE, SEVERAL_DEMONSTRATIONS
from polyseme.checks.multi_concept.stochastic.ensembles import Curve, Stream, error_curve, generator, in_chunks
from polyseme.theory.multi_concept.coefficients import project
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.regime import Regime

# -- the design, declared before anything is run --------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Design:
    """Sizes of the ensembles, and in how many stretches the window is cut."""

    seeds: int
    pilot: int
    full_members: int
    stretches: int


DESIGNS = {
    "small": Design(seeds=2**15, pilot=2**12, full_members=512, stretches=3),
    "full": Design(seeds=2**17, pilot=2**14, full_members=4096, stretches=4),
}
# How often the curve is recorded along the run: at least every 10 steps, unless that makes too many records.
MOST_BETWEEN, FEWEST_RECORDS, MOST_RECORDS = 10, 80, 200
# Where no survivor of the pilot is in error any more, the curve goes on for a quarter as long again, and stops.
GOES_ON = 1.25
# The window begins where the pilot's error is at most half of chance, and ends where this many seeds' worth of error is left.
FIRST_ERROR, LAST_SEEDS = 0.25, 320

LONG = Hypothesis(
    key="long_run",
    name="a run long enough to see a curve: steps >= 480",
    holds=lambda regime: regime.training.steps >= 480,
    got=lambda regime: f"steps = {regime.training.steps}",
    suggests={"training": {"steps": (800,)}},
)
RELU = Hypothesis(
    key="relu",
    name="neurons with gates that shut: activation relu",
    holds=lambda regime: regime.model.activation == "relu",
    got=lambda regime: f"activation = {regime.model.activation}",
    suggests={"model": {"activation": ("relu",)}},
)
CURVE = (PURE, MATCHED, MINIBATCHES, LONG, RELU, MLP_STARTS, SEVERAL_DEMONSTRATIONS)


def design(context: TrainingContext) -> Design:
    """The sizes of this run."""
    return DESIGNS[context.effort]


def regime_of(context: TrainingContext) -> Regime:
    """The regime with one member in float64."""
    return context.one


def every(regime: Regime) -> int:
    """Steps between records."""
    steps = regime.training.steps
    return max(1, min(MOST_BETWEEN, steps // FEWEST_RECORDS), steps // MOST_RECORDS)


def learnable(context: TrainingContext) -> tuple[int, Arrays]:
    """The first of a hundred members whose concepts are all learned by population descent within the run: number and start.

    OutsideHypotheses if there is none: too few neurons, too heavy a penalty, or too short a run.
    """

    def find() -> tuple[int, Arrays]:
        regime = regime_of(context)
        starts = [context.start_of(member) for member in range(100)]
        each = [project(start, regime.concepts.K1) for start in starts]
        together = {name: np.stack([one[name] for one in each]) for name in each[0]}
        descent = Ensemble(regime, starts[0]["r"], together)
        for _ in range(regime.training.steps):
            descent.descend()
        learned = np.flatnonzero(descent.error() == 0)
        if not len(learned):
            raise OutsideHypotheses(
                f"needs a start whose concepts population descent learns within the run; none of 100 starts does, the best is left "
                f"with an error of {descent.error().min():.2g}"
            )
        return int(learned[0]), starts[learned[0]]

    return context.cached("learnable start", find)


def curve(context: TrainingContext, seeds: int, stream: Stream, *, until: int) -> Curve:
    """The error curve of independent seeds of the reduced recursion from that start."""

    def run() -> Curve:
        regime, (_, start) = regime_of(context), learnable(context)
        chunks = in_chunks(
            regime.replace(training={"steps": until}),
            start["r"],
            project(start, regime.concepts.K1),
            members=seeds,
            every=every(regime),
            stream=stream,
        )
        return error_curve(chunks)

    return context.cached(f"error curve {stream} {seeds}", run)


def end_of_curve(context: TrainingContext) -> int:
    """The last step of the judged curve: that of the run, or sooner where the pilot has learned everything long before."""
    of, step = pilot(context), every(regime_of(context))
    wrong = np.flatnonzero(of.excess.any(axis=1))
    clear = int(of.steps[wrong[-1]]) + step if len(wrong) else step
    return min(int(of.steps[-1]), step * int(np.ceil(GOES_ON * clear / step)))


def main_curve(context: TrainingContext) -> Curve:
    """The curve that is judged."""
    return curve(context, design(context).seeds, Stream.CURVE, until=end_of_curve(context))


def pilot(context: TrainingContext) -> Curve:
    """A smaller one from other seeds, which chooses the window and plans."""
    return curve(context, design(context).pilot, Stream.PILOT, until=context.one.training.steps)


def window(context: TrainingContext) -> Int[np.ndarray, " edges"]:
    """Numbers of the records at the edges of the stretches, chosen by the pilot alone; OutsideHypotheses if it falls too little."""
    error, of = pilot(context).excess.mean(axis=1), design(context)
    last = np.flatnonzero(error >= LAST_SEEDS / of.seeds)
    low = np.flatnonzero(error <= FIRST_ERROR)
    if not len(low) or not len(last) or last[-1] - low[0] < 2 * of.stretches or last[-1] == len(error) - 1:
        raise OutsideHypotheses(
            f"needs a run in which the error of survivors falls from {FIRST_ERROR:g} to {LAST_SEEDS / of.seeds:.2g} in more than "
            f"{2 * of.stretches * every(regime_of(context))} steps; here it ends at {error[-1]:.2g} after "
            f"{context.one.training.steps}"
        )
    return np.round(np.linspace(low[0], last[-1], of.stretches + 1)).astype(int)


@dataclass(frozen=True, kw_only=True)
class CurveTable(Facts):
    """The error curve at its recorded steps: means over seeds, and exact intervals of the error that hold at all steps at once.

    `floor` is the mean error of extinct seeds at the end; `probability_of_extinction` an exact interval.
    """

    step: Sequence[int]
    error: Sequence[float]
    error_of_survivors: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    floor: float
    extinct_seeds: int
    probability_of_extinction: Sequence[float]
    seeds: int


@dataclass(frozen=True, kw_only=True)
class CurveFacts(Facts):
    """What the claims about the curve have in common: how many seeds, which member's start, and the edges of the window.

    `window` is chosen by the pilot, in steps; `seed` is that of the regime.
    """

    seeds: int
    pilot: int
    member: int
    seed: int
    window: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class WholeCurveFacts(CurveFacts):
    """With the curve itself."""

    curve: CurveTable


def curve_table(context: TrainingContext) -> CurveTable:
    """The whole curve as plain numbers: exact intervals from one test prompt a seed, which makes independent trials."""
    of, level = main_curve(context), context.level
    rng = generator(regime_of(context), Stream.TEST_PROMPTS)
    wrong = rng.random(of.seeds) < of.errors  # one prompt of each seed: it is wrong with the seed's own error
    hits = wrong.sum(axis=1)
    ends = [proportion_interval(int(n), of.seeds, level / (2 * len(hits))) for n in hits]
    extinct = int(of.extinct[-1].sum())
    return CurveTable(
        step=[int(t) for t in of.steps],
        error=[float(x) for x in of.errors.mean(axis=1)],
        error_of_survivors=[float(x) for x in of.excess.mean(axis=1)],
        low=[low for low, _ in ends],
        high=[high for _, high in ends],
        floor=float(of.floor.mean()),
        extinct_seeds=extinct,
        probability_of_extinction=[float(x) for x in proportion_interval(extinct, of.seeds, level / 2)],
        seeds=of.seeds,
    )


def facts_of(context: TrainingContext) -> CurveFacts:
    """What the claims about the curve have in common; `vars` of it fill their own facts."""
    member, _ = learnable(context)
    return CurveFacts(
        seeds=design(context).seeds,
        pilot=design(context).pilot,
        member=member,
        seed=context.regime.ensemble.seed,
        window=[int(t) for t in pilot(context).steps[window(context)]],
    )


# -- the floor --------------------------------------------------------------------------------------------------

FLOOR = Equivalence(
    margin=0.2,
    reason="a fifth of the floor: the survivors' error at the end of the run has to be small beside it",
)


def _end(context: TrainingContext, floor: Callable[[Curve], np.ndarray]) -> Evidence:
    of = main_curve(context)
    _require_floor(context)
    scale = float(pilot(context).floor.mean())
    difference = of.errors[-1] - floor(of)
    row = Estimated(
        name="error at the end of the run, less the floor",
        estimate=float(difference.mean()),
        standard_error=float(difference.std(ddof=1) / np.sqrt(of.seeds)),
        samples=of.seeds,
        scale=scale,
    )
    return Evidence(rows=(row,), facts=WholeCurveFacts(**vars(facts_of(context)), curve=curve_table(context)))


FEWEST_EXTINCT = 30
"""Extinct seeds among the pilot's from which on there is a floor to speak of."""


def _require_floor(context: TrainingContext) -> None:
    found = int(pilot(context).extinct[-1].sum())
    if found < FEWEST_EXTINCT:
        raise OutsideHypotheses(
            f"needs a floor: extinction of at least {FEWEST_EXTINCT} of {pilot(context).seeds} seeds of the pilot; here {found}"
        )


def _end_plan(context: TrainingContext) -> Plan:
    _require_floor(context)
    of = pilot(context)
    spread = float((of.errors[-1] - of.floor).std(ddof=1) / of.floor.mean())
    samples = design(context).seeds
    # A pilot without any survivor in error shows no spread; one seed in it would have had this much.
    least = float(0.5 / np.sqrt(of.seeds) / of.floor.mean())
    return FLOOR.design(spread=max(spread, least), rows=1, level=context.level, fewest=samples, most=samples)


FLOOR_CLAIM = Claim.single(
    id="exponential/error_ends_at_the_extinction_floor",
    statement="At the end of the run the error is that of seeds in which a concept has gone extinct, whose gates of one sign are all shut for "
    "ever, within a fifth: survivors have learned everything, the others never will.",
    formula=r"\Pr(e f \le 0) \to \Pr(\text{extinct}) \cdot \mathbb E[\text{error} \mid \text{extinct}]",
    section="6",
    hypotheses=CURVE,
    asserts=lambda: lambda of: of.floor,
    measure=_end,
    facts=WholeCurveFacts,
    rule=FLOOR,
    plan=_end_plan,
    controls=(
        NegativeControl(
            name="no floor", statement="the error goes to zero", asserts=lambda: lambda of: np.zeros(of.seeds)
        ),
    ),
    uses=("exponential/extinction_is_for_ever",),
    rests_on=(STATISTICS,),
)

CLAIMS = (FLOOR_CLAIM,)
