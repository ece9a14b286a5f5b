"""A trained model on prompts of another law and other dictionaries (section 7, out of distribution)."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int

from polyseme.errors import PolysemeError
from polyseme.sim.ensemble.streams import Purpose
from polyseme.sim.multi_concept.prompts.draws import Draws, PromptStream
from polyseme.sim.multi_concept.prompts.enumeration import count_probabilities
from polyseme.sim.multi_concept.prompts.tensors import Block, Dictionaries, Prompts
from polyseme.sim.multi_concept.training.initial import WEIGHTS
from polyseme.sim.multi_concept.training.model import Weights, forward
from polyseme.theory.multi_concept.regime import Regime

# Prompts are written out in chunks of about this many bytes.
BYTES_AT_ONCE = 2**26
_CPU = torch.device("cpu")


def counted_outcomes(
    law: Regime,
    weights: Mapping[str, np.ndarray],
    M: Float[np.ndarray, "d_x features"],
    Q: Float[np.ndarray, "d_y signed_concepts"],
) -> dict[str, np.ndarray]:
    """The full model on every pure prompt (k, e, n+) of a law, its L demonstrations written out one by one.

    `weights`: W_Q, W_K, W_O with an ensemble axis, and r. `M`, `Q`: the words and labels of the test, as in section 8. Returns f and
    attention (E, K1, 2, L + 1), e = +1 first, and probability (K1, 2, L + 1); prompts that the law excludes have probability 0
    and are not run: their f and attention are 0. float64 on the CPU. PolysemeError if the law has noise or extras.
    """
    if not law.prompt.is_pure:
        raise PolysemeError(
            "a law with noise or extras has no table of counts, and was to be listed; draw a sample of its prompts instead"
        )
    K1, L = law.concepts.K1, law.prompt.L
    cells = [
        (k, (1 - e) // 2, n, pi * probability)
        for k, pi in enumerate(law.concepts.probabilities)
        for (e, n), probability in count_probabilities(law).items()
    ]
    k, j, n = (np.array(column) for column in list(zip(*cells, strict=True))[:3])
    seen = outcomes_at(law, weights, M, Q, concept=k, e=1 - 2 * j, positive=n)
    members, probability = len(seen["f"]), np.zeros((K1, 2, L + 1))
    result = {name: np.zeros((members, K1, 2, L + 1)) for name in seen}
    for name, values in seen.items():
        result[name][:, k, j, n] = values
    probability[k, j, n] = [cell[3] for cell in cells]
    return result | {"probability": probability}


def outcomes_at(
    law: Regime,
    weights: Mapping[str, np.ndarray],
    M: Float[np.ndarray, "d_x features"],
    Q: Float[np.ndarray, "d_y signed_concepts"],
    *,
    concept: Int[np.ndarray, " prompts"],
    e: Int[np.ndarray, " prompts"],
    positive: Int[np.ndarray, " prompts"],
) -> dict[str, np.ndarray]:
    """The full model on chosen pure prompts of L demonstrations, `positive` of them of sign +1: f and attention (E, prompts).

    Arguments as in `counted_outcomes`; concepts are numbered from 0.
    """
    L, models, dictionaries = law.prompt.L, _models(weights), _dictionaries(M, Q)
    size = _prompts_at_once(law, M, Q, len(models.W_Q))
    parts = []
    for start in range(0, len(e), size):
        at = slice(start, start + size)
        signs = np.where(np.arange(L) < positive[at, None], 1, -1)
        parts.append(_outcomes(models, _written_out(concept[at], e[at], signs, dictionaries), law))
    f, attention = (np.concatenate(column, axis=1) for column in zip(*parts, strict=True))
    return {"f": f, "attention": attention}


@torch.no_grad()
def logit_gaps(
    law: Regime,
    weights: Mapping[str, np.ndarray],
    M: Float[np.ndarray, "d_x features"],
    Q: Float[np.ndarray, "d_y signed_concepts"],
) -> Float[np.ndarray, "E K1 2"]:
    """Half of what the logit of the demonstration that shares the query's sign has over that of the other, in nats.

    For each member, concept and query sign (+ first), from the weights that the full model's attention gives to a prompt of
    one demonstration of each sign. Arguments as in `counted_outcomes`; of the law its number of concepts alone matters.
    """
    k, j = (cells.ravel() for cells in np.indices((law.concepts.K1, 2)))
    signs = np.tile([1, -1], (len(k), 1))
    models = _models(weights)
    _, p = forward(models, _written_out(k, 1 - 2 * j, signs, _dictionaries(M, Q)), law.model.activation)
    logarithms = torch.log(p)
    gaps = torch.from_numpy(1.0 - 2 * j) * (logarithms[..., 0] - logarithms[..., 1]) / 2
    return gaps.reshape(-1, law.concepts.K1, 2).numpy()


def sampled_outcomes(
    law: Regime,
    weights: Mapping[str, np.ndarray],
    M: Float[np.ndarray, "d_x features"],
    Q: Float[np.ndarray, "d_y signed_concepts"],
    *,
    count: int,
    stream: int = 0,
) -> dict[str, np.ndarray]:
    """The full model on `count` prompts drawn for each member from any law, by the literal sampler of training.

    Arguments as in `counted_outcomes`; another `stream` gives independent prompts. Returns e f and attention, (E, count).
    """
    models, dictionaries = _models(weights), _dictionaries(M, Q)
    members = len(models.W_Q)
    margins, attentions = [], []
    for prompts in _drawn(law, dictionaries, members=members, count=count, stream=stream):
        f, attention = _outcomes(models, prompts, law)
        margins.append(prompts.e.numpy() * f)
        attentions.append(attention)
    return {
        name: np.concatenate(parts, axis=1)[:, :count]
        for name, parts in (("margin", margins), ("attention", attentions))
    }


def _drawn(law: Regime, dictionaries: Dictionaries, *, members: int, count: int, stream: int) -> Iterator[Prompts]:
    """Prompts in blocks of equal size, the last of which may go beyond `count`."""
    size = min(count, _prompts_at_once(law, dictionaries.words.T.numpy(), dictionaries.labels.T.numpy(), members))
    own = range(stream * members, (stream + 1) * members)
    drawn = PromptStream(law, purpose=Purpose.TRANSFER, members=own, batch=size)
    for _ in range(-(-count // size)):
        yield Block(drawn.draw(1), dictionaries).step(0)


def _prompts_at_once(law: Regime, M: np.ndarray, Q: np.ndarray, members: int) -> int:
    each = (law.prompt.L + 1) * (len(M) + len(Q) + 2 * members)
    return max(1, BYTES_AT_ONCE // (8 * each))


def _models(weights: Mapping[str, np.ndarray]) -> Weights:
    state = {name: np.asarray(weights[name], dtype=np.float64) for name in (*WEIGHTS, "r")}
    return Weights.of(state, device=_CPU, dtype=torch.float64)


def _dictionaries(M: np.ndarray, Q: np.ndarray) -> Dictionaries:
    return Dictionaries.of({"M": M, "Q": Q}, device=_CPU, dtype=torch.float64)


def _written_out(k: np.ndarray, e: np.ndarray, signs: np.ndarray, dictionaries: Dictionaries) -> Prompts:
    """Pure prompts of given concepts, query signs and demonstration signs as vectors."""
    draws = Draws(
        concept=torch.from_numpy(k)[None, None],
        e=torch.from_numpy(e)[None, None],
        signs=torch.from_numpy(signs)[None, None],
        extra=None,
        word_noise=None,
        label_noise=None,
    )
    return Block(draws, dictionaries).step(0)


@torch.no_grad()
def _outcomes(models: Weights, prompts: Prompts, law: Regime) -> tuple[np.ndarray, np.ndarray]:
    """The output f and the correct attention weight, (E, prompts)."""
    f, p = forward(models, prompts, law.model.activation)
    correct = (p * (prompts.signs == prompts.e.unsqueeze(-1))).sum(-1)
    return f.numpy(), correct.numpy()
