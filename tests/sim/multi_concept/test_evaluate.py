"""The evaluation sample of prompts that have no enumeration: its law, and its independence of the training data."""

import numpy as np
import pytest
import torch

from polyseme.sim.ensemble.streams import Purpose
from polyseme.sim.multi_concept.plan import EVALUATION_PROMPTS
from polyseme.sim.multi_concept.prompts.draws import PromptStream
from polyseme.sim.multi_concept.prompts.tensors import Dictionaries
from polyseme.sim.multi_concept.training.evaluate import Evaluation, _sample
from polyseme.sim.multi_concept.training.initial import WEIGHTS
from polyseme.sim.multi_concept.training.model import Weights

CPU = torch.device("cpu")


@pytest.mark.parametrize("law", ["match", "iid"])
def test_a_sample_with_vanishing_noise_has_the_exact_expectations(random_regime, generic_state, law):
    regime = random_regime(4, prompt={"L": 2, "law": law})
    state = generic_state(regime, 4)
    weights = Weights.of(
        {name: state[name][None] for name in WEIGHTS} | {"r": state["r"]}, device=CPU, dtype=torch.float64
    )
    exact = Evaluation(regime, state, device=CPU)(weights)
    sampled = Evaluation(regime.replace(prompt={"sigma_x": 1e-12}), state, device=CPU)(weights)
    # Values lie in [0, 1], so the mean of the sample has a standard error of at most 0.5 / sqrt(N); five of them.
    # The other law differs by a quarter of the prompts at L = 2.
    allowed = 5 * 0.5 / np.sqrt(EVALUATION_PROMPTS)
    for name in ("error", "attention"):
        assert abs(exact[name] - sampled[name]).max() < allowed


def test_the_evaluation_sample_is_not_the_training_data(random_regime, generic_state):
    regime = random_regime(4, prompt={"L": 5, "sigma_y": 0.1})
    dictionaries = Dictionaries.of(generic_state(regime, 4), device=CPU, dtype=torch.float64)
    evaluated = _sample(regime, dictionaries).signs[0].numpy()
    trained = (
        PromptStream(regime, purpose=Purpose.DATA, members=range(1), batch=EVALUATION_PROMPTS)
        .draw(1)
        .signs[0, 0]
        .numpy()
    )
    # Signs are fair and the two sets independent, so they agree in half of the places; those of one prompt hang together,
    # which leaves a standard error of at most 0.5 / sqrt(prompts). Five of them.
    assert abs((evaluated == trained).mean() - 0.5) < 5 * 0.5 / np.sqrt(EVALUATION_PROMPTS)
