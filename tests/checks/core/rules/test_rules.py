"""Size and power of the rules, simulated; what they do with evidence that is not a number."""

import dataclasses
import math

import numpy as np
import pytest
import sympy as sp
from scipy.stats import binom

from polyseme.checks.core.claim import Verdict
from polyseme.checks.core.evidence import Compared, Estimated, Evidence, Exact, Fitted
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.core.rules.exact import ExactZero, Order, RoundOff

# Thousands of judgements each; test_rule_numbers.py and every claim that is tried judge under run-time types.
pytestmark = pytest.mark.usefixtures("unchecked_types")

SUPPORTED, REFUTED, INCONCLUSIVE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE
NAN, INF = math.nan, math.inf

# Far above the 1e-3 of the suite, so that a few thousand data sets resolve it.
LEVEL, MARGIN, SETS = 0.05, 0.1, 2000
# A binomial count is beyond this quantile, on one side, once in a million runs; the seeds are fixed besides.
RARE = 1e-6

x = sp.Symbol("x")


def evidence(*rows) -> Evidence:
    return Evidence(rows=rows)


def estimated(estimate, standard_error=0.001, *, samples=100, scale=1.0) -> Estimated:
    return Estimated(name="row", estimate=estimate, standard_error=standard_error, samples=samples, scale=scale)


def fitted(order, half_width=0.001) -> Fitted:
    return Fitted(name="row", order=order, half_width=half_width)


def compared(difference, scale=1.0, roundings=4.0) -> Compared:
    return Compared(name="row", difference=difference, scale=scale, roundings=roundings)


def verdict(rule, *rows) -> Verdict:
    return rule.judge(evidence(*rows), level=LEVEL).verdict


EQUIVALENCE = Equivalence(margin=MARGIN, reason="a test")
ROUND_OFF = RoundOff(reason="a test")
ORDER = Order(declared=1.0, margin=0.1, reason="a test")
RULES = [
    (ExactZero(), Exact(name="row", residual=sp.S.Zero)),
    (ROUND_OFF, compared(0.0)),
    (EQUIVALENCE, estimated(0.0)),
    (ORDER, fitted(1.0)),
]


def verdicts(truths, *, deviation, samples, seed, scale=1.0) -> dict[Verdict, int]:
    """How often each verdict falls, over SETS normal data sets with one row per true difference (relative to scale)."""
    rng = np.random.default_rng(seed)
    data = scale * (np.asarray(truths)[:, None] + deviation * rng.standard_normal((SETS, len(truths), samples)))
    means, errors = data.mean(-1), data.std(-1, ddof=1) / math.sqrt(samples)
    counts = dict.fromkeys(Verdict, 0)
    for mean, error in zip(means.tolist(), errors.tolist(), strict=True):
        rows = [estimated(*row, samples=samples, scale=scale) for row in zip(mean, error, strict=True)]
        counts[verdict(EQUIVALENCE, *rows)] += 1
    return counts


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("samples", [3, 40])
def test_a_difference_at_the_margin_is_supported_with_the_level_and_refuted_with_its_share(sign, rows, samples):
    truths = [sign * MARGIN, *[0.0] * (rows - 1)]
    counts = verdicts(truths, deviation=0.05 * math.sqrt(samples / 40), samples=samples, seed=1)
    assert counts[SUPPORTED] <= binom.ppf(1 - RARE, SETS, LEVEL)
    assert counts[REFUTED] <= binom.ppf(1 - RARE, SETS, LEVEL / (2 * rows))
    if rows == 1:  # the other rows can only take support away
        assert counts[SUPPORTED] >= binom.ppf(RARE, SETS, LEVEL), "the level is spent, not wasted"


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_true_claim_with_enough_samples_is_supported_nearly_always(scale):
    # The interval's half-width is about t * 0.05 / sqrt(40) = 0.02, a fifth of the margin.
    counts = verdicts([0.0] * 4, deviation=0.05, samples=40, seed=2, scale=scale)
    assert counts[SUPPORTED] == SETS


def test_a_true_claim_is_refuted_with_at_most_the_level_even_close_to_the_margin():
    counts = verdicts([0.99 * MARGIN] * 4, deviation=0.05, samples=10, seed=3)
    assert counts[REFUTED] <= binom.ppf(1 - RARE, SETS, LEVEL)


@pytest.mark.parametrize("samples", [2, 3, 5])
def test_too_few_samples_are_inconclusive(samples):
    # Scatter of four margins: a lucky small sample variance has to be rarer than the level.
    counts = verdicts([0.0, 0.0], deviation=4 * MARGIN, samples=samples, seed=4)
    assert counts[SUPPORTED] + counts[REFUTED] <= binom.ppf(1 - RARE, SETS, LEVEL)


def test_far_outside_the_margin_is_refuted_even_if_the_other_rows_fit():
    counts = verdicts([0.0, 0.0, 5 * MARGIN], deviation=0.05, samples=40, seed=5)
    assert counts[REFUTED] == SETS


@pytest.mark.parametrize("truth", [0.0, 1.1 * MARGIN])
def test_the_chance_to_pass_does_not_fall_with_the_number_of_samples_unless_the_claim_is_false(truth):
    passed = [verdicts([truth], deviation=MARGIN, samples=n, seed=6)[SUPPORTED] for n in (2, 4, 8, 32)]
    if truth == 0:
        assert passed == sorted(passed)
        assert passed[0] < SETS / 10 < SETS / 2 < passed[-1]
    else:
        assert max(passed) <= binom.ppf(1 - RARE, SETS, LEVEL)


def test_the_same_estimate_and_scatter_from_fewer_samples_never_passes_where_more_did_not():
    seen = set()
    for estimate in np.linspace(-2 * MARGIN, 2 * MARGIN, 41).tolist():
        passes = [
            verdict(EQUIVALENCE, estimated(estimate, MARGIN / math.sqrt(n), samples=n)) == SUPPORTED
            for n in (2, 3, 5, 10, 100, 10_000)
        ]
        assert passes == sorted(passes), f"at {estimate} support is lost with more samples"
        seen |= set(passes)
    assert seen == {True, False}


@pytest.mark.parametrize(
    "row",
    [
        estimated(NAN),
        estimated(0.0, NAN),
        estimated(0.0, INF),
        estimated(INF),
        estimated(0.0, samples=1),
        estimated(5.0, samples=1),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_an_estimate_that_says_nothing_is_a_broken_check_wherever_it_stands(row, place):
    rows = [estimated(0.0), estimated(0.0)]
    rows[place] = row
    with pytest.raises(ValueError, match="expected finite evidence"):
        verdict(EQUIVALENCE, *rows)


UNIT = np.finfo(np.float64).eps / 2


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_round_off_is_judged_against_its_bound_relative_to_the_scale(scale):
    assert verdict(ROUND_OFF, compared(3.99 * UNIT * scale, scale)) == SUPPORTED
    assert verdict(ROUND_OFF, compared(4.01 * UNIT * scale, scale)) == REFUTED
    judgement = ROUND_OFF.judge(evidence(compared(3 * UNIT * scale, scale), compared(0.0, scale)), level=LEVEL)
    # Two divisions and a product of doubles.
    assert judgement.measured == pytest.approx(3 * UNIT, rel=1e-15)
    assert judgement.bound == 4 * UNIT


def test_round_off_reports_the_row_nearest_to_its_bound_not_the_largest():
    judgement = ROUND_OFF.judge(
        evidence(compared(50 * UNIT, roundings=100.0), compared(3 * UNIT, roundings=4.0)), level=LEVEL
    )
    assert (judgement.verdict, judgement.bound) == (SUPPORTED, 4 * UNIT)


@pytest.mark.parametrize("wrong", [NAN, INF])
@pytest.mark.parametrize("before", [0, 2])
def test_round_off_refutes_what_is_not_finite_wherever_it_stands(wrong, before):
    rows = [compared(0.0)] * before + [compared(wrong)] + [compared(0.0)]
    assert verdict(ROUND_OFF, *rows) == REFUTED


@pytest.mark.parametrize("difference", [0.0, 1.0])
def test_a_scale_of_zero_is_never_supported(difference):
    with pytest.raises(ValueError, match="expected finite evidence"):
        verdict(ROUND_OFF, compared(difference, 0.0))


@pytest.mark.parametrize(
    "row", [compared(1.0, INF), compared(1.0, 1.0, INF), compared(1.0, -1.0)], ids=["scale", "roundings", "negative"]
)
def test_an_impossible_allowance_is_a_broken_check(row):
    with pytest.raises(ValueError, match="expected finite evidence"):
        verdict(ROUND_OFF, row)


def test_a_difference_that_a_nudge_makes_too_is_inconclusive():
    row = compared(1e-3)
    assert verdict(ROUND_OFF, dataclasses.replace(row, jump=2e-4)) == INCONCLUSIVE
    assert verdict(ROUND_OFF, dataclasses.replace(row, jump=1e-5)) == REFUTED  # a hundred times more than the nudge's
    assert verdict(ROUND_OFF, dataclasses.replace(row, jump=2e-4), compared(1.0)) == REFUTED  # another row is plain
    assert verdict(ROUND_OFF, dataclasses.replace(compared(0.0), jump=1.0)) == SUPPORTED


@pytest.mark.parametrize(
    ("residual", "expected"),
    [
        (sp.S.Zero, SUPPORTED),
        ((x + 1) ** 2 - sp.expand((x + 1) ** 2) + x - x, INCONCLUSIVE),  # zero, but not shown to be: not expanded
        (sp.sin(x) ** 2 + sp.cos(x) ** 2 - 1, INCONCLUSIVE),
        (sp.Rational(1, 10**30), REFUTED),
        (sp.exp(sp.pi * sp.sqrt(163)) - 262537412640768744, REFUTED),  # about -7.5e-13
        (x, REFUTED),
        (sp.nan, REFUTED),
    ],
)
def test_exact_zero_supports_zero_refutes_what_is_provably_not_and_leaves_the_rest_open(residual, expected):
    zero, row = Exact(name="zero", residual=sp.S.Zero), Exact(name="row", residual=residual)
    for rows in ([row], [zero, row], [row, zero]):
        judgement = ExactZero().judge(evidence(*rows), level=LEVEL)
        assert judgement.verdict == expected
        assert judgement.measured == (residual != 0)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([fitted(1.0)], SUPPORTED),
        ([fitted(1.09, 0.005), fitted(0.91, 0.005)], SUPPORTED),
        ([fitted(1.0, 0.2)], INCONCLUSIVE),
        ([fitted(1.1, 0.05)], INCONCLUSIVE),
        ([fitted(2.0)], REFUTED),
        ([fitted(0.5)], REFUTED),
        ([fitted(1.0), fitted(0.0)], REFUTED),
        ([fitted(1.0, 9.0), fitted(1.5, 0.1)], REFUTED),
    ],
)
def test_order_compares_the_interval_with_the_margin(rows, expected):
    assert verdict(ORDER, *rows) == expected


@pytest.mark.parametrize("row", [fitted(INF), fitted(NAN), fitted(1.0, NAN)])
@pytest.mark.parametrize("place", [0, 1])
def test_an_order_that_is_no_number_is_a_broken_check_wherever_it_stands(row, place):
    rows = [fitted(1.0), fitted(1.0)]
    rows[place] = row
    with pytest.raises(ValueError, match="expected finite evidence"):
        verdict(ORDER, *rows)


@pytest.mark.parametrize("j", range(len(RULES)))
def test_a_rule_accepts_its_own_rows_and_raises_on_none_and_on_mixed_ones(j):
    rule, row = RULES[j]
    assert verdict(rule, row) == SUPPORTED
    with pytest.raises(ValueError, match=r"expected evidence with \w+ rows, got \[\]"):
        verdict(rule)
    other = RULES[(j + 1) % len(RULES)][1]
    with pytest.raises(ValueError, match=f"got .*{type(other).__name__}"):
        verdict(rule, row, other)
