"""Certified runs: balls hold the exact recursion, and what is proven of float64 can fail (section 4)."""

import dataclasses
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import flint
import numpy as np
import pytest
import sympy as sp
from sympy.external.gmpy import GROUND_TYPES

from polyseme.checks.multi_concept.round_off.paths import _reference, roundings_of
from polyseme.errors import PolysemeError
from polyseme.sim.multi_concept.training.initial import WEIGHTS, draw_initial
from polyseme.theory.multi_concept.coefficients import constants, project, to_layout
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.dynamics import certified
from polyseme.theory.multi_concept.dynamics.certified import COEFFICIENTS, certify, one_step_in
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b
from polyseme.theory.multi_concept.numerics.lower import system
from polyseme.theory.multi_concept.numerics.numbers import (
    array_of,
    balls,
    compiled_in,
    constants_in,
    decimals,
    step_in,
    step_size_in,
)
from polyseme.theory.multi_concept.prompts.law import prompt_probabilities
from polyseme.theory.multi_concept.regime import load_regime

# A double's operations round as those of 53-bit balls do, except that its library functions and binomial weights are
# good to some units in the last place and that its sums run in another order.
LIBRARY = 16
REGIMES = Path(__file__).parents[3] / "regimes"
OBSERVED = ("loss", "error", "attention")
VARIANTS = [
    ("logistic", "relu", 0.5),
    ("logistic", "relu", 0.3),
    ("squared", "leaky_relu", 0.7),
    ("exponential", "relu", 0.5),
    ("exponential", "leaky_relu", 0.4),
    ("squared", "identity", 0.6),
    ("logistic", "identity", 0.5),
    ("logistic", "leaky_relu", 0.2),
]
EPS_53 = np.finfo(np.float64).eps


def variant(random_regime, seed):
    """A random regime of each loss and activation; laws and schedules alternate with the seed."""
    loss, activation, p_plus = VARIANTS[seed]
    return random_regime(
        seed,
        prompt={"p_plus": p_plus},
        model={"activation": activation},
        training={"loss": loss, "steps": 1, "record_every": 1},
    )


def regime_of(name, **training):
    return load_regime(REGIMES / f"{name}.toml").replace(ensemble={"seeds": 1}, training=training)


def ball(number):
    """An exact ball of a double or of an mpmath number."""
    return flint.arb(number)


def every(relation, left, right):
    return bool(np.frompyfunc(relation, 2, 1)(left, right).all())


def contains(ball_of_one, number):
    return ball_of_one.contains(ball(number))


def float_distance(numbers, exact):
    """|double - number of 100 digits|, as doubles."""
    return np.frompyfunc(lambda x, y: float(abs(x - y)), 2, 1)(numbers, exact).astype(float)


# -- one step ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(len(VARIANTS)))
def test_one_step_in_float64_in_100_digits_and_in_balls(seed, random_regime):
    regime = variant(random_regime, seed)
    initial = draw_initial(regime)
    digits = one_step_in("decimals", regime, initial, precision=100)
    doubles = one_step_in("float64", regime, initial)
    narrow, wide, coarse = (one_step_in("balls", regime, initial, precision=bits) for bits in (400, 100, 53))
    off = 0.0
    for name in COEFFICIENTS:
        assert digits[name].shape == doubles[name].shape == narrow[name].shape
        assert every(contains, wide[name], digits[name]), name
        with flint.ctx.workprec(400):
            assert every(lambda x, y: (x - ball(y)).abs_upper() < 1e-95, narrow[name], digits[name]), name
            assert every(lambda x, y: x.overlaps(y), narrow[name], wide[name]), name
        collected = np.frompyfunc(lambda x: float(x.rad()), 1, 1)(coarse[name]).astype(float)
        distance = float_distance(doubles[name], digits[name])
        assert (distance <= LIBRARY * collected).all(), name
        off = max(off, distance.max())
    assert off > 0  # doubles do round, and this test sees it


def test_a_step_size_that_is_wrong_in_the_25th_digit_leaves_the_balls(random_regime, monkeypatch):
    regime = variant(random_regime, 1)
    initial = draw_initial(regime)
    right = one_step_in("balls", regime, initial, precision=400)
    factor = 1 + decimals(100).number(Fraction(1, 10**25))
    monkeypatch.setattr(certified, "step_size_in", lambda *given: step_size_in(*given) * factor)
    wrong = one_step_in("decimals", regime, initial, precision=100)
    for name in ("alpha", "beta"):
        with flint.ctx.workprec(400):
            assert not any(map(contains, right[name].flat, wrong[name].flat)), name
            assert every(lambda x, y: (x - ball(y)).abs_upper() < 1e-24, right[name], wrong[name]), name


def test_numbers_of_the_regime_are_those_of_float64_and_exact(random_regime):
    for seed in (0, 1, 2, 3):
        regime = random_regime(seed, prompt={"p_plus": 0.3 if seed > 1 else 0.5})
        r = draw_initial(regime)["r"]
        exact, doubles = constants_in(balls(128), regime, r), constants(regime, r)
        assert exact.keys() == doubles.keys()
        for name, value in doubles.items():
            middle = exact[name].astype(float)
            # Rare counts have a larger relative error, which is none in a sum over the law.
            atol = LIBRARY * EPS_53 * np.abs(value).max()
            np.testing.assert_allclose(middle, np.broadcast_to(value, middle.shape), rtol=0, atol=atol, err_msg=name)
        total = exact["p"].sum()
        weights = sum(map(Fraction, regime.concepts.probabilities))
        assert total.contains(flint.arb(flint.fmpq(weights.numerator, weights.denominator)))
        assert (prompt_probabilities(regime) == 0).sum() == sum(ball_ == 0 for ball_ in exact["p"].flat)


# -- runs --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("name", ["minimal", "pure"])
def test_balls_hold_the_float64_path_for_200_steps(name):
    regime = regime_of(name, steps=200, record_every=1)
    initial = draw_initial(regime)
    trajectory = integrate_b(regime, initial)
    # One rounding of a 50-bit ball is eight of a double: every coefficient, every step.
    held, coarse, fine = (certify(regime, initial, steps=200, bits=bits) for bits in (50, 53, 160))
    for certificate in (held, coarse, fine):
        assert certificate.steps == 200
        assert certificate.undecided is None
        np.testing.assert_array_equal(certificate.records, np.arange(201))
    assert held.holds(trajectory)
    # Balls that held everything would show nothing: a path that is off by 1e-13 relative, or by ten times the widest of
    # them, is not held, and neither is the path in balls that have not collected a double's round-off.
    widest = max(held.ball_radius[name].max() for name in COEFFICIENTS)
    assert widest < 1e-10
    assert not held.holds(trajectory | {"alpha": trajectory["alpha"] * (1 + 1e-13)})
    assert not held.holds(trajectory | {"beta": trajectory["beta"] + 10 * widest})
    assert not fine.holds(trajectory)
    # With the bits of a double, the radius is a bound on the path's proven error at every step; half of it was measured.
    bars, radius = fine.error_bar(trajectory), coarse.ball_radius
    assert all((bars[name] <= radius[name]).all() for name in COEFFICIENTS)


@pytest.mark.usefixtures("unchecked_types")
def test_balls_hold_the_path_of_100_digits_for_200_steps():
    regime = regime_of("minimal", steps=200, record_every=40)
    initial = draw_initial(regime)
    digits = decimals(100)
    compiled = compiled_in(digits, derive("B"))
    start = to_layout(project(initial, regime.concepts.K1))
    state = {name: array_of(digits, array) for name, array in start.items()}
    numbers = constants_in(digits, regime, initial["r"])
    runs = [certify(regime, initial, steps=200, bits=bits) for bits in (53, 128, 256)]
    for t in range(200):
        state = step_in(state, numbers, step_size_in(digits, regime, t), compiled)
        if (t + 1) % 40 == 0:
            after = certified._blocks(state)
            for certificate, name in ((run, name) for run in runs for name in COEFFICIENTS):
                assert every(contains, certificate.balls[name][(t + 1) // 40], after[name]), (name, t)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("name", ["minimal", "pure"])
def test_the_proven_error_of_float64_is_below_the_allowance_for_its_round_off(name):
    regime = regime_of(name, steps=400, record_every=25)
    initial = draw_initial(regime)
    reference = _reference(regime, initial, system("B"), None)
    certificate = certify(regime, initial, steps=400, bits=256)
    assert certificate.steps == 400
    bars = certificate.error_bar(reference.trajectory)
    np.testing.assert_array_equal(bars["step"], reference.trajectory["step"])
    allowed = roundings_of(regime, reference) * EPS_53 / 2
    for array in (*COEFFICIENTS, *OBSERVED):
        exact_start = array in COEFFICIENTS
        assert bars[array].shape == reference.trajectory[array].shape
        assert (bars[array][0] == 0).all() == exact_start, array
        assert bars[array].max() <= allowed * np.abs(reference.trajectory[array]).max(), array
    # The bar is the error and not the ball: balls are narrower by forty orders.
    assert 1e-17 < max(bars[array].max() for array in COEFFICIENTS) < 1e-13
    assert max(certificate.ball_radius[array].max() for array in COEFFICIENTS) < 1e-60
    # Doubles round once more: their radius is half a unit in the last place, and their bar is that radius.
    for array, radius in certificate.error_bar({"step": certificate.records, **certificate.midpoint}).items():
        if array != "step":
            np.testing.assert_array_equal(radius, certificate.radius[array])
            assert (radius <= 0.51 * EPS_53 * np.abs(certificate.midpoint[array])).all(), array


@pytest.mark.usefixtures("unchecked_types")
def test_a_negative_control_is_not_within_its_bar():
    regime = regime_of("minimal", steps=50, record_every=5)
    initial, right = draw_initial(regime), derive("B")
    control = dataclasses.replace(right, shrinkage={x: term / 2 for x, term in right.shrinkage.items()})
    certificate = certify(regime, initial, steps=50, bits=128, recursion=control)
    bars = certificate.error_bar(integrate_b(regime, initial))
    assert all(bars[name][1:].max() > 1e-4 for name in COEFFICIENTS)
    assert all(bars[name][0].max() == 0 for name in COEFFICIENTS)


def test_error_bars_are_upper_bounds_at_the_last_bit():
    regime = regime_of("minimal", steps=3, record_every=1)
    certificate = certify(regime, draw_initial(regime), steps=3, bits=200)
    shift = 0.1
    path = {"step": certificate.records, **{name: array + shift for name, array in certificate.midpoint.items()}}
    bars = certificate.error_bar(path)
    with flint.ctx.workprec(500):
        for name in (*COEFFICIENTS, *OBSERVED):
            triples = zip(bars[name].flat, path[name].flat, certificate.balls[name].flat, strict=True)
            for bar, number, enclosure in triples:
                assert ball(bar) >= (ball(number) - enclosure).abs_upper()
                assert bar == pytest.approx(shift, rel=1e-12)
    path["alpha"][1, 0, 0] = np.nan
    assert certificate.error_bar(path)["alpha"][1, 0, 0] == np.inf
    assert not certificate.inside(path)["alpha"][1, 0, 0]


# -- gates -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchecked_types")
def test_an_undecided_gate_ends_the_run_and_more_bits_decide_it(random_regime):
    regime = random_regime(4, training={"steps": 150, "record_every": 10})
    initial = draw_initial(regime)
    coarse, fine, most = (certify(regime, initial, steps=150, bits=bits) for bits in (53, 64, 256))
    assert 0 < coarse.steps < fine.steps < most.steps == 150
    assert most.undecided is None
    assert str(most) == "150 of 150 steps certified at 256 bits"
    for certificate in (coarse, fine):
        gate = certificate.undecided
        assert gate.step == certificate.steps == certificate.records[-1]
        assert str(gate) in str(certificate)
        h = flint.arb(gate.preactivation)
        assert not h > 0
        assert not h <= 0
        assert gate.concept in range(regime.concepts.K1)
        assert gate.neuron in range(regime.model.m)
        assert gate.sign in (1, -1)
        assert gate.n_plus in range(regime.prompt.L + 1)
        # What was certified before it agrees with the run of more bits.
        common = np.isin(certificate.records, most.records)
        for name in COEFFICIENTS:
            other = most.balls[name][np.isin(most.records, certificate.records)]
            assert every(lambda x, y: x.contains(y), certificate.balls[name][common], other), name


def tie(word_overlap=0.2):
    """One concept whose neurons have h = 0 in exact arithmetic at n+ = 0, in numbers that no ball can know to be equal."""
    regime = regime_of("minimal", steps=5, record_every=1).replace(
        concepts={"K1": 1, "K2": 0, "d_x": 2, "d_y": 2, "kappa_x": word_overlap, "kappa_y": 0.0}, model={"m": 2}
    )
    initial = draw_initial(regime)
    # alpha = beta exactly, and n_c = n_d: h = n_c alpha - n_d beta.
    return regime, initial | {"Q": np.eye(2), "W_O": np.array([[0.5, 0.0], [0.25, 0.0]])}


@pytest.mark.parametrize("bits", [53, 1000])
def test_a_tie_is_reported_and_not_guessed(bits):
    regime, initial = tie()
    certificate = certify(regime, initial, steps=5, bits=bits)
    gate = certificate.undecided
    assert certificate.steps == 0
    assert (gate.step, gate.concept, gate.n_plus, gate.neuron) == (0, 0, 0, 0)
    np.testing.assert_array_equal(certificate.records, [0])
    # What is only recorded is enclosed.
    assert certificate.error_bar(integrate_b(regime, initial))["loss"][0] < 1e-14
    with pytest.raises(PolysemeError, match=r"one step: at step 0 the gate of neuron 0 is undecided for concept 0"):
        one_step_in("balls", regime, initial, precision=bits)


def test_a_gate_at_exactly_zero_is_shut():
    regime = regime_of("minimal", steps=5, record_every=1)
    initial = draw_initial(regime)
    initial["W_O"][:] = 0.0
    certificate = certify(regime, initial, steps=5, bits=64)
    assert certificate.steps == 5
    assert (certificate.midpoint["alpha"] == 0).all()
    assert (certificate.ball_radius["alpha"] == 0).all()
    assert certificate.balls["error"][-1].contains(flint.arb(1))  # the margin is exactly zero, which is an error


def test_a_margin_of_unknown_sign_is_enclosed():
    regime, initial = tie()
    # Both neurons open for every prompt, with outputs that cancel: f = 0 in exact arithmetic, for all prompts.
    initial |= {"W_O": np.array([[0.5, 0.5], [0.5, 0.5]])}
    certificate = certify(regime, initial, steps=0, bits=64)
    error = certificate.balls["error"][0]
    assert error.contains(flint.arb(1))
    assert not error > 0.5


def test_identity_has_no_gates():
    regime, initial = tie()
    regime = regime.replace(model={"activation": "identity"})
    certificate = certify(regime, initial, steps=5, bits=64)
    assert certificate.steps == 5


# -- ensembles, refusals, surroundings ---------------------------------------------------------------------


def test_a_member_is_certified_from_the_start_that_the_ensemble_has(random_regime):
    regime = random_regime(2, ensemble={"seeds": 3}, training={"steps": 20, "record_every": 5})
    initial = draw_initial(regime)
    trajectory = integrate_b(regime, initial)
    seen = []
    certificate = certify(
        regime, initial, steps=20, bits=128, member=1, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(t, 20) for t in range(21)]
    bars = certificate.error_bar(trajectory)
    assert all((bars[name][0] == 0).all() and bars[name].max() < 1e-13 for name in COEFFICIENTS)
    swapped = {name: array if name == "step" else array[::-1] for name, array in trajectory.items()}
    crossed = certify(regime, initial, steps=20, bits=128, member=0).error_bar(swapped)
    assert crossed["alpha"].max() > 1e-3
    one = {name: initial[name][1] if name in WEIGHTS else initial[name] for name in initial}
    alone = certify(regime, one, steps=20, bits=128)
    assert alone.member is None
    assert max(alone.error_bar({n: a if n == "step" else a[1] for n, a in trajectory.items()})["beta"].ravel()) < 1e-13


def test_refusals(random_regime, monkeypatch):
    regime = random_regime(2, training={"steps": 20, "record_every": 5})
    initial = draw_initial(regime)

    def refused(match, regime=regime, **changes):
        with pytest.raises(PolysemeError, match=match):
            certify(regime, initial, **{"steps": 20, "bits": 64} | changes)

    refused(r"got bits = 23, expected 24 or more; type bits = 256", bits=23)
    refused(r"got steps = 21, expected 0 to 20", steps=21)
    refused(r"got steps = -1", steps=-1)
    refused(r"got member = 0, expected none", member=0)
    refused(r"level B is the theory of pure prompts", regime=regime.replace(prompt={"sigma_x": 0.1}))
    certificate = certify(regime, initial, steps=5, bits=64)
    trajectory = integrate_b(regime, initial)
    for wrong, match in (
        (trajectory | {"step": trajectory["step"] + 1}, r"no record among the certified steps 0 to 5"),
        (trajectory | {"alpha": trajectory["alpha"][..., :1, :]}, r"got shape \(5, 1, 4\) for alpha"),
        ({name: array for name, array in trajectory.items() if name != "loss"}, r"got no array for loss"),
    ):
        with pytest.raises(PolysemeError, match=match):
            certificate.error_bar(wrong)
    many = random_regime(2, ensemble={"seeds": 2}, training={"steps": 20, "record_every": 5})
    with pytest.raises(PolysemeError, match=r"got member = None, expected one of 0 to 1; type member = 0"):
        certify(many, draw_initial(many), steps=5)
    refused(r"needs \d+\.\d GiB and .* are free; type a smaller L in \[prompt\]", bits=10**12)
    monkeypatch.setattr(certified.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 0}))
    refused(r"and 0\.0 GiB are free")


def test_a_literal_that_a_double_would_round_is_refused():
    right = derive("B")
    thirds = {x: term / 3 for x, term in right.gradient.items()}
    with pytest.raises(ValueError, match=r"1/3 in the recursion is not a dyadic rational"):
        compiled_in(balls(64), dataclasses.replace(right, gradient=thirds))
    fine = {x: term * (1 + sp.Rational(1, 2**60)) for x, term in right.gradient.items()}
    with pytest.raises(ValueError, match=r"is not a dyadic rational"):
        compiled_in(balls(64), dataclasses.replace(right, gradient=fine))


def test_sympy_keeps_its_own_integers_with_flint_at_hand():
    assert os.environ["SYMPY_GROUND_TYPES"] == GROUND_TYPES == "python"


def test_importing_the_module_loads_no_flint():
    source = "import sys, polyseme.theory.multi_concept.dynamics.certified; sys.exit('flint' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", source], env=os.environ | {"SYMPY_GROUND_TYPES": "python"}, check=False
    )
    assert done.returncode == 0


def test_precision_of_others_is_left_alone(random_regime):
    import mpmath

    before = flint.ctx.prec, mpmath.mp.dps
    regime = variant(random_regime, 0)
    one_step_in("balls", regime, draw_initial(regime), precision=300)
    one_step_in("decimals", regime, draw_initial(regime), precision=300)
    assert (flint.ctx.prec, mpmath.mp.dps) == before
