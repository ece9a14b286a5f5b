"""Regimes of random size with every term on, and states with generic weights."""

import numpy as np
import pytest
import torch

from polyseme.sim.multi_concept.training.initial import WEIGHTS, draw_initial
from polyseme.theory.multi_concept.regime import Regime


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    # Tests run side by side; two threads per process would only wait for each other.
    torch.set_num_threads(1)


@pytest.fixture
def random_regime():
    """random_regime(seed, section={...}): random sizes, unequal weights; pure unless asked otherwise."""

    def make(seed: int, **changes: dict) -> Regime:
        rng = np.random.default_rng(seed)
        K1, K2 = int(rng.integers(1, 4)), int(rng.integers(0, 3))
        weights = rng.uniform(0.5, 1.5, K1)
        sections = {
            "concepts": {
                "K1": K1,
                "K2": K2,
                "d_x": 2 * K1 + K2 + int(rng.integers(0, 3)),
                "d_y": 2 * K1 + int(rng.integers(0, 3)),
                "kappa_x": float(rng.uniform(0, 0.9)),
                "kappa_y": float(rng.uniform(0, 0.9)),
                "weights": (weights / weights.sum()).tolist(),
            },
            "prompt": {"L": int(rng.integers(1, 6))},
            "model": {"m": 2 * int(rng.integers(1, 6)), "sigma_0": 0.7, "sigma_1": 0.5},
            "training": {"steps": 20, "batch": int(rng.integers(1, 7)), "lam": 1e-3, "gamma": 1000.0},
            "ensemble": {"seed": seed},
        }
        for name, section in changes.items():
            sections[name] |= section
        return Regime().replace(**sections)

    return make


@pytest.fixture
def generic_state():
    """generic_state(regime, seed): dictionaries of the regime and dense random weights, r included."""

    def make(regime: Regime, seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        state = draw_initial(regime)
        for name in (*WEIGHTS, "r"):
            state[name] = 0.5 * rng.standard_normal(state[name].shape)
        return state

    return make
