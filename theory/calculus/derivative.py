"""Differentiation under symbolic sums (docs/THEORY.md section 2: the coefficient of the gradient is the gradient in it).

A theory has index letters, each with one range that every sum over it covers; it passes them as `Ranges`.
"""

from collections.abc import Mapping

import sympy as sp

from polyseme.theory.calculus.functions import AttentionMean, SignSum

Ends = tuple[sp.Expr | int, sp.Expr | int]
Ranges = Mapping[sp.Symbol, Ends]
"""First and last value of each index letter of a theory; a letter with primes has the range of the letter without."""


def whole_range(letter: sp.Symbol, ranges: Ranges) -> Ends:
    """First and last value of a letter; KeyError for one that is not among `ranges`."""
    plain = letter.name.rstrip("'")
    for known, ends in ranges.items():
        if known.name == plain:
            return ends
    raise KeyError(f"got the letter {letter}, expected one of {', '.join(known.name for known in ranges)}")


def differentiate(expression: sp.Expr, coefficient: sp.Indexed, ranges: Ranges) -> sp.Expr:
    """d expression / d coefficient at generic indices, with every Kronecker delta summed out.

    ValueError for a sum over a part of a letter's range, under which a delta could not be summed out.
    The derivative is taken at fresh indices (so that the sums' own letters stay bound), then renamed back.
    """
    fresh = {index: sp.Dummy(index.name, integer=True, positive=True) for index in coefficient.indices}
    derivative = _tidy(expression.diff(coefficient.xreplace(fresh)), ranges)
    if left := derivative.atoms(sp.KroneckerDelta):
        # Renaming the fresh letters back would turn such a delta into 1 without a word.
        raise AssertionError(f"derivative in {coefficient} keeps {left}: a sum was not carried out")
    for bound in derivative.atoms(sp.Sum, AttentionMean):
        if caught := {old for old, new in fresh.items() if new in bound.free_symbols and old in _bound_by(bound)}:
            raise AssertionError(f"derivative in {coefficient}: {caught} would be caught by {bound}")
    return derivative.xreplace({new: old for old, new in fresh.items()})


def _bound_by(expression: sp.Expr) -> set[sp.Symbol]:
    if isinstance(expression, AttentionMean):
        return {expression.args[2]}
    return {limits[0] for limits in expression.args[1:]}


def _tidy(expression: sp.Basic, ranges: Ranges) -> sp.Basic:
    """Sum out Kronecker deltas and pull factors out of sums that do not depend on them, innermost first."""
    if not expression.args:
        return expression
    expression = expression.func(*(_tidy(argument, ranges) for argument in expression.args))
    if isinstance(expression, sp.Add) and expression.has(AttentionMean):
        # A covariance <x y> - <x> <y> with a common factor in front of its means.
        terms = [sp.Mul.make_args(term) for term in expression.args]
        common = [factor for factor in terms[0] if all(factor in term for term in terms[1:])]
        return sp.Mul(*common) * sp.Add(*(sp.Mul(*(x for x in term if x not in common)) for term in terms))
    if isinstance(expression, sp.Sum):
        body, *limits = expression.args
        for one in limits:  # Sum(x, (i, ..), (k, ..)) sums over i first
            body = _sum_out(body, one, ranges)
        return body
    if isinstance(expression, SignSum):
        body, sign = expression.args
        outside, inside = body.as_independent(sign, as_Add=False)
        return outside * SignSum(inside, sign)
    if isinstance(expression, AttentionMean):
        value, logit, index, total = expression.args
        outside, inside = value.as_independent(index, as_Add=False)
        return outside * AttentionMean(inside, logit, index, total)
    return expression


def _sum_out(body: sp.Expr, limits: sp.Tuple, ranges: Ranges) -> sp.Expr:
    """A sum over one index: sum_k delta_{kq} x(k) = x(q), else the sum with its constant factors in front.

    The first rule holds for any body that vanishes with the delta, which is checked.
    """
    index, *ends = limits
    if tuple(ends) != whole_range(index, ranges):
        raise ValueError(
            f"a sum over {index} from {ends[0]} to {ends[1]} is not over its whole range {whole_range(index, ranges)}"
        )
    for delta in body.atoms(sp.KroneckerDelta):
        if index in delta.args and _tidy(body.xreplace({delta: sp.S.Zero}), ranges) == 0:
            other = next(argument for argument in delta.args if argument != index)
            return body.xreplace({delta: sp.S.One}).xreplace({index: other})
    outside, inside = body.as_independent(index, as_Add=False)
    return outside * sp.Sum(inside, limits)
