import math

import numpy as np
import pytest
from scipy.stats import binom

from polyseme.checks.multi_concept.conditions.brackets import (
    CONFIDENCE,
    Bracket,
    Place,
    bounds,
    common,
    reversal,
    slope,
    threshold,
)


def counted(rng: np.random.Generator, x: np.ndarray, share: np.ndarray, trials: int) -> list[Place]:
    hits = rng.binomial(trials, share)
    return [Place(x=float(at), hits=int(k), trials=trials) for at, k in zip(x, hits, strict=True)]


def test_bounds_are_those_of_clopper_and_pearson():
    several = [Place(x=float(x), hits=hits, trials=20) for x, hits in enumerate((7, 20, 0))]
    (lower, upper), *ends = bounds(several, family=5)
    off = (1 - CONFIDENCE) / 5
    assert binom.sf(6, 20, lower) == pytest.approx(off) and binom.cdf(7, 20, upper) == pytest.approx(off)
    assert ends == [(pytest.approx(off ** (1 / 20)), 1.0), (0.0, pytest.approx(1 - off ** (1 / 20)))]


@pytest.mark.parametrize("rising", [True, False])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_a_bracket_holds_the_threshold_and_shrinks(rising: bool, level: float):
    rng, x = np.random.default_rng(5), np.linspace(-4, 4, 17)
    true = 0.3
    at = math.log(level / (1 - level))
    share = 1 / (1 + np.exp(-((x - true) * 4 * (1 if rising else -1) + at)))
    width = {}
    for trials in (30, 1000):
        found = [threshold(counted(rng, x, share, trials), level, rising=rising) for _ in range(300)]
        held = sum(
            not one.contradicted and (one.lower or -math.inf) <= true <= (one.upper or math.inf) for one in found
        )
        # Nominal coverage is 0.95 at least: 0.95 less three standard errors of 300 repetitions.
        assert held / 300 >= CONFIDENCE - 3 * math.sqrt(0.95 * 0.05 / 300)
        width[trials] = np.mean(
            [
                (one.upper if one.upper is not None else 5) - (one.lower if one.lower is not None else -5)
                for one in found
            ]
        )
    assert width[1000] < 0.7 * width[30]
    # A wrong threshold is excluded.
    assert all(one.is_closed and not one.lower <= true + 1.5 <= one.upper for one in found)


def test_the_levels_of_a_bracket_are_not_wasted():
    """Where every place is at the level itself, brackets that err are about as frequent as is allowed, not far rarer."""
    rng, x = np.random.default_rng(6), np.arange(10.0)
    share = np.full(10, 0.5)
    wrong = sum(
        threshold(counted(rng, x, share, 400), 0.5, rising=True) != Bracket(lower=None, upper=None) for _ in range(400)
    )
    assert 0.02 < wrong / 400 < 0.14  # both sides can err here, at 0.05 each


def test_nothing_is_made_up():
    few = [Place(x=x, hits=hits, trials=4) for x, hits in ((1.0, 0), (2.0, 4))]
    assert threshold(few, 0.5, rising=True) == Bracket(lower=None, upper=None)
    all_fail = [Place(x=x, hits=0, trials=60) for x in (1.0, 2.0)]
    assert threshold(all_fail, 0.5, rising=True) == Bracket(lower=2.0, upper=None)
    assert threshold(all_fail, 0.5, rising=False) == Bracket(lower=None, upper=1.0)
    odd = [Place(x=x, hits=hits, trials=60) for x, hits in ((1.0, 60), (2.0, 0))]
    assert threshold(odd, 0.5, rising=True).contradicted
    assert threshold(odd, 0.5, rising=False) == Bracket(lower=1.0, upper=2.0)
    for bad in ([], [few[0], few[0]]):
        with pytest.raises(ValueError, match="each x once"):
            threshold(bad, 0.5, rising=True)


def test_a_reversal_is_told_and_chance_is_not():
    def places(*hits: int) -> list[Place]:
        return [Place(x=float(x), hits=k, trials=60) for x, k in enumerate(hits)]

    assert reversal(places(0, 30, 60), rising=True) is None
    assert reversal(places(0, 30, 60), rising=False) == (1.0, 2.0)  # the first that is seen, from the right
    assert reversal(places(60, 5, 33), rising=False) == (1.0, 2.0)
    assert reversal(places(60, 5, 9), rising=False) is None
    rng = np.random.default_rng(9)
    flat = [reversal(places(*rng.binomial(60, 0.5, 8).tolist()), rising=True) for _ in range(200)]
    assert sum(one is not None for one in flat) <= 10


def test_what_brackets_have_in_common():
    one, other = Bracket(lower=1.0, upper=3.0), Bracket(lower=2.0, upper=None)
    assert common([one, other]) == Bracket(lower=2.0, upper=3.0)
    assert common([one, Bracket(lower=3.5, upper=None)]) is None
    assert common([one, Bracket(lower=None, upper=None, contradicted=True)]) is None
    assert common([]) == Bracket(lower=None, upper=None)


def test_a_larger_family_asks_for_more():
    one = [Place(x=1.0, hits=0, trials=8), Place(x=2.0, hits=8, trials=8)]
    assert threshold(one, 0.5, rising=True).is_closed
    assert threshold(one, 0.5, rising=True, family=100) == Bracket(lower=None, upper=None)


def test_slopes_are_those_of_all_lines_through_the_brackets():
    brackets = {0.0: Bracket(lower=1.0, upper=2.0), 2.0: Bracket(lower=5.0, upper=7.0)}
    found = slope(brackets)
    assert found.fits and (found.lower, found.upper) == (pytest.approx(1.5), pytest.approx(3.0))
    assert slope(brackets | {1.0: Bracket(lower=8.0, upper=9.0)}).fits is False
    assert slope(brackets | {1.0: Bracket(lower=None, upper=None, contradicted=True)}).fits is False
    through = slope(brackets | {1.0: Bracket(lower=None, upper=3.0)})
    assert through.fits and through.upper == pytest.approx(2.0)  # through (0, 1), (1, 3) and (2, 5) alone


def test_a_slope_that_nothing_bounds_has_no_end():
    assert (slope({}).lower, slope({}).upper, slope({}).fits) == (None, None, True)
    one = slope({1.0: Bracket(lower=0.0, upper=1.0)})
    assert (one.lower, one.upper) == (None, None)
    half = slope({0.0: Bracket(lower=None, upper=0.0), 1.0: Bracket(lower=3.0, upper=None)})
    assert half.lower == pytest.approx(3.0) and half.upper is None


def test_the_slope_of_simulated_thresholds_is_held_and_a_wrong_one_excluded():
    """The law of the width: (1 - 2^-(m/2))^(2 K1) at even m crosses a half at about 2 log2(K1) + a."""
    rng, m, K1s = np.random.default_rng(7), np.arange(2.0, 26.0, 2.0), (1, 2, 4, 8, 16, 32)
    held = 0
    for _ in range(60):
        found = {}
        for K1 in K1s:
            share = (1 - 2.0 ** (-m / 2)) ** (2 * K1)
            found[math.log(K1)] = threshold(counted(rng, m, share, 150), 0.5, rising=True, family=len(m) * len(K1s))
        one = slope(found)
        held += one.fits and (one.lower or 0) <= 2 / math.log(2) <= (one.upper or math.inf)
        assert one.upper is not None and one.upper < 4.5 and one.lower is not None and one.lower > 1.0
    assert held >= 57


def test_a_reversal_pays_for_both_bounds():
    """20 and 6 of 60 are apart by bounds that fail with a half of 0.05 each, not by such with a quarter, which two places cost."""
    two = [Place(x=0.0, hits=20, trials=60), Place(x=1.0, hits=6, trials=60)]
    assert bounds(two, family=2)[0][0] > bounds(two, family=2)[1][1]
    assert bounds(two, family=4)[0][0] < bounds(two, family=4)[1][1]
    assert reversal(two, rising=True) is None
    assert reversal(two, rising=True, family=1) == (0.0, 1.0)


def test_lost_trials_count_as_what_shows_less():
    place = Place(x=1.0, hits=5, trials=6, lost=3)
    off = 1 - CONFIDENCE
    ((lower, upper),) = bounds([place], family=1)
    assert binom.sf(4, 9, lower) == pytest.approx(off) and binom.cdf(8, 9, upper) == pytest.approx(off)
    assert bounds([Place(x=1.0, hits=0, trials=0, lost=4)], family=1) == [(0.0, 1.0)]
    sure, less = ([Place(x=1.0, hits=0, trials=8, lost=lost)] for lost in (0, 2))
    assert threshold(sure, 0.5, rising=True).lower == 1.0 and threshold(less, 0.5, rising=True).lower is None
    up, less = ([Place(x=1.0, hits=8, trials=8, lost=lost)] for lost in (0, 2))
    assert threshold(up, 0.5, rising=True).upper == 1.0 and threshold(less, 0.5, rising=True).upper is None
