"""Learning dynamics: theory as a line over a band of simulations (P4, P5 and section 7 of THEORY.md)."""

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Num

from polyseme.checks.core.figures.bands import Bands, error_axis
from polyseme.checks.core.figures.palette import BLUE, BLUE_WORDS, GREEN, GREY, ORANGE, ORANGE_WORDS
from polyseme.checks.core.figures.style import style

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_WIDTH = {1: 3.4, 2: 7.0}  # inches, the text widths of a two-column page
# The colour of marks, that of words, and what it is called.
_PRODUCTS = {
    "specific": (BLUE, BLUE_WORDS, "concept-\nspecific"),
    "complement": (ORANGE, ORANGE_WORDS, "complement"),
    "noise": (GREEN, GREEN, "noise"),
}


def learning_dynamics(
    theory: Mapping[str, Num[np.ndarray, "..."]] | None,
    simulation: Mapping[str, Num[np.ndarray, "..."]],
    *,
    title: str,
    note: str = "",
    columns: Literal[1, 2] = 2,
    theory_label: str = "theory",
) -> "matplotlib.figure.Figure":
    """The four panels of learning: loss and 0-1 error, attention weight, and both sets of products.

    Each mapping holds `step` (T,) and curves of shape (T,) or (E, T) with E seeds: `loss`, `error`,
    `attention` and `attention_` or `mlp_` before `specific`, `complement`, `noise`; the simulation also
    `train_loss`, `train_error`, `train_attention`. A curve that is absent or all NaN is left out; other
    values that are not finite are counted in the note. The simulation is drawn as the median over seeds
    with the band from the 10 % to the 90 % quantile, the theory as its median. The error axis is linear
    below the smallest decade that occurs, so that an exact 0 is drawn, at 0. `columns` is the printed
    width: 2 for the width of the page, 1 for one column of it. `theory_label` is what the legend calls the
    line of the theory. The note stands below the panels, in the SVG as the group `note`.
    """
    with style():
        from matplotlib.figure import Figure

        curves = Bands(theory, simulation, theory_label=textwrap.fill(theory_label, 52 * columns))
        words = curves.words().values()
        one_line = columns == 2 and sum(map(len, words)) <= 100
        lines = 1 if one_line else sum(word.count("\n") + 1 for word in words)
        # One line of the note fits under the panels; more of them, and of the legend, make the figure taller.
        below = 0.15 * textwrap.fill(note, 74 * columns).count("\n")
        width, height = _WIDTH[columns], (5.4 if columns == 2 else 8.4) + 0.19 * (lines - 1) + below
        figure = Figure(figsize=(width, height))
        panels = _panels(figure, columns, head=0.78 + 0.19 * (lines - 1), below=below)
        for name, label, axes in zip(
            ("loss", "error", "attention"), ("loss", "0–1 error", "weight"), panels[:3], strict=True
        ):
            _scalar_panel(axes, curves, name, label)
        for part, axes in zip(("attention", "mlp"), panels[3:], strict=True):
            _product_panel(axes, curves, part, line=0.15 / (axes.get_position().height * height))
        titles = ("Loss and 0–1 error", "", "Correct attention weight", "Attention products", "MLP products")
        for letter, axes, text in zip("a bcd", panels, titles, strict=True):
            curves.set_steps(axes, labelled=axes is not panels[0])
            axes.yaxis.set_label_coords(-0.42 / (axes.get_position().width * width), 0.5)
            if text:
                axes.set_title(rf"$\bf{{{letter}}}$   {text}")
        figure.text(0.06 / width, 1 - 0.06 / height, title, size=11, weight="bold", va="top")
        handles, labels = curves.legend()
        corner = (0.0, 1 - 0.25 / height)
        figure.legend(handles, labels, loc="upper left", bbox_to_anchor=corner, ncols=3 if one_line else 1)
        footer = textwrap.fill(" ".join(filter(None, (note, curves.remark()))), 74 * columns)
        figure.text(0.06 / width, 0.06 / height, footer, size=8, color=GREY, va="bottom", gid="note")
    return figure


def _panels(
    figure: "matplotlib.figure.Figure", columns: int, *, head: float, below: float
) -> "list[matplotlib.axes.Axes]":
    """Axes for loss and error, which share a panel, attention weight, and the products of both parts.

    `head` is the room for title and legend, `below` for the further lines of the note, in inches.
    """
    width, height = figure.get_size_inches()
    rows, foot = (2, 0.72) if columns == 2 else (4, 0.85)
    # Margins in inches, because letters do not grow with a figure; the right one holds the names of curves.
    edges = {
        "left": 0.6 / width,
        "right": 1 - 0.76 / width,
        "top": 1 - head / height,
        "bottom": (foot + below) / height,
    }
    grid = figure.add_gridspec(
        rows,
        columns,
        height_ratios=(1.45, *(1,) * (rows - 1)),
        hspace=0.45 if columns == 2 else 0.62,
        wspace=0.66,
        **edges,
    )
    top = grid[0, 0].subgridspec(2, 1, hspace=0.24)
    others = (grid[divmod(i, columns)] for i in (1, 2, 3))
    return [figure.add_subplot(cell) for cell in (top[0], top[1], *others)]


def _scalar_panel(axes: "matplotlib.axes.Axes", curves: Bands, name: str, label: str) -> None:
    """Loss, error or attention weight; the error on an axis that is logarithmic down to its last decade."""
    values = curves.draw(axes, name, BLUE)
    axes.set_ylabel(label)
    curves.set_values(axes)
    if name != "error":
        return
    error_axis(axes, values)


def _product_panel(axes: "matplotlib.axes.Axes", curves: Bands, part: str, *, line: float) -> None:
    """The largest concept-specific, complement and noise products of one part, each named at its end; `line` is the height of a name."""
    axes.set_ylabel("largest product")
    drawn = [(curves.draw(axes, f"{part}_{suffix}", look[0]), *look[1:]) for suffix, look in _PRODUCTS.items()]
    marks = {label: mark for mark, _, label in _PRODUCTS.values()}
    ends = sorted((float(values[-1]), label, colour) for values, colour, label in drawn if values.size)
    if not ends:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", va="center", color=GREY)
        axes.set_yticks([])
        return
    curves.set_values(axes)
    low, high = axes.get_ylim()
    heights = [(end - low) / (high - low) for end, *_ in ends]
    places = _apart(heights, [line * (label.count("\n") + 1) for _, label, _ in ends])
    for height, place, (_, label, colour) in zip(heights, places, ends, strict=True):
        # From the end of the curve to its name, which may have had to give way to another.
        axes.plot(
            [1.01, 1.05],
            [height, place],
            transform=axes.transAxes,
            color=marks[label],
            lw=0.6,
            clip_on=False,
            gid=f"leader_{part}_{label}".replace("-\n", "_"),
        )
        axes.text(1.06, place, label, transform=axes.transAxes, color=colour, size=8.5, va="center", linespacing=1)


def _apart(centres: list[float], sizes: list[float]) -> list[float]:
    """Ascending centres of names, moved as little as keeps them from overlapping and below the top of the panel."""
    places: list[float] = []
    for centre, size in zip(centres, sizes, strict=True):
        below = places[-1] + (sizes[len(places) - 1] + size) / 2 if places else -math.inf
        places.append(max(centre, below))
    ceiling = math.inf
    for i in reversed(range(len(places))):
        places[i] = min(places[i], ceiling, 1.0)
        ceiling = places[i] - (sizes[i] + sizes[i - 1]) / 2
    return places
