"""Curves of many seeds: theory as a thin line over the median and the band of simulations, and the axes that they need."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from polyseme.checks.core.figures.palette import BLUE, GREY, INK, RED, SHADE

if TYPE_CHECKING:
    import matplotlib.axes

BAND = (0.1, 0.9)  # the middle 80 % of the seeds; seeds outside it are outliers to the eye
# The line of the theory is thin and dark, so that it shows on top.
LINES: dict[str, dict[str, Any]] = {
    "theory": {"color": INK, "lw": 0.8},
    "simulation": {"color": BLUE, "lw": 2.0},
    "train": {"color": RED, "lw": 1.0, "dashes": (3.5, 1.8)},
}


class Bands:
    """The arrays of one figure as quantiles over seeds, with a count of what could not be drawn."""

    def __init__(
        self, theory: Mapping[str, np.ndarray] | None, simulation: Mapping[str, np.ndarray], *, theory_label: str
    ) -> None:
        """`theory_label` is what the legend calls the line of the theory."""
        self.theory_label = theory_label
        self.sides = {"theory": theory or {}, "simulation": simulation}
        self.steps = np.asarray(simulation["step"], dtype=float)
        self.seeds = max(array.shape[0] if array.ndim == 2 else 1 for array in simulation.values())
        self.lost = 0
        self.drawn: set[str] = set()

    def quantiles(self, side: str, name: str) -> Float[np.ndarray, "4 T"] | None:
        """Step, low, median and high of a curve where at least one seed is finite; None if there is none."""
        if (array := self.sides[side].get(name)) is None:
            return None
        rows = np.atleast_2d(np.asarray(array, dtype=float))
        rows = np.where(np.isfinite(rows), rows, np.nan)
        some = ~np.isnan(rows).all(axis=0)
        if not some.any():
            return None
        self.lost += int(np.isnan(rows).sum())
        self.drawn.add("train" if name.startswith("train_") else side)
        steps = np.asarray(self.sides[side]["step"], dtype=float)[some]
        return np.vstack([steps, np.nanquantile(rows[:, some], (BAND[0], 0.5, BAND[1]), axis=0)])

    def draw(self, axes: "matplotlib.axes.Axes", name: str, colour: str) -> Float[np.ndarray, " n"]:
        """Draw one quantity, every side of it that exists; returns all drawn values, the last median last."""
        values = [np.empty(0)]
        if (train := self.quantiles("simulation", f"train_{name}")) is not None:
            axes.plot(train[0], train[2], zorder=4, **LINES["train"], **_marker("train", train[0].size))
            values.append(train[2])
        if (exact := self.quantiles("theory", name)) is not None:
            axes.plot(exact[0], exact[2], **LINES["theory"], zorder=5, **_marker("theory", exact[0].size))
            values.append(exact[2])
        if (test := self.quantiles("simulation", name)) is not None:
            if self.seeds > 1 and test[0].size == 1:
                axes.vlines(test[0], test[1], test[3], color=colour, alpha=0.3, lw=9, zorder=2)
            elif self.seeds > 1:
                axes.fill_between(test[0], test[1], test[3], color=colour, alpha=0.3, lw=0, zorder=2)
            look: dict[str, Any] = LINES["simulation"] | {"color": colour}
            axes.plot(test[0], test[2], **look, zorder=3, **_marker("simulation", test[0].size))
            values.append(test[[1, 3, 2]].ravel())
        return np.concatenate(values)

    def set_steps(self, axes: "matplotlib.axes.Axes", *, labelled: bool) -> None:
        """The step axis: logarithmic above step 1 if the grid is, linear otherwise."""
        gaps = np.diff(self.steps)
        quarter = max(len(gaps) // 4, 1)
        if len(gaps) >= 8 and np.median(gaps[-quarter:]) > 5 * np.median(gaps[:quarter]):
            axes.set_xscale("symlog", linthresh=1, linscale=0.4)
            decades = range(math.floor(math.log10(self.steps[-1])) + 1)
            axes.set_xticks([0, *(10.0**k for k in decades)])
        if self.steps[0] == self.steps[-1]:
            axes.set_xlim(self.steps[0] - 1, self.steps[0] + 1)
            axes.set_xticks([self.steps[0]])
        else:
            axes.set_xlim(self.steps[0], self.steps[-1])
        if labelled:
            axes.set_xlabel("SGD step")
        else:
            axes.tick_params(labelbottom=False)

    def set_values(self, axes: "matplotlib.axes.Axes") -> None:
        """A linear value axis; around a single step it is wide, or its ticks would count the last digits."""
        axes.margins(y=0.08)
        if self.steps[0] == self.steps[-1]:
            low, high = axes.get_ylim()
            room = 0.1 * max(abs(low), abs(high))
            axes.set_ylim(min(low, (low + high) / 2 - room), max(high, (low + high) / 2 + room))

    def words(self) -> dict[str, str]:
        """What the legend calls each kind of line that there may be."""
        many = self.seeds > 1
        words = {
            "theory": self.theory_label,
            "simulation": "simulation, test"
            + (f": median and 10–90 % of {self.seeds} seeds" if many else " (one seed)"),
            "train": "simulation, training batch" + (": median" if many else ""),
        }
        has = {
            "theory": bool(self.sides["theory"]),
            "train": any(name.startswith("train_") for name in self.sides["simulation"]),
        }
        return {kind: word for kind, word in words.items() if has.get(kind, True)}

    def legend(self) -> tuple[list[Any], list[str]]:
        """One entry for each kind of line that was drawn: handles and words."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        words = {kind: word for kind, word in self.words().items() if kind in self.drawn}
        handles: list[Any] = [Line2D([], [], **LINES[kind], **_marker(kind, self.steps.size)) for kind in words]
        if self.seeds > 1:  # the band behind the line
            handles = [
                (Patch(color=BLUE, alpha=0.3, lw=0), line) if kind == "simulation" else line
                for kind, line in zip(words, handles, strict=True)
            ]
        return handles, list(words.values())

    def remark(self) -> str:
        """A sentence about values that could not be drawn, or nothing."""
        return f"Not drawn, because not finite: {self.lost} value{'s' * (self.lost > 1)}." if self.lost else ""


def _marker(kind: str, points: int) -> dict[str, Any]:
    """How a curve of one point is marked, since it has no line."""
    looks = {
        "theory": {"marker": "_", "ms": 11, "mew": 1.0},
        "simulation": {"marker": "o", "ms": 6},
        "train": {"marker": "D", "ms": 2.5},
    }
    return looks[kind] if points == 1 else {}


def error_axis(axes: "matplotlib.axes.Axes", values: Float[np.ndarray, " n"], *, said: bool = True) -> None:
    """An axis for 0-1 errors that is logarithmic down to the last decade of `values`, and linear from there to 0.

    `said`: whether the panel says so in words.
    """
    positive = values[values > 0]
    last = math.floor(math.log10(positive.min())) if positive.size else -1
    last = min(max(last, -12), -1)  # beyond twelve decades round-off, not learning, is what one sees
    floor = 10.0**last
    axes.set_yscale("symlog", linthresh=floor, linscale=0.6)
    decades = range(0, last - 1, -math.ceil(-last / 3))
    axes.set_yticks([0, *(10.0**k for k in decades)], ["0", *("1" if k == 0 else rf"$10^{{{k}}}$" for k in decades)])
    axes.minorticks_off()
    bottom = -0.2 * floor
    axes.set_ylim(bottom, max(1.0, float(values.max(initial=0))))
    axes.axhspan(bottom, floor, color=SHADE, lw=0, zorder=0)
    if not said:
        return
    axes.text(
        0.015,
        0.6 * floor,
        "linear",
        transform=axes.get_yaxis_transform(),
        size=8,
        color=GREY,
        ha="left",
        va="center",
        zorder=6,
    )
