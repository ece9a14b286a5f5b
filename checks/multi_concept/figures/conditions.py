"""The figure of the conditions: how much slack each has, and what sweeps say beside the closed forms."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from polyseme.checks.core.figures.palette import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, STONE
from polyseme.checks.core.figures.style import style
from polyseme.checks.multi_concept.conditions.conditions import FIRM, Condition, Conditions, Map, Needed, Pair, Shares
from polyseme.theory.multi_concept.outcome.thresholds import share_learnable

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

# Of each scan, in its order; the last for all that follow. Those of noise and other concepts are distinguished in panel d.
_LOOKS: dict[str, tuple[tuple[str, str], ...]] = {
    "wide": ((BLUE, ""),),
    "light_penalty": ((RED, ""),),
    "low_noise": ((GREEN, "o"), (ORANGE, "s"), (STONE, "^")),
    "few_extras": ((PURPLE, "D"), (INK, "v")),
}
# Inches: a letter of the labels, a row, what stands above and below panels, and panels b to d.
_WIDTH, _LETTER, _ROW, _HEAD, _BETWEEN, _PANEL, _FOOT = 7.0, 0.06, 0.2, 0.62, 1.0, 1.75, 0.82
TITLE = "How much slack the conditions have"
NOTE = "Exact bounds, simultaneous for each condition at 95%; open ends: not shown in what was scanned. Every point has a start of its own."


def conditions_figure(found: Conditions, *, title: str = TITLE, note: str = NOTE) -> "matplotlib.figure.Figure":
    """Slack of every scan on one logarithmic axis; share learned over the width; map over width and penalty; noise and extras.

    What was not swept has an empty panel that says so. The note stands below, in the SVG as the group `note`.
    """
    with style():
        from matplotlib.figure import Figure

        labels = [_label(one, scan) for one in found.conditions for scan in one.scans]
        tall = _ROW * max(len(labels), 6)
        height = _HEAD + tall + _BETWEEN + _PANEL + _FOOT
        figure = Figure(figsize=(_WIDTH, height))
        left = (0.25 + _LETTER * max(map(len, labels), default=0)) / _WIDTH
        slack = figure.add_axes((left, 1 - (_HEAD + tall) / height, 0.985 - left, tall / height))
        top, bottom = (_FOOT + _PANEL) / height, _FOOT / height
        grid = figure.add_gridspec(1, 3, left=0.075, right=0.985, top=top, bottom=bottom, wspace=0.42)
        shares, over, weak = (figure.add_subplot(grid[0, j]) for j in range(3))
        _slack(slack, found.conditions)
        _shares(shares, found.shares)
        _map(over, found.map)
        _weak(weak, [one for one in found.conditions if one.key in ("low_noise", "few_extras")])
        texts = (
            "slack: by which factor more is asked than is needed",
            "concepts learned",
            "over width and penalty",
            "all learned, marks of a",
        )
        for axes, letter, text in zip((slack, shares, over, weak), "abcd", texts, strict=True):
            axes.set_title(rf"$\bf{{{letter}}}$   {text}")
        figure.text(0.009, 1 - 0.06 / height, title, size=11, weight="bold", va="top")
        figure.text(0.009, 0.06 / height, textwrap.fill(note, 140), size=8, color=GREY, va="bottom", gid="note")
    return figure


def _label(condition: Condition, scan: Needed) -> str:
    return f"{condition.key}: {scan.words}"


def _look(condition: Condition, scan: Needed) -> tuple[str, str]:
    """Colour and mark of a scan, the same in panels a and d."""
    looks = _LOOKS[condition.key]
    return looks[min(condition.scans.index(scan), len(looks) - 1)]


def _nothing(axes: "matplotlib.axes.Axes") -> None:
    axes.text(0.5, 0.5, "not swept", ha="center", va="center", transform=axes.transAxes, color=GREY)
    axes.set_xticks([])
    axes.set_yticks([])


def _slack(axes: "matplotlib.axes.Axes", conditions: Sequence[Condition]) -> None:
    """A bar from the least to the largest slack of each scan, for three starts of four, and a thin one for half of them."""
    if not conditions:
        _nothing(axes)
        return
    every = [(one, scan) for one in conditions for scan in one.scans]
    pairs = [scan.slack(level, rising=one.rising) for one, scan in every for level in (FIRM, "1/2")]
    ends = [end for pair in pairs for end in pair if end is not None] or [1.0]
    low, high = min(0.8, *ends) / 1.25, max(1.25, *ends) * 1.25
    for y, (one, scan) in enumerate(every):
        colour, mark = _look(one, scan)
        for level, width, shift in ((FIRM, 4.0, 0.0), ("1/2", 1.4, 0.32)):
            _bar(axes, scan.slack(level, rising=one.rising), y + shift, colour, width, (low, high))
        left, right = scan.slack(FIRM, rising=one.rising)
        if mark and left is not None and right is not None:
            axes.plot([(left * right) ** 0.5], [y], marker=mark, ms=5.5, color=colour, mec="white", mew=0.8)
    axes.axvline(1, color=INK, lw=1, dashes=(4, 2))
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [tick for tick in (0.25, 0.5, 1, 2, 3, 5, 10, 20, 50, 100) if low <= tick <= high]
    axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(every)), labels=[_label(one, scan) for one, scan in every], size=8)
    axes.set_ylim(len(every) - 0.4, -0.6)
    axes.set_xlabel("slack; thick: for three starts of four, thin: for half of them")


def _bar(
    axes: "matplotlib.axes.Axes", pair: Pair, y: float, colour: str, width: float, ends: tuple[float, float]
) -> None:
    if pair == (None, None):
        return
    left, right = ends[0] if pair[0] is None else pair[0], ends[1] if pair[1] is None else pair[1]
    axes.plot([left, right], [y, y], color=colour, lw=width, solid_capstyle="butt")
    for end, place, mark in ((pair[0], left * 1.02, "<"), (pair[1], right / 1.02, ">")):
        if end is None:
            axes.plot([place], [y], marker=mark, ms=5, color=colour, clip_on=False)


def _shares(axes: "matplotlib.axes.Axes", shares: Shares | None) -> None:
    if shares is None:
        _nothing(axes)
        return
    m = np.array([one.m for one in shares.places])
    share = np.array([one.learned / one.concepts for one in shares.places])
    low, high = (np.array([one.bounds[j] for one in shares.places]) for j in (0, 1))
    every = np.arange(m.min(), m.max() + 1)
    axes.plot(
        every,
        [share_learnable(int(x)) for x in every],
        color=INK,
        lw=1.2,
        drawstyle="steps-mid",
        label="law of the gates",
    )
    axes.errorbar(
        m,
        share,
        yerr=[np.maximum(share - low, 0), np.maximum(high - share, 0)],
        fmt="o",
        ms=3,
        lw=1,
        color=BLUE,
        label="learned",
    )
    axes.set_xlabel(r"width $m$")
    axes.set_ylabel("share of concepts")
    axes.set_ylim(-0.04, 1.06)
    axes.legend(loc="lower right")


def _map(axes: "matplotlib.axes.Axes", of: Map | None) -> None:
    if of is None or len(of.m) < 2 or len(of.lam) < 2:
        _nothing(axes)
        return
    m, lam = np.array(of.m, dtype=float), np.array(of.lam)
    axes.pcolormesh(_edges(m), _edges(lam), np.array(of.learned).T, cmap="cividis", vmin=0, vmax=1)
    axes.plot(m, of.critical, color=RED, lw=1.8, label=r"$\lambda = \lambda_c$")
    law = [share_learnable(int(x)) for x in of.m]
    for level, dashes in ((0.5, (1, 1.5)), (0.9, (4, 2))):
        if law[0] < level < law[-1]:
            at = np.exp(np.interp(level, law, np.log(m)))
            axes.plot(
                [at, at],
                [lam[0], np.interp(at, m, of.critical)],
                color=RED,
                lw=1.4,
                dashes=dashes,
                label=f"width law: {level:g}",
            )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel(r"width $m$")
    axes.set_ylabel(r"penalty $\lambda$")
    axes.grid(visible=False)
    axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=8)


def _edges(places: np.ndarray) -> np.ndarray:
    """Edges of cells around places on a logarithmic axis."""
    middle = np.sqrt(places[1:] * places[:-1])
    return np.concatenate([[places[0] ** 2 / middle[0]], middle, [places[-1] ** 2 / middle[-1]]])


def _weak(axes: "matplotlib.axes.Axes", conditions: Sequence[Condition]) -> None:
    """The share of starts that learn every concept, over what is allowed."""
    if not conditions:
        _nothing(axes)
        return
    for one in conditions:
        for scan in one.scans:
            share, (colour, mark) = np.array(scan.hits) / np.array(scan.trials), _look(one, scan)
            axes.plot(np.array(scan.x) / scan.asked, share, marker=mark, ms=3.5, lw=1, color=colour)
    axes.axvline(1, color=INK, lw=1, dashes=(4, 2))
    axes.set_xscale("log")
    ticks = [1, 2, 5, 10, 20, 50]
    axes.set_xlim(0.8, 1.3 * max(max(scan.x) / scan.asked for one in conditions for scan in one.scans))
    ticks = [tick for tick in ticks if tick <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(-0.04, 1.06)
    axes.set_xlabel("over what is allowed")
    axes.set_ylabel("share of starts")
