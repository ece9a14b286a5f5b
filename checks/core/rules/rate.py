"""The rule of rates: the slope of a curve on logarithmic axes."""

from dataclasses import dataclass
from math import ceil, inf, isfinite, sqrt

import numpy as np
from scipy.stats import chi2, norm

from polyseme.checks.core.claim import Judgement, Plan, Verdict
from polyseme.checks.core.evidence import Evidence, Points
from polyseme.checks.core.rules.common import MOST_SAMPLES, POWER, decide, require, rows_of

FEWEST = 30
"""Samples behind each mean from which on its standard error counts as known, and its law as normal."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Supported if the slope of a curve on logarithmic axes is shown to be within the margin of the declared one.

    The slope of log(mean) against log(place), or against the place itself where `exponential`, by least squares
    weighted with the known standard errors. Where the points scatter about the line by more than those (Birge's ratio
    above 1) the slope's error grows by as much, so that a curve that is no power law makes a rate uncertain, and not
    certain. Size: the level, in both directions, for normal errors of known size. Power: see `design`.
    """

    declared: float
    margin: float
    reason: str
    exponential: bool = False
    name: str = "rate"
    measures: str = "far end of the interval of the rate, from the declared one"
    is_statistical: bool = True

    def judge(self, evidence: Evidence, *, level: float) -> Judgement:
        """The fitted slope of each row against the declared one."""
        rows = rows_of(evidence, Points)
        fits = [self._slope(row) for row in rows]
        distances = [abs(slope - self.declared) for slope, _ in fits]
        errors = [error for _, error in fits]
        supporting = [float(norm.sf((self.margin - d) / s)) for d, s in zip(distances, errors, strict=True)]
        refuting = [float(norm.sf((d - self.margin) / s)) for d, s in zip(distances, errors, strict=True)]
        p_support, p_refute = max(supporting), min(1.0, 2 * len(rows) * min(refuting))
        verdict = decide(p_support, p_refute, level)
        if verdict == Verdict.REFUTED:
            worst = int(np.argmin(refuting))
            measured = distances[worst] - float(norm.isf(level / (2 * len(rows)))) * errors[worst]
        else:
            far = [d + float(norm.isf(level)) * s for d, s in zip(distances, errors, strict=True)]
            worst = int(np.argmax(far))
            measured = far[worst]
        slope, error = fits[worst]
        return Judgement(
            verdict=verdict,
            measured=measured,
            bound=self.margin,
            sentence=f"'{rows[worst].name}': rate {slope:.4g} +- {error:.2g}, declared {self.declared:g}",
            p_support=p_support,
            p_refute=p_refute,
        )

    def _slope(self, row: Points) -> tuple[float, float]:
        """The slope and its standard error, inflated by Birge's ratio."""
        import statsmodels.api as sm

        places, means, errors = map(np.asarray, (row.places, row.means, row.standard_errors))
        require(len(set(row.places)) == len(places) == len(means) == len(errors) >= 3 and row.samples >= FEWEST, row)
        require(np.isfinite([*places, *means, *errors]).all() and (means > 0).all() and (errors > 0).all(), row)
        require(self.exponential or (places > 0).all(), row)
        # The logarithm of a mean with its error to first order, which is no good beyond a tenth.
        require((errors < 0.1 * means).all(), row)
        along = places if self.exponential else np.log(places)
        fit = sm.WLS(np.log(means), sm.add_constant(along), weights=(means / errors) ** 2).fit()
        slope, error = (
            float(fit.params[1]),
            sqrt(float(fit.normalized_cov_params[1, 1])) * max(1.0, sqrt(float(fit.scale))),
        )
        require(isfinite(slope) and 0 < error < inf, row)
        return slope, error

    def design(
        self,
        *,
        places: tuple[float, ...],
        spread: float,
        rows: int,
        level: float,
        power: float = POWER,
        most: int = MOST_SAMPLES,
    ) -> Plan:
        """Samples per point, each of relative standard deviation `spread`, for a true rate at the declared one."""
        along = np.asarray(places) if self.exponential else np.log(places)
        lever = sqrt(float(((along - along.mean()) ** 2).sum()))
        # Half of all runs scatter about the line by more than their errors say: the 99.9% quantile of Birge's ratio.
        birge = sqrt(max(1.0, float(chi2.ppf(0.999, len(places) - 2)) / (len(places) - 2)))
        needed = birge * (norm.isf(level) + norm.isf((1 - power) / (2 * rows)))
        samples = int(min(most, max(2, ceil((needed * spread / (self.margin * lever)) ** 2))))
        error = birge * spread / lever / sqrt(samples)
        reached = 1 - 2 * rows * float(norm.sf(self.margin / error - norm.isf(level)))
        detects = self.margin + error * float(norm.isf(level / (2 * rows)) + norm.ppf(power))
        return Plan(samples=samples, detects=detects, power=max(0.0, min(power, reached)))
