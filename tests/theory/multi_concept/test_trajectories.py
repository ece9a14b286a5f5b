"""Level B is the full model under population descent: every array of section 8, thousands of steps (section 4)."""

import numpy as np
import pytest

from polyseme.sim.multi_concept.training.initial import draw_initial, mirrored
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.multi_concept.coefficients import constants, project, to_layout
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b
from polyseme.theory.multi_concept.numerics.lower import system

ARRAYS = {"W_Q_blocks", "W_K_blocks", "alpha", "beta", "loss", "error", "attention"}

# Each of 2000 steps rounds at 1e-16 relative; unstable directions (the escape from the initial plateau) amplify
# that by up to some thousand. Measured: 1e-15 to 3e-13. A wrong term differs by more than 1e-4 (test_planted_errors).
ROUND_OFF = 1e-11


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.usefixtures("unchecked_types")
def test_level_b_is_population_descent_of_the_full_model(seed, random_regime, relative_differences):
    regime = random_regime(seed)
    initial = draw_initial(regime)
    reduced, full = integrate_b(regime, initial), simulate(regime, initial)
    np.testing.assert_array_equal(reduced["step"], full["step"])
    assert reduced["step"][-1] == 2000
    differences = relative_differences(reduced, full)
    assert differences.keys() == ARRAYS
    assert max(differences.values()) <= ROUND_OFF, differences
    # The comparison is of states that moved: from start to end, by a tenth of the largest entry at least.
    for name in ("W_Q_blocks", "W_K_blocks", "alpha", "beta"):
        assert np.abs(reduced[name][-1] - reduced[name][0]).max() > 0.1 * np.abs(reduced[name]).max(), name


def test_the_random_regimes_cover_the_range(random_regime):
    regimes = [random_regime(seed) for seed in range(12)]
    assert {regime.concepts.K1 for regime in regimes} == {1, 2, 3, 4}
    assert {regime.prompt.L for regime in regimes} == set(range(2, 8))
    assert {(regime.prompt.law, regime.training.schedule) for regime in regimes} == {
        (law, schedule) for law in ("match", "iid") for schedule in ("inverse", "constant")
    }
    assert min(regime.model.m for regime in regimes) <= 4
    assert max(regime.model.m for regime in regimes) >= 22
    assert all(
        0 < overlap < 0.9 for regime in regimes for overlap in (regime.concepts.kappa_x, regime.concepts.kappa_y)
    )


def test_level_b_with_an_ensemble_axis(random_regime, relative_differences):
    regime = random_regime(3, ensemble={"seeds": 3}, training={"steps": 500})
    initial = draw_initial(regime)
    reduced, full = integrate_b(regime, initial), simulate(regime, initial)
    assert reduced["loss"].shape == (3, 6)
    assert reduced["step"].shape == (6,)
    differences = relative_differences(reduced, full)
    assert max(differences.values()) <= ROUND_OFF, differences
    assert np.abs(reduced["alpha"][0] - reduced["alpha"][1]).max() > 0.1


def test_level_b_from_any_block_diagonal_start(random_regime, relative_differences):
    # W_Q != W_K, both with full random blocks on (a_k, b_k): all eight entries of every concept are on.
    regime = random_regime(7, training={"steps": 500})
    rng = np.random.default_rng(7)
    initial = draw_initial(regime)
    M, K1 = initial["M"], regime.concepts.K1
    for name in ("W_Q", "W_K"):
        initial[name] = np.zeros_like(initial[name])
        for k in range(K1):
            plane, _ = np.linalg.qr(M[:, 2 * k : 2 * k + 2])
            initial[name] += plane @ rng.uniform(-0.5, 0.5, (2, 2)) @ plane.T
    reduced, full = integrate_b(regime, initial), simulate(regime, initial)
    assert (np.abs(reduced["W_K_blocks"][0]) > 0).all()
    differences = relative_differences(reduced, full)
    assert max(differences.values()) <= ROUND_OFF, differences


def test_level_s_is_level_b_from_a_mirrored_start(random_regime, relative_differences):
    regime = random_regime(6, model={"m": 12}, training={"steps": 500})
    initial = mirrored(draw_initial(regime))
    level_s, level_b = integrate_b(regime, initial, compiled=system("S")), integrate_b(regime, initial)
    differences = relative_differences(level_s, level_b)
    assert max(differences.values()) <= ROUND_OFF, differences
    assert level_b["attention"][-1] > 0.9
    generic = draw_initial(regime)
    wrong = relative_differences(integrate_b(regime, generic, compiled=system("S")), integrate_b(regime, generic))
    assert wrong["W_Q_blocks"] > 1e-3  # without the mirror, level S is another system


@pytest.mark.usefixtures("unchecked_types")
def test_where_nothing_can_be_learned_the_error_is_decided_by_rounding(random_regime, relative_differences):
    # With L = 1 under `iid` the label is independent of e, so every f decays to 0, where P(e f <= 0) jumps. What is
    # true of both programs: coefficients agree, and the error lies between those of a margin of +-1e-12, far above
    # the 1e-17 to which f is rounded there.
    regime = random_regime(59, concepts={"K1": 1, "weights": None}, prompt={"L": 1, "law": "iid"}, model={"m": 2})
    initial = draw_initial(regime)
    reduced, full = integrate_b(regime, initial), simulate(regime, initial)
    differences = relative_differences(reduced, full)
    assert max(differences[name] for name in ARRAYS - {"error"}) <= ROUND_OFF, differences
    compiled, numbers = system("B"), constants(regime, initial["r"])
    for path in (reduced, full):
        for record in range(len(path["step"])):
            state = to_layout({name: path[name][record] for name in ("W_Q_blocks", "W_K_blocks", "alpha", "beta")})
            arguments = numbers | state
            h = compiled.preactivation({name: arguments[name] for name in compiled.preactivation.names})["h"]
            margin = numbers["e"] * (np.maximum(h, 0) * numbers["r"]).sum(-1, keepdims=True)
            strict, lenient = ((numbers["p"] * (margin <= tie)).sum() for tie in (-1e-12, 1e-12))
            assert strict - 1e-15 <= path["error"][record] <= lenient + 1e-15
    assert project(initial, 1)["alpha"].shape == (2, 1)
