"""Delayed escape: what feeds the signal, and how noise adds up, against the recursion and against a simulated walk."""

import numpy as np
import pytest

from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.theory.multi_concept.coefficients import project
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.fluctuation.escape import Horizon, Plateau, plateau, predicted_error
from polyseme.theory.multi_concept.regime import Regime, parse_regime


def _regime(**changes: dict) -> Regime:
    tables = {
        "concepts": {"K1": 2, "K2": 0, "d_x": 4, "d_y": 4, "weights": [0.6, 0.4]},
        "prompt": {"L": 4},
        # Hardly any attention and hardly any output: the plateau itself.
        "model": {"m": 12, "sigma_0": 1e-4, "sigma_1": 1e-4},
        "training": {"steps": 100, "batch": 4, "gamma": 2000.0},
    }
    return parse_regime(
        {name: tables.get(name, {}) | changes.get(name, {}) for name in {*tables, *changes}}, source="test"
    )


@pytest.mark.parametrize("loss", ["logistic", "squared", "exponential"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "identity"])
@pytest.mark.parametrize("p_plus", [0.5, 0.3])
def test_the_drift_is_what_one_step_adds_to_the_signal(loss, activation, p_plus):
    """sum_i r_i (-d beta_i) of the true gradient, prompt by prompt."""
    regime = _regime(
        prompt={"p_plus": p_plus}, model={"activation": activation}, training={"loss": loss}, ensemble={"seeds": 1}
    )
    initial = draw_initial(regime)
    coefficients = project(initial, 2)
    if activation != "identity":  # gates that are the same on every prompt
        coefficients["alpha"] = np.where(np.arange(12)[:, None] % 3 == 0, -1e-3, 1e-3) * np.ones((12, 2))
    members = Ensemble(regime, initial["r"], coefficients, members=1)
    at = plateau(members)
    cells = np.argwhere(members.law > 0)
    fed = np.zeros((len(cells), 2))
    for j, cell in enumerate(cells):
        p = np.zeros((1, *members.law.shape, 1))
        p[(0, *cell, 0)] = 1.0
        step = -members.gradient(p)["beta"][:, :, 0, 0, 0]
        fed[j] = (initial["r"][:, None] * step).sum(axis=0)
    weights = members.law[tuple(cells.T)]
    mean = weights @ fed
    np.testing.assert_allclose(at.drift[:, 0], mean, rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(at.variance[:, 0], weights @ fed**2 - mean**2, rtol=1e-3, atol=1e-12)


def test_the_horizon_adds_up_a_twice_summed_walk():
    regime, T = _regime(training={"batch": 3}), 60
    law = Ensemble(regime, *_start(regime), members=1).law
    at = Plateau(
        t=10,
        signal=np.array([[0.02], [0.0]]),
        drift=np.array([[1e-3], [2e-3]]),
        variance=np.array([[4e-4], [1e-4]]),
        log_product=np.array([[-4.0], [-5.0]]),
    )
    mean, deviation = Horizon(regime, T).log_product(at, law)
    rng, n = np.random.default_rng(0), 40_000
    concepts = regime.concepts
    n_b2, n_d = (1 - concepts.kappa_x) / 2, np.sqrt((1 - concepts.kappa_y) / 2)
    spread = 1 - ((2 * np.arange(5) - 4) / 4) ** 2
    for k in range(2):
        share = law[k].sum(axis=0) @ spread
        S, log = np.full(n, at.signal[k, 0]), np.full(n, at.log_product[k, 0])
        for t in range(at.t, T):
            eta = 2 / (regime.training.lam * (regime.training.gamma + t))
            log += 2 * np.log(1 - eta * regime.training.lam) + 2 * eta * n_b2 * 0.5 * n_d * share * S
            noise = np.sqrt(at.variance[k, 0] / 3) * rng.standard_normal(n)
            S = (1 - eta * regime.training.lam) * S + eta * (at.drift[k, 0] + noise)
        error = log.std() / np.sqrt(n)
        assert abs(log.mean() - mean[k, 0]) < 5 * error
        # The standard error of a standard deviation of normal numbers is sigma / sqrt(2 n).
        assert abs(log.std() / deviation[k, 0] - 1) < 5 / np.sqrt(2 * n)


def _start(regime: Regime) -> tuple[np.ndarray, dict]:
    initial = draw_initial(regime)
    return initial["r"], project(initial, regime.concepts.K1)


def test_nothing_is_learned_at_once_and_everything_in_the_end():
    regime = _regime(model={"sigma_0": 0.1, "sigma_1": 0.1, "m": 16}, training={"steps": 2000})
    members = Ensemble(regime, *_start(regime), members=1)
    for _ in range(40):
        members.descend()
    at = plateau(members)
    assert predicted_error(at, members.law, Horizon(regime, 41))[0] == pytest.approx(0.5, abs=1e-3)
    assert predicted_error(at, members.law, Horizon(regime, 2000))[0] < 1e-6
    chances = [Horizon(regime, T).log_chance(at, members.law).max() for T in (100, 300, 600, 1000)]
    assert chances == sorted(chances, reverse=True)
