"""Claims about what carries over to other laws, and how far (THEORY.md section 7, P9)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from polyseme.checks.core.claim import Claim, Hypothesis, NegativeControl, OutsideHypotheses
from polyseme.checks.core.evidence import Compared, Evidence
from polyseme.checks.core.provenance import ROUND_OFF, Basis, Ground
from polyseme.checks.core.rules.exact import RoundOff
from polyseme.checks.multi_concept.claims.out_of_distribution.laws import possible
from polyseme.checks.multi_concept.claims.out_of_distribution.lengths import LENGTHS, TRANSFER
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.hypotheses import MATCHED
from polyseme.checks.multi_concept.out_of_distribution.models import (
    ScenarioFacts,
    ScenarioRow,
    compared,
    pure_law,
    trained,
    wrong_prompts,
)
from polyseme.checks.multi_concept.out_of_distribution.scenarios import Law, Scenario, of_length, scenario
from polyseme.theory.multi_concept.outcome.out_of_distribution import Model, best_odds, least_odds

ZERO = RoundOff(reason="16 K1 (L + 1) unit round-offs: a sum of the probabilities of prompts, which are zero or not")

# -- what each match outvotes ----------------------------------------------------------------------------------

CARRIED = tuple(
    scenario(name)
    for name in (
        "training",
        "skewed",
        "word_signs",
        "label_signs",
        "word_concepts",
        "label_concepts",
        "concepts",
        "length=16+skewed",
        "length=64+word_signs",
        "length=32+skewed+word_concepts",
    )
) + tuple(of_length(L) for L in LENGTHS)


Odds = Callable[[Model, Law], float]


def _least(model: Model, law: Law) -> float:
    return float(least_odds(model, law.regime, law.M, law.Q)[0])


def _best(model: Model, law: Law) -> float:
    return float(best_odds(model, law.regime, law.M, law.Q)[0])


def below_the_odds(law: Law, odds: float) -> Bool[np.ndarray, "1 2 counts"]:
    """Whether fewer than `odds` demonstrations of the other sign stand beside each that matches, by query sign and count n+."""
    L = law.regime.prompt.L
    positive = np.arange(L + 1.0)
    matches = np.stack([positive, L - positive])[None]
    # No prompt of a matching law is without a match.
    return (matches > 0) & (L - matches < odds * np.maximum(matches, 1))


def _beyond(name: str, law: Law, error: float) -> Compared:
    """An error that should be zero: a sum of the probabilities of prompts, which are answered or not."""
    return Compared(
        name=name, difference=error, scale=1.0, roundings=16.0 * law.regime.concepts.K1 * (law.regime.prompt.L + 1)
    )


@dataclass(frozen=True, kw_only=True)
class CarriedRow(ScenarioRow):
    """With the odds R, and how probable prompts below them are."""

    R: float
    probability_below_the_odds: float


def _carried(context: TrainingContext, odds_of: Odds) -> Evidence:
    rows, table, base = [], [], pure_law(context)
    for one in trained(context):
        odds = odds_of(one.model, base)
        for each, law in possible(context, CARRIED):
            _, line = compared(context, one, law, name=each.name)
            wrong, probability = wrong_prompts(context, one, law, each.name)
            below = below_the_odds(law, odds)
            error = float((wrong * below * probability).sum())
            rows.append(_beyond(f"0-1 error on prompts below the odds: {each.name}, step {one.step}", law, error))
            below_share = float((below * probability).sum())
            table.append(CarriedRow(**vars(line), R=odds, probability_below_the_odds=below_share))
    return Evidence(rows=tuple(rows), facts=ScenarioFacts(table=table))


CARRIES = Claim.single(
    id="ood/the_skill_carries_over_as_far_as_matches_outvote",
    statement="A model in which one match outvotes R others, whichever words stand for whichever labels, errs on no prompt in which fewer "
    "than R others stand beside each match: at any number of demonstrations, on a skewed law, with signs or concepts exchanged on the word "
    "side, the label side or both; at a quarter and a half of its way, and at its end.",
    formula=r"\frac{L^* - n}{n} < R \Rightarrow e f > 0, \quad R = \exp\left(2 \min_{k,e} e g_k - 2 \max_{k,e} \operatorname{artanh} z_{k,e}\right)",
    section="7",
    hypotheses=(*TRANSFER, MATCHED),
    asserts=lambda: _least,
    measure=_carried,
    rule=ZERO,
    controls=(
        NegativeControl(
            name="odds of the best",
            statement="the same with the largest gap and the labels that give way last",
            asserts=lambda: _best,
        ),
    ),
    uses=(
        "ood/a_match_is_outvoted_at_odds_that_do_not_depend_on_the_length",
        "ood/every_scenario_is_foreseen_from_the_coefficients",
    ),
    rests_on=(ROUND_OFF,),
)

# -- tasks built from several concepts ---------------------------------------------------------------------------

SATURATED = 64.0
"""Odds at which attention leaves less than two hundredths to one other demonstration."""

DRAWS = 8


def _in_cone(kind: str) -> tuple[Scenario, ...]:
    """Several draws of weights, and other lengths."""
    others = (f"length=2+{kind}=0", f"length=16+{kind}=1")
    return tuple(scenario(name) for name in (*(f"{kind}={draw}" for draw in range(DRAWS)), *others))


SEVERAL_CONCEPTS = Hypothesis(
    key="several_concepts",
    name="there is more than one concept to mix: K1 >= 2",
    holds=lambda regime: regime.concepts.K1 >= 2,
    got=lambda regime: f"K1 = {regime.concepts.K1}",
    suggests={"concepts": {"K1": (2, 3)}},
)


def _cone(context: TrainingContext, scenarios: tuple[Scenario, ...]) -> Evidence:
    base, end = pure_law(context), trained(context)[-1]
    odds = _least(end.model, base)
    if not odds > SATURATED:
        raise OutsideHypotheses(
            f"needs a model in which a match outvotes more than {SATURATED:g} others, whatever the concepts of words and labels; here {odds:.3g}"
        )
    rows, table = [], []
    for each in scenarios:
        law = each.change(base)
        _, line = compared(context, end, law, name=each.name)
        rows.append(_beyond(f"0-1 error: {each.name}", law, line.error_measured))
        table.append(line)
    return Evidence(rows=tuple(rows), facts={"step": end.step, "least odds": odds, "table": table})


CONE = Claim.single(
    id="ood/tasks_in_the_cone_of_several_concepts_are_answered",
    statement="A model in which one match outvotes 64 others answers every prompt, of 2 to 16 demonstrations, of tasks whose words and labels "
    "are random conic combinations of those of all concepts; the differences of words may have any signs, since attention reads their "
    "squares.",
    formula=r"x^\pm = \sum_k u_k a_k \pm \sum_k \epsilon_k w_k b_k,\quad y^\pm = \sum_k u'_k c_k \pm \sum_k w'_k d_k: \quad \Pr\nolimits^*(e f \le 0) = 0",
    section="7",
    hypotheses=(*TRANSFER, MATCHED, SEVERAL_CONCEPTS),
    asserts=lambda: _in_cone("cone"),
    measure=_cone,
    rule=ZERO,
    controls=(
        NegativeControl(
            name="reversed labels",
            statement="the same with the largest difference of each task's labels reversed",
            asserts=lambda: _in_cone("reversed"),
        ),
    ),
    uses=("ood/every_scenario_is_foreseen_from_the_coefficients",),
    rests_on=(ROUND_OFF, Basis(ground=Ground.ASSUMPTION, text="one start, eight draws of the cone's weights")),
)

CLAIMS = (CARRIES, CONE)
