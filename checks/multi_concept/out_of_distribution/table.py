"""One trained model on many other laws, predicted and measured: what `polyseme transfer` prints (THEORY.md section 7)."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from polyseme.checks.multi_concept.context import PURE, TrainingContext
from polyseme.checks.multi_concept.curves import Arrays, level_of
from polyseme.checks.multi_concept.out_of_distribution.curves import pure_laws
from polyseme.checks.multi_concept.out_of_distribution.models import in_closed_form, means
from polyseme.checks.multi_concept.out_of_distribution.scenarios import NAMED, Law, Scenario, of_length
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b
from polyseme.theory.multi_concept.dynamics.noisy_run import integrate_noise
from polyseme.theory.multi_concept.outcome.out_of_distribution import Model, reduced_model
from polyseme.theory.multi_concept.regime import Regime

LENGTHS = (1, 2, 16, 64)
Waiting = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A law: 0-1 error and mean correct attention, predicted and measured, and by how much f differs at most."""

    scenario: str
    error: tuple[float, float]
    attention: tuple[float, float]
    largest_difference: float


@dataclass(frozen=True, kw_only=True)
class Table:
    """The lines, how the model was trained and predicted, and what was left out and why."""

    lines: tuple[Line, ...]
    training: str
    left_out: tuple[str, ...]


def transfer_table(regime: Regime, scenarios: Sequence[Scenario], *, waiting: Waiting) -> Table:
    """Train one model of the regime and try it on each scenario; on all with a name and some lengths if none is given.

    PolysemeError for a given scenario that this regime has not, before anything is trained.
    """
    context = TrainingContext(regime)
    # The population start has more in its blocks off the concepts, which no prompt of training meets.
    start = context.initial if regime.prompt.is_pure else context.start_of(context.member)
    laws, left_out = _laws(context.one, start, scenarios)
    model, weights, training = _trained(context, start, waiting)
    lines = []
    with waiting("test on other laws") as progress:
        for done, (scenario, law) in enumerate(laws, start=1):
            lines.append(_line(context, model, weights, scenario, law))
            progress(done, len(laws))
    return Table(lines=tuple(lines), training=training, left_out=tuple(left_out))


def _laws(regime: Regime, start: Arrays, scenarios: Sequence[Scenario]) -> tuple[list[tuple[Scenario, Law]], list[str]]:
    if scenarios:
        return pure_laws(regime, start, scenarios), []
    laws, left_out = [], []
    for scenario in (*NAMED, *(of_length(L) for L in LENGTHS)):
        try:
            laws += pure_laws(regime, start, [scenario])
        except PolysemeError as problem:
            left_out.append(f"{scenario.name}: {problem}")
    return laws, left_out


def _trained(context: TrainingContext, start: Arrays, waiting: Waiting) -> tuple[Model, Arrays, str]:
    """The reduced model at the end of training, the weights of the full one, and a sentence on both."""
    if context.regime.prompt.is_pure:
        regime = context.population_regime
        with waiting("integrate level B") as progress:
            path = integrate_b(regime, start, progress=progress)
        run, words = context.population_run, "population descent, beside level B, which is exact"
    else:
        steps = context.one.training.steps
        regime = context.one.replace(training={"record_every": max(1, steps)})
        level = level_of(regime, start)
        with waiting(f"integrate level {level or 'B'}") as progress:
            if level == "N":
                path = integrate_noise(regime, start, progress=progress)
            else:
                path = integrate_b(regime.replace(prompt=PURE), start, progress=progress)
        run = context.train(regime, start)
        by = "descent" if regime.training.batch == "population" else "SGD"
        theory = "level N" if level == "N" else "level B of pure prompts, not the theory of this regime"
        words = f"{by}, one member, beside {theory}; differences hold its own fluctuations"
    end = {name: array[-1:] for name, array in path.items()}
    weights = {name: run[f"final_{name}"][None] for name in ("W_Q", "W_K", "W_O")} | {"r": start["r"]}
    return reduced_model(regime, start, end), weights, f"{int(path['step'][-1])} steps of {words}"


def _line(context: TrainingContext, model: Model, weights: Arrays, scenario: Scenario, law: Law) -> Line:
    said, seen = in_closed_form(model, law), context.counted_outcomes(law.regime, weights, law.M, law.Q)
    found = means(said, seen, law)
    return Line(
        scenario=scenario.name,
        error=(found.error_predicted, found.error_measured),
        attention=(found.attention_predicted, found.attention_measured),
        largest_difference=float(np.abs(said.f[0] - seen["f"][0])[seen["probability"] > 0].max()),
    )


def print_table(table: Table, *, name: str) -> None:
    """The table on standard output."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Shown

    console = Console(soft_wrap=True)
    shown = Shown(box=box.SIMPLE, title=f"{name}: {table.training}", title_justify="left")
    shown.add_column("scenario", no_wrap=True)
    for heading in ("error\npredicted", "\nmeasured", "attention\npredicted", "\nmeasured", "f differs\nby at most"):
        shown.add_column(heading, justify="right")
    for line in table.lines:
        numbers = [f"{x:.4f}" for x in (*line.error, *line.attention)]
        shown.add_row(line.scenario, *numbers, f"{line.largest_difference:.2g}")
    console.print(shown)
    for problem in table.left_out:
        console.print(f"left out: {problem}")
