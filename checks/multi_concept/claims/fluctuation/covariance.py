"""A claim of the family fluctuation: the covariance of SGD's coefficients is linear noise while gates are stable.

THEORY.md sections 5(b) and 7. `kinks` says what it is where gates move.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Float

from polyseme.checks.core.claim import Claim, NegativeControl, Plan
from polyseme.checks.core.evidence import Estimated, Evidence, Facts
from polyseme.checks.core.provenance import STATISTICS
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.multi_concept.claims.fluctuation.deviation import (
    HYPOTHESES,
    POWER,
    USES,
    StretchFacts,
    lifted,
    squares_of,
    stretch,
    stretch_facts,
    with_batch,
)
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.fluctuation.linear_noise import linear_noise, pack, places

Square = Float[np.ndarray, "dimension dimension"]
Directions = Float[np.ndarray, "row dimension"]

# -- what is compared -----------------------------------------------------------------------------------------------


def directions_of(one: Ensemble) -> dict[str, Directions]:
    """Groups of directions whose variances are added up: the attention, each concept's signal sum_i r_i beta_i, and all."""
    where, size = places(one.state), len(pack(one.state))
    unit = np.eye(size)
    attention = np.concatenate([index.ravel() for name, index in where.items() if name.startswith("W_")])
    groups = {"attention": unit[attention]}
    for k in range(one.regime.concepts.K1):
        groups[f"signal of concept {k + 1}"] = (one.r @ unit[where["beta"][:, k]])[None]
    return groups | {"all coefficients": unit}


def variance_of(directions: Directions, covariance: Square) -> float:
    """The variances along some directions, added up."""
    return float(np.einsum("ij,jk,ik->", directions, covariance, directions))


def share_of(name: str, x: Float[np.ndarray, " seed"], predicted: float) -> Estimated:
    """The mean of squares, less the prediction, in units of the prediction."""
    error = float(x.std(ddof=1) / np.sqrt(len(x)))
    return Estimated(
        name=name, estimate=float(x.mean()) - predicted, standard_error=error, samples=len(x), scale=predicted
    )


@dataclass(frozen=True, kw_only=True)
class Variances(Facts):
    """Variances of a group of coefficients at some steps: measured with standard errors, and predicted."""

    group: str
    step: Sequence[int]
    measured: Sequence[float]
    standard_error: Sequence[float]
    predicted: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class StableFacts(StretchFacts):
    """Variances of each group at batch B."""

    B: int
    variances: Sequence[Variances]


def variances_of(times: Sequence[int], rows: Mapping[str, list[Estimated]]) -> list[Variances]:
    """Variances against steps, by the name of their group."""
    return [
        Variances(
            group=name,
            step=times,
            measured=[row.estimate + row.scale for row in found],
            standard_error=[row.standard_error for row in found],
            predicted=[row.scale for row in found],
        )
        for name, found in rows.items()
    ]


# -- stable gates -----------------------------------------------------------------------------------------------------

LARGE_BATCH = 2**14
THIRDS = 3
LINEAR = Equivalence(
    margin=0.1,
    reason="a tenth of a variance: at this batch the next order of the noise is a thousandth, and a forgotten term of the recursion "
    "is tens of percent",
)
NORMAL_SPREAD = float(np.sqrt(2))
"""Relative standard deviation of the square of a normal number; sums of several such squares have less."""


def _thirds(context: TrainingContext) -> list[int]:
    last = stretch(context)[-1].t
    return [round(last * j / THIRDS) for j in range(1, THIRDS + 1)]


def _stable_plan(context: TrainingContext) -> Plan:
    rows = THIRDS * (context.one.concepts.K1 + 2)
    return LINEAR.design(spread=NORMAL_SPREAD, rows=rows, level=context.level, power=POWER)


def _stable(context: TrainingContext, carries: bool) -> Evidence:
    samples, times = _stable_plan(context).samples, _thirds(context)
    regime = with_batch(context.one, LARGE_BATCH)

    def run() -> dict[str, np.ndarray]:
        seen = lifted(context).seeds(regime, times, members=samples, number=(3,))
        return {str(t): x - x.mean(axis=1, keepdims=True) for t, x in zip(times, seen, strict=True)}

    centred = context.cached("coefficients of lifted seeds", run)
    start = lifted(context).alone(regime)
    theory = [m for m in islice(linear_noise(start, carries=carries), times[-1] + 1) if m.t in times]
    rows = {
        name: [
            share_of(
                f"variance of {name} at step {moment.t}",
                # Of centred samples: n / (n - 1) makes the mean square unbiased.
                squares_of(directions @ centred[str(moment.t)]) * (samples / (samples - 1)),
                variance_of(directions, moment.covariance) / LARGE_BATCH,
            )
            for moment in theory
        ]
        for name, directions in directions_of(start).items()
    }
    facts = StableFacts(**vars(stretch_facts(context)), B=LARGE_BATCH, variances=variances_of(times, rows))
    return Evidence(rows=tuple(row for found in rows.values() for row in found), facts=facts)


STABLE = Claim.single(
    id="fluctuation/covariance_is_linear_noise_while_gates_are_stable",
    statement="While gates are stable, from a lifted start until the first concept is learned, the variances of the attention, of each "
    "concept's signal and of all coefficients are those of linear noise along the recursion, within a tenth.",
    formula=r"\Sigma_{t+1} = (I - \eta_t (H_t + \lambda I)) \Sigma_t (I - \eta_t (H_t + \lambda I))^T + \eta_t^2 C_t / B",
    section="5",
    hypotheses=HYPOTHESES,
    asserts=lambda: True,
    measure=_stable,
    facts=StableFacts,
    rule=LINEAR,
    plan=_stable_plan,
    controls=(
        NegativeControl(
            name="without the Jacobian",
            statement="the same with H = 0: the noise of the steps is added up, and nothing carries it on",
            asserts=lambda: False,
        ),
    ),
    uses=USES,
    rests_on=(STATISTICS,),
)

CLAIMS = (STABLE,)
