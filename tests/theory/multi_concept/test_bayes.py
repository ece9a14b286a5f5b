"""The Bayes posterior of noisy prompts: against all codes and signs listed, a closed form and prompts drawn here (section 1)."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import norm

from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.outcome.bayes import LEAST_NOISE, bayes_error, excess_error, posterior
from polyseme.theory.multi_concept.regime import Regime

LAWS = ("match", "iid")
SIZES = ((1, 0, 1), (1, 2, 3), (2, 1, 1), (2, 0, 4), (3, 2, 2), (3, 1, 3))  # K1, K2, L


def regime_of(number, law, **prompt):
    K1, K2, L = SIZES[number]
    rng = np.random.default_rng([number, LAWS.index(law)])
    weights = rng.uniform(0.2, 1.5, K1)
    return Regime().replace(
        concepts={
            "K1": K1,
            "K2": K2,
            "d_x": 2 * K1 + K2 + number % 3,
            "d_y": 2 * K1 + number % 2,
            "kappa_x": float(rng.uniform(0, 0.8)),
            "kappa_y": float(rng.uniform(0, 0.8)),
            "weights": (weights / weights.sum()).tolist(),
        },
        prompt={
            "L": L,
            "law": law,
            "p_plus": float(rng.uniform(0.2, 0.8)),
            "p_extra": float(rng.uniform(0.1, 0.6)),
            "sigma_x": float(rng.uniform(0.3, 0.8)),
            "sigma_y": float(rng.uniform(0.3, 0.8)),
        }
        | prompt,
    )


def dictionaries(regime, seed=0):
    """Features of section 1 in random frames, written out here."""
    sizes, rng = regime.concepts, np.random.default_rng(seed)
    found = []
    for d, count, kappa in (
        (sizes.d_x, 2 * sizes.K1 + sizes.K2, sizes.kappa_x),
        (sizes.d_y, 2 * sizes.K1, sizes.kappa_y),
    ):
        features = np.linalg.qr(rng.normal(size=(d, count)))[0]
        for k in range(sizes.K1):
            plus = features[:, 2 * k].copy()
            features[:, 2 * k + 1] = kappa * plus + np.sqrt(1 - kappa**2) * features[:, 2 * k + 1]
        found.append(features)
    return found


def code_of(regime, rng, k, sign):
    """The code z of one word."""
    sizes, prompt = regime.concepts, regime.prompt
    z = np.zeros(2 * sizes.K1 + sizes.K2)
    for other in range(sizes.K1):
        if other == k or rng.random() < prompt.p_extra:
            own = sign if other == k else (1 if rng.random() < prompt.p_plus else -1)
            z[2 * other + (own < 0)] = 1
    z[2 * sizes.K1 :] = rng.random(sizes.K2) < prompt.p_extra
    return z


def drawn(regime, M, Q, count, seed=0):
    """Prompts of the law, one after the other; signs without a match are drawn again."""
    rng, prompt = np.random.default_rng(seed), regime.prompt
    rows = []
    for _ in range(count):
        k = rng.choice(regime.concepts.K1, p=regime.concepts.probabilities)
        e = 1 if rng.random() < prompt.p_plus else -1
        while True:
            signs = np.where(rng.random(prompt.L) < prompt.p_plus, 1, -1)
            if prompt.law == "iid" or e in signs:
                break
        codes = np.array([code_of(regime, rng, k, sign) for sign in (*signs, e)])
        words = codes @ M.T + prompt.sigma_x * rng.normal(size=(prompt.L + 1, len(M)))
        labels = codes[:-1, : Q.shape[1]] @ Q.T + prompt.sigma_y * rng.normal(size=(prompt.L, len(Q)))
        rows.append({"x": words[:-1], "y": labels, "x_query": words[-1], "e": e, "concept": k})
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def codes_with_chances(regime, k, sign):
    """Every code of a word whose own concept is k, with its probability."""
    sizes, prompt = regime.concepts, regime.prompt
    chance = {0: 1 - prompt.p_extra, 1: prompt.p_extra * prompt.p_plus, -1: prompt.p_extra * (1 - prompt.p_plus)}
    for others in product((0, 1, -1), repeat=sizes.K1 - 1):
        signs = (*others[:k], sign, *others[k:])
        for features in product((0, 1), repeat=sizes.K2):
            z = [float(s == own) for s in signs for own in (1, -1)] + [float(there) for there in features]
            weight = np.prod([chance[s] for s in others])
            yield np.array(z), weight * np.prod([prompt.p_extra if there else 1 - prompt.p_extra for there in features])


def listed_posterior(regime, M, Q, x, y, x_query):
    """Bayes' rule by listing concepts, labels, sign sequences and codes, each with its Gaussian density."""
    prompt, of_sign = regime.prompt, {1: regime.prompt.p_plus, -1: 1 - regime.prompt.p_plus}

    def density(k, sign, word, label=None):
        total = 0.0
        for z, weight in codes_with_chances(regime, k, sign):
            exponent = -np.sum((word - M @ z) ** 2) / (2 * prompt.sigma_x**2)
            if label is not None:
                exponent -= np.sum((label - Q @ z[: Q.shape[1]]) ** 2) / (2 * prompt.sigma_y**2)
            total += weight * np.exp(exponent)
        return total

    joint = {1: 0.0, -1: 0.0}
    for k, pi in enumerate(regime.concepts.probabilities):
        words = [{s: density(k, s, *pair) for s in (1, -1)} for pair in zip(x, y, strict=True)]
        for e in (1, -1):
            allowed = [s for s in product((1, -1), repeat=len(x)) if prompt.law == "iid" or e in s]
            normaliser = sum(np.prod([of_sign[s] for s in signs]) for signs in allowed)
            likelihood = sum(
                np.prod([of_sign[s] * word[s] for s, word in zip(signs, words, strict=True)]) for signs in allowed
            )
            joint[e] += pi * of_sign[e] * density(k, e, x_query) * likelihood / normaliser
    return joint[1] / (joint[1] + joint[-1])


def check_against_list(regime, *, count=6, atol=1e-12):
    M, Q = dictionaries(regime)
    prompts = drawn(regime, M, Q, count)
    expected = [
        listed_posterior(regime, M, Q, *row) for row in zip(prompts["x"], prompts["y"], prompts["x_query"], strict=True)
    ]
    # Exponents below 1e3, rounded, and a few hundred of them added.
    np.testing.assert_allclose(posterior(regime, M, Q, prompts), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("number", range(len(SIZES)))
def test_it_is_bayes_rule_over_all_codes_and_signs(number, law):
    check_against_list(regime_of(number, law))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("p_extra", [0.0, 1.0])
def test_also_where_extras_never_or_always_come(p_extra, law):
    check_against_list(regime_of(4, law, p_extra=p_extra))


@pytest.mark.parametrize("law", LAWS)
def test_also_where_a_concept_never_comes_or_a_sign_hardly(law):
    check_against_list(regime_of(3, law).replace(concepts={"weights": [0.0, 1.0]}))
    check_against_list(regime_of(3, law, p_plus=1e-9))


def test_one_word_and_a_query_have_the_closed_form():
    sizes = {"K1": 1, "K2": 0, "d_x": 3, "d_y": 2}
    regime = Regime().replace(concepts=sizes, prompt={"L": 1, "law": "iid", "sigma_x": 0.5, "sigma_y": 0.4})
    M, Q = dictionaries(regime)
    prompts = drawn(regime, M, Q, 40_000)
    p = posterior(regime, M, Q, prompts)
    # The demonstration says nothing, and the query alone decides between two points at a known distance.
    gap = M[:, 0] - M[:, 1]
    np.testing.assert_allclose(np.log(p / (1 - p)), prompts["x_query"] @ gap / 0.5**2, rtol=0, atol=1e-10)
    contributions = np.minimum(p, 1 - p)
    expected = norm.cdf(-np.linalg.norm(gap) / (2 * 0.5))
    assert bayes_error(p) == pytest.approx(contributions.mean(), rel=1e-14)
    assert abs(contributions.mean() - expected) < 4.5 * contributions.std() / np.sqrt(len(p))


@pytest.mark.parametrize("law", LAWS)
def test_of_prompts_with_posterior_p_a_share_p_is_positive(law):
    regime = regime_of(4, law, sigma_x=0.6, sigma_y=0.5)
    M, Q = dictionaries(regime)
    prompts = drawn(regime, M, Q, 12_000, seed=1)
    p = posterior(regime, M, Q, prompts)
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 0.7), (0.7, 0.9), (0.9, 1.0)):
        there = (low <= p) & (p <= high)
        assert there.sum() > 200
        # Given the prompts, the labels are independent with variance p (1 - p) each.
        error = np.sqrt((p * (1 - p))[there].sum())
        assert abs(((prompts["e"] > 0) - p)[there].sum()) < 4.5 * error


def test_a_posterior_of_another_law_is_not_calibrated():
    regime = regime_of(4, "match", sigma_x=0.6, sigma_y=0.5)
    M, Q = dictionaries(regime)
    prompts = drawn(regime, M, Q, 12_000, seed=1)
    for wrong in ({"p_extra": 0.0}, {"p_plus": 0.8}, {"sigma_x": 0.3}):
        p = posterior(regime.replace(prompt=wrong), M, Q, prompts)
        off = [
            abs(((prompts["e"] > 0) - p)[there].sum()) / np.sqrt((p * (1 - p))[there].sum())
            for there in (p < 0.3, (p >= 0.3) & (p <= 0.7), p > 0.7)
        ]
        assert max(off) > 6, wrong


@pytest.mark.parametrize("law", LAWS)
def test_the_order_of_demonstrations_says_nothing(law):
    regime = regime_of(5, law)
    M, Q = dictionaries(regime)
    prompts = drawn(regime, M, Q, 50)
    order = [2, 0, 1]
    turned = prompts | {name: prompts[name][:, order] for name in ("x", "y")}
    one, other = (posterior(regime, M, Q, each) for each in (prompts, turned))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_exchanging_the_signs_exchanges_the_labels(law):
    regime = regime_of(5, law)
    M, Q = dictionaries(regime)
    prompts = drawn(regime, M, Q, 50)
    exchanged = [1, 0, 3, 2, 5, 4]
    mirror = regime.replace(prompt={"p_plus": 1 - regime.prompt.p_plus})
    other = posterior(mirror, M[:, [*exchanged, 6]], Q[:, exchanged], prompts)
    np.testing.assert_allclose(posterior(regime, M, Q, prompts), 1 - other, rtol=0, atol=1e-12)


def test_long_prompts_with_little_noise_have_finite_posteriors():
    regime = regime_of(2, "match", L=300, sigma_x=1e-3, sigma_y=1e-3, p_extra=0.0)
    M, Q = dictionaries(regime)
    prompts = drawn(regime, M, Q, 20)
    np.testing.assert_array_equal(posterior(regime, M, Q, prompts), prompts["e"] > 0)


def test_no_decision_is_better_and_the_excess_is_what_it_costs():
    regime = regime_of(4, "match")
    M, Q = dictionaries(regime)
    p = posterior(regime, M, Q, drawn(regime, M, Q, 200)).reshape(2, 100)
    assert bayes_error(p).shape == (2,)
    np.testing.assert_array_equal(excess_error(p, p - 0.5), 0)
    np.testing.assert_allclose(excess_error(p, 0.5 - p), np.abs(2 * p - 1).mean(-1), rtol=1e-12)
    np.testing.assert_allclose(excess_error(p, np.ones_like(p)), (1 - p).mean(-1) - bayes_error(p), rtol=1e-12)
    np.testing.assert_allclose(excess_error(p, np.zeros_like(p)), 1 - bayes_error(p), rtol=1e-12)


@pytest.mark.parametrize("key", ["sigma_x", "sigma_y"])
@pytest.mark.parametrize("value", [0.0, LEAST_NOISE / 2])
def test_prompts_without_noise_are_refused(key, value):
    regime = regime_of(2, "match")
    M, Q = dictionaries(regime)
    prompts = drawn(regime, M, Q, 2)
    with pytest.raises(PolysemeError, match=rf"{key} = {value:g}, expected at least 1e-05; type"):
        posterior(regime.replace(prompt={key: value}), M, Q, prompts)


def test_arrays_that_do_not_fit_are_refused():
    regime = regime_of(2, "match")
    M, Q = dictionaries(regime)
    prompts = drawn(regime, M, Q, 2)
    wrong = {
        "M does not fit": (M[:, :-1], Q, prompts),
        "Q does not fit": (M, Q[:-1], prompts),
        "x does not fit": (M, Q, prompts | {"x": prompts["x"][..., :-1]}),
        "y does not fit": (M, Q, prompts | {"y": prompts["y"][:1]}),
        "x_query does not fit": (M, Q, prompts | {"x_query": prompts["x_query"][:, :-1]}),
        "with L of at least 1": (M, Q, prompts | {"x": prompts["x"][:, :0], "y": prompts["y"][:, :0]}),
    }
    for words, arguments in wrong.items():
        with pytest.raises(PolysemeError, match=words):
            posterior(regime, *arguments)


def test_dictionaries_whose_concepts_overlap_are_refused():
    regime = regime_of(4, "match")
    M, Q = dictionaries(regime)
    prompts = drawn(regime, M, Q, 2)
    for other in (2, 6):  # another concept, an irrelevant feature
        bent = M.copy()
        bent[:, other] += 0.1 * M[:, 0]
        with pytest.raises(PolysemeError, match=r"overlap of 0\.1 in M"):
            posterior(regime, bent, Q, prompts)
    with pytest.raises(PolysemeError, match="in Q"):
        posterior(regime, M, Q + 0.1, prompts)
