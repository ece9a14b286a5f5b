"""Claims about the 0-1 error of an ensemble: how fast it falls, and to which floor (THEORY.md sections 5, 6.5 and 6.7).

All seeds start from one state whose concepts population descent learns; the error of each is exact under the prompt law.
What is said of the rate is said of seeds that survive: no concept of theirs goes extinct.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from checks.claim import Claim, Hypothesis, OutsideHypotheses, Plan, WrongTwin
from checks.ensembles import Curve, Stream, error_curve, generator, in_chunks
from checks.evidence import Bounded, Estimated, Evidence
from checks.hypotheses import MATCHED, MLP_STARTS, PURE, SEVERAL_DEMONSTRATIONS
from checks.laboratory import Arrays, Laboratory
from checks.ledger import STATISTICS
from checks.rules.bound import UpperBound, proportion_interval
from checks.rules.equivalence import Equivalence
from theory.coefficients import project
from theory.ensemble import Ensemble
from theory.setting import Regime

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
# The curve is recorded this often along the run.
RECORDS = 80
# The window begins where the pilot's error is at most half of chance, and ends where this many seeds' worth of error is left.
FIRST_ERROR, LAST_SEEDS = 0.25, 320

MINIBATCHES = Hypothesis(
    key="small_batches",
    name="SGD: batch is a number",
    holds=lambda regime: regime.training.batch != "population",
    got=lambda regime: f"batch = {regime.training.batch}",
    suggests={"training": {"batch": (8, 4, 16)}},
)
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


def design(laboratory: Laboratory) -> Design:
    """The sizes of this run."""
    return DESIGNS[laboratory.effort]


def regime_of(laboratory: Laboratory) -> Regime:
    """The regime with one member in float64."""
    return laboratory.one


def every(regime: Regime) -> int:
    """Steps between records."""
    return max(1, regime.training.steps // RECORDS)


def learnable(laboratory: Laboratory) -> tuple[int, Arrays]:
    """The first of a hundred members whose concepts are all learned by population descent within the run: number and start.

    OutsideHypotheses if there is none: too few neurons, too heavy a penalty, or too short a run.
    """

    def find() -> tuple[int, Arrays]:
        regime = regime_of(laboratory)
        starts = [laboratory.start_of(member) for member in range(100)]
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

    return laboratory.remembered("learnable start", find)


def curve(laboratory: Laboratory, seeds: int, stream: Stream) -> Curve:
    """The error curve of independent seeds of the reduced recursion from that start."""

    def run() -> Curve:
        regime, (_, start) = regime_of(laboratory), learnable(laboratory)
        chunks = in_chunks(
            regime, start["r"], project(start, regime.concepts.K1), members=seeds, every=every(regime), stream=stream
        )
        return error_curve(chunks)

    return laboratory.remembered(f"error curve {stream} {seeds}", run)


def main_curve(laboratory: Laboratory) -> Curve:
    """The curve that is judged."""
    return curve(laboratory, design(laboratory).seeds, Stream.CURVE)


def pilot(laboratory: Laboratory) -> Curve:
    """A smaller one from other seeds, which chooses the window and plans."""
    return curve(laboratory, design(laboratory).pilot, Stream.PILOT)


def window(laboratory: Laboratory) -> Int[np.ndarray, " edges"]:
    """Numbers of the records at the edges of the stretches, chosen by the pilot alone; OutsideHypotheses if it falls too little."""
    error, of = pilot(laboratory).excess.mean(axis=1), design(laboratory)
    last = np.flatnonzero(error >= LAST_SEEDS / of.seeds)
    low = np.flatnonzero(error <= FIRST_ERROR)
    if not len(low) or not len(last) or last[-1] - low[0] < 2 * of.stretches or last[-1] == len(error) - 1:
        raise OutsideHypotheses(
            f"needs a run in which the error of survivors falls from {FIRST_ERROR:g} to {LAST_SEEDS / of.seeds:.2g} in more than "
            f"{2 * of.stretches * every(regime_of(laboratory))} steps; here it ends at {error[-1]:.2g} after "
            f"{laboratory.one.training.steps}"
        )
    return np.round(np.linspace(low[0], last[-1], of.stretches + 1)).astype(int)


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


def rates_table(laboratory: Laboratory) -> dict[str, object]:
    """The window's local rates with simultaneous intervals, and a single rate with its lack of fit, as plain numbers."""
    of, edges = main_curve(laboratory), window(laboratory)
    found = rates(of, edges)
    z = student_z(laboratory.level, len(found.values), of.seeds)
    steps = of.steps[edges]
    single, misfit, p = single_rate(of, edges)
    return {
        "from": [int(t) for t in steps[:-1]],
        "to": [int(t) for t in steps[1:]],
        "rate per step": [float(x) for x in found.values],
        "low": [float(x) for x in found.values - z * found.errors],
        "high": [float(x) for x in found.values + z * found.errors],
        "relative half-width": [float(x) for x in z * found.errors / found.values],
        "single rate per step": single,
        "its lack of fit: chi^2 over degrees of freedom": misfit,
        "its lack of fit: p": p,
    }


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
    design = sm.add_constant(of.steps[edges].astype(np.float64))
    fit = sm.GLS(np.log(mean), design, sigma=covariance).fit()
    degrees = len(edges) - 2
    squares = float(fit.scale * degrees)
    return -float(fit.params[1]), squares / degrees, float(chi2.sf(squares, degrees))


def curve_table(laboratory: Laboratory) -> dict[str, object]:
    """The whole curve as plain numbers: exact intervals from one test prompt a seed, which makes independent trials."""
    of, level = main_curve(laboratory), laboratory.level
    rng = generator(regime_of(laboratory), Stream.TEST_PROMPTS)
    wrong = rng.random(of.seeds) < of.errors  # one prompt of each seed: it is wrong with the seed's own error
    hits = wrong.sum(axis=1)
    ends = [proportion_interval(int(n), of.seeds, level / (2 * len(hits))) for n in hits]
    extinct = int(of.extinct[-1].sum())
    return {
        "step": [int(t) for t in of.steps],
        "error": [float(x) for x in of.errors.mean(axis=1)],
        "error of survivors": [float(x) for x in of.excess.mean(axis=1)],
        "low": [low for low, _ in ends],
        "high": [high for _, high in ends],
        "floor": float(of.floor.mean()),
        "extinct seeds": extinct,
        "probability of extinction": [float(x) for x in proportion_interval(extinct, of.seeds, level / 2)],
        "seeds": of.seeds,
    }


def facts_of(laboratory: Laboratory) -> dict[str, object]:
    """What the claims about the curve have in common."""
    member, _ = learnable(laboratory)
    return {
        "seeds": design(laboratory).seeds,
        "pilot": design(laboratory).pilot,
        "member whose start it is": member,
        "seed": laboratory.regime.ensemble.seed,
        "window, chosen by the pilot": [int(t) for t in pilot(laboratory).steps[window(laboratory)]],
    }


MARGIN = 0.1
NOT_DECREASING = UpperBound(
    reason="a tenth of the rate: over one stretch of the window the step size itself falls by a few percent; a power of t loses "
    "more than that between two stretches"
)


def _adjacent(laboratory: Laboratory, clock: Clock) -> Evidence:
    of, bound = rates(main_curve(laboratory), window(laboratory), clock), float(-np.log(1 - MARGIN))
    rows = [
        _row(f"stretch {i + 1}: log(rate / next rate)", *_log_ratio(of, i, i + 1), bound)
        for i in range(len(of.values) - 1)
    ]
    facts = facts_of(laboratory) | {"rates": rates_table(laboratory), "curve": curve_table(laboratory)}
    return Evidence(rows=tuple(rows), facts=facts)


def _adjacent_plan(laboratory: Laboratory) -> Plan:
    """What the design shows of a curve with a single rate, its seeds as different as those of the pilot."""
    of = rates(pilot(laboratory), window(laboratory))
    pairs = len(of.values) - 1
    spread = max(float(_log_ratio(of, i, i + 1)[1].std(ddof=1)) for i in range(pairs))
    return NOT_DECREASING.design_means(
        bound=float(-np.log(1 - MARGIN)),
        truth=0.0,
        spread=spread,
        rows=pairs,
        level=laboratory.level,
        samples=design(laboratory).seeds,
    )


AT_LEAST = Claim(
    id="exponential/error_falls_at_least_exponentially_above_its_floor",
    statement="From half of chance on, as far down as the ensemble can see, the local rate of the error of surviving seeds does not "
    "fall by more than a tenth from one stretch to the next: the error falls at least exponentially in the number of steps.",
    formula=r"-\tfrac{d}{dt} \log \Pr(e f \le 0 \mid \text{survival}) \ \text{does not decrease}",
    section="6",
    hypotheses=CURVE,
    asserts=lambda: lambda t: t,
    measure=_adjacent,
    rule=NOT_DECREASING,
    plan=_adjacent_plan,
    wrong_twin=WrongTwin(
        name="in the sixth power of t",
        statement="at least as exp(-c t^6)",
        asserts=lambda: lambda t: t**6,
    ),
    uses=("closure/stochastic_recursion_equals_sgd_pathwise",),
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


def _slower_laws(laboratory: Laboratory, clocks: Mapping[str, Clock]) -> Evidence:
    of, edges = main_curve(laboratory), window(laboratory)
    rows = tuple(
        _row(f"rate in {name}: first stretch over last", *_first_over_last(rates(of, edges, clock)), 1.0)
        for name, clock in clocks.items()
    )
    return Evidence(rows=rows, facts=facts_of(laboratory))


def _slower_plan(laboratory: Laboratory) -> Plan:
    """What the design shows of a curve like that of the pilot."""
    of, edges = pilot(laboratory), window(laboratory)
    found = [_first_over_last(rates(of, edges, clock)) for clock in SLOWER.values()]
    value, influence = max(found, key=lambda pair: pair[0])
    return FASTER.design_means(
        bound=1.0,
        truth=value,
        spread=float(influence.std(ddof=1)),
        rows=len(found),
        level=laboratory.level,
        samples=design(laboratory).seeds,
    )


SLOWER_LAWS = Claim(
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
    wrong_twin=WrongTwin(
        name="faster than the sixth power in the exponent",
        statement="faster than exp(-c t^6)",
        asserts=lambda: {"t^6": lambda t: t**6},
    ),
    uses=("exponential/error_falls_at_least_exponentially_above_its_floor",),
    rests_on=(STATISTICS,),
)

# -- the floor --------------------------------------------------------------------------------------------------

FLOOR = Equivalence(
    margin=0.2,
    reason="a fifth of the floor: the survivors' error at the end of the run has to be small beside it",
)


def _end(laboratory: Laboratory, floor: Callable[[Curve], np.ndarray]) -> Evidence:
    of = main_curve(laboratory)
    _require_floor(laboratory)
    scale = float(pilot(laboratory).floor.mean())
    difference = of.errors[-1] - floor(of)
    row = Estimated(
        name="error at the end of the run, less the floor",
        estimate=float(difference.mean()),
        standard_error=float(difference.std(ddof=1) / np.sqrt(of.seeds)),
        samples=of.seeds,
        scale=scale,
    )
    return Evidence(rows=(row,), facts=facts_of(laboratory) | {"curve": curve_table(laboratory)})


FEWEST_EXTINCT = 30
"""Extinct seeds among the pilot's from which on there is a floor to speak of."""


def _require_floor(laboratory: Laboratory) -> None:
    found = int(pilot(laboratory).extinct[-1].sum())
    if found < FEWEST_EXTINCT:
        raise OutsideHypotheses(
            f"needs a floor: extinction of at least {FEWEST_EXTINCT} of {pilot(laboratory).seeds} seeds of the pilot; here {found}"
        )


def _end_plan(laboratory: Laboratory) -> Plan:
    _require_floor(laboratory)
    of = pilot(laboratory)
    spread = float((of.errors[-1] - of.floor).std(ddof=1) / of.floor.mean())
    samples = design(laboratory).seeds
    # A pilot without any survivor in error shows no spread; one seed in it would have had this much.
    least = float(0.5 / np.sqrt(of.seeds) / of.floor.mean())
    return FLOOR.design(spread=max(spread, least), rows=1, level=laboratory.level, fewest=samples, most=samples)


FLOOR_CLAIM = Claim(
    id="exponential/error_ends_at_the_extinction_floor",
    statement="At the end of the run the error is that of seeds in which a concept has gone extinct, whose gates of one sign are all shut for "
    "ever, within a fifth: survivors have learned everything, the others never will.",
    formula=r"\Pr(e f \le 0) \to \Pr(\text{extinct}) \cdot \mathbb E[\text{error} \mid \text{extinct}]",
    section="6",
    hypotheses=CURVE,
    asserts=lambda: lambda of: of.floor,
    measure=_end,
    rule=FLOOR,
    plan=_end_plan,
    wrong_twin=WrongTwin(
        name="no floor", statement="the error goes to zero", asserts=lambda: lambda of: np.zeros(of.seeds)
    ),
    uses=("exponential/extinction_is_for_ever",),
    rests_on=(STATISTICS,),
)

CLAIMS = (AT_LEAST, SLOWER_LAWS, FLOOR_CLAIM)
