"""The statistical rules: their sizes and what their plans promise, simulated."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import binom, kstest

from polyseme.checks.core.audit import true_claims
from polyseme.checks.core.claim import Verdict
from polyseme.checks.core.evidence import Bounded, Counted, Distance, Estimated, Evidence, Points
from polyseme.checks.core.rules.bound import UpperBound, proportion_interval
from polyseme.checks.core.rules.common import decide, fewest_that
from polyseme.checks.core.rules.distribution import Distribution
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.core.rules.exact import UNIT, ExactZero, Order, RoundOff, roundings_seen
from polyseme.checks.core.rules.rate import Rate

# Thousands of judgements each; test_rule_numbers.py and every claim that is tried judge under run-time types.
pytestmark = pytest.mark.usefixtures("unchecked_types")

SUPPORTED, REFUTED, INCONCLUSIVE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE
WHY = "a test"
LEVEL, POWER, SETS = 0.02, 0.9, 500
# A count is beyond this quantile once in a million; the seeds are fixed besides.
RARE = 1e-6
AT_LEAST_POWER = binom.ppf(RARE, SETS, POWER)


def verdicts(rule, draw, *, sets=SETS, seed=1, level=LEVEL) -> dict[Verdict, int]:
    """How often each verdict falls on evidence that `draw(rng)` gives."""
    rng = np.random.default_rng(seed)
    counts = dict.fromkeys(Verdict, 0)
    for _ in range(sets):
        counts[rule.judge(draw(rng), level=level).verdict] += 1
    return counts


def normal(centers, spread, samples):
    def draw(rng):
        rows = []
        for j, center in enumerate(centers):
            x = center + spread * rng.standard_normal(samples)
            error = float(x.std(ddof=1) / math.sqrt(samples))
            rows.append(
                Estimated(name=f"{j}", estimate=float(x.mean()), standard_error=error, samples=samples, scale=1.0)
            )
        return Evidence(rows=tuple(rows))

    return draw


def means(centers, spread, samples, bound):
    def draw(rng):
        rows = []
        for j, center in enumerate(centers):
            x = rng.normal(center, spread, samples)
            error = float(x.std(ddof=1) / math.sqrt(samples))
            rows.append(Bounded(name=f"{j}", value=float(x.mean()), bound=bound, standard_error=error, samples=samples))
        return Evidence(rows=tuple(rows))

    return draw


def counted(probability, trials, bound, rows=1):
    return lambda rng: Evidence(
        rows=tuple(
            Counted(name=f"{j}", hits=int(rng.binomial(trials, probability)), trials=trials, bound=bound)
            for j in range(rows)
        )
    )


PLACES = (1.0, 2.0, 4.0, 8.0, 16.0)


def points(rate, spread, samples, *, bend=0.0):
    """Means on a power law, times exp(bend) at the middle place."""

    def draw(rng):
        places = np.array(PLACES)
        truth = places**rate * np.exp(bend * (places == 4.0))
        errors = spread * truth / math.sqrt(samples)
        means = truth + errors * rng.standard_normal(places.size)
        row = Points(
            name="x",
            places=PLACES,
            means=tuple(map(float, means)),
            standard_errors=tuple(map(float, errors)),
            samples=samples,
        )
        return Evidence(rows=(row,))

    return draw


def shifted(margin, samples, rows=1):
    """Uniform numbers of which a share is moved to 1: their law is that far from the uniform one."""

    def draw(rng):
        drawn = []
        for j in range(rows):
            u = np.sort(np.where(rng.uniform(size=samples) < margin, 1.0, rng.uniform(size=samples)))
            steps = np.arange(samples)
            distance = float(np.maximum((steps + 1) / samples - u, u - steps / samples).max())
            drawn.append(Distance(name=f"{j}", distance=min(1.0, distance), samples=samples))
        return Evidence(rows=tuple(drawn))

    return draw


# -- what plans promise ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spread", "rows"), [(0.3, 1), (0.3, 6), (2.0, 2), (0.01, 1)])
def test_a_plan_of_equivalence_keeps_its_promise(spread, rows):
    rule = Equivalence(margin=0.1, reason=WHY)
    plan = rule.design(spread=spread, rows=rows, level=LEVEL, power=POWER)
    assert plan.power >= POWER
    true = verdicts(rule, normal([0.0] * rows, spread, plan.samples))
    assert true[SUPPORTED] >= AT_LEAST_POWER and true[REFUTED] == 0
    off = verdicts(rule, normal([plan.detects] + [0.0] * (rows - 1), spread, plan.samples), seed=2)
    assert off[REFUTED] >= AT_LEAST_POWER and off[SUPPORTED] == 0
    if plan.samples > 10:  # and it asks for no more than about twice what is needed
        few = verdicts(rule, normal([0.0] * rows, spread, plan.samples // 2), seed=3)
        assert few[SUPPORTED] < 0.8 * SETS


@pytest.mark.parametrize(("truth", "rows"), [(0.02, 1), (0.02, 4), (0.0, 2)])
def test_a_plan_of_a_bound_keeps_its_promise(truth, rows):
    rule = UpperBound(reason=WHY)
    plan = rule.design(bound=0.1, truth=truth, rows=rows, level=LEVEL, power=POWER)
    assert plan.power >= POWER
    assert verdicts(rule, counted(truth, plan.samples, 0.1, rows))[SUPPORTED] >= AT_LEAST_POWER
    if math.isfinite(plan.detects):
        assert verdicts(rule, counted(0.1 * plan.detects, plan.samples, 0.1, rows), seed=2)[REFUTED] >= AT_LEAST_POWER
    few = rule.design(bound=0.1, truth=truth, rows=rows, level=LEVEL, power=POWER, most=plan.samples // 2)
    assert few.samples == plan.samples // 2 and few.power < POWER


@pytest.mark.parametrize("samples", [4, 32, 1000])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_plan_of_bounded_means_says_what_few_samples_show(samples, rows):
    rule, spread = UpperBound(reason=WHY), 1.0

    for errors in (1.0, 4.0, 8.0):  # how many standard errors the bound is away
        bound = errors * spread / math.sqrt(samples)
        plan = rule.design_means(
            bound=bound, truth=0.0, spread=spread, rows=rows, level=LEVEL, samples=samples, power=POWER
        )
        assert plan.samples == samples
        true = verdicts(rule, means([0.0] * rows, spread, samples, bound))
        assert true[SUPPORTED] >= binom.ppf(RARE, SETS, plan.power)
        if rows == 1:
            assert true[SUPPORTED] <= binom.isf(RARE, SETS, plan.power), "no more than is promised, with one row"
        off = verdicts(rule, means([plan.detects * bound] + [0.0] * (rows - 1), spread, samples, bound), seed=2)
        assert AT_LEAST_POWER <= off[REFUTED] <= binom.isf(RARE, SETS, POWER)


def test_a_plan_of_a_rate_keeps_its_promise():
    rule = Rate(declared=-1.0, margin=0.1, reason=WHY)
    plan = rule.design(places=PLACES, spread=1.0, rows=1, level=LEVEL, power=POWER)
    assert verdicts(rule, points(-1.0, 1.0, plan.samples))[SUPPORTED] >= AT_LEAST_POWER
    assert verdicts(rule, points(-1.0 + plan.detects, 1.0, plan.samples), seed=2)[REFUTED] >= AT_LEAST_POWER
    assert (
        rule.design(places=PLACES, spread=1.0, rows=1, level=LEVEL, power=POWER, most=plan.samples // 8).power < POWER
    )


@pytest.mark.parametrize("rows", [1, 3])
def test_a_plan_of_a_distribution_keeps_its_promise(rows):
    rule = Distribution(margin=0.1, reason=WHY)
    plan = rule.design(rows=rows, level=LEVEL, power=POWER)
    assert verdicts(rule, shifted(0.0, plan.samples, rows))[SUPPORTED] >= AT_LEAST_POWER
    assert verdicts(rule, shifted(plan.detects, plan.samples, rows), seed=2)[REFUTED] >= AT_LEAST_POWER
    assert rule.design(rows=rows, level=LEVEL, power=POWER, most=plan.samples // 3).power < POWER


def test_two_samples_ask_for_more_than_one():
    rule = Distribution(margin=0.1, reason=WHY)
    one, two = (rule.design(rows=1, level=LEVEL, power=POWER, two_samples=both) for both in (False, True))
    assert 3 * one.samples < two.samples < 6 * one.samples

    def draw(rng):
        left, right = (np.sort(rng.uniform(size=two.samples)) for _ in range(2))
        every = np.concatenate([left, right])
        ranks = [np.searchsorted(part, every, side="right") / two.samples for part in (left, right)]
        distance = float(np.abs(ranks[0] - ranks[1]).max())
        return Evidence(rows=(Distance(name="x", distance=distance, samples=two.samples, others=two.samples),))

    assert verdicts(rule, draw, sets=200)[SUPPORTED] >= binom.ppf(RARE, 200, POWER)


def test_a_smaller_level_a_smaller_margin_and_more_rows_ask_for_more_samples():
    def samples(margin=0.1, level=LEVEL, rows=2, spread=1.0, power=POWER):
        return Equivalence(margin=margin, reason=WHY).design(spread=spread, rows=rows, level=level, power=power).samples

    base = samples()
    assert all(
        more > base for more in (samples(margin=0.09), samples(level=0.01), samples(rows=3), samples(spread=1.1))
    )
    assert samples(power=0.99) > base
    assert samples(spread=0.0) == 2


def test_plans_of_what_is_not_random_take_one_sample():
    assert ExactZero().design() == dataclasses.replace(ExactZero().design(), samples=1, detects=0.0, power=1.0)
    assert RoundOff(reason=WHY).design(roundings=8.0).detects == 8 * UNIT
    order = Order(declared=1.0, margin=0.1, reason=WHY)
    assert (order.design(half_width=0.05).detects, order.design(half_width=0.05).power) == (pytest.approx(0.2), 1.0)
    assert order.design(half_width=0.2).power == 0.0


@pytest.mark.parametrize("needed", [2, 3, 7, 100, 1025, 10**6])
def test_the_fewest_samples_are_found(needed):
    assert fewest_that(lambda n: n >= needed, 2, 10**9) == needed
    assert fewest_that(lambda n: n >= needed, needed + 5, 10**9) == needed + 5
    assert fewest_that(lambda _n: False, 2, 1000) == 1000


# -- sizes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("true_claim", true_claims.TRUE_CLAIMS, ids=lambda true_claim: true_claim.name)
def test_at_the_margin_each_wrong_verdict_is_as_rare_as_the_level_says(true_claim):
    rng, p_support, p_refute = np.random.default_rng(7), [], []
    for _ in range(1500):
        judgement = true_claim.rule.judge(true_claim.margin(rng), level=0.05)
        p_support.append(judgement.p_support)
        p_refute.append(judgement.p_refute)
    for p in (p_support, p_refute):
        assert np.sum(np.array(p) <= 0.05) <= binom.ppf(1 - RARE, 1500, 0.05)
        assert kstest(p, "uniform", alternative="greater").pvalue > RARE, "no smaller than uniform ones"
    if true_claim.uniform:
        assert kstest(p_support, "uniform").pvalue > RARE
        assert np.sum(np.array(p_support) <= 0.05) >= binom.ppf(RARE, 1500, 0.05), "the level is spent, not wasted"


def test_a_curve_that_is_no_power_law_makes_its_rate_uncertain():
    rule = Rate(declared=-1.0, margin=0.02, reason=WHY)
    straight, bent = (
        rule.judge(points(-1.0, 1e-3, 100, bend=bend)(np.random.default_rng(1)), level=LEVEL) for bend in (0.0, 0.2)
    )
    assert straight.verdict == SUPPORTED and bent.verdict == INCONCLUSIVE
    assert bent.measured > 20 * straight.measured


def test_an_exponential_rate_is_the_slope_against_the_place():
    places = np.array([1.0, 2.0, 3.0, 5.0])
    means = 3 * np.exp(-0.7 * places)
    row = Points(
        name="x",
        places=tuple(map(float, places)),
        means=tuple(map(float, means)),
        standard_errors=tuple(map(float, 1e-6 * means)),
        samples=30,
    )
    judge = Rate(declared=-0.7, margin=0.01, reason=WHY, exponential=True).judge
    assert judge(Evidence(rows=(row,)), level=LEVEL).verdict == SUPPORTED
    assert Rate(declared=-0.7, margin=0.01, reason=WHY).judge(Evidence(rows=(row,)), level=LEVEL).verdict != SUPPORTED


# -- bounds ------------------------------------------------------------------------------------------------


def bounded(value, bound=1.0, standard_error=0.0, samples=0) -> Evidence:
    return Evidence(rows=(Bounded(name="x", value=value, bound=bound, standard_error=standard_error, samples=samples),))


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (bounded(0.5), SUPPORTED),
        (bounded(1.0), SUPPORTED),
        (bounded(1.0 + 1e-12), REFUTED),
        (bounded(-3.0), SUPPORTED),
        (bounded(0.9, standard_error=0.01, samples=50), SUPPORTED),
        (bounded(1.1, standard_error=0.01, samples=50), REFUTED),
        (bounded(1.0, standard_error=0.01, samples=50), INCONCLUSIVE),
        (bounded(0.9, standard_error=0.01, samples=2), INCONCLUSIVE),
        (Evidence(rows=(Counted(name="x", hits=0, trials=10, bound=0.1),)), INCONCLUSIVE),
        (Evidence(rows=(Counted(name="x", hits=0, trials=1000, bound=0.1),)), SUPPORTED),
        (Evidence(rows=(Counted(name="x", hits=10, trials=10, bound=0.1),)), REFUTED),
    ],
)
def test_bounds_are_judged(evidence, verdict):
    assert UpperBound(reason=WHY).judge(evidence, level=1e-3).verdict == verdict


def test_a_bound_that_is_a_million_times_too_loose_is_supported_and_says_so():
    judgement = UpperBound(reason=WHY).judge(bounded(1e-6), level=LEVEL)
    assert judgement.verdict == SUPPORTED and judgement.slack == pytest.approx(1e6)
    assert "1e+06 times too loose, and says little" in judgement.sentence
    tight = UpperBound(reason=WHY).judge(bounded(0.5), level=LEVEL)
    assert tight.slack == 2 and "2 times too loose" in tight.sentence and "little" not in tight.sentence
    assert UpperBound(reason=WHY).judge(bounded(0.0), level=LEVEL).slack == math.inf
    assert UpperBound(reason=WHY).judge(bounded(2.0), level=LEVEL).slack is None


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (3, 10), (10, 10)])
def test_intervals_of_proportions_are_exact(hits, trials):
    low, high = proportion_interval(hits, trials, 0.01)
    assert low == 0 if hits == 0 else binom.sf(hits - 1, trials, low) == pytest.approx(0.01)
    assert high == 1 if hits == trials else binom.cdf(hits, trials, high) == pytest.approx(0.01)


def test_evidence_that_is_no_evidence_is_refused():
    nan, inf = math.nan, math.inf
    broken = [
        (UpperBound(reason=WHY), bounded(0.5, bound=0.0)),
        (UpperBound(reason=WHY), bounded(nan)),
        (UpperBound(reason=WHY), bounded(0.5, standard_error=0.1, samples=1)),
        (UpperBound(reason=WHY), bounded(0.5, standard_error=-0.1, samples=9)),
        (UpperBound(reason=WHY), bounded(0.5, bound=inf)),
        (UpperBound(reason=WHY), Evidence(rows=(Counted(name="x", hits=3, trials=2, bound=0.1),))),
        (UpperBound(reason=WHY), Evidence(rows=(Counted(name="x", hits=-1, trials=2, bound=0.1),))),
        (UpperBound(reason=WHY), Evidence(rows=(Counted(name="x", hits=1, trials=2, bound=1.5),))),
        (UpperBound(reason=WHY), Evidence(rows=())),
        (Distribution(margin=0.1, reason=WHY), Evidence(rows=(Distance(name="x", distance=nan, samples=9),))),
        (Distribution(margin=0.1, reason=WHY), Evidence(rows=(Distance(name="x", distance=1.2, samples=9),))),
        (Distribution(margin=0.1, reason=WHY), Evidence(rows=(Distance(name="x", distance=0.2, samples=0),))),
    ]
    good = points(-1.0, 0.1, 100)(np.random.default_rng(0)).rows[0]
    changes = (
        {"means": (1.0, -1.0, 1.0, 1.0, 1.0)},
        {"means": (1.0, nan, 1.0, 1.0, 1.0)},
        {"standard_errors": (0.0,) * 5},
        {"standard_errors": (0.5,) * 5},
        {"places": (1.0, 1.0, 2.0, 3.0, 4.0)},
        {"places": (0.0, 1.0, 2.0, 3.0, 4.0)},
        {"samples": 29},
    )
    rate = Rate(declared=-1.0, margin=0.1, reason=WHY)
    broken += [(rate, Evidence(rows=(dataclasses.replace(good, **change),))) for change in changes]
    for rule, evidence in broken:
        with pytest.raises(ValueError, match="expected"):
            rule.judge(evidence, level=LEVEL)


@pytest.mark.parametrize(
    ("p_support", "p_refute", "verdict"),
    [
        (0.001, 1.0, SUPPORTED),
        (1.0, 0.001, REFUTED),
        (0.5, 0.5, INCONCLUSIVE),
        (0.001, 0.001, INCONCLUSIVE),
        (0.02, 1.0, SUPPORTED),
    ],
)
def test_what_could_be_called_both_ways_is_called_neither(p_support, p_refute, verdict):
    assert decide(p_support, p_refute, 0.02) == verdict


# -- round-off from a second precision ---------------------------------------------------------------------


def test_round_off_seen_in_a_second_precision_bounds_that_of_the_first_and_nothing_wrong():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((2, 4000))
    right = math.fsum(x * y)
    coarse = abs(float(np.dot(x.astype(np.float32), y.astype(np.float32))) - right) / abs(right)
    fine = abs(float(np.dot(x, y)) - float(np.dot(x[::-1], y[::-1]))) / abs(right)
    allowed = roundings_seen(coarse, fine) * UNIT
    assert abs(float(np.dot(x, y)) - right) / abs(right) <= allowed < 1e-9
    assert abs(float(np.dot(x[:-1], y[:-1])) - right) / abs(right) > allowed
    assert roundings_seen(0.0, 0.0) == 10.0
    assert roundings_seen(0.0, 8 * UNIT) == 80.0
    assert roundings_seen(2.0**-20, 0.0) == 160.0
