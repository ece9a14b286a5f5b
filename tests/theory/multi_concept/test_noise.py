"""Level N: derivatives by stages, the table of prompts, and the recursion against differences and level B."""

import dataclasses

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import quad
from scipy.stats import norm

from polyseme.checks.multi_concept.claims.fluctuation.noise import STATES, random_state
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.errors import PolysemeError
from polyseme.sim.multi_concept.measurements import probe
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.theory.calculus import staged_function
from polyseme.theory.calculus.elementwise import ELEMENTWISE
from polyseme.theory.calculus.functions import LogTotal, SmoothReLU
from polyseme.theory.calculus.named import NamedAxes
from polyseme.theory.calculus.staged import Definition, derivatives
from polyseme.theory.multi_concept.coefficients import concept_vectors
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.derivation.noisy_closure import noise_closure
from polyseme.theory.multi_concept.derivation.noisy_rows import prompt_rows
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b
from polyseme.theory.multi_concept.dynamics.noisy_run import NoiseRun, integrate_noise, project_noisy
from polyseme.theory.multi_concept.model import noisy as noise
from polyseme.theory.multi_concept.model.letters import RANGES
from polyseme.theory.multi_concept.regime import Regime

CONTEXT = TrainingContext(Regime())
NOISY = {"sigma_x": 0.1, "sigma_y": 0.15}


def start(regime):
    return random_state(CONTEXT, regime, across=True)


# -- functions and stages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", range(5))
def test_each_order_is_the_derivative_of_the_one_before(order):
    mu, V = sp.symbols("mu V")
    smooth = sp.lambdify((mu, V), SmoothReLU(order, mu, V), modules=[ELEMENTWISE, "numpy"])
    step, at, variance = 1e-6, np.array([-0.7, 0.01, 0.4]), np.full(3, 0.3)
    if order < 4:
        slope = sp.lambdify((mu, V), SmoothReLU(order, mu, V).diff(mu), modules=[ELEMENTWISE, "numpy"])
        difference = (smooth(at + step, variance) - smooth(at - step, variance)) / (2 * step)
        assert np.allclose(slope(at, variance), difference, atol=1e-8)
    if order < 3:
        slope = sp.lambdify((mu, V), SmoothReLU(order, mu, V).diff(V), modules=[ELEMENTWISE, "numpy"])
        difference = (smooth(at, variance + step) - smooth(at, variance - step)) / (2 * step)
        assert np.allclose(slope(at, variance), difference, atol=1e-8)


def test_without_variance_it_is_the_relu_with_its_gate_shut_at_the_kink():
    smooth, at, none = ELEMENTWISE["SmoothReLU"], np.array([-1.0, 0.0, 2.0]), np.zeros(3)
    assert smooth(0, at, none).tolist() == [0.0, 0.0, 2.0]
    assert smooth(1, at, none).tolist() == [0.0, 0.0, 1.0]
    assert smooth(2, at, none).tolist() == smooth(3, at, none).tolist() == [0.0, 0.0, 0.0]


def test_the_mean_of_the_relu_is_an_integral():
    value = ELEMENTWISE["SmoothReLU"](0, np.array(-0.2), np.array(0.25))
    wanted, _ = quad(lambda z: max(-0.2 + 0.5 * z, 0.0) * norm.pdf(z), 0.4, 12)
    assert abs(value - wanted) < 1e-10


def test_the_logarithm_of_the_denominator_has_the_attention_as_its_slope():
    j, J = noise.j, noise.J
    z, n, theta = sp.IndexedBase("z"), sp.IndexedBase("n"), sp.Symbol("theta")
    total = LogTotal(n[j], theta * z[j], j, J)
    values, counts = np.array([[0.3, -1.0, 2.0]]), np.array([[2.0, 0.0, 1.0]])

    def at(x, expression):
        return float(NamedAxes({"z": values, "n": counts}, {j: 3}, {theta: x})(expression)[0])

    weights = counts[0] * np.exp(0.5 * values[0])
    assert abs(at(0.5, total) - np.log(weights.sum())) < 1e-14
    assert abs(at(0.5, total.diff(theta)) - (weights * values[0]).sum() / weights.sum()) < 1e-14


def test_stages_multiply_to_the_derivative_of_what_they_stand_for():
    q, i = noise.q, noise.i
    a, b, x = sp.IndexedBase("a"), sp.IndexedBase("b"), sp.IndexedBase("x")
    first = Definition(name=a[q], meaning=sp.Sum(x[i] ** 2 * noise.p[q], (i, 1, noise.m)), words="first")
    second = Definition(name=b[q], meaning=sp.exp(a[q]), words="second")
    risk = sp.Sum(b[q] * noise.e[q] + a[q], (q, 1, noise.N))
    found = derivatives((first, second), risk, (x[i],), RANGES)
    arrays = {"x": np.array([[0.3, -0.5]]), "p": np.array([[0.2, 0.7, 0.1]]), "e": np.array([[1.0, -1.0, 1.0]])}
    evaluation = NamedAxes(arrays, {q: 3, i: 2})
    for definition in (first, second, *found.adjoints):
        evaluation.define(definition.name, definition.meaning)
    square = (arrays["x"][0] ** 2).sum()
    slope = (np.exp(square * arrays["p"][0]) * arrays["e"][0] + 1) @ arrays["p"][0] * 2 * arrays["x"][0]
    assert np.allclose(evaluation(found.gradient[x[i]], (i,))[0], slope, rtol=1e-14)
    with pytest.raises(ValueError, match="come later"):
        derivatives((second, first), risk, (x[i],), RANGES)


# -- the table -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("K1", [1, 2, 3])
def test_the_table_sums_to_one_and_each_prompt_has_its_demonstrations(order, K1):
    regime = Regime().replace(
        concepts={"K1": K1, "K2": 0, "d_x": 6, "d_y": 6}, prompt={"p_extra": 0.03, "p_plus": 0.3, "L": 4}
    )
    rows = prompt_rows(regime, order=order)
    assert abs(rows.p.sum() - 1) < 1e-14
    assert (rows.n.sum(axis=1) == 4).all() and (rows.n >= 0).all()
    pure = prompt_rows(regime.replace(prompt={"p_extra": 0.0}))
    assert len(pure.p) == 2 * K1 * 4
    assert (len(rows.p) == len(pure.p)) == (K1 == 1 or order == 0)


@pytest.mark.parametrize("K1", [2, 3])
def test_a_table_of_second_order_leaves_out_the_third(K1):
    regime = Regime().replace(
        concepts={"K1": K1, "K2": 0, "d_x": 2 * K1, "d_y": 2 * K1}, prompt={"L": 2, "p_plus": 0.4}, model={"m": 5}
    )
    state, left = start(regime), []
    words = concept_vectors(state["M"], K1).reshape(2 * K1, -1)
    for share in (0.02, 0.01, 0.005):
        law = regime.replace(prompt={"p_extra": share})
        full = probe.population_gradient(law, state)
        found = NoiseRun(law, state["r"], order=2).gradient(*project_noisy(state, K1))
        left.append(np.abs(words @ full["W_Q"] @ words.T - found["W_Q"][0]).max())
    orders = np.log2(np.divide(left[:-1], left[1:]))
    assert np.abs(orders - 3).max() < 0.2, orders


# -- the recursion ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["logistic", "squared", "exponential"])
@pytest.mark.parametrize("plain", STATES[:3], ids=lambda regime: regime.model.activation)
def test_the_gradient_is_the_slope_of_the_recorded_loss(plain, loss):
    regime = plain.replace(prompt={**NOISY, "p_extra": 0.05}, training={"loss": loss})
    initial = start(regime)
    run = NoiseRun(regime, initial["r"])
    state, rest = project_noisy(initial, regime.concepts.K1)
    gradient = run.gradient(state, rest)
    rng, step = np.random.default_rng(1), 1e-6
    for name, array in state.items():
        way = rng.normal(size=array.shape)
        ends = [run.observe(state | {name: array + sign * step * way}, rest)["loss"][0] for sign in (1, -1)]
        # Central differences: round-off 1e-16/1e-6, and step^2 of the third derivative.
        assert abs((ends[0] - ends[1]) / (2 * step) - (gradient[name] * way).sum()) < 1e-8 * max(1, *map(abs, ends))


@pytest.mark.parametrize("plain", STATES[:3], ids=lambda regime: regime.model.activation)
def test_machine_code_is_the_evaluation_by_name(plain, monkeypatch):
    rng = np.random.default_rng(2)
    regime = plain.replace(prompt={**NOISY, "p_extra": 0.05}, ensemble={"seeds": 3})
    initial = draw_initial(regime)
    state, rest = project_noisy(initial, regime.concepts.K1)
    state = {name: array + 0.3 * rng.normal(size=array.shape) for name, array in state.items()}
    run = NoiseRun(regime, initial["r"])
    compiled = [run.gradient(state, rest), run.step(state, rest, 0.1), run.observe(state, rest)]
    monkeypatch.setattr(staged_function, "compiler", lambda: None)
    by_name = [run.gradient(state, rest), run.step(state, rest, 0.1), run.observe(state, rest)]
    for one, other in zip(compiled, by_name, strict=True):
        assert one.keys() == other.keys()
        for name, array in other.items():
            # Sums of some hundred terms, in another order.
            assert np.abs(one[name] - array).max() <= 1e-13 * np.abs(array).max(), name


def test_members_have_runs_of_their_own():
    regime = STATES[0].replace(prompt=NOISY, training={"steps": 5, "record_every": 5})
    one, other = draw_initial(regime), draw_initial(regime.replace(ensemble={"seed": 9}))
    both = one | {name: np.stack([one[name], other[name]]) for name in ("W_Q", "W_K", "W_O")}
    together, alone = integrate_noise(regime, both), integrate_noise(regime, one)
    for name, array in alone.items():
        wanted = together[name] if name == "step" else together[name][0]
        assert np.allclose(array, wanted, rtol=0, atol=1e-14), name


def test_pure_prompts_run_as_level_b_to_the_last_bit():
    regime = STATES[0].replace(training={"steps": 20, "record_every": 5})
    initial = draw_initial(regime)
    one, other = integrate_noise(regime, initial), integrate_b(regime, initial)
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_noise_changes_what_it_should():
    regime = STATES[0].replace(prompt=NOISY, training={"steps": 20, "record_every": 5, "lam": 1e-3, "gamma": 100.0})
    initial = draw_initial(regime)
    noisy, pure = (
        integrate_noise(regime, initial),
        integrate_b(regime.replace(prompt={"sigma_x": 0.0, "sigma_y": 0.0}), initial),
    )
    assert noisy["error"][0] > 0 and not np.allclose(noisy["alpha"], pure["alpha"], atol=1e-4)
    assert set(noisy) - set(pure) == {"margin", "outside", "W_Q_concepts", "W_K_concepts"}


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ({"p_extra": 0.3, "L": 4}, "level N is the theory of few extras, got .* = 1.5 other concepts"),
        ({"L": 10**7}, "level N lists its prompts: got 4e"),
    ],
)
def test_it_is_refused_where_it_is_not_the_theory(prompt, sentence):
    regime = Regime().replace(prompt={**NOISY, **prompt})
    with pytest.raises(PolysemeError, match=sentence.replace("4e", "")):
        integrate_noise(regime, draw_initial(regime.replace(prompt={"L": 2})))


def test_a_start_that_leaves_the_concepts_is_refused():
    regime = STATES[0].replace(prompt=NOISY)
    initial = draw_initial(regime)
    moved = initial | {"W_Q": initial["W_Q"] + np.random.default_rng(0).normal(size=initial["W_Q"].shape)}
    with pytest.raises(PolysemeError, match="level N: level B needs W_Q and W_K to map"):
        integrate_noise(regime, moved)


def test_a_run_that_diverges_says_so():
    regime = STATES[1].replace(prompt=NOISY, training={"schedule": "constant", "eta": 1e9, "lam": 1.0, "steps": 60})
    with pytest.raises(PolysemeError, match="level N diverged before step"):
        integrate_noise(regime, draw_initial(regime))


def test_every_block_on_the_concepts_lives_and_no_other_but_the_identity():
    found = noise_closure(derive("N").closure.hypotheses, loss="logistic", activation="relu")
    for fates in found.fates.values():
        for (s, t), fate in fates.items():
            inside = {s[0], t[0]} <= {"a", "b"}
            assert fate.lives == (inside or (s, t) in (("nu", "nu"), ("perp", "perp")))
            assert (fate.witness is not None) == inside


def test_level_n_has_no_truncation():
    with pytest.raises(PolysemeError, match="which is exact as it is; type level='Z', truncated=True"):
        derive("N", truncated=True)
    assert dataclasses.replace(derive("N")).noisy is derive("N").stages
    with pytest.raises(ValueError, match="level B has no noise"):
        _ = derive("B").noisy
