"""Rules about evidence that is not random: exact zeros, round-off, and orders of convergence.

Size and power are 0 and 1 here: the same evidence always has the same verdict, and what a rule can see is its bound. The
rules about samples have two p-values (`common.py`).
"""

from dataclasses import dataclass

import numpy as np
import sympy as sp

from polyseme.checks.core.claim import Judgement, Plan, Verdict
from polyseme.checks.core.evidence import BEYOND, Compared, Evidence, Exact, Fitted
from polyseme.checks.core.rules.common import each, require, rows_of

WIDEST = 1e-2
"""No round-off bound is wider than this: a computation that keeps less than two digits shows nothing."""
UNIT = float(np.finfo(np.float64).eps / 2)
"""The unit round-off of float64."""


def roundings_seen(coarse: float, fine: float) -> float:
    """Unit round-offs that a computation collects, from its relative error in float32 or float64.

    The second way to a round-off bound, beside counting operations: `coarse` is the relative difference of a float32 run
    from a float64 one, which is that of the float32 run to one part in 2^29; `fine` what two float64 runs of different
    order differ by. Ten times the larger, in its own unit round-offs: a bound is not known to better than that.
    """
    return 10 * max(coarse * 2.0**24, fine / UNIT, 1.0)


@dataclass(frozen=True, kw_only=True)
class ExactZero:
    """Supported if every residual is exactly zero; refuted if one is provably not.

    Size and power are 0 and 1: nothing is random, and nothing is decided at a float point. A residual that
    SymPy can neither cancel nor show to be non-zero is inconclusive.
    """

    name: str = "exact"
    measures: str = "residuals that are not exactly zero"
    reason: str = "exact zero, in symbols or rational numbers"
    is_statistical: bool = False

    def design(self) -> Plan:
        """One evaluation decides, and any residual that is not zero is seen."""
        return Plan(samples=1, detects=0.0, power=1.0)

    def judge(self, evidence: Evidence, *, level: float) -> Judgement:
        """Count the residuals that are not zero."""
        del level
        rows = rows_of(evidence, Exact)
        for row in rows:
            # A float that is zero may be an underflow, and what is no expression was not decided in symbols.
            require(isinstance(row.residual, sp.Expr) and not row.residual.has(sp.Float), row)
        nonzero = [row for row in rows if row.residual != 0]
        if not nonzero:
            return Judgement(
                verdict=Verdict.SUPPORTED,
                measured=0.0,
                bound=0.0,
                sentence=f"{each(len(rows), 'residual', 'is', 'are')} exactly zero",
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
    nothing and is inconclusive; so is one within a bound that is wider than WIDEST. Measured and allowed are relative
    to the array's largest entry, those of the row that decides.
    """

    reason: str
    name: str = "round-off"
    measures: str = "largest relative difference"
    is_statistical: bool = False

    def design(self, *, roundings: float) -> Plan:
        """One computation decides; a relative difference beyond that many unit round-offs is seen."""
        return Plan(samples=1, detects=roundings * UNIT, power=1.0)

    def judge(self, evidence: Evidence, *, level: float) -> Judgement:
        """Compare each row with its own bound; NaN is never within it."""
        del level
        rows = rows_of(evidence, Compared)
        for row in rows:
            require(0 < row.scale < np.inf and 0 < row.roundings < np.inf and 0 <= row.jump < np.inf, row)
            require(not row.difference < 0, row)  # NaN is let through, to be refuted

        def share(row: Compared) -> float:
            value = row.difference / (row.scale * row.roundings * UNIT)
            return value if np.isfinite(value) else np.inf

        unexplained = [row for row in rows if share(row) > 1 and not row.difference <= 10 * row.jump]
        too_wide = [row for row in rows if row.roundings * UNIT > WIDEST]
        worst = max(unexplained or too_wide or rows, key=share)
        if unexplained:
            verdict, relation = Verdict.REFUTED, ">"
        elif share(worst) > 1:
            verdict, relation = (
                Verdict.INCONCLUSIVE,
                f"> (but a tiny nudge alone moves it by {worst.jump:.2g}, at a kink)",
            )
        else:
            verdict, relation = (Verdict.INCONCLUSIVE, "within") if too_wide else (Verdict.SUPPORTED, "<=")
        measured, bound = worst.difference / worst.scale, worst.roundings * UNIT
        sentence = (
            f"nothing can be said of {worst.name}"
            if verdict == Verdict.INCONCLUSIVE and worst.jump >= BEYOND
            else f"'{worst.name}' is judged by a bound of {bound:.2g}, too wide to show anything"
            if verdict == Verdict.INCONCLUSIVE and too_wide
            else f"nearest to its bound of {len(rows)} comparisons is '{worst.name}': {measured:.2g} {relation} {bound:.2g}"
        )
        return Judgement(verdict=verdict, measured=measured, bound=bound, sentence=sentence)


@dataclass(frozen=True, kw_only=True)
class Order:
    """Supported if the fitted order, with its half-width, lies within the margin of the declared one."""

    declared: float
    margin: float
    reason: str
    name: str = "order"
    measures: str = "distance of the fitted order from the declared one"
    is_statistical: bool = False

    def design(self, *, half_width: float) -> Plan:
        """One extrapolation decides, if its half-width fits in the margin; an order off by the margin and the whole interval is seen."""
        return Plan(samples=1, detects=self.margin + 2 * half_width, power=float(half_width <= self.margin))

    def judge(self, evidence: Evidence, *, level: float) -> Judgement:
        """Interval against margin, as in `Equivalence`, with a deterministic half-width."""
        del level
        rows = rows_of(evidence, Fitted)
        for row in rows:
            require(bool(np.isfinite(row.order)) and 0 <= row.half_width < np.inf, row)
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
