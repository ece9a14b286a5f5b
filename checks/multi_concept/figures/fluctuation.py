"""Figures of SGD's noise: how far it strays, and where the hypotheses of the exponential bound hold (THEORY.md section 5)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from polyseme.checks.core.figures.palette import BLUE, GREEN, GREY, INK, ORANGE, RED, SHADE, STONE
from polyseme.checks.core.figures.style import style
from polyseme.checks.core.provenance import Record
from polyseme.checks.multi_concept.claims.exponential.pinelis import CURVATURE, CurvatureFacts
from polyseme.checks.multi_concept.claims.fluctuation.covariance import STABLE, StableFacts, Variances
from polyseme.checks.multi_concept.claims.fluctuation.deviation import (
    SCALING,
    ByBatchFacts,
    ByStepFacts,
    Scaling,
)
from polyseme.checks.multi_concept.claims.fluctuation.kinks import MOVING, DistanceRow, MovingFacts

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure


def _titled(axes: "matplotlib.axes.Axes", letter: str, text: str) -> None:
    axes.set_title(rf"$\bf{{{letter}}}$   {text}")


def deviation_figure(records: Sequence[Record], *, title: str) -> "matplotlib.figure.Figure | None":
    """How the deviation of SGD from the recursion scales, and its variances beside linear noise; None where it was not measured.

    Panels: root mean square against B and against eta, with linear noise; variances over linear noise, gates stable, with two
    standard errors; deviation at the end of the run against B, where gates move.
    """
    batch = ByBatchFacts.find(records, SCALING.id, "in the batch size")
    step = ByStepFacts.find(records, SCALING.id, "in the step size")
    stable, moving = StableFacts.find(records, STABLE.id), MovingFacts.find(records, MOVING.id, "averaged gates")
    if batch is None or step is None or stable is None or moving is None:
        return None
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.0, 5.4))
        grid = figure.add_gridspec(2, 2, left=0.11, right=0.985, top=0.87, bottom=0.1, hspace=0.5, wspace=0.32)
        panels = [figure.add_subplot(grid[j // 2, j % 2]) for j in range(4)]
        _scaling(panels[0], batch.scaling, "batch size B", base=8)
        _titled(panels[0], "a", "gates stable, by batch")
        _scaling(panels[1], step.scaling, "step size η", base=2)
        _titled(panels[1], "b", "gates stable, by step size")
        _ratios(panels[2], stable.variances)
        _titled(panels[2], "c", "variances, gates stable")
        _distances(panels[3], moving.distances)
        _titled(panels[3], "d", "gates that move, end of the run")
        figure.text(0.009, 0.99, title, size=11, weight="bold", va="top")
    return figure


def _scaling(axes: "matplotlib.axes.Axes", table: Scaling, label: str, *, base: int) -> None:
    places = np.array(table.places)
    mean, error, linear = (np.array(x) for x in (table.mean_squares, table.standard_errors, table.linear_noise))
    axes.plot(places, np.sqrt(linear), color=INK, lw=1, label="linear noise")
    root = np.sqrt(mean)
    axes.errorbar(places, root, error / root, fmt="o", ms=3.5, color=BLUE, capsize=2, lw=1, label="SGD, ± 2 s.e.")
    axes.set_xscale("log", base=base)
    axes.set_yscale("log")
    axes.set_xlabel(label)
    axes.set_ylabel("root mean square")
    axes.legend()


def _ratios(axes: "matplotlib.axes.Axes", table: Sequence[Variances]) -> None:
    colours = (BLUE, ORANGE, GREEN, RED, INK, STONE)
    for shift, row in enumerate(table):
        measured, error, predicted = (np.array(x) for x in (row.measured, row.standard_error, row.predicted))
        axes.errorbar(
            np.array(row.step) + 3 * (shift - len(table) / 2),
            measured / predicted,
            2 * error / predicted,
            fmt="o",
            ms=3,
            lw=1,
            capsize=2,
            color=colours[shift % len(colours)],
            label=row.group,
        )
    axes.axhspan(0.9, 1.1, color=SHADE, zorder=0)
    axes.axhline(1, color=INK, lw=0.8)
    axes.set_ylim(0.85, 1.24)
    axes.set_xlabel("SGD step")
    axes.set_ylabel("measured / linear noise")
    axes.legend(ncols=2, loc="upper left")


def _distances(axes: "matplotlib.axes.Axes", rows: Sequence[DistanceRow]) -> None:
    rows = sorted(rows, key=lambda row: row.batch)
    for name, values, look in (
        ("linear noise", [row.linear_noise for row in rows], {"color": INK, "lw": 1}),
        (
            "root mean square",
            [row.root_mean_square for row in rows],
            {"color": BLUE, "marker": "o", "ms": 3.5, "lw": 0},
        ),
        ("median", [row.median for row in rows], {"color": ORANGE, "marker": "s", "ms": 3, "lw": 0}),
    ):
        axes.plot([row.batch for row in rows], [at[-1] for at in values], label=name, **look)
    axes.set_xscale("log", base=8)
    axes.set_yscale("log")
    axes.set_xlabel("batch size B")
    axes.set_ylabel("distance from the recursion")
    axes.legend()


def phase_figure(records: Sequence[Record], *, title: str) -> "matplotlib.figure.Figure | None":
    """Where along the path the hypotheses of the exponential bound hold; None where it was not measured.

    Panels over the steps of the path: smallest curvature (the bound asks for a positive one), the nearest gate's distance from
    its kink, and the error of the path beside the bound at the regime's batch.
    """
    if (facts := CurvatureFacts.find(records, CURVATURE.id)) is None:
        return None
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.0, 5.2))
        grid = figure.add_gridspec(3, 1, left=0.13, right=0.985, top=0.88, bottom=0.1, hspace=0.24)
        panels = [figure.add_subplot(grid[j]) for j in range(3)]
        t = np.array(facts.t)
        lowest = np.array(facts.minimum_curvature)
        panels[0].plot(t, lowest, color=BLUE)
        panels[0].axhline(0, color=INK, lw=0.8)
        panels[0].fill_between(
            t, lowest, 0, where=list(lowest < 0), color=RED, alpha=0.2, lw=0, label="negative: no rho < 1"
        )
        panels[0].set_ylabel("least curvature")
        panels[0].legend(loc="lower right")
        panels[1].semilogy(t, np.maximum(facts.nearest_kink, 1e-12), color=ORANGE)
        panels[1].set_ylabel("nearest kink")
        bound = np.array(facts.bound_on_error)
        panels[2].plot(t, bound, color=RED, label="bound at the regime's batch")
        panels[2].plot(t, facts.error_of_path, color=INK, label="error of the path")
        panels[2].set_ylim(-0.05, 1.1)
        panels[2].set_ylabel("0–1 error")
        panels[2].set_xlabel("step of the path")
        panels[2].legend(loc="center right")
        for axes, letter in zip(panels, "abc", strict=True):
            axes.set_xlim(0, t[-1])
            for stretch in facts.stretches:
                start = stretch.first_step
                axes.axvline(start, color=STONE, lw=0.6, dashes=(2, 2))
                if letter == "a":
                    axes.text(
                        start + 0.008 * t[-1],
                        1.04,
                        stretch.name,
                        transform=axes.get_xaxis_transform(),
                        size=8.5,
                        color=GREY,
                    )
            if letter != "c":
                axes.tick_params(labelbottom=False)
        figure.text(0.009, 0.99, title, size=11, weight="bold", va="top")
    return figure
