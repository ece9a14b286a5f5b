"""Maps of a number over two keys of a sweep: measured over allowed with its contours, or the mean of a fact."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import contourpy
import numpy as np
from jaxtyping import Bool, Float

from polyseme.checks.core.figures.map_frame import Entry, Known, MapFrame, even
from polyseme.checks.core.figures.palette import INK, RED, STONE
from polyseme.checks.core.figures.style import style
from polyseme.checks.core.figures.verdict_map import SCALE
from polyseme.checks.core.sweeps.mapped import MARGIN, Sheet

if TYPE_CHECKING:
    import matplotlib.figure
    import matplotlib.tri

# A triangle whose inner circle is smaller than this share of its outer one is a splinter (1/2 for an equilateral one).
_SPLINTER = 0.02
_BANDS = 24
# A contour that is no longer than this share of the panel is the tip of a corner.
_SPECK = 0.02
# Marks of what has no colour.
_EXACT: dict[str, Any] = {"marker": "o", "mfc": "white", "mec": STONE, "ms": 3.5, "mew": 0.9, "ls": "none"}
_INFINITE: dict[str, Any] = {"marker": "x", "color": RED, "ms": 4.5, "mew": 1.2, "ls": "none"}
_NONE: dict[str, Any] = {"marker": "_", "color": STONE, "ms": 5, "mew": 1.0, "ls": "none"}


def number_map(
    sheet: Sheet, known: Known, *, title: str, note: str, axes_of_sweep: Mapping[str, Any]
) -> "matplotlib.figure.Figure":
    """The margin or a fact of a claim: cells, or points of a scattered design, on the scale of the verdict map.

    Margins: log10 of measured over allowed, the median of a cell; where it is 0 a mark. Where places are dense enough contours,
    that of 0 (the claim at its bound) thick; between scattered points they are linear over triangles; splinters are left out,
    and triangles in which a point has no number. Facts: the mean of a cell; scattered points have their own.
    """
    with style():
        frame = MapFrame(sheet, title=title, note=note, axes_of_sweep=axes_of_sweep)
        draw = _cells if sheet.celled else _triangles if sheet.contoured else _points
        frame.legend([*draw(frame), *frame.draw_known(known)])
    return frame.figure


def cell_numbers(sheet: Sheet) -> Float[np.ndarray, "row column"]:
    """The median of margins, or the mean of facts, of each cell; NaN where there is none."""
    found = np.full((len(sheet.y.values), len(sheet.x.values)), np.nan)
    for (j, i), points in sheet.cells().items():
        found[i, j] = sheet.centre(points)
    return found


def coloured(sheet: Sheet, numbers: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """What has a colour: a fact, or the logarithm of a margin; NaN where there is none."""
    finite = np.where(np.isfinite(numbers), numbers, np.nan)
    return finite if sheet.show != MARGIN else np.log10(np.where(finite > 0, finite, np.nan))


def _scale(sheet: Sheet) -> str:
    """Light is good on a map of margins too, where it is small."""
    return f"{SCALE}_r" if sheet.show == MARGIN else SCALE


def _colours(frame: MapFrame, drawn: Any, values: Float[np.ndarray, "..."], several: bool) -> tuple[Any, list[Entry]]:
    """The bar of colours, or the entry of the only one; `several`: medians and means are of more than one point."""
    from matplotlib.patches import Patch

    sheet = frame.sheet
    low, high = _ends(sheet, values).values()
    if np.nanmin(values) == np.nanmax(values) and (low, high) != (0.0, 1.0):
        value = float(np.nanmin(values))
        words = f"measured / allowed = {10**value:.3g}" if sheet.show == MARGIN else f"{sheet.show} = {value:.6g}"
        return None, [
            Entry(handle=Patch(facecolor=drawn.cmap(0.5)), words=f"{words}, everywhere that there is a number")
        ]
    median = "\nmedian, zeros included" if several else ""
    label = rf"$\log_{{10}}$ (measured / allowed){median}" if sheet.show == MARGIN else sheet.show
    return frame.colour_bar(drawn, label), []


def _ends(sheet: Sheet, values: Float[np.ndarray, "..."]) -> dict[str, Any]:
    """The ends of the colours: those of shares are fixed; of a single value some room, or there is no scale."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if sheet.is_share and low >= 0 and high <= 1:
        return {"vmin": 0.0, "vmax": 1.0}
    return {"vmin": low, "vmax": high} if high > low else {"vmin": low - 0.5, "vmax": high + 0.5}


def _cells(frame: MapFrame) -> list[Entry]:
    from matplotlib.patches import Patch

    sheet, panel, cells = frame.sheet, frame.panel, frame.sheet.cells()
    numbers = cell_numbers(sheet)
    values = coloured(sheet, numbers)
    x, y = even(sheet.x, sheet.x.edges().tolist()), even(sheet.y, sheet.y.edges().tolist())
    places = [np.array(even(scale, scale.places(scale.values).tolist())) for scale in (sheet.x, sheet.y)]
    several = max(map(len, cells.values())) > 1
    entries: list[Entry] = []
    if np.isfinite(values).any():
        masked, ends = np.ma.masked_invalid(values), _ends(sheet, values)
        drawn = panel.pcolormesh(x, y, masked, cmap=_scale(sheet), edgecolors="white", linewidth=0.4, **ends)
        bar, entries = _colours(frame, drawn, values, several)
        if sheet.contoured and bar is not None:
            maker = contourpy.contour_generator(x=places[0], y=places[1], z=masked, corner_mask=True)
            entries += _contours(frame, bar, values, lambda level: maker.lines(level))
    at = np.array([[places[0][j], places[1][i]] for j, i in cells])
    of = np.array([numbers[i, j] for j, i in cells])
    entries += _marks(frame, at, of, "cell", "median " if several else "")
    if empty := values.size - len(cells):
        blank = Patch(facecolor="white", edgecolor=STONE, lw=0.5)
        entries.append(Entry(handle=blank, words=f"no point in {empty:,} cell{'s' * (empty > 1)}"))
    return entries


def _contours(frame: MapFrame, bar: Any, values: Float[np.ndarray, "..."], lines_at: Any) -> list[Entry]:
    """Contours at round numbers, and thick at 0, where the claim is at its bound; their entries of the legend."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    low, high = _ends(frame.sheet, values).values()
    levels = [float(x) for x in MaxNLocator(5).tick_values(low, high) if low < x < high]
    bar.set_ticks(levels)
    entries: list[Entry] = []
    size = [end - start for start, end in (frame.panel.get_xlim(), frame.panel.get_ylim())]
    thin, thick = {"color": INK, "lw": 0.7}, {"color": INK, "lw": 2.0}
    for level in dict.fromkeys([*levels, 0.0]):
        pieces = [np.asarray(piece) for piece in lines_at(level)]
        pieces = [piece for piece in pieces if np.linalg.norm(np.ptp(piece, axis=0) / size) > _SPECK]
        for piece in pieces:
            frame.panel.plot(*piece.T, color="white", lw=(3.4 if level == 0 else 1.9), alpha=0.8, zorder=3.5)
            frame.panel.plot(*piece.T, zorder=4, **(thick if level == 0 else thin))
        if pieces and level == 0:
            entries.append(Entry(handle=Line2D([], [], **thick), words="at its bound: measured = allowed"))
    if any(level != 0 for level in levels):
        entries.append(Entry(handle=Line2D([], [], **thin), words="contours at the numbers of the scale"))
    return entries


def _marks(
    frame: MapFrame, at: Float[np.ndarray, "place 2"], numbers: Float[np.ndarray, " place"], what: str, median: str = ""
) -> list[Entry]:
    """Marks at places, as the panel counts, whose number has no colour; their entries of the legend."""
    from matplotlib.lines import Line2D

    margin = frame.sheet.show == MARGIN
    none = np.isnan(numbers) if margin else ~np.isfinite(numbers)
    exact, infinite = margin & (numbers <= 0), margin & np.isposinf(numbers)
    less = "or less" if bool((numbers[exact] < 0).any()) else "exactly"
    zero = f"0 {less}" if less == "or less" else f"{less} 0"
    found = [
        (exact, _EXACT, f": {median}{zero}, which has no logarithm"),
        (infinite, _INFINITE, f": {median}infinite, measured where nothing is allowed"),
        (none, _NONE, f" without {'measured or allowed' if margin else 'this fact'}"),
    ]
    entries: list[Entry] = []
    for chosen, look, words in found:
        if number := int(chosen.sum()):
            frame.panel.plot(*at[chosen].T, zorder=7 if frame.sheet.celled else 3, **look)
            text = f"{number:,} {what}{'s' * (number > 1)}{words}"
            entries.append(Entry(handle=Line2D([], [], **look), words=text))
    return entries


def _points(frame: MapFrame) -> list[Entry]:
    sheet = frame.sheet
    numbers = coloured(sheet, sheet.numbers)
    here = np.isfinite(numbers)
    x, y = sheet.x.even(sheet.at[:, 0]), sheet.y.even(sheet.at[:, 1])
    size = float(np.clip(70 / max(len(x), 1) ** 0.5, 3.5, 7.0)) ** 2
    look: dict[str, Any] = {"cmap": _scale(sheet), "edgecolors": INK, "linewidths": 0.4, "zorder": 3}
    entries: list[Entry] = []
    if here.any():
        dots = frame.panel.scatter(x[here], y[here], size, numbers[here], **look, **_ends(sheet, numbers))
        _, entries = _colours(frame, dots, numbers, False)
    return [*entries, *_marks(frame, np.stack([x, y], axis=1), sheet.numbers, "point")]


def _triangles(frame: MapFrame) -> list[Entry]:
    sheet, panel = frame.sheet, frame.panel
    at, which = np.unique(sheet.at, axis=0, return_inverse=True)
    margins = np.array([sheet.centre(np.flatnonzero(which.ravel() == j).tolist()) for j in range(len(at))])
    points = np.stack([sheet.x.even(at[:, 0]), sheet.y.even(at[:, 1])], axis=1)
    numbers = coloured(sheet, margins)
    here = np.isfinite(numbers)
    places, values = points[here], numbers[here]
    net = triangulated(places, points[~here], (panel.get_xlim(), panel.get_ylim())) if here.any() else None
    if net is None or np.ptp(values) == 0:
        return _points(frame)
    low, high = _ends(sheet, values).values()
    bands: list[float] = np.linspace(low, high, _BANDS + 1).tolist()
    cells = panel.tricontourf(net, values, levels=bands, cmap=_scale(sheet), zorder=1)
    cells.set(edgecolor="face", linewidth=0.4)  # or white shows between bands
    several = len(at) < len(sheet.at)
    bar, entries = _colours(frame, cells, values, several)

    def lines_at(level: float) -> list[np.ndarray]:
        from matplotlib.figure import Figure

        return Figure().add_subplot().tricontour(net, values, levels=[level]).allsegs[0]

    entries += _contours(frame, bar, values, lambda level: lines_at(level) if low < level < high else [])
    look: dict[str, Any] = {"cmap": _scale(sheet), "edgecolors": INK, "linewidths": 0.4, "zorder": 4.5}
    panel.scatter(places[:, 0], places[:, 1], 9, values, **look, vmin=low, vmax=high)
    return entries + _marks(frame, points, margins, "place" if several else "point", "median " if several else "")


def triangulated(
    places: Float[np.ndarray, "place 2"],
    without: Float[np.ndarray, "other 2"],
    ends: tuple[tuple[float, float], tuple[float, float]],
) -> "matplotlib.tri.Triangulation | None":
    """Triangles between places, but for splinters and those with a point inside that has no number; None if there are none.

    `ends` are those of the axes: shapes are as on a square panel.
    """
    from matplotlib.tri import TriAnalyzer, Triangulation
    from scipy.spatial import Delaunay, QhullError

    start, size = np.array([low for low, _ in ends]), np.array([high - low for low, high in ends])
    flat = (places - start) / size
    try:
        found = Delaunay(flat)
    except (QhullError, ValueError):  # fewer than three, or all in a line
        return None
    triangles = found.simplices
    splinters = TriAnalyzer(Triangulation(flat[:, 0], flat[:, 1], triangles)).circle_ratios(rescale=False) < _SPLINTER
    hollow: Bool[np.ndarray, " triangle"] = np.zeros(len(triangles), dtype=bool)
    inside = found.find_simplex((without - start) / size) if len(without) else np.empty(0, dtype=int)
    hollow[inside[inside >= 0]] = True
    mask = np.ma.filled(splinters, True) | hollow
    return None if mask.all() else Triangulation(places[:, 0], places[:, 1], triangles, mask=mask)
