"""Claims of the family closure: whole trajectories and their limit (THEORY.md sections 4 and 7)."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import sympy as sp

from polyseme.checks.core.claim import Claim, NegativeControl, Part
from polyseme.checks.core.evidence import Compared, Evidence, Fitted
from polyseme.checks.core.provenance import ROUND_OFF, Basis, Ground
from polyseme.checks.core.rules.exact import Order, RoundOff
from polyseme.checks.multi_concept import controls
from polyseme.checks.multi_concept.claims.closure.closure import LEVEL_B_BLOCKS, LEVEL_S_BLOCKS, Blocks
from polyseme.checks.multi_concept.context import Arrays, TrainingContext
from polyseme.checks.multi_concept.controls import Theory
from polyseme.checks.multi_concept.hypotheses import (
    ATTENTION_STARTS,
    DISTINCT,
    EVEN_WIDTH,
    FAIR,
    GENERIC,
    GENTLE,
    MIRRORED,
    MLP_STARTS,
    PENALISED,
    PURE,
    SEVERAL_DEMONSTRATIONS,
    TRAINS,
)
from polyseme.checks.multi_concept.round_off.paths import (
    COLLECTED,
    change,
    evidence_of_paths,
    largest,
    population_reference,
    roundings_of,
)
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.dynamics.flow_limit import flow_end, recursion_end, smooth_horizon
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.numerics.lower import system_of


def _population(context: TrainingContext, asserted: Theory) -> Evidence:
    regime, run = context.population_regime, context.population_run
    return evidence_of_paths(context, "population", regime, context.initial, run, system_of, asserted)


def _dead_blocks(context: TrainingContext, asserted: Blocks) -> Evidence:
    """Largest entry of each block that should be zero at the end of population descent of the full model."""
    regime, run = context.population_regime, context.population_run
    roundings = roundings_of(regime, population_reference(context))
    rows = []
    for name in ("W_Q", "W_K"):
        blocks = run[f"{name}_blocks"]
        scale = float(np.abs(blocks).max())
        rows += [
            Compared(
                name=f"{name}^{{{entry}}}",
                difference=float(np.abs(blocks[..., "ab".index(entry[0]), "ab".index(entry[1])]).max()),
                scale=scale,
                roundings=roundings,
            )
            for entry in ("aa", "ab", "ba", "bb")
            if entry not in asserted[name]
        ]
    return Evidence(rows=tuple(rows), facts={"steps": regime.training.steps})


def _any_start(context: TrainingContext, asserted: Theory) -> Evidence:
    regime, start = context.population_regime, context.any_start
    return evidence_of_paths(context, "any start", regime, start, context.any_start_run, system_of, asserted)


POPULATION = Claim(
    id="closure/population_descent_equals_level_b",
    statement="Exact population descent of the full model and the level-B recursion have the same trajectory: from the start of the regime, where the "
    "blocks outside the closure stay zero, and from random 2 x 2 blocks, different in W_Q and W_K, with every entry on, the start that an "
    "initial-state file may hold.",
    formula=r"\hat s^\top W(t)\, \hat t = W^{st}_{B}(t),\quad t = 0, \dots, T,\qquad W_K^{ba}(t) = 0",
    section="4",
    hypotheses=(PURE, DISTINCT, GENTLE, SEVERAL_DEMONSTRATIONS, TRAINS),
    uses=("gradient/level_b_drift_matches_population_autograd", "closure/generic_neurons_reach_level_b"),
    rests_on=(ROUND_OFF,),
    parts=(
        Part(
            name="from the start",
            hypotheses=(ATTENTION_STARTS, MLP_STARTS, GENERIC),
            asserts=lambda: system_of,
            measure=_population,
            rule=RoundOff(reason=COLLECTED),
            controls=(
                NegativeControl(
                    name="cross blocks dropped",
                    statement="level S for generic neurons: W^{ab} and W^{ba} put to zero",
                    asserts=lambda: controls.level_s,
                ),
            ),
        ),
        Part(
            name="blocks outside the closure",
            hypotheses=(ATTENTION_STARTS, MLP_STARTS, GENERIC),
            asserts=lambda: LEVEL_B_BLOCKS,
            measure=_dead_blocks,
            rule=RoundOff(reason=COLLECTED),
            controls=(
                NegativeControl(
                    name="level S for generic neurons",
                    statement="the off-diagonal entries of W_Q and W_K stay zero too",
                    asserts=lambda: LEVEL_S_BLOCKS,
                ),
            ),
        ),
        Part(
            name="from any blocks",
            hypotheses=(PENALISED,),
            asserts=lambda: system_of,
            measure=_any_start,
            rule=RoundOff(reason=COLLECTED),
            controls=(
                NegativeControl(
                    name="half the penalty",
                    statement="W_K^{ba}, which no gradient reaches, decays with lambda / 2",
                    asserts=controls.with_shrinkage(fw.W_K["ba"], sp.Rational(1, 2)),
                ),
            ),
        ),
    ),
)


def _mirrored(context: TrainingContext, asserted: Theory) -> Evidence:
    # Whatever the neurons, level B is what a nudge of the start is followed with.
    regime, run = context.population_regime, context.population_run
    return evidence_of_paths(context, "population", regime, context.initial, run, system_of, asserted)


LEVEL_S = Claim.single(
    id="closure/mirrored_population_descent_equals_level_s",
    statement="From mirrored neurons, exact population descent of the full model follows the diagonal level-S recursion.",
    formula=r"W_Q^{bb} \leftarrow (1 - \eta\lambda) W_Q^{bb} - \eta\, n_b^2\, W_K^{bb}\, \Gamma_k",
    section="4",
    hypotheses=(
        PURE,
        FAIR,
        DISTINCT,
        EVEN_WIDTH,
        MIRRORED,
        ATTENTION_STARTS,
        MLP_STARTS,
        GENTLE,
        SEVERAL_DEMONSTRATIONS,
        TRAINS,
    ),
    asserts=lambda: controls.level_s,
    measure=_mirrored,
    rule=RoundOff(reason=COLLECTED),
    controls=(
        NegativeControl(
            name="one power of n_b",
            statement="n_b in place of n_b^2 in front of Gamma_k",
            asserts=controls.compiled(controls.drop_one_power_of_n_b, level="S"),
        ),
    ),
    uses=("closure/mirrored_neurons_stay_in_level_s",),
    rests_on=(ROUND_OFF,),
)


def _stochastic(context: TrainingContext, fed: Callable[[np.ndarray], np.ndarray]) -> Evidence:
    regime, run, right = context.stochastic_regime, context.stochastic_run, system_of
    counts = run["counts"]
    return evidence_of_paths(
        context,
        "stochastic",
        regime,
        context.stochastic_initial,
        run,
        right,
        right,
        counts=counts,
        asserted_counts=fed(counts),
    )


STOCHASTIC = Claim.single(
    id="closure/stochastic_recursion_equals_sgd",
    statement="Driven by the counts of the same prompts, the level-B recursion is pathwise equal to minibatch SGD of the full "
    "model, for each of three members with starts and data of their own.",
    formula=r"\hat s^\top W(t)\, \hat t = W^{st}_{B}(t) \text{ given the minibatches}",
    section="4",
    hypotheses=(PURE, DISTINCT, ATTENTION_STARTS, MLP_STARTS, GENTLE, TRAINS),
    asserts=lambda: lambda counts: counts,
    measure=_stochastic,
    rule=RoundOff(reason=COLLECTED),
    controls=(
        NegativeControl(
            name="query signs exchanged",
            statement="each step is driven by its minibatch with the signs of the queries exchanged",
            asserts=lambda: lambda counts: counts[..., ::-1, :].copy(),
        ),
    ),
    uses=("closure/population_descent_equals_level_b",),
    rests_on=(ROUND_OFF,),
)

# -- the flow limit ----------------------------------------------------------------------------------------

FLOW_STEPS = (32, 64, 128)
FLOW_TOLERANCE = 3e-14
# Learning takes times of hundreds; the stretch is cut before the first gate event anyway.
FLOW_TIME = 16.0
# Starts among which the longest smooth stretch is taken: on a very short one the errors are round-off.
FLOW_STARTS = 8


def _smoothest_start(context: TrainingContext) -> tuple[Arrays, float]:
    """The start, of several members, whose first gate event comes last, and the time before it."""
    starts = [context.initial, *(context.start_of(member) for member in range(1, FLOW_STARTS))]
    horizons = [smooth_horizon(context.one, start, FLOW_TIME) for start in starts]
    best = int(np.argmax(horizons))
    return starts[best], horizons[best]


def _flow_order(context: TrainingContext, time_scale: float) -> Evidence:
    regime = context.one
    initial, horizon = context.cached("smoothest start", lambda: _smoothest_start(context))
    if horizon == 0:
        raise PolysemeError(
            f"no smooth stretch: a gate flips at the start of {FLOW_STARTS} members; type another seed in [ensemble]"
        )
    end = flow_end(regime, initial, time_scale * horizon, tolerance=FLOW_TOLERANCE)
    errors = [change(recursion_end(regime, initial, horizon, steps), end) for steps in FLOW_STEPS]
    # What the solver's tolerance and the recursion's own roundings leave of each error.
    noise = (10 * FLOW_TOLERANCE + np.sqrt(FLOW_STEPS[-1]) * np.finfo(np.float64).eps) * (1 + largest(end))
    coarse, fine = (float(np.log2(max(left, noise) / max(right, noise))) for left, right in pairwise(errors))
    if abs(fine - coarse) > 0.25:
        raise PolysemeError(
            f"the local orders {coarse:.2f} and {fine:.2f} have not settled; type another seed in [ensemble]"
        )
    # The local order is 1 + c/N: halving the step halves the deviation, so the extrapolated order is 2 fine - coarse
    # and the last correction bounds what is left; noise moves a local order by twice its share of the error.
    half_width = abs(fine - coarse) + 4 * float(noise / max(min(errors), noise)) / np.log(2)
    facts = {"horizon": horizon, "steps": list(FLOW_STEPS), "errors": errors, "noise": float(noise)}
    return Evidence(
        rows=(Fitted(name="order in eta", order=2 * fine - coarse, half_width=float(half_width)),), facts=facts
    )


FLOW = Claim.single(
    id="closure/flow_limit_has_order_one",
    statement="Before the first gate event the recursion converges to the gradient flow with order 1 in the step size.",
    formula=r"\|W(\tau/\eta) - W_{\mathrm{flow}}(\tau)\| = \Theta(\eta)",
    section="4",
    hypotheses=(PURE, DISTINCT, ATTENTION_STARTS, MLP_STARTS),
    asserts=lambda: 1.0,
    measure=_flow_order,
    rule=Order(
        declared=1.0,
        margin=0.02,
        reason="Euler's order is a whole number; 0.02 is the accuracy that three halvings resolve with room to spare",
    ),
    controls=(
        NegativeControl(
            name="time halved",
            statement="the recursion at time tau converges to the flow at time tau / 2",
            asserts=lambda: 0.5,
        ),
    ),
    uses=("closure/population_descent_equals_level_b",),
    rests_on=(
        Basis(ground=Ground.CONVERGENCE, text="extrapolated order against an adaptive solver at tolerance 1e-12"),
    ),
)

CLAIMS = (POPULATION, LEVEL_S, STOCHASTIC, FLOW)
