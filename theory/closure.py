"""Which blocks live: the closure of an initial state under the expected gradient (THEORY.md section 4).

Start from the blocks that are non-zero at the start, add every block that the expected gradient of a pure prompt
reaches, stop when nothing is added. The gradient is differentiated in *all* blocks, also those that are zero, so
that nothing is assumed dead. It is decided in symbols: a block stays dead only if its gradient is exactly zero.

The forward pass is written here a second time, in full matrices: an independent derivation, not the executed one.

Two concepts, one irrelevant feature and one spare direction stand for all: by the symmetry of permuting concepts
and rotating the rest, the blocks of concept 1 against (itself, another concept, nu, perp) cover every kind of block.
"""

from functools import cache
from itertools import product
from typing import Literal

import sympy as sp

from theory.forward import n_a, n_b, n_c, n_d
from theory.functions import Logistic, ReLU

Neurons = Literal["generic", "mirrored"]
Block = tuple[str, str]

WORD_DIRECTIONS = ("a", "b", "a'", "b'", "nu", "perp")
LABEL_DIRECTIONS = ("c", "d", "c'", "d'", "perp")
IDENTITY = frozenset((s, s) for s in WORD_DIRECTIONS)

# The smallest sizes at which nothing cancels by accident: three demonstrations leave both kinds present with
# unequal counts, and two neurons form a mirrored pair.
_L, _NEURONS = 3, 2
_GAP = sp.Symbol("g", real=True)


def _entries(name: str) -> sp.Matrix:
    size = len(WORD_DIRECTIONS)
    return sp.Matrix(size, size, lambda s, t: sp.Symbol(f"{name}_{WORD_DIRECTIONS[s]}{WORD_DIRECTIONS[t]}", real=True))


@cache
def _weights() -> tuple[sp.Matrix, sp.Matrix, sp.Matrix]:
    """W_Q, W_K and W_O with an independent symbol in every block."""
    W_O = sp.Matrix(
        _NEURONS, len(LABEL_DIRECTIONS), lambda i, t: sp.Symbol(f"w{i + 1}_{LABEL_DIRECTIONS[t]}", real=True)
    )
    return _entries("Q"), _entries("K"), W_O


def _half_gap(e: int) -> sp.Expr:
    """Half the gap between the logits of the two kinds of demonstration of concept 1, for a query of sign e (section 3)."""
    W_Q, W_K, _ = _weights()
    spare = [0] * (len(WORD_DIRECTIONS) - 2)
    difference, query = sp.Matrix([0, n_b, *spare]), sp.Matrix([n_a, e * n_b, *spare])
    return (W_K * difference).dot(W_Q * query)


def _loss_given_gap(e: int) -> sp.Expr:
    """Expected loss of the pure prompts of concept 1 and sign e, as a function of the half gap `_GAP` (section 1)."""
    W_O, total = _weights()[2], sp.S.Zero
    for n_plus in range(_L + 1):
        if n_plus in (0, _L):
            ebar = sp.Integer(1 if n_plus else -1)
        else:
            ebar = sp.tanh(_GAP + sp.log(sp.Rational(n_plus, _L - n_plus)) / 2)
        pooled = sp.Matrix([n_c, ebar * n_d, *[0] * (len(LABEL_DIRECTIONS) - 2)])
        outputs = W_O * pooled
        f = (ReLU(outputs[0]) - ReLU(outputs[1])) / _NEURONS
        total += sp.binomial(_L, n_plus) * Logistic(e * f)
    return total


@cache
def _slope(entry: sp.Symbol) -> sp.Expr:
    """The derivative of the risk in one entry of W_Q or W_K: W_Q and W_K enter the loss through the gap alone."""
    return sp.Add(*(_loss_slope(e) * _half_gap(e).diff(entry) for e in (1, -1)))


@cache
def _loss_slope(e: int) -> sp.Expr:
    return _loss_given_gap(e).diff(_GAP).xreplace({_GAP: _half_gap(e)})


def _state(W_Q: sp.Matrix, W_K: sp.Matrix, W_O: sp.Matrix, live: dict[str, frozenset[Block]], neurons: Neurons) -> dict:
    """Substitutions that put dead blocks to zero and, for mirrored neurons, tie the pair (alpha, beta), (alpha, -beta)."""
    dead = {
        matrix[s, t]: sp.S.Zero
        for name, matrix in (("W_Q", W_Q), ("W_K", W_K))
        for s, t in product(range(len(WORD_DIRECTIONS)), repeat=2)
        if (WORD_DIRECTIONS[s], WORD_DIRECTIONS[t]) not in live[name]
    }
    if neurons == "mirrored":
        for t, direction in enumerate(LABEL_DIRECTIONS):
            dead[W_O[1, t]] = -W_O[0, t] if direction.startswith("d") else W_O[0, t]
    return dead


@cache
def closure(neurons: Neurons = "generic", start: frozenset[Block] = IDENTITY) -> dict[str, frozenset[Block]]:
    """Live blocks of W_Q and W_K on pure prompts, from W_Q = W_K supported on `start`, as a fixed point.

    Directions of concept 1 are a, b; of another concept a', b'. Generic neurons give level B, mirrored neurons
    level S. Prompts of the other concept add the same blocks with a, b and a', b' exchanged, by symmetry.
    """
    W_Q, W_K, W_O = _weights()
    live = {"W_Q": start, "W_K": start}
    while True:
        known = _state(W_Q, W_K, W_O, live, neurons)
        reached = {
            name: frozenset(
                (s, t)
                for (row, s), (column, t) in product(enumerate(WORD_DIRECTIONS), repeat=2)
                if _is_nonzero(_slope(matrix[row, column]).xreplace(known))
            )
            for name, matrix in (("W_Q", W_Q), ("W_K", W_K))
        }
        grown = {name: live[name] | reached[name] | _exchanged(reached[name]) for name in live}
        if grown == live:
            return live
        live = grown


def _exchanged(blocks: frozenset[Block]) -> frozenset[Block]:
    """The same blocks with the two concepts exchanged."""
    other = {"a": "a'", "b": "b'", "a'": "a", "b'": "b"}
    return frozenset((other.get(s, s), other.get(t, t)) for s, t in blocks)


def _is_nonzero(expression: sp.Expr) -> bool:
    """Whether a gradient is not identically zero: non-zero by a value that proves it, zero by exact cancellation.

    The value is taken with 30 digits at one rational point; a zero that is not symbolic is an error, never a guess.
    """
    if expression == 0:
        return False
    # Positive neurons keep gates open and values of order one; primes make coincidences impossible.
    symbols = sorted(expression.free_symbols, key=str)
    point = {symbol: sp.Rational(sp.prime(position + 4), 37) for position, symbol in enumerate(symbols)}
    value = expression.xreplace(point).rewrite(sp.exp).evalf(30)
    if value.is_number and abs(value) > sp.Float("1e-20"):
        return True
    if sp.expand(expression) == 0:
        return False
    raise AssertionError(f"cannot decide whether {expression} is zero (value {value})")


def within_concept(live: dict[str, frozenset[Block]]) -> dict[str, tuple[str, ...]]:
    """The live blocks on (a_k, b_k) of one concept, as entries such as 'ba'."""
    return {name: tuple(sorted(s + t for s, t in blocks if {s, t} <= {"a", "b"})) for name, blocks in live.items()}
