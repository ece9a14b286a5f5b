"""Which concepts are learned: thresholds in the width and in the penalty (docs/THEORY.md sections 6 and 7).

Consider the initial plateau of pure prompts, with fair signs and law = match: outputs are small, so |l'| = 1/2, and attention is
even, ebar = 2 n+/L - 1. A mixed count of demonstrations is then as likely with e = + as with e = -, and what drives a neuron
cancels but for the two unanimous prompts, of probability u = 1/(2 (2^L - 1)) each. Take r_i > 0, and h+, h- its pre-activations
on the labels +, -; with n_c^2 + n_d^2 = 1 and n_c^2 - n_d^2 = kappa_y, in units of pi_k u r_i / 2,

    open on + alone:   h+ rises by 1,            h- rises by kappa_y
    open on both:      h+ rises by 1 - kappa_y,  h- falls by 1 - kappa_y
    open on - alone:   h+ falls by kappa_y,      h- falls by 1: it dies

So it **lives if and only if h+ > 0 at the start** (r_i < 0: h- > 0), with probability 1/2, and it ends sliding on the kink
h- = 0 with a gate value v: (1 - kappa_y) v = kappa_y (1 - v), or v = kappa_y. A label is learned if one neuron of its sign lives.

Resting there against the penalty, alpha = n_c n_d^2 u pi_k / (m lam) and r_i beta / |r_i| = n_c^2 n_d u pi_k / (m lam), so alpha / beta = n_d / n_c.
With a share `live` of the neurons living, sum_i r_i beta_i = live |beta|. The part of attention that it feeds is linear in W_Q,
W_K about zero, and grows if n_b^2 |Gamma_k| = pi_k n_b^2 n_d q live |beta| / 2 exceeds lam, with q = E[1 - ebar^2]. Hence

    lam_c = pi_k n_b n_c n_d sqrt(q live / (4 m (2^L - 1)))

below which the plateau is unstable and the concept is learned from any small start; above it, attention dies out from a small start.
For even concepts lam_c K1 sqrt(m) is a constant: not lam m K1, and it falls as 2^(-L/2).
"""

from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float

from polyseme.theory.multi_concept.dynamics.concepts import Neurons, Row, on_own_label


def unanimous(L: int) -> Fraction:
    """u, the probability of each of the two unanimous prompts under law = match, its query sign included."""
    return Fraction(1, 2 * (2**L - 1))


def spread(L: int) -> Fraction:
    """q = E[1 - ebar^2] under even attention and law = match: that of iid signs, 1 - 1/L, over P(match)."""
    return (1 - Fraction(1, L)) / (1 - Fraction(1, 2**L))


def lives_on(alpha: Neurons, beta: Neurons, r: Float[np.ndarray, " m"], kappa_y: Row) -> Bool[np.ndarray, "m member"]:
    """Whether each neuron of each member is open on its own label, that whose sign is that of r_i."""
    return on_own_label(alpha, beta, r, kappa_y) > 0


def learnable(lives: Bool[np.ndarray, "m member"], r: Float[np.ndarray, " m"]) -> Bool[np.ndarray, " member"]:
    """Whether neurons of both signs live; `lives` are those open on their own label at the start."""
    return np.asarray(lives[r > 0].any(axis=0) & lives[r < 0].any(axis=0))


def share_learnable(m: int) -> float:
    """The probability of that for Gaussian neurons with alternating r: (1 - 2^-ceil(m/2)) (1 - 2^-floor(m/2))."""
    return (1 - 2.0 ** -((m + 1) // 2)) * (1 - 2.0 ** -(m // 2))


def critical_penalty(*, L: int, m: int, live: Row, weight: Row, kappa_x: Row, kappa_y: Row) -> Row:
    """lam_c of concepts with weight pi_k in which a share `live` of m neurons lives; zero where none does."""
    n_b, n_c_n_d = np.sqrt((1 - kappa_x) / 2), np.sqrt(1 - kappa_y**2) / 2
    return weight * n_b * n_c_n_d * np.sqrt(float(spread(L) * unanimous(L)) * live / (2 * m))
