"""The functions of the model: derivatives agree with definitions, ends and huge arguments are exact."""

import numpy as np
import pytest
import sympy as sp

from polyseme.theory.calculus.functions import Gate, HalfLogOdds, Logistic, ReLU, Sigmoid, SignSum
from polyseme.theory.multi_concept.numerics.lower import lower

z = sp.Symbol("z", real=True)
POINTS = [sp.Rational(-7, 2), sp.Rational(-1, 3), sp.S.Zero, sp.Rational(2, 5), sp.Integer(3)]


def in_numpy(expression, value):
    """The lowered form of an expression in z."""
    lowered = lower({"value": expression})
    return np.ravel(lowered({"z": value.reshape(1, 1, 1, -1, 1)})["value"])


@pytest.mark.parametrize("function", [Logistic, Sigmoid])
def test_a_derivative_is_that_of_the_definition(function):
    by_rule = function(z).diff(z).rewrite(sp.exp)
    by_definition = function(z).rewrite(sp.exp).diff(z)
    assert not by_rule.has(Logistic, Sigmoid)
    assert sp.simplify(by_rule - by_definition) == 0


@pytest.mark.parametrize("function", [Logistic, Sigmoid])
@pytest.mark.parametrize("point", POINTS)
def test_a_derivative_is_the_slope_at_points(function, point):
    step = sp.Rational(1, 10**8)
    definition = function(z).rewrite(sp.exp)
    quotient = (definition.subs(z, point + step) - definition.subs(z, point - step)) / (2 * step)
    slope = function(z).diff(z).rewrite(sp.exp).subs(z, point)
    # A central difference errs by step^2 / 6 times a third derivative, which is below 1 for both.
    assert abs(sp.N(quotient - slope, 40)) < 1e-16


@pytest.mark.parametrize("point", [x for x in POINTS if x != 0])
def test_relu_and_gate_are_their_definitions(point):
    assert ReLU(point) == sp.Max(point, 0)
    assert Gate(point) == sp.Heaviside(point)
    assert ReLU(z).diff(z).subs(z, point) == sp.Max(z, 0).diff(z).subs(z, point)
    assert Gate(z).diff(z) == 0


def test_the_gate_is_shut_at_zero():
    assert Gate(sp.S.Zero) == 0
    assert ReLU(sp.S.Zero) == 0
    np.testing.assert_array_equal(in_numpy(Gate(z), np.array([-1e-300, -0.0, 0.0, 1e-300])), [0, 0, 0, 1])


def test_symbols_are_left_alone_unless_their_sign_is_known():
    positive, negative = sp.Symbol("p", positive=True), sp.Symbol("n", negative=True)
    assert (Gate(positive), ReLU(positive)) == (1, positive)
    assert (Gate(negative), ReLU(negative)) == (0, 0)
    assert Gate(z).func is Gate
    assert ReLU(z).func is ReLU


def test_a_sum_over_signs_writes_out_both_terms():
    e, x = sp.Symbol("e"), sp.Symbol("x")
    total = SignSum(sp.exp(e * x) + 3, e)
    assert total.doit() == sp.exp(x) + sp.exp(-x) + 6
    assert total.diff(x).doit() == total.doit().diff(x)
    assert total.free_symbols == {x}
    assert SignSum(e * x, e).doit() == 0
    assert SignSum(x * e**2, e) == SignSum(x, e)


@pytest.mark.parametrize("shift", [sp.S.Zero, sp.Rational(3, 2)])
def test_nested_sums_are_written_out(shift):
    e, n = sp.Symbol("e"), sp.Symbol("n", integer=True)
    assert SignSum(sp.Sum(n * (e + shift), (n, 1, 3)), e).doit() == 12 * shift


def test_half_log_odds_has_infinite_ends_without_a_warning():
    n, L = sp.symbols("n_+ L")
    ends = lower({"pull": HalfLogOdds(n, L)})({"n_plus": np.arange(5.0)[None, None, None, :, None], "L": 4.0})["pull"]
    assert ends.ravel()[[0, -1]].tolist() == [-np.inf, np.inf]
    inner = [float(HalfLogOdds(sp.Integer(count), sp.Integer(4)).rewrite(sp.log)) for count in (1, 2, 3)]
    np.testing.assert_allclose(ends.ravel()[1:-1], inner, rtol=1e-15, atol=1e-16)  # two logarithms, one rounding each
    assert np.tanh(ends).ravel()[[0, -1]].tolist() == [-1, 1]


def test_huge_arguments_do_not_overflow():
    # pytest turns an overflow warning into an error.
    huge = np.array([-1e300, -800.0, 800.0, 1e300])
    np.testing.assert_array_equal(in_numpy(Logistic(z), huge), [1e300, 800.0, 0.0, 0.0])
    np.testing.assert_allclose(in_numpy(Sigmoid(z), huge), [0, 0, 1, 1], rtol=0, atol=1e-300)
    np.testing.assert_array_equal(in_numpy(ReLU(z), huge), [0, 0, 800.0, 1e300])


def test_numpy_forms_are_the_definitions():
    values = np.linspace(-30, 30, 13)
    for function in (Logistic, Sigmoid):
        exact = [float(function(z).rewrite(sp.exp).subs(z, sp.Rational(value)).evalf(40)) for value in values]
        # A few roundings each; relative, since both go through 1e-13.
        np.testing.assert_allclose(in_numpy(function(z), values), exact, rtol=1e-14)


def test_sigmoid_evaluates_to_digits():
    assert abs(sp.N(Sigmoid(sp.Integer(2)), 40) - 1 / (1 + sp.exp(-2))) < sp.Float("1e-38", 40)
