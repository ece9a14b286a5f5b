"""Integrating a regime: the level that fits is chosen, and what fits none is refused in one sentence."""

import numpy as np
import pytest

from polyseme.errors import PolysemeError
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b
from polyseme.theory.multi_concept.dynamics.noisy_run import integrate_noise
from polyseme.theory.multi_concept.dynamics.run import choose_level, integrate
from polyseme.theory.multi_concept.dynamics.span_run import integrate_span
from polyseme.theory.multi_concept.regime import Regime

PURE = Regime().replace(
    concepts={"K1": 2, "K2": 1, "d_x": 6, "d_y": 5},
    prompt={"L": 2},
    model={"m": 4},
    training={"steps": 6, "record_every": 3, "batch": "population"},
)
EXTRA = PURE.replace(prompt={"p_extra": 0.01})
NOISY = PURE.replace(prompt={"sigma_y": 0.05}, training={"batch": 4})


@pytest.mark.parametrize(
    ("regime", "level", "inner"),
    [(PURE, "B", integrate_b), (EXTRA, "Z", integrate_span), (NOISY, "N", integrate_noise)],
)
def test_the_level_that_fits_is_chosen(regime, level, inner):
    start = draw_initial(regime)
    assert choose_level(regime) == level
    found, wanted = integrate(regime, start), inner(regime, start)
    assert found.keys() == wanted.keys()
    for name in found:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


def test_shapes_are_those_of_the_full_model_whether_the_start_is_one_or_several():
    regime = PURE.replace(ensemble={"seeds": 3})
    for start in (draw_initial(regime), draw_initial(PURE)):
        theory, full = integrate(regime, start), simulate(regime, start)
        for name in ("W_Q_blocks", "beta", "loss"):
            assert theory[name].shape == full[name].shape
            np.testing.assert_allclose(theory[name], full[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("regime", "level", "sentence"),
    [
        (
            NOISY,
            "B",
            r"initial: level B is the theory of pure prompts, got \[prompt\] sigma_y = 0.05; type sigma_y = 0",
        ),
        (NOISY, "Z", "level Z is the theory of noise-free prompts"),
        (
            NOISY.replace(prompt={"sigma_y": 0.5}),
            None,
            r"regime: level N is the theory of low noise, got .*; type sigma_y",
        ),
        (PURE, "S", "got level='S', expected B, N or Z; type level='B'"),
    ],
)
def test_a_level_that_is_no_theory_of_the_regime_is_refused(regime, level, sentence):
    with pytest.raises(PolysemeError, match=sentence):
        integrate(regime, draw_initial(regime), level=level)


def slanted(regime, name):
    """A dictionary in which the first features of two concepts are not orthogonal."""
    features = draw_initial(regime)[name].copy()
    features[:, 2] += 0.1 * features[:, 0]
    return features / np.linalg.norm(features, axis=0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"M": slanted(PURE, "M")}, "initial: got columns of M with inner products off by .*; type the kappa_x"),
        ({"Q": slanted(PURE, "Q")}, "initial: got columns of Q with inner products off by .*; type the kappa_y"),
        ({"M": draw_initial(PURE.replace(concepts={"kappa_x": 0.5}))["M"]}, "overlap kappa_x = 0.2 within a concept"),
        ({"M": np.eye(6)[:, :4]}, r"got M of shape \(6, 4\), expected \(6, 5\); type the sizes"),
        ({"W_O": np.zeros((2, 4, 5))}, r"got W_O of shape \(2, 4, 5\), expected \(4, 5\); type the sizes"),
        ({"W_Q": np.full((6, 6), np.nan)}, "got W_Q with entries that are not finite real numbers"),
        ({"r": np.full(4, 0.3)}, r"got an r that is off by 0.2 of 1/m, expected each to be \+1/m or -1/m with m = 4"),
        ({"W_K": np.eye(6) + np.eye(6)[::-1]}, "level B needs W_Q and W_K to map each"),
    ],
)
def test_a_start_that_breaks_the_theory_is_refused(changes, sentence):
    with pytest.raises(PolysemeError, match=sentence) as refused:
        integrate(PURE, draw_initial(PURE) | changes)
    assert "\n" not in str(refused.value)
    with pytest.raises(PolysemeError, match=sentence):  # pure prompts are level B, whatever the level is called
        integrate(PURE, draw_initial(PURE) | changes, level="N")


def test_a_start_without_an_array_is_refused():
    start = draw_initial(PURE)
    del start["Q"], start["r"]
    with pytest.raises(PolysemeError, match=r"start\.npz: got W_Q, W_K, W_O, M, expected .*; add r, Q"):
        integrate(PURE, start, start_name="start.npz")
