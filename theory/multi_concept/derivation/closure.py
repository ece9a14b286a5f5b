"""Which blocks live: the closure of a start under the expected gradient, with a reason for each (docs/THEORY.md section 4).

Three arguments meet, and a block that they leave open is an error, never a guess:

- *Multiplication*. The gradients of section 3 are W_K (sum_l s'_l x_l) x_query^T and W_Q x_query (sum_l s'_l x_l)^T with
  sum_l s'_l = 0, so the pull sum_l s'_l x_l lies in the span of the differences of two demonstrations of one prompt. By
  E_st E_tv = E_sv they reach the blocks of W_K . (differences x queries) and W_Q . (queries x differences), and no other.
- *Symmetry*. When signs are fair and neurons come in mirrored pairs, exchanging + and - of every concept (b -> -b, d -> -d,
  e -> -e, the two neurons of a pair exchanged) leaves the risk alone; from a start that it leaves alone, blocks that it
  turns into their negatives stay zero. `risk_asymmetry` is the residual of that statement.
- *Witness*. A block that neither of them excludes has a gradient, derived by SymPy and evaluated at a point of the living blocks,
  that is larger than its round-off by far.

Directions of one concept are a, b; of another a', b'; of two features nu, nu'; perp stands for the rest. By the symmetry of
permuting concepts and features, blocks between these are all kinds of blocks there are, for every K1 and K2.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

import numpy as np
import sympy as sp
from jaxtyping import Float

from polyseme.theory.calculus.derivative import differentiate
from polyseme.theory.calculus.named import NamedAxes
from polyseme.theory.multi_concept.model import span
from polyseme.theory.multi_concept.model.letters import RANGES
from polyseme.theory.multi_concept.prompts.enumeration import PromptTable, enumerate_prompts
from polyseme.theory.multi_concept.regime import Regime

Block = tuple[str, str]
Matrix = Literal["W_Q", "W_K"]

IDENTITY = frozenset({("a", "a"), ("b", "b"), ("nu", "nu"), ("perp", "perp")})
"""The blocks of W = sigma_0 I."""
CONCEPT_BLOCKS = IDENTITY | {("a", "b"), ("b", "a")}
"""The blocks of any W that maps each span(a_k, b_k) into itself, and is a multiple of I on the rest of the space."""


@dataclass(frozen=True, kw_only=True)
class Hypotheses:
    """What a level of reduction assumes of prompts, neurons and start (section 4); L >= 2 throughout."""

    extra: bool = False  # p_extra > 0
    noise: bool = False  # low noise on words and labels, and few extras
    fair: bool = True  # signs are + and - with equal probability
    mirrored: bool = False  # neurons in pairs (r, alpha, beta), (-r, alpha, -beta)
    start: frozenset[Block] = IDENTITY

    @property
    def words(self) -> tuple[str, ...]:
        """The hypotheses as sentences."""
        noise = "sigma_x = sigma_y = 0"
        if self.noise:
            return (
                "low noise: sigma_x and sigma_y of at most 0.2",
                "few extras: (L + 1) (K_1 - 1) p_extra of at most 1/4",
                "any neurons",
                "W_Q and W_K map each span(a_k, b_k) into itself, and are multiples of I outside the concepts",
            )
        return (
            f"p_extra > 0, {noise}" if self.extra else f"pure prompts (p_extra = 0, {noise})",
            *(["fair signs (p_plus = 1/2)"] if self.mirrored and self.fair else []),
            *([] if self.fair else ["uneven signs (p_plus other than 1/2)"]),
            "mirrored neurons (r, alpha, beta), (-r, alpha, -beta)" if self.mirrored else "any neurons",
            "W_Q and W_K multiples of I at the start"
            if self.start == IDENTITY
            else "W_Q and W_K map each span(a_k, b_k) into itself"
            if self.start == CONCEPT_BLOCKS
            else "W_Q and W_K start from the blocks " + ", ".join(sorted(s + t for s, t in self.start)),
        )


LEVELS: dict[str, Hypotheses] = {
    "S": Hypotheses(mirrored=True),
    "B": Hypotheses(start=CONCEPT_BLOCKS),
    "N": Hypotheses(noise=True, start=CONCEPT_BLOCKS),
    "Z": Hypotheses(extra=True),
}
"""The levels of section 4 by what they assume; what lives is computed."""


@dataclass(frozen=True, kw_only=True)
class Fate:
    """Whether a block lives, and why; `witness` is its gradient at the point that proves it, relative to the largest."""

    lives: bool
    reason: str
    witness: float | None = None


@dataclass(frozen=True, kw_only=True)
class Closure:
    """The fate of every kind of block of W_Q and W_K."""

    hypotheses: Hypotheses
    fates: Mapping[str, Mapping[Block, Fate]]

    def live(self, name: str) -> frozenset[Block]:
        """The living blocks of W_Q or W_K."""
        return frozenset(block for block, fate in self.fates[name].items() if fate.lives)

    def within_concept(self, name: str) -> tuple[str, ...]:
        """The living blocks on (a_k, b_k), as entries such as 'ba'."""
        return tuple(s + t for s, t in product("ab", repeat=2) if (s, t) in self.live(name))

    @property
    def across(self) -> bool:
        """Whether a block lives that is reached by the gradient and leaves the concept's own plane."""
        return any(
            fate.witness is not None and not {s, t} <= {"a", "b"}
            for fates in self.fates.values()
            for (s, t), fate in fates.items()
        )


# Three of a kind, so that products of blocks between different concepts, or features, meet every case.
_CONCEPTS, _FEATURES = (1, 2, 3), (1, 2, 3)
Named = tuple[str, int]
_ALL: tuple[Named, ...] = (
    *((s, k) for k in _CONCEPTS for s in "ab"),
    *(("nu", j) for j in _FEATURES),
    ("perp", 0),
)


def kind(s: Named, t: Named) -> Block:
    """The kind of a block between two numbered directions, such as ("a", 1): primes mark a column of another concept, or of another feature."""
    alike = s[0] == t[0] or {s[0], t[0]} == {"a", "b"}
    return s[0], t[0] + ("'" if alike and s[1] != t[1] else "")


_KINDS = tuple(dict.fromkeys(kind(s, t) for s, t in product(_ALL, repeat=2)))


def _queries(hypotheses: Hypotheses, k: int) -> list[Named]:
    """Where the query word of a prompt of concept k has a component."""
    return [s for s in _ALL if s[0] != "perp"] if hypotheses.extra else [("a", k), ("b", k)]


def _differences(hypotheses: Hypotheses, k: int) -> list[Named]:
    """Where two demonstrations of one prompt can differ: a_k is in all of them; extras may be in one alone.

    Every direction but perp has a component in some difference of a prompt of another concept.
    """
    if not hypotheses.extra:
        return [("b", k)]
    return [s for s in _ALL if s[0] != "perp" and s != ("a", k)]


def _reached(hypotheses: Hypotheses, live: Mapping[str, frozenset[Block]]) -> dict[str, dict[Block, str]]:
    """Kinds of blocks that one step of the gradient can reach, each with a product of blocks that reaches it."""
    found: dict[str, dict[Block, str]] = {"W_Q": {}, "W_K": {}}
    for k in _CONCEPTS:
        queries, differences = _queries(hypotheses, k), _differences(hypotheses, k)
        for name, other, middle, columns in (
            ("W_Q", "W_K", differences, queries),
            ("W_K", "W_Q", queries, differences),
        ):
            for s, w, t in product(_ALL, middle, columns):
                if kind(s, w) in live[other]:
                    how = f"{other}^{{{' '.join(kind(s, w))}}}"
                    found[name].setdefault(kind(s, t), f"reached from {how}")
    return found


def _odd(block: Block) -> bool:
    """Whether exchanging + and - turns the block into its negative."""
    return sum(direction.startswith("b") for direction in block) == 1


def _symmetric(hypotheses: Hypotheses) -> bool:
    return hypotheses.mirrored and hypotheses.fair and not any(map(_odd, hypotheses.start))


def closure(hypotheses: Hypotheses, *, loss: str = "logistic", activation: str = "relu") -> Closure:
    """The living blocks under some hypotheses, as a fixed point, each block with its reason.

    Neither products nor the symmetry depend on loss and activation; the witnesses are taken with these. Once per process.
    """
    return _closure(hypotheses, loss, activation)


@cache
def _closure(hypotheses: Hypotheses, loss: str, activation: str) -> Closure:
    fates: dict[str, dict[Block, Fate]] = {
        name: {block: Fate(lives=True, reason="non-zero at the start") for block in hypotheses.start}
        for name in ("W_Q", "W_K")
    }
    while True:
        live = {name: frozenset(known) for name, known in fates.items()}
        reached = _reached(hypotheses, live)
        supported = frozenset((name, *block) for name in live for block in live[name])
        slopes = _slopes(hypotheses, supported, loss, activation)
        before = sum(map(len, live.values()))
        for name, block in ((name, block) for name in live for block in _KINDS):
            can = block in reached[name] and not (_symmetric(hypotheses) and _odd(block))
            size = slopes.get((name, block), 0.0)
            if not can and size > _ROUND_OFF:
                raise AssertionError(f"the gradient reaches {name}^{block}, which it cannot: {size:.2g}")
            if can and size > _ROUND_OFF:
                already = fates[name].get(block)
                reason = already.reason if already else reached[name][block]
                fates[name][block] = Fate(lives=True, reason=reason, witness=size)
        if sum(map(len, fates.values())) == before:
            break
    for name in ("W_Q", "W_K"):
        for block in _KINDS:
            if block in hypotheses.start and fates[name][block].witness is None:
                fates[name][block] = Fate(
                    lives=True, reason="non-zero at the start; no gradient reaches it, so it decays"
                )
            if block not in fates[name]:
                fates[name][block] = Fate(lives=False, reason=_why_zero(hypotheses, name, block, reached[name]))
    return Closure(hypotheses=hypotheses, fates=fates)


def _why_zero(hypotheses: Hypotheses, name: str, block: Block, reached: Mapping[Block, str]) -> str:
    """Why a block never lives; AssertionError if nothing proves it."""
    s, t = block
    if block in reached:
        if _symmetric(hypotheses) and _odd(block):
            return "exchanging + and - of every concept turns it into its negative"
        raise AssertionError(f"cannot decide whether {name}^{block} lives: no proof that it is dead, and no witness")
    if t.startswith("perp") or (t.startswith("nu") and not hypotheses.extra):
        return f"no word has a component along {t}"
    if name == "W_K" and t.startswith("a") and not hypotheses.extra:
        return "all demonstrations of a prompt share a, which softmax cancels"
    other = "W_K" if name == "W_Q" else "W_Q"
    return f"{other} sends no word of such a prompt to {s}, so no product of blocks ends there"


# -- witnesses -------------------------------------------------------------------------------------------

# A gradient relative to the largest one. Round-off of sums of 10^4 terms of order one stays below 10^4 eps = 2e-12.
_ROUND_OFF = 1e-10
_NEURONS = 6


@cache
def _gradient(loss: str, activation: str) -> dict[str, sp.Expr]:
    """The derived gradient of any noise-free prompts in all blocks of span M."""
    risk = span.risk(span.forward_pass(activation), loss)
    return {str(x.base.label): differentiate(risk, x, RANGES) for x in span.state(diagonal=False)[:2]}


@cache
def _prompts(*, extra: bool, fair: bool) -> PromptTable:
    """Every prompt of the smallest law at which nothing cancels by accident."""
    law = {"L": 2 if extra else 3, "p_extra": 0.25 if extra else 0.0, "p_plus": 0.5 if fair else 0.375}
    concepts = {"K1": 2, "K2": 2, "weights": [0.4375, 0.5625]}
    return enumerate_prompts(Regime().replace(concepts=concepts, prompt=law))


def numbers() -> Iterator[float]:
    """Values of order one without relations: fractional parts of the square roots of primes, centred."""
    position = 1
    while True:
        yield float(np.sqrt(sp.prime(position)) % 1) - 0.5
        position += 1


_NAMES: tuple[Named, ...] = (("a", 1), ("b", 1), ("a", 2), ("b", 2), ("nu", 1), ("nu", 2))
_MIRROR = np.array([1.0, -1.0, 1.0, -1.0])  # d -> -d


def _evaluation(table: PromptTable, weights: Mapping[str, Float[np.ndarray, "..."]]) -> NamedAxes:
    arrays = table.arrays() | {name: array[None] for name, array in weights.items()}
    arrays["r"] = np.array([[(-1.0) ** j / _NEURONS for j in range(_NEURONS)]])
    return NamedAxes(arrays, {span.q: len(table.p), span.ell: table.x.shape[1], span.i: _NEURONS})


def _point(live: frozenset[tuple[str, str, str]] | None, *, mirrored: bool) -> dict[str, Float[np.ndarray, "..."]]:
    """Weights without relations, on the given blocks or on all; most gates open."""
    value = numbers()
    weights = {
        name: np.array([[next(value) * (live is None or (name, *kind(s, t)) in live) for t in _NAMES] for s in _NAMES])
        for name in ("W_Q", "W_K")
    }
    W_O = np.array([[next(value) for _ in range(4)] for _ in range(_NEURONS)])
    W_O[:, 0::2] += 0.4
    if mirrored:
        W_O[1::2] = W_O[0::2] * _MIRROR
    return weights | {"W_O": W_O}


def _slopes(
    hypotheses: Hypotheses, live: frozenset[tuple[str, str, str]], loss: str, activation: str
) -> dict[tuple[str, Block], float]:
    """Largest gradient of each kind of block at a point that is supported on the living ones, relative to the largest."""
    table = _prompts(extra=hypotheses.extra, fair=hypotheses.fair)
    evaluation = _evaluation(table, _point(live, mirrored=hypotheses.mirrored))
    found: dict[tuple[str, Block], float] = {}
    for name, expression in _gradient(loss, activation).items():
        gradient = np.abs(evaluation(expression, (span.s, span.t))[0])
        for (row, s), (column, t) in product(enumerate(_NAMES), repeat=2):
            key = (name, kind(s, t))
            found[key] = max(found.get(key, 0.0), float(gradient[row, column]))
    largest = max(found.values())
    return {key: size / largest for key, size in found.items()}


def risk_asymmetry(*, extra: bool, fair: bool) -> float:
    """How much the risk changes when + and - of every concept are exchanged, relative to the risk.

    At a point with every block on: odd blocks change sign, and the two neurons of each pair take (alpha, -beta) of each
    other. Zero up to round-off if and only if signs are fair.
    """
    table = _prompts(extra=extra, fair=fair)
    odd = np.array([[-1.0 if _odd(kind(s, t)) else 1.0 for t in _NAMES] for s in _NAMES])
    one = _point(None, mirrored=False)
    W_O = one["W_O"].copy()
    W_O[0::2], W_O[1::2] = one["W_O"][1::2] * _MIRROR, one["W_O"][0::2] * _MIRROR
    other = {"W_Q": odd * one["W_Q"], "W_K": odd * one["W_K"], "W_O": W_O}
    expected_loss = span.risk(span.forward_pass())
    left, right = (float(_evaluation(table, weights)(expected_loss)[0]) for weights in (one, other))
    return abs(left - right) / abs(left)
