"""The figure that shows by which margin each claim holds, and how far outside its negative controls are."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polyseme.checks.core.figures.palette import ALLOWED, GREEN, GREY, INK, LANE, RED, STONE
from polyseme.checks.core.figures.style import style
from polyseme.checks.core.records import decisive

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

OFF_SCALE = 1e6  # the axis ends here at the latest, so that the numbers near their bounds can be distinguished

_ROW, _HEADING = 0.185, 0.30  # inches
_NAMES, _REMARKS, _HEAD, _FOOT = 2.75, 1.05, 0.60, 0.55  # inches of margin on each side


def measured_against_allowed(records: Sequence[Mapping[str, Any]]) -> "matplotlib.figure.Figure":
    """One row per claim: measured value (dot), largest allowed value (tick), what each negative control measured (cross).

    `records` are the claims of results.json; of a claim with several parts the decisive one is shown. The axis is logarithmic over all positive values; an exact 0 (and, with its value, a
    negative number) is in a lane on the left, a number above 1e6 or infinity in one on the right,
    with its value: a wrong theory may be wrong by any amount. What has no number has no mark, and the margin
    says so. The shaded bar is what the claim's rule allows, from 0 to the tick.
    """
    rows = _rows(records)
    height = _HEAD + _FOOT + _ROW + sum(_HEADING if record is None else _ROW for record, _ in rows)
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.0, height))
        axes = figure.add_axes((_NAMES / 7, _FOOT / height, 1 - (_NAMES + _REMARKS) / 7, 1 - (_HEAD + _FOOT) / height))
        lanes = _Lanes(records)
        lanes.prepare(axes)
        y = 0.0
        for record, family in rows:
            y += _HEADING if record is None else _ROW
            if record is None:
                axes.annotate(family, (0, y), (6 - 72 * _NAMES, 0), **_beside(axes), weight="bold", size=9)
            else:
                _draw_row(axes, lanes, record, y)
        axes.set_ylim(y + _ROW, 0.1)
        figure.text(0.06 / 7, 1 - 0.06 / height, "Measured against allowed", size=11, weight="bold", va="top")
        figure.legend(*_legend(), loc="upper left", bbox_to_anchor=(0, 1 - 0.25 / height), ncols=4)
    return figure


class _Lanes:
    """Where a number is drawn: on the logarithmic axis, or in the lane of 0 or of what is off scale."""

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        shown = [
            _number(x[key])
            for part in map(decisive, records)
            for x in (part, *part["controls"])
            for key in ("measured", "bound")
        ]
        decades = [math.log10(value) for value in shown if 0 < value <= OFF_SCALE] or [0.0]
        self.low, self.high = (
            math.floor(min(decades)),
            max(math.ceil(max(decades)), math.floor(min(decades)) + 1),
        )
        self.lane = max(1.0, 0.07 * (self.high - self.low))  # in decades
        self.endless = any(value > OFF_SCALE for value in shown)

    def at(self, value: float) -> float:
        """Horizontal position, in decades."""
        if value <= 0:
            return self.low - self.lane
        return self.high + self.lane if value > OFF_SCALE else math.log10(value)

    def prepare(self, axes: "matplotlib.axes.Axes") -> None:
        """Limits, ticks and shaded lanes; the axis counts decades, so that 0 has a place on it."""
        right = self.high + (1.5 * self.lane if self.endless else 0.4)
        axes.set_xlim(self.low - 1.5 * self.lane, right)
        step = math.ceil((self.high - self.low) / 7)
        room = 0.11 * (right - self.low + 1.5 * self.lane)  # a label is about as wide
        last = self.at(math.inf) - room if self.endless else math.inf
        ticks = [k for k in range(self.low, self.high + 1) if k % step == 0 and self.at(0.0) + room <= k <= last]
        labels = [(self.at(0.0), "= 0"), *((k, rf"$10^{{{k}}}$") for k in ticks)]
        labels += [(self.at(math.inf), "off\nscale")] if self.endless else []
        axes.set_xticks([place for place, _ in labels], [text for _, text in labels])
        axes.axvspan(self.low - 1.5 * self.lane, self.low - 0.5 * self.lane, color=LANE, lw=0, zorder=0)
        if self.endless:
            axes.axvspan(self.high + 0.5 * self.lane, right, color=LANE, lw=0, zorder=0)
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("value, each in the units of its own claim", labelpad=-6 if self.endless else 4)


def _draw_row(axes: "matplotlib.axes.Axes", lanes: _Lanes, record: Mapping[str, Any], y: float) -> None:
    """One claim: its name, three marks, and in the right margin what the marks do not say."""
    part = decisive(record)
    supported = record["verdict"] == "supported"
    remarks = [] if supported else [str(record["verdict"]).replace("_", " ")]
    name = str(record["id"]).partition("/")[2].replace("_", " ")
    name = name if len(name) <= 48 else f"{name[:47]}…"
    axes.annotate(name, (0, y), (12 - 72 * _NAMES, 0), **_beside(axes), size=8, color=INK if supported else GREY)
    bound, measured = _number(part["bound"]), _number(part["measured"])
    if not math.isnan(bound):
        axes.plot(
            [axes.get_xlim()[0], lanes.at(bound)],
            [y, y],
            color=ALLOWED,
            lw=7,
            solid_capstyle="butt",
            zorder=1,
        )
        axes.plot(lanes.at(bound), y, "|", color=INK, ms=9, mew=1.6, zorder=3)
    if math.isnan(measured):
        remarks.append("no number" if not remarks else "")
    else:
        colour = GREEN if supported else STONE
        axes.plot(
            lanes.at(measured),
            y,
            "o",
            ms=5.5,
            mew=1.2,
            mec=colour,
            mfc=colour if supported else "white",
            zorder=5,
        )
    # What shares a lane is distinguished by its number alone.
    numbers = [(measured, INK), *((_number(control["measured"]), RED) for control in part["controls"])]
    placed: list[float] = []
    for value, colour in numbers:
        if value <= 0 or value > OFF_SCALE:
            offset = 32 if lanes.at(value) in placed else 7
            placed.append(lanes.at(value))
            axes.annotate(
                f"{value:.2g}" if value < 0 else _large(value) if value else "",
                (lanes.at(value), y),
                (offset if value <= 0 else -offset, 0),
                textcoords="offset points",
                size=8,
                ha="left" if value <= 0 else "right",
                va="center",
                color=colour,
            )
    if bound > OFF_SCALE:
        remarks.append(f"allowed: {_large(bound)}")
    for control in part["controls"]:
        value = _number(control["measured"])
        if math.isnan(value):
            remarks.append("control: no number")
        else:
            axes.plot(lanes.at(value), y, "x", color=RED, ms=6, mew=1.7, zorder=4)
    text = ", ".join(filter(None, remarks))
    axes.annotate(text, (1, y), (5, 0), **_beside(axes), size=8, color=GREY, style="italic")


def _legend() -> tuple[list[Any], list[str]]:
    """What the marks mean: handles and words."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    marks: dict[str, Any] = {"ls": "none"}
    handles = [
        Line2D([], [], marker="o", color=GREEN, ms=5.5, **marks),
        Line2D([], [], marker="o", mec=STONE, mfc="white", ms=5.5, mew=1.2, **marks),
        (Patch(color=ALLOWED, lw=0), Line2D([], [], marker="|", color=INK, ms=9, mew=1.6, **marks)),
        Line2D([], [], marker="x", color=RED, ms=6, mew=1.7, **marks),
    ]
    return handles, [
        "measured, supported",
        "measured, any other verdict",
        "allowed up to the tick",
        "negative controls",
    ]


def _rows(records: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any] | None, str]]:
    """Families in the order of their first claim: a heading row, then its claims."""
    families = list(dict.fromkeys(str(record["family"]) for record in records))
    rows: list[tuple[Mapping[str, Any] | None, str]] = []
    for family in families:
        rows += [(None, family), *((record, family) for record in records if record["family"] == family)]
    return rows


def _number(value: object) -> float:
    """A number as it is or as results.json writes it; NaN for everything else."""
    try:
        return float(value)  # pyright: ignore[reportArgumentType]  (what float refuses is the point)
    except (TypeError, ValueError):
        return math.nan


def _large(value: float) -> str:
    """A number that is off scale, in few letters."""
    digits, _, power = f"{value:.0e}".partition("e")
    return r"$\infty$" if math.isinf(value) else rf"${digits} \cdot 10^{{{int(power)}}}$"


def _beside(axes: "matplotlib.axes.Axes") -> dict[str, Any]:
    """How a word is placed in a margin: x in axes, y in data, an offset in points."""
    place = axes.get_yaxis_transform()
    return {"xycoords": place, "textcoords": "offset points", "va": "center", "annotation_clip": False}
