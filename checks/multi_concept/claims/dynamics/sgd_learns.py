"""A claim of the family dynamics about the full model under SGD: every concept is learned (THEORY.md section 7)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from polyseme.checks.core.claim import Claim, Hypothesis, NegativeControl
from polyseme.checks.core.evidence import Evidence, Exact, Share
from polyseme.checks.core.provenance import Basis, Ground
from polyseme.checks.core.rules.exact import ExactZero
from polyseme.checks.multi_concept.claims.dynamics.dynamics import EVEN_CONCEPTS, LIGHT, ORDINARY, WIDE
from polyseme.checks.multi_concept.claims.dynamics.learned import LearnedFacts
from polyseme.checks.multi_concept.context import PURE, Arrays, TrainingContext
from polyseme.checks.multi_concept.hypotheses import (
    FAIR,
    FEW_EXTRAS,
    LOGISTIC_RELU,
    LOW_NOISE,
    MATCHED,
    MINIBATCHES,
    SEVERAL_DEMONSTRATIONS,
)
from polyseme.errors import Diverged
from polyseme.theory.multi_concept.regime import Regime

Widened = Callable[[Regime], Regime]

# -- long enough, in steps that are gentle enough --------------------------------------------------------------------------------

# In units of m: the rarest concept's share of the time, for each demonstration. And the largest first step, which minibatches of 32 or
# more allow; smaller ones allow less in proportion, because their noise makes a model forget again.
LEAST_TIME, LARGEST_STEP, BATCH, SMALLEST_BATCH = 15.0, 0.25, 32, 8


def time_of(regime: Regime) -> float:
    """sum_t eta_t over the run (an integral of the inverse schedule)."""
    training = regime.training
    if training.schedule == "inverse":
        return 2 * math.log1p(training.steps / training.gamma) / training.lam
    return training.eta * training.steps


def _first_step(regime: Regime) -> float:
    training = regime.training
    return 2 / (training.lam * training.gamma) if training.schedule == "inverse" else training.eta


def _batch(regime: Regime) -> float:
    return math.inf if regime.training.batch == "population" else float(regime.training.batch)


def _time_of_the_rarest(regime: Regime) -> float:
    """The time that the rarest concept that occurs has, in units of m L."""
    rarest = min(p for p in regime.concepts.probabilities if p > 0)
    return time_of(regime) * rarest / (regime.model.m * regime.prompt.L)


def _largest_step(regime: Regime) -> float:
    return regime.model.m * LARGEST_STEP * min(1.0, _batch(regime) / BATCH)


LONG = Hypothesis(
    key="long_enough",
    name=f"long enough, in gentle steps: sum_t eta_t min_k pi_k >= {LEAST_TIME:g} m L, eta_0 <= (m/4) min(1, B/{BATCH}), B >= {SMALLEST_BATCH}",
    holds=lambda regime: (
        _time_of_the_rarest(regime) >= LEAST_TIME * (1 - 1e-12)
        and _first_step(regime) <= _largest_step(regime) * (1 + 1e-12)
        and _batch(regime) >= SMALLEST_BATCH
    ),
    got=lambda regime: (
        f"sum_t eta_t min_k pi_k = {_time_of_the_rarest(regime):.3g} m L, eta_0 = {_first_step(regime) / regime.model.m:.3g} m, "
        f"B = {regime.training.batch}"
    ),
    suggests={
        "training": {"batch": (32, 64), "schedule": ("constant",), "eta": (12.0, 8.0), "steps": (1500, 2000, 3000)},
    },
)

# -- every concept is learned --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SgdFacts(LearnedFacts):
    """What the model has learned at the end of training, on pure prompts: of concepts that occur, and means over prompts.

    `attention` is the mean correct attention weight, `smallest_margin` the least e f; NaN for a run that diverged.
    """

    steps: int
    time_over_m: float
    lam_m_K1: float
    attention: Share
    error_on_pure_prompts: Share
    smallest_margin: float


def _on_pure_prompts(context: TrainingContext, regime: Regime) -> Arrays:
    """e f, attention and probability of each pure prompt (k, e, n+) after training from the regime's own start; Diverged if there is no end."""
    start = context.draw(regime)
    end = context.train(regime.replace(training={"record_every": max(1, regime.training.steps)}), start)
    weights = {name: end[f"final_{name}"][None] for name in ("W_Q", "W_K", "W_O")} | {"r": start["r"]}
    seen = context.counted_outcomes(regime.replace(prompt=PURE), weights, start["M"], start["Q"])
    e = np.array([1.0, -1.0])[:, None]
    return {
        "margin": seen["f"][0] * e,
        "attention": seen["attention"][0],
        "probability": seen["probability"],
    }


def _learned(context: TrainingContext, widened: Widened) -> Evidence:
    regime = widened(context.one)
    given: dict[str, Any] = {
        "steps": regime.training.steps,
        "time_over_m": time_of(regime) / regime.model.m,
        "lam_m_K1": regime.training.lam * regime.model.m * regime.concepts.K1,
    }
    name = "pure prompts misclassified"
    try:
        seen = _on_pure_prompts(context, regime)
    except Diverged:
        # Weights that are no numbers classify nothing.
        occurring = sum(p > 0 for p in regime.concepts.probabilities)
        row = Exact(name=f"{name}, all of a run that diverged", residual=sp.Integer(occurring * 2 * regime.prompt.L))
        facts = SgdFacts(
            **given,
            share_learned=0.0,
            all_learned=0,
            attention=math.nan,
            error_on_pure_prompts=1.0,
            smallest_margin=math.nan,
        )
        return Evidence(rows=(row,), facts=facts)
    probability = seen["probability"]
    occurs = probability.sum(axis=(1, 2)) > 0
    wrong = ~(seen["margin"] > 0) & (probability > 0)
    learned = np.logical_not(wrong[occurs].any(axis=(1, 2)))
    facts = SgdFacts(
        **given,
        share_learned=float(learned.mean()),
        all_learned=int(learned.all()),
        attention=float((seen["attention"] * probability).sum()),
        error_on_pure_prompts=float((wrong * probability).sum()),
        smallest_margin=float(seen["margin"][probability > 0].min()),
    )
    return Evidence(rows=(Exact(name=name, residual=sp.Integer(int(wrong.sum()))),), facts=facts)


# Once the start is forgotten |beta| <= n_d / (m lam) for every neuron, whatever the prompts of the batches, because |l'| <= 1. What multiplies
# W_K b_k in the update of W_Q is then at most n_b n_d^2 / (m lam), less than half of lam where lam = 1 / sqrt(m): attention dies out, and after
# 160 steps of lam eta = 1/4 none is left that float64 could see. The prompts (k, +, n+) and (k, -, n+) have one output, and one of them is wrong.
HEAVY_STEPS, HEAVY_DECAY = 160, 0.25


def _within(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)


def _heavily_penalised(regime: Regime) -> Regime:
    """Pure prompts and an ordinary start, under a penalty that no attention survives."""
    lam = regime.model.m**-0.5
    model = regime.model
    return regime.replace(
        prompt=PURE | {"L": max(2, regime.prompt.L)},
        model={"sigma_0": _within(model.sigma_0, 0.1, 1.0), "sigma_1": _within(model.sigma_1, 0.05, 0.3)},
        training={
            "lam": lam,
            "schedule": "constant",
            "eta": HEAVY_DECAY / lam,
            "steps": HEAVY_STEPS,
            "loss": "logistic",
        },
    )


SGD_LEARNS = Claim.single(
    id="dynamics/sgd_learns_every_concept",
    statement="Minibatch SGD of the full model, from this regime's own start, with its noise, other concepts in the words, schedule and number of steps, "
    "ends with every concept learned: the trained model classifies every pure prompt of each concept that occurs rightly.",
    formula=r"e f_{W(T)}(k, e, n_+) > 0 \quad \text{for all } (k, e, n_+) \text{ of positive probability}",
    section="7",
    hypotheses=(
        MINIBATCHES,
        MATCHED,
        FAIR,
        SEVERAL_DEMONSTRATIONS,
        LOGISTIC_RELU,
        EVEN_CONCEPTS,
        ORDINARY,
        WIDE,
        LIGHT,
        LOW_NOISE,
        FEW_EXTRAS,
        LONG,
    ),
    asserts=lambda: lambda regime: regime,
    measure=_learned,
    facts=SgdFacts,
    rule=ExactZero(
        reason="prompts are counted, all (k, e, n+) of them: the number of those misclassified is a whole one"
    ),
    controls=(
        NegativeControl(
            name="any penalty",
            statement="also under a penalty lam = 1 / sqrt(m), on pure prompts",
            asserts=lambda: _heavily_penalised,
        ),
    ),
    uses=(
        "gradient/noise_is_gaussian_with_the_stated_deviation",
        "gradient/other_concepts_follow_the_law",
    ),
    rests_on=(
        Basis(ground=Ground.ASSUMPTION, text="one run of SGD, with the seed of the regime"),
        Basis(ground=Ground.ROUND_OFF, text="the sign of f for each prompt, in float64"),
    ),
)

CLAIMS = (SGD_LEARNS,)
