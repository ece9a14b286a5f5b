"""Linear noise against dense finite differences, listed prompts and listed paths; averaged gates against integrals."""

from itertools import islice, product

import numpy as np
import pytest
from scipy.stats import norm

from polyseme.theory.multi_concept.coefficients import constants, from_layout, to_layout
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.dynamics.integrate import evaluate
from polyseme.theory.multi_concept.fluctuation.gate_noise import VARIANCE, averaged_gradient, averaged_noise
from polyseme.theory.multi_concept.fluctuation.linear_noise import (
    TINY,
    at_numbers,
    clearance,
    gate_variance,
    jacobian,
    linear_noise,
    nudged,
    pack,
    places,
    preactivations,
    prompt_covariance,
    single_prompts,
    unpack,
)
from polyseme.theory.multi_concept.numerics.lower import system_of

KINDS = [
    ("relu", "logistic"),
    ("leaky_relu", "squared"),
    ("identity", "exponential"),
    ("relu", "squared"),
    ("leaky_relu", "logistic"),
]


def some_state(regime, seed: int, *, members: int = 1) -> Ensemble:
    """Every entry of every block on."""
    rng = np.random.default_rng(seed)
    K1, m = regime.concepts.K1, regime.model.m
    coefficients = {
        "W_Q_blocks": rng.normal(size=(K1, 2, 2)),
        "W_K_blocks": rng.normal(size=(K1, 2, 2)),
        "alpha": rng.normal(size=(m, K1)),
        "beta": rng.normal(size=(m, K1)),
    }
    r = np.where(np.arange(m) % 2 == 0, 1.0, -1.0) / m
    return Ensemble(regime, r, coefficients, members=members)


def moved(one: Ensemble, vectors: np.ndarray) -> Ensemble:
    """Members at given vectors."""
    other = one.pick(slice(None))
    other.state = unpack(vectors, one.state)
    return other


def dense_gradient(members: Ensemble, p: np.ndarray | None = None) -> np.ndarray:
    """The gradient of each member by `integrate.evaluate`, members first and blocks of members, as vectors."""
    numbers = constants(members.regime, members.r) | ({} if p is None else {"p": p})
    layout = to_layout(members.coefficients())
    each = from_layout(evaluate(system_of(members.regime).gradient, layout, numbers))
    return pack(Ensemble(members.regime, members.r, each).state)


def kind(random_regime, seed: int, **changes):
    activation, loss = KINDS[seed % len(KINDS)]
    return random_regime(seed, model={"activation": activation}, training={"loss": loss, "batch": 8}, **changes)


@pytest.mark.parametrize("seed", range(10))
def test_packing_is_undone_by_unpacking(seed, random_regime):
    one = some_state(random_regime(seed), seed)
    vectors = np.random.default_rng(seed).normal(size=(len(pack(one.state)), 3))
    again = moved(one, vectors)
    np.testing.assert_array_equal(pack(again.state), vectors)
    assert list(again.state) == list(one.state)
    where = places(one.state)
    for name, index in where.items():
        np.testing.assert_array_equal(vectors[index], again.state[name][:, :, 0, 0])
    assert sorted(np.concatenate([index.ravel() for index in where.values()])) == list(range(len(vectors)))


@pytest.mark.parametrize("seed", range(10))
def test_the_jacobian_is_that_of_dense_finite_differences(seed, random_regime):
    one = some_state(kind(random_regime, seed), 100 + seed)
    at, h = pack(one.state), 1e-6
    steps = h * np.eye(len(at))
    # No gate is so near its kink that a step of h could move it.
    assert np.abs(preactivations(one)).min() > 10 * h
    dense = (dense_gradient(moved(one, at + steps)) - dense_gradient(moved(one, at - steps))) / (2 * h)
    K1 = one.regime.concepts.K1
    blocks = dense.reshape(K1, len(at) // K1, K1, -1)
    ours, scale = jacobian(one), np.abs(dense).max()
    for k, other in product(range(K1), repeat=2):
        # Differences of order h^2, and rounding over h: 1e-10 each; concepts do not see each other.
        expected = ours[k] if k == other else 0.0
        np.testing.assert_allclose(blocks[k, :, other], expected, rtol=0, atol=1e-8 * scale)


@pytest.mark.parametrize("seed", range(6))
def test_first_order_numbers_leave_the_gradient_as_it_is(seed, random_regime):
    one = some_state(kind(random_regime, seed), seed)
    state = nudged(one)
    system = averaged_gradient(one.regime.training.loss, one.regime.model.activation)
    given = one.numbers | state | {str(VARIANCE): np.zeros((one.regime.model.m, *one.law.shape, 1))}
    gradient = at_numbers(system, given, state["alpha"].shape[-1])
    # With no variance an averaged gate is a gate, and so is its Jacobian.
    np.testing.assert_allclose(gradient[:, :1].real, dense_gradient(one), rtol=0, atol=1e-14)
    np.testing.assert_allclose(gradient.imag.ravel() / TINY, jacobian(one).ravel(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_the_covariance_of_one_prompt_is_that_of_the_listed_prompts(seed, random_regime):
    one = some_state(kind(random_regime, seed), seed)
    rows, chances = [], []
    for k, j, n in np.ndindex(*one.law.shape):
        p = np.zeros((1, *one.law.shape, 1))
        p[0, k, j, n] = 1.0
        rows.append(dense_gradient(one, p)[:, 0])
        chances.append(one.law[k, j, n])
    expected = np.cov(np.array(rows).T, aweights=chances, ddof=0)
    np.testing.assert_allclose(prompt_covariance(one), expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("seed", range(5))
def test_the_recursion_is_the_covariance_over_all_short_paths(seed, random_regime):
    """Every sequence of three prompts, each of weight eps in its minibatch: the covariance over eps^2, as eps goes to 0."""
    activation, loss = KINDS[seed]
    regime = random_regime(seed, concepts={"K1": 2, "weights": [0.4, 0.6]}, prompt={"L": 2}, training={"loss": loss})
    regime = regime.replace(model={"activation": activation, "m": 4})
    start, T, eps = some_state(regime, seed), 3, 1e-5
    single, chance = single_prompts(start)
    paths = np.array([*product(range(len(chance)), repeat=T)])
    weights = np.prod(chance[paths], axis=1)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    members = start.pick(np.zeros(len(paths), dtype=np.intp))
    bar = start.pick(slice(None))
    for t in range(T):
        members._update((1 - eps) * members.numbers["p"] + eps * single[..., paths[:, t]])
        bar.descend()
    x = (pack(members.state) - pack(bar.state)) / eps
    measured = (x * weights) @ x.T
    (at,) = islice(linear_noise(start), T, T + 1)
    assert at.t == T and at.moved >= 0
    np.testing.assert_array_equal(at.mean, pack(bar.state)[:, 0])
    # The next order is one power of eps more, times numbers of order one; differences lose 1e-16 / eps.
    np.testing.assert_allclose(measured, at.covariance, rtol=0, atol=1e-3 * np.abs(at.covariance).max())
    (alone,) = islice(linear_noise(start, carries=False), T, T + 1)
    assert np.abs(alone.covariance - at.covariance).max() > 1e-2 * np.abs(at.covariance).max()


def test_covariance_of_seeds_of_linear_neurons(random_regime):
    regime = random_regime(2, concepts={"K1": 1, "weights": None}, prompt={"L": 3}, model={"activation": "identity"})
    start, seeds, T, batch = some_state(regime, 1), 4000, 12, 10**9
    members, rng = start.pick(np.zeros(seeds, dtype=np.intp)), np.random.default_rng(0)
    for _ in range(T):
        counts = rng.multinomial(batch, start.law.ravel(), size=seeds)
        members.advance(counts.reshape(seeds, *start.law.shape))
    (at,) = islice(linear_noise(start), T, T + 1)
    ratio = pack(members.state).var(axis=1).sum() * batch / np.trace(at.covariance)
    # Relative error of a variance: sqrt(2 / 4000) = 0.022 at most.
    assert abs(ratio - 1) < 5 * np.sqrt(2 / seeds)


@pytest.mark.parametrize("seed", range(5))
def test_the_variance_of_a_preactivation_is_that_of_finite_differences(seed, random_regime):
    one = some_state(kind(random_regime, seed), seed)
    at, h = pack(one.state), 1e-6
    factor = np.random.default_rng(seed).normal(size=(len(at), 5))
    difference = preactivations(moved(one, at + h * factor)) - preactivations(moved(one, at - h * factor))
    expected = ((difference / (2 * h)) ** 2).sum(axis=-1)
    variance = gate_variance(one, factor @ factor.T)
    np.testing.assert_allclose(variance, expected, rtol=1e-6, atol=1e-8 * expected.max())
    away = clearance(one, factor @ factor.T)
    assert np.isinf(away[:, one.law == 0]).all()
    seen = one.law > 0
    np.testing.assert_allclose(
        away[:, seen] * np.sqrt(variance[:, seen]), np.abs(preactivations(one)[..., 0])[:, seen], rtol=1e-12
    )
    assert np.isinf(clearance(one, np.zeros((len(at), len(at))))).all()


@pytest.mark.parametrize("seed", range(3))
def test_averaged_gates_are_gaussian_integrals(seed, random_regime):
    """The gradient in alpha with averaged gates, written out: -n_c r_i sum p e sigmoid(-e f) Phi(h / tau)."""
    one = some_state(random_regime(seed, training={"batch": 8}), seed)
    rng, numbers = np.random.default_rng(seed), one.numbers
    variance = rng.uniform(0.01, 2.0, size=(one.regime.model.m, *one.law.shape))
    h, tau, r, e = preactivations(one)[..., 0], np.sqrt(variance), one.r[:, None, None, None], np.array([1.0, -1.0])
    grid, weight = np.polynomial.hermite_e.hermegauss(200)
    weight = weight / weight.sum()
    relu = (np.maximum(h[..., None] + tau[..., None] * grid, 0) * weight).sum(axis=-1)
    f = (r * relu).sum(axis=0)
    slope = e[:, None] / (1 + np.exp(e[:, None] * f))
    expected = -numbers["n_c"] * (r * one.law * slope * norm.cdf(h / tau)).sum(axis=(2, 3))
    system = averaged_gradient("logistic", "relu")
    gradient = at_numbers(system, numbers | one.state | {str(VARIANCE): variance[..., None]}, 1)
    found = gradient[places(one.state)["alpha"], 0].real
    # Quadrature of a kink converges slowly.
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3 * np.abs(expected).max())


def test_averaged_gates_are_linear_noise_where_gates_are_far(random_regime):
    regime = random_regime(4, concepts={"K1": 2, "weights": None}, prompt={"L": 3}, training={"batch": 8})
    start = some_state(regime, 4)
    sign = np.sign(start.state["alpha"])
    start.state["alpha"] = sign * 20
    T, batch = 20, 10**6
    (linear,) = islice(linear_noise(start), T, T + 1)
    assert not linear.moved and linear.clearance * np.sqrt(batch) > 8
    (averaged,) = islice(averaged_noise(start, batch), T, T + 1)
    np.testing.assert_allclose(averaged.mean, linear.mean, rtol=1e-12)
    scale = np.abs(linear.covariance).max()
    np.testing.assert_allclose(averaged.covariance * batch, linear.covariance, rtol=0, atol=1e-12 * scale)
