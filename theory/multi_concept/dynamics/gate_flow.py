"""The gradient flow across gate events: dense output, and sliding along kinks (docs/THEORY.md section 4).

The field dx/dtau = -(gradient + shrinkage) jumps where a pre-activation crosses zero, and an error control that assumes a
smooth field fails there without notice. Here the gates are frozen, symbolically, in the very object that the recursion
executes: between events the field is analytic. A step that changes the sign of a pre-activation is cut at the crossing, the
gate is flipped, and the solver starts anew. Where the fields on both sides of a kink point towards it, the flow slides along
it: the gate takes the value between 0 and 1 that keeps h at zero (Filippov's convention, and what the recursion does on
average for small steps), until that value leaves [0, 1].
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Literal, NamedTuple

import numpy as np
import sympy as sp
from jaxtyping import Float
from scipy.integrate import DOP853, DenseOutput
from scipy.optimize import brentq

from polyseme.errors import PolysemeError
from polyseme.theory.calculus.functions import Gate, LeakyReLU, ReLU
from polyseme.theory.multi_concept.coefficients import Arrays, constants, from_layout, project, to_layout
from polyseme.theory.multi_concept.derivation.derive import Recursion, derive
from polyseme.theory.multi_concept.dynamics.integrate import Progress, step
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.numerics.lower import Lowered, System, coefficient_name, compile_recursion, lower
from polyseme.theory.multi_concept.regime import Regime

_gate = sp.IndexedBase("gate")
_VELOCITY = "velocity_"

# Points inside a step at which signs are looked at. A gate that opens and shuts again between two of them is missed: its
# pre-activation then has two zeros within a sixteenth of a step over which the solver resolves it as a polynomial.
SAMPLES = 16
# How far beyond [0, 1] the value of a sliding gate has to be to leave its kink. A neuron with no other open gate rests at
# its kink with a value of zero, whose sign is round-off. Leaving that late changes the field by that share of a jump for
# as long as the value takes to get there, which for values that move at rates of order one is a time of that order.
CLEARLY = 1e-7
# Local errors add up along a path, so the solver works this much below the tolerance that is asked for.
SAFETY = 100.0
# DOP853 takes no relative tolerance below a hundred unit round-offs.
FINEST = 2.3e-14
# A run that meets this many events without moving on is an ambiguous kink, not a flow.
MOST_EVENTS_AT_ONCE = 50


class Group(NamedTuple):
    """Gates that are one function of the state: a neuron on the prompts (e, n+) of a concept with the same mean sign.

    `e` is 0 where both signs of the query share it, at n+ = 0 and n+ = L; numbers count from 0.
    """

    concept: int
    e: int
    n_plus: int
    neuron: int


@dataclass(frozen=True, kw_only=True)
class Event:
    """A gate that opens, shuts, starts to slide, or leaves its kink open or shut."""

    time: float
    group: Group
    kind: Literal["opens", "shuts", "slides", "leaves open", "leaves shut"]


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """A recursion with its gates as an array, and the rate of change of the pre-activations along a velocity."""

    system: System
    rate: Lowered


def freeze(recursion: Recursion) -> Frozen:
    """Replace every gate 1[h > 0] of the gradient by gate[i, k, e, n+], and relu(h) by that times h."""
    h, gate = recursion.counted.h, _gate[fw.i, fw.k, fw.e, fw.n_plus]

    def frozen(expression: sp.Expr) -> sp.Expr:
        return expression.replace(LeakyReLU, lambda x: LeakyReLU(x).rewrite(ReLU)).xreplace(
            {Gate(h): gate, ReLU(h): gate * h}
        )

    gradient = {x: frozen(right) for x, right in recursion.gradient.items()}
    rate = sp.Add(
        *(h.diff(x) * sp.IndexedBase(f"{_VELOCITY}{coefficient_name(x)}")[x.indices] for x in recursion.state)
    )
    return Frozen(system=compile_recursion(replace(recursion, gradient=gradient)), rate=lower({"rate": rate}))


@cache
def _frozen(level: str, loss: str, activation: str) -> Frozen:
    return freeze(derive(level, loss=loss, activation=activation))  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """The dense output of one smooth step."""

    start: float
    end: float
    dense: DenseOutput


@dataclass(frozen=True, kw_only=True)
class Flow:
    """A solved gradient flow: events in their order, and the state at any time up to `end`."""

    end: float
    events: tuple[Event, ...]
    stretches: tuple[Stretch, ...]
    shapes: Mapping[str, tuple[int, ...]]
    start: Float[np.ndarray, " n"]

    def vector(self, time: float) -> Float[np.ndarray, " n"]:
        """All coefficients at one time, flattened in the order of the state; ValueError outside [0, end]."""
        if not 0 <= time <= self.end:
            raise ValueError(f"got time {time}, expected one in [0, {self.end}]")
        if not self.stretches:
            return self.start
        ends = [stretch.end for stretch in self.stretches]
        stretch = self.stretches[min(int(np.searchsorted(ends, time)), len(ends) - 1)]
        return np.asarray(stretch.dense(time))

    def __call__(self, times: Float[np.ndarray, " times"]) -> dict[str, np.ndarray]:
        """W_Q_blocks, W_K_blocks (times, K1, 2, 2), alpha, beta (times, m, K1) at the given times (section 8)."""
        return from_layout(_unflatten(np.stack([self.vector(float(time)) for time in times]), self.shapes))


def flow(
    regime: Regime,
    initial: Mapping[str, Float[np.ndarray, "..."]],
    *,
    tau: float,
    tolerance: float = 1e-9,
    solver: "type[Solver] | None" = None,
    progress: Progress | None = None,
) -> Flow:
    """The level-B gradient flow of one member up to time `tau` = sum of eta_t, at a relative and absolute `tolerance`.

    `solver` replaces how gates are treated, for negative controls.
    PolysemeError if the start has an ensemble axis (see `flows`), or if a kink is ambiguous.
    """
    if np.ndim(initial["W_Q"]) != 2:
        raise PolysemeError(
            "got a start with an ensemble axis, expected one member; type the state of one, or use `flows`"
        )
    frozen = _frozen("B", regime.training.loss, regime.model.activation)
    return (solver or Solver)(regime, initial, frozen, tolerance).solve(tau, progress)


def flows(
    regime: Regime, initial: Mapping[str, Float[np.ndarray, "..."]], *, tau: float, tolerance: float = 1e-9
) -> tuple[Flow, ...]:
    """The flows of all members of an ensemble, each with step sizes and events of its own, so that it equals its solo run."""
    return tuple(
        flow(
            regime,
            {**initial, **{name: initial[name][j] for name in ("W_Q", "W_K", "W_O")}},
            tau=tau,
            tolerance=tolerance,
        )
        for j in range(len(initial["W_Q"]))
    )


def schedule_times(regime: Regime) -> Float[np.ndarray, " records"]:
    """tau = sum of eta_t at each recorded step of the regime, the times at which flow and recursion are compared."""
    from polyseme.theory.multi_concept.dynamics.integrate import step_size

    sizes = [step_size(regime, t) for t in range(regime.training.steps)]
    return np.concatenate([[0.0], np.cumsum(sizes)])[list(regime.training.record_steps())]


def _flatten(state: Mapping[str, Float[np.ndarray, "..."]]) -> Float[np.ndarray, " n"]:
    return np.concatenate([array.ravel() for array in state.values()])


def _unflatten(vectors: Float[np.ndarray, "members n"], shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """Flattened states as the members of an ensemble."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])[:-1]
    parts = np.split(vectors, ends, axis=1)
    return {
        name: part.reshape(len(vectors), *shape[1:]) for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


class Solver:
    """The hybrid state of the flow: coefficients, frozen gates, and the groups that slide."""

    follows_gates = True

    def __init__(
        self,
        regime: Regime,
        initial: Mapping[str, Float[np.ndarray, "..."]],
        frozen: Frozen,
        tolerance: float,
    ) -> None:
        """All gates as the start has them."""
        self.frozen, self.tolerance, self.local = frozen, tolerance, max(tolerance / SAFETY, FINEST)
        self.state = to_layout(project(initial, regime.concepts.K1))
        self.shapes = {name: array.shape for name, array in self.state.items()}
        self.numbers = constants(regime, np.asarray(initial["r"]))
        self.smooth = regime.model.activation == "identity" or not self.follows_gates
        self.L = regime.prompt.L
        h = self._preactivation(_flatten(self.state))
        self.gate = (h > 0).astype(np.float64)
        # What a prompt of probability zero does is of no interest, and its gates are not followed.
        self.followed = np.broadcast_to(np.asarray(self.numbers["p"]) > 0, h.shape)
        self.sliding: list[Group] = []
        # Gates that were set at their kink: until h has left it, its sign is round-off.
        self.settling: set[Group] = set()

    # -- the field -----------------------------------------------------------------------------------------

    def _preactivation(self, vector: Float[np.ndarray, " n"]) -> Float[np.ndarray, "..."]:
        lowered = self.frozen.system.preactivation
        arguments = {**self.numbers, **_unflatten(vector[None], self.shapes)}
        return np.asarray(lowered({name: arguments[name] for name in lowered.names})["h"])

    def _velocity(
        self, vectors: Float[np.ndarray, "settings n"], gates: Float[np.ndarray, "settings ..."]
    ) -> Float[np.ndarray, "settings n"]:
        """The field with given gates; one Euler step of size 1 from x is x + field(x)."""
        after = step(_unflatten(vectors, self.shapes), {**self.numbers, "gate": gates}, 1.0, self.frozen.system)
        return np.concatenate([array.reshape(len(vectors), -1) for array in after.values()], axis=1) - vectors

    def _rates(
        self, vectors: Float[np.ndarray, "settings n"], velocities: Float[np.ndarray, "settings n"]
    ) -> Float[np.ndarray, "settings ..."]:
        """dh/dtau of every pre-activation along velocities."""
        moving = {f"{_VELOCITY}{name}": part for name, part in _unflatten(velocities, self.shapes).items()}
        arguments = {**self.numbers, **_unflatten(vectors, self.shapes), **moving}
        lowered = self.frozen.rate
        return np.asarray(lowered({name: arguments[name] for name in lowered.names})["rate"])

    def _where(self, group: Group) -> tuple:
        """The entries of the gate array that belong to a group."""
        sign = slice(None) if group.e == 0 else (0 if group.e == 1 else 1)
        return (0, group.concept, sign, group.n_plus, group.neuron)

    def _group(self, index: tuple[int, ...]) -> Group:
        _, concept, sign, n_plus, neuron = index
        shared = n_plus in (0, self.L)
        return Group(int(concept), 0 if shared else (1, -1)[sign], int(n_plus), int(neuron))

    def _of_group(self, array: Float[np.ndarray, "..."], group: Group) -> float:
        return float(np.ravel(array[self._where(group)])[0])

    def _with(self, values: Mapping[Group, float]) -> Float[np.ndarray, "..."]:
        gate = self.gate.copy()
        for group, value in values.items():
            gate[self._where(group)] = value
        return gate

    def _field(
        self, vector: Float[np.ndarray, " n"], fixed: Mapping[Group, float] | None = None
    ) -> tuple[Float[np.ndarray, " n"], dict[Group, float]]:
        """The velocity, and the values of the sliding gates: those that keep their pre-activations where they are.

        The field is affine in the gates whose h is zero, so the values solve a small linear system.
        """
        fixed = dict(fixed or {})
        groups = [group for group in self.sliding if group not in fixed]
        # All sliding gates shut, and each open alone: settings of one state, evaluated together along the member axis.
        settings = [{**fixed, **{other: float(other == group) for other in groups}} for group in (None, *groups)]
        vectors = np.broadcast_to(vector, (len(settings), len(vector)))
        velocities = self._velocity(vectors, np.concatenate([self._with(setting) for setting in settings]))
        base, units = velocities[0], velocities[1:] - velocities[0]
        if not groups:
            return base, {}
        rates = self._rates(vectors, np.concatenate([base[None], units]))
        matrix = np.array([[self._of_group(rate[None], group) for rate in rates[1:]] for group in groups])
        right = -np.array([self._of_group(rates[:1], group) for group in groups])
        values = self.values_at_kinks(matrix, right)
        velocity = base + values @ units
        return velocity, dict(zip(groups, map(float, values), strict=True))

    def values_at_kinks(
        self, matrix: Float[np.ndarray, "groups groups"], right: Float[np.ndarray, " groups"]
    ) -> Float[np.ndarray, " groups"]:
        """The gate values that keep the pre-activations of sliding gates at zero: matrix values = right."""
        try:
            return np.linalg.solve(matrix, right)
        except np.linalg.LinAlgError:
            raise PolysemeError(
                f"the flow slides along {len(right)} kinks that are not independent; type a shorter time"
            ) from None

    # -- events --------------------------------------------------------------------------------------------

    def solve(self, tau: float, progress: Progress | None) -> Flow:
        """March to `tau`, cutting steps at events."""
        time, vector = 0.0, _flatten(self.state)
        start, events, stretches, crowded = vector, [], [], 0
        while time < tau:
            solver = DOP853(
                lambda _t, x: self._field(np.asarray(x))[0], time, vector, tau, rtol=self.local, atol=self.local
            )
            found: list[tuple[float, Group, str]] = []
            while solver.status == "running" and not found:
                message = solver.step()
                if solver.status == "failed":
                    raise PolysemeError(f"the gradient flow was not solved beyond tau = {solver.t:g}: {message}")
                dense, before = solver.dense_output(), float(solver.t_old or 0.0)
                found = [] if self.smooth else self._events(dense, before, float(solver.t))
                end = min((when for when, _, _ in found), default=float(solver.t))
                stretches.append(Stretch(start=before, end=end, dense=dense))
                if progress:
                    progress(min(int(1000 * end / tau), 1000), 1000)
                time, vector = end, np.asarray(dense(end))
            crowded = crowded + 1 if found and len(events) and time - events[-1].time < 1e-12 * tau else 0
            if crowded > MOST_EVENTS_AT_ONCE:
                raise PolysemeError(
                    f"the gates of the flow do not settle at tau = {time:g}: the kink is ambiguous; type a shorter time"
                )
            for _, group, kind in found:
                events.append(self._take(vector, time, group, kind))
        return Flow(end=tau, events=tuple(events), stretches=tuple(stretches), shapes=self.shapes, start=start)

    def _events(self, dense: DenseOutput, before: float, after: float) -> list[tuple[float, Group, str]]:
        """The first events of a step: gates whose pre-activation changes sign, and sliding gates that leave [0, 1]."""
        times = np.linspace(before, after, SAMPLES + 1)[1:]
        slides = np.zeros(self.gate.shape, dtype=bool)
        for group in self.sliding:
            slides[self._where(group)] = True
        for left, right in zip([before, *times[:-1]], times, strict=True):
            vector = np.asarray(dense(right))
            h = self._preactivation(vector)
            wrong = ((h > 0) != (self.gate > 0)) & ~slides & self.followed
            groups = list(dict.fromkeys(self._group(tuple(index.tolist())) for index in np.argwhere(wrong)))
            # Within what a path may be off by its sign says nothing yet: the tolerance, times SAFETY for what h magnifies.
            near = {group for group in self.settling if abs(self._of_group(h, group)) < SAFETY * self.tolerance}
            self.settling &= {group for group in near if group in groups}
            groups = [group for group in groups if group not in self.settling]
            hits = [(self._root(dense, float(left), float(right), group), group, "crosses") for group in groups]
            hits += self._leaving(dense, float(left), float(right))
            if hits:
                first = min(when for when, _, _ in hits)
                # Events that round-off cannot distinguish, such as those of mirrored neurons, are one.
                return [hit for hit in hits if hit[0] - first <= 1e-12 * (after - before)]
        return []

    def _root(self, dense: DenseOutput, left: float, right: float, group: Group) -> float:
        def h(time: float) -> float:
            return self._of_group(self._preactivation(np.asarray(dense(time))), group)

        if h(left) * h(right) >= 0:  # it was settling, and then left its kink on the wrong side
            return left
        return float(brentq(h, left, right, xtol=1e-15 * max(right, 1e-300), rtol=8.9e-16))

    def _leaving(self, dense: DenseOutput, left: float, right: float) -> list[tuple[float, Group, str]]:
        """Sliding gates whose value leaves [0, 1] between two times."""
        if not self.sliding:
            return []
        hits: list[tuple[float, Group, str]] = []
        for group, now in self._field(np.asarray(dense(right)))[1].items():
            for bound, side, kind in ((1 + CLEARLY, 1, "leaves open"), (-CLEARLY, -1, "leaves shut")):
                if side * (now - bound) > 0:
                    beyond = partial(self._sliding_beyond, dense, group, bound)
                    when = left if beyond(left) * (now - bound) >= 0 else brentq(beyond, left, right)
                    hits.append((float(when), group, kind))
        return hits

    def _sliding_beyond(self, dense: DenseOutput, group: Group, bound: float, time: float) -> float:
        """By how much the value of a sliding gate is above a bound."""
        return self._field(np.asarray(dense(time)))[1][group] - bound

    def _take(self, vector: Float[np.ndarray, " n"], time: float, group: Group, kind: str) -> Event:
        """Flip a gate, let it slide, or let it leave."""
        self.settling.add(group)
        if kind != "crosses":
            self.sliding.remove(group)
            self.gate[self._where(group)] = float(kind == "leaves open")
            return Event(time=time, group=group, kind=kind)  # pyright: ignore[reportArgumentType]
        was = self._of_group(self.gate, group)
        new = 1.0 - was
        here, beyond = (
            self._of_group(self._rates(vector[None], self._field(vector, {group: value})[0][None]), group)
            for value in (was, new)
        )
        self.gate[self._where(group)] = new
        if (beyond > 0) == (new > 0) and abs(beyond) > CLEARLY * abs(here):
            return Event(time=time, group=group, kind="opens" if new else "shuts")
        self.sliding.append(group)
        return Event(time=time, group=group, kind="slides")
