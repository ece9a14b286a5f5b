"""Claims about W_Q W_Q^T - W_K W_K^T, the balance of keys and queries (THEORY.md section 4)."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp

from polyseme.checks.core.claim import Claim, Hypothesis, NegativeControl, Part
from polyseme.checks.core.evidence import Compared, Evidence, Exact, Fitted, Row
from polyseme.checks.core.provenance import ROUND_OFF, Basis, Ground
from polyseme.checks.core.rules.exact import ExactZero, Order, RoundOff
from polyseme.checks.multi_concept.claims.decomposition.penalty import as_atoms
from polyseme.checks.multi_concept.claims.gradient.identities import (
    DERIVED,
    GENERAL,
    NESTED,
    PROMPTS_EACH,
    at_random,
    of_one_prompt,
    size_of,
    squared_signs,
)
from polyseme.checks.multi_concept.context import Activation, Loss, TrainingContext
from polyseme.checks.multi_concept.hypotheses import DISTINCT, PURE
from polyseme.theory.calculus.peirce import Operator
from polyseme.theory.multi_concept.coefficients import constants, from_layout, project, to_layout
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.dynamics.gate_flow import FINEST, SAFETY, Flow, flow
from polyseme.theory.multi_concept.dynamics.integrate import step
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.numerics.lower import system_of
from polyseme.theory.multi_concept.regime import Regime

# -- keys and queries are balanced ---------------------------------------------------------------------------

Gap = Callable[[Any, Any, Any, Any], Any]  # of matrices or operators W_Q, dR/dW_Q, W_K, dR/dW_K


def _outer(W_Q: Any, G_Q: Any, W_K: Any, G_K: Any) -> Any:
    return W_Q @ G_Q.transpose() - G_K @ W_K.transpose()


def _inner(W_Q: Any, G_Q: Any, W_K: Any, G_K: Any) -> Any:
    return W_Q.transpose() @ G_Q - G_K.transpose() @ W_K


@cache
def _gradient_matrices(loss: Loss, activation: Activation) -> tuple[Operator, Operator]:
    """The derived gradients in W_Q and W_K as matrices, each entry by its term of one prompt."""
    recursion, matrices = derive("B", loss=loss, activation=activation), []
    for family in (fw.W_Q, fw.W_K):
        total = fw.WORDS.zero()
        for s, t in fw.BLOCK_ENTRIES:
            entry = of_one_prompt(recursion.gradient[family[s + t][fw.k]], recursion)
            total += fw.WORDS.block(fw.WORDS.direction(s), fw.WORDS.direction(t), entry)
        matrices.append(total.summed(fw.k))
    return matrices[0], matrices[1]


def _derived_balance(context: TrainingContext, gap: Gap) -> Evidence:
    del context
    rows: list[Row] = []
    for loss, activation in DERIVED:
        G_Q, G_K = _gradient_matrices(loss, activation)
        left = gap(fw.blocks(fw.W_Q), G_Q, fw.blocks(fw.W_K), G_K)
        found = dict(left.terms)
        for s, t in fw.BLOCK_ENTRIES:
            entry = found.pop(((fw.WORDS.direction(s), fw.WORDS.direction(t)), (fw.k,)), sp.S.Zero)
            residual = as_atoms(squared_signs(sp.expand(entry)))
            rows.append(Exact(name=f"block {s}{t}, {loss}, {activation}", residual=residual))
        rows.append(Exact(name=f"other blocks, {loss}, {activation}", residual=sp.Integer(len(found))))
    return Evidence(rows=tuple(rows), facts={"prompt": "generic (k, e, n+), any K1, L, m and any law"})


def _any_balance(context: TrainingContext, gap: Gap) -> Evidence:
    rows = []
    for regime in GENERAL:
        weights, prompts, roundings = at_random(context, regime)
        G = context.autograd(weights, prompts, activation=regime.model.activation, loss=regime.training.loss)
        size = np.abs(weights["W_Q"]) @ np.abs(G["W_Q"]).T + np.abs(G["W_K"]) @ np.abs(weights["W_K"]).T
        rows.append(
            Compared(
                name=size_of(regime),
                difference=float(np.abs(gap(weights["W_Q"], G["W_Q"], weights["W_K"], G["W_K"])).max()),
                # With one demonstration the softmax is constant, and so is the loss in W_Q and W_K.
                scale=float(size.max()) or 1.0,
                roundings=roundings,
            )
        )
    return Evidence(rows=tuple(rows), facts={"regimes": len(GENERAL), "prompts each": PROMPTS_EACH})


BALANCED = Claim(
    id="gradient/risk_is_balanced_in_keys_and_queries",
    statement="The risk depends on W_K^T W_Q alone, so its gradients satisfy W_Q G_Q^T = G_K W_K^T, and without L2 the gradient flow conserves "
    "W_Q W_Q^T - W_K W_K^T: as derived, and by autograd of the full model at random weights, on prompts with other concepts and noise.",
    formula=r"W_Q (\nabla_{W_Q} R)^\top = (\nabla_{W_K} R)\, W_K^\top",
    section="4",
    scope="any regime",
    parts=(
        Part(
            name="as derived",
            asserts=lambda: _outer,
            measure=_derived_balance,
            rule=ExactZero(),
            controls=(
                NegativeControl(
                    name="transposed products",
                    statement="W_Q^T G_Q = G_K^T W_K, which would conserve W_Q^T W_Q - W_K^T W_K",
                    asserts=lambda: _inner,
                ),
            ),
        ),
        Part(
            name="in the full model",
            asserts=lambda: _outer,
            measure=_any_balance,
            rule=RoundOff(reason=NESTED),
            controls=(
                NegativeControl(name="transposed products", statement="W_Q^T G_Q = G_K^T W_K", asserts=lambda: _inner),
            ),
        ),
    ),
    uses=("gradient/closed_forms_equal_derivatives",),
    rests_on=(Basis(ground=Ground.PROOF, text="products of Peirce blocks, one generic prompt"), ROUND_OFF),
)

# -- the balance along the flow ------------------------------------------------------------------------------

# At the shipped regimes some gates flip within this time, which costs half a second.
FLOW_TIME, FLOW_TOLERANCE = 12.0, 1e-10
SHARES = (0.25, 0.5, 1.0)

FADES = Hypothesis(
    key="fades",
    name=f"the penalty acts within the time of a flow that is solved to {FLOW_TOLERANCE:g}: lam >= 1e-6",
    holds=lambda regime: regime.training.lam >= 1e-6,
    got=lambda regime: f"lam = {regime.training.lam:g}",
)

Balance = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _of_rows(W_Q: np.ndarray, W_K: np.ndarray) -> np.ndarray:
    return W_Q @ W_Q.swapaxes(-1, -2) - W_K @ W_K.swapaxes(-1, -2)


def _of_columns(W_Q: np.ndarray, W_K: np.ndarray) -> np.ndarray:
    return _of_rows(W_Q.swapaxes(-1, -2), W_K.swapaxes(-1, -2))


def _roundings_of_flow(solved: Flow) -> float:
    """8 sqrt(n) local tolerances for each step of the solver, in unit round-offs.

    The solver bounds the root mean square of the n local errors of a step, relative to 1 + |x|; a product of two
    coefficients has twice their error, and there are four products in an entry of the balance. The flow carries the
    balance exactly, so an error in it is not amplified later.
    """
    local = max(FLOW_TOLERANCE / SAFETY, FINEST)
    unit = np.finfo(np.float64).eps / 2
    return float(8 * np.sqrt(len(solved.start)) * max(len(solved.stretches), 1) * local / unit)


def _along_the_flow(
    solved: Flow, balance: Balance, decay: Callable[[float], float], title: str
) -> tuple[list[Compared], dict[str, Any]]:
    """The balance of each concept at some times of the flow, against `decay(tau)` times its start."""
    times = solved.end * np.array([0.0, *SHARES])
    path = solved(times)
    W_Q, W_K = path["W_Q_blocks"], path["W_K_blocks"]
    B = balance(W_Q, W_K)
    rows = [
        Compared(
            name=f"tau = {time:.3g}{title}",
            difference=float(np.abs(now - decay(float(time)) * B[0]).max()),
            # Of what is subtracted, with the 1 of the solver's absolute tolerance.
            scale=(1 + max(float(np.abs(W_Q).max()), float(np.abs(W_K).max()))) ** 2,
            roundings=_roundings_of_flow(solved),
        )
        for time, now in zip(times[1:], B[1:], strict=True)
    ]
    facts = {"steps of the solver": len(solved.stretches), "gate events": len(solved.events)}
    return rows, facts | {"tau": solved.end, "largest entry at the start": float(np.abs(B[0]).max())}


def _solve(context: TrainingContext, regime: Regime, time: float) -> Flow:
    """The flow from any blocks, up to a time, or to the time in which the penalty forgets the start."""
    tau = min(time, 1 / max(regime.training.lam, 1e-300))
    return flow(regime, context.any_start, tau=tau, tolerance=FLOW_TOLERANCE)


SOLVED = (
    "8 sqrt(n) local tolerances for each step of the solver, in unit round-offs: it bounds the root mean square of n local "
    "errors, the balance has four products of two coefficients, and the flow does not amplify an error in it"
)


def _decaying(context: TrainingContext, rate: float) -> Evidence:
    regime = context.one
    solved = context.cached("balanced flow", lambda: _solve(context, regime, FLOW_TIME))
    lam = regime.training.lam
    rows, facts = _along_the_flow(solved, _of_rows, lambda tau: float(np.exp(-rate * lam * tau)), "")
    return Evidence(rows=tuple(rows), facts=facts)


DECAYS = Claim.single(
    id="closure/balance_decays_along_the_flow",
    statement="Along the gradient flow from any blocks, across gate events, W_Q W_Q^T - W_K W_K^T of every concept decays as "
    "exp(-2 lambda tau), whatever the loss and the neurons do.",
    formula=r"\left(W_Q W_Q^\top - W_K W_K^\top\right)(\tau) = e^{-2\lambda\tau} \left(W_Q W_Q^\top - W_K W_K^\top\right)(0)",
    section="4",
    hypotheses=(PURE, DISTINCT, FADES),
    asserts=lambda: 2.0,
    measure=_decaying,
    rule=RoundOff(reason=SOLVED),
    controls=(
        NegativeControl(
            name="the rate of the weights",
            statement="it decays as exp(-lambda tau), as the weights do",
            asserts=lambda: 1.0,
        ),
    ),
    uses=("gradient/risk_is_balanced_in_keys_and_queries",),
    rests_on=(Basis(ground=Ground.CONVERGENCE, text="an adaptive solver at tolerance 1e-10"),),
)


# Pure prompts with uneven signs and concepts: every loss and every activation once.
OWN: dict[str, Regime] = {
    f"{activation}, {loss}": Regime().replace(
        concepts={"K1": 2, "K2": 1, "d_x": 6, "d_y": 5, "weights": [0.7, 0.3]},
        prompt={"L": 3, "p_plus": 0.375},
        model={"m": 6, "activation": activation},
        training={"loss": loss, "lam": 1e-3},
        ensemble={"seed": 5},
    )
    for loss, activation in DERIVED
}


def _own(context: TrainingContext) -> dict[str, TrainingContext]:
    return context.cached("own regimes", lambda: {title: TrainingContext(regime) for title, regime in OWN.items()})


def _conserved(context: TrainingContext, balance: Balance) -> Evidence:
    rows, facts = [], {}
    for title, own in _own(context).items():
        regime = own.one.replace(training={"lam": 0.0, "schedule": "constant"})
        solved = own.cached("flow without penalty", lambda own=own, regime=regime: _solve(own, regime, FLOW_TIME))
        more, facts[title] = _along_the_flow(solved, balance, lambda _tau: 1.0, f", {title}")
        rows += more
    return Evidence(rows=tuple(rows), facts=facts)


CONSERVED = Claim.single(
    id="closure/balance_is_conserved_without_penalty",
    statement="Without the penalty the gradient flow from any blocks conserves W_Q W_Q^T - W_K W_K^T of every concept, across "
    "gate events.",
    formula=r"\lambda = 0:\quad \frac{d}{d\tau} \left(W_Q W_Q^\top - W_K W_K^\top\right) = 0",
    section="4",
    scope="any regime",
    asserts=lambda: _of_rows,
    measure=_conserved,
    rule=RoundOff(reason=SOLVED),
    controls=(
        NegativeControl(
            name="transposed products",
            statement="it conserves W_Q^T W_Q - W_K^T W_K",
            asserts=lambda: _of_columns,
        ),
    ),
    uses=("gradient/risk_is_balanced_in_keys_and_queries",),
    rests_on=(Basis(ground=Ground.CONVERGENCE, text="an adaptive solver at tolerance 1e-10"),),
)

RECURSION_TIME, RECURSION_STEPS = 4.0, (32, 64, 128)


def _order(context: TrainingContext, balance: Balance) -> Evidence:
    rows, facts = [], {}
    for title, own in _own(context).items():
        moved = [_moved(own, steps, balance) for steps in RECURSION_STEPS]
        coarse, fine = (float(np.log2(left / right)) for left, right in pairwise(moved))
        # A local order is 1 + c/N: halving the step halves its deviation, so the last correction bounds what is left.
        rows.append(Fitted(name=title, order=2 * fine - coarse, half_width=abs(fine - coarse)))
        facts[title] = {"deviations": moved, "local orders": [coarse, fine]}
    return Evidence(rows=tuple(rows), facts=facts | {"tau": RECURSION_TIME, "steps": list(RECURSION_STEPS)})


def _moved(own: TrainingContext, steps: int, balance: Balance) -> float:
    """How far equal steps to one time take the balance from (1 - eta lambda)^(2 steps) times its start."""
    regime, start = own.one, project(own.any_start, own.one.concepts.K1)
    compiled, numbers = system_of(regime), constants(regime, own.any_start["r"])
    state, eta = to_layout(start), RECURSION_TIME / steps
    for _ in range(steps):
        state = step(state, numbers, eta, compiled)
    end = from_layout(state)
    decay = (1 - eta * regime.training.lam) ** (2 * steps)
    before = balance(start["W_Q_blocks"], start["W_K_blocks"])
    return float(np.abs(balance(end["W_Q_blocks"][0], end["W_K_blocks"][0]) - decay * before).max())


SECOND_ORDER = Claim.single(
    id="closure/balance_of_the_recursion_moves_at_order_eta",
    statement="The recursion takes W_Q W_Q^T - W_K W_K^T away from its decay by eta^2 (G_Q G_Q^T - G_K G_K^T) at each update, "
    "which in a given time adds up to order eta.",
    formula=r"B_{t+1} = (1 - \eta\lambda)^2 B_t + \eta^2 (G_Q G_Q^\top - G_K G_K^\top),\qquad "
    r"B = W_Q W_Q^\top - W_K W_K^\top",
    section="4",
    scope="any regime",
    asserts=lambda: _of_rows,
    measure=_order,
    rule=Order(
        declared=1.0,
        margin=0.05,
        reason="orders are whole numbers: a twentieth tells them apart, and gates that flip between two updates move the fit",
    ),
    controls=(
        NegativeControl(
            name="transposed products",
            statement="the same of W_Q^T W_Q - W_K^T W_K, which moves at order 1",
            asserts=lambda: _of_columns,
        ),
    ),
    uses=("gradient/risk_is_balanced_in_keys_and_queries",),
    rests_on=(Basis(ground=Ground.CONVERGENCE, text="extrapolated order of three step sizes"),),
)

CLAIMS = (BALANCED, DECAYS, CONSERVED, SECOND_ORDER)
