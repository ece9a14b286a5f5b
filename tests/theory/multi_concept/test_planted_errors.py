"""What the comparison with the full model would catch: each planted error leaves the trajectory by orders."""

import dataclasses

import pytest
import sympy as sp

from polyseme.sim.multi_concept.training.initial import draw_initial, mirrored
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.calculus.functions import Gate, HalfLogOdds, ReLU, Sigmoid, SignSum
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.numerics.lower import compile_recursion

RIGHT = derive("B")
COEFFICIENTS = ("W_Q_blocks", "W_K_blocks", "alpha", "beta")

# The right recursion stays within 1e-11, and 1e-13 is measured (test_trajectories); a wrong one must be seven orders
# above that bar after 300 steps. Measured: 1e-2 and more.
ROUND_OFF, CAUGHT = 1e-11, 1e-4


def edit_all(edit):
    return dataclasses.replace(RIGHT, gradient={x: edit(right) for x, right in RIGHT.gradient.items()})


def edit_one(base, edit):
    gradient = {x: edit(right) if x.base == base else right for x, right in RIGHT.gradient.items()}
    return dataclasses.replace(RIGHT, gradient=gradient)


def give_gradients(partner):
    """The gradient of x replaced by that of its partner."""
    gradient = {x: RIGHT.gradient[partner.get(x.base, x.base)[x.indices]] for x in RIGHT.gradient}
    return dataclasses.replace(RIGHT, gradient=gradient)


def shrink_only(*bases):
    shrinkage = {x: right if x.base in bases else sp.S.Zero for x, right in RIGHT.shrinkage.items()}
    return dataclasses.replace(RIGHT, shrinkage=shrinkage)


def exchange(one, other):
    return lambda x: x.xreplace({one: other, other: one})


def inside(function, edit):
    """An edit of every node of one function."""
    return lambda x: x.replace(lambda node: isinstance(node, function), edit)


def without_e(product):
    """A product without its factor e."""
    return sp.Mul(*(factor for factor in sp.Mul.make_args(product) if factor != fw.e))


def variance_with_plus(expression):
    """1 + ebar^2 for 1 - ebar^2."""
    ebar = RIGHT.stages.ebar
    return expression.xreplace({1 - ebar**2: 1 + ebar**2})


GAP_TERM = fw.e * fw.n_b * fw.W_K["bb"][fw.k] * fw.W_Q["bb"][fw.k]
SWAPPED = dict(zip((*fw.W_Q.values(), *fw.W_K.values()), (*fw.W_K.values(), *fw.W_Q.values()), strict=True))
TRANSPOSED = {base: fw.W_Q[entry[::-1]] for entry, base in fw.W_Q.items()}
READ_TRANSPOSED = {fw.W_K[entry][fw.k]: fw.W_K[entry[::-1]][fw.k] for entry in fw.BLOCK_ENTRIES}

ERRORS = {
    "sign of every gradient": lambda: edit_all(lambda x: -x),
    "sign of W_Q^bb": lambda: edit_one(fw.W_Q["bb"], lambda x: -x),
    "sign of beta": lambda: edit_one(fw.beta, lambda x: -x),
    "1 + ebar^2": lambda: edit_all(variance_with_plus),
    "n_a and n_b exchanged": lambda: edit_all(exchange(fw.n_a, fw.n_b)),
    "n_c and n_d exchanged": lambda: edit_all(exchange(fw.n_c, fw.n_d)),
    "n_b for n_b^2": lambda: edit_one(fw.W_Q["bb"], lambda x: x / fw.n_b),
    "lambda dropped": shrink_only,
    "lambda dropped in the attention": lambda: shrink_only(fw.alpha, fw.beta),
    "e dropped in one term of the gap": lambda: edit_all(lambda x: x.xreplace({GAP_TERM: without_e(GAP_TERM)})),
    "e dropped in the slope": lambda: edit_all(inside(Sigmoid, lambda x: Sigmoid(without_e(x.args[0])))),
    "e dropped in front": lambda: edit_all(inside(SignSum, lambda x: SignSum(without_e(x.args[0]), fw.e))),
    "gates dropped": lambda: edit_all(inside(Gate, lambda _: sp.S.One)),
    "ReLU dropped": lambda: edit_all(inside(ReLU, lambda x: x.args[0])),
    "log-odds of the counts not halved": lambda: edit_all(inside(HalfLogOdds, lambda x: 2 * x)),
    "counts inverted": lambda: edit_all(inside(HalfLogOdds, lambda x: HalfLogOdds(fw.L - x.args[0], fw.L))),
    "sign of r dropped": lambda: edit_one(fw.alpha, lambda x: x.xreplace({fw.r[fw.i]: sp.Abs(fw.r[fw.i])})),
    "gradients of W_Q and W_K exchanged": lambda: give_gradients(SWAPPED),
    "gradient of W_Q transposed": lambda: give_gradients(TRANSPOSED),
    "W_K read transposed": lambda: edit_all(lambda x: x.xreplace(READ_TRANSPOSED)),
    "W_Q and W_K of one concept tied": lambda: edit_all(
        lambda x: x.xreplace({fw.W_K[entry][fw.k]: fw.W_Q[entry][fw.k] for entry in fw.BLOCK_ENTRIES})
    ),
}


pytestmark = pytest.mark.usefixtures("unchecked_types")


@pytest.fixture(scope="module")
def regime(random_regime):
    return random_regime(10, training={"steps": 300, "record_every": 50})


@pytest.fixture(scope="module")
def initial(regime):
    return draw_initial(regime)


@pytest.fixture(scope="module")
def full(regime, initial):
    return simulate(regime, initial)


@pytest.fixture(scope="module")
def farthest(relative_differences):
    """The largest relative difference over the coefficients of two trajectories."""

    def measure(one, other):
        return max(relative_differences(one, other)[name] for name in COEFFICIENTS)

    return measure


def test_the_right_recursion_stays_within_rounding(regime, initial, full, farthest):
    assert farthest(integrate_b(regime, initial), full) <= ROUND_OFF


@pytest.mark.parametrize("error", ERRORS)
def test_a_planted_error_is_caught(error, regime, initial, full, farthest):
    wrong = ERRORS[error]()
    assert wrong != RIGHT
    assert farthest(integrate_b(regime, initial, compiled=compile_recursion(wrong)), full) > CAUGHT


def test_dropped_concept_weights_are_caught(regime, initial, full, farthest):
    # pi enters through the numbers p[k, e, n+], so this error is planted in the regime of the recursion alone.
    uniform = regime.replace(concepts={"weights": None})
    assert farthest(integrate_b(uniform, initial), full) > CAUGHT


def test_the_other_prompt_law_is_caught(regime, initial, full, farthest):
    other = regime.replace(prompt={"law": "iid"})
    assert farthest(integrate_b(other, initial), full) > CAUGHT


# Each of these errors is invisible in some special case, which is why the regimes above are generic.
INVISIBLE = {
    "n_a and n_b exchanged": {"concepts": {"kappa_x": 0.0}},  # n_a = n_b
    "n_c and n_d exchanged": {"concepts": {"kappa_y": 0.0}},  # n_c = n_d
    "lambda dropped": {"training": {"schedule": "constant", "lam": 0.0}},  # no penalty to drop
    "1 + ebar^2": {"prompt": {"L": 1}, "model": {"sigma_0": 0.0}},  # W = 0 stays 0, whatever multiplies it
}


@pytest.mark.parametrize("error", INVISIBLE)
def test_the_special_case_hides_the_error(error, regime, farthest):
    special = regime.replace(**INVISIBLE[error])
    initial = draw_initial(special)
    wrong = compile_recursion(ERRORS[error]())
    assert farthest(integrate_b(special, initial, compiled=wrong), simulate(special, initial)) <= ROUND_OFF


def test_exchanging_w_q_and_w_k_is_invisible_from_a_mirrored_start_alone(random_regime, farthest):
    # Level S is symmetric in Q and K, and W_Q = W_K at the start: both gradients are equal for ever (section 4).
    regime = random_regime(6, model={"m": 12}, training={"steps": 300, "record_every": 50})
    wrong = compile_recursion(ERRORS["gradients of W_Q and W_K exchanged"]())
    for start, hidden in ((mirrored(draw_initial(regime)), True), (draw_initial(regime), False)):
        difference = farthest(integrate_b(regime, start, compiled=wrong), simulate(regime, start))
        assert (difference <= ROUND_OFF) if hidden else (difference > CAUGHT)
