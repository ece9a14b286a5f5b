"""The gradients of section 3 for any prompt, written out as the theory states them (docs/THEORY.md section 3).

A statement to be tested: `checks` compares it with autograd of the full model at random weights, with extra
concepts and noise. Nothing else computes with it.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.special import expit


def prompt_gradients(
    weights: Mapping[str, Float[np.ndarray, "..."]], prompts: Mapping[str, Float[np.ndarray, "..."]]
) -> dict[str, Float[np.ndarray, "..."]]:
    """Mean gradient of l(e f) in W_Q, W_K, W_O over prompts, without the penalty.

    `weights` holds W_Q, W_K (d_x, d_x), W_O (m, d_y), r (m,); `prompts` holds x (B, L, d_x), y (B, L, d_y),
    x_query (B, d_x) and e (B,) in {+1, -1}.
    """
    W_Q, W_K, W_O, r = (weights[name] for name in ("W_Q", "W_K", "W_O", "r"))
    x, y, x_query, e = (prompts[name] for name in ("x", "y", "x_query", "e"))
    logits = np.einsum("blf,bf->bl", x @ W_K.T, x_query @ W_Q.T)
    unnormalised = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = unnormalised / unnormalised.sum(axis=1, keepdims=True)
    v = np.einsum("bl,bly->by", p, y)
    h = v @ W_O.T
    f = np.maximum(h, 0) @ r

    delta = -e * expit(-e * f)  # e l'(e f)
    gamma = delta[:, None] * r * (h > 0)
    # s'_l = p_l (y_l - v)^T W_O^T gamma, the derivative of the loss in the logit s_l
    slope = p * np.einsum("bly,by->bl", y - v[:, None, :], gamma @ W_O)
    pull = np.einsum("bl,blx->bx", slope, x)  # sum_l s'_l x_l
    return {
        "W_Q": W_K @ np.einsum("bx,bz->xz", pull, x_query) / len(e),
        "W_K": W_Q @ np.einsum("bz,bx->zx", x_query, pull) / len(e),
        "W_O": np.einsum("bm,by->my", gamma, v) / len(e),
    }
