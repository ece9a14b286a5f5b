"""Claims of the family closure, as far as level B goes (THEORY.md sections 4 and 7)."""

from collections.abc import Callable, Mapping

import numpy as np
import sympy as sp

from checks import controls
from checks.claim import Claim, Compared, Evidence, Exact, Fitted, WrongTwin
from checks.hypotheses import (
    ATTENTION_STARTS,
    EVEN_WIDTH,
    MLP_STARTS,
    PENALISED,
    PURE,
    SEVERAL_DEMONSTRATIONS,
    TRAINS,
)
from checks.laboratory import Laboratory
from checks.rules import ExactZero, Order, RoundOff
from theory.closure import closure, within_concept
from theory.coefficients import concept_vectors
from theory.flow import flow_end, recursion_end, smooth_horizon
from theory.integrate import Diverged, integrate, step_size
from theory.lower import System, system
from theory.setting import PolysemeError, Regime

Blocks = Mapping[str, tuple[str, ...]]

# -- which blocks live -------------------------------------------------------------------------------------

LEVEL_B_BLOCKS: Blocks = {"W_Q": ("aa", "ab", "ba", "bb"), "W_K": ("aa", "ab", "bb")}
LEVEL_S_BLOCKS: Blocks = {"W_Q": ("aa", "bb"), "W_K": ("aa", "bb")}


def _same_blocks(computed: Mapping[str, frozenset[tuple[str, str]]], asserted: Blocks) -> Evidence:
    inside = within_concept(dict(computed))
    rows = []
    for name, blocks in computed.items():
        rows += [
            Exact(name=f"{name}^{{{entry}}}", residual=sp.Integer((entry in inside[name]) != (entry in asserted[name])))
            for entry in ("aa", "ab", "ba", "bb")
        ]
        elsewhere = {(s, t) for s, t in blocks if s != t and not ({s, t} <= {"a", "b"} or {s, t} <= {"a'", "b'"})}
        rows.append(
            Exact(name=f"{name}: live blocks across concepts, nu and the rest", residual=sp.Integer(len(elsewhere)))
        )
    return Evidence(rows=tuple(rows), facts={"computed": {name: list(entries) for name, entries in inside.items()}})


GENERIC_CLOSURE = Claim(
    id="closure/generic_neurons_reach_level_b",
    statement="From W_Q = W_K = sigma_0 I and generic neurons, pure prompts make the whole 2 x 2 block of W_Q live, and of W_K "
    "all but the entry ba: its start is zero and its gradient, W_Q x_query b_k^T, has no component along a_k. Section 4 names "
    "the whole block of W_K; that is closed, but one entry larger than the closure.",
    formula=r"\text{live: } W_Q^{aa}, W_Q^{ab}, W_Q^{ba}, W_Q^{bb}, W_K^{aa}, W_K^{ab}, W_K^{bb};\qquad W_K^{ba} \equiv 0",
    section="4",
    asserts=lambda: LEVEL_B_BLOCKS,
    measure=lambda _laboratory, asserted: _same_blocks(closure("generic"), asserted),
    rule=ExactZero(),
    wrong_twin=WrongTwin(
        name="the whole block of W_K lives",
        statement="W_K^{ba} lives too",
        asserts=lambda: {**LEVEL_B_BLOCKS, "W_K": ("aa", "ab", "ba", "bb")},
    ),
    uses=("gradient/closed_forms_equal_derivatives",),
    rests_on=("symbolic proof",),
)

MIRRORED_CLOSURE = Claim(
    id="closure/mirrored_neurons_stay_in_level_s",
    statement="From W_Q = W_K = sigma_0 I and mirrored neurons, pure prompts move the diagonal entries alone.",
    formula=r"\text{live: } W_Q^{aa}, W_Q^{bb}, W_K^{aa}, W_K^{bb}",
    section="4",
    asserts=lambda: "mirrored",
    measure=lambda _laboratory, neurons: _same_blocks(closure(neurons), LEVEL_S_BLOCKS),
    rule=ExactZero(),
    wrong_twin=WrongTwin(
        name="quantifier widened",
        statement="the same for generic neurons",
        asserts=lambda: "generic",
    ),
    uses=("gradient/closed_forms_equal_derivatives",),
    rests_on=("symbolic proof",),
)


def _dead_blocks(laboratory: Laboratory, asserted: Blocks) -> Evidence:
    """Largest entry of each block that should be zero at the end of population descent of the full model."""
    regime, run = laboratory.population_regime, laboratory.population_run
    rows = []
    for name in ("W_Q", "W_K"):
        blocks = run[f"{name}_blocks"]
        scale = float(np.abs(blocks).max())
        rows += [
            Compared(
                name=f"{name}^{{{entry}}}",
                difference=float(np.abs(blocks[..., "ab".index(entry[0]), "ab".index(entry[1])]).max()),
                scale=scale,
                # A d_x-term projection at each record of entries that were rounded once per step.
                roundings=4.0 * (regime.concepts.d_x + np.sqrt(max(regime.training.steps, 1))),
            )
            for entry in ("aa", "ab", "ba", "bb")
            if entry not in asserted[name]
        ]
    return Evidence(rows=tuple(rows), facts={"steps": regime.training.steps})


DEAD_BLOCKS = Claim(
    id="closure/dead_blocks_stay_dead",
    statement="Under population descent of the full model the blocks outside the closure stay zero.",
    formula=r"W_K^{ba}(t) = 0",
    section="4",
    hypotheses=(PURE, ATTENTION_STARTS, MLP_STARTS, SEVERAL_DEMONSTRATIONS, TRAINS),
    asserts=lambda: LEVEL_B_BLOCKS,
    measure=_dead_blocks,
    rule=RoundOff(
        reason="4 (d_x + sqrt(steps)) unit round-offs: a projection of entries rounded at random once per step"
    ),
    wrong_twin=WrongTwin(
        name="level S for generic neurons",
        statement="the off-diagonal entries of W_Q and W_K stay zero too",
        asserts=lambda: LEVEL_S_BLOCKS,
    ),
    uses=("closure/generic_neurons_reach_level_b",),
    rests_on=("round-off comparison",),
)

# -- trajectories ------------------------------------------------------------------------------------------

TRAJECTORY = ("W_Q_blocks", "W_K_blocks", "alpha", "beta", "loss", "error", "attention")
NUDGE = 1e-10


def _trajectory_evidence(
    regime: Regime,
    initial: Mapping[str, np.ndarray],
    full: Mapping[str, np.ndarray],
    compiled: System,
    counts: np.ndarray | None = None,
) -> Evidence:
    """A reduced trajectory against the full model's, with the round-offs that a run of this length can collect.

    Each step rounds the state once, at random, and each gradient carries the round-off of its sums, in all
    over the path that the state travels; the recursion itself then amplifies what was collected. The
    amplification is measured: how much a relative nudge of 1e-10 of the initial state grows.
    """
    try:
        reduced = integrate(regime, initial, compiled=compiled, counts=counts)
    except Diverged as divergence:  # while the full model, which has been run, did not
        rows = [Compared(name="all arrays", difference=np.inf, scale=1.0, roundings=1.0)]
        return Evidence(rows=tuple(rows), facts={"steps": regime.training.steps, "stopped": str(divergence)})
    right = reduced if compiled is system("B") else integrate(regime, initial, counts=counts)
    rng = np.random.default_rng(5)
    nudged = {
        name: initial[name] * (1 + NUDGE * rng.choice([-1.0, 1.0], size=initial[name].shape))
        for name in ("W_Q", "W_K", "W_O")
    }
    moved = integrate(regime, dict(initial) | nudged, counts=counts)
    growth = max(_relative(moved[name], right[name]) for name in TRAJECTORY[:4]) / NUDGE
    travelled = max(
        float(np.abs(np.diff(right[name], axis=0)).sum(0).max() / (np.abs(right[name]).max() or 1.0))
        for name in TRAJECTORY[:4]
    )
    width = regime.concepts.d_x + regime.concepts.d_y + regime.prompt.L + regime.model.m
    roundings = 8 * max(growth, 1.0) * (np.sqrt(max(regime.training.steps, 1)) + width * travelled)
    rows = [
        Compared(
            name=name,
            difference=float(np.abs(reduced[name] - full[name]).max()),
            scale=float(np.abs(full[name]).max()) or 1.0,
            roundings=roundings,
        )
        for name in TRAJECTORY
    ]
    facts = {
        "steps": regime.training.steps,
        "records": len(reduced["step"]),
        "growth of a nudge": round(growth, 2),
        "path length relative to the state": round(travelled, 2),
        "lengths of the sums": width,
    }
    return Evidence(rows=tuple(rows), facts=facts)


def _relative(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.abs(left - right).max() / (np.abs(right).max() or 1.0))


_COLLECTED = (
    "8 growth (sqrt(steps) + width * path) unit round-offs: one random rounding of the state per step, gradient sums of "
    "width d_x + d_y + L + m over the path travelled, times the measured growth of a nudge"
)


def _population(laboratory: Laboratory, compiled: System) -> Evidence:
    return _trajectory_evidence(laboratory.population_regime, laboratory.initial, laboratory.population_run, compiled)


POPULATION = Claim(
    id="closure/population_descent_equals_level_b",
    statement="Exact population descent of the full model and the level-B recursion have the same trajectory.",
    formula=r"\hat s^\top W(t)\, \hat t = W^{st}_{B}(t),\quad t = 0, \dots, T",
    section="4",
    hypotheses=(PURE, ATTENTION_STARTS, MLP_STARTS, SEVERAL_DEMONSTRATIONS, TRAINS),
    asserts=lambda: system("B"),
    measure=_population,
    rule=RoundOff(reason=_COLLECTED),
    wrong_twin=WrongTwin(
        name="cross blocks dropped",
        statement="level S for generic neurons: W^{ab} and W^{ba} put to zero",
        asserts=lambda: system("S"),
    ),
    uses=("gradient/level_b_drift_matches_population_autograd", "closure/generic_neurons_reach_level_b"),
    rests_on=("round-off comparison",),
)


def _mirrored(laboratory: Laboratory, compiled: System) -> Evidence:
    return _trajectory_evidence(
        laboratory.population_regime, laboratory.mirrored_initial, laboratory.mirrored_run, compiled
    )


MIRRORED = Claim(
    id="closure/mirrored_population_descent_equals_level_s",
    statement="From mirrored neurons, exact population descent of the full model follows the diagonal level-S recursion.",
    formula=r"W_Q^{bb} \leftarrow (1 - \eta\lambda) W_Q^{bb} - \eta\, n_b^2\, W_K^{bb}\, \Gamma_k",
    section="4",
    hypotheses=(PURE, EVEN_WIDTH, ATTENTION_STARTS, MLP_STARTS, SEVERAL_DEMONSTRATIONS, TRAINS),
    asserts=lambda: system("S"),
    measure=_mirrored,
    rule=RoundOff(reason=_COLLECTED),
    wrong_twin=WrongTwin(
        name="one power of n_b",
        statement="n_b in place of n_b^2 in front of Gamma_k",
        asserts=controls.compiled(controls.drop_one_power_of_n_b, level="S"),
    ),
    uses=("closure/mirrored_neurons_stay_in_level_s",),
    rests_on=("round-off comparison",),
)


def _stochastic(laboratory: Laboratory, which_batch: Callable[[np.ndarray], np.ndarray]) -> Evidence:
    run = laboratory.stochastic_run
    return _trajectory_evidence(
        laboratory.stochastic_regime, laboratory.initial, run, system("B"), counts=which_batch(run["counts"])
    )


STOCHASTIC = Claim(
    id="closure/stochastic_recursion_equals_sgd",
    statement="Driven by the counts of the same prompts, the level-B recursion is pathwise equal to minibatch SGD of the full "
    "model.",
    formula=r"\hat s^\top W(t)\, \hat t = W^{st}_{B}(t) \text{ given the minibatches}",
    section="4",
    hypotheses=(PURE, ATTENTION_STARTS, MLP_STARTS, TRAINS),
    asserts=lambda: lambda counts: counts,
    measure=_stochastic,
    rule=RoundOff(reason=_COLLECTED),
    wrong_twin=WrongTwin(
        name="step t for t + 1",
        statement="each step is driven by the minibatch of the step before",
        asserts=lambda: lambda counts: np.roll(counts, 1, axis=0),
    ),
    uses=("closure/population_descent_equals_level_b",),
    rests_on=("round-off comparison",),
)

# -- the rest of the weights -------------------------------------------------------------------------------

Decay = Callable[[Regime], float]


def _exact_decay(regime: Regime) -> float:
    """prod_t (1 - eta_t lambda) over the run."""
    return float(np.prod([1 - step_size(regime, t) * regime.training.lam for t in range(regime.training.steps)]))


def _flow_decay(regime: Regime) -> float:
    """exp(-lambda sum_t eta_t), the gradient flow's law."""
    return float(np.exp(-regime.training.lam * sum(step_size(regime, t) for t in range(regime.training.steps))))


def outside_state(weights: Mapping[str, np.ndarray], K1: int) -> dict[str, np.ndarray]:
    """Full weights with the level-B state projected out: blocks of one concept in W_Q and W_K, span Q in W_O."""
    words = concept_vectors(weights["M"], K1)
    labels = concept_vectors(weights["Q"], K1).reshape(2 * K1, -1)
    rest = {}
    for name in ("W_Q", "W_K"):
        inside = np.einsum("ksd,kse,ef,ktf,ktg->dg", words, words, weights[name], words, words)
        rest[name] = weights[name] - inside
    rest["W_O"] = weights["W_O"] - weights["W_O"] @ labels.T @ labels
    return rest


def _complement(laboratory: Laboratory, decay: Decay) -> Evidence:
    regime, run, initial = laboratory.population_regime, laboratory.population_run, laboratory.initial
    K1 = regime.concepts.K1
    before = outside_state(initial, K1)
    after = outside_state(dict(initial) | {name: run[f"final_{name}"] for name in before}, K1)
    factor, rows = decay(regime), []
    for name, start in before.items():
        # Projecting out the state leaves its round-off behind, in d_x- and d_y-term sums of the full weights.
        scale = float(max(np.abs(run[f"final_{name}"]).max(), np.abs(initial[name]).max())) or 1.0
        rows.append(
            Compared(
                name=name,
                difference=float(np.abs(after[name] - factor * start).max()),
                scale=scale,
                roundings=8.0 * (len(initial["M"]) + len(initial["Q"]) + np.sqrt(regime.training.steps)),
            )
        )
    return Evidence(rows=tuple(rows), facts={"steps": regime.training.steps, "decay": factor})


COMPLEMENT = Claim(
    id="closure/complement_decays_exactly",
    statement="Everything outside the state of level B, cross-concept, irrelevant and spare directions, decays exactly as "
    "prod_t (1 - eta_t lambda).",
    formula=r"W_\perp(T) = \prod_{t<T} (1 - \eta_t\lambda)\, W_\perp(0)",
    section="4",
    hypotheses=(PURE, PENALISED, ATTENTION_STARTS, TRAINS),
    asserts=lambda: _exact_decay,
    measure=_complement,
    rule=RoundOff(
        reason="8 (d_x + d_y + sqrt(steps)) unit round-offs: projections of entries rounded at random once per step"
    ),
    wrong_twin=WrongTwin(
        name="the flow's decay",
        statement="it decays as exp(-lambda sum_t eta_t)",
        asserts=lambda: _flow_decay,
    ),
    uses=("algebra/peirce_blocks_split_the_norm", "closure/generic_neurons_reach_level_b"),
    rests_on=("round-off comparison",),
)

# -- the flow limit ----------------------------------------------------------------------------------------

FLOW_STEPS = (32, 64, 128)


def _flow_order(laboratory: Laboratory, time_scale: float) -> Evidence:
    regime, initial = laboratory.one, laboratory.initial
    horizon = smooth_horizon(regime, initial, step_size(regime, 0) * 8)
    if horizon == 0:
        raise PolysemeError("no smooth stretch: a gate flips at the very start; type another seed in [ensemble]")
    end = flow_end(regime, initial, time_scale * horizon)
    errors = [float(np.abs(recursion_end(regime, initial, horizon, steps) - end).max()) for steps in FLOW_STEPS]
    coarse, fine = (float(np.log2(errors[j] / errors[j + 1])) for j in (0, 1))
    # The local order is 1 + c/N: halving the step halves the deviation, so the extrapolated order is 2 fine - coarse
    # and the last correction bounds what is left.
    facts = {"horizon": horizon, "steps": list(FLOW_STEPS), "errors": errors}
    return Evidence(
        rows=(Fitted(name="order in eta", order=2 * fine - coarse, half_width=abs(fine - coarse)),), facts=facts
    )


FLOW = Claim(
    id="closure/flow_limit_has_order_one",
    statement="Before the first gate event the recursion converges to the gradient flow with order 1 in the step size.",
    formula=r"\|W(\tau/\eta) - W_{\mathrm{flow}}(\tau)\| = \Theta(\eta)",
    section="4",
    hypotheses=(PURE, ATTENTION_STARTS, MLP_STARTS),
    asserts=lambda: 1.0,
    measure=_flow_order,
    rule=Order(
        declared=1.0,
        margin=0.02,
        reason="Euler's order is a whole number; 0.02 is the accuracy that three halvings resolve with room to spare",
    ),
    wrong_twin=WrongTwin(
        name="eta for 2 eta",
        statement="the flow at time 2 tau is the limit of the recursion at time tau",
        asserts=lambda: 2.0,
    ),
    uses=("closure/population_descent_equals_level_b",),
    rests_on=("extrapolated order against an adaptive solver at tolerance 1e-12",),
)

CLAIMS = (
    GENERIC_CLOSURE,
    MIRRORED_CLOSURE,
    DEAD_BLOCKS,
    POPULATION,
    MIRRORED,
    STOCHASTIC,
    COMPLEMENT,
    FLOW,
)
