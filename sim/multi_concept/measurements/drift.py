"""The drift of the full model under noise at given weights, by Monte Carlo: exact over concepts, signs, counts and extras."""

import dataclasses
from typing import Any

import numpy as np
import torch

from polyseme.sim.ensemble.philox import Address, key_of
from polyseme.sim.ensemble.streams import Purpose, Variable
from polyseme.sim.multi_concept.observe import project
from polyseme.sim.multi_concept.prompts.enumeration import enumerate_prompts
from polyseme.sim.multi_concept.prompts.tensors import Dictionaries, Prompts
from polyseme.sim.multi_concept.training.engine import step_size
from polyseme.sim.multi_concept.training.initial import WEIGHTS
from polyseme.sim.multi_concept.training.model import Functions, Weights, forward, outcome
from polyseme.theory.multi_concept.regime import Regime

_CPU = torch.device("cpu")
# Numbers per array of words: 32 MiB in float64.
_AT_ONCE = 2**22


def noisy_drifts(
    regime: Regime, weights: dict[str, np.ndarray], *, batches: int, pairs: int = 1, first: int = 0
) -> dict[str, np.ndarray]:
    """Independent unbiased estimates of the expected gradient at some weights, projected on the coefficients of level B.

    Every noise-free prompt is weighed with its exact probability and meets `pairs` draws of the noise with both signs, so
    that what is odd in the noise cancels (sections 1 and 3). `weights` as an initial state without an ensemble axis.
    Returns W_Q_blocks, W_K_blocks (batches, K1, 2, 2), alpha, beta (batches, m, K1) and the means margin
    of e f and attention (batches,), float64, without penalty. Other numbers `first`, ..., `first + batches - 1` give other noise.
    """
    dictionaries = Dictionaries.of(weights, device=_CPU, dtype=torch.float64)
    still = enumerate_prompts(regime.replace(prompt={"sigma_x": 0.0, "sigma_y": 0.0}), dictionaries)
    size = still.x.numel() * pairs * 2
    at_once, parts = max(1, _AT_ONCE // size), []
    for start in range(first, first + batches, at_once):
        members = range(start, min(start + at_once, first + batches))
        prompts = _with_noise(still, regime, members, pairs)
        stacked = {name: np.repeat(weights[name][None], len(members), axis=0) for name in WEIGHTS}
        models = Weights.of(stacked | {"r": weights["r"]}, device=_CPU, dtype=torch.float64)
        parts.append(_drift(models, prompts, regime, weights))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def noisy_descent(
    regime: Regime, initial: dict[str, np.ndarray], *, members: int, pairs: int, late_pairs: int, late_from: int
) -> dict[str, np.ndarray]:
    """Descent of the full model along estimates of the expected gradient as in `noisy_drifts`, fresh ones at every step.

    SGD whose batches hold every noise-free prompt, weighed, so that noise alone is left to chance: its mean is the
    expected gradient. `pairs` draws of the noise at first, when neurons are distinguished and what is left of chance
    grows, and `late_pairs` from step `late_from` on. All members start at `initial`, which has no ensemble axis. Returns their final W_Q, W_K, W_O.
    """
    dictionaries = Dictionaries.of(initial, device=_CPU, dtype=torch.float64)
    still = enumerate_prompts(regime.replace(prompt={"sigma_x": 0.0, "sigma_y": 0.0}), dictionaries)
    functions, training = Functions.of(regime), regime.training
    stacked = {name: np.repeat(initial[name][None], members, axis=0) for name in WEIGHTS}
    weights = Weights.of(stacked | {"r": initial["r"]}, device=_CPU, dtype=torch.float64)
    for t in range(training.steps):
        prompts = _with_noise(still, regime, range(members), pairs if t < late_from else late_pairs, step=t)
        loss = outcome(weights, prompts, functions).loss
        gradients = torch.autograd.grad(loss.sum(), weights.trained)
        eta = step_size(training, t)
        with torch.no_grad():
            for weight, gradient in zip(weights.trained, gradients, strict=True):
                weight -= eta * (gradient + training.lam * weight)
    return weights.numpy()


def _drift(models: Weights, prompts: Prompts, regime: Regime, weights: dict[str, Any]) -> dict[str, np.ndarray]:
    functions = Functions.of(regime)
    measured = outcome(models, prompts, functions)
    gradients = torch.autograd.grad(measured.loss.sum(), models.trained)
    named = {name: gradient.numpy() for name, gradient in zip(WEIGHTS, gradients, strict=True)}
    with torch.no_grad():
        f, _ = forward(models, prompts, functions.activation)
    margin = (f * prompts.e * prompts.probability).sum(-1)
    means = {"margin": margin.numpy(), "attention": measured.attention.numpy()}
    return project(weights["M"], weights["Q"], named) | means


def _with_noise(still: Prompts, regime: Regime, members: range, pairs: int, *, step: int = 0) -> Prompts:
    """The noise-free prompts (1, N) as (members, N pairs 2), with noise and with minus that noise."""
    copies = {
        field.name: getattr(still, field.name).repeat_interleave(pairs, dim=1) for field in dataclasses.fields(still)
    }
    prompt, concepts = regime.prompt, regime.concepts
    at = Address(
        key=key_of(regime.ensemble.seed),
        purpose=Purpose.DRIFT,
        steps=torch.full((1,), step, dtype=torch.int64),
        members=torch.tensor(members),
    )
    size = copies["e"].shape[1]
    words = prompt.sigma_x * at.normal(Variable.WORD_NOISE, size, prompt.L + 1, concepts.d_x, dtype=torch.float64)[0]
    labels = prompt.sigma_y * at.normal(Variable.LABEL_NOISE, size, prompt.L, concepts.d_y, dtype=torch.float64)[0]
    moved = {"x": words[..., :-1, :], "x_query": words[..., -1, :], "y": labels}
    both = {name: torch.cat([copies[name] + noise, copies[name] - noise], dim=1) for name, noise in moved.items()}
    for name in ("e", "concept", "signs", "probability"):
        twice = torch.cat([copies[name], copies[name]], dim=1)
        both[name] = twice if name == "probability" else twice.expand(len(members), *twice.shape[1:])
    both["probability"] = both["probability"] / (2 * pairs)
    return Prompts(**both)
