"""The Peirce calculus against dense matrices: symbols for every K1, checked at several (section 2)."""

from random import Random

import pytest
import sympy as sp

from polyseme.theory.calculus.peirce import Frame, Letter
from polyseme.theory.multi_concept.reference.dense import rational_rotation

k, r = (sp.Symbol(name, integer=True, positive=True) for name in ("k", "r"))
K1, K2, d = sp.symbols("K_1 K_2 d", integer=True, positive=True)
FRAME = Frame(families={"a": Letter(k, K1), "b": Letter(k, K1), "nu": Letter(r, K2)}, dimension=d)
SIZES = ({K1: 1, K2: 1}, {K1: 2, K2: 1}, {K1: 3, K2: 2})
a, b, nu = (FRAME.direction(family) for family in ("a", "b", "nu"))
other = FRAME.direction("a", fresh=True)


def operator(name):
    """Blocks within a concept, between two concepts, from and to nu, and a multiple of P_perp: every kind of term."""
    entry = {st: sp.IndexedBase(f"{name}_{st}") for st in ("aa", "ab", "bb", "bn", "nn", "cross")}
    within = FRAME.block(a, a, entry["aa"][k]) + FRAME.block(a, b, entry["ab"][k]) + FRAME.block(b, b, entry["bb"][k])
    total = within.summed(k) + FRAME.block(nu, nu, entry["nn"][r]).summed(r)
    total += FRAME.block(b, nu, entry["bn"][k, r]).summed(k).summed(r)
    total += FRAME.block(b, other, entry["cross"][k, other.number]).summed(k).summed(other.number)
    return total + FRAME.perp().scaled(sp.Symbol(f"{name}_rest"))


def vector(name):
    x = sp.IndexedBase(name)
    return FRAME.vector({a: x[k, 1], b: x[k, 2]}).summed(k) + FRAME.vector({nu: x[r, 3]}).summed(r)


A, B = operator("A"), operator("B")


def dense_vector(v, sizes):
    """Column of components, by the operator |v><e| for one fixed direction."""
    column = []
    for family, letter in FRAME.families.items():
        for number in range(1, sizes[letter.size] + 1):
            unit = FRAME.vector({FRAME.direction(family, number): 1})
            column.append(sp.expand(unit.dot(v).subs(sizes).doit()))
    return sp.Matrix(column)


def same(left, right):
    return sp.simplify(sp.expand(left - right)) == sp.zeros(*left.shape)


@pytest.mark.parametrize("sizes", SIZES)
def test_products_sums_and_transposes_are_those_of_matrices(sizes):
    dense = {name: x.to_dense(sizes) for name, x in (("A", A), ("B", B))}
    assert same((A @ B).to_dense(sizes), dense["A"] * dense["B"])
    assert same((B @ A).to_dense(sizes), dense["B"] * dense["A"])
    assert not same(dense["A"] * dense["B"], dense["B"] * dense["A"])
    assert same(A.transpose().to_dense(sizes), dense["A"].T)
    assert same((A + B.scaled(3) - A).to_dense(sizes), 3 * dense["B"])


@pytest.mark.parametrize("sizes", SIZES)
def test_traces_count_the_rank_of_what_is_left(sizes):
    spanned = 2 * sizes[K1] + sizes[K2]
    at = {**sizes, d: spanned + 3}
    product = (A @ B).to_dense(sizes).trace() + 3 * sp.Symbol("A_rest") * sp.Symbol("B_rest")
    assert sp.expand((A @ B).trace().subs(at).doit() - product) == 0
    assert FRAME.identity().trace() == d


@pytest.mark.parametrize("sizes", SIZES)
def test_operators_act_on_vectors_and_their_adjoints_move_over(sizes):
    x, y = vector("x"), vector("y")
    dense, on_x, on_y = A.to_dense(sizes), dense_vector(x, sizes), dense_vector(y, sizes)
    assert same(dense_vector(A.act(x), sizes), dense * on_x)
    assert same(dense_vector(A.adjoint(y), sizes), dense.T * on_y)
    left, right = A.act(x).dot(y), x.dot(A.adjoint(y))
    assert sp.expand((left - right).subs(sizes).doit()) == 0
    assert sp.expand(left.subs(sizes).doit() - (on_y.T * dense * on_x)[0]) == 0


def test_letters_of_one_name_bound_and_free_are_kept_apart():
    # sum_k A_k E_{a_k a_k} applied to the free a_k gives A_k a_k, not a sum.
    one = FRAME.vector({a: 1})
    image = FRAME.block(a, a, sp.IndexedBase("w")[k]).summed(k).act(one)
    assert image.dot(one) == sp.IndexedBase("w")[k]
    # ... and between two different letters a Kronecker delta.
    assert one.dot(FRAME.vector({other: 1})) == sp.KroneckerDelta(k, other.number)


def test_a_projection_takes_one_block_and_a_coefficient_its_number():
    assert A.project(a, b).equals(FRAME.block(a, b, sp.IndexedBase("A_ab")[k]))
    assert A.coefficient(b, nu) == sp.IndexedBase("A_bn")[k, r]
    assert A.coefficient(nu, a) == 0


def test_the_squared_norm_is_the_sum_of_squares_for_every_number_of_concepts():
    norm = (A.transpose() @ A).trace()
    for sizes in SIZES:
        squares = sum(x**2 for x in A.to_dense(sizes))
        at = {**sizes, d: 2 * sizes[K1] + sizes[K2] + 2}
        assert sp.expand(norm.subs(at).doit() - squares - 2 * sp.Symbol("A_rest") ** 2) == 0


def test_in_space_the_rest_is_what_the_directions_leave():
    sizes, size = {K1: 1, K2: 1}, 5
    rotation = rational_rotation(size, Random(0))
    basis = sp.Matrix(
        size, 3, lambda row, column: sp.Rational(rotation[row, column].numerator, rotation[row, column].denominator)
    )
    matrices = [x.to_dense(sizes, basis) for x in (A, B, A @ B)]
    assert same(matrices[0] * matrices[1], matrices[2])
    assert FRAME.identity().to_dense(sizes, basis) == sp.eye(size)
    with pytest.raises(ValueError, match="expected 3 orthonormal columns"):
        A.to_dense(sizes, 2 * basis)


def test_a_frame_with_a_letter_of_two_sizes_is_refused():
    with pytest.raises(ValueError, match="two sizes"):
        Frame(families={"a": Letter(k, K1), "nu": Letter(k, K2)}, dimension=d)


def test_the_rest_has_no_letter_to_be_summed_over():
    with pytest.raises(ValueError, match="add it after the sum"):
        A.summed(k)
