"""Claims of the family closure about level Z, and about which blocks the full model itself makes live (section 4)."""

from collections.abc import Mapping
from itertools import pairwise, product

import numpy as np
import sympy as sp

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Compared, Evidence, Exact, Fitted
from polyseme.checks.core.provenance import ROUND_OFF, Basis, Ground
from polyseme.checks.core.rules.exact import ExactZero, Order, RoundOff
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.derivation.closure import LEVELS, Block, Hypotheses, closure, kind
from polyseme.theory.multi_concept.dynamics.span_run import integrate_span, truncation_residual, word_frame
from polyseme.theory.multi_concept.regime import Regime

# Two concepts and two features are the fewest with every kind of block; the enumeration stays below ten thousand prompts.
SMALL = Regime().replace(
    concepts={"K1": 2, "K2": 2, "d_x": 9, "d_y": 6, "weights": [0.45, 0.55]},
    prompt={"L": 2},
    model={"m": 8, "sigma_0": 0.3, "sigma_1": 0.4},
    training={"batch": "population", "steps": 40, "record_every": 40, "lam": 1e-3, "schedule": "constant", "eta": 4.0},
    ensemble={"seed": 11},
)
EXTRA, UNEVEN = 0.25, 0.375

# -- the full model decides which blocks live ----------------------------------------------------------------

SETTINGS: dict[str, Hypotheses] = {
    "mirrored": LEVELS["S"],
    "any neurons": Hypotheses(),
    "mirrored, uneven signs": Hypotheses(mirrored=True, fair=False),
    "any neurons, extras": LEVELS["Z"],
    "mirrored, extras": Hypotheses(mirrored=True, extra=True),
}
_NAMES = (("a", 1), ("b", 1), ("a", 2), ("b", 2), ("nu", 1), ("nu", 2))


def _largest(weights: np.ndarray, frame: np.ndarray) -> dict[Block, float]:
    """Largest entry of each kind of block on span M."""
    coefficients = np.abs(frame @ weights @ frame.T)
    sizes: dict[Block, float] = {}
    for (i, s), (j, t) in product(enumerate(_NAMES), repeat=2):
        sizes[kind(s, t)] = max(sizes.get(kind(s, t), 0.0), float(coefficients[i, j]))
    return sizes


def _lives(size: float, name: str) -> bool:
    """Whether a block of the full model lives: far above what round-off leaves in a dead one, or not above that."""
    # Forty updates, each adding the round-off of sums of at most 10^4 terms of order one to entries of order one.
    dead = 40 * 1e4 * float(np.finfo(np.float64).eps)
    if dead < size < 100 * dead:
        raise PolysemeError(f"{name} is {size:.2g}: too small to be alive, too large to be dead; type another seed")
    return size >= 100 * dead


def _neurons(mirrored: bool) -> str:
    return "mirrored" if mirrored else "independent"


def _confirmed(context: TrainingContext, settings: Mapping[str, Hypotheses]) -> Evidence:
    rows = []
    for title, asserted in settings.items():
        truth = SETTINGS[title]
        law = {"p_extra": EXTRA if truth.extra else 0.0, "p_plus": 0.5 if truth.fair else UNEVEN}
        regime = SMALL.replace(prompt=law, model={"neurons": _neurons(truth.mirrored)})
        start, run = context.cached(f"blocks of {title}", lambda regime=regime: context.descend(regime))
        frame, predicted = word_frame(start["M"], regime.concepts.K1), closure(asserted)
        for name in ("W_Q", "W_K"):
            for block, size in _largest(run[f"final_{name}"], frame).items():
                label = f"{title}: {name}^{{{' '.join(block)}}}"
                wrong = _lives(size, label) != (block in predicted.live(name))
                rows.append(Exact(name=label, residual=sp.Integer(wrong)))
    return Evidence(rows=tuple(rows), facts={"settings": list(settings), "steps": SMALL.training.steps})


CONFIRMED = Claim.single(
    id="closure/full_model_makes_exactly_the_computed_blocks_live",
    statement="Under population descent of the full model exactly the blocks of the computed closures live: for mirrored and for "
    "any neurons, with uneven signs, and with other concepts and features in the words.",
    formula=r"\hat s^\top W(t)\, \hat t \ne 0 \iff (s, t) \in \text{closure}",
    section="4",
    scope="any regime",
    asserts=lambda: SETTINGS,
    measure=_confirmed,
    rule=ExactZero(),
    controls=(
        NegativeControl(
            name="fair signs assumed",
            statement="uneven signs leave mirrored neurons in level S",
            asserts=lambda: SETTINGS | {"mirrored, uneven signs": LEVELS["S"]},
        ),
    ),
    uses=("closure/generic_neurons_reach_level_b", "closure/uneven_signs_break_level_s"),
    rests_on=(Basis(ground=Ground.ROUND_OFF, text="full model at sizes of its own"),),
)

# -- level Z -------------------------------------------------------------------------------------------------

ARRAYS = ("W_Q_blocks", "W_K_blocks", "alpha", "beta", "loss", "error", "attention")
Z_REGIMES: tuple[Regime, ...] = (
    SMALL.replace(prompt={"p_extra": EXTRA}, training={"record_every": 10}),
    SMALL.replace(
        concepts={"K2": 1, "kappa_x": 0.4, "kappa_y": 0.1},
        prompt={"p_extra": 0.4, "p_plus": UNEVEN, "law": "iid", "L": 3},
        model={"m": 5, "activation": "leaky_relu"},
        training={"record_every": 10, "loss": "squared", "eta": 1.0},
    ),
)


COLLECTED = "8 (d_x + d_y + L + m + steps) unit round-offs: nested sums, and one rounding of the state per step"


def compared(title: str, regime: Regime, pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> list[Compared]:
    """Rows for arrays of two runs of a regime, the reference second; a run of tens of steps amplifies nothing by much."""
    width = regime.concepts.d_x + regime.concepts.d_y + regime.prompt.L + regime.model.m
    return [
        Compared(
            name=f"{name}, {title}",
            difference=float(np.abs(one - other).max()),
            scale=float(np.abs(other).max()) or 1.0,
            roundings=8.0 * (width + regime.training.steps),
        )
        for name, (one, other) in pairs.items()
    ]


def _level_z(context: TrainingContext, truncated: bool) -> Evidence:
    rows = []
    for number, regime in enumerate(Z_REGIMES):
        start, full = context.cached(f"level Z {number}", lambda regime=regime: context.descend(regime))
        reduced = integrate_span(regime, start, truncated=truncated)
        frame = word_frame(start["M"], regime.concepts.K1)
        pairs: dict[str, tuple[np.ndarray, np.ndarray]] = {name: (reduced[name], full[name]) for name in ARRAYS}
        for name in ("W_Q", "W_K"):
            pairs[f"all of {name} at the end"] = (reduced[f"{name}_span"][-1], frame @ full[f"final_{name}"] @ frame.T)
        rows += compared(f"{regime.model.activation}, {regime.training.loss}", regime, pairs)
    return Evidence(rows=tuple(rows), facts={"regimes": len(Z_REGIMES), "steps": SMALL.training.steps})


LEVEL_Z = Claim.single(
    id="closure/population_descent_equals_level_z",
    statement="With other concepts and features in the words, exact population descent of the full model and level Z have the "
    "same trajectory, in every block on span M.",
    formula=r"\hat s^\top W(t)\, \hat t = W^{st}_Z(t)\quad\text{for all unit directions } s, t \text{ of span } M",
    section="4",
    scope="any regime",
    asserts=lambda: False,
    measure=_level_z,
    rule=RoundOff(reason=COLLECTED),
    controls=(
        NegativeControl(
            name="diagonal truncation taken for exact",
            statement="the diagonal blocks alone, which is the theory to leading order in p_extra",
            asserts=lambda: True,
        ),
    ),
    uses=("closure/full_model_makes_exactly_the_computed_blocks_live",),
    rests_on=(ROUND_OFF,),
)

SHARES = (0.04, 0.02, 0.01, 0.005)


def _residual(context: TrainingContext, mirrored: bool) -> Evidence:
    residuals = []
    for share in SHARES:
        regime = SMALL.replace(
            concepts={"K2": 1},
            prompt={"p_extra": share},
            model={"neurons": _neurons(mirrored)},
            training={"record_every": 40},
        )
        start = context.draw(regime)
        path = integrate_span(regime, start, truncated=True)
        # At the end: at the start the whole gradient is small by chance, and so is what the residual is relative to.
        residuals.append(float(truncation_residual(regime, start, path)[-1]))
    orders = [float(np.log2(left / right)) for left, right in pairwise(residuals)]
    # A local order is 1 + c p: halving p halves its deviation, so the last correction bounds what is left.
    order, half_width = 2 * orders[-1] - orders[-2], abs(orders[-1] - orders[-2])
    facts = {"p_extra": list(SHARES), "residuals": residuals, "local orders": orders}
    return Evidence(rows=(Fitted(name="order in p_extra", order=order, half_width=half_width),), facts=facts)


TRUNCATION = Claim.single(
    id="closure/diagonal_truncation_is_leading_order_in_extras",
    statement="For mirrored neurons and fair signs, what the diagonal truncation of level Z leaves out of the gradient is of first "
    "order in p_extra, at the state that the truncation itself reaches.",
    formula=r"\frac{\|\nabla R - \mathrm{diag}\, \nabla R\|_F}{\|\nabla R\|_F} = \Theta(p_{\mathrm{extra}})",
    section="4",
    scope="any regime",
    asserts=lambda: True,
    measure=_residual,
    rule=Order(
        declared=1.0,
        margin=0.1,
        reason="orders are whole numbers: a tenth tells them apart, and gate flips between the four values of p_extra move the fit",
    ),
    controls=(
        NegativeControl(
            name="any neurons",
            statement="the same for generic neurons, whose off-diagonal blocks live without extras",
            asserts=lambda: False,
        ),
    ),
    uses=("closure/population_descent_equals_level_z",),
    rests_on=(Basis(ground=Ground.CONVERGENCE, text="extrapolated order of four residuals"),),
)

CLAIMS = (CONFIRMED, LEVEL_Z, TRUNCATION)
