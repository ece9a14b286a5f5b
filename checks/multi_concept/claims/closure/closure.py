"""Claims of the family closure: which blocks live (THEORY.md sections 4 and 7)."""

from collections.abc import Mapping

import sympy as sp

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Compared, Evidence, Exact
from polyseme.checks.core.provenance import ROUND_OFF, Basis, Ground
from polyseme.checks.core.rules.exact import ExactZero, RoundOff
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.theory.multi_concept.derivation.closure import (
    IDENTITY,
    LEVELS,
    Closure,
    Hypotheses,
    closure,
    risk_asymmetry,
)

Blocks = Mapping[str, tuple[str, ...]]

# -- which blocks live -------------------------------------------------------------------------------------

LEVEL_B_BLOCKS: Blocks = {"W_Q": ("aa", "ab", "ba", "bb"), "W_K": ("aa", "ab", "bb")}
LEVEL_S_BLOCKS: Blocks = {"W_Q": ("aa", "bb"), "W_K": ("aa", "bb")}


def _same_blocks(computed: Closure, asserted: Blocks) -> Evidence:
    rows = []
    for name, fates in computed.fates.items():
        inside = computed.within_concept(name)
        rows += [
            Exact(name=f"{name}^{{{entry}}}", residual=sp.Integer((entry in inside) != (entry in asserted[name])))
            for entry in ("aa", "ab", "ba", "bb")
        ]
        elsewhere = [b for b in fates if fates[b].lives and b not in IDENTITY and not set(b) <= {"a", "b"}]
        rows.append(
            Exact(name=f"{name}: live blocks across concepts, nu and the rest", residual=sp.Integer(len(elsewhere)))
        )
    facts = {name: {" ".join(b): fate.reason for b, fate in fates.items()} for name, fates in computed.fates.items()}
    return Evidence(rows=tuple(rows), facts={"reasons": facts})


GENERIC_CLOSURE = Claim.single(
    id="closure/generic_neurons_reach_level_b",
    statement="From W_Q = W_K = sigma_0 I with sigma_0 > 0 and generic neurons, pure prompts of L >= 2 demonstrations make the whole 2 x 2 block of W_Q live, and of W_K "
    "all but the entry ba: its start is zero and its gradient, W_Q x_query b_k^T, has no component along a_k. Section 4 names "
    "the whole block of W_K; that is closed, but one entry larger than the closure.",
    formula=r"\text{live: } W_Q^{aa}, W_Q^{ab}, W_Q^{ba}, W_Q^{bb}, W_K^{aa}, W_K^{ab}, W_K^{bb};\qquad W_K^{ba} \equiv 0",
    section="4",
    scope="any regime",
    asserts=lambda: LEVEL_B_BLOCKS,
    measure=lambda _context, asserted: _same_blocks(closure(Hypotheses()), asserted),
    rule=ExactZero(),
    controls=(
        NegativeControl(
            name="the whole block of W_K lives",
            statement="W_K^{ba} lives too",
            asserts=lambda: {**LEVEL_B_BLOCKS, "W_K": ("aa", "ab", "ba", "bb")},
        ),
    ),
    uses=("gradient/any_prompt_matches_autograd", "closure/exchanging_signs_leaves_the_risk_alone"),
    rests_on=(
        Basis(ground=Ground.PROOF, text="products of blocks, a symmetry, and a witness for every block that lives"),
    ),
)

MIRRORED_CLOSURE = Claim.single(
    id="closure/mirrored_neurons_stay_in_level_s",
    statement="From W_Q = W_K = sigma_0 I with sigma_0 > 0 and mirrored neurons, pure prompts with fair signs move the diagonal entries alone.",
    formula=r"\text{live: } W_Q^{aa}, W_Q^{bb}, W_K^{aa}, W_K^{bb}",
    section="4",
    scope="any regime",
    asserts=lambda: LEVELS["S"],
    measure=lambda _context, hypotheses: _same_blocks(closure(hypotheses), LEVEL_S_BLOCKS),
    rule=ExactZero(),
    controls=(
        NegativeControl(
            name="quantifier widened",
            statement="the same for generic neurons",
            asserts=lambda: Hypotheses(),
        ),
    ),
    uses=("gradient/any_prompt_matches_autograd", "closure/exchanging_signs_leaves_the_risk_alone"),
    rests_on=(
        Basis(ground=Ground.PROOF, text="products of blocks, a symmetry, and a witness for every block that lives"),
    ),
)

UNEVEN_CLOSURE = Claim.single(
    id="closure/uneven_signs_break_level_s",
    statement="When signs are uneven, mirrored neurons do not stay mirrored: exchanging + and - of every concept changes the "
    "risk, and the blocks that live are those of generic neurons.",
    formula=r"p_+ \ne \tfrac12:\quad \text{live: } W_Q^{aa}, W_Q^{ab}, W_Q^{ba}, W_Q^{bb}, W_K^{aa}, W_K^{ab}, W_K^{bb}",
    section="4",
    scope="any regime",
    asserts=lambda: LEVEL_B_BLOCKS,
    measure=lambda _context, asserted: _same_blocks(closure(Hypotheses(mirrored=True, fair=False)), asserted),
    rule=ExactZero(),
    controls=(
        NegativeControl(
            name="level S for any law",
            statement="mirrored neurons keep the diagonal under every law",
            asserts=lambda: LEVEL_S_BLOCKS,
        ),
    ),
    uses=("closure/mirrored_neurons_stay_in_level_s",),
    rests_on=(
        Basis(ground=Ground.PROOF, text="products of blocks, a symmetry, and a witness for every block that lives"),
    ),
)


def _symmetry(_context: TrainingContext, fair: bool) -> Evidence:
    rows = [
        Compared(
            name="extra concepts and features" if extra else "pure prompts",
            difference=risk_asymmetry(extra=extra, fair=fair),
            scale=1.0,
            # Some ten thousand prompts, each a sum of a few dozen terms of order one.
            roundings=1e4,
        )
        for extra in (False, True)
    ]
    return Evidence(rows=tuple(rows), facts={"point": "every block on, six neurons, two concepts, two features"})


SYMMETRY = Claim.single(
    id="closure/exchanging_signs_leaves_the_risk_alone",
    statement="With fair signs, exchanging + and - of every concept (b to -b, d to -d, and the two neurons of each pair with "
    "(alpha, -beta) of each other) leaves the risk alone, at any weights: what this turns into its negative stays zero.",
    formula=r"R(\sigma \cdot W) = R(W),\qquad \sigma:\ b \to -b,\ d \to -d,\ e \to -e",
    section="4",
    scope="any regime",
    asserts=lambda: True,
    measure=_symmetry,
    rule=RoundOff(reason="10^4 unit round-offs: the number of prompts in the sum"),
    controls=(
        NegativeControl(
            name="uneven signs",
            statement="the same when a sign is + with probability 3/8",
            asserts=lambda: False,
        ),
    ),
    rests_on=(ROUND_OFF,),
)


CLAIMS = (SYMMETRY, GENERIC_CLOSURE, MIRRORED_CLOSURE, UNEVEN_CLOSURE)
