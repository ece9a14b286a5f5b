"""The full model on prompts of other laws, beside its prompts written out by the evaluation of training."""

import numpy as np
import pytest

from polyseme.errors import PolysemeError
from polyseme.sim.multi_concept.measurements.out_of_distribution import (
    counted_outcomes,
    logit_gaps,
    outcomes_at,
    sampled_outcomes,
)
from polyseme.sim.multi_concept.measurements.probe import forward_pass, sample_prompts
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.multi_concept.regime import Regime

REGIME = Regime().replace(
    concepts={"K1": 2, "K2": 1, "d_x": 8, "d_y": 6, "weights": [0.7, 0.3]},
    prompt={"L": 5, "p_plus": 0.4},
    model={"m": 6, "sigma_0": 0.6, "sigma_1": 0.7},
    training={"steps": 0},
    ensemble={"seeds": 3, "device": "cpu"},
)


@pytest.fixture(scope="module")
def state():
    return draw_initial(REGIME)


def weights(state):
    return {name: state[name] for name in ("W_Q", "W_K", "W_O", "r")}


@pytest.mark.parametrize("law", ["match", "iid"])
def test_expectations_over_the_table_are_those_of_the_evaluation(law, state):
    regime = REGIME.replace(prompt={"law": law})
    run = simulate(regime, state)
    seen = counted_outcomes(regime, weights(state), state["M"], state["Q"])
    sign = np.array([1.0, -1.0])[:, None]
    error = ((sign * seen["f"] <= 0) * seen["probability"]).sum((1, 2, 3))
    np.testing.assert_allclose(error, run["error"][:, 0], atol=1e-14)
    np.testing.assert_allclose(
        (seen["attention"] * seen["probability"]).sum((1, 2, 3)), run["attention"][:, 0], atol=1e-14
    )
    assert seen["probability"].sum() == pytest.approx(1)


def test_prompts_written_out_in_parts_are_the_same(state, monkeypatch):
    whole = counted_outcomes(REGIME, weights(state), state["M"], state["Q"])
    monkeypatch.setattr("polyseme.sim.multi_concept.measurements.out_of_distribution.BYTES_AT_ONCE", 1)
    parts = counted_outcomes(REGIME, weights(state), state["M"], state["Q"])
    for name, array in whole.items():
        np.testing.assert_allclose(parts[name], array, atol=1e-14)


def test_chosen_prompts_are_entries_of_the_table(state):
    table = counted_outcomes(REGIME, weights(state), state["M"], state["Q"])
    concept, e, positive = np.array([0, 1, 1]), np.array([1, -1, 1]), np.array([2, 0, 5])
    seen = outcomes_at(REGIME, weights(state), state["M"], state["Q"], concept=concept, e=e, positive=positive)
    for name in ("f", "attention"):
        np.testing.assert_allclose(seen[name], table[name][:, concept, (1 - e) // 2, positive], atol=1e-14)


def test_other_dictionaries_are_what_prompts_are_made_of(state):
    M, Q = state["M"][:, [1, 0, 2, 3, 4]], state["Q"][:, [2, 3, 0, 1]]
    seen = outcomes_at(REGIME, weights(state), M, Q, concept=np.array([0]), e=np.array([1]), positive=np.array([3]))
    signs = np.array([1, 1, 1, -1, -1])
    prompt = {
        "x": M[:, (signs < 0).astype(int)].T[None],
        "y": Q[:, (signs < 0).astype(int)].T[None],
        "x_query": M[:, 0][None],
        "e": np.ones(1),
    }
    for member in range(3):
        one = {name: state[name] if name == "r" else state[name][member] for name in ("W_Q", "W_K", "W_O", "r")}
        f, p = forward_pass(one, prompt)
        assert seen["f"][member, 0] == pytest.approx(f[0], abs=1e-13)
        assert seen["attention"][member, 0] == pytest.approx(p[0][signs > 0].sum(), abs=1e-13)


def test_samples_have_the_law_of_the_table_and_streams_are_apart(state, monkeypatch):
    monkeypatch.setattr(
        "polyseme.sim.multi_concept.measurements.out_of_distribution.BYTES_AT_ONCE", 2**21
    )  # so that a sample takes several blocks
    table = counted_outcomes(REGIME, weights(state), state["M"], state["Q"])
    mean = ((np.array([1.0, -1.0])[:, None] * table["f"]) * table["probability"]).sum((1, 2, 3))
    drawn = sampled_outcomes(REGIME, weights(state), state["M"], state["Q"], count=20_000)
    other = sampled_outcomes(REGIME, weights(state), state["M"], state["Q"], count=64, stream=1)
    assert drawn["margin"].shape == drawn["attention"].shape == (3, 20_000)
    error = drawn["margin"].std(axis=1) / np.sqrt(20_000)
    assert (np.abs(drawn["margin"].mean(axis=1) - mean) < 5 * error).all()
    assert not np.array_equal(other["margin"], drawn["margin"][:, :64])


def test_noise_and_extras_are_sampled_and_not_listed(state):
    law = REGIME.replace(prompt={"p_extra": 0.3, "sigma_x": 0.2, "sigma_y": 0.2})
    with pytest.raises(PolysemeError, match="sample"):
        counted_outcomes(law, weights(state), state["M"], state["Q"])
    drawn = sampled_outcomes(law, weights(state), state["M"], state["Q"], count=4000)
    one = {name: state[name] if name == "r" else state[name][0] for name in ("W_Q", "W_K", "W_O", "r")}
    prompts = sample_prompts(law, {"M": state["M"], "Q": state["Q"]}, count=4000)
    f, _ = forward_pass(one, prompts)
    margin = prompts["e"] * f
    error = np.sqrt((margin.var() + drawn["margin"][0].var()) / 4000)
    assert abs(margin.mean() - drawn["margin"][0].mean()) < 5 * error


def test_logit_gaps_are_half_differences_of_keys_along_the_query(state):
    M = state["M"][:, [2, 0, 1, 3, 4]]  # words of no trained concept
    gaps = logit_gaps(REGIME, weights(state), M, state["Q"])
    assert gaps.shape == (3, 2, 2)
    for member, k, j in np.ndindex(gaps.shape):
        keys = state["W_K"][member] @ M[:, 2 * k : 2 * k + 2]
        query = state["W_Q"][member] @ M[:, 2 * k + j]
        right, wrong = keys[:, j] @ query, keys[:, 1 - j] @ query
        assert gaps[member, k, j] == pytest.approx((right - wrong) / 2, abs=1e-13)
    # A gap of hundreds leaves one weight near 1 and the other near e^-540, and is read off all the same.
    large = weights(state) | {"W_Q": 1500 * state["W_Q"]}
    grown = logit_gaps(REGIME, large, M, state["Q"])
    assert np.abs(grown).max() > 100
    np.testing.assert_allclose(grown, 1500 * gaps, rtol=1e-9)
