"""How far two runs of one recursion may be apart: round-off, times what a path does to a nudge (THEORY.md section 4)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from checks.claims.gradient import before_cancellation, conditioning, outputs
from checks.controls import Theory
from checks.evidence import Compared, Evidence
from checks.laboratory import Arrays, Laboratory
from theory.coefficients import constants, to_layout
from theory.integrate import Diverged, integrate, step_size
from theory.lower import System, system_of
from theory.setting import Regime

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


def change(left: np.ndarray, right: np.ndarray) -> float:
    """The largest difference of two arrays."""
    return float(np.abs(left - right).max())


def largest(array: np.ndarray) -> float:
    """The largest absolute entry, or 1 for an array of zeros: what a difference is relative to."""
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
            changes.append(change(other[name], right[name]))
    growth = max(float(np.median(moved[name])) / largest(right[name]) for name in STATE) / NUDGE
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
        float(np.sqrt((updates * (eta * sizes[name] / largest(trajectory[name])) ** 2).sum(axis=-1)).max())
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


def evidence_of_paths(
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
    differences = {name: change(reduced[name], full[name]) for name in (*STATE, *OBSERVED)}
    share = roundings * np.finfo(np.float64).eps / 2
    undecided = _undecided(regime, initial, reference.trajectory, share)
    beyond_ties = np.abs(reduced["error"] - full["error"]) - undecided
    differences["error"] = float(np.maximum(beyond_ties, 0.0).max())
    rows = [
        Compared(
            name=name if name != "error" else "error, where its sign is not round-off",
            difference=difference,
            scale=largest(full[name]),
            roundings=roundings,
            jump=reference.jumps[name],
        )
        for name, difference in differences.items()
    ]
    return Evidence(
        rows=tuple(rows), facts=facts | {"largest probability of a sign at round-off": float(undecided.max())}
    )
