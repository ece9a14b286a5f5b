"""The derived recursion is section 3 and level S of section 4, and the exact dense reference at rational points."""

import dataclasses
from itertools import product

import pytest
import sympy as sp

from polyseme.errors import PolysemeError
from polyseme.theory.calculus.derivative import differentiate
from polyseme.theory.calculus.functions import Gate, HalfLogOdds, ReLU, Sigmoid, SignSum
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.model.letters import RANGES
from polyseme.theory.multi_concept.reference.dense import dense_coefficients, derived_coefficients, random_point

k, i, e, n = fw.k, fw.i, fw.e, fw.n_plus
n_a, n_b, n_c, n_d = fw.n_a, fw.n_b, fw.n_c, fw.n_d
LEVELS = ("S", "B")
LIVING_ENTRIES = {"S": ("aa", "bb"), "B": fw.BLOCK_ENTRIES}  # section 4


def entry(family, name, level):
    """W^{st}_k, or zero where the level has no such coefficient."""
    return family[name][k] if name in LIVING_ENTRIES[level] else sp.S.Zero


def mean(body):
    """E[1{concept k} body] over pure prompts."""
    return SignSum(sp.Sum(fw.P[k, e, n] * body, (n, 0, fw.L)), e)


def section_3(level):
    """The stages and gradients as section 3 states them, typed again."""
    W_Q, W_K = ({st: entry(family, st, level) for st in fw.BLOCK_ENTRIES} for family in (fw.W_Q, fw.W_K))
    G_ba, G_bb = (W_K["ab"] * W_Q["a" + t] + W_K["bb"] * W_Q["b" + t] for t in "ab")
    ebar = sp.tanh(n_b * (n_a * G_ba + e * n_b * G_bb) + HalfLogOdds(n, fw.L))
    h = n_c * fw.alpha[i, k] + ebar * n_d * fw.beta[i, k]
    delta = -e * Sigmoid(-e * sp.Sum(fw.r[i] * ReLU(h), (i, 1, fw.m)))  # e l'(e f)
    gamma = delta * fw.r[i] * Gate(h)
    lam = n_d * sp.Sum(gamma * fw.beta[i, k], (i, 1, fw.m))
    query = {"a": n_a, "b": e * n_b}
    gradient = {fw.alpha[i, k]: n_c * mean(gamma), fw.beta[i, k]: n_d * mean(ebar * gamma)}
    for s, t in product("ab", repeat=2):
        if s + t in LIVING_ENTRIES[level]:
            pulled = sum(W_Q[s + u] * query[u] for u in "ab") * (n_b if t == "b" else 0)
            gradient[fw.W_Q[s + t][k]] = mean(lam * (1 - ebar**2) * n_b * W_K[s + "b"] * query[t])
            gradient[fw.W_K[s + t][k]] = mean(lam * (1 - ebar**2) * pulled)
    return gradient


def written_out(expression, m, L):
    """The expression with all sums written out, for m neurons and L demonstrations; everything else symbolic."""
    return sp.expand(expression.subs({fw.m: m, fw.L: L}).doit())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("m", "L"), [(1, 1), (2, 3), (3, 2)])
def test_the_derived_gradient_is_section_3(level, m, L):
    stated = section_3(level)
    recursion = derive(level)
    assert stated.keys() == recursion.gradient.keys() == recursion.shrinkage.keys()
    for coefficient, right in recursion.gradient.items():
        assert written_out(right - stated[coefficient], m, L) == 0, coefficient


def test_level_s_is_the_diagonal_recursion_of_section_4():
    recursion = derive("S")
    W_Q, W_K, lam = (fw.W_Q["bb"][k], fw.W_K["bb"][k], fw.lam)
    ebar = sp.tanh(e * n_b**2 * W_Q * W_K + HalfLogOdds(n, fw.L))
    h = n_c * fw.alpha[i, k] + ebar * n_d * fw.beta[i, k]
    slope = -e * Sigmoid(-e * sp.Sum(fw.r[i] * ReLU(h), (i, 1, fw.m)))
    lam_k = n_d * sp.Sum(slope * fw.r[i] * Gate(h) * fw.beta[i, k], (i, 1, fw.m))
    gamma_k = mean(e * lam_k * (1 - ebar**2))
    stated = {
        W_Q: (1 - fw.eta * lam) * W_Q - fw.eta * n_b**2 * W_K * gamma_k,
        W_K: (1 - fw.eta * lam) * W_K - fw.eta * n_b**2 * W_Q * gamma_k,
        fw.W_Q["aa"][k]: (1 - fw.eta * lam) * fw.W_Q["aa"][k],
        fw.W_K["aa"][k]: (1 - fw.eta * lam) * fw.W_K["aa"][k],
    }
    for coefficient, right in stated.items():
        assert written_out(recursion.update(coefficient) - right, 2, 3) == 0, coefficient


@pytest.mark.parametrize("level", LEVELS)
def test_no_kronecker_delta_is_left(level):
    recursion = derive(level)
    for right in (*recursion.gradient.values(), *recursion.shrinkage.values()):
        assert not right.atoms(sp.KroneckerDelta)
        assert not right.has(sp.Derivative, sp.Subs)
        assert right.free_symbols.isdisjoint(right.atoms(sp.Dummy))


@pytest.mark.parametrize("level", LEVELS)
def test_the_penalty_shrinks_every_coefficient_alike(level):
    recursion = derive(level)
    assert recursion.shrinkage == {x: fw.lam * x for x in recursion.state}
    for coefficient in recursion.state:
        decay = recursion.update(coefficient) + fw.eta * recursion.gradient[coefficient]
        assert sp.expand(decay - (1 - fw.eta * fw.lam) * coefficient) == 0


@pytest.mark.parametrize(
    ("level", "options", "sentence"),
    [
        ("Q", {}, "got level='Q', expected one of S, B, N, Z; type level='B'"),
        (
            "B",
            {"loss": "hinge"},
            "got loss='hinge', expected one of logistic, squared, exponential; type loss='logistic'",
        ),
        (
            "B",
            {"activation": "tanh"},
            "got activation='tanh', expected one of relu, leaky_relu, identity; type activation='relu'",
        ),
        (
            "N",
            {"truncated": True},
            "got truncated=True with level='N', which is exact as it is; type level='Z', truncated=True",
        ),
    ],
)
def test_what_cannot_be_derived_is_refused_in_one_sentence(level, options, sentence):
    with pytest.raises(PolysemeError) as refused:
        derive(level, **options)
    assert str(refused.value) == sentence


def test_a_delta_that_cannot_be_summed_out_is_an_error():
    # x_k + x_1 in a sum over k: the term x_1 does not vanish with the delta, so no single index survives.
    with pytest.raises(AssertionError, match="a sum was not carried out"):
        differentiate(fw.alpha[i, k] * fw.alpha[1, 1], fw.alpha[i, k], RANGES)


def test_the_gap_and_the_attention_are_those_of_section_3():
    stages = derive("B").counted
    G = {t: fw.W_K["ab"][k] * fw.W_Q["a" + t][k] + fw.W_K["bb"][k] * fw.W_Q["b" + t][k] for t in "ab"}
    assert sp.expand(stages.g - n_b * (n_a * G["a"] + e * n_b * G["b"])) == 0
    assert stages.ebar == sp.tanh(stages.g + HalfLogOdds(n, fw.L))
    assert sp.expand(stages.attention - (1 + e * stages.ebar) / 2) == 0


# (K1, L, m, law, seed): one and several concepts, one demonstration and more, odd and even widths.
POINTS = [
    (1, 1, 4, "match", 0),
    (1, 1, 3, "iid", 1),
    (2, 3, 3, "iid", 2),
    (2, 4, 4, "match", 3),
    (3, 2, 5, "match", 4),
    (3, 3, 2, "iid", 5),
    (1, 6, 4, "iid", 6),
    (1, 7, 3, "match", 7),
]


@pytest.mark.parametrize(("K1", "L", "m", "law", "seed"), POINTS)
def test_the_derived_gradient_is_the_dense_one_in_exact_arithmetic(K1, L, m, law, seed):
    point = random_point(K1=K1, L=L, m=m, law=law, seed=seed)
    dense, derived = dense_coefficients(point), derived_coefficients(derive("B"), point)
    assert dense.keys() == derived.keys()
    assert len(dense) == K1 * (8 + 2 * m)
    assert all(sp.expand(dense[x] - derived[x]) == 0 for x in dense)
    assert any(right != 0 for right in dense.values())


def test_the_exact_comparison_sees_a_sign():
    point = random_point(K1=2, L=3, m=3, law="match", seed=10)
    right = derive("B")
    wrong = dataclasses.replace(right, gradient={x: x.subs(x, -g) for x, g in right.gradient.items()})
    dense, derived = dense_coefficients(point), derived_coefficients(wrong, point)
    assert any(sp.expand(dense[x] - derived[x]) != 0 for x in dense)
    assert all(sp.expand(dense[x] + derived[x]) == 0 for x in dense)
