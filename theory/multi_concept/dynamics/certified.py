"""Certified runs: the level-B recursion in ball arithmetic from exact data, and the error bar it proves (docs/THEORY.md section 4).

What is exact: the float64 level-B coefficients of the start (`coefficients.project`), the output weights r and every number
of the regime are taken as the dyadic rationals that they are. The exact recursion from these data is one sequence of real
numbers; a Certificate encloses it, step by step, and so bounds the distance of any float64 path from it. How far the
projection itself is from the full weights is not part of this.

A gate is open if its whole ball is above zero, shut if the whole ball is at zero or below, and otherwise undecided: the
run ends there and says so, for a wrong gate is another trajectory. All prompts are treated alike, also those of probability
zero: under `match` their pre-activations are those of possible prompts, since at n+ = 0 and n+ = L ebar is -1 or +1
whatever e is; a concept of weight 0 may stop a run without need.

Cost of a step: 1 to 3 microseconds per (k, e, n+, i) at 128 bits, 1 ms with K1 = 2, L = 4, m = 32.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import psutil
from jaxtyping import Float, Int, Shaped

from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.coefficients import constants, from_layout, project, require_level_b, to_layout
from polyseme.theory.multi_concept.derivation.derive import Recursion, derive
from polyseme.theory.multi_concept.dynamics.integrate import Progress, step, step_size
from polyseme.theory.multi_concept.model.forward import BLOCK_ENTRIES
from polyseme.theory.multi_concept.numerics.lower import NumpySystem, System, compile_recursion, system_of
from polyseme.theory.multi_concept.numerics.numbers import (
    Objects,
    UndecidedSign,
    array_of,
    balls,
    compiled_in,
    constants_in,
    decimals,
    evaluate_in,
    step_in,
    step_size_in,
)
from polyseme.theory.multi_concept.regime import Regime

# Those of float32: coarser balls decide the gates of hardly any regime for long. The start is exact at any precision.
LEAST_BITS = 24
COEFFICIENTS = ("W_Q_blocks", "W_K_blocks", "alpha", "beta")
Kind = Literal["float64", "decimals", "balls"]


@dataclass(frozen=True, kw_only=True)
class UndecidedGate:
    """The first gate that a ball does not decide, in the update from `step` to `step` + 1.

    `concept` and `neuron` count from 0, as in the arrays of section 8; `preactivation` is the ball of h.
    """

    step: int
    concept: int
    sign: int
    n_plus: int
    neuron: int
    preactivation: str

    def __str__(self) -> str:
        """One sentence."""
        return (
            f"at step {self.step} the gate of neuron {self.neuron} is undecided for concept {self.concept}, e = {self.sign:+d}, "
            f"n+ = {self.n_plus}: h lies in {self.preactivation}"
        )


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Balls that contain the exact recursion at steps 0 to `steps`, of the `asked` ones; kept at `records`.

    `balls` maps W_Q_blocks, W_K_blocks, alpha, beta, loss, error, attention (names and shapes of section 8, records first,
    no ensemble axis) to arrays of flint.arb. `undecided` is why a run ended early; if it is None and `steps` < `asked`, a ball
    had grown beyond bounds. `member` is the member of the ensemble that was certified, None for a start without that axis.
    """

    bits: int
    member: int | None
    asked: int
    steps: int
    undecided: UndecidedGate | None
    records: Int[np.ndarray, " records"]
    balls: dict[str, Shaped[np.ndarray, "..."]]

    def __str__(self) -> str:
        """One sentence: how far the certificate goes, and why no further."""
        head = f"{self.steps} of {self.asked} steps certified at {self.bits} bits"
        if self.steps == self.asked:
            return head
        return f"{head}; {self.undecided or f'a ball is unbounded after step {self.steps}'}; more bits may decide it"

    @property
    def midpoint(self) -> dict[str, Float[np.ndarray, "..."]]:
        """The doubles nearest to the midpoints of the balls."""
        return {name: array.astype(np.float64) for name, array in self.balls.items()}

    @property
    def radius(self) -> dict[str, Float[np.ndarray, "..."]]:
        """Radii, rounded up to doubles, of intervals around `midpoint` that contain the balls."""
        return self._at_most({name: _distance(self.balls[name], array) for name, array in self.midpoint.items()})

    @property
    def ball_radius(self) -> dict[str, Float[np.ndarray, "..."]]:
        """Radii of the balls themselves, rounded up to doubles: what the run has collected, without the doubles' own half ulp."""
        return self._at_most({name: _each(lambda ball: ball.rad())(array) for name, array in self.balls.items()})

    def error_bar(self, trajectory: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Proven upper bounds on |trajectory - exact recursion| at the records that both have.

        `trajectory` is that of `integrate` from the same start. Returns `step` and, for each array of the certificate,
        doubles of the same shape. Computed in balls and rounded up; infinite where the trajectory is not finite.
        PolysemeError if the two have no record in common or the trajectory lacks an array or a member.
        """
        steps, pairs = self._pairs(trajectory)
        return {"step": steps, **self._at_most({name: _distance(*pair) for name, pair in pairs.items()})}

    def inside(self, trajectory: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Whether each number of a float64 trajectory lies in its ball, at the records that both have; and `step`.

        Nothing guarantees it: a ball contains the exact number, and a float64 path is in it if its own error is smaller than
        what the run in balls has collected. At 50 bits one rounding of a ball is eight of a double; at 53 the first steps
        may round to the other side. PolysemeError as in `error_bar`.
        """
        import flint

        steps, pairs = self._pairs(trajectory)
        contains = np.frompyfunc(lambda ball, number: ball.contains(flint.arb(number)), 2, 1)
        return {"step": steps, **{name: contains(*pair).astype(bool) for name, pair in pairs.items()}}

    def holds(self, trajectory: Mapping[str, np.ndarray]) -> bool:
        """Whether the balls hold a float64 path: every coefficient of it, at the records that both have (see `inside`).

        Observables are left out: they are sums over the prompt law, whose own round-off in float64 is not that of a step.
        """
        inside = self.inside(trajectory)
        return all(bool(inside[name].all()) for name in COEFFICIENTS)

    def _pairs(
        self, trajectory: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
        """Balls and doubles side by side, at the records in common."""
        steps, own, other = np.intersect1d(self.records, trajectory["step"], assume_unique=True, return_indices=True)
        if not len(steps):
            raise PolysemeError(
                f"the trajectory has no record among the certified steps 0 to {self.steps}; type the same record_every in both"
            )
        pairs = {}
        for name, array in self.balls.items():
            given = trajectory.get(name)
            if given is not None and given.ndim == array.ndim + 1 and self.member is not None:
                given = given[self.member]
            if given is None or given.shape[1:] != array.shape[1:]:
                raise PolysemeError(
                    f"got {'no array' if given is None else f'shape {given.shape}'} for {name} in the trajectory, expected "
                    f"(records, {', '.join(map(str, array.shape[1:]))}); type the run whose start was certified"
                )
            pairs[name] = (array[own], given[other].astype(np.float64))
        return steps, pairs

    def _at_most(self, exact: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: _each(_double_above)(array).astype(np.float64) for name, array in exact.items()}


def certify(
    regime: Regime,
    initial: Mapping[str, Float[np.ndarray, "..."]],
    *,
    steps: int,
    bits: int = 256,
    member: int | None = None,
    recursion: Recursion | None = None,
    progress: Progress | None = None,
) -> Certificate:
    """Enclose the exact level-B recursion for `steps` updates of population descent, with midpoints of `bits` bits.

    `initial` is the start of section 8; of one with an ensemble axis, `member` is certified. Records are those of the
    regime, and the last certified step. `recursion` replaces the derived one, for negative controls. A gate that is not decided
    ends the run: fewer steps are certified, none guessed. PolysemeError if level B is not exact for the regime and start,
    if `bits` or `steps` make no sense, or if the balls would not fit in memory.
    """
    require_level_b(regime, initial, source="certified run")
    if bits < LEAST_BITS:
        raise PolysemeError(f"got bits = {bits}, expected {LEAST_BITS} or more; type bits = 256")
    if not 0 <= steps <= regime.training.steps:
        raise PolysemeError(
            f"got steps = {steps}, expected 0 to {regime.training.steps}, the steps of the regime; type a larger value of "
            "steps in [training], or fewer steps to certify"
        )
    layout = _start(regime, initial, member)
    records = [t for t in regime.training.record_steps() if t <= steps]
    _require_memory(regime, bits, len(records))
    arithmetic = balls(bits)
    recursion = recursion or _derived(regime)
    compiled = compiled_in(arithmetic, recursion)
    observing = compiled_in(arithmetic, recursion, strict=False)

    kept: dict[int, Objects] = {}
    undecided = None
    with arithmetic.working():
        state = {name: array_of(arithmetic, array) for name, array in layout.items()}
        numbers = constants_in(arithmetic, regime, initial["r"])
        t = 0
        while True:
            if t in records:
                kept[t] = _record(state, numbers, observing)
            if progress:
                progress(t, steps)
            if t == steps:
                break
            try:
                after = step_in(state, numbers, step_size_in(arithmetic, regime, t), compiled)
            except UndecidedSign as undecided_sign:
                undecided = _gate(t, undecided_sign)
                break
            if not all(ball.is_finite() for array in after.values() for ball in array.flat):
                break
            state, t = after, t + 1
        if t not in kept:
            kept[t] = _record(state, numbers, observing)
    return Certificate(
        bits=bits,
        member=member,
        asked=steps,
        steps=t,
        undecided=undecided,
        records=np.array(list(kept)),
        balls={name: np.stack([record[name] for record in kept.values()]) for name in kept[0]},
    )


def one_step_in(
    kind: Kind,
    regime: Regime,
    initial: Mapping[str, Float[np.ndarray, "..."]],
    *,
    precision: int = 100,
    member: int | None = None,
    recursion: Recursion | None = None,
) -> Objects:
    """The level-B coefficients after one update, from the same exact data in each kind of number.

    "float64", "decimals" of `precision` digits (mpmath) or "balls" of `precision` bits (flint.arb). Names and shapes of
    section 8 without an ensemble axis; arrays of doubles, or of objects. PolysemeError if a ball does not decide a gate.
    """
    require_level_b(regime, initial, source="one step")
    layout = _start(regime, initial, member)
    if kind == "float64":
        after = step(layout, constants(regime, initial["r"]), step_size(regime, 0), _float64(regime, recursion))
        return {name: array[0] for name, array in from_layout(after).items()}
    arithmetic = balls(precision) if kind == "balls" else decimals(precision)
    compiled = compiled_in(arithmetic, recursion or _derived(regime))
    with arithmetic.working():
        state = {name: array_of(arithmetic, array) for name, array in layout.items()}
        numbers = constants_in(arithmetic, regime, initial["r"])
        try:
            return _blocks(step_in(state, numbers, step_size_in(arithmetic, regime, 0), compiled))
        except UndecidedSign as undecided:
            raise PolysemeError(f"one step: {_gate(0, undecided)}; type a precision of more bits") from None


def _float64(regime: Regime, recursion: Recursion | None) -> System:
    return compile_recursion(recursion) if recursion else system_of(regime)


def _derived(regime: Regime) -> Recursion:
    return derive("B", loss=regime.training.loss, activation=regime.model.activation)


def _start(regime: Regime, initial: Mapping[str, np.ndarray], member: int | None) -> dict[str, np.ndarray]:
    """The float64 coefficients of one member, as `integrate` starts from them: all are projected, then one is taken."""
    members = initial["W_Q"].shape[0] if initial["W_Q"].ndim == 3 else None
    if (members is None) != (member is None) or (members is not None and member not in range(members)):
        expected = "none, for the start has no ensemble axis" if members is None else f"one of 0 to {members - 1}"
        raise PolysemeError(
            f"got member = {member}, expected {expected}; type {'no member' if members is None else 'member = 0'}"
        )
    layout = to_layout(project(initial, regime.concepts.K1))
    return {name: array[slice(member, None if member is None else member + 1)] for name, array in layout.items()}


def _gate(step: int, undecided: UndecidedSign) -> UndecidedGate:
    _, concept, sign, n_plus, neuron = undecided.place
    return UndecidedGate(
        step=step,
        concept=concept,
        sign=(1, -1)[sign],
        n_plus=n_plus,
        neuron=neuron,
        preactivation=undecided.ball.str(6),
    )


def _record(state: Objects, numbers: Objects, observing: NumpySystem) -> Objects:
    observed = evaluate_in(observing.observables, state, numbers)
    return _blocks(state) | {name: value[0, 0, 0, 0, 0] for name, value in observed.items()}


def _blocks(state: Objects) -> Objects:
    """`coefficients.from_layout` for arrays of objects, without the ensemble axis."""
    arrays: Objects = {}
    for name in ("W_Q", "W_K"):
        entries = np.stack([state[f"{name}_{entry}"][0, :, 0, 0, 0] for entry in BLOCK_ENTRIES], axis=-1)
        arrays[f"{name}_blocks"] = entries.reshape(-1, 2, 2)
    return arrays | {name: state[name][0, :, 0, 0, :].T for name in ("alpha", "beta")}


def _each(function: Callable[[Any], Any]) -> Callable[[np.ndarray], np.ndarray]:
    """An array of objects, number by number; an array even if there is one number."""
    return lambda array: np.asarray(np.frompyfunc(function, 1, 1)(array), dtype=object)


def _distance(ball_array: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Upper bounds, as exact balls, on the distances from doubles to any points of their balls."""
    import flint

    return np.asarray(
        np.frompyfunc(lambda ball, number: (ball - flint.arb(number)).abs_upper(), 2, 1)(ball_array, numbers)
    )


def _double_above(bound: Any) -> float:
    """The least double found at or above an exact ball; infinite if there is none."""
    import flint

    if not bound.is_finite():
        return math.inf
    number = float(bound)
    while not flint.arb(number) >= bound:
        number = math.nextafter(number, math.inf)
    return number


def _require_memory(regime: Regime, bits: int, records: int) -> None:
    """Refuse what cannot be held: the arrays over all prompts of one step, and the records."""
    concepts, m = regime.concepts.K1, regime.model.m
    per_ball = 96 + bits // 8  # a Python object with midpoint and radius, and the digits
    # Four: the arrays over (k, e, n+, i) that the generated source holds at once.
    needs = {
        "a smaller L in [prompt], or a smaller m or K1": 4 * concepts * 2 * (regime.prompt.L + 1) * m * per_ball,
        "a larger record_every in [training]": records * (8 * concepts + 2 * m * concepts + 3) * per_ball,
    }
    free, needed = psutil.virtual_memory().available, sum(needs.values())
    if needed > free:
        raise PolysemeError(
            f"the certified run needs {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; "
            f"type {max(needs, key=needs.__getitem__)}"
        )
