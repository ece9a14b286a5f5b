"""The claim of the family algebra that the L2 penalty is a sum of squared coefficients (THEORY.md sections 2 and 4)."""

from collections.abc import Callable
from functools import cache

import sympy as sp

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Evidence, Exact, Row
from polyseme.checks.core.provenance import Basis, Ground
from polyseme.checks.core.rules.exact import ExactZero
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.theory.calculus.peirce import Frame, Letter, Operator
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.model import forward as fw

_r = sp.Symbol("r", integer=True, positive=True)
_K2 = sp.Symbol("K_2", integer=True, positive=True)
_rest = sp.Symbol("c", real=True)
# Words with their irrelevant features, which pure prompts do not meet: blocks of every kind, and P_perp.
FRAME = Frame(
    families={"a": Letter(fw.k, fw.K1), "b": Letter(fw.k, fw.K1), "nu": Letter(_r, _K2)},
    dimension=sp.Symbol("d_x", integer=True, positive=True),
)


def _family(s: str, t: str) -> sp.IndexedBase:
    return sp.IndexedBase(f"W^{{{s},{t}}}")


@cache
def _generic_operator() -> Operator:
    """A matrix with every block on span M, across concepts too, and a multiple of P_perp."""
    total = FRAME.perp().scaled(_rest)
    for family in FRAME.families:
        for other in FRAME.families:
            s, t = FRAME.direction(family), FRAME.direction(other, fresh=True)
            block = FRAME.block(s, t, _family(family, other)[s.number, t.number])
            total += block.summed(s.number).summed(t.number)
    return total


def _squares() -> sp.Expr:
    """The sum of the squares of all coefficients; that of P_perp counts once for each direction left over."""
    spanned = sp.Add(*(letter.size for letter in FRAME.families.values()))
    total = _rest**2 * (FRAME.dimension - spanned)
    for family, first in FRAME.families.items():
        for other, second in FRAME.families.items():
            row, column = first.symbol, sp.Symbol(f"{second.symbol.name}'", **second.symbol.assumptions0)
            entry = _family(family, other)[row, column]
            total += sp.Sum(entry**2, (row, 1, first.size), (column, 1, second.size))
    return total


def _one_by_one(expression: sp.Expr) -> sp.Expr:
    """Every sum split into sums of single terms, with its letters named in the order in which the term has them."""

    def split(body: sp.Expr, *limits: sp.Tuple) -> sp.Expr:
        sizes = {letter: last for letter, _, last in limits}
        terms = []
        for term in sp.Add.make_args(sp.expand(body)):
            entries = sorted(term.atoms(sp.Indexed), key=str)
            letters = dict.fromkeys(index for entry in entries for index in entry.indices if index in sizes)
            names = {letter: sp.Symbol(f"j_{place}", positive=True) for place, letter in enumerate(letters)}
            terms.append(sp.Sum(term.xreplace(names), *((names[letter], 1, sizes[letter]) for letter in letters)))
        return sp.Add(*terms)

    return sp.expand(expression).replace(sp.Sum, split)


def as_atoms(expression: sp.Expr) -> sp.Expr:
    """The expanded expression with its sums, functions and coefficients as symbols: SymPy decides a polynomial for certain.

    An expression with functions of ours in it is tried at random points, and sometimes not decided.
    """
    residual = sp.expand(expression)
    for kind in (sp.Sum, sp.Function, sp.Indexed):  # outermost first
        residual = residual.xreplace({atom: sp.Symbol(str(atom)) for atom in residual.atoms(kind)})
    return sp.expand(residual)


def _pythagoras(context: TrainingContext, squared_norm: Callable[[Operator], sp.Expr]) -> Evidence:
    del context
    W = _generic_operator()
    rows: list[Row] = [
        Exact(name="any K1, K2, d_x", residual=as_atoms(_one_by_one(squared_norm(W)) - _one_by_one(_squares())))
    ]
    sizes = {fw.K1: 2, _K2: 1, FRAME.dimension: 7}
    dense = W.to_dense(sizes, sp.eye(7)[:, :5])
    written_out = squared_norm(W).subs(sizes).doit()
    rows.append(Exact(name="all entries of a 7 x 7 matrix", residual=as_atoms(written_out - sum(x**2 for x in dense))))
    right = derive("B")
    rows += [
        Exact(name=f"pull of the derived penalty on {x}", residual=sp.expand(pull - fw.lam * x))
        for x, pull in right.shrinkage.items()
    ]
    return Evidence(rows=tuple(rows), facts={"blocks": f"{sorted(FRAME.families)} against each other, and P_perp"})


PENALTY = Claim.single(
    id="algebra/penalty_is_the_sum_of_squared_coefficients",
    statement="For every number of concepts the squared Frobenius norm is the sum of the squares of all coefficients, those "
    "across concepts too, with P_perp counted once for each direction left over; the penalty pulls on each coefficient alone.",
    formula=r"\operatorname{tr} W^\top W = \sum_{s,t} (W^{st})^2 + c^2 \operatorname{rank} P_\perp,\qquad "
    r"\partial_{W^{st}} \tfrac{\lambda}{2} \|W\|_F^2 = \lambda W^{st}",
    section="2",
    scope="any regime",
    asserts=lambda: lambda W: (W.transpose() @ W).trace(),
    measure=_pythagoras,
    rule=ExactZero(),
    controls=(
        NegativeControl(
            name="the transpose forgotten",
            statement="the squared norm is tr W W",
            asserts=lambda: lambda W: (W @ W).trace(),
        ),
    ),
    uses=("algebra/peirce_blocks_split_the_norm",),
    rests_on=(Basis(ground=Ground.PROOF, text="products of Peirce blocks with symbolic K1, K2 and d_x"),),
)

CLAIMS = (PENALTY,)
