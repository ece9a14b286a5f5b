"""Profiles of a number over the only key of a sweep: measured over allowed with its median, or a fact with its mean."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from polyseme.checks.core.figures.map_frame import Entry, Known, even, number, round_numbers
from polyseme.checks.core.figures.palette import BLUE, INK
from polyseme.checks.core.figures.profile_frame import ProfileFrame, Upward
from polyseme.checks.core.figures.style import style
from polyseme.checks.core.figures.verdict_map import LOOKS
from polyseme.checks.core.figures.verdict_profile import without_points
from polyseme.checks.core.sweeps.mapped import MARGIN, Profile
from polyseme.checks.core.sweeps.scales import Scale

if TYPE_CHECKING:
    import matplotlib.figure

NONE, ZERO, BELOW_ZERO, INFINITE = "none", "0", r"$\leq 0$", r"$\infty$"
"""Rows of what the axis upwards does not reach."""
_ROOM, _MOST_TICKS = 0.05, 12


def number_profile(
    sheet: Profile, known: Known, *, title: str, note: str, axes_of_sweep: Mapping[str, Any]
) -> "matplotlib.figure.Figure":
    """The margin of each point on a logarithmic axis, or its fact, marked by its verdict; and the centre of each value that is shared.

    Points without such a number have a row at the foot; so have margins of 0, and infinite ones at the top.
    """
    from matplotlib.lines import Line2D

    with style():
        rows = {row: here for row, here in _beyond(sheet).items() if here.any()}
        upward = _upward(sheet, rows)
        frame = ProfileFrame(sheet, known, upward, title=title, note=note, axes_of_sweep=axes_of_sweep)
        entries = _marks(frame, _heights(frame, sheet.numbers))
        if sheet.several:
            entries += _centres(frame)
        if sheet.show == MARGIN:
            frame.panel.axhline(0.0, color=INK, lw=0.9, zorder=1)
            bound = Line2D([], [], color=INK, lw=0.9)
            entries.append(Entry(handle=bound, words="at its bound: measured = allowed"))
        for row, here in rows.items():
            symbol, size = ("$-$", 6) if row == NONE else (f"${row.strip('$')}$", 10 if row == BELOW_ZERO else 6)
            handle = Line2D([], [], ls="none", color=INK, marker=symbol, ms=size, mew=0.1)
            many = f"{int(here.sum()):,} point{'s' * (int(here.sum()) > 1)}"
            entries.append(Entry(handle=handle, words=many + _words(sheet, row)))
        entries += without_points(sheet) if sheet.celled else []
        frame.legend([*entries, *frame.draw_known(known)])
    return frame.figure


def _beyond(sheet: Profile) -> dict[str, np.ndarray]:
    """Which points have no place on the axis upwards, by the row that they are in."""
    if sheet.show != MARGIN:
        return {NONE: ~np.isfinite(sheet.numbers)}
    zero = BELOW_ZERO if (sheet.numbers < 0).any() else ZERO
    return {zero: sheet.numbers <= 0, INFINITE: np.isposinf(sheet.numbers), NONE: np.isnan(sheet.numbers)}


def _words(sheet: Profile, row: str) -> str:
    return {
        ZERO: ": exactly 0, which has no logarithm",
        BELOW_ZERO: ": 0 or less, which has no logarithm",
        INFINITE: ": infinite, measured where nothing is allowed",
        NONE: f" without {'measured or allowed' if sheet.show == MARGIN else 'this fact'}",
    }[row]


def _upward(sheet: Profile, rows: Mapping[str, Any]) -> Upward:
    """The axis upwards: of margins it has the bound on it, of shares it goes from 0 to 1."""
    finite = sheet.numbers[np.isfinite(sheet.numbers)]
    below, above = [row for row in rows if row != INFINITE], [row for row in rows if row == INFINITE]
    if sheet.show == MARGIN:
        positive = finite[finite > 0].tolist()
        scale = Scale(
            key=MARGIN, kind="log", values=(), first=min([0.5, *positive]) / 1.5, last=max([2.0, *positive]) * 1.5
        )
        ticks = round_numbers(scale)
        step = math.ceil(len(ticks) / _MOST_TICKS)  # more than a few are powers of ten, 1 among them
        ticks = [x for x in ticks if step == 1 or round(math.log10(x)) % step == 0]
        first, last = even(scale, [scale.first, scale.last])
        named = {place: number(x) for place, x in zip(even(scale, ticks), ticks, strict=True)}
        return Upward(label="measured / allowed", first=first, last=last, ticks=named, below=below, above=above)
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if sheet.is_share and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    if high == low:
        low, high = low - 0.5, high + 0.5
    spare = _ROOM * (high - low)
    named = {x: number(x) for x in _round_between(low, high)}
    return Upward(label=sheet.show, first=low - spare, last=high + spare, ticks=named, below=below)


def _round_between(low: float, high: float) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    spare = 1e-9 * (high - low)
    found = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    # Differences of round numbers are not round: 0.6000000000000001.
    return [float(f"{x:.12g}") for x in found if low - spare <= x <= high + spare]


def _heights(frame: ProfileFrame, numbers: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Where numbers are upwards: on the axis or in their row; NaN where they have neither."""
    if frame.sheet.show != MARGIN:
        return np.where(np.isfinite(numbers), numbers, frame.rows.get(NONE, math.nan))
    on_axis = np.isfinite(numbers) & (numbers > 0)
    found = np.where(on_axis, np.log(np.where(on_axis, numbers, 1.0)), frame.rows.get(NONE, math.nan))
    zero = frame.rows.get(ZERO, frame.rows.get(BELOW_ZERO, math.nan))
    return np.where(np.isposinf(numbers), frame.rows.get(INFINITE, math.nan), np.where(numbers <= 0, zero, found))


def _marks(frame: ProfileFrame, heights: Float[np.ndarray, " point"]) -> list[Entry]:
    """A mark for each point, with the look of its verdict; their entries of the legend."""
    from matplotlib.lines import Line2D

    sheet, across = frame.sheet, frame.side_by_side()
    verdicts = np.array(sheet.verdicts)
    size = float(np.clip(50 / max(len(verdicts), 1) ** 0.5, 2.2, 5.0))
    entries: list[Entry] = []
    for order, verdict in enumerate(LOOKS):
        if not (here := verdicts == verdict).any():
            continue
        look = LOOKS[verdict]
        frame.panel.plot(across[here], heights[here], ls="none", ms=size, zorder=2 + 0.1 * order, clip_on=False, **look)
        many = int(here.sum())
        words = f"{verdict.replace('_', ' ')}: {many:,} point{'s' * (many > 1)}"
        entries.append(Entry(handle=Line2D([], [], ls="none", ms=max(size, 4.5), **look), words=words))
    return entries


def _centres(frame: ProfileFrame) -> list[Entry]:
    """Medians of margins or means of facts, joined between numbers; their entry of the legend."""
    from matplotlib.lines import Line2D

    sheet = frame.sheet
    places = np.array(even(sheet.x, sheet.x.places(sheet.x.values).tolist()))
    centres = np.full(len(places), math.nan)
    for j, points in sheet.cells().items():
        centres[j] = sheet.centre(points)
    known = ~np.isnan(centres)
    if not known.any():
        return []
    heights = _heights(frame, centres)
    drawn = np.isfinite(centres) & ((centres > 0) | (sheet.show != MARGIN))
    look: dict[str, Any] = {"color": BLUE, "lw": 1.4}
    dots: dict[str, Any] = {"marker": "s", "ms": 4.0, "mec": "white", "mew": 0.6, "color": BLUE}
    if sheet.x.kind != "names":
        frame.panel.plot(places, np.where(drawn, heights, math.nan), zorder=2.8, **look)
    frame.panel.plot(places[known], heights[known], ls="none", zorder=2.9, **dots)
    words = "median of a value, zeros included" if sheet.show == MARGIN else "mean of a value"
    handle = Line2D([], [], **({"ls": "none"} if sheet.x.kind == "names" else {}), **look | dots)
    return [Entry(handle=handle, words=words)]
