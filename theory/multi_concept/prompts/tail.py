"""The prompt law on a window of counts: the rest of a long binomial sum, with a certificate (docs/THEORY.md sections 1 and 3).

For L demonstrations the count n+ is within some sqrt(L) of its mean L p_plus. By Hoeffding's inequality the counts further
away than t have probability at most 2 exp(-2 t^2 / L), so a sum over a window of 2 t counts leaves out no more than that;
what it leaves out of the loss and of each gradient is bounded by the largest of their summands.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import binom

from polyseme.theory.multi_concept.regime import Regime

# Far below the unit round-off 2^-53 of the sums that it is left out of.
EPSILON = 2.0**-80


@dataclass(frozen=True, kw_only=True)
class Window:
    """Counts first, ..., last, and a proven bound on the probability of all others, for either sign of the query."""

    first: int
    last: int
    left_out: float

    @property
    def counts(self) -> Float[np.ndarray, " counts"]:
        """The counts n+ of the window."""
        return np.arange(self.first, self.last + 1.0)


def match_probability(regime: Regime, sign: int) -> float:
    """P(at least one demonstration has the query's sign e | e), 1 - (1 - P(e))^L."""
    same = regime.prompt.p_plus if sign == 1 else 1 - regime.prompt.p_plus
    # A sign that is certain to double precision has no chance of the other one.
    return -math.expm1(regime.prompt.L * (math.log1p(-same) if same < 1 else -math.inf))


def window(regime: Regime, epsilon: float = EPSILON) -> Window:
    """The smallest window that Hoeffding's inequality grants at most `epsilon` left out; all counts if it is wider.

    ValueError unless 0 < epsilon < 1.
    """
    if not 0 < epsilon < 1:
        raise ValueError(f"got epsilon = {epsilon}, expected a probability between 0 and 1")
    L, plus = regime.prompt.L, regime.prompt.p_plus
    conditioned = (
        min(match_probability(regime, 1), match_probability(regime, -1)) if regime.prompt.law == "match" else 1.0
    )
    if conditioned <= 0:
        return Window(first=0, last=L, left_out=0.0)
    # 2 exp(-2 t^2 / L) / P(match) <= epsilon; a relative 1e-9 more than covers the rounding of t.
    t = math.sqrt(L / 2 * math.log(2 / (epsilon * conditioned))) * (1 + 1e-9)
    first, last = max(0, math.floor(L * plus - t)), min(L, math.ceil(L * plus + t))
    return Window(first=first, last=last, left_out=0.0 if (first, last) == (0, L) else epsilon)


def window_probabilities(regime: Regime, within: Window) -> Float[np.ndarray, "K1 2 counts"]:
    """P[k, j, n+] = pi_k P(e) P(n+ | e) on the window alone, with e = +1 at j = 0 (section 1)."""
    L, plus = regime.prompt.L, regime.prompt.p_plus
    counts = within.counts
    weights = binom.pmf(counts, L, plus)
    given_sign = np.stack([weights, weights])
    if regime.prompt.law == "match":
        given_sign[0, counts == 0] = given_sign[1, counts == L] = 0.0  # no demonstration shares the query's sign
        given_sign /= np.array([[match_probability(regime, 1)], [match_probability(regime, -1)]])
    of_sign = np.array([plus, 1 - plus])[:, None]
    return np.asarray(regime.concepts.probabilities)[:, None, None] * of_sign * given_sign


def left_out_bounds(
    regime: Regime,
    r: Float[np.ndarray, " m"],
    coefficients: Mapping[str, Float[np.ndarray, "..."]],
    within: Window,
) -> dict[str, float]:
    """How much the window can change each array of the gradient, and the loss, at one state (names of section 8).

    |ebar| and 1 - ebar^2 are at most 1, gates too, and |f| at most F = sum_i |r_i| max_k (n_c |alpha| + n_d |beta|), which
    bounds the slope of the loss by 1, 1 + F or exp(F); the summands of section 3 are then at most the products below.
    """
    concepts = regime.concepts
    n_a, n_b = (math.sqrt((1 + pm * concepts.kappa_x) / 2) for pm in (1, -1))
    n_c, n_d = (math.sqrt((1 + pm * concepts.kappa_y) / 2) for pm in (1, -1))
    size, alpha, beta = np.abs(r), np.abs(coefficients["alpha"]), np.abs(coefficients["beta"])
    F = float((size[:, None] * (n_c * alpha + n_d * beta)).sum(axis=0).max())
    slope, loss = {
        "logistic": (1.0, F + math.log(2)),
        "squared": (1 + F, (1 + F) ** 2 / 2),
        "exponential": (math.exp(F), math.exp(F)),
    }[regime.training.loss]
    Lam = slope * n_d * float((size[:, None] * beta).sum(axis=0).max())
    most_Q, most_K = (float(np.abs(coefficients[f"{name}_blocks"]).max()) for name in ("W_Q", "W_K"))
    return {
        "loss": within.left_out * loss,
        "alpha": within.left_out * n_c * slope * float(size.max()),
        "beta": within.left_out * n_d * slope * float(size.max()),
        # |(W_K b)_s x_t| <= n_b |W_K^{sb}| max(n_a, n_b), and |(W_Q x)_s b_t| <= (n_a + n_b) max |W_Q| n_b.
        "W_Q_blocks": within.left_out * Lam * n_b * most_K * max(n_a, n_b),
        "W_K_blocks": within.left_out * Lam * n_b * most_Q * (n_a + n_b),
    }
