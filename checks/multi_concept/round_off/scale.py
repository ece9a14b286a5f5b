"""What round-off is relative to: the size of terms before they cancel (THEORY.md sections 3 and 4)."""

from collections.abc import Mapping

import numpy as np

from polyseme.theory.calculus.elementwise import ELEMENTWISE
from polyseme.theory.multi_concept.coefficients import constants, to_layout
from polyseme.theory.multi_concept.numerics.lower import system_of
from polyseme.theory.multi_concept.regime import Regime


def conditioning(regime: Regime) -> float:
    """1 / min(n_b, n_d): how much of their digits the half differences of nearly equal features lose."""
    kappa = max(regime.concepts.kappa_x, regime.concepts.kappa_y)
    return float(np.sqrt(2 / (1 - kappa)))


def outputs(regime: Regime, r: np.ndarray, layout: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Pre-activations (member, k, e, n+, i) and outputs f (member, k, e, n+) of every pure prompt, at five-axis states."""
    arguments = {**constants(regime, r), **layout}
    lowered = system_of(regime).preactivation
    h = np.asarray(lowered({name: arguments[name] for name in lowered.names})["h"])
    activation = {"relu": ELEMENTWISE["ReLU"], "leaky_relu": ELEMENTWISE["LeakyReLU"], "identity": np.asarray}
    return h, (np.asarray(arguments["r"]) * activation[regime.model.activation](h)).sum(-1)


def _steepest(regime: Regime, r: np.ndarray, coefficients: Mapping[str, np.ndarray]) -> np.ndarray:
    """The largest slope |l'(e f)| of the loss over all prompts, of the shape of the leading axes of `coefficients`."""
    lead = coefficients["alpha"].shape[:-2]
    if regime.training.loss == "logistic":
        return np.ones(lead)
    flat = {name: array.reshape(-1, *array.shape[len(lead) :]) for name, array in coefficients.items()}
    _, f = outputs(regime, r, to_layout(flat))
    margin = f * np.array([1.0, -1.0])[:, None]
    slope = np.abs(1 - margin) if regime.training.loss == "squared" else np.exp(-margin)
    return slope.max(axis=(1, 2, 3)).reshape(lead)


def before_cancellation(regime: Regime, r: np.ndarray, coefficients: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The largest size of one prompt's gradient in each array: the terms whose sum the drift is.

    Round-off is relative to these, since prompts of opposite sign cancel in the drift and 1 - ebar^2 cancels within one.
    `coefficients` have the names of section 8; their leading axes, members or records, are kept.
    """
    numbers = constants(regime, r)
    n_a, n_b, n_c, n_d = (float(numbers[name]) for name in ("n_a", "n_b", "n_c", "n_d"))
    names = ("W_Q_blocks", "W_K_blocks", "alpha", "beta")
    slope = _steepest(regime, r, {name: coefficients[name] for name in names})
    word, each = max(n_a, n_b), float(np.abs(r).max())
    Lam = n_d * (np.abs(r)[:, None] * np.abs(coefficients["beta"])).sum(axis=-2).max(axis=-1)
    sizes = {
        "W_Q_blocks": Lam * n_b * word * np.abs(coefficients["W_K_blocks"]).max(axis=(-1, -2, -3)),
        "W_K_blocks": Lam * n_b * 2 * word * np.abs(coefficients["W_Q_blocks"]).max(axis=(-1, -2, -3)),
        "alpha": n_c * each * np.ones_like(Lam),
        "beta": n_d * each * np.ones_like(Lam),
    }
    return {name: np.asarray(slope * size) for name, size in sizes.items()}
