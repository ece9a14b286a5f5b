"""Claims about what changes nothing in training: relabelled concepts, rotated spaces, shut neurons (section 4)."""

from collections.abc import Mapping

import numpy as np

from polyseme.checks.core.claim import Claim, Hypothesis, NegativeControl
from polyseme.checks.core.evidence import Compared, Evidence
from polyseme.checks.core.provenance import ROUND_OFF, Basis, Ground
from polyseme.checks.core.rules.exact import RoundOff
from polyseme.checks.multi_concept.claims.closure.levels import COLLECTED, compared
from polyseme.checks.multi_concept.context import Arrays, TrainingContext
from polyseme.checks.multi_concept.hypotheses import DISTINCT, GENTLE, PENALISED, PURE, TRAINS
from polyseme.theory.multi_concept.coefficients import concept_vectors, constants, project
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b, step_size
from polyseme.theory.multi_concept.regime import Regime

# -- symmetries ----------------------------------------------------------------------------------------------

_BASE = Regime().replace(
    concepts={"K1": 3, "K2": 1, "d_x": 9, "d_y": 7, "weights": [0.5, 0.3, 0.2]},
    prompt={"L": 3},
    model={"m": 8, "sigma_0": 0.3, "sigma_1": 0.4},
    training={"batch": "population", "steps": 60, "record_every": 10, "lam": 1e-3, "schedule": "constant", "eta": 4.0},
    ensemble={"seed": 12},
)
_TWO = {"K1": 2, "d_x": 8, "d_y": 5, "weights": [0.7, 0.3], "kappa_x": 0.4, "kappa_y": 0.1}
EXTRAS = {"p_extra": 0.3, "p_plus": 0.375, "law": "iid", "L": 2}
RUNS: dict[str, Regime] = {
    "pure prompts": _BASE,
    "extras, uneven signs, leaky neurons, squared loss": _BASE.replace(
        concepts=_TWO,
        prompt=EXTRAS,
        model={"m": 5, "activation": "leaky_relu"},
        training={"steps": 20, "loss": "squared", "eta": 1.0},
    ),
    "linear neurons, exponential loss": _BASE.replace(
        prompt={"p_plus": 0.3},
        model={"activation": "identity"},
        training={"steps": 20, "loss": "exponential", "eta": 0.5},
    ),
}
"""Noise-free population descent with every loss and every activation; concept weights are uneven."""
MINIBATCHES = {
    "minibatches with extras": _BASE.replace(prompt=EXTRAS, training={"batch": 8, "steps": 40, "eta": 2.0}),
}
COEFFICIENTS = ("W_Q_blocks", "W_K_blocks", "alpha", "beta")
OBSERVED = ("loss", "attention", "error")


def _compare(title: str, regime: Regime, one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> list:
    return compared(title, regime, {name: (other[name], one[name]) for name in (*COEFFICIENTS, *OBSERVED)})


def _plain(context: TrainingContext, title: str, regime: Regime) -> tuple[Arrays, Arrays]:
    """A start with blocks of its own in every concept, and the full model's run from it.

    From W_Q = W_K = sigma_0 I neither symmetry would say anything about the two: a rotation leaves them as they are.
    """
    start = context.cached(f"start of {title}", lambda: TrainingContext(regime).any_start)
    return start, context.cached(f"symmetry of {title}", lambda: context.train(regime, start))


def _relabelled(features: np.ndarray, order: list[int]) -> np.ndarray:
    """A dictionary whose concept k is the old concept order[k]."""
    pairs = np.array([[2 * k, 2 * k + 1] for k in order]).ravel()
    return np.concatenate([features[:, pairs], features[:, 2 * len(order) :]], axis=1)


def _permuted(context: TrainingContext, weights_too: bool) -> Evidence:
    rows = []
    for title, regime in RUNS.items():
        start, run = _plain(context, title, regime)
        order = [*range(1, regime.concepts.K1), 0]
        weights = [regime.concepts.probabilities[k] for k in order]
        other = regime.replace(concepts={"weights": weights}) if weights_too else regime
        moved = start | {name: _relabelled(start[name], order) for name in ("M", "Q")}
        expected = dict(run)
        for name in COEFFICIENTS:
            expected[name] = np.take(run[name], order, axis=1 if name.startswith("W") else 2)
        rows += _compare(f"full model, {title}", regime, context.train(other, moved), expected)
        if regime.prompt.is_pure:
            rows += _compare(f"level B, {title}", regime, integrate_b(other, moved), expected)
    return Evidence(rows=tuple(rows), facts={"runs": list(RUNS)})


PERMUTED = Claim.single(
    id="closure/permuting_concepts_permutes_coefficients",
    statement="With its concepts relabelled, in the dictionaries and in the weights pi, the full model and the recursion go through "
    "the same coefficients, relabelled, with the same loss, error and attention.",
    formula=r"(\mu_k, q_k, \pi_k) \to (\mu_{\sigma k}, q_{\sigma k}, \pi_{\sigma k}):\quad "
    r"W^{st}_k(t) \to W^{st}_{\sigma k}(t),\quad \alpha_{i,k}(t) \to \alpha_{i, \sigma k}(t)",
    section="4",
    scope="any regime",
    asserts=lambda: True,
    measure=_permuted,
    rule=RoundOff(reason=COLLECTED),
    controls=(
        NegativeControl(
            name="weights left behind",
            statement="the same with the dictionaries relabelled and the weights pi not",
            asserts=lambda: False,
        ),
    ),
    rests_on=(
        ROUND_OFF,
        Basis(ground=Ground.ROUND_OFF, text="full model at sizes of its own"),
    ),
)


def _rotation(size: int, seed: int) -> np.ndarray:
    """A random orthogonal matrix."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def _rotated(context: TrainingContext, rotates: tuple[str, ...]) -> Evidence:
    rows = []
    for title, regime in (RUNS | MINIBATCHES).items():
        start, run = _plain(context, title, regime)
        x, y = _rotation(regime.concepts.d_x, 1), _rotation(regime.concepts.d_y, 2)
        turned = {
            "M": x @ start["M"],
            "Q": y @ start["Q"],
            "W_Q": x @ start["W_Q"] @ x.T,
            "W_K": x @ start["W_K"] @ x.T,
            "W_O": start["W_O"] @ y.T,
        }
        moved = start | {name: turned[name] for name in rotates}
        rows += _compare(title, regime, context.train(regime, moved), run)
    return Evidence(rows=tuple(rows), facts={"runs": [*RUNS, *MINIBATCHES]})


ROTATED = Claim.single(
    id="closure/rotations_change_nothing",
    statement="Orthogonal transformations of R^{d_x} and R^{d_y}, applied to the dictionaries and the weights together, change no "
    "coefficient of any step, neither of population descent nor of SGD fed the same prompts.",
    formula=r"(M, Q, W_{Q,K}, W_O) \to (U M, V Q, U W_{Q,K} U^\top, W_O V^\top):\quad \hat s^\top W(t)\, \hat t "
    r"\text{ and } \alpha, \beta \text{ are the same}",
    section="4",
    scope="any regime",
    asserts=lambda: ("M", "Q", "W_Q", "W_K", "W_O"),
    measure=_rotated,
    rule=RoundOff(reason=COLLECTED),
    controls=(
        NegativeControl(
            name="W_O left behind",
            statement="the same with the labels rotated and W_O not",
            asserts=lambda: ("M", "Q", "W_Q", "W_K"),
        ),
    ),
    rests_on=(
        ROUND_OFF,
        Basis(ground=Ground.ROUND_OFF, text="full model at sizes of its own"),
    ),
)

# -- no signal -----------------------------------------------------------------------------------------------

SHUTTABLE = Hypothesis(
    key="shuttable",
    name="a shut neuron is silent: activation relu",
    holds=lambda regime: regime.model.activation == "relu",
    got=lambda regime: f"activation = {regime.model.activation}",
)


def _silent_start(context: TrainingContext) -> Arrays:
    """`any_start` with every neuron shut on every mixture of labels: n_c alpha + n_d |beta| < 0."""
    start, regime = dict(context.any_start), context.one
    K1 = regime.concepts.K1
    coefficients, numbers = project(start, K1), constants(regime, start["r"])
    ratio = float(numbers["n_d"]) / float(numbers["n_c"])
    # A tenth clear of the kink, which the largest decay that GENTLE allows leaves far above round-off.
    alpha = -(np.abs(coefficients["alpha"]) + ratio * np.abs(coefficients["beta"]) + 0.1)
    common = concept_vectors(start["Q"], K1)[:, 0]
    return start | {"W_O": start["W_O"] + (alpha - coefficients["alpha"]) @ common}


def _silence(context: TrainingContext, one_more: int) -> Evidence:
    regime = context.stochastic_regime.replace(ensemble={"seeds": 1})
    start = context.cached("silent start", lambda: _silent_start(context))
    run = context.cached("silent run", lambda: context.train(regime, start))
    reduced = context.cached("silent recursion", lambda: integrate_b(regime, start))
    steps, lam = regime.training.steps, regime.training.lam
    factor = float(np.prod([1 - step_size(regime, t) * lam for t in range(steps + one_more)]))
    before, width = project(start, regime.concepts.K1), regime.concepts.d_x + regime.concepts.d_y
    pairs = {name: (run[f"final_{name}"], factor * start[name]) for name in ("W_Q", "W_K", "W_O")}
    pairs |= {f"level B, {name}": (reduced[name][-1], factor * before[name]) for name in COEFFICIENTS}
    # Every prompt has f = 0, which counts as an error.
    pairs |= {f"error, {name}": (path["error"], np.ones(1)) for name, path in (("SGD", run), ("level B", reduced))}
    rows = [
        Compared(
            name=name,
            difference=float(np.abs(left - right).max()),
            scale=float(np.abs(right).max()),
            roundings=16.0 * (steps + width),
        )
        for name, (left, right) in pairs.items()
    ]
    return Evidence(rows=tuple(rows), facts={"steps": steps, "decay": factor})


NO_SIGNAL = Claim.single(
    id="closure/no_signal_is_pure_decay",
    statement="Where every gate is shut at the start, all gates stay shut: SGD of the full model and the recursion take all weights "
    "through prod_t (1 - eta_t lambda) and nothing else, and every prompt is an error.",
    formula=r"n_c \alpha_{i,k} + n_d |\beta_{i,k}| < 0\ \forall i, k:\quad W(T) = \prod_{t<T} (1 - \eta_t\lambda)\, W(0)",
    section="4",
    hypotheses=(PURE, DISTINCT, PENALISED, GENTLE, TRAINS, SHUTTABLE),
    asserts=lambda: 0,
    measure=_silence,
    rule=RoundOff(
        reason="16 (steps + d_x + d_y) unit round-offs: eight roundings of each side's factor at each update, and the projection"
    ),
    controls=(
        NegativeControl(name="one update too many", statement="the product over one update more", asserts=lambda: 1),
    ),
    uses=("gradient/closed_forms_equal_derivatives",),
    rests_on=(ROUND_OFF,),
)

CLAIMS = (PERMUTED, ROTATED, NO_SIGNAL)
