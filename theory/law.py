"""The prompt law in counts: how likely a pure prompt (k, e, n+) is (THEORY.md section 1).

`match` conditions the fair signs of the L demonstrations on at least one that equals the query's sign e;
`iid` does not.
"""

from fractions import Fraction
from math import comb

import numpy as np
from jaxtyping import Float
from scipy.stats import binom

from theory.setting import Regime


def prompt_probabilities(regime: Regime) -> Float[np.ndarray, "K1 2 counts"]:
    """P[k, j, n+] = pi_k * (1/2) * P(n+ | e), with e = +1 at j = 0 and e = -1 at j = 1; sums to 1.

    Shape (K1, 2, L + 1). Binomial weights come from scipy, whose mass function stays accurate for large L.
    """
    L = regime.prompt.L
    counts = np.arange(L + 1)
    fair = binom.pmf(counts, L, 0.5)
    given_sign = np.stack([fair, fair])
    if regime.prompt.law == "match":
        given_sign[0, 0] = given_sign[1, L] = 0.0  # no demonstration shares the query's sign
        given_sign /= -np.expm1(-L * np.log(2.0))  # 1 - 2^-L
    return np.asarray(regime.concepts.probabilities)[:, None, None] * given_sign / 2


def exact_count_probability(L: int, law: str, sign: int, n_plus: int) -> Fraction:
    """P(n+ | e) as a fraction: the obvious twin, by counting sign sequences."""
    matching = n_plus if sign == 1 else L - n_plus
    if law == "iid":
        return Fraction(comb(L, n_plus), 2**L)
    return Fraction(comb(L, n_plus), 2**L - 1) if matching else Fraction(0)
