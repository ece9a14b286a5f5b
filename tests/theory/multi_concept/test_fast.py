"""The cheaper evaluation against its reference implementation, the generic one (section 3)."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.theory.multi_concept.coefficients import constants, to_layout
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.dynamics.integrate import evaluate, integrate_b
from polyseme.theory.multi_concept.numerics.fast import FEWEST_COUNTS, Edges, compile_fast, fast_system, system_for
from polyseme.theory.multi_concept.numerics.lower import system, system_of
from polyseme.theory.multi_concept.numerics.machine import machine_system
from polyseme.theory.multi_concept.prompts.tail import Window, left_out_bounds
from polyseme.theory.multi_concept.regime import Regime

pytestmark = pytest.mark.usefixtures("unchecked_types")
EPS = np.finfo(np.float64).eps


def coefficients(regime, members, seed):
    """Random ones; some neurons with beta = 0, alpha = 0 or both, some equal, some with kinks exactly at ebar = +-1."""
    rng = np.random.default_rng(seed)
    K1, m = regime.concepts.K1, regime.model.m
    shapes = {"W_Q_blocks": (K1, 2, 2), "W_K_blocks": (K1, 2, 2), "alpha": (m, K1), "beta": (m, K1)}
    state = {name: rng.standard_normal((members, *shape)) for name, shape in shapes.items()}
    scale = 10.0 ** rng.integers(-3, 2, size=(members, m, K1))
    state["alpha"] *= scale
    state["beta"] *= scale
    kind = rng.integers(0, 6, size=(members, m, K1))
    state["beta"][kind == 0] = 0.0
    state["alpha"][kind <= 1] = 0.0
    norms = constants(regime, rng.standard_normal(m))
    state["alpha"][kind == 2] = (state["beta"] * norms["n_d"] / norms["n_c"])[kind == 2]
    if m > 2:
        state["alpha"][:, 1], state["beta"][:, 1] = state["alpha"][:, 2], state["beta"][:, 2]
    return state


def differences(regime, members, seed, fast):
    """Largest difference of each array, over the bound on its summands that a certificate of nothing left in gives."""
    r = np.random.default_rng(seed).standard_normal(regime.model.m)
    state = coefficients(regime, members, seed)
    layout, numbers = to_layout(state), constants(regime, r)
    largest = left_out_bounds(regime, r, state, Window(first=0, last=regime.prompt.L, left_out=1.0))
    found = {}
    for part in ("gradient", "observables"):
        one, other = (evaluate(getattr(form, part), layout, numbers) for form in (fast, system_of(regime)))
        for name, array in one.items():
            # The error and the attention are probabilities; W_Q_ba is an entry of W_Q_blocks.
            size = largest.get(f"{name[:3]}_blocks" if name.startswith("W_") else name, 1.0)
            found[name] = np.abs(array - other[name]).max() / size
    return found


@pytest.mark.parametrize("form", [fast_system, partial(machine_system, "B")], ids=["half-lines", "machine code"])
@pytest.mark.parametrize("loss", ["logistic", "squared", "exponential"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "identity"])
@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_generic_evaluation(form, loss, activation, seed, random_regime):
    regime = random_regime(
        seed,
        model={"activation": activation, "m": (1, 2, 9, 17, 24, 3)[seed]},
        training={"loss": loss},
        prompt={
            "L": (1, 2, 40, 7, 150, 3)[seed],
            "p_plus": (0.5, 0.3)[seed % 2],
            "law": ("match", "iid")[seed // 2 % 2],
        },
    )
    found = differences(regime, 3, seed, form(loss=loss, activation=activation))
    # f is a sum of m terms and each gradient one of 2 (L + 1): a round-off for each, of the size of the largest summand.
    # Round-off of f, at most m EPS F, moves the slope of the loss by no more than that in units of its own bound.
    assert max(found.values()) < (2 * (regime.prompt.L + 1) + regime.model.m) * EPS, found


class Backwards(Edges):
    """Every gate taken for a rising one."""

    @property
    def rising(self):
        return np.ones_like(self.B, dtype=bool)


def test_the_comparison_sees_a_gate_that_shuts_instead_of_opening(random_regime):
    regime = random_regime(2, model={"m": 9}, prompt={"L": 5})
    wrong = compile_fast(derive("B"), edges=Backwards)
    assert max(differences(regime, 2, 0, wrong).values()) > 1e-3


@given(
    data=st.data(),
    m=st.integers(1, 6),
    counts=st.integers(1, 8),
)
def test_gates_are_those_of_the_sign_itself(data, m, counts):
    # Small whole numbers: kinks fall on values of t all the time.
    numbers = st.integers(-3, 3).map(float)
    A, B = (np.array(data.draw(st.lists(numbers, min_size=m, max_size=m)))[None, None, None, None, :] for _ in "AB")
    t = np.sort(np.array(data.draw(st.lists(numbers, min_size=2 * counts, max_size=2 * counts))).reshape(2, counts))
    edges = Edges(A, B, t[None, None, :, :, None])
    gate = (A + t[None, None, :, :, None] * B > 0)[0, 0]  # (2, counts, m)
    weight = np.arange(1.0, m + 1)
    np.testing.assert_array_equal(edges.over_open_neurons(weight)[0, 0], gate @ weight)
    prompts = np.arange(1.0, 2 * counts + 1).reshape(2, counts)
    np.testing.assert_array_equal(edges.over_open_prompts(prompts)[0, 0], np.einsum("eni,en->i", gate, prompts))


def test_a_mean_sign_that_falls_is_refused():
    line = np.ones((1, 1, 1, 1, 2))
    with pytest.raises(ValueError, match="no half-lines"):
        Edges(line, line, np.array([0.0, -1.0])[None, None, None, :, None])


def test_whole_runs_agree(random_regime):
    regime = random_regime(3, training={"steps": 200}, prompt={"L": 6}, model={"m": 20})
    initial = draw_initial(regime)
    one, other = (integrate_b(regime, initial, compiled=form) for form in (fast_system(), system("B")))
    for name in one.keys() - {"step"}:
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-11, err_msg=name)


def test_small_problems_take_the_generic_evaluation_and_large_ones_the_cheaper():
    small, large = (Regime().replace(model={"m": m}) for m in (16, 1000))
    assert system_for(small, 5) is machine_system("B", loss="logistic", activation="relu")
    assert system_for(small, 10**6) is machine_system("B", loss="logistic", activation="relu")  # too few neurons
    assert system_for(large, FEWEST_COUNTS - 1) is machine_system("B", loss="logistic", activation="relu")
    assert system_for(large, FEWEST_COUNTS) is fast_system("B")


def test_a_certain_sign_is_no_error():
    # 1 - p_plus is 1 in double precision: the match is then certain, or has no chance at all.
    for plus in (1e-18, 1 - 2**-53):
        path = integrate_b(
            *_with(Regime().replace(prompt={"p_plus": plus}, training={"steps": 2, "batch": "population"}))
        )
        assert np.isfinite(path["alpha"]).all()


def _with(regime):
    return regime, draw_initial(regime)
