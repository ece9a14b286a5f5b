"""The coefficient recursion, derived from the forward pass by differentiation (THEORY.md sections 2 to 4).

Nothing of the recursion is typed: the coefficient of the gradient is the gradient in the coefficient
(section 2), so each equation is a derivative of the risk, with symbolic sums over neurons and over (k, e, n+).
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import sympy as sp

from theory import forward as fw
from theory.functions import SignSum

Level = Literal["S", "B"]

LIVING_ENTRIES: dict[str, tuple[str, ...]] = {"S": ("aa", "bb"), "B": fw.BLOCK_ENTRIES}


@dataclass(frozen=True, kw_only=True)
class Recursion:
    """A derived recursion: x(t+1) = x - eta (gradient + shrinkage) for each coefficient x of the state.

    `gradient` and `shrinkage` map each coefficient, such as W_Q^{ba}[k] or alpha[i, k], to the derivative of
    the risk and of the penalty; `observables` to what is recorded. The same object is printed by `show.py`,
    compiled by `lower.py` and shown in the report.
    """

    level: Level
    stages: fw.ForwardPass
    risk: sp.Expr
    penalty: sp.Expr
    gradient: dict[sp.Indexed, sp.Expr]
    shrinkage: dict[sp.Indexed, sp.Expr]
    observables: dict[str, sp.Expr]

    @property
    def state(self) -> tuple[sp.Indexed, ...]:
        """The coefficients that live, in the order W_Q, W_K, alpha, beta."""
        return tuple(self.gradient)

    def update(self, coefficient: sp.Indexed, gradient: sp.Expr | None = None) -> sp.Expr:
        """The right-hand side of one equation, x - eta (gradient + shrinkage).

        Printed with the derivative of the risk in it; compiled with an array name for `gradient`, since the sum over
        prompts is evaluated in blocks.
        """
        decay = sp.collect(coefficient - fw.eta * self.shrinkage[coefficient], coefficient)
        return decay - fw.eta * (self.gradient[coefficient] if gradient is None else gradient)


@cache
def derive(level: Level = "B") -> Recursion:
    """Derive the recursion of a level of section 4.

    Level B keeps the whole 2 x 2 block of each concept. Level S keeps its diagonal: the off-diagonal entries are
    put to zero in the forward pass, which the closure shows to be consistent for mirrored neurons.
    """
    stages = fw.forward_pass()
    entries = LIVING_ENTRIES[level]
    dead = {
        family[entry][fw.k]: sp.S.Zero
        for family in (fw.W_Q, fw.W_K)
        for entry in fw.BLOCK_ENTRIES
        if entry not in entries
    }
    stages = fw.ForwardPass(**{name: stage.xreplace(dead).doit(deep=False) for name, stage in vars(stages).items()})
    blocks = tuple(family[entry] for family in (fw.W_Q, fw.W_K) for entry in entries)
    risk, penalty = fw.risk(stages), fw.penalty(blocks)
    state = (*(block[fw.k] for block in blocks), fw.alpha[fw.i, fw.k], fw.beta[fw.i, fw.k])
    return Recursion(
        level=level,
        stages=stages,
        risk=risk,
        penalty=penalty,
        gradient={x: differentiate(risk, x) for x in state},
        shrinkage={x: differentiate(penalty, x) for x in state},
        observables=fw.observables(stages),
    )


def differentiate(expression: sp.Expr, coefficient: sp.Indexed) -> sp.Expr:
    """d expression / d coefficient at generic indices, with every Kronecker delta summed out.

    The derivative is taken at fresh indices (so that the sums' own letters stay bound), then renamed back.
    """
    fresh = {index: sp.Dummy(index.name, integer=True, positive=True) for index in coefficient.indices}
    derivative = _tidy(expression.diff(coefficient.xreplace(fresh)))
    if left := derivative.atoms(sp.KroneckerDelta):
        # Renaming the fresh letters back would turn such a delta into 1 without a word.
        raise AssertionError(f"derivative in {coefficient} keeps {left}: a sum was not carried out")
    return derivative.xreplace({new: old for old, new in fresh.items()})


def _tidy(expression: sp.Basic) -> sp.Basic:
    """Sum out Kronecker deltas and pull factors out of sums that do not depend on them, innermost first."""
    if not expression.args:
        return expression
    expression = expression.func(*(_tidy(argument) for argument in expression.args))
    if isinstance(expression, sp.Sum):
        body, *limits = expression.args
        if len(limits) > 1:  # Sum(x, (i, ..), (k, ..)) sums over i first
            return _tidy(sp.Sum(_tidy(sp.Sum(body, limits[0])), *limits[1:]))
        return _sum_out(body, *limits)
    if isinstance(expression, SignSum):
        body, sign = expression.args
        outside, inside = body.as_independent(sign, as_Add=False)
        return outside * SignSum(inside, sign)
    return expression


def _sum_out(body: sp.Expr, limits: sp.Tuple) -> sp.Expr:
    """A sum over one index: sum_k delta_{kq} x(k) = x(q), else the sum with its constant factors in front.

    The first rule holds for any body that vanishes with the delta, which is checked.
    """
    index, *ends = limits
    if tuple(ends) != fw.RANGES[index]:
        raise ValueError(
            f"a sum over {index} from {ends[0]} to {ends[1]} is not over its whole range {fw.RANGES[index]}"
        )
    for delta in body.atoms(sp.KroneckerDelta):
        if index in delta.args and _tidy(body.xreplace({delta: sp.S.Zero})) == 0:
            other = next(argument for argument in delta.args if argument != index)
            return body.xreplace({delta: sp.S.One}).xreplace({index: other})
    outside, inside = body.as_independent(index, as_Add=False)
    return outside * sp.Sum(inside, limits)
