"""The prompt laws of section 1: exact where they are finite, by moments where they are not."""

import dataclasses
import itertools
import math
from collections import Counter
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from polyseme.errors import PolysemeError
from polyseme.sim.ensemble.streams import Purpose
from polyseme.sim.multi_concept.measurements.probe import sample_prompts
from polyseme.sim.multi_concept.prompts.draws import PromptStream
from polyseme.sim.multi_concept.prompts.enumeration import enumerate_prompts
from polyseme.sim.multi_concept.prompts.tensors import Dictionaries
from polyseme.sim.multi_concept.training.initial import draw_initial

# Each test makes at most some dozens of comparisons with a fixed seed. A standardised deviation of 5 has
# probability 6e-7, a p-value of 1e-6 the same: together under 1e-4 that a right sampler was given a bad seed.
SIGMAS = 5
SMALLEST_P = 1e-6


def drawn(regime, *, steps=1, members=range(1), batch, purpose=Purpose.SAMPLE) -> SimpleNamespace:
    """The next steps of a fresh stream, as arrays."""
    draws = PromptStream(regime, purpose=purpose, members=members, batch=batch).draw(steps)
    arrays = {field.name: getattr(draws, field.name) for field in dataclasses.fields(draws)}
    return SimpleNamespace(
        **{name: array.numpy() if isinstance(array, torch.Tensor) else array for name, array in arrays.items()}
    )


def enumerated(regime):
    dictionaries = Dictionaries.of(draw_initial(regime), device=torch.device("cpu"), dtype=torch.float64)
    return enumerate_prompts(regime, dictionaries)


def assert_frequency(hits, probability):
    """A frequency of independent hits within SIGMAS of its probability, by the binomial standard error."""
    hits = np.asarray(hits)
    error = math.sqrt(probability * (1 - probability) / hits.size)
    assert abs(hits.mean() - probability) <= SIGMAS * error


def sign_patterns(law, L, plus):
    """The law of section 1 in words: {(e, signs of the demonstrations): probability}, as fractions."""
    of_sign, found = {1: Fraction(plus), -1: 1 - Fraction(plus)}, {}
    for e in (1, -1):
        patterns = list(itertools.product((1, -1), repeat=L))
        weights = [math.prod(of_sign[s] for s in p) * (law == "iid" or e in p) for p in patterns]
        found |= {(e, p): of_sign[e] * w / sum(weights) for p, w in zip(patterns, weights, strict=True) if w}
    return found


@pytest.mark.parametrize("law", ["match", "iid"])
@pytest.mark.parametrize(("seed", "plus"), [(0, 0.5), (1, 0.5), (2, 0.5), (3, 0.5), (2, 0.3), (3, 0.9)])
def test_enumeration_is_all_sign_patterns_gathered(seed, plus, law, random_regime):
    regime = random_regime(seed, prompt={"law": law, "p_plus": plus})
    K1, L = regime.concepts.K1, regime.prompt.L
    expected = {}
    for k, ((e, signs), weight) in itertools.product(range(K1), sign_patterns(law, L, plus).items()):
        key = (k, e, signs.count(1))
        expected[key] = expected.get(key, 0) + Fraction(regime.concepts.probabilities[k]) * weight
    prompts = enumerated(regime)
    got = {}
    for b in range(prompts.e.shape[1]):
        n = int((prompts.signs[0, b] > 0).sum())
        got[int(prompts.concept[0, b]), int(prompts.e[0, b]), n] = float(prompts.probability[0, b])
    assert len(got) == prompts.e.shape[1]  # no outcome twice
    assert got.keys() == expected.keys()
    for key, probability in got.items():
        assert probability == pytest.approx(float(expected[key]), rel=1e-15)  # three roundings, of 1e-16 each


def test_enumerated_vectors_are_the_dictionary_columns(random_regime):
    regime = random_regime(5)
    state, prompts = draw_initial(regime), enumerated(regime)
    for b in range(prompts.e.shape[1]):
        k, e = int(prompts.concept[0, b]), int(prompts.e[0, b])
        np.testing.assert_array_equal(prompts.x_query[0, b], state["M"][:, 2 * k + (e < 0)])
        for j, sign in enumerate(prompts.signs[0, b]):
            np.testing.assert_array_equal(prompts.x[0, b, j], state["M"][:, 2 * k + int(sign < 0)])
            np.testing.assert_array_equal(prompts.y[0, b, j], state["Q"][:, 2 * k + int(sign < 0)])


@pytest.mark.parametrize("plus", [0.5, 0.3, 1e-3])
@pytest.mark.parametrize("law", ["match", "iid"])
def test_enumeration_is_stable_for_long_prompts(law, plus, random_regime):
    regime = random_regime(1, prompt={"law": law, "L": 1100, "p_plus": plus}, concepts={"K1": 1, "weights": [1.0]})
    prompts = enumerated(regime)
    assert prompts.probability.sum().item() == pytest.approx(1, abs=1e-12)
    if law == "iid":
        positive = (prompts.signs[0] > 0).sum(-1).double()
        mean = (prompts.probability[0] * positive).sum().item()
        assert mean == pytest.approx(1100 * plus, rel=1e-12)


def test_a_sign_that_nearly_never_occurs_is_drawn_and_enumerated_without_a_warning(random_regime):
    for plus in (1e-300, 1 - 2**-53):
        regime = random_regime(1, prompt={"p_plus": plus, "L": 3})
        draws = drawn(regime, batch=100)
        common = 1 if plus > 0.5 else -1
        assert (draws.e == common).all()
        assert (draws.signs == common).all()
        assert enumerated(regime).probability.sum().item() == pytest.approx(1, abs=1e-15)


def test_enumeration_refuses_prompts_that_are_not_pure(random_regime):
    with pytest.raises(PolysemeError, match=r"sigma_y = 0\.1; type 0"):
        enumerated(random_regime(0, prompt={"sigma_y": 0.1}))


@pytest.mark.parametrize("L", [1, 2, 4])
def test_match_law_is_rejection(L, random_regime):
    count = 40_000
    regime = random_regime(2, prompt={"law": "match", "L": L})
    draws = drawn(regime, batch=count)
    agreement = (draws.signs * draws.e[..., None])[0, 0] > 0
    assert agreement.any(axis=1).all()
    code = agreement @ (1 << np.arange(L))
    # The control: draw fair signs and throw away prompts without a match.
    fair = np.random.default_rng(L).integers(0, 2, size=(4 * count, L)).astype(bool)
    kept = fair[fair.any(axis=1)] @ (1 << np.arange(L))
    table = np.stack([np.bincount(codes, minlength=2**L)[1:] for codes in (code, kept)])
    if L == 1:
        assert (table > 0).all()  # a single pattern: always a match
        return
    assert stats.chi2_contingency(table).pvalue > SMALLEST_P
    assert stats.chisquare(table[0]).pvalue > SMALLEST_P  # given a match, all 2^L - 1 patterns are equally likely


@pytest.mark.parametrize("law", ["match", "iid"])
@pytest.mark.parametrize("plus", [0.5, 0.3, 0.85])
@pytest.mark.parametrize("L", [1, 2, 4])
def test_signs_follow_their_exact_law(L, plus, law, random_regime):
    count = 40_000
    regime = random_regime(2, prompt={"law": law, "L": L, "p_plus": plus})
    draws = drawn(regime, batch=count)
    exact = sign_patterns(law, L, plus)
    seen = Counter(zip(draws.e[0, 0].tolist(), map(tuple, draws.signs[0, 0].tolist()), strict=True))
    assert seen.keys() <= exact.keys()
    expected = np.array([count * float(weight) for weight in exact.values()])
    assert expected.min() > 1  # chi-square is accurate when few cells expect below 5 and none below 1
    assert stats.chisquare([seen[key] for key in exact], expected).pvalue > SMALLEST_P


def test_signs_are_symmetric_and_independent_of_the_query_sign_under_iid(random_regime):
    regime = random_regime(2, prompt={"law": "iid", "L": 3})
    draws = drawn(regime, batch=40_000)
    code = (np.concatenate([draws.signs, draws.e[..., None]], axis=-1)[0, 0] > 0) @ (1 << np.arange(4))
    assert stats.chisquare(np.bincount(code, minlength=16)).pvalue > SMALLEST_P


def test_concepts_have_their_weights_and_weight_zero_never_occurs(random_regime):
    weights = [0.0, 0.6, 0.4, 0.0]
    regime = random_regime(0, concepts={"K1": 4, "d_x": 12, "d_y": 9, "weights": weights})
    draws = drawn(regime, batch=20_000)
    assert set(np.unique(draws.concept)) == {1, 2}
    assert_frequency(draws.concept == 1, 0.6)
    assert_frequency(draws.e > 0, 0.5)


@pytest.mark.parametrize("plus", [0.5, 0.2])
def test_extra_features_follow_p_extra_and_labels_carry_the_same_concepts(plus, random_regime):
    p, count = 0.3, 4000
    sizes = {"K1": 3, "K2": 2, "d_x": 9, "d_y": 7, "weights": [0.2, 0.3, 0.5]}
    regime = random_regime(1, concepts=sizes, prompt={"p_extra": p, "L": 3, "p_plus": plus})
    state = draw_initial(regime)
    sample = sample_prompts(regime, state, count=count)
    read = lambda vectors, matrix: vectors @ np.linalg.pinv(matrix).T  # noqa: E731  (coefficients of x = M z)
    words = read(np.concatenate([sample["x"], sample["x_query"][:, None]], axis=1), state["M"])
    labels = read(sample["y"], state["Q"])
    z = np.rint(words)
    # Without noise every word is a sum of features: coefficients 0 or 1 up to the condition of M (about 5).
    np.testing.assert_allclose(words, z, atol=1e-12)
    assert set(np.unique(z)) == {0.0, 1.0}
    np.testing.assert_allclose(labels, z[:, :3, :6], atol=1e-12)
    signs = np.concatenate([sample["signs"], sample["e"][:, None]], axis=1)
    pairs = z[..., :6].reshape(count, 4, 3, 2)
    assert (pairs.sum(-1) <= 1).all()  # never both features of a concept
    rows, own = np.arange(count), sample["concept"]
    np.testing.assert_array_equal(pairs[rows, :, own, 0], signs > 0)
    np.testing.assert_array_equal(pairs[rows, :, own, 1], signs < 0)
    for word in range(4):  # the query, word 3, has extras of its own
        for shift in (1, 2):
            other = pairs[rows, word, (own + shift) % 3]
            assert_frequency(other[:, 0], p * plus)
            assert_frequency(other[:, 1], p * (1 - plus))
        for feature in (6, 7):
            assert_frequency(z[:, word, feature], p)
    # Words are independent: the event in the query and in a demonstration.
    assert_frequency(z[:, 0, 6] * z[:, 3, 6], p * p)
    assert_frequency(z[:, 0, 6] * z[:, 0, 7], p * p)


def test_p_extra_of_one_puts_every_other_concept_into_every_word(random_regime):
    sizes = {"K1": 2, "K2": 1, "d_x": 5, "d_y": 4, "weights": [0.5, 0.5]}
    regime = random_regime(1, concepts=sizes, prompt={"p_extra": 1.0, "L": 2})
    draws = drawn(regime, steps=3, members=range(2), batch=50)
    assert draws.extra is not None
    assert (draws.extra.sum(-1) == 2).all()  # the one other concept, once, and nu_1


def test_noise_is_gaussian_with_its_standard_deviation(random_regime):
    sigma_x, sigma_y, count = 0.3, 0.7, 3000
    noisy = random_regime(6, prompt={"sigma_x": sigma_x, "sigma_y": sigma_y, "L": 2})
    pure = noisy.replace(prompt={"sigma_x": 0.0, "sigma_y": 0.0})
    state = draw_initial(noisy)
    with_noise, without = sample_prompts(noisy, state, count=count), sample_prompts(pure, state, count=count)
    # The same concepts and signs, because noise has a stream of its own.
    for name in ("concept", "e", "signs"):
        np.testing.assert_array_equal(with_noise[name], without[name])
    for name, sigma in {"x": sigma_x, "x_query": sigma_x, "y": sigma_y}.items():
        noise = (with_noise[name] - without[name]) / sigma
        assert stats.kstest(noise.ravel(), "norm").pvalue > SMALLEST_P
        flat = noise.reshape(count, -1)
        # The mean of products of independent standard normals has standard error 1/sqrt(count), of squares sqrt(2/count).
        covariance = flat.T @ flat / count
        error = np.sqrt((1 + np.eye(len(covariance))) / count)
        assert (np.abs(covariance - np.eye(len(covariance))) <= SIGMAS * error).all()


def test_sigma_x_alone_leaves_labels_exact_and_sigma_y_alone_words(random_regime):
    for noisy, exact, matrix in (("sigma_x", "y", "Q"), ("sigma_y", "x", "M")):
        regime = random_regime(4, prompt={noisy: 0.5})
        state = draw_initial(regime)
        sample = sample_prompts(regime, state, count=20)
        column = 2 * sample["concept"][:, None] + (sample["signs"] < 0)
        np.testing.assert_array_equal(sample[exact], state[matrix].T[column])


def test_drawing_ahead_changes_no_bit_and_a_member_does_not_depend_on_the_others(random_regime):
    regime = random_regime(3, prompt={"p_extra": 0.2, "sigma_x": 0.1, "sigma_y": 0.1})
    stream = lambda members: PromptStream(regime, purpose=Purpose.DATA, members=members, batch=5)  # noqa: E731
    at_once, alone, piecewise = stream(range(4)).draw(9), stream(range(2, 3)).draw(9), stream(range(4))
    pieces = [piecewise.draw(n) for n in (1, 5, 3)]
    for name in ("concept", "e", "signs", "extra", "word_noise", "label_noise"):
        whole = getattr(at_once, name)
        np.testing.assert_array_equal(whole, np.concatenate([getattr(piece, name) for piece in pieces]))
        np.testing.assert_array_equal(whole[:, 2:3], getattr(alone, name))
    assert (at_once.word_noise[:, 0] != at_once.word_noise[:, 1]).all()


def test_purposes_and_offsets_have_streams_of_their_own(random_regime):
    regime = random_regime(3, prompt={"sigma_x": 0.1})
    draws = [drawn(regime, purpose=purpose, batch=4) for purpose in Purpose]
    assert len({draw.word_noise.tobytes() for draw in draws}) == len(Purpose)
    state = draw_initial(regime)
    samples = [sample_prompts(regime, state, count=4, seed_offset=offset)["x"] for offset in (0, 0, 1)]
    np.testing.assert_array_equal(samples[0], samples[1])
    assert (samples[0] != samples[2]).any()
