"""Closed forms of a trained model on other laws, beside the definitions of docs/THEORY.md section 1 written out."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.outcome.out_of_distribution import (
    Draws,
    Model,
    decay,
    outvoting_odds,
    predict,
    predict_noise,
    predict_prompts,
    reduced_model,
)
from polyseme.theory.multi_concept.prompts.law import prompt_probabilities
from polyseme.theory.multi_concept.regime import Regime


def law(L=3, K1=2, **prompt):
    return Regime().replace(
        concepts={"K1": K1, "K2": 0, "d_x": 2 * K1 + 2, "d_y": 2 * K1 + 1}, prompt={"L": L} | prompt, model={"m": 6}
    )


def random_model(rng, regime, members=2, activation="relu"):
    """Random dense weights in random frames: nothing of the structure of training."""
    d_x, d_y, m = regime.concepts.d_x, regime.concepts.d_y, regime.model.m
    words, labels = (np.linalg.qr(rng.standard_normal((d, d)))[0] for d in (d_x, d_y))
    return Model(
        words=words,
        labels=labels,
        W_Q=rng.standard_normal((members, d_x, d_x)),
        W_K=rng.standard_normal((members, d_x, d_x)) / 3,
        W_O=rng.standard_normal((members, m, d_y)),
        r=np.where(np.arange(m) % 2 == 0, 1.0, -1.0) / m,
        activation=activation,
    )


def features(rng, regime):
    K1 = regime.concepts.K1
    return rng.standard_normal((regime.concepts.d_x, 2 * K1)), rng.standard_normal((regime.concepts.d_y, 2 * K1))


def by_definition(model, member, x, y, x_query):
    """Section 1 with loops, on vectors in the space of the features."""
    W_Q, W_K = (model.words.T @ weights[member] @ model.words for weights in (model.W_Q, model.W_K))
    W_O = model.W_O[member] @ model.labels
    s = np.array([(W_K @ word) @ (W_Q @ x_query) for word in x])
    p = np.exp(s - s.max())
    p = p / p.sum()
    h = W_O @ sum(weight * label for weight, label in zip(p, y, strict=True))
    act = {"relu": np.maximum(h, 0), "leaky_relu": np.where(h > 0, h, 0.125 * h), "identity": h}[model.activation]
    return float(model.r @ act), p


def margin_at_odds(model, regime, M, Q, odds):
    """e f over what it is summed from, where so many others stand beside each match; any odds above 0."""
    sign = np.array([1.0, -1.0])
    gap = predict(model, law(L=2), M, Q).g * sign
    labels = (model.labels @ Q).T.reshape(regime.concepts.K1, 2, -1)
    right = np.einsum("eit,kst->eksi", model.W_O, labels)
    z = np.tanh(gap - 0.5 * np.log(odds))[..., None]
    h = (1 + z) / 2 * right + (1 - z) / 2 * right[:, :, ::-1]
    slope = {"relu": 0.0, "leaky_relu": 0.125, "identity": 1.0}[model.activation]
    return sign * (np.where(h > 0, h, slope * h) @ model.r) / (np.abs(h) @ np.abs(model.r))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "identity"])
def test_the_closed_form_is_the_model_on_every_prompt_written_out(activation):
    rng, regime = np.random.default_rng(1), law(L=4, law="iid")
    model = random_model(rng, regime, activation=activation)
    M, Q = features(rng, regime)
    said = predict(model, regime, M, Q)
    for member, k, j, signs in itertools.product(range(2), range(2), range(2), itertools.product((1, -1), repeat=4)):
        e, positive = 1 - 2 * j, sum(sign > 0 for sign in signs)
        x = [M[:, 2 * k + (sign < 0)] for sign in signs]
        y = [Q[:, 2 * k + (sign < 0)] for sign in signs]
        f, p = by_definition(model, member, x, y, M[:, 2 * k + j])
        # Sums of d_x^2 products in either order.
        assert said.f[member, k, j, positive] == pytest.approx(f, abs=1e-12)
        right = sum(weight for weight, sign in zip(p, signs, strict=True) if sign == e)
        assert said.attention[member, k, j, positive] == pytest.approx(right, abs=1e-12)


def test_errors_and_attention_are_expectations_under_the_law_of_the_test():
    rng, regime = np.random.default_rng(2), law(L=5, p_plus=0.3).replace(concepts={"weights": [0.8, 0.2]})
    model = random_model(rng, regime, members=1)
    said = predict(model, regime, *features(rng, regime))
    np.testing.assert_array_equal(said.probability, prompt_probabilities(regime))
    margins = said.f[0] * np.array([1.0, -1.0])[:, None]
    assert said.error()[0] == pytest.approx(said.probability[margins <= 0].sum())
    assert said.error(-1)[0] == pytest.approx(1 - said.error()[0])
    assert 0 < said.mean_attention()[0] < 1


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), activation=st.sampled_from(["relu", "leaky_relu", "identity"]))
def test_a_prompt_with_one_match_fails_first_at_the_odds(seed, activation):
    rng, regime = np.random.default_rng(seed), law(L=1)
    model = random_model(rng, regime, members=1, activation=activation)
    M, Q = features(rng, regime)
    odds = outvoting_odds(model, regime, M, Q)[0]
    for (k, j), value in np.ndenumerate(odds):
        e = 1 - 2 * j
        for mismatches in range(12):
            if abs(mismatches - value) < 1e-9 * max(value, 1):
                continue
            said = predict(model, law(L=mismatches + 1), M, Q).f[0, k, j, 1 if e > 0 else mismatches]
            if mismatches < value:
                assert e * said > 0
        if 0 < value < 1e12:
            # At exactly the odds, which need not be a whole number, the margin is zero; tanh(artanh z) loses digits near 1.
            assert abs(margin_at_odds(model, regime, M, Q, float(value))[0, k, j]) <= 1e-6


def test_margins_at_whole_odds_are_those_of_prompts():
    rng, regime = np.random.default_rng(6), law(L=4)
    model = random_model(rng, regime)
    M, Q = features(rng, regime)
    said, at = predict(model, regime, M, Q).f, margin_at_odds(model, regime, M, Q, 3.0)
    assert (np.sign(at[:, :, 0]) == np.sign(said[:, :, 0, 1])).all()
    assert (np.sign(at[:, :, 1]) == -np.sign(said[:, :, 1, 3])).all()


def test_where_every_gate_is_shut_the_odds_are_none():
    rng, regime = np.random.default_rng(7), law()
    model = random_model(rng, regime, members=1)
    M, Q = features(rng, regime)
    pairs = np.repeat(model.W_O[:, ::2], 2, axis=1)  # neurons that cancel in pairs: no output, and round-off of it
    silent = dataclasses.replace(model, W_O=pairs)
    assert (outvoting_odds(silent, regime, M, Q) == 0).all()
    assert (np.abs(margin_at_odds(silent, regime, M, Q, 2.0)) < 1e-12).all()


def test_given_prompts_are_read_as_by_definition():
    rng, regime = np.random.default_rng(3), law()
    model = random_model(rng, regime)
    x, y, x_query = (rng.standard_normal(shape) for shape in ((7, 3, 6), (7, 3, 5), (7, 6)))
    f, p = predict_prompts(model, x, y, x_query)
    for member, b in itertools.product(range(2), range(7)):
        expected, weights = by_definition(model, member, x[b], y[b], x_query[b])
        assert f[member, b] == pytest.approx(expected, abs=1e-12)
        np.testing.assert_allclose(p[member, b], weights, atol=1e-12)


def test_noise_seen_through_its_logits_and_its_sum_has_the_law_of_noise_written_out():
    rng, regime = np.random.default_rng(4), law(L=3, sigma_x=0.4, sigma_y=0.7)
    model, count = random_model(rng, regime, members=1), 20_000
    M, Q = features(rng, regime)
    task, e = rng.integers(2, size=count), rng.choice([1, -1], size=count)
    signs = rng.choice([1, -1], size=(count, 3))
    draws = Draws(
        task=task,
        e=e,
        signs=signs,
        query=rng.standard_normal((count, 6)),
        logits=rng.standard_normal((count, 3)),
        labels=rng.standard_normal((count, 5)),
    )
    margin, attention = predict_noise(model, regime, M, Q, draws)
    words, labels = M.T.reshape(2, 2, -1), Q.T.reshape(2, 2, -1)
    side = (1 - signs) // 2
    x = words[task[:, None], side] + 0.4 * rng.standard_normal((count, 3, 6))
    y = labels[task[:, None], side] + 0.7 * rng.standard_normal((count, 3, 5))
    f, p = predict_prompts(model, x, y, words[task, (1 - e) // 2] + 0.4 * rng.standard_normal((count, 6)))
    for one, other in ((margin[0], e * f[0]), (attention[0], (p[0] * (signs == e[:, None])).sum(-1))):
        for power in (1, 2):
            a, b = one**power, other**power
            error = np.sqrt((a.var() + b.var()) / count)
            assert abs(a.mean() - b.mean()) < 5 * error  # four such tests: a false alarm in 4e5


def test_without_noise_the_draws_of_noise_do_not_matter():
    rng, regime = np.random.default_rng(5), law(L=3)
    model = random_model(rng, regime, members=1)
    M, Q = features(rng, regime)
    said = predict(model, regime, M, Q)
    draws = Draws(
        task=np.array([1, 0]),
        e=np.array([1, -1]),
        signs=np.array([[1, -1, -1], [-1, -1, 1]]),
        query=rng.standard_normal((2, 6)),
        logits=rng.standard_normal((2, 3)),
        labels=rng.standard_normal((2, 5)),
    )
    margin, _ = predict_noise(model, regime, M, Q, draws)
    np.testing.assert_allclose(margin[0], [said.f[0, 1, 0, 1], -said.f[0, 0, 1, 1]], atol=1e-12)


def test_what_no_gradient_reaches_is_left_by_the_product_of_the_steps():
    regime = law().replace(training={"schedule": "constant", "eta": 0.5, "lam": 0.1})
    np.testing.assert_allclose(decay(regime, np.array([0, 1, 5])), 0.95 ** np.array([0, 1, 5]))


def test_a_trajectory_of_several_members_is_answered_with_one_sentence():
    trajectory = {"alpha": np.zeros((3, 2, 6, 2)), "step": np.array([0, 1])}
    with pytest.raises(PolysemeError, match="seeds = 1"):
        reduced_model(law(), {}, trajectory)
