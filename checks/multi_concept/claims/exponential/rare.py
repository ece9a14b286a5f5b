"""Claims about errors too rare to be counted: splitting, and how far down the error stays exponential (THEORY.md section 5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from polyseme.checks.core.claim import Claim, NegativeControl, OutsideHypotheses, Plan
from polyseme.checks.core.evidence import Bounded, Estimated, Evidence, Facts
from polyseme.checks.core.provenance import STATISTICS
from polyseme.checks.core.rules.bound import UpperBound
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.multi_concept.claims.exponential.error_curve import (
    CURVE,
    CurveFacts,
    facts_of,
    learnable,
    main_curve,
    pilot,
    regime_of,
    window,
)
from polyseme.checks.multi_concept.claims.exponential.escape import plateau_end
from polyseme.checks.multi_concept.claims.exponential.rate_of_error import Clock, rates
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.stochastic.ensembles import Curve, Seeds, Stream
from polyseme.checks.multi_concept.stochastic.splitting import MORE_AT_FIRST, Population, Split, split
from polyseme.theory.multi_concept.coefficients import project


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Independent populations, particles kept in each, and the errors that are aimed at, in negative decades."""

    populations: int
    particles: int
    counted: tuple[int, ...]
    decades: tuple[int, ...]


EFFORTS = {
    "small": Effort(populations=40, particles=128, counted=(3,), decades=(4, 6)),
    "full": Effort(populations=64, particles=512, counted=(3, 4), decades=(5, 6)),
}


def _split(context: TrainingContext, T: int) -> Split:
    """Populations split up to step T."""

    def run() -> Split:
        (_, start), effort = learnable(context), EFFORTS[context.effort]
        regime = regime_of(context).replace(training={"steps": T})
        return split(
            [
                Population(
                    chunk=Seeds(
                        regime=regime,
                        r=start["r"],
                        coefficients=project(start, regime.concepts.K1),
                        members=effort.particles * MORE_AT_FIRST,
                        stream=Stream.SPLITTING,
                        number=(population,),
                        every=1,
                    ),
                    horizon=T,
                    plateau=max(1, plateau_end(context)),
                    particles=effort.particles,
                )
                for population in range(effort.populations)
            ]
        )

    return context.cached(f"splitting {T}", run)


# -- against counting -------------------------------------------------------------------------------------------

TWOFOLD = Equivalence(
    margin=1.0,
    reason="as much again: a factor that is forgotten is off by orders of magnitude",
)


def _countable(context: TrainingContext) -> list[int]:
    """Records of the main curve at which the pilot's rate predicts the errors aimed at."""
    steps = _steps_of(context, EFFORTS[context.effort].counted)
    records = main_curve(context).steps
    return [int(np.argmin(np.abs(records - T))) for T in steps]


def _steps_of(context: TrainingContext, decades: tuple[int, ...]) -> list[int]:
    """Steps at which the error of survivors is predicted to be 10^-d, the rate at the end of the window going on."""
    of, edges = pilot(context), window(context)
    rate, last = rates(of, edges).values[-1], edges[-1]
    left = np.log(of.excess[last].mean()) + np.log(10.0) * np.array(decades)
    return [round(float(of.steps[last] + x / rate)) for x in left]


def _unbiased(of: Split) -> np.ndarray:
    return of.estimates


def _factors_forgotten(of: Split) -> np.ndarray:
    return of.means


@dataclass(frozen=True, kw_only=True)
class SplitFacts(CurveFacts):
    """With the number of independent populations."""

    populations: int


def _against_counting(context: TrainingContext, estimates: Callable[[Split], np.ndarray]) -> Evidence:
    of, rows = main_curve(context), []
    for j in _countable(context):
        counted, seeds = of.excess[j], of.seeds
        mean = float(counted.mean())
        if (counted > 0).sum() < 30:
            raise OutsideHypotheses(
                f"needs 30 seeds in error to compare with at step {of.steps[j]}, found {(counted > 0).sum()}"
            )
        found = estimates(_split(context, int(of.steps[j])))
        error = np.hypot(found.std(ddof=1) / np.sqrt(len(found)), counted.std(ddof=1) / np.sqrt(seeds))
        rows.append(
            Estimated(
                name=f"error of survivors at step {of.steps[j]} (counted {mean:.2g}), split less counted",
                estimate=float(found.mean() - mean),
                standard_error=float(error),
                samples=len(found),
                scale=mean,
            )
        )
    facts = SplitFacts(**vars(facts_of(context)), populations=EFFORTS[context.effort].populations)
    return Evidence(rows=tuple(rows), facts=facts)


POPULATION_SPREAD = 0.6
"""Standard deviation of a population's estimate where counting still works, relative to its mean, with that of the count; 0.46 when measured."""


def _counting_plan(context: TrainingContext) -> Plan:
    effort = EFFORTS[context.effort]
    size = effort.populations
    return TWOFOLD.design(
        spread=POPULATION_SPREAD, rows=len(effort.counted), level=context.level, fewest=size, most=size
    )


AGREES = Claim.single(
    id="exponential/splitting_agrees_with_counting",
    statement="Where errors can still be counted, splitting gives the same error of survivors, within a factor of two.",
    formula=r"\mathbb E\, \widehat{\Pr}_{\mathrm{split}} = \Pr(e f \le 0,\ \text{survival})",
    section="5",
    hypotheses=CURVE,
    asserts=lambda: _unbiased,
    measure=_against_counting,
    rule=TWOFOLD,
    plan=_counting_plan,
    controls=(
        NegativeControl(
            name="factors forgotten",
            statement="the error of copied particles counts as that of seeds",
            asserts=lambda: _factors_forgotten,
        ),
    ),
    uses=("exponential/rate_is_that_of_delayed_escape",),
    rests_on=(STATISTICS,),
)

# -- beyond counting --------------------------------------------------------------------------------------------

STAYS = UpperBound(
    reason="one and a half: a power of t that has the window's rate would fall more slowly than that from the window on"
)


@dataclass(frozen=True, kw_only=True)
class TailRow(Facts):
    """The error of survivors at a step, by splitting, with its standard error (`relative`: over the error), and the error aimed at."""

    aimed_at: float
    step: int
    error: float
    standard_error: float
    relative: float


@dataclass(frozen=True, kw_only=True)
class AccuracyLaw(Facts):
    """Steps to an error eps of survivors, as pairs (eps, step), and the least-squares law a + b log10(1/eps) through them, in steps."""

    eps_and_steps: Sequence[tuple[float, int]]
    steps_per_decade: float
    steps_at_eps_1: float
    largest_residual: float


@dataclass(frozen=True, kw_only=True)
class TailFacts(CurveFacts):
    """How the error goes on beyond what can be counted."""

    tail: Sequence[TailRow]
    time_to_accuracy: AccuracyLaw


def _beyond(context: TrainingContext, clock: Clock) -> Evidence:
    of, edges = main_curve(context), window(context)
    inside = rates(of, edges, clock)
    last_step, last = int(of.steps[edges[-1]]), of.excess[edges[-1]]
    decades = EFFORTS[context.effort].decades
    rows, tail = [], []
    for d, T in zip(decades, _steps_of(context, decades), strict=True):
        found = _split(context, T).estimates
        mean, error = float(found.mean()), float(found.std(ddof=1) / np.sqrt(len(found)))
        if mean == 0:
            raise OutsideHypotheses(f"needs populations that reach step {T} in error, and none did")
        passed = float(clock(np.array(float(T))) - clock(np.array(float(last_step))))
        average = float(np.log(last.mean() / mean) / passed)
        # The window's last stretch and the fall from its end share the error at its end; their errors are simply added.
        relative = inside.errors[-1] / inside.values[-1] + np.hypot(
            error / mean, last.std(ddof=1) / last.mean() / np.sqrt(of.seeds)
        ) / (average * passed)
        ratio = float(inside.values[-1] / average)
        rows.append(
            Bounded(
                name=f"rate at the window's end over that from there to step {T}",
                value=ratio,
                bound=1.5,
                standard_error=float(ratio * relative),
                samples=len(found),
            )
        )
        tail.append(TailRow(aimed_at=10.0**-d, step=T, error=mean, standard_error=error, relative=error / mean))
    facts = TailFacts(**vars(facts_of(context)), tail=tail, time_to_accuracy=_to_accuracy(of, tail))
    return Evidence(rows=tuple(rows), facts=facts)


def _to_accuracy(of: Curve, tail: Sequence[TailRow]) -> AccuracyLaw:
    """The law of steps to an accuracy, from the curve and the tail."""
    mean = of.excess.mean(axis=1)
    counted = [
        (10.0**-d, int(of.steps[np.flatnonzero(mean <= 10.0**-d)[0]]))
        for d in (1, 2, 3)
        if (mean[mean <= 10.0**-d] > 0).any()
    ]
    points = counted + [(row.error, row.step) for row in tail]
    decades = -np.log10([eps for eps, _ in points])
    slope, start = np.polyfit(decades, [t for _, t in points], 1)
    residual = float(np.abs(np.polyval((slope, start), decades) - [t for _, t in points]).max())
    return AccuracyLaw(
        eps_and_steps=points,
        steps_per_decade=float(slope),
        steps_at_eps_1=float(start),
        largest_residual=residual,
    )


TAIL_SPREAD = 0.4
"""Standard deviation of a ratio of rates times the root of the populations: 0.22 and 0.37 when measured."""


def _beyond_plan(context: TrainingContext) -> Plan:
    effort = EFFORTS[context.effort]
    return STAYS.design_means(
        bound=1.5,
        truth=1.0,
        spread=TAIL_SPREAD,
        rows=len(effort.decades),
        level=context.level,
        samples=effort.populations,
    )


FAR = Claim.single(
    id="exponential/iterations_grow_as_the_logarithm_of_the_accuracy",
    statement="Far beyond what can be counted the error of survivors goes on falling at two thirds or more of the rate that it has at the end of the window: "
    "the number of iterations to an error eps grows as log(1/eps), over all the decades that are followed.",
    formula=r"t(\varepsilon) = a + b \log(1/\varepsilon)",
    section="7",
    hypotheses=CURVE,
    asserts=lambda: lambda t: t,
    measure=_beyond,
    facts=TailFacts,
    rule=STAYS,
    plan=_beyond_plan,
    controls=(
        NegativeControl(
            name="the cube root of the logarithm",
            statement="iterations grow as the cube root of log(1/eps): the error falls as exp(-c t^3)",
            asserts=lambda: lambda t: t**3,
        ),
    ),
    uses=("exponential/splitting_agrees_with_counting",),
    rests_on=(STATISTICS,),
)

CLAIMS = (AGREES, FAR)
