"""Numerically stable NumPy forms of the model's functions (docs/THEORY.md sections 1 and 3), by their SymPy names."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import expit, ndtr

from polyseme.regime import LEAK


def half_log_odds(plus: Float[np.ndarray, "..."], total: Any) -> Float[np.ndarray, "..."]:
    """(1/2) log(n+ / (L - n+)); -inf at n+ = 0 and +inf at n+ = L, which is its meaning there."""
    with np.errstate(divide="ignore"):
        return 0.5 * (np.log(plus) - np.log(total - plus))


def smooth_relu(
    order: Any, mean: Float[np.ndarray, "..."], variance: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """The derivative of an order up to 4 in the mean of E relu(mean + sqrt(variance) Z); its limits at variance 0."""
    order = int(np.ravel(order)[0])  # one number, broadcast along the axes of the others
    noisy = variance > 0
    tau = np.sqrt(np.where(noisy, variance, 1.0))
    z = mean / tau
    density = np.exp(-0.5 * z * z) / (tau * np.sqrt(2 * np.pi))
    if order == 0:
        return np.where(noisy, mean * ndtr(z) + variance * density, np.maximum(mean, 0.0))
    if order == 1:
        return np.where(noisy, ndtr(z), np.greater(mean, 0.0))
    hermite = {2: 1.0, 3: -z / tau, 4: (z * z - 1) / tau**2}[order]
    return np.where(noisy, density * hermite, 0.0)


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "ReLU": lambda h: np.maximum(h, 0.0),
    "LeakyReLU": lambda h: np.where(h > 0, h, LEAK * h),
    "Gate": lambda h: np.greater(h, 0.0).astype(np.float64),
    "Sigmoid": expit,
    "Logistic": lambda z: np.logaddexp(0.0, -z),
    "HalfLogOdds": half_log_odds,
    "SmoothReLU": smooth_relu,
}
"""NumPy functions of arrays."""
