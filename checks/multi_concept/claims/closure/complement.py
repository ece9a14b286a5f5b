"""Claims of the family closure about what level B leaves out (THEORY.md sections 4 and 7)."""

from collections.abc import Mapping

import numpy as np

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Compared, Evidence
from polyseme.checks.core.provenance import ROUND_OFF
from polyseme.checks.core.rules.exact import RoundOff
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.hypotheses import (
    ATTENTION_STARTS,
    DISTINCT,
    GENTLE,
    MLP_STARTS,
    PENALISED,
    PURE,
    SOMETHING_OUTSIDE,
    TRAINS,
)
from polyseme.checks.multi_concept.round_off.paths import COLLECTED, population_reference, roundings_of
from polyseme.theory.multi_concept.coefficients import concept_vectors
from polyseme.theory.multi_concept.dynamics.integrate import step_size
from polyseme.theory.multi_concept.regime import Regime


def _decay(regime: Regime, updates: int) -> float:
    """prod_t (1 - eta_t lambda) over the first `updates` updates."""
    return float(np.prod([1 - step_size(regime, t) * regime.training.lam for t in range(updates)]))


def outside_state(weights: Mapping[str, np.ndarray], K1: int) -> dict[str, np.ndarray]:
    """Full weights with the level-B state projected out: blocks of one concept in W_Q and W_K, span Q in W_O."""
    words = concept_vectors(weights["M"], K1)
    labels = concept_vectors(weights["Q"], K1).reshape(2 * K1, -1)
    rest = {}
    for name in ("W_Q", "W_K"):
        inside = np.einsum("ksd,kse,ef,ktf,ktg->dg", words, words, weights[name], words, words)
        rest[name] = weights[name] - inside
    rest["W_O"] = weights["W_O"] - weights["W_O"] @ labels.T @ labels
    return rest


def _complement(context: TrainingContext, one_more: int) -> Evidence:
    regime, run, initial = context.population_regime, context.population_run, context.initial
    K1 = regime.concepts.K1
    before = outside_state(initial, K1)
    after = outside_state(dict(initial) | {name: run[f"final_{name}"] for name in before}, K1)
    roundings = roundings_of(regime, population_reference(context))
    factor, rows = _decay(regime, regime.training.steps + one_more), []
    for name, start in before.items():
        # Projecting out the state leaves behind its round-off, and that of every gradient that was added to it.
        scale = float(max(np.abs(run[f"final_{name}"]).max(), np.abs(initial[name]).max())) or 1.0
        rows.append(
            Compared(
                name=name,
                difference=float(np.abs(after[name] - factor * start).max()),
                scale=scale,
                roundings=roundings,
            )
        )
    return Evidence(rows=tuple(rows), facts={"steps": regime.training.steps, "decay": factor})


COMPLEMENT = Claim.single(
    id="closure/complement_decays_exactly",
    statement="Everything outside the state of level B decays exactly as prod_t (1 - eta_t lambda): tried with random entries in "
    "every block of W_Q and W_K that acts on irrelevant and spare directions, and in the spare directions of W_O.",
    formula=r"W_\perp(T) = \prod_{t<T} (1 - \eta_t\lambda)\, W_\perp(0)",
    section="4",
    hypotheses=(PURE, DISTINCT, PENALISED, GENTLE, ATTENTION_STARTS, MLP_STARTS, TRAINS, SOMETHING_OUTSIDE),
    asserts=lambda: 0,
    measure=_complement,
    rule=RoundOff(reason=COLLECTED),
    controls=(
        NegativeControl(
            name="one update too many",
            statement="it decays as the product over one update more",
            asserts=lambda: 1,
        ),
    ),
    uses=("algebra/peirce_blocks_split_the_norm", "closure/generic_neurons_reach_level_b"),
    rests_on=(ROUND_OFF,),
)

CLAIMS = (COMPLEMENT,)
