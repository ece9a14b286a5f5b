"""The forward pass of any noise-free prompt, in coefficients on span M and span Q: level Z (docs/THEORY.md sections 1, 3, 4).

Other concepts and irrelevant features may be active in a word, so W_Q and W_K are whole matrices on the unit directions
a_1, b_1, a_2, b_2, ..., nu_1, ... of the words, and W_O on c_1, d_1, ... of the labels. Prompts are numbered, q = 1, ..., N,
with a probability p_q each: all prompts of the law, or those of a minibatch. Nothing leaves span M, so this is exact.
"""

from dataclasses import dataclass

import sympy as sp

from polyseme.theory.calculus.functions import ACTIVATIONS, LOSSES, AttentionMean, Gate
from polyseme.theory.calculus.peirce import Frame, Letter, Operator, Vector
from polyseme.theory.multi_concept.model.forward import L, i, lam, m, r

q, ell, u, v = sp.symbols("q l u v", integer=True, positive=True)  # prompt, demonstration, word and label direction
s, t = sp.symbols("s t", integer=True, positive=True)  # row and column of a coefficient of the state
j, J = sp.symbols("j J", integer=True, positive=True)  # kinds of demonstration (`noisy.py`), and how many there are
N, D, D_y = sp.symbols("N D D_y", integer=True, positive=True)

RANGES = {q: (1, N), ell: (1, L), u: (1, D), v: (1, D_y), i: (1, m), s: (1, D), t: (1, D)}

WORDS = Frame(families={"s": Letter(u, D)}, dimension=sp.Symbol("d_x", integer=True, positive=True))
LABELS = Frame(families={"t": Letter(v, D_y)}, dimension=sp.Symbol("d_y", integer=True, positive=True))

W_Q, W_K, W_O = sp.IndexedBase("W_Q"), sp.IndexedBase("W_K"), sp.IndexedBase("W_O")
# Components of the words, the query word and the labels of prompt q on the unit directions.
x, x_query, y = sp.IndexedBase("x"), sp.IndexedBase("x_query"), sp.IndexedBase("y")
# Label of the query, whether demonstration l shares it, and the probability of the prompt.
e, match, p = sp.IndexedBase("e"), sp.IndexedBase("match"), sp.IndexedBase("p")


@dataclass(frozen=True, kw_only=True)
class SpanPass:
    """One noise-free prompt q, stage by stage (SymPy expressions)."""

    logit: sp.Expr  # attention logit of demonstration l
    h: sp.Expr  # pre-activation of neuron i
    f: sp.Expr  # output of the model
    attention: sp.Expr  # correct attention weight p*


def matrix(family: sp.IndexedBase, *, diagonal: bool) -> Operator:
    """A weight matrix on span M: all its blocks, or the diagonal ones alone."""
    row, column = WORDS.direction("s"), WORDS.direction("s", fresh=True)
    if diagonal:
        return WORDS.block(row, row, family[u]).summed(u)
    return WORDS.block(row, column, family[u, column.number]).summed(u).summed(column.number)


def _vector(frame: Frame, family: str, components: sp.IndexedBase, *where: sp.Symbol) -> Vector:
    direction = frame.direction(family)
    return frame.vector({direction: components[(*where, direction.number)]}).summed(direction.number)


def forward_pass(activation: str = "relu", *, diagonal: bool = False) -> SpanPass:
    """The model of section 1 on prompt q: logits (W_K x_l)^T W_Q x_query, softmax, pooled label, MLP."""
    keys, queries = (matrix(family, diagonal=diagonal) for family in (W_K, W_Q))
    word, query = _vector(WORDS, "s", x, q, ell), _vector(WORDS, "s", x_query, q)
    logit = keys.act(word).dot(queries.act(query))

    def mean(body: sp.Expr) -> sp.Expr:
        return AttentionMean(body, logit, ell, L)

    pooled = LABELS.vector({LABELS.direction("t"): mean(y[q, ell, v])}).summed(v)
    h = _vector(LABELS, "t", W_O, i).dot(pooled)
    f = sp.Sum(r[i] * ACTIVATIONS[activation](h), (i, 1, m))
    return SpanPass(logit=logit, h=h, f=f, attention=mean(match[q, ell]))


def risk(stages: SpanPass, loss: str = "logistic") -> sp.Expr:
    """Expected loss over the numbered prompts, without the penalty."""
    return sp.Sum(p[q] * LOSSES[loss](e[q] * stages.f), (q, 1, N))


def penalty(*, diagonal: bool) -> sp.Expr:
    """(lambda/2) times the squared Frobenius norm of the state (section 2)."""
    matrices = [matrix(family, diagonal=diagonal) for family in (W_Q, W_K)]
    attention = sp.Add(*((one.transpose() @ one).trace() for one in matrices))
    row = _vector(LABELS, "t", W_O, i)
    return lam / 2 * (attention + sp.Sum(row.dot(row), (i, 1, m)))


def state(*, diagonal: bool) -> tuple[sp.Indexed, ...]:
    """The coefficients, at generic indices."""
    at = (s,) if diagonal else (s, t)
    return W_Q[at], W_K[at], W_O[i, v]


def observables(stages: SpanPass, expected_loss: sp.Expr) -> dict[str, sp.Expr]:
    """Loss, 0-1 error P(e f <= 0) and correct attention weight (section 8)."""
    return {
        "loss": expected_loss,
        "error": sp.Sum(p[q] * (1 - Gate(e[q] * stages.f)), (q, 1, N)),
        "attention": sp.Sum(p[q] * stages.attention, (q, 1, N)),
    }
