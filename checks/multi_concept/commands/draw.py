"""Commands that show a trained model: figures, and how it does on prompts that it was not trained on."""

from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from polyseme.checks.core.terminal import plain_errors, progress_bar
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import load_regime


def default_regime() -> Path:
    """The shipped regime that is drawn when none is named."""
    return Path(str(files("polyseme.regimes") / "default.toml"))


class Figure(StrEnum):
    """What `polyseme figures` draws."""

    learning_dynamics = "learning_dynamics"
    out_of_distribution = "out_of_distribution"


RegimeOrDefault = Annotated[
    Path | None, typer.Argument(metavar="[REGIME.toml]", help="The regime; the shipped default if absent.")
]
Scenarios = Annotated[
    list[str] | None,
    typer.Option(
        "--scenario",
        metavar="NAME",
        help="A law to test on, or several joined by +, for example length=64+skewed; may be given several times. `polyseme "
        "transfer --list` lists them.",
    ),
]


def figures(
    regime_file: RegimeOrDefault = None,
    only: Annotated[Figure | None, typer.Option(help="Draw this figure alone.")] = None,
    scenario_names: Scenarios = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write everything here; out/NAME-figures if absent.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(help="Train in so many processes; if absent, one for each core if the run is long.")
    ] = None,
) -> None:
    """Draw the two figures of a regime: learning dynamics, and out of distribution.

    Trains the regime's ensemble of full models, integrates the theory and draws it over the band of the simulations: SVG and
    PDF at printed size, figures.npz with the numbers behind them, figures.json with captions, regime, seeds and versions.

    The run is kept in DIR/ensemble.run: after Ctrl-C the same command goes on, and other scenarios need no new training.

    Example: polyseme figures

    Example: polyseme figures regimes/pure.toml --only out_of_distribution --scenario length=64 --scenario cone
    """
    with plain_errors():
        path = regime_file or default_regime()
        regime, name = load_regime(path), path.stem
        from polyseme.checks.multi_concept.out_of_distribution.curves import DEFAULT
        from polyseme.checks.multi_concept.out_of_distribution.scenarios import scenario
        from polyseme.files import require_writable

        folder = out or Path("out") / f"{name}-figures"
        require_writable(folder, folder=True)
        if processes is not None and processes < 1:
            raise PolysemeError(
                f"got --processes {processes}, expected a whole number of at least 1; type --processes 1"
            )
        if only == Figure.learning_dynamics and scenario_names:
            raise PolysemeError(
                "got --scenario with --only learning_dynamics, which tests on no other law; leave out one of them"
            )
        chosen = [scenario(each) for each in dict.fromkeys(scenario_names or DEFAULT)]
        from polyseme.checks.multi_concept.drawings import FIGURES, draw_figures
        from polyseme.sim.multi_concept.run_folder import Interrupted

        try:
            written = draw_figures(
                regime,
                folder,
                name=name,
                only=(only.value,) if only else FIGURES,
                scenarios=chosen,
                processes=processes,
                waiting=progress_bar,
            )
        except Interrupted:
            typer.echo(f"polyseme: interrupted; the run is kept in {folder}: type the same command to go on", err=True)
            raise typer.Exit(130) from None
        for path in written.paths:
            typer.echo(f"Written to {path}")
        for remark in written.remarks:
            typer.echo(remark)


def transfer(
    regime_file: RegimeOrDefault = None,
    scenario_names: Scenarios = None,
    listed: Annotated[bool, typer.Option("--list", help="List the scenarios with their statements, and stop.")] = False,
) -> None:
    """Train one model, and test it on prompts of other laws, beside what its coefficients predict.

    Pure regimes train by exact population descent; others by SGD, one member, beside level N, from which its own fluctuations
    differ. Expectations are exact over all pure prompts of a law, so scenarios with noise or extras are refused.

    Example: polyseme transfer regimes/minimal.toml --scenario length=64 --scenario length=2+skewed

    Example: polyseme transfer --list
    """
    with plain_errors():
        from polyseme.checks.multi_concept.out_of_distribution.scenarios import NAMED, WITH_NUMBER, scenario

        if listed:
            for one in (*NAMED, *(scenario(example) for _, _, example in WITH_NUMBER.values())):
                notes = "" if one.keeps_the_skill else " (expected to break the skill)"
                notes += "" if one.is_pure else " (judged by `verify` alone: transfer and figures take pure prompts)"
                typer.echo(f"{one.name}\n    {one.statement}{notes}")
            return
        path = regime_file or default_regime()
        regime = load_regime(path)
        chosen = [scenario(each) for each in dict.fromkeys(scenario_names or ())]
        from polyseme.checks.multi_concept.out_of_distribution.table import print_table, transfer_table

        print_table(transfer_table(regime, chosen, waiting=progress_bar), name=path.stem)
