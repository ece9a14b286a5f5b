"""The figure out of distribution: what stands where, and that it can be read."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from polyseme.checks.core.figures.palette import BLUE, INK
from polyseme.checks.core.figures.style import save_figure
from polyseme.checks.multi_concept.figures.out_of_distribution import PANELS, Row, out_of_distribution

WORDS = ("2 demonstrations in a prompt", "each concept twice as frequent", "mu_k^+ and mu_k^- exchanged", "a; b")


def side(seeds: int = 5, *, shift: float = 0.0) -> dict[str, np.ndarray]:
    step = np.arange(0, 101, 10)
    growth = 1 / (1 + np.exp(-(step / 10 - 4 + np.linspace(-1, 1, seeds)[:, None] + shift)))
    return {
        "step": step,
        "error": np.where(growth > 0.9, 0, 0.5 - 0.5 * growth),
        "attention": 0.5 + growth / 2,
        "gap": 4 * growth,
        "margin": 2 * growth,
    }


def rows(seeds: int = 5, words=WORDS) -> list[Row]:
    return [Row(words=text, simulation=side(seeds, shift=j), theory=side(2, shift=j)) for j, text in enumerate(words)]


def drawn(figure):
    """The renderer of a figure that has been laid out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    return renderer


def boxes_of(renderer, texts) -> list:
    return [text.get_window_extent(renderer) for text in texts if text.get_visible() and text.get_text()]


def test_each_law_has_a_row_of_the_four_quantities_with_theory_over_the_band():
    given = rows(seeds=9)
    figure = out_of_distribution(given, title="T", note="N.", theory_label="level B")
    assert len(figure.axes) == 4 * len(PANELS)
    for axes, (row, (name, _, unit)) in zip(figure.axes, itertools.product(given, PANELS), strict=True):
        (theory,) = [line for line in axes.lines if line.get_color() == INK]
        (median,) = [line for line in axes.lines if line.get_color() == BLUE]
        # Of two members the median is a mean, by another formula than that of quantiles.
        np.testing.assert_allclose(theory.get_ydata(), np.median(row.theory[name], axis=0), rtol=1e-14)
        np.testing.assert_array_equal(median.get_ydata(), np.median(row.simulation[name], axis=0))
        band = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert set(np.quantile(row.simulation[name], (0.1, 0.9), axis=0).ravel()) == set(band)
        assert theory.get_zorder() > median.get_zorder() and axes.get_ylabel() == unit
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "level B",
        "simulation, test: median and 10–90 % of 9 seeds",
    ]
    said = [text.get_text() for text in figure.texts]
    assert "2 demonstrations in a prompt" in said and "Each concept twice as frequent" in said
    assert r"$\mu_k^+$ and $\mu_k^-$ exchanged" in said
    assert next(text for text in figure.texts if text.get_gid() == "note").get_text().startswith("N. Shaded")


def test_columns_share_their_axes_and_steps_stand_below_the_last_row():
    axes = np.array(out_of_distribution(rows(), title="").axes).reshape(4, 4)
    for column in axes.T:
        assert len({panel.get_ylim() for panel in column}) == len({panel.get_xlim() for panel in column}) == 1
        assert [panel.get_xlabel() for panel in column] == ["", "", "", "SGD step"]
    assert axes[0, 0].get_yscale() == "symlog" and axes[0, 0].get_ylim()[0] < 0


@pytest.mark.parametrize(("words", "seeds"), [(WORDS[:1], 1), ((*WORDS[:3], "words " * 40), 5)])
def test_no_words_meet_and_four_rows_fit_on_a_page(words, seeds, tmp_path: Path):
    note = "A note of several lines. " * 20
    figure = out_of_distribution(rows(seeds, words), title="T", note=note)
    width, height = figure.get_size_inches()
    assert width == 7.0 and height <= 9.0
    labels = [axes.yaxis.label for axes in figure.axes] + [axes.xaxis.label for axes in figure.axes[-4:]]
    renderer = drawn(figure)
    boxes = boxes_of(renderer, [*figure.texts, *figure.legends[0].get_texts(), *labels])
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in boxes)
    for axes in figure.axes:
        ticks = boxes_of(renderer, [*axes.get_yticklabels(), axes.yaxis.label])
        assert all(not box.overlaps(ticks[-1]) for box in ticks[:-1])
        if axes.get_xlabel():
            along = sorted(boxes_of(renderer, axes.get_xticklabels()), key=lambda box: box.x0)
            assert all(a.x1 < b.x0 for a, b in itertools.pairwise(along)) and along[-1].x1 <= figure.bbox.x1
    svg, pdf = save_figure(figure, tmp_path, "x")
    assert b'id="note"' in svg.read_bytes() and pdf.stat().st_size > 1000


def test_what_is_not_finite_is_counted_and_no_theory_is_no_line():
    row = rows()[0]
    row.simulation["gap"][0, 3] = np.inf
    figure = out_of_distribution([Row(words="x", simulation=row.simulation, theory=None)], title="")
    note = next(text.get_text() for text in figure.texts if text.get_gid() == "note")
    assert "Not drawn, because not finite: 1 value." in note
    assert not [line for axes in figure.axes for line in axes.lines if line.get_color() == INK]


def test_a_single_record_is_seen(tmp_path: Path):
    single = {name: array[..., :1] for name, array in side().items()}
    save_figure(
        out_of_distribution([Row(words="x", simulation=single, theory=single)], title=""), tmp_path, "x"
    )  # warnings are errors
