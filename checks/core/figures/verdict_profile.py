"""The profile of verdicts: where a claim holds, over the only key of a sweep."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from polyseme.checks.core.claim import VERDICTS, Verdict
from polyseme.checks.core.figures.map_frame import Entry, Known, even, room
from polyseme.checks.core.figures.palette import BLUE, INK, LANE, STONE
from polyseme.checks.core.figures.profile_frame import ProfileFrame, Upward
from polyseme.checks.core.figures.style import style
from polyseme.checks.core.figures.verdict_map import DECIDED, LOOKS, OPEN, counted, counts_of
from polyseme.checks.core.sweeps.mapped import Profile, share_supported

if TYPE_CHECKING:
    import matplotlib.figure

# Inches: a row of verdicts, and the least height of a panel of rows, for the legend beside it; what a digit needs.
_ROW, _LEAST, _DIGIT = 0.4, 2.2, 0.062
_ROOM = 0.05
_GOLDEN = (5**0.5 - 1) / 2


def verdict_profile(
    sheet: Profile, known: Known, *, title: str, note: str, axes_of_sweep: Mapping[str, Any]
) -> "matplotlib.figure.Figure":
    """The share supported of what was decided at each value, with its interval; or a mark for each point, a row for each verdict.

    Marks where each value has one point, and in scattered designs. What was not decided is below the axis of shares, and in none.
    """
    told: dict[str, Any] = {"title": title, "note": note, "axes_of_sweep": axes_of_sweep}
    with style():
        frame, entries = _shares(sheet, known, told) if sheet.several else _rows(sheet, known, told)
        frame.legend([*entries, *frame.draw_known(known)])
    return frame.figure


def _shares(sheet: Profile, known: Known, told: Mapping[str, Any]) -> tuple[ProfileFrame, list[Entry]]:
    from matplotlib.lines import Line2D

    cells = {j: counts_of(sheet, points) for j, points in sorted(sheet.cells().items())}
    total = counts_of(sheet, range(len(sheet.verdicts)))
    still_open = [verdict for verdict in OPEN if total[verdict]]
    upward = Upward(
        label="share supported of what was decided",
        first=-_ROOM,
        last=1 + _ROOM,
        ticks={share: f"{share:g}" for share in (0.0, 0.25, 0.5, 0.75, 1.0)},
        below=[VERDICTS[verdict][0] for verdict in still_open],
    )
    frame = ProfileFrame(sheet, known, upward, **told)
    places = even(sheet.x, sheet.x.places(sheet.x.values).tolist())
    found = np.full((len(places), 3), np.nan)
    for j, counts in cells.items():
        if decided := sum(counts[verdict] for verdict in DECIDED):
            found[j] = share_supported(counts[Verdict.SUPPORTED], decided)
    share, low, high = found.T
    entries: list[Entry] = []
    if (here := np.isfinite(share)).any():
        bars: dict[str, Any] = {"color": BLUE, "lw": 1.2}
        if sheet.x.kind != "names":
            frame.panel.plot(places, share, color=BLUE, lw=0.7, zorder=2)
        at = np.array(places)[here]
        away = np.maximum(np.stack([share - low, high - share])[:, here], 0)  # round-off at shares of 0 and 1
        frame.panel.errorbar(at, share[here], yerr=away, fmt="o", ms=4.5, capsize=2.5, zorder=3, clip_on=False, **bars)
        decided = ", ".join(f"{total[verdict]:,} {verdict}" for verdict in DECIDED if total[verdict])
        handle = Line2D([], [], marker="o", ms=4.5, **({"ls": "none"} if sheet.x.kind == "names" else {}), **bars)
        entries.append(Entry(handle=handle, words=f"share supported of what was decided: {decided}"))
    _say_open(frame, cells)
    for verdict in still_open:
        values = sum(counts[verdict] > 0 for counts in cells.values())
        handle = Line2D([], [], ls="none", ms=5.5, **LOOKS[verdict])
        entries.append(Entry(handle=handle, words=counted(verdict, total[verdict], values, "at {} value")))
    return frame, entries + without_points(sheet)


def without_points(sheet: Profile) -> list[Entry]:
    """The entry of values that have no point yet."""
    from matplotlib.lines import Line2D

    empty = len(sheet.x.values) - len(sheet.cells())
    words = f"no point at {empty:,} value{'s' * (empty > 1)}"
    return [Entry(handle=Line2D([], [], ls="none"), words=words)] if empty else []


def _say_open(frame: ProfileFrame, cells: Mapping[int, Mapping[Verdict, int]]) -> None:
    """Marks of what was not decided, in their rows, with how many points there are where numbers have room."""
    scale = frame.sheet.x
    low, high = frame.panel.get_xlim()
    inch = (high - low) / frame.wide
    places = even(scale, scale.places(scale.values).tolist())
    near = min(np.diff(places), default=high - low) / inch
    for verdict in OPEN:
        here = {j: counts[verdict] for j, counts in cells.items() if counts[verdict]}
        wide = _DIGIT * len(f"{max(here.values(), default=0):,}")
        spoken = 0.16 + wide < near
        for j, number in here.items():
            height = frame.rows[VERDICTS[verdict][0]]
            # A mark and its number are in the middle together.
            at = places[j] - (0.02 + wide / 2) * inch * spoken
            frame.panel.plot([at], [height], ls="none", ms=5.0, zorder=3, clip_on=False, **LOOKS[verdict])
            if spoken:
                look: dict[str, Any] = {"size": 8, "color": INK, "ha": "left", "va": "center_baseline", "zorder": 3}
                frame.panel.text(at + 0.07 * inch, height, f"{number:,}", **look)


def _rows(sheet: Profile, known: Known, told: Mapping[str, Any]) -> tuple[ProfileFrame, list[Entry]]:
    """A mark for each point; those of scattered designs are spread over the height of their row, so that all are seen."""
    from matplotlib.lines import Line2D

    verdicts = np.array(sheet.verdicts)
    shown = [verdict for verdict in reversed(LOOKS) if (verdicts == verdict).any()]
    names = [verdict.replace("_", " ") for verdict in shown]
    upward = Upward(
        label="",
        first=-0.5,
        last=len(shown) - 0.5,
        ticks={float(row): name for row, name in enumerate(names)},
        lined=False,
    )
    tall = max(_LEAST, _ROW * len(shown))
    frame = ProfileFrame(sheet, known, upward, left=room(names, label=0.2), tall=tall, **told)
    size = float(np.clip(70 / max(len(verdicts), 1) ** 0.5, 3.0, 6.0))
    across = sheet.x.even(sheet.at)
    entries: list[Entry] = []
    for row, verdict in enumerate(shown):
        here = verdicts == verdict
        number = int(here.sum())
        spread = 0.0 if sheet.celled else 0.5 * ((np.arange(number) * _GOLDEN) % 1 - 0.5)
        if verdict in OPEN:
            frame.panel.axhspan(row - 0.5, row + 0.5, facecolor=LANE, edgecolor="none", zorder=0.1)
        else:
            frame.panel.axhline(row - 0.5, color=STONE, lw=0.4, zorder=0.2)
        frame.panel.plot(across[here], row + spread * np.ones(number), ls="none", ms=size, zorder=2, **LOOKS[verdict])
        words = f"{verdict.replace('_', ' ')}: {number:,} point{'s' * (number > 1)}"
        entries.append(Entry(handle=Line2D([], [], ls="none", ms=max(size, 4.5), **LOOKS[verdict]), words=words))
    return frame, [*reversed(entries), *(without_points(sheet) if sheet.celled else [])]
