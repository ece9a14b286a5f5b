"""The two figures by one command: an ensemble is trained once, and drawn with the theory over it (`polyseme figures`)."""

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyseme.checks.multi_concept.curves import Curves, level_of, noisy_curves, theory_curves
from polyseme.checks.multi_concept.out_of_distribution.curves import (
    QUANTITIES,
    OtherLaw,
    on_other_laws,
    pure_laws,
    same_as_training,
)
from polyseme.checks.multi_concept.out_of_distribution.scenarios import Scenario
from polyseme.files import save_json, save_npz
from polyseme.theory.multi_concept.regime import Regime

if TYPE_CHECKING:
    import matplotlib.figure

FIGURES = ("learning_dynamics", "out_of_distribution")
RECORDS = 100
"""Records of the run: enough for a line without corners on a page, few enough that the weights at all of them fit."""
LABELS = {"B": "theory: level B", "N": "theory: level N (low noise, few extras)", None: "level B, for pure prompts"}
PACKAGES = ("polyseme", "numpy", "scipy", "matplotlib", "torch")
Waiting = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure, the caption that belongs under it, and the numbers behind it."""

    stem: str
    figure: "matplotlib.figure.Figure"
    caption: str
    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]
    remark: str = ""
    """What a reader should know who expects more of it, in a sentence; part of the caption."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """The files that were written, and the remarks on the figures in them."""

    paths: tuple[Path, ...]
    remarks: tuple[str, ...]


def figure_regime(regime: Regime) -> Regime:
    """The regime with as many records as a line needs."""
    return regime.replace(training={"record_every": max(1, regime.training.steps // RECORDS)})


def draw_figures(
    regime: Regime,
    out: Path,
    *,
    name: str,
    only: Sequence[str] = FIGURES,
    scenarios: Sequence[Scenario],
    processes: int | None = None,
    waiting: Waiting,
) -> Written:
    """Train the regime's ensemble, integrate its theory, and write the figures, figures.npz and figures.json into `out`.

    The run is kept in `out`/ensemble.run: the same regime is not trained again, and an interrupted run goes on. `waiting(task)` is a
    context with a callback for a long task. PolysemeError for scenarios or a run that are impossible, before anything is trained.
    """
    from polyseme.checks.core.figures.style import save_figure
    from polyseme.sim.multi_concept.run_folder import train
    from polyseme.sim.multi_concept.training.initial import draw_initial

    regime = figure_regime(regime)
    initial = draw_initial(regime)
    if "out_of_distribution" in only:
        pure_laws(regime, initial, scenarios)
    with waiting("train the full model") as progress:
        folder = out / "ensemble.run"
        simulation = train(regime, initial, folder, processes=processes, keep_weights=True, progress=progress)
    level = level_of(regime, initial)
    with waiting(f"integrate level {level or 'B'}") as progress:
        theory = (noisy_curves if level == "N" else theory_curves)(regime, initial, progress=progress)
    curves = Curves(simulation=simulation, theory=theory, level=level)
    drawings = []
    if "learning_dynamics" in only:
        drawings.append(learning_drawing(regime, curves, name))
    if "out_of_distribution" in only:
        with waiting("test on other laws") as progress:
            found = on_other_laws(regime, initial, simulation, theory, scenarios, progress=progress)
        drawings.append(transfer_drawing(regime, curves, found, name))
    paths = [path for one in drawings for path in save_figure(one.figure, out, one.stem)]
    arrays = {key: array for one in drawings for key, array in one.arrays.items()}
    save_npz(out / "figures.npz", arrays)
    save_json(out / "figures.json", _facts(regime, drawings, name, level))
    return Written(
        paths=(*paths, out / "figures.npz", out / "figures.json"),
        remarks=tuple(one.remark for one in drawings if one.remark),
    )


def _facts(regime: Regime, drawings: Sequence[Drawing], name: str, level: str | None) -> dict[str, Any]:
    return {
        "figures": {one.stem: {"caption": one.caption, **one.facts} for one in drawings},
        "regime": {"name": name, "hash (SHA-256)": regime.digest(), **regime.model_dump(mode="json")},
        "seeds": {"first seed": regime.ensemble.seed, "members": regime.ensemble.seeds},
        "level": level,
        "versions": {package: version(package) for package in PACKAGES} | {"Python": platform.python_version()},
    }


def learning_drawing(regime: Regime, curves: Curves, name: str) -> Drawing:
    """Learning dynamics of a trained ensemble, with the theory over it."""
    from polyseme.checks.multi_concept.figures.learning import learning_dynamics

    exact = regime.prompt.is_pure or (regime.prompt.is_noise_free and regime.training.batch == "population")
    caption = " ".join(
        (
            _trained(regime, name),
            "Test: exact expectation over prompts." if exact else f"Test: n = {_sample()} fixed prompts.",
            _theory_in_words(curves),
            "Loss is in nats; all other axes are pure numbers.",
        )
    )
    figure = learning_dynamics(
        curves.theory,
        curves.simulation,
        title=f"Learning dynamics, {name}",
        note=caption,
        theory_label=LABELS[curves.level],
    )
    drawn = ("step", "loss", "error", "attention")
    products = tuple(f"{part}_{kind}" for part in ("attention", "mlp") for kind in ("specific", "complement", "noise"))
    train = tuple(f"train_{name}" for name in drawn[1:])
    sides = {"simulation": curves.simulation, "theory": curves.theory}
    return Drawing(
        stem="learning_dynamics",
        figure=figure,
        caption=caption,
        arrays={
            f"learning.{side}.{key}": arrays[key]
            for side, arrays in sides.items()
            for key in (*drawn, *products, *train)
            if key in arrays
        },
        facts={"test": "exact" if exact else f"{_sample()} prompts"},
    )


def transfer_drawing(regime: Regime, curves: Curves, found: Sequence[OtherLaw], name: str) -> Drawing:
    """The same models on other laws, a row for each."""
    from polyseme.checks.multi_concept.figures.out_of_distribution import Row, out_of_distribution

    remark = same_as_training(found, regime.concepts.K1)
    caption = " ".join(
        (
            _trained(regime, name),
            f"Test: exact expectation over all n = {', '.join(str(one.prompts) for one in found)} pure prompts of the rows' laws.",
            _theory_in_words(curves).replace("the recursion", "closed forms in the coefficients"),
            "Logit gap: half of what the logit of a demonstration that shares the query's sign has over that of one that does not.",
            *((remark,) if remark else ()),
        )
    )
    figure = out_of_distribution(
        [Row(words=one.scenario.statement, simulation=one.simulation, theory=one.theory) for one in found],
        title=f"Out of distribution, {name}",
        note=caption,
        theory_label=LABELS[curves.level],
    )
    return Drawing(
        stem="out_of_distribution",
        figure=figure,
        caption=caption,
        arrays={
            f"{one.scenario.name}.{side}.{key}": arrays[key]
            for one in found
            for side, arrays in (("simulation", one.simulation), ("theory", one.theory))
            for key in ("step", *QUANTITIES)
        },
        facts={
            "scenarios": {one.scenario.name: one.scenario.statement for one in found},
            "prompts": {one.scenario.name: one.prompts for one in found},
        },
        remark=remark,
    )


def _sample() -> int:
    from polyseme.sim.multi_concept.plan import EVALUATION_PROMPTS

    return EVALUATION_PROMPTS


def _trained(regime: Regime, name: str) -> str:
    """Who was trained on what, and what the band is."""
    prompt, training, seeds = regime.prompt, regime.training, regime.ensemble.seeds
    by = "population descent" if training.batch == "population" else f"SGD, batch {training.batch}"
    noise = (
        "pure prompts"
        if prompt.is_pure
        else (
            f"noise {prompt.sigma_x:g} on words and {prompt.sigma_y:g} on labels, other concepts with probability {prompt.p_extra:g}"
        )
    )
    who = f"{seeds} full transformers" if seeds > 1 else "one full transformer"
    band = " Light line and band: median and 10–90 % of the seeds." if seeds > 1 else ""
    return f"Regime {name}: {who} ({by}; L = {prompt.L}, {noise}).{band}"


def _theory_in_words(curves: Curves) -> str:
    """What the dark line is."""
    rows = len(curves.theory["alpha"]) if curves.theory["alpha"].ndim == 4 else 1
    starts = (
        f"median over {'the first ' if curves.level == 'N' else ''}{rows} of their starts"
        if rows > 1
        else "their start"
    )
    if curves.level is None:
        return f"Dark line: level B of pure prompts, {starts}: not the theory of this regime, drawn beside it."
    return f"Dark line: the recursion of level {curves.level}, {starts}."
