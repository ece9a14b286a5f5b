"""What claims about the fast step and its samplers measure: its gradients, and order parameters of many short runs."""

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from polyseme.sim.multi_concept.plan import member_chunks
from polyseme.sim.multi_concept.prompts.tensors import Dictionaries
from polyseme.sim.multi_concept.training.engine import AutogradStepper, FastStepper
from polyseme.sim.multi_concept.training.evaluate import OUTCOMES
from polyseme.sim.multi_concept.training.initial import WEIGHTS
from polyseme.sim.multi_concept.training.model import Functions, Weights, outcome
from polyseme.sim.multi_concept.training.samplers import ReducedSampler
from polyseme.theory.multi_concept.regime import Regime

Sampling = Literal["literal", "reduced", "words not projected", "labels not projected"]
_SAMPLINGS = get_args(Sampling)
_CPU = torch.device("cpu")


def gradients_of_both_engines(
    regime: Regime, state: dict[str, np.ndarray], *, t: int = 0
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The gradient on the literal prompts of step t by the fast step, and by autograd of the written-out model (section 1).

    `state` as an initial state with an ensemble axis. Each: W_Q, W_K, W_O with that axis, float64, without penalty.
    """
    members = range(len(state["W_Q"]))
    weights, dictionaries = _loaded(state)
    fast = FastStepper(
        regime.replace(ensemble={"sampler": "literal"}), weights, dictionaries, members=members, compiled=False
    )
    found = fast.gradient(t)
    plain = AutogradStepper(regime, weights, dictionaries, members=members, first=t)
    loss = outcome(weights, plain.prompts_of(t), Functions.of(regime)).loss.sum()
    wanted = torch.autograd.grad(loss, weights.trained)
    one = {name: getattr(found, name).dense().detach().numpy() for name in WEIGHTS}
    return one, {name: array.numpy() for name, array in zip(WEIGHTS, wanted, strict=True)}


def order_parameters(regime: Regime, state: dict[str, np.ndarray], *, sampling: Sampling) -> dict[str, np.ndarray]:
    """Numbers that describe a short run, for every member: (seeds,) each (section 1).

    All members start at `state`, which has no ensemble axis, and differ in their prompts alone. At the first step: loss,
    attention, the logarithms of the sizes of the gradients and their products with the weights. At the end of the run: the
    same of the way that the weights went, and the loss and attention of the last step. The last two are the reduced
    sampler with a mistake (`polyseme.sim.multi_concept.prompts.words`). Different samplings have members of their own.
    """
    first = _SAMPLINGS.index(sampling) * regime.ensemble.seeds
    parts = [
        _of_members(regime, state, sampling, range(first + x.start, first + x.stop)) for x in member_chunks(regime)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _of_members(
    regime: Regime, state: dict[str, np.ndarray], sampling: Sampling, members: range
) -> dict[str, np.ndarray]:
    copies = {name: np.repeat(state[name][None], len(members), axis=0) for name in WEIGHTS}
    start, dictionaries = _loaded(state | copies)
    sampler = "literal" if sampling == "literal" else "reduced"
    stepper = FastStepper(
        regime.replace(ensemble={"sampler": sampler}), start, dictionaries, members=members, compiled=False
    )
    if sampling not in ("literal", "reduced"):
        stepper.sampler = ReducedSampler(
            regime,
            dictionaries,
            batch=int(regime.training.batch),
            projects_words=sampling != "words not projected",
            projects_labels=sampling != "labels not projected",
        )
    at_first = stepper.gradient(0)
    moves = [getattr(at_first, name).dense() for name in WEIGHTS]
    found = _described("gradient", moves, start) | _measured("first", at_first.outcome)
    last = at_first.outcome
    for t in range(regime.training.steps):
        last = stepper.step(t)
    moves = [now - before for now, before in zip(stepper.weights.trained, start.trained, strict=True)]
    return found | _described("way", moves, start) | _measured("last", last)


def _described(what: str, moves: list[Tensor], start: Weights) -> dict[str, np.ndarray]:
    found = {}
    for name, move, weight in zip(WEIGHTS, moves, start.trained, strict=True):
        found[f"log size of the {what} of {name}"] = move.square().sum((-1, -2)).log().detach().numpy()
        found[f"product of the {what} and the start of {name}"] = (move * weight).sum((-1, -2)).detach().numpy()
    return found


def _measured(when: str, of_members: Tensor) -> dict[str, np.ndarray]:
    values = dict(zip(OUTCOMES, of_members.detach().numpy(), strict=True))
    return {f"{name} at the {when} step": values[name] for name in ("loss", "attention")}


def _loaded(state: dict[str, np.ndarray]) -> tuple[Weights, Dictionaries]:
    return (
        Weights.of(state, device=_CPU, dtype=torch.float64),
        Dictionaries.of(state, device=_CPU, dtype=torch.float64),
    )
