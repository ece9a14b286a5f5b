"""A claim of the family dynamics about the penalty: up to which one concepts are learned (THEORY.md section 6.2)."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Evidence, Facts
from polyseme.checks.core.provenance import STATISTICS
from polyseme.checks.multi_concept.claims.dynamics.concepts import SINGLE_CONCEPTS
from polyseme.checks.multi_concept.claims.dynamics.signs import ONE_CONCEPT, RARE, exceptions, rare_plan
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.phase_diagrams import PenaltySweep, learned, over_penalty
from polyseme.checks.multi_concept.sampling.concepts import Law, draw
from polyseme.theory.multi_concept.dynamics.concepts import Concepts, Start

# Three demonstrations at least: with two a mixed prompt is a tie, which any trace of attention tips. Five at most: lam_c is to leading
# order in the outputs, and where more neurons of one sign live than of the other these are not small beside u = 1/(2 (2^L - 1)).
SIZES = ((3, 4), (3, 16), (4, 4), (4, 24), (5, 16))
LAW = Law(groups=SIZES, sigma_0=(0.02, 0.2), sigma_1=(0.01, 0.05), penalty=(1.0, 1.0))
BELOW, ABOVE = 0.8, 1.25
# At each of the two penalties and sizes. Steps of m / pi_k, or of 4% of what the penalty takes off: 20 / lam or more in all.
MEMBERS, STEPS, LARGEST_DECAY = 168, 1800, 0.04
TYPICAL_WIDTH = 16

Combination = Callable[[int], float]
"""By what the critical penalty is multiplied for each width, 1 at m = 16."""


def _outcome(group: tuple[int, int], combination: Combination) -> tuple[np.ndarray, np.ndarray]:
    """Which members are learned below the penalty that is called critical, and which above."""
    m, of = group[1], draw(LAW, group, members=2 * MEMBERS, number=5).concepts
    ratio = np.where(np.arange(2 * MEMBERS) < MEMBERS, BELOW, ABOVE) * combination(m)
    lam = of.given.lam * ratio
    numbers = dataclasses.replace(of.given, lam=lam, eta=np.minimum(m / of.given.weight, LARGEST_DECAY / lam))
    start = Start(sigma_0=of.weight("W_Q", "bb"), alpha=of.alpha, beta=of.beta)
    found = learned(Concepts(L=of.L, r=of.r, numbers=numbers, start=start), STEPS)
    return found[:MEMBERS], found[MEMBERS:]


@dataclass(frozen=True, kw_only=True)
class SizeRow(Facts):
    """Shares of concepts learned below the critical penalty and above it, at one number of demonstrations and width."""

    L: int
    m: int
    learned_below: float
    learned_above: float


@dataclass(frozen=True, kw_only=True)
class PenaltyFacts(Facts):
    """Shares at the sizes of the claim, after so many steps; and shares over the penalty at other widths."""

    sizes: Sequence[SizeRow]
    steps: int
    sweep: PenaltySweep


def _penalty(context: TrainingContext, combination: Combination) -> Evidence:
    outcomes = {group: _outcome(group, combination) for group in SIZES}
    rows = (
        exceptions(f"not learned at {BELOW} of the critical penalty", *(~below for below, _ in outcomes.values())),
        exceptions(f"learned at {ABOVE} of it", *(above for _, above in outcomes.values())),
    )
    sizes = [
        SizeRow(L=L, m=m, learned_below=float(below.mean()), learned_above=float(above.mean()))
        for (L, m), (below, above) in outcomes.items()
    ]
    facts = PenaltyFacts(sizes=sizes, steps=STEPS, sweep=context.cached("penalty sweep", over_penalty))
    return Evidence(rows=rows, facts=facts)


def _root(m: int) -> float:
    del m
    return 1.0


def _width(m: int) -> float:
    return (TYPICAL_WIDTH / m) ** 0.5


PENALTY = Claim.single(
    id="dynamics/critical_penalty_is_that_of_an_unstable_plateau",
    statement="With three to five demonstrations, a concept with a living neuron of each sign is learned from a small start at 0.8 of lam_c = pi_k n_b n_c n_d sqrt(q live / (4 m (2^L - 1))) and not at "
    "1.25 of it, up to exceptions rarer than one in fifty: to within these factors, the penalty at which even attention ceases to be unstable under what the "
    "resting MLP feeds it. For even concepts the threshold is at a fixed lam K1 sqrt(m), not at a fixed lam m K1.",
    formula=r"\text{learned at } \tfrac45 \lambda_c,\ \text{not at } \tfrac54 \lambda_c, \qquad \lambda_c = \pi_k\, n_b n_c n_d \sqrt{\frac{q\, \ell}{4 m (2^L - 1)}}, \qquad q = \frac{1 - 1/L}{1 - 2^{-L}}",
    section="6",
    scope="any regime",
    asserts=lambda: _root,
    measure=_penalty,
    facts=PenaltyFacts,
    rule=RARE,
    plan=rare_plan(2, MEMBERS * len(SIZES)),
    controls=(
        NegativeControl(
            name="lam m K1",
            statement="the threshold is at a fixed lam m K1, that of m = 16",
            asserts=lambda: _width,
        ),
    ),
    uses=(SINGLE_CONCEPTS.id, "dynamics/concept_is_learned_if_and_only_if_each_label_has_an_open_neuron"),
    rests_on=(STATISTICS, ONE_CONCEPT),
)

CLAIMS = (PENALTY,)
