"""The figure of thresholds: which concepts are learned, over width, number and penalty, and which of attention and MLP is first."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from polyseme.checks.core.figures.palette import BLUE, GREEN, GREY, INK, RED
from polyseme.checks.core.figures.style import style
from polyseme.checks.core.provenance import Record
from polyseme.checks.multi_concept.claims.dynamics.critical_penalty import PENALTY, PenaltyFacts
from polyseme.checks.multi_concept.claims.dynamics.half_times import HALF_TIMES, HalfTimeFacts, HalfTimeMap
from polyseme.checks.multi_concept.claims.dynamics.width import SHARE, ShareFacts
from polyseme.checks.multi_concept.phase_diagrams import Diagram, PenaltySweep

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_LOOKS = ((BLUE, "o"), (RED, "s"), (GREEN, "^"))


def threshold_figure(records: Sequence[Record], *, title: str, note: str = "") -> "matplotlib.figure.Figure | None":
    """Shares of concepts learned beside the predicted boundaries, and ratios of half-times; None where they were not measured.

    Panels: share over (m, K1) with the two boundaries; share over lam m K1 for three widths; the same over lam / lam_c; the MLP's
    half-time over attention's, over sigma_0 and lam / lam_c. The note stands below, in the SVG as the group `note`.
    """
    width, penalty = ShareFacts.find(records, SHARE.id), PenaltyFacts.find(records, PENALTY.id)
    half = HalfTimeFacts.find(records, HALF_TIMES.id)
    if width is None or penalty is None or half is None:
        return None
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.0, 6.3))
        grid = figure.add_gridspec(2, 2, left=0.085, right=0.985, top=0.88, bottom=0.145, hspace=0.48, wspace=0.28)
        panels = [figure.add_subplot(grid[j // 2, j % 2]) for j in range(4)]
        _diagram(figure, panels[0], width.diagram)
        _sweep(panels[1], penalty.sweep, collapsed=False)
        _sweep(panels[2], penalty.sweep, collapsed=True)
        _half_times(figure, panels[3], half.map)
        texts = (
            rf"learned at $\lambda$ = {width.diagram.lam:g}",
            r"no common threshold in $\lambda m K_1$",
            r"one in $\lambda K_1 \sqrt{m}$: that of $\lambda_c$",
            "half-times, MLP over attention",
        )
        for axes, letter, text in zip(panels, "abcd", texts, strict=True):
            axes.set_title(rf"$\bf{{{letter}}}$   {text}")
        figure.text(0.009, 0.99, title, size=11, weight="bold", va="top")
        words = textwrap.fill(note, 140)
        figure.text(0.009, 0.01, words, size=8, color=GREY, va="bottom", gid="note")
    return figure


def _diagram(figure: "matplotlib.figure.Figure", axes: "matplotlib.axes.Axes", table: Diagram) -> None:
    widths, concepts = np.array(table.m, dtype=float), np.array(table.K1, dtype=float)
    share = np.array(table.share).T
    cells = axes.pcolormesh(_edges(widths), _edges(concepts), share, cmap="cividis", vmin=0, vmax=1, rasterized=False)
    bar = figure.colorbar(cells, ax=axes, pad=0.02)
    bar.set_label("share of concepts learned")
    axes.plot(widths, table.critical_K1, color=RED, lw=1.8, label=r"$\lambda = \lambda_c$")
    # Where the law of the width reaches one half and nine tenths, between the widths that were tried.
    for level, dashes in ((0.5, (1, 1.5)), (0.9, (4, 2))):
        at = np.interp(level, table.law_of_the_width, np.log(widths))
        top = np.interp(at, np.log(widths), np.log(table.critical_K1))
        axes.plot(
            [np.exp(at)] * 2,
            [_edges(concepts)[0], np.exp(top)],
            color=RED,
            lw=1.4,
            dashes=dashes,
            label=f"width law: {level:g}",
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xlabel(r"width $m$")
    axes.set_ylabel(r"number of concepts $K_1$")
    axes.grid(visible=False)
    axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=8)


def _ticks(axes: "matplotlib.axes.Axes", places: Sequence[float]) -> None:
    """A logarithmic horizontal axis with these numbers, written plainly."""
    axes.set_xscale("log")
    axes.set_xticks(list(places), labels=[f"{x:g}" for x in places])
    axes.minorticks_off()


def _edges(places: np.ndarray) -> np.ndarray:
    """Edges of cells around places on a logarithmic axis."""
    middle = np.sqrt(places[1:] * places[:-1])
    return np.concatenate([[places[0] ** 2 / middle[0]], middle, [places[-1] ** 2 / middle[-1]]])


def _sweep(axes: "matplotlib.axes.Axes", table: PenaltySweep, *, collapsed: bool) -> None:
    for curve, (colour, marker) in zip(table.curves, _LOOKS, strict=False):
        m, lam = curve.m, np.array(curve.lam)
        scale = 1 / curve.critical if collapsed else m * table.K1
        axes.plot(lam * scale, curve.share, marker=marker, ms=3.5, lw=1, color=colour, label=f"m = {m}")
        if not collapsed:
            axes.axvline(curve.critical * scale, color=colour, lw=1, dashes=(4, 2))
        axes.axhline(curve.law_of_the_width, color=colour, lw=0.6, dashes=(1, 2), zorder=0)
    if collapsed:
        axes.axvline(1, color=INK, lw=1, dashes=(4, 2))
    _ticks(axes, (0.3, 0.5, 1.0, 2.0) if collapsed else (0.02, 0.05, 0.1, 0.2, 0.5))
    axes.set_ylim(-0.04, 1.08)
    axes.set_xlabel(r"$\lambda / \lambda_c$" if collapsed else r"$\lambda m K_1$")
    axes.set_ylabel("share of concepts learned")
    axes.legend(loc="lower left")


def _half_times(figure: "matplotlib.figure.Figure", axes: "matplotlib.axes.Axes", table: HalfTimeMap) -> None:
    sigma, penalty = np.array(table.sigma_0), np.array(table.lam_over_lam_c)
    (flat, few), (steep, many) = (
        (f"L = {of.L}", np.array(of.ratio)) for of in sorted(table.ratios, key=lambda of: of.L)
    )
    cells = axes.pcolormesh(_edges(penalty), _edges(sigma), np.log2(many), cmap="cividis")
    bar = figure.colorbar(cells, ax=axes, pad=0.02)
    ticks = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    bar.set_ticks([float(np.log2(x)) for x in ticks], labels=[f"{x:g}" for x in ticks])
    bar.set_label(f"ratio, {steep}")
    if few.min() < 1 < few.max():
        axes.contour(penalty, sigma, few, levels=[1.0], colors=[RED], linewidths=1.6)
        axes.plot([], [], color=RED, lw=1.6, label=f"ratio 1 at {flat}")
        axes.legend(loc="lower left", frameon=True, framealpha=0.9, edgecolor="none", fontsize=8)
    axes.set_yscale("log")
    _ticks(axes, (0.02, 0.05, 0.1, 0.2, 0.5))
    axes.set_xlabel(r"$\lambda / \lambda_c$")
    axes.set_ylabel(r"$\sigma_0$, size of attention at the start")
    axes.grid(visible=False)
