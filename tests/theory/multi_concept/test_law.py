"""The prompt law in counts, against enumeration of all sign sequences (section 1)."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from polyseme.theory.multi_concept.prompts.law import exact_count_probability, prompt_probabilities
from polyseme.theory.multi_concept.regime import Regime

LAWS = ("match", "iid")
# A binomial weight is rounded a few times (scipy: a few eps), never cancelled.
FEW_EPS = 1e-13


PLUS = (Fraction(1, 2), Fraction(1, 4), Fraction(7, 8))


def enumerated(L, law, sign, n_plus, plus):
    """P(n+ | e) by listing all 2^L sequences with their weights."""
    allowed = [signs for signs in product((1, -1), repeat=L) if law == "iid" or sign in signs]
    weight = {signs: plus ** signs.count(1) * (1 - plus) ** signs.count(-1) for signs in allowed}
    return sum((weight[signs] for signs in allowed if signs.count(1) == n_plus), Fraction(0)) / sum(weight.values())


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("plus", PLUS)
@pytest.mark.parametrize("L", [1, 2, 3, 5, 8, 12])
def test_counts_have_the_probability_of_their_sequences(law, plus, L):
    weights = [0.2, 0.5, 0.3]
    prompt = {"L": L, "law": law, "p_plus": float(plus)}
    table = prompt_probabilities(Regime().replace(concepts={"K1": 3, "weights": weights}, prompt=prompt))
    assert table.shape == (3, 2, L + 1)
    for (j, sign), n_plus in product(enumerate((1, -1)), range(L + 1)):
        exact = exact_count_probability(L, law, sign, n_plus, plus)
        assert exact == enumerated(L, law, sign, n_plus, plus)
        for concept, weight in enumerate(weights):
            expected = weight * float(exact * (plus if sign == 1 else 1 - plus))
            assert table[concept, j, n_plus] == pytest.approx(expected, rel=FEW_EPS, abs=0)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("L", [1, 2, 64, 10_000])
def test_probabilities_sum_to_one(law, L):
    table = prompt_probabilities(Regime().replace(concepts={"weights": [0.9, 0.1]}, prompt={"L": L, "law": law}))
    assert (table >= 0).all()
    # Each of the L + 1 binomial weights carries a relative error that scipy keeps below 1e-12 at this L.
    assert table.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(table.sum(axis=(1, 2)), [0.9, 0.1], rtol=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_a_large_law_is_that_of_exact_fractions(law):
    L = 10_000
    table = prompt_probabilities(Regime().replace(concepts={"K1": 1}, prompt={"L": L, "law": law}))
    for (j, sign), n_plus in product(enumerate((1, -1)), (0, 1, 4_700, 5_000, 5_123, L)):
        exact = float(exact_count_probability(L, law, sign, n_plus) / 2)
        # Exponents of 1e4 carry log-gamma errors of 1e4 eps = 2e-12; both are 0 where 2^-L underflows.
        assert table[0, j, n_plus] == pytest.approx(exact, rel=1e-10, abs=0)


def test_match_forbids_prompts_without_a_match_and_iid_does_not():
    for L in (1, 4):
        match, iid = (prompt_probabilities(Regime().replace(prompt={"L": L, "law": law})) for law in LAWS)
        assert (match[:, 0, 0] == 0).all()
        assert (match[:, 1, L] == 0).all()
        # The error floor of section 1: no demonstration matches with probability exactly 2^-L.
        assert (iid[:, 0, 0] + iid[:, 1, L]).sum() == 2.0**-L
