"""The prompt law in counts: how likely a pure prompt (k, e, n+) is (docs/THEORY.md section 1).

Signs are +1 with probability p_plus, fair by default. `match` conditions the signs of the L demonstrations on at
least one that equals the query's sign e; `iid` does not. `LAWS` states both as formulas, which the article prints.
"""

from fractions import Fraction
from math import comb

import numpy as np
import sympy as sp
from jaxtyping import Float

from polyseme.theory.calculus.functions import Gate
from polyseme.theory.calculus.staged import Definition
from polyseme.theory.multi_concept.model.forward import L, e, k, n_plus
from polyseme.theory.multi_concept.prompts.tail import Window, window_probabilities
from polyseme.theory.multi_concept.regime import Regime

pi = sp.IndexedBase("pi")
p_plus = sp.Symbol("p_plus", positive=True)

SIGN = Definition(
    name=sp.IndexedBase("varpi")[e],
    meaning=(1 + e * (2 * p_plus - 1)) / 2,
    words="the probability of the sign e, which is p_plus for +1 and 1 - p_plus for -1",
)
SAME = Definition(
    name=sp.IndexedBase("L")[e],
    meaning=(L + e * (2 * n_plus - L)) / 2,
    words="the number of demonstrations that have the sign e of the query",
)
_IID = pi[k] * SIGN.name * sp.binomial(L, n_plus) * p_plus**n_plus * (1 - p_plus) ** (L - n_plus)
LAWS = {"iid": _IID, "match": _IID * Gate(SAME.name) / (1 - (1 - SIGN.name) ** L)}
"""p_{k,e,n+} of each law, in the names `SIGN` and `SAME`: pi_k P(e) P(n+ | e)."""


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
