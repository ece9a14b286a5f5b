"""The rule of distributions: an empirical distribution function near a stated one."""

from dataclasses import dataclass
from math import ceil, exp, log, sqrt

import numpy as np

from polyseme.checks.core.claim import Judgement, Plan, Verdict
from polyseme.checks.core.evidence import Distance, Evidence
from polyseme.checks.core.rules.common import MOST_SAMPLES, POWER, decide, require, rows_of


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Supported if every distribution function is shown to be within the margin of the stated one, everywhere.

    By the inequality of Dvoretzky, Kiefer and Wolfowitz with Massart's constant, P(sup |F_n - F| > x) <= 2 exp(-2 n x^2),
    which holds for every F and every n; a second sample has a share of x of its own. Size: at most the
    level, in both directions; it is not attained. Power: see `design`.
    """

    margin: float
    reason: str
    name: str = "distribution"
    measures: str = "far end of the band, distance of distribution functions"
    is_statistical: bool = True

    def judge(self, evidence: Evidence, *, level: float) -> Judgement:
        """The distance of each row against the margin."""
        rows = rows_of(evidence, Distance)
        for row in rows:
            require(0 <= row.distance <= 1 and row.samples >= 1 and row.others >= 0, row)
        supporting = [_beyond(self.margin - row.distance, row) for row in rows]
        refuting = [_beyond(row.distance - self.margin, row) for row in rows]
        p_support, p_refute = max(supporting), min(1.0, len(rows) * min(refuting))
        verdict = decide(p_support, p_refute, level)
        if verdict == Verdict.REFUTED:
            worst = int(np.argmin(refuting))
            measured = rows[worst].distance - _band(rows[worst], level / len(rows))
        else:
            far = [row.distance + _band(row, level) for row in rows]
            worst = int(np.argmax(far))
            measured = far[worst]
        row = rows[worst]
        return Judgement(
            verdict=verdict,
            measured=measured,
            bound=self.margin,
            sentence=f"'{row.name}': distance {row.distance:.3g} of {row.samples} samples, margin {self.margin:g}",
            p_support=p_support,
            p_refute=p_refute,
        )

    def design(
        self, *, rows: int, level: float, power: float = POWER, two_samples: bool = False, most: int = MOST_SAMPLES
    ) -> Plan:
        """Samples per row after which a law that is exactly the stated one is supported with probability `power`."""
        # The margin has room for the band, and for the distance that the sample has by chance.
        parts = 2 if two_samples else 1
        constant = 2 * parts
        wide = sqrt(log(constant / level) / 2) + sqrt(log(constant * rows / (1 - power)) / 2)
        samples = int(min(most, ceil((parts * wide / self.margin) ** 2)))
        band = parts * sqrt(log(constant / level) / (2 * samples))
        chance = constant * rows * exp(-2 * samples * (max(0.0, self.margin - band) / parts) ** 2)
        refuting = parts * sqrt(log(constant * rows / level) / (2 * samples))
        missed = parts * sqrt(log(constant / (1 - power)) / (2 * samples))
        return Plan(samples=samples, detects=self.margin + refuting + missed, power=max(0.0, 1 - chance))


def _effective(row: Distance) -> tuple[int, float]:
    """The constant in front of the exponential, and the size of one sample that is as good as the row's two.

    Two samples share x as their scatters do, in proportion to 1 / sqrt(n), which makes their two terms equal.
    """
    if row.others == 0:
        return 2, float(row.samples)
    return 4, (1 / sqrt(row.samples) + 1 / sqrt(row.others)) ** -2


def _beyond(excess: float, row: Distance) -> float:
    """The probability that the empirical distance is off by `excess` or more."""
    constant, samples = _effective(row)
    return 1.0 if excess <= 0 else min(1.0, constant * exp(-2 * samples * excess**2))


def _band(row: Distance, level: float) -> float:
    """The half-width of the band at a level: `_beyond` of it is the level."""
    constant, samples = _effective(row)
    return sqrt(log(constant / level) / (2 * samples))
