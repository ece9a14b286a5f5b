"""The window of counts: its certificate, and what it changes (sections 1 and 3)."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from polyseme.theory.multi_concept.coefficients import constants, from_layout, to_layout
from polyseme.theory.multi_concept.dynamics.integrate import evaluate
from polyseme.theory.multi_concept.numerics.fast import fast_system
from polyseme.theory.multi_concept.prompts.law import prompt_probabilities
from polyseme.theory.multi_concept.prompts.tail import EPSILON, left_out_bounds, window, window_probabilities
from polyseme.theory.multi_concept.regime import Regime

LAWS = ("match", "iid")


def tail(L, plus, within):
    outside = [n for n in range(L + 1) if not within.first <= n <= within.last]
    up, down = plus.numerator, plus.denominator - plus.numerator
    return Fraction(sum(comb(L, n) * up**n * down ** (L - n) for n in outside), plus.denominator**L)


@pytest.mark.parametrize("plus", [Fraction(1, 2), Fraction(1, 8)])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("L", [200, 1000])
@pytest.mark.parametrize("epsilon", [1e-3, 1e-9, EPSILON])
def test_the_exact_tail_is_below_its_bound(L, law, plus, epsilon):
    within = window(Regime().replace(prompt={"L": L, "law": law, "p_plus": float(plus)}), epsilon)
    assert tail(L, plus, within) <= Fraction(epsilon)
    assert within.left_out in (0.0, epsilon)
    if within.left_out:  # and the window is a window
        assert within.last - within.first < L


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("L", [1, 4, 30])
def test_a_short_law_keeps_all_its_counts(L, law):
    regime = Regime().replace(prompt={"L": L, "law": law})
    within = window(regime)
    assert (within.first, within.last, within.left_out) == (0, L, 0.0)
    np.testing.assert_array_equal(window_probabilities(regime, within), prompt_probabilities(regime))


def test_the_window_grows_like_the_root_of_its_law():
    wide = [len(window(Regime().replace(prompt={"L": L})).counts) for L in (10**4, 10**6, 10**8)]
    np.testing.assert_allclose(np.divide(wide[1:], wide[:-1]), 10, rtol=0.01)


@pytest.mark.parametrize("epsilon", [1e-3, 1e-6, EPSILON])
@pytest.mark.parametrize("loss", ["logistic", "squared", "exponential"])
def test_the_gradient_moves_by_less_than_the_certificate(epsilon, loss):
    regime = Regime().replace(prompt={"L": 2000, "p_plus": 0.4}, model={"m": 12}, training={"loss": loss})
    rng = np.random.default_rng(0)
    shapes = {"W_Q_blocks": (2, 2, 2), "W_K_blocks": (2, 2, 2), "alpha": (12, 2), "beta": (12, 2)}
    state = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    r, within = rng.choice([-1, 1], 12) / 12, window(regime, epsilon)
    form, layout = fast_system(loss=loss), to_layout(state)
    parts = []
    for numbers in (constants(regime, r), constants(regime, r, within=within)):
        gradient = from_layout(evaluate(form.gradient, layout, numbers))
        parts.append(gradient | {"loss": evaluate(form.observables, layout, numbers)["loss"]})
    bounds = left_out_bounds(regime, r, state, within)
    whole, cut = parts
    for name, bound in bounds.items():
        moved = np.abs(whole[name] - cut[name]).max()
        # Cumulative sums of some thousand terms of order one besides.
        assert moved <= bound + 2e-12, name
        if epsilon == 1e-3:
            assert moved > 0, name  # the bound is put to the test


@pytest.mark.parametrize("epsilon", [0.0, 1.0, -1.0])
def test_an_epsilon_that_is_no_probability_is_refused(epsilon):
    with pytest.raises(ValueError, match="expected a probability"):
        window(Regime(), epsilon)
