"""SymPy expressions over named axes, evaluated node by node: the other boundary from symbols to arrays.

`lower.py` writes fast code for the five axes of pure prompts. Expressions with many letters, such as level Z, are
evaluated here: each array has its indices as named axes, a sum over letters is an einsum of its factors, and a node that
occurs twice is computed once. On pure prompts it is a second, independent road from the same SymPy object.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import sympy as sp
from jaxtyping import Float
from scipy.special import softmax

from theory.elementwise import ELEMENTWISE
from theory.functions import AttentionMean, SignSum

MEMBER = sp.Symbol("member")
_Named = tuple[tuple[sp.Symbol, ...], np.ndarray]
_ELEMENTWISE = {**ELEMENTWISE, "tanh": np.tanh, "exp": np.exp}


class NamedAxes:
    """Evaluates expressions at given arrays; results of shared nodes are kept as long as the object lives."""

    def __init__(
        self,
        arrays: Mapping[str, Float[np.ndarray, "..."]],
        sizes: Mapping[sp.Symbol, int],
        scalars: Mapping[sp.Symbol, float] | None = None,
    ) -> None:
        """`arrays` by the names of their bases, each with a member axis (of size 1 when shared) and its indices' axes.

        `sizes` says how many values a letter takes, for sums whose body does not contain it; `scalars` gives symbols.
        """
        self._arrays, self._sizes, self._scalars = arrays, sizes, scalars or {}
        self._known: dict[sp.Basic, _Named] = {}

    def __call__(self, expression: sp.Expr, order: Sequence[sp.Symbol] = ()) -> Float[np.ndarray, "..."]:
        """The value, with the member axis first and then one axis per letter of `order`."""
        letters, array = self._value(expression)
        wanted = (MEMBER, *order)
        if extra := set(letters) - set(wanted):
            raise ValueError(f"the expression varies along {sorted(map(str, extra))} too")
        shape = tuple(dict(zip(letters, array.shape, strict=True)).get(letter, 1) for letter in wanted)
        return np.transpose(array, [letters.index(x) for x in wanted if x in letters]).reshape(shape)

    def _value(self, node: sp.Basic) -> _Named:
        if node not in self._known:
            self._known[node] = self._compute(node)
        return self._known[node]

    def _compute(self, node: sp.Basic) -> _Named:
        if node.is_Number:
            return (), np.asarray(float(node))
        if isinstance(node, sp.Symbol):
            return (), np.asarray(self._scalars[node])
        if isinstance(node, sp.Indexed):
            return self._indexed(node)
        if isinstance(node, sp.Sum):
            body, *limits = node.args
            return self._product(sp.Mul.make_args(body), {letter for letter, *_ in limits})
        if isinstance(node, sp.Mul):
            return self._product(node.args, set())
        if isinstance(node, sp.Add):
            letters, arrays = self._aligned([self._value(part) for part in node.args])
            return letters, np.asarray(sum(arrays[1:], start=arrays[0]))
        if isinstance(node, sp.Pow):
            letters, base = self._value(node.base)
            return letters, np.asarray(base ** float(node.exp))
        if isinstance(node, AttentionMean):
            value, logit, index, _ = node.args
            return self._product(sp.Mul.make_args(value), {index}, self._weights(logit, index))
        if isinstance(node, SignSum):
            raise TypeError("signs of pure prompts are an axis of lower.py; number the prompts instead")
        letters, arrays = self._aligned([self._value(argument) for argument in node.args])
        return letters, np.asarray(_ELEMENTWISE[type(node).__name__](*arrays))

    def _indexed(self, node: sp.Indexed) -> _Named:
        array = self._arrays[str(node.base.label)]
        if len(array) == 1:
            return tuple(node.indices), array[0]
        return (MEMBER, *node.indices), array

    def _weights(self, logit: sp.Expr, index: sp.Symbol) -> _Named:
        """Softmax over the demonstrations."""
        key = sp.Function("softmax")(logit, index)
        if key not in self._known:
            letters, array = self._value(logit)
            self._known[key] = letters, softmax(array, axis=letters.index(index))
        return self._known[key]

    def _aligned(self, parts: Sequence[_Named]) -> tuple[tuple[sp.Symbol, ...], list[np.ndarray]]:
        """The arrays with all letters that occur, for broadcasting."""
        letters = tuple(dict.fromkeys(letter for own, _ in parts for letter in own))
        arrays = []
        for own, array in parts:
            shape = dict(zip(own, array.shape, strict=True))
            order = [own.index(letter) for letter in letters if letter in own]
            arrays.append(np.transpose(array, order).reshape([shape.get(letter, 1) for letter in letters]))
        return letters, arrays

    def _product(self, factors: Sequence[sp.Expr], bound: set[sp.Symbol], *more: _Named) -> _Named:
        """The product of the factors, summed over the bound letters, as one einsum."""
        parts = [*(self._value(factor) for factor in factors), *more]
        letters = tuple(dict.fromkeys(letter for own, _ in parts for letter in own))
        scale = float(np.prod([self._sizes[letter] for letter in bound if letter not in letters], initial=1.0))
        scale *= float(np.prod([float(array) for own, array in parts if not own], initial=1.0))
        number = {letter: position for position, letter in enumerate(letters)}
        operands: list = []
        for own, array in parts:
            if own:
                operands += [array, [number[letter] for letter in own]]
        kept = tuple(letter for letter in letters if letter not in bound)
        if not operands:
            return (), np.asarray(scale)
        summed = np.einsum(
            *operands, [number[letter] for letter in kept], optimize="greedy" if len(operands) > 4 else False
        )
        return kept, np.asarray(scale * summed)
