"""Other losses and activations: the recursion against the full model, and where it has closed forms (sections 1 and 4)."""

from itertools import product

import numpy as np
import pytest

from polyseme.sim.multi_concept.training.initial import draw_initial, mirrored
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.calculus.functions import ACTIVATIONS, LOSSES
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b, step_size
from polyseme.theory.multi_concept.numerics.lower import system_of
from polyseme.theory.multi_concept.prompts.law import prompt_probabilities

pytestmark = pytest.mark.usefixtures("unchecked_types")
CASES = list(product(LOSSES, ACTIVATIONS))
STATE = ("W_Q_blocks", "W_K_blocks", "alpha", "beta")


def regime_of(random_regime, loss, activation, seed, **training):
    """Small steps: the slopes of the squared and the exponential loss are not bounded by one."""
    base = random_regime(seed, prompt={"p_plus": (0.5, 0.35, 0.7)[seed % 3]}, model={"activation": activation})
    eta = base.training.eta * (0.1 if loss != "logistic" else 1.0)
    steps = {"steps": 400, "record_every": 40, "schedule": "constant", "eta": eta, "loss": loss} | training
    return base.replace(training=steps)


@pytest.mark.parametrize(("loss", "activation"), CASES)
@pytest.mark.parametrize("seed", [0, 5, 10])
def test_population_descent_of_the_full_model_is_level_b(loss, activation, seed, random_regime, relative_differences):
    regime = regime_of(random_regime, loss, activation, seed)
    initial = draw_initial(regime)
    reduced, full = integrate_b(regime, initial), simulate(regime, initial)
    differences = relative_differences(reduced, {name: full[name] for name in reduced})
    del differences["error"]  # at a margin of zero its value is round-off's
    assert max(differences.values()) < 1e-11, differences
    assert np.abs(reduced["beta"][-1] - reduced["beta"][0]).max() > 1e-3


@pytest.mark.parametrize(("loss", "activation"), CASES)
def test_mirrored_neurons_are_level_s(loss, activation, random_regime, relative_differences):
    regime = regime_of(random_regime, loss, activation, 0).replace(prompt={"p_plus": 0.5}, model={"m": 8})
    initial = mirrored(draw_initial(regime))
    reduced, full = integrate_b(regime, initial, compiled=system_of(regime, "S")), simulate(regime, initial)
    differences = relative_differences(reduced, {name: full[name] for name in reduced})
    del differences["error"]
    assert max(differences.values()) < 1e-11, differences


@pytest.mark.parametrize("loss", list(LOSSES))
def test_linear_neurons_keep_only_what_lies_along_r(loss, random_regime):
    # d/d alpha_i is r_i times one number for all neurons: what is orthogonal to r decays and nothing else.
    regime = regime_of(random_regime, loss, "identity", 3)
    initial = draw_initial(regime)
    path, r = integrate_b(regime, initial), initial["r"]
    decay = np.prod([1 - step_size(regime, t) * regime.training.lam for t in range(regime.training.steps)])
    for name in ("alpha", "beta"):
        first, last = (path[name][j] - np.outer(r, r @ path[name][j]) / (r @ r) for j in (0, -1))
        np.testing.assert_allclose(last, decay * first, rtol=0, atol=1e-13)
        assert np.abs(first).max() > 1e-3
        assert np.abs(r @ path[name][-1] - decay * (r @ path[name][0])).max() > 1e-3


def test_linear_neurons_with_the_squared_loss_and_no_attention_have_a_closed_form(random_regime):
    # W_Q = W_K = 0 stay zero, so ebar = (2 n+ - L) / L for ever, and x = (r . alpha_k, r . beta_k) obeys
    # x <- (1 - eta lambda) x - eta |r|^2 pi_k (H x - c) with the moments H = E[u u^T], c = E[e u] of u = (n_c, n_d ebar).
    regime = regime_of(random_regime, "squared", "identity", 10, steps=300).replace(model={"sigma_0": 0.0})
    initial = draw_initial(regime)
    path, r, L = integrate_b(regime, initial), initial["r"], regime.prompt.L
    n_c, n_d = (((1 + sign * regime.concepts.kappa_y) / 2) ** 0.5 for sign in (1, -1))
    u = np.stack([np.full(L + 1, n_c), n_d * (2 * np.arange(L + 1) - L) / L])
    p = prompt_probabilities(regime)
    eta, lam = regime.training.eta, regime.training.lam
    assert not path["W_Q_blocks"].any()
    for k in range(regime.concepts.K1):
        H = np.einsum("en,an,bn->ab", p[k], u, u)
        c = np.einsum("en,e,an->a", p[k], np.array([1.0, -1.0]), u)
        pull = (r @ r) * H + lam * np.eye(2)
        fixed = np.linalg.solve(pull, (r @ r) * c)
        start = np.array([r @ path["alpha"][0][:, k], r @ path["beta"][0][:, k]])
        # Distances from the fixed point shrink by 1 - eta (|r|^2 h + lambda) along each eigenvector of H.
        values, vectors = np.linalg.eigh(pull)
        shrunk = (1 - eta * values) ** regime.training.steps
        expected = fixed + vectors @ (shrunk * (vectors.T @ (start - fixed)))
        got = np.array([r @ path["alpha"][-1][:, k], r @ path["beta"][-1][:, k]])
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)
        assert np.abs(got - start).max() > 1e-4
