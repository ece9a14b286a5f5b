"""A model trained once and tested on other laws: its coefficients beside its weights (THEORY.md section 7, out of distribution)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polyseme.checks.core.claim import OutsideHypotheses
from polyseme.checks.core.evidence import Compared, Facts
from polyseme.checks.core.rules.exact import UNIT
from polyseme.checks.multi_concept.context import Arrays, TrainingContext
from polyseme.checks.multi_concept.out_of_distribution.scenarios import Law, training_law
from polyseme.checks.multi_concept.round_off.paths import Reference, population_reference, records_of, roundings_of
from polyseme.theory.multi_concept.outcome.out_of_distribution import Model, Predicted, predict, reduced_model

# Far above round-off, far below any feature of a trained model.
NUDGE, NUDGES = 1e-8, 3

Predict = Callable[[Model, Law], Predicted]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One model at one step of population descent: `model` from the reduced recursion alone, `weights` of the full model.

    `roundings`: unit round-offs by which the coefficients of both may differ.
    """

    step: int
    model: Model
    weights: Arrays
    roundings: float


@dataclass(frozen=True, kw_only=True)
class Means(Facts):
    """0-1 error and mean correct attention weight on a law, predicted and measured."""

    error_predicted: float
    error_measured: float
    attention_predicted: float
    attention_measured: float


@dataclass(frozen=True, kw_only=True)
class ScenarioRow(Means):
    """A scenario, and the step after which the model was tested on it."""

    scenario: str
    step: int


@dataclass(frozen=True, kw_only=True)
class ScenarioFacts(Facts):
    """What was predicted and measured on each scenario."""

    table: Sequence[ScenarioRow]


@dataclass(frozen=True, kw_only=True)
class MemberFacts(ScenarioFacts):
    """Of one member of the ensemble."""

    member: int


def in_closed_form(model: Model, law: Law) -> Predicted:
    """What the coefficients say of a law."""
    return predict(model, law.regime, law.M, law.Q)


def trained(context: TrainingContext) -> tuple[Trained, ...]:
    """The model when its attention has learned a quarter, and a half, of its way, and at the end: as far as round-off lets a
    path be followed.
    """

    def run() -> tuple[Trained, ...]:
        reference = population_reference(context)
        if reference.tame < 2:
            raise OutsideHypotheses("needs a path that can be followed, and this one runs along a kink from the start")
        attention = reference.trajectory["attention"][: reference.tame]
        way = (attention - attention[0]) / (attention[-1] - attention[0] or 1.0)
        records = dict.fromkeys([*(int(np.argmax(way >= share)) for share in (0.25, 0.5)), len(attention) - 1])
        return tuple(_at(context, reference, record) for record in records)

    return context.cached("trained for transfer", run)


def _at(context: TrainingContext, reference: Reference, record: int) -> Trained:
    regime, path = context.population_regime, reference.trajectory
    step = int(path["step"][record])
    if record == records_of(path) - 1:
        run = context.population_run
    else:
        run = context.train(regime.replace(training={"steps": step, "record_every": max(1, step)}), context.initial)
    one = {name: array[record : record + 1] for name, array in path.items()}
    weights = {name: run[f"final_{name}"][None] for name in ("W_Q", "W_K", "W_O")} | {"r": context.initial["r"]}
    return Trained(
        step=step,
        model=reduced_model(regime, context.initial, one),
        weights=weights,
        roundings=roundings_of(regime, reference),
    )


def pure_law(context: TrainingContext) -> Law:
    """The pure prompts of the law of training."""
    return training_law(context.one, context.initial, pure=True)


def nudged(model: Model) -> list[Model]:
    """The model with every coefficient moved by NUDGE of itself, up or down."""
    rng = np.random.default_rng(8)
    return [
        replace(
            model,
            **{
                name: getattr(model, name) * (1 + NUDGE * rng.choice([-1.0, 1.0], size=getattr(model, name).shape))
                for name in ("W_Q", "W_K", "W_O")
            },
        )
        for _ in range(NUDGES)
    ]


def output_scale(model: Model, law: Law) -> float:
    """The size of f before anything cancels: sum_i |r_i| max |h_i| over the labels of the law."""
    h = np.abs(law.labels @ model.labels.T @ model.W_O[0].T)
    return float((np.abs(model.r) * h.max((0, 1))).sum()) or 1.0


REASON = (
    "what the coefficients may differ by along the path, times the growth of a nudge of them in f and attention (measured), and 4 (L + "
    "d_x + d_y + m) unit round-offs of the sums"
)


def compared(
    context: TrainingContext, one: Trained, law: Law, *, name: str, asserted: Predict = in_closed_form
) -> tuple[list[Compared], ScenarioRow]:
    """Rows on f, attention and 0-1 error of every pure prompt of a law, predicted and run; and one row of the table."""
    seen = _seen(context, one, law, name)
    said = asserted(one.model, law)
    on = seen["probability"] > 0
    size = output_scale(one.model, law)
    scales = {"f": size, "attention": 1.0}
    right = in_closed_form(one.model, law)
    moved = [in_closed_form(other, law) for other in nudged(one.model)]
    roundings = {}
    for array, scale in scales.items():
        changes = [np.abs(getattr(x, array) - getattr(right, array))[0][on].max() for x in moved]
        growth = float(np.median(changes)) / (scale * NUDGE)
        roundings[array] = max(1.0, growth) * one.roundings + _summed(context, law)
    rows = [
        Compared(
            name=f"{array}: {name}, step {one.step}",
            difference=float(np.abs(getattr(said, array)[0] - seen[array][0])[on].max()),
            scale=scale,
            roundings=roundings[array],
        )
        for array, scale in scales.items()
    ]
    decided = np.abs(seen["f"][0]) > roundings["f"] * UNIT * size
    wrong, predicted = (answered_wrongly(array[0], law) for array in (seen["f"], said.f))
    rows.append(
        Compared(
            name=f"0-1 error: {name}, step {one.step}",
            difference=float((np.abs(wrong.astype(float) - predicted) * decided * seen["probability"]).sum()),
            scale=1.0,
            roundings=8.0 * on.sum(),
        )
    )
    rows.append(
        Compared(
            name=f"probability of each prompt: {name}, step {one.step}",
            difference=float(np.abs(said.probability - seen["probability"]).max()),
            scale=1.0,
            roundings=8.0 * on.sum(),
        )
    )
    found = means(said, seen, law)
    # A prompt whose sign is round-off may fall on either side.
    open_to_doubt = float((seen["probability"] * ~decided).sum())
    rows.append(
        Compared(
            name=f"mean 0-1 error: {name}, step {one.step}",
            difference=max(0.0, abs(found.error_predicted - found.error_measured) - open_to_doubt),
            scale=1.0,
            roundings=16.0 * on.sum(),
        )
    )
    rows.append(
        Compared(
            name=f"mean attention: {name}, step {one.step}",
            difference=abs(found.attention_predicted - found.attention_measured),
            scale=1.0,
            roundings=roundings["attention"] + 16.0 * on.sum(),
        )
    )
    return rows, ScenarioRow(scenario=name, step=one.step, **vars(found))


def means(said: Predicted, seen: Mapping[str, np.ndarray], law: Law) -> Means:
    """0-1 error and mean correct attention of one model on a law, predicted and measured."""
    wrong = answered_wrongly(seen["f"][0], law)
    return Means(
        error_predicted=float(said.error(law.answers)[0]),
        error_measured=float((wrong * seen["probability"]).sum()),
        attention_predicted=float(said.mean_attention()[0]),
        attention_measured=float((seen["attention"][0] * seen["probability"]).sum()),
    )


def wrong_prompts(context: TrainingContext, one: Trained, law: Law, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Which prompts (k, e, n+) of a law the full model answers wrongly, and the probability of each."""
    seen = _seen(context, one, law, name)
    return answered_wrongly(seen["f"][0], law), seen["probability"]


def _seen(context: TrainingContext, one: Trained, law: Law, name: str) -> Arrays:
    """The full model on the law, run once for a claim and its negative control."""
    return context.cached(
        f"transfer {name} {one.step}", lambda: context.counted_outcomes(law.regime, one.weights, law.M, law.Q)
    )


def _summed(context: TrainingContext, law: Law) -> float:
    concepts, model = context.one.concepts, context.one.model
    return 4.0 * (law.regime.prompt.L + concepts.d_x + concepts.d_y + model.m)


def answered_wrongly(f: np.ndarray, law: Law) -> np.ndarray:
    """Whether each prompt (k, e, n+) is answered wrongly; a margin of 0 is an error."""
    return law.answers * f * np.array([1.0, -1.0])[:, None] <= 0
