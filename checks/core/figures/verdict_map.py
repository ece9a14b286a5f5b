"""The map of verdicts: where a claim holds, over two keys of a sweep."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyseme.checks.core.claim import VERDICTS, Verdict
from polyseme.checks.core.figures.map_frame import TALL, Entry, Known, MapFrame, even
from polyseme.checks.core.figures.palette import GREEN, INK, NOTHING, ORANGE, PURPLE, RED, STONE
from polyseme.checks.core.figures.style import style
from polyseme.checks.core.sweeps.mapped import Rows, Sheet

if TYPE_CHECKING:
    import matplotlib.figure

SCALE = "cividis"
"""Light is good."""
DECIDED = (Verdict.SUPPORTED, Verdict.REFUTED)
OPEN = (Verdict.INCONCLUSIVE, Verdict.NOT_APPLICABLE, Verdict.MISSING, Verdict.ERROR)
# Each verdict of a point has a shape and a colour, so that it can be told without either.
_CLEAR = (1.0, 1.0, 1.0, 0.0)
LOOKS: dict[Verdict, dict[str, Any]] = {
    Verdict.SUPPORTED: {"marker": "o", "color": GREEN, "mew": 0.0},
    Verdict.REFUTED: {"marker": "x", "color": RED, "mew": 1.2},
    Verdict.INCONCLUSIVE: {"marker": "D", "mfc": _CLEAR, "mec": ORANGE, "mew": 1.0},
    Verdict.NOT_APPLICABLE: {"marker": "_", "color": STONE, "mew": 1.0},
    Verdict.MISSING: {"marker": "o", "mfc": _CLEAR, "mec": PURPLE, "mew": 1.0},
    Verdict.ERROR: {"marker": "$!$", "color": PURPLE, "mew": 0.4},
}
# Inches that a count needs in a cell.
_LETTER, _LINE = 0.068, 0.125


def verdict_map(
    sheet: Sheet, known: Known, *, title: str, note: str, axes_of_sweep: Mapping[str, Any]
) -> "matplotlib.figure.Figure":
    """Cells coloured by the share supported of what was decided in them, or a mark for each point of a scattered design.

    What was not decided has no colour of the scale: inconclusive points are hatched, with how many there are where there is room.
    """
    with style():
        frame = MapFrame(sheet, title=title, note=note, axes_of_sweep=axes_of_sweep)
        entries = _cells(frame) if sheet.celled else _points(frame)
        frame.legend([*entries, *frame.draw_known(known)])
    return frame.figure


def counts_of(sheet: Rows, points: Sequence[int]) -> Counter[Verdict]:
    """How many of these points have each verdict."""
    return Counter(Verdict(sheet.verdicts[j]) for j in points)


def _cells(frame: MapFrame) -> list[Entry]:
    from matplotlib import colormaps
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch, Rectangle

    sheet, panel = frame.sheet, frame.panel
    cells = {place: counts_of(sheet, points) for place, points in sheet.cells().items()}
    x, y = even(sheet.x, sheet.x.edges().tolist()), even(sheet.y, sheet.y.edges().tolist())
    places = [even(scale, scale.places(scale.values).tolist()) for scale in (sheet.x, sheet.y)]
    share = np.full((len(y) - 1, len(x) - 1), np.nan)
    for (j, i), counts in cells.items():
        if decided := sum(counts[verdict] for verdict in DECIDED):
            share[i, j] = counts[Verdict.SUPPORTED] / decided
    colours = panel.pcolormesh(
        x, y, np.ma.masked_invalid(share), cmap=SCALE, vmin=0, vmax=1, edgecolors="white", linewidth=0.4
    )
    high, wide = TALL / (y[-1] - y[0]), frame.wide / (x[-1] - x[0])
    for (j, i), counts in cells.items():
        corner, size = (x[j], y[i]), (x[j + 1] - x[j], y[i + 1] - y[i])
        if set(counts) == {Verdict.NOT_APPLICABLE}:
            panel.add_patch(Rectangle(corner, *size, facecolor=NOTHING, edgecolor="white", lw=0.4, zorder=1.5))
        if counts[Verdict.INCONCLUSIVE]:
            dark = share[i, j] < 0.5  # false where nothing is decided
            look = {"facecolor": "none", "edgecolor": "white" if dark else INK, "lw": 0.0, "hatch": "/////"}
            panel.add_patch(Rectangle(corner, *size, zorder=2, **look))
        # At the values, as the ticks; what is written there has room to the nearer edge on both sides.
        at = places[0][j], places[1][i]
        near = [2 * min(at[k] - corner[k], corner[k] + size[k] - at[k]) for k in (0, 1)]
        _say(frame, counts, at, (near[0] * wide, near[1] * high))
    if np.isfinite(share).any():
        frame.colour_bar(colours, "share supported of what was decided")
    total, of_cells = Counter[Verdict](), Counter[Verdict]()
    for counts in cells.values():
        total.update(counts)
        of_cells.update(set(counts))
    scale = colormaps[SCALE]
    handles = {
        Verdict.SUPPORTED: Patch(facecolor=scale(1.0)),
        Verdict.REFUTED: Patch(facecolor=scale(0.0)),
        Verdict.INCONCLUSIVE: Patch(facecolor="white", edgecolor=INK, hatch="/////", lw=0.4),
        Verdict.NOT_APPLICABLE: Patch(facecolor=NOTHING),
        Verdict.MISSING: Line2D([], [], ls="none", ms=5.5, **LOOKS[Verdict.MISSING]),
        Verdict.ERROR: Line2D([], [], ls="none", ms=6.5, **LOOKS[Verdict.ERROR]),
    }
    entries = [
        Entry(handle=handles[verdict], words=counted(verdict, total[verdict], of_cells[verdict]))
        for verdict in Verdict
        if total[verdict]
    ]
    if empty := (len(x) - 1) * (len(y) - 1) - len(cells):
        blank = Patch(facecolor="white", edgecolor=STONE, lw=0.5)
        entries.append(Entry(handle=blank, words=f"no point in {empty:,} cell{'s' * (empty > 1)}"))
    return entries


def counted(verdict: Verdict, points: int, places: int, where: str = "in {} cell") -> str:
    """An entry of the legend: how many points have a verdict; of what is not decided, its symbol and at how many places it is."""
    name, many = verdict.replace("_", " "), f"{points:,} point{'s' * (points > 1)}"
    if verdict in OPEN:
        return f"{name} ({VERDICTS[verdict][0]}): {many} {where.format(f'{places:,}')}{'s' * (places > 1)}"
    return f"{name}: {many}"


def _say(frame: MapFrame, counts: Counter[Verdict], middle: tuple[float, float], size: tuple[float, float]) -> None:
    """What of a cell was not decided, in numbers where they have room; missing and broken checks always have a mark."""
    told = [verdict for verdict in OPEN if counts[verdict]]
    if not told:
        return
    one = len(counts) == 1  # then the symbol says it of all
    lines = [f"{'' if one else counts[verdict]}{VERDICTS[verdict][0]}" for verdict in told]
    for text in ("\n".join(lines), " ".join(lines)):
        rows = text.splitlines()
        if _LETTER * max(map(len, rows)) + 0.04 < size[0] and _LINE * len(rows) + 0.03 < size[1]:
            ground = "none" if told == [Verdict.NOT_APPLICABLE] and one else "white"
            box = {"facecolor": ground, "edgecolor": "none", "pad": 0.6}
            look: dict[str, Any] = {"size": 8, "color": INK, "linespacing": 1.0, "zorder": 7, "bbox": box}
            frame.panel.text(*middle, text, ha="center", va="center", **look)
            return
    for verdict in (Verdict.MISSING, Verdict.ERROR):
        if counts[verdict]:
            small = max(3.0, min(6.0, 60 * min(size)))
            frame.panel.plot(*middle, "o", color="white", ms=small + 2, mew=0, zorder=7)
            frame.panel.plot(*middle, ls="none", ms=small, zorder=7, **LOOKS[verdict])


def _points(frame: MapFrame) -> list[Entry]:
    from matplotlib.lines import Line2D

    sheet, entries = frame.sheet, []
    size = float(np.clip(70 / max(len(sheet.verdicts), 1) ** 0.5, 2.4, 6.0))
    x, y = sheet.x.even(sheet.at[:, 0]), sheet.y.even(sheet.at[:, 1])
    verdicts = np.array(sheet.verdicts)
    # Where points share a place all of them are seen: a cross over a dot, a ring around it.
    for order, verdict in enumerate(LOOKS):
        if not (here := verdicts == verdict).any():
            continue
        look = LOOKS[verdict]
        frame.panel.plot(x[here], y[here], ls="none", ms=size, zorder=2 + 0.1 * order, **look)
        number = int(here.sum())
        words = f"{verdict.replace('_', ' ')}: {number:,} point{'s' * (number > 1)}"
        entries.append(Entry(handle=Line2D([], [], ls="none", ms=max(size, 4.5), **look), words=words))
    return entries
