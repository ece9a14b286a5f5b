"""The figure of the error curve: what was counted, split, predicted and bounded, on a logarithmic axis (THEORY.md section 5)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyseme.checks.core.figures.palette import BLUE, GREEN, GREY, INK, ORANGE, RED, STONE
from polyseme.checks.core.figures.style import style

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_RATES = "exponential/error_falls_at_least_exponentially_above_its_floor"
_FULL = "exponential/full_and_reduced_ensembles_have_the_same_error_curve"
_ESCAPE = "exponential/rate_is_that_of_delayed_escape"
_TAIL = "exponential/iterations_grow_as_the_logarithm_of_the_accuracy"


def facts_of_claim(records: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    """The facts of a claim's evidence, if it was gathered."""
    for record in records:
        if record["id"] == name and record["evidence"]:
            return record["evidence"]["facts"]
    return None


def error_curve_figure(records: Sequence[Mapping[str, Any]], *, title: str) -> "matplotlib.figure.Figure | None":
    """The 0-1 error against the step, and its local rates; None where no claim of these records measured the curve.

    From the facts in results.json alone: the mean over seeds with exact intervals (simultaneous over the steps), survivors and
    the extinction floor, the full model, the tail by splitting with two standard errors, and what delayed escape predicts.
    A zero count has no mark, but an interval that reaches down from its upper end.
    """
    if (rates := facts_of_claim(records, _RATES)) is None:
        return None
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.0, 3.9))
        left = figure.add_axes((0.095, 0.17, 0.5, 0.62))
        right = figure.add_axes((0.715, 0.17, 0.265, 0.62))
        _draw_curve(left, rates["curve"], rates["rates"], records)
        _draw_rates(right, rates, facts_of_claim(records, _ESCAPE))
        figure.text(0.009, 0.985, title, size=11, weight="bold", va="top")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0, 0.945), ncols=4)
        figure.text(0.009, 0.015, error_curve_note(records), size=8, color=GREY, va="bottom", gid="note", wrap=True)
    return figure


def error_curve_note(records: Sequence[Mapping[str, Any]]) -> str:
    """What the figure's numbers are, in a sentence."""
    rates = facts_of_claim(records, _RATES)
    assert rates is not None, "asked for with the figure alone"
    return f"Mean over {rates['curve']['seeds']:,} seeds of the reduced recursion, one start; intervals hold at all steps at once."


def _draw_curve(
    axes: "matplotlib.axes.Axes",
    curve: Mapping[str, Any],
    rates: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
) -> None:
    step, error, survivors = (np.array(curve[name], float) for name in ("step", "error", "error of survivors"))
    low, high = np.array(curve["low"]), np.array(curve["high"])
    seen = survivors > 0
    tail, full, escape = (
        facts_of_claim(records, _TAIL),
        facts_of_claim(records, _FULL),
        facts_of_claim(records, _ESCAPE),
    )
    points = [row for row in tail["tail"] if row["error"] > 0] if tail else []
    least = min([*survivors[seen], *(row["error"] for row in points)])
    bottom = 10.0 ** np.floor(np.log10(least) - 0.3)
    axes.fill_between(step, np.maximum(low, bottom), high, color=BLUE, alpha=0.25, lw=0)
    axes.plot(step[error > 0], error[error > 0], color=BLUE, lw=1.6, label="all seeds")
    axes.plot(step[seen], survivors[seen], color=INK, lw=1.0, label="survivors")
    if curve["floor"] > 0:
        axes.axhline(curve["floor"], color=ORANGE, lw=1.2, dashes=(4, 2), label="extinction floor")
    if full:
        at = np.array(full["full model"]["step"], float)[::4]
        of = np.array(full["full model"]["error"], float)[::4]
        axes.plot(at[of > 0], of[of > 0], "o", ms=2.6, mfc="white", mec=BLUE, mew=0.8, label="full model")
    if escape:
        axes.plot(escape["steps"], escape["error predicted"], "x", color=RED, ms=5, mew=1.3, label="predicted (escape)")
    if points:
        at, of, spread = (np.array([row[name] for row in points]) for name in ("step", "error", "standard error"))
        down = np.minimum(2 * spread, of * (1 - 1e-3))
        axes.errorbar(at, of, (down, 2 * spread), fmt="s", color=GREEN, ms=3.5, capsize=2, lw=1, label="splitting")
    single, begin, end = rates["single rate per step"], rates["from"][0], rates["to"][-1]
    between = (step >= begin) & (step <= end)
    # The line of one rate through the window's middle, so that what does not fit shows at both ends.
    middle = float(np.exp(np.interp((begin + end) / 2, step[between], np.log(survivors[between]))))
    line = middle * np.exp(-single * (step[between] - (begin + end) / 2))
    axes.plot(step[between], line, color=STONE, lw=1, dashes=(1.5, 1.5), label="one rate, fitted")
    axes.set_yscale("log")
    axes.set_ylim(bottom, 1)
    axes.set_xlim(0, max([step[-1], *(row["step"] for row in points)]) * 1.03)
    axes.set_xlabel("SGD step")
    axes.set_ylabel("0–1 error")


def _draw_rates(axes: "matplotlib.axes.Axes", facts: Mapping[str, Any], escape: Mapping[str, Any] | None) -> None:
    rates = facts["rates"]
    begin, end = np.array(rates["from"], float), np.array(rates["to"], float)
    value, low, high = (1e3 * np.array(rates[name]) for name in ("rate per step", "low", "high"))
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
        predicted = -1e3 * np.diff(np.log(escape["error predicted"])) / np.diff(escape["steps"])
        axes.plot(middle, predicted, "x", color=RED, ms=5, mew=1.3)
    axes.set_ylim(0, 1.15 * float(high.max()))
    axes.set_xlabel("SGD step")
    axes.set_ylabel(r"local rate, $10^{-3}$ per step")
    axes.set_title("survivors' rate in the window")
