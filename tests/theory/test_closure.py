"""Which blocks live: the computed sets, and the full model that keeps the dead ones at zero (section 4)."""

from itertools import product

import numpy as np
import pytest
import sympy as sp

from sim.initial import draw_initial
from sim.train import simulate
from theory import closure as closures
from theory import forward as fw
from theory.closure import IDENTITY, closure, within_concept
from theory.coefficients import constants, to_layout
from theory.derive import LIVING_ENTRIES
from theory.integrate import evaluate
from theory.lower import system
from theory.setting import Regime

OFF_DIAGONAL = {("a", "b"), ("b", "a"), ("a'", "b'"), ("b'", "a'")}


def test_mirrored_neurons_keep_the_diagonal():
    assert closure("mirrored") == {"W_Q": IDENTITY, "W_K": IDENTITY}
    assert within_concept(closure("mirrored")) == {"W_Q": LIVING_ENTRIES["S"], "W_K": LIVING_ENTRIES["S"]}


def test_generic_neurons_fill_the_block_of_a_concept_but_for_one_entry_of_w_k():
    live = closure("generic")
    assert live["W_Q"] == IDENTITY | OFF_DIAGONAL
    # The gradient in W_K is (W_Q x_query) b_k^T: nothing ever enters W_K^{ba} (section 3).
    assert live["W_K"] == IDENTITY | {("a", "b"), ("a'", "b'")}
    assert within_concept(live) == {"W_Q": LIVING_ENTRIES["B"], "W_K": ("aa", "ab", "bb")}


def test_the_closure_is_a_fixed_point():
    live = closure("generic")
    for name in ("W_Q", "W_K"):
        assert closure("generic", live[name])[name] == live[name]


def test_the_zero_start_never_moves_and_one_without_b_fills_row_a():
    nothing = frozenset()
    assert closure("generic", nothing) == {"W_Q": nothing, "W_K": nothing}
    # (W_Q x_query) b^T reaches W_K^{ab}, then (W_K b) x_query^T reaches W_Q^{ab}; no row b is ever reached.
    start = frozenset((s, s) for s in ("a", "a'", "nu", "perp"))
    filled = start | {("a", "b"), ("a'", "b'")}
    assert closure("generic", start) == {"W_Q": filled, "W_K": filled}


def test_a_cross_concept_start_spreads():
    # W b_k with a part on b_k' drags the other concept's directions along: level B is not closed there.
    live = closure("generic", IDENTITY | {("b'", "b")})
    assert ("b'", "a") in live["W_Q"]


def axis_aligned(regime):
    """The initial state in the basis a^_1, b^_1, .., nu, perp: what is zero in theory is 0.0 in floats.

    Its dictionaries are coordinate vectors, so that a dead block is a sum of products with exact zeros.
    """
    concepts = regime.concepts
    initial = draw_initial(regime)
    for name, kappa in (("M", concepts.kappa_x), ("Q", concepts.kappa_y)):
        features = np.eye(*initial[name].shape)
        half_sum, half_difference = ((1 + kappa) / 2) ** 0.5, ((1 - kappa) / 2) ** 0.5
        for k in range(concepts.K1):
            plane = np.array([[half_sum, half_sum], [half_difference, -half_difference]])
            features[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = plane
        initial[name] = features
    return initial


def kind_of(index, concepts):
    """The direction of a coordinate and its concept, if any."""
    if index < 2 * concepts.K1:
        return "ab"[index % 2], index // 2
    return ("nu" if index < 2 * concepts.K1 + concepts.K2 else "perp"), index


@pytest.mark.parametrize("seed", [0, 3])
def test_full_descent_fills_the_live_blocks_and_leaves_the_dead_at_zero(seed, random_regime):
    regime = random_regime(
        seed,
        concepts={"K1": 3, "K2": 2, "d_x": 10, "d_y": 8, "weights": None},
        prompt={"L": 4},
        training={"steps": 100},
    )
    concepts = regime.concepts
    path = simulate(regime, axis_aligned(regime), keep_final=True)
    live = closure("generic")
    for name in ("W_Q", "W_K"):
        weights = path[f"final_{name}"]
        for row, column in np.ndindex(weights.shape):
            (s, k_row), (t, k_column) = kind_of(row, concepts), kind_of(column, concepts)
            if k_row != k_column:
                assert weights[row, column] == 0, (name, row, column)
            elif (s, t) in live[name]:
                assert abs(weights[row, column]) > 1e-6, (name, row, column)
            else:
                # W_K^{ba} is dead because the logit gradients of a prompt sum to zero: up to their rounding, for
                # 100 steps. The other dead blocks are sums of exact zeros.
                assert (name, s, t) == ("W_K", "b", "a")
                assert abs(weights[row, column]) < 1e-15


def test_directions_outside_all_concepts_decay_exactly(random_regime):
    regime = random_regime(0, concepts={"K1": 2, "K2": 2, "d_x": 8, "d_y": 6, "weights": None}, training={"steps": 400})
    path = simulate(regime, axis_aligned(regime), keep_final=True)
    training = regime.training
    decay = np.prod([1 - 2 / (training.gamma + t) for t in range(400)])  # eta_t lambda = 2 / (gamma + t)
    for name in ("W_Q", "W_K"):
        outside = np.diag(path[f"final_{name}"])[4:]
        # 400 multiplications, each rounded to half an eps.
        np.testing.assert_allclose(outside, regime.model.sigma_0 * decay, rtol=400 * np.finfo(float).eps)
    assert decay < 0.99


def test_the_closures_own_forward_pass_has_the_executed_risk():
    # Derived twice, in full matrices and in coefficients: the closure speaks about the theory that is run.
    rng = np.random.default_rng(11)
    regime = Regime().replace(
        concepts={"K1": 1, "K2": 0, "d_x": 2, "d_y": 2, "kappa_x": 0.3, "kappa_y": 0.6},
        prompt={"L": closures._L, "law": "iid"},
        model={"m": closures._NEURONS},
    )
    r = np.array([1.0, -1.0]) / closures._NEURONS
    numbers = constants(regime, r)
    blocks = {name: rng.normal(size=(1, 2, 2)) for name in ("W_Q_blocks", "W_K_blocks")}
    mlp = {name: rng.normal(size=(closures._NEURONS, 1)) for name in ("alpha", "beta")}
    executed = evaluate(system("B").observables, to_layout(blocks | mlp), numbers)["loss"].item()

    values = {getattr(fw, name): numbers[name] for name in ("n_a", "n_b", "n_c", "n_d")}
    for matrix, name in zip(closures._weights()[:2], ("W_Q_blocks", "W_K_blocks"), strict=True):
        values |= {matrix[s, t]: blocks[name][0, s, t] if max(s, t) < 2 else 0.0 for s in range(6) for t in range(6)}
    for i, t in product(range(closures._NEURONS), range(5)):
        values[closures._weights()[2][i, t]] = mlp[("alpha", "beta")[t]][i, 0] if t < 2 else 0.0
    total = sum(closures._loss_given_gap(e).xreplace({closures._GAP: closures._half_gap(e)}) for e in (1, -1))
    stated = float(total.xreplace(values).rewrite(sp.exp).evalf()) / (2 * 2**closures._L)
    # A sum of eight terms of order one, each with a few dozen roundings.
    assert abs(stated - executed) < 1e-13
