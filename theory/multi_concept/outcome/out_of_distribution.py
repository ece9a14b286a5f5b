"""A trained model on prompts of other laws: margin and attention in closed form, from its coefficients (docs/THEORY.md sections 3 and 7).

Words and labels of a test law are any vectors, one of each sign for every task, so softmax over L demonstrations is still one
over two values with multiplicities: the mean sign is tanh(g + (1/2) log(n+/n-)) for every length L, in terms of the same g. It
needs the logits of two words, never of L. What the model answers then depends on one number for each task and sign, the odds at
which the demonstrations of the other sign outvote those that match.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from jaxtyping import Bool, Float, Int
from scipy.special import softmax

from polyseme.errors import PolysemeError
from polyseme.theory.calculus.elementwise import ELEMENTWISE
from polyseme.theory.calculus.functions import ACTIVATIONS, HalfLogOdds
from polyseme.theory.calculus.named import NamedAxes
from polyseme.theory.calculus.staged import Definition
from polyseme.theory.multi_concept.coefficients import concept_vectors
from polyseme.theory.multi_concept.dynamics.integrate import step_size
from polyseme.theory.multi_concept.model.forward import L, i, m, r
from polyseme.theory.multi_concept.prompts.law import prompt_probabilities
from polyseme.theory.multi_concept.regime import Regime

# Letters: task, sign of the query, number of demonstrations of sign +1, coordinates of words and of labels.
k, s, n, u, w, t = sp.symbols("k s n u w t", integer=True, positive=True)
_d_x, _d_y = sp.symbols("d_x d_y", integer=True, positive=True)
W_Q, W_K, W_O = (sp.IndexedBase(name) for name in ("W_Q", "W_K", "W_O"))
x_plus, x_minus, x_query, y_plus, y_minus = (
    sp.IndexedBase(name) for name in ("x_plus", "x_minus", "x_query", "y_plus", "y_minus")
)
ACTIVATE: dict[str, Callable[[Any], Any]] = {
    "relu": ELEMENTWISE["ReLU"],
    "leaky_relu": ELEMENTWISE["LeakyReLU"],
    "identity": np.asarray,
}
e, n_plus = sp.IndexedBase("e"), sp.IndexedBase("n_plus")


@dataclass(frozen=True, kw_only=True)
class Model:
    """A trained model in orthonormal coordinates, with a leading axis of models (members, or times of a run).

    The rows of `words` are a^_1, b^_1, a^_2, ..., nu_1, ..., and a basis of what is left; those of `labels` c^_1, d^_1, ..., and
    a basis of what is left. W_Q, W_K: (E, d_x, d_x), W_O: (E, m, d_y), r: (m,).
    """

    words: Float[np.ndarray, "d_x d_x"]
    labels: Float[np.ndarray, "d_y d_y"]
    W_Q: Float[np.ndarray, "E d_x d_x"]
    W_K: Float[np.ndarray, "E d_x d_x"]
    W_O: Float[np.ndarray, "E m d_y"]
    r: Float[np.ndarray, " m"]
    activation: str


def decay(regime: Regime, steps: Int[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
    """prod over the updates before each step of (1 - eta_t lam): what is left of a block that no gradient reaches (section 4)."""
    factors = [1 - step_size(regime, t) * regime.training.lam for t in range(int(np.max(steps, initial=0)))]
    return np.concatenate([[1.0], np.cumprod(factors)])[np.asarray(steps)]


def reduced_model(
    regime: Regime, initial: Mapping[str, Float[np.ndarray, "..."]], trajectory: Mapping[str, np.ndarray]
) -> Model:
    """The model at every record of a reduced trajectory of one member: levels B and N (names of section 8).

    On the concepts the weights are the coefficients; every block that acts on another direction is that of the start,
    decayed, since no gradient of such prompts reaches it: exactly for level B, to leading order for level N.
    PolysemeError if the trajectory has members.
    """
    if trajectory["alpha"].ndim != 3:
        raise PolysemeError("got a trajectory of several members, expected that of one; type seeds = 1 in [ensemble]")
    K1 = regime.concepts.K1
    words = _completed(concept_vectors(initial["M"], K1).reshape(2 * K1, -1), initial["M"][:, 2 * K1 :].T)
    labels = _completed(concept_vectors(initial["Q"], K1).reshape(2 * K1, -1))
    left = decay(regime, trajectory["step"])[:, None, None]

    def whole(name: str) -> Float[np.ndarray, "E d_x d_x"]:
        matrix = left * (words @ initial[name] @ words.T)
        matrix[:, :, : 2 * K1] = 0.0
        matrix[:, : 2 * K1, : 2 * K1] = _on_concepts(trajectory, name)
        return matrix

    outputs = left * (initial["W_O"] @ labels.T)
    outputs[:, :, : 2 * K1 : 2], outputs[:, :, 1 : 2 * K1 : 2] = trajectory["alpha"], trajectory["beta"]
    return Model(
        words=words,
        labels=labels,
        W_Q=whole("W_Q"),
        W_K=whole("W_K"),
        W_O=outputs,
        r=np.asarray(initial["r"], dtype=np.float64),
        activation=regime.model.activation,
    )


def _completed(*rows: Float[np.ndarray, "_ d"]) -> Float[np.ndarray, "d d"]:
    """Orthonormal rows, then an orthonormal basis of what they leave of the space."""
    given = np.concatenate(rows)
    return np.concatenate([given, np.linalg.qr(given.T, mode="complete")[0][:, len(given) :].T])


def _on_concepts(trajectory: Mapping[str, np.ndarray], name: str) -> Float[np.ndarray, "T n n"]:
    """W_Q or W_K on all a_k, b_k: the whole matrix of level N, or the 2 x 2 blocks of level B on its diagonal."""
    if f"{name}_concepts" in trajectory:
        return trajectory[f"{name}_concepts"]
    blocks = trajectory[f"{name}_blocks"]
    T, K1 = blocks.shape[:2]
    matrix = np.zeros((T, K1, 2, K1, 2))
    at = np.arange(K1)
    matrix[:, at, :, at, :] = np.moveaxis(blocks, 1, 0)
    return matrix.reshape(T, 2 * K1, 2 * K1)


@cache
def transfer_pass(activation: str) -> tuple[Definition, ...]:
    """The model of section 1 on a prompt of task k, query sign e_s and n of L demonstrations of sign +1, stage by stage."""

    def key(word: sp.IndexedBase) -> sp.Expr:
        return sp.Sum(W_K[u, w] * word[k, w], (w, 1, _d_x))

    names = {
        name: sp.IndexedBase(name) for name in ("key_plus", "key_minus", "query", "g", "ebar", "h_plus", "h_minus", "h")
    }
    plus, minus, query = names["key_plus"][k, u], names["key_minus"][k, u], names["query"][k, s, u]
    g, ebar = names["g"][k, s], names["ebar"][k, s, n]
    of_plus, of_minus, h = names["h_plus"][k, i], names["h_minus"][k, i], names["h"][k, s, n, i]
    rows: tuple[tuple[sp.Indexed, sp.Expr, str], ...] = (
        (plus, key(x_plus), "the key of a demonstration of sign +1"),
        (minus, key(x_minus), "the key of a demonstration of sign -1"),
        (query, sp.Sum(W_Q[u, w] * x_query[k, s, w], (w, 1, _d_x)), "the query"),
        (g, sp.Sum((plus - minus) / 2 * query, (u, 1, _d_x)), "half the gap between their logits"),
        (ebar, sp.tanh(g + HalfLogOdds(n_plus[n], L)), "the mean sign that attention reads"),
        (of_plus, sp.Sum(W_O[i, t] * y_plus[k, t], (t, 1, _d_y)), "pre-activation at a label of sign +1"),
        (of_minus, sp.Sum(W_O[i, t] * y_minus[k, t], (t, 1, _d_y)), "pre-activation at a label of sign -1"),
        (h, (1 + ebar) / 2 * of_plus + (1 - ebar) / 2 * of_minus, "pre-activation"),
        (sp.IndexedBase("f")[k, s, n], sp.Sum(r[i] * ACTIVATIONS[activation](h), (i, 1, m)), "the output"),
        (sp.IndexedBase("attention")[k, s, n], (1 + e[s] * ebar) / 2, "the correct attention weight"),
    )
    return tuple(Definition(name=name, meaning=meaning, words=words) for name, meaning, words in rows)


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What the coefficients say of a test law, for each model, task k, query sign (+1 first) and count n+ = 0, ..., L.

    `f` and `attention`: (E, K1, 2, L + 1), the latter NaN where no demonstration could match; `g`: (E, K1, 2); `probability`
    (K1, 2, L + 1) of each prompt.
    """

    f: Float[np.ndarray, "E K1 2 counts"]
    attention: Float[np.ndarray, "E K1 2 counts"]
    g: Float[np.ndarray, "E K1 2"]
    probability: Float[np.ndarray, "K1 2 counts"]

    def error(self, answers: int = 1) -> Float[np.ndarray, " E"]:
        """P(e f <= 0), where the right answer is `answers` times the sign of the query's label; a margin of 0 is an error."""
        margin = answers * self.f * np.array([1.0, -1.0])[:, None]
        return ((margin <= 0) * self.probability).sum((1, 2, 3))

    def mean_attention(self) -> Float[np.ndarray, " E"]:
        """The expected correct attention weight."""
        return (self.attention * self.probability).sum((1, 2, 3))


def predict(
    model: Model, law: Regime, M: Float[np.ndarray, "d_x features"], Q: Float[np.ndarray, "d_y signed_concepts"]
) -> Predicted:
    """Margins and attention on pure prompts of another law, in closed form for every length L.

    `law` gives L, match or iid, p_plus and the probability of each of K1 tasks; `M` (d_x, at least 2 K1) and `Q` (d_y, 2 K1) their
    words and labels, columns + and - of task 1, then of task 2 (names of section 8), which need not be those of training.
    """
    K1, length = law.concepts.K1, law.prompt.L
    words = (model.words @ M[:, : 2 * K1]).T.reshape(K1, 2, -1)
    labels = (model.labels @ Q[:, : 2 * K1]).T.reshape(K1, 2, -1)
    arrays = {
        **{name: getattr(model, name) for name in ("W_Q", "W_K", "W_O")},
        "r": model.r[None],
        "x_plus": words[None, :, 0],
        "x_minus": words[None, :, 1],
        "x_query": words[None],
        "y_plus": labels[None, :, 0],
        "y_minus": labels[None, :, 1],
        "e": np.array([[1.0, -1.0]]),
        "n_plus": np.arange(length + 1.0)[None],
    }
    sizes = {u: words.shape[2], w: words.shape[2], t: labels.shape[2], i: len(model.r), k: K1, s: 2, n: length + 1}
    evaluation = NamedAxes(arrays, sizes, {L: float(length)})
    stages = transfer_pass(model.activation)
    for stage in stages:
        evaluation.define(stage.name, stage.meaning)
    shapes = {"g": (k, s), "f": (k, s, n), "attention": (k, s, n)}
    members = len(model.W_O)
    values = {
        str(stage.name.base.label): evaluation(stage.name, shapes[str(stage.name.base.label)])
        for stage in stages
        if str(stage.name.base.label) in shapes
    }
    full = {name: np.broadcast_to(value, (members, *value.shape[1:])).copy() for name, value in values.items()}
    return Predicted(**full, probability=prompt_probabilities(law))


def outvoting_odds(
    model: Model, law: Regime, M: Float[np.ndarray, "d_x features"], Q: Float[np.ndarray, "d_y signed_concepts"]
) -> Float[np.ndarray, "E K1 2"]:
    """How many demonstrations of the other sign outvote one that matches, for each model, task and query sign.

    The output is piecewise linear in the mean sign; let z be the first place, coming from the matching side, where it has the
    wrong sign or none. Since e ebar = tanh(e g - (1/2) log((L - n)/n)) for n matches, the first failure is at the odds
    (L - n)/n = exp(2 (e g - artanh z)), whatever L. Infinite where no prompt fails, 0 where even a match alone does.
    """
    gap, z = _gaps_and_changes(model, law, M, Q)
    with np.errstate(divide="ignore"):  # artanh of +-1: no prompt fails, or every one does
        return np.exp(2 * (gap - np.arctanh(z)))


def least_odds(
    model: Model,
    law: Regime,
    M: Float[np.ndarray, "d_x features"],
    Q: Float[np.ndarray, "d_y signed_concepts"],
    *,
    whatever_is_shown: bool = False,
) -> Float[np.ndarray, " E"]:
    """The odds of the smallest logit gap of any concept and sign with the labels of any other: exp(2 (min e g - max artanh z)).

    With `whatever_is_shown` |z| for z: up to these odds the answer is the sign that attention reads, right or wrong.

    Whichever words stand for whichever labels, a match is outvoted no sooner. With W^{ba} a gap has the value e n_a n_b G^{ba}
    besides, which exchanging signs of words turns around; each gap is that of some concept and sign still.
    """
    gap, z = _gaps_and_changes(model, law, M, Q)
    z = np.abs(z) if whatever_is_shown else z
    with np.errstate(divide="ignore"):
        return np.exp(2 * (gap.min((1, 2)) - np.arctanh(z).max((1, 2))))


def best_odds(
    model: Model, law: Regime, M: Float[np.ndarray, "d_x features"], Q: Float[np.ndarray, "d_y signed_concepts"]
) -> Float[np.ndarray, " E"]:
    """The same of the largest gap with the labels that give way last: not what may be promised."""
    gap, z = _gaps_and_changes(model, law, M, Q)
    with np.errstate(divide="ignore"):
        return np.exp(2 * (gap.max((1, 2)) - np.arctanh(z).min((1, 2))))


def _gaps_and_changes(
    model: Model, law: Regime, M: Float[np.ndarray, "d_x features"], Q: Float[np.ndarray, "d_y signed_concepts"]
) -> tuple[Float[np.ndarray, "E K1 2"], Float[np.ndarray, "E K1 2"]]:
    """e g, and the mean sign times e at which the MLP changes its mind."""
    gap, right, wrong = _along(model, law, M, Q)
    z = np.empty(gap.shape)
    for place in np.ndindex(*z.shape):
        z[place] = _first_failure(right[place], wrong[place], model.r * (1.0, -1.0)[place[2]], model.activation)
    return gap, z


def turns_once(
    model: Model, law: Regime, M: Float[np.ndarray, "d_x features"], Q: Float[np.ndarray, "d_y signed_concepts"]
) -> Bool[np.ndarray, "E K1 2"]:
    """Whether every prompt beyond the odds fails: the output, once it has lost its sign, does not find it again."""
    _, right, wrong = _along(model, law, M, Q)
    once = np.empty(right.shape[:3], dtype=bool)
    for place in np.ndindex(*once.shape):
        _, values = _along_the_mean_sign(right[place], wrong[place], model.r * (1.0, -1.0)[place[2]], model.activation)
        lost = int(np.argmax(values <= 0)) if (values <= 0).any() else len(values)
        once[place] = (values[lost:] <= 0).all()
    return once


def _along(
    model: Model, law: Regime, M: Float[np.ndarray, "d_x features"], Q: Float[np.ndarray, "d_y signed_concepts"]
) -> tuple[Float[np.ndarray, "E K1 2"], Float[np.ndarray, "E K1 2 m"], Float[np.ndarray, "E K1 2 m"]]:
    """e g, and the pre-activations at the label of the query's sign and at the other."""
    K1 = law.concepts.K1
    gap = predict(model, law.replace(prompt={"L": 1, "law": "iid"}), M, Q).g * np.array([1.0, -1.0])
    labels = (model.labels @ Q[:, : 2 * K1]).T.reshape(K1, 2, -1)
    right = np.einsum("eit,kst->eksi", model.W_O, labels)
    return gap, right, right[:, :, ::-1]


# An output that is less than this share of what it is summed from counts as none: its sign is round-off.
ROUND_OFF = 1e-12


def _first_failure(
    right: Float[np.ndarray, " m"], wrong: Float[np.ndarray, " m"], r: Float[np.ndarray, " m"], activation: str
) -> float:
    """The largest z in [-1, 1] at which the output has not the right sign; -1 if there is none."""
    places, values = _along_the_mean_sign(right, wrong, r, activation)
    if values[0] <= 0:
        return 1.0
    for above, below, a, b in zip(places, places[1:], values, values[1:], strict=False):
        if b <= 0:
            return float(above + (below - above) * a / (a - b))
    return -1.0


def _along_the_mean_sign(
    right: Float[np.ndarray, " m"], wrong: Float[np.ndarray, " m"], r: Float[np.ndarray, " m"], activation: str
) -> tuple[Float[np.ndarray, " places"], Float[np.ndarray, " places"]]:
    """sum_i r_i act(h_i), h = (1+z)/2 right + (1-z)/2 wrong, at z = 1, its kinks, and z = -1: between two it is linear.

    What could be round-off is taken off, so that an output that cancels is none.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        kinks = (right + wrong) / (wrong - right)
    places = np.unique(np.concatenate([[-1.0, 1.0], kinks[np.abs(kinks) < 1]]))[::-1]
    h = (1 + places[:, None]) / 2 * right + (1 - places[:, None]) / 2 * wrong
    return places, ACTIVATE[activation](h) @ r - ROUND_OFF * (np.abs(h) @ np.abs(r))


def predict_prompts(
    model: Model,
    x: Float[np.ndarray, "B L d_x"],
    y: Float[np.ndarray, "B L d_y"],
    x_query: Float[np.ndarray, "B d_x"],
) -> tuple[Float[np.ndarray, "E B"], Float[np.ndarray, "E B L"]]:
    """The output f and the attention weights on any given prompts, noise and other concepts in them (section 1)."""
    queries = (x_query @ model.words.T) @ model.W_Q.swapaxes(-1, -2)
    logits = np.einsum("bld,ebd->ebl", x @ model.words.T, queries @ model.W_K)
    p = np.asarray(softmax(logits, axis=-1))
    return outputs_at(model, np.einsum("ebl,bld->ebd", p, y @ model.labels.T)), p


def outputs_at(model: Model, pooled: Float[np.ndarray, "E B d_y"]) -> Float[np.ndarray, "E B"]:
    """f at pooled labels, in coordinates."""
    return ACTIVATE[model.activation](pooled @ model.W_O.swapaxes(-1, -2)) @ model.r


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Standard draws behind B prompts of a law with noise: what a model sees of it, and no more.

    `task` from 0, `e` and `signs` +1 or -1; `query`: the query's noise; `logits`: one number for each demonstration; `labels`: the
    noise of the pooled label.
    """

    task: Int[np.ndarray, " B"]
    e: Int[np.ndarray, " B"]
    signs: Int[np.ndarray, "B L"]
    query: Float[np.ndarray, "B d_x"]
    logits: Float[np.ndarray, "B L"]
    labels: Float[np.ndarray, "B d_y"]


def predict_noise(
    model: Model,
    law: Regime,
    M: Float[np.ndarray, "d_x features"],
    Q: Float[np.ndarray, "d_y signed_concepts"],
    draws: Draws,
) -> tuple[Float[np.ndarray, "E B"], Float[np.ndarray, "E B"]]:
    """Margins e f and correct attention weights under noise, with the law that they have on prompts written out.

    The noise of a demonstration enters its logit alone, where it is normal with deviation sigma_x |u|, u = W_K^T W_Q x_query; that
    of its label enters the pooled label, where it is normal with deviation sigma_y |p| in every direction. Both are exact.
    """
    K1, prompt = law.concepts.K1, law.prompt
    words = (model.words @ M[:, : 2 * K1]).T.reshape(K1, 2, -1)
    labels = (model.labels @ Q[:, : 2 * K1]).T.reshape(K1, 2, -1)
    of_query, of_demonstration = (1 - draws.e) // 2, (1 - draws.signs) // 2
    x_query = words[draws.task, of_query] + prompt.sigma_x * draws.query
    u = x_query @ model.W_Q.swapaxes(-1, -2) @ model.W_K
    per_sign = np.einsum("bsd,ebd->ebs", words[draws.task], u)
    clean = np.take_along_axis(per_sign, np.broadcast_to(of_demonstration, (len(u), *of_demonstration.shape)), axis=-1)
    spread = prompt.sigma_x * np.linalg.norm(u, axis=-1, keepdims=True)
    p = np.asarray(softmax(clean + spread * draws.logits, axis=-1))
    plus = (p * (draws.signs > 0)).sum(-1, keepdims=True)
    pooled = plus * labels[draws.task, 0] + (1 - plus) * labels[draws.task, 1]
    pooled = pooled + prompt.sigma_y * np.linalg.norm(p, axis=-1, keepdims=True) * draws.labels
    correct = (p * (draws.signs == draws.e[:, None])).sum(-1)
    return draws.e * outputs_at(model, pooled), correct
