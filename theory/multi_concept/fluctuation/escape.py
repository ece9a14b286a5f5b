"""Delayed escape from the initial plateau: why the 0-1 error falls exponentially, and how fast (docs/THEORY.md section 5c).

While attention is small, a concept's signal S = E[(1 - ebar^2) sum_i r_i beta_i gate_i] / E[1 - ebar^2] is fed by minibatches
at a steady rate, mu a step on average with variance s^2 / B, as long as no gate moves; and the attention product
W_Q^{bb} W_K^{bb} grows by the factor 1 + 2 eta n_b^2 |l'(0)| n_d E[1 - ebar^2] S a step. So its logarithm after T steps is a
twice summed random walk. A prompt of the concept is wrong at T while that product is still small: an event far out in
the tail of a nearly normal number, whose mean grows as T^2 and whose standard deviation as T^{3/2}.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import log_ndtr

from polyseme.regime import LEAK
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.dynamics.integrate import step_size
from polyseme.theory.multi_concept.regime import Regime

Members = Float[np.ndarray, "K1 member"]

SLOPE_AT_ZERO = {"logistic": 0.5, "squared": 1.0, "exponential": 1.0}
"""|l'(0)|, the slope of each loss before anything is learned."""
LEARNED = -0.5
"""Logarithm of the attention product at which a concept counts as learned: e^{-1/2} tips the vote of any few demonstrations. Ours."""


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """Each concept's signal in each member of an ensemble, and what feeds it: means and variances of one prompt."""

    t: int
    signal: Members
    drift: Members
    variance: Members
    log_product: Members


def plateau(ensemble: Ensemble) -> Plateau:
    """What the members are on the plateau, with their gates as they are and attention still even: ebar = 2 n+/L - 1."""
    regime, numbers = ensemble.regime, ensemble.numbers
    L = regime.prompt.L
    ebar = (2 * np.arange(L + 1) - L) / L
    p = ensemble.law
    state = {name: array[:, :, 0, 0] for name, array in ensemble.state.items()}
    r = ensemble.r[:, None, None, None]
    h = numbers["n_c"] * state["alpha"][:, :, None] + numbers["n_d"] * ebar[:, None] * state["beta"][:, :, None]
    gate = _gate(regime, h)  # (m, K1, counts, member)
    weight = p.sum(axis=1) * (1 - ebar**2)
    # How open each neuron is to the prompts through which attention learns; (m, K1, member).
    read = np.einsum("iknj,kn->ikj", gate, weight / weight.sum(axis=1, keepdims=True))
    # What feeds a neuron counts in full, not as far as its gate is open now: growing, it opens to more prompts. Measured, the
    # signal grows by this until attention helps it, and by a fifth more than it would with every gate where it is.
    reach = (r**2 * gate).sum(axis=0)
    signed = ((p[:, 0] - p[:, 1]) * ebar)[..., None]  # E over e of e ebar
    scale = SLOPE_AT_ZERO[regime.training.loss] * numbers["n_d"]
    drift = scale * (signed * reach).sum(axis=1)
    square = scale**2 * ((p.sum(axis=1) * ebar**2)[..., None] * reach**2).sum(axis=1)
    product = state["W_Q_bb"][0] * state["W_K_bb"][0]
    with np.errstate(divide="ignore", invalid="ignore"):
        signal = (r[:, :, 0] * state["beta"] * read).sum(axis=0)
        log_product = np.log(np.maximum(product, np.finfo(np.float64).tiny))
    return Plateau(t=ensemble.t, signal=signal, drift=drift, variance=square - drift**2, log_product=log_product)


def _gate(regime: Regime, h: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    if regime.model.activation == "identity":
        return np.ones_like(h)
    return np.where(h > 0, 1.0, LEAK if regime.model.activation == "leaky_relu" else 0.0)


class Horizon:
    """How signal, drift and noise at step t add up to the logarithm of the attention product at step T."""

    def __init__(self, regime: Regime, T: int) -> None:
        """Sums over the steps t, ..., T - 1 of products of step sizes and decays, for all t at once."""
        concepts, L = regime.concepts, regime.prompt.L
        n_b2, n_d = (1 - concepts.kappa_x) / 2, np.sqrt((1 - concepts.kappa_y) / 2)
        self.regime, self.T = regime, T
        eta = np.array([step_size(regime, t) for t in range(T)])
        decay = 1 - eta * regime.training.lam
        growth = 2 * eta * n_b2 * SLOPE_AT_ZERO[regime.training.loss] * n_d
        # What a unit of signal at step t adds until T, decaying on the way.
        self._of_signal = np.zeros(T + 1)
        for t in range(T - 1, -1, -1):
            self._of_signal[t] = growth[t] + decay[t] * self._of_signal[t + 1]
        fed = eta * self._of_signal[1:]
        self._of_drift, self._of_noise, self._decay = (
            np.append(np.cumsum(x[::-1])[::-1], 0.0) for x in (fed, fed**2, 2 * np.log(decay))
        )
        self._spread = 1 - ((2 * np.arange(L + 1) - L) / L) ** 2

    def log_product(self, at: Plateau, p: Float[np.ndarray, "K1 2 counts"]) -> tuple[Members, Members]:
        """Mean and standard deviation of the logarithm of each attention product at T, under the prompt law `p`."""
        share = (p.sum(axis=1) @ self._spread)[:, None]  # pi_k E[1 - ebar^2]
        batch = self.regime.training.batch
        mean = at.log_product + self._decay[at.t]
        mean = mean + share * (self._of_signal[at.t] * at.signal + self._of_drift[at.t] * at.drift)
        variance = self._of_noise[at.t] * at.variance / (np.inf if batch == "population" else batch)
        return mean, share * np.sqrt(np.maximum(variance, 0.0))

    def log_chance(self, at: Plateau, p: Float[np.ndarray, "K1 2 counts"], *, blur: float = 0.0) -> Members:
        """Logarithm of the chance that a concept is not learned at T, each member's gates staying as they are.

        `blur` widens the normal law by an amount of its own, where gates may still move.
        """
        mean, deviation = self.log_product(at, p)
        return log_ndtr((LEARNED - mean) / np.sqrt(deviation**2 + max(blur, 1e-6) ** 2))


def predicted_error(at: Plateau, p: Float[np.ndarray, "K1 2 counts"], horizon: Horizon) -> Float[np.ndarray, " member"]:
    """The expected 0-1 error of each member at the horizon: one half on each concept that is not learned."""
    weights = p.sum(axis=(1, 2))
    return weights @ np.exp(horizon.log_chance(at, p)) / 2
