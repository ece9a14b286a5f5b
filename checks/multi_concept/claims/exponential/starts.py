"""Where the seeds of the exponential bound start, what is allowed for them, and the judged seeds themselves (THEORY.md section 5).

They start from four states of the path of descent: on the plateau (t = 0), in the escape from it, where all prompts have just been
learned, and late, half as long again.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from polyseme.checks.core.claim import OutsideHypotheses, Plan
from polyseme.checks.core.rules.bound import UpperBound, proportion_interval
from polyseme.checks.multi_concept.claims.exponential.error_curve import learnable, regime_of
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.stochastic.deviations import (
    PILOT,
    Allowance,
    Fork,
    Forked,
    allowance,
    fork,
    inside,
    run_all,
    width_of,
)
from polyseme.checks.multi_concept.stochastic.ensembles import Stream
from polyseme.theory.multi_concept.coefficients import project
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.fluctuation.bounds import Path, Width, follow

# -- the design, declared before anything is run --------------------------------------------------------------

BATCHES = (1, 8, 128, 2048)
"""Sizes of the minibatch, in those of the regime."""
HORIZON = 16
"""Seeds are followed over this part of the run."""
TAILS = (0.5, 0.1, 0.02)
RESOLVED = min(TAILS)
"""No event is shown to be rarer than this: a smaller bound is judged by it."""


def times(fork: Fork) -> tuple[int, ...]:
    """States at which seeds are looked at: after one update, half-way, and at the end."""
    steps = len(fork.path.eta)
    return (1, steps // 2, steps)


# -- paths and seeds ------------------------------------------------------------------------------------------


def descent(context: TrainingContext) -> tuple[list[Ensemble], int]:
    """States of the path from a start that is learned, and the first at which no prompt is wrong."""

    def run() -> tuple[list[Ensemble], int]:
        regime, (_, start) = regime_of(context), learnable(context)
        one = Ensemble(regime, start["r"], project(start, regime.concepts.K1), members=1)
        states: list[Ensemble] = []
        for _ in range(regime.training.steps + 1):
            states.append(one.pick(slice(0, 1)))
            one.descend()
        learned = [t for t, state in enumerate(states) if state.error()[0] == 0]
        if not learned or learned[0] < 4:
            raise OutsideHypotheses("needs a plateau: all prompts are right before the fourth step")
        return states, learned[0]

    return context.cached("descent of the bound", run)


def forks(context: TrainingContext) -> list[Fork]:
    """Where seeds start, in the order of time."""

    def run() -> list[Fork]:
        states, learned = descent(context)
        late = min(3 * learned // 2, len(states) - 1)
        places = {"plateau": 0, "escape": learned // 2, "just learned": learned, "late": late}
        return [fork(name, states[t], len(states) // HORIZON) for name, t in places.items()]

    return context.cached("forks of the bound", run)


def whole_path(context: TrainingContext) -> Path:
    """The path from the start to half as long again as it takes to learn all prompts, or to the end of the run."""

    def run() -> Path:
        states, learned = descent(context)
        return follow(states[0], min(3 * learned // 2, len(states) - 1))

    return context.cached("whole path of the bound", run)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Seeds of one batch size from one fork, what is allowed for them, and whether they are inside of it before each state."""

    fork: Fork
    batch: int
    allowed: Allowance
    seeds: Forked
    inside: np.ndarray

    @property
    def name(self) -> str:
        """Fork and batch."""
        return f"{self.fork.name}, B = {self.batch}"

    @property
    def path(self) -> Path:
        """The fork's."""
        return self.fork.path

    @property
    def width(self) -> Width:
        """m_t and W_t as declared."""
        return width_of(self.path, float(self.batch), self.allowed)


TAIL_ROWS = 4 * len(BATCHES) * len(TAILS) * 4
EXPONENTIAL = UpperBound(
    reason="Pinelis' inequality for martingales of bounded vectors in a Hilbert space, with every constant computed on the path"
)


def plan(context: TrainingContext) -> Plan:
    """Seeds that show an event thirty times rarer than the smallest bound to be rarer than it."""
    return EXPONENTIAL.design(bound=RESOLVED, truth=RESOLVED / 30, rows=TAIL_ROWS, level=context.level)


def cases(context: TrainingContext) -> list[Case]:
    """The judged seeds of each fork and batch."""

    def run() -> list[Case]:
        batch = regime_of(context).training.batch
        assert isinstance(batch, int), "hypotheses ask for minibatches"
        pairs = [(one, batch * multiple) for one in forks(context) for multiple in BATCHES]
        pilots = run_all(pairs, seeds=PILOT, stream=Stream.DEVIATION)
        judged = run_all(pairs, seeds=plan(context).samples, stream=Stream.TAIL)
        allowed = [allowance(one.path, pilot) for (one, _), pilot in zip(pairs, pilots, strict=True)]
        return [
            Case(fork=one, batch=size, allowed=may, seeds=seeds, inside=inside(one.path, seeds, may))
            for (one, size), may, seeds in zip(pairs, allowed, judged, strict=True)
        ]

    return context.cached("cases of the bound", run)


def as_list(values: Any) -> list[float]:
    """Plain numbers."""
    return [float(x) for x in values]


def facts_of(context: TrainingContext) -> dict[str, Any]:
    """What the claims about seeds have in common: what was declared for each fork and batch, and how often it failed."""
    rows = {}
    for case in cases(context):
        width, out = case.width, int((~case.inside[-1]).sum())
        rows[case.name] = {
            "t": [case.path.first + j for j in range(len(case.path.errors))],
            "allowed jump": case.allowed.jump,
            "allowed noise, as a share of the path's": case.allowed.looseness,
            "exit fraction": as_list(1 - case.inside.mean(axis=1)),
            "exit fraction at most": proportion_interval(out, case.inside.shape[1], context.level)[1],
            "root mean square of ||delta||": as_list(np.sqrt((case.seeds.length**2).mean(axis=1))),
            "m": as_list(width.m),
            "sqrt W": as_list(np.sqrt(width.W)),
            "bound on the error": as_list(case.path.error_bound(case.fork.one.law, width)),
            "measured error": as_list(case.seeds.error.mean(axis=1)),
            "error of the path": as_list(case.path.errors),
        }
    return {"cases": rows, "pilot": PILOT, "seed": context.regime.ensemble.seed}
