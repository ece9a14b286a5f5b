"""Claims of the family dynamics: what training reaches, and where it comes to rest (THEORY.md sections 6 and 7)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import sympy as sp

from polyseme.checks.core.claim import Claim, Hypothesis, NegativeControl
from polyseme.checks.core.evidence import Compared, Evidence, Exact, Facts, Share
from polyseme.checks.core.provenance import Basis, Ground
from polyseme.checks.core.rules.exact import ExactZero, RoundOff
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.hypotheses import (
    FAIR,
    LOGISTIC_RELU,
    MATCHED,
    NO_GATES,
    PURE,
    SEVERAL_DEMONSTRATIONS,
)
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.dynamics.gate_flow import Event, flow
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b
from polyseme.theory.multi_concept.regime import Regime

Widened = Callable[[Regime], Regime]
"""For which regime a statement is made, given the one on trial: itself, or one beyond the hypotheses."""

# -- every concept is learned ------------------------------------------------------------------------------

# Steps of size m up to time 300 m. Of 800 random regimes within the hypotheses below all had learned every concept by then;
# with steps of 3 m and kappa_x = 0.8, 59 of 800 had not, and never did: large steps shut gates for ever.
LEARNING_STEPS = 300
# Beyond this share of the weights taken off by one step, a step of size m overshoots; 300 such steps forget any start.
MOST_DECAY = 0.5
MOST_DEAD = 1e-6


def _lacking(regime: Regime) -> float:
    """A bound on the probability that some label of some concept has no open neuron of one sign of r at the start.

    A neuron is open on a label with probability 1/2, and half of the m neurons have each sign.
    """
    return 4 * regime.concepts.K1 * 2.0 ** -(regime.model.m // 2)


WIDE = Hypothesis(
    key="wide",
    name="wide enough for every concept to have open neurons of both signs: 4 K1 2^-(m/2) <= 1e-6",
    holds=lambda regime: _lacking(regime) <= MOST_DEAD,
    got=lambda regime: f"m = {regime.model.m}, K1 = {regime.concepts.K1}: 4 K1 2^-(m/2) = {_lacking(regime):.2g}",
    suggests={"model": {"m": (48, 64, 96)}},
)


def _weight(regime: Regime) -> float:
    return regime.training.lam * regime.model.m * regime.concepts.K1


MOST_WEIGHT = 0.02

LIGHT = Hypothesis(
    key="light_penalty",
    name=f"a penalty that leaves room for the signal: lam m K1 <= {MOST_WEIGHT:g}",
    holds=lambda regime: _weight(regime) <= MOST_WEIGHT,
    got=lambda regime: f"lam m K1 = {_weight(regime):.3g}",
    suggests={"training": {"lam": (1e-4, 1e-5, 1e-6)}},
)

EVEN_CONCEPTS = Hypothesis(
    key="even_concepts",
    name="no concept is rare: pi_k >= 1 / (2 K1), and K1 <= 3, the time of 300 m being enough for so many",
    holds=lambda regime: regime.concepts.K1 <= 3 and min(regime.concepts.probabilities) >= 1 / (2 * regime.concepts.K1),
    got=lambda regime: f"pi = {', '.join(f'{p:.3g}' for p in regime.concepts.probabilities[:5])}",
    suggests={"concepts": {"weights": (None,), "K1": (1, 2, 3)}},
)

ORDINARY = Hypothesis(
    key="ordinary_start",
    name="an ordinary start and overlap: 0.1 <= sigma_0 <= 1, 0.05 <= sigma_1 <= 0.3, kappa_x, kappa_y <= 0.8, L <= 6",
    holds=lambda regime: (
        0.1 <= regime.model.sigma_0 <= 1
        and 0.05 <= regime.model.sigma_1 <= 0.3
        and max(regime.concepts.kappa_x, regime.concepts.kappa_y) <= 0.8
        and regime.prompt.L <= 6
    ),
    got=lambda regime: (
        f"sigma_0 = {regime.model.sigma_0:g}, sigma_1 = {regime.model.sigma_1:g}, kappa_x = {regime.concepts.kappa_x:g}, "
        f"kappa_y = {regime.concepts.kappa_y:g}, L = {regime.prompt.L}"
    ),
    suggests={
        "model": {"sigma_0": (0.1, 0.3, 1.0), "sigma_1": (0.1, 0.05, 0.3)},
        "concepts": {"kappa_x": (0.0, 0.2, 0.5, 0.8), "kappa_y": (0.0, 0.3, 0.5, 0.8)},
    },
)


@dataclass(frozen=True, kw_only=True)
class DescentFacts(Facts):
    """How long population descent took (the sum of its steps), the mean correct attention weight then, and what the hypotheses weigh."""

    time: float
    attention_at_the_end: Share
    lam_m_K1: float
    m: int


def _learned(context: TrainingContext, widened: Widened) -> Evidence:
    regime = widened(context.one)
    training = {
        "batch": "population",
        "schedule": "constant",
        "eta": min(float(regime.model.m), MOST_DECAY / max(regime.training.lam, 1e-12)),
        "steps": LEARNING_STEPS,
        "record_every": LEARNING_STEPS,
    }
    regime = regime.replace(training=training)
    end = integrate_b(regime, context.draw(regime))
    L, K1 = regime.prompt.L, regime.concepts.K1
    # The 0-1 error is a sum of probabilities of prompts: zero, or at least that of the rarest prompt.
    row = Compared(
        name="0-1 error at the end", difference=float(end["error"][-1]), scale=1.0, roundings=16.0 * K1 * (L + 1)
    )
    facts = DescentFacts(
        time=LEARNING_STEPS * training["eta"],
        attention_at_the_end=float(end["attention"][-1]),
        lam_m_K1=_weight(regime),
        m=regime.model.m,
    )
    return Evidence(rows=(row,), facts=facts)


def _heavier(regime: Regime) -> Regime:
    """With lam = 1/sqrt(m), at least ten times lam_c <= 0.1 / sqrt(m) (L >= 2), whatever the width (THEORY.md section 6)."""
    return regime.replace(training={"lam": regime.model.m**-0.5})


LEARNED = Claim.single(
    id="dynamics/every_concept_is_learned",
    statement="Population descent of level B in steps of size m has learned every concept by time 300 m (or 150 / lam, if that is "
    "sooner): no pure prompt is misclassified any more.",
    formula=r"\Pr(e f \le 0) = 0 \quad\text{at}\quad \tau = 300\, m",
    section="7",
    hypotheses=(
        PURE,
        MATCHED,
        SEVERAL_DEMONSTRATIONS,
        FAIR,
        LOGISTIC_RELU,
        EVEN_CONCEPTS,
        ORDINARY,
        WIDE,
        LIGHT,
    ),
    asserts=lambda: lambda regime: regime,
    measure=_learned,
    facts=DescentFacts,
    rule=RoundOff(
        reason="16 K1 (L + 1) unit round-offs: a sum of the probabilities of the prompts, which are zero or not"
    ),
    controls=(
        NegativeControl(
            name="quantifier widened",
            statement="also under a penalty with lam = 1/sqrt(m)",
            asserts=lambda: _heavier,
        ),
    ),
    uses=("closure/population_descent_equals_level_b",),
    rests_on=(
        Basis(ground=Ground.ASSUMPTION, text="level B stands for the full model, one start"),
        Basis(ground=Ground.ROUND_OFF, text="the sign of f for each prompt, in float64"),
    ),
)

# -- where training ends -----------------------------------------------------------------------------------

# The slowest mode decays at least as exp(-lam tau): after 15 / lam what is left of a start of order one is below 1e-6.
REST, STILL, FLOW_TOLERANCE = 15.0, 1e-5, 1e-8

FLOWS = Hypothesis(
    key="flows",
    name="a flow that can be solved to its end in seconds: m K1 (L + 1) <= 200, 1e-4 <= lam m K1 <= 0.1",
    holds=lambda regime: (
        regime.model.m * regime.concepts.K1 * (regime.prompt.L + 1) <= 200 and 1e-4 <= _weight(regime) <= 0.1
    ),
    got=lambda regime: (
        f"m K1 (L + 1) = {regime.model.m * regime.concepts.K1 * (regime.prompt.L + 1)}, "
        f"lam m K1 = {_weight(regime):.3g}"
    ),
    suggests={
        "concepts": {"K1": (1, 2)},
        "prompt": {"L": (2, 3)},
        "model": {"m": (1, 2, 4, 8)},
        "training": {"lam": (1e-2, 5e-3, 2e-3)},
    },
)


def _sliding(events: tuple[Event, ...]) -> set[tuple[int, ...]]:
    """The gates that slide along their kinks at the end: (concept, sign, count n+, neuron) of each."""
    groups: set[tuple[int, ...]] = set()
    for event in events:
        (groups.add if event.kind == "slides" else groups.discard)(tuple(event.group))
    return groups


def _smooth(context: TrainingContext, widened: Widened) -> Evidence:
    regime = widened(context.one)
    tau = REST / regime.training.lam
    solved = flow(regime, context.draw(regime), tau=tau, tolerance=FLOW_TOLERANCE)
    end, before = solved.vector(tau), solved.vector(0.9 * tau)
    size, moved = float(np.abs(end).max()), float(np.abs(end - before).max())
    if moved > STILL * max(size, STILL):
        raise PolysemeError(
            f"the flow still moved by {moved / size:.2g} of its size in its last tenth, expected it to have come to rest; "
            "type a larger lam in [training]"
        )
    beta = solved(np.array([tau]))["beta"][0]
    # A neuron whose weights have decayed rests on its kink without any effect.
    living = np.abs(beta).max(axis=1) > STILL
    on_kinks = [group for group in _sliding(tuple(solved.events)) if living[group[-1]]]
    row = Exact(name="gates of living neurons on their kinks", residual=sp.Integer(len(on_kinks)))
    facts = {"time": tau, "moved in the last tenth": moved / max(size, math.ulp(1.0)), "size": size}
    return Evidence(rows=(row,), facts=facts | {"gate events": len(solved.events), "living neurons": int(living.sum())})


END = Claim.single(
    id="dynamics/end_of_training_is_smooth",
    statement="Where the gradient flow of level B comes to rest the risk is smooth: no gate of a living neuron is on its kink.",
    formula=r"h_i \ne 0 \text{ for every pure prompt and living neuron, as } \tau \to \infty",
    section="6",
    hypotheses=(PURE, SEVERAL_DEMONSTRATIONS, FLOWS, NO_GATES),
    asserts=lambda: lambda regime: regime,
    measure=_smooth,
    rule=ExactZero(reason="a gate that slides is held exactly on its kink, so the count is a whole number"),
    controls=(
        NegativeControl(
            name="quantifier widened",
            statement="also for neurons with gates: ReLU",
            asserts=lambda: (
                lambda regime: regime.replace(model={"activation": "relu", "m": 4, "sigma_0": 0.3, "sigma_1": 0.3})
            ),
        ),
    ),
    uses=("closure/recursion_converges_to_the_sliding_flow",),
    rests_on=(Basis(ground=Ground.CONVERGENCE, text="an adaptive solver at tolerance 1e-8, followed to rest"),),
)

CLAIMS = (LEARNED, END)
