"""Claims of the family algebra: softmax on a pure prompt (THEORY.md sections 3 and 7)."""

from collections.abc import Callable

import sympy as sp

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Evidence, Exact, Row
from polyseme.checks.core.provenance import Basis, Ground
from polyseme.checks.core.rules.exact import ExactZero
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.theory.calculus.functions import HalfLogOdds
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.model import forward as fw

n, q = sp.symbols("n q", positive=True)  # demonstrations of sign +1 and of sign -1
g, common = sp.symbols("g c", real=True)


def _shifted_softmax(context: TrainingContext, shift: Callable[[int], sp.Expr]) -> Evidence:
    del context
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
    stages = derive("B").counted
    gap = sp.expand(_logit(sp.S.One) - _logit(sp.S.NegativeOne) - 2 * stages.g)
    rows.append(Exact(name="logit(+) - logit(-) = 2 g", residual=gap))
    return Evidence(rows=tuple(rows), facts={"demonstrations": len(signs)})


def _logit(sign: sp.Expr) -> sp.Expr:
    """(W_K x)^T W_Q x_query of a word of the given sign, from the 2 x 2 blocks (section 1)."""
    key, query = (sp.Matrix(2, 2, [family[entry][fw.k] for entry in fw.BLOCK_ENTRIES]) for family in (fw.W_K, fw.W_Q))
    return (key * sp.Matrix([fw.n_a, sign * fw.n_b])).dot(query * sp.Matrix([fw.n_a, fw.e * fw.n_b]))


SOFTMAX_SHIFT = Claim.single(
    id="algebra/common_part_cancels_in_softmax",
    statement="A part of the logits that all demonstrations share leaves the attention weights unchanged; what is left is e_l g.",
    formula=r"\operatorname{softmax}(s + c\mathbf 1) = \operatorname{softmax}(s)",
    section="3",
    scope="any regime",
    asserts=lambda: lambda _sign: common,
    measure=_shifted_softmax,
    rule=ExactZero(),
    controls=(
        NegativeControl(
            name="the wrong part cancels",
            statement="a part proportional to the sign e_l leaves the attention weights unchanged",
            asserts=lambda: lambda sign: sign * common,
        ),
    ),
    rests_on=(Basis(ground=Ground.PROOF, text="any logits and shift, three demonstrations"),),
)


def _mean_sign(context: TrainingContext, asserted: Callable[[sp.Expr], sp.Expr]) -> Evidence:
    del context
    total = n * sp.exp(g) + q * sp.exp(-g)
    softmax_mean = (n * sp.exp(g) - q * sp.exp(-g)) / total
    odds = HalfLogOdds(n, n + q).rewrite(sp.log)
    claimed = asserted(odds)
    rows: list[Row] = [Exact(name="softmax mean of the signs", residual=_cancel(softmax_mean - claimed))]
    executed = derive("B").counted.ebar
    in_counts = executed.replace(HalfLogOdds, lambda _n, _L: odds).xreplace({derive("B").counted.g: g})
    rows.append(Exact(name="the executed ebar", residual=_cancel(in_counts.subs(executed.args[0] - odds, g) - claimed)))
    rows.append(Exact(name="n+ = 0", residual=sp.limit(claimed.subs(q, 1), n, 0, "+") + 1))
    rows.append(Exact(name="n+ = L", residual=sp.limit(claimed.subs(n, 1), q, 0, "+") - 1))
    return Evidence(rows=tuple(rows), facts={"n+, n-": "positive symbols, and the two ends as limits"})


def _cancel(expression: sp.Expr) -> sp.Expr:
    """Zero if two rational functions of exponentials agree."""
    return sp.simplify(sp.expand(expression.rewrite(sp.exp), power_exp=True))


MEAN_SIGN = Claim.single(
    id="algebra/mean_sign_is_tanh",
    statement="The attention-weighted mean sign of the demonstrations is tanh(g + (1/2) log(n+/n-)), and -1 or +1 when one "
    "sign is absent.",
    formula=r"\bar e = \sum_l p_l e_l = \tanh\left(g + \tfrac12 \log\tfrac{n_+}{n_-}\right)",
    section="3",
    scope="any regime",
    asserts=lambda: lambda odds: sp.tanh(g + odds),
    measure=_mean_sign,
    rule=ExactZero(),
    controls=(
        NegativeControl(
            name="full log-odds",
            statement="ebar = tanh(g + log(n+/n-)), the factor 1/2 dropped",
            asserts=lambda: lambda odds: sp.tanh(g + 2 * odds),
        ),
    ),
    uses=("algebra/common_part_cancels_in_softmax",),
    rests_on=(Basis(ground=Ground.PROOF, text="any g and any counts"),),
)


def _pooled(context: TrainingContext, asserted: Callable[[sp.Expr, sp.Expr], dict[str, sp.Expr]]) -> Evidence:
    del context
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


POOLED_LABEL = Claim.single(
    id="algebra/pooled_label_is_c_plus_ebar_d",
    statement="The pooled label is v = c + ebar d, the correct attention weight (1 + e ebar)/2, and the softmax variance of "
    "the sign 1 - ebar^2.",
    formula=r"v = c_k + \bar e\, d_k,\qquad p^* = \tfrac{1 + e\bar e}{2}",
    section="3",
    scope="any regime",
    asserts=lambda: _right_pool,
    measure=_pooled,
    rule=ExactZero(),
    controls=(
        NegativeControl(
            name="query sign in the label",
            statement="v = c + e ebar d",
            asserts=lambda: lambda ebar, e: _right_pool(ebar, e) | {"weight of d in v": e * ebar},
        ),
    ),
    uses=("algebra/mean_sign_is_tanh",),
    rests_on=(Basis(ground=Ground.PROOF, text="any g and any counts"),),
)

CLAIMS = (SOFTMAX_SHIFT, MEAN_SIGN, POOLED_LABEL)
