import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
import pytest

from polyseme.checks.core.figures.margins import measured_against_allowed
from polyseme.checks.core.figures.palette import BLUE, INK, RED
from polyseme.checks.core.figures.style import save_figure
from polyseme.checks.core.report.page import page
from polyseme.checks.core.report.run import Run
from polyseme.checks.core.theory import FigureEntry
from polyseme.checks.multi_concept.figures.learning import learning_dynamics

ROOT = Path(__file__).parents[4]
PRODUCTS = [f"{part}_{kind}" for part in ("attention", "mlp") for kind in ("specific", "complement", "noise")]


def runs(seeds: int = 5, steps=range(0, 101, 10)) -> dict[str, np.ndarray]:
    """Curves of a made-up simulation; the error ends at exactly 0."""
    step = np.array(steps)
    growth = 1 / (1 + np.exp(-(step / step[-1] * 10 - 4 + np.linspace(-1, 1, seeds)[:, None])))
    scalars = {
        "loss": 0.7 - 0.6 * growth,
        "error": np.where(growth > 0.9, 0, 0.5 - 0.5 * growth),
        "attention": 0.6 + 0.4 * growth,
    }
    train = {f"train_{name}": array * 1.01 for name, array in scalars.items()}
    products = {name: growth * (2.0 if name.endswith("specific") else 0.05) for name in PRODUCTS}
    return {"step": step} | scalars | train | products


def lines(axes, colour: str):
    return [line for line in axes.lines if line.get_color() == colour]


def words(figure) -> str:
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts), *figure.legends[0].get_texts()]
    return " ".join(text.get_text() for text in texts)


TEST, TRAIN, THEORY = BLUE, RED, INK


def test_simulation_is_median_and_band_and_theory_is_median():
    theory = {name: array for name, array in runs(seeds=3).items() if not name.startswith("train")}
    simulation = runs(seeds=24)
    figure = learning_dynamics(theory, simulation, title="T", note="N.")
    assert len(figure.axes) == 5
    for axes, name in zip(figure.axes[:3], ("loss", "error", "attention"), strict=True):
        np.testing.assert_array_equal(lines(axes, TEST)[0].get_ydata(), np.median(simulation[name], axis=0))
        np.testing.assert_array_equal(lines(axes, THEORY)[0].get_ydata(), np.median(theory[name], axis=0))
        np.testing.assert_array_equal(lines(axes, TRAIN)[0].get_ydata(), np.median(simulation[f"train_{name}"], axis=0))
        band = axes.collections[0].get_paths()[0].vertices[:, 1]
        low, high = np.quantile(simulation[name], (0.1, 0.9), axis=0)
        assert set(band) == set(low) | set(high)
    assert "simulation, test: median and 10–90 % of 24 seeds" in words(figure)
    assert "N." in words(figure)


def test_lines_of_theory_simulation_and_training_differ_in_more_than_colour():
    axes = learning_dynamics(runs(), runs(), title="").axes[0]
    theory, test, train = (lines(axes, colour)[0] for colour in (THEORY, TEST, TRAIN))
    assert test.get_linewidth() >= 2 * theory.get_linewidth()
    assert train.is_dashed() and not theory.is_dashed() and not test.is_dashed()


def test_one_seed_without_theory_has_no_band_and_says_so():
    simulation = {name: array[0] if array.ndim == 2 else array for name, array in runs().items()}
    figure = learning_dynamics(None, simulation, title="", columns=1)
    assert "one seed" in words(figure) and "theory" not in words(figure)
    assert not figure.axes[0].collections
    assert figure.get_size_inches()[0] == 3.4


def test_an_error_of_zero_is_drawn_on_the_axis_at_zero():
    figure = learning_dynamics(None, runs(), title="")
    axes = figure.axes[1]
    values = lines(axes, TEST)[0].get_ydata()
    assert values[-1] == 0
    low, high = axes.get_ylim()
    assert low < 0 and high >= 1
    assert axes.get_yscale() == "symlog" and 0 in axes.get_yticks()
    assert "linear" in words(figure)


@pytest.mark.parametrize("smallest", [1e-30, 1e-4, 0.3, 0.0])
def test_the_error_axis_takes_every_range(smallest: float, tmp_path: Path):
    simulation = runs(1) | {"error": np.full((1, 11), smallest), "train_error": np.zeros((1, 11))}
    save_figure(learning_dynamics(None, simulation, title=""), tmp_path, "x")


def test_a_curve_of_nan_is_left_out_and_other_values_that_are_not_finite_are_counted():
    simulation = runs()
    simulation["mlp_noise"] = np.full((5, 11), np.nan)
    for kind in ("specific", "complement", "noise"):
        del simulation[f"attention_{kind}"]
    simulation["loss"][0, 3] = np.inf
    simulation["loss"][1, 4] = np.nan
    figure = learning_dynamics(None, simulation, title="")
    assert len([line for line in figure.axes[4].lines if line.get_gid() is None]) == 2
    assert "not recorded" in [text.get_text() for text in figure.axes[3].texts]
    assert "Not drawn, because not finite: 2 values." in words(figure)


def test_step_axis_is_logarithmic_exactly_if_the_grid_is():
    log = [0, *np.unique(np.round(np.geomspace(1, 10_000, 60))).astype(int)]
    assert learning_dynamics(None, runs(steps=log), title="").axes[0].get_xscale() == "symlog"
    assert learning_dynamics(None, runs(), title="").axes[0].get_xscale() == "linear"
    assert learning_dynamics(None, runs(steps=[*range(0, 1000, 10), 1900]), title="").axes[0].get_xscale() == "linear"


def boxes(figure, texts) -> list:
    """Where texts stand on paper."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    return [text.get_window_extent(renderer) for text in texts if text.get_visible() and text.get_text()]


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("bottom", [-0.05, 0.0, 0.0001, 0.1, 0.399, 0.41])
def test_tick_labels_of_loss_and_error_do_not_meet(bottom: float, columns: Literal[1, 2]):
    simulation = runs(1)
    simulation["loss"] = bottom + (0.8 - bottom) * np.linspace(1, 0, 11)[None]
    del simulation["train_loss"]
    figure = learning_dynamics(None, simulation, title="", columns=columns)
    loss, error = figure.axes[:2]
    loss.margins(y=0)  # with a label at the very bottom, as bad as it gets
    shown = [label for label, y in zip(loss.get_yticklabels(), loss.get_yticks(), strict=True) if y >= bottom - 1e-9]
    low = min(boxes(figure, shown), key=lambda box: box.y0)
    assert max(box.y1 for box in boxes(figure, error.get_yticklabels())) < low.y0
    assert "10^{0}" not in "".join(label.get_text() for label in error.get_yticklabels())


@pytest.mark.parametrize("ends", [(0, 0, 0), (9, 0.05, 0), (9, 9, 9), (9, 4, 3.9), (9, 8.9, 0)])
@pytest.mark.parametrize("columns", [1, 2])
def test_names_of_curves_stand_apart_and_are_led_to_their_ends(ends: tuple[float, ...], columns: Literal[1, 2]):
    kinds = ("specific", "complement", "noise")
    simulation = runs(1) | {
        f"{part}_{kind}": np.linspace(0, end, 11)[None]
        for part in ("attention", "mlp")
        for kind, end in zip(kinds, ends, strict=True)
    }
    figure = learning_dynamics(None, simulation, title="", columns=columns)
    for axes in figure.axes[3:]:
        names = sorted(boxes(figure, axes.texts), key=lambda box: box.y0)
        assert len(names) == 3 and all(a.y1 <= b.y0 for a, b in itertools.pairwise(names))
        assert all(box.x1 <= figure.bbox.x1 and box.y1 <= axes.bbox.y1 + 12 for box in names)
        leaders = [line for line in axes.lines if "leader" in (line.get_gid() or "")]
        low, high = axes.get_ylim()
        starts = [low + line.get_ydata()[0] * (high - low) for line in leaders]
        assert starts == pytest.approx(sorted(ends))
        assert [line.get_ydata()[1] for line in leaders] == [text.get_position()[1] for text in axes.texts]


@pytest.mark.parametrize("seeds", [1, 5])
def test_a_single_step_is_seen(seeds: int, tmp_path: Path):
    single = {name: array[..., :1] for name, array in runs(seeds).items()}
    figure = learning_dynamics({k: v for k, v in single.items() if "train" not in k}, single, title="")
    save_figure(figure, tmp_path, "x")  # warnings are errors
    for axes in figure.axes:
        assert axes.get_xlim() == (-1, 1) and list(axes.get_xticks()) == [0]
        assert all(line.get_marker() != "None" for line in axes.lines if line.get_gid() is None)
        assert bool(axes.collections) == (seeds > 1)


@pytest.mark.parametrize("columns", [1, 2])
def test_the_caller_names_the_line_of_the_theory(columns: Literal[1, 2]):
    label = "level B, the theory of pure prompts, drawn beside these noisy ones on purpose"
    figure = learning_dynamics(runs(), runs(seeds=64), title="T", columns=columns, theory_label=label)
    (legend,) = figure.legends
    assert legend.get_texts()[0].get_text().replace("\n", " ") == label
    assert legend.get_texts()[1].get_text() == "simulation, test: median and 10–90 % of 64 seeds"
    words = boxes(figure, legend.get_texts())
    assert all(box.x1 <= figure.bbox.x1 for box in words)
    titles = boxes(figure, [axes._left_title for axes in figure.axes])
    assert min(box.y0 for box in words) > max(box.y1 for box in titles)


def test_a_report_does_not_repeat_the_note_under_a_figure_in_its_caption(tmp_path: Path):
    note = "Theory: the level-B recursion -- from the same states, in a sentence so long that it needs a second line."
    svg, _ = save_figure(learning_dynamics(None, runs(), title="T", note=note), tmp_path, "x")

    def report(caption: str) -> str:
        entry = FigureEntry(title="T", caption=caption, svg=svg.read_text(encoding="utf-8"))
        empty = {"records": [], "equations": [], "regime_tables": {}, "provenance": {}, "replay": ""}
        return page(Run(figures=[entry], **empty))

    once, twice = report(note), report("Something else.")
    assert twice.count("<use") - once.count("<use") >= len("".join(note.split()))
    assert f"</b> {note}</figcaption>" in once and "<!-- Theory" not in once + twice
    letters = set(re.findall(r' href="#(f1-[^"]*)"', once))  # what other words use is still there
    assert letters and letters <= set(re.findall(r' id="([^"]*)"', once))


def record(name: str, verdict: str, measured, bound, control=None) -> dict:
    controls = [] if control is None else [{"measured": control, "bound": bound}]
    part = {"name": "", "verdict": verdict, "measured": measured, "bound": bound, "controls": controls}
    return {"id": f"f/{name}", "family": "f", "verdict": verdict, "parts": [part]}


def marks(figure, marker: str) -> list[float]:
    return [float(line.get_xdata()[0]) for line in figure.axes[0].lines if line.get_marker() == marker]


def test_margins_place_every_number_and_say_what_has_none():
    figure = measured_against_allowed(
        [
            record("exact", "supported", 0.0, 0.0, 1.0),
            record("small", "supported", 1e-14, 1e-11, 0.1),
            record("negative", "supported", -0.3, 0.5, "Infinity"),
            record("outside", "refuted", 2.0, 1e-3, 1.5),
            record("silent", "not_applicable", None, None),
            record("broken", "error", float("nan"), 1.0, "no"),
            record("wordless", "supported", None, 1.0, float("nan")),
        ]
    )
    lane = marks(figure, "o")[0]
    assert marks(figure, "o") == pytest.approx([lane, -14, lane, np.log10(2)])
    assert marks(figure, "|") == pytest.approx([lane, -11, np.log10(0.5), -3, 0, 0])
    assert lane < -14.5 and marks(figure, "x")[2] > 0.5  # exact 0 and infinity have lanes of their own
    assert marks(figure, "x")[:2] + marks(figure, "x")[3:] == pytest.approx([0, -1, np.log10(1.5)])
    said = [text.get_text() for text in figure.axes[0].texts]
    for text in ("-0.3", "refuted", "not applicable", "error, control: no number", "no number, control: no number"):
        assert text in said
    assert figure.axes[0].get_xticklabels()[0].get_text() == "= 0"


@pytest.mark.parametrize("huge", ["Infinity", 1e7, 1e300])
def test_a_huge_value_is_off_scale_and_does_not_squash_the_axis(huge, tmp_path: Path):
    near = [record("a", "supported", 1e-9, 1e-6, 1.0), record("c", "supported", 0.0, 0.0, 9e5)]
    figure = measured_against_allowed([*near, record("b", "supported", 1e-9, 1e-6, huge)])
    save_figure(figure, tmp_path, "x")  # every letter exists in the font, or a warning is raised
    axes = figure.axes[0]
    assert axes.get_xlim()[1] < 9 and marks(figure, "x")[2] > 6.5 > marks(figure, "x")[1]
    assert "off\nscale" in [label.get_text() for label in axes.get_xticklabels()]
    said = {"Infinity": r"$\infty$", 1e7: r"$1 \cdot 10^{7}$", 1e300: r"$1 \cdot 10^{300}$"}[huge]
    assert said in [text.get_text() for text in axes.texts]
    labels = boxes(figure, axes.get_xticklabels())
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(sorted(labels, key=lambda box: box.x0)))
    assert boxes(figure, [axes.xaxis.label])[0].y0 > 0
    without = measured_against_allowed(near)
    assert "off\nscale" not in [label.get_text() for label in without.axes[0].get_xticklabels()]


def test_margins_of_nothing_numeric_can_be_drawn(tmp_path: Path):
    save_figure(measured_against_allowed([record("a", "missing", None, None)]), tmp_path, "x")
    save_figure(measured_against_allowed([]), tmp_path, "y")


def test_files_are_valid_undated_and_independent_of_fonts(tmp_path: Path):
    svg, pdf = save_figure(learning_dynamics(runs(), runs(), title="A & B"), tmp_path / "figures", "x")
    assert [path.name for path in sorted(svg.parent.iterdir())] == ["x.pdf", "x.svg"]
    root = ElementTree.parse(svg).getroot()
    assert not list(root.iter("{http://www.w3.org/2000/svg}text"))
    assert b"date" not in svg.read_bytes()
    assert b"CreationDate" not in pdf.read_bytes() and b"/FontFile2" in pdf.read_bytes()


DRAW = """
import sys
from pathlib import Path
import polyseme.checks.multi_concept.figures.learning, polyseme.checks.core.figures.margins, polyseme.checks.core.figures.style
assert "matplotlib" not in sys.modules  # nothing may read MPLCONFIGDIR before it is set
sys.path.insert(0, {tests!r})
from test_learning import record, runs
figure = polyseme.checks.multi_concept.figures.learning.learning_dynamics(runs(), runs(), title="T")
polyseme.checks.core.figures.style.save_figure(figure, Path(sys.argv[1]), "a")
polyseme.checks.core.figures.style.save_figure(polyseme.checks.core.figures.margins.measured_against_allowed([record("a", "supported", 1e-9, 1.0, 2.0)]), Path(sys.argv[1]), "b")
"""


def drawn_by_a_user(out: Path, **environment: str) -> dict[str, bytes]:
    """The figures as another process draws them, in an environment with nothing else in it."""
    clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    script = DRAW.format(tests=str(Path(__file__).parent))
    subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(out)], env=clean | environment, cwd=out.parent, check=True
    )
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def test_drawing_leaves_nothing_outside_its_folder_and_the_same_bytes_everywhere(tmp_path: Path):
    for name in ("home", "tmp", "first", "config"):
        (tmp_path / name).mkdir()
    inside = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    first = drawn_by_a_user(tmp_path / "first" / "out", PYTHONHASHSEED="1", **inside)
    assert sorted(first) == ["a.pdf", "a.svg", "b.pdf", "b.svg"]
    assert [path.name for path in (tmp_path / "first").iterdir()] == ["out"]
    assert not list((tmp_path / "home").iterdir()) and not list((tmp_path / "tmp").iterdir())

    (tmp_path / "config" / "matplotlibrc").write_text("axes.facecolor: red\nsvg.fonttype: none\n")
    second = drawn_by_a_user(
        tmp_path / "second", PYTHONHASHSEED="2", TZ="Asia/Tokyo", MPLCONFIGDIR=str(tmp_path / "config"), **inside
    )
    assert second == first
    assert len(list((tmp_path / "config").iterdir())) > 1  # a place that the user chose is used
    assert not list((tmp_path / "home").iterdir())
