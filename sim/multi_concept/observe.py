"""What is read off a set of weights: contract coefficients and products (sections 2 and 8; no torch)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Orthonormal bases that begin with the unit vectors a^_1, b^_1, a^_2, ... and c^_1, d^_1, c^_2, ...

    The word basis goes on with nu_1..nu_K2 and both end with a fixed basis of what is left of the space.
    """

    K1: int
    words: Float[np.ndarray, "d_x d_x"]
    labels: Float[np.ndarray, "d_y d_y"]


def frame(M: Float[np.ndarray, "d_x features"], Q: Float[np.ndarray, "d_y signed_concepts"]) -> Frame:
    """The bases that belong to dictionaries M and Q (sections 1 and 2)."""
    K1 = Q.shape[1] // 2
    words = np.concatenate([_concept_units(M, K1), M[:, 2 * K1 :]], axis=1)
    return Frame(K1=K1, words=_completed(words), labels=_completed(_concept_units(Q, K1)))


def project(
    M: Float[np.ndarray, "d_x features"],
    Q: Float[np.ndarray, "d_y signed_concepts"],
    weights: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """The level-B coefficients of W_Q, W_K, W_O, or of gradients in them (section 2, names of section 8).

    Returns W_Q_blocks, W_K_blocks (..., K1, 2, 2; order a^, b^) and alpha, beta (..., m, K1), where
    `...` are the leading axes of the weights.
    """
    K1 = Q.shape[1] // 2
    words, labels = _concept_units(M, K1), _concept_units(Q, K1)
    outputs = weights["W_O"] @ labels
    return {
        "W_Q_blocks": _diagonal_blocks(words.T @ weights["W_Q"] @ words),
        "W_K_blocks": _diagonal_blocks(words.T @ weights["W_K"] @ words),
        "alpha": outputs[..., 0::2],
        "beta": outputs[..., 1::2],
    }


def products(basis: Frame, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Largest products of G = W_K^T W_Q and of the neurons with unit vectors, by kind (P5), each (...,).

    attention_specific: b^_k G b^_k. attention_complement: all other pairs of a^, b^. attention_noise:
    pairs with a direction outside all concepts. mlp_specific, mlp_complement, mlp_noise: neurons with
    d^, with c^, with directions outside the span of Q. NaN where a kind is empty.
    """
    keys, queries = weights["W_K"] @ basis.words, weights["W_Q"] @ basis.words
    in_basis = np.abs(keys.swapaxes(-1, -2) @ queries)
    outputs = np.abs(weights["W_O"] @ basis.labels)
    word, label = (np.arange(len(matrix)) for matrix in (basis.words, basis.labels))
    inside = np.maximum.outer(word, word) < 2 * basis.K1
    specific = inside & np.diag(word % 2 == 1)
    return {
        "attention_specific": _largest(in_basis, specific),
        "attention_complement": _largest(in_basis, inside & ~specific),
        "attention_noise": _largest(in_basis, ~inside),
        "mlp_specific": _largest(outputs, (label < 2 * basis.K1) & (label % 2 == 1)),
        "mlp_complement": _largest(outputs, (label < 2 * basis.K1) & (label % 2 == 0)),
        "mlp_noise": _largest(outputs, label >= 2 * basis.K1),
    }


def _concept_units(features: Float[np.ndarray, "d n"], K1: int) -> Float[np.ndarray, "d units"]:
    """Half sums and half differences of mu_k^+-, normalised, in the order a^_1, b^_1, a^_2, ..."""
    positive, negative = features[:, 0 : 2 * K1 : 2], features[:, 1 : 2 * K1 : 2]
    units = np.empty((features.shape[0], 2 * K1))
    units[:, 0::2] = positive + negative
    units[:, 1::2] = positive - negative
    return units / np.linalg.norm(units, axis=0)


def _completed(units: Float[np.ndarray, "d n"]) -> Float[np.ndarray, "d d"]:
    """The given orthonormal columns, then a basis of their complement (the last columns of a full QR)."""
    return np.concatenate([units, np.linalg.qr(units, mode="complete")[0][:, units.shape[1] :]], axis=1)


def _diagonal_blocks(matrix: np.ndarray) -> np.ndarray:
    """(..., 2 K1, 2 K1) to its K1 diagonal blocks (..., K1, 2, 2)."""
    K1 = matrix.shape[-1] // 2
    blocks = matrix.reshape(*matrix.shape[:-2], K1, 2, K1, 2)
    return np.einsum("...kskt->...kst", blocks)


def _largest(absolute: np.ndarray, where: Bool[np.ndarray, "..."]) -> np.ndarray:
    """The largest of the chosen entries of each matrix; `where` covers its last axis or both."""
    chosen = absolute[..., where].reshape(*absolute.shape[:-2], -1)
    return np.asarray(chosen.max(-1) if chosen.shape[-1] else np.full(chosen.shape[:-1], np.nan))
