"""Claims about other concepts in the words: drift, runs, and what grows (THEORY.md section 4, P1 and P5)."""

from typing import Literal

import numpy as np

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Bounded, Evidence, Fitted
from polyseme.checks.core.provenance import ROUND_OFF, Basis, Ground
from polyseme.checks.core.rules.bound import UpperBound
from polyseme.checks.core.rules.exact import Order
from polyseme.checks.multi_concept.claims.fluctuation.noise import (
    drift_of_level_n,
    local_orders,
    random_state,
    remainder,
)
from polyseme.checks.multi_concept.context import Arrays, TrainingContext
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.derivation.noisy_rows import expected_extras, prompt_rows
from polyseme.theory.multi_concept.dynamics.noisy_run import integrate_noise
from polyseme.theory.multi_concept.dynamics.span_run import word_frame
from polyseme.theory.multi_concept.regime import Regime

# -- the drift -----------------------------------------------------------------------------------------------

SHARES = (0.04, 0.02, 0.01, 0.005)
STATES: tuple[Regime, ...] = (
    Regime().replace(
        concepts={"K1": 2, "K2": 1, "d_x": 6, "d_y": 5, "weights": [0.4, 0.6]},
        prompt={"L": 3, "p_plus": 0.4},
        model={"m": 8},
        ensemble={"seed": 1},
    ),
    Regime().replace(
        concepts={"K1": 3, "K2": 0, "d_x": 7, "d_y": 7, "kappa_x": 0.4, "kappa_y": 0.1},
        prompt={"L": 2, "law": "iid"},
        model={"m": 6, "activation": "leaky_relu"},
        ensemble={"seed": 2},
    ),
)
Stated = Literal["first order", "each sign with p_extra", "no extras"]


def _rows_of(regime: Regime, stated: Stated) -> Arrays:
    """The table of level N, or a wrong one."""
    rows = prompt_rows(regime).arrays()
    if stated == "each sign with p_extra":
        # A row with an extra has a query or a label that is longer than a pure one's.
        longer = (np.abs(rows["x_query"]) > 0).sum(-1) > 2
        longer |= ((np.abs(rows["x"]) > 0).sum(-1) > 2).any(-1)
        rows["p"] = rows["p"] * np.where(longer, 2.0, 1.0)
    return rows


def _drift_order(context: TrainingContext, stated: Stated) -> Evidence:
    rows, facts = [], {}
    for number, plain in enumerate(STATES):
        state, left = random_state(context, plain, across=True), []
        for share in SHARES:
            regime = plain.replace(prompt={"p_extra": share})
            full = context.cached(
                f"gradient with extras {regime.digest()}",
                lambda regime=regime, state=state: context.population_gradient_of(regime, state),
            )
            left.append(remainder(state, full, drift_of_level_n(regime, state, rows=_rows_of(regime, stated))))
        orders = local_orders(left)
        # A local order is n + c p: halving p halves its deviation, so the last correction bounds what is left.
        order, half_width = 2 * orders[-1] - orders[-2], abs(orders[-1] - orders[-2])
        rows.append(Fitted(name=f"order in p_extra, state {number}", order=order, half_width=half_width))
        facts[f"state {number}"] = {"p_extra": list(SHARES), "left out": left, "local orders": orders}
    return Evidence(rows=tuple(rows), facts=facts)


DRIFT = Claim.single(
    id="gradient/level_n_drift_is_exact_to_first_order_in_extras",
    statement="At random states with every block on the concepts alive, what level N leaves out of the exact expected gradient of the "
    "full model, with other concepts and features in the words, is of second order in p_extra.",
    formula=r"\nabla R_{\mathrm{full}} - \nabla R_N = O(p_{\mathrm{extra}}^2)",
    section="4",
    scope="any regime",
    asserts=lambda: "first order",
    measure=_drift_order,
    rule=Order(declared=2.0, margin=0.1, reason="orders are whole numbers: a tenth tells them apart"),
    controls=(
        NegativeControl(
            name="each sign with p_extra",
            statement="each of the two signs of another concept with probability p_extra, not p_extra/2",
            asserts=lambda: "each sign with p_extra",
        ),
    ),
    uses=("closure/level_n_without_noise_is_level_b",),
    rests_on=(Basis(ground=Ground.CONVERGENCE, text="extrapolated order of four residuals"),),
)

# -- whole runs ----------------------------------------------------------------------------------------------

RUN = Regime().replace(
    concepts={"K1": 2, "K2": 1, "d_x": 7, "d_y": 6},
    prompt={"L": 2},
    model={"m": 16},
    training={"batch": "population", "steps": 600, "record_every": 600, "lam": 2e-4, "gamma": 600},
    ensemble={"seed": 1},
)
FEW, MANY = 0.02, 0.1


def _trained(context: TrainingContext, share: float) -> tuple[Arrays, Arrays]:
    """The start, and the full model at the end of exact population descent."""
    regime = RUN.replace(prompt={"p_extra": share})
    return context.cached(f"descent with extras {share}", lambda: context.descend(regime))


def _left_out(regime: Regime) -> float:
    """The chance of two other concepts or more in a prompt, to leading order: what a table of first order leaves out."""
    return expected_extras(regime) ** 2 / 2


def _runs(context: TrainingContext, stated: Stated) -> Evidence:
    rows = []
    for share in (FEW, MANY):
        regime = RUN.replace(prompt={"p_extra": share})
        start, full = _trained(context, share)
        shown = RUN if stated == "no extras" else regime
        found = integrate_noise(shown, start, recursion=derive("N"))
        allowed = 0.015 if share == FEW else _left_out(regime)
        for name in ("loss", "attention", "W_Q_blocks", "W_K_blocks", "alpha", "beta"):
            one, other = np.asarray(found[name][-1]), np.asarray(full[name][-1])
            rows.append(
                Bounded(
                    name=f"{name} at p_extra = {share}",
                    value=float(np.abs(one - other).max() / np.abs(other).max()),
                    bound=allowed,
                )
            )
    return Evidence(rows=tuple(rows), facts={"steps": RUN.training.steps, "p_extra": [FEW, MANY]})


FOLLOWS = Claim.single(
    id="fluctuation/descent_with_extras_follows_level_n",
    statement="After 600 steps of exact population descent with other concepts and features in the words, loss, attention and "
    "coefficients of the full model are those of level N: within 1.5% at p_extra = 0.02, and within the chance of a second "
    "other concept in a prompt at 0.1.",
    formula=r"|\theta_{\mathrm{full}} - \theta_N| \le \tfrac12 \bigl((L + 1)(K_1 - 1)\, p_{\mathrm{extra}}\bigr)^2 |\theta|",
    section="4",
    scope="any regime",
    asserts=lambda: "first order",
    measure=_runs,
    rule=UpperBound(
        is_statistical=False,
        reason="1.5% at 0.02, eight times the chance of a second extra; that chance itself, 4.5%, at 0.1: prompts with two extras "
        "are what the table leaves out",
    ),
    controls=(NegativeControl(name="level B", statement="those of pure prompts", asserts=lambda: "no extras"),),
    uses=("gradient/level_n_drift_is_exact_to_first_order_in_extras",),
    rests_on=(ROUND_OFF,),
)

# -- what grows (P5) -----------------------------------------------------------------------------------------


def _products(context: TrainingContext, across: Literal["below", "of order p_extra"]) -> Evidence:
    rows, facts = [], {}
    for share in (FEW, MANY):
        start, full = _trained(context, share)
        frame = word_frame(start["M"], RUN.concepts.K1)
        G = np.abs(frame @ full["final_W_K"].T @ full["final_W_Q"] @ frame.T)
        b = np.arange(1, 2 * RUN.concepts.K1, 2)
        specific = float(G[b, b].min())
        between = G[np.ix_(b, b)] - np.diag(G[b, b])
        rest = G.copy()
        rest[np.ix_(b, b)] = 0.0
        rows.append(
            Bounded(
                name=f"b of one concept and b of another at p_extra = {share}",
                value=float(between.max()),
                bound=(0.75 if across == "below" else share) * specific,
            )
        )
        rows.append(
            Bounded(name=f"all other products at p_extra = {share}", value=float(rest.max()), bound=share * specific)
        )
        facts[f"p_extra = {share}"] = {
            "specific": specific,
            "across concepts": float(between.max()),
            "all other": float(rest.max()),
        }
    return Evidence(rows=tuple(rows), facts=facts)


PRODUCTS = Claim.single(
    id="dynamics/concept_specific_products_win",
    statement="With other concepts and features in the words, the products b^T W_K^T W_Q b of each concept end above all others: those "
    "with a, with features nu and outside are below p_extra times as large, but those between the b of two concepts reach half, "
    "and stay below three quarters.",
    formula=r"|G^{b_k b_{k'}}| \le \tfrac34\, G^{b_k b_k},\quad |G^{st}| \le p_{\mathrm{extra}}\, G^{b_k b_k}\ \text{otherwise}",
    section="7",
    scope="any regime",
    asserts=lambda: "below",
    measure=_products,
    rule=UpperBound(
        is_statistical=False,
        reason="P5 asks that concept-specific products win. Three quarters is ours: a half was seen, since a demonstration whose other "
        "concept agrees with the query's sign helps the answer; p_extra is the order of all else",
    ),
    controls=(
        NegativeControl(
            name="nothing but the concept's own",
            statement="products between two concepts, too, below p_extra times as large",
            asserts=lambda: "of order p_extra",
        ),
    ),
    uses=("fluctuation/descent_with_extras_follows_level_n",),
    rests_on=(ROUND_OFF,),
)

CLAIMS = (DRIFT, FOLLOWS, PRODUCTS)
