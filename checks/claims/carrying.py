"""Claims about what carries over to other laws, and how far (THEORY.md section 7, P9)."""

import numpy as np

from checks.claim import Claim, OutsideHypotheses, WrongTwin
from checks.claims.lengths import LENGTHS, TRANSFER
from checks.evidence import Compared, Evidence
from checks.hypotheses import MATCHED
from checks.laboratory import Laboratory
from checks.ledger import ROUND_OFF, Basis, Ground
from checks.rules.exact import RoundOff
from checks.scenarios import Law, Scenario, of_length, scenario
from checks.transfer import Trained, compared, pure_law, trained
from theory.law import prompt_probabilities
from theory.transfer import least_odds

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


def _least_odds(laboratory: Laboratory, one: Trained) -> float:
    law = pure_law(laboratory)
    return float(least_odds(one.model, law.regime, law.M, law.Q)[0])


def _learned(laboratory: Laboratory, *, odds: float) -> tuple[Trained, float]:
    """The model at the end and its least odds; OutsideHypotheses unless they exceed `odds`."""
    _, end = trained(laboratory)
    least = _least_odds(laboratory, end)
    if not least > odds:
        raise OutsideHypotheses(
            f"needs a model in which a match outvotes more than {odds:g} others, whatever the concepts of words and labels; here {least:.3g}"
        )
    return end, least


def outvoted(law: Law, odds: float) -> float:
    """The probability of prompts in which the other sign has at least `odds` demonstrations for each that matches."""
    L, p = law.regime.prompt.L, prompt_probabilities(law.regime)
    positive = np.arange(L + 1.0)
    matches = np.stack([positive, L - positive])
    return float((p * (L - matches >= odds * matches)).sum())


def _beyond(name: str, law: Law, error: float) -> Compared:
    """An error that should be zero: a sum of the probabilities of prompts, which are answered or not."""
    return Compared(
        name=name, difference=error, scale=1.0, roundings=16.0 * law.regime.concepts.K1 * (law.regime.prompt.L + 1)
    )


def _carried(laboratory: Laboratory, scenarios: tuple[Scenario, ...]) -> Evidence:
    # Odds of L - 1: the law of training is answered, whichever words stand for whichever labels.
    end, odds = _learned(laboratory, odds=laboratory.one.prompt.L - 1)
    rows, table = [], []
    for each in scenarios:
        law = each.change(pure_law(laboratory))
        _, line = compared(laboratory, end, law, name=each.name)
        error = float(line["error measured"])
        allowed = outvoted(law, odds)
        rows.append(_beyond(f"0-1 error beyond the odds: {each.name}", law, max(0.0, error - allowed)))
        table.append(line | {"statement": each.statement, "probability beyond the odds": allowed})
    return Evidence(rows=tuple(rows), facts={"step": end.step, "least odds": odds, "table": table})


CARRIES = Claim(
    id="ood/the_skill_carries_over_as_far_as_matches_outvote",
    statement="A model in which one match outvotes R others, whichever words stand for whichever labels, errs on no prompt in which fewer "
    "than R others stand beside each match: at any number of demonstrations, on a skewed law, with signs or concepts exchanged on the word "
    "side, the label side or both.",
    formula=r"\Pr\nolimits^*(e f \le 0) \le \Pr\nolimits^*\left(\frac{L^* - n}{n} \ge R\right), \quad R = \exp\left(2 \min_{k,e} e g_k - 2 \max_{k,e} \operatorname{artanh} z_{k,e}\right)",
    section="7",
    hypotheses=(*TRANSFER, MATCHED),
    asserts=lambda: CARRIED,
    measure=_carried,
    rule=ZERO,
    wrong_twin=WrongTwin(
        name="lying demonstrations",
        statement="the same where demonstrations carry the label of the other sign",
        asserts=lambda: (scenario("lying"),),
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

IN_CONE = tuple(
    scenario(name) for name in ("cone", "signed_words", "length=2+cone", "length=8+cone", "length=16+signed_words")
)


def _cone(laboratory: Laboratory, scenarios: tuple[Scenario, ...]) -> Evidence:
    end, odds = _learned(laboratory, odds=SATURATED)
    rows, table = [], []
    for each in scenarios:
        law = each.change(pure_law(laboratory))
        _, line = compared(laboratory, end, law, name=each.name)
        rows.append(_beyond(f"0-1 error: {each.name}", law, float(line["error measured"])))
        table.append(line | {"statement": each.statement})
    return Evidence(rows=tuple(rows), facts={"step": end.step, "least odds": odds, "table": table})


CONE = Claim(
    id="ood/tasks_in_the_cone_of_several_concepts_are_answered",
    statement="A model in which one match outvotes 64 others answers every prompt, of 2 to 16 demonstrations, of tasks whose words and labels "
    "are random conic combinations of those of all concepts; the differences of words may have any signs, since attention reads their "
    "squares.",
    formula=r"x^\pm = \sum_k u_k a_k \pm \sum_k \epsilon_k w_k b_k,\quad y^\pm = \sum_k u'_k c_k \pm \sum_k w'_k d_k: \quad \Pr\nolimits^*(e f \le 0) = 0",
    section="7",
    hypotheses=(*TRANSFER, MATCHED),
    asserts=lambda: IN_CONE,
    measure=_cone,
    rule=ZERO,
    wrong_twin=WrongTwin(
        name="lying demonstrations",
        statement="the same where demonstrations carry the label of the other sign",
        asserts=lambda: (scenario("cone+lying"),),
    ),
    uses=("ood/every_scenario_is_foreseen_from_the_coefficients",),
    rests_on=(ROUND_OFF, Basis(ground=Ground.ASSUMPTION, text="one start, one draw of the cone's weights")),
)

CLAIMS = (CARRIES, CONE)
