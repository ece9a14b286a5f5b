"""Concepts side by side against the recursion of a whole regime, and the thresholds against what makes them."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.theory.multi_concept.coefficients import project
from polyseme.theory.multi_concept.dynamics.concepts import Concepts, Numbers, Start
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b
from polyseme.theory.multi_concept.outcome.thresholds import (
    critical_penalty,
    learnable,
    lives_on,
    share_learnable,
    spread,
)
from polyseme.theory.multi_concept.prompts.law import exact_count_probability
from polyseme.theory.multi_concept.regime import Regime

WEIGHTS = np.array([0.6, 0.3, 0.1])


def regime(law: str = "match") -> Regime:
    return Regime().replace(
        concepts={"K1": 3, "K2": 0, "d_x": 6, "d_y": 6, "weights": list(WEIGHTS), "kappa_x": 0.3, "kappa_y": 0.4},
        prompt={"L": 4, "law": law},
        model={"m": 7, "sigma_0": 0.3, "sigma_1": 0.3},
        training={"steps": 200, "batch": "population", "schedule": "constant", "eta": 5.0, "lam": 1e-3},
        ensemble={"seeds": 1},
    )


def concepts_of(of: Regime) -> tuple[Concepts, dict]:
    """The concepts of a regime as members."""
    start, one = draw_initial(of), np.ones(3)
    each = project(start, 3)
    numbers = Numbers(kappa_x=0.3 * one, kappa_y=0.4 * one, lam=1e-3 * one, weight=WEIGHTS, eta=5 * one)
    begin = Start(sigma_0=0.3 * one, alpha=each["alpha"], beta=each["beta"])
    return Concepts(L=4, r=start["r"], numbers=numbers, start=begin, law=of.prompt.law), start


@pytest.mark.parametrize("law", ["match", "iid"])
def test_the_concepts_of_a_regime_descend_each_alone(law):
    of = regime(law).replace(training={"record_every": 200})
    concepts, start = concepts_of(of)
    run = integrate_b(of, start)
    for _ in range(200):
        concepts.descend()
    assert concepts.t == 200
    np.testing.assert_allclose(concepts.alpha, run["alpha"][-1], rtol=0, atol=1e-13)
    np.testing.assert_allclose(concepts.beta, run["beta"][-1], rtol=0, atol=1e-13)
    blocks = [concepts.weight("W_Q", entry) for entry in ("aa", "ab", "ba", "bb")]
    np.testing.assert_allclose(np.array(blocks).T, run["W_Q_blocks"][-1].reshape(3, 4), rtol=0, atol=1e-13)
    assert concepts.attention() @ WEIGHTS == pytest.approx(run["attention"][-1], abs=1e-13)
    assert concepts.error() @ WEIGHTS == pytest.approx(run["error"][-1], abs=1e-13)
    G = np.einsum("kus,kut->kst", run["W_K_blocks"][-1], run["W_Q_blocks"][-1])
    np.testing.assert_allclose(concepts.product("b", "a"), G[:, 1, 0], rtol=0, atol=1e-13)


def test_the_feed_is_what_the_derived_gradient_holds():
    of = regime()
    concepts, start = concepts_of(of)
    for _ in range(30):
        concepts.descend()
    ensemble = Ensemble(of, start["r"], project(start, 3), members=1)
    for _ in range(30):
        ensemble.descend()
    state, gradient = ensemble.state, ensemble.gradient()
    blocks = {x: state[f"W_K_{x}"][0, :, 0, 0, 0] for x in ("ab", "bb")}
    # d/dW_Q^{bb} = n_b^2 Gamma W_K^{bb}.
    Gamma = np.broadcast_to(gradient["W_Q_bb"], state["W_Q_bb"].shape)[0, :, 0, 0, 0] / blocks["bb"]
    np.testing.assert_allclose(concepts.feed(), -Gamma, rtol=1e-12)


def test_own_labels_are_those_of_r():
    concepts, _ = concepts_of(regime())
    lives = lives_on(concepts.alpha, concepts.beta, concepts.r, concepts.given.kappa_y)
    np.testing.assert_array_equal(lives, concepts.on_own_label() > 0)
    assert learnable(lives, concepts.r).shape == (3,)


# -- thresholds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 3, 4, 5])
def test_the_share_learnable_counts_gates(m):
    r = np.where(np.arange(m) % 2 == 0, 1.0, -1.0)
    gates = np.array(list(product([False, True], repeat=m))).T
    assert learnable(gates, r).mean() == share_learnable(m)


@pytest.mark.parametrize("L", [2, 3, 5, 8])
def test_the_spread_is_that_of_the_law(L):
    terms = [(exact_count_probability(L, "match", 1, n), 1 - Fraction(2 * n - L, L) ** 2) for n in range(L + 1)]
    assert spread(L) == pytest.approx(float(sum(p * x for p, x in terms)), rel=1e-14)


@pytest.mark.parametrize(("L", "m", "kappa_x", "kappa_y"), [(3, 16, 0.2, 0.3), (4, 8, 0.5, 0.6), (4, 32, 0.0, 0.1)])
def test_the_plateau_becomes_unstable_at_the_critical_penalty(L, m, kappa_x, kappa_y):
    # Without attention the MLP comes to rest on the plateau; what it feeds there is the penalty that attention can bear.
    rng, size = np.random.default_rng(1), 40
    r, one, half = np.where(np.arange(m) % 2 == 0, 1.0, -1.0) / m, np.ones(size), np.full(size, 0.5)
    alpha, beta = (0.02 * rng.normal(size=(m, size)) for _ in range(2))
    lives = lives_on(alpha, beta, r, kappa_y * one)
    lam = critical_penalty(
        L=L, m=m, live=np.maximum(lives.mean(axis=0), 1 / m), weight=half, kappa_x=kappa_x * one, kappa_y=kappa_y * one
    )
    numbers = Numbers(
        kappa_x=kappa_x * one, kappa_y=kappa_y * one, lam=lam, weight=half, eta=np.minimum(m / half / 4, 0.01 / lam)
    )
    concepts = Concepts(L=L, r=r, numbers=numbers, start=Start(sigma_0=0 * one, alpha=alpha, beta=beta))
    for _ in range(2000):
        concepts.descend()
    balanced = np.abs(lives[r > 0].sum(axis=0) - lives[r < 0].sum(axis=0)) <= m // 8
    ratio = (concepts.feed() / lam)[balanced & learnable(lives, r)]
    assert len(ratio) >= 5
    np.testing.assert_allclose(ratio, 1, atol=0.12)
    np.testing.assert_array_equal((concepts.on_own_label() > 0)[:, balanced], lives[:, balanced])
    # Living neurons rest where the pre-activation on the other label is zero.
    n_c, n_d = np.sqrt((1 + kappa_y) / 2), np.sqrt((1 - kappa_y) / 2)
    living = concepts.on_own_label() > 0
    other = n_c * concepts.alpha - np.sign(r)[:, None] * n_d * concepts.beta
    share = np.abs(other)[living] / concepts.on_own_label()[living]
    assert np.median(share) < 0.05
