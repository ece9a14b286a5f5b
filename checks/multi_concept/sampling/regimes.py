"""Random regimes for claims about any regime: sizes, overlaps and every term on, so that nothing vanishes by chance."""

from typing import Any

import numpy as np

from polyseme.theory.multi_concept.regime import Regime

Tables = dict[str, dict[str, Any]]


def _any(rng: np.random.Generator, *, fewest: int) -> Tables:
    """Sizes, overlaps and law; `fewest` demonstrations at least."""
    K1, K2 = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    return {
        "concepts": {
            "K1": K1,
            "K2": K2,
            "d_x": 2 * K1 + K2 + int(rng.integers(0, 5)),
            "d_y": 2 * K1 + int(rng.integers(0, 4)),
            "kappa_x": float(rng.uniform(0, 0.9)),
            "kappa_y": float(rng.uniform(0, 0.9)),
            "weights": None,
        },
        "prompt": {"L": int(rng.integers(fewest, 8)), "law": str(rng.choice(["match", "iid"]))},
        "model": {"m": int(rng.integers(2, 25))},
        "ensemble": {"seeds": 1, "seed": int(rng.integers(2**31))},
    }


def with_noise(rng: np.random.Generator) -> Regime:
    """Other concepts, irrelevant features, and noise on both sides."""
    tables = _any(rng, fewest=1)
    tables["prompt"] |= {"p_extra": 0.5, "sigma_x": 0.3, "sigma_y": 0.3}
    return Regime().replace(**tables)


def of_pure_prompts(rng: np.random.Generator, *, steps: int = 3) -> Regime:
    """Pure prompts, uneven concepts and signs, a penalty of any size; exact population descent.

    L is 3 at least: with two demonstrations the half log-odds are 0 or infinite, and an error in their coefficient is none.
    """
    tables = _any(rng, fewest=3)
    weights = rng.dirichlet(np.full(tables["concepts"]["K1"], 3.0))
    tables["concepts"] |= {"weights": [float(x) for x in weights / weights.sum()]}
    tables["prompt"] |= {"p_plus": float(rng.uniform(0.2, 0.8))}
    tables["model"] |= {"sigma_0": 0.3, "sigma_1": 0.5}
    tables["training"] = {
        "steps": steps,
        "batch": "population",
        "lam": float(np.exp(rng.uniform(np.log(1e-3), np.log(3e-2)))),
        "gamma": 50.0,
        "record_every": 1,
    }
    return Regime().replace(**tables)
