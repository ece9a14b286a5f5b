"""Learning dynamics: theory as a line over a band of simulations (P4, P5 and section 7 of THEORY.md)."""

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Num

from checks.figures.style import GREY, INK, style

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

BAND = (0.1, 0.9)  # the middle 80 % of the seeds; seeds outside it are outliers to the eye

_WIDTH = {1: 3.4, 2: 7.0}  # inches, the text widths of a two-column page
_TEST = "#56B4E9"
# Light lines, so that the thin dark line of the theory shows on top; dark words, so that they can be read.
_PRODUCTS = {
    "specific": (_TEST, "#0072B2", "concept-\nspecific"),
    "complement": ("#E69F00", "#8F6200", "complement"),
    "noise": ("#35B58F", "#00755A", "noise"),
}
_LINES: dict[str, dict[str, Any]] = {
    "theory": {"color": INK, "lw": 0.8},
    "simulation": {"color": _TEST, "lw": 2.6},
    "train": {"color": "#D55E00", "lw": 1.0, "dashes": (3.5, 1.8)},
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

        curves = _Curves(theory, simulation, theory_label=textwrap.fill(theory_label, 52 * columns))
        words = curves.words().values()
        one_line = columns == 2 and sum(map(len, words)) <= 100
        lines = 1 if one_line else sum(word.count("\n") + 1 for word in words)
        # One line of the note fits under the panels; more of them, and of the legend, make the figure taller.
        below = 0.15 * textwrap.fill(note, 66 * columns).count("\n")
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
        footer = textwrap.fill(" ".join(filter(None, (note, curves.remark()))), 66 * columns)
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


class _Curves:
    """The arrays of one figure as quantiles over seeds, with a count of what could not be drawn."""

    def __init__(
        self, theory: Mapping[str, np.ndarray] | None, simulation: Mapping[str, np.ndarray], *, theory_label: str
    ) -> None:
        self.theory_label = theory_label
        self.sides = {"theory": theory or {}, "simulation": simulation}
        self.steps = np.asarray(simulation["step"], dtype=float)
        self.seeds = max(array.shape[0] if array.ndim == 2 else 1 for array in simulation.values())
        self.lost = 0
        self.drawn: set[str] = set()

    def quantiles(self, side: str, name: str) -> Float[np.ndarray, "4 T"] | None:
        """Step, low, median and high of a curve where at least one seed is finite; None if there is none."""
        if (array := self.sides[side].get(name)) is None:
            return None
        rows = np.atleast_2d(np.asarray(array, dtype=float))
        rows = np.where(np.isfinite(rows), rows, np.nan)
        some = ~np.isnan(rows).all(axis=0)
        if not some.any():
            return None
        self.lost += int(np.isnan(rows).sum())
        self.drawn.add("train" if name.startswith("train_") else side)
        steps = np.asarray(self.sides[side]["step"], dtype=float)[some]
        return np.vstack([steps, np.nanquantile(rows[:, some], (BAND[0], 0.5, BAND[1]), axis=0)])

    def draw(self, axes: "matplotlib.axes.Axes", name: str, colour: str) -> Float[np.ndarray, " n"]:
        """Draw one quantity, every side of it that exists; returns all drawn values, the last median last."""
        values = [np.empty(0)]
        if (train := self.quantiles("simulation", f"train_{name}")) is not None:
            axes.plot(train[0], train[2], zorder=4, **_LINES["train"], **_marker("train", train[0].size))
            values.append(train[2])
        if (exact := self.quantiles("theory", name)) is not None:
            axes.plot(exact[0], exact[2], **_LINES["theory"], zorder=5, **_marker("theory", exact[0].size))
            values.append(exact[2])
        if (test := self.quantiles("simulation", name)) is not None:
            if self.seeds > 1 and test[0].size == 1:
                axes.vlines(test[0], test[1], test[3], color=colour, alpha=0.3, lw=9, zorder=2)
            elif self.seeds > 1:
                axes.fill_between(test[0], test[1], test[3], color=colour, alpha=0.3, lw=0, zorder=2)
            look: dict[str, Any] = _LINES["simulation"] | {"color": colour}
            axes.plot(test[0], test[2], **look, zorder=3, **_marker("simulation", test[0].size))
            values.append(test[[1, 3, 2]].ravel())
        return np.concatenate(values)

    def set_steps(self, axes: "matplotlib.axes.Axes", *, labelled: bool) -> None:
        """The step axis: logarithmic above step 1 if the grid is, linear otherwise."""
        gaps = np.diff(self.steps)
        quarter = max(len(gaps) // 4, 1)
        if len(gaps) >= 8 and np.median(gaps[-quarter:]) > 5 * np.median(gaps[:quarter]):
            axes.set_xscale("symlog", linthresh=1, linscale=0.4)
            decades = range(math.floor(math.log10(self.steps[-1])) + 1)
            axes.set_xticks([0, *(10.0**k for k in decades)])
        if self.steps[0] == self.steps[-1]:
            axes.set_xlim(self.steps[0] - 1, self.steps[0] + 1)
            axes.set_xticks([self.steps[0]])
        else:
            axes.set_xlim(self.steps[0], self.steps[-1])
        if labelled:
            axes.set_xlabel("SGD step")
        else:
            axes.tick_params(labelbottom=False)

    def set_values(self, axes: "matplotlib.axes.Axes") -> None:
        """A linear value axis; around a single step it is wide, or its ticks would count the last digits."""
        axes.margins(y=0.08)
        if self.steps[0] == self.steps[-1]:
            low, high = axes.get_ylim()
            room = 0.1 * max(abs(low), abs(high))
            axes.set_ylim(min(low, (low + high) / 2 - room), max(high, (low + high) / 2 + room))

    def words(self) -> dict[str, str]:
        """What the legend calls each kind of line that there may be."""
        many = self.seeds > 1
        words = {
            "theory": self.theory_label,
            "simulation": "simulation, test"
            + (f": median and 10–90 % of {self.seeds} seeds" if many else " (one seed)"),
            "train": "simulation, training batch" + (": median" if many else ""),
        }
        has = {
            "theory": bool(self.sides["theory"]),
            "train": any(name.startswith("train_") for name in self.sides["simulation"]),
        }
        return {kind: word for kind, word in words.items() if has.get(kind, True)}

    def legend(self) -> tuple[list[Any], list[str]]:
        """One entry for each kind of line that was drawn: handles and words."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        words = {kind: word for kind, word in self.words().items() if kind in self.drawn}
        handles: list[Any] = [Line2D([], [], **_LINES[kind], **_marker(kind, self.steps.size)) for kind in words]
        if self.seeds > 1:  # the band behind the line
            handles = [
                (Patch(color=_TEST, alpha=0.3, lw=0), line) if kind == "simulation" else line
                for kind, line in zip(words, handles, strict=True)
            ]
        return handles, list(words.values())

    def remark(self) -> str:
        """A sentence about values that could not be drawn, or nothing."""
        return f"Not drawn, because not finite: {self.lost} value{'s' * (self.lost > 1)}." if self.lost else ""


def _marker(kind: str, points: int) -> dict[str, Any]:
    """How a curve of one point is marked, since it has no line."""
    looks = {
        "theory": {"marker": "_", "ms": 11, "mew": 1.0},
        "simulation": {"marker": "o", "ms": 6},
        "train": {"marker": "D", "ms": 2.5},
    }
    return looks[kind] if points == 1 else {}


def _scalar_panel(axes: "matplotlib.axes.Axes", curves: _Curves, name: str, label: str) -> None:
    """Loss, error or attention weight; the error on an axis that is logarithmic down to its last decade."""
    values = curves.draw(axes, name, _TEST)
    axes.set_ylabel(label)
    curves.set_values(axes)
    if name != "error":
        return
    positive = values[values > 0]
    last = math.floor(math.log10(positive.min())) if positive.size else -1
    last = min(max(last, -12), -1)  # beyond twelve decades round-off, not learning, is what one sees
    floor = 10.0**last
    axes.set_yscale("symlog", linthresh=floor, linscale=0.6)
    decades = range(0, last - 1, -math.ceil(-last / 3))
    axes.set_yticks([0, *(10.0**k for k in decades)], ["0", *("1" if k == 0 else rf"$10^{{{k}}}$" for k in decades)])
    axes.minorticks_off()
    bottom = -0.2 * floor
    axes.set_ylim(bottom, max(1.0, float(values.max(initial=0))))
    axes.axhspan(bottom, floor, color="#F0F0F0", lw=0, zorder=0)
    axes.text(
        0.985,
        0.6 * floor,
        rf"linear from $10^{{{last}}}$ to 0",
        transform=axes.get_yaxis_transform(),
        size=7,
        color=GREY,
        ha="right",
        va="center",
        zorder=6,
    )


def _product_panel(axes: "matplotlib.axes.Axes", curves: _Curves, part: str, *, line: float) -> None:
    """The largest concept-specific, complement and noise products of one part, each named at its end; `line` is the height of a name."""
    axes.set_ylabel("largest product")
    drawn = [(curves.draw(axes, f"{part}_{suffix}", look[0]), *look[1:]) for suffix, look in _PRODUCTS.items()]
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
            color=colour,
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
