"""Rules: evidence in, judgement out. Every threshold of the suite stands on this page."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.stats import t as student

from checks.claim import Compared, Estimated, Evidence, Exact, Fitted, Judgement, Row, Verdict

SomeRow = TypeVar("SomeRow", bound=Row)

# Probability that a run of the whole suite refutes a true statistical claim or supports a false one at its
# margin; divided over the statistical claims by the runner.
SUITE_FALSE_ALARM = 1e-3


def _rows(evidence: Evidence, kind: type[SomeRow]) -> list[SomeRow]:
    """The rows, all of one kind; evidence without any is an error, since nothing could fail."""
    rows = [row for row in evidence.rows if isinstance(row, kind)]
    if not rows or len(rows) != len(evidence.rows):
        raise ValueError(
            f"expected evidence with {kind.__name__} rows, got {[type(row).__name__ for row in evidence.rows]}"
        )
    return rows


@dataclass(frozen=True, kw_only=True)
class ExactZero:
    """Supported if every residual is exactly zero; refuted if one is provably not.

    Size and power are 0 and 1: nothing is random, and nothing is decided at a float point. A residual that
    SymPy can neither cancel nor show to be non-zero is inconclusive.
    """

    name: str = "exact"
    measures: str = "residuals that are not exactly zero"
    reason: str = "exact zero, in symbols or rational numbers"

    def judge(self, evidence: Evidence, *, level: float) -> Judgement:
        """Count the residuals that are not zero."""
        del level
        rows = _rows(evidence, Exact)
        nonzero = [row for row in rows if row.residual != 0]
        if not nonzero:
            return Judgement(
                verdict=Verdict.SUPPORTED,
                measured=0.0,
                bound=0.0,
                sentence=f"all {len(rows)} residuals are exactly zero",
            )
        verdict = Verdict.REFUTED if any(row.residual.equals(0) is False for row in nonzero) else Verdict.INCONCLUSIVE
        first = nonzero[0]
        text = str(first.residual)
        return Judgement(
            verdict=verdict,
            measured=float(len(nonzero)),
            bound=0.0,
            sentence=f"{len(nonzero)} of {len(rows)} residuals are not zero, first '{first.name}': "
            + (text if len(text) < 200 else text[:197] + "..."),
        )


@dataclass(frozen=True, kw_only=True)
class RoundOff:
    """Supported if each difference is at most the round-off that its computation can cause, else refuted.

    The bound is deterministic: unit round-off times the number of roundings that the measurement counted.
    Measured and allowed are relative to the array's largest entry, those of the row nearest to its bound.
    """

    reason: str
    name: str = "round-off"
    measures: str = "largest relative difference"

    def judge(self, evidence: Evidence, *, level: float) -> Judgement:
        """Compare each row with its own bound; NaN is never within it."""
        del level
        rows = _rows(evidence, Compared)
        unit = np.finfo(np.float64).eps / 2

        def share(row: Compared) -> float:
            value = row.difference / (row.scale * row.roundings * unit)
            return value if np.isfinite(value) else np.inf

        worst = max(rows, key=share)
        within = share(worst) <= 1
        measured, bound = worst.difference / worst.scale, worst.roundings * unit
        return Judgement(
            verdict=Verdict.SUPPORTED if within else Verdict.REFUTED,
            measured=measured,
            bound=bound,
            sentence=f"nearest to its bound of {len(rows)} comparisons is '{worst.name}': "
            f"{measured:.2g} {'<=' if within else '>'} {bound:.2g}",
        )


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Supported if every simultaneous interval lies inside the margin, refuted if one is disjoint from it.

    Student intervals at level `level`, shared evenly over the rows (Bonferroni). Size: a false claim, off by the
    margin or more in some row, is supported with probability at most `level`; a true claim is refuted with
    probability at most `level`. Anything else is inconclusive: fewer samples never help to pass.
    """

    margin: float
    reason: str
    name: str = "equivalence"
    measures: str = "far end of the widest interval, relative"

    def judge(self, evidence: Evidence, *, level: float) -> Judgement:
        """Intervals against the margin, each relative to its row's scale."""
        rows = _rows(evidence, Estimated)
        ends = []
        for row in rows:
            half = student.ppf(1 - level / (2 * len(rows)), row.samples - 1) * row.standard_error
            ends.append(((abs(row.estimate) - half) / row.scale, (abs(row.estimate) + half) / row.scale))
        outside = max(range(len(rows)), key=lambda j: ends[j][0])
        widest = max(range(len(rows)), key=lambda j: ends[j][1])
        if ends[outside][0] > self.margin:
            row, end = rows[outside], ends[outside][0]
            return Judgement(
                verdict=Verdict.REFUTED,
                measured=end,
                bound=self.margin,
                sentence=f"'{row.name}' is off by at least {end:.3g}, more than the margin {self.margin:g}",
            )
        row, end = rows[widest], ends[widest][1]
        supported = end <= self.margin
        return Judgement(
            verdict=Verdict.SUPPORTED if supported else Verdict.INCONCLUSIVE,
            measured=end,
            bound=self.margin,
            sentence=f"all {len(rows)} intervals at simultaneous level {level:.2g} lie inside the margin"
            if supported
            else f"'{row.name}' may be off by {end:.3g}, which is neither inside nor outside the margin {self.margin:g}",
        )


@dataclass(frozen=True, kw_only=True)
class Order:
    """Supported if the fitted order, with its half-width, lies within the margin of the declared one."""

    declared: float
    margin: float
    reason: str
    name: str = "order"
    measures: str = "distance of the fitted order from the declared one"

    def judge(self, evidence: Evidence, *, level: float) -> Judgement:
        """Interval against margin, as in `Equivalence`, with a deterministic half-width."""
        del level
        rows = _rows(evidence, Fitted)
        worst = max(rows, key=lambda row: abs(row.order - self.declared) + row.half_width)
        distance = abs(worst.order - self.declared)
        if distance + worst.half_width <= self.margin:
            verdict = Verdict.SUPPORTED
        elif distance - worst.half_width > self.margin:
            verdict = Verdict.REFUTED
        else:
            verdict = Verdict.INCONCLUSIVE
        return Judgement(
            verdict=verdict,
            measured=distance + worst.half_width,
            bound=self.margin,
            sentence=f"order {worst.order:.4f} +- {worst.half_width:.2g}, declared {self.declared:g}",
        )
