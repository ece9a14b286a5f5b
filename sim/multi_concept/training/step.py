"""One update of many members from the gradient in closed form, for eager and compiled runs alike (section 1).

An alternative to autograd through `polyseme.sim.multi_concept.training.model`, and checked against it: written down by the chain rule for this one model, it
keeps the gradients of W_Q, W_K and W_O as products of two thin factors, and takes words as `polyseme.sim.multi_concept.prompts.words` gives them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from polyseme.regime import LEAK
from polyseme.sim.multi_concept.prompts.words import LabelNoise, Means, WordNoise
from polyseme.sim.multi_concept.training.model import ACTIVATIONS, LOSSES, Functions


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of prompts for each member; T = L, or the two kinds of demonstration with how many there are of each.

    `log_count` is the logarithm of those numbers, or None where each is 1.
    """

    means: Means
    word_noise: WordNoise | None
    label_noise: LabelNoise | None
    e: Float[Tensor, "E B"]
    positive: Tensor
    log_count: Tensor | None
    probability: float


@dataclass(frozen=True, kw_only=True)
class Factors:
    """A gradient as left^T right, summed over the prompts of each member."""

    left: Tensor
    right: Tensor

    def dense(self) -> Tensor:
        """The gradient as a matrix for each member."""
        return self.left.mT @ self.right

    def descend(self, weight: Tensor, *, keep: Tensor, rate: Tensor) -> Tensor:
        """keep W - rate left^T right: the thin factor is scaled, not the gradient."""
        return weight * keep - (self.left * rate).mT @ self.right


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """Loss, 0-1 error and correct attention of each member, (3, E) in float64, and the gradient without penalty."""

    outcome: Float[Tensor, "3 E"]
    W_Q: Factors
    W_K: Factors
    W_O: Factors


def gradient(weights: tuple[Tensor, Tensor, Tensor], r: Tensor, batch: Batch, functions: Functions) -> Gradient:
    """The mean loss of the batch and its gradient in `weights` = (W_Q, W_K, W_O), by the chain rule.

    As in `polyseme.sim.multi_concept.training.model`, u = W_K^T W_Q x_query, and keys are not projected. Of a margin of exactly 0 and of a neuron at exactly
    0 the conventions are those of `polyseme.sim.multi_concept.training.model` too.
    """
    W_Q, W_K, W_O = weights
    means, e, p_of = batch.means, batch.e, batch.probability
    query = means.query if batch.word_noise is None else means.query + batch.word_noise.query
    q = query @ W_Q.mT
    u = q @ W_K
    logits = means.logits(u)
    if batch.log_count is not None:
        logits = logits + batch.log_count
    if batch.word_noise is not None:
        logits = logits + batch.word_noise.logits(u)
    p = logits.softmax(-1)
    v = means.pooled(p)
    if batch.label_noise is not None:
        v = v + batch.label_noise.pooled(p)
    h = v @ W_O.mT
    margin = e * (ACTIVATIONS[functions.activation](h) * r).sum(-1)

    slope = p_of * e * _loss_slope(functions, margin)
    gamma = slope.unsqueeze(-1) * r * _activation_slope(functions, h)
    dv = gamma @ W_O
    scores = means.scores(dv)
    if batch.label_noise is not None:
        scores = scores + batch.label_noise.scores(dv, p)
    ds = p * (scores - (p * scores).sum(-1, keepdim=True))
    pull = means.pull(ds)
    if batch.word_noise is not None:
        pull = pull + batch.word_noise.pull(ds, u)

    correct = torch.where(batch.positive == (e > 0).unsqueeze(-1), p, 0).sum(-1)
    outcome = torch.stack([LOSSES[functions.loss](margin), (margin <= 0).to(p.dtype), correct]).double().sum(-1) * p_of
    return Gradient(
        outcome=outcome,
        W_Q=Factors(left=pull @ W_K.mT, right=query),
        W_K=Factors(left=q, right=pull),
        W_O=Factors(left=gamma, right=v),
    )


def update(
    weights: tuple[Tensor, Tensor, Tensor],
    r: Tensor,
    batch: Batch,
    functions: Functions,
    *,
    keep: Tensor,
    rate: Tensor,
) -> tuple[tuple[Tensor, Tensor, Tensor], Float[Tensor, "3 E"]]:
    """W <- keep W - rate gradient, and what was measured before it."""
    of = gradient(weights, r, batch, functions)
    moved = (
        factors.descend(weight, keep=keep, rate=rate)
        for weight, factors in zip(weights, (of.W_Q, of.W_K, of.W_O), strict=True)
    )
    W_Q, W_K, W_O = moved
    return (W_Q, W_K, W_O), of.outcome


def _loss_slope(functions: Functions, margin: Tensor) -> Tensor:
    """l'(margin)."""
    if functions.loss == "squared":
        return margin - 1
    if functions.loss == "exponential":
        return -torch.exp(-margin)
    return -torch.sigmoid(-margin)


def _activation_slope(functions: Functions, h: Tensor) -> Tensor:
    """The slope of the activation, that of the negative side at exactly 0."""
    if functions.activation == "identity":
        return torch.ones_like(h)
    return torch.where(h > 0, 1.0, LEAK if functions.activation == "leaky_relu" else 0.0).to(h.dtype)
