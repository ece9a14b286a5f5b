"""Claims of the family closure: which blocks live (THEORY.md sections 4 and 7)."""

from collections.abc import Mapping

import sympy as sp

from checks.claim import Claim, Evidence, Exact, WrongTwin
from checks.rules import ExactZero
from theory.closure import closure, within_concept

Blocks = Mapping[str, tuple[str, ...]]

# -- which blocks live -------------------------------------------------------------------------------------

LEVEL_B_BLOCKS: Blocks = {"W_Q": ("aa", "ab", "ba", "bb"), "W_K": ("aa", "ab", "bb")}
LEVEL_S_BLOCKS: Blocks = {"W_Q": ("aa", "bb"), "W_K": ("aa", "bb")}


def _same_blocks(computed: Mapping[str, frozenset[tuple[str, str]]], asserted: Blocks) -> Evidence:
    inside = within_concept(dict(computed))
    rows = []
    for name, blocks in computed.items():
        rows += [
            Exact(name=f"{name}^{{{entry}}}", residual=sp.Integer((entry in inside[name]) != (entry in asserted[name])))
            for entry in ("aa", "ab", "ba", "bb")
        ]
        elsewhere = {(s, t) for s, t in blocks if s != t and not ({s, t} <= {"a", "b"} or {s, t} <= {"a'", "b'"})}
        rows.append(
            Exact(name=f"{name}: live blocks across concepts, nu and the rest", residual=sp.Integer(len(elsewhere)))
        )
    return Evidence(rows=tuple(rows), facts={"computed": {name: list(entries) for name, entries in inside.items()}})


GENERIC_CLOSURE = Claim(
    id="closure/generic_neurons_reach_level_b",
    statement="From W_Q = W_K = sigma_0 I with sigma_0 > 0 and generic neurons, pure prompts of L >= 2 demonstrations make the whole 2 x 2 block of W_Q live, and of W_K "
    "all but the entry ba: its start is zero and its gradient, W_Q x_query b_k^T, has no component along a_k. Section 4 names "
    "the whole block of W_K; that is closed, but one entry larger than the closure.",
    formula=r"\text{live: } W_Q^{aa}, W_Q^{ab}, W_Q^{ba}, W_Q^{bb}, W_K^{aa}, W_K^{ab}, W_K^{bb};\qquad W_K^{ba} \equiv 0",
    section="4",
    scope="any regime",
    asserts=lambda: LEVEL_B_BLOCKS,
    measure=lambda _laboratory, asserted: _same_blocks(closure("generic"), asserted),
    rule=ExactZero(),
    wrong_twin=WrongTwin(
        name="the whole block of W_K lives",
        statement="W_K^{ba} lives too",
        asserts=lambda: {**LEVEL_B_BLOCKS, "W_K": ("aa", "ab", "ba", "bb")},
    ),
    uses=("gradient/closed_forms_equal_derivatives",),
    rests_on=("symbols: every block independent; two concepts, two neurons, three demonstrations",),
)

MIRRORED_CLOSURE = Claim(
    id="closure/mirrored_neurons_stay_in_level_s",
    statement="From W_Q = W_K = sigma_0 I with sigma_0 > 0 and mirrored neurons, pure prompts move the diagonal entries alone.",
    formula=r"\text{live: } W_Q^{aa}, W_Q^{bb}, W_K^{aa}, W_K^{bb}",
    section="4",
    scope="any regime",
    asserts=lambda: "mirrored",
    measure=lambda _laboratory, neurons: _same_blocks(closure(neurons), LEVEL_S_BLOCKS),
    rule=ExactZero(),
    wrong_twin=WrongTwin(
        name="quantifier widened",
        statement="the same for generic neurons",
        asserts=lambda: "generic",
    ),
    uses=("gradient/closed_forms_equal_derivatives",),
    rests_on=("symbols: every block independent; two concepts, two neurons, three demonstrations",),
)


CLAIMS = (GENERIC_CLOSURE, MIRRORED_CLOSURE)
