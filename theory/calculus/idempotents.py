"""Orthogonal idempotents that resolve the identity, and Peirce blocks, in exact arithmetic (docs/THEORY.md section 2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy as sp
from sympy.polys.matrices import DomainMatrix

PERP = "perp"


@dataclass(frozen=True, kw_only=True)
class Idempotents:
    """Named projections P_s = s s^T / <s, s> and the rest P_perp = I - sum_s P_s, over the rationals.

    The laws are checked exactly at construction: P_s P_t = delta_st P_s, P_s^T = P_s, and sum_s P_s = I;
    ValueError names the first pair that breaks one. P_perp may be zero, when the vectors span the space.
    """

    projections: Mapping[str, DomainMatrix]

    def __post_init__(self) -> None:
        """Check the laws."""
        for law, residual in law_residuals(self.projections).items():
            if not residual.is_zero_matrix:
                raise ValueError(f"not orthogonal idempotents: {law} fails; expected mutually orthogonal vectors")

    @property
    def names(self) -> tuple[str, ...]:
        """The names s, with `perp` last."""
        return tuple(self.projections)

    def block(self, matrix: DomainMatrix, s: str, t: str) -> DomainMatrix:
        """The Peirce block P_s W P_t, of the shape of `matrix`."""
        return self.projections[s] * matrix * self.projections[t]


def rank_one(vector: Sequence[sp.Rational]) -> DomainMatrix:
    """s s^T / <s, s> for a rational vector s, whose norm need not be rational."""
    column = DomainMatrix.from_Matrix(sp.Matrix(vector)).to_field().convert_to(sp.QQ)
    square = (column.transpose() * column).to_Matrix()[0, 0]
    return column * column.transpose() * sp.QQ.from_sympy(1 / square)


def resolve(vectors: Mapping[str, Sequence[sp.Rational]]) -> dict[str, DomainMatrix]:
    """P_s for each named vector, and P_perp = I - sum_s P_s; the laws are not checked here."""
    projections = {name: rank_one(vector) for name, vector in vectors.items()}
    size = len(next(iter(vectors.values())))
    rest = DomainMatrix.eye(size, sp.QQ).to_dense()
    for projection in projections.values():
        rest = rest - projection
    return projections | {PERP: rest}


def law_residuals(projections: Mapping[str, DomainMatrix]) -> dict[str, DomainMatrix]:
    """What each idempotent law leaves over, exactly: all zero if and only if the laws hold."""
    size = next(iter(projections.values())).shape[0]
    total = -DomainMatrix.eye(size, sp.QQ).to_dense()
    residuals: dict[str, DomainMatrix] = {}
    for s, P_s in projections.items():
        total = total + P_s
        residuals[f"P_{s}^T = P_{s}"] = P_s.transpose() - P_s
        for t, P_t in projections.items():
            expected = P_s if s == t else P_s * sp.QQ(0)
            residuals[f"P_{s} P_{t} = {'P_' + s if s == t else '0'}"] = P_s * P_t - expected
    residuals["sum_s P_s = I"] = total
    return residuals


def concept_gram(kappa: sp.Expr, *, same_concept: bool) -> dict[tuple[str, str], sp.Expr]:
    """Inner products of half sums and half differences of two feature pairs, from <mu^+, mu^-> = kappa alone.

    Keys are pairs of 'a', 'b': within one concept, or between two. Holds for words and, with kappa_y, labels
    (section 1). Exact: the bilinear form is expanded over the features.
    """
    half = sp.Rational(1, 2)
    combination = {"a": {1: half, -1: half}, "b": {1: half, -1: -half}}

    def features(u: int, v: int) -> sp.Expr:
        if not same_concept:
            return sp.S.Zero
        return sp.S.One if u == v else kappa

    return {
        (s, t): sp.expand(
            sum(x * y * features(u, v) for u, x in combination[s].items() for v, y in combination[t].items())
        )
        for s in "ab"
        for t in "ab"
    }
