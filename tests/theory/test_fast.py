"""The cheaper evaluation against its obvious twin, the generic one (section 3)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.initial import draw_initial
from theory.coefficients import constants, to_layout
from theory.derive import derive
from theory.fast import CROSSOVER, Edges, compile_fast, fast_system, system_for
from theory.integrate import evaluate, integrate
from theory.lower import system, system_of
from theory.setting import Regime

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
    """Largest difference of each array, relative to the sum of the sizes of its terms."""
    r = np.random.default_rng(seed).standard_normal(regime.model.m)
    layout, numbers = to_layout(coefficients(regime, members, seed)), constants(regime, r)
    found = {}
    for part in ("gradient", "observables"):
        one, other = (evaluate(getattr(form, part), layout, numbers) for form in (fast, system_of(regime)))
        for name, array in one.items():
            found[name] = np.abs(array - other[name]).max() / max(1.0, np.abs(other[name]).max())
    return found


@pytest.mark.parametrize("loss", ["logistic", "squared", "exponential"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "identity"])
@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_generic_evaluation(loss, activation, seed, random_regime):
    regime = random_regime(
        seed,
        model={"activation": activation, "m": (1, 2, 9, 17, 24, 3)[seed]},
        training={"loss": loss},
        prompt={"L": (1, 2, 40, 7, 150, 3)[seed], "p_plus": (0.5, 0.3)[seed % 2], "law": "match"},
    )
    # exp(-e f) amplifies round-off of f, of size 100, by its own size; alpha and beta here are not small.
    if loss == "exponential":
        regime = regime.replace(concepts={"kappa_x": 0.1})
    found = differences(regime, 3, seed, fast_system(loss=loss, activation=activation))
    # Sums of 2 (L + 1) m terms, in another order, of values of order up to 100 inside an exponential.
    allowed = 2 * (regime.prompt.L + 1) * regime.model.m * EPS * (1e5 if loss == "exponential" else 100)
    assert max(found.values()) < allowed, found


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
    one, other = (integrate(regime, initial, compiled=form) for form in (fast_system(), system("B")))
    for name in one.keys() - {"step"}:
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-11, err_msg=name)


def test_small_problems_take_the_generic_evaluation_and_large_ones_the_cheaper():
    small, large = (Regime().replace(model={"m": m}) for m in (16, 1000))
    assert system_for(small, 5) is system("B")
    assert system_for(large, 1 + CROSSOVER // 1000) is fast_system("B")
