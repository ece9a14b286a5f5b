"""Learning curves on prompts of other laws: the trained ensemble beside the closed forms of the theory (THEORY.md section 7, P9)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polyseme.checks.multi_concept.curves import Arrays
from polyseme.checks.multi_concept.out_of_distribution.scenarios import Law, Scenario, training_law
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.outcome.out_of_distribution import Model, predict, reduced_model
from polyseme.theory.multi_concept.regime import Regime

Progress = Callable[[int, int], None]
DEFAULT = ("length=2", "length=16", "skewed", "word_signs")
QUANTITIES = ("error", "attention", "gap", "margin")
MOST_DEMONSTRATIONS = 1024
"""Every pure prompt is written out for every member at every record: beyond this length that takes hours."""


MOST_BYTES = 2**29
"""What the weights at all records of a run may take beside it."""
DRAWN_RECORDS = 50


def can_keep_weights(regime: Regime) -> bool:
    """Whether the weights of all members at all records are few enough to be kept beside a run."""
    concepts, model, training = regime.concepts, regime.model, regime.training
    each = 2 * concepts.d_x**2 + model.m * concepts.d_y
    return 8 * regime.ensemble.seeds * training.record_count() * each <= MOST_BYTES


def without_weights(simulation: Mapping[str, np.ndarray]) -> Arrays:
    """A trajectory without the weights that `keep_weights` adds."""
    return {name: array for name, array in simulation.items() if not name.startswith("recorded_")}


def thinned(simulation: Mapping[str, np.ndarray]) -> Arrays:
    """The steps and weights of a run, at about DRAWN_RECORDS of its records and its last."""
    count = len(simulation["step"])
    at = np.unique([*range(0, count, -(-count // DRAWN_RECORDS)), count - 1])
    kept = {name: array for name, array in simulation.items() if name.startswith("recorded_")}
    # Records are on the axis before those of the matrix.
    return {"step": np.asarray(simulation["step"])[at]} | {
        name: np.take(array, at, axis=array.ndim - 3) for name, array in kept.items()
    }


@dataclass(frozen=True, kw_only=True)
class OtherLaw:
    """What models do on the pure prompts of one other law while they are trained on theirs.

    `simulation` and `theory` have `step` (T,) and the QUANTITIES, each (seeds, T): the 0-1 error, the mean correct attention
    weight, half the gap of the logits in favour of the query's sign (mean over concepts and query signs), and the mean
    margin, e f. All are exact expectations over `prompts` prompts. `is_training`: in this regime the law is that of training.
    """

    scenario: Scenario
    simulation: Arrays
    theory: Arrays
    prompts: int
    is_training: bool


def same_as_training(found: Sequence[OtherLaw], K1: int) -> str:
    """A sentence about the laws that are none but that of training in this regime, or nothing."""
    names = ", ".join(one.scenario.name for one in found if one.is_training and one.scenario.name != "training")
    because = ", which has one concept (K1 = 1)" if K1 == 1 else ""
    return f"The same law as in training, in this regime{because}: {names}." if names else ""


def pure_laws(
    regime: Regime, initial: Mapping[str, np.ndarray], scenarios: Sequence[Scenario]
) -> list[tuple[Scenario, Law]]:
    """Each scenario with its law of pure prompts; PolysemeError for one whose prompts cannot be listed."""
    laws = [(scenario, scenario.change(training_law(regime, initial, pure=True))) for scenario in scenarios]
    for scenario, law in laws:
        if not law.regime.prompt.is_pure:
            raise PolysemeError(
                f"scenario '{scenario.name}': got prompts with noise or extras, expected pure ones, whose expectations are exact; "
                "type one without noise= and extra="
            )
        if law.regime.prompt.L > MOST_DEMONSTRATIONS:
            raise PolysemeError(
                f"scenario '{scenario.name}': got {law.regime.prompt.L} demonstrations, expected at most {MOST_DEMONSTRATIONS}, "
                f"since every prompt is written out; type length={MOST_DEMONSTRATIONS} or less"
            )
    return laws


def on_other_laws(
    regime: Regime,
    initial: Mapping[str, np.ndarray],
    simulation: Mapping[str, np.ndarray],
    theory: Mapping[str, np.ndarray],
    scenarios: Sequence[Scenario],
    *,
    progress: Progress | None = None,
) -> list[OtherLaw]:
    """The curves of both sides for each scenario.

    `simulation` is that of `polyseme.sim.multi_concept.training.train.simulate` with `keep_weights`, `theory` a trajectory of level B or N from the same
    starts, of one member or of the first few.
    """
    laws, trained = pure_laws(regime, initial, scenarios), training_law(regime, initial, pure=True)
    models = member_models(regime, initial, theory)
    records = len(simulation["step"])
    total, found = len(laws) * (records + len(models)), []
    for number, (scenario, law) in enumerate(laws):

        def report(done: int, before: int = number * (records + len(models))) -> None:
            if progress:
                progress(before + done, total)

        measured, prompts = _measured(initial, simulation, law, report)
        predicted = []
        for done, model in enumerate(models, start=1):
            predicted.append(predicted_at(model, law))
            report(records + done)
        found.append(
            OtherLaw(
                scenario=scenario,
                simulation={"step": np.asarray(simulation["step"])} | measured,
                theory={"step": np.asarray(theory["step"])}
                | {name: np.stack([one[name] for one in predicted]) for name in QUANTITIES},
                prompts=prompts,
                is_training=law.is_same(trained),
            )
        )
    return found


def member_models(regime: Regime, initial: Mapping[str, np.ndarray], theory: Mapping[str, np.ndarray]) -> list[Model]:
    """The reduced model of each member that the theory was integrated for, at every record."""
    if theory["alpha"].ndim == 3:
        return [reduced_model(regime, initial, theory)]
    weights = ("W_Q", "W_K", "W_O")
    return [
        reduced_model(
            regime,
            {**initial, **{name: initial[name][k] for name in weights}},
            {name: array if name == "step" else array[k] for name, array in theory.items()},
        )
        for k in range(len(theory["alpha"]))
    ]


def predicted_at(model: Model, law: Law) -> Arrays:
    """The QUANTITIES (T,) that the coefficients say, for each model of `model`."""
    said, sign = predict(model, law.regime, law.M, law.Q), np.array([1.0, -1.0])
    of_signs = said.probability.sum(-1)
    return {
        "error": said.error(law.answers),
        "attention": said.mean_attention(),
        "gap": (sign * said.g * of_signs).sum((1, 2)),
        "margin": (law.answers * sign[:, None] * said.f * said.probability).sum((1, 2, 3)),
    }


def _measured(
    initial: Mapping[str, np.ndarray],
    simulation: Mapping[str, np.ndarray],
    law: Law,
    report: Callable[[int], None],
) -> tuple[Arrays, int]:
    """The QUANTITIES (seeds, T) of the full model, and how many prompts they are the expectation over."""
    from polyseme.sim.multi_concept.measurements.out_of_distribution import counted_outcomes, logit_gaps

    recorded = {name: np.asarray(simulation[f"recorded_{name}"]) for name in ("W_Q", "W_K", "W_O")}
    recorded = {name: array if array.ndim == 4 else array[None] for name, array in recorded.items()}
    columns, prompts, sign = [], 0, np.array([1.0, -1.0])[:, None]
    for t in range(len(simulation["step"])):
        weights = {name: array[:, t] for name, array in recorded.items()} | {"r": np.asarray(initial["r"])}
        seen = counted_outcomes(law.regime, weights, law.M, law.Q)
        probability = seen["probability"]
        margin = law.answers * sign * seen["f"]
        gaps = logit_gaps(law.regime, weights, law.M, law.Q)
        columns.append(
            (
                ((margin <= 0) * probability).sum((1, 2, 3)),
                (seen["attention"] * probability).sum((1, 2, 3)),
                (gaps * probability.sum(-1)).sum((1, 2)),
                (margin * probability).sum((1, 2, 3)),
            )
        )
        prompts = int((probability > 0).sum())
        report(t + 1)
    return {
        name: np.stack(column, axis=1) for name, column in zip(QUANTITIES, zip(*columns, strict=True), strict=True)
    }, prompts
