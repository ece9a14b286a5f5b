"""A cheaper evaluation of the same recursion: gates as half-lines, sums over neurons and prompts by cumulative sums.

Of everything that the lowered source computes, only the pre-activations h = A_ik + ebar_k(e, n+) B_ik vary over prompts and
neurons at once. For fixed k and e the mean sign ebar grows with n+, so each gate is open on a half-line of n+, whose end a
bisection finds; sums over open gates are then cumulative sums (docs/THEORY.md section 3). The cost of a step falls from
K1 m L to K1 (m log L + L). The source is generated from the same SymPy object: a compiler pass names the half-lines, and
the contractions of `lower.py` are replaced. The generic evaluation stays as its reference implementation.

Gates agree with the generic ones exactly: A + ebar B, rounded, is monotone in ebar, and the bisection asks for its sign.
Cumulative sums add in order, so a sum of n terms carries up to n unit round-offs of the sum of their sizes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from jaxtyping import Float, Int

from polyseme.regime import LEAK
from polyseme.theory.calculus.elementwise import ELEMENTWISE
from polyseme.theory.multi_concept.derivation.derive import Level, Recursion, derive
from polyseme.theory.multi_concept.numerics.lower import (
    E_AXIS,
    FLOAT64,
    I_AXIS,
    N_AXIS,
    Axes,
    Contraction,
    NumpySystem,
    System,
    axes_of,
    compile_recursion,
)
from polyseme.theory.multi_concept.numerics.machine import machine_system
from polyseme.theory.multi_concept.regime import Regime

_PROMPT = frozenset({E_AXIS, N_AXIS})


class HalfLine(sp.Function):
    """HalfLine(A, B, t): the array expression A + t B, with A, B over (concept, neuron) and t over (concept, sign, count)."""


class Line(sp.Function):
    """Line(x): the half-line x itself, where no activation is around it."""


def name_half_lines(expression: sp.Basic, axes: Axes) -> sp.Basic:
    """Replace what is inside an activation, or summed over neurons, by half-lines; ValueError if it is none."""
    if not expression.args:
        return expression
    expression = expression.func(*(name_half_lines(argument, axes) for argument in expression.args))
    name = expression.func.__name__
    if name in ("ReLU", "LeakyReLU", "Gate") and _mixed(expression.args[0], axes):
        return expression.func(_half_line(expression.args[0], axes))
    if isinstance(expression, Contraction):
        full, *rest = expression.args
        if isinstance(full, sp.Add) and _mixed(full, axes) and not full.has(HalfLine):
            return Contraction(Line(_half_line(full, axes)), *rest)
    return expression


def _mixed(expression: sp.Basic, axes: Axes) -> bool:
    letters = axes_of(expression, axes)
    return I_AXIS in letters and bool(letters & _PROMPT)


def _half_line(expression: sp.Expr, axes: Axes) -> sp.Expr:
    """A + t B from a sum of products."""
    still, slopes = sp.S.Zero, {}
    for term in sp.Add.make_args(expression):
        if not axes_of(term, axes) & _PROMPT:
            still += term
            continue
        factors = sp.Mul.make_args(term)
        t = sp.Mul(*(x for x in factors if axes_of(x, axes) & _PROMPT))
        B = sp.Mul(*(x for x in factors if not axes_of(x, axes) & _PROMPT))
        slopes[t] = slopes.get(t, sp.S.Zero) + B
    if len(slopes) != 1 or I_AXIS in axes_of(next(iter(slopes)), axes):
        raise ValueError(f"{expression} is not a half-line A + t B in the mean sign of a prompt")
    ((t, B),) = slopes.items()
    return HalfLine(still, B, t)


class Edges:
    """Half-lines of numbers: where each gate opens or shuts along n+.

    A, B have shape (members, K1, 1, 1, m), t (members, K1, 2, counts, 1), non-decreasing along the counts. `edge`
    (members, K1, 2, m) counts the prompts below the half-line's end; a rising gate is open from there on, a falling
    one before it. A gate that never changes is rising with its edge at 0 (open) or past the last count (shut).
    """

    def __init__(
        self,
        A: Float[np.ndarray, "member concept 1 1 neuron"],
        B: Float[np.ndarray, "member concept 1 1 neuron"],
        t: Float[np.ndarray, "member concept sign count 1"],
    ) -> None:
        """ValueError if t falls by more than round-off; nothing promises that a library's tanh is monotone to the last bit."""
        self.A, self.B, self.t = A[:, :, 0], B[:, :, 0], np.maximum.accumulate(t[..., 0], axis=-1)
        if (self.t - t[..., 0] > 4 * np.finfo(np.float64).eps).any():
            raise ValueError("the mean sign falls as positive demonstrations are added: gates are no half-lines")
        self._edge: Int[np.ndarray, "member concept sign neuron"] | None = None

    @property
    def rising(self) -> np.ndarray:
        """Which gates open as n+ grows; (members, K1, 1, m)."""
        return self.B >= 0

    @property
    def edge(self) -> Int[np.ndarray, "member concept sign neuron"]:
        """By bisection on the sign of A + t B itself, for all gates at once."""
        if self._edge is None:
            members, concepts, _, neurons = np.broadcast_shapes(self.A.shape, self.B.shape)
            members = max(members, len(self.t))
            counts = self.t.shape[-1]
            low = np.zeros((members, concepts, self.t.shape[2], neurons), dtype=np.int64)
            high = np.full_like(low, counts)
            t = np.broadcast_to(self.t, (members, *self.t.shape[1:]))
            while (low < high).any():
                middle = (low + high) // 2
                at = np.take_along_axis(t, np.minimum(middle, counts - 1), axis=-1)
                # The first count whose gate is open (rising) or shut (falling).
                reached = ((self.A + at * self.B > 0) == self.rising) & (low < high)
                high = np.where(reached, middle, high)
                low = np.where(~reached & (low < high), middle + 1, low)
            self._edge = low
        return self._edge

    def over_open_neurons(self, weight: Float[np.ndarray, "..."]) -> Float[np.ndarray, "member concept sign count"]:
        """sum_i weight_i [gate i open], for every prompt; `weight` broadcasts to (members, K1, 1, m)."""
        edge, counts = self.edge, self.t.shape[-1]
        weight = np.broadcast_to(weight, (edge.shape[0], edge.shape[1], 1, edge.shape[3]))
        rows = np.arange(np.prod(edge.shape[:3])).reshape(*edge.shape[:3], 1)
        place = (rows * (counts + 1) + edge).ravel()

        def gathered(chosen: np.ndarray) -> np.ndarray:
            part = np.broadcast_to(np.where(chosen, weight, 0.0), edge.shape).ravel()
            return np.bincount(place, part, rows.size * (counts + 1)).reshape(*edge.shape[:3], counts + 1)

        # Rising gates with their edge at or before a count, and falling gates with their edge after it.
        opened = np.cumsum(gathered(self.rising), axis=-1)[..., :-1]
        shutting = np.cumsum(gathered(~self.rising)[..., ::-1], axis=-1)[..., ::-1]
        return opened + shutting[..., 1:]

    def over_open_prompts(self, weight: Float[np.ndarray, "..."]) -> Float[np.ndarray, "member concept neuron"]:
        """sum_{e, n+} weight [gate open], for every neuron; `weight` broadcasts to (members, K1, 2, counts)."""
        edge, counts = self.edge, self.t.shape[-1]
        weight = np.broadcast_to(weight, (*edge.shape[:3], counts))
        none = np.zeros((*edge.shape[:3], 1))
        below = np.concatenate([none, np.cumsum(weight, axis=-1)], axis=-1)
        above = np.concatenate([np.cumsum(weight[..., ::-1], axis=-1)[..., ::-1], none], axis=-1)
        open_part = np.where(
            self.rising, np.take_along_axis(above, edge, axis=-1), np.take_along_axis(below, edge, axis=-1)
        )
        return open_part.sum(axis=2)


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A function of half-lines that is a line on each side of its kink: line (A + t B) + relu max(A + t B, 0), or, for
    `slope`, line + relu 1[A + t B > 0].
    """

    edges: Edges
    line: float
    relu: float
    slope: bool

    def __mul__(self, factor: float) -> "Broken":
        """A multiple."""
        return replace(self, line=factor * self.line, relu=factor * self.relu)

    __rmul__ = __mul__

    def __add__(self, constant: float) -> "Broken":
        """A slope and a constant; the value of an activation has no constant to add."""
        if not self.slope:
            return NotImplemented
        return replace(self, line=self.line + constant)

    __radd__ = __add__


def _contract_neurons(full: Broken, weight: Any) -> Float[np.ndarray, "member concept sign count 1"]:
    """sum_i full weight_i."""
    edges = full.edges
    w = np.reshape(weight, np.shape(weight) or (1,) * 5)
    if w.shape[2:4] != (1, 1):
        raise TypeError("weights of neurons that vary over prompts do not occur: they stand outside the sum")
    w = w[:, :, 0]
    if full.slope:
        whole = np.broadcast_to(w, np.broadcast_shapes(w.shape, edges.A.shape)).sum(-1, keepdims=True)
        total = full.line * whole + (full.relu * edges.over_open_neurons(w) if full.relu else 0.0)
    else:
        wA, wB = w * edges.A, w * edges.B
        total = full.line * (wA.sum(-1, keepdims=True) + edges.t * wB.sum(-1, keepdims=True))
        if full.relu:
            total = total + full.relu * (edges.over_open_neurons(wA) + edges.t * edges.over_open_neurons(wB))
    return np.broadcast_to(total, np.broadcast_shapes(total.shape, edges.t.shape))[..., None]


def _contract_prompts(full: Broken, weight: Any) -> Float[np.ndarray, "member concept 1 1 neuron"]:
    """sum_{e, n+} full weight, of slopes alone: no gradient sums values of an activation over prompts."""
    if not full.slope:
        raise TypeError("a sum over prompts of activations does not occur in a gradient")
    w = np.reshape(weight, np.shape(weight) or (1,) * 5)[..., 0]
    total = full.relu * full.edges.over_open_prompts(w)
    if full.line:
        whole = np.broadcast_to(w, np.broadcast_shapes(w.shape, full.edges.t.shape)).sum(axis=(2, 3))
        total = total + full.line * whole[..., None]
    return total[:, :, None, None, :]


def _of(name: str) -> Any:
    """An activation or its gate: lazy on half-lines, elementwise on arrays."""
    line, relu, slope = {"ReLU": (0.0, 1.0, False), "LeakyReLU": (LEAK, 1 - LEAK, False), "Gate": (0.0, 1.0, True)}[
        name
    ]

    def function(x: Any) -> Any:
        if isinstance(x, Edges):
            return Broken(edges=x, line=line, relu=relu, slope=slope)
        return ELEMENTWISE[name](x)

    return function


def _dispatch(fast: Any, generic: Any) -> Any:
    return lambda full, weight: (fast if isinstance(full, Broken) else generic)(full, weight)


RUNTIME: Mapping[str, Any] = {
    **FLOAT64,
    **{name: _of(name) for name in ("ReLU", "LeakyReLU", "Gate")},
    "HalfLine": Edges,
    "Line": lambda edges: Broken(edges=edges, line=1.0, relu=0.0, slope=False),
    "contract4": _dispatch(_contract_neurons, FLOAT64["contract4"]),
    "contract23": _dispatch(_contract_prompts, FLOAT64["contract23"]),
}


def compile_fast(recursion: Recursion, *, edges: type[Edges] = Edges) -> NumpySystem:
    """Compile a recursion of counted prompts for the cheaper evaluation; its gradient and observables take all counts at once.

    `edges` replaces how gates are found, for negative controls.
    """

    fast = compile_recursion(recursion, runtime={**RUNTIME, "HalfLine": edges}, rewrite=name_half_lines)
    return replace(fast, gradient=replace(fast.gradient, whole=True), observables=replace(fast.observables, whole=True))


def fast_system(level: Level = "B", *, loss: str = "logistic", activation: str = "relu") -> NumpySystem:
    """The cheaper evaluation of a level; compiled once per process."""
    return _compiled(level, loss, activation)


@cache
def _compiled(level: Level, loss: str, activation: str) -> NumpySystem:
    return compile_fast(derive(level, loss=loss, activation=activation))


# Measured (benchmarks/RESULTS.md): bisection and scattered sums cost a fixed time, which few prompts or neurons do not
# repay, and neither does a problem that is small as a whole.
FEWEST_COUNTS, FEWEST_NEURONS, SMALLEST = 64, 32, 2**16


def system_for(regime: Regime, counts: int, level: Level = "B") -> System:
    """The faster compiled recursion of a level for a regime's sizes and a number of counts n+."""
    m, rows = regime.model.m, regime.concepts.K1 * regime.ensemble.seeds
    fast = counts >= FEWEST_COUNTS and m >= FEWEST_NEURONS and rows * m * counts >= SMALLEST
    names = {"loss": regime.training.loss, "activation": regime.model.activation}
    return fast_system(level, **names) if fast else machine_system(level, **names)
