"""Measurements at given weights that checks ask for: gradients and samples, NumPy in and NumPy out."""

import dataclasses
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from polyseme.errors import PolysemeError
from polyseme.sim.ensemble.device import resolve, versions
from polyseme.sim.ensemble.streams import Purpose
from polyseme.sim.multi_concept.observe import project
from polyseme.sim.multi_concept.plan import MEMBERS_PER_CHUNK, check_fits, steps_at_once
from polyseme.sim.multi_concept.prompts.draws import Draws, PromptStream
from polyseme.sim.multi_concept.prompts.enumeration import enumerate_prompts
from polyseme.sim.multi_concept.prompts.tensors import Block, Dictionaries, Prompts
from polyseme.sim.multi_concept.training.engine import training_prompts
from polyseme.sim.multi_concept.training.initial import WEIGHTS
from polyseme.sim.multi_concept.training.model import Activation, Functions, Loss, Weights, forward, outcome
from polyseme.theory.multi_concept.regime import Regime

__all__ = [
    "forward_pass",
    "fresh_outcomes",
    "minibatch_gradients",
    "population_gradient",
    "project",
    "prompt_gradients",
    "sample_prompts",
    "sequence_of_prompts",
    "versions",
]

_CPU = torch.device("cpu")
_SAMPLED = ("x", "y", "x_query", "e", "concept", "signs")


def prompt_gradients(
    weights: dict[str, np.ndarray],
    prompts: dict[str, np.ndarray],
    *,
    activation: Activation = "relu",
    loss: Loss = "logistic",
) -> dict[str, np.ndarray]:
    """The gradient of the mean loss l(e f), without penalty, of one model over given prompts (section 1).

    `weights`: W_Q, W_K, W_O, r without an ensemble axis. `prompts`: x (B, L, d_x), y (B, L, d_y),
    x_query (B, d_x), e (B,), any real vectors, and if they are not all as probable, probability (B,). `activation` and `loss` as in [model] and [training]; the
    defaults are those of the regime. Returns W_Q, W_K, W_O in float64, by autograd.
    """
    functions = Functions(activation=activation, loss=loss)
    return _gradient(_one_model(weights), _given(prompts), functions)[0]


def forward_pass(
    weights: dict[str, np.ndarray], prompts: dict[str, np.ndarray], *, activation: Activation = "relu"
) -> tuple[np.ndarray, np.ndarray]:
    """The output f (B,) and the attention weights (B, L) of one model on given prompts (section 1).

    Arguments as in `prompt_gradients`; float64.
    """
    with torch.no_grad():
        f, p = forward(_one_model(weights), _given(prompts), activation)
    return f[0].numpy(), p[0].numpy()


def population_gradient(regime: Regime, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The gradient of the exact expected loss of noise-free prompts, without penalty (sections 1 and 3).

    `weights` as an initial state (section 8) without an ensemble axis. Returns W_Q, W_K, W_O and loss
    () in float64. Raises PolysemeError if there is noise, or if there are too many prompts to enumerate.
    """
    check_fits(regime.replace(training={"batch": "population"}, ensemble={"seeds": 1}))
    dictionaries = Dictionaries.of(weights, device=_CPU, dtype=torch.float64)
    prompts = enumerate_prompts(regime, dictionaries)
    gradient, loss = _gradient(_one_model(weights), prompts, Functions.of(regime))
    return gradient | {"loss": loss}


def minibatch_gradients(
    regime: Regime, weights: dict[str, np.ndarray], *, batches: int, batch: int, seed_offset: int = 0
) -> dict[str, np.ndarray]:
    """Independent minibatch gradients at the same weights, projected on the coefficients of level B.

    `weights` as an initial state without an ensemble axis. Returns W_Q_blocks, W_K_blocks (batches, K1,
    2, 2) and alpha, beta (batches, m, K1), float64, without penalty. Another `seed_offset` gives
    independent batches.
    """
    dictionaries = Dictionaries.of(weights, device=_CPU, dtype=torch.float64)
    members = range(seed_offset, seed_offset + 1)
    stream = PromptStream(regime, purpose=Purpose.PROBE, members=members, batch=batch)
    at_once = min(MEMBERS_PER_CHUNK, steps_at_once(regime, members=1, batch=batch))
    parts = []
    for start in range(0, batches, at_once):
        count = min(at_once, batches - start)
        prompts = Block(_steps_as_members(stream.draw(count)), dictionaries).step(0)
        gradients = _gradients(_copies(weights, count), prompts, Functions.of(regime))[0]
        parts.append(project(weights["M"], weights["Q"], gradients))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def fresh_outcomes(
    regime: Regime, start: dict[str, np.ndarray], weights: dict[str, np.ndarray], *, count: int
) -> dict[str, np.ndarray]:
    """Mean of e f, loss, 0-1 error and correct attention weight of each member, (members,), over prompts of its own.

    `weights` holds W_Q, W_K, W_O with a member axis; `start` the dictionaries and r. `count` prompts for each member from
    the law of the regime, from a stream that no training uses; float64.
    """
    dictionaries = Dictionaries.of(start, device=_CPU, dtype=torch.float64)
    functions, found = Functions.of(regime), []
    for member in range(len(weights["W_Q"])):
        stream = PromptStream(regime, purpose=Purpose.FRESH, members=range(member, member + 1), batch=count)
        prompts = Block(stream.draw(1), dictionaries).step(0)
        model = _one_model({**{name: weights[name][member] for name in WEIGHTS}, "r": start["r"]})
        with torch.no_grad():
            measured = outcome(model, prompts, functions)
            f, _ = forward(model, prompts, functions.activation)
        margin = (f * prompts.e * prompts.probability).sum(-1)
        found.append([float(x) for x in (margin, measured.loss, measured.error, measured.attention)])
    return dict(zip(("margin", "loss", "error", "attention"), np.array(found).T, strict=True))


def sample_prompts(
    regime: Regime, initial: dict[str, np.ndarray], *, count: int, seed_offset: int = 0
) -> dict[str, np.ndarray]:
    """`count` prompts from the law of the regime (section 1), in float64.

    Returns x (count, L, d_x), y (count, L, d_y), x_query (count, d_x), e (count,), concept (count,) int
    and signs (count, L), built from the dictionaries M and Q of `initial`. Another `seed_offset` gives
    independent prompts.
    """
    dictionaries = Dictionaries.of(initial, device=_CPU, dtype=torch.float64)
    members = range(seed_offset, seed_offset + 1)
    stream = PromptStream(regime, purpose=Purpose.SAMPLE, members=members, batch=count)
    prompts = Block(stream.draw(1), dictionaries).step(0)
    return {name: getattr(prompts, name)[0].numpy() for name in _SAMPLED}


def sequence_of_prompts(regime: Regime, initial: dict[str, np.ndarray], *, steps: int) -> dict[str, np.ndarray]:
    """The minibatches that `simulate` feeds to member 0 in its first `steps` steps (section 1).

    Returns x (steps, B, L, d_x), y (steps, B, L, d_y), x_query (steps, B, d_x), e (steps, B), concept
    (steps, B) int and signs (steps, B, L), with M and Q of `initial`; float64 arrays of the very numbers of a
    run of its own, in the precision of the regime (an ensemble may add up extra features in another order).
    Raises PolysemeError if training is by population, which draws no prompts.
    """
    if regime.training.batch == "population":
        raise PolysemeError(
            "a sequence of prompts is drawn only in minibatches, and got batch = 'population'; type a number "
            "for batch in [training]"
        )
    device, dtype = resolve(regime.ensemble.device, regime.ensemble.dtype)
    dictionaries = Dictionaries.of(initial, device=device, dtype=dtype)
    # One step at least, so that the arrays of no steps have their shapes.
    prompts = list(islice(training_prompts(regime, dictionaries, members=range(1), steps=steps), max(steps, 1)))
    stacked = {name: torch.stack([getattr(batch, name)[0] for batch in prompts])[:steps].cpu() for name in _SAMPLED}
    return {name: (value.double() if value.is_floating_point() else value).numpy() for name, value in stacked.items()}


def _given(prompts: dict[str, np.ndarray]) -> Prompts:
    """Prompts that a caller wrote out, for one model, each as probable as the others."""
    x, y, x_query, e = (torch.tensor(prompts[name], dtype=torch.float64)[None] for name in ("x", "y", "x_query", "e"))
    return Prompts(
        x=x,
        y=y,
        x_query=x_query,
        e=e,
        # Concepts and signs enter the correct attention weight alone, of which no gradient is taken here.
        concept=torch.zeros_like(e, dtype=torch.int64),
        signs=torch.ones_like(x[..., 0]),
        probability=torch.tensor(prompts["probability"], dtype=torch.float64)[None]
        if "probability" in prompts
        else torch.full_like(e, 1 / e.shape[1]),
    )


def _one_model(weights: dict[str, np.ndarray]) -> Weights:
    return _copies(weights, 1)


def _copies(weights: dict[str, np.ndarray], count: int) -> Weights:
    """The same model `count` times, so that each copy gets the gradient of its own prompts."""
    stacked = {name: np.repeat(weights[name][None], count, axis=0) for name in WEIGHTS}
    return Weights.of(stacked | {"r": weights["r"]}, device=_CPU, dtype=torch.float64)


def _steps_as_members(draws: Draws) -> Draws:
    """T steps of one member as one step of T members."""
    drawn = {field.name: getattr(draws, field.name) for field in dataclasses.fields(draws)}
    swapped = {name: array.swapaxes(0, 1) for name, array in drawn.items() if isinstance(array, Tensor)}
    return dataclasses.replace(draws, **swapped)


def _gradients(weights: Weights, prompts: Prompts, functions: Functions) -> tuple[dict[str, np.ndarray], Tensor]:
    loss = outcome(weights, prompts, functions).loss
    gradients = torch.autograd.grad(loss.sum(), weights.trained)
    return {name: gradient.numpy() for name, gradient in zip(WEIGHTS, gradients, strict=True)}, loss.detach()


def _gradient(weights: Weights, prompts: Prompts, functions: Functions) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """As `_gradients` for a single model, without its ensemble axis."""
    gradients, loss = _gradients(weights, prompts, functions)
    return {name: gradient[0] for name, gradient in gradients.items()}, loss[0].numpy()
