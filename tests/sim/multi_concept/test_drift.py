"""The drift under noise by Monte Carlo, against exact expectations and plain samples."""

import numpy as np
import pytest

from polyseme.sim.multi_concept.measurements import probe
from polyseme.sim.multi_concept.measurements.drift import noisy_descent, noisy_drifts
from polyseme.sim.multi_concept.training.initial import WEIGHTS, draw_initial
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.multi_concept.regime import Regime

SMALL = Regime().replace(
    concepts={"K1": 2, "K2": 1, "d_x": 6, "d_y": 5, "weights": [0.3, 0.7]},
    prompt={"L": 2, "p_plus": 0.4},
    model={"m": 4, "sigma_0": 0.5, "sigma_1": 0.7},
    training={"steps": 3, "batch": "population", "record_every": 1, "schedule": "constant", "eta": 0.5, "lam": 1e-2},
)
NOISY = {"sigma_x": 0.3, "sigma_y": 0.4}
COEFFICIENTS = ("W_Q_blocks", "W_K_blocks", "alpha", "beta")


@pytest.mark.parametrize("p_extra", [0.0, 0.1])
def test_without_noise_it_is_the_exact_gradient(p_extra):
    regime = SMALL.replace(prompt={"p_extra": p_extra})
    state = draw_initial(regime)
    drawn = noisy_drifts(regime, state, batches=2, pairs=3)
    exact = probe.project(state["M"], state["Q"], probe.population_gradient(regime, state))
    for name in COEFFICIENTS:
        assert np.allclose(drawn[name], exact[name], rtol=0, atol=1e-14)


def test_under_noise_its_mean_is_that_of_plain_samples():
    regime = SMALL.replace(prompt=NOISY, training={"batch": 4000})
    state = draw_initial(regime)
    drawn = noisy_drifts(regime, state, batches=200, pairs=20)
    plain = probe.minibatch_gradients(regime, state, batches=100, batch=4000)
    for name in COEFFICIENTS:
        means, errors = zip(*((x.mean(0), x.std(0) / np.sqrt(len(x))) for x in (drawn[name], plain[name])), strict=True)
        # Five standard errors for each of some dozens of numbers; the streams are fixed, so it passes for ever or never.
        assert (np.abs(means[0] - means[1]) < 5 * np.hypot(*errors) + 1e-12).all(), name


def test_batches_have_noise_of_their_own_at_their_own_numbers():
    regime = SMALL.replace(prompt=NOISY)
    state = draw_initial(regime)
    all_of_them = noisy_drifts(regime, state, batches=4, pairs=2)
    last = noisy_drifts(regime, state, batches=2, pairs=2, first=2)
    for name, array in all_of_them.items():
        assert np.allclose(array[2:], last[name], rtol=0, atol=1e-15)
    assert len(np.unique(all_of_them["margin"])) == 4


def test_descent_without_noise_is_population_descent():
    state = draw_initial(SMALL)
    final = noisy_descent(SMALL, state, members=2, pairs=1, late_pairs=1, late_from=1)
    wanted = simulate(SMALL, state, keep_final=True)
    for name in WEIGHTS:
        assert np.allclose(final[name], wanted[f"final_{name}"], rtol=0, atol=1e-13)


def test_descent_draws_fresh_noise_at_every_step():
    regime = SMALL.replace(prompt=NOISY, training={"steps": 2})
    state = draw_initial(regime)
    two = noisy_descent(regime, state, members=2, pairs=2, late_pairs=1, late_from=1)
    assert not np.allclose(two["W_O"][0], two["W_O"][1])
    one = noisy_descent(regime.replace(training={"steps": 1}), state, members=1, pairs=2, late_pairs=1, late_from=1)
    moved = {name: array[0] for name, array in one.items()}
    # The second step from there, with the noise of the first, ends elsewhere.
    again = noisy_descent(
        regime.replace(training={"steps": 1}), state | moved, members=1, pairs=2, late_pairs=1, late_from=1
    )
    assert not np.allclose(again["W_O"][0], two["W_O"][0])


def test_fresh_outcomes_are_means_over_prompts_of_ones_own():
    regime = SMALL.replace(prompt=NOISY)
    state = draw_initial(regime)
    weights = {name: np.stack([state[name]] * 2) for name in WEIGHTS}
    found = probe.fresh_outcomes(regime, state, weights, count=500)
    assert {name: array.shape for name, array in found.items()} == dict.fromkeys(
        ("margin", "loss", "error", "attention"), (2,)
    )
    assert (found["margin"][0] != found["margin"][1]) and abs(found["loss"][0] - found["loss"][1]) < 0.1
