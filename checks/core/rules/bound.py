"""The rule of upper bounds: every quantity at most its own, with the slack."""

from dataclasses import dataclass
from math import inf, isfinite, sqrt

import numpy as np
from scipy.stats import beta, binom
from scipy.stats import t as student

from polyseme.checks.core.claim import Judgement, Plan, Verdict
from polyseme.checks.core.evidence import Bounded, Counted, Evidence
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
class UpperBound:
    """Supported if every quantity is shown to be at most its bound, refuted if one is shown to exceed it.

    Exact values are compared as they are; estimates by Student's t; counts by the binomial distribution (Clopper and
    Pearson). Size: the level, in both directions, attained where a quantity equals its bound; such a claim can therefore
    never be supported from a sample. The slack, bound over measured, is reported: a bound that is a million times too
    large is supported, and says so.
    """

    reason: str
    name: str = "upper bound"
    measures: str = "upper end of the interval, as a share of the bound"
    is_statistical: bool = True

    def judge(self, evidence: Evidence, *, level: float) -> Judgement:
        """Each row against its own bound, as shares of it."""
        rows = rows_of(evidence, Bounded, Counted)
        supporting, refuting, low, high = [], [], [], []
        for row in rows:
            require(0 < row.bound < inf, row)
            for values, value in zip((supporting, refuting, low, high), _one_sided(row, level, len(rows)), strict=True):
                values.append(value)
        p_support, p_refute = max(supporting), min(1.0, len(rows) * min(refuting))
        verdict = decide(p_support, p_refute, level)
        worst = int(np.argmin(refuting)) if verdict == Verdict.REFUTED else int(np.argmax(high))
        measured = low[worst] if verdict == Verdict.REFUTED else high[worst]
        slack = inf if high[worst] <= 0 else 1 / high[worst]
        sentence = {
            Verdict.REFUTED: f"'{rows[worst].name}' is at least {measured:.3g} times its bound",
            Verdict.INCONCLUSIVE: f"'{rows[worst].name}' may be {measured:.3g} times its bound, or may be within it",
        }.get(
            verdict,
            f"{each(len(rows), 'value', 'is', 'are')} at most {measured:.3g} of {'its bound' if len(rows) == 1 else 'their bounds'}: {_looseness(slack)}",
        )
        return Judgement(
            verdict=verdict,
            measured=float(measured),
            bound=1.0,
            sentence=sentence,
            p_support=p_support,
            p_refute=p_refute,
            slack=slack if verdict == Verdict.SUPPORTED else None,
        )

    def design(
        self, *, bound: float, truth: float, rows: int, level: float, power: float = POWER, most: int = MOST_SAMPLES
    ) -> Plan:
        """Trials per row after which an event of probability `truth` is shown to be rarer than `bound`."""

        def shown(trials: int) -> Plan:
            return self.design_counts(bound=bound, truth=truth, rows=rows, level=level, samples=trials, power=power)

        return shown(fewest_that(lambda trials: shown(trials).power >= power, 2, most))

    def design_counts(
        self, *, bound: float, truth: float, rows: int, level: float, samples: int, power: float = POWER
    ) -> Plan:
        """What a given number of trials shows of events of probability `truth`."""
        # The most hits that still support, and the chance of no more than them in every row.
        hits = int(binom.ppf(level, samples, bound)) - 1
        reached = float(1 - rows * (1 - binom.cdf(hits, samples, truth))) if hits >= 0 else 0.0
        # The probability at which so many hits or more are seen as refute with probability `power`.
        refuting = int(binom.isf(level / rows, samples, bound)) + 1
        fewer = samples - refuting + 1
        detects = float(beta.ppf(power, refuting, fewer)) / bound if fewer > 0 else inf
        return Plan(samples=samples, detects=detects, power=max(0.0, reached))

    def design_means(
        self, *, bound: float, truth: float, spread: float, rows: int, level: float, samples: int, power: float = POWER
    ) -> Plan:
        """What a given number of samples shows of means that are `truth`, each sample with standard deviation `spread`.

        Student's t, as in judging: of few samples neither the mean nor its standard error is known well.
        """
        error = spread / sqrt(samples)
        alone, shared = (float(student.isf(tail, samples - 1)) for tail in (level, level / rows))
        reached = 1 - rows * t_below(alone, samples, (bound - truth) / error)
        return Plan(
            samples=samples, detects=1 + t_shift(shared, samples, power) * error / bound, power=max(0.0, reached)
        )


def _one_sided(row: Bounded | Counted, level: float, rows: int) -> tuple[float, float, float, float]:
    """p-values for support and refutation, and the ends of the interval as shares of the bound."""
    if isinstance(row, Counted):
        require(0 <= row.hits <= row.trials and row.trials >= 1 and row.bound <= 1, row)
        p_support = float(binom.cdf(row.hits, row.trials, row.bound))
        p_refute = float(binom.sf(row.hits - 1, row.trials, row.bound))
        low, _ = proportion_interval(row.hits, row.trials, level / rows)
        _, high = proportion_interval(row.hits, row.trials, level)
        return p_support, p_refute, low / row.bound, high / row.bound
    require(isfinite(row.value), row)
    require_estimate(row, row.bound)
    if row.standard_error == 0:
        share = row.value / row.bound
        return float(row.value > row.bound), float(row.value <= row.bound), share, share
    require(row.samples >= 2, row)
    p_support = t_above(row.bound - row.value, row.standard_error, row.samples)
    p_refute = t_above(row.value - row.bound, row.standard_error, row.samples)
    shared, alone = student.isf([level / rows, level], row.samples - 1)
    low, high = row.value - shared * row.standard_error, row.value + alone * row.standard_error
    return p_support, p_refute, low / row.bound, high / row.bound


def proportion_interval(hits: int, trials: int, tail: float) -> tuple[float, float]:
    """Clopper and Pearson's exact interval, each of whose ends is wrong with probability `tail` at most."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(hits, trials, alpha=2 * tail, method="beta")
    return float(low), float(high)


def _looseness(slack: float) -> str:
    """How loose a bound is, in words."""
    if slack == inf:
        return "nothing was seen of what it bounds"
    return f"it is {slack:.3g} times too loose" + (", and says little" if slack >= 100 else "")
