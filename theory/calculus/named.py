"""SymPy expressions over named axes, evaluated node by node, with any number of index letters.

Each array has its indices as named axes, a sum over letters is an einsum of its factors, and a node that
occurs twice is computed once. What was done is cached, so that the same can be done again with other numbers, without
looking at an expression (`again`). Where a theory also compiles an expression,
this is a second, independent evaluation of the same SymPy object.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import sympy as sp
from jaxtyping import Float
from scipy.special import logsumexp, softmax

from polyseme.theory.calculus.elementwise import ELEMENTWISE
from polyseme.theory.calculus.functions import AttentionMean, LogTotal, SignSum

MEMBER = sp.Symbol("member")
_ELEMENTWISE = {**ELEMENTWISE, "tanh": np.tanh, "exp": np.exp}
_Letters = tuple[sp.Symbol, ...]
_Named = tuple[_Letters, int]  # the axes of a value, and its place among the values


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
        self._values: list[np.ndarray] = []
        self._steps: list[tuple[int, Callable[..., Any], tuple[int, ...]]] = []
        self._known: dict[sp.Basic, _Named] = {}
        self._defined: dict[str, _Named] = {}  # stages, with the letters of their names
        # Inputs: where each array and number stands, and whether it has a member axis.
        self._arrays = {name: (len(array) > 1, self._put(_plain(array))) for name, array in arrays.items()}
        self._scalars = {symbol: self._put(np.asarray(number)) for symbol, number in (scalars or {}).items()}

    def __call__(self, expression: sp.Expr, order: Sequence[sp.Symbol] = ()) -> Float[np.ndarray, "..."]:
        """The value, with the member axis first and then one axis per letter of `order`."""
        return self._values[self.place(expression, order)]

    def place(self, expression: sp.Expr, order: Sequence[sp.Symbol] = ()) -> int:
        """Where the value is kept, for `again`."""
        letters, at = self._value(expression)
        wanted = (MEMBER, *order)
        if extra := set(letters) - set(wanted):
            raise ValueError(f"the expression varies along {sorted(map(str, extra))} too")
        return self._do(_arranged(letters, wanted), at)

    def define(self, name: sp.Indexed, meaning: sp.Expr) -> None:
        """Evaluate a stage, which is known by its name from then on."""
        letters, at = self._value(meaning)
        if extra := set(letters) - {MEMBER, *name.indices}:
            raise ValueError(f"{name} varies along {sorted(map(str, extra))} too")
        # Its letters in the order of its name; those along which it does not vary keep an axis of size 1 away.
        self._defined[str(name.base.label)] = (
            tuple(letter if letter == MEMBER else sp.Integer(name.indices.index(letter)) for letter in letters),  # pyright: ignore[reportAssignmentType]
            at,
        )

    def again(
        self,
        arrays: Mapping[str, Float[np.ndarray, "..."]],
        scalars: Mapping[sp.Symbol, float] | None = None,
    ) -> list[np.ndarray]:
        """All values anew, with other numbers for some arrays (of the same shapes) and symbols; read them by their places."""
        values = list(self._values)
        for name, array in arrays.items():
            values[self._arrays[name][1]] = _plain(array)
        for symbol, number in (scalars or {}).items():
            values[self._scalars[symbol]] = np.asarray(number)
        for target, function, places in self._steps:
            values[target] = np.asarray(function(*[values[place] for place in places]))
        return values

    def _put(self, array: np.ndarray) -> int:
        self._values.append(array)
        return len(self._values) - 1

    def _do(self, function: Callable[..., Any], *places: int) -> int:
        """Compute a value from others, and record how."""
        target = self._put(np.asarray(function(*[self._values[place] for place in places])))
        self._steps.append((target, function, places))
        return target

    def _value(self, node: sp.Basic) -> _Named:
        if node not in self._known:
            self._known[node] = self._compute(node)
        return self._known[node]

    def _compute(self, node: sp.Basic) -> _Named:
        if node.is_Number:
            return (), self._put(np.asarray(float(node)))
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
            return letters, self._do(np.square if node.exp == 2 else partial(_power, float(node.exp)), base)
        if isinstance(node, AttentionMean):
            value, logit, index, _ = node.args
            return self._product(sp.Mul.make_args(value), {index}, self._weights(logit, index))
        if isinstance(node, LogTotal):
            return self._log_total(node)
        if isinstance(node, SignSum):
            raise TypeError("a sum over signs is not evaluated here; give the sign an index letter instead")
        function = _total if isinstance(node, sp.Add) else _ELEMENTWISE[type(node).__name__]
        letters, places = self._aligned([self._value(argument) for argument in node.args])
        return letters, self._do(function, *places)

    def _symbol(self, node: sp.Symbol) -> _Named:
        if node in self._scalars:
            return (), self._scalars[node]
        members, place = self._arrays[node.name]  # a number for each member
        return ((MEMBER,) if members else ()), place

    def _indexed(self, node: sp.Indexed) -> _Named:
        name = str(node.base.label)
        if name in self._defined:
            letters, place = self._defined[name]
            return tuple(x if x == MEMBER else node.indices[int(x)] for x in letters), place
        members, place = self._arrays[name]
        return ((MEMBER, *node.indices) if members else tuple(node.indices)), place

    def _weights(self, logit: sp.Expr, index: sp.Symbol) -> _Named:
        """Softmax over the demonstrations."""
        key = sp.Function("softmax")(logit, index)
        if key not in self._known:
            letters, place = self._value(logit)
            self._known[key] = letters, self._do(partial(softmax, axis=letters.index(index)), place)
        return self._known[key]

    def _log_total(self, node: LogTotal) -> _Named:
        count, logit, index, _ = node.args
        letters, (values, counts) = self._aligned([self._value(logit), self._value(count)])
        axis = letters.index(index)
        function = partial(_log_total, axis)
        return tuple(letter for letter in letters if letter != index), self._do(function, values, counts)

    def _aligned(self, parts: Sequence[_Named]) -> tuple[_Letters, list[int]]:
        """The values with all letters that occur, for broadcasting."""
        letters = tuple(dict.fromkeys(letter for own, _ in parts for letter in own))
        return letters, [at if own in ((), letters) else self._do(_arranged(own, letters), at) for own, at in parts]

    def _product(self, factors: Sequence[sp.Expr], bound: set[sp.Symbol], *more: _Named) -> _Named:
        """The product of the factors, summed over the bound letters, as one einsum."""
        parts = [*(self._value(factor) for factor in factors), *more]
        letters = tuple(dict.fromkeys(letter for own, _ in parts for letter in own))
        numbers = [at for own, at in parts if not own]
        if missing := bound.difference(letters):
            numbers.append(self._put(np.asarray(float(np.prod([self._sizes[letter] for letter in missing])))))
        kept = tuple(letter for letter in letters if letter not in bound)
        arrays = [(own, at) for own, at in parts if own]
        if not arrays:
            return (), self._do(_times, *numbers)
        if not bound & set(letters):
            _, places = self._aligned(arrays)
            return letters, self._do(_times, *numbers, *places)
        number = {letter: position for position, letter in enumerate(letters)}
        subscripts = [[number[letter] for letter in own] for own, _ in arrays]
        contract = partial(_einsum, subscripts, [number[letter] for letter in kept])
        summed = self._do(contract, *(at for _, at in arrays))
        return kept, (self._do(_times, *numbers, summed) if numbers else summed)


def _plain(array: Float[np.ndarray, "..."]) -> np.ndarray:
    """Without the member axis if all share the array."""
    return np.asarray(array[0]) if len(array) == 1 else np.asarray(array)


def _arranged(own: _Letters, wanted: Sequence[sp.Symbol]) -> Callable[[np.ndarray], np.ndarray]:
    """The function that brings axes into an order, with axes of size 1 for letters that are not there."""
    order = [own.index(letter) for letter in wanted if letter in own]
    index = tuple(slice(None) if letter in own else None for letter in wanted)
    if order == sorted(order):
        return lambda array: array[index]
    return lambda array: np.transpose(array, order)[index]


def _power(exponent: float, base: np.ndarray) -> Any:
    return base**exponent


def _log_total(axis: int, logits: np.ndarray, counts: np.ndarray) -> Any:
    return logsumexp(logits, axis=axis, b=counts)


def _total(*parts: np.ndarray) -> Any:
    return sum(parts[1:], start=parts[0])


def _times(*parts: np.ndarray) -> Any:
    product = parts[0]
    for part in parts[1:]:
        product = product * part
    return product


def _einsum(subscripts: Sequence[list[int]], kept: list[int], *arrays: np.ndarray) -> Any:
    operands = [x for pair in zip(arrays, subscripts, strict=True) for x in pair]
    return np.einsum(*operands, kept, optimize="greedy" if len(arrays) > 4 else False)
