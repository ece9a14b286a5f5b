"""From an address to a batch of prompts for `polyseme.sim.multi_concept.training.step`: the literal sampler, and the one with reduced noise (section 1)."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from polyseme.sim.ensemble.philox import Address
from polyseme.sim.ensemble.streams import Variable
from polyseme.sim.multi_concept.prompts.draws import Draws, PromptLaw
from polyseme.sim.multi_concept.prompts.enumeration import count_probabilities
from polyseme.sim.multi_concept.prompts.tensors import Dictionaries
from polyseme.sim.multi_concept.prompts.words import (
    LabelNoise,
    LiteralLabelNoise,
    LiteralWordNoise,
    ManyFeatures,
    Means,
    OneConcept,
    ReducedLabelNoise,
    ReducedWordNoise,
    WordNoise,
)
from polyseme.sim.multi_concept.training.step import Batch
from polyseme.theory.multi_concept.regime import Regime


class LiteralSampler:
    """Every word, every label and all noise on them, as the law says; the numbers that `PromptStream` draws."""

    def __init__(self, regime: Regime, dictionaries: Dictionaries, *, batch: int) -> None:
        """`batch` prompts a step for each member."""
        self.regime, self.dictionaries, self.size = regime, dictionaries, batch
        self.law = PromptLaw(regime, batch=batch, device=dictionaries.words.device)

    def __call__(self, at: Address) -> Batch:
        """The batch of one step; an address with a single step."""
        return batch_of(self.regime, self.dictionaries, self.law.draw(at, dtype=self.dictionaries.words.dtype))


class ReducedSampler:
    """The same law for everything that a step sees, from fewer numbers.

    Demonstrations have no order that the model sees, so the number n+ of sign + is drawn instead of L signs, and those come
    first. Of noise, 2 L + 2 d_x + d_y normals a prompt are drawn for (L + 1) d_x + L d_y (`polyseme.sim.multi_concept.prompts.words`).
    """

    def __init__(
        self,
        regime: Regime,
        dictionaries: Dictionaries,
        *,
        batch: int,
        projects_words: bool = True,
        projects_labels: bool = True,
    ) -> None:
        """`batch` prompts a step for each member; whether noise is `projected`, as in `ReducedWordNoise`."""
        self.regime, self.dictionaries, self.size = regime, dictionaries, batch
        self._projects_words, self._projects_labels = projects_words, projects_labels
        self.law = PromptLaw(regime, batch=batch, device=dictionaries.words.device)
        self._counts = tuple(_count_table(regime, e).to(self.law.device) for e in (1, -1))

    def __call__(self, at: Address) -> Batch:
        """The batch of one step; an address with a single step."""
        L = self.regime.prompt.L
        concept, e = self.law.concept(at), self.law.query_sign(at)
        count = self._count(at, e)
        signs = torch.where(torch.arange(L, device=count.device) < count.unsqueeze(-1), 1, -1)
        extra = self.law.extra(at, concept) if self.regime.prompt.p_extra > 0 else None
        draws = Draws(concept=concept, e=e, signs=signs, extra=extra, word_noise=None, label_noise=None)
        return batch_of(
            self.regime,
            self.dictionaries,
            draws,
            word_noise=self._word_noise(at),
            label_noise=self._label_noise(at),
        )

    def _count(self, at: Address, e: Int[Tensor, "T E B"]) -> Int[Tensor, "T E B"]:
        """n+ given the query's sign."""
        uniform = at.uniform(Variable.POSITIVE_COUNT, self.size)
        plus, minus = (torch.bucketize(uniform.contiguous(), table, right=True) for table in self._counts)
        return torch.where(e > 0, plus, minus)

    def _word_noise(self, at: Address) -> WordNoise | None:
        prompt, d_x = self.regime.prompt, self.regime.concepts.d_x
        if prompt.sigma_x == 0:
            return None
        return ReducedWordNoise(
            sigma=prompt.sigma_x,
            query=prompt.sigma_x * self._normal(at, Variable.QUERY_NOISE, d_x),
            along=self._normal(at, Variable.LOGIT_NOISE, prompt.L),
            across=self._normal(at, Variable.WORD_SUM_NOISE, d_x),
            projected=self._projects_words,
        )

    def _label_noise(self, at: Address) -> LabelNoise | None:
        prompt, d_y = self.regime.prompt, self.regime.concepts.d_y
        if prompt.sigma_y == 0:
            return None
        return ReducedLabelNoise(
            sigma=prompt.sigma_y,
            together=self._normal(at, Variable.LABEL_SUM_NOISE, d_y),
            apart=self._normal(at, Variable.SCORE_NOISE, prompt.L),
            projected=self._projects_labels,
        )

    def _normal(self, at: Address, variable: Variable, count: int) -> Tensor:
        return at.normal(variable, self.size, count, dtype=self.dictionaries.words.dtype)[0]


def _count_table(regime: Regime, e: int) -> Float[Tensor, " L"]:
    """P(n+ <= n | e), n = 0, 1, .. L - 1; beyond the last entry n+ is L."""
    joint = count_probabilities(regime)
    weights = np.array([joint.get((e, n), 0.0) for n in range(regime.prompt.L + 1)])
    return torch.from_numpy(np.cumsum(weights)[:-1] / weights.sum())


SAMPLERS = {"literal": LiteralSampler, "reduced": ReducedSampler}


def batch_of(
    regime: Regime,
    dictionaries: Dictionaries,
    draws: Draws,
    *,
    word_noise: WordNoise | None = None,
    label_noise: LabelNoise | None = None,
) -> Batch:
    """The prompts of a single step; noise that was drawn literally, or what is given in its place.

    Without noise and extras demonstrations are of two kinds: they are counted, and L costs nothing.
    """
    dtype = dictionaries.words.dtype
    concept, e, positive = draws.concept[0], draws.e[0].to(dtype), draws.signs[0] > 0
    if draws.word_noise is not None:
        word_noise = LiteralWordNoise(draws.sigma_x, draws.word_noise[0].to(dtype))
    if draws.label_noise is not None:
        label_noise = LiteralLabelNoise(draws.sigma_y, draws.label_noise[0].to(dtype))
    log_count = None
    if word_noise is None and label_noise is None and draws.extra is None:
        of_sign = torch.stack([positive.sum(-1), (~positive).sum(-1)], dim=-1)
        log_count = of_sign.to(dtype).log()
        positive = torch.tensor([True, False], device=positive.device).expand(of_sign.shape)
    return Batch(
        means=_means(regime, dictionaries, concept, e, positive, draws.extra),
        word_noise=word_noise,
        label_noise=label_noise,
        e=e,
        positive=positive,
        log_count=log_count,
        probability=1 / e.shape[-1],
    )


def _means(
    regime: Regime,
    dictionaries: Dictionaries,
    concept: Int[Tensor, "E B"],
    e: Float[Tensor, "E B"],
    positive: Bool[Tensor, "E B T"],
    extra: Bool[Tensor, "1 E B words features"] | None,
) -> Means:
    if extra is None:
        return OneConcept(dictionaries, concept, e, positive)
    of_word = torch.cat([positive, (e > 0).unsqueeze(-1)], dim=-1)
    column = 2 * concept.unsqueeze(-1) + ~of_word
    features = 2 * regime.concepts.K1 + regime.concepts.K2
    own = functional.one_hot(column, features)
    return ManyFeatures(dictionaries, (own + extra[0]).to(dictionaries.words.dtype))
