"""Stages and outputs as a function of arrays with a member axis first: compiled, or evaluated by name where there is no compiler."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp
from jaxtyping import Float

from polyseme.theory.calculus.compiled import Compiled, compile_stages
from polyseme.theory.calculus.named import NamedAxes
from polyseme.theory.calculus.native import compiler
from polyseme.theory.calculus.statements import Letters, identifier, totalled


@dataclass(frozen=True, kw_only=True)
class StagedFunction:
    """Outputs, each over its letters, and the stages that they need, in order; compiled when it is first called.

    `order`: the letters from the outermost loop to the innermost. `own`: the names of arrays that always are a member's own, and of
    symbols that are numbers of each member.
    """

    stages: Sequence[tuple[sp.Indexed, sp.Expr]]
    outputs: Mapping[str, tuple[Letters, sp.Expr]]
    order: Letters
    own: frozenset[str]
    kernels: dict[frozenset[str], Compiled] = field(default_factory=dict, repr=False)

    @cached_property
    def arrays(self) -> dict[str, Letters]:
        """The letters of each array that it takes; none for numbers of each member."""
        defined = {name.base.label for name, _ in self.stages}
        expressions = [totalled(meaning) for _, meaning in (*self.stages, *self.outputs.values())]
        found: dict[str, Letters] = {}
        for expression in expressions:
            symbols = {x for x in expression.free_symbols if isinstance(x, sp.Symbol) and str(x) in self.own}
            found |= {str(x): () for x in symbols if str(x) not in found}
            given = (x for x in expression.atoms(sp.Indexed) if x.base.label not in defined)
            found |= {str(x.base.label): tuple(x.indices) for x in sorted(given, key=str)}
        return found

    def __call__(
        self,
        arrays: Mapping[str, Float[np.ndarray, "..."]],
        sizes: Mapping[sp.Symbol, int],
        scalars: Mapping[sp.Symbol, float],
    ) -> dict[str, Float[np.ndarray, "..."]]:
        """The outputs, member axis first; `arrays` with a member axis of size 1 where all share them."""
        if compiler() is None:
            return self.by_name(arrays, sizes, scalars)
        members = max(len(arrays[name]) for name in self.arrays)
        differ = self.own | {name for name in self.arrays if len(arrays[name]) > 1}
        if differ not in self.kernels:
            self.kernels[differ] = self._compiled(differ)
        given: dict[str, Any] = {identifier(symbol): number for symbol, number in scalars.items()}
        for name in self.arrays:
            array = np.asarray(arrays[name])
            if name in differ:
                array = np.broadcast_to(array, (members, *array.shape[1:]))
            given[name] = np.moveaxis(array, 0, -1) if name in differ else array[0]
        values = self.kernels[differ](given, sizes, members=members)
        return {name: np.moveaxis(value, -1, 0) for name, value in values.items()}

    def by_name(
        self,
        arrays: Mapping[str, Float[np.ndarray, "..."]],
        sizes: Mapping[sp.Symbol, int],
        scalars: Mapping[sp.Symbol, float],
    ) -> dict[str, Float[np.ndarray, "..."]]:
        """The same without a compiler: the reference implementation, many times slower."""
        evaluation = NamedAxes(arrays, sizes, scalars)
        for name, meaning in self.stages:
            evaluation.define(name, meaning)
        members = max(len(arrays[name]) for name in self.arrays)
        found = {name: evaluation(expression, letters) for name, (letters, expression) in self.outputs.items()}
        return {name: np.broadcast_to(value, (members, *value.shape[1:])) for name, value in found.items()}

    def _compiled(self, differ: frozenset[str]) -> Compiled:
        """For given arrays in which members differ."""
        numbers = {name: sp.IndexedBase(name)[0] for name, letters in self.arrays.items() if not letters}
        expressions = [meaning for _, meaning in (*self.stages, *self.outputs.values())]
        symbols = set[sp.Basic]().union(*(expression.free_symbols for expression in expressions))
        return compile_stages(
            self.stages,
            self.outputs,
            arrays={name: (letters, name in differ) for name, letters in self.arrays.items()},
            order=self.order,
            numbers={x: numbers[x.name] for x in symbols if isinstance(x, sp.Symbol) and x.name in numbers},
            lanes=False,
        )
