"""Brackets of a threshold: between which scanned places does the probability of success cross a level?

Counts at each place, exact one-sided bounds (Clopper and Pearson) that hold at all of `family` places at once with
`CONFIDENCE` (Bonferroni, whatever the counts have to do with each other), and monotony by assumption; `reversal` says where that is
shown to be wrong. For a bracket to err at a place a bound on one side alone has to fail, that away from the level, so
a one-sided level is enough; that is for one level at a time: brackets of two levels hold with `CONFIDENCE` each on its own. A trial
whose outcome was lost may have been a success or not: each bound is that of the worse. Where the counts show nothing a bracket is open: it holds no number
that was not scanned.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.optimize import linprog
from statsmodels.stats.proportion import proportion_confint

# Of all brackets that share a family, together.
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Place:
    """A scanned value of a quantity, and how many of the trials there were successes."""

    x: float
    hits: int
    trials: int
    lost: int = 0
    """Trials beside those whose outcome is not known."""


@dataclass(frozen=True, kw_only=True)
class Bracket:
    """Between which values the threshold lies; an end is None where nothing was shown.

    `contradicted`: it was shown that success is not monotone, so that there is no such threshold; both ends are None then.
    """

    lower: float | None
    upper: float | None
    contradicted: bool = False

    @property
    def is_closed(self) -> bool:
        """Both ends were shown."""
        return self.lower is not None and self.upper is not None

    def times(self, factor: float) -> "Bracket":
        """The same in another unit, `factor` > 0 of which are one of this."""
        lower, upper = (None if end is None else end * factor for end in (self.lower, self.upper))
        return Bracket(lower=lower, upper=upper, contradicted=self.contradicted)

    def as_pair(self) -> tuple[float | None, float | None]:
        """The two ends."""
        return self.lower, self.upper


def bounds(places: Sequence[Place], *, family: int) -> list[tuple[float, float]]:
    """At each place a lower and an upper bound on the probability of success, each of which fails with a family-th of what may fail.

    Had they been seen, lost trials would be failures at worst for the lower bound and successes for the upper one.
    """
    trials = [place.trials + place.lost for place in places]
    # Both ends of a two-sided interval, each of which fails with half of its alpha.
    alpha = 2 * (1 - CONFIDENCE) / family
    lower, _ = proportion_confint([place.hits for place in places], trials, alpha=alpha, method="beta")
    _, upper = proportion_confint([place.hits + place.lost for place in places], trials, alpha=alpha, method="beta")
    return [(float(low), float(high)) for low, high in zip(lower, upper, strict=True)]


def threshold(places: Sequence[Place], level: float, *, rising: bool, family: int | None = None) -> Bracket:
    """The bracket of the x at which the probability of success crosses `level`, upwards or (rising = False) downwards.

    Lower end: the largest x that was shown to lie before it; upper end: the smallest that was shown to lie beyond it. `family`: over
    how many places brackets are to hold together, these if absent. ValueError for no places, or the same one twice.
    """
    if not places or len({place.x for place in places}) < len(places):
        raise ValueError(f"got {len(places)} places, expected one or more, each x once")
    before, beyond = [], []
    for place, (lower, upper) in zip(places, bounds(places, family=family or len(places)), strict=True):
        if upper < level:
            (before if rising else beyond).append(place.x)
        elif lower > level:
            (beyond if rising else before).append(place.x)
    lower, upper = max(before, default=None), min(beyond, default=None)
    if lower is not None and upper is not None and lower >= upper:
        return Bracket(lower=None, upper=None, contradicted=True)
    return Bracket(lower=lower, upper=upper)


def reversal(places: Sequence[Place], *, rising: bool, family: int | None = None) -> tuple[float, float] | None:
    """Two places between which success was shown to go the other way; None if it was not. Both bounds count, each with half."""
    ends = bounds(places, family=2 * (family or len(places)))
    found = sorted(zip((place.x for place in places), ends, strict=True), reverse=not rising)
    for j, (x, (_, upper)) in enumerate(found):
        highest = max(found[:j], key=lambda one: one[1][0], default=None)
        if highest is not None and highest[1][0] > upper:
            return min(x, highest[0]), max(x, highest[0])
    return None


def common(brackets: Sequence[Bracket]) -> Bracket | None:
    """What all brackets have in common: where one threshold for all of them can lie. None if nowhere."""
    if any(bracket.contradicted for bracket in brackets):
        return None
    lower = max((one.lower for one in brackets if one.lower is not None), default=None)
    upper = min((one.upper for one in brackets if one.upper is not None), default=None)
    if lower is not None and upper is not None and lower > upper:
        return None
    return Bracket(lower=lower, upper=upper)


@dataclass(frozen=True, kw_only=True)
class Slope:
    """Which C in y = a + C x agree with all brackets; an end is None if nothing bounds it. `fits`: whether any line does."""

    lower: float | None
    upper: float | None
    fits: bool


def slope(brackets: Mapping[float, Bracket]) -> Slope:
    """The slopes of all lines that pass through every bracket, over their x (scipy.optimize.linprog).

    A bracket without ends asks for nothing; one that contradicts itself fits no line.
    """
    if any(bracket.contradicted for bracket in brackets.values()):
        return Slope(lower=None, upper=None, fits=False)
    rows, limits = [], []
    for x, bracket in brackets.items():
        if bracket.upper is not None:
            rows.append([1.0, x])
            limits.append(bracket.upper)
        if bracket.lower is not None:
            rows.append([-1.0, -x])
            limits.append(-bracket.lower)
    ends: list[float | None] = []
    for sign in (1.0, -1.0):
        if not rows:
            ends.append(None)
            continue
        found = linprog([0.0, sign], A_ub=rows, b_ub=limits, bounds=[(None, None)] * 2, method="highs")
        if found.status == 2:
            return Slope(lower=None, upper=None, fits=False)
        ends.append(float(found.x[1]) if found.status == 0 and math.isfinite(found.fun) else None)
    return Slope(lower=ends[0], upper=ends[1], fits=True)
