"""Levels S and B as machine code, in place of `lower.py`: the same expressions, names and arrays along the five axes.

Without a C compiler, `lower.py` does the same with NumPy, several times slower; it stays the reference implementation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np
import sympy as sp
from jaxtyping import Float

from polyseme.theory.calculus.compiled import Compiled, compile_stages
from polyseme.theory.calculus.native import compiler
from polyseme.theory.calculus.statements import Total, free_letters, identifier, totalled
from polyseme.theory.multi_concept.derivation.derive import Level, Recursion, derive
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.numerics.lower import (
    FLOAT64,
    ArrayFunction,
    Runtime,
    System,
    coefficient_name,
    compile_recursion,
    lower,
)

Layout = Literal["members first", "members last"]
"""Five axes: (member, concept, sign, count, neuron), or with member and neuron in each other's place."""

_ORDER = (fw.k, fw.e, fw.n_plus, fw.i)
_AXIS = {fw.i: 0, fw.k: 1, fw.e: 2, fw.n_plus: 3}  # members last
_AS_NUMBERS = {fw.e: "e", fw.n_plus: "n_plus"}  # letters whose values are given by an array of that name
_FEWEST_LANES = 4
"""Fewer members than this are faster one after the other than side by side."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A call of a kernel: the order of each input's axes and what to broadcast it to, the shape of each output and its axes back."""

    kernel: Compiled
    inputs: list[tuple[str, list[int], list[int] | None]]
    outputs: list[tuple[str, list[int], list[int]]]
    sizes: list[int]
    members: int

    def __call__(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Float[np.ndarray, "..."]]:
        given: list[np.ndarray] = []
        for name, order, shape in self.inputs:
            array = arrays[name].transpose(order)
            given.append(np.ascontiguousarray(array if shape is None else np.broadcast_to(array, shape)))
        made = [np.empty(shape) for _, shape, _ in self.outputs]
        self.kernel.run(given, [float(arrays[name]) for name in self.kernel.scalars], self.sizes, made, self.members)
        return {name: array.transpose(back) for (name, _, back), array in zip(self.outputs, made, strict=True)}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Named expressions over (k, e, n+, i), compiled when they are first evaluated; called as `Lowered` is.

    `letters`: those of each array and number that it takes. `whole`: all counts are given at once; nothing of the size of prompts
    times neurons is made.
    """

    expressions: Mapping[str, sp.Expr]
    letters: Mapping[str, tuple[sp.Symbol, ...]]
    layout: Layout
    whole: bool = True
    kernels: dict[Any, Compiled] = field(default_factory=dict, repr=False)
    plans: dict[tuple[tuple[int, ...], ...], "_Plan"] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """What it takes."""
        return tuple(self.letters)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What it gives."""
        return tuple(self.expressions)

    def __call__(self, arrays: Mapping[str, Any]) -> dict[str, Float[np.ndarray, "..."]]:
        """Evaluate at arrays laid out along the five axes; axes along which nothing varies have size 1."""
        given = {name: np.asarray(arrays[name], dtype=np.float64) for name in self.letters}
        shapes = tuple(x.shape for x in given.values())
        if shapes not in self.plans:
            self.plans[shapes] = self._plan({name: x.shape for name, x in given.items() if x.ndim})
        return self.plans[shapes](given)

    def _plan(self, shapes: Mapping[str, tuple[int, ...]]) -> "_Plan":
        """How arrays of these shapes come to stand in memory, and which kernel they are given to."""
        member, axis = (0, _AXIS | {fw.i: 4}) if self.layout == "members first" else (4, _AXIS)
        members = max(shape[member] for shape in shapes.values())
        sizes = {letter: max(shape[at] for shape in shapes.values()) for letter, at in axis.items()} | {fw.e: 2}
        # With one member there is nothing to share, and everything is computed where it is needed.
        differ = frozenset(name for name, shape in shapes.items() if shape[member] > 1 or members == 1)
        lanes = members >= _FEWEST_LANES
        key = differ, frozenset(shapes), lanes
        if key not in self.kernels:
            self.kernels[key] = self._compiled(differ, frozenset(shapes), lanes=lanes)
        kernel = self.kernels[key]

        def laid_out(letters: tuple[sp.Symbol, ...], *, own: bool) -> tuple[list[int], list[int]]:
            """The five axes in the order of memory, those of size 1 first, and their sizes."""
            kept = [axis[x] for x in _ORDER if x in letters]
            if own:
                kept = [*kept, member] if lanes else [member, *kept]
            rest = [at for at in range(5) if at not in kept]
            of_axis = {axis[x]: sizes[x] for x in letters} | {member: members}
            return [*rest, *kept], [1] * len(rest) + [of_axis[at] for at in kept]

        inputs: list[tuple[str, list[int], list[int] | None]] = []
        for name in kernel.inputs:
            order, shape = laid_out(self.letters[name], own=name in differ)
            as_given = [shapes[name][at] for at in order]
            inputs.append((name, order, None if as_given == shape else shape))
        places = [laid_out(letters, own=True) for letters in kernel.outputs.values()]
        outputs = [
            (name, shape, [order.index(at) for at in range(5)])
            for name, (order, shape) in zip(kernel.outputs, places, strict=True)
        ]
        return _Plan(
            kernel=kernel, inputs=inputs, outputs=outputs, sizes=[sizes[x] for x in kernel.sizes], members=members
        )

    def _compiled(self, differ: frozenset[str], arrays: frozenset[str], *, lanes: bool) -> Compiled:
        """For given arrays, of which members differ in some; the others are numbers."""
        values: dict[sp.Symbol, sp.Expr] = {
            letter: sp.IndexedBase(name)[letter] for letter, name in _AS_NUMBERS.items()
        }
        for symbol in set[sp.Basic]().union(*(expression.free_symbols for expression in self.expressions.values())):
            if isinstance(symbol, sp.Symbol) and (name := identifier(symbol)) in arrays and not self.letters[name]:
                values[symbol] = sp.IndexedBase(name)[0]
        return compile_stages(
            [],
            {name: (free_letters(expression, _ORDER), expression) for name, expression in self.expressions.items()},
            arrays={name: (self.letters[name], name in differ) for name in arrays},
            order=_ORDER,
            numbers=values,
            lanes=lanes,
        )


def machine(expressions: Mapping[str, sp.Expr], *, layout: Layout, runtime: Runtime) -> ArrayFunction:
    """Named SymPy expressions over (k, e, n+, i) as machine code, or with NumPy's `runtime` if there is no compiler."""
    if compiler() is None:
        return lower(expressions, runtime=runtime)
    letters: dict[str, tuple[sp.Symbol, ...]] = {}
    for expression in map(totalled, expressions.values()):
        atoms = expression.atoms(sp.Indexed)
        letters |= {identifier(x.base.label): x.indices for x in atoms}
        labels = {symbol for x in atoms for symbol in (x.base.label, *x.indices)}
        for symbol in expression.free_symbols:
            if isinstance(symbol, sp.Symbol) and symbol not in labels and symbol not in _ORDER:
                letters[identifier(symbol)] = ()
        letters |= {name: (letter,) for letter, name in _AS_NUMBERS.items() if _stands_as_a_number(expression, letter)}
    return Machine(expressions=dict(expressions), letters=letters, layout=layout)


def _stands_as_a_number(expression: sp.Basic, letter: sp.Symbol) -> bool:
    """Whether a letter stands in an expression elsewhere than as an index or a letter to sum over."""
    if expression == letter:
        return True
    if isinstance(expression, sp.Indexed):
        return False
    arguments = expression.args[:1] if isinstance(expression, Total) else expression.args
    return any(_stands_as_a_number(argument, letter) for argument in arguments)


def compile_machine(recursion: Recursion, *, layout: Layout, runtime: Runtime) -> System:
    """Every part of a recursion of counted prompts, as `lower.compile_recursion` gives it, and a whole step at once."""
    plain = compile_recursion(recursion, runtime=runtime)
    if compiler() is None:
        return plain

    def part(expressions: Mapping[str, sp.Expr]) -> ArrayFunction:
        return machine(expressions, layout=layout, runtime=runtime)

    return System(
        recursion=recursion,
        gradient=part({coefficient_name(x): expression for x, expression in recursion.gradient.items()}),
        update=plain.update,
        observables=part(recursion.observables),
        preactivation=part({"h": recursion.counted.h}),
        step=part({coefficient_name(x): recursion.update(x) for x in recursion.state}),
    )


@cache
def machine_system(level: Level, *, loss: str, activation: str) -> System:
    """The recursion of a level as machine code, members first; derived and compiled once per process."""
    return compile_machine(derive(level, loss=loss, activation=activation), layout="members first", runtime=FLOAT64)
