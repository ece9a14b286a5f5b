"""Lines of a map that are known beforehand: what the theory predicts, and where a claim's hypotheses end.

Each is where a predicate on the regime changes over two keys. Between whole numbers it is asked of a fraction, which closed
forms take as they are, so that lines have no steps.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any, Literal

import contourpy
import numpy as np
from jaxtyping import Bool, Float

from polyseme.checks.core.claim import Hypothesis
from polyseme.checks.core.sweeps.axes import solve
from polyseme.checks.core.sweeps.mapped import Swept, besides
from polyseme.checks.core.sweeps.scales import Scale
from polyseme.checks.core.theory import Boundary
from polyseme.errors import PolysemeError
from polyseme.regime import BaseRegime

MESH, BISECTIONS = 40, 16

# -- lines ---------------------------------------------------------------------------------------------------

Line = list[Float[np.ndarray, "_ 2"]]
"""Pieces of a line, in values of the two keys."""
Predicate = Callable[[Any], bool]


class Plane:
    """Regimes over two keys of a sweep, the other keys at the values of the sweep, or in their middle if they vary."""

    def __init__(self, swept: Swept, x: Scale, y: Scale, regime: type[BaseRegime]) -> None:
        """`settled` are the values of those other keys that vary."""
        self.x, self.y, self._formulas, self._source = x, y, swept.formulas, str(swept.path)
        self._regime, self._keys = regime, swept.keys
        self._base = {key: _middle(swept.values[key], swept.keys[key].infinite) for key in swept.keys}
        # Names of formulas are no columns, so their middle is that of what they go through.
        self._names = {name: axis.at(0.5) for name, axis in swept.names.items()}
        middle = self._base | self._names
        self.settled = {key: middle[key] for key in besides(swept, x.key, y.key)}
        self._made: dict[tuple[float, float, bool], BaseRegime] = {}

    @classmethod
    def along(cls, swept: Swept, x: Scale, regime: type[BaseRegime]) -> "Plane":
        """A plane as thin as a line, over one key: upwards is one value of the seed, which nothing known beforehand looks at."""
        seed = float(_middle(swept.values[swept.seed], ""))
        return cls(
            swept, x, Scale(key=swept.seed, kind="linear", values=(seed,), first=seed, last=seed, whole=True), regime
        )

    def regime(self, x: float | int, y: float | int, *, whole: bool = False) -> BaseRegime:
        """The regime at a place, unchecked, so that whole keys may be fractions; with `whole` they are rounded."""
        if (x, y, whole) not in self._made:
            self._made[x, y, whole] = self._make(x, y, whole)
        return self._made[x, y, whole]

    def _make(self, x: float | int, y: float | int, whole: bool) -> BaseRegime:
        values = self._base | {self.x.key: _typed(self.x, x, whole), self.y.key: _typed(self.y, y, whole)}
        if formulas := {key: text for key, text in self._formulas.items() if key not in (self.x.key, self.y.key)}:
            known = {key: value for key, value in (values | self._names).items() if key not in formulas}
            values |= solve(formulas, known, self._keys, source=self._source)
        start = self._regime()
        sections: dict[str, dict[str, Any]] = {}
        for key, value in values.items():
            sections.setdefault(self._keys[key].table, {})[key] = value
        return start.model_copy(
            update={name: getattr(start, name).model_copy(update=keys) for name, keys in sections.items()}
        )

    def where_changes(self, holds: Predicate, judged: Predicate | None = None) -> Line:
        """The line along which a predicate changes, empty if it does not: on a mesh, then by bisection.

        With `judged` it is left out where the values swept that are nearest, those of the cell there, do not fulfil that.
        """
        return self._line(lambda x, y: bool(holds(self.regime(x, y))), judged)

    def holds(self, predicate: Predicate, x: float, y: float) -> bool:
        """Whether a predicate holds at a place; if it does not take fractions, at the nearest whole numbers that were swept."""
        try:
            return bool(predicate(self.regime(x, y)))
        except (TypeError, ValueError, ArithmeticError, PolysemeError):
            inside = [min(max(z, scale.values[0]), scale.values[-1]) for z, scale in ((x, self.x), (y, self.y))]
            return bool(predicate(self.regime(*inside, whole=True)))

    def where_claimed(self, holds: Predicate) -> Line:
        """The same for what a claim asks of a regime, which need not take fractions, nor what is beyond the last values."""
        return self._line(lambda x, y: self.holds(holds, x, y))

    def field(self, holds: Predicate) -> Bool[np.ndarray, "n n"]:
        """Whether what a claim asks holds, on the mesh: rows upwards."""
        x, y = (_mesh(scale) for scale in (self.x, self.y))
        return np.array([[self.holds(holds, a, b) for a in x] for b in y])

    def _unjudged(self, judged: Predicate) -> Bool[np.ndarray, "n n"]:
        columns, rows = (_nearest(scale) for scale in (self.x, self.y))
        known = {(x, y): _holds_there(judged, self, x, y) for x in set(columns) for y in set(rows)}
        return np.array([[not known[x, y] for x in columns] for y in rows])

    def _line(self, holds: Callable[[float, float], bool], judged: Predicate | None = None) -> Line:
        u, v = (scale.even(np.array([scale.first, scale.last])) for scale in (self.x, self.y))

        def at(j: float | int, i: float | int) -> bool:
            x = self.x.back(u[:1] + j / (MESH - 1) * (u[1] - u[0]))[0]
            y = self.y.back(v[:1] + i / (MESH - 1) * (v[1] - v[0]))[0]
            return bool(holds(float(x), float(y)))

        field = np.array([[at(j, i) for j in range(MESH)] for i in range(MESH)])
        hidden = np.zeros_like(field) if judged is None else self._unjudged(judged)
        z = np.ma.masked_array(field.astype(np.float64), mask=hidden)
        pieces = contourpy.contour_generator(z=z, corner_mask=False).lines(0.5)
        exact = [np.array([_bisected(at, field, j, i) for j, i in np.asarray(piece).tolist()]) for piece in pieces]
        return [
            np.stack(
                [
                    self.x.back(u[0] + piece[:, 0] / (MESH - 1) * (u[1] - u[0])),
                    self.y.back(v[0] + piece[:, 1] / (MESH - 1) * (v[1] - v[0])),
                ],
                axis=1,
            )
            for piece in exact
        ]


def _bisected(
    at: Callable[[float | int, float | int], bool], field: Bool[np.ndarray, "n n"], j: float, i: float
) -> tuple[float, float]:
    """The vertex in the middle of an edge of the mesh, moved along it to where the predicate changes."""
    along = j % 1 != 0
    low, fixed = (math.floor(j), int(i)) if along else (math.floor(i), int(j))
    before = bool(field[fixed, low] if along else field[low, fixed])
    start, end = float(low), low + 1.0
    for _ in range(BISECTIONS):
        middle = (start + end) / 2
        if (at(middle, fixed) if along else at(fixed, middle)) == before:
            start = middle
        else:
            end = middle
    return (end, float(fixed)) if along else (float(fixed), end)


def _mesh(scale: Scale) -> list[float]:
    """The places of the mesh along a key."""
    low, high = scale.even(np.array([scale.first, scale.last])).tolist()
    return scale.back(np.linspace(low, high, MESH)).tolist()


def _nearest(scale: Scale) -> list[float]:
    """For each place of the mesh the value that was swept nearest to it on the axis."""
    mesh, swept = scale.even(np.array(_mesh(scale))), scale.even(scale.places(scale.values))
    return [float(scale.values[j]) for j in np.abs(mesh[:, None] - swept[None, :]).argmin(axis=1)]


def _holds_there(judged: Predicate, plane: Plane, x: float, y: float) -> bool:
    """Whether a regime that was swept is judged; one that cannot be is not."""
    try:
        return bool(judged(plane.regime(x, y, whole=True)))
    except (TypeError, ValueError, ArithmeticError, PolysemeError):
        return False


def boundaries_of(boundaries: Sequence[Boundary], claim: str, show: str) -> tuple[Boundary, ...]:
    """Those that belong on a map of this claim which shows its verdicts, margins or a fact."""
    shown = show.replace("_", " ")
    return tuple(x for x in boundaries if claim in x.claims and (not x.shows or shown in x.shows))


def predicted(
    plane: Plane, boundaries: Sequence[Boundary], hypotheses: Sequence[Hypothesis] = (), drop: Sequence[str] = ()
) -> dict[str, Line]:
    """The lines that the theory predicts on a map, by their labels; those that do not cross it are left out.

    Nothing is drawn where the claim is not judged: where a hypothesis fails that was not dropped.
    """
    # What the check arranges itself holds everywhere.
    needed = [x for x in hypotheses if x.key not in drop and not x.arranged]

    def judged(regime: BaseRegime) -> bool:
        return all(x.holds(regime) for x in needed)

    found: dict[str, Line] = {}
    for boundary in boundaries:

        def beyond(regime: BaseRegime, boundary: Boundary = boundary) -> bool:
            return bool(boundary.value(regime) >= boundary.level)

        if _everywhere(plane, boundary.predicted_for) and (
            line := plane.where_changes(beyond, judged if needed else None)
        ):
            found[boundary.label] = line
    return found


@dataclass(frozen=True, kw_only=True)
class Edge:
    """The edge of a hypothesis; it holds towards larger x or y (1), smaller ones (-1), or both sides are the same there (0)."""

    line: Line
    towards: tuple[int, int]
    where: Literal["beside", "outside", "between"] = "beside"
    """On which side of its lines it holds: beside them, or of a band outside or between them."""


def asked(plane: Plane, hypotheses: Sequence[Hypothesis], drop: Sequence[str]) -> dict[str, Edge]:
    """The edges of the hypotheses that were dropped, by their keys; those that do not cross the map are left out."""
    chosen = {x.key: x for x in hypotheses if x.key in drop}
    lines = {key: plane.where_claimed(x.holds) for key, x in chosen.items()}
    return {
        key: Edge(
            line=line, towards=_towards(plane, line, chosen[key].holds), where=_where(plane, line, chosen[key].holds)
        )
        for key, line in lines.items()
        if line
    }


def _where(plane: Plane, line: Line, holds: Predicate) -> Literal["beside", "outside", "between"]:
    """Of several lines: whether what holds is cut in two by what does not, or the other way round."""
    from scipy.ndimage import label

    if len(line) < 2:
        return "beside"
    field = plane.field(holds)
    inside, outside = label(field)[1], label(~field)[1]
    return "beside" if inside == outside else "outside" if inside > outside else "between"


def _towards(plane: Plane, line: Line, holds: Predicate) -> tuple[int, int]:
    """On which side of the middle of a line a predicate holds, along each key."""
    x, y = max(line, key=len)[len(max(line, key=len)) // 2].tolist()
    found = []
    for of_x, scale in ((True, plane.x), (False, plane.y)):
        low, high, here = scale.even(np.array([scale.first, scale.last, x if of_x else y])).tolist()
        step = (high - low) / MESH
        a, b = scale.back(np.array([here - step, here + step])).tolist()
        sides = [plane.holds(holds, z, y) if of_x else plane.holds(holds, x, z) for z in (a, b)]
        found.append(int(sides[1]) - int(sides[0]))
    return found[0], found[1]


def _everywhere(plane: Plane, holds: Predicate) -> bool:
    """Whether a predicate holds for the outermost values of both keys."""
    corners = [(x, y) for x in (plane.x.values[0], plane.x.values[-1]) for y in (plane.y.values[0], plane.y.values[-1])]
    return all(holds(plane.regime(x, y)) for x, y in corners)


def _typed(scale: Scale, x: float | int, whole: bool) -> float | int:
    return max(1, round(x)) if whole and scale.is_whole else x


def _middle(counts: Mapping[Any, int], infinite: str) -> Any:
    """Of numbers the median, a value that occurs, each value counted once; of others that which is most common."""
    if all(isinstance(x, int | float) for x in counts):
        found: Any = median_low(counts)
    else:
        found = max(counts, key=lambda value: counts[value])
    if isinstance(found, str) and found.isdigit():  # record_every
        return int(found)
    return infinite if infinite and found == math.inf else found


def is_map_of_numbers(x: Scale, y: Scale) -> bool:
    """Whether lines can be drawn: between names there is nothing."""
    return "names" not in (x.kind, y.kind)
