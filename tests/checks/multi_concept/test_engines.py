"""Mistakes in the fast step and in the reduced sampler, each of which a claim has to refute."""

from functools import cache

import pytest
import torch

import polyseme.sim.multi_concept.training.engine
import polyseme.sim.multi_concept.training.samplers
import polyseme.sim.multi_concept.training.step
from polyseme.checks.core.evaluation import judge
from polyseme.checks.multi_concept.claims.gradient.engines import FAST_STEP, SAMPLERS_AGREE
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.sim.multi_concept.training.step import Factors
from polyseme.theory.multi_concept.regime import Regime


@cache
def context() -> TrainingContext:
    """One for all: the literal sampler, which no mistake below touches, runs once. The level asks for few members."""
    return TrainingContext(Regime(), level=0.01)


def verdict(claim, asserted=None) -> str:
    part = claim.part()
    return str(judge(part, context(), part.asserts() if asserted is None else asserted)[1].verdict)


def wrong_gradient(of, weights):
    """Left factors of W_Q through W_K in place of its transpose."""
    pull = of.W_K.right
    return polyseme.sim.multi_concept.training.step.Gradient(
        outcome=of.outcome, W_Q=Factors(left=pull @ weights[1], right=of.W_Q.right), W_K=of.W_K, W_O=of.W_O
    )


def no_mean_in_the_softmax(patch):
    softmax = torch.Tensor.sum

    def nothing(self, *args, **options):
        # The one sum over demonstrations with keepdim is that of p times scores.
        total = softmax(self, *args, **options)
        return 0 * total if options.get("keepdim") and self.ndim == 3 else total

    patch.setattr(torch.Tensor, "sum", nothing)


FAST = {
    "keys for queries": lambda patch: patch.setattr(
        polyseme.sim.multi_concept.training.engine,
        "gradient",
        lambda w, *rest: wrong_gradient(polyseme.sim.multi_concept.training.step.gradient(w, *rest), w),
    ),
    "softmax without its mean": no_mean_in_the_softmax,
    "slope of the leaky ReLU": lambda patch: patch.setattr(polyseme.sim.multi_concept.training.step, "LEAK", 0.25),
    "slope of the loss": lambda patch: patch.setattr(
        polyseme.sim.multi_concept.training.step, "_loss_slope", lambda _functions, margin: -margin.exp()
    ),
}


@pytest.mark.parametrize("mistake", FAST)
def test_a_mistake_in_the_fast_step_is_refuted(mistake, monkeypatch):
    FAST[mistake](monkeypatch)
    assert verdict(FAST_STEP) == "refuted"


def changed(name: str, **changes):
    """A patch that multiplies what a class is made from."""

    def patch(monkeypatch):
        made = getattr(polyseme.sim.multi_concept.training.samplers, name)
        monkeypatch.setattr(
            polyseme.sim.multi_concept.training.samplers,
            name,
            lambda **given: made(**given | {key: x * given[key] for key, x in changes.items()}),
        )

    return patch


def other_counts(monkeypatch):
    right = polyseme.sim.multi_concept.training.samplers._count_table
    monkeypatch.setattr(
        polyseme.sim.multi_concept.training.samplers,
        "_count_table",
        lambda regime, e: right(regime.replace(prompt={"law": "iid"}), e),
    )


REDUCED = {
    "no noise on the query": changed("ReducedWordNoise", query=0.0),
    "label noise a fifth too small": changed("ReducedLabelNoise", sigma=0.8),
    "signs without a match": other_counts,
}


# One test, so that parallel workers do not repeat the runs of the literal sampler.
@pytest.mark.slow
@pytest.mark.usefixtures("unchecked_types")
def test_the_reduced_sampler_agrees_and_a_mistake_in_it_is_refuted():
    assert verdict(SAMPLERS_AGREE) == "supported"
    assert verdict(SAMPLERS_AGREE, "labels not projected") == "refuted"
    assert verdict(SAMPLERS_AGREE, "words not projected") == "refuted"
    found = {}
    for name, mistake in REDUCED.items():
        with pytest.MonkeyPatch.context() as patch:
            mistake(patch)
            found[name] = verdict(SAMPLERS_AGREE)
    assert found == dict.fromkeys(REDUCED, "refuted")
