"""The forward pass of a pure prompt, written once, in coefficients (THEORY.md sections 1 and 3).

Everything else of the theory, the loss, its gradients and the recursion, is obtained from this page by
differentiation. It starts from the model's definition, logits (W_K x_l)^T W_Q x_query of the words
x = n_a a^ + e_l n_b b^, and not from the closed forms of section 3: those are claims.
"""

from dataclasses import dataclass

import sympy as sp

from theory.functions import Gate, HalfLogOdds, Logistic, ReLU, SignSum

# Index letters: concept k, neuron i, number of demonstrations with sign +1, and the query's sign e.
k = sp.Symbol("k", integer=True, positive=True)
i = sp.Symbol("i", integer=True, positive=True)
n_plus = sp.Symbol("n_+", integer=True, nonnegative=True)
e = sp.Symbol("e", integer=True, nonzero=True)
K1, m, L = sp.symbols("K_1 m L", integer=True, positive=True)

# A letter always runs over its whole range: sums are carried out and lowered on that understanding, which is checked.
RANGES = {k: (1, K1), i: (1, m), n_plus: (0, L)}

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


def _block(coefficients: dict[str, sp.IndexedBase]) -> sp.Matrix:
    return sp.Matrix(2, 2, [coefficients[entry][k] for entry in BLOCK_ENTRIES])


def forward_pass() -> ForwardPass:
    """The model of section 1 on a pure prompt, in the coefficients of level B.

    A demonstration of sign s is the word n_a a^ + s n_b b^, so all demonstrations of one sign share one
    logit, and softmax over L words is a softmax over two values with multiplicities n+ and L - n+:
    the mean sign is tanh(half the logit gap + half the log-odds of the counts).
    """

    def word(sign: sp.Expr) -> sp.Matrix:
        return sp.Matrix([n_a, sign * n_b])

    def logit(sign: sp.Expr) -> sp.Expr:
        return (_block(W_K) * word(sign)).dot(_block(W_Q) * word(e))

    g = sp.factor_terms(sp.expand((logit(sp.S.One) - logit(sp.S.NegativeOne)) / 2))
    ebar = sp.tanh(g + HalfLogOdds(n_plus, L))
    h = n_c * alpha[i, k] + ebar * n_d * beta[i, k]
    f = sp.Sum(r[i] * ReLU(h), (i, 1, m))
    return ForwardPass(g=g, ebar=ebar, h=h, f=f, attention=(1 + e * ebar) / 2)


def prompt_mean(body: sp.Expr) -> sp.Expr:
    """Expectation of `body` over pure prompts: a sum over (k, e, n+) of 2 K1 (L + 1) terms, never 2^L (section 3)."""
    return sp.Sum(SignSum(sp.Sum(P[k, e, n_plus] * body, (n_plus, 0, L)), e), (k, 1, K1))


def risk(stages: ForwardPass) -> sp.Expr:
    """Expected loss E l(e f) over pure prompts, without the penalty."""
    return prompt_mean(Logistic(e * stages.f))


def penalty(blocks: tuple[sp.IndexedBase, ...]) -> sp.Expr:
    """(lambda/2) times the squared norm of the state: it splits because the blocks are Frobenius-orthogonal (section 2)."""
    attention = sp.Sum(sp.Add(*(block[k] ** 2 for block in blocks)), (k, 1, K1))
    mlp = sp.Sum(alpha[i, k] ** 2 + beta[i, k] ** 2, (i, 1, m), (k, 1, K1))
    return lam / 2 * (attention + mlp)


def observables(stages: ForwardPass) -> dict[str, sp.Expr]:
    """What a trajectory records besides the state (section 8): loss, 0-1 error P(e f <= 0), correct attention weight."""
    return {
        "loss": risk(stages),
        "error": prompt_mean(1 - Gate(e * stages.f)),
        "attention": prompt_mean(stages.attention),
    }
