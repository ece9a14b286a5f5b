"""A claim of the family fluctuation: noise on words and labels moves SGD in proportion to its size (THEORY.md section 7)."""

from collections.abc import Callable

import numpy as np

from polyseme.checks.core.claim import Claim, NegativeControl, Plan
from polyseme.checks.core.evidence import Evidence, Points
from polyseme.checks.core.provenance import STATISTICS
from polyseme.checks.core.rules.rate import Rate
from polyseme.checks.multi_concept.claims.exponential.error_curve import learnable, regime_of
from polyseme.checks.multi_concept.claims.fluctuation.deviation import HYPOTHESES, LIFT
from polyseme.checks.multi_concept.context import Arrays, TrainingContext

SIGMAS = tuple(1e-7 * 16.0**j for j in range(5))
STEPS, MEMBERS = 40, 256
SCALES = Rate(
    declared=2.0,
    margin=0.06,
    reason="0.03 of the exponent of the root mean square: the next order in sigma is below a thousandth at these sizes",
)


def _lifted(context: TrainingContext) -> Arrays:
    """The start of the error curve, every neuron moved away from its kinks along c_k: noise this small then flips no gate."""
    _, start = learnable(context)
    c = start["Q"][:, 0::2] + start["Q"][:, 1::2]
    c = c / np.linalg.norm(c, axis=0)
    return start | {"W_O": start["W_O"] + LIFT * np.sign(start["W_O"] @ c) @ c.T}


def _squares(context: TrainingContext) -> np.ndarray:
    """Squared distances between SGD with and without noise, fed the same signs and concepts; (sigma, member).

    A prompt's concept and signs have addresses, which do not ask whether there is noise.
    """

    def run() -> np.ndarray:
        regime = regime_of(context).replace(
            training={"steps": STEPS, "record_every": STEPS}, ensemble={"seeds": MEMBERS}
        )
        start = _lifted(context)
        pure = context.train(regime, start)
        found = []
        for sigma in SIGMAS:
            noisy = context.train(regime.replace(prompt={"sigma_x": sigma, "sigma_y": sigma}), start)
            parts = [(noisy[f"final_{name}"] - pure[f"final_{name}"]) ** 2 for name in ("W_Q", "W_K", "W_O")]
            found.append(sum(part.reshape(MEMBERS, -1).sum(axis=1) for part in parts))
        return np.array(found)

    return context.cached("squares of noisy deviations", run)


SPREAD = 0.45
"""Relative standard deviation of one member's square; 0.40 when measured."""


def _plan(context: TrainingContext) -> Plan:
    plan = SCALES.design(places=SIGMAS, spread=SPREAD, rows=1, level=context.level)
    # A tenth is left between what is needed and the members that there are.
    return Plan(samples=MEMBERS, detects=plan.detects, power=plan.power if 1.1 * plan.samples <= MEMBERS else 0.0)


def _scaling(context: TrainingContext, place: Callable[[float], float]) -> Evidence:
    squares = _squares(context)
    row = Points(
        name="mean of ||theta_sigma - theta_0||^2",
        places=tuple(place(sigma) for sigma in SIGMAS),
        means=tuple(float(x) for x in squares.mean(axis=1)),
        standard_errors=tuple(float(x) for x in squares.std(axis=1, ddof=1) / np.sqrt(MEMBERS)),
        samples=MEMBERS,
    )
    facts = {"sigma": list(SIGMAS), "steps": STEPS, "members": MEMBERS, "seed": context.regime.ensemble.seed}
    return Evidence(rows=(row,), facts=facts)


SIGMA = Claim.single(
    id="fluctuation/deviation_grows_as_the_noise",
    statement="From a lifted start, whose gates low noise cannot move, the root mean square distance between SGD of the full model with noise sigma on words "
    "and labels and without it, fed the same concepts and signs, grows as sigma.",
    formula=r"\mathbb E \|\theta_\sigma - \theta_0\|^2 \propto \sigma^2",
    section="7",
    hypotheses=HYPOTHESES,
    asserts=lambda: float,
    measure=_scaling,
    rule=SCALES,
    plan=_plan,
    controls=(
        NegativeControl(
            name="the square root",
            statement="it grows as the root of sigma",
            asserts=lambda: lambda sigma: sigma**2,
        ),
    ),
    uses=("closure/stochastic_recursion_equals_sgd",),
    rests_on=(STATISTICS,),
)

CLAIMS = (SIGMA,)
