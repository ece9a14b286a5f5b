"""Laws on which a trained model is tested: named, documented, and combined with a plus sign (THEORY.md section 7, P9).

A law is a regime, of which the prompt and the weights of the concepts matter, and the words and labels of its tasks. A scenario
changes a law, so that scenarios can follow one another: `length=64+skewed`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import Regime


@dataclass(frozen=True, kw_only=True)
class Law:
    """Prompts of a test: `regime` says how they are drawn, `M` and `Q` what their words and labels are (section 8).

    `answers` is what counts as right, as a multiple of the sign of the query's label: +1, or -1 where demonstrations carry
    the label of the other sign and the old names are asked for.
    """

    regime: Regime
    M: Float[np.ndarray, "d_x features"]
    Q: Float[np.ndarray, "d_y signed_concepts"]
    answers: int = 1

    @property
    def words(self) -> Float[np.ndarray, "K1 2 d_x"]:
        """mu_k^+ and mu_k^-."""
        K1 = self.regime.concepts.K1
        return self.M[:, : 2 * K1].T.reshape(K1, 2, -1)

    @property
    def labels(self) -> Float[np.ndarray, "K1 2 d_y"]:
        """q_k^+ and q_k^-."""
        return self.Q.T.reshape(self.regime.concepts.K1, 2, -1)

    def is_same(self, other: "Law") -> bool:
        """Whether prompts of both have the same law, written out; features are of order one, and may differ by round-off."""
        return (
            self.regime.prompt == other.regime.prompt
            and self.regime.concepts.probabilities == other.regime.concepts.probabilities
            and self.answers == other.answers
            and np.allclose(self.M, other.M, rtol=0, atol=1e-12)
            and np.allclose(self.Q, other.Q, rtol=0, atol=1e-12)
        )

    def with_words(self, words: Float[np.ndarray, "K1 2 d_x"]) -> "Law":
        """The same law with other words; the irrelevant features stay."""
        columns = words.reshape(-1, words.shape[-1]).T
        return replace(self, M=np.concatenate([columns, self.M[:, columns.shape[1] :]], axis=1))

    def with_labels(self, labels: Float[np.ndarray, "K1 2 d_y"]) -> "Law":
        """The same law with other labels."""
        return replace(self, Q=labels.reshape(-1, labels.shape[-1]).T.copy())


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A change of law. `keeps_the_skill`: whether the model is expected to answer as well as in training, or to break.

    `is_pure`: whether pure prompts stay pure.
    """

    name: str
    statement: str
    change: Callable[[Law], Law]
    keeps_the_skill: bool = True
    is_pure: bool = True


def training_law(regime: Regime, initial: Mapping[str, np.ndarray], *, pure: bool = False) -> Law:
    """The law that the model was trained on, or its pure prompts."""
    prompt = {"p_extra": 0.0, "sigma_x": 0.0, "sigma_y": 0.0} if pure else {}
    return Law(regime=regime.replace(prompt=prompt), M=np.asarray(initial["M"]), Q=np.asarray(initial["Q"]))


def _of_prompt(name: str, statement: str, *, is_pure: bool = False, **keys: float | int) -> Scenario:
    """Other values of some keys of [prompt]."""
    return Scenario(
        name=name,
        statement=statement,
        change=lambda law: replace(law, regime=law.regime.replace(prompt=dict(keys))),
        is_pure=is_pure,
    )


def of_length(L: int) -> Scenario:
    """Prompts of another number of demonstrations."""
    return _of_prompt(f"length={L}", f"{L} demonstration{'s' if L > 1 else ''} in a prompt", is_pure=True, L=L)


def noisy(sigma: float) -> Scenario:
    """Gaussian noise of another size on words and labels."""
    return _of_prompt(
        f"noise={sigma:g}",
        f"noise of standard deviation {sigma:g} on words and labels",
        sigma_x=sigma,
        sigma_y=sigma,
    )


def word_noise(sigma: float) -> Scenario:
    """The same on words alone."""
    return _of_prompt(f"word_noise={sigma:g}", f"noise of standard deviation {sigma:g} on words", sigma_x=sigma)


def label_noise(sigma: float) -> Scenario:
    """The same on labels alone."""
    return _of_prompt(f"label_noise={sigma:g}", f"noise of standard deviation {sigma:g} on labels", sigma_y=sigma)


def busy(p_extra: float) -> Scenario:
    """Other concepts and irrelevant features in every word, with another probability."""
    return _of_prompt(
        f"extra={p_extra:g}",
        f"each other concept and irrelevant feature in a word with probability {p_extra:g}",
        p_extra=p_extra,
    )


def _skewed(law: Law) -> Law:
    """Each concept twice as probable as the one before it: the last, however rare in training, is the most frequent."""
    weights = 2.0 ** np.arange(law.regime.concepts.K1)
    return replace(law, regime=law.regime.replace(concepts={"weights": [float(x) for x in weights / weights.sum()]}))


def _exchanged(features: np.ndarray) -> np.ndarray:
    """Each concept takes the place of the next."""
    return np.roll(features, 1, axis=0)


def _even_and_odd(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a_k and b_k, or c_k and d_k: half sums and half differences, (K1, d)."""
    return (features[:, 0] + features[:, 1]) / 2, (features[:, 0] - features[:, 1]) / 2


def _from(even: np.ndarray, odd: np.ndarray) -> np.ndarray:
    return np.stack([even + odd, even - odd], axis=1)


def _mixed(law: Law, *, signs_of_words: bool = False, signs_of_labels: bool = False, draw: int = 0) -> Law:
    """As many tasks as concepts, each a random conic combination of all of them, on words and labels alike.

    Weights are unit vectors, so that words are as long as those of one concept. The odd parts of words may take random signs; of
    labels, the largest may be reversed. Another `draw` gives other weights.
    """
    K1 = law.regime.concepts.K1
    rng = np.random.default_rng([law.regime.ensemble.seed, K1, 8, draw])

    def unit(size: int) -> np.ndarray:
        weights = np.abs(rng.standard_normal((size, K1)))
        return weights / np.linalg.norm(weights, axis=1, keepdims=True)

    (a, b), (c, d) = _even_and_odd(law.words), _even_and_odd(law.labels)
    odd_words, odd_labels = unit(K1), unit(K1)
    if signs_of_words:
        odd_words = odd_words * rng.choice([-1.0, 1.0], size=odd_words.shape)
    if signs_of_labels:
        odd_labels = np.where(odd_labels == odd_labels.max(axis=1, keepdims=True), -odd_labels, odd_labels)
    mixed = law.with_words(_from(unit(K1) @ a, odd_words @ b))
    return mixed.with_labels(_from(unit(K1) @ c, odd_labels @ d))


def _outside(features: np.ndarray, keys: str) -> np.ndarray:
    """A unit vector orthogonal to all features; PolysemeError if they fill the space."""
    d, count = features.shape
    if d <= count:
        raise PolysemeError(
            f"there is no direction outside the features in {d} dimensions, expected at least one more; type {keys} = {count + 1}"
        )
    return np.linalg.qr(features, mode="complete")[0][:, count]


def _unseen_words(law: Law) -> Law:
    even, odd = _even_and_odd(law.words)
    away = _outside(law.M, "d_x")
    return law.with_words(_from(even, np.linalg.norm(odd, axis=1, keepdims=True) * away))


def _unseen_labels(law: Law) -> Law:
    even, odd = _even_and_odd(law.labels)
    away = _outside(law.Q, "d_y")
    return law.with_labels(_from(even, np.linalg.norm(odd, axis=1, keepdims=True) * away))


def cone(draw: int) -> Scenario:
    """Tasks in the cone with other random weights, the differences of words with random signs."""
    return Scenario(
        name=f"cone={draw}",
        statement=f"tasks in the cone, draw {draw}, with random signs of the b_k in words",
        change=lambda law: _mixed(law, signs_of_words=True, draw=draw),
    )


def reversed_labels(draw: int) -> Scenario:
    """The same tasks with the largest d_k of each label reversed."""
    return Scenario(
        name=f"reversed={draw}",
        statement=f"tasks in the cone, draw {draw}, with the largest d_k reversed in labels",
        change=lambda law: _mixed(law, signs_of_words=True, signs_of_labels=True, draw=draw),
        keeps_the_skill=False,
    )


NAMED = (
    Scenario(name="training", statement="the law of training", change=lambda law: law),
    Scenario(
        name="skewed",
        statement="each concept twice as frequent as the one before it",
        change=_skewed,
    ),
    Scenario(
        name="word_signs",
        statement="mu_k^+ and mu_k^- exchanged in all words: a label is still what the demonstrations show",
        change=lambda law: law.with_words(law.words[:, ::-1]),
    ),
    Scenario(
        name="label_signs",
        statement="q_k^+ and q_k^- exchanged in all labels, and the answer with them: a label is still what the demonstrations show",
        change=lambda law: replace(law.with_labels(law.labels[:, ::-1]), answers=-law.answers),
    ),
    Scenario(
        name="lying",
        statement="q_k^+ and q_k^- exchanged in all labels, and the answer still asked by its old name",
        change=lambda law: law.with_labels(law.labels[:, ::-1]),
        keeps_the_skill=False,
    ),
    Scenario(
        name="word_concepts",
        statement="the words of each concept stand for the next one; its labels stay",
        change=lambda law: law.with_words(_exchanged(law.words)),
    ),
    Scenario(
        name="label_concepts",
        statement="the labels of each concept stand for the next one; its words stay",
        change=lambda law: law.with_labels(_exchanged(law.labels)),
    ),
    Scenario(
        name="concepts",
        statement="each concept takes the place of the next, words and labels",
        change=lambda law: law.with_words(_exchanged(law.words)).with_labels(_exchanged(law.labels)),
    ),
    Scenario(
        name="cone",
        statement="tasks in the cone of all concepts: random conic combinations of the a_k and b_k, of the c_k and d_k",
        change=_mixed,
    ),
    Scenario(
        name="signed_words",
        statement="the same with random signs of the b_k in words",
        change=lambda law: _mixed(law, signs_of_words=True),
    ),
    Scenario(
        name="signed_labels",
        statement="the same with the largest d_k reversed in labels: one label carries - of one concept and + of the others",
        change=lambda law: _mixed(law, signs_of_labels=True),
        keeps_the_skill=False,
    ),
    Scenario(
        name="unseen_words",
        statement="the two words of a concept differ along a direction that no word of training had",
        change=_unseen_words,
        keeps_the_skill=False,
    ),
    Scenario(
        name="unseen_labels",
        statement="the two labels of a concept differ along a direction that no label of training had",
        change=_unseen_labels,
        keeps_the_skill=False,
    ),
)
"""Scenarios without a number; `length=L`, `noise=sigma` and `extra=p` take one."""

WITH_NUMBER: dict[str, tuple[Callable[..., Scenario], type, str]] = {
    "length": (of_length, int, "length=16"),
    "noise": (noisy, float, "noise=0.3"),
    "word_noise": (word_noise, float, "word_noise=0.3"),
    "label_noise": (label_noise, float, "label_noise=0.5"),
    "extra": (busy, float, "extra=0.1"),
    "cone": (cone, int, "cone=1"),
    "reversed": (reversed_labels, int, "reversed=1"),
}


def scenario(name: str) -> Scenario:
    """A scenario, or several joined by + that follow one another, by name; PolysemeError if there is none of that name."""
    parts = [_one(part.strip()) for part in name.split("+")]
    if len(parts) == 1:
        return parts[0]

    def change(law: Law) -> Law:
        for part in parts:
            law = part.change(law)
        return law

    return Scenario(
        name="+".join(part.name for part in parts),
        statement="; ".join(part.statement for part in parts),
        change=change,
        keeps_the_skill=all(part.keeps_the_skill for part in parts),
        is_pure=all(part.is_pure for part in parts),
    )


def _one(name: str) -> Scenario:
    for known in NAMED:
        if known.name == name:
            return known
    key, _, number = name.partition("=")
    if key in WITH_NUMBER:
        make, kind, example = WITH_NUMBER[key]
        try:
            return make(kind(number))
        except ValueError:
            raise PolysemeError(
                f"scenario '{name}': got '{number}', expected a number; type for example {example}"
            ) from None
    names = [known.name for known in NAMED] + [example for _, _, example in WITH_NUMBER.values()]
    raise PolysemeError(f"there is no scenario '{name}'; type one of {', '.join(names)}, or several joined by +")
