"""Coefficients and products against their definitions, one entry at a time."""

import numpy as np
import pytest

from polyseme.sim.multi_concept.measurements import probe
from polyseme.sim.multi_concept.observe import frame, products, project
from polyseme.sim.multi_concept.training.initial import WEIGHTS, draw_initial
from polyseme.sim.multi_concept.training.train import simulate

# Sums of at most some hundreds of products of order 1.
ROUND_OFF = 1e-13


def literal_units(regime, state):
    units = {"a": [], "b": [], "c": [], "d": []}
    for k in range(regime.concepts.K1):
        for common, different, features in (("a", "b", state["M"]), ("c", "d", state["Q"])):
            plus, minus = features[:, 2 * k], features[:, 2 * k + 1]
            for name, vector in ((common, (plus + minus) / 2), (different, (plus - minus) / 2)):
                units[name].append(vector / np.linalg.norm(vector))
    return units


@pytest.mark.parametrize("seed", range(5))
def test_coefficients_are_the_inner_products_of_section_2(seed, random_regime, generic_state):
    regime = random_regime(seed)
    state = generic_state(regime, seed)
    units = literal_units(regime, state)
    got = project(state["M"], state["Q"], state)
    for k in range(regime.concepts.K1):
        pair = (units["a"][k], units["b"][k])
        for i, s in enumerate(pair):
            for j, t in enumerate(pair):
                assert got["W_Q_blocks"][k, i, j] == pytest.approx(s @ state["W_Q"] @ t, abs=ROUND_OFF)
                assert got["W_K_blocks"][k, i, j] == pytest.approx(s @ state["W_K"] @ t, abs=ROUND_OFF)
        np.testing.assert_allclose(got["alpha"][:, k], state["W_O"] @ units["c"][k], atol=ROUND_OFF)
        np.testing.assert_allclose(got["beta"][:, k], state["W_O"] @ units["d"][k], atol=ROUND_OFF)


def test_leading_axes_are_kept(random_regime, generic_state):
    regime = random_regime(1)
    state = generic_state(regime, 1)
    stacked = {name: np.stack([[state[name], 2 * state[name], -state[name]]]) for name in WEIGHTS}
    one, many = (project(state["M"], state["Q"], weights) for weights in (state, stacked))
    for name in one:
        np.testing.assert_allclose(many[name], np.stack([[one[name], 2 * one[name], -one[name]]]), atol=ROUND_OFF)


@pytest.mark.parametrize("seed", range(5))
def test_products_are_the_largest_of_their_kind(seed, random_regime, generic_state):
    regime = random_regime(seed)
    state = generic_state(regime, seed)
    units = literal_units(regime, state)
    basis = frame(state["M"], state["Q"])
    got = products(basis, state)
    K1, K2 = regime.concepts.K1, regime.concepts.K2
    G = state["W_K"].T @ state["W_Q"]
    inside = [("a", k) for k in range(K1)] + [("b", k) for k in range(K1)]
    value = {(s, t): abs(units[s[0]][s[1]] @ G @ units[t[0]][t[1]]) for s in inside for t in inside}
    specific = {(("b", k), ("b", k)) for k in range(K1)}
    assert got["attention_specific"] == pytest.approx(max(value[pair] for pair in specific))
    assert got["attention_complement"] == pytest.approx(max(v for pair, v in value.items() if pair not in specific))
    assert got["mlp_specific"] == pytest.approx(np.abs(state["W_O"] @ np.array(units["d"]).T).max())
    assert got["mlp_complement"] == pytest.approx(np.abs(state["W_O"] @ np.array(units["c"]).T).max())
    # The bases themselves: orthonormal, beginning with the concept vectors and nu.
    for matrix, names, features in ((basis.words, "ab", state["M"][:, 2 * K1 :]), (basis.labels, "cd", None)):
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(len(matrix)), atol=ROUND_OFF)
        for k in range(K1):
            np.testing.assert_allclose(matrix[:, 2 * k], units[names[0]][k], atol=ROUND_OFF)
            np.testing.assert_allclose(matrix[:, 2 * k + 1], units[names[1]][k], atol=ROUND_OFF)
        if features is not None:
            np.testing.assert_array_equal(matrix[:, 2 * K1 : 2 * K1 + K2], features)
    outside = [
        abs(s @ G @ t) for i, s in enumerate(basis.words.T) for j, t in enumerate(basis.words.T) if max(i, j) >= 2 * K1
    ]
    rest = np.abs(state["W_O"] @ basis.labels[:, 2 * K1 :])
    for name, values in (("attention_noise", outside), ("mlp_noise", rest)):
        if np.size(values):
            assert got[name] == pytest.approx(np.max(values))
        else:
            assert np.isnan(got[name])


def test_kinds_that_are_empty_are_nan(random_regime):
    sizes = {"K1": 2, "K2": 0, "d_x": 4, "d_y": 4, "weights": [0.5, 0.5]}
    regime = random_regime(0, concepts=sizes, training={"steps": 1})
    path = simulate(regime, draw_initial(regime))
    assert np.isnan(path["attention_noise"]).all()
    assert np.isnan(path["mlp_noise"]).all()


def test_minibatch_gradients_average_to_the_population_gradient(random_regime, generic_state):
    regime = random_regime(3)
    state = generic_state(regime, 3)
    batches = 4000
    sampled = probe.minibatch_gradients(regime, state, batches=batches, batch=3)
    exact = probe.population_gradient(regime, state)
    for name, value in project(state["M"], state["Q"], exact).items():
        assert sampled[name].shape == (batches, *value.shape)
        error = sampled[name].std(axis=0) / np.sqrt(batches)
        # 5 standard errors for some tens of numbers; entries without any spread agree to round-off.
        assert (np.abs(sampled[name].mean(axis=0) - value) <= 5 * error + ROUND_OFF).all()
    # Batches are independent: neighbours are uncorrelated, 5 standard errors of a correlation.
    beta = sampled["beta"].reshape(batches, -1)
    beta = beta[:, beta.std(axis=0) > 0]
    centred = (beta - beta.mean(axis=0)) / beta.std(axis=0)
    assert (np.abs((centred[1:] * centred[:-1]).mean(axis=0)) <= 5 / np.sqrt(batches)).all()


def test_a_minibatch_gradient_is_the_mean_of_prompt_gradients_and_pieces_change_nothing(
    random_regime, generic_state, monkeypatch
):
    noisy = {"p_extra": 0.2, "sigma_x": 0.1, "sigma_y": 0.1}
    regime = random_regime(4, prompt=noisy)
    state = generic_state(regime, 4)
    whole = probe.minibatch_gradients(regime, state, batches=7, batch=4, seed_offset=2)
    monkeypatch.setattr(probe, "MEMBERS_PER_CHUNK", 3)
    pieces = probe.minibatch_gradients(regime, state, batches=7, batch=4, seed_offset=2)
    for name in whole:
        np.testing.assert_allclose(whole[name], pieces[name], atol=ROUND_OFF)
    other = probe.minibatch_gradients(regime, state, batches=7, batch=4, seed_offset=3)
    assert (other["beta"] != whole["beta"]).any()


def test_versions_name_torch_device_and_threads():
    import torch

    found = probe.versions()
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert isinstance(found["device"], str)
