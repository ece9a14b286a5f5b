"""The forward pass of a noisy prompt with few extras, to second order in the noise: level N (docs/THEORY.md sections 1, 3, 4).

Prompts are numbered as at level Z, and demonstrations with one word are one kind, with a count: those of sign + and of
sign -, and each that carries another concept. The state is W_Q and W_K on the concepts, W_O on span Q and the norms rho_i
of what neurons have outside it. Given the row, noise makes the pre-activations nearly Gaussian; ReLU and gates are
averaged over that law without expansion, everything else is expanded:

- label noise moves h_i by sigma_y sum_l p_l xi_l . w_i, of variance sigma_y^2 sum_l p_l^2 ||w_i||^2, exactly Gaussian;
- word noise moves the logits: those of each demonstration by xi_l . G x_query and xi_l . G xi_query, and all of them
  together by x_l . G xi_query. To second order each h_i has then a shift and a variance, from the slopes of the softmax;
- l(e f) is expanded at the mean F of f: l(e F) + l''(e F) Var f / 2.

What is dropped: higher cumulants of f and of h; in Var f what two neurons share beyond their linear parts, and the
overlaps of the parts of two neurons outside span Q; what word noise does to sum_l p_l^2; the features nu, which no label
carries. In the drift that is of second order in sigma where gates are within reach of the noise, and of fourth order
where none is; in p_extra it is of the order after that of the table (`polyseme.theory.multi_concept.derivation.noisy_rows`).
"""

from dataclasses import dataclass

import sympy as sp

from polyseme.theory.calculus.functions import LOSSES, SMOOTHED, LogTotal, SmoothReLU
from polyseme.theory.calculus.staged import Definition
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.model import span
from polyseme.theory.multi_concept.model.letters import whole_range

q, i, v = span.q, fw.i, span.v  # row, neuron, label direction
s, t, u = span.s, span.t, span.u  # word directions
w = sp.Symbol("u'", integer=True, positive=True)
j, J = span.j, span.J  # kind of demonstration
N, D, D_y, m = span.N, span.D, span.D_y, fw.m

# The prompt of a row: probability, label, query word; of each kind how many there are, whether they match, word and label.
p, e, x_query = span.p, span.e, span.x_query
count, match, x, y = sp.IndexedBase("n"), span.match, span.x, span.y

W_Q, W_K, W_O = span.W_Q, span.W_K, span.W_O
rho = sp.IndexedBase("rho")
sigma_x, sigma_y = sp.symbols("sigma_x sigma_y", nonnegative=True)
G_rest = sp.Symbol("G_perp", nonnegative=True)  # W_K^T W_Q on the complement, a multiple of the identity there
d_x = fw.WORDS.dimension


@dataclass(frozen=True, kw_only=True)
class NoisePass:
    """The stages of one row in order, and the expressions that a recursion records."""

    definitions: tuple[Definition, ...]
    f: sp.Indexed  # mean of the output
    noise: sp.Indexed  # variance of the output
    attention: sp.Expr  # mean correct attention weight


class _Stages:
    """Collects definitions; each call gives back the name."""

    def __init__(self) -> None:
        self.known: list[Definition] = []

    def __call__(self, label: str, letters: tuple[sp.Symbol, ...], meaning: sp.Expr, words: str) -> sp.Indexed:
        name = sp.IndexedBase(label)[letters]
        self.known.append(Definition(name=name, meaning=meaning, words=words))
        return name


def _over(letter: sp.Symbol, body: sp.Expr) -> sp.Expr:
    """The sum over the whole range of a letter."""
    return sp.Sum(body, (letter, *whole_range(letter)))


def forward_pass(activation: str = "relu") -> NoisePass:
    """The model of section 1 on row q, averaged over noise as described at the top of this file."""
    stage = _Stages()
    # -- logits and their noise
    G = stage("G", (u, w), _over(s, W_K[s, u] * W_Q[s, w]), "the product of keys and queries on the concepts")
    image = stage("U", (q, u), _over(w, G * x_query[q, w]), "G times the query word")
    logit = stage("z", (q, j), _over(u, x[q, j, u] * image), "the attention logit of a kind")
    total = stage("Z", (q,), LogTotal(count[q, j], logit, j, J), "the logarithm of the softmax's denominator")
    weight = stage("a", (q, j), sp.exp(logit - total), "the attention on each demonstration of a kind")
    whole = _over(u, _over(w, G**2)) + (d_x - D) * G_rest**2
    each = stage(
        "S", (q,), sigma_x**2 * (_over(u, image**2) + sigma_x**2 * whole), "the variance of each logit by itself"
    )
    back = stage("c", (q, j, w), _over(u, x[q, j, u] * G), "the slope of a logit in the query word")
    mean = stage("T", (q, w), _over(j, count[q, j] * weight * back), "the mean of that slope under attention")
    apart = stage(
        "K", (q, j), _over(w, (back - mean) ** 2), "the squared distance of a kind's slope in the query from the mean"
    )
    squares = stage("P", (q,), _over(j, count[q, j] * weight**2), "the sum of squared attention weights")

    def shifted(slope: sp.Expr) -> sp.Expr:
        """What word noise adds to a mean under attention, from the slopes of that mean in single logits."""
        own = -each * _over(j, count[q, j] * weight * slope)
        return own + sigma_x**2 / 2 * _over(j, count[q, j] * slope * apart)

    # -- the MLP
    on_label = stage(
        "H", (q, j, i), _over(v, W_O[i, v] * y[q, j, v]), "the pre-activation that a kind's label alone would give"
    )
    still = stage("g", (q, i), _over(j, count[q, j] * weight * on_label), "the pre-activation without noise")
    slope = stage("d", (q, j, i), weight * (on_label - still), "the slope of the pre-activation in one logit")
    turn = stage(
        "tau", (q, i, w), _over(j, count[q, j] * slope * back), "the slope of the pre-activation in the query word"
    )
    h = stage("h", (q, i), still + shifted(slope), "the mean pre-activation")
    norm = stage("omega", (i,), _over(v, W_O[i, v] ** 2) + rho[i] ** 2, "the squared norm of neuron i")
    words = each * _over(j, count[q, j] * slope**2) + sigma_x**2 * _over(w, turn**2)
    variance = stage("V", (q, i), sigma_y**2 * squares * norm + words, "the variance of the pre-activation")
    smooth = SMOOTHED[activation]
    f = stage("f", (q,), _over(i, fw.r[i] * smooth(0, h, variance)), "the mean output")
    # -- the variance of the output: what neurons share to first order, along the mean slope of the output in each of them
    gate = stage(
        "gamma", (q, i), fw.r[i] * smooth(1, h, variance), "the mean slope of the output in the pre-activation"
    )
    label = stage("zeta", (q, v), _over(i, gate * W_O[i, v]), "the mean slope of the output in the pooled label")
    single = stage("b", (q, j), _over(i, gate * slope), "the mean slope of the output in one logit")
    query = stage("E", (q, w), _over(i, gate * turn), "the mean slope of the output in the query word")
    labels = sigma_y**2 * squares * (_over(v, label**2) + _over(i, gate**2 * rho[i] ** 2))
    words = each * _over(j, count[q, j] * single**2) + sigma_x**2 * _over(w, query**2)
    noise = stage("F", (q,), labels + words, "the variance of the output")

    correct = stage(
        "A", (q,), _over(j, count[q, j] * weight * match[q, j]), "the correct attention weight without noise"
    )
    attention = correct + shifted(weight * (match[q, j] - correct))
    return NoisePass(definitions=tuple(stage.known), f=f, noise=noise, attention=attention)


def risk(stages: NoisePass, loss: str = "logistic") -> sp.Expr:
    """Expected loss over rows and noise to second order, without the penalty."""
    z = sp.Dummy("z", real=True)
    plain = LOSSES[loss](z)
    margin = e[q] * stages.f
    at = plain.xreplace({z: margin}) + plain.diff(z, 2).xreplace({z: margin}) * stages.noise / 2
    return _over(q, p[q] * at)


def penalty() -> sp.Expr:
    """(lambda/2) times the squared norm of the state (section 2)."""
    matrices = [span.matrix(family, diagonal=False) for family in (W_Q, W_K)]
    attention = sp.Add(*((one.transpose() @ one).trace() for one in matrices))
    return fw.lam / 2 * (attention + _over(i, _over(v, W_O[i, v] ** 2) + rho[i] ** 2))


def state() -> tuple[sp.Indexed, ...]:
    """The coefficients, at generic indices."""
    return W_Q[s, t], W_K[s, t], W_O[i, v], rho[i]


def observables(stages: NoisePass, expected_loss: sp.Expr) -> dict[str, sp.Expr]:
    """Loss, 0-1 error P(e f <= 0) of a Gaussian f, correct attention weight (section 8), and the mean of e f."""
    return {
        "loss": expected_loss,
        "error": _over(q, p[q] * (1 - SmoothReLU(1, e[q] * stages.f, stages.noise))),
        "attention": _over(q, p[q] * stages.attention),
        "margin": _over(q, p[q] * e[q] * stages.f),
    }
