"""The gradients of section 3 for any prompt, against differences of a loss that is written out in loops."""

from math import exp, log1p

import numpy as np
import pytest

from polyseme.theory.multi_concept.reference.prompt_gradients import prompt_gradients


def loss(weights, prompts):
    """Mean l(e f): the model of section 1, one prompt and one demonstration at a time."""
    total = 0.0
    for x, y, x_query, e in zip(prompts["x"], prompts["y"], prompts["x_query"], prompts["e"], strict=True):
        scores = [exp((weights["W_K"] @ word) @ (weights["W_Q"] @ x_query)) for word in x]
        v = sum(score / sum(scores) * label for score, label in zip(scores, y, strict=True))
        f = sum(r * max(row @ v, 0.0) for r, row in zip(weights["r"], weights["W_O"], strict=True))
        total += log1p(exp(-e * f)) / len(prompts["e"])
    return total


@pytest.mark.parametrize("seed", range(5))
def test_the_stated_gradients_are_slopes_of_the_loss(seed):
    rng = np.random.default_rng(seed)
    d_x, d_y, m, L, B = (int(rng.integers(2, 6)) for _ in range(5))
    weights = {"W_Q": (d_x, d_x), "W_K": (d_x, d_x), "W_O": (m, d_y), "r": (m,)}
    weights = {name: rng.standard_normal(shape) for name, shape in weights.items()}
    prompts = {"x": (B, L, d_x), "y": (B, L, d_y), "x_query": (B, d_x)}
    prompts = {name: 0.7 * rng.standard_normal(shape) for name, shape in prompts.items()}
    prompts["e"] = rng.choice([-1.0, 1.0], B)
    gradients = prompt_gradients(weights, prompts)
    step = 1e-5
    for name in ("W_Q", "W_K", "W_O"):
        assert gradients[name].shape == weights[name].shape
        direction = rng.standard_normal(weights[name].shape)
        ends = [loss(weights | {name: weights[name] + sign * step * direction}, prompts) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        # step^2 times a third derivative of at most some hundreds, plus eps / step: both about 1e-8.
        assert (gradients[name] * direction).sum() == pytest.approx(slope, rel=1e-6, abs=1e-7)
    assert np.abs(gradients["W_Q"]).max() > 1e-5
