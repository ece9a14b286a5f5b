"""Scenarios: what each changes, what it leaves, and what is said to a name that there is not."""

import numpy as np
import pytest

from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.out_of_distribution.scenarios import NAMED, Law, scenario, training_law
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import Regime

REGIME = Regime().replace(concepts={"K1": 3, "K2": 1, "d_x": 9, "d_y": 8, "kappa_x": 0.3, "kappa_y": 0.1})


@pytest.fixture(scope="module")
def law():
    return training_law(REGIME, TrainingContext(REGIME).draw(REGIME))


def gram(features):
    return np.einsum("ksd,jtd->ksjt", features, features)


@pytest.mark.parametrize("one", NAMED, ids=lambda one: one.name)
def test_a_scenario_keeps_the_shapes_and_the_irrelevant_features(one, law):
    changed = one.change(law)
    assert changed.M.shape == law.M.shape and changed.Q.shape == law.Q.shape
    np.testing.assert_array_equal(changed.M[:, 6:], law.M[:, 6:])
    assert len(one.statement) > 10
    assert (one.name == "training") == all(
        np.array_equal(a, b) for a, b in ((changed.M, law.M), (changed.Q, law.Q))
    ) or one.name == "skewed"


def test_signs_and_concepts_are_exchanged_on_their_side_alone(law):
    words = scenario("word_signs").change(law)
    np.testing.assert_array_equal(words.words, law.words[:, ::-1])
    np.testing.assert_array_equal(words.Q, law.Q)
    assert words.answers == 1
    labels = scenario("label_signs").change(law)
    np.testing.assert_array_equal(labels.labels, law.labels[:, ::-1])
    assert labels.answers == -1 and scenario("lying").change(law).answers == 1
    both = scenario("word_concepts+label_concepts").change(law)
    np.testing.assert_array_equal(both.words, np.roll(law.words, 1, axis=0))
    np.testing.assert_array_equal(both.M, scenario("concepts").change(law).M)
    np.testing.assert_array_equal(both.Q, scenario("concepts").change(law).Q)


def test_a_skewed_law_doubles_each_weight(law):
    assert scenario("skewed").change(law).regime.concepts.probabilities == pytest.approx((1 / 7, 2 / 7, 4 / 7))


@pytest.mark.parametrize("name", ["cone", "signed_words", "signed_labels"])
def test_tasks_of_the_cone_are_as_long_as_concepts(name, law):
    mixed = scenario(name).change(law)
    a, b = (mixed.words[:, 0] + mixed.words[:, 1]) / 2, (mixed.words[:, 0] - mixed.words[:, 1]) / 2
    np.testing.assert_allclose((a**2).sum(-1), (1 + 0.3) / 2)
    np.testing.assert_allclose((b**2).sum(-1), (1 - 0.3) / 2)
    base = np.stack([(law.words[:, 0] + law.words[:, 1]) / 2, (law.words[:, 0] - law.words[:, 1]) / 2])
    parts = np.einsum("kd,sjd->skj", a, base), np.einsum("kd,sjd->skj", b, base)
    assert (parts[0][0] > 0).all() and np.abs(parts[0][1]).max() < 1e-12
    assert np.abs(parts[1][0]).max() < 1e-12
    assert (parts[1][1] > 0).all() == (name != "signed_words")


@pytest.mark.parametrize(("name", "side"), [("unseen_words", "words"), ("unseen_labels", "labels")])
def test_unseen_features_differ_along_a_new_direction_and_are_as_far_apart(name, side, law):
    new, old = getattr(scenario(name).change(law), side), getattr(law, side)
    features = law.M if side == "words" else law.Q
    odd = new[:, 0] - new[:, 1]
    assert np.abs(odd @ features).max() < 1e-12
    np.testing.assert_allclose((odd**2).sum(-1), ((old[:, 0] - old[:, 1]) ** 2).sum(-1))
    np.testing.assert_allclose(new.mean(axis=1), old.mean(axis=1))


def test_there_is_no_new_direction_in_a_full_space():
    full = REGIME.replace(concepts={"d_x": 7, "d_y": 6})
    crowded = training_law(full, TrainingContext(full).draw(full))
    for name in ("unseen_words", "unseen_labels"):
        with pytest.raises(PolysemeError, match="outside the features"):
            scenario(name).change(crowded)


def test_scenarios_follow_one_another(law):
    changed = scenario("length=64 + skewed+noise=0.3 +extra=0.2").change(law)
    prompt = changed.regime.prompt
    assert (prompt.L, prompt.sigma_x, prompt.sigma_y, prompt.p_extra) == (64, 0.3, 0.3, 0.2)
    assert changed.regime.concepts.weights is not None
    assert scenario("skewed+lying").keeps_the_skill is False


@pytest.mark.parametrize("name", ["nothing", "length=", "length=x", "length=1.5", "skewed+", "noise=a"])
def test_a_name_that_there_is_not_is_answered_with_one_sentence(name):
    with pytest.raises(PolysemeError, match="type"):
        scenario(name)


@pytest.mark.parametrize("name", ["length=0", "noise=-1", "extra=2", "noise=nan"])
def test_an_impossible_number_is_answered_as_in_a_regime_file(name, law):
    with pytest.raises(PolysemeError, match="accepted"):
        scenario(name).change(law)


def test_pure_prompts_of_training():
    noisy = REGIME.replace(prompt={"p_extra": 0.1, "sigma_x": 0.1})
    state = TrainingContext(noisy).draw(noisy)
    assert training_law(noisy, state, pure=True).regime.prompt.is_pure
    assert isinstance(training_law(noisy, state), Law)
