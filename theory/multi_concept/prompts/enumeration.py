"""All noise-free prompts of a law, up to the order of their demonstrations, with their probabilities (docs/THEORY.md section 1).

A word is named by its own sign, the signs of the other concepts in it (0 for absent) and the features nu in it. The
demonstrations are exchangeable: a multiset of words stands for all its orders. Components are on the unit directions
a_1, b_1, a_2, ..., nu_1, ... of words and c_1, d_1, ... of labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from math import comb, factorial, prod
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import Regime

# A step of level Z then takes seconds, and the tables some hundred MiB.
MOST_PROMPTS = 200_000


@dataclass(frozen=True, kw_only=True)
class PromptTable:
    """Numbered prompts: components of words (N, L, D), query (N, D), labels (N, L, 2 K1); label e, matches, probability."""

    x: Float[np.ndarray, "N L D"]
    x_query: Float[np.ndarray, "N D"]
    y: Float[np.ndarray, "N L D_y"]
    e: Float[np.ndarray, " N"]
    match: Float[np.ndarray, "N L"]
    p: Float[np.ndarray, " N"]

    def arrays(self) -> dict[str, Float[np.ndarray, "..."]]:
        """The arrays by the names of `span.py`, with a member axis that all members share."""
        return {name: array[None] for name, array in vars(self).items()}


class _Word(NamedTuple):
    own: int
    others: tuple[int, ...]  # sign of every concept but the prompt's own, 0 where it is absent
    features: tuple[int, ...]


def _words(own: int, K1: int, K2: int, *, extra: bool) -> list[_Word]:
    signs, present = ((0, 1, -1), (0, 1)) if extra else ((0,), (0,))
    return [
        _Word(own, others, features)
        for others in product(signs, repeat=K1 - 1)
        for features in product(present, repeat=K2)
    ]


def _chance(word: _Word, p_extra: float, p_plus: float) -> float:
    """Probability of the extras of a word."""
    other = {0: 1 - p_extra, 1: p_extra * p_plus, -1: p_extra * (1 - p_plus)}
    feature = {0: 1 - p_extra, 1: p_extra}
    return prod(other[sign] for sign in word.others) * prod(feature[there] for there in word.features)


def count_prompts(regime: Regime) -> int:
    """How many prompts the table has, at most."""
    concepts, prompt = regime.concepts, regime.prompt
    extras = 3 ** (concepts.K1 - 1) * 2**concepts.K2 if prompt.p_extra else 1
    return 2 * concepts.K1 * extras * comb(2 * extras + prompt.L - 1, prompt.L)


def enumerate_prompts(regime: Regime) -> PromptTable:
    """The table of a noise-free law; PolysemeError if there is noise or it would be too long."""
    concepts, prompt = regime.concepts, regime.prompt
    if not prompt.is_noise_free:
        raise PolysemeError(
            f"level Z is the theory of noise-free prompts, got [prompt] sigma_x = {prompt.sigma_x:g}, "
            f"sigma_y = {prompt.sigma_y:g}; type 0 for both"
        )
    if (count := count_prompts(regime)) > MOST_PROMPTS:
        raise PolysemeError(
            f"level Z lists every prompt: got {count:.3g} of them for K1 = {concepts.K1}, K2 = {concepts.K2}, L = {prompt.L}, "
            f"expected at most {MOST_PROMPTS}; type a smaller L in [prompt], K1 or K2"
        )
    return _table(list(_rows(regime)), regime)


def _rows(regime: Regime) -> Iterator[tuple[int, int, tuple[_Word, ...], _Word, float]]:
    """(concept, label, demonstrations, query, probability)."""
    K1, K2, prompt = regime.concepts.K1, regime.concepts.K2, regime.prompt
    plus, extra = prompt.p_plus, prompt.p_extra > 0
    of_sign = {1: plus, -1: 1 - plus}
    pool = [word for own in (1, -1) for word in _words(own, K1, K2, extra=extra)]
    chance = {word: of_sign[word.own] * _chance(word, prompt.p_extra, plus) for word in pool}
    for e in (1, -1):
        queries = _words(e, K1, K2, extra=extra)
        # 1 - P(no demonstration matches | e)
        conditioned = 1 - (1 - of_sign[e]) ** prompt.L if prompt.law == "match" else 1.0
        for demonstrations in combinations_with_replacement(pool, prompt.L):
            if prompt.law == "match" and all(word.own != e for word in demonstrations):
                continue
            orders = factorial(prompt.L) // prod(factorial(demonstrations.count(word)) for word in set(demonstrations))
            weight = orders * prod(chance[word] for word in demonstrations) / conditioned
            for query in queries:
                share = of_sign[e] * weight * _chance(query, prompt.p_extra, plus)
                for k, pi in enumerate(regime.concepts.probabilities):
                    yield k, e, demonstrations, query, pi * share


def _components(word: _Word, concept: int, regime: Regime) -> tuple[np.ndarray, np.ndarray]:
    """A word and its label on the unit directions."""
    concepts = regime.concepts
    signs = (*word.others[:concept], word.own, *word.others[concept:])
    present = np.abs(signs)
    norms = [np.sqrt((1 + pm * kappa) / 2) for kappa in (concepts.kappa_x, concepts.kappa_y) for pm in (1, -1)]
    on_words = np.stack([norms[0] * present, norms[1] * np.asarray(signs)], axis=-1).ravel()
    on_labels = np.stack([norms[2] * present, norms[3] * np.asarray(signs)], axis=-1).ravel()
    return np.concatenate([on_words, np.asarray(word.features, dtype=np.float64)]), on_labels


def _table(rows: list[tuple[int, int, tuple[_Word, ...], _Word, float]], regime: Regime) -> PromptTable:
    known: dict[tuple[_Word, int], tuple[np.ndarray, np.ndarray]] = {}
    for k, _, demonstrations, query, _ in rows:
        for word in (*demonstrations, query):
            if (word, k) not in known:
                known[word, k] = _components(word, k, regime)
    return PromptTable(
        x=np.array([[known[word, k][0] for word in demonstrations] for k, _, demonstrations, _, _ in rows]),
        x_query=np.array([known[query, k][0] for k, _, _, query, _ in rows]),
        y=np.array([[known[word, k][1] for word in demonstrations] for k, _, demonstrations, _, _ in rows]),
        e=np.array([float(e) for _, e, _, _, _ in rows]),
        match=np.array([[float(word.own == e) for word in demonstrations] for _, e, demonstrations, _, _ in rows]),
        p=np.array([share for *_, share in rows]),
    )
