"""Derivatives by stages: the chain rule from the risk back to the coefficients, each step a small expression of its own.

A forward pass of many stages, differentiated as one expression, would be written out anew in every derivative. Here each
stage is a name with letters and its meaning in the names before it, such as h_{q,i}; its adjoint, the derivative of the
risk in it, is again a stage, which needs the stages and the adjoints of those that use it. What is printed are these
definitions, and they are what is evaluated, one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from polyseme.theory.calculus.derivative import Ranges, differentiate, whole_range


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A stage: its name at generic letters, its meaning in the names before it, and what it is in words."""

    name: sp.Indexed
    meaning: sp.Expr
    words: str


@dataclass(frozen=True, kw_only=True)
class Derivatives:
    """The adjoints of the stages, last stage first, and the derivative of the risk in each coefficient."""

    adjoints: tuple[Definition, ...]
    gradient: dict[sp.Indexed, sp.Expr]


def adjoint_of(name: sp.Indexed) -> sp.Indexed:
    """The name of the derivative of the risk in a stage."""
    return sp.IndexedBase(f"delta_{name.base.label}")[name.indices]


def derivatives(
    stages: Sequence[Definition], risk: sp.Expr, state: Sequence[sp.Indexed], ranges: Ranges
) -> Derivatives:
    """The chain rule: d risk/d x = sum over the stages s that contain x of (d risk/d s)(d s/d x).

    `risk` is an expression in the stages, `ranges` the range of every index letter. ValueError if a stage uses one that is defined after it.
    """
    _check_order(stages)
    # Each part is the risk, or a stage paired with its adjoint and summed over its letters: a scalar with the right slope.
    parts: list[sp.Expr] = [risk]
    adjoints: list[Definition] = []
    for stage in reversed(stages):
        slope = _in_names(_slope(parts, stage.name, ranges), stages)
        if slope == 0:  # recorded, and in no way to the risk
            continue
        name = adjoint_of(stage.name)
        adjoints.append(Definition(name=name, meaning=slope, words=f"the derivative of the risk in {stage.words}"))
        paired = name * stage.meaning
        for letter in stage.name.indices:
            paired = sp.Sum(paired, (letter, *whole_range(letter, ranges)))
        parts.append(paired)
    return Derivatives(
        adjoints=tuple(adjoints), gradient={x: _in_names(_slope(parts, x, ranges), stages) for x in state}
    )


def _slope(parts: Sequence[sp.Expr], x: sp.Indexed, ranges: Ranges) -> sp.Expr:
    return sp.Add(*(differentiate(part, x, ranges) for part in parts if part.has(x.base)))


def _in_names(expression: sp.Expr, stages: Sequence[Definition]) -> sp.Expr:
    """The expression with the meanings of stages that occur in it called by their names."""
    for stage in stages:
        # a sum or product may be taken apart and put together otherwise
        if not isinstance(stage.meaning, (sp.Add, sp.Mul)):
            expression = expression.xreplace({stage.meaning: stage.name})
    return expression


def _check_order(stages: Sequence[Definition]) -> None:
    later = {stage.name.base for stage in stages}
    for stage in stages:
        if early := {x.base for x in stage.meaning.atoms(sp.Indexed)} & later:
            raise ValueError(f"{stage.name} is defined by {early}, which come later")
        later.remove(stage.name.base)
