"""Every figure as it is drawn: can its colours be distinguished by everybody, and its words be read in print."""

import importlib.util
import itertools
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from polyseme.checks.core.figures import palette
from polyseme.checks.core.figures.graph import uses_graph
from polyseme.checks.core.figures.margins import measured_against_allowed
from polyseme.checks.core.figures.style import STYLE
from polyseme.checks.core.report.palette import contrast
from polyseme.checks.multi_concept.figures.error_curve import error_curve_figure
from polyseme.checks.multi_concept.figures.fluctuation import deviation_figure, phase_figure
from polyseme.checks.multi_concept.figures.learning import learning_dynamics
from polyseme.checks.multi_concept.figures.out_of_distribution import out_of_distribution
from polyseme.checks.multi_concept.figures.thresholds import threshold_figure

HERE = Path(__file__).parent
FIGURES = [HERE.parents[3] / "checks" / part / "figures" for part in ("core", "multi_concept")]
# One unit of CAM02-UCS is about one just noticeable difference of large patches side by side. Marks of a millimetre that
# are not side by side need several times as much; twelve, a choice of ours, is about half of that between blue and
# vermillion of Okabe and Ito without red cones.
APART = 12.0
# WCAG 2.2: 1.4.11 for graphical objects, 1.4.3 for text.
MARKS, WORDS = 3.0, 4.5
WHITE = "#FFFFFF"
SMALLEST = 8.0  # points in print: figures are drawn at their printed size
# Machado, Oliveira and Fernandes (2009), at full severity: no L, no M, no S cones.
DICHROMACIES = ("protanomaly", "deuteranomaly", "tritanomaly")


def sibling(name: str, folder: Path = HERE):
    """A test module beside this one or in another folder, for the numbers that it draws."""
    spec = importlib.util.spec_from_file_location(f"beside_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def every_figure() -> dict:
    of_theory = HERE.parents[1] / "multi_concept" / "figures"
    curves, learning, transfer = (sibling(f"test_{name}", of_theory) for name in ("curves", "learning", "transfer"))
    records = json.loads((HERE.parent / "example_results.json").read_text(encoding="utf-8"))
    verdicts = ("supported", "refuted", "error", "inconclusive", "missing", "not_applicable")
    records = [record | {"verdict": verdict} for record, verdict in zip(itertools.cycle(records), verdicts * 3)][:18]
    records = [record | {"id": f"{record['id']}_{j}"} for j, record in enumerate(records)]
    records = [record | {"uses": [records[0]["id"], records[1]["id"]] * (j > 1)} for j, record in enumerate(records)]
    return {
        "learning": learning_dynamics(learning.runs(), learning.runs(), title="T", note="N."),
        "narrow": learning_dynamics(learning.runs(), learning.runs(), title="T", note="N.", columns=1),
        "transfer": out_of_distribution(transfer.rows(), title="T", note="N."),
        "error curve": error_curve_figure(curves.curve_records(), title="T"),
        "deviation": deviation_figure(curves.deviation_records(), title="T"),
        "phases": phase_figure(curves.phase_records(), title="T"),
        "thresholds": threshold_figure(curves.threshold_records([2.0, 1.2, 0.9]), title="T"),
        "uses": uses_graph(records),
        "margins": measured_against_allowed(records),
        **sibling("test_maps").figures(),
        **sibling("test_profiles").figures(),
    }


@pytest.fixture(scope="module")
def drawn(unchecked_types_of_the_module) -> dict:  # noqa: ARG001
    """Each figure once, laid out, so that its tick labels exist."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figures = every_figure()
    for figure in figures.values():
        FigureCanvasAgg(figure).draw()
    return figures


def hexadecimal(colour) -> str:
    from matplotlib.colors import to_hex

    return to_hex(colour).upper()


def colours_of_marks(axes) -> set[str]:
    """Lines, dots with their edges, bars and arcs of a panel; grounds are none, nor is white inside a ring."""
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Arc

    found = set()
    for line in axes.lines:
        found |= {hexadecimal(line.get_color())} if line.get_linestyle() != "None" else set()
        if line.get_marker() not in ("None", "", None):
            filled = line.get_marker() in ("o", "s", "D")
            found |= {hexadecimal(line.get_markeredgecolor())}
            found |= {hexadecimal(line.get_markerfacecolor())} if filled else set()
    for collection in axes.collections:
        if isinstance(collection, LineCollection):
            found |= {hexadecimal(colour) for colour in collection.get_edgecolor()}
    found |= {hexadecimal(patch.get_edgecolor()) for patch in axes.patches if isinstance(patch, Arc)}
    return found - {"#FFFFFF", palette.ALLOWED}


def shown_texts(figure) -> list:
    from matplotlib.text import Text

    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[j : j + 2], 16) for j in (1, 3, 5)]) / 255


@cache
def distances(one: str, other: str) -> dict[str, float]:
    """CAM02-UCS between two colours as everybody sees them."""
    from colorspacious import cspace_convert, deltaE

    found = {"three cones": float(deltaE(rgb(one), rgb(other), input_space="sRGB1"))}
    for kind in DICHROMACIES:
        space = {"name": "sRGB1+CVD", "cvd_type": kind, "severity": 100}
        seen = [np.clip(cspace_convert(rgb(colour), space, "sRGB1"), 0, 1) for colour in (one, other)]
        found[kind] = float(deltaE(*seen, input_space="sRGB1"))
    return found


def test_colours_have_one_place():
    paths = [path for folder in FIGURES for path in folder.glob("*.py")]
    assert len(paths) >= 15, "or nothing was looked through"
    for path in paths:
        if path.name != "palette.py":
            assert not re.findall(r"#[0-9A-Fa-f]{6}\b", path.read_text(encoding="utf-8")), path.name
    named = {value.upper() for name, value in vars(palette).items() if name.isupper()}
    (cycle,) = re.findall(r"cycler\('color', \[(.*)\]\)", STYLE.read_text(encoding="utf-8"))
    assert {f"#{colour.strip(chr(39))}" for colour in cycle.split(", ")} <= named


def test_marks_of_one_panel_are_distinguished_with_any_colour_vision(drawn):
    most = 0
    for name, figure in drawn.items():
        for axes in figure.axes:
            colours = colours_of_marks(axes)
            most = max(most, len(colours))
            for one, other in itertools.combinations(sorted(colours), 2):
                assert min(distances(one, other).values()) >= APART, (name, one, other, distances(one, other))
    assert most >= 6, "or nothing was compared"


def test_the_test_would_refuse_the_usual_colours():
    # Okabe and Ito themselves, and the default cycle of matplotlib, in thin lines.
    assert min(distances("#D55E00", "#C17F00").values()) < APART
    assert min(distances("#2CA02C", "#D62728").values()) < APART
    assert contrast("#56B4E9", WHITE) < MARKS and contrast("#E69F00", WHITE) < MARKS
    assert contrast("#000000", WHITE) == pytest.approx(21)


def test_marks_and_words_stand_out_from_white(drawn):
    for name, figure in drawn.items():
        for axes in figure.axes:
            for colour in colours_of_marks(axes):
                assert contrast(colour, WHITE) >= MARKS, (name, colour)
        for text in shown_texts(figure):
            assert contrast(hexadecimal(text.get_color()), WHITE) >= WORDS, (name, text.get_text())
            # Words stand on grounds as well.
            assert contrast(hexadecimal(text.get_color()), palette.SHADE) >= WORDS, (name, text.get_text())


def test_the_line_of_the_theory_stands_out_from_what_it_is_drawn_over():
    for colour in (palette.BLUE, palette.ORANGE, palette.GREEN):
        assert contrast(palette.INK, colour) >= MARKS


def test_no_word_is_smaller_than_print_can_bear(drawn):
    for name, figure in drawn.items():
        texts = shown_texts(figure)
        assert len(texts) > 8
        for text in texts:
            assert text.get_fontsize() >= SMALLEST, (name, text.get_text(), text.get_fontsize())


def test_every_axis_says_what_it_counts(drawn):
    for name in ("learning", "narrow", "transfer", "error curve", "deviation", "phases"):
        for axes in drawn[name].axes:
            assert axes.get_ylabel(), name
        assert any(axes.get_xlabel() for axes in drawn[name].axes), name
