"""Many members side by side: the same recursion as `integrate`, with what extinction and picking promise."""

import numpy as np
import pytest

from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.theory.multi_concept.coefficients import project
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b
from polyseme.theory.multi_concept.prompts.law import prompt_probabilities

# Rounding of a hundred steps in another order of sums, amplified a little.
ROUND_OFF = 1e-11
VARIANTS = (
    {},
    {"prompt": {"p_plus": 0.35}},
    {"model": {"activation": "leaky_relu"}},
    {"model": {"activation": "identity"}, "training": {"loss": "squared"}},
    {"training": {"loss": "exponential"}},
)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.usefixtures("unchecked_types")
def test_members_follow_the_stochastic_recursion(seed, random_regime):
    changes = VARIANTS[seed % len(VARIANTS)]
    training = {"batch": 4, "steps": 100, "record_every": 25} | changes.get("training", {})
    regime = random_regime(seed, **{**changes, "training": training, "ensemble": {"seeds": 3}})
    initial, law = draw_initial(regime), prompt_probabilities(regime)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(4, law.ravel() / law.sum(), size=(3, 100)).reshape(3, 100, *law.shape)
    expected = integrate_b(regime, initial, counts=counts)
    members = Ensemble(regime, initial["r"], project(initial, regime.concepts.K1))
    for j, t in enumerate(expected["step"]):
        while members.t < t:
            members.advance(counts[:, members.t])
        found = members.coefficients()
        for name, array in found.items():
            scale = np.abs(expected[name]).max()
            np.testing.assert_allclose(array, expected[name][:, j], rtol=0, atol=ROUND_OFF * scale)
        np.testing.assert_allclose(members.error(), expected["error"][:, j], rtol=0, atol=1e-14)


def test_descent_is_the_population_recursion(random_regime):
    regime = random_regime(3, training={"steps": 30, "record_every": 30})
    initial = draw_initial(regime)
    expected = integrate_b(regime, initial)
    one = Ensemble(regime, initial["r"], project(initial, regime.concepts.K1), members=2)
    for _ in range(30):
        one.descend()
    for name, array in one.coefficients().items():
        for member in range(2):
            np.testing.assert_allclose(array[member], expected[name][-1], rtol=0, atol=1e-12)


def test_picked_members_are_copies(random_regime):
    regime = random_regime(4, ensemble={"seeds": 4})
    initial = draw_initial(regime)
    members = Ensemble(regime, initial["r"], project(initial, regime.concepts.K1))
    picked = members.pick(np.array([3, 3, 0]))
    before = members.coefficients()
    np.testing.assert_array_equal(picked.coefficients()["alpha"], before["alpha"][[3, 3, 0]])
    picked.descend()
    np.testing.assert_array_equal(members.coefficients()["alpha"], before["alpha"])
    assert (members.t, picked.t) == (0, 1)


@pytest.mark.parametrize("seed", range(4))
def test_extinct_gates_are_shut_on_every_prompt_and_their_label_is_wrong(seed, random_regime):
    regime = random_regime(seed, model={"m": 4}, ensemble={"seeds": 64})
    initial = draw_initial(regime)
    members = Ensemble(regime, initial["r"], project(initial, regime.concepts.K1))
    extinct, margins = members.is_extinct(), members.margins()
    assert extinct.any() and not extinct.all()
    for k, sign, member in np.argwhere(extinct):
        assert (margins[k, sign, :, member] <= 0).all()
    # By the definition, neuron by neuron, on a fine grid of mean signs.
    n_c, n_d = (np.sqrt((1 + pm * regime.concepts.kappa_y) / 2) for pm in (1, -1))
    of = members.coefficients()
    ebar = np.linspace(-1, 1, 41)[:, None, None, None]
    h = n_c * of["alpha"] + ebar * n_d * of["beta"]  # (ebar, member, m, K1)
    for j, sign in enumerate((1, -1)):
        shut = (h[:, :, initial["r"] * sign > 0] <= 0).all(axis=(0, 2))
        np.testing.assert_array_equal(extinct[:, j], shut.T)


def test_without_gates_nothing_goes_extinct(random_regime):
    regime = random_regime(1, model={"activation": "leaky_relu"}, ensemble={"seeds": 8})
    initial = draw_initial(regime)
    assert not Ensemble(regime, initial["r"], project(initial, regime.concepts.K1)).is_extinct().any()
