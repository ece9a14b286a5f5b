"""What searches and property tests draw regimes from: small, quick to run, and simplest first, so that they shrink well."""

from collections.abc import Callable, Sequence
from typing import Any

from polyseme.checks.core.theory import SearchSpace

Values = dict[str, dict[str, Sequence[Any]]]

# Sizes at which a claim about whole runs takes some hundredths of a second, with the edges of every key.
VALUES: Values = {
    "concepts": {
        "K1": (1, 2, 3),
        "K2": (0, 1, 2),
        "kappa_x": (0.0, 0.2, 0.5, 0.9),
        "kappa_y": (0.0, 0.3, 0.5, 0.9),
        "weights": (None, "skewed"),
    },
    "prompt": {
        "L": (1, 2, 3, 4, 5, 6),
        "law": ("match", "iid"),
        "p_plus": (0.5, 0.3, 0.8),
        "p_extra": (0.0, 0.1, 0.4),
        "sigma_x": (0.0, 0.1),
        "sigma_y": (0.0, 0.1),
    },
    "model": {
        "m": (1, 2, 3, 4, 6, 8, 16, 24),
        "activation": ("relu", "leaky_relu", "identity"),
        "neurons": ("independent", "mirrored"),
        "sigma_0": (0.1, 0.3, 1.0, 0.0),
        "sigma_1": (0.1, 0.3, 1.0, 0.0),
    },
    "training": {
        "steps": (0, 1, 2, 5, 10, 20, 50, 100, 200),
        "batch": ("population", 1, 4, 16),
        "loss": ("logistic", "squared", "exponential"),
        "lam": (1e-2, 1e-3, 1e-4, 0.1, 1.0),
        "schedule": ("constant", "inverse"),
        "gamma": (2000.0, 200.0, 20.0),
        "eta": (1.0, 5.0, 0.1, 20.0),
    },
    "ensemble": {"seed": tuple(range(100))},
}
SKEW = {1: [1.0], 2: [0.75, 0.25], 3: [0.6, 0.3, 0.1]}
BEYOND_WORDS, BEYOND_LABELS = (0, 1, 3), (0, 1, 2)
"""Dimensions beyond those that the features need."""


def _complete(tables: dict[str, dict[str, Any]], draw: Callable[[Sequence[Any]], Any]) -> dict[str, dict[str, Any]]:
    """Dimensions that hold the features, weights that fit their number, ten records, one member in float64 on the CPU."""
    concepts = tables["concepts"]
    K1 = concepts["K1"]
    concepts["weights"] = SKEW[K1] if concepts["weights"] == "skewed" and K1 in SKEW else None
    concepts["d_x"] = 2 * K1 + concepts["K2"] + draw(BEYOND_WORDS)
    concepts["d_y"] = 2 * K1 + draw(BEYOND_LABELS)
    tables["training"]["record_every"] = max(1, tables["training"]["steps"] // 10)
    tables["ensemble"] |= {"seeds": 1, "dtype": "float64", "device": "cpu"}
    return tables


SEARCH = SearchSpace(values=VALUES, complete=_complete)
