"""Differentiation under symbolic sums, with the letters of a theory that is none of the project's."""

import pytest
import sympy as sp

from polyseme.theory.calculus.derivative import differentiate, whole_range

a, A = sp.symbols("a A", integer=True, positive=True)
x, y = sp.IndexedBase("x"), sp.IndexedBase("y")
RANGES = {a: (1, A)}


def test_a_delta_is_summed_out_and_constant_factors_leave_the_sum():
    b = sp.Symbol("a'", integer=True, positive=True)
    risk = sp.Sum(y[a] * x[a] ** 2, (a, 1, A)) * sp.Sum(y[b], (b, 1, A))
    assert differentiate(risk, x[a], RANGES) == 2 * x[a] * y[a] * sp.Sum(y[b], (b, 1, A))


def test_a_letter_with_primes_has_the_range_of_the_letter_without():
    assert whole_range(sp.Symbol("a''"), RANGES) == (1, A)
    with pytest.raises(KeyError, match="got the letter c, expected one of a"):
        whole_range(sp.Symbol("c"), RANGES)


def test_a_sum_over_a_part_of_a_range_is_refused():
    with pytest.raises(ValueError, match="not over its whole range"):
        differentiate(sp.Sum(x[a] ** 2, (a, 2, A)), x[a], RANGES)
