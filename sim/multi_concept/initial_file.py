"""Reading initial states: an npz file that does not fit is answered with one sentence (docs/THEORY.md section 8)."""

from pathlib import Path

import numpy as np

from polyseme.errors import PolysemeError
from polyseme.files import load_npz
from polyseme.theory.multi_concept.regime import Regime

ARRAYS = {
    "W_Q": "(d_x, d_x), after an ensemble axis if any",
    "W_K": "(d_x, d_x), after an ensemble axis if any",
    "W_O": "(m, d_y), after an ensemble axis if any",
    "r": "(m,), each +1/m or -1/m",
    "M": "(d_x, 2 K1 + K2): mu_1^+, mu_1^-, mu_2^+, ..., nu_K2 as columns",
    "Q": "(d_y, 2 K1): q_1^+, q_1^-, ... as columns",
}

# A dictionary that is off by this much moves a trajectory by about as much times its growth, which is below a
# thousand in every regime measured: still inside the 1e-9 that independent programs are held to.
DICTIONARY_TOLERANCE = 1e-12


def load_initial(path: Path, regime: Regime) -> dict[str, np.ndarray]:
    """The initial state in a file, checked against the regime: names, shapes, finite numbers, dictionaries, r.

    PolysemeError with one sentence otherwise.
    """
    from polyseme.sim.multi_concept.training.initial import check_initial

    state = {
        name: np.asarray(array, dtype=np.float64) for name, array in load_npz(path, ARRAYS, "initial state").items()
    }
    try:
        check_initial(regime, state)
    except PolysemeError as error:
        raise PolysemeError(f"{path}: {error}") from None
    m = regime.model.m
    if (off := float(np.abs(np.abs(state["r"]) * m - 1).max())) > DICTIONARY_TOLERANCE:
        raise PolysemeError(
            f"{path}: expected every r to be +1/m or -1/m with m = {m}, got one off by {off:.2g} of that; type r = +1/{m} or -1/{m} for each neuron"
        )
    concepts = regime.concepts
    for name, overlap, key in (("M", concepts.kappa_x, "kappa_x"), ("Q", concepts.kappa_y, "kappa_y")):
        expected = np.eye(state[name].shape[1])
        for k in range(concepts.K1):
            expected[2 * k, 2 * k + 1] = expected[2 * k + 1, 2 * k] = overlap
        off = float(np.abs(state[name].T @ state[name] - expected).max())
        if off > DICTIONARY_TOLERANCE * len(state[name]):
            raise PolysemeError(
                f"{path}: expected the columns of {name} to be unit vectors with overlap {key} = {overlap:g} within a concept "
                f"and 0 elsewhere, got inner products off by {off:.2g}; type the {key} that the file was made with"
            )
    return state
