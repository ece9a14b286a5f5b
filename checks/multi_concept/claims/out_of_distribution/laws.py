"""Claims about other laws of words and labels: what is predicted, what keeps the skill, what breaks it (THEORY.md section 7)."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from polyseme.checks.core.claim import Claim, Hypothesis, NegativeControl, OutsideHypotheses
from polyseme.checks.core.evidence import Bounded, Evidence
from polyseme.checks.core.provenance import ROUND_OFF
from polyseme.checks.core.rules.bound import UpperBound
from polyseme.checks.core.rules.exact import UNIT, RoundOff
from polyseme.checks.multi_concept.claims.out_of_distribution.lengths import TRANSFER
from polyseme.checks.multi_concept.context import Arrays, TrainingContext
from polyseme.checks.multi_concept.hypotheses import MATCHED
from polyseme.checks.multi_concept.out_of_distribution.models import (
    REASON,
    MemberFacts,
    Predict,
    answered_wrongly,
    compared,
    in_closed_form,
    pure_law,
    trained,
)
from polyseme.checks.multi_concept.out_of_distribution.scenarios import NAMED, Law, Scenario, scenario, training_law
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b
from polyseme.theory.multi_concept.outcome.out_of_distribution import decay, least_odds, reduced_model
from polyseme.theory.multi_concept.prompts.law import prompt_probabilities
from polyseme.theory.multi_concept.regime import Regime

COMBINED = ("length=16+skewed", "length=64+word_signs", "length=8+cone", "length=32+skewed+word_concepts")


def possible(context: TrainingContext, scenarios: tuple[Scenario, ...]) -> list[tuple[Scenario, Law]]:
    """The scenarios that there can be in a regime's dimensions and that change its law, each with the law it gives.

    With one concept there is nothing to exchange, to skew or to mix. The law of training itself stays.
    """
    base, laws = pure_law(context), []
    for one in scenarios:
        try:
            law = one.change(base)
        except PolysemeError:  # no direction is left outside the features
            continue
        if one.name == "training" or not law.is_same(base):
            laws.append((one, law))
    return laws


ALL = (*NAMED, *(scenario(name) for name in COMBINED))


PredictOf = Callable[[Law], Predict]
"""What is predicted of a law, given the pure prompts of training."""


def _predicted(context: TrainingContext, predicting: PredictOf) -> Evidence:
    asserted, rows, table = predicting(pure_law(context)), [], []
    for one in trained(context):
        for each, law in possible(context, ALL):
            found, line = compared(context, one, law, name=each.name, asserted=asserted)
            rows += found
            table.append(line)
    return Evidence(rows=tuple(rows), facts=MemberFacts(member=context.member, table=table))


def _as_trained(known: Law) -> Predict:
    """Lengths and frequencies of the scenario, with the words and labels of training."""
    return lambda model, law: in_closed_form(model, replace(law, M=known.M, Q=known.Q))


PREDICTED = Claim.single(
    id="ood/every_scenario_is_foreseen_from_the_coefficients",
    statement="On skewed concepts, exchanged signs or concepts on either side, tasks in the cone of several concepts, features never seen, "
    "lying demonstrations, and several of these at once, the full model has on every pure prompt the output, the attention and the 0-1 "
    "error that the reduced recursion says.",
    formula=r"f^*(k, e, n_+) = \sum_i r_i\, \sigma\left(\tfrac{1 + \bar e}{2}\, w_i \cdot y_k^+ + \tfrac{1 - \bar e}{2}\, w_i \cdot y_k^-\right)",
    section="7",
    hypotheses=TRANSFER,
    asserts=lambda: lambda _: in_closed_form,
    measure=_predicted,
    facts=MemberFacts,
    rule=RoundOff(reason=REASON),
    controls=(
        NegativeControl(
            name="features of training",
            statement="the same with the words and labels of training, whatever those of the test",
            asserts=lambda: _as_trained,
        ),
    ),
    uses=("ood/any_length_has_its_closed_form", "closure/complement_decays_exactly"),
    rests_on=(ROUND_OFF,),
)

ROOM = Hypothesis(
    key="room",
    name="a direction outside all features on either side: d_x > 2 K1 + K2 and d_y > 2 K1",
    holds=lambda regime: (
        regime.concepts.d_x > 2 * regime.concepts.K1 + regime.concepts.K2
        and regime.concepts.d_y > 2 * regime.concepts.K1
    ),
    got=lambda regime: (
        f"d_x = {regime.concepts.d_x}, d_y = {regime.concepts.d_y}, K1 = {regime.concepts.K1}, K2 = {regime.concepts.K2}"
    ),
)


# -- what breaks it -----------------------------------------------------------------------------------------------


def _broken(context: TrainingContext, names: tuple[str, str, str]) -> Evidence:
    """How far three scenarios are from where a model that knows nothing, or is lied to, ends.

    From the start sigma_0 I, of which the penalty alone takes its share in a direction that no word has.
    """
    regime, base = context.population_regime, pure_law(context)
    start = context.start_of(context.member)
    run = context.cached("plain descent", lambda: context.train(regime, start))
    weights = {name: run[f"final_{name}"][None] for name in ("W_Q", "W_K", "W_O")} | {"r": start["r"]}
    rounding = UNIT * 64 * regime.concepts.K1 * (regime.prompt.L + 1)
    if (error := _tested(context, weights, base)[0]) > rounding:
        raise OutsideHypotheses(
            f"needs a model that has learned every concept, and this one errs on {error:.3g} of the prompts"
        )
    _require_that_it_answers_what_is_shown(context, regime, start)
    of_words, of_labels, of_lies = (scenario(name).change(base) for name in names)
    attention, lied = _tested(context, weights, of_words)[1], _tested(context, weights, of_lies)[0]
    # n_b^2 times the product of what is left of sigma_0 in W_Q and W_K.
    odd = (of_words.words[:, 0] - of_words.words[:, 1]) / 2
    left = float(decay(regime, np.array([regime.training.steps]))[0])
    gaps = (regime.model.sigma_0 * left) ** 2 * (odd**2).sum(-1)
    expected = _attention_at(of_words, gaps)
    # f changes by at most sum_i |r_i| |w_i . (y^+ - y^-)| between any two mean signs.
    between = of_labels.labels[:, 0] - of_labels.labels[:, 1]
    change = left * float((np.abs(start["W_O"] @ between.T) * np.abs(start["r"])[:, None]).sum(0).max())
    rows = (
        Bounded(
            name=f"{names[0]}: correct attention, from that of the gap left of the start",
            value=abs(attention - expected),
            # Each factor of the decay is rounded once, in W_Q and in W_K.
            bound=float(gaps.max()) * 4 * max(regime.training.steps, 1) * UNIT + rounding,
        ),
        Bounded(
            name=f"{names[1]}: change of the output between prompts of a task",
            value=_change_of_output(context, weights, of_labels),
            bound=change + rounding,
        ),
        Bounded(name=f"{names[2]}: 0-1 error, from 1", value=abs(lied - 1), bound=rounding),
    )
    facts = {
        "steps": regime.training.steps,
        "logit gap left of the start": float(gaps.max()),
        "even attention": _attention_at(of_words, np.zeros_like(gaps)),
        f"0-1 error, {names[0]}": _tested(context, weights, of_words)[0],
        f"0-1 error, {names[1]}": _tested(context, weights, of_labels)[0],
    }
    return Evidence(rows=rows, facts=facts)


def _tested(context: TrainingContext, weights: Arrays, law: Law) -> tuple[float, float]:
    """0-1 error and correct attention of the full model on a law."""
    seen = context.counted_outcomes(law.regime, weights, law.M, law.Q)
    wrong = answered_wrongly(seen["f"][0], law)
    return float((wrong * seen["probability"]).sum()), float((seen["attention"][0] * seen["probability"]).sum())


def _change_of_output(context: TrainingContext, weights: Arrays, law: Law) -> float:
    """How much f changes between the prompts of one task, at most."""
    seen = context.counted_outcomes(law.regime, weights, law.M, law.Q)
    shown = np.where(seen["probability"] > 0, seen["f"][0], np.nan)
    return float((np.nanmax(shown, axis=(1, 2)) - np.nanmin(shown, axis=(1, 2))).max())


def _attention_at(law: Law, gaps: np.ndarray) -> float:
    """The expected correct attention weight where each concept has one logit gap g: n matches weigh n / (n + (L - n) exp(-2 g))."""
    L, p = law.regime.prompt.L, prompt_probabilities(law.regime)
    matches = np.stack([np.arange(L + 1.0), L - np.arange(L + 1.0)])
    weight = matches / (matches + (L - matches) * np.exp(-2 * gaps)[:, None, None])
    return float((p * weight).sum())


def _require_that_it_answers_what_is_shown(context: TrainingContext, regime: Regime, start: Arrays) -> None:
    """OutsideHypotheses unless on every prompt of training the answer is the sign that attention reads, true or not."""
    last = regime.replace(training={"record_every": max(1, regime.training.steps)})
    path = context.cached("plain recursion", lambda: integrate_b(last, start))
    end = {name: array[-1:] for name, array in path.items()}
    base = training_law(context.one, start, pure=True)
    odds = float(least_odds(reduced_model(regime, start, end), base.regime, base.M, base.Q, whatever_is_shown=True)[0])
    if not odds > regime.prompt.L - 1:
        raise OutsideHypotheses(
            f"needs a model that answers what it is shown, right or wrong, in every prompt of training; here only up to {odds:.3g} "
            "demonstrations of the other sign for each that matches"
        )


BROKEN = Claim.single(
    id="ood/the_skill_ends_where_features_are_new",
    statement="Where the two words of a concept differ along a direction that training never had, attention has the gap that the penalty "
    "left of the start, and is even but for it; where the two labels do, the output depends on them by no more than what is left of its "
    "neurons; and where demonstrations lie to a model that answers what it is shown, every answer is wrong.",
    formula=r"g = e\, n_b^2 \sigma_0^2 \pi_t^2, \quad |\Delta f| \le \pi_t \sum_i |r_i|\, |w_i(0) \cdot (y^+ - y^-)|, \quad \pi_t = \prod_{s < t} (1 - \eta_s \lambda)",
    section="7",
    hypotheses=(*TRANSFER, MATCHED, ROOM),
    asserts=lambda: ("unseen_words", "unseen_labels", "lying"),
    measure=_broken,
    rule=UpperBound(
        reason="what the decayed neurons of the start have in the new direction; else the round-off of a sum of probabilities, and of the "
        "factors of the decay",
        is_statistical=False,
    ),
    controls=(
        NegativeControl(
            name="known features",
            statement="the same of exchanged words and labels, which training had",
            asserts=lambda: ("word_signs", "label_signs", "concepts"),
        ),
    ),
    uses=("ood/every_scenario_is_foreseen_from_the_coefficients",),
    rests_on=(ROUND_OFF,),
)

CLAIMS = (PREDICTED, BROKEN)
