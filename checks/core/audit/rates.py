"""How often an error of known size in a coefficient is caught, and the smallest that nearly always is.

Each trial is a random regime of the theory. An error of size delta moves what is asserted away from what is measured by nearly delta
times a constant, so one run at that delta also tells the smallest one that the rule would refute in that trial: delta times allowed
over measured, or nothing where even delta is lost in what a nudge does.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyseme.checks.core.claim import Part, Verdict
from polyseme.checks.core.context import Context
from polyseme.checks.core.rules.bound import proportion_interval
from polyseme.checks.core.theory import Detection, Theory
from polyseme.errors import PolysemeError


@dataclass(frozen=True, kw_only=True)
class Rate:
    """One coefficient: caught of tried at 1%, the ends of the exact interval, each good to 95%, and the largest error that some
    trial would just have caught.

    With n trials and none missed, `smallest` is caught with probability 0.99 or more at confidence 1 - 0.99^n.
    """

    name: str
    caught: int
    tried: int
    low: float
    high: float
    smallest: float


def rates(
    theory: Theory,
    detection: Detection,
    *,
    trials: int,
    level: float,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Rate]:
    """The detection rate of each planted coefficient over random regimes; undecided and missing trials count as missed."""
    asserted, rng, part = (
        detection.asserted(),
        np.random.default_rng(seed),
        theory.claim(detection.claim).part(detection.part),
    )
    smallest: dict[str, list[float]] = {name: [] for name in asserted}
    for number in range(trials):
        context = theory.context(detection.draw(rng), level=level)
        for name, delta in _thresholds(part, context, asserted, detection.delta):
            smallest[name].append(delta)
        if progress:
            progress(number + 1, trials)
    return [_rate(name, deltas) for name, deltas in smallest.items()]


def _thresholds(part: Part, context: Context, asserted: Mapping[str, Any], size: float) -> Iterator[tuple[str, float]]:
    """For each planted error the smallest delta that this trial would refute; infinite if it does not refute that size."""
    for name, wrong in asserted.items():
        try:
            evidence = part.measure(context, wrong)
            judgement = part.rule.judge(evidence, level=context.level)
        except PolysemeError:
            yield name, float("inf")
            continue
        refuted = judgement.verdict == Verdict.REFUTED
        yield name, size * judgement.bound / judgement.measured if refuted else float("inf")


def _rate(name: str, deltas: Sequence[float]) -> Rate:
    caught, tried = int(np.isfinite(deltas).sum()), len(deltas)
    low, high = proportion_interval(caught, tried, 0.05)
    return Rate(name=name, caught=caught, tried=tried, low=low, high=high, smallest=max(deltas))
