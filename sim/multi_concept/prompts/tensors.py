"""Prompts as tensors: random variables written out as vectors, a step at a time (section 1)."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from polyseme.sim.multi_concept.prompts.draws import Draws, PromptStream


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """A batch of prompts for each member; an ensemble axis of length 1 is shared by all members.

    `probability` weighs the prompts: 1/B in a sample, the exact probability in an enumeration. So the
    mean over the batch is always `(probability * value).sum(-1)`.
    """

    x: Float[Tensor, "E B L d_x"]
    y: Float[Tensor, "E B L d_y"]
    x_query: Float[Tensor, "E B d_x"]
    e: Float[Tensor, "E B"]
    concept: Int[Tensor, "E B"]
    signs: Float[Tensor, "E B L"]
    probability: Float[Tensor, "1 B"]

    def slice(self, start: int, stop: int) -> "Prompts":
        """Prompts start..stop-1 of every member; their probabilities then sum to less than 1."""
        parts = {field.name: getattr(self, field.name)[:, start:stop] for field in dataclasses.fields(self)}
        return Prompts(**parts)


@dataclass(frozen=True, kw_only=True)
class Dictionaries:
    """The features as rows, so that a word is a row looked up: M^T and Q^T."""

    words: Float[Tensor, "features d_x"]
    labels: Float[Tensor, "signed_concepts d_y"]

    @classmethod
    def of(cls, state: dict[str, np.ndarray], *, device: torch.device, dtype: torch.dtype) -> "Dictionaries":
        """M and Q of an initial state (section 8) on a device."""
        words, labels = (torch.from_numpy(np.array(state[name].T, order="C")) for name in ("M", "Q"))
        return cls(words=words.to(device, dtype), labels=labels.to(device, dtype))


class Block:
    """T steps of prompts on a device, of which one at a time is written out as vectors."""

    def __init__(self, draws: Draws, dictionaries: Dictionaries) -> None:
        """Move the draws next to the dictionaries."""
        self._dictionaries = dictionaries
        device, dtype = dictionaries.words.device, dictionaries.words.dtype
        sign_of_word = torch.cat([draws.signs, draws.e.unsqueeze(-1)], dim=-1)
        self._column = (2 * draws.concept.unsqueeze(-1) + (sign_of_word < 0)).to(device)
        self._concept = draws.concept.to(device)
        self._e = draws.e.to(device, dtype)
        self._signs = draws.signs.to(device, dtype)
        self._extra = None if draws.extra is None else draws.extra.to(device, dtype)
        # Rounded once, after the product: in float32 the prompts are those of float64, rounded.
        self._word_noise, self._label_noise = (
            None if normal is None else (sigma * normal).to(device, dtype)
            for sigma, normal in ((draws.sigma_x, draws.word_noise), (draws.sigma_y, draws.label_noise))
        )
        batch = draws.e.shape[-1]
        self._probability = torch.full((1, batch), 1 / batch, device=device, dtype=dtype)

    def steps(self) -> Iterator[Prompts]:
        """The prompts of one step after the other."""
        return (self.step(t) for t in range(len(self._e)))

    def step(self, t: int) -> Prompts:
        """The prompts of step t of the block: x = M z + noise, y = Q z + noise (section 1).

        The label carries the concepts and signs of its word; nu never reaches it.
        """
        dictionaries, column = self._dictionaries, self._column[t]
        words = dictionaries.words[column]
        labels = dictionaries.labels[column[..., :-1]]
        if self._extra is not None:
            extra = self._extra[t]
            words = words + extra @ dictionaries.words
            labels = labels + extra[..., :-1, : len(dictionaries.labels)] @ dictionaries.labels
        if self._word_noise is not None:
            words = words + self._word_noise[t]
        if self._label_noise is not None:
            labels = labels + self._label_noise[t]
        return Prompts(
            x=words[..., :-1, :],
            y=labels,
            x_query=words[..., -1, :],
            e=self._e[t],
            concept=self._concept[t],
            signs=self._signs[t],
            probability=self._probability,
        )


def batches(stream: PromptStream, dictionaries: Dictionaries, *, ahead: int) -> Iterator[Prompts]:
    """Fresh prompts for every step, without end, drawn for `ahead` steps at once."""
    while True:
        yield from Block(stream.draw(ahead), dictionaries).steps()
