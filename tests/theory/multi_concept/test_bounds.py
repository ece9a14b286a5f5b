"""The exponential bound: its constants against brute force, its lemma on random laws, and its distances."""

from itertools import product

import numpy as np
import pytest
from scipy.linalg import block_diag

from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.dynamics.integrate import step_size
from polyseme.theory.multi_concept.fluctuation.bounds import contraction, distances, follow, kink_distance, width
from polyseme.theory.multi_concept.fluctuation.curvature import (
    curvature,
    deviations,
    drift,
    drift_and_noise,
    parts,
    placed,
    position,
)
from polyseme.theory.multi_concept.fluctuation.linear_noise import jacobian, pack, possible

SEEDS = range(6)


def made(regime, seed: int, members: int = 1, size: float = 1.0) -> Ensemble:
    """Random members whose prompts are partly right: every coefficient is on."""
    rng = np.random.default_rng(seed)
    K1, m = regime.concepts.K1, regime.model.m
    blocks = {name: size * rng.normal(size=(members, K1, 2, 2)) for name in ("W_Q_blocks", "W_K_blocks")}
    neurons = {name: rng.normal(size=(members, m, K1)) for name in ("alpha", "beta")}
    r = np.where(np.arange(m) % 2 == 0, 1.0, -1.0) / m
    # Neurons that vote for their sign make prompts right.
    neurons["beta"] += 2 * m * r[None, :, None] * np.abs(neurons["beta"])
    return Ensemble(regime, r, blocks | neurons)


def risk(members: Ensemble) -> np.ndarray:
    """The regularised population risk, from the margins alone."""
    losses = np.logaddexp(0.0, -members.margins())
    penalty = members.regime.training.lam / 2 * (position(members) ** 2).sum(axis=0)
    return np.einsum("ken,kenj->j", members.law, losses) + penalty


# -- points ---------------------------------------------------------------------------------------------------


def test_members_are_packed_and_placed_again(random_regime):
    members = made(random_regime(1), 1, members=3)
    points = position(members)
    again = placed(members, points[:, [2, 0]])
    assert again.members == 2
    np.testing.assert_array_equal(position(again), points[:, [2, 0]])
    for name, x in members.state.items():
        np.testing.assert_array_equal(again.state[name][..., 0], x[..., 2])


def test_parts_of_the_concepts_make_the_whole_length(random_regime):
    regime = random_regime(2)
    members = made(regime, 2, members=3)
    delta = position(members)
    np.testing.assert_allclose((parts(delta, members) ** 2).sum(axis=0), (delta**2).sum(axis=0))
    members.state["alpha"][:, 0] += 1.0
    assert np.flatnonzero(parts(position(members) - delta, members).max(axis=1)).tolist() == [0]


# -- drift and noise ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_drift_is_the_gradient_of_the_regularised_risk(random_regime, seed):
    one = made(random_regime(seed), seed)
    here, step = position(one), 1e-6
    size = len(here)
    ahead, behind = (risk(placed(one, here + sign * step * np.eye(size))) for sign in (1, -1))
    np.testing.assert_allclose(drift(one)[:, 0], (ahead - behind) / (2 * step), atol=1e-8)


@pytest.mark.parametrize("seed", SEEDS)
def test_drift_and_largest_noise_in_one_evaluation_are_those_of_listed_prompts(random_regime, seed):
    members = made(random_regime(seed), seed, members=4)
    g, b = drift_and_noise(members)
    np.testing.assert_allclose(g, drift(members), atol=1e-14)
    for j in range(4):
        one = members.pick(slice(j, j + 1))
        noise = deviations(one)
        assert b[j] == pytest.approx(np.linalg.norm(noise, axis=0).max(), rel=1e-12)
        law = one.law[tuple(possible(one).T)]
        assert np.abs(noise @ law).max() < 1e-14


def test_an_update_is_drift_and_the_mean_of_its_prompts_noise(random_regime):
    regime = random_regime(4)
    one = made(regime, 4)
    cells, before = possible(one), position(one)
    counts = np.zeros((1, *one.law.shape), dtype=int)
    drawn = np.random.default_rng(0).integers(0, 5, size=len(cells))
    counts[(0, *cells.T)] = drawn
    zeta = deviations(one) @ drawn / drawn.sum()
    expected = before[:, 0] - step_size(regime, one.t) * (drift(one)[:, 0] + zeta)
    one.advance(counts)
    np.testing.assert_allclose(position(one)[:, 0], expected, atol=1e-13)


# -- curvature ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_curvature_is_that_of_second_differences_of_the_risk(random_regime, seed):
    one = made(random_regime(seed, model={"m": 3}), seed)
    here, step = position(one), 5e-5
    assert kink_distance(one)[0] > 3 * step, "second differences need a smooth place"
    J, size = block_diag(*jacobian(one)) + one.regime.training.lam * np.eye(len(here)), len(here)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        u, v = (x / np.linalg.norm(x) for x in rng.normal(size=(2, size)))
        corners = np.stack([here[:, 0] + step * (i * u + j * v) for i, j in product((1, -1), repeat=2)], axis=1)
        second = risk(placed(one, corners)) @ np.array([1, -1, -1, 1]) / (4 * step**2)
        assert u @ J @ v == pytest.approx(second, abs=3e-6)
    np.testing.assert_allclose(J, J.T, atol=1e-13)
    values = np.linalg.eigvalsh((J + J.T) / 2)
    assert curvature(one) == pytest.approx((values[0], values[-1]))


def test_the_factor_is_the_norm_of_the_step():
    rng = np.random.default_rng(0)
    for _ in range(20):
        H = rng.normal(size=(5, 5))
        H = H + H.T
        eta, values = rng.uniform(0.01, 2), np.linalg.eigvalsh(H)
        expected = np.linalg.norm(np.eye(5) - eta * H, ord=2)
        got = contraction(np.array([eta]), values[:1], values[-1:])
        assert got[0] == pytest.approx(expected)


# -- width and tail -------------------------------------------------------------------------------------------


def test_width_is_the_sum_of_section_5():
    rng = np.random.default_rng(1)
    rho, eta, b, jump = (rng.uniform(0.5, 1.5, size=7) for _ in range(4))
    found = width(rho, eta, b, batch=3.0, jump=jump)
    for t in range(8):
        rest = [np.prod(rho[s + 1 : t]) for s in range(t)]
        assert found.W[t] == pytest.approx(sum(eta[s] ** 2 * b[s] ** 2 / 3 * rest[s] ** 2 for s in range(t)))
        assert found.m[t] == pytest.approx(sum(jump[s] * rest[s] for s in range(t)))
        assert found.R[t] == pytest.approx(np.prod(rho[:t]))


def test_width_falls_like_the_step_size_under_positive_curvature():
    lam, gamma, t = 1e-2, 100.0, np.arange(4000.0)
    eta = 2 / (lam * (gamma + t))
    found = width(1 - eta * lam, eta, np.ones(4000), batch=1.0, jump=np.zeros(4000))
    scaled = found.W[1:] * (gamma + t + 1)
    assert scaled[-1] == pytest.approx(scaled[2000], rel=0.05), "O(1 / (gamma + t)) once the start is forgotten"


def test_the_tail_is_reached_where_it_is_said_to_be():
    rng = np.random.default_rng(2)
    rho, eta, b, jump = (rng.uniform(0.5, 1.5, size=5) for _ in range(4))
    found = width(rho, eta, b, batch=2.0, jump=jump)
    for probability in (0.5, 1e-6):
        np.testing.assert_allclose(found.tail(found.exceeded(probability))[1:], probability)
    assert (found.tail(found.m) == 1).all()
    assert found.tail(np.full((6, 2), 1e-9))[0].tolist() == [0, 0], "nothing has moved at the start"
    last = found.ever_exceeded(0.1)[-1]
    assert last == pytest.approx(found.exceeded(0.1)[-1]), "at the end both are the same"


@pytest.mark.parametrize("seed", range(20))
def test_the_cosine_grows_by_at_most_that_of_the_largest_step(seed):
    rng = np.random.default_rng(seed)
    size, points = int(rng.integers(1, 6)), int(rng.integers(2, 8))
    law = rng.dirichlet(np.ones(points))
    steps = rng.normal(size=(points, size)) * rng.exponential(size=(points, 1))
    steps -= law @ steps
    b = np.linalg.norm(steps, axis=1).max()
    for s, place in product((0.01, 0.3, 1.0, 5.0), (0.0, 0.1, 1.0, 10.0)):
        for direction in (*rng.normal(size=(10, size)), *steps, *-steps):
            x = place * direction / np.linalg.norm(direction)
            mean = law @ np.cosh(s * np.linalg.norm(x + steps, axis=1))
            assert mean <= np.cosh(s * place) * np.cosh(s * b) * (1 + 1e-12)


def test_two_opposite_steps_reach_it():
    mean = (np.cosh(0.7 * 3) + np.cosh(0.7 * 1)) / 2
    assert mean == pytest.approx(np.cosh(0.7 * 2) * np.cosh(0.7 * 1))


# -- distances ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "identity"])
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_nearer_than_the_distance_is_wrong(random_regime, seed, activation):
    regime = random_regime(seed, model={"activation": activation})
    one = made(regime, seed)
    D, margins = distances(one)[..., 0], one.margins()[..., 0]
    assert ((D > 0) == (margins > 0)).all()
    assert (np.sqrt(regime.model.m) * np.maximum(margins, 0) >= D).all()
    rng, here = np.random.default_rng(seed), position(one)
    for k, j, n in np.argwhere(D > 0):
        moves = rng.normal(size=(len(here), 60))
        for target in range(20):  # and against the margin: a few steps down its slope
            moves[:, target] = _downhill(one, (k, j, n), D[k, j, n] * (target + 1) / 20)
        only = parts_of(one, k)
        moves = moves * only[:, None]
        moves *= 0.999 * D[k, j, n] / np.linalg.norm(moves, axis=0)
        assert (placed(one, here + moves).margins()[k, j, n] > 0).all()


def parts_of(one: Ensemble, k: int) -> np.ndarray:
    """Which packed coefficients are those of concept k."""
    marks = {name: np.zeros_like(x) for name, x in one.state.items()}
    for x in marks.values():
        x[:, k] = 1.0
    return pack(marks)[:, 0]


def _downhill(one: Ensemble, prompt: tuple[int, int, int], length: float) -> np.ndarray:
    """A move of about that length along the finite-difference slope of one margin, away from being right."""
    here = position(one)[:, 0]
    step = 1e-3 * length
    around = here[:, None] + step * np.eye(len(here))
    slope = placed(one, around).margins()[prompt] - one.margins()[(*prompt, 0)]
    return -length * slope / max(np.linalg.norm(slope), 1e-300)


# -- paths ----------------------------------------------------------------------------------------------------


def test_a_path_is_descent_and_its_constants(random_regime):
    regime = random_regime(0)
    start = made(regime, 0)
    start.t = 7
    path = follow(start, 3)
    assert path.first == 7 and start.t == 7, "the start is left where it is"
    one = start.pick(slice(0, 1))
    for t in range(4):
        np.testing.assert_array_equal(path.positions[t], position(one)[:, 0])
        np.testing.assert_array_equal(path.distances[t], distances(one)[..., 0])
        assert path.errors[t] == one.error()[0]
        if t < 3:
            assert path.eta[t] == step_size(regime, 7 + t)
            assert path.noise[t] == pytest.approx(drift_and_noise(one)[1][0])
        one.descend()
    wide = path.width(batch=1e12)
    np.testing.assert_allclose(path.error_bound(start.law, wide), path.errors, atol=1e-6)
    narrow = path.width(batch=1e-9, jump=1.0)
    np.testing.assert_allclose(path.error_bound(start.law, narrow)[1:], 1.0)
