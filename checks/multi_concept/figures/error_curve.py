"""The figure of the error curve: what was counted, split, predicted and bounded, on a logarithmic axis (THEORY.md section 5)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from polyseme.checks.core.figures.palette import BLUE, GREEN, GREY, INK, ORANGE, RED, STONE
from polyseme.checks.core.figures.style import style
from polyseme.checks.core.provenance import Record
from polyseme.checks.multi_concept.claims.exponential.error_curve import CurveTable
from polyseme.checks.multi_concept.claims.exponential.escape import ESCAPE, EscapeFacts
from polyseme.checks.multi_concept.claims.exponential.full_and_reduced import EQUAL, FullFacts
from polyseme.checks.multi_concept.claims.exponential.rare import FAR, TailFacts
from polyseme.checks.multi_concept.claims.exponential.rate_of_error import AT_LEAST, RateFacts, RatesTable

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure


def error_curve_figure(records: Sequence[Record], *, title: str) -> "matplotlib.figure.Figure | None":
    """The 0-1 error against the step, and its local rates; None where no claim of these records measured the curve.

    From the facts in results.json alone: the mean over seeds with exact intervals (simultaneous over the steps), survivors and
    the extinction floor, the full model, the tail by splitting with two standard errors, and what delayed escape predicts.
    A zero count has no mark, but an interval that reaches down from its upper end.
    """
    if (measured := RateFacts.find(records, AT_LEAST.id)) is None:
        return None
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.0, 3.9))
        left = figure.add_axes((0.095, 0.17, 0.5, 0.62))
        right = figure.add_axes((0.715, 0.17, 0.265, 0.62))
        _draw_curve(left, measured.curve, measured.rates, records)
        _draw_rates(right, measured.rates, EscapeFacts.find(records, ESCAPE.id))
        figure.text(0.009, 0.985, title, size=11, weight="bold", va="top")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0, 0.945), ncols=4)
        figure.text(0.009, 0.015, error_curve_note(records), size=8, color=GREY, va="bottom", gid="note", wrap=True)
    return figure


def error_curve_note(records: Sequence[Record]) -> str:
    """What the figure's numbers are, in a sentence."""
    measured = RateFacts.find(records, AT_LEAST.id)
    assert measured is not None, "asked for with the figure alone"
    return f"Mean over {measured.curve.seeds:,} seeds of the reduced recursion, one start; intervals hold at all steps at once."


def _draw_curve(
    axes: "matplotlib.axes.Axes",
    curve: CurveTable,
    rates: RatesTable,
    records: Sequence[Record],
) -> None:
    step, error, survivors = (np.array(x, float) for x in (curve.step, curve.error, curve.error_of_survivors))
    low, high = np.array(curve.low), np.array(curve.high)
    seen = survivors > 0
    tail, full = TailFacts.find(records, FAR.id), FullFacts.find(records, EQUAL.id)
    escape = EscapeFacts.find(records, ESCAPE.id)
    points = [row for row in tail.tail if row.error > 0] if tail else []
    least = min([*survivors[seen], *(row.error for row in points)])
    bottom = 10.0 ** np.floor(np.log10(least) - 0.3)
    axes.fill_between(step, np.maximum(low, bottom), high, color=BLUE, alpha=0.25, lw=0)
    axes.plot(step[error > 0], error[error > 0], color=BLUE, lw=1.6, label="all seeds")
    axes.plot(step[seen], survivors[seen], color=INK, lw=1.0, label="survivors")
    if curve.floor > 0:
        axes.axhline(curve.floor, color=ORANGE, lw=1.2, dashes=(4, 2), label="extinction floor")
    if full:
        at = np.array(full.full_model.step, float)[::4]
        of = np.array(full.full_model.error, float)[::4]
        axes.plot(at[of > 0], of[of > 0], "o", ms=2.6, mfc="white", mec=BLUE, mew=0.8, label="full model")
    if escape:
        axes.plot(escape.steps, escape.error_predicted, "x", color=RED, ms=5, mew=1.3, label="predicted (escape)")
    if points:
        at, of, spread = np.array([(row.step, row.error, row.standard_error) for row in points]).T
        down = np.minimum(2 * spread, of * (1 - 1e-3))
        axes.errorbar(at, of, (down, 2 * spread), fmt="s", color=GREEN, ms=3.5, capsize=2, lw=1, label="splitting")
    single, begin, end = rates.single_rate, rates.stretches[0].begin, rates.stretches[-1].end
    between = (step >= begin) & (step <= end)
    # The line of one rate through the window's middle, so that what does not fit shows at both ends.
    middle = float(np.exp(np.interp((begin + end) / 2, step[between], np.log(survivors[between]))))
    line = middle * np.exp(-single * (step[between] - (begin + end) / 2))
    axes.plot(step[between], line, color=STONE, lw=1, dashes=(1.5, 1.5), label="one rate, fitted")
    axes.set_yscale("log")
    axes.set_ylim(bottom, 1)
    axes.set_xlim(0, max([step[-1], *(row.step for row in points)]) * 1.03)
    axes.set_xlabel("SGD step")
    axes.set_ylabel("0–1 error")


def _draw_rates(axes: "matplotlib.axes.Axes", rates: RatesTable, escape: EscapeFacts | None) -> None:
    begin, end = np.array([(row.begin, row.end) for row in rates.stretches], float).T
    value, low, high = 1e3 * np.array([(row.rate, row.low, row.high) for row in rates.stretches]).T
    middle = (begin + end) / 2
    axes.errorbar(
        middle,
        value,
        (value - low, high - value),
        (end - begin) / 2,
        fmt="none",
        color=INK,
        lw=1.4,
        capsize=2,
        label="measured",
    )
    if escape:
        predicted = -1e3 * np.diff(np.log(escape.error_predicted)) / np.diff(escape.steps)
        axes.plot(middle, predicted, "x", color=RED, ms=5, mew=1.3)
    axes.set_ylim(0, 1.15 * float(high.max()))
    axes.set_xlabel("SGD step")
    axes.set_ylabel(r"local rate, $10^{-3}$ per step")
    axes.set_title("survivors' rate in the window")
