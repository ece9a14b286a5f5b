"""The maps of a sweep as they are drawn: what has a colour of the scale, what is hatched, and what the legend says."""

import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sweep_tables import GRID, KEYS, LAM, LEARNED, WIDTHS, a_record, every_verdict, over_grid, read_sweep, write_sweep

from polyseme.checks.core.figures.maps import draw_map
from polyseme.checks.core.figures.number_map import triangulated
from polyseme.checks.core.sweeps.mapped import chosen_keys, sheet_of
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.theory.multi_concept.regime import Regime

FATES = "dynamics/concepts_learned_are_those_foreseen"
"""A claim whose facts are shares and numbers of concepts."""
SOBOL = (
    GRID.replace("[sweep]", "[sweep]\ndesign = 'sobol'\npoints = 90")
    .replace(", count = 5", "")
    .replace(", count = 4", "")
)


def tables(folder: Path) -> dict:
    """A grid and a scattered design, each with every verdict."""
    grid = over_grid(m=WIDTHS, lam=LAM, seed=range(4))
    rng = np.random.default_rng(1)
    points = [
        {"m": int(2 ** rng.integers(1, 7)), "lam": float(rng.choice(LAM)), "seed": int(rng.integers(4))}
        for _ in range(199)
    ] + [{"m": 4, "lam": 1e-4, "seed": 0}]
    return {
        "grid": read_sweep(write_sweep(folder / "grid", grid, every_verdict), KEYS),
        "scattered": read_sweep(write_sweep(folder / "scattered", points, every_verdict, text=SOBOL), KEYS),
    }


def drawn(swept, show="verdict", claim=LEARNED):
    return draw_map(swept, claim, chosen_keys(swept, None, None), show, THEORY, CLAIMS).figure


def figures() -> dict:
    """Every kind of map, for the tests of all figures."""
    with tempfile.TemporaryDirectory() as folder:
        found = tables(Path(folder))
        return {
            f"map of {show}, {name}": drawn(swept, show)
            for name, swept in found.items()
            for show in ("verdict", "margin", "share learned")
        }


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> dict:
    return tables(tmp_path_factory.mktemp("maps"))


def legend(figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()]


def test_the_colour_is_the_share_of_what_was_decided_and_the_undecided_have_none(swept):
    figure = drawn(swept["grid"])
    (cells,) = figure.axes[0].collections
    share = cells.get_array().filled(np.nan).reshape(len(LAM), len(WIDTHS))
    for (j, m), (i, lam) in [(a, b) for a in enumerate(WIDTHS) for b in enumerate(LAM)]:
        verdicts = Counter(
            record["verdict"]
            for point in over_grid(m=(m,), lam=(lam,), seed=range(4))
            for record in every_verdict(_regime(point))
        )
        decided = verdicts["supported"] + verdicts["refuted"]
        assert np.isnan(share[i, j]) == (decided == 0), (m, lam)
        if decided:
            assert share[i, j] == pytest.approx(verdicts["supported"] / decided)
    assert cells.get_cmap().name == "cividis" and cells.get_clim() == (0, 1)


def _regime(point):
    return Regime().replace(model={"m": point["m"]}, training={"lam": point["lam"]}, ensemble={"seed": point["seed"]})


def test_inconclusive_cells_are_hatched_and_say_how_many(swept):
    from matplotlib.patches import Rectangle

    axes = drawn(swept["grid"]).axes[0]
    hatched = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_hatch()]
    places = {
        (round(float(np.exp(p.get_x() + p.get_width() / 2))), float(np.exp(p.get_y() + p.get_height() / 2)))
        for p in hatched
    }
    expected = {(m, lam) for m in (8, 16) for lam in LAM[3:]}
    assert {m for m, _ in places} == {8, 16} and len(places) == len(expected)
    assert sorted(lam for _, lam in places) == pytest.approx(sorted(lam for _, lam in expected))
    said = Counter(text.get_text() for text in axes.texts)
    assert said["1?"] == 2 and said["?"] == 2 and said["–"] == 1 and said["!"] == 1 and said["1○"] == 1
    grey = [patch for patch in axes.patches if isinstance(patch, Rectangle) and not patch.get_hatch()]
    assert len(grey) == 1


def test_the_legend_counts_what_there_is(swept):
    words = legend(drawn(swept["grid"]))
    for text in (
        "inconclusive (?): 10 points in 4 cells",
        "not applicable (–): 4 points in 1 cell",
        "missing (○): 1 point in 1 cell",
        "error (!): 4 points in 1 cell",
    ):
        assert text in words
    assert any(text.startswith("predicted") for text in words) and any("asked by the claim" in text for text in words)
    decided = [int(text.split()[1]) for text in words if text.startswith(("supported", "refuted"))]
    assert sum(decided) == 120 - 10 - 4 - 1 - 4


def test_what_does_not_occur_is_not_in_the_legend(tmp_path):
    points = over_grid(m=(16, 32), lam=LAM[:2], seed=(2, 3))
    text = (
        GRID.replace("[2, 4, 8, 16, 32, 64]", "[16, 32]")
        .replace('drop = ["wide", "light_penalty"]', "")
        .replace("to = 1e-2", f"to = {LAM[1]}")
        .replace("count = 5", "count = 2")
    )
    of = read_sweep(write_sweep(tmp_path, points, every_verdict, text=text), KEYS)
    words = legend(drawn(of))
    assert words == ["supported: 8 points"]


def test_small_cells_keep_the_marks_of_broken_checks(tmp_path):
    count = 60
    lam = [float(f"{x:.12g}") for x in np.geomspace(1e-4, 1e-2, count)]
    text = GRID.replace("count = 5", f"count = {count}")
    of = read_sweep(write_sweep(tmp_path, over_grid(m=WIDTHS, lam=lam, seed=range(4)), every_verdict, text=text), KEYS)
    axes = drawn(of).axes[0]
    assert not [text for text in axes.texts if "!" in text.get_text()]
    broken = [line for line in axes.lines if line.get_marker() == "$!$"]
    assert len(broken) == sum(x < 2e-4 for x in lam)


def test_scattered_verdicts_differ_in_shape(swept):
    axes = drawn(swept["scattered"]).axes[0]
    marks = [(line.get_marker(), len(line.get_xdata())) for line in axes.lines if line.get_marker() != "None"]
    assert sum(number for _, number in marks) == 200
    looks = {(line.get_marker(), line.get_markerfacecolor()) for line in axes.lines if line.get_marker() != "None"}
    assert len(looks) == len(marks) == 6


@pytest.mark.usefixtures("unchecked_types")
def test_the_contour_of_the_bound_is_where_measured_is_allowed(swept):
    for name in ("grid", "scattered"):
        figure = drawn(swept[name], "margin")
        assert "at its bound: measured = allowed" in legend(figure)
        thick = [line for line in figure.axes[0].lines if line.get_linewidth() == 2.0]
        assert thick
        for line in thick:  # m lam = 0.02, exactly, since its logarithm is linear on these axes
            np.testing.assert_allclose(np.exp(np.add(*line.get_data())), 0.02, rtol=1e-9)


def test_triangles_leave_out_splinters_and_points_without_a_number():
    ends = ((0.0, 1.0), (0.0, 1.0))
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 1e-4]])
    none = np.empty((0, 2))
    net = triangulated(square, none, ends)
    assert net is not None and net.mask.sum() == 1, "the sliver below the bottom"
    hollow = triangulated(square, np.array([[0.5, 0.7], [3.0, 3.0]]), ends)
    assert hollow is not None and hollow.mask.sum() == 2
    assert triangulated(square[:2], none, ends) is None
    assert triangulated(np.array([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]), none, ends) is None
    # What is flat is flat on the page, whatever the numbers.
    assert triangulated(square * [1.0, 1e-3], none, ((0.0, 1.0), (0.0, 1e-3))) is not None


@pytest.mark.usefixtures("unchecked_types")
def test_ticks_stand_at_the_values_and_words_do_not_meet(swept):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for of in swept.values():
        figure = drawn(of)
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        axes = figure.axes[0]
        for axis, along in ((axes.xaxis, 0), (axes.yaxis, 1)):
            boxes = [label.get_window_extent(renderer) for label in axis.get_ticklabels() if label.get_text()]
            spans = sorted((box.intervalx if along == 0 else box.intervaly).tolist() for box in boxes)
            assert len(spans) >= 3 and all(a[1] < b[0] for a, b in pairwise(spans))
        inside = figure.bbox
        for text in [*figure.texts, *axes.texts, *figure.legends[0].get_texts()]:
            box = text.get_window_extent(renderer)
            assert box.x0 >= inside.x0 and box.x1 <= inside.x1 and box.y0 >= inside.y0 and box.y1 <= inside.y1, text
    figure = drawn(swept["grid"])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [str(m) for m in WIDTHS]
    np.testing.assert_allclose(figure.axes[0].get_xticks(), np.log(WIDTHS))
    assert figure.get_size_inches()[0] <= 7.0


def test_every_key_has_words():
    keys = Regime.keys()
    assert all(key.label for key in keys.values())
    assert keys["lam"].axis_label == r"L2 penalty $\lambda$" and keys["loss"].axis_label == "loss"


def test_axes_have_the_words_of_their_keys(swept):
    axes = drawn(swept["grid"]).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (r"width $m$", r"L2 penalty $\lambda$")


def test_sheets_of_all_claims_have_the_same_axes(swept):
    sheets = [sheet_of(swept["grid"], LEARNED, "m", "lam", show) for show in ("verdict", "margin")]
    assert sheets[0].x == sheets[1].x and sheets[0].y == sheets[1].y


def test_words_upwards_have_room_and_marks_stand_at_the_values(tmp_path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    text = GRID.replace("[training]", "[training]\nbatch = { values = ['population', 8, 16] }")
    text = text.replace("[2, 4, 8, 16, 32, 64]", "[1, 2, 64]")
    points = over_grid(m=(1, 2, 64), batch=("population", 8, 16), lam=(1e-4,), seed=(0,))
    of = read_sweep(
        write_sweep(tmp_path, points, lambda _: [a_record(LEARNED, "not_applicable")], text=text, total=len(points)),
        KEYS,
    )
    for show in ("verdict", "margin"):
        figure = draw_map(of, LEARNED, ("m", "batch"), show, THEORY, CLAIMS).figure
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        axes = figure.axes[0]
        label = axes.yaxis.label.get_window_extent(renderer)
        words = [text.get_window_extent(renderer) for text in axes.get_yticklabels()]
        assert label.x0 >= 0 and all(label.x1 < box.x0 for box in words)
        marks = {text.get_position()[0] for text in axes.texts if text.get_text() == "–"} or {
            float(x) for line in axes.lines if line.get_marker() == "_" for x in line.get_xdata()
        }
        assert sorted(marks) == pytest.approx(np.log([1, 2, 64]))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(("fact", "value"), [("share learned", 1.0), ("concepts", 2.0)])
def test_a_fact_that_is_constant_has_one_colour_or_the_scale_of_shares(tmp_path, fact, value):
    of = write_sweep(
        tmp_path, over_grid(m=WIDTHS, lam=LAM, seed=(0,)), lambda _: [a_record(FATES, "supported", **{fact: value})]
    )
    figure = drawn(read_sweep(of), fact, FATES)
    if fact == "concepts":
        assert len(figure.axes) == 1 and legend(figure)[0] == "concepts = 2, everywhere that there is a number"
    else:
        assert len(figure.axes) == 2 and figure.axes[0].collections[0].get_clim() == (0, 1)


def test_few_values_have_no_contours(tmp_path):
    text = GRID.replace("[2, 4, 8, 16, 32, 64]", "[8, 16, 32]")
    of = write_sweep(tmp_path, over_grid(m=(8, 16, 32), lam=LAM, seed=range(4)), every_verdict, text=text)
    words = legend(drawn(read_sweep(of, KEYS), "margin"))
    assert not any("contours" in text or "at its bound" in text for text in words)
