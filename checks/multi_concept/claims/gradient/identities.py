"""Claims about identities of section 4: attention as a probability, Euler's identity."""

from collections.abc import Callable
from functools import partial

import numpy as np
import sympy as sp
from scipy.special import expit

from polyseme.checks.core.claim import Claim, NegativeControl, Part
from polyseme.checks.core.evidence import Compared, Evidence, Exact, Row
from polyseme.checks.core.provenance import ROUND_OFF, Basis, Ground
from polyseme.checks.core.rules.exact import ExactZero, RoundOff
from polyseme.checks.multi_concept.claims.decomposition.penalty import as_atoms
from polyseme.checks.multi_concept.context import Activation, Arrays, Loss, TrainingContext
from polyseme.theory.calculus.functions import ACTIVATIONS, LOSSES, Gate, HalfLogOdds, LeakyReLU, ReLU, SignSum
from polyseme.theory.multi_concept.derivation.derive import Recursion, derive
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.regime import Regime

# -- attention is a probability ------------------------------------------------------------------------------

n, q = sp.symbols("n q", positive=True)  # demonstrations of sign +1 and of sign -1
g = sp.Symbol("g", real=True)


def _counted(context: TrainingContext, total: sp.Expr) -> Evidence:
    """Attention weights exp(e_l g)/total of n positive and q negative demonstrations."""
    del context
    plus, minus = n * sp.exp(g) / total, q * sp.exp(-g) / total
    odds = HalfLogOdds(n, n + q).rewrite(sp.log)
    stages = derive("B").counted
    argument = stages.ebar.args[0]
    executed = stages.attention.xreplace({argument: g + odds})
    rows: list[Row] = [Exact(name="sum of the weights = 1", residual=_cancel(plus + minus - 1))]
    for sign, right, wrong in ((1, plus, minus), (-1, minus, plus)):
        p = executed.subs(fw.e, sign)
        rows.append(Exact(name=f"the executed p* of e = {sign:+}", residual=_cancel(p - right)))
        rows.append(Exact(name=f"p* + p(wrong) = 1, e = {sign:+}", residual=_cancel(p + wrong - 1)))
        rows.append(Exact(name=f"p* > 0, e = {sign:+}", residual=sp.Integer(right.is_positive is not True)))
    ebar = executed.subs(fw.e, 1) - executed.subs(fw.e, -1)
    rows.append(
        Exact(name="1 - ebar^2 = 4 p_+ p_-, which is positive", residual=_cancel(1 - ebar**2 - 4 * plus * minus))
    )
    return Evidence(rows=tuple(rows), facts={"n+, n-": "positive symbols; with one sign absent p* is 0 or 1"})


def _cancel(expression: sp.Expr) -> sp.Expr:
    return sp.simplify(sp.expand(expression.rewrite(sp.exp), power_exp=True))


PROMPTS_EACH = 32
GENERAL: tuple[Regime, ...] = tuple(
    Regime().replace(
        concepts={"K1": K1, "K2": K2, "d_x": 2 * K1 + K2 + 2, "d_y": 2 * K1 + 1, "kappa_x": 0.4, "kappa_y": 0.1},
        prompt={"L": L, "law": law, "p_plus": p_plus, "p_extra": 0.5, "sigma_x": 0.3, "sigma_y": 0.3},
        model={"m": m, "activation": activation},
        training={"loss": loss},
        ensemble={"seed": 7 * K1 + L},
    )
    for K1, K2, L, m, law, p_plus, activation, loss in (
        (1, 2, 5, 9, "match", 0.5, "relu", "logistic"),
        (3, 1, 1, 16, "iid", 0.3, "relu", "exponential"),
        (2, 0, 8, 5, "match", 0.625, "leaky_relu", "squared"),
        (4, 3, 3, 12, "iid", 0.5, "leaky_relu", "logistic"),
        (2, 2, 4, 24, "match", 0.3, "identity", "exponential"),
    )
)
"""Random sizes with every term on: other concepts, irrelevant features, noise on both sides, uneven signs."""


def at_random(context: TrainingContext, regime: Regime) -> tuple[Arrays, Arrays, float]:
    """Random weights of order one, prompts of a regime, and the round-offs that a gradient may collect.

    Logits of order d_x are sums of d_x^2 products whose round-off enters the softmax relative to 1; everything else
    is sums of d_x, d_y, L, m and PROMPTS_EACH terms.
    """
    start = context.draw(regime)
    rng = np.random.default_rng([regime.ensemble.seed, 3])
    weights = start | {name: rng.normal(size=start[name].shape) for name in ("W_Q", "W_K", "W_O")}
    concepts = regime.concepts
    roundings = 4.0 * (concepts.d_x**2 + concepts.d_y + regime.prompt.L + regime.model.m + PROMPTS_EACH)
    return weights, context.prompts(regime, start, count=PROMPTS_EACH), roundings


NESTED = "4 (d_x^2 + d_y + L + m + prompts) unit round-offs: the lengths of the nested sums"


def size_of(regime: Regime) -> str:
    """What tells one of the general regimes from the others."""
    return f"K1={regime.concepts.K1} L={regime.prompt.L} m={regime.model.m} {regime.model.activation}"


def _weights_of_prompts(context: TrainingContext, axis: int) -> Evidence:
    rows = []
    for regime in GENERAL:
        weights, prompts, _ = at_random(context, regime)
        _, p = context.forward(weights, prompts, activation=regime.model.activation)
        e, signs = prompts["e"][:, None], prompts["signs"]
        right, wrong = (p * (signs == e)).sum(1), (p * (signs == -e)).sum(1)
        ebar = (p * signs).sum(1)
        off = {
            "weights sum to 1": p.sum(axis) - 1,
            "no weight is negative": np.minimum(p, 0),
            "p* + p(wrong) = 1": right + wrong - 1,
            "p* = (1 + e ebar)/2": right - (1 + prompts["e"] * ebar) / 2,
        }
        rows += [
            Compared(
                name=f"{name}, {size_of(regime)}",
                difference=float(np.abs(gap).max()),
                scale=1.0,
                # L terms, each with the roundings of an exponential, their sum and a quotient.
                roundings=4.0 * (regime.prompt.L + 4),
            )
            for name, gap in off.items()
        ]
    return Evidence(rows=tuple(rows), facts={"regimes": len(GENERAL), "prompts each": PROMPTS_EACH})


PROBABILITY = Claim(
    id="algebra/attention_is_a_probability",
    statement="Attention weights are positive and sum to 1 over the demonstrations, the correct and the wrong one too, so that both lie "
    "between 0 and 1 and the mean sign between -1 and 1: in counts, and in the full model at random weights, on prompts with other concepts "
    "and noise, where none is negative and p* = (1 + e ebar)/2.",
    formula=r"p^* = \tfrac{1 + e\bar e}{2} > 0,\quad p^* + p^{\mathrm{wrong}} = 1,\quad 1 - \bar e^2 = 4 p_+ p_- > 0",
    section="4",
    scope="any regime",
    parts=(
        Part(
            name="in counts",
            asserts=lambda: n * sp.exp(g) + q * sp.exp(-g),
            measure=_counted,
            rule=ExactZero(),
            controls=(
                NegativeControl(
                    name="not normalised",
                    statement="weights exp(e_l g) without their sum",
                    asserts=lambda: sp.S.One,
                ),
            ),
        ),
        Part(
            name="in the full model",
            asserts=lambda: 1,
            measure=_weights_of_prompts,
            rule=RoundOff(reason="4 (L + 4) unit round-offs: L exponentials, their sum, and quotients"),
            controls=(
                NegativeControl(name="the wrong axis", statement="they sum to 1 over the prompts", asserts=lambda: 0),
            ),
        ),
    ),
    uses=("algebra/mean_sign_is_tanh", "algebra/pooled_label_is_c_plus_ebar_d"),
    rests_on=(Basis(ground=Ground.PROOF, text="any g and any counts"), ROUND_OFF),
)

# -- Euler's identity ----------------------------------------------------------------------------------------

DERIVED: tuple[tuple[Loss, Activation], ...] = (
    ("logistic", "relu"),
    ("squared", "leaky_relu"),
    ("exponential", "identity"),
)
"""Each loss and each activation once."""


def of_one_prompt(expression: sp.Expr, recursion: Recursion) -> sp.Expr:
    """The term of one prompt (k, e, n+) in an expression linear in prompt means, in formal atoms, with e^2 = 1.

    The means range over free probabilities p[k, e, n+], so an expression vanishes if and only if these terms do.
    """
    stages = recursion.counted
    short = expression.xreplace({stages.f: sp.Function("f")(fw.k), stages.ebar: sp.Function("ebar")(fw.k)})

    def inside(body: sp.Expr, limits: sp.Tuple) -> sp.Expr:
        return body if limits[0] == fw.n_plus else sp.Sum(body, limits)

    short = short.replace(SignSum, lambda body, _sign: body).replace(sp.Sum, inside)
    return squared_signs(sp.expand(short))


def squared_signs(expression: sp.Expr) -> sp.Expr:
    """e^2 = 1, in an expanded expression."""
    return expression.replace(lambda x: x.is_Pow and x.base == fw.e, lambda x: fw.e ** (x.exp % 2)).expand()


def _derived_euler(context: TrainingContext, degree: int) -> Evidence:
    del context
    rows, z = [], sp.Symbol("z")
    for loss, activation in DERIVED:
        right = derive("B", loss=loss, activation=activation)
        stages, neuron = right.counted, (fw.alpha[fw.i, fw.k], fw.beta[fw.i, fw.k])
        slope = LOSSES[loss](z).diff(z).xreplace({z: fw.e * stages.f})
        paired = sp.Add(*(x * right.gradient[x] for x in neuron))
        # e f = sum over i of e r_i activation(h_i): the identity holds for each neuron and each prompt.
        share = fw.P[fw.k, fw.e, fw.n_plus] * slope * fw.e * fw.r[fw.i] * ACTIVATIONS[activation](stages.h)
        left, own = (of_one_prompt(x, right) for x in (paired, share))
        own = own.replace(LeakyReLU, lambda h: LeakyReLU(h).rewrite(ReLU)).replace(ReLU, lambda h: h * Gate(h))
        residual = as_atoms(left - degree * own)
        rows.append(Exact(name=f"a neuron on a prompt, {loss}, {activation}", residual=residual))
    return Evidence(rows=tuple(rows), facts={"prompt": "generic (k, e, n+), any K1, L, m and any law"})


SLOPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "logistic": lambda z: -expit(-z),
    "squared": lambda z: z - 1,
    "exponential": lambda z: -np.exp(-z),
}


def _any_euler(context: TrainingContext, mean: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> Evidence:
    rows = []
    for regime in GENERAL:
        weights, prompts, roundings = at_random(context, regime)
        of = partial(context.autograd, activation=regime.model.activation, loss=regime.training.loss)
        paired = weights["W_O"] * of(weights, prompts)["W_O"]
        f, _ = context.forward(weights, prompts, activation=regime.model.activation)
        slope = SLOPES[regime.training.loss](prompts["e"] * f)
        rows.append(
            Compared(
                name=f"{size_of(regime)} {regime.training.loss}",
                difference=float(abs(paired.sum() - mean(slope, prompts["e"], f).mean())),
                scale=float(np.abs(paired).sum() + np.abs(slope * f).mean()),
                roundings=roundings,
            )
        )
    return Evidence(rows=tuple(rows), facts={"regimes": len(GENERAL), "prompts each": PROMPTS_EACH})


EULER = Claim(
    id="gradient/euler_identity",
    statement="The output is 1-homogeneous in W_O for each of the three activations, so W_O paired with the gradient in it is "
    "the mean of l'(e f) e f: as derived, for every neuron and every prompt, and by autograd at random weights, on prompts with other concepts "
    "and noise.",
    formula=r"\langle W_O, \nabla_{W_O} R\rangle = \mathbb E\,[\ell'(ef)\, e f]",
    section="4",
    scope="any regime",
    parts=(
        Part(
            name="as derived",
            asserts=lambda: 1,
            measure=_derived_euler,
            rule=ExactZero(),
            controls=(
                NegativeControl(
                    name="2-homogeneous", statement="a factor 2, as if W_O entered the output twice", asserts=lambda: 2
                ),
            ),
        ),
        Part(
            name="in the full model",
            asserts=lambda: lambda slope, e, f: slope * e * f,
            measure=_any_euler,
            rule=RoundOff(reason=NESTED),
            controls=(
                NegativeControl(
                    name="query sign dropped",
                    statement="the mean of l'(e f) f",
                    asserts=lambda: lambda slope, _e, f: slope * f,
                ),
            ),
        ),
    ),
    uses=("gradient/closed_forms_equal_derivatives",),
    rests_on=(Basis(ground=Ground.PROOF, text="one generic neuron on one generic prompt"), ROUND_OFF),
)

CLAIMS = (PROBABILITY, EULER)
