"""One direction of a map: where the values of a key lie, the edges of their cells, and a fine mesh between them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from polyseme.checks.core.sweeps.axes import Axis, Range, Values
from polyseme.regime import Key

# From this spread on the large values of a linear axis hide the small ones.
WIDE_SPREAD = 8.0
# Steps of a list are equal if the largest is at most this many times the smallest: whole numbers are rounded.
_EQUAL = 1.1
# A margin around scattered points, so that none lies on the frame.
_ROOM = 0.03


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The values of a key along one direction of a map, ascending, and how they are laid out.

    `asinh` is logarithmic but around zero, where it is linear over `width`. `names` are values that are no finite numbers: they
    lie at 0, 1, 2, ... `first` and `last` are the ends of the map.
    """

    key: str
    kind: Literal["linear", "log", "asinh", "names"]
    values: tuple[Any, ...]
    first: float
    last: float
    width: float = 1.0
    label: str = ""
    """What an axis says."""
    whole: bool = False
    infinite: str = ""
    """The word of the key that stands for an infinite value."""

    @property
    def is_whole(self) -> bool:
        """Whether numbers of the key are whole."""
        return self.kind != "names" and self.whole

    def places(self, values: Sequence[Any]) -> Float[np.ndarray, " n"]:
        """Where values lie: a number at itself, any other value at its number in the list."""
        if self.kind != "names":
            return np.array(values, dtype=np.float64)
        at = {value: float(j) for j, value in enumerate(self.values)}
        return np.array([at[value] for value in values])

    def even(self, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Numbers on this axis in a coordinate in which it is linear."""
        if self.kind == "log":
            return np.log(x)
        return np.arcsinh(x / self.width) if self.kind == "asinh" else np.asarray(x, dtype=np.float64)

    def back(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The inverse of `even`."""
        if self.kind == "log":
            return np.exp(u)
        return self.width * np.sinh(u) if self.kind == "asinh" else np.asarray(u, dtype=np.float64)

    def edges(self) -> Float[np.ndarray, " n"]:
        """Edges of the cells around all values, one more than there are: half way between neighbours on the axis."""
        return self.back(_edges(self.even(self.places(self.values))))

    def mesh(self, count: int) -> Float[np.ndarray, " n"]:
        """Numbers from end to end, evenly spaced on the axis."""
        low, high = self.even(np.array([self.first, self.last]))
        return self.back(np.linspace(low, high, count))


def _edges(u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " edges"]:
    if u.size == 1:
        half = 0.5 if u[0] == 0 else min(0.5, abs(u[0]) / 10)
        return np.array([u[0] - half, u[0] + half])
    middle = (u[1:] + u[:-1]) / 2
    return np.concatenate([[2 * u[0] - middle[0]], middle, [2 * u[-1] - middle[-1]]])


def scale_of(key: Key, axis: Axis | None, seen: Sequence[Any], *, celled: bool) -> Scale:
    """The scale of a key: what its axis goes through, or the values seen if it has none.

    `celled`: the map is of cells around values; otherwise of points, whose ends are those of the axis.
    """
    listed = axis.listed() if axis is not None and celled else axis.values if isinstance(axis, Values) else ()
    values = {as_column(key, value) for value in listed} | set(seen)
    about: dict[str, Any] = {"key": key.name, "label": key.axis_label, "whole": key.is_whole, "infinite": key.infinite}
    if not all(isinstance(x, int | float) and math.isfinite(x) for x in values):
        named = tuple(sorted(values, key=lambda x: (x, "") if isinstance(x, int | float) else (math.inf, str(x))))
        return Scale(**about, kind="names", values=named, first=-0.5, last=len(named) - 0.5)
    ends = (axis.first, axis.last) if isinstance(axis, Range) else ()
    numbers = sorted(float(x) for x in values)
    kind = _kind(axis, [*numbers, *ends])
    width = min((x for x in numbers if x > 0), default=1.0)
    plain = Scale(**about, kind=kind, values=tuple(numbers), first=0.0, last=0.0, width=width)
    if celled:
        first, *_, last = plain.edges()
    else:
        low, high = plain.even(np.array([min(*numbers, *ends, math.inf), max(*numbers, *ends, -math.inf)]))
        room = _ROOM * (high - low) or 0.5
        first, last = plain.back(np.array([low - room, high + room]))
    return Scale(**about, kind=kind, values=tuple(numbers), first=float(first), last=float(last), width=width)


def _kind(axis: Axis | None, numbers: Sequence[float]) -> Literal["linear", "log", "asinh"]:
    if isinstance(axis, Range):
        return axis.scale
    least, most = min(numbers), max(numbers)
    positive = [x for x in numbers if x > 0]
    if least > 0:
        return "log" if most >= WIDE_SPREAD * least or _is_geometric(numbers) else "linear"
    return "asinh" if least == 0 and positive and most >= WIDE_SPREAD * min(positive) else "linear"


def _is_geometric(numbers: Sequence[float]) -> bool:
    """Whether ratios of neighbours are nearly equal, and more so than their differences."""
    steps, ratios = np.diff(numbers), np.diff(np.log(numbers))
    if len(steps) < 2 or not (steps > 0).all():
        return False
    uneven = float(ratios.max() / ratios.min())
    return uneven <= _EQUAL and uneven < float(steps.max() / steps.min())


def as_column(key: Key, value: Any) -> Any:
    """A value of a regime key as the table has it: a word for infinitely many is infinite, a list a tuple."""
    if key.infinite and value == key.infinite:
        return math.inf
    return tuple(value) if isinstance(value, list) else value
