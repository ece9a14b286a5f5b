"""Run a derived recursion: the discrete recursion and its stochastic form (docs/THEORY.md section 4).

Both are one loop over the same compiled object. The discrete recursion weighs the prompts (k, e, n+) by
their probabilities; the stochastic one by their frequencies in each minibatch, and is then pathwise equal
to SGD of the full model fed the same prompts.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import psutil
from jaxtyping import Float, Int

from polyseme.errors import Diverged, PolysemeError
from polyseme.theory.multi_concept.coefficients import Arrays, constants, from_layout, project, to_layout
from polyseme.theory.multi_concept.numerics.fast import system_for
from polyseme.theory.multi_concept.numerics.lower import GRADIENT, ArrayFunction, System, stepped
from polyseme.theory.multi_concept.prompts.tail import window
from polyseme.theory.multi_concept.regime import Regime

# Numbers per temporary array: 0.5 MiB of float64. Measured at K1 = 10, m = 500, L = 10,000: 0.30 s a step, against
# 0.66 s at 2**14 (overhead) and 1.04 s at 2**17 and above (out of the second-level cache, and fresh pages each time).
BLOCK = 2**16

Progress = Callable[[int, int], None]


def step_size(regime: Regime, t: int) -> float:
    """eta_t of the update from step t to step t + 1 (section 1)."""
    training = regime.training
    if training.schedule == "constant":
        return training.eta
    return 2 / (training.lam * (training.gamma + t))


def _pieces(size: int, step: int) -> Iterator[slice]:
    step = max(1, min(size, step))
    return (slice(start, start + step) for start in range(0, size, step))


def _blocks(shape: tuple[int, int, int, int], *, whole: bool = False) -> Iterator[tuple[slice, slice, slice]]:
    """Slices over (member, concept, count) whose arrays, 2 signs and m neurons wide, hold about BLOCK numbers.

    `whole` keeps all counts in each slice.
    """
    members, concepts, counts, neurons = shape

    room = BLOCK // (2 * neurons)
    for member in _pieces(members, room // (concepts * counts)):
        for concept in _pieces(concepts, room // counts):
            for count in _pieces(counts, counts if whole else room):
                yield member, concept, count


def _cut(
    array: Float[np.ndarray, "..."] | float, where: tuple[slice, slice, slice]
) -> Float[np.ndarray, "..."] | float:
    """The part of a five-axis array that a block needs; axes of size 1 broadcast and are kept whole."""
    if not isinstance(array, np.ndarray):
        return array
    member, concept, count = (
        part if array.shape[axis] > 1 else slice(None) for axis, part in zip((0, 1, 3), where, strict=True)
    )
    return array[member, concept, :, count]


def evaluate(
    lowered: ArrayFunction,
    state: Mapping[str, Float[np.ndarray, "..."]],
    numbers: Mapping[str, Float[np.ndarray, "..."] | float],
) -> Arrays:
    """A lowered function that is a sum over prompts, in blocks: the peak memory does not grow with K1, m or L.

    Results have the five axes of `lower.py`; an observable, summed over concepts, has size 1 along that axis.
    """
    arguments = {**numbers, **state}
    members, concepts, _, _, neurons = state["alpha"].shape
    counts = np.shape(numbers["n_plus"])[3]
    results: Arrays = {}
    # The cheaper evaluation has no array over prompts and neurons, and needs the counts of a concept together.
    for where in _blocks((members, concepts, counts, 1 if lowered.whole else neurons), whole=lowered.whole):
        values = lowered({name: _cut(arguments[name], where) for name in lowered.names})
        for name, value in values.items():
            part = np.asarray(value, dtype=np.float64)
            per_concept = name in state
            if name not in results:
                tail = state[name].shape[1:] if per_concept else (1, 1, 1, 1)
                results[name] = np.zeros((members, *tail))
            results[name][where[0], where[1] if per_concept else slice(None)] += part
    return results


def step(
    state: Arrays, numbers: Mapping[str, Float[np.ndarray, "..."] | float], eta: float, compiled: System
) -> Arrays:
    """One update of every coefficient of the state: the printed right-hand sides, with the gradients put in."""
    if compiled.step is not None:
        return stepped(compiled, {**numbers, "eta": eta}, state)
    gradient = evaluate(compiled.gradient, state, numbers)
    named = {f"{GRADIENT}{name}": array for name, array in gradient.items()}
    values = compiled.update({**numbers, "eta": eta, **state, **named})
    return state | {name: np.asarray(value) for name, value in values.items()}


def integrate_b(
    regime: Regime,
    initial: Mapping[str, Float[np.ndarray, "..."]],
    *,
    compiled: System | None = None,
    counts: Int[np.ndarray, "..."] | None = None,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """The trajectory of level B from an initial state (names and shapes of section 8).

    `initial` holds W_Q, W_K, W_O, r, M, Q; the result has a leading ensemble axis if W_Q has one. `counts`,
    of shape (steps, K1, 2, L + 1) after an ensemble axis if any, drives the stochastic recursion: counts of
    prompts (k, e, n+) in each minibatch. Without counts, those n+ are left out that together have probability 2^-80 at most
    (`tail.py`): loss, error and attention are exact to that, so an error floor of 2^-L is lost beyond L = 80. `compiled` replaces the derived recursion, for negative controls.
    PolysemeError if the run would not fit in memory, and its kind Diverged if it diverges.
    """
    ensemble = initial["W_Q"].ndim == 3
    state = to_layout(project(initial, regime.concepts.K1))
    _require_memory(regime, state)
    records = regime.training.record_steps()
    # A window leaves out less than any rounding; minibatches are counted on all counts.
    within = window(regime) if counts is None else None
    numbers = constants(regime, initial["r"], within=within)
    compiled = compiled or system_for(regime, np.shape(numbers["n_plus"])[3])
    if counts is not None:
        counts = counts if ensemble else counts[None]
        concepts, L = regime.concepts.K1, regime.prompt.L
        expected = (len(state["alpha"]), regime.training.steps, concepts, 2, L + 1)
        if counts.shape != expected:
            raise PolysemeError(
                f"got counts of shape {counts.shape}, expected (members, steps, K1, 2, L + 1) = {expected}; "
                "type the run whose regime and start these are"
            )

    recorded: list[Arrays] = []
    with np.errstate(over="ignore", invalid="ignore"):  # a diverging run is reported below, in words
        for t in range(regime.training.steps + 1):
            if t == records[len(recorded)]:
                recorded.append(_record(state, numbers, compiled))
                if not all(np.isfinite(array).all() for array in recorded[-1].values()):
                    training = regime.training
                    larger = training.schedule == "inverse"
                    key, value = ("gamma", training.gamma) if larger else ("eta", training.eta)
                    raise Diverged(
                        f"the recursion diverged before step {t}, expected finite coefficients; "
                        f"type a {'larger' if larger else 'smaller'} value of {key} in [training], which has {key} = {value:g}"
                    )
                if progress:
                    progress(t, regime.training.steps)
            if t < regime.training.steps:
                now = numbers
                if counts is not None:
                    batch = counts[:, t].sum(axis=(1, 2, 3), keepdims=True)
                    now = numbers | {"p": (counts[:, t] / batch)[..., None]}
                state = step(state, now, step_size(regime, t), compiled)

    stacked = {name: np.stack([record[name] for record in recorded], axis=1) for name in recorded[0]}
    trajectory = {name: array if ensemble else array[0] for name, array in stacked.items()}
    return {"step": np.asarray(records), **trajectory}


def recorded_run(
    regime: Regime,
    state: Any,
    *,
    level: str,
    step: Callable[[Any, int], Any],
    observe: Callable[[Any], Arrays],
    ensemble: bool,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """The trajectory of a level that runs at any state: `step(state, t)` takes step t, `observe(state)` has a member axis first.

    Records on the second axis; without the member axis unless `ensemble`. Its kind Diverged of PolysemeError, naming the level.
    """
    records, recorded = regime.training.record_steps(), []
    with np.errstate(over="ignore", invalid="ignore"):  # a diverging run is reported below, in words
        for t in range(regime.training.steps + 1):
            if t == records[len(recorded)]:
                recorded.append(observe(state))
                if not all(np.isfinite(array).all() for array in recorded[-1].values()):
                    raise Diverged(f"level {level} diverged before step {t}; type a smaller step size in [training]")
                if progress:
                    progress(t, regime.training.steps)
            if t < regime.training.steps:
                state = step(state, t)
    stacked = {name: np.stack([record[name] for record in recorded], axis=1) for name in recorded[0]}
    return {"step": np.asarray(records)} | {name: array if ensemble else array[0] for name, array in stacked.items()}


def for_members(trajectory: Mapping[str, np.ndarray], seeds: int) -> dict[str, np.ndarray]:
    """The trajectory with the ensemble axis that section 8 gives to more than one seed.

    From one start all members have the same reduced trajectory, so a run without the axis is repeated; `step` never is.
    """
    if seeds == 1 or trajectory["alpha"].ndim == 4:
        return dict(trajectory)
    return {
        name: array if name == "step" else np.broadcast_to(array, (seeds, *array.shape))
        for name, array in trajectory.items()
    }


def _record(state: Arrays, numbers: Mapping[str, Float[np.ndarray, "..."] | float], compiled: System) -> Arrays:
    observed = evaluate(compiled.observables, state, numbers)
    return from_layout(state) | {name: value[:, 0, 0, 0, 0] for name, value in observed.items()}


def _require_memory(regime: Regime, state: Arrays) -> None:
    """Refuse what cannot be held, before anything is computed: the trajectory, or the table of prompts (k, e, n+)."""
    records = regime.training.record_count()
    needs = {
        # Twice: the list of records, then its stack.
        f"a larger record_every in [training] (got {records} records), or fewer seeds": 2
        * records
        * sum(array.nbytes for array in state.values()),
        # Eight: the probabilities and what they are computed from.
        f"a smaller L in [prompt] (got L = {regime.prompt.L}), or a smaller K1": 8
        * 16
        * regime.concepts.K1
        * len(window(regime).counts),
    }
    free, needed = psutil.virtual_memory().available, sum(needs.values())
    if needed > free:
        advice = max(needs, key=needs.__getitem__)
        raise PolysemeError(
            f"the run needs {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; type {advice}"
        )
