"""Claims about how fast the error falls: at least exponentially, and faster than slower laws (THEORY.md sections 6.5 and 7)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from polyseme.checks.core.claim import Claim, NegativeControl, OutsideHypotheses, Plan
from polyseme.checks.core.evidence import Bounded, Evidence, Facts
from polyseme.checks.core.provenance import STATISTICS
from polyseme.checks.core.rules.bound import UpperBound
from polyseme.checks.multi_concept.claims.exponential.error_curve import (
    CURVE,
    WholeCurveFacts,
    curve_table,
    design,
    facts_of,
    main_curve,
    pilot,
    window,
)
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.stochastic.ensembles import Curve

# -- rates ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Local rates of a curve in some clock, -d log(error) / ds on each stretch; `influence`: each seed's part in each."""

    values: Float[np.ndarray, " stretch"]
    influence: Float[np.ndarray, "stretch seed"]

    @property
    def errors(self) -> Float[np.ndarray, " stretch"]:
        """Standard errors: seeds are independent, prompts within a seed are not."""
        return self.influence.std(axis=1, ddof=1) / np.sqrt(self.influence.shape[1])


Clock = Callable[[np.ndarray], np.ndarray]


def rates(of: Curve, edges: np.ndarray, clock: Clock = lambda t: t) -> Rates:
    """Of survivors, between the given records, by the delta method."""
    x = of.excess[edges]
    mean = x.mean(axis=1)
    passed = np.diff(clock(of.steps[edges].astype(np.float64)))
    share = x / mean[:, None]
    return Rates(values=-np.diff(np.log(mean)) / passed, influence=-np.diff(share, axis=0) / passed[:, None])


def _log_ratio(of: Rates, i: int, j: int) -> tuple[float, np.ndarray]:
    """log(rate_i / rate_j) and each seed's part in it."""
    value = float(np.log(of.values[i] / of.values[j]))
    return value, of.influence[i] / of.values[i] - of.influence[j] / of.values[j]


def _row(name: str, value: float, influence: np.ndarray, bound: float) -> Bounded:
    samples = len(influence)
    error = float(influence.std(ddof=1) / np.sqrt(samples))
    return Bounded(name=name, value=value, bound=bound, standard_error=error, samples=samples)


@dataclass(frozen=True, kw_only=True)
class RateRow(Facts):
    """The local rate of survivors' error per step, from one step to another, with an interval that holds on all stretches at once."""

    begin: int
    end: int
    rate: float
    low: float
    high: float
    relative_half_width: float


@dataclass(frozen=True, kw_only=True)
class RatesTable(Facts):
    """Local rates on the stretches of the window, and one rate fitted to all of it: with chi^2 over degrees of freedom, and its p."""

    stretches: Sequence[RateRow]
    single_rate: float
    lack_of_fit: float
    p_of_lack_of_fit: float


@dataclass(frozen=True, kw_only=True)
class RateFacts(WholeCurveFacts):
    """The curve and its local rates."""

    rates: RatesTable


def rates_table(context: TrainingContext) -> RatesTable:
    """The window's local rates with simultaneous intervals, and a single rate with its lack of fit, as plain numbers."""
    of, edges = main_curve(context), window(context)
    found = rates(of, edges)
    z = student_z(context.level, len(found.values), of.seeds)
    steps = of.steps[edges]
    single, misfit, p = single_rate(of, edges)
    stretches = [
        RateRow(
            begin=int(begin),
            end=int(end),
            rate=float(rate),
            low=float(rate - z * error),
            high=float(rate + z * error),
            relative_half_width=float(z * error / rate),
        )
        for (begin, end), rate, error in zip(pairwise(steps), found.values, found.errors, strict=True)
    ]
    return RatesTable(stretches=stretches, single_rate=single, lack_of_fit=misfit, p_of_lack_of_fit=p)


def student_z(level: float, rows: int, samples: int) -> float:
    """Half-width, in standard errors, of intervals that hold for all rows at once."""
    from scipy.stats import t as student

    return float(student.isf(level / (2 * rows), samples - 1))


def single_rate(of: Curve, edges: np.ndarray) -> tuple[float, float, float]:
    """One rate for the whole window by generalised least squares on log(error), with chi^2 per degree of freedom and its p."""
    import statsmodels.api as sm
    from scipy.stats import chi2

    x = of.excess[edges]
    mean = x.mean(axis=1)
    covariance = np.cov(x / mean[:, None]) / of.seeds
    fit = sm.GLS(np.log(mean), sm.add_constant(of.steps[edges].astype(np.float64)), sigma=covariance).fit()
    degrees = len(edges) - 2
    return -float(fit.params[1]), float(fit.scale), float(chi2.sf(fit.scale * degrees, degrees))


MARGIN = 0.1
NOT_DECREASING = UpperBound(
    reason="a tenth of the rate: over one stretch of the window the step size itself falls by a few percent; a power of t loses "
    "more than that between two stretches"
)


SURE = 3.0
"""Standard errors by which the pilot's curve has to be slower than the controls', so that the judged one shows it too."""


def _sixth(t: np.ndarray) -> np.ndarray:
    return t**6


def _require_slower_than_control(context: TrainingContext, pairs: Sequence[tuple[int, int]], bound: float) -> None:
    """OutsideHypotheses unless the pilot's curve is shown to fall more slowly than exp(-c t^6), the law of the negative controls.

    Where noise hardly spreads the escapes, the error falls so steeply, in so short a window, that the control is true as well,
    and a check that can refute nothing says nothing. This hides no clear refutation: a rate that falls in the clock t falls by more
    in the clock t^6. `pairs` are the stretches that are compared, the earlier first; `bound` is what log(rate / later rate) may be.
    """
    of, edges, judged = pilot(context), window(context), design(context).seeds
    found = rates(of, edges, _sixth)
    z = student_z(2 * context.level, len(pairs), judged)  # on one side

    def beyond(i: int, j: int) -> float:
        """By how much the control breaks the bound, beyond what chance may add in the pilot and take away in the judged curve."""
        value, influence = _log_ratio(found, i, j)
        by_chance = SURE * np.sqrt(1 / of.seeds + 1 / judged) + z / np.sqrt(judged)
        return value - bound - float(influence.std(ddof=1) * by_chance)

    if max(beyond(i, j) for i, j in pairs) <= 0:
        (first, end), error = of.steps[edges[[0, -1]]], of.excess[edges[[0, -1]]].mean(axis=1)
        raise OutsideHypotheses(
            "needs a window in which the error of survivors falls more slowly than exp(-c t^6), the negative control; here, from step "
            f"{first} to {end}, it falls from {error[0]:.2g} to {error[1]:.2g}, about as steeply as that or more"
        )


def _adjacent(context: TrainingContext, clock: Clock) -> Evidence:
    of, bound = rates(main_curve(context), window(context), clock), float(-np.log(1 - MARGIN))
    rows = [
        _row(f"stretch {i + 1}: log(rate / next rate)", *_log_ratio(of, i, i + 1), bound)
        for i in range(len(of.values) - 1)
    ]
    facts = RateFacts(**vars(facts_of(context)), curve=curve_table(context), rates=rates_table(context))
    return Evidence(rows=tuple(rows), facts=facts)


def _adjacent_plan(context: TrainingContext) -> Plan:
    """What the design shows of a curve with a single rate, its seeds as different as those of the pilot."""
    of, bound = rates(pilot(context), window(context)), float(-np.log(1 - MARGIN))
    pairs = [*pairwise(range(len(of.values)))]
    _require_slower_than_control(context, pairs, bound)
    spread = max(float(_log_ratio(of, i, j)[1].std(ddof=1)) for i, j in pairs)
    return NOT_DECREASING.design_means(
        bound=bound,
        truth=0.0,
        spread=spread,
        rows=len(pairs),
        level=context.level,
        samples=design(context).seeds,
    )


AT_LEAST = Claim.single(
    id="exponential/error_falls_at_least_exponentially_above_its_floor",
    statement="Where the error of surviving seeds falls more slowly than exp(-c t^6), from half of chance on and as far down as the ensemble "
    "can see, its local rate does not fall by more than a tenth from one stretch to the next: the error falls at least exponentially in the "
    "number of steps.",
    formula=r"-\tfrac{d}{dt} \log \Pr(e f \le 0 \mid \text{survival}) \ \text{does not decrease}",
    section="6",
    hypotheses=CURVE,
    asserts=lambda: lambda t: t,
    measure=_adjacent,
    facts=RateFacts,
    rule=NOT_DECREASING,
    plan=_adjacent_plan,
    controls=(
        NegativeControl(
            name="in the sixth power of t",
            statement="at least as exp(-c t^6)",
            asserts=lambda: _sixth,
        ),
    ),
    uses=("closure/stochastic_recursion_equals_sgd",),
    rests_on=(STATISTICS,),
)

# -- slower laws ------------------------------------------------------------------------------------------------

SLOWER: Mapping[str, Clock] = {"log t": np.log, "t^0.9": lambda t: t**0.9}
FASTER = UpperBound(
    reason="one: the rate in a law's own clock is the same on every stretch if the curve follows that law"
)


def _first_over_last(of: Rates) -> tuple[float, np.ndarray]:
    value, influence = _log_ratio(of, 0, -1)
    return float(np.exp(value)), influence * float(np.exp(value))


def _slower_laws(context: TrainingContext, clocks: Mapping[str, Clock]) -> Evidence:
    of, edges = main_curve(context), window(context)
    rows = tuple(
        _row(f"rate in {name}: first stretch over last", *_first_over_last(rates(of, edges, clock)), 1.0)
        for name, clock in clocks.items()
    )
    return Evidence(rows=rows, facts=facts_of(context))


def _slower_plan(context: TrainingContext) -> Plan:
    """What the design shows of a curve like that of the pilot."""
    of, edges = pilot(context), window(context)
    _require_slower_than_control(context, [(0, len(edges) - 2)], 0.0)
    found = [_first_over_last(rates(of, edges, clock)) for clock in SLOWER.values()]
    value, influence = max(found, key=lambda pair: pair[0])
    return FASTER.design_means(
        bound=1.0,
        truth=value,
        spread=float(influence.std(ddof=1)),
        rows=len(found),
        level=context.level,
        samples=design(context).seeds,
    )


SLOWER_LAWS = Claim.single(
    id="exponential/error_falls_faster_than_powers_and_stretched_exponentials",
    statement="In the same window the error of surviving seeds falls faster than every power of t and than every stretched exponential "
    "exp(-c t^q) with q up to 0.9: in the clock of each such law its rate grows.",
    formula=r"\Pr(e f \le 0 \mid \text{survival}) \ll t^{-q},\; e^{-c t^{0.9}}",
    section="7",
    hypotheses=CURVE,
    asserts=lambda: SLOWER,
    measure=_slower_laws,
    rule=FASTER,
    plan=_slower_plan,
    controls=(
        NegativeControl(
            name="faster than the sixth power in the exponent",
            statement="faster than exp(-c t^6)",
            asserts=lambda: {"t^6": _sixth},
        ),
    ),
    uses=("exponential/error_falls_at_least_exponentially_above_its_floor",),
    rests_on=(STATISTICS,),
)

CLAIMS = (AT_LEAST, SLOWER_LAWS)
