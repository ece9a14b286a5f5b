"""Every noise-free prompt up to the order of its demonstrations, with its exact probability (section 1)."""

import dataclasses
import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from polyseme.sim.multi_concept.plan import check_enumerable
from polyseme.sim.multi_concept.prompts.draws import Draws
from polyseme.sim.multi_concept.prompts.tensors import Block, Dictionaries, Prompts
from polyseme.theory.multi_concept.regime import Regime


def enumerate_prompts(regime: Regime, dictionaries: Dictionaries) -> Prompts:
    """Every prompt up to the order of its demonstrations, and its exact probability (sections 1, 3).

    A pure prompt is (k, e, n+). With p_extra > 0, the query also has one of the X sets of extra features, and
    so has each demonstration: a multiset of n+ sets goes with the words of sign +1, which come first, and one
    of L - n+ sets with the others; the model does not see their order. `match` leaves out those without a
    match and divides by 1 - (1 - q)^L. Axes (1, prompts) as in `Prompts`; probabilities sum to 1. Raises
    PolysemeError if there is noise, or if there are too many prompts (`polyseme.sim.multi_concept.plan.check_enumerable`).
    """
    check_enumerable(regime)
    prompt, concepts = regime.prompt, regime.concepts
    extras = [_extra_sets(regime, k) for k in range(concepts.K1)]
    of_set = extras[0].probability  # the same for every concept
    arrangements = [_arrangements(of_set, n, prompt.L - n) for n in range(prompt.L + 1)]
    parts = [
        _Part(
            concept=k,
            e=e,
            positive=n,
            extra=extras[k].features[arrangements[n].sets],
            probability=pi * probability * arrangements[n].probability,
        )
        for k, pi in enumerate(concepts.probabilities)
        for (e, n), probability in count_probabilities(regime).items()
    ]
    sizes = [len(part.probability) for part in parts]
    positive = np.repeat([part.positive for part in parts], sizes)
    signs = np.where(np.arange(prompt.L) < positive[:, None], 1, -1)
    block = Block(
        Draws(
            concept=torch.from_numpy(np.repeat([part.concept for part in parts], sizes))[None, None],
            e=torch.from_numpy(np.repeat([part.e for part in parts], sizes))[None, None],
            signs=torch.from_numpy(signs)[None, None],
            extra=torch.from_numpy(np.concatenate([x.extra for x in parts]))[None, None]
            if prompt.p_extra > 0
            else None,
            word_noise=None,
            label_noise=None,
        ),
        dictionaries,
    )
    exact = torch.from_numpy(np.concatenate([part.probability for part in parts])[None]).to(dictionaries.words)
    return dataclasses.replace(block.step(0), probability=exact)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The prompts of one (k, e, n+)."""

    concept: int
    e: int
    positive: int
    extra: Bool[np.ndarray, "prompts words features"]
    probability: Float[np.ndarray, " prompts"]


@dataclass(frozen=True, kw_only=True)
class _ExtraSets:
    """All X sets of features that a word can carry besides its own, as columns of M."""

    features: Bool[np.ndarray, "X features"]
    probability: Float[np.ndarray, " X"]


@dataclass(frozen=True, kw_only=True)
class _Choices:
    """Ways to give n words a set of extra features each, which is named by its number."""

    sets: Int[np.ndarray, "choices n"]
    probability: Float[np.ndarray, " choices"]


def _extra_sets(regime: Regime, k: int) -> _ExtraSets:
    """Each other concept absent, + or -, each nu_r absent or present; the empty set alone if p_extra = 0."""
    concepts, present, plus = regime.concepts, regime.prompt.p_extra, regime.prompt.p_plus
    absent = (None, 1 - present)
    others = [j for j in range(concepts.K1) if j != k]
    choices = [[absent, (2 * j, present * plus), (2 * j + 1, present * (1 - plus))] for j in others]
    choices += [[absent, (2 * concepts.K1 + r, present)] for r in range(concepts.K2)]
    combinations = list(itertools.product(*(choices if present > 0 else [])))
    features = np.zeros((len(combinations), 2 * concepts.K1 + concepts.K2), dtype=bool)
    for row, combination in zip(features, combinations, strict=True):
        row[[column for column, _ in combination if column is not None]] = True
    probability = [math.prod((p for _, p in combination), start=1.0) for combination in combinations]
    return _ExtraSets(features=features, probability=np.array(probability))


def _arrangements(of_set: Float[np.ndarray, " X"], positive: int, negative: int) -> _Choices:
    """The extra sets of the L + 1 words: two multisets, for the signs + and -, and that of the query last."""
    first, second = _multisets(of_set, positive), _multisets(of_set, negative)
    sizes = (len(of_set), len(first.probability), len(second.probability))
    query, one, other = (grid.ravel() for grid in np.indices(sizes))
    return _Choices(
        sets=np.concatenate([first.sets[one], second.sets[other], query[:, None]], axis=1),
        probability=of_set[query] * first.probability[one] * second.probability[other],
    )


def _multisets(of_set: Float[np.ndarray, " X"], n: int) -> _Choices:
    """All multisets of n sets, with their multinomial probabilities n! prod_x p_x^c_x / c_x!."""
    if len(of_set) == 1:  # nothing to choose; pure prompts may be long
        return _Choices(sets=np.zeros((1, n), dtype=np.int64), probability=np.ones(1))
    chosen = list(itertools.combinations_with_replacement(range(len(of_set)), n))
    sets = np.array(chosen, dtype=np.int64).reshape(len(chosen), n)
    probability, run = np.ones(len(chosen)), np.zeros(len(chosen))
    for j in range(n):
        # Equal sets stand side by side, so the length of the run so far gives c_x! factor by factor.
        run = np.where(sets[:, j] == sets[:, j - 1], run + 1, 1.0) if j else np.ones(len(chosen))
        probability *= of_set[sets[:, j]] * ((j + 1) / run)
    return _Choices(sets=sets, probability=probability)


def count_probabilities(regime: Regime) -> dict[tuple[int, int], float]:
    """P(e) P(n+ | e) of every query sign e and number n+ of demonstrations of sign +1 that the law allows."""
    L, plus = regime.prompt.L, regime.prompt.p_plus
    # A float is a ratio of whole numbers. Divided last, those give a correctly rounded quotient for every L.
    of_plus, whole = plus.as_integer_ratio()
    of_minus = whole - of_plus
    weights = [of_minus**L]  # C(L, n) of_plus^n of_minus^(L-n), each from the one before
    for n in range(L):
        weights.append(weights[n] * ((L - n) * of_plus) // ((n + 1) * of_minus))
    found = {}
    for e, of_sign, without_match in ((1, plus, 0), (-1, 1 - plus, L)):
        excluded = without_match if regime.prompt.law == "match" else None
        total = whole**L - (weights[without_match] if excluded is not None else 0)
        found |= {(e, n): of_sign * (weight / total) for n, weight in enumerate(weights) if n != excluded}
    return found
