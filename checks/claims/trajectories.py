"""Claims of the family closure: whole trajectories and their limit (THEORY.md sections 4 and 7)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import sympy as sp

from checks import controls
from checks.claim import Claim, Compared, Evidence, Fitted, WrongTwin
from checks.claims.gradient import before_cancellation, conditioning, outputs
from checks.controls import Theory
from checks.hypotheses import (
    ATTENTION_STARTS,
    DISTINCT,
    EVEN_WIDTH,
    FAIR,
    GENTLE,
    MLP_STARTS,
    PENALISED,
    PURE,
    SEVERAL_DEMONSTRATIONS,
    TRAINS,
)
from checks.laboratory import Arrays, Laboratory
from checks.rules import Order, RoundOff
from theory import forward as fw
from theory.coefficients import constants, to_layout
from theory.flow import flow_end, recursion_end, smooth_horizon
from theory.integrate import Diverged, integrate, step_size
from theory.lower import System, system_of
from theory.setting import PolysemeError, Regime

STATE = ("W_Q_blocks", "W_K_blocks", "alpha", "beta")
OBSERVED = ("loss", "attention", "error")

# Far above round-off, so that growth is measured to some digits; far below any feature of the path.
NUDGE, NUDGES = 1e-12, 3
# Beyond this a path has run along a kink or into chaos: the bound stops growing with it, or anything would pass.
MOST_GROWTH = 1e4


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The right recursion on a stretch, and what it does to small nudges of its start.

    `growth` is the median over nudges of the largest relative change of the state per relative nudge, at most
    MOST_GROWTH; `jumps` says for each array how far the most moved run went beyond ten times the median one (or at all,
    on a path that grows more): zero on a smooth path, and of the size of a gate's effect along a kink or in chaos.
    `walk` is how far a random walk goes that takes, at each update, a step of the size of one prompt's gradient, relative
    to the state: gradients cancel between and within prompts, and their round-off does not.
    """

    trajectory: Arrays
    growth: float
    jumps: dict[str, float]
    walk: float


def _change(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.abs(left - right).max())


def _size(array: np.ndarray) -> float:
    return float(np.abs(array).max()) or 1.0


def _reference(
    regime: Regime, initial: Mapping[str, np.ndarray], compiled: System, counts: np.ndarray | None
) -> Reference:
    right = integrate(regime, initial, compiled=compiled, counts=counts)
    rng = np.random.default_rng(5)
    moved: dict[str, list[float]] = {name: [] for name in (*STATE, *OBSERVED)}
    for _ in range(NUDGES):
        nudged = {
            name: initial[name] * (1 + NUDGE * rng.choice([-1.0, 1.0], size=initial[name].shape))
            for name in ("W_Q", "W_K", "W_O")
        }
        other = integrate(regime, dict(initial) | nudged, compiled=compiled, counts=counts)
        for name, changes in moved.items():
            changes.append(_change(other[name], right[name]))
    growth = max(float(np.median(moved[name])) / _size(right[name]) for name in STATE) / NUDGE
    smooth = 10.0 if growth <= MOST_GROWTH else 0.0
    return Reference(
        trajectory=right,
        growth=min(growth, MOST_GROWTH),
        jumps={name: max(0.0, max(changes) - smooth * float(np.median(changes))) for name, changes in moved.items()},
        walk=_walk(regime, initial["r"], right),
    )


def _walk(regime: Regime, r: np.ndarray, trajectory: Mapping[str, np.ndarray]) -> float:
    """sqrt of the sum over updates of (eta_t * size of one prompt's gradient / size of the state)^2, from the records."""
    sizes = before_cancellation(regime, r, trajectory)
    updates = np.diff(trajectory["step"], append=regime.training.steps)
    eta = np.array([step_size(regime, int(t)) for t in trajectory["step"]])
    return max(
        float(np.sqrt((updates * (eta * sizes[name] / _size(trajectory[name])) ** 2).sum(axis=-1)).max())
        for name in STATE
    )


def roundings_of(regime: Regime, reference: Reference) -> float:
    """Unit round-offs that a run can collect.

    One random rounding of the state per step, the round-off of sums of length `width` in its projection, and that of
    every gradient that is added to it, where the roundings of a sum are random too, all amplified as a nudge is.
    """
    width = regime.concepts.d_x + regime.concepts.d_y + regime.prompt.L + regime.model.m
    collected = np.sqrt(max(regime.training.steps, 1)) + width + np.sqrt(width) * reference.walk
    return 8 * max(reference.growth, 1.0) * float(collected) * conditioning(regime)


def population_reference(laboratory: Laboratory) -> Reference:
    """The level-B reference of the laboratory's population descent."""
    return laboratory.remembered(
        "population",
        lambda: _reference(laboratory.population_regime, laboratory.initial, system_of(laboratory.one), None),
    )


COLLECTED = (
    "8 growth (sqrt(steps) + width + sqrt(width) walk) / min(n_b, n_d) unit round-offs: one rounding of the state per step, "
    "sums of width d_x + d_y + L + m in its projection and in each gradient of a random walk, times the growth of a nudge"
)


def _undecided(
    regime: Regime, initial: Mapping[str, np.ndarray], trajectory: Mapping[str, np.ndarray], share: float
) -> np.ndarray:
    """At each record, the probability of the prompts whose output is zero to within `share` of what it is summed from.

    The sign of their margin, and so their 0-1 error, is decided by round-off alone: terms cancel, or the only open
    gates sit on their kinks. A prompt whose gates are all clearly shut has f = 0 exactly, and that is decided.
    Shape of the trajectory's error: (records,), after an ensemble axis if any.
    """
    # Every record of every member is a state of its own, along the member axis of the compiled functions.
    layout = to_layout(_as_members(trajectory))
    numbers = constants(regime, initial["r"])
    r, n_c, n_d = (np.asarray(numbers[name]) for name in ("r", "n_c", "n_d"))
    h, f = outputs(regime, initial["r"], layout)
    size = n_c * np.abs(layout["alpha"]) + n_d * np.abs(layout["beta"])  # of each h, before anything cancels
    whole = (np.abs(r) * size).sum(-1)
    # With a ReLU, a prompt whose gates are all shut has f = 0 exactly.
    shut = (h < -share * size).all(-1) & (regime.model.activation == "relu")
    mass = np.asarray(numbers["p"])[..., 0] * (~shut & (np.abs(f) <= share * whole))
    return mass.sum(axis=(1, 2, 3)).reshape(trajectory["error"].shape)


def _as_members(trajectory: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The states of a trajectory with members and records on one leading axis."""
    lead = trajectory["error"].ndim
    return {name: trajectory[name].reshape(-1, *trajectory[name].shape[lead:]) for name in STATE}


def _stopped(regime: Regime, divergence: Diverged) -> Evidence:
    """Evidence about a recursion that diverged while the full model, which has been run before it, did not."""
    row = Compared(name="all arrays", difference=np.inf, scale=1.0, roundings=1.0)
    return Evidence(rows=(row,), facts={"steps": regime.training.steps, "stopped": str(divergence)})


def _evidence(
    laboratory: Laboratory,
    key: str,
    regime: Regime,
    initial: Mapping[str, np.ndarray],
    full: Mapping[str, np.ndarray],
    right_theory: Theory,
    asserted_theory: Theory,
    *,
    counts: np.ndarray | None = None,
    asserted_counts: np.ndarray | None = None,
) -> Evidence:
    """The asserted reduced trajectory against the full model's, array by array."""
    right, asserted = right_theory(regime), asserted_theory(regime)
    try:
        reference = laboratory.remembered(key, lambda: _reference(regime, initial, right, counts))
    except Diverged as divergence:
        return _stopped(regime, divergence)
    roundings = roundings_of(regime, reference)
    facts = {
        "steps": regime.training.steps,
        "records": len(full["step"]),
        "member": laboratory.member,
        "growth of a nudge": round(reference.growth, 2),
        "random walk of the gradients' round-off": round(reference.walk, 2),
    }
    same = asserted is right and asserted_counts is counts
    try:
        reduced = (
            reference.trajectory if same else integrate(regime, initial, compiled=asserted, counts=asserted_counts)
        )
    except Diverged as divergence:
        return _stopped(regime, divergence)
    differences = {name: _change(reduced[name], full[name]) for name in (*STATE, *OBSERVED)}
    share = roundings * np.finfo(np.float64).eps / 2
    undecided = _undecided(regime, initial, reference.trajectory, share)
    beyond_ties = np.abs(reduced["error"] - full["error"]) - undecided
    differences["error"] = float(np.maximum(beyond_ties, 0.0).max())
    rows = [
        Compared(
            name=name if name != "error" else "error, where its sign is not round-off",
            difference=difference,
            scale=_size(full[name]),
            roundings=roundings,
            jump=reference.jumps[name],
        )
        for name, difference in differences.items()
    ]
    return Evidence(
        rows=tuple(rows), facts=facts | {"largest probability of a sign at round-off": float(undecided.max())}
    )


def _population(laboratory: Laboratory, asserted: Theory) -> Evidence:
    regime, run = laboratory.population_regime, laboratory.population_run
    return _evidence(laboratory, "population", regime, laboratory.initial, run, system_of, asserted)


POPULATION = Claim(
    id="closure/population_descent_equals_level_b",
    statement="Exact population descent of the full model and the level-B recursion have the same trajectory.",
    formula=r"\hat s^\top W(t)\, \hat t = W^{st}_{B}(t),\quad t = 0, \dots, T",
    section="4",
    hypotheses=(PURE, DISTINCT, ATTENTION_STARTS, MLP_STARTS, GENTLE, SEVERAL_DEMONSTRATIONS, TRAINS),
    asserts=lambda: system_of,
    measure=_population,
    rule=RoundOff(reason=COLLECTED),
    wrong_twin=WrongTwin(
        name="cross blocks dropped",
        statement="level S for generic neurons: W^{ab} and W^{ba} put to zero",
        asserts=lambda: controls.level_s,
    ),
    uses=("gradient/level_b_drift_matches_population_autograd", "closure/generic_neurons_reach_level_b"),
    rests_on=("round-off comparison",),
)


def _any_start(laboratory: Laboratory, asserted: Theory) -> Evidence:
    regime, start = laboratory.population_regime, laboratory.any_start
    return _evidence(laboratory, "any start", regime, start, laboratory.any_start_run, system_of, asserted)


ANY_START = Claim(
    id="closure/population_descent_equals_level_b_of_any_blocks",
    statement="The same from random 2 x 2 blocks, different in W_Q and W_K, with every entry on: the start that an initial-state "
    "file may hold.",
    formula=r"\hat s^\top W(t)\, \hat t = W^{st}_{B}(t)\quad\text{from any}\quad W_Q^{st}(0),\ W_K^{st}(0)",
    section="4",
    hypotheses=(PURE, DISTINCT, PENALISED, GENTLE, SEVERAL_DEMONSTRATIONS, TRAINS),
    asserts=lambda: system_of,
    measure=_any_start,
    rule=RoundOff(reason=COLLECTED),
    wrong_twin=WrongTwin(
        name="half the penalty",
        statement="W_K^{ba}, which no gradient reaches, decays with lambda / 2",
        asserts=controls.with_shrinkage(fw.W_K["ba"], sp.Rational(1, 2)),
    ),
    uses=("closure/population_descent_equals_level_b",),
    rests_on=("round-off comparison",),
)


def _mirrored(laboratory: Laboratory, asserted: Theory) -> Evidence:
    regime, run = laboratory.population_regime, laboratory.mirrored_run
    return _evidence(laboratory, "mirrored", regime, laboratory.mirrored_initial, run, controls.level_s, asserted)


MIRRORED = Claim(
    id="closure/mirrored_population_descent_equals_level_s",
    statement="From mirrored neurons, exact population descent of the full model follows the diagonal level-S recursion.",
    formula=r"W_Q^{bb} \leftarrow (1 - \eta\lambda) W_Q^{bb} - \eta\, n_b^2\, W_K^{bb}\, \Gamma_k",
    section="4",
    hypotheses=(PURE, FAIR, DISTINCT, EVEN_WIDTH, ATTENTION_STARTS, MLP_STARTS, GENTLE, SEVERAL_DEMONSTRATIONS, TRAINS),
    asserts=lambda: controls.level_s,
    measure=_mirrored,
    rule=RoundOff(reason=COLLECTED),
    wrong_twin=WrongTwin(
        name="one power of n_b",
        statement="n_b in place of n_b^2 in front of Gamma_k",
        asserts=controls.compiled(controls.drop_one_power_of_n_b, level="S"),
    ),
    uses=("closure/mirrored_neurons_stay_in_level_s",),
    rests_on=("round-off comparison",),
)


def _stochastic(laboratory: Laboratory, fed: Callable[[np.ndarray], np.ndarray]) -> Evidence:
    regime, run, right = laboratory.stochastic_regime, laboratory.stochastic_run, system_of
    counts = run["counts"]
    return _evidence(
        laboratory,
        "stochastic",
        regime,
        laboratory.stochastic_initial,
        run,
        right,
        right,
        counts=counts,
        asserted_counts=fed(counts),
    )


STOCHASTIC = Claim(
    id="closure/stochastic_recursion_equals_sgd",
    statement="Driven by the counts of the same prompts, the level-B recursion is pathwise equal to minibatch SGD of the full "
    "model, for each of three members with starts and data of their own.",
    formula=r"\hat s^\top W(t)\, \hat t = W^{st}_{B}(t) \text{ given the minibatches}",
    section="4",
    hypotheses=(PURE, DISTINCT, ATTENTION_STARTS, MLP_STARTS, GENTLE, TRAINS),
    asserts=lambda: lambda counts: counts,
    measure=_stochastic,
    rule=RoundOff(reason=COLLECTED),
    wrong_twin=WrongTwin(
        name="query signs exchanged",
        statement="each step is driven by its minibatch with the signs of the queries exchanged",
        asserts=lambda: lambda counts: counts[..., ::-1, :].copy(),
    ),
    uses=("closure/population_descent_equals_level_b",),
    rests_on=("round-off comparison",),
)

# -- the flow limit ----------------------------------------------------------------------------------------

FLOW_STEPS = (32, 64, 128)
FLOW_TOLERANCE = 3e-14
# Learning takes times of hundreds; the stretch is cut before the first gate event anyway.
FLOW_TIME = 16.0
# Starts among which the longest smooth stretch is taken: on a very short one the errors are round-off.
FLOW_STARTS = 8


def _smoothest_start(laboratory: Laboratory) -> tuple[Arrays, float]:
    """The start, of several members, whose first gate event comes last, and the time before it."""
    starts = [laboratory.initial, *(laboratory.start_of(member) for member in range(1, FLOW_STARTS))]
    horizons = [smooth_horizon(laboratory.one, start, FLOW_TIME) for start in starts]
    best = int(np.argmax(horizons))
    return starts[best], horizons[best]


def _flow_order(laboratory: Laboratory, time_scale: float) -> Evidence:
    regime = laboratory.one
    initial, horizon = laboratory.remembered("smoothest start", lambda: _smoothest_start(laboratory))
    if horizon == 0:
        raise PolysemeError(
            f"no smooth stretch: a gate flips at the start of {FLOW_STARTS} members; type another seed in [ensemble]"
        )
    end = flow_end(regime, initial, time_scale * horizon, tolerance=FLOW_TOLERANCE)
    errors = [_change(recursion_end(regime, initial, horizon, steps), end) for steps in FLOW_STEPS]
    # What the solver's tolerance and the recursion's own roundings leave of each error.
    noise = (10 * FLOW_TOLERANCE + np.sqrt(FLOW_STEPS[-1]) * np.finfo(np.float64).eps) * (1 + _size(end))
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


FLOW = Claim(
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
    wrong_twin=WrongTwin(
        name="time halved",
        statement="the recursion at time tau converges to the flow at time tau / 2",
        asserts=lambda: 0.5,
    ),
    uses=("closure/population_descent_equals_level_b",),
    rests_on=("extrapolated order against an adaptive solver at tolerance 1e-12",),
)

CLAIMS = (POPULATION, ANY_START, MIRRORED, STOCHASTIC, FLOW)
