"""The forward pass of a pure prompt, written once, in coefficients (docs/THEORY.md sections 1 and 3).

Everything else of the theory, the loss, its gradients and the recursion, is obtained from this file by
differentiation. It starts from the model's definition, logits (W_K x_l)^T W_Q x_query of the words
x = n_a a^ + e_l n_b b^, and not from the closed forms of section 3: those are claims. Weights and words are
operators and vectors of the Peirce calculus, so that every product of blocks is carried out by its rules.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import sympy as sp

from polyseme.theory.calculus.functions import ACTIVATIONS, LOSSES, Gate, HalfLogOdds, SignSum
from polyseme.theory.calculus.peirce import Frame, Letter, Operator, Vector

# Index letters: concept k, neuron i, number of demonstrations with sign +1, and the query's sign e.
k = sp.Symbol("k", integer=True, positive=True)
i = sp.Symbol("i", integer=True, positive=True)
n_plus = sp.Symbol("n_+", integer=True, nonnegative=True)
e = sp.Symbol("e", integer=True, nonzero=True)
K1, m, L = sp.symbols("K_1 m L", integer=True, positive=True)

# A letter always runs over its whole range: sums are carried out and lowered on that understanding, which is checked.
RANGES = {k: (1, K1), i: (1, m), n_plus: (0, L)}

# The spaces of words and labels; a pure prompt has no component along the features nu_r, which P_perp takes here.
WORDS = Frame(
    families={"a": Letter(k, K1), "b": Letter(k, K1)}, dimension=sp.Symbol("d_x", integer=True, positive=True)
)
LABELS = Frame(
    families={"c": Letter(k, K1), "d": Letter(k, K1)}, dimension=sp.Symbol("d_y", integer=True, positive=True)
)

# Norms of a, b (words) and c, d (labels), the L2 coefficient and the step size.
n_a, n_b, n_c, n_d = sp.symbols("n_a n_b n_c n_d", positive=True)
lam, eta = sp.symbols("lambda eta", nonnegative=True)

# Coefficients W^{st} = s^^T W t^ of one concept (row s, column t), in the order a^, b^.
BLOCK_ENTRIES = ("aa", "ab", "ba", "bb")
W_Q = {entry: sp.IndexedBase(rf"W_Q^{{{entry}}}") for entry in BLOCK_ENTRIES}
W_K = {entry: sp.IndexedBase(rf"W_K^{{{entry}}}") for entry in BLOCK_ENTRIES}
alpha, beta, r = sp.IndexedBase("alpha"), sp.IndexedBase("beta"), sp.IndexedBase("r")

# Probability of a prompt of concept k, sign e and n+ demonstrations of sign +1 (prompt law times pi_k);
# with the frequencies of a minibatch in its place the same object is the stochastic recursion.
P = sp.IndexedBase("p")


@dataclass(frozen=True, kw_only=True)
class ForwardPass:
    """One pure prompt of concept k, sign e and n+ positive demonstrations, stage by stage (SymPy expressions)."""

    g: sp.Expr  # half the gap between the attention logits of the two kinds of demonstration
    ebar: sp.Expr  # attention-weighted mean sign of the demonstrations
    h: sp.Expr  # pre-activation of neuron i
    f: sp.Expr  # output of the model
    attention: sp.Expr  # correct attention weight p*


def blocks(family: Mapping[str, sp.IndexedBase], entries: tuple[str, ...] = BLOCK_ENTRIES) -> Operator:
    """The sum over k of W^{st}_k E_st for the given entries st: a weight matrix with these blocks alone alive."""
    total = WORDS.zero()
    for s, t in entries:
        total += WORDS.block(WORDS.direction(s), WORDS.direction(t), family[s + t][k])
    return total.summed(k)


def word(sign: sp.Expr) -> Vector:
    """A word of concept k and a sign, n_a a^ + sign n_b b^."""
    return WORDS.vector({WORDS.direction("a"): n_a, WORDS.direction("b"): sign * n_b})


def neuron() -> Vector:
    """Row i of W_O on span Q, the sum over k of alpha_ik c^ + beta_ik d^."""
    c, d = LABELS.direction("c"), LABELS.direction("d")
    return LABELS.vector({c: alpha[i, k], d: beta[i, k]}).summed(k)


def forward_pass(entries: Mapping[str, tuple[str, ...]], activation: str = "relu") -> ForwardPass:
    """The model of section 1 on a pure prompt, with the given entries of W_Q and W_K alive, such as ("aa", "bb").

    A demonstration of sign s is the word n_a a^ + s n_b b^, so all demonstrations of one sign share one
    logit, and softmax over L words is a softmax over two values with multiplicities n+ and L - n+:
    the mean sign is tanh(half the logit gap + half the log-odds of the counts).
    """
    keys, queries = blocks(W_K, entries["W_K"]), blocks(W_Q, entries["W_Q"])

    def logit(sign: sp.Expr) -> sp.Expr:
        return keys.act(word(sign)).dot(queries.act(word(e)))

    g = sp.factor_terms(sp.expand((logit(sp.S.One) - logit(sp.S.NegativeOne)) / 2))
    ebar = sp.tanh(g + HalfLogOdds(n_plus, L))
    pooled = LABELS.vector({LABELS.direction("c"): n_c, LABELS.direction("d"): ebar * n_d})
    h = neuron().dot(pooled)
    f = sp.Sum(r[i] * ACTIVATIONS[activation](h), (i, 1, m))
    return ForwardPass(g=g, ebar=ebar, h=h, f=f, attention=(1 + e * ebar) / 2)


def prompt_mean(body: sp.Expr) -> sp.Expr:
    """Expectation of `body` over pure prompts: a sum over (k, e, n+) of 2 K1 (L + 1) terms, never 2^L (section 3)."""
    return sp.Sum(SignSum(sp.Sum(P[k, e, n_plus] * body, (n_plus, 0, L)), e), (k, 1, K1))


def risk(stages: ForwardPass, loss: str = "logistic") -> sp.Expr:
    """Expected loss E l(e f) over pure prompts, without the penalty."""
    return prompt_mean(LOSSES[loss](e * stages.f))


def penalty(entries: Mapping[str, tuple[str, ...]]) -> sp.Expr:
    """(lambda/2) times the squared Frobenius norm of the state, as traces: Pythagoras is then a consequence (section 2)."""
    matrices = (blocks(W_Q, entries["W_Q"]), blocks(W_K, entries["W_K"]))
    attention = sp.Add(*((matrix.transpose() @ matrix).trace() for matrix in matrices))
    return lam / 2 * (attention + sp.Sum(neuron().dot(neuron()), (i, 1, m)))


def observables(stages: ForwardPass, risk: sp.Expr) -> dict[str, sp.Expr]:
    """What a trajectory records besides the state (section 8): loss, 0-1 error P(e f <= 0), correct attention weight."""
    return {
        "loss": risk,
        "error": prompt_mean(1 - Gate(e * stages.f)),
        "attention": prompt_mean(stages.attention),
    }
