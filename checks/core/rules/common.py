"""What the statistical rules share: two p-values and a level make a verdict, and a plan has the fewest samples that do.

Two errors are possible: a claim that holds within its margin is refuted, or one that is off by its margin or more is
supported. Each rule bounds the chance of both by the level it is given, through two p-values:

- `p_refute` bounds the probability of evidence this bad if the claim holds within its margin;
- `p_support` bounds the probability of evidence this good if the claim is off by its margin, or more.

Fewer samples make both larger, so they never help to pass: "not rejected" is not "supported". Every rule has a `design`
that says, for given error rates, how many samples make an inconclusive verdict on an exactly true claim rare.
"""

from collections.abc import Callable
from math import inf, isfinite
from typing import TypeVar

from scipy.optimize import brentq
from scipy.stats import nct, norm
from scipy.stats import t as student

from polyseme.checks.core.claim import Verdict
from polyseme.checks.core.evidence import Bounded, Estimated, Evidence, Row

SomeRow = TypeVar("SomeRow", bound=Row)

# Probability with which a plan's claim is supported if it is exactly true, and refuted if it is off by `detects`.
POWER = 0.99
# No check takes more samples than this for one row without saying that its plan is capped.
MOST_SAMPLES = 10**9
# Samples from which on Student's t and the normal law agree to 1e-5.
NORMAL_FROM = 10**5


def rows_of(evidence: Evidence, *kinds: type[SomeRow]) -> list[SomeRow]:
    """The rows, all of the given kinds; ValueError for evidence without any, since nothing could fail."""
    rows = [row for row in evidence.rows if isinstance(row, kinds)]
    if not rows or len(rows) != len(evidence.rows):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"expected evidence with {expected} rows, got {[type(row).__name__ for row in evidence.rows]}")
    return rows


def each(count: int, noun: str, one: str, many: str) -> str:
    """That something is true of every row, as a sentence begins: "the interval lies", "all 3 intervals lie"."""
    return f"the {noun} {one}" if count == 1 else f"all {count} {noun}s {many}"


def require(condition: object, row: Row) -> None:
    """Evidence whose own numbers are impossible is a broken check, never a verdict."""
    if not condition:
        raise ValueError(f"expected finite evidence with positive sizes, got {row}")


def decide(p_support: float, p_refute: float, level: float) -> Verdict:
    """The verdict at a level; evidence that could be called both ways is called neither."""
    if p_refute <= level < p_support:
        return Verdict.REFUTED
    return Verdict.SUPPORTED if p_support <= level < p_refute else Verdict.INCONCLUSIVE


def t_above(excess: float, standard_error: float, samples: int) -> float:
    """P(T >= excess / standard_error) of Student's T; without any scatter the sign of the excess decides."""
    if standard_error == 0:
        return 0.0 if excess > 0 else 1.0
    return float(student.sf(excess / standard_error, samples - 1))


def t_below(critical: float, samples: int, shift: float) -> float:
    """P(T <= critical) of Student's t around `shift`: both the estimate and its standard error scatter (a non-central t)."""
    if samples > NORMAL_FROM:
        return float(norm.cdf(critical - shift))
    below = float(nct.cdf(critical, samples - 1, shift))
    return below if isfinite(below) else 1.0  # what scipy cannot compute is not enough


def t_shift(critical: float, samples: int, power: float) -> float:
    """Around what Student's t exceeds `critical` with probability `power`."""
    if samples > NORMAL_FROM:
        return critical + float(norm.ppf(power))
    return float(brentq(lambda shift: nct.sf(critical, samples - 1, shift) - power, 0.0, 4 * critical + 40))


def require_estimate(row: Estimated | Bounded, scale: float) -> None:
    """The size that a row is judged by is positive, and its standard error is one."""
    require(0 < scale < inf and isfinite(scale) and isfinite(row.standard_error) and row.standard_error >= 0, row)


def fewest_that(enough: Callable[[int], bool], fewest: int, most: int) -> int:
    """The fewest samples that are enough, by doubling and bisection; `most` if none is."""
    high = max(2, fewest)
    if enough(high):
        return high
    while high < most and not enough(high):
        high = min(2 * high, most)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
