"""The prompt law in counts: how likely a pure prompt (k, e, n+) is (THEORY.md section 1).

Signs are +1 with probability p_plus, fair by default. `match` conditions the signs of the L demonstrations on at
least one that equals the query's sign e; `iid` does not.
"""

from fractions import Fraction
from math import comb

import numpy as np
from jaxtyping import Float

from polyseme.theory.multi_concept.prompts.tail import Window, window_probabilities
from polyseme.theory.multi_concept.regime import Regime


def prompt_probabilities(regime: Regime) -> Float[np.ndarray, "K1 2 counts"]:
    """P[k, j, n+] = pi_k P(e) P(n+ | e), with e = +1 at j = 0 and e = -1 at j = 1; sums to 1.

    Shape (K1, 2, L + 1). Binomial weights come from scipy, whose mass function stays accurate for large L.
    """
    return window_probabilities(regime, Window(first=0, last=regime.prompt.L, left_out=0.0))


def exact_count_probability(L: int, law: str, sign: int, n_plus: int, plus: Fraction = Fraction(1, 2)) -> Fraction:
    """P(n+ | e) as a fraction: the reference implementation, by counting sign sequences."""
    matching = n_plus if sign == 1 else L - n_plus
    weight = comb(L, n_plus) * plus**n_plus * (1 - plus) ** (L - n_plus)
    if law == "iid":
        return weight
    none = (1 - plus if sign == 1 else plus) ** L
    return weight / (1 - none) if matching else Fraction(0)
