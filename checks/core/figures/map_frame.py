"""What all maps share: the panel with its axes, the lines known beforehand, and the column of the legend."""

import math
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from jaxtyping import Float

from polyseme.checks.core.figures.palette import GREY, INK, RED
from polyseme.checks.core.sweeps.axes import Range
from polyseme.checks.core.sweeps.boundaries import Edge, Line
from polyseme.checks.core.sweeps.mapped import MARGIN, Rows, Sheet
from polyseme.checks.core.sweeps.scales import Scale

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

Shown = TypeVar("Shown", bound=Rows)

# Inches.
WIDTH, PANEL, TALL = 7.0, 3.95, 3.45
LEFT, _COLUMN, _HEAD, _FOOT, _LINE = 0.66, 4.98, 0.52, 0.54, 0.142
# The label of the upward axis with the space around it; letters of a word beside its ticks, the fewest below the panel, and their width.
_LABEL, _NAME_LETTERS, _LEAST_LETTERS, _LETTER = 0.4, 18, 5, 0.07
_NOTE_LETTERS, _TITLE_LETTERS, _LEGEND_LETTERS = 140, 84, 33
_DASHES = ((5.0, 2.0), (2.0, 1.4), (6.0, 1.5, 1.5, 1.5))


@dataclass(frozen=True, kw_only=True)
class Known:
    """Lines that are known beforehand: what the theory predicts, by label, and what the claim asks for, by hypothesis."""

    predicted: Mapping[str, Line]
    asked: Mapping[str, Edge]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of the legend."""

    handle: Any
    words: str


class Frame(ABC, Generic[Shown]):
    """A figure with a panel and a column beside it, a key across; axes count in the coordinate in which scales are linear."""

    _lines_over = 5.0
    """Known lines lie over what has a lower order."""

    def __init__(
        self,
        sheet: Shown,
        *,
        title: str,
        note: str,
        axes_of_sweep: Mapping[str, Any],
        left: float = LEFT,
        tall: float = TALL,
        above: float = 0.0,
    ) -> None:
        """To be made inside `style()`. `axes_of_sweep`: what each key goes through, for the ticks.

        Inches: `left` of the panel, its height `tall`, and what is left free `above` it for more words than one line.
        """
        from matplotlib.figure import Figure

        heading, words = textwrap.wrap(title, _TITLE_LETTERS), textwrap.wrap(note, _NOTE_LETTERS)
        head, foot = _HEAD + above + 0.18 * (len(heading) - 1), _FOOT + _LINE * len(words)
        self.wide = PANEL - (left - LEFT)
        places, labels, minor = ticks(sheet.x, axes_of_sweep.get(sheet.x.key), self.wide, across=True)
        if sheet.x.kind == "names":
            labels = [folded(label, max(_LEAST_LETTERS, int(self.wide / len(places) / _LETTER))) for label in labels]
            foot += _LINE * max(label.count("\n") for label in labels)
        self.height, self.tall = head + tall + foot, tall
        self.sheet, self._head = sheet, head
        self.figure = Figure(figsize=(WIDTH, self.height))
        self.panel: matplotlib.axes.Axes = self.figure.add_axes(
            (left / WIDTH, foot / self.height, self.wide / WIDTH, tall / self.height)
        )
        self.panel.grid(visible=False)
        self.panel.set_xlim(*even(sheet.x, [sheet.x.first, sheet.x.last]))
        self.panel.xaxis.set_ticks(places, labels=labels)
        self.panel.xaxis.set_ticks(minor, minor=True)
        self.panel.set_xlabel(sheet.x.label)
        for side in ("top", "right"):
            self.panel.spines[side].set_visible(True)
        self.figure.text(
            0.06 / WIDTH, 1 - 0.06 / self.height, "\n".join(heading), size=11, weight="bold", va="top", linespacing=1.1
        )
        self.figure.text(
            0.06 / WIDTH,
            0.05 / self.height,
            "\n".join(words),
            size=8,
            color=GREY,
            va="bottom",
            gid="note",
            linespacing=1.2,
        )

    def colour_bar(self, cells: Any, label: str) -> Any:
        """A bar of colours at the top of the column, with its words below it."""
        top = 1 - (self._head + 0.02) / self.height
        place = (_COLUMN / WIDTH, top - 0.13 / self.height, 1.8 / WIDTH, 0.13 / self.height)
        bar = self.figure.colorbar(cells, cax=self.figure.add_axes(place), orientation="horizontal")
        bar.set_label(label, labelpad=3)
        bar.outline.set_visible(False)
        self._head += 0.62 + 0.18 * label.count("\n")
        return bar

    def legend(self, entries: Sequence[Entry]) -> None:
        """The column's entries, one below the other."""
        if not entries:
            return
        self.figure.legend(
            [entry.handle for entry in entries],
            [textwrap.fill(entry.words, _LEGEND_LETTERS) for entry in entries],
            loc="upper left",
            bbox_to_anchor=((_COLUMN - 0.12) / WIDTH, 1 - (self._head - 0.06) / self.height),
            fontsize=8,
            labelspacing=0.75,
            handlelength=2.4,
            handleheight=1.1,
            borderaxespad=0,
        )

    def draw_known(self, known: Known) -> list[Entry]:
        """The lines known beforehand, over what is there; their entries of the legend."""
        from matplotlib.lines import Line2D

        entries = []
        for (label, line), dashes in zip(known.predicted.items(), _DASHES, strict=False):
            look: dict[str, Any] = {"color": RED, "lw": 1.6, "dashes": dashes, "dash_capstyle": "butt"}
            self._draw(line, look)
            entries.append(Entry(handle=Line2D([], [], **look), words=f"predicted, {label}"))
        for key, edge in known.asked.items():
            look = {"color": INK, "lw": 1.1, "dashes": (0.9, 1.6), "dash_capstyle": "butt"}
            self._draw(edge.line, look)
            self.name(key, edge)
        if known.asked:
            look = {"color": INK, "lw": 1.1, "dashes": (0.9, 1.6)}
            words = "asked by the claim, not by the sweep"
            words += " (arrow: where it holds)" if any(e.where == "beside" for e in known.asked.values()) else ""
            for where in ("outside", "between"):
                keys = [key for key, edge in known.asked.items() if edge.where == where]
                words += f"; {' and '.join(keys)} hold{'s' * (len(keys) == 1)} {where} the dotted lines" if keys else ""
            entries.append(Entry(handle=Line2D([], [], **look), words=words))
        return entries

    def _draw(self, line: Line, look: Mapping[str, Any]) -> None:
        for piece in line:
            x, y = self.drawn(piece)
            # White below it, since it has to be seen on light and dark; among single points it would hide some.
            if self.coloured:
                look_below: dict[str, Any] = {"color": "white", "lw": look["lw"] + 1.4, "solid_capstyle": "butt"}
                self.panel.plot(x, y, alpha=0.8, zorder=self._lines_over, **look_below)
            self.panel.plot(x, y, zorder=self._lines_over + 1, **look)

    @property
    @abstractmethod
    def coloured(self) -> bool:
        """Whether the panel is full of colour."""

    @abstractmethod
    def drawn(self, piece: Float[np.ndarray, "vertex 2"]) -> tuple[np.ndarray, np.ndarray]:
        """Vertices of a known line, as the panel counts."""

    @abstractmethod
    def name(self, key: str, edge: Edge) -> None:
        """Write the key of a hypothesis at its line."""


class MapFrame(Frame[Sheet]):
    """The frame of a map: a panel over two keys."""

    def __init__(self, sheet: Sheet, *, title: str, note: str, axes_of_sweep: Mapping[str, Any]) -> None:
        """As the frame."""
        scale = sheet.y
        names = [_name(scale, value) for value in scale.values] if scale.kind == "names" else []
        super().__init__(sheet, title=title, note=note, axes_of_sweep=axes_of_sweep, left=room(names))
        self.panel.set_ylim(*even(scale, [scale.first, scale.last]))
        places, labels, minor = ticks(scale, axes_of_sweep.get(scale.key), TALL, across=False)
        self.panel.yaxis.set_ticks(places, labels=[folded(label) for label in labels] if names else labels)
        self.panel.yaxis.set_ticks(minor, minor=True)
        self.panel.set_ylabel(scale.label)

    @property
    def coloured(self) -> bool:
        """Cells and triangles are."""
        return self.sheet.celled or self.sheet.show == MARGIN

    def drawn(self, piece: Float[np.ndarray, "vertex 2"]) -> tuple[np.ndarray, np.ndarray]:
        """Vertices in values of the keys, as the panel counts."""
        return self.sheet.x.even(piece[:, 0]), self.sheet.y.even(piece[:, 1])

    def name(self, key: str, edge: Edge) -> None:
        """The key of a hypothesis where its line leaves the panel, above or on the right, or else beside its middle."""
        (low, high), (bottom, top) = self.panel.get_xlim(), self.panel.get_ylim()
        ends = [self.drawn(piece[[end]]) for piece in edge.line for end in (0, -1)]
        share = [(float((x[0] - low) / (high - low)), float((y[0] - bottom) / (top - bottom))) for x, y in ends]
        look: dict[str, Any] = {
            "transform": self.panel.transAxes,
            "size": 8,
            "color": INK,
            "style": "italic",
            "zorder": 8,
        }
        above = [s for s, t in share if t > 1 - 1e-6]
        right = [t for s, t in share if s > 1 - 1e-6]
        if above:
            words = pointed(key, edge, 0)
            half = 0.028 * len(key) / self.wide + 0.03
            self.panel.text(min(max(above[0], half), 1 - half), 1.012, words, ha="center", va="bottom", **look)
        elif right:
            half = 0.028 * len(key) / TALL + 0.03
            place = min(max(right[0], half), 1 - half)
            self.panel.text(1.016, place, pointed(key, edge, 1), ha="left", va="center", rotation=90, **look)
        else:
            x, y = self.drawn(max(edge.line, key=len)[[len(max(edge.line, key=len)) // 2]])
            ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85}
            look["transform"] = self.panel.transData
            self.panel.text(float(x[0]), float(y[0]), key, ha="center", va="center", bbox=ground, **look)


def pointed(key: str, edge: Edge, along: int) -> str:
    """A key with an arrow to the side on which it holds; of a band the legend says it."""
    side = edge.towards[along]
    if side == 0 or edge.where != "beside":
        return key
    return rf"{key} $\rightarrow$" if side > 0 else rf"$\leftarrow$ {key}"


def folded(label: str, letters: int = _NAME_LETTERS) -> str:
    """A word beside or below the panel, in lines that leave it its width."""
    return textwrap.fill(label, letters)


def room(names: Sequence[str], label: float = _LABEL) -> float:
    """Inches on the left of the panel: what the widest of these words needs, and the label of the axis."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    words = [line for name in names for line in folded(name).splitlines()]
    font = FontProperties(family=rcParams["font.family"])
    points = FontProperties(size=rcParams["ytick.labelsize"]).get_size_in_points()
    widths = [float(TextPath((0, 0), word, size=points, prop=font).get_extents().width) for word in words if word]
    return max(LEFT, max(widths, default=0.0) / 72 + label)


def even(scale: Scale, values: Sequence[float]) -> list[float]:
    """Values as the panel counts."""
    return scale.even(np.array(values, dtype=np.float64)).tolist()


def ticks(scale: Scale, axis: Any, length: float, *, across: bool) -> tuple[list[float], list[str], list[float]]:
    """Places and words of ticks, and places of small ones: at the values that cells are around, as far as words have room."""
    low, high = even(scale, [scale.first, scale.last])
    if scale.kind == "names":
        places = [float(j) for j in range(len(scale.values))]
        return places, [_name(scale, value) for value in scale.values], []
    values = [float(x) for x in scale.values]
    listed = [x for x in values if low <= even(scale, [x])[0] <= high]
    short = len(listed) <= 30 and all(len(f"{x:g}") <= 5 for x in listed) and not _is_scattered(axis, scale)
    chosen = listed if short else round_numbers(scale)
    places, words = even(scale, chosen), [number(x) for x in chosen]
    kept: list[int] = []
    for j in _by_roundness(chosen) if short else range(len(chosen)):
        need = 0.075 * max(len(_plain(words[j])), 2) + 0.06 if across else 0.19
        if all(abs(places[j] - places[i]) / (high - low) * length > need for i in kept):
            kept.append(j)
    small = even(scale, listed) if len(listed) <= 60 and not _is_scattered(axis, scale) else []
    kept.sort()
    return [places[j] for j in kept], [words[j] for j in kept], small


def _is_scattered(axis: Any, scale: Scale) -> bool:
    return isinstance(axis, Range) and axis.count is None and not (scale.is_whole and len(scale.values) <= 12)


def _by_roundness(numbers: Sequence[float]) -> list[int]:
    """Ends first, then the others in their order: what is left out is in between."""
    return [0, len(numbers) - 1, *range(1, len(numbers) - 1)] if len(numbers) > 1 else [0]


def round_numbers(scale: Scale) -> list[float]:
    """Round numbers between the ends: decades, or 1, 2, 5, of a logarithmic axis."""
    from matplotlib.ticker import MaxNLocator

    low, high = scale.first, scale.last
    if scale.kind == "linear":
        found = MaxNLocator(6, steps=[1, 2, 5, 10], integer=scale.is_whole).tick_values(low, high)
        return [float(x) for x in found if low <= x <= high]
    least = max(low, scale.width / 2) if scale.kind == "asinh" else low
    decades = range(math.floor(math.log10(least)), math.ceil(math.log10(high)) + 1)
    tens = [10.0**k for k in decades if low <= 10.0**k <= high]
    if len(tens) < 3:
        tens = [float(f"{d}e{k}") for k in decades for d in (1, 2, 5) if low <= float(f"{d}e{k}") <= high]
    return [0.0, *tens] if scale.kind == "asinh" else tens


def number(x: float) -> str:
    """A number as a tick has it: plain, or as a power of ten."""
    if x != 0 and not 1e-3 <= abs(x) < 1e5:
        digits, _, power = f"{x:e}".partition("e")
        lead = f"{float(digits):g}"
        return rf"$10^{{{int(power)}}}$" if lead == "1" else rf"${lead} \cdot 10^{{{int(power)}}}$"
    return f"{x:g}"


def _plain(word: str) -> str:
    """A word without what is not seen of it."""
    return word.replace(r"\cdot", ".").translate(str.maketrans("", "", "${}^ "))


def _name(scale: Scale, value: Any) -> str:
    """A value that is no number, in words."""
    if value is None:
        return "default"
    if value == math.inf:
        return scale.infinite or "infinite"
    return (
        ", ".join(f"{x:g}" for x in value)
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value).replace("_", " ")
    )
