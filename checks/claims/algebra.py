"""Claims of the family algebra (THEORY.md sections 1 to 3 and 7)."""

from collections.abc import Callable, Mapping
from itertools import product
from random import Random
from typing import Any

import numpy as np
import sympy as sp
from sympy.polys.matrices import DomainMatrix

from checks.claim import Claim, Compared, Evidence, Exact, Row, WrongTwin
from checks.laboratory import Laboratory
from checks.rules import ExactZero, RoundOff
from theory import forward as fw
from theory.derive import derive
from theory.functions import HalfLogOdds
from theory.idempotents import concept_gram, law_residuals, rank_one, resolve
from theory.slow import rational_rotation

kappa = sp.Symbol("kappa", real=True)
n, q = sp.symbols("n q", positive=True)  # demonstrations of sign +1 and of sign -1
g, common = sp.symbols("g c", real=True)

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


def _concept_inner_products(laboratory: Laboratory, asserted: Mapping[tuple[str, str], sp.Expr]) -> Evidence:
    del laboratory
    rows = [
        Exact(name=f"<{s}_k, {t}_{'k' if same else 'j'}>", residual=sp.expand(value - (asserted[s, t] if same else 0)))
        for same in (True, False)
        for (s, t), value in concept_gram(kappa, same_concept=same).items()
    ]
    return Evidence(rows=tuple(rows), facts={"holds for": "words (kappa_x) and labels (kappa_y), every concept index"})


def _right_gram() -> dict[tuple[str, str], sp.Expr]:
    return {("a", "a"): (1 + kappa) / 2, ("b", "b"): (1 - kappa) / 2, ("a", "b"): sp.S.Zero, ("b", "a"): sp.S.Zero}


CONCEPT_VECTORS = Claim(
    id="algebra/concept_vectors_are_orthogonal",
    statement="Half sums and half differences of a feature pair are orthogonal, with squared norms (1 + kappa)/2 and "
    "(1 - kappa)/2, and orthogonal to those of other concepts.",
    formula=r"\langle a_k, b_k\rangle = 0,\quad \|a_k\|^2 = \tfrac{1+\kappa}{2},\quad \|b_k\|^2 = \tfrac{1-\kappa}{2}",
    section="1",
    asserts=_right_gram,
    measure=_concept_inner_products,
    rule=ExactZero(),
    wrong_twin=WrongTwin(
        name="norms exchanged",
        statement="|a_k|^2 = (1 - kappa)/2 and |b_k|^2 = (1 + kappa)/2",
        asserts=lambda: {**_right_gram(), ("a", "a"): (1 - kappa) / 2, ("b", "b"): (1 + kappa) / 2},
    ),
    rests_on=("symbolic proof",),
)


def _drawn_gram(laboratory: Laboratory, asserted: Callable[[float], float]) -> Evidence:
    concepts, rows = laboratory.regime.concepts, []
    for side, name, overlap in (("words", "M", concepts.kappa_x), ("labels", "Q", concepts.kappa_y)):
        features = laboratory.initial[name]
        expected = np.eye(features.shape[1])
        for k in range(concepts.K1):
            expected[2 * k, 2 * k + 1] = expected[2 * k + 1, 2 * k] = asserted(overlap)
        # A dot product of d terms, of vectors that were themselves made with a few d-term sums.
        roundings = 8.0 * len(features)
        difference = float(np.abs(features.T @ features - expected).max())
        rows.append(Compared(name=side, difference=difference, scale=1.0, roundings=roundings))
    return Evidence(rows=tuple(rows), facts={"dictionary": "of the first member, as the simulation drew it"})


DRAWN_DICTIONARY = Claim(
    id="algebra/drawn_dictionary_has_the_stated_overlaps",
    statement="The dictionaries that the simulation draws have unit features, overlap kappa within a concept and 0 elsewhere.",
    formula=r"\langle \mu_k^+, \mu_k^-\rangle = \kappa_x,\quad \langle q_k^+, q_k^-\rangle = \kappa_y",
    section="1",
    asserts=lambda: lambda overlap: overlap,
    measure=_drawn_gram,
    rule=RoundOff(reason="8 d unit round-offs: dot products of d terms of vectors made by d-term sums"),
    wrong_twin=WrongTwin(
        name="overlap taken for the squared norm",
        statement="<mu^+, mu^-> = (1 + kappa)/2",
        asserts=lambda: lambda overlap: (1 + overlap) / 2,
    ),
    rests_on=("round-off comparison",),
)

# -- idempotents -------------------------------------------------------------------------------------------


def _laws(laboratory: Laboratory, build: Callable[[Vectors], Mapping[str, DomainMatrix]]) -> Evidence:
    del laboratory
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


IDEMPOTENTS = Claim(
    id="algebra/idempotents_resolve_identity",
    statement="The projections on the concept vectors, the irrelevant features and the rest are symmetric orthogonal "
    "idempotents that sum to the identity, on the word side and on the label side.",
    formula=r"P_s P_t = \delta_{st} P_s,\qquad \sum_s P_s = I",
    section="2",
    asserts=lambda: resolve,
    measure=_laws,
    rule=ExactZero(),
    wrong_twin=WrongTwin(
        name="the wrong idempotent",
        statement="P_s = s s^T without dividing by <s, s>",
        asserts=lambda: _without_dividing,
    ),
    uses=("algebra/concept_vectors_are_orthogonal",),
    rests_on=("exact rational arithmetic on rotated dictionaries of three concepts",),
)


def _peirce(laboratory: Laboratory, build: Callable[[Vectors], Mapping[str, DomainMatrix]]) -> Evidence:
    del laboratory
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


PEIRCE = Claim(
    id="algebra/peirce_blocks_split_the_norm",
    statement="Every operator is the sum of its Peirce blocks, and its squared Frobenius norm is the sum of theirs: the "
    "L2 penalty splits.",
    formula=r"W = \sum_{s,t} P_s W P_t,\qquad \|W\|_F^2 = \sum_{s,t} \|P_s W P_t\|_F^2",
    section="2",
    asserts=lambda: resolve,
    measure=_peirce,
    rule=ExactZero(),
    wrong_twin=WrongTwin(
        name="oblique idempotents",
        statement="P^2 = P and sum P = I are enough, without P^T = P",
        asserts=lambda: _oblique,
    ),
    uses=("algebra/idempotents_resolve_identity",),
    rests_on=("symbolic proof",),
)


def _gradient_commutes(laboratory: Laboratory, unit: Callable[[sp.Matrix], sp.Matrix]) -> Evidence:
    del laboratory
    size = 2
    frame = [unit(sp.Matrix(vector)) for vector in rational_vectors(1, 0, size).values()]
    W = sp.Matrix(size, size, sp.symbols(f"w:{size * size}"))
    # A risk that is linear, quadratic and cubic in W at once, with fixed unequal coefficients.
    A, B = (sp.Matrix(size, size, lambda row, column, c=c: sp.Rational(3 * row + c * column + 1, 5)) for c in (1, -2))
    risk = (A.T * W).trace() + (W.T * B * W).trace() / 2 + (B.T * W).trace() ** 3
    gradient = W.applyfunc(lambda entry: sp.diff(risk, entry))
    coefficients = sp.Matrix(size, size, sp.symbols(f"c:{size * size}"))
    assembled: Any = sum(
        (coefficients[s, t] * frame[s] * frame[t].T for s, t in product(range(size), repeat=2)), start=sp.zeros(size)
    )
    at = dict(zip(W, assembled, strict=True))
    in_coefficients = risk.xreplace(at)
    rows = [
        Exact(
            name=f"block {s + 1}{t + 1}",
            residual=sp.expand(
                sp.diff(in_coefficients, coefficients[s, t]) - (frame[s].T * gradient.xreplace(at) * frame[t])[0, 0]
            ),
        )
        for s, t in product(range(size), repeat=2)
    ]
    # W^{st} is the coefficient of s^ t^^T only if s^^T W t^ reads it off again.
    read = [(frame[s].T * assembled * frame[t])[0, 0] - coefficients[s, t] for s, t in product(range(size), repeat=2)]
    rows.append(Exact(name="s^T W t reads the coefficient", residual=sum(sp.Abs(sp.expand(x)) for x in read)))
    return Evidence(rows=tuple(rows), facts={"risk": "linear + quadratic + cubic in a 2 x 2 matrix"})


GRADIENT_COMMUTES = Claim(
    id="algebra/gradient_and_projection_commute",
    statement="The coefficient of the gradient is the gradient in the coefficient.",
    formula=r"\hat s^\top \left(\nabla_W R\right) \hat t = \frac{\partial R}{\partial W^{st}}",
    section="2",
    asserts=lambda: lambda vector: vector / sp.sqrt(vector.dot(vector)),
    measure=_gradient_commutes,
    rule=ExactZero(),
    wrong_twin=WrongTwin(
        name="vectors not normalised",
        statement="the same with s, t in place of the unit vectors",
        asserts=lambda: lambda vector: vector,
    ),
    uses=("algebra/idempotents_resolve_identity",),
    rests_on=("symbolic proof",),
)

# -- softmax -----------------------------------------------------------------------------------------------


def _shifted_softmax(laboratory: Laboratory, shift: Callable[[int], sp.Expr]) -> Evidence:
    del laboratory
    signs = (1, 1, -1)
    logits = sp.symbols(f"s:{len(signs)}", real=True)

    def softmax(values: list[sp.Expr]) -> list[sp.Expr]:
        total = sp.Add(*(sp.exp(value) for value in values))
        return [sp.exp(value) / total for value in values]

    plain = softmax(list(logits))
    moved = softmax([s + shift(sign) for s, sign in zip(logits, signs, strict=True)])
    rows: list[Row] = [
        Exact(
            name=f"p_{j + 1}", residual=sp.simplify(sp.expand(p, power_exp=True) - sp.expand(moved[j], power_exp=True))
        )
        for j, p in enumerate(plain)
    ]
    # The logits of the executed forward pass: a part that all demonstrations share, and e_l g.
    stages = derive("B").stages
    gap = sp.expand(_logit(sp.S.One) - _logit(sp.S.NegativeOne) - 2 * stages.g)
    rows.append(Exact(name="logit(+) - logit(-) = 2 g", residual=gap))
    return Evidence(rows=tuple(rows), facts={"demonstrations": len(signs)})


def _logit(sign: sp.Expr) -> sp.Expr:
    """(W_K x)^T W_Q x_query of a word of the given sign, from the 2 x 2 blocks (section 1)."""
    key, query = (sp.Matrix(2, 2, [family[entry][fw.k] for entry in fw.BLOCK_ENTRIES]) for family in (fw.W_K, fw.W_Q))
    return (key * sp.Matrix([fw.n_a, sign * fw.n_b])).dot(query * sp.Matrix([fw.n_a, fw.e * fw.n_b]))


SOFTMAX_SHIFT = Claim(
    id="algebra/common_part_cancels_in_softmax",
    statement="A part of the logits that all demonstrations share leaves the attention weights unchanged; what is left is e_l g.",
    formula=r"\operatorname{softmax}(s + c\mathbf 1) = \operatorname{softmax}(s)",
    section="3",
    asserts=lambda: lambda _sign: common,
    measure=_shifted_softmax,
    rule=ExactZero(),
    wrong_twin=WrongTwin(
        name="the wrong part cancels",
        statement="a part proportional to the sign e_l leaves the attention weights unchanged",
        asserts=lambda: lambda sign: sign * common,
    ),
    rests_on=("symbolic proof",),
)


def _mean_sign(laboratory: Laboratory, asserted: Callable[[sp.Expr], sp.Expr]) -> Evidence:
    del laboratory
    total = n * sp.exp(g) + q * sp.exp(-g)
    softmax_mean = (n * sp.exp(g) - q * sp.exp(-g)) / total
    odds = HalfLogOdds(n, n + q).rewrite(sp.log)
    claimed = asserted(odds)
    rows: list[Row] = [Exact(name="softmax mean of the signs", residual=_cancel(softmax_mean - claimed))]
    executed = derive("B").stages.ebar
    in_counts = executed.replace(HalfLogOdds, lambda _n, _L: odds).xreplace({derive("B").stages.g: g})
    rows.append(Exact(name="the executed ebar", residual=_cancel(in_counts.subs(executed.args[0] - odds, g) - claimed)))
    rows.append(Exact(name="n+ = 0", residual=sp.limit(claimed.subs(q, 1), n, 0, "+") + 1))
    rows.append(Exact(name="n+ = L", residual=sp.limit(claimed.subs(n, 1), q, 0, "+") - 1))
    return Evidence(rows=tuple(rows), facts={"n+, n-": "positive symbols, and the two ends as limits"})


def _cancel(expression: sp.Expr) -> sp.Expr:
    """Zero if two rational functions of exponentials agree."""
    return sp.simplify(sp.expand(expression.rewrite(sp.exp), power_exp=True))


MEAN_SIGN = Claim(
    id="algebra/mean_sign_is_tanh",
    statement="The attention-weighted mean sign of the demonstrations is tanh(g + (1/2) log(n+/n-)), and -1 or +1 when one "
    "sign is absent.",
    formula=r"\bar e = \sum_l p_l e_l = \tanh\left(g + \tfrac12 \log\tfrac{n_+}{n_-}\right)",
    section="3",
    asserts=lambda: lambda odds: sp.tanh(g + odds),
    measure=_mean_sign,
    rule=ExactZero(),
    wrong_twin=WrongTwin(
        name="full log-odds",
        statement="ebar = tanh(g + log(n+/n-)), the factor 1/2 dropped",
        asserts=lambda: lambda odds: sp.tanh(g + 2 * odds),
    ),
    uses=("algebra/common_part_cancels_in_softmax",),
    rests_on=("symbolic proof",),
)


def _pooled(laboratory: Laboratory, asserted: Callable[[sp.Expr, sp.Expr], dict[str, sp.Expr]]) -> Evidence:
    del laboratory
    total = n * sp.exp(g) + q * sp.exp(-g)
    plus, minus = sp.exp(g) / total, sp.exp(-g) / total  # attention weight of one demonstration of each sign
    rows: list[Row] = []
    for e in (sp.S.One, sp.S.NegativeOne):
        ebar = n * plus - q * minus
        literal = {
            "weight of c in v": n * plus + q * minus,
            "weight of d in v": n * plus - q * minus,
            "correct attention weight": n * plus if e == 1 else q * minus,
            "softmax variance of the sign": n * plus + q * minus - ebar**2,
        }
        claimed = asserted(ebar, e)
        rows += [Exact(name=f"{key}, e = {e}", residual=_cancel(literal[key] - claimed[key])) for key in literal]
    return Evidence(rows=tuple(rows), facts={"n+, n-": "positive symbols"})


def _right_pool(ebar: sp.Expr, e: sp.Expr) -> dict[str, sp.Expr]:
    return {
        "weight of c in v": sp.S.One,
        "weight of d in v": ebar,
        "correct attention weight": (1 + e * ebar) / 2,
        "softmax variance of the sign": 1 - ebar**2,
    }


POOLED_LABEL = Claim(
    id="algebra/pooled_label_is_c_plus_ebar_d",
    statement="The pooled label is v = c + ebar d, the correct attention weight (1 + e ebar)/2, and the softmax variance of "
    "the sign 1 - ebar^2.",
    formula=r"v = c_k + \bar e\, d_k,\qquad p^* = \tfrac{1 + e\bar e}{2}",
    section="3",
    asserts=lambda: _right_pool,
    measure=_pooled,
    rule=ExactZero(),
    wrong_twin=WrongTwin(
        name="query sign in the label",
        statement="v = c + e ebar d",
        asserts=lambda: lambda ebar, e: _right_pool(ebar, e) | {"weight of d in v": e * ebar},
    ),
    uses=("algebra/mean_sign_is_tanh",),
    rests_on=("symbolic proof",),
)

CLAIMS = (
    CONCEPT_VECTORS,
    DRAWN_DICTIONARY,
    IDEMPOTENTS,
    PEIRCE,
    GRADIENT_COMMUTES,
    SOFTMAX_SHIFT,
    MEAN_SIGN,
    POOLED_LABEL,
)
