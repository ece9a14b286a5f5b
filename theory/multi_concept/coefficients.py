"""Coefficients of concrete weights, and the numbers of a regime, laid out for the lowered recursion.

The coefficient of a weight matrix in the block (s, t) is s^^T W t^ (docs/THEORY.md section 2), with the unit concept
vectors a^, b^ of the words and c^, d^ of the labels.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Shaped

from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.model.forward import BLOCK_ENTRIES
from polyseme.theory.multi_concept.prompts.tail import Window, window_probabilities
from polyseme.theory.multi_concept.regime import Regime

Arrays = dict[str, Float[np.ndarray, "..."]]


def concept_vectors(features: Float[np.ndarray, "d columns"], K1: int) -> Float[np.ndarray, "K1 2 d"]:
    """Unit half sums and half differences of the feature pairs of a dictionary (section 1), in the order a^, b^."""
    plus, minus = features[:, 0 : 2 * K1 : 2].T, features[:, 1 : 2 * K1 : 2].T
    pair = np.stack([plus + minus, plus - minus], axis=1) / 2
    return pair / np.linalg.norm(pair, axis=-1, keepdims=True)


def project(initial: Mapping[str, Float[np.ndarray, "..."]], K1: int) -> Arrays:
    """Level-B coefficients of full weights: W_Q_blocks, W_K_blocks (.., K1, 2, 2), alpha, beta (.., m, K1).

    A leading ensemble axis of the weights is kept.
    """
    words, labels = concept_vectors(initial["M"], K1), concept_vectors(initial["Q"], K1)
    mlp = np.einsum("...md,ksd->...mks", initial["W_O"], labels)
    return {
        **{
            f"{name}_blocks": np.einsum("ksd,...df,ktf->...kst", words, initial[name], words) for name in ("W_Q", "W_K")
        },
        "alpha": mlp[..., 0],
        "beta": mlp[..., 1],
    }


def leak(initial: Mapping[str, Float[np.ndarray, "..."]], K1: int) -> float:
    """How far W_Q and W_K are from mapping each span(a_k, b_k) into itself, relative to their norm there.

    Level B is exact on pure prompts if and only if this is zero at the start (section 4): a component of
    W (a_k, b_k) outside the span would enter the logits through W_K^T W_Q.
    """
    words = concept_vectors(initial["M"], K1)
    worst = 0.0
    for name in ("W_Q", "W_K"):
        image = np.einsum("...df,ktf->...ktd", initial[name], words)
        inside = np.einsum("...ktd,ksd,kse->...kte", image, words, words)
        scale = max(float(np.abs(image).max()), np.finfo(float).tiny)
        worst = max(worst, float(np.abs(image - inside).max()) / scale)
    return worst


DICTIONARY_TOLERANCE = 1e-12
"""How far inner products of features may be off, for each of their components: more would show in a trajectory at round-off."""


def require_start(regime: Regime, initial: Mapping[str, Shaped[np.ndarray, "..."]], *, source: str) -> None:
    """PolysemeError with one sentence if a start is not one of this regime (section 1): sizes, finite numbers, r, dictionaries.

    W_Q, W_K and W_O have an ensemble axis of all seeds, or none. `source` begins the sentence.
    """
    concepts, m = regime.concepts, regime.model.m
    shapes = {
        "W_Q": (concepts.d_x, concepts.d_x),
        "W_K": (concepts.d_x, concepts.d_x),
        "W_O": (m, concepts.d_y),
        "r": (m,),
        "M": (concepts.d_x, 2 * concepts.K1 + concepts.K2),
        "Q": (concepts.d_y, 2 * concepts.K1),
    }
    if missing := [name for name in shapes if name not in initial]:
        raise PolysemeError(
            f"{source}: got {', '.join(initial) or 'no arrays'}, expected the arrays {', '.join(shapes)}; add {', '.join(missing)}"
        )
    members = (regime.ensemble.seeds,) if np.ndim(initial["W_Q"]) == 3 else ()
    for name, one in shapes.items():
        array, expected = np.asarray(initial[name]), (*members, *one) if name.startswith("W_") else one
        if array.shape != expected:
            raise PolysemeError(
                f"{source}: got {name} of shape {array.shape}, expected {expected}; "
                "type the sizes [concepts], [model] and [ensemble] seeds that the start was made with"
            )
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise PolysemeError(
                f"{source}: got {name} with entries that are not finite real numbers, expected finite ones; "
                "type the name of a start that has not diverged"
            )
    if (off := float(np.abs(np.abs(np.asarray(initial["r"], dtype=np.float64)) * m - 1).max())) > DICTIONARY_TOLERANCE:
        raise PolysemeError(
            f"{source}: got an r that is off by {off:.2g} of 1/m, expected each to be +1/m or -1/m with m = {m}; "
            f"type r = +1/{m} or -1/{m} for each neuron"
        )
    for name, key in (("M", "kappa_x"), ("Q", "kappa_y")):
        overlap, features = getattr(concepts, key), np.asarray(initial[name], dtype=np.float64)
        expected = np.eye(features.shape[1])
        for k in range(concepts.K1):
            expected[2 * k, 2 * k + 1] = expected[2 * k + 1, 2 * k] = overlap
        if (off := float(np.abs(features.T @ features - expected).max())) > DICTIONARY_TOLERANCE * len(features):
            raise PolysemeError(
                f"{source}: got columns of {name} with inner products off by {off:.2g}, expected unit vectors with overlap "
                f"{key} = {overlap:g} within a concept and orthogonal ones otherwise; type the {key} that the start was made with"
            )


def require_level_b(regime: Regime, initial: Mapping[str, Float[np.ndarray, "..."]], *, source: str) -> None:
    """PolysemeError with one sentence if level B is not the exact reduction of this regime and start (section 4)."""
    prompt = regime.prompt
    for key, value in (("p_extra", prompt.p_extra), ("sigma_x", prompt.sigma_x), ("sigma_y", prompt.sigma_y)):
        if value != 0:
            raise PolysemeError(
                f"{source}: level B is the theory of pure prompts, got [prompt] {key} = {value:g}; "
                f"type {key} = 0, or run `polyseme simulate` for the full model"
            )
    # Rounding in d_x-term dot products of a rotated, exactly block-diagonal start stays below this.
    allowed = 64 * regime.concepts.d_x * np.finfo(float).eps
    if (got := leak(initial, regime.concepts.K1)) > allowed:
        raise PolysemeError(
            f"{source}: level B needs W_Q and W_K to map each span(a_k, b_k) into itself, got a component of relative size "
            f"{got:.2g} outside it; start from W_Q = W_K = sigma_0 I, or run `polyseme simulate` for the full model"
        )


def to_layout(coefficients: Mapping[str, Float[np.ndarray, "..."]]) -> Arrays:
    """Coefficients with the names of section 8, as the five-axis arrays of `lower.py` (member, k, e, n+, i)."""
    members = coefficients["alpha"].ndim == 3

    def as_members(array: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return np.asarray(array, dtype=np.float64) if members else np.asarray(array, dtype=np.float64)[None]

    state: Arrays = {}
    for name in ("W_Q", "W_K"):
        blocks = as_members(coefficients[f"{name}_blocks"])
        for position, entry in enumerate(BLOCK_ENTRIES):
            state[f"{name}_{entry}"] = blocks[:, :, position // 2, position % 2, None, None, None].copy()
    for name in ("alpha", "beta"):
        state[name] = np.swapaxes(as_members(coefficients[name]), 1, 2)[:, :, None, None, :].copy()
    return state


def from_layout(state: Mapping[str, Float[np.ndarray, "..."]]) -> Arrays:
    """The inverse of `to_layout`, always with an ensemble axis."""
    arrays: Arrays = {}
    for name in ("W_Q", "W_K"):
        entries = np.stack([state[f"{name}_{entry}"][:, :, 0, 0, 0] for entry in BLOCK_ENTRIES], axis=-1)
        arrays[f"{name}_blocks"] = entries.reshape(*entries.shape[:2], 2, 2)
    for name in ("alpha", "beta"):
        arrays[name] = np.swapaxes(state[name][:, :, 0, 0, :], 1, 2).copy()
    return arrays


def constants(
    regime: Regime, r: Float[np.ndarray, " m"], *, within: Window | None = None
) -> dict[str, Float[np.ndarray, "..."] | float]:
    """The numbers that the lowered functions need besides the state: norms, lambda, r, e, n+, L and p[k, e, n+].

    All counts n+ = 0, ..., L, or those of a window alone.
    """
    concepts, L = regime.concepts, regime.prompt.L
    within = within or Window(first=0, last=L, left_out=0.0)
    return {
        "n_a": float(np.sqrt((1 + concepts.kappa_x) / 2)),
        "n_b": float(np.sqrt((1 - concepts.kappa_x) / 2)),
        "n_c": float(np.sqrt((1 + concepts.kappa_y) / 2)),
        "n_d": float(np.sqrt((1 - concepts.kappa_y) / 2)),
        "lam": regime.training.lam,
        "r": np.asarray(r, dtype=np.float64)[None, None, None, None, :],
        "e": np.array([1.0, -1.0])[None, None, :, None, None],
        "n_plus": within.counts[None, None, None, :, None],
        "L": float(L),
        "p": window_probabilities(regime, within)[None, :, :, :, None],
    }
