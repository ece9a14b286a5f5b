"""Dictionaries and initial weights."""

import numpy as np
import pytest

from polyseme.sim.multi_concept.observe import project
from polyseme.sim.multi_concept.training.initial import WEIGHTS, draw_initial, mirrored

# Orthonormal frames from QR are exact to some eps times the dimension.
ROUND_OFF = 1e-14


@pytest.mark.parametrize("seed", range(5))
def test_dictionaries_have_the_overlaps_of_the_regime(seed, random_regime):
    regime = random_regime(seed)
    concepts, state = regime.concepts, draw_initial(regime)
    for name, kappa, extra in (("M", concepts.kappa_x, concepts.K2), ("Q", concepts.kappa_y, 0)):
        expected = np.eye(2 * concepts.K1 + extra)
        for k in range(concepts.K1):
            expected[2 * k, 2 * k + 1] = expected[2 * k + 1, 2 * k] = kappa
        np.testing.assert_allclose(state[name].T @ state[name], expected, atol=ROUND_OFF)


def test_weights_are_those_of_section_1(random_regime):
    regime = random_regime(
        0, model={"m": 5, "sigma_0": 0.3, "sigma_1": 0.2}, concepts={"d_y": 40}, ensemble={"seeds": 50}
    )
    state = draw_initial(regime)
    for name in ("W_Q", "W_K"):
        np.testing.assert_array_equal(
            state[name], np.broadcast_to(0.3 * np.eye(regime.concepts.d_x), state[name].shape)
        )
    np.testing.assert_array_equal(state["r"], np.array([1, -1, 1, -1, 1]) / 5)
    entries = state["W_O"].ravel()
    # 5 standard errors of a mean and of a variance of N(0, 0.04).
    assert abs(entries.mean()) < 5 * 0.2 / np.sqrt(entries.size)
    assert abs(entries.var() - 0.04) < 5 * 0.04 * np.sqrt(2 / entries.size)


def test_members_share_dictionaries_and_equal_their_solo_state(random_regime):
    regime = random_regime(3, ensemble={"seeds": 3})
    together = draw_initial(regime)
    for member in range(3):
        alone = draw_initial(regime.replace(ensemble={"seeds": 1}), first_member=member)
        for name, array in alone.items():
            np.testing.assert_array_equal(together[name][member] if name in WEIGHTS else together[name], array)
    assert (together["W_O"][0] != together["W_O"][1]).any()
    other = draw_initial(regime.replace(ensemble={"seed": 99}))
    assert (other["M"] != together["M"]).any()


def test_w_q_and_w_k_are_arrays_of_their_own(random_regime):
    state = draw_initial(random_regime(3))
    assert not np.shares_memory(state["W_Q"], state["W_K"])


@pytest.mark.parametrize("seeds", [1, 3])
def test_mirrored_pairs(seeds, random_regime):
    regime = random_regime(2, concepts={"d_y": 11}, ensemble={"seeds": seeds})
    before = draw_initial(regime)
    after = mirrored(before)
    coefficients = project(after["M"], after["Q"], after)
    np.testing.assert_array_equal(after["r"][1::2], -after["r"][0::2])
    np.testing.assert_array_equal(after["W_O"][..., 0::2, :], before["W_O"][..., 0::2, :])
    alpha, beta = coefficients["alpha"], coefficients["beta"]
    np.testing.assert_allclose(alpha[..., 1::2, :], alpha[..., 0::2, :], atol=ROUND_OFF)
    np.testing.assert_allclose(beta[..., 1::2, :], -beta[..., 0::2, :], atol=ROUND_OFF)
    # The difference of a pair lies in the span of the d^_k: every other direction has the same component.
    difference = after["W_O"][..., 1::2, :] - after["W_O"][..., 0::2, :]
    d = before["Q"][:, 0::2] - before["Q"][:, 1::2]
    d = d / np.linalg.norm(d, axis=0)
    np.testing.assert_allclose(difference, difference @ d @ d.T, atol=ROUND_OFF)
    assert np.abs(difference).max() > 0.01
