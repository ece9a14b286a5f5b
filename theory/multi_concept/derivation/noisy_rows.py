"""The table of prompts of level N: pure prompts in counts, and those with few other concepts (docs/THEORY.md sections 1, 4).

A row is a concept, a label, a number of positive demonstrations, and the other concepts in its words: none, one, or two.
Without extras it is the law of level B. The law in p_extra is a polynomial; the table of order n has its terms up to
p_extra^n, and so sums to 1 at every order. Features nu are left out: no label carries them, and a logit changes only where
two words share one, which is of second order in p_extra and multiplies what no gradient reaches at first order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import comb
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.coefficients import constants
from polyseme.theory.multi_concept.regime import Regime

Order = Literal[0, 1, 2]
MOST_NOISE, MOST_EXTRAS = 0.2, 0.25
"""Up to where level N is a theory: the noise at which what it drops was measured, and the other concepts expected in a prompt."""
_SENSELESS = 1.0
"""Other concepts expected in a prompt from which on the first terms of the law say nothing, and probabilities are negative."""

_QUERY = 2
"""The kinds of words: demonstrations of sign + and - (0 and 1), and the query."""


class _Extra(NamedTuple):
    """A concept and a sign in a word of a kind."""

    kind: int
    concept: int
    sign: int


class _Row(NamedTuple):
    concept: int
    e: int
    positive: int
    weight: float
    extras: tuple[_Extra, ...]
    together: bool  # whether two extras are in one word


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The table by the names of `noisy.py`: N rows, J kinds of demonstration, D = D_y = 2 K1 directions."""

    p: Float[np.ndarray, " N"]
    e: Float[np.ndarray, " N"]
    n: Float[np.ndarray, "N J"]
    match: Float[np.ndarray, "N J"]
    x: Float[np.ndarray, "N J D"]
    y: Float[np.ndarray, "N J D"]
    x_query: Float[np.ndarray, "N D"]

    def arrays(self) -> dict[str, Float[np.ndarray, "..."]]:
        """The arrays with a member axis that all members share."""
        return {name: array[None] for name, array in vars(self).items()}


def expected_extras(regime: Regime) -> float:
    """How many other concepts a prompt has on average, (L + 1)(K1 - 1) p_extra."""
    return (regime.prompt.L + 1) * (regime.concepts.K1 - 1) * regime.prompt.p_extra


def prompt_rows(regime: Regime, *, order: Order = 1) -> Rows:
    """The table to an order in p_extra; PolysemeError if extras are not few."""
    concepts, prompt = regime.concepts, regime.prompt
    if (expected := expected_extras(regime)) > _SENSELESS:
        raise PolysemeError(
            f"level N is the theory of few extras, got (L + 1)(K1 - 1) p_extra = {expected:.3g} other concepts in a prompt, "
            f"expected at most {_SENSELESS:g}; type p_extra = {_SENSELESS * prompt.p_extra / expected:.2g} or less"
        )
    if prompt.p_extra == 0 or concepts.K1 == 1:
        order = 0
    rows = list(_rows(regime, order))
    return _table(rows, regime, special=order)


def _rows(regime: Regime, order: int) -> Iterator[_Row]:
    concepts, prompt = regime.concepts, regime.prompt
    share, slots = prompt.p_extra, (prompt.L + 1) * (concepts.K1 - 1)
    probability = np.asarray(constants(regime, np.ones(1))["p"])[0, ..., 0]
    for k, side, positive in np.argwhere(probability > 0):
        e, weight = 1 - 2 * int(side), float(probability[k, side, positive])
        of_kind = (int(positive), prompt.L - int(positive), 1)
        own = {"concept": int(k), "e": e, "positive": int(positive)}
        yield _Row(**own, weight=weight * _truncated(share, slots, order), extras=(), together=False)
        singles = list(_singles(regime, int(k), of_kind)) if order else []
        for extra, ways in singles:
            factor = share * _truncated(share, slots - 1, order - 1)
            yield _Row(**own, weight=weight * ways * factor, extras=(extra,), together=False)
        for (one, ways), (other, _) in product(singles, singles) if order == 2 else ():
            of_sign = _of_sign(regime, other.sign)
            # Ordered pairs of places, each counted twice: in two words, or two concepts in one.
            apart = of_kind[other.kind] - (one.kind == other.kind)
            for together, places in (
                (False, apart),
                (True, int(one.kind == other.kind and one.concept != other.concept)),
            ):
                if places > 0:
                    factor = share**2 / 2 * ways * places * of_sign
                    yield _Row(**own, weight=weight * factor, extras=(one, other), together=together)


def _truncated(share: float, slots: int, order: int) -> float:
    """(1 - share)^slots up to share^order: the chance of no extra in the other slots."""
    return sum(comb(slots, j) * (-share) ** j for j in range(order + 1))


def _singles(regime: Regime, k: int, of_kind: tuple[int, int, int]) -> Iterator[tuple[_Extra, float]]:
    """Each extra with the number of words that may carry it, times the probability of its sign."""
    others = (j for j in range(regime.concepts.K1) if j != k)
    for concept, kind, sign in product(others, range(3), (1, -1)):
        if of_kind[kind]:
            yield _Extra(kind, concept, sign), of_kind[kind] * _of_sign(regime, sign)


def _of_sign(regime: Regime, sign: int) -> float:
    return regime.prompt.p_plus if sign > 0 else 1 - regime.prompt.p_plus


def _table(rows: list[_Row], regime: Regime, *, special: int) -> Rows:
    """Kinds: the plain demonstrations of sign + and -, then one for each that carries something else."""
    K1, L = regime.concepts.K1, regime.prompt.L
    numbers = constants(regime, np.ones(1))
    norms = {"x": (numbers["n_a"], numbers["n_b"]), "y": (numbers["n_c"], numbers["n_d"])}

    def vector(side: str, concept: int, sign: int) -> np.ndarray:
        both = np.zeros(2 * K1)
        both[2 * concept : 2 * concept + 2] = np.array([norms[side][0], sign * norms[side][1]])
        return both

    shape = (len(rows), 2 + special)
    n, match = np.zeros(shape), np.zeros(shape)
    x, y, query = np.zeros((*shape, 2 * K1)), np.zeros((*shape, 2 * K1)), np.zeros((len(rows), 2 * K1))
    for at, row in enumerate(rows):
        query[at] = vector("x", row.concept, row.e)
        n[at, :2] = row.positive, L - row.positive
        for kind, sign in enumerate((1, -1)):
            x[at, kind], y[at, kind] = vector("x", row.concept, sign), vector("y", row.concept, sign)
            match[at, kind] = sign == row.e
        # A kind that does not occur looks like one that does, so that its softmax weight stays a number.
        present = 0 if row.positive else 1
        x[at, 2:], y[at, 2:] = x[at, present], y[at, present]
        place = 2
        for number, extra in enumerate(row.extras):
            if extra.kind == _QUERY:
                query[at] += vector("x", extra.concept, extra.sign)
                continue
            if not (row.together and number):
                n[at, extra.kind] -= 1
                n[at, place], match[at, place] = 1, match[at, extra.kind]
                x[at, place], y[at, place] = x[at, extra.kind], y[at, extra.kind]
                place += 1
            x[at, place - 1] += vector("x", extra.concept, extra.sign)
            y[at, place - 1] += vector("y", extra.concept, extra.sign)
        for kind in (0, 1):
            if n[at, kind] == 0:
                there = int(np.argmax(n[at] > 0))
                x[at, kind], y[at, kind] = x[at, there], y[at, there]
    return Rows(
        p=np.array([row.weight for row in rows]),
        e=np.array([float(row.e) for row in rows]),
        n=n,
        match=match,
        x=x,
        y=y,
        x_query=query,
    )
