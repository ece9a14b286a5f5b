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
        first = self.layout == "members first"
        turned = {name: np.asarray(arrays[name], dtype=np.float64) for name in self.letters}
        rows = {name: x for name, x in turned.items() if x.ndim}
        if first:
            rows = {name: x.swapaxes(0, 4) for name, x in rows.items()}
        members = max(x.shape[4] for x in rows.values())
        sizes = {letter: max(x.shape[axis] for x in rows.values()) for letter, axis in _AXIS.items()} | {fw.e: 2}
        # With one member there is nothing to share, and everything is computed where it is needed.
        differ = frozenset(name for name, x in rows.items() if x.shape[4] > 1 or members == 1)
        key = differ, frozenset(rows), members >= _FEWEST_LANES
        if key not in self.kernels:
            self.kernels[key] = self._compiled(differ, frozenset(rows), lanes=members >= _FEWEST_LANES)
        kernel = self.kernels[key]
        plain: dict[str, Any] = {name: x for name, x in turned.items() if not x.ndim}
        plain |= {name: _flat(x, self.letters[name], sizes, name in differ) for name, x in rows.items()}
        values = kernel(plain, sizes, members=members)
        found = {name: _five_axes(value, kernel.outputs[name]) for name, value in values.items()}
        return {name: x.swapaxes(0, 4) for name, x in found.items()} if first else found

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


def _flat(
    array: np.ndarray, letters: tuple[sp.Symbol, ...], sizes: Mapping[sp.Symbol, int], differ: bool
) -> np.ndarray:
    """Along its letters and, where they differ, its members."""
    if not differ:
        array = array[..., :1]
    order = [_AXIS[letter] for letter in letters] + [4]
    rest = [axis for axis in range(5) if axis not in order]
    shape = [*(sizes[letter] for letter in letters), array.shape[4]]
    flat = np.broadcast_to(array.transpose([*rest, *order])[(0,) * len(rest)], shape)
    return flat if differ else flat[..., 0]


def _five_axes(array: np.ndarray, letters: tuple[sp.Symbol, ...]) -> np.ndarray:
    """Axes of size 1 where there is no letter, the members' last."""
    order = sorted(range(len(letters)), key=lambda at: _AXIS[letters[at]])
    index = tuple(slice(None) if letter in letters else None for letter in _AXIS)
    return array.transpose([*order, len(letters)])[index]


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
