"""What all profiles over one key of a sweep share: rows for what has no place on the axis upwards, vertical lines known beforehand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from polyseme.checks.core.figures.map_frame import LEFT, PANEL, TALL, Frame, Known, even, pointed
from polyseme.checks.core.figures.palette import INK, LANE
from polyseme.checks.core.sweeps.boundaries import Edge
from polyseme.checks.core.sweeps.mapped import Profile
from polyseme.checks.core.sweeps.scales import Scale

# Inches: a row, a line of words above the panel, between neighbours of one value at most, and what a letter and an arrow need.
_ROW, _WORDS, _APART, _LETTER, _ARROW = 0.18, 0.14, 0.055, 0.058, 0.25


@dataclass(frozen=True, kw_only=True)
class Upward:
    """The axis upwards, as the panel counts: its label, its ends, its ticks; and rows below it, downwards, and above it, upwards."""

    label: str
    first: float
    last: float
    ticks: Mapping[float, str]
    lined: bool = True
    """Whether fine lines stand at the ticks."""
    below: Sequence[str] = ()
    above: Sequence[str] = ()


class ProfileFrame(Frame[Profile]):
    """A panel over one key. `rows` are the heights of the rows that the axis upwards does not reach, by their names."""

    _lines_over = 0.8

    def __init__(
        self,
        sheet: Profile,
        known: Known,
        upward: Upward,
        *,
        title: str,
        note: str,
        axes_of_sweep: Mapping[str, Any],
        left: float = LEFT,
        tall: float = TALL,
    ) -> None:
        """As the frame."""
        self._names = _names(known.asked, sheet.x, PANEL - (left - LEFT))
        above = _WORDS * max((name.level for name in self._names), default=0)
        super().__init__(sheet, title=title, note=note, axes_of_sweep=axes_of_sweep, left=left, tall=tall, above=above)
        inch = (upward.last - upward.first) / (tall - _ROW * (len(upward.below) + len(upward.above)))
        self.rows = {name: upward.first - (j + 0.5) * _ROW * inch for j, name in enumerate(upward.below)}
        self.rows |= {name: upward.last + (j + 0.5) * _ROW * inch for j, name in enumerate(upward.above)}
        bottom, top = upward.first - len(upward.below) * _ROW * inch, upward.last + len(upward.above) * _ROW * inch
        self.panel.set_ylim(bottom, top)
        for start, end in ((bottom, upward.first), (upward.last, top)):
            if end > start:
                self.panel.axhspan(start, end, facecolor=LANE, edgecolor="none", zorder=0.1)
        # Words of ticks next to a row would meet those of the row.
        ticks = {
            place: word
            for place, word in upward.ticks.items()
            if all(abs(place - row) > _WORDS * inch for row in self.rows.values())
        }
        self.panel.yaxis.set_ticks([*ticks], labels=[*ticks.values()])
        self.panel.yaxis.set_ticks([*self.rows.values()], labels=[*self.rows], minor=True)
        if upward.lined:
            self.panel.grid(axis="y")
        self.panel.set_ylabel(upward.label)

    @property
    def coloured(self) -> bool:
        """Profiles have a white ground."""
        return False

    def drawn(self, piece: Float[np.ndarray, "vertex 2"]) -> tuple[np.ndarray, np.ndarray]:
        """A vertical line from bottom to top."""
        return np.repeat(self.sheet.x.even(piece[:1, 0]), 2), np.array(self.panel.get_ylim())

    def name(self, key: str, edge: Edge) -> None:
        """The key of a hypothesis above its line, higher where another one is in its way."""
        look: dict[str, Any] = {"transform": self.panel.transAxes, "size": 8, "color": INK, "style": "italic"}
        for name in self._names:
            if name.key == key:
                place = name.middle / self.wide, 1.012 + name.level * _WORDS / self.tall
                self.panel.text(*place, pointed(key, edge, 0), ha="center", va="bottom", zorder=8, **look)

    def side_by_side(self) -> Float[np.ndarray, " point"]:
        """Where the points lie across, those of one value next to each other in the order of the table."""
        scale = self.sheet.x
        across = scale.even(self.sheet.at).copy()
        if not self.sheet.celled:
            return across
        low, high = self.panel.get_xlim()
        edges, middle = scale.even(scale.edges()), scale.even(scale.places(scale.values))
        for j, points in self.sheet.cells().items():
            near = min(middle[j] - edges[j], edges[j + 1] - middle[j])
            step = min(1.2 * near / len(points), _APART / self.wide * (high - low))
            across[points] += step * (np.arange(len(points)) - (len(points) - 1) / 2)
        return across


@dataclass(frozen=True, kw_only=True)
class _Name:
    """A word above the panel: inches from its left to the middle, and in which line, from below."""

    key: str
    middle: float
    level: int


def _names(asked: Mapping[str, Edge], scale: Scale, wide: float) -> list[_Name]:
    """The keys of hypotheses above their lines, or above the first of them where an arrow belongs to that one."""
    low, high = even(scale, [scale.first, scale.last])
    found: list[_Name] = []
    ends: list[tuple[int, float, float]] = []
    for key, edge in asked.items():
        half = (_LETTER * len(key) + (_ARROW if pointed(key, edge, 0) != key else 0.06)) / 2
        for piece in edge.line if edge.where != "beside" else edge.line[:1]:
            at = (float(scale.even(piece[:1, 0])[0]) - low) / (high - low) * wide
            middle = min(max(at, half), wide - half)
            taken = {level for level, start, end in ends if start < middle + half and middle - half < end}
            level = min(set(range(len(ends) + 1)) - taken)
            ends.append((level, middle - half, middle + half))
            found.append(_Name(key=key, middle=middle, level=level))
    return found
