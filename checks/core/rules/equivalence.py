"""The rule of differences: all smaller than a margin, as samples show."""

from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
from scipy.stats import t as student

from polyseme.checks.core.claim import Judgement, Plan, Verdict
from polyseme.checks.core.evidence import Estimated, Evidence
from polyseme.checks.core.rules.common import (
    MOST_SAMPLES,
    POWER,
    decide,
    each,
    fewest_that,
    require,
    require_estimate,
    rows_of,
    t_above,
    t_below,
    t_shift,
)


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Supported if every difference is shown to be smaller than the margin, refuted if one is shown to be larger.

    Student's t. To support, each row passes two one-sided tests: a false claim, off by the margin or more in some row,
    has to pass in that row too, so its chance is at most the level without a correction for the number of rows. To
    refute, the level is shared by the two sides of all rows (Bonferroni). Size: the level, in both directions, and
    attained at the margin with one row. Power: see `design`.
    """

    margin: float
    reason: str
    name: str = "equivalence"
    measures: str = "far end of the widest interval, relative"
    is_statistical: bool = True

    def judge(self, evidence: Evidence, *, level: float) -> Judgement:
        """Each difference against the margin, relative to its row's scale."""
        rows = rows_of(evidence, Estimated)
        near, far, supporting, refuting = [], [], [], []
        for row in rows:
            require_estimate(row, row.scale)
            require(row.samples >= 2 and isfinite(row.estimate), row)
            distance, allowed = abs(row.estimate), self.margin * row.scale
            supporting.append(t_above(allowed - distance, row.standard_error, row.samples))
            refuting.append(t_above(distance - allowed, row.standard_error, row.samples))
            two_sided, one_sided = student.isf([level / (2 * len(rows)), level], row.samples - 1)
            near.append((distance - two_sided * row.standard_error) / row.scale)
            far.append((distance + one_sided * row.standard_error) / row.scale)
        p_support, p_refute = max(supporting), min(1.0, 2 * len(rows) * min(refuting))
        verdict = decide(p_support, p_refute, level)
        outside, widest = int(np.argmax(near)), int(np.argmax(far))
        if verdict == Verdict.REFUTED:
            outside = int(np.argmin(refuting))
            measured = near[outside]
            sentence = f"'{rows[outside].name}' is off by at least {measured:.3g}, more than the margin {self.margin:g}"
        elif verdict == Verdict.INCONCLUSIVE:
            measured = far[widest]
            sentence = (
                f"'{rows[widest].name}' may be off by {measured:.3g}, beyond the margin {self.margin:g}, or may not"
            )
        else:
            measured = far[widest]
            sentence = f"at level {level:.2g} {each(len(rows), 'interval', 'lies', 'lie')} inside the margin"
        return Judgement(
            verdict=verdict,
            measured=float(measured),
            bound=self.margin,
            sentence=sentence,
            p_support=p_support,
            p_refute=p_refute,
        )

    def design(
        self, *, spread: float, rows: int, level: float, power: float = POWER, most: int = MOST_SAMPLES, fewest: int = 2
    ) -> Plan:
        """Samples per row, for samples of standard deviation `spread` (relative to the scale) in each of `rows` rows.

        With that many a claim that is exactly true is supported with probability `power` at least: each side of each row
        may fail with probability (1 - power) / (2 rows).
        """

        def fails(samples: int) -> float:
            # A side fails where the distance to its edge is less than the quantile of its errors.
            edge, quantile = self.margin * sqrt(samples) / spread, float(student.isf(level, samples - 1))
            return 2 * rows * t_below(quantile, samples, edge)

        samples = fewest_that(lambda n: fails(n) <= 1 - power, fewest, most) if spread > 0 else max(2, fewest)
        reached = power if spread == 0 else max(0.0, 1 - fails(samples))
        return Plan(samples=samples, detects=self.detects(spread, rows, samples, level, power), power=reached)

    def detects(self, spread: float, rows: int, samples: int, level: float, power: float = POWER) -> float:
        """The smallest true difference, relative to the scale, that is refuted with probability `power`.

        From the non-central t: the power of a one-sided test at level / (2 rows) against that much beyond the margin.
        """
        if spread == 0:
            return self.margin
        critical = float(student.isf(level / (2 * rows), samples - 1))
        return self.margin + t_shift(critical, samples, power) * spread / sqrt(samples)
