"""The numbers that rules report, one by one, against formulas written out here: measured, allowed, p-values, plans, sentences."""

import math

import numpy as np
import pytest
import sympy as sp
from scipy.stats import binom, chi2, nct, norm
from scipy.stats import t as student

from polyseme.checks.core.claim import Plan
from polyseme.checks.core.evidence import (
    BEYOND,
    Bounded,
    Compared,
    Counted,
    Distance,
    Estimated,
    Evidence,
    Exact,
    Fitted,
    Points,
)
from polyseme.checks.core.rules.bound import UpperBound
from polyseme.checks.core.rules.distribution import Distribution
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.core.rules.exact import UNIT, ExactZero, Order, RoundOff
from polyseme.checks.core.rules.rate import Rate

WHY = "a test"
LEVEL = 0.02


def numbers(rule, *rows, level=LEVEL):
    judgement = rule.judge(Evidence(rows=rows), level=level)
    return str(judgement.verdict), judgement.measured, judgement.bound, judgement.p_support, judgement.p_refute


def sentence(rule, *rows):
    return rule.judge(Evidence(rows=rows), level=LEVEL).sentence


def near(*values):
    return tuple(x if isinstance(x, str) or x is None else pytest.approx(x, rel=1e-9, abs=1e-300) for x in values)


# -- equivalence -------------------------------------------------------------------------------------------


def estimated(estimate, error, samples=10, scale=2.0, name="x"):
    return Estimated(name=name, estimate=estimate, standard_error=error, samples=samples, scale=scale)


def test_equivalence():
    rule = Equivalence(margin=0.1, reason=WHY)
    tight, loose = estimated(0.02, 0.01), estimated(-0.05, 0.02, name="y")
    far = (0.05 + student.isf(LEVEL, 9) * 0.02) / 2
    support = student.sf((0.2 - 0.05) / 0.02, 9)
    refute = min(1.0, 4 * student.sf((0.02 - 0.2) / 0.01, 9))
    assert numbers(rule, tight, loose) == near("supported", far, 0.1, support, refute)
    assert sentence(rule, tight, loose) == "at level 0.02 all 2 intervals lie inside the margin"
    wrong = estimated(0.5, 0.02, name="z")
    near_end = (0.5 - student.isf(LEVEL / 4, 9) * 0.02) / 2
    assert numbers(rule, tight, wrong) == near(
        "refuted", near_end, 0.1, student.sf((0.2 - 0.5) / 0.02, 9), 4 * student.sf((0.5 - 0.2) / 0.02, 9)
    )
    assert sentence(rule, tight, wrong) == f"'z' is off by at least {near_end:.3g}, more than the margin 0.1"
    open_row = estimated(0.19, 0.05, name="w")
    assert sentence(rule, tight, open_row) == (
        f"'w' may be off by {(0.19 + student.isf(LEVEL, 9) * 0.05) / 2:.3g}, beyond the margin 0.1, or may not"
    )
    assert numbers(rule, estimated(0.0, 0.0)) == near("supported", 0.0, 0.1, 0.0, 1.0)
    assert numbers(rule, estimated(0.3, 0.0)) == near("refuted", 0.15, 0.1, 1.0, 0.0)
    assert numbers(rule, estimated(0.2, 0.0))[0] == "inconclusive", "exactly at the margin"


@pytest.mark.parametrize(("spread", "rows", "power"), [(0.3, 3, 0.9), (1.0, 1, 0.99)])
def test_a_plan_of_equivalence(spread, rows, power):
    rule = Equivalence(margin=0.1, reason=WHY)

    def fails(n):
        return 2 * rows * nct.cdf(student.isf(LEVEL, n - 1), n - 1, 0.1 * math.sqrt(n) / spread)

    n = next(n for n in range(2, 10**6) if fails(n) <= 1 - power)
    plan = rule.design(spread=spread, rows=rows, level=LEVEL, power=power)
    assert plan.samples == n
    assert plan.power == pytest.approx(1 - fails(n), rel=1e-12)
    shift = (plan.detects - 0.1) * math.sqrt(n) / spread
    assert nct.sf(student.isf(LEVEL / (2 * rows), n - 1), n - 1, shift) == pytest.approx(power, rel=1e-9)
    capped = rule.design(spread=spread, rows=rows, level=LEVEL, power=power, most=n // 2)
    assert (capped.samples, capped.power) == (n // 2, pytest.approx(max(0.0, 1 - fails(n // 2))))
    assert rule.design(spread=0.0, rows=rows, level=LEVEL, fewest=7) == Plan(samples=7, detects=0.1, power=0.99)
    assert rule.design(spread=spread, rows=rows, level=LEVEL, fewest=10 * n).samples == 10 * n
    assert rule.design(spread=100.0, rows=1, level=LEVEL, most=9).power == 0.0


def test_what_large_samples_detect_is_normal():
    rule = Equivalence(margin=0.1, reason=WHY)
    expected = 0.1 + (student.isf(0.01, 10**6 - 1) + norm.ppf(0.9)) * 0.5 / 1000
    assert rule.detects(0.5, 1, 10**6, LEVEL, 0.9) == pytest.approx(expected, rel=1e-9)
    assert rule.detects(0.5, 1, 10**5 + 1, LEVEL, 0.9) == pytest.approx(
        rule.detects(0.5, 1, 10**5 + 2, LEVEL, 0.9), rel=1e-5
    )
    assert rule.detects(1.0, 1, 50, LEVEL, 0.9) > 0.2, "not as if there were no spread"


# -- bounds ------------------------------------------------------------------------------------------------


def test_bounds_from_counts():
    rule = UpperBound(reason=WHY)
    one, two = Counted(name="a", hits=2, trials=100, bound=0.1), Counted(name="b", hits=1, trials=100, bound=0.2)

    def upper(hits, tail):
        from scipy.stats import beta

        return beta.isf(tail, hits + 1, 100 - hits)

    def lower(hits, tail):
        from scipy.stats import beta

        return beta.ppf(tail, hits, 101 - hits)

    support = max(binom.cdf(2, 100, 0.1), binom.cdf(1, 100, 0.2))
    assert numbers(rule, one, two) == near("supported", upper(2, LEVEL) / 0.1, 1.0, support, 1.0)
    share = upper(2, LEVEL) / 0.1
    assert rule.judge(Evidence(rows=(one, two)), level=LEVEL).slack == pytest.approx(1 / share)
    assert (
        sentence(rule, one, two)
        == f"all 2 values are at most {share:.3g} of their bounds: it is {1 / share:.3g} times too loose"
    )
    bad = Counted(name="c", hits=30, trials=100, bound=0.1)
    expected = near("refuted", lower(30, LEVEL / 2) / 0.1, 1.0, binom.cdf(30, 100, 0.1), 2 * binom.sf(29, 100, 0.1))
    assert numbers(rule, one, bad) == expected
    assert sentence(rule, one, bad) == f"'c' is at least {lower(30, LEVEL / 2) / 0.1:.3g} times its bound"
    # What is refuted most clearly is reported, not what has the longest interval; and the worst of the good ones wherever it is.
    wide = Counted(name="w", hits=1, trials=1, bound=0.15)
    assert sentence(rule, wide, bad).startswith("'c' is at least") and sentence(rule, bad, wide).startswith(
        "'c' is at least"
    )
    assert numbers(rule, two, one)[1] == pytest.approx(share)
    close = Counted(name="d", hits=9, trials=100, bound=0.1)
    assert sentence(rule, close) == f"'d' may be {upper(9, LEVEL) / 0.1:.3g} times its bound, or may be within it"
    assert numbers(rule, Counted(name="e", hits=1, trials=1, bound=1.0))[0] == "inconclusive"


def test_bounds_from_estimates():
    rule = UpperBound(reason=WHY)
    fine = Bounded(name="a", value=1.0, bound=2.0, standard_error=0.1, samples=10)
    poor = Bounded(name="b", value=5.0, bound=2.0, standard_error=0.1, samples=10)
    share = (1.0 + student.isf(LEVEL, 9) * 0.1) / 2
    assert numbers(rule, fine) == near("supported", share, 1.0, student.sf(10.0, 9), 1 * student.sf(-10.0, 9))
    low = (5.0 - student.isf(LEVEL / 2, 9) * 0.1) / 2
    assert numbers(rule, fine, poor) == near("refuted", low, 1.0, student.sf(-30.0, 9), 2 * student.sf(30.0, 9))
    assert numbers(rule, Bounded(name="c", value=0.5, bound=2.0)) == near("supported", 0.25, 1.0, 0.0, 1.0)
    assert numbers(rule, Bounded(name="c", value=3.0, bound=2.0)) == near("refuted", 1.5, 1.0, 1.0, 0.0)
    assert sentence(rule, Bounded(name="c", value=0.0, bound=2.0)).endswith(": nothing was seen of what it bounds")
    assert sentence(rule, Bounded(name="c", value=1.0, bound=100.0)).endswith(
        ": it is 100 times too loose, and says little"
    )
    assert sentence(rule, Bounded(name="c", value=1.0, bound=99.0)).endswith(": it is 99 times too loose")


@pytest.mark.parametrize(("bound", "truth", "rows"), [(0.1, 0.02, 3), (0.3, 0.1, 1)])
def test_a_plan_of_a_bound(bound, truth, rows):
    plan = UpperBound(reason=WHY).design(bound=bound, truth=truth, rows=rows, level=LEVEL, power=0.9)

    def reached(n):
        most = max([k for k in range(n + 1) if binom.cdf(k, n, bound) <= LEVEL], default=-1)
        return 1 - rows * (1 - binom.cdf(most, n, truth)) if most >= 0 else 0.0

    n = plan.samples
    assert reached(n) >= 0.9 and plan.power == pytest.approx(reached(n), rel=1e-12)
    assert reached(n - 1) < 0.9
    fewest = min(k for k in range(n + 2) if binom.sf(k - 1, n, bound) <= LEVEL / rows)
    assert binom.sf(fewest - 1, n, bound * plan.detects) == pytest.approx(0.9, rel=1e-6)
    assert UpperBound(reason=WHY).design(bound=0.9, truth=0.1, rows=1, level=1e-9, most=3).detects == math.inf


def test_a_plan_of_counts_is_that_of_its_own_number_of_trials():
    rule, asked = UpperBound(reason=WHY), {"bound": 0.1, "truth": 0.02, "rows": 3, "level": LEVEL}
    fewest = rule.design(**asked)
    assert rule.design_counts(**asked, samples=fewest.samples) == fewest
    more = rule.design_counts(**asked, samples=10 * fewest.samples)
    assert more.samples == 10 * fewest.samples and more.power >= fewest.power and more.detects < fewest.detects


def test_a_plan_of_bounded_means():
    asked = {"bound": 2.0, "truth": 1.3, "spread": 0.5, "rows": 2, "level": LEVEL, "power": 0.9}
    plan = UpperBound(reason=WHY).design_means(**asked, samples=9)
    error = 0.5 / 3
    alone, shared = student.isf(LEVEL, 8), student.isf(LEVEL / 2, 8)
    assert plan.power == pytest.approx(1 - 2 * nct.cdf(alone, 8, 0.7 / error))
    assert nct.sf(shared, 8, (plan.detects - 1) * 2.0 / error) == pytest.approx(0.9, rel=1e-6)
    many = UpperBound(reason=WHY).design_means(**asked | {"spread": 0.5 * 200 / 3}, samples=40_000)
    assert many.power == pytest.approx(1 - 2 * norm.cdf(norm.isf(LEVEL) - 0.7 / error), abs=1e-3)
    assert many.power > plan.power, "few samples do not know their own spread"


def test_plans_of_rare_events():
    design = UpperBound(reason=WHY).design
    assert design(bound=0.1, truth=0.0, rows=1, level=LEVEL).samples == math.ceil(math.log(LEVEL) / math.log(0.9))
    assert design(bound=0.9, truth=0.0, rows=1, level=LEVEL).samples == 2


# -- rates -------------------------------------------------------------------------------------------------

PLACES = (1.0, 2.0, 4.0, 8.0)


def curve(rate, name="x", wiggle=0.0):
    means = np.array(PLACES) ** rate * np.exp(wiggle * np.array([1, -1, 1, -1]))
    return Points(
        name=name,
        places=PLACES,
        means=tuple(map(float, means)),
        standard_errors=tuple(float(0.01 * x) for x in means),
        samples=50,
    )


def test_rates():
    rule = Rate(declared=-1.0, margin=0.1, reason=WHY)
    lever = math.sqrt(sum((math.log(x) - math.log(8.0) / 2) ** 2 for x in PLACES))
    error = 0.01 / lever
    assert numbers(rule, curve(-1.02)) == near(
        "supported", 0.02 + norm.isf(LEVEL) * error, 0.1, norm.sf(0.08 / error), 1.0
    )
    both = numbers(rule, curve(-1.02), curve(-1.3, name="y"))
    assert both == near(
        "refuted", 0.3 - norm.isf(LEVEL / 4) * error, 0.1, norm.sf(-0.2 / error), 4 * norm.sf(0.2 / error)
    )
    assert sentence(rule, curve(-1.02), curve(-1.3, name="y")) == f"'y': rate -1.3 +- {error:.2g}, declared -1"
    assert numbers(rule, curve(-1.0), curve(-1.03)) == numbers(rule, curve(-1.03), curve(-1.0))
    three = Points(
        name="x", places=(1.0, 2.0, 4.0), means=(4.0, 2.0, 1.0), standard_errors=(0.04, 0.02, 0.01), samples=30
    )
    assert numbers(rule, three)[1] == pytest.approx(norm.isf(LEVEL) * 0.01 / (math.log(2) * math.sqrt(2)), rel=1e-6)
    for errors in ((0.8, 0.4, 0.2), (0.4, 0.02, 0.02)):  # a fifth of each mean; a tenth of the first
        vague = Points(name="x", places=(1.0, 2.0, 4.0), means=(4.0, 2.0, 1.0), standard_errors=errors, samples=30)
        with pytest.raises(ValueError, match="expected"):
            numbers(rule, vague)
    # A wiggle of 0.1 against errors of 0.01: the residuals' own scale counts.
    wiggly = curve(-1.0, wiggle=0.1)
    along = np.log(PLACES)
    slope, level = np.polyfit(along, np.log(wiggly.means), 1)
    residuals = np.log(wiggly.means) - slope * along - level
    birge = math.sqrt(float((residuals**2).sum()) / 2) / 0.01
    assert birge > 5
    measured = abs(slope + 1) + norm.isf(LEVEL) * error * birge
    assert numbers(rule, wiggly)[1] == pytest.approx(measured, rel=1e-9)


def test_a_plan_of_a_rate():
    rule = Rate(declared=-1.0, margin=0.1, reason=WHY)
    lever = math.sqrt(sum((math.log(x) - math.log(8.0) / 2) ** 2 for x in PLACES))
    birge = math.sqrt(chi2.ppf(0.999, 2) / 2)
    needed = birge * (norm.isf(LEVEL) + norm.isf(0.1 / 6)) * 0.5 / (0.1 * lever)
    plan = rule.design(places=PLACES, spread=0.5, rows=3, level=LEVEL, power=0.9)
    error = birge * 0.5 / lever / math.sqrt(plan.samples)
    assert plan.samples == math.ceil(needed**2)
    assert plan.power == 0.9
    assert plan.detects == pytest.approx(0.1 + error * (norm.isf(LEVEL / 6) + norm.ppf(0.9)), rel=1e-12)
    capped = rule.design(places=PLACES, spread=0.5, rows=3, level=LEVEL, power=0.9, most=9 * plan.samples // 10)
    error = birge * 0.5 / lever / math.sqrt(capped.samples)
    assert capped.power == pytest.approx(1 - 6 * norm.sf(0.1 / error - norm.isf(LEVEL)), rel=1e-9)
    assert rule.design(places=PLACES, spread=1e-9, rows=1, level=LEVEL).samples == 2
    assert rule.design(places=PLACES, spread=50.0, rows=1, level=LEVEL, most=5).power == 0.0
    many = tuple(float(x) for x in range(1, 63))
    lever = float(np.std(np.log(many))) * math.sqrt(62)
    birge = math.sqrt(chi2.ppf(0.999, 60) / 60)
    needed = birge * (norm.isf(LEVEL) + norm.isf(0.05)) * 0.5 / (0.1 * lever)
    assert rule.design(places=many, spread=0.5, rows=1, level=LEVEL, power=0.9).samples == max(2, math.ceil(needed**2))
    linear = Rate(declared=-1.0, margin=0.1, reason=WHY, exponential=True)
    assert linear.design(places=PLACES, spread=0.5, rows=3, level=LEVEL, power=0.9).samples < plan.samples / 5


# -- distributions -----------------------------------------------------------------------------------------


def test_distributions():
    rule = Distribution(margin=0.1, reason=WHY)
    one, two = Distance(name="a", distance=0.02, samples=2000), Distance(name="b", distance=0.03, samples=2000)

    def band(n, level):
        return math.sqrt(math.log(2 / level) / (2 * n))

    assert numbers(rule, one, two) == near(
        "supported", 0.03 + band(2000, LEVEL), 0.1, 2 * math.exp(-2 * 2000 * 0.07**2), 1.0
    )
    assert sentence(rule, one, two) == "'b': distance 0.03 of 2000 samples, margin 0.1"
    bad = Distance(name="c", distance=0.2, samples=2000)
    assert numbers(rule, one, bad) == near(
        "refuted", 0.2 - band(2000, LEVEL / 2), 0.1, 1.0, 2 * 2 * math.exp(-2 * 2000 * 0.1**2)
    )
    pair = Distance(name="d", distance=0.01, samples=3000, others=4000)
    both = (1 / math.sqrt(3000) + 1 / math.sqrt(4000)) ** -2
    beyond, wide = 4 * math.exp(-2 * both * 0.09**2), math.sqrt(math.log(4 / LEVEL) / (2 * both))
    assert numbers(rule, pair) == near("supported", 0.01 + wide, 0.1, beyond, 1.0)
    assert numbers(rule, Distance(name="e", distance=0.1, samples=5))[3:] == (1.0, 1.0)
    assert numbers(rule, Distance(name="e", distance=0.09, samples=5))[3:] == (1.0, 1.0), (
        "probabilities, not bounds above 1"
    )
    assert numbers(rule, Distance(name="e", distance=0.09, samples=5, others=5))[3:] == (1.0, 1.0)
    assert rule.design(rows=1, level=LEVEL) == rule.design(rows=1, level=LEVEL, two_samples=False)
    assert numbers(rule, Distance(name="f", distance=0.0, samples=1))[0] == "inconclusive"
    assert numbers(rule, Distance(name="g", distance=1.0, samples=1000))[0] == "refuted"


@pytest.mark.parametrize(("rows", "parts"), [(1, 1), (4, 1), (2, 2)])
def test_a_plan_of_a_distribution(rows, parts):
    plan = Distribution(margin=0.1, reason=WHY).design(rows=rows, level=LEVEL, power=0.9, two_samples=parts == 2)
    constant = 2 * parts
    wide = math.sqrt(math.log(constant / LEVEL) / 2) + math.sqrt(math.log(constant * rows / 0.1) / 2)
    n = math.ceil((parts * wide / 0.1) ** 2)
    assert plan.samples == n
    room = 0.1 - parts * math.sqrt(math.log(constant / LEVEL) / (2 * n))
    assert plan.power == pytest.approx(1 - constant * rows * math.exp(-2 * n * (room / parts) ** 2), rel=1e-9)
    assert plan.detects == pytest.approx(
        0.1
        + parts * math.sqrt(math.log(constant * rows / LEVEL) / (2 * n))
        + parts * math.sqrt(math.log(constant / 0.1) / (2 * n)),
        rel=1e-12,
    )
    tiny = Distribution(margin=0.1, reason=WHY).design(rows=rows, level=LEVEL, power=0.9, most=3)
    assert (tiny.samples, tiny.power) == (3, 0.0)


# -- what is not random ------------------------------------------------------------------------------------


def test_exact_zeros():
    zero, one = Exact(name="a", residual=sp.S.Zero), Exact(name="b", residual=sp.Symbol("x") + 1)
    assert numbers(ExactZero(), zero, zero) == ("supported", 0.0, 0.0, None, None)
    assert sentence(ExactZero(), zero, zero) == "all 2 residuals are exactly zero"
    assert numbers(ExactZero(), zero, one) == ("refuted", 1.0, 0.0, None, None)
    assert sentence(ExactZero(), zero, one) == "1 of 2 residuals are not zero, first 'b': x + 1"
    long = Exact(name="c", residual=sp.Symbol("y" * 300))
    assert sentence(ExactZero(), long) == f"1 of 1 residuals are not zero, first 'c': {'y' * 197}..."
    assert sentence(ExactZero(), Exact(name="c", residual=sp.Symbol("y" * 199))).endswith("y" * 199)
    assert sentence(ExactZero(), Exact(name="c", residual=sp.Symbol("y" * 200))).endswith("yyy...")


def test_round_off():
    rule = RoundOff(reason=WHY)

    def row(share, *, jump=0.0, name="x", roundings=4.0):
        return Compared(name=name, difference=share * 2.0 * roundings * UNIT, scale=2.0, roundings=roundings, jump=jump)

    assert numbers(rule, row(0.5), row(0.75, name="y")) == near("supported", 3.0 * UNIT, 4 * UNIT, None, None)
    assert sentence(rule, row(0.5), row(0.75, name="y")) == (
        f"nearest to its bound of 2 comparisons is 'y': {3 * UNIT:.2g} <= {4 * UNIT:.2g}"
    )
    assert numbers(rule, row(1.0))[0] == "supported", "at its bound"
    assert numbers(rule, row(1.5))[0] == "refuted"
    assert sentence(rule, row(1.5)) == f"nearest to its bound of 1 comparisons is 'x': {6 * UNIT:.2g} > {4 * UNIT:.2g}"
    difference = row(1.5).difference
    assert numbers(rule, row(1.5, jump=difference / 10))[0] == "inconclusive", "ten times the jump, just"
    assert numbers(rule, row(1.5, jump=difference / 10.5))[0] == "refuted"
    assert "at a kink" in sentence(rule, row(1.5, jump=difference))
    lost = Compared(name="the rest", difference=BEYOND, scale=1.0, roundings=1.0, jump=BEYOND)
    assert sentence(rule, row(0.5), lost) == "nothing can be said of the rest"
    assert numbers(rule, row(0.5), lost)[0] == "inconclusive" and numbers(rule, row(1.5), lost)[0] == "refuted"
    assert numbers(rule, row(0.5, roundings=0.5))[0] == "supported", "half a rounding is a bound too"
    for bad in ({"roundings": 0.0}, {"jump": math.inf}, {"scale": 0.0}, {"difference": -1.0}):
        with pytest.raises(ValueError, match="expected"):
            values = {"name": "x", "difference": 1.0, "scale": 1.0, "roundings": 1.0} | bad
            rule.judge(Evidence(rows=(Compared(**values),)), level=LEVEL)
    wide = row(0.5, roundings=1.01e-2 / UNIT)
    assert numbers(rule, row(0.5, roundings=0.99e-2 / UNIT))[0] == "supported"
    assert numbers(rule, row(0.5), wide)[0] == "inconclusive", "a bound of more than WIDEST shows nothing"
    assert numbers(rule, row(1.5), wide)[0] == "refuted"
    assert rule.design(roundings=8.0) == Plan(samples=1, detects=8 * UNIT, power=1.0)


def test_orders():
    rule = Order(declared=1.0, margin=0.1, reason=WHY)
    good, wide = Fitted(name="a", order=1.02, half_width=0.01), Fitted(name="b", order=0.96, half_width=0.05)
    assert numbers(rule, good, wide) == near("supported", 0.09, 0.1, None, None)
    assert sentence(rule, good, wide) == "order 0.9600 +- 0.05, declared 1"
    bad = Fitted(name="c", order=1.5, half_width=0.1)
    assert numbers(rule, good, bad) == near("refuted", 0.6, 0.1, None, None)
    assert numbers(rule, Fitted(name="d", order=1.125, half_width=0.0))[0] == "refuted"
    assert numbers(rule, Fitted(name="e", order=1.05, half_width=0.2))[0] == "inconclusive"
    half = Order(declared=1.0, margin=0.5, reason=WHY)
    assert numbers(half, Fitted(name="f", order=1.5, half_width=0.0))[0] == "supported", "at the margin"
    assert numbers(half, Fitted(name="f", order=1.75, half_width=0.25))[0] == "inconclusive"
    with pytest.raises(ValueError, match="expected"):
        rule.judge(Evidence(rows=(Fitted(name="g", order=1.0, half_width=math.inf),)), level=LEVEL)
    assert half.design(half_width=0.5) == Plan(samples=1, detects=1.5, power=1.0)
