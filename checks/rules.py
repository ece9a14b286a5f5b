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


def _require(condition: object, row: Row) -> None:
    """Evidence whose own numbers are impossible is a broken check, never a verdict."""
    if not condition:
        raise ValueError(f"expected finite evidence with positive sizes, got {row}")


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
    A difference beyond it that the computation also makes by itself, when it is nudged near a kink, proves
    nothing and is inconclusive. Measured and allowed are relative to the array's largest entry, those of the
    row that decides.
    """

    reason: str
    name: str = "round-off"
    measures: str = "largest relative difference"

    def judge(self, evidence: Evidence, *, level: float) -> Judgement:
        """Compare each row with its own bound; NaN is never within it."""
        del level
        rows = _rows(evidence, Compared)
        for row in rows:
            _require(0 < row.scale < np.inf and 0 < row.roundings < np.inf and 0 <= row.jump < np.inf, row)
        unit = np.finfo(np.float64).eps / 2

        def share(row: Compared) -> float:
            value = row.difference / (row.scale * row.roundings * unit)
            return value if np.isfinite(value) else np.inf

        unexplained = [row for row in rows if share(row) > 1 and not row.difference <= 10 * row.jump]
        worst = max(unexplained or rows, key=share)
        if unexplained:
            verdict, relation = Verdict.REFUTED, ">"
        elif share(worst) > 1:
            verdict, relation = (
                Verdict.INCONCLUSIVE,
                f"> (but a tiny nudge alone moves it by {worst.jump:.2g}, at a kink)",
            )
        else:
            verdict, relation = Verdict.SUPPORTED, "<="
        measured, bound = worst.difference / worst.scale, worst.roundings * unit
        return Judgement(
            verdict=verdict,
            measured=measured,
            bound=bound,
            sentence=f"nearest to its bound of {len(rows)} comparisons is '{worst.name}': "
            f"{measured:.2g} {relation} {bound:.2g}",
        )


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Supported if every interval lies inside the margin, refuted if one is disjoint from it, else inconclusive.

    Student intervals. To support, each row passes two one-sided tests at `level`: a false claim, off by the margin or
    more in some row, has to pass in that row too, so its chance is at most `level` without any correction. To refute,
    `level` is shared by the two sides of all rows (Bonferroni), so a true claim is refuted with probability at most
    `level`. Fewer samples never help to pass.
    """

    margin: float
    reason: str
    name: str = "equivalence"
    measures: str = "far end of the widest interval, relative"

    def judge(self, evidence: Evidence, *, level: float) -> Judgement:
        """Intervals against the margin, each relative to its row's scale."""
        rows = _rows(evidence, Estimated)
        near, far = [], []
        for row in rows:
            _require(0 < row.scale < np.inf and row.samples >= 2 and 0 <= row.standard_error < np.inf, row)
            _require(np.isfinite(row.estimate), row)
            refuting, supporting = student.ppf([1 - level / (2 * len(rows)), 1 - level], row.samples - 1)
            near.append((abs(row.estimate) - refuting * row.standard_error) / row.scale)
            far.append((abs(row.estimate) + supporting * row.standard_error) / row.scale)
        outside, widest = int(np.argmax(near)), int(np.argmax(far))
        if near[outside] > self.margin:
            verdict, measured = Verdict.REFUTED, near[outside]
            sentence = f"'{rows[outside].name}' is off by at least {measured:.3g}, more than the margin {self.margin:g}"
        elif far[widest] > self.margin:
            verdict, measured = Verdict.INCONCLUSIVE, far[widest]
            sentence = (
                f"'{rows[widest].name}' may be off by {measured:.3g}, beyond the margin {self.margin:g}, or may not"
            )
        else:
            verdict, measured = Verdict.SUPPORTED, far[widest]
            sentence = f"all {len(rows)} intervals at level {level:.2g} lie inside the margin"
        return Judgement(verdict=verdict, measured=float(measured), bound=self.margin, sentence=sentence)


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
        for row in rows:
            _require(bool(np.isfinite(row.order)) and 0 <= row.half_width < np.inf, row)
        farthest = max(rows, key=lambda row: abs(row.order - self.declared) - row.half_width)
        widest = max(rows, key=lambda row: abs(row.order - self.declared) + row.half_width)
        if abs(farthest.order - self.declared) - farthest.half_width > self.margin:
            verdict, row = Verdict.REFUTED, farthest
        elif abs(widest.order - self.declared) + widest.half_width > self.margin:
            verdict, row = Verdict.INCONCLUSIVE, widest
        else:
            verdict, row = Verdict.SUPPORTED, widest
        return Judgement(
            verdict=verdict,
            measured=abs(row.order - self.declared) + row.half_width,
            bound=self.margin,
            sentence=f"order {row.order:.4f} +- {row.half_width:.2g}, declared {self.declared:g}",
        )
