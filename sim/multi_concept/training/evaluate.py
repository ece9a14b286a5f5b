"""Expectations along a run: exact where prompts are enumerated, else over one fixed sample (section 8)."""

import numpy as np
import torch

from polyseme.sim.ensemble.streams import Purpose
from polyseme.sim.multi_concept.plan import (
    EVALUATION_PROMPTS,
    evaluation_prompts_at_once,
    is_evaluated_exactly,
)
from polyseme.sim.multi_concept.prompts.draws import PromptStream
from polyseme.sim.multi_concept.prompts.enumeration import enumerate_prompts
from polyseme.sim.multi_concept.prompts.tensors import Block, Dictionaries, Prompts
from polyseme.sim.multi_concept.training.model import Functions, Weights, outcome
from polyseme.theory.multi_concept.regime import Regime

OUTCOMES = ("loss", "error", "attention")


class Evaluation:
    """The prompts by which weights are judged, the same for all members and all times, in float64."""

    def __init__(self, regime: Regime, state: dict[str, np.ndarray], *, device: torch.device) -> None:
        """Enumerate the prompts, or draw the evaluation sample from its own stream (`is_evaluated_exactly`)."""
        dictionaries = Dictionaries.of(state, device=device, dtype=torch.float64)
        self._regime = regime
        self._functions = Functions.of(regime)
        gather = enumerate_prompts if is_evaluated_exactly(regime) else _sample
        self._prompts = gather(regime, dictionaries)

    @torch.no_grad()
    def __call__(self, weights: Weights) -> dict[str, np.ndarray]:
        """loss (without penalty), error and attention of each member, (E,)."""
        in_double = Weights(**{name: getattr(weights, name).double() for name in ("W_Q", "W_K", "W_O", "r")})
        members, total = len(weights.W_Q), self._prompts.e.shape[1]
        size = evaluation_prompts_at_once(self._regime, members=members)
        sums = dict.fromkeys(OUTCOMES, torch.zeros(members, dtype=torch.float64, device=weights.r.device))
        for start in range(0, total, size):
            part = outcome(in_double, self._prompts.slice(start, start + size), self._functions)
            sums = {name: sums[name] + getattr(part, name) for name in OUTCOMES}
        return {name: value.cpu().numpy() for name, value in sums.items()}


def _sample(regime: Regime, dictionaries: Dictionaries) -> Prompts:
    stream = PromptStream(regime, purpose=Purpose.EVALUATION, members=range(1), batch=EVALUATION_PROMPTS)
    return Block(stream.draw(1), dictionaries).step(0)
