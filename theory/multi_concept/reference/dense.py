"""The reference implementation of the derived recursion: dense matrices, all 2^L prompts, exact arithmetic (docs/THEORY.md sections 1, 3).

Numbers are Python fractions. Points are chosen so that every number is rational: overlaps with rational norms, a rational rotation as dictionary, and W_Q a rational matrix times log 2 such that logit
gaps are whole multiples of log 2, so that softmax weights are powers of 2. The one irrational number left is the
slope of the loss, kept as a formal atom sigmoid(z) at a rational z: a gradient is a linear form in such atoms.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from random import Random

import numpy as np
import sympy as sp

from polyseme.theory.calculus.functions import HalfLogOdds, Sigmoid, SignSum
from polyseme.theory.multi_concept.derivation.derive import Recursion
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.prompts.law import exact_count_probability

# n_a, n_b (overlap 7/25) and n_c, n_d (overlap 119/169), all different.
WORD_NORMS, LABEL_NORMS = (Fraction(4, 5), Fraction(3, 5)), (Fraction(12, 13), Fraction(5, 13))

LinearForm = dict[Fraction, np.ndarray]  # {z: coefficient of sigmoid(z)}


@dataclass(frozen=True, kw_only=True)
class ExactPoint:
    """A regime and a state in fractions. `words`, `labels` are orthonormal frames (rows a^_k, b^_k; c^_k, d^_k, ...)."""

    K1: int
    L: int
    law: str
    concept_weights: tuple[Fraction, ...]
    words: np.ndarray
    labels: np.ndarray
    W_Q_over_log2: np.ndarray
    W_K: np.ndarray
    W_O: np.ndarray
    r: np.ndarray


def random_fraction(random: Random) -> Fraction:
    """A small non-zero fraction; ties with the kinks of ReLU have probability zero in the limit and are rare here."""
    return Fraction(random.choice([-1, 1]) * random.randint(1, 12), random.randint(5, 13))


def rational_rotation(size: int, random: Random) -> np.ndarray:
    """A rational orthogonal matrix, (I - S)(I + S)^-1 of a random skew-symmetric S; exact."""
    upper = sp.Matrix(size, size, lambda row, column: sp.Rational(random.randint(-3, 3), 4) if row < column else 0)
    skew = upper - upper.T
    rotation = (sp.eye(size) - skew) * (sp.eye(size) + skew).inv()
    return np.array([[Fraction(int(x.p), int(x.q)) for x in rotation.row(row)] for row in range(size)], dtype=object)


def random_point(*, K1: int, L: int, m: int, law: str, seed: int) -> ExactPoint:
    """A random exact point of level B: every coefficient on, uneven concept weights, one spare direction on each side."""
    random = Random(seed)
    n_a, n_b = WORD_NORMS
    words, labels = rational_rotation(2 * K1 + 1, random), rational_rotation(2 * K1 + 1, random)
    W_Q, W_K = (np.full((2 * K1 + 1, 2 * K1 + 1), Fraction(0), dtype=object) for _ in range(2))
    W_Q[-1, -1], W_K[-1, -1] = random_fraction(random), random_fraction(random)
    for k in range(K1):
        a, b = 2 * k, 2 * k + 1
        key, query = (np.array([[random_fraction(random) for _ in "ab"] for _ in "ab"], dtype=object) for _ in range(2))
        # Choose W_Q^{ba}, W_Q^{bb} so that the logit gap 2 g / log 2 is a whole number for both signs of the query.
        gap_a, gap_b = random.choice([-2, -1, 1, 2]), random.choice([-1, 1, 2])
        query[1, 0] = (Fraction(gap_a, 1) / (2 * n_a * n_b) - key[0, 1] * query[0, 0]) / key[1, 1]
        query[1, 1] = (Fraction(gap_b, 1) / (2 * n_b * n_b) - key[0, 1] * query[0, 1]) / key[1, 1]
        W_Q[a : b + 1, a : b + 1], W_K[a : b + 1, a : b + 1] = query, key
    shares = [random.randint(1, 5) for _ in range(K1)]
    W_O = np.array([[random_fraction(random) for _ in range(2 * K1 + 1)] for _ in range(m)], dtype=object)
    return ExactPoint(
        K1=K1,
        L=L,
        law=law,
        concept_weights=tuple(Fraction(share, sum(shares)) for share in shares),
        words=words,
        labels=labels,
        W_Q_over_log2=words.T @ W_Q @ words,
        W_K=words.T @ W_K @ words,
        W_O=W_O @ labels,
        r=np.array([Fraction((-1) ** neuron, m) for neuron in range(m)], dtype=object),
    )


def dense_gradient(point: ExactPoint) -> dict[str, LinearForm]:
    """Exact population gradient of l(e f) in full W_Q, W_K / log 2, W_O: a loop over (k, e) and all 2^L sign sequences."""
    gradient: dict[str, LinearForm] = {"W_Q": {}, "W_K": {}, "W_O": {}}
    for concept, e in product(range(point.K1), (1, -1)):
        # The law in its own words: all sign sequences are equally likely, but for those without a match under `match`.
        sequences = [signs for signs in product((1, -1), repeat=point.L) if point.law == "iid" or e in signs]
        probability = point.concept_weights[concept] / 2 / len(sequences)
        for signs in sequences:
            z, parts = _one_prompt(point, concept, e, signs)
            for name, part in parts.items():
                gradient[name][z] = gradient[name].get(z, 0 * part) + probability * part
    return gradient


def _one_prompt(
    point: ExactPoint, concept: int, e: int, signs: tuple[int, ...]
) -> tuple[Fraction, dict[str, np.ndarray]]:
    """The atom z = -e f and the gradient divided by sigmoid(z), from the definitions of sections 1 and 3."""
    (n_a, n_b), (n_c, n_d) = WORD_NORMS, LABEL_NORMS
    a, b = point.words[2 * concept], point.words[2 * concept + 1]
    c, d = point.labels[2 * concept], point.labels[2 * concept + 1]
    x = [n_a * a + sign * n_b * b for sign in signs]
    y = [n_c * c + sign * n_d * d for sign in signs]
    x_query = n_a * a + e * n_b * b
    logits = [(point.W_K @ word) @ (point.W_Q_over_log2 @ x_query) for word in x]  # in units of log 2
    powers = [Fraction(2) ** _whole(logit - logits[0]) for logit in logits]
    p = [power / sum(powers) for power in powers]
    v = sum(weight * label for weight, label in zip(p, y, strict=True))
    h = point.W_O @ v
    f = sum(r * max(pre, Fraction(0)) for r, pre in zip(point.r, h, strict=True))
    gamma = np.array([-e * r * (pre > 0) for r, pre in zip(point.r, h, strict=True)], dtype=object)
    slopes = [weight * ((label - v) @ (point.W_O.T @ gamma)) for weight, label in zip(p, y, strict=True)]
    pull = sum(slope * word for slope, word in zip(slopes, x, strict=True))
    return Fraction(-e * f), {
        "W_Q": point.W_K @ np.outer(pull, x_query),
        "W_K": point.W_Q_over_log2 @ np.outer(x_query, pull),
        "W_O": np.outer(gamma, v),
    }


def _whole(number: Fraction) -> int:
    if number.denominator != 1:
        raise ValueError(f"logit gap {number} log 2 is not a whole multiple of log 2; choose another point")
    return int(number)


def dense_coefficients(point: ExactPoint) -> dict[sp.Indexed, sp.Expr]:
    """The dense gradient projected on the level-B coefficients, as exact SymPy expressions, indices from 1."""
    gradient = dense_gradient(point)
    projected: dict[sp.Indexed, sp.Expr] = {}
    for name, family, unit in (("W_Q", fw.W_Q, sp.S.One), ("W_K", fw.W_K, sp.log(2))):
        for concept, (s, t) in product(range(point.K1), product((0, 1), repeat=2)):
            left, right = point.words[2 * concept + s], point.words[2 * concept + t]
            form = {z: left @ matrix @ right for z, matrix in gradient[name].items()}
            projected[family["ab"[s] + "ab"[t]][concept + 1]] = unit * _expression(form)
    for (position, base), concept in product(enumerate((fw.alpha, fw.beta)), range(point.K1)):
        direction = point.labels[2 * concept + position]
        for neuron in range(len(point.r)):
            form = {z: matrix[neuron] @ direction for z, matrix in gradient["W_O"].items()}
            projected[base[neuron + 1, concept + 1]] = _expression(form)
    return projected


def _rational(number: Fraction) -> sp.Rational:
    return sp.Rational(number.numerator, number.denominator)


def _expression(form: dict[Fraction, Fraction]) -> sp.Expr:
    return sp.Add(*(_rational(Fraction(weight)) * Sigmoid(_rational(z)) for z, weight in form.items()))


def derived_coefficients(recursion: Recursion, point: ExactPoint) -> dict[sp.Indexed, sp.Expr]:
    """The derived gradient at the same point: the SymPy object, evaluated in exact numbers."""
    m = len(point.r)
    evaluation = _ExactEvaluation(_substitution(point), {fw.m: m, fw.L: point.L, fw.K1: point.K1})
    derived: dict[sp.Indexed, sp.Expr] = {}
    for coefficient, expression in recursion.gradient.items():
        ranges = [range(1, (m if index == fw.i else point.K1) + 1) for index in coefficient.indices]
        for where in product(*ranges):
            at = dict(zip(coefficient.indices, map(sp.Integer, where), strict=True))
            derived[coefficient.xreplace(at)] = sp.expand(evaluation(expression, at))
    return derived


class _ExactEvaluation:
    """Evaluates indexed expressions node by node: sums as loops, tanh as a fraction, sigmoid at a rational kept formal.

    A node is evaluated once for each value of the index letters that it contains.
    """

    def __init__(self, values: dict[sp.Expr, sp.Expr], sizes: dict[sp.Symbol, int]) -> None:
        self.values = values | {size: sp.Integer(value) for size, value in sizes.items()}
        self.known: dict[tuple, sp.Expr] = {}
        self.free: dict[sp.Expr, frozenset[sp.Basic]] = {}  # SymPy computes free symbols anew at each call

    def __call__(self, node: sp.Expr, letters: dict[sp.Symbol, sp.Integer]) -> sp.Expr:
        """The exact value of `node` where the index letters have the given values."""
        if not node.args:
            return letters[node] if node in letters else self.values.get(node, node)
        if node not in self.free:
            self.free[node] = frozenset(node.free_symbols)
        inside = {letter: value for letter, value in letters.items() if letter in self.free[node]}
        key = (node, *sorted(inside.items(), key=str))
        if key not in self.known:
            self.known[key] = self._compute(node, inside)
        return self.known[key]

    def _compute(self, node: sp.Expr, letters: dict[sp.Symbol, sp.Integer]) -> sp.Expr:
        if isinstance(node, sp.Indexed):
            return self.values[node.xreplace(letters)]
        if isinstance(node, sp.Sum):
            body, (letter, first, last) = node.args
            steps = range(int(self(first, letters)), int(self(last, letters)) + 1)
            return sp.Add(*(self(body, letters | {letter: sp.Integer(step)}) for step in steps))
        if isinstance(node, SignSum):
            body, sign = node.args
            return sp.Add(*(self(body, letters | {sign: sp.Integer(value)}) for value in (1, -1)))
        arguments = [self(argument, letters) for argument in node.args]
        return _exact_tanh(*arguments) if isinstance(node, sp.tanh) else node.func(*arguments)


def _exact_tanh(argument: sp.Expr) -> sp.Expr:
    """tanh(q log 2 + (1/2) log(n / (L - n))) as a fraction; +-1 when one kind of demonstration is absent."""
    (odds,) = argument.atoms(HalfLogOdds)
    plus, total = odds.args
    if plus in (0, total):
        return sp.S.One if plus == total else sp.S.NegativeOne
    square = sp.exp(sp.expand(2 * (argument - odds))) * plus / (total - plus)
    if not square.is_Rational:
        raise ValueError(f"exp(2 g) = {square} is not rational at this point; choose another point")
    return (square - 1) / (square + 1)


def _substitution(point: ExactPoint) -> dict[sp.Expr, sp.Expr]:
    """Every coefficient, probability and norm of the point, keyed by its symbol."""
    values: dict[sp.Expr, sp.Expr] = dict(
        zip((fw.n_a, fw.n_b, fw.n_c, fw.n_d), map(_rational, WORD_NORMS + LABEL_NORMS), strict=True)
    )
    for concept in range(point.K1):
        frame = point.words[2 * concept : 2 * concept + 2]
        for family, matrix, unit in ((fw.W_Q, point.W_Q_over_log2, sp.log(2)), (fw.W_K, point.W_K, sp.S.One)):
            block = frame @ matrix @ frame.T
            for s, t in product((0, 1), repeat=2):
                values[family["ab"[s] + "ab"[t]][concept + 1]] = unit * _rational(block[s, t])
        for neuron, row in enumerate(point.W_O):
            values[fw.alpha[neuron + 1, concept + 1]] = _rational(row @ point.labels[2 * concept])
            values[fw.beta[neuron + 1, concept + 1]] = _rational(row @ point.labels[2 * concept + 1])
        for e, n_plus in product((1, -1), range(point.L + 1)):
            probability = point.concept_weights[concept] / 2 * exact_count_probability(point.L, point.law, e, n_plus)
            values[fw.P[concept + 1, e, n_plus]] = _rational(probability)
    values |= {fw.r[neuron + 1]: _rational(weight) for neuron, weight in enumerate(point.r)}
    return values
