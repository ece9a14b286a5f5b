"""The stochastic recursion is SGD of the full model, path by path, when it is fed the same prompts (section 4)."""

import numpy as np
import pytest

from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b

# As for the population (test_trajectories): rounding of 1000 steps, amplified by a few thousand at most.
ROUND_OFF = 1e-10
BATCHES = (1, 2, 3, 5, 8, 12, 16, 32, 48, 64)
VARIANTS = (
    {},
    {"prompt": {"p_plus": 0.35}},
    {"model": {"activation": "leaky_relu"}},
    {"model": {"activation": "identity"}, "prompt": {"p_plus": 0.7}},
)


@pytest.mark.parametrize("seed", [0, 3, 5, 6, 9, 10, 12, 15, 17, 18])  # every variant, both laws
@pytest.mark.usefixtures("unchecked_types")
def test_counts_of_minibatches_reproduce_sgd(seed, random_regime, relative_differences):
    batch = BATCHES[seed % len(BATCHES)]
    variant = {**VARIANTS[seed // 5], "training": {"batch": batch, "steps": 1000, "record_every": 50}}
    regime = random_regime(seed, **variant)
    initial = draw_initial(regime)
    full = simulate(regime, initial, keep_counts=True)
    assert (full["counts"].sum(axis=(1, 2, 3)) == batch).all()
    reduced = integrate_b(regime, initial, counts=full["counts"])
    differences = relative_differences(reduced, {name: full[name] for name in reduced})
    assert max(differences.values()) <= ROUND_OFF, differences
    # It is not the population recursion: the noise of the minibatch shows.
    population = integrate_b(regime, initial)
    assert np.abs(population["alpha"] - reduced["alpha"]).max() > 1e-3 * np.abs(reduced["alpha"]).max()


def test_every_member_follows_its_own_prompts(random_regime, relative_differences):
    regime = random_regime(11, ensemble={"seeds": 3}, training={"batch": 4, "steps": 100, "record_every": 20})
    initial = draw_initial(regime)
    full = simulate(regime, initial, keep_counts=True)
    reduced = integrate_b(regime, initial, counts=full["counts"])
    differences = relative_differences(reduced, {name: full[name] for name in reduced})
    assert max(differences.values()) <= ROUND_OFF, differences
    shuffled = integrate_b(regime, initial, counts=full["counts"][::-1])
    assert relative_differences(shuffled, {name: full[name] for name in shuffled})["alpha"] > 1e-4


def test_counts_in_proportion_to_the_law_are_the_population(random_regime):
    # Under `iid` with L = 2 the law is (1, 2, 1) / 4: counts that match it exactly give the discrete recursion.
    regime = random_regime(1, concepts={"K1": 1, "weights": None}, prompt={"L": 2}, training={"steps": 50})
    initial = draw_initial(regime)
    counts = np.tile(np.array([1, 2, 1]), (50, 1, 2, 1))
    stochastic, discrete = integrate_b(regime, initial, counts=counts), integrate_b(regime, initial)
    for name in ("alpha", "beta", "W_Q_blocks"):
        # The same numbers p: eighths are exact, and binomial weights err by an eps or two.
        np.testing.assert_allclose(stochastic[name], discrete[name], rtol=0, atol=1e-12)
