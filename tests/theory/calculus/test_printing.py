"""A printer with the letters of a theory that is none of the project's."""

import sympy as sp

from polyseme.theory.calculus.printing import Printer

PRINTER = Printer(first=("gamma",), early=("w",), words=("keep",), superscripts=("test",))


def test_symbols_and_arrays_stand_where_the_theory_puts_them():
    alpha, gamma, i = sp.symbols("alpha gamma i")
    w, b = sp.IndexedBase("w"), sp.IndexedBase("b")
    assert PRINTER.latex(alpha * gamma * b[i] * w[i]) == r"\gamma \alpha w_{i} b_{i}"
    assert PRINTER.text(alpha * gamma * b[i] * w[i]) == "gamma*alpha*w[i]*b[i]"
    assert Printer().latex(alpha * gamma) == r"\alpha \gamma"


def test_names_that_are_words_are_set_upright():
    i = sp.Symbol("i")
    assert PRINTER.latex(sp.IndexedBase("keep")[i]) == r"\mathrm{keep}_{i}"
    assert PRINTER.latex(sp.IndexedBase("x_test")[i]) == r"x_{i}^{\mathrm{test}}"
