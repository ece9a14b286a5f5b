"""Claims about tests with noise and several concepts in a word, and about models that were trained with them (THEORY.md section 7)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polyseme.checks.core.claim import Claim, Hypothesis, NegativeControl, Plan
from polyseme.checks.core.evidence import Compared, Estimated, Evidence
from polyseme.checks.core.provenance import ROUND_OFF, STATISTICS
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.core.rules.exact import RoundOff
from polyseme.checks.multi_concept.claims.fluctuation.noisy_runs import (
    FOLLOWS_LEVEL_N,
    estimated,
    planned,
    prediction,
    sgd_ends,
    sgd_members,
    without_noise,
)
from polyseme.checks.multi_concept.claims.out_of_distribution.lengths import TRANSFER
from polyseme.checks.multi_concept.context import Arrays, TrainingContext
from polyseme.checks.multi_concept.out_of_distribution.models import (
    NUDGE,
    REASON,
    ScenarioFacts,
    ScenarioRow,
    Trained,
    in_closed_form,
    nudged,
    output_scale,
    pure_law,
    trained,
)
from polyseme.checks.multi_concept.out_of_distribution.scenarios import Law, scenario, training_law
from polyseme.theory.multi_concept.outcome.out_of_distribution import (
    Draws,
    Model,
    predict_noise,
    predict_prompts,
    reduced_model,
)
from polyseme.theory.multi_concept.prompts.law import prompt_probabilities
from polyseme.theory.multi_concept.regime import Regime

# -- any prompt ----------------------------------------------------------------------------------------------------

CROWDED = ("extra=0.1", "extra=0.5", "noise=0.3", "extra=0.3+noise=0.3", "length=16+extra=0.3+noise=1")
PROMPTS = 256
Reading = Callable[[Law, Arrays], Arrays]
"""What the theory reads of given prompts."""


def _whole(law: Law, prompts: Arrays) -> Arrays:
    del law
    return prompts


def _own_concept(law: Law, prompts: Arrays) -> Arrays:
    """Words and labels with the parts of other concepts, of irrelevant features and of noise taken off."""

    def onto(features: np.ndarray) -> np.ndarray:
        return np.stack([pair.T @ np.linalg.pinv(pair.T) for pair in features])

    words, labels = (onto(features)[prompts["concept"]] for features in (law.words, law.labels))
    return dict(prompts) | {
        "x": np.einsum("bst,blt->bls", words, prompts["x"]),
        "x_query": np.einsum("bst,bt->bs", words, prompts["x_query"]),
        "y": np.einsum("bst,blt->bls", labels, prompts["y"]),
    }


def _any_prompt(context: TrainingContext, reading: Reading) -> Evidence:
    rows, table = [], []
    for one in trained(context):
        for name in CROWDED:
            law = scenario(name).change(pure_law(context))
            prompts = context.prompts(law.regime, {"M": law.M, "Q": law.Q}, count=PROMPTS)
            found, line = _prompt_by_prompt(context, one, law, prompts, reading(law, prompts), name)
            rows += found
            table.append(line)
    return Evidence(rows=tuple(rows), facts={"prompts of each": PROMPTS, "table": table})


def _prompt_by_prompt(
    context: TrainingContext, one: Trained, law: Law, prompts: Arrays, read: Arrays, name: str
) -> tuple[list[Compared], dict[str, float | str | int]]:
    weights = {key: array if key == "r" else array[0] for key, array in one.weights.items()}
    f, p = context.forward(weights, prompts, activation=law.regime.model.activation)

    def said(model: Model, of: Arrays) -> tuple[np.ndarray, np.ndarray]:
        outputs, attention = predict_prompts(model, of["x"], of["y"], of["x_query"])
        return outputs[0], attention[0]

    right, moved = said(one.model, prompts), [said(model, prompts) for model in nudged(one.model)]
    asserted = said(one.model, read)
    # A word or label of many features or much noise makes f as much larger.
    longest = float(max(1.0, np.linalg.norm(prompts["y"], axis=-1).max()))
    scales = (output_scale(one.model, law) * longest, 1.0)
    concepts, model = context.one.concepts, context.one.model
    summed = 4.0 * (law.regime.prompt.L + concepts.d_x + concepts.d_y + model.m)
    rows = []
    for index, (what, full) in enumerate((("f", f), ("attention", p))):
        scale = scales[index]
        growth = float(np.median([np.abs(x[index] - right[index]).max() for x in moved])) / (scale * NUDGE)
        rows.append(
            Compared(
                name=f"{what}: {name}, step {one.step}",
                difference=float(np.abs(asserted[index] - full).max()),
                scale=scale,
                roundings=max(1.0, growth) * one.roundings + summed,
            )
        )
    line = {
        "scenario": name,
        "step": one.step,
        "error predicted": float((prompts["e"] * asserted[0] <= 0).mean()),
        "error measured": float((prompts["e"] * f <= 0).mean()),
    }
    return rows, line


MORE_THAN_ONE_CONCEPT = Hypothesis(
    key="more_than_a_concept",
    name="words or labels have a direction besides those of one concept: d_x > 2 or d_y > 2",
    holds=lambda regime: max(regime.concepts.d_x, regime.concepts.d_y) > 2,
    got=lambda regime: f"d_x = {regime.concepts.d_x}, d_y = {regime.concepts.d_y}",
)

ANY_PROMPT = Claim.single(
    id="ood/any_prompt_is_foreseen_from_the_coefficients",
    statement="On prompts with several concepts and irrelevant features in every word, with noise on words and labels that training did "
    "not have, and with both, the full model has prompt by prompt the output and the attention that the reduced recursion says.",
    formula=r"f = \sum_i r_i\, \sigma\Big(\sum_t w_i^t\, \hat t \cdot \sum_l p_l y_l\Big), \quad p = \operatorname{softmax}(x_l^\top W_K^\top W_Q\, x_q)",
    section="7",
    hypotheses=(*TRANSFER, MORE_THAN_ONE_CONCEPT),
    asserts=lambda: _whole,
    measure=_any_prompt,
    rule=RoundOff(reason=REASON),
    controls=(
        NegativeControl(
            name="own concept alone",
            statement="the model reads of a prompt its own concept alone",
            asserts=lambda: _own_concept,
        ),
    ),
    uses=("closure/population_descent_equals_level_b", "closure/complement_decays_exactly"),
    rests_on=(ROUND_OFF,),
)

# -- noise, in law -------------------------------------------------------------------------------------------------

NOISES = (
    "noise=0.3",
    "noise=1",
    "word_noise=0.5",
    "label_noise=0.7",
    "length=16+noise=0.3",
    "length=2+skewed+noise=0.5",
)
ABSOLUTE = 0.02
IN_LAW = Equivalence(
    margin=ABSOLUTE,
    reason="two hundredths of an error rate or of an attention weight, both between 0 and 1: less than the eye sees in a figure",
)
# Two independent samples of numbers in [0, 1]: each deviates by 1/2 at most.
APART = float(np.sqrt(0.5))


def _noise_plan(context: TrainingContext) -> Plan:
    return IN_LAW.design(spread=APART, rows=2 * len(NOISES), level=context.level)


def draws_of(law: Law, *, count: int, seed: int) -> Draws:
    """Standard draws for pure prompts of a law and their noise, by NumPy and from the law in counts."""
    rng = np.random.default_rng([law.regime.ensemble.seed, seed, 9])
    table = prompt_probabilities(law.regime)
    cell = rng.choice(table.size, size=count, p=table.ravel() / table.sum())
    task, sign, positive = np.unravel_index(cell, table.shape)
    L = law.regime.prompt.L
    return Draws(
        task=task,
        e=1 - 2 * sign,
        signs=np.where(np.arange(L) < positive[:, None], 1, -1),
        query=rng.standard_normal((count, len(law.M))),
        logits=rng.standard_normal((count, L)),
        labels=rng.standard_normal((count, len(law.Q))),
    )


def _in_law(context: TrainingContext, without: bool) -> Evidence:
    count, rows, table = _noise_plan(context).samples, [], []
    end = trained(context)[-1]
    for number, name in enumerate(NOISES):
        law = scenario(name).change(pure_law(context))
        full = context.cached(
            f"noisy transfer {name} {count}",
            lambda law=law: context.sampled_outcomes(law.regime, end.weights, law.M, law.Q, count=count),
        )
        quiet = {"sigma_x": 0.0, "sigma_y": 0.0}
        assumed = replace(law, regime=law.regime.replace(prompt=quiet)) if without else law
        margin, attention = predict_noise(
            end.model, assumed.regime, law.M, law.Q, draws_of(law, count=count, seed=number)
        )
        pairs = {
            "0-1 error": (full["margin"][0] <= 0, margin[0] <= 0),
            "attention": (full["attention"][0], attention[0]),
        }
        line: dict[str, float | str] = {"scenario": name}
        for what, (measured, predicted) in pairs.items():
            line |= {f"{what} predicted": float(predicted.mean()), f"{what} measured": float(measured.mean())}
            rows.append(
                Estimated(
                    name=f"{what}: {name}",
                    estimate=float(measured.mean() - predicted.mean()),
                    standard_error=float(np.sqrt((measured.var(ddof=1) + predicted.var(ddof=1)) / count)),
                    samples=count,
                    scale=1.0,
                )
            )
        table.append(line)
    return Evidence(rows=tuple(rows), facts={"prompts on either side": count, "step": end.step, "table": table})


NOISE = Claim.single(
    id="ood/noise_of_a_test_is_foreseen_in_law",
    statement="Under noise of 0.3 to 1 on words and labels that training did not have, and at other lengths, the full model has the 0-1 "
    "error and the mean attention of a law in which a demonstration is one normal logit and the labels one normal vector.",
    formula=r"s_l = x_l \cdot u + \sigma_x \|u\|\, \xi_l, \quad v = \sum_l p_l y_l + \sigma_y \|p\|\, \zeta, \quad u = W_K^\top W_Q\, x_q",
    section="7",
    hypotheses=TRANSFER,
    asserts=lambda: False,
    measure=_in_law,
    rule=IN_LAW,
    plan=_noise_plan,
    controls=(NegativeControl(name="without noise", statement="those of prompts without noise", asserts=lambda: True),),
    uses=("ood/any_prompt_is_foreseen_from_the_coefficients",),
    rests_on=(STATISTICS,),
)

# -- trained with noise, by SGD ----------------------------------------------------------------------------------

OTHER_LAWS = (
    "training",
    "length=2",
    "length=16",
    "length=64",
    "skewed",
    "word_signs",
    "word_concepts",
    "cone",
)
SGD_RULE = Equivalence(
    margin=0.03,
    reason="three percent, as for the law of training: SGD's own fluctuations move the mean, and are no part of level N",
)
Predict = Callable[[Regime, Arrays], Arrays]


@dataclass(frozen=True, kw_only=True)
class SgdScenarioRow(ScenarioRow):
    """With the mean margin e f."""

    margin_predicted: float
    margin_measured: float


@dataclass(frozen=True, kw_only=True)
class SgdScenarioFacts(ScenarioFacts):
    """The means of so many members after so many steps."""

    members: int
    steps: int
    table: Sequence[SgdScenarioRow]


def _on_other_laws(context: TrainingContext, predict: Predict) -> Evidence:
    regime, final = sgd_ends(context)
    start, rows, table = context.start_of(context.member), [], []
    said = {name: np.asarray(array)[None] for name, array in predict(regime, start).items()}
    model = reduced_model(regime.replace(ensemble={"seeds": 1}), start, said)
    for name in OTHER_LAWS:
        law = scenario(name).change(training_law(regime, start, pure=True))
        predicted = in_closed_form(model, law)
        seen = context.cached(
            f"SGD on other laws {name}",
            lambda law=law: context.counted_outcomes(law.regime, final | {"r": start["r"]}, law.M, law.Q),
        )
        sign = law.answers * np.array([1.0, -1.0])[:, None]
        of = {
            "margin": (
                (sign * seen["f"] * seen["probability"]).sum((1, 2, 3)),
                float((sign * predicted.f[0] * predicted.probability).sum()),
            ),
            "attention": (
                (seen["attention"] * seen["probability"]).sum((1, 2, 3)),
                float(predicted.mean_attention()[0]),
            ),
        }
        wrong = ((sign * seen["f"] <= 0) * seen["probability"]).sum((1, 2, 3))
        found = {}
        for what, (values, expected) in of.items():
            # As in the law of training: an output below 1 counts in units of the loss's own scale.
            scale = max(1.0, abs(float(values.mean()))) if what == "margin" else float(values.mean())
            rows.append(estimated(f"{what}: {name}", values, expected, scale))
            found |= {f"{what}_predicted": expected, f"{what}_measured": float(values.mean())}
        table.append(
            SgdScenarioRow(
                scenario=name,
                step=regime.training.steps,
                error_predicted=float(predicted.error(law.answers)[0]),
                error_measured=float(wrong.mean()),
                **found,
            )
        )
    return Evidence(
        rows=tuple(rows), facts=SgdScenarioFacts(members=sgd_members(regime), steps=regime.training.steps, table=table)
    )


BY_SGD = Claim.single(
    id="ood/noisy_sgd_does_elsewhere_what_level_n_says",
    statement="Full models trained by SGD in this regime, with its noise and its extras, and tested on pure prompts of other lengths, "
    "frequencies, signs, concepts and cones have on average the output and the attention that level N says, within three percent.",
    formula=r"\mathbb E^* e f,\ p^*\ \text{of SGD} = \text{those of } N\ (\pm 3\%)",
    section="7",
    hypotheses=FOLLOWS_LEVEL_N,
    asserts=lambda: prediction,
    measure=_on_other_laws,
    facts=SgdScenarioFacts,
    rule=SGD_RULE,
    plan=lambda context: planned(
        context, rule=SGD_RULE, spread=0.025, rows=2 * len(OTHER_LAWS), samples=sgd_members(context.regime)
    ),
    controls=(
        NegativeControl(
            name="level B",
            statement="those of level B, as if trained without noise",
            asserts=lambda: without_noise,
        ),
    ),
    uses=("fluctuation/noisy_sgd_follows_level_n", "ood/every_scenario_is_foreseen_from_the_coefficients"),
    rests_on=(STATISTICS,),
)

CLAIMS = (ANY_PROMPT, NOISE, BY_SGD)
