"""Derived expressions as one function of machine code, compiled from C by the compiler of the system and called with arrays."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from polyseme.theory.calculus.loops import LoopWriter
from polyseme.theory.calculus.native import build
from polyseme.theory.calculus.statements import Letters, identifier, needed, read


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """Derived expressions as one function of machine code.

    `inputs`: the letters of each array that it takes; arrays in which members `differ` have their axis last. `order`: the nesting of
    loops. `lanes`: whether members are innermost. `source`: what is compiled.
    """

    inputs: Mapping[str, Letters]
    differ: frozenset[str]
    order: Mapping[sp.Symbol, int]
    lanes: bool
    scalars: tuple[str, ...]
    sizes: tuple[sp.Symbol, ...]
    outputs: Mapping[str, Letters]
    source: str
    function: Callable[..., None]

    def __call__(
        self, arrays: Mapping[str, Any], sizes: Mapping[sp.Symbol, int], *, members: int
    ) -> dict[str, np.ndarray]:
        """The outputs by name, their letters' axes first and the members' last; `arrays` holds numbers too."""
        axes, out_axes = self._axes
        given = [np.ascontiguousarray(arrays[name].transpose(axes[name]), np.float64) for name in self.inputs]
        made: list[np.ndarray] = []
        for name, letters in self.outputs.items():
            shape = [*(sizes[x] for x in letters), members]
            made.append(np.empty([shape[axis] for axis in out_axes[name]]))
        self.run(given, [arrays[name] for name in self.scalars], [sizes[x] for x in self.sizes], made, members)
        pairs = zip(self.outputs, made, strict=True)
        return {name: array.transpose(np.argsort(out_axes[name])) for name, array in pairs}

    def run(
        self,
        given: Sequence[np.ndarray],
        scalars: Sequence[float],
        sizes: Sequence[int],
        made: Sequence[np.ndarray],
        members: int,
    ) -> None:
        """Fill the outputs, arrays being as they stand in memory: contiguous, with the last letter, or the members, last."""
        self.function(
            *(array.ctypes.data for array in given), *scalars, *sizes, *(array.ctypes.data for array in made), members
        )

    @cached_property
    def _axes(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """Of each input and output, which axis over letters, and members, stands where in memory."""

        def axes(letters: Letters, *, members: bool) -> list[int]:
            found = sorted(range(len(letters)), key=lambda at: self.order[letters[at]])
            if not members:
                return found
            return [*found, len(letters)] if self.lanes else [len(letters), *found]

        inputs = {name: axes(letters, members=name in self.differ) for name, letters in self.inputs.items()}
        return inputs, {name: axes(letters, members=True) for name, letters in self.outputs.items()}


def compile_stages(
    stages: Sequence[tuple[sp.Indexed, sp.Expr]],
    outputs: Mapping[str, tuple[Letters, sp.Expr]],
    *,
    arrays: Mapping[str, tuple[Letters, bool]],
    order: Sequence[sp.Symbol],
    numbers: Mapping[sp.Symbol, sp.Expr] | None = None,
    lanes: bool = True,
) -> Compiled:
    """Compile outputs, with the stages that they need; the first letter of `order` is the outer loop.

    `arrays`: the letters of each array that is given, and whether members differ in it.
    """
    statements = read(
        stages, outputs, arrays={name: members for name, (_, members) in arrays.items()}, order=order, numbers=numbers
    )
    statements = needed(statements)
    places = {letter: at for at, letter in enumerate(order)}
    used = set[str]().union(*(x.needs for x in statements))
    inputs = {name: letters for name, (letters, _) in sorted(arrays.items()) if name in used}
    members = {name: differ for name, (_, differ) in arrays.items()}
    sizes = tuple(x for x in order if any(x in one.letters or x in one.bound for one in statements))
    symbols = set[sp.Symbol]().union(*(x.body.free_symbols for x in statements)) - set(order)
    labels = set[sp.Basic]().union(*(x.body.atoms(sp.Indexed) for x in statements))
    names = {x.base.label for x in labels} | {x.base for x in labels} | labels
    scalars = tuple(sorted(identifier(x) for x in symbols if x not in names))
    writer = LoopWriter(
        statements=statements, inputs=inputs, members=members, outer=order[0], order=places, lanes=lanes
    )
    source = writer.write(sizes, scalars)
    function = build(source)
    pointers = [ctypes.c_void_p]
    function.argtypes = [
        *(pointers * len(inputs)),
        *([ctypes.c_double] * len(scalars)),
        *([ctypes.c_long] * len(sizes)),
        *(pointers * len(outputs)),
        ctypes.c_long,
    ]
    outs = {name: letters for name, (letters, _) in outputs.items()}
    return Compiled(
        inputs=inputs,
        differ=frozenset(name for name in inputs if members[name]),
        order=places,
        lanes=lanes,
        scalars=scalars,
        sizes=sizes,
        outputs=outs,
        source=source,
        function=function,
    )
