"""Claims about level N by quadrature of the full model's gradient, so that no chance blurs them (THEORY.md section 4)."""

from itertools import product

import numpy as np
from scipy.stats import norm

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Bounded, Evidence, Fitted
from polyseme.checks.core.provenance import Basis, Ground
from polyseme.checks.core.rules.bound import UpperBound
from polyseme.checks.core.rules.exact import Order
from polyseme.checks.multi_concept.claims.fluctuation.noise import (
    STATES,
    What,
    drift_of_level_n,
    local_orders,
    random_state,
    remainder,
    wrong,
)
from polyseme.checks.multi_concept.context import Arrays, TrainingContext
from polyseme.theory.multi_concept.coefficients import concept_vectors
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.dynamics.noisy_run import NoiseRun, project_noisy
from polyseme.theory.multi_concept.regime import Regime

ORDER_LEVELS = (0.2, 0.1, 0.05, 0.025)
NODES = 4
# Two demonstrations and one concept: eight numbers are all the noise that the gradient sees.
SMOOTH = Regime().replace(
    concepts={"K1": 1, "K2": 0, "d_x": 2, "d_y": 2, "kappa_x": 0.2, "kappa_y": 0.3},
    prompt={"L": 2, "p_plus": 0.4},
    model={"m": 4, "activation": "identity"},
    ensemble={"seed": 3},
)


def _at_nodes(regime: Regime, state: Arrays, sigma: float) -> Arrays:
    """Prompts at the nodes of a Gauss-Hermite rule in the noise, with their weights.

    NODES to the eighth power of them for each (e, n+): the difference of the two words, the query, and the two labels. What
    the words have in common reaches no gradient. The rule is exact to the order sigma^(2 NODES - 1).
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    grid = np.stack(np.meshgrid(*[nodes] * 8, indexing="ij"), axis=-1).reshape(-1, 8) * sigma
    weight = np.prod(
        np.stack(np.meshgrid(*[weights / weights.sum()] * 8, indexing="ij"), axis=-1).reshape(-1, 8), axis=1
    )
    plus, rows = regime.prompt.p_plus, []
    of_sign = {1: plus, -1: 1 - plus}
    for e in (1, -1):
        matched = 1 - (1 - of_sign[e]) ** 2
        rows += [
            (e, signs, of_sign[e] * of_sign[signs[0]] * of_sign[signs[1]] / matched)
            for signs in product((1, -1), repeat=2)
            if e in signs
        ]
    column = {1: 0, -1: 1}
    x, y, query, e_of, share = [], [], [], [], []
    for e, signs, chance in rows:
        words, labels = (state[name].T[[column[sign] for sign in signs]] for name in ("M", "Q"))
        half = grid[:, 0:2] / np.sqrt(2)
        x.append(words + np.stack([half, -half], axis=1))
        query.append(state["M"][:, column[e]] + grid[:, 2:4])
        y.append(labels + grid[:, 4:8].reshape(-1, 2, 2))
        e_of.append(np.full(len(grid), float(e)))
        share.append(chance * weight)
    parts = {"x": x, "y": y, "x_query": query, "e": e_of, "probability": share}
    return {name: np.concatenate(blocks) for name, blocks in parts.items()}


def _order(context: TrainingContext, what: What) -> Evidence:
    state, left = random_state(context, SMOOTH, size=0.7), []
    for sigma in ORDER_LEVELS:
        noisy = SMOOTH.replace(prompt={"sigma_x": sigma, "sigma_y": sigma})
        full = context.cached(
            f"gradient at nodes {sigma}",
            lambda sigma=sigma: context.autograd(state, _at_nodes(SMOOTH, state, sigma), activation="identity"),
        )
        found = drift_of_level_n(noisy, state, recursion=wrong(derive("N", activation="identity"), what))
        left.append(remainder(state, full, found))
    orders = local_orders(left)
    # The next order is two higher: halving sigma divides its part by four, so a third of the last step is still to come.
    step = (orders[-1] - orders[-2]) / 3
    row = Fitted(name="order in sigma", order=orders[-1] + step, half_width=abs(step))
    return Evidence(rows=(row,), facts={"sigma": list(ORDER_LEVELS), "left out": left, "local orders": orders})


ORDER = Claim.single(
    id="fluctuation/level_n_remainder_without_gates_is_of_fourth_order",
    statement="Where no gate is within reach of the noise, what level N leaves out of the drift falls as sigma^4.",
    formula=r"\mathbb E\,\nabla_{\mathrm{full}} - \nabla_N = O(\sigma^4)",
    section="4",
    scope="any regime",
    asserts=lambda: "as derived",
    measure=_order,
    rule=Order(declared=4.0, margin=0.1, reason="orders are even numbers: a tenth tells them apart"),
    controls=(
        NegativeControl(
            name="without the variance of f",
            statement="descent on l(e F) alone, without l'' Var f / 2",
            asserts=lambda: "without the variance of f",
        ),
    ),
    uses=("gradient/level_n_drift_matches_full_model",),
    rests_on=(
        Basis(ground=Ground.CONVERGENCE, text="extrapolated order of four remainders, by Gauss-Hermite quadrature"),
    ),
)

# -- gates in the drift --------------------------------------------------------------------------------------

SINGLE = Regime().replace(
    concepts={"K1": 1, "K2": 0, "d_x": 2, "d_y": 3, "kappa_x": 0.2, "kappa_y": 0.3},
    prompt={"L": 1, "p_plus": 0.4, "sigma_y": 0.3},
    model={"m": 1},
    ensemble={"seed": 8},
)
NEURONS, SIZE, REACH, PIECES = 24, 1e-3, 9.0, 80


def _split_at_the_kink(state: Arrays) -> Arrays:
    """Prompts at the nodes of Gauss and Legendre on both sides of the kink, along the one direction of noise that a neuron sees.

    What noise does across it has mean zero, and no gate sees it. Beyond nine deviations there is less than round-off.
    """
    sigma, (row,) = SINGLE.prompt.sigma_y, state["W_O"]
    along = row / np.linalg.norm(row)
    nodes, weights = np.polynomial.legendre.leggauss(PIECES)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("x", "y", "x_query", "e", "probability")}
    for column, (e, chance) in enumerate(((1.0, SINGLE.prompt.p_plus), (-1.0, 1 - SINGLE.prompt.p_plus))):
        label, word = state["Q"][:, column], state["M"][:, column]
        kink = float(np.clip(-(along @ label) / sigma, -REACH, REACH))
        for low, high in ((-REACH, kink), (kink, REACH)):
            half = (high - low) / 2
            z = low + half * (nodes + 1)
            parts["y"].append((label + sigma * z[:, None] * along)[:, None, :])
            parts["probability"].append(chance * half * weights * norm.pdf(z))
            parts["x"].append(np.broadcast_to(word, (PIECES, 1, len(word))))
            parts["x_query"].append(np.broadcast_to(word, (PIECES, len(word))))
            parts["e"].append(np.full(PIECES, e))
    return {name: np.concatenate(blocks) for name, blocks in parts.items()}


def _single(context: TrainingContext, what: What) -> Evidence:
    rng, rows = np.random.default_rng(SINGLE.ensemble.seed), []
    labels = concept_vectors(context.draw(SINGLE)["Q"], 1)[0]
    for number in range(NEURONS):
        # Small: then the output moves the slope of the loss by a thousandth, and gates are all there is.
        state = random_state(context, SINGLE) | {"W_O": SIZE * rng.normal(size=(1, 3))}
        full = context.autograd(state, _split_at_the_kink(state))["W_O"][0]
        found = drift_of_level_n(SINGLE, state, recursion=wrong(derive("N"), what))
        outside = state["W_O"][0] - labels.T @ (labels @ state["W_O"][0])
        wanted = np.array([*(labels @ full), full @ outside / np.linalg.norm(outside)])
        gap = np.array([*found["W_O"][0], found["rho"][0]]) - wanted
        rows.append(Bounded(name=f"neuron {number}", value=float(np.abs(gap).max() / np.abs(wanted).max()), bound=SIZE))
    return Evidence(rows=tuple(rows), facts={"sigma_y": SINGLE.prompt.sigma_y, "size of neurons": SIZE})


GATES_IN_THE_DRIFT = Claim.single(
    id="gradient/level_n_gates_match_full_model",
    statement="For single small neurons whose gates are anywhere within reach of the label noise, level N's drift of alpha, beta and "
    "the part outside span Q is the full model's, integrated on both sides of the kink.",
    formula=r"\mathbb E\,\nabla_w\, \ell\bigl(e\, r\, \mathrm{relu}(w \cdot v)\bigr) = \nabla_N\,(1 + O(\|w\|))",
    section="4",
    scope="any regime",
    asserts=lambda: "as derived",
    measure=_single,
    rule=UpperBound(
        reason="the size of the neurons: by so much, and less, the output moves the slope of the loss",
        is_statistical=False,
    ),
    controls=(
        NegativeControl(
            name="Stein's term of the wrong sign",
            statement="the growth of neurons along themselves turned round",
            asserts=lambda: "Stein's term of the wrong sign",
        ),
    ),
    uses=("gradient/smooth_gates_match_quadrature",),
    rests_on=(Basis(ground=Ground.CONVERGENCE, text="Gauss-Legendre quadrature, split at the kink"),),
)

# -- the calculus ----------------------------------------------------------------------------------------------

STEP = 1e-3


def _slopes(context: TrainingContext, what: What) -> Evidence:
    rows = []
    for number, plain in enumerate(STATES[:3]):
        regime = plain.replace(prompt={"sigma_x": 0.1, "sigma_y": 0.2, "p_extra": 0.02})
        start, rng = random_state(context, regime, across=True), np.random.default_rng(number)
        recursion = wrong(derive("N", activation=regime.model.activation), what)
        run = NoiseRun(regime, start["r"], recursion=recursion)
        state, rest = project_noisy(start, regime.concepts.K1)
        gradient = run.gradient(state, rest)
        for name, array in state.items():
            way = rng.normal(size=array.shape)
            loss = {
                j: float(run.observe(state | {name: array + j * STEP * way}, rest)["loss"][0]) for j in (-2, -1, 1, 2)
            }
            # Five points: what is left is of the order of STEP^4, and of round-off over STEP.
            slope = (8 * (loss[1] - loss[-1]) - (loss[2] - loss[-2])) / (12 * STEP)
            size = float(np.abs(gradient[name] * way).sum())
            gap = abs(float((gradient[name] * way).sum()) - slope)
            rows.append(Bounded(name=f"{name}, state {number}", value=gap / size, bound=1e-8))
    return Evidence(rows=tuple(rows), facts={"step": STEP})


SLOPES = Claim.single(
    id="gradient/level_n_drift_is_the_slope_of_its_risk",
    statement="The derivatives of level N, taken stage by stage, are the slopes of the risk that it records, along random directions, "
    "by differences of fourth order.",
    formula=r"\langle \nabla_N, D \rangle = \tfrac{d}{ds} R_N(\theta + s D)\big|_{s = 0}",
    section="2",
    scope="any regime",
    asserts=lambda: "as derived",
    measure=_slopes,
    rule=UpperBound(
        reason="10^-8 of the sum of sizes: differences of step 10^-3 leave (10^-3)^4 times a fifth derivative, and gates of width 0.1 make "
        "that (1/0.1)^4 as large",
        is_statistical=False,
    ),
    controls=(
        NegativeControl(
            name="gates held fixed",
            statement="the gates that the variance of the output is made of held fixed",
            asserts=lambda: "gates held fixed in the variance of f",
        ),
    ),
    rests_on=(Basis(ground=Ground.CONVERGENCE, text="differences of fourth order"),),
)

CLAIMS = (ORDER, GATES_IN_THE_DRIFT, SLOPES)
