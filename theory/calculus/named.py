"""SymPy expressions over named axes, evaluated node by node, with any number of index letters.

Each array has its indices as named axes, a sum over letters is an einsum of its factors, and a node that occurs twice is computed
once. It is slow, and a second, independent evaluation of the SymPy objects that a theory compiles (`staged_function.py`).
"""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
import sympy as sp
from jaxtyping import Float
from scipy.special import logsumexp, softmax

from polyseme.theory.calculus.elementwise import ELEMENTWISE
from polyseme.theory.calculus.functions import AttentionMean, LogTotal, SignSum

MEMBER = sp.Symbol("member")
_ELEMENTWISE = {**ELEMENTWISE, "tanh": np.tanh, "exp": np.exp}
_Letters = tuple[sp.Symbol, ...]
_Named = tuple[_Letters, np.ndarray]  # the axes of a value, and the value


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
        self._sizes = sizes
        self._known: dict[sp.Basic, _Named] = {}
        self._defined: dict[str, _Named] = {}  # stages, with the letters of their names
        # Whether each array has a member axis, and without one that all share.
        self._arrays = {name: (len(array) > 1, _plain(array)) for name, array in arrays.items()}
        self._scalars = {symbol: np.asarray(number) for symbol, number in (scalars or {}).items()}

    def __call__(self, expression: sp.Expr, order: Sequence[sp.Symbol] = ()) -> Float[np.ndarray, "..."]:
        """The value, with the member axis first and then one axis per letter of `order`."""
        letters, value = self._value(expression)
        wanted = (MEMBER, *order)
        if extra := set(letters) - set(wanted):
            raise ValueError(f"the expression varies along {sorted(map(str, extra))} too")
        return _arranged(value, letters, wanted)

    def define(self, name: sp.Indexed, meaning: sp.Expr) -> None:
        """Evaluate a stage, which is known by its name from then on."""
        letters, value = self._value(meaning)
        if extra := set(letters) - {MEMBER, *name.indices}:
            raise ValueError(f"{name} varies along {sorted(map(str, extra))} too")
        # Its letters in the order of its name; those along which it does not vary keep an axis of size 1 away.
        self._defined[str(name.base.label)] = (
            tuple(letter if letter == MEMBER else sp.Integer(name.indices.index(letter)) for letter in letters),  # pyright: ignore[reportAssignmentType]
            value,
        )

    def _value(self, node: sp.Basic) -> _Named:
        if node not in self._known:
            self._known[node] = self._compute(node)
        return self._known[node]

    def _compute(self, node: sp.Basic) -> _Named:
        if node.is_Number:
            return (), np.asarray(float(node))
        if isinstance(node, sp.Symbol):
            return self._symbol(node)
        if isinstance(node, sp.Indexed):
            return self._indexed(node)
        if isinstance(node, sp.Sum):
            body, *limits = node.args
            return self._product(sp.Mul.make_args(body), {letter for letter, *_ in limits})
        if isinstance(node, sp.Mul):
            return self._product(node.args, set())
        if isinstance(node, sp.Pow):
            letters, base = self._value(node.base)
            return letters, np.asarray(np.square(base) if node.exp == 2 else base ** float(node.exp))
        if isinstance(node, AttentionMean):
            value, logit, index, _ = node.args
            return self._product(sp.Mul.make_args(value), {index}, self._weights(logit, index))
        if isinstance(node, LogTotal):
            return self._log_total(node)
        if isinstance(node, SignSum):
            raise TypeError("a sum over signs is not evaluated here; give the sign an index letter instead")
        letters, values = self._aligned([self._value(argument) for argument in node.args])
        if isinstance(node, sp.Add):
            return letters, np.asarray(reduce(np.add, values))
        return letters, np.asarray(_ELEMENTWISE[type(node).__name__](*values))

    def _symbol(self, node: sp.Symbol) -> _Named:
        if node in self._scalars:
            return (), self._scalars[node]
        members, value = self._arrays[node.name]  # a number for each member
        return ((MEMBER,) if members else ()), value

    def _indexed(self, node: sp.Indexed) -> _Named:
        name = str(node.base.label)
        if name in self._defined:
            letters, value = self._defined[name]
            return tuple(x if x == MEMBER else node.indices[int(x)] for x in letters), value
        members, value = self._arrays[name]
        return ((MEMBER, *node.indices) if members else tuple(node.indices)), value

    def _weights(self, logit: sp.Expr, index: sp.Symbol) -> _Named:
        """Softmax over the demonstrations."""
        key = sp.Function("softmax")(logit, index)
        if key not in self._known:
            letters, value = self._value(logit)
            self._known[key] = letters, softmax(value, axis=letters.index(index))
        return self._known[key]

    def _log_total(self, node: LogTotal) -> _Named:
        count, logit, index, _ = node.args
        letters, (values, counts) = self._aligned([self._value(logit), self._value(count)])
        total = np.asarray(logsumexp(values, axis=letters.index(index), b=counts))
        return tuple(letter for letter in letters if letter != index), total

    def _aligned(self, parts: Sequence[_Named]) -> tuple[_Letters, list[np.ndarray]]:
        """The values with all letters that occur, for broadcasting."""
        letters = tuple(dict.fromkeys(letter for own, _ in parts for letter in own))
        return letters, [value if own == () else _arranged(value, own, letters) for own, value in parts]

    def _product(self, factors: Sequence[sp.Expr], bound: set[sp.Symbol], *more: _Named) -> _Named:
        """The product of the factors, summed over the bound letters, as one einsum."""
        parts = [*(self._value(factor) for factor in factors), *more]
        letters = tuple(dict.fromkeys(letter for own, _ in parts for letter in own))
        number = np.asarray(reduce(np.multiply, [value for own, value in parts if not own], 1.0))
        for letter in bound.difference(letters):
            number = number * self._sizes[letter]
        kept = tuple(letter for letter in letters if letter not in bound)
        arrays = [(own, value) for own, value in parts if own]
        if not arrays:
            return (), number
        if not bound & set(letters):
            return letters, np.asarray(reduce(np.multiply, self._aligned(arrays)[1], number))
        place = {letter: position for position, letter in enumerate(letters)}
        operands = [x for own, value in arrays for x in (value, [place[letter] for letter in own])]
        # More than two arrays at once cost far more than pairs.
        summed = np.einsum(
            *operands, [place[letter] for letter in kept], optimize="greedy" if len(arrays) > 4 else False
        )
        return kept, np.asarray(number * summed)


def _plain(array: Float[np.ndarray, "..."]) -> np.ndarray:
    """Without the member axis if all share the array."""
    return np.asarray(array[0]) if len(array) == 1 else np.asarray(array)


def _arranged(value: np.ndarray, own: _Letters, wanted: Sequence[sp.Symbol]) -> np.ndarray:
    """Its axes in an order, with axes of size 1 for letters that are not there."""
    order = [own.index(letter) for letter in wanted if letter in own]
    return np.transpose(value, order)[tuple(slice(None) if letter in own else None for letter in wanted)]
