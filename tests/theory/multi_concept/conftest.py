"""Pure regimes of random size with every term on, in which the coefficients move by much."""

import numpy as np
import pytest
import torch

from polyseme.theory.multi_concept.regime import Regime


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    # Tests run side by side; two threads per process would only wait for each other.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def random_regime():
    """random_regime(seed, section={...}): pure, uneven weights, both laws and both schedules in turn.

    lambda m K1 is at most 0.02 and the step size grows with m K1, so that the signal is learned (docs/THEORY.md
    section 6, fact 2). With L = 1 under `iid` the only label is independent of the query: nothing can be learned,
    see test_trajectories.
    """

    def make(seed: int, **changes: dict) -> Regime:
        rng = np.random.default_rng(seed)
        K1, K2, m = int(rng.integers(1, 5)), int(rng.integers(0, 4)), int(rng.integers(2, 25))
        law = ("match", "iid")[seed % 2]
        weights = rng.uniform(0.5, 1.5, K1)
        lam, eta = float(rng.uniform(0.002, 0.02)) / (m * K1), float(rng.uniform(0.1, 0.4)) * m * K1
        sections = {
            "concepts": {
                "K1": K1,
                "K2": K2,
                "d_x": 2 * K1 + K2 + int(rng.integers(0, 4)),
                "d_y": 2 * K1 + int(rng.integers(0, 4)),
                "kappa_x": float(rng.uniform(0, 0.9)),
                "kappa_y": float(rng.uniform(0, 0.9)),
                "weights": (weights / weights.sum()).tolist(),
            },
            "prompt": {"L": int(rng.integers(1 if law == "match" else 2, 8)), "law": law},
            "model": {"m": m, "sigma_0": float(rng.uniform(0.1, 0.8)), "sigma_1": float(rng.uniform(0.05, 0.5))},
            "training": {
                "steps": 2000,
                "batch": "population",
                "lam": lam,
                "schedule": ("inverse", "constant")[seed // 2 % 2],
                "eta": eta,
                "gamma": 2 / (lam * eta),
                "record_every": 100,
            },
            "ensemble": {"seed": seed},
        }
        for name, section in changes.items():
            sections[name] |= section
        return Regime().replace(**sections)

    return make


@pytest.fixture(scope="session")
def relative_differences():
    """relative_differences(one, other): max |one - other| / max |other| of every array of section 8 but `step`."""

    def measure(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, float]:
        differences = {}
        for name in one.keys() - {"step"}:
            assert one[name].shape == other[name].shape, name
            scale = np.abs(other[name]).max()
            # Both arrays may be zero, such as the error of a regime without errors: then they are equal or not.
            differences[name] = float(np.abs(one[name] - other[name]).max() / (scale or 1.0))
        return differences

    return measure
