"""Orthogonal idempotents and Peirce blocks in exact arithmetic (section 2)."""

from random import Random

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.polys.matrices import DomainMatrix

from polyseme.theory.calculus.idempotents import PERP, Idempotents, concept_gram, law_residuals, rank_one, resolve
from polyseme.theory.multi_concept.reference.dense import rational_rotation

FEW = settings(max_examples=25, deadline=None)
SIZES = st.integers(2, 6)
SEEDS = st.integers(0, 10**6)


def frame(size, count, random):
    """`count` orthogonal rational vectors of random lengths."""
    rotation = rational_rotation(size, random)
    lengths = [random.randint(1, 5) for _ in range(count)]
    return {f"s{j}": [sp.Rational(x) * length for x in rotation[j]] for j, length in enumerate(lengths)}


def random_matrix(size, random):
    entries = [[sp.QQ(random.randint(-9, 9), random.randint(1, 7)) for _ in range(size)] for _ in range(size)]
    return DomainMatrix(entries, (size, size), sp.QQ)


def square_norm(matrix):
    return sum((x**2 for row in matrix.to_list() for x in row), sp.QQ(0))


@FEW
@given(SIZES, SEEDS)
def test_rotations_are_orthogonal(size, seed):
    rotation = sp.Matrix(rational_rotation(size, Random(seed)))
    assert rotation * rotation.T == sp.eye(size)


@FEW
@given(SIZES, SEEDS, st.data())
def test_orthogonal_vectors_give_idempotents_that_resolve_the_identity(size, seed, data):
    count = data.draw(st.integers(1, size))
    system = Idempotents(projections=resolve(frame(size, count, Random(seed))))
    assert system.names == (*(f"s{j}" for j in range(count)), PERP)
    for s in system.names:
        P = system.projections[s]
        assert P * P == P
        assert P.transpose() == P
        assert sum(P.to_Matrix().diagonal()) == (size - count if s == PERP else 1)  # the rank


@FEW
@given(SIZES, SEEDS)
def test_peirce_blocks_add_up_and_their_squares_too(size, seed):
    random = Random(seed)
    system = Idempotents(projections=resolve(frame(size, size - 1, random)))
    W = random_matrix(size, random)
    blocks = {(s, t): system.block(W, s, t) for s in system.names for t in system.names}
    total = W * sp.QQ(0)
    for block in blocks.values():
        total = total + block
    assert total == W
    assert sum((square_norm(block) for block in blocks.values()), sp.QQ(0)) == square_norm(W)


@FEW
@given(SIZES, SEEDS)
def test_blocks_multiply_like_matrix_units(size, seed):
    random = Random(seed)
    system = Idempotents(projections=resolve(frame(size, size - 1, random)))
    V, W = random_matrix(size, random), random_matrix(size, random)
    s, t, u = "s0", "s0" if size == 2 else "s1", PERP
    assert (system.block(V, s, t) * system.block(W, u, s)).is_zero_matrix
    assert system.block(system.block(V, s, t) * system.block(W, t, u), s, u) == system.block(
        V * system.projections[t] * W, s, u
    )


@pytest.mark.parametrize(
    "vectors",
    [
        {"a": [1, 0, 0], "b": [1, 1, 0]},
        {"a": [1, 2, 3], "b": [1, 2, 3]},
        {"a": [3, 4, 0], "b": [4, -3, 1], "c": [1, 0, 0]},
    ],
    ids=["oblique", "equal", "one of three"],
)
def test_vectors_that_are_not_orthogonal_are_refused(vectors):
    with pytest.raises(ValueError, match=r"not orthogonal idempotents: P_\w+ P_\w+ = \S+ fails; expected"):
        Idempotents(projections=resolve({name: [sp.Integer(x) for x in v] for name, v in vectors.items()}))


def test_an_incomplete_or_oblique_family_is_refused():
    projections = resolve({"a": [sp.Integer(1), sp.Integer(0)]})
    with pytest.raises(ValueError, match="sum_s P_s = I fails"):
        Idempotents(projections={"a": projections["a"]})
    shear = DomainMatrix([[sp.QQ(1), sp.QQ(1)], [sp.QQ(0), sp.QQ(0)]], (2, 2), sp.QQ)
    with pytest.raises(ValueError, match=r"P_a\^T = P_a fails"):
        Idempotents(projections={"a": shear, PERP: DomainMatrix.eye(2, sp.QQ).to_dense() - shear})


def test_residuals_name_every_law():
    residuals = law_residuals(resolve({"a": [sp.Integer(3), sp.Integer(4)]}))
    assert len(residuals) == 2 + 4 + 1  # symmetry of each, each pair, the resolution
    assert all(residual.is_zero_matrix for residual in residuals.values())


def test_a_projection_needs_no_rational_norm():
    assert rank_one([sp.Integer(1), sp.Integer(1)]).to_Matrix() == sp.ones(2, 2) / 2


def test_half_sums_and_half_differences_are_orthogonal_for_every_overlap():
    kappa = sp.Symbol("kappa")
    same = concept_gram(kappa, same_concept=True)
    assert (same["a", "b"], same["b", "a"]) == (0, 0)
    assert sp.expand(same["a", "a"] - (1 + kappa) / 2) == 0
    assert sp.expand(same["b", "b"] - (1 - kappa) / 2) == 0
    assert set(concept_gram(kappa, same_concept=False).values()) == {0}
