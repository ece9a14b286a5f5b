"""Numerically stable NumPy forms of the model's functions (THEORY.md sections 1 and 3), by their SymPy names."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from theory.setting import LEAK


def half_log_odds(plus: Float[np.ndarray, "..."], total: Any) -> Float[np.ndarray, "..."]:
    """(1/2) log(n+ / (L - n+)); -inf at n+ = 0 and +inf at n+ = L, which is its meaning there."""
    with np.errstate(divide="ignore"):
        return 0.5 * (np.log(plus) - np.log(total - plus))


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "ReLU": lambda h: np.maximum(h, 0.0),
    "LeakyReLU": lambda h: np.where(h > 0, h, LEAK * h),
    "Gate": lambda h: np.greater(h, 0.0).astype(np.float64),
    "Sigmoid": expit,
    "Logistic": lambda z: np.logaddexp(0.0, -z),
    "HalfLogOdds": half_log_odds,
}
"""NumPy functions of arrays."""
