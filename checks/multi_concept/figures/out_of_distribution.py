"""Out of distribution: a row of panels for each law that the model was not trained on (P9 and section 7 of THEORY.md)."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Num

from polyseme.checks.core.figures.bands import Bands, error_axis
from polyseme.checks.core.figures.palette import BLUE, GREY
from polyseme.checks.core.figures.style import style

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

# What is drawn, what it is called, and its unit.
PANELS = (
    ("error", "0–1 error", "probability"),
    ("attention", "Correct attention", "weight"),
    ("gap", "Logit gap", "half gap (nats)"),
    ("margin", "Margin", "mean margin (nats)"),
)
# Inches: letters do not grow with a figure, so rows and margins are of fixed size; and letters to a line.
_WIDTH, _ROW, _HEAD, _FOOT, _LINE = 7.0, 1.12, 0.7, 0.52, 0.142
_LEFT, _RIGHT, _BETWEEN = 0.56, 0.16, 0.6
_ROW_TITLE, _ROW_LETTERS, _NOTE_LETTERS = 0.44, 112, 146


@dataclass(frozen=True, kw_only=True)
class Row:
    """One other law: what it is in words, and `step` (T,) and the curves of PANELS, each (E, T), of both sides."""

    words: str
    simulation: Mapping[str, Num[np.ndarray, "..."]]
    theory: Mapping[str, Num[np.ndarray, "..."]] | None


def out_of_distribution(
    rows: Sequence[Row], *, title: str, note: str = "", theory_label: str = "theory"
) -> "matplotlib.figure.Figure":
    """Four panels for each law: 0-1 error, correct attention weight, logit gap and margin; columns share their axes.

    Simulation: median over seeds and the band from the 10 % to the 90 % quantile; theory: its median. The error axis is linear below the
    smallest decade that occurs, so that an exact 0 is drawn, at 0. The note stands below, in the SVG as the group `note`.
    """
    with style():
        from matplotlib.figure import Figure

        footer = textwrap.wrap(" ".join(filter(None, (note, _SHADED, _lost(rows)))), _NOTE_LETTERS)
        titles = [textwrap.fill(_in_symbols(row.words), _ROW_LETTERS + 3 * row.words.count("_k")) for row in rows]
        heads = [_ROW_TITLE + 0.16 * words.count("\n") for words in titles]
        height = _HEAD + sum(heads) + _ROW * len(rows) + _FOOT + _LINE * len(footer)
        figure = Figure(figsize=(_WIDTH, height))
        curves = [Bands(row.theory, row.simulation, theory_label=theory_label) for row in rows]
        columns: list[list[matplotlib.axes.Axes]] = [[] for _ in PANELS]
        values: list[list[np.ndarray]] = [[] for _ in PANELS]
        y = _HEAD
        for of_row, words, head in zip(curves, titles, heads, strict=True):
            figure.text(0.06 / _WIDTH, 1 - (y + 0.16) / height, words, size=9, va="top", linespacing=1.1)
            y += head
            for j, (name, _, _) in enumerate(PANELS):
                axes = figure.add_axes(_place(j, y, height))
                values[j].append(of_row.draw(axes, name, BLUE))
                of_row.set_steps(axes, labelled=of_row is curves[-1])
                columns[j].append(axes)
            y += _ROW
        for letter, (name, called, unit), column, drawn in zip("abcd", PANELS, columns, values, strict=True):
            _share(name, unit, column, np.concatenate(drawn))
            left = column[0].get_position().x0
            figure.text(left, 1 - 0.58 / height, rf"$\bf{{{letter}}}$   {called}", size=9.5, va="top")
        figure.text(0.06 / _WIDTH, 1 - 0.06 / height, title, size=11, weight="bold", va="top")
        handles, labels = curves[0].legend()
        figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0, 1 - 0.25 / height), ncols=2)
        text = "\n".join(footer)
        figure.text(0.06 / _WIDTH, 0.06 / height, text, size=8, color=GREY, va="bottom", gid="note", linespacing=1.2)
    return figure


_SHADED = "Shaded: the error axis is linear there, down to 0."


def _lost(rows: Sequence[Row]) -> str:
    """A sentence about values that cannot be drawn, or nothing."""
    sides = [side for row in rows for side in (row.simulation, row.theory or {})]
    lost = sum(int((~np.isfinite(side[name])).sum()) for side in sides for name, _, _ in PANELS if name in side)
    return f"Not drawn, because not finite: {lost} value{'s' * (lost > 1)}." if lost else ""


def _place(column: int, top: float, height: float) -> tuple[float, float, float, float]:
    """Left, bottom, width and height of a panel as shares of the figure; `top` in inches from above."""
    number = len(PANELS)
    wide = (_WIDTH - _LEFT - _RIGHT - (number - 1) * _BETWEEN) / number
    return ((_LEFT + column * (wide + _BETWEEN)) / _WIDTH, 1 - (top + _ROW) / height, wide / _WIDTH, _ROW / height)


def _share(name: str, unit: str, column: "list[matplotlib.axes.Axes]", values: Num[np.ndarray, " n"]) -> None:
    """The same value axis for all panels of a quantity."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    room = 0.06 * (high - low) or 0.5
    for axes in column:
        if name == "error":
            error_axis(axes, np.asarray(values, dtype=float), said=False)
        else:
            axes.set_ylim(low - room, high + room)
            axes.locator_params(axis="y", nbins=5)
        if axes.get_xscale() == "linear" and column[0].get_xlim()[1] > 1:
            axes.locator_params(axis="x", nbins=2)
        axes.set_ylabel(unit, labelpad=2, size=8.5)


def _in_symbols(words: str) -> str:
    """mu_k^+ and its like, as a statement writes them, as mathematics."""
    words = words[:1].upper() + words[1:] if not re.match(r"\w+_k", words) else words
    greek = re.sub(r"\bmu_k", r"\\mu_k", words)
    return re.sub(r"(\\mu|\b[abcdq])_k(\^[+-])?", lambda found: f"${found[0]}$", greek)
