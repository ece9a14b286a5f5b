"""How far two runs of one recursion may be apart: round-off, times what a path does to a nudge (THEORY.md section 4)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from polyseme.checks.core.evidence import BEYOND, Compared, Evidence, Facts, Share
from polyseme.checks.multi_concept.context import Arrays, TrainingContext
from polyseme.checks.multi_concept.controls import Theory
from polyseme.checks.multi_concept.round_off.scale import before_cancellation, conditioning, outputs
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.coefficients import constants, to_layout
from polyseme.theory.multi_concept.dynamics.integrate import Diverged, integrate_b, step_size
from polyseme.theory.multi_concept.numerics.lower import System, system_of
from polyseme.theory.multi_concept.regime import Regime

STATE = ("W_Q_blocks", "W_K_blocks", "alpha", "beta")
OBSERVED = ("loss", "attention", "error")

# Far above round-off, so that growth is measured to some digits; far below any feature of the path.
NUDGE, NUDGES = 1e-12, 3
# Beyond this a path has run along a kink or into chaos, and is compared no further: any bound that grew with it would let
# anything pass.
MOST_GROWTH = 1e4


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The right recursion on a stretch, and what it does to small nudges of its start.

    `growth` is the median over nudges of the largest relative change of the state per relative nudge, at most
    MOST_GROWTH. `tame` is how many records there are before it would be more: beyond them a path runs along a kink or is
    chaotic, and round-off alone decides where it goes. `jumps` says for each array how far, before that, the most moved run
    went beyond ten times the median one: zero on a smooth path, and of the size of a gate's effect at a kink.
    `walk` is how far a random walk goes that takes, at each update, a step of the size of one prompt's gradient, relative
    to the state: gradients cancel between and within prompts, and their round-off does not.
    """

    trajectory: Arrays
    growth: float
    tame: int
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
    right = integrate_b(regime, initial, compiled=compiled, counts=counts)
    runs = [_unless_diverged(regime, start, compiled, counts) for start in _nudged(initial)]
    # How far each nudged run is from the right one, at each record.
    moved = {
        name: np.array(
            [_changes(run[name], right[name], right) if run else np.full(records_of(right), BEYOND) for run in runs]
        )
        for name in (*STATE, *OBSERVED)
    }
    growth = np.max([np.median(moved[name], axis=0) / largest(right[name]) for name in STATE], axis=0) / NUDGE
    wild = np.flatnonzero(growth > MOST_GROWTH)
    tame = int(wild[0]) if wild.size else records_of(right)
    before = {name: changes[:, : max(tame, 1)].max(axis=1) for name, changes in moved.items()}
    return Reference(
        trajectory=right,
        growth=min(float(growth.max()), MOST_GROWTH),
        tame=tame,
        jumps={name: max(0.0, float(changes.max() - 10 * np.median(changes))) for name, changes in before.items()},
        walk=_walk(regime, initial["r"], _first(right, max(tame, 1)), _end(regime, right, max(tame, 1))),
    )


def _first(trajectory: Arrays, records: int) -> Arrays:
    """The first records of a trajectory."""
    axis = trajectory["error"].ndim - 1
    cut = {name: np.take(array, range(records), axis=axis) for name, array in trajectory.items() if name != "step"}
    return cut | {"step": trajectory["step"][:records]}


def _end(regime: Regime, trajectory: Mapping[str, np.ndarray], records: int) -> int:
    """The step at which the stretch of the first records ends."""
    steps = trajectory["step"]
    return int(steps[records]) if records < len(steps) else regime.training.steps


def records_of(trajectory: Mapping[str, np.ndarray]) -> int:
    """How many records a trajectory has."""
    return trajectory["error"].shape[-1]


def _by_record(array: np.ndarray, trajectory: Mapping[str, np.ndarray]) -> np.ndarray:
    """An array of a trajectory with its records on the first axis, before that of members if any."""
    return np.moveaxis(array, trajectory["error"].ndim - 1, 0)


def _changes(left: np.ndarray, right: np.ndarray, trajectory: Mapping[str, np.ndarray]) -> np.ndarray:
    """The largest difference at each record."""
    difference = _by_record(np.abs(left - right), trajectory)
    return difference.reshape(len(difference), -1).max(axis=1)


def _nudged(initial: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The start with every weight moved by NUDGE of itself, up or down, NUDGES times."""
    rng = np.random.default_rng(5)
    for _ in range(NUDGES):
        yield dict(initial) | {
            name: initial[name] * (1 + NUDGE * rng.choice([-1.0, 1.0], size=initial[name].shape))
            for name in ("W_Q", "W_K", "W_O")
        }


def _unless_diverged(
    regime: Regime, initial: Mapping[str, np.ndarray], compiled: System, counts: np.ndarray | None
) -> Arrays | None:
    try:
        return integrate_b(regime, initial, compiled=compiled, counts=counts)
    except Diverged:
        return None


def _walk(regime: Regime, r: np.ndarray, trajectory: Mapping[str, np.ndarray], end: int) -> float:
    """sqrt of the sum over updates of (eta_t * size of one prompt's gradient / size of the state)^2, from the records.

    `end` is the step up to which the last record stands for the path.
    """
    sizes = before_cancellation(regime, r, trajectory)
    updates = np.diff(trajectory["step"], append=end)
    eta = np.array([step_size(regime, int(t)) for t in trajectory["step"]])
    with np.errstate(over="ignore", invalid="ignore"):  # answered in words
        steps = {name: eta * sizes[name] / largest(trajectory[name]) for name in STATE}
        walk = max(float(np.sqrt((updates * steps[name] ** 2).sum(axis=-1)).max()) for name in STATE)
    if not np.isfinite(walk):
        raise PolysemeError(
            "the gradients of single prompts overflow along this path, expected finite ones; type a smaller step size in [training]"
        )
    return walk


def roundings_of(regime: Regime, reference: Reference) -> float:
    """Unit round-offs that a run can collect.

    One random rounding of the state per step, the round-off of sums of length `width` in its projection, and that of
    every gradient that is added to it, where the roundings of a sum are random too, all amplified as a nudge is.
    """
    width = regime.concepts.d_x + regime.concepts.d_y + regime.prompt.L + regime.model.m
    collected = np.sqrt(max(regime.training.steps, 1)) + width + np.sqrt(width) * reference.walk
    return 8 * max(reference.growth, 1.0) * float(collected) * conditioning(regime)


def population_reference(context: TrainingContext) -> Reference:
    """The level-B reference of the context's population descent."""
    return context.cached(
        "population",
        lambda: _reference(context.population_regime, context.initial, system_of(context.one), None),
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


def _stopped(regime: Regime, divergence: Diverged, *, jump: float) -> Evidence:
    """Evidence about a recursion that diverged while the full model, which has been run before it, did not.

    `jump` is BEYOND where a nudge alone decides whether the right recursion diverges: that says nothing about a theory.
    """
    row = Compared(name="all arrays", difference=BEYOND, scale=1.0, roundings=1.0, jump=jump)
    return Evidence(rows=(row,), facts={"steps": regime.training.steps, "stopped": str(divergence)})


@dataclass(frozen=True, kw_only=True)
class PathFacts(Facts):
    """What the bound on round-off along a path was made of.

    By how much a nudge of the start grows, the random walk of the gradients' round-off in units of one, and the largest
    probability of prompts whose sign is round-off.
    """

    steps: int
    records: int
    member: int
    growth_of_a_nudge: float
    random_walk: float
    undecided: Share


def evidence_of_paths(
    context: TrainingContext,
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
        reference = context.cached(key, lambda: _reference(regime, initial, right, counts))
    except Diverged as divergence:
        survives = any(_unless_diverged(regime, start, right, counts) for start in _nudged(initial))
        return _stopped(regime, divergence, jump=BEYOND if survives else 0.0)
    roundings = roundings_of(regime, reference)
    same = asserted is right and asserted_counts is counts
    try:
        reduced = (
            reference.trajectory if same else integrate_b(regime, initial, compiled=asserted, counts=asserted_counts)
        )
    except Diverged as divergence:
        return _stopped(regime, divergence, jump=max(reference.jumps.values()))
    share = roundings * np.finfo(np.float64).eps / 2
    undecided = _undecided(regime, initial, reference.trajectory, share)
    tame, records = reference.tame, records_of(reference.trajectory)
    differences = {
        name: _changes(reduced[name], full[name], reference.trajectory)[:tame] for name in (*STATE, *OBSERVED)
    }
    beyond_ties = np.maximum(np.abs(reduced["error"] - full["error"]) - undecided, 0.0)
    differences["error"] = _changes(beyond_ties, np.zeros_like(beyond_ties), reference.trajectory)[:tame]
    rows = [
        Compared(
            name=name if name != "error" else "error, where its sign is not round-off",
            difference=float(difference.max(initial=0.0)),
            scale=largest(full[name]),
            roundings=roundings,
            jump=reference.jumps[name],
        )
        for name, difference in differences.items()
    ]
    if tame < records:
        # Nothing can be said about the rest, neither good nor bad.
        rest = f"all arrays from record {tame} of {records} on, where a nudge grows by more than {MOST_GROWTH:g}"
        rows.append(Compared(name=rest, difference=BEYOND, scale=1.0, roundings=1.0, jump=BEYOND))
    facts = PathFacts(
        steps=regime.training.steps,
        records=len(full["step"]),
        member=context.member,
        growth_of_a_nudge=round(reference.growth, 2),
        random_walk=round(reference.walk, 2),
        undecided=float(undecided.max()),
    )
    return Evidence(rows=tuple(rows), facts=facts)
