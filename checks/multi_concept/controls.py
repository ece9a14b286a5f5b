"""Wrong theories: edits of the derived recursion that a sound check has to refute.

An edit acts on the SymPy expressions before they are compiled, so that the wrong theory runs through the very
path of the right one.
"""

import dataclasses
from collections.abc import Callable

import sympy as sp

from polyseme.theory.calculus.functions import SignSum
from polyseme.theory.multi_concept.derivation.derive import Level, Recursion, derive
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.numerics.lower import System, compile_recursion, system_of
from polyseme.theory.multi_concept.regime import Regime

Edit = Callable[[sp.Expr], sp.Expr]
Theory = Callable[[Regime], System]
"""A compiled recursion for the loss and the activation of a regime: right, `lower.system_of`, or wrong."""


def edited(recursion: Recursion, edit: Edit) -> Recursion:
    """The recursion with every gradient changed by `edit`; its observables stay right."""
    gradient = {x: edit(rhs) for x, rhs in recursion.gradient.items()}
    if gradient == recursion.gradient:
        raise AssertionError(f"the edit {edit} changed nothing: the wrong theory would be the right one")
    return dataclasses.replace(recursion, gradient=gradient)


def flip_softmax_variance(expression: sp.Expr) -> sp.Expr:
    """1 + ebar^2 for 1 - ebar^2."""
    return expression.replace(
        lambda x: x.is_Add and x.has(sp.tanh) and x.args[0] == 1 and x.args[1].could_extract_minus_sign(),
        lambda x: 2 - x,
    )


def drop_query_sign(expression: sp.Expr) -> sp.Expr:
    """The slope of the loss without its e: l'(e f) for e l'(e f)."""
    return expression.replace(SignSum, lambda body, sign: SignSum(sign * body, sign))


def exchange_label_norms(expression: sp.Expr) -> sp.Expr:
    """kappa_y in the wrong place: n_c and n_d exchanged."""
    return expression.xreplace({fw.n_c: fw.n_d, fw.n_d: fw.n_c})


def drop_one_power_of_n_b(expression: sp.Expr) -> sp.Expr:
    """n_b in place of n_b^2 in front of a sum; n_b < 1, so the two differ in every regime."""
    return expression / fw.n_b if fw.n_b**2 in sp.Mul.make_args(expression) else expression


def _derived(regime: Regime, level: Level) -> Recursion:
    return derive(level, loss=regime.training.loss, activation=regime.model.activation)


def with_shrinkage(base: sp.IndexedBase, factor: sp.Rational) -> Callable[[], Theory]:
    """Builds level B with the penalty's pull on one family of coefficients multiplied, compiled."""

    def build(regime: Regime) -> System:
        right = _derived(regime, "B")
        pull = {x: factor * value if x.base == base else value for x, value in right.shrinkage.items()}
        return compile_recursion(dataclasses.replace(right, shrinkage=pull))

    return lambda: build


def penalty_right_at_three_values() -> Theory:
    """Level B with a penalty that is the right one at lambda = 1/100, 1/1000 and 1/5000 alone, compiled."""

    def build(regime: Regime) -> System:
        right = _derived(regime, "B")
        wrong = (
            10**6 * (fw.lam - sp.Rational(1, 100)) * (fw.lam - sp.Rational(1, 1000)) * (fw.lam - sp.Rational(1, 5000))
        )
        pull = {x: (1 + wrong) * value for x, value in right.shrinkage.items()}
        return compile_recursion(dataclasses.replace(right, shrinkage=pull))

    return build


def compiled(edit: Edit, level: Level = "B") -> Callable[[], Theory]:
    """Builds a level with an edit, compiled."""
    return lambda: lambda regime: compile_recursion(edited(_derived(regime, level), edit))


def level_s(regime: Regime) -> System:
    """Level S of a regime: right for mirrored neurons and fair signs, wrong for others."""
    return system_of(regime, "S")
