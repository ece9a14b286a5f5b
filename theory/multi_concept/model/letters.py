"""The index letters of all levels, each with its whole range: what the calculus differentiates and sums over."""

import sympy as sp

from polyseme.theory.calculus import derivative
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.model import span

RANGES: derivative.Ranges = fw.RANGES | span.RANGES | {span.j: (1, span.J)}
"""First and last value of each letter; a letter with primes has the range of the letter without."""


def whole_range(letter: sp.Symbol) -> derivative.Ends:
    """First and last value of a letter; KeyError for one that is no letter of this theory."""
    return derivative.whole_range(letter, RANGES)
