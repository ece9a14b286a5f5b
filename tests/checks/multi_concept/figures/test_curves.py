"""The figures of the error curve and of SGD's noise, drawn from the facts of records alone."""

import numpy as np
import pytest

from polyseme.checks.core.figures.style import save_figure
from polyseme.checks.multi_concept.figures.error_curve import error_curve_figure
from polyseme.checks.multi_concept.figures.fluctuation import deviation_figure, phase_figure
from polyseme.checks.multi_concept.figures.thresholds import threshold_figure

STEPS = list(range(0, 801, 10))


def record(name, facts):
    return {"id": name, "evidence": {"facts": facts}}


def curve_records(*, floor=0.01, tail=True):
    survivors = [0.5 if t < 200 else 0.5 * float(np.exp(-0.02 * (t - 200))) for t in STEPS]
    survivors = [x if x > 1e-5 else 0.0 for x in survivors]  # a count of zero, at the end
    error = [x + floor for x in survivors]
    curve = {
        "step": STEPS,
        "error": error,
        "error of survivors": survivors,
        "low": [0.8 * x if x > 1e-4 else 0.0 for x in error],
        "high": [1.2 * x + 1e-5 for x in error],
        "floor": floor,
        "seeds": 4096,
    }
    rates = {
        "from": [240, 320],
        "to": [320, 400],
        "rate per step": [0.02, 0.021],
        "low": [0.018, 0.019],
        "high": [0.022, 0.023],
        "single rate per step": 0.02,
    }
    found = [record("exponential/error_falls_at_least_exponentially_above_its_floor", {"curve": curve, "rates": rates})]
    if tail:
        row = {"step": 1000, "error": 1e-7, "standard error": 5e-8}
        found.append(record("exponential/iterations_grow_as_the_logarithm_of_the_accuracy", {"tail": [row]}))
        found.append(
            record(
                "exponential/rate_is_that_of_delayed_escape",
                {"steps": [240, 320, 400], "error predicted": [0.23, 0.045, 0.009]},
            )
        )
    return found


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts] + [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("tail", [True, False])
@pytest.mark.parametrize("floor", [0.01, 0.0])
def test_the_error_curve_has_a_line_for_each_thing_that_was_measured(tail, floor, tmp_path):
    figure = error_curve_figure(curve_records(floor=floor, tail=tail), title="The error curve, test")
    assert figure is not None
    left, right = figure.axes
    _, labels = left.get_legend_handles_labels()
    assert {"all seeds", "survivors", "one rate, fitted"} <= set(labels)
    assert ("extinction floor" in labels) == (floor > 0)
    assert ("splitting" in labels) == ("predicted (escape)" in labels) == tail
    assert left.get_yscale() == "log" and right.get_ylim()[0] == 0
    assert left.get_xlim()[1] > (1000 if tail else 799)
    for line in left.lines:
        assert (np.asarray(line.get_ydata(), float) > 0).all(), "a zero count has no mark"
    assert any("4,096 seeds" in text for text in texts(figure))
    svg, pdf = save_figure(figure, tmp_path, "error_curve")
    assert svg.stat().st_size > 1000 and pdf.stat().st_size > 1000


def test_without_its_claims_there_is_no_figure():
    others = [record("algebra/x", {}), {"id": "exponential/risk_is_nowhere_convex_while_it_is_learned", "evidence": {}}]
    assert error_curve_figure(others, title="") is None
    assert deviation_figure(others, title="") is None
    assert phase_figure(others, title="") is None
    assert threshold_figure(others, title="") is None


def deviation_records():
    table = {
        "places": [8, 64],
        "mean squares": [0.1, 0.01],
        "standard errors": [1e-3, 1e-4],
        "linear noise": [0.1, 0.01],
    }
    row = {"step": [10, 20], "measured": [1.0, 1.1], "standard error": [0.01, 0.01], "predicted": [1.0, 1.0]}
    variances = dict.fromkeys(("attention", "margin", "W_Q", "W_K", "alpha", "beta"), row)
    distances = {"step": [1, 2]} | {
        f"B = {batch}": {"root mean square": [1.0, 2.0], "median": [1.0, 2.0], "linear noise": [1.0, 1.0]}
        for batch in (8, 64)
    }
    return [
        record("fluctuation/deviation_falls_as_root_batch", {"deviation by batch size": table}),
        record("fluctuation/deviation_grows_as_root_step", {"deviation by step size": table}),
        record("fluctuation/covariance_is_linear_noise_while_gates_are_stable", {"variances": variances}),
        record(
            "fluctuation/averaged_gates_give_the_deviation_where_gates_move",
            {"distances from the recursion, 256 seeds": distances},
        ),
    ]


def phase_records():
    t = list(range(50))
    facts = {
        "t": t,
        "minimum curvature": [-0.01 + 1e-4 * j for j in t],
        "distance of the nearest gate from its kink": [0.0, *[1e-5] * 49],
        "bound on the error without allowances": [1.0] * 50,
        "error of the path": [0.5] * 50,
        "first step of each stretch": {"plateau": 0, "escape": 20, "late": 40},
    }
    return [record("exponential/risk_is_nowhere_convex_while_it_is_learned", facts)]


def test_the_deviation_has_four_panels(tmp_path):
    figure = deviation_figure(deviation_records(), title="SGD")
    assert figure is not None and len(figure.axes) == 4
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    save_figure(figure, tmp_path, "deviation")


def test_the_phases_are_named(tmp_path):
    figure = phase_figure(phase_records(), title="x")
    assert figure is not None and {"plateau", "escape", "late"} <= set(texts(figure))
    save_figure(figure, tmp_path, "phases")


def named(figure):
    """What legends and vertical axes say."""
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    return {text.get_text() for legend in legends for text in legend.get_texts()} | {
        axes.get_ylabel() for axes in figure.axes
    }


def threshold_records(few):
    """Facts as the three claims give them; `few`: the ratio of half-times with two demonstrations, by penalty."""
    diagram = {
        "m": [2, 4, 8],
        "K1": [1, 2, 4],
        "share": [[0.2, 0.2, 0.0], [0.6, 0.5, 0.0], [0.9, 0.9, 0.1]],
        "critical K1": [3.9, 2.8, 2.0],
        "law of the width": [0.25, 0.5625, 0.87890625],
        "lam": 1e-3,
    }
    curve = {"lam": [1e-3, 2e-3, 4e-3], "share": [1.0, 0.5, 0.0], "critical": 2e-3, "law of the width": 1.0}
    places = {"sigma_0": [1e-3, 1e-2, 1e-1], "lam over lam_c": [0.1, 0.4, 0.8]}
    ratio = {"L = 2": [few] * 3, "L = 4": [[3.0, 2.0, 1.1]] * 3}
    return [
        record("dynamics/share_of_concepts_learned_follows_from_the_width", {"diagram": diagram}),
        record(
            "dynamics/critical_penalty_is_that_of_an_unstable_plateau",
            {"sweep": {"K1": 2, "curves": {"4": curve, "16": curve}}},
        ),
        record("dynamics/attention_is_half_way_before_the_mlp", {"map": places | {"m": 16, "ratio": ratio}}),
    ]


def test_thresholds_have_their_boundaries_drawn_in(tmp_path):
    figure = threshold_figure(threshold_records([2.0, 1.2, 0.9]), title="x")
    assert figure is not None
    assert {"m = 4", "m = 16", "ratio 1 at L = 2", "ratio, L = 4", "width law: 0.5"} <= named(figure)
    save_figure(figure, tmp_path, "thresholds")
    # Without a change of order there is no line to draw.
    figure = threshold_figure(threshold_records([2.0, 1.5, 1.2]), title="x")
    assert figure is not None and "ratio 1 at L = 2" not in named(figure)
