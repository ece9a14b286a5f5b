"""Claims of the family gradient (THEORY.md sections 3 and 7)."""

from collections.abc import Callable, Mapping

import numpy as np
import sympy as sp

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Compared, Evidence, Exact
from polyseme.checks.core.provenance import ROUND_OFF, Basis, Ground
from polyseme.checks.core.rules.exact import ExactZero, RoundOff
from polyseme.checks.multi_concept import controls
from polyseme.checks.multi_concept.claims.decomposition.penalty import as_atoms
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.controls import Theory
from polyseme.checks.multi_concept.hypotheses import DISTINCT, PURE, SEVERAL_DEMONSTRATIONS
from polyseme.checks.multi_concept.round_off.scale import before_cancellation, conditioning
from polyseme.checks.multi_concept.sampling.regimes import with_noise
from polyseme.theory.calculus.derivative import differentiate
from polyseme.theory.calculus.functions import Gate, Logistic, Sigmoid
from polyseme.theory.multi_concept.coefficients import constants, from_layout, project, to_layout
from polyseme.theory.multi_concept.derivation.derive import Recursion, derive
from polyseme.theory.multi_concept.dynamics.integrate import evaluate
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.model.letters import RANGES
from polyseme.theory.multi_concept.numerics.lower import System, system_of
from polyseme.theory.multi_concept.reference.dense import dense_coefficients, derived_coefficients, random_point
from polyseme.theory.multi_concept.reference.prompt_gradients import prompt_gradients

# -- the closed forms of section 3 -------------------------------------------------------------------------


def _stated(variance: Callable[[sp.Expr], sp.Expr]) -> dict[sp.Indexed, sp.Expr]:
    """The gradients of one pure prompt as section 3 states them, typed; `variance` is the softmax variance."""
    stages = derive("B").counted
    delta = -fw.e * Sigmoid(-fw.e * stages.f)  # e l'(e f)
    gamma = delta * fw.r[fw.i] * Gate(stages.h)
    Lam = fw.n_d * delta * sp.Sum(fw.r[fw.i] * Gate(stages.h) * fw.beta[fw.i, fw.k], (fw.i, 1, fw.m))
    query = {"a": fw.n_a, "b": fw.e * fw.n_b}
    stated = {fw.alpha[fw.i, fw.k]: fw.n_c * gamma, fw.beta[fw.i, fw.k]: fw.n_d * stages.ebar * gamma}
    for entry in fw.BLOCK_ENTRIES:
        s, t = entry
        key_b = fw.n_b * fw.W_K[s + "b"][fw.k]  # (W_K b_k) in direction s
        query_s = sum(fw.W_Q[s + u][fw.k] * query[u] for u in "ab")  # (W_Q x_query) in direction s
        stated[fw.W_Q[entry][fw.k]] = Lam * variance(stages.ebar) * key_b * query[t]
        stated[fw.W_K[entry][fw.k]] = Lam * variance(stages.ebar) * query_s * (fw.n_b if t == "b" else 0)
    return stated


def _closed_forms(context: TrainingContext, stated: Mapping[sp.Indexed, sp.Expr]) -> Evidence:
    del context
    # Summed over concepts, so that the derivative in a coefficient of concept k is that of its own prompts.
    loss = sp.Sum(Logistic(fw.e * derive("B").counted.f), (fw.k, 1, fw.K1))
    rows = [
        Exact(name=f"d/d {x}", residual=_difference(differentiate(loss, x, RANGES), formula))
        for x, formula in stated.items()
    ]
    return Evidence(rows=tuple(rows), facts={"prompt": "generic (k, e, n+), any L and m"})


def _difference(left: sp.Expr, right: sp.Expr) -> sp.Expr:
    """left - right as a polynomial in formal atoms (ebar, f, gates, sums, coefficients), with e^2 = 1."""
    stages = derive("B").counted
    short = {stages.f: sp.Symbol("f"), stages.ebar: sp.Symbol("ebar")}

    def normal(expression: sp.Expr) -> sp.Expr:
        return sp.expand(expression.xreplace(short).replace(sp.Sum, _pull)).xreplace({fw.e**2: sp.S.One})

    return as_atoms(normal(left) - normal(right))


def _pull(body: sp.Expr, limits: sp.Tuple) -> sp.Expr:
    outside, inside = body.as_independent(limits[0], as_Add=False)
    return outside * sp.Sum(inside, limits)


CLOSED_FORMS = Claim.single(
    id="gradient/closed_forms_equal_derivatives",
    statement="The gradients of section 3 for a pure prompt are the derivatives of its loss.",
    formula=r"\frac{\partial \ell}{\partial W_Q} = \Lambda (1 - \bar e^2)\,(W_K b_k)\, x_{\mathrm{query}}^\top,\qquad "
    r"\frac{\partial \ell}{\partial \beta_i} = n_d\, \bar e\, \gamma_i",
    section="3",
    scope="any regime",
    asserts=lambda: _stated(lambda ebar: 1 - ebar**2),
    measure=_closed_forms,
    rule=ExactZero(),
    controls=(
        NegativeControl(
            name="softmax variance",
            statement="1 + ebar^2 in place of 1 - ebar^2",
            asserts=lambda: _stated(lambda ebar: 1 + ebar**2),
        ),
    ),
    uses=(
        "algebra/mean_sign_is_tanh",
        "algebra/pooled_label_is_c_plus_ebar_d",
        "algebra/gradient_and_projection_commute",
    ),
    rests_on=(Basis(ground=Ground.PROOF, text="one generic prompt, any L and m"),),
)

# -- the derived recursion, exactly ------------------------------------------------------------------------

EXACT_POINTS = (("match", 2, 3, 3), ("iid", 2, 2, 4), ("match", 1, 4, 3), ("match", 3, 5, 5))  # law, K1, L, m


def _dense(context: TrainingContext, recursion: Recursion) -> Evidence:
    del context
    rows, alive = [], 0
    for seed, (law, K1, L, m) in enumerate(EXACT_POINTS):
        point = random_point(K1=K1, L=L, m=m, law=law, seed=seed)
        dense, derived = dense_coefficients(point), derived_coefficients(recursion, point)
        alive += sum(value != 0 for value in dense.values())
        rows += [
            Exact(name=f"{law}, K1={K1}, L={L}, m={m}: d/d {x}", residual=sp.expand(dense[x] - derived[x]))
            for x in dense
        ]
    facts = {"points": [list(point) for point in EXACT_POINTS], "coefficients": len(rows), "of them not zero": alive}
    return Evidence(rows=tuple(rows), facts=facts)


DENSE_TWIN = Claim.single(
    id="gradient/recursion_equals_dense_enumeration",
    statement="At random rational points the derived recursion equals, exactly, a dense evaluation over all 2^L prompts.",
    formula=r"\hat s^\top\, \mathbb E_{\text{all } 2^L \text{ prompts}}[\nabla_W \ell]\; \hat t = "
    r"\sum_{e, n_+} p_{k,e,n_+}\, \partial_{W^{st}} \ell",
    section="3",
    scope="any regime",
    asserts=lambda: derive("B"),
    measure=_dense,
    rule=ExactZero(),
    controls=(
        NegativeControl(
            name="kappa in the wrong place",
            statement="n_c and n_d exchanged in the recursion",
            asserts=lambda: controls.edited(derive("B"), controls.exchange_label_norms),
        ),
    ),
    uses=("gradient/closed_forms_equal_derivatives",),
    rests_on=(Basis(ground=Ground.EXACT, text="exact rational arithmetic"),),
)

# -- against autograd --------------------------------------------------------------------------------------

Gradients = Callable[[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], dict[str, np.ndarray]]

GENERAL_REGIMES, PROMPTS_EACH = 8, 32


def _any_prompt(context: TrainingContext, formula: Gradients) -> Evidence:
    rng = np.random.default_rng(20)
    rows, grid = [], []
    for _ in range(GENERAL_REGIMES):
        regime = with_noise(rng)
        state = context.draw(regime)
        weights = state | {name: rng.normal(size=state[name].shape) for name in ("W_Q", "W_K", "W_O")}
        prompts = context.prompts(regime, state, count=PROMPTS_EACH)
        stated, auto = formula(weights, prompts), context.autograd(weights, prompts)
        concepts, prompt = regime.concepts, regime.prompt
        size = f"K1={concepts.K1} d_x={concepts.d_x} d_y={concepts.d_y} L={prompt.L} m={regime.model.m} {prompt.law}"
        grid.append(size)
        # Random weights of order 1 give logits of order d_x, each a sum of d_x^2 products whose round-off enters
        # the softmax relative to 1; everything else is sums of d_x, d_y, L, m and PROMPTS_EACH terms.
        roundings = 4.0 * (concepts.d_x**2 + concepts.d_y + prompt.L + regime.model.m + PROMPTS_EACH)
        rows += [
            Compared(
                name=f"d/d {name} at {size}",
                difference=float(np.abs(stated[name] - auto[name]).max()),
                scale=float(np.abs(auto[name]).max()) or 1.0,
                roundings=roundings,
            )
            for name in ("W_Q", "W_K", "W_O")
        ]
    return Evidence(rows=tuple(rows), facts={"regimes": grid, "prompts each": PROMPTS_EACH})


def _keys_and_queries_exchanged(weights: Mapping[str, np.ndarray], prompts: Mapping[str, np.ndarray]) -> dict:
    right = prompt_gradients(weights, prompts)
    return right | {"W_Q": right["W_K"], "W_K": right["W_Q"]}


ANY_PROMPT = Claim.single(
    id="gradient/any_prompt_matches_autograd",
    statement="The gradients of section 3 for any prompt, with other concepts and noise, equal autograd of the full model at "
    "random weights and sizes.",
    formula=r"\nabla_{W_Q}\ell = W_K \sum_l s'_l\, x_l x_{\mathrm{query}}^\top,\quad \nabla_{W_O}\ell = \gamma v^\top,"
    r"\quad s'_l = p_l (y_l - v)^\top W_O^\top \gamma",
    section="3",
    scope="any regime",
    asserts=lambda: prompt_gradients,
    measure=_any_prompt,
    rule=RoundOff(reason="4 (d_x^2 + d_y + L + m + prompts) unit round-offs: the lengths of the nested sums"),
    controls=(
        NegativeControl(
            name="keys and queries exchanged",
            statement="the gradients in W_Q and W_K exchanged",
            asserts=lambda: _keys_and_queries_exchanged,
        ),
    ),
    rests_on=(ROUND_OFF,),
)

# -- the drift of level B ----------------------------------------------------------------------------------

DRIFT_STATES = 5


def drift(context: TrainingContext, state: Mapping[str, np.ndarray], compiled: System) -> dict[str, np.ndarray]:
    """The level-B gradient at full weights, with the names of section 8."""
    regime = context.one
    layout = to_layout(project(state, regime.concepts.K1))
    gradient = evaluate(compiled.gradient, layout, constants(regime, state["r"]))
    return {name: array[0] for name, array in from_layout(gradient).items()}


def _population_drift(context: TrainingContext, theory: Theory) -> Evidence:
    regime, rows, compiled = context.regime, [], theory(context.one)
    for seed in range(DRIFT_STATES):
        state = context.block_state(seed)
        reduced, full = drift(context, state, compiled), context.population_gradient(state)
        concepts = regime.concepts
        sizes = before_cancellation(regime, state["r"], project(state, concepts.K1))
        roundings = 8.0 * (concepts.d_x + concepts.d_y + regime.prompt.L + regime.model.m) * conditioning(regime)
        rows += [
            Compared(
                name=f"{name}, state {seed}",
                difference=float(np.abs(reduced[name] - full[name]).max()),
                scale=float(sizes[name]),
                roundings=roundings,
            )
            for name in reduced
        ]
    return Evidence(rows=tuple(rows), facts={"random states": DRIFT_STATES})


POPULATION_DRIFT = Claim.single(
    id="gradient/level_b_drift_matches_population_autograd",
    statement="At random states the level-B drift equals the projected autograd gradient of the exact population risk.",
    formula=r"\partial_{W^{st}} R_B = \hat s^\top (\nabla_W R)\, \hat t",
    section="4",
    hypotheses=(PURE, DISTINCT, SEVERAL_DEMONSTRATIONS),
    asserts=lambda: system_of,
    measure=_population_drift,
    rule=RoundOff(
        reason="8 (d_x + d_y + L + m) / min(n_b, n_d) unit round-offs of one prompt's gradient: the lengths of the "
        "nested sums, times what half differences lose when the features of a concept nearly agree"
    ),
    controls=(
        NegativeControl(
            name="softmax variance",
            statement="1 + ebar^2 in place of 1 - ebar^2",
            asserts=controls.compiled(controls.flip_softmax_variance),
        ),
    ),
    uses=("gradient/recursion_equals_dense_enumeration",),
    rests_on=(ROUND_OFF,),
)

CLAIMS = (CLOSED_FORMS, DENSE_TWIN, ANY_PROMPT, POPULATION_DRIFT)
