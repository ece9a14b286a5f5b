"""What the recursion refuses, in one sentence: starts outside level B, divergence, too little memory."""

from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from polyseme.errors import PolysemeError
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.theory.multi_concept.coefficients import leak, project, require_level_b
from polyseme.theory.multi_concept.dynamics.integrate import Diverged, integrate_b, step_size
from polyseme.theory.multi_concept.regime import Regime


def one_sentence(refused):
    message = str(refused.value)
    assert "\n" not in message
    assert ";" in message  # what was got and expected; what to type
    return message


def block_diagonal(regime, seed):
    """Random W_Q, W_K that map each span(a_k, b_k) into itself and the complement into itself."""
    rng = np.random.default_rng(seed)
    initial = draw_initial(regime)
    frame, _ = np.linalg.qr(initial["M"], mode="complete")
    for name in ("W_Q", "W_K"):
        inside = np.zeros((regime.concepts.d_x, regime.concepts.d_x))
        for k in range(regime.concepts.K1):
            inside[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = rng.standard_normal((2, 2))
        rest = 2 * regime.concepts.K1
        inside[rest:, rest:] = rng.standard_normal(inside[rest:, rest:].shape)
        initial[name] = frame @ inside @ frame.T
    return initial


@pytest.mark.parametrize("seed", range(6))
def test_level_b_accepts_every_start_that_keeps_the_concept_planes(seed, random_regime):
    regime = random_regime(seed)
    for initial in (draw_initial(regime), block_diagonal(regime, seed)):
        assert leak(initial, regime.concepts.K1) < 1e-14 * regime.concepts.d_x
        require_level_b(regime, initial, source="test")


@pytest.mark.parametrize("name", ["W_Q", "W_K"])
@pytest.mark.parametrize("where", ["another concept", "nu", "perp"])
def test_level_b_refuses_a_component_outside_the_plane(name, where, random_regime):
    regime = random_regime(0, concepts={"K1": 2, "K2": 1, "d_x": 7, "d_y": 4, "weights": None})
    initial = block_diagonal(regime, 0)
    frame, _ = np.linalg.qr(initial["M"], mode="complete")
    row = {"another concept": 2, "nu": 4, "perp": 6}[where]
    initial[name] = initial[name] + 1e-6 * np.outer(frame[:, row], frame[:, 1])
    with pytest.raises(PolysemeError, match="got a component of relative size") as refused:
        require_level_b(regime, initial, source="my.npz")
    assert one_sentence(refused).startswith("my.npz: level B needs W_Q and W_K")


def test_what_the_complement_does_is_no_leak(random_regime):
    # Words have no part outside the planes, so W (nu) may point anywhere (section 3).
    regime = random_regime(0, concepts={"K1": 2, "K2": 1, "d_x": 7, "d_y": 4, "weights": None})
    initial = draw_initial(regime)
    frame, _ = np.linalg.qr(initial["M"], mode="complete")
    initial["W_Q"] = initial["W_Q"] + np.outer(frame[:, 0], frame[:, 4])
    require_level_b(regime, initial, source="test")


@pytest.mark.parametrize("key", ["p_extra", "sigma_x", "sigma_y"])
def test_level_b_refuses_prompts_that_are_not_pure(key, random_regime):
    regime = random_regime(0, prompt={key: 0.05})
    with pytest.raises(PolysemeError, match=rf"got \[prompt\] {key} = 0\.05") as refused:
        require_level_b(regime, draw_initial(regime), source="a.toml")
    assert f"type {key} = 0" in one_sentence(refused)


@pytest.mark.parametrize("record_every", [10, 400])
def test_an_absurd_step_size_diverges_in_words_and_without_warnings(record_every, random_regime):
    # eta lambda = 1e5 multiplies every weight by -1e5 a step. pytest turns warnings into errors: overflow on the way
    # to infinity must stay silent. (The inverse schedule cannot: eta_t lambda = 2 / (gamma + t) is below 2 from t = 1.)
    training = {"steps": 400, "schedule": "constant", "eta": 1e8, "lam": 1e-3, "record_every": record_every}
    regime = random_regime(10, training=training)
    with pytest.raises(Diverged, match="the recursion diverged before step") as refused:
        integrate_b(regime, draw_initial(regime))
    assert isinstance(refused.value, PolysemeError)
    assert "type a smaller value of eta in [training]" in one_sentence(refused)


def test_a_trajectory_that_does_not_fit_is_refused_before_it_is_computed(random_regime, monkeypatch):
    regime = random_regime(10, training={"record_every": 1})
    initial = draw_initial(regime)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    monkeypatch.setattr(
        "polyseme.theory.multi_concept.dynamics.integrate.step", lambda *_: pytest.fail("computed something")
    )
    with pytest.raises(PolysemeError, match=r"\(got 2001 records\)") as refused:
        integrate_b(regime, initial)
    assert "type a larger record_every" in one_sentence(refused)


def test_coefficients_are_products_with_unit_vectors(random_regime):
    regime = random_regime(3, ensemble={"seeds": 2})
    rng = np.random.default_rng(0)
    initial = draw_initial(regime)
    initial |= {name: rng.standard_normal(initial[name].shape) for name in ("W_Q", "W_K", "W_O")}
    projected = project(initial, regime.concepts.K1)
    for k in range(regime.concepts.K1):
        units = []
        for features in (initial["M"], initial["Q"]):
            plus, minus = features[:, 2 * k], features[:, 2 * k + 1]
            units.append([v / np.linalg.norm(v) for v in (plus + minus, plus - minus)])
        (a, b), (c, d) = units
        for member in range(2):
            for name in ("W_Q", "W_K"):
                W = initial[name][member]
                expected = [[s @ W @ t for t in (a, b)] for s in (a, b)]
                np.testing.assert_allclose(projected[f"{name}_blocks"][member, k], expected, rtol=0, atol=1e-13)
            np.testing.assert_allclose(projected["alpha"][member, :, k], initial["W_O"][member] @ c, atol=1e-13)
            np.testing.assert_allclose(projected["beta"][member, :, k], initial["W_O"][member] @ d, atol=1e-13)


def test_step_sizes():
    inverse = Regime().replace(training={"schedule": "inverse", "lam": 0.5, "gamma": 3.0})
    assert [step_size(inverse, t) for t in (0, 1, 5)] == [4 / 3, 1.0, 0.5]
    constant = Regime().replace(training={"schedule": "constant", "eta": 0.25})
    assert [step_size(constant, t) for t in (0, 9)] == [0.25, 0.25]
