"""The profiles of a sweep over one key as they are drawn: shares and their bars, rows of what is open, lines known beforehand."""

import tempfile
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from one_key import a_margin, mixed, one_key, write_profile
from sweep_tables import KEYS, LEARNED, WIDTHS, a_record, over_grid, read_sweep, write_sweep

from polyseme.checks.core.figures.map_frame import Known
from polyseme.checks.core.figures.maps import draw_map
from polyseme.checks.core.figures.profile_frame import ProfileFrame, Upward
from polyseme.checks.core.figures.style import style
from polyseme.checks.core.sweeps.boundaries import Edge
from polyseme.checks.core.sweeps.mapped import Swept, chosen_keys, profile_of
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.theory import THEORY


def tables(folder: Path) -> dict[str, Swept]:
    """Several points of each value, one of each, and points of no value in common; all with every verdict."""
    rng = np.random.default_rng(0)
    design = "design = 'random'\npoints = 60\n"
    random = one_key('lam = { from = 1e-4, to = 1e-2, scale = "log" }', design=design)
    points = [{"lam": float(10 ** rng.uniform(-4, -2)), "seed": j} for j in range(60)]
    lists = one_key("batch = { values = ['population', 8, 16] }")
    return {
        "shared": read_sweep(write_profile(folder / "shared"), KEYS),
        "single": read_sweep(write_profile(folder / "single", seeds=range(1)), KEYS),
        "scattered": read_sweep(write_sweep(folder / "scattered", points, mixed, text=random), KEYS),
        "names": read_sweep(
            write_sweep(folder / "names", over_grid(batch=("population", 8, 16), seed=range(6)), mixed, text=lists),
            KEYS,
        ),
    }


def drawn(swept: Swept, show: str = "verdict"):
    return draw_map(swept, LEARNED, chosen_keys(swept, None, None), show, THEORY, CLAIMS).figure


def figures() -> dict:
    """Every kind of profile, for the tests of all figures."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            f"profile of {show}, {name}": drawn(swept, show)
            for name, swept in tables(Path(folder)).items()
            for show in ("verdict", "margin", "share learned")
        }


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> dict[str, Swept]:
    return tables(tmp_path_factory.mktemp("profiles"))


def legend(figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()]


def marked(axes, marker: str) -> list[tuple[float, float]]:
    lines = [line for line in axes.lines if line.get_marker() == marker and line.get_linestyle() == "None"]
    return sorted((float(x), float(y)) for line in lines for x, y in zip(*line.get_data(), strict=True))


def rows_of(axes) -> dict[str, float]:
    """The rows that the axis upwards does not reach, with their heights."""
    labels = [text.get_text() for text in axes.get_yticklabels(minor=True)]
    return dict(zip(labels, axes.yaxis.get_ticklocs(minor=True), strict=True))


def test_shares_stand_at_their_values_and_bars_reach_to_the_ends_of_their_intervals(tmp_path):
    def judged(regime):  # 0, 1, 2, 3, 4, 4 of 4
        return [a_record(LEARNED, "supported" if regime.ensemble.seed < np.log2(regime.model.m) - 1 else "refuted")]

    axes = drawn(read_sweep(write_profile(tmp_path, judged, seeds=range(4)), KEYS)).axes[0]
    dots = marked(axes, "o")
    np.testing.assert_allclose(np.exp([x for x, _ in dots]), WIDTHS)
    assert [share for _, share in dots] == [0, 0.25, 0.5, 0.75, 1, 1]
    (bars,) = [each.get_segments() for each in axes.collections]
    # Ends of exact intervals: of 0 of n the upper one is 1 - (alpha / 2)^(1 / n).
    assert [bars[0][0][1], bars[0][1][1]] == pytest.approx([0, 1 - 0.025**0.25])
    assert [bars[4][0][1], bars[4][1][1]] == pytest.approx([0.025**0.25, 1])


def test_what_is_open_has_no_share_and_is_counted_below_the_axis(swept):
    figure = drawn(swept["shared"])
    axes = figure.axes[0]
    assert len(marked(axes, "o")) - 1 == len(WIDTHS) - 1, "a ring in its row; at m = 64 nothing is decided"
    rows = rows_of(axes)
    assert list(rows) == ["?", "–", "○", "!"] and max(rows.values()) < 0
    assert [y for _, y in marked(axes, "D")] == [rows["?"]] * 2 and marked(axes, "$!$")[0][1] == rows["!"]
    said = sorted((text.get_text(), text.get_position()[1]) for text in axes.texts if text.get_text().isdigit())
    assert said == sorted([("7", rows["?"]), ("8", rows["?"]), ("12", rows["–"]), ("1", rows["○"]), ("2", rows["!"])])
    words = legend(figure)
    assert "inconclusive (?): 15 points at 2 values" in words and "error (!): 2 points at 1 value" in words
    decided = sum(int(text.split()[0]) for text in words[0].split(": ")[1].split(", "))
    assert decided == 120 - 15 - 12 - 1 - 2


@pytest.mark.parametrize("name", ["single", "scattered"])
def test_points_alone_have_marks_in_the_row_of_their_verdict_and_no_bars(swept, name):
    axes = drawn(swept[name]).axes[0]
    assert not axes.collections
    words = [text.get_text() for text in axes.get_yticklabels()]
    sheet = profile_of(swept[name], LEARNED, chosen_keys(swept[name], None, None)[0], "verdict")
    assert set(words) == {verdict.replace("_", " ") for verdict in sheet.verdicts}
    refuted = [y for _, y in marked(axes, "x")]
    assert {round(y) for y in refuted} == {words.index("refuted")}
    assert len(refuted) == sheet.verdicts.count("refuted")


def test_margins_without_a_place_on_the_axis_are_at_its_edges_and_counted(swept):
    figure = drawn(swept["shared"], "margin")
    axes, words = figure.axes[0], legend(figure)
    rows = rows_of(axes)
    ticks = axes.yaxis.get_ticklocs()
    assert rows["none"] < rows["0"] < min(ticks) < 0 < max(ticks) < rows[r"$\infty$"]
    sheet = profile_of(swept["shared"], LEARNED, "m", "margin")
    heights = np.concatenate(
        [line.get_ydata() for line in axes.lines if len(line.get_xdata()) and line.get_linestyle() == "None"]
    )
    zeros, infinite, none = (sheet.numbers == 0).sum(), np.isposinf(sheet.numbers).sum(), np.isnan(sheet.numbers).sum()
    assert min(zeros, infinite, none) > 0
    medians = [sheet.centre(points) for points in sheet.cells().values()]
    assert (heights == rows["0"]).sum() == zeros + medians.count(0) and medians.count(0) == 1
    assert (heights == rows[r"$\infty$"]).sum() == infinite and (heights == rows["none"]).sum() == none
    assert f"{zeros} points: exactly 0, which has no logarithm" in words
    assert f"{infinite} points: infinite, measured where nothing is allowed" in words
    assert f"{none} points without measured or allowed" in words and "at its bound: measured = allowed" in words
    assert [tuple(line.get_ydata()) for line in axes.lines if line.get_linewidth() == 0.9] == [(0, 0)], (
        "the logarithm of 1"
    )


def test_the_line_goes_through_the_means(swept):
    axes = drawn(swept["shared"], "share learned").axes[0]
    sheet = profile_of(swept["shared"], LEARNED, "m", "share learned")
    (line,) = [line for line in axes.lines if line.get_linewidth() == 1.4]
    means = [
        np.mean([x for x, m in zip(sheet.numbers, sheet.at, strict=True) if m == width and np.isfinite(x)])
        for width in WIDTHS
    ]
    np.testing.assert_allclose(line.get_ydata(), means)
    np.testing.assert_allclose(np.exp(line.get_xdata()), WIDTHS)


def test_nothing_is_joined_between_names(swept):
    for show in ("verdict", "margin", "share learned"):
        axes = drawn(swept["names"], show).axes[0]
        assert [text.get_text() for text in axes.get_xticklabels()] == ["8", "16", "population"]
        assert not [line for line in axes.lines if line.get_linestyle() != "None" and len(set(line.get_xdata())) == 3]


@pytest.mark.usefixtures("unchecked_types")
def test_words_do_not_meet_and_nothing_is_cut_off(swept):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for name, of in swept.items():
        for show in ("verdict", "margin", "share learned"):
            figure = drawn(of, show)
            renderer = FigureCanvasAgg(figure).get_renderer()
            figure.draw(renderer)
            axes = figure.axes[0]
            every = [*axes.get_yticklabels(), *axes.get_yticklabels(minor=True), *axes.get_xticklabels()]
            every += [*axes.texts, *figure.texts, *figure.legends[0].get_texts(), axes.xaxis.label, axes.yaxis.label]
            boxes = [(text, text.get_window_extent(renderer)) for text in every if text.get_text()]
            for (one, a), (other, b) in combinations(boxes, 2):
                assert not a.overlaps(b), (name, show, one, other)
            for text, box in boxes:
                inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
                assert inside, (name, show, text)


def test_long_names_below_the_panel_are_folded(tmp_path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    weights = [(x / 100, (100 - x) / 100) for x in (50, 60, 70, 75, 80, 90, 95, 99)]
    text = one_key("lam = 1e-3") + f"[concepts]\nweights = {{ values = {[list(each) for each in weights]} }}\n"
    of = read_sweep(write_sweep(tmp_path, over_grid(weights=weights, seed=range(2)), mixed, text=text), KEYS)
    figure = drawn(of)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    axes = figure.axes[0]
    boxes = [text.get_window_extent(renderer) for text in [*axes.get_xticklabels(), axes.xaxis.label, *figure.texts]]
    assert len(boxes) == len(weights) + 3 and not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert "\n" in axes.get_xticklabels()[0].get_text()


def test_names_of_neighbouring_edges_are_above_each_other(swept):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    def edge(m, towards):
        return Edge(line=[np.array([[m, 0.0], [m, 0.0]])], towards=(towards, 0))

    edges = {
        "light_penalty": edge(10.0, -1),
        "wide": edge(11.0, 1),
        "off_threshold": edge(12.0, 0),
        "far": edge(60.0, 1),
    }
    sheet = profile_of(swept["shared"], LEARNED, "m", "verdict")
    with style():
        upward = Upward(label="", first=0.0, last=1.0, ticks={})
        frame = ProfileFrame(sheet, Known(predicted={}, asked=edges), upward, title="T", note="", axes_of_sweep={})
        frame.draw_known(Known(predicted={}, asked=edges))
    renderer = FigureCanvasAgg(frame.figure).get_renderer()
    frame.figure.draw(renderer)
    boxes = [text.get_window_extent(renderer) for text in [*frame.panel.texts, *frame.figure.texts] if text.get_text()]
    assert len(boxes) == len(edges) + 1 and not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    heights = [text.get_position()[1] for text in frame.panel.texts]
    assert all(a < b for a, b in pairwise(heights[:3])) and heights[3] == heights[0]


def test_a_margin_of_less_than_zero_is_said_to_be_one(tmp_path):
    of = read_sweep(write_profile(tmp_path, lambda r: [a_record(LEARNED, "supported", a_margin(r), 1.0)]), KEYS)
    words = legend(drawn(of, "margin"))
    assert any("0 or less, which has no logarithm" in text for text in words)


@pytest.mark.parametrize("margins", [(0.0, 0.0), (None, None), (0.0, None), (1e-300, 1e200), (1.0, 1.0)])
def test_margins_of_any_size_and_none_at_all_are_drawn(tmp_path, margins):
    def judged(regime):
        return [a_record(LEARNED, "supported", margins[regime.ensemble.seed], 1.0)]

    axes = drawn(read_sweep(write_profile(tmp_path, judged, seeds=range(2)), KEYS), "margin").axes[0]
    assert 2 <= len(axes.yaxis.get_ticklocs()) <= 12 and 0.0 in axes.yaxis.get_ticklocs(), "the bound has a tick"
