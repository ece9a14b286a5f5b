"""The Peirce calculus: operators as sums of blocks E_st over named idempotents (docs/THEORY.md section 2).

For orthonormal directions s, t the block E_st = s^ t^^T sends t^ to s^. Blocks multiply like matrix units,
E_st E_uv = delta_tu E_sv; the idempotents are P_s = E_ss, and P_perp = I - sum_s P_s takes the rest of the space.
A direction belongs to a family, such as a or b, and is numbered by a letter: a sum over a letter is kept as it is,
so a statement holds for every number of concepts and is derived once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import sympy as sp

PERP = "perp"


class Direction(NamedTuple):
    """A unit vector s^ of a frame: its family and its number there (a letter, or a whole number from 1)."""

    family: str
    number: sp.Expr

    def __str__(self) -> str:
        """As a_k, or nu_2."""
        return f"{self.family}_{self.number}"


class Letter(NamedTuple):
    """A letter that numbers directions, and the whole range that a sum over it runs over: 1, ..., size."""

    symbol: sp.Symbol
    size: sp.Expr


# directions (one of a vector, two of an operator) and the letters that are summed over -> coefficient
_Key = tuple[tuple[Direction, ...], tuple[sp.Symbol, ...]]
_Terms = dict[_Key, sp.Expr]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Families of orthonormal directions, each with its letter; together with P_perp they resolve the identity.

    `dimension` is that of the whole space. ValueError if a family has no letter or its letter serves two sizes.
    The laws P_s P_t = delta_st P_s, P_s^T = P_s, sum_s P_s = I are checked at construction, for generic numbers.
    """

    families: Mapping[str, Letter]
    dimension: sp.Expr

    def __post_init__(self) -> None:
        """Check the laws by the calculus itself: matrix units with a wrong product table do not pass."""
        sizes: dict[sp.Symbol, sp.Expr] = {}
        for family, letter in self.families.items():
            if sizes.setdefault(letter.symbol, letter.size) != letter.size:
                raise ValueError(f"the letter {letter.symbol} of {family} has two sizes, {letter.size} among them")
        total = self.perp()
        for family, other in product(self.families, repeat=2):
            s, t = self.direction(family), self.direction(other, fresh=True)
            P_s, P_t = self.block(s, s), self.block(t, t)
            expected = P_s.scaled(sp.KroneckerDelta(s.number, t.number)) if family == other else self.zero()
            # With the delta in front, s and t are the same direction: compare on the common support.
            if not (P_s @ P_t).equals(expected) or not P_s.transpose().equals(P_s):
                raise ValueError(f"P_{s} and P_{t} are not orthogonal idempotents")
        for family in self.families:
            s = self.direction(family)
            total += self.block(s, s).summed(s.number)
        if not total.equals(self.identity()) or not (self.perp() @ self.perp()).equals(self.perp()):
            raise ValueError("the idempotents do not resolve the identity")

    def direction(self, family: str, number: sp.Expr | int | None = None, *, fresh: bool = False) -> Direction:
        """The direction of a family at its letter, at a given number, or at a letter of its own."""
        symbol = self.families[family].symbol
        if fresh:
            return Direction(family, sp.Symbol(f"{symbol.name}'", **symbol.assumptions0))
        return Direction(family, symbol if number is None else sp.sympify(number))

    def size_of(self, letter: sp.Symbol) -> sp.Expr:
        """How far a letter runs; letters with primes run as far as the letter."""
        plain = letter.name.rstrip("'")
        return next(known.size for known in self.families.values() if str(known.symbol) == plain)

    def zero(self) -> "Operator":
        """The zero operator."""
        return Operator(self, {}, sp.S.Zero)

    def perp(self) -> "Operator":
        """P_perp."""
        return Operator(self, {}, sp.S.One)

    def identity(self) -> "Operator":
        """I, as the sum of all idempotents."""
        own = {((s, s), (s.number,)): sp.S.One for s in (self.direction(family) for family in self.families)}
        return Operator(self, own, sp.S.One)

    def block(self, s: Direction, t: Direction, coefficient: sp.Expr | int = 1) -> "Operator":
        """coefficient E_st."""
        return Operator(self, {((s, t), ()): sp.sympify(coefficient)}, sp.S.Zero)

    def vector(self, components: Mapping[Direction, sp.Expr | int]) -> "Vector":
        """The sum of component times s^."""
        return Vector(self, {((s,), ()): sp.sympify(x) for s, x in components.items()})


class _Combination:
    """A finite sum of terms, each with its coefficient and the letters that it is summed over."""

    def __init__(self, frame: Frame, terms: _Terms) -> None:
        self.frame = frame
        self.terms = _collected(frame, terms)

    def _summed(self, letter: sp.Symbol) -> _Terms:
        return {(key, (*bound, letter)): x for (key, bound), x in self.terms.items()}


class Vector(_Combination):
    """A vector of the span of a frame: sum of components times directions."""

    def __add__(self, other: "Vector") -> "Vector":
        """The sum."""
        return Vector(self.frame, _added(self.terms, other.terms))

    def __sub__(self, other: "Vector") -> "Vector":
        """The difference."""
        return self + other.scaled(-1)

    def scaled(self, factor: sp.Expr | int) -> "Vector":
        """factor times the vector."""
        return Vector(self.frame, {key: factor * x for key, x in self.terms.items()})

    def summed(self, letter: sp.Symbol) -> "Vector":
        """The sum over a letter of its whole range."""
        return Vector(self.frame, self._summed(letter))

    def dot(self, other: "Vector") -> sp.Expr:
        """The inner product, as a SymPy expression with unevaluated sums."""
        terms = _contracted(self.frame, self.terms, other.terms, left=0, right=0)
        return sp.Add(*(_as_sum(self.frame, x, bound) for (_, bound), x in terms.items()))


class Operator(_Combination):
    """sum of coefficients times blocks E_st, plus a multiple of P_perp."""

    def __init__(self, frame: Frame, terms: _Terms, rest: sp.Expr) -> None:
        """`rest` multiplies P_perp."""
        super().__init__(frame, terms)
        self.rest = rest

    def __add__(self, other: "Operator") -> "Operator":
        """The sum."""
        return Operator(self.frame, _added(self.terms, other.terms), self.rest + other.rest)

    def __sub__(self, other: "Operator") -> "Operator":
        """The difference."""
        return self + other.scaled(-1)

    def __matmul__(self, other: "Operator") -> "Operator":
        """The product, by E_st E_uv = delta_tu E_sv."""
        return Operator(
            self.frame, _contracted(self.frame, self.terms, other.terms, left=1, right=0), self.rest * other.rest
        )

    def scaled(self, factor: sp.Expr | int) -> "Operator":
        """factor times the operator."""
        return Operator(self.frame, {key: factor * x for key, x in self.terms.items()}, factor * self.rest)

    def summed(self, letter: sp.Symbol) -> "Operator":
        """The sum over a letter of its whole range; P_perp has no letter and may not be there."""
        if self.rest != 0:
            raise ValueError("P_perp carries no letter to sum over; add it after the sum")
        return Operator(self.frame, self._summed(letter), self.rest)

    def transpose(self) -> "Operator":
        """E_st^T = E_ts."""
        return Operator(self.frame, {((t, s), bound): x for ((s, t), bound), x in self.terms.items()}, self.rest)

    def trace(self) -> sp.Expr:
        """The trace; that of P_perp is the dimension left over."""
        spanned = sp.Add(*(letter.size for letter in self.frame.families.values()))
        total = self.rest * (self.frame.dimension - spanned)
        for ((s, t), bound), x in self.terms.items():
            tied = _tied(s, t, (), bound, x)
            if tied is not None:
                total += _as_sum(self.frame, tied[2], tied[1])
        return total

    def act(self, vector: Vector) -> Vector:
        """The image of a vector of the span, where P_perp is zero."""
        return Vector(self.frame, _contracted(self.frame, self.terms, vector.terms, left=1, right=0))

    def adjoint(self, vector: Vector) -> Vector:
        """The image under the transpose: <W x, y> = <x, W^T y>."""
        return self.transpose().act(vector)

    def project(self, s: Direction, t: Direction) -> "Operator":
        """The Peirce block P_s W P_t."""
        return self.frame.block(s, s) @ self @ self.frame.block(t, t)

    def coefficient(self, s: Direction, t: Direction) -> sp.Expr:
        """s^^T W t^, the coefficient of E_st."""
        return self.frame.vector({s: 1}).dot(self.act(self.frame.vector({t: 1})))

    def equals(self, other: "Operator") -> bool:
        """Whether the difference has no term left, after expansion; deltas identify the directions they tie."""
        gap = self - other
        return sp.expand(gap.rest) == 0 and all(sp.expand(x) == 0 for x in gap.terms.values())

    def to_dense(self, sizes: Mapping[sp.Symbol, int], basis: sp.Matrix | None = None) -> sp.Matrix:
        """The matrix for given sizes: in the frame's own coordinates, or in R^d by `basis`.

        `sizes` gives a number for each size symbol. The columns of `basis` are the unit directions, families in their
        order and numbers from 1; ValueError if they are not orthonormal. Without it, P_perp is left out.
        """
        order = {}
        for family, letter in self.frame.families.items():
            for number in range(1, int(letter.size.subs(sizes)) + 1):
                order[Direction(family, sp.Integer(number))] = len(order)
        dense = sp.zeros(len(order), len(order))
        for ((s, t), bound), x in self.terms.items():
            ranges = [range(1, int(self.frame.size_of(letter).subs(sizes)) + 1) for letter in bound]
            for values in product(*ranges):
                at = dict(zip(bound, map(sp.Integer, values), strict=True))
                row, column = (order[Direction(u.family, u.number.subs(at))] for u in (s, t))
                dense[row, column] += x.subs(at).subs(sizes).doit()
        if basis is None:
            return dense
        if basis.shape[1] != len(order) or sp.simplify(basis.T * basis - sp.eye(len(order))) != sp.zeros(len(order)):
            raise ValueError(f"got a basis of shape {basis.shape}, expected {len(order)} orthonormal columns")
        return basis * dense * basis.T + self.rest * (sp.eye(basis.shape[0]) - basis * basis.T)


def _added(left: _Terms, right: _Terms) -> _Terms:
    total = dict(left)
    for key, x in right.items():
        total[key] = total.get(key, sp.S.Zero) + x
    return total


def _contracted(frame: Frame, left_terms: _Terms, right_terms: _Terms, *, left: int, right: int) -> _Terms:
    """Inner products of one direction of each left term with one of each right term; the others stay, in order."""
    total: _Terms = {}
    for one, other in product(map(_apart, left_terms.items()), map(_apart, right_terms.items())):
        (left_key, left_bound), x = one
        (right_key, right_bound), y = other
        rest = (*left_key[:left], *left_key[left + 1 :], *right_key[:right], *right_key[right + 1 :])
        tied = _tied(left_key[left], right_key[right], rest, (*left_bound, *right_bound), x * y)
        if tied is not None:
            name, value = _plain(frame, *tied)
            total[name] = total.get(name, sp.S.Zero) + value
    return total


def _apart(term: tuple[_Key, sp.Expr]) -> tuple[_Key, sp.Expr]:
    """The term with fresh letters in its sums, so that they meet no other letter of that name."""
    (key, bound), x = term
    fresh = {letter: sp.Dummy(letter.name, **letter.assumptions0) for letter in bound}
    return (_renumbered(key, fresh), tuple(fresh.values())), x.xreplace(fresh)


def _renumbered(key: tuple[Direction, ...], names: Mapping[sp.Expr, sp.Expr]) -> tuple[Direction, ...]:
    return tuple(Direction(s.family, s.number.xreplace(names)) for s in key)


def _tied(
    s: Direction, t: Direction, key: tuple[Direction, ...], bound: tuple[sp.Symbol, ...], x: sp.Expr
) -> tuple[tuple[Direction, ...], tuple[sp.Symbol, ...], sp.Expr] | None:
    """A term times <s^, t^>: nothing for two families; a summed letter takes the other's number; else a Kronecker delta."""
    if s.family != t.family:
        return None
    if s.number == t.number:
        return key, bound, x
    for letter, number in ((t.number, s.number), (s.number, t.number)):
        if letter in bound:
            chosen = {letter: number}
            left = tuple(other for other in bound if other != letter)
            return _renumbered(key, chosen), left, x.xreplace(chosen)
    return key, bound, x * sp.KroneckerDelta(s.number, t.number)


def _plain(frame: Frame, key: tuple[Direction, ...], bound: tuple[sp.Symbol, ...], x: sp.Expr) -> tuple[_Key, sp.Expr]:
    """The term with its summed letters named k, k', k'', ... in the order in which they stand in the term."""
    free = {str(letter) for u in key for letter in u.number.free_symbols - set(bound)}
    free |= {str(letter) for letter in x.free_symbols - set(bound) if isinstance(letter, sp.Symbol)}
    names: dict[sp.Symbol, sp.Symbol] = {}
    in_key = [s.number for s in key if s.number in bound]
    for letter in dict.fromkeys((*in_key, *bound)):
        plain = letter.name.rstrip("'")
        known = next(entry.symbol for entry in frame.families.values() if str(entry.symbol) == plain)
        name = plain
        while name in free or name in {str(symbol) for symbol in names.values()}:
            name += "'"
        names[letter] = sp.Symbol(name, **known.assumptions0)
    return (_renumbered(key, names), tuple(names.values())), x.xreplace(names)


def _collected(frame: Frame, terms: _Terms) -> _Terms:
    """Like terms together, zero terms gone; a delta is summed out, or makes two names of a direction one."""
    total: _Terms = {}
    for (key, bound), x in terms.items():
        for delta in x.atoms(sp.KroneckerDelta):
            other, kept = sorted(delta.args, key=lambda number: (number not in bound, -len(str(number))))
            if other in bound:
                bound = tuple(letter for letter in bound if letter != other)
                x = x.xreplace({delta: sp.S.One}).xreplace({other: kept})
            key = _renumbered(key, {other: kept})
        name, value = _plain(frame, key, bound, x)
        total[name] = total.get(name, sp.S.Zero) + value
    return {key: x for key, x in total.items() if x != 0}


def _as_sum(frame: Frame, x: sp.Expr, bound: tuple[sp.Symbol, ...]) -> sp.Expr:
    """x summed over its letters; what does not depend on a letter stands in front."""
    for letter in bound:
        size = frame.size_of(letter)
        outside, inside = x.as_independent(letter, as_Add=False)
        x = outside * (size if inside == 1 else sp.Sum(inside, (letter, 1, size)))
    return x
