"""True claims: evidence of known law, many times over, for false alarms and p-values.

Synthetic true claims are exactly what a rule assumes, with the truth in the middle of what is claimed, where nothing may be
refuted, and at its margin, where a p-value is uniform. Real true claims are registered statistical claims with other seeds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import kstest, kstwo

from polyseme.checks.core.claim import Judgement, Rule, Verdict
from polyseme.checks.core.evidence import Bounded, Counted, Distance, Estimated, Evidence, Points
from polyseme.checks.core.outcome import trial
from polyseme.checks.core.rules.bound import UpperBound, proportion_interval
from polyseme.checks.core.rules.distribution import Distribution
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.core.rules.rate import Rate
from polyseme.checks.core.theory import Theory

WHY = "true claims"
# Of all runs, one in this many is of a real claim: those draw a hundred thousand samples each.
REAL_SHARE = 12
INFLATED = 0.05
"""A level at which false alarms can be counted."""


@dataclass(frozen=True, kw_only=True)
class TrueClaim:
    """One kind of true claim. `truth(rng)` is evidence that the claim is exactly true, `margin(rng)` that it is at its margin."""

    name: str
    rule: Rule
    truth: Callable[[np.random.Generator], Evidence]
    margin: Callable[[np.random.Generator], Evidence]
    uniform: bool  # whether p-values at the margin are uniform, and not only no smaller than uniform ones


def _normal(center: float, samples: int = 20, rows: int = 1) -> Callable[[np.random.Generator], Evidence]:
    def draw(rng: np.random.Generator) -> Evidence:
        data = center + 0.05 * rng.standard_normal((rows, samples))
        return Evidence(
            rows=tuple(
                Estimated(
                    name=f"row {j}",
                    estimate=float(x.mean()),
                    standard_error=float(x.std(ddof=1) / np.sqrt(samples)),
                    samples=samples,
                    scale=1.0,
                )
                for j, x in enumerate(data)
            )
        )

    return draw


def _bounded(center: float, samples: int = 20) -> Callable[[np.random.Generator], Evidence]:
    def draw(rng: np.random.Generator) -> Evidence:
        x = center + 0.2 * rng.standard_normal(samples)
        error = float(x.std(ddof=1) / np.sqrt(samples))
        return Evidence(
            rows=(Bounded(name="row", value=float(x.mean()), bound=1.0, standard_error=error, samples=samples),)
        )

    return draw


def _counted(probability: float, trials: int = 2000) -> Callable[[np.random.Generator], Evidence]:
    def draw(rng: np.random.Generator) -> Evidence:
        return Evidence(
            rows=(Counted(name="row", hits=int(rng.binomial(trials, probability)), trials=trials, bound=0.1),)
        )

    return draw


def _points(rate: float, samples: int = 400) -> Callable[[np.random.Generator], Evidence]:
    def draw(rng: np.random.Generator) -> Evidence:
        places = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
        truth, error = places**rate, 0.3 * places**rate / np.sqrt(samples)
        means = truth + error * rng.standard_normal(places.size)
        row = Points(
            name="row",
            places=tuple(map(float, places)),
            means=tuple(map(float, means)),
            standard_errors=tuple(map(float, error)),
            samples=samples,
        )
        return Evidence(rows=(row,))

    return draw


def _distance(samples: int = 4000) -> Callable[[np.random.Generator], Evidence]:
    # The distance of a sample from its own law: Kolmogorov's distribution, drawn at once.
    return lambda rng: Evidence(
        rows=(Distance(name="row", distance=float(kstwo.ppf(rng.uniform(), samples)), samples=samples),)
    )


def _uniform_beyond(margin: float, samples: int = 4000) -> Callable[[np.random.Generator], Evidence]:
    """Uniform numbers of which a share `margin` is moved to 1: that far from the uniform law."""

    def draw(rng: np.random.Generator) -> Evidence:
        u = np.sort(np.where(rng.uniform(size=samples) < margin, 1.0, rng.uniform(size=samples)))
        steps = np.arange(samples)
        distance = float(np.maximum((steps + 1) / samples - u, u - steps / samples).max())
        return Evidence(rows=(Distance(name="row", distance=min(distance, 1.0), samples=samples),))

    return draw


TRUE_CLAIMS = (
    TrueClaim(
        name="equivalence",
        rule=Equivalence(margin=0.1, reason=WHY),
        truth=_normal(0.0, rows=3),
        margin=_normal(0.1),
        uniform=True,
    ),
    TrueClaim(
        name="upper bound, estimated",
        rule=UpperBound(reason=WHY),
        truth=_bounded(0.5),
        margin=_bounded(1.0),
        uniform=True,
    ),
    TrueClaim(
        name="upper bound, counted",
        rule=UpperBound(reason=WHY),
        truth=_counted(0.05),
        margin=_counted(0.1),
        uniform=False,
    ),
    TrueClaim(
        name="rate",
        rule=Rate(declared=-1.0, margin=0.05, reason=WHY),
        truth=_points(-1.0),
        margin=_points(-0.95),
        uniform=False,  # Birge's ratio makes errors larger in half of all runs
    ),
    TrueClaim(
        name="distribution",
        rule=Distribution(margin=0.1, reason=WHY),
        truth=_distance(),
        margin=_uniform_beyond(0.1),
        uniform=False,
    ),
)


@dataclass(frozen=True, kw_only=True)
class FalseAlarms:
    """What a true claim came to. `alarms` of `runs`: true claims refuted at the shipped level, with the exact upper end.

    `wrong`: at the margin and an inflated level, how often either wrong verdict fell, each a probability of at most that
    level. `p_uniform`: the probability of p-values this far from uniform, or, where they need not be, this far below it.
    """

    name: str
    runs: int
    alarms: int
    upper: float
    wrong: tuple[int, int]
    p_uniform: float | None

    @property
    def is_sound(self) -> bool:
        """No false alarm, no more wrong verdicts at the margin than the level grants, and honest p-values."""
        from scipy.stats import binom

        limit = float(binom.isf(1e-4, self.runs, INFLATED))
        honest = self.p_uniform is None or self.p_uniform > 1e-4
        return self.alarms == 0 and max(self.wrong) <= limit and honest


def false_alarms(
    theory: Theory, *, runs: int, level: float, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> Iterator[FalseAlarms]:
    """Every true claim, `runs` in all: most of them synthetic, the rest real."""
    material = theory.audit
    true = material.true_claims if material else ()
    real = max(1, runs // REAL_SHARE)
    each = max(1, -(-(runs - len(true) * real) // len(TRUE_CLAIMS)))
    done, total = 0, each * len(TRUE_CLAIMS) + real * len(true)
    rng = np.random.default_rng(seed)
    for true_claim in TRUE_CLAIMS:
        alarms, wrong, p_values = 0, [0, 0], []
        for _ in range(each):
            alarms += true_claim.rule.judge(true_claim.truth(rng), level=level).verdict == Verdict.REFUTED
            edge = true_claim.rule.judge(true_claim.margin(rng), level=INFLATED)
            wrong[0] += edge.verdict == Verdict.SUPPORTED
            wrong[1] += edge.verdict == Verdict.REFUTED
            p_values.append(_p(edge))
            done += 1
            if progress:
                progress(done, total)
        test = kstest(p_values, "uniform", alternative="two-sided" if true_claim.uniform else "greater")
        yield _false_alarms(true_claim.name, each, int(alarms), (int(wrong[0]), int(wrong[1])), float(test.pvalue))
    for identifier in true:
        assert material is not None
        alarms, claim = 0, theory.claim(identifier)
        for number in range(real):
            context = theory.context(material.regime.reseeded(seed + 1000 + number), level=level)
            alarms += trial(claim, context, drop=()).verdict == Verdict.REFUTED
            done += 1
            if progress:
                progress(done, total)
        yield _false_alarms(identifier, real, int(alarms), (0, 0), None)


def _p(judgement: Judgement) -> float:
    """The p-value that is at its edge: that of support, which is uniform at the margin for a single row."""
    assert judgement.p_support is not None
    return judgement.p_support


def _false_alarms(name: str, runs: int, alarms: int, wrong: tuple[int, int], p_uniform: float | None) -> FalseAlarms:
    _, upper = proportion_interval(alarms, runs, 0.05)
    return FalseAlarms(name=name, runs=runs, alarms=alarms, upper=upper, wrong=wrong, p_uniform=p_uniform)
