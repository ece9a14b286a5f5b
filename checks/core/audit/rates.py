"""How often an error of one part in a hundred in a coefficient is caught, and the smallest that nearly always is.

Each trial is a regime with random sizes and a random start. An error of size delta moves the recursion away from the full
model by nearly delta times a constant, so one run at delta = 0.01 also tells the smallest delta that the rule would
refute in that trial: 0.01 times allowed over measured, or nothing where even 0.01 is lost in what a nudge does.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from polyseme.checks.core.claim import Verdict
from polyseme.checks.core.rules.bound import proportion_interval
from polyseme.checks.multi_concept.audit.operators import DELTA, coefficient
from polyseme.checks.multi_concept.audit.plants import BY_ID
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.sampling.regimes import of_pure_prompts
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.numerics.lower import System, compile_recursion

CLAIM = "closure/population_descent_equals_level_b_of_any_blocks"
STEPS = 3
"""Updates in a trial: penalties show after one, and what feeds on attention after two."""


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


def planted() -> dict[str, System]:
    """Every coefficient of level B with an error of 1% up and down, compiled."""
    return {name: compile_recursion(wrong) for name, wrong in coefficient(derive("B"), DELTA)}


def rates(
    *, trials: int, level: float, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> list[Rate]:
    """The detection rate of each planted coefficient over random regimes; undecided and missing trials count as missed."""
    systems, rng = planted(), np.random.default_rng(seed)
    smallest: dict[str, list[float]] = {name: [] for name in systems}
    for number in range(trials):
        context = TrainingContext(of_pure_prompts(rng, steps=STEPS), level=level)
        for name, delta in _thresholds(context, systems):
            smallest[name].append(delta)
        if progress:
            progress(number + 1, trials)
    return [_rate(name, deltas) for name, deltas in smallest.items()]


def _thresholds(context: TrainingContext, systems: dict[str, System]) -> Iterator[tuple[str, float]]:
    """For each planted error the smallest delta that this trial would refute; infinite if it does not refute 1%."""
    claim = BY_ID[CLAIM]
    for name, system in systems.items():
        try:
            evidence = claim.measure(context, lambda _regime, system=system: system)
            judgement = claim.rule.judge(evidence, level=context.level)
        except PolysemeError:
            yield name, float("inf")
            continue
        refuted = judgement.verdict == Verdict.REFUTED
        yield name, float(DELTA) * judgement.bound / judgement.measured if refuted else float("inf")


def _rate(name: str, deltas: Sequence[float]) -> Rate:
    caught, tried = int(np.isfinite(deltas).sum()), len(deltas)
    low, high = proportion_interval(caught, tried, 0.05)
    return Rate(name=name, caught=caught, tried=tried, low=low, high=high, smallest=max(deltas))
