"""The lowered functions against plain loops, in blocks, and with an ensemble axis (sections 3 and 8)."""

from math import comb, exp, log, log1p, tanh

import numpy as np
import pytest

import polyseme.theory.multi_concept.dynamics.integrate
from polyseme.sim.multi_concept.training.initial import WEIGHTS, draw_initial
from polyseme.theory.multi_concept.coefficients import constants, from_layout, to_layout
from polyseme.theory.multi_concept.dynamics.integrate import evaluate, integrate_b, step
from polyseme.theory.multi_concept.numerics.lower import system

NAMES = ("W_Q_blocks", "W_K_blocks", "alpha", "beta")
# A sum of some hundred terms of order one, in another order: some hundred eps.
OTHER_ORDER = 1e-13


def random_coefficients(regime, members, seed):
    rng = np.random.default_rng(seed)
    K1, m = regime.concepts.K1, regime.model.m
    shapes = {"W_Q_blocks": (K1, 2, 2), "W_K_blocks": (K1, 2, 2), "alpha": (m, K1), "beta": (m, K1)}
    return {name: rng.standard_normal((members, *shape)) for name, shape in shapes.items()}


def probability(regime, k, e, n):
    """pi_k / 2 times P(n+ | e), from section 1."""
    L, law = regime.prompt.L, regime.prompt.law
    pi = regime.concepts.probabilities[k] / 2
    if law == "iid":
        return pi * comb(L, n) / 2**L
    matching = n if e == 1 else L - n
    return pi * comb(L, n) / (2**L - 1) if matching else 0.0


def by_loops(regime, r, W_Q, W_K, alpha, beta):
    """Gradient, loss, error and attention of one member: loops over (k, e, n+, i) with section 3 typed out."""
    kappa_x, kappa_y, L = regime.concepts.kappa_x, regime.concepts.kappa_y, regime.prompt.L
    n_a, n_b = ((1 + kappa_x) / 2) ** 0.5, ((1 - kappa_x) / 2) ** 0.5
    n_c, n_d = ((1 + kappa_y) / 2) ** 0.5, ((1 - kappa_y) / 2) ** 0.5
    total = {name: np.zeros_like(array) for name, array in zip(NAMES, (W_Q, W_K, alpha, beta), strict=True)}
    total |= {"loss": 0.0, "error": 0.0, "attention": 0.0}
    for k in range(regime.concepts.K1):
        for e in (1, -1):
            x_query, b = np.array([n_a, e * n_b]), np.array([0.0, n_b])
            for n in range(L + 1):
                p = probability(regime, k, e, n)
                g = b @ W_K[k].T @ W_Q[k] @ x_query
                ebar = -1.0 if n == 0 else 1.0 if n == L else tanh(g + log(n / (L - n)) / 2)
                h = [n_c * alpha[i, k] + ebar * n_d * beta[i, k] for i in range(regime.model.m)]
                f = sum(r[i] * max(h[i], 0.0) for i in range(regime.model.m))
                delta = -e / (1 + exp(e * f))
                lam = 0.0
                for i in range(regime.model.m):
                    gamma = delta * r[i] * (h[i] > 0)
                    total["alpha"][i, k] += p * n_c * gamma
                    total["beta"][i, k] += p * n_d * ebar * gamma
                    lam += n_d * gamma * beta[i, k]
                total["W_Q_blocks"][k] += p * lam * (1 - ebar**2) * np.outer(W_K[k] @ b, x_query)
                total["W_K_blocks"][k] += p * lam * (1 - ebar**2) * np.outer(W_Q[k] @ x_query, b)
                total["loss"] += p * log1p(exp(-e * f))
                total["error"] += p * (e * f <= 0)
                total["attention"] += p * (1 + e * ebar) / 2
    return total


@pytest.mark.parametrize("seed", range(8))
def test_lowered_gradient_and_observables_are_those_of_plain_loops(seed, random_regime):
    regime, members = random_regime(seed), 3
    coefficients = random_coefficients(regime, members, seed)
    r = np.random.default_rng(seed).standard_normal(regime.model.m)
    state, numbers = to_layout(coefficients), constants(regime, r)
    gradient = from_layout(evaluate(system("B").gradient, state, numbers))
    observed = evaluate(system("B").observables, state, numbers)
    for member in range(members):
        expected = by_loops(regime, r, *(coefficients[name][member] for name in NAMES))
        for name in NAMES:
            # |terms| are below m, and m <= 24.
            np.testing.assert_allclose(gradient[name][member], expected[name], rtol=0, atol=24 * OTHER_ORDER)
        for name in ("loss", "error", "attention"):
            assert observed[name].shape == (members, 1, 1, 1, 1)
            assert observed[name][member].item() == pytest.approx(expected[name], rel=24 * OTHER_ORDER)
    assert np.abs(gradient["W_Q_blocks"]).max() > 1e-3 or regime.prompt.L == 1


@pytest.mark.parametrize("block", [1, 100, 600, 2000])
@pytest.mark.parametrize("part", ["gradient", "observables"])
def test_blocks_change_nothing(block, part, random_regime, monkeypatch):
    regime = random_regime(10, prompt={"L": 7})
    state = to_layout(random_coefficients(regime, 5, 0))
    lowered, numbers = getattr(system("B"), part), constants(regime, draw_initial(regime)["r"])
    whole = evaluate(lowered, state, numbers)
    monkeypatch.setattr(polyseme.theory.multi_concept.dynamics.integrate, "BLOCK", block)
    pieces = list(polyseme.theory.multi_concept.dynamics.integrate._blocks((5, regime.concepts.K1, 8, regime.model.m)))
    assert len(pieces) > 1
    blocked = evaluate(lowered, state, numbers)
    assert whole.keys() == blocked.keys()
    for name in whole:
        np.testing.assert_allclose(blocked[name], whole[name], rtol=0, atol=OTHER_ORDER, err_msg=name)


@pytest.mark.parametrize("block", [1, 7, 64, 1000, 10**9])
def test_blocks_cover_every_prompt_once(block, monkeypatch):
    monkeypatch.setattr(polyseme.theory.multi_concept.dynamics.integrate, "BLOCK", block)
    members, concepts, counts = 3, 4, 6
    seen = np.zeros((members, concepts, counts), dtype=int)
    for where in polyseme.theory.multi_concept.dynamics.integrate._blocks((members, concepts, counts, 5)):
        seen[where] += 1
    assert (seen == 1).all()


def test_a_member_equals_its_solo_run(random_regime):
    regime = random_regime(10, ensemble={"seeds": 4}, training={"steps": 50, "record_every": 10})
    initial = draw_initial(regime)
    together = integrate_b(regime, initial)
    assert together["alpha"].shape == (4, 6, regime.model.m, regime.concepts.K1)
    for member in range(4):
        alone = integrate_b(regime, initial | {name: initial[name][member] for name in WEIGHTS})
        for name in together.keys() - {"step"}:
            # Matrix products of another size may sum in another order.
            np.testing.assert_allclose(together[name][member], alone[name], rtol=0, atol=OTHER_ORDER, err_msg=name)
    assert np.abs(together["alpha"][0] - together["alpha"][1]).max() > 1e-2


def test_a_batch_of_counts_drives_each_member_by_its_own(random_regime):
    regime = random_regime(10, ensemble={"seeds": 3}, training={"steps": 20, "record_every": 5})
    initial = draw_initial(regime)
    shape = (3, 20, regime.concepts.K1, 2, regime.prompt.L + 1)
    counts = np.random.default_rng(0).integers(0, 3, shape)
    together = integrate_b(regime, initial, counts=counts)
    for member in range(3):
        one = initial | {name: initial[name][member] for name in WEIGHTS}
        alone = integrate_b(regime, one, counts=counts[member])
        np.testing.assert_allclose(together["alpha"][member], alone["alpha"], rtol=0, atol=OTHER_ORDER)
    assert np.abs(together["alpha"] - integrate_b(regime, initial)["alpha"]).max() > 1e-3


def test_layout_goes_there_and_back(random_regime):
    regime = random_regime(10)
    coefficients = random_coefficients(regime, 3, 1)
    back = from_layout(to_layout(coefficients))
    for name in NAMES:
        np.testing.assert_array_equal(back[name], coefficients[name])
    member = {name: array[1] for name, array in coefficients.items()}
    for name, array in from_layout(to_layout(member)).items():
        np.testing.assert_array_equal(array, coefficients[name][1:2])


def test_one_step_subtracts_gradient_and_shrinkage(random_regime):
    regime = random_regime(3)
    state = to_layout(random_coefficients(regime, 2, 2))
    numbers = constants(regime, draw_initial(regime)["r"])
    gradient = evaluate(system("B").gradient, state, numbers)
    after = step(state, numbers, 0.25, system("B"))
    for name, before in state.items():
        expected = before - 0.25 * (gradient[name] + regime.training.lam * before)
        np.testing.assert_allclose(after[name], expected, rtol=0, atol=OTHER_ORDER)
