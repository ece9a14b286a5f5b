"""Claims of the family algebra: concept vectors and idempotents (THEORY.md sections 1, 2 and 7)."""

from collections.abc import Callable, Mapping
from itertools import product
from random import Random
from typing import Any

import numpy as np
import sympy as sp
from sympy.polys.matrices import DomainMatrix

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Compared, Evidence, Exact, Row
from polyseme.checks.core.provenance import ROUND_OFF, Basis, Ground
from polyseme.checks.core.rules.exact import ExactZero, RoundOff
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.theory.calculus.idempotents import concept_gram, law_residuals, rank_one, resolve
from polyseme.theory.multi_concept.reference.dense import rational_rotation

kappa = sp.Symbol("kappa", real=True)

Vectors = Mapping[str, list[sp.Rational]]


def rational_vectors(K1: int, K2: int, size: int) -> Vectors:
    """A rotated rational dictionary: a_k, b_k of norms 4/5, 3/5 and nu_r of norm 1 in `size` dimensions."""
    rotation = rational_rotation(size, Random(7))
    rows = iter(rotation)
    norms = {"a": sp.Rational(4, 5), "b": sp.Rational(3, 5), "nu": sp.S.One}
    names = [f"{s}{k + 1}" for k in range(K1) for s in "ab"] + [f"nu{j + 1}" for j in range(K2)]
    return {
        name: [norms[name.rstrip("0123456789")] * sp.Rational(x.numerator, x.denominator) for x in next(rows)]
        for name in names
    }


# -- concept vectors ---------------------------------------------------------------------------------------


def _concept_inner_products(context: TrainingContext, asserted: Mapping[tuple[str, str], sp.Expr]) -> Evidence:
    del context
    rows = [
        Exact(name=f"<{s}_k, {t}_{'k' if same else 'j'}>", residual=sp.expand(value - (asserted[s, t] if same else 0)))
        for same in (True, False)
        for (s, t), value in concept_gram(kappa, same_concept=same).items()
    ]
    return Evidence(rows=tuple(rows), facts={"holds for": "words (kappa_x) and labels (kappa_y), every concept index"})


def _right_gram() -> dict[tuple[str, str], sp.Expr]:
    return {("a", "a"): (1 + kappa) / 2, ("b", "b"): (1 - kappa) / 2, ("a", "b"): sp.S.Zero, ("b", "a"): sp.S.Zero}


CONCEPT_VECTORS = Claim.single(
    id="algebra/concept_vectors_are_orthogonal",
    statement="Half sums and half differences of a feature pair are orthogonal, with squared norms (1 + kappa)/2 and "
    "(1 - kappa)/2, and orthogonal to those of other concepts.",
    formula=r"\langle a_k, b_k\rangle = 0,\quad \|a_k\|^2 = \tfrac{1+\kappa}{2},\quad \|b_k\|^2 = \tfrac{1-\kappa}{2}",
    section="1",
    scope="any regime",
    asserts=_right_gram,
    measure=_concept_inner_products,
    rule=ExactZero(),
    controls=(
        NegativeControl(
            name="norms exchanged",
            statement="|a_k|^2 = (1 - kappa)/2 and |b_k|^2 = (1 + kappa)/2",
            asserts=lambda: {**_right_gram(), ("a", "a"): (1 - kappa) / 2, ("b", "b"): (1 + kappa) / 2},
        ),
    ),
    rests_on=(Basis(ground=Ground.PROOF, text="any kappa, any two concepts"),),
)


def _drawn_gram(context: TrainingContext, asserted: Callable[[float], float]) -> Evidence:
    concepts, rows = context.regime.concepts, []
    for side, name, overlap in (("words", "M", concepts.kappa_x), ("labels", "Q", concepts.kappa_y)):
        features = context.initial[name]
        expected = np.eye(features.shape[1])
        for k in range(concepts.K1):
            expected[2 * k, 2 * k + 1] = expected[2 * k + 1, 2 * k] = asserted(overlap)
        # A dot product of d terms, of vectors that were themselves made with a few d-term sums.
        roundings = 8.0 * len(features)
        difference = float(np.abs(features.T @ features - expected).max())
        rows.append(Compared(name=side, difference=difference, scale=1.0, roundings=roundings))
    return Evidence(rows=tuple(rows), facts={"dictionary": "of the first member, as the simulation drew it"})


DRAWN_DICTIONARY = Claim.single(
    id="algebra/drawn_dictionary_has_the_stated_overlaps",
    statement="The dictionaries that the simulation draws have unit features, overlap kappa within a concept and 0 elsewhere.",
    formula=r"\langle \mu_k^+, \mu_k^-\rangle = \kappa_x,\quad \langle q_k^+, q_k^-\rangle = \kappa_y",
    section="1",
    asserts=lambda: lambda overlap: overlap,
    measure=_drawn_gram,
    rule=RoundOff(reason="8 d unit round-offs: dot products of d terms of vectors made by d-term sums"),
    controls=(
        NegativeControl(
            name="overlap taken for the squared norm",
            statement="<mu^+, mu^-> = (1 + kappa)/2",
            asserts=lambda: lambda overlap: (1 + overlap) / 2,
        ),
    ),
    rests_on=(ROUND_OFF,),
)

# -- idempotents -------------------------------------------------------------------------------------------


def _laws(context: TrainingContext, build: Callable[[Vectors], Mapping[str, DomainMatrix]]) -> Evidence:
    del context
    rows: list[Row] = []
    sizes = {"words": (3, 2, 9), "labels": (3, 0, 7)}
    for side, (K1, K2, size) in sizes.items():
        for law, residual in law_residuals(build(rational_vectors(K1, K2, size))).items():
            rows.append(Exact(name=f"{side}: {law}", residual=sum(abs(x) for x in residual.to_Matrix())))
    return Evidence(rows=tuple(rows), facts={"K1, K2, d": {side: list(size) for side, size in sizes.items()}})


def _without_dividing(vectors: Vectors) -> dict[str, DomainMatrix]:
    """s s^T for s s^T / <s, s>, and the rest."""
    rest = resolve(vectors)["perp"]
    unscaled = {
        name: rank_one(vector) * sp.QQ.from_sympy(sp.Add(*(x**2 for x in vector))) for name, vector in vectors.items()
    }
    return unscaled | {"perp": rest}


IDEMPOTENTS = Claim.single(
    id="algebra/idempotents_resolve_identity",
    statement="The projections on the concept vectors, the irrelevant features and the rest are symmetric orthogonal "
    "idempotents that sum to the identity, on the word side and on the label side.",
    formula=r"P_s P_t = \delta_{st} P_s,\qquad \sum_s P_s = I",
    section="2",
    scope="any regime",
    asserts=lambda: resolve,
    measure=_laws,
    rule=ExactZero(),
    controls=(
        NegativeControl(
            name="the wrong idempotent",
            statement="P_s = s s^T without dividing by <s, s>",
            asserts=lambda: _without_dividing,
        ),
    ),
    uses=("algebra/concept_vectors_are_orthogonal",),
    rests_on=(Basis(ground=Ground.EXACT, text="exact rational arithmetic on rotated dictionaries of three concepts"),),
)


def _peirce(context: TrainingContext, build: Callable[[Vectors], Mapping[str, DomainMatrix]]) -> Evidence:
    del context
    size = 3
    projections = build(rational_vectors(1, 0, size))
    entries = sp.symbols(f"w:{size * size}")
    ring = sp.QQ[entries]
    W = DomainMatrix.from_Matrix(sp.Matrix(size, size, entries)).convert_to(ring)
    lifted = {name: P.convert_to(ring) for name, P in projections.items()}
    blocks = {(s, t): lifted[s] * W * lifted[t] for s, t in product(lifted, repeat=2)}
    total: Any = sum(blocks.values(), start=-W)
    norms = sum((_square(block) for block in blocks.values()), start=-_square(W))
    rows = [
        Exact(name="sum of the blocks = W", residual=sum(sp.Abs(x) for x in total.to_Matrix())),
        Exact(name="sum of squared norms = squared norm", residual=ring.to_sympy(norms)),
    ]
    return Evidence(
        rows=tuple(rows), facts={"matrix": f"{size} x {size} of independent symbols", "blocks": len(blocks)}
    )


def _square(matrix: DomainMatrix) -> Any:
    """Squared Frobenius norm, in the matrix's own polynomial ring."""
    return sum((entry**2 for row in matrix.to_list() for entry in row), start=matrix.domain.zero)


def _oblique(vectors: Vectors) -> dict[str, DomainMatrix]:
    """Idempotents that resolve the identity along a slanted frame: P^2 = P and sum P = I, but P^T != P."""
    straight = resolve(vectors)
    first, second = list(straight)[:2]
    # P_a (I + N) with N = P_a X P_b nilpotent: conjugation by I + N keeps every law but symmetry.
    shear = straight[first] * DomainMatrix.ones(straight[first].shape, sp.QQ).to_dense() * straight[second]
    one = DomainMatrix.eye(shear.shape[0], sp.QQ).to_dense()
    return {name: (one + shear) * P * (one - shear) for name, P in straight.items()}


PEIRCE = Claim.single(
    id="algebra/peirce_blocks_split_the_norm",
    statement="Every operator is the sum of its Peirce blocks, and its squared Frobenius norm is the sum of theirs: the "
    "L2 penalty splits.",
    formula=r"W = \sum_{s,t} P_s W P_t,\qquad \|W\|_F^2 = \sum_{s,t} \|P_s W P_t\|_F^2",
    section="2",
    scope="any regime",
    asserts=lambda: resolve,
    measure=_peirce,
    rule=ExactZero(),
    controls=(
        NegativeControl(
            name="oblique idempotents",
            statement="P^2 = P and sum P = I are enough, without P^T = P",
            asserts=lambda: _oblique,
        ),
    ),
    uses=("algebra/idempotents_resolve_identity",),
    rests_on=(
        Basis(
            ground=Ground.PROOF, text="every entry of W independent, in one rotated rational frame of three dimensions"
        ),
    ),
)


def _gradient_commutes(context: TrainingContext, unit: Callable[[sp.Matrix], sp.Matrix]) -> Evidence:
    del context
    size = 2
    frame = [unit(sp.Matrix(vector)) for vector in rational_vectors(1, 0, size).values()]
    # At first order any risk is <A, dW> with its gradient A, so a generic A speaks for every differentiable risk.
    A = sp.Matrix(size, size, sp.symbols(f"A:{size * size}"))
    coefficients = sp.Matrix(size, size, sp.symbols(f"c:{size * size}"))
    pairs = list(product(range(size), repeat=2))
    assembled: Any = sum((coefficients[s, t] * frame[s] * frame[t].T for s, t in pairs), start=sp.zeros(size))
    risk = (A.T * assembled).trace()
    rows = [
        Exact(
            name=f"block {s + 1}{t + 1}",
            residual=sp.expand(sp.diff(risk, coefficients[s, t]) - (frame[s].T * A * frame[t])[0, 0]),
        )
        for s, t in pairs
    ]
    # W^{st} is the coefficient of s^ t^^T only if s^^T W t^ reads it off again.
    read = [(frame[s].T * assembled * frame[t])[0, 0] - coefficients[s, t] for s, t in pairs]
    rows.append(Exact(name="s^T W t reads the coefficient", residual=sum(sp.Abs(sp.expand(x)) for x in read)))
    return Evidence(rows=tuple(rows), facts={"risk": "generic to first order, <A, dW> with independent symbols A"})


GRADIENT_COMMUTES = Claim.single(
    id="algebra/gradient_and_projection_commute",
    statement="The coefficient of the gradient is the gradient in the coefficient.",
    formula=r"\hat s^\top \left(\nabla_W R\right) \hat t = \frac{\partial R}{\partial W^{st}}",
    section="2",
    scope="any regime",
    asserts=lambda: lambda vector: vector / sp.sqrt(vector.dot(vector)),
    measure=_gradient_commutes,
    rule=ExactZero(),
    controls=(
        NegativeControl(
            name="vectors not normalised",
            statement="the same with s, t in place of the unit vectors",
            asserts=lambda: lambda vector: vector,
        ),
    ),
    uses=("algebra/idempotents_resolve_identity",),
    rests_on=(
        Basis(
            ground=Ground.PROOF, text="a risk generic to first order, in one rotated rational frame of two dimensions"
        ),
    ),
)

CLAIMS = (CONCEPT_VECTORS, DRAWN_DICTIONARY, IDEMPOTENTS, PEIRCE, GRADIENT_COMMUTES)
