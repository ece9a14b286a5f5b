"""The figures of the error curve and of SGD's noise, drawn from the facts of records alone."""

import json

import numpy as np
import pytest

from polyseme.checks.core.evaluation import as_plain
from polyseme.checks.core.figures.style import save_figure
from polyseme.checks.multi_concept.claims.dynamics.critical_penalty import PENALTY, PenaltyFacts
from polyseme.checks.multi_concept.claims.dynamics.half_times import HALF_TIMES, HalfTimeFacts, HalfTimeMap, RatioMap
from polyseme.checks.multi_concept.claims.dynamics.width import SHARE, ShareFacts
from polyseme.checks.multi_concept.claims.exponential.error_curve import CurveTable
from polyseme.checks.multi_concept.claims.exponential.escape import ESCAPE, EscapeFacts
from polyseme.checks.multi_concept.claims.exponential.full_and_reduced import EQUAL, FullCurve, FullFacts
from polyseme.checks.multi_concept.claims.exponential.pinelis import CURVATURE, CurvatureFacts, Stretch
from polyseme.checks.multi_concept.claims.exponential.rare import FAR, AccuracyLaw, TailFacts, TailRow
from polyseme.checks.multi_concept.claims.exponential.rate_of_error import AT_LEAST, RateFacts, RateRow, RatesTable
from polyseme.checks.multi_concept.claims.fluctuation.covariance import STABLE, StableFacts, Variances
from polyseme.checks.multi_concept.claims.fluctuation.deviation import (
    SCALING,
    ByBatchFacts,
    ByStepFacts,
    Scaling,
)
from polyseme.checks.multi_concept.claims.fluctuation.kinks import MOVING, DistanceRow, MovingFacts
from polyseme.checks.multi_concept.figures.error_curve import error_curve_figure
from polyseme.checks.multi_concept.figures.fluctuation import deviation_figure, phase_figure
from polyseme.checks.multi_concept.figures.thresholds import threshold_figure
from polyseme.checks.multi_concept.phase_diagrams import Diagram, PenaltyCurve, PenaltySweep
from polyseme.files import as_json

STEPS = list(range(0, 801, 10))


def record(claim, facts=None, *, of_parts=None):
    """A record as results.json has it, of one part or of several with their names."""
    parts = of_parts or {"": facts}
    evidence = {name: {"rows": [], "facts": json.loads(as_json(as_plain(x)))} for name, x in parts.items()}
    return {"id": claim.id, "parts": [{"name": name, "evidence": found} for name, found in evidence.items()]}


def curve_records(*, floor=0.01, tail=True):
    survivors = [0.5 if t < 200 else 0.5 * float(np.exp(-0.02 * (t - 200))) for t in STEPS]
    survivors = [x if x > 1e-5 else 0.0 for x in survivors]  # a count of zero, at the end
    error = [x + floor for x in survivors]
    curve = CurveTable(
        step=STEPS,
        error=error,
        error_of_survivors=survivors,
        low=[0.8 * x if x > 1e-4 else 0.0 for x in error],
        high=[1.2 * x + 1e-5 for x in error],
        floor=floor,
        extinct_seeds=80,
        probability_of_extinction=[0.01, 0.03],
        seeds=4096,
    )
    stretches = [
        RateRow(begin=240, end=320, rate=0.02, low=0.018, high=0.022, relative_half_width=0.1),
        RateRow(begin=320, end=400, rate=0.021, low=0.019, high=0.023, relative_half_width=0.1),
    ]
    rates = RatesTable(stretches=stretches, single_rate=0.02, lack_of_fit=1.0, p_of_lack_of_fit=0.5)
    common = {"seeds": 4096, "pilot": 512, "member": 0, "seed": 0, "window": [240, 320, 400]}
    found = [record(AT_LEAST, RateFacts(**common, curve=curve, rates=rates))]
    if tail:
        full = FullCurve(step=STEPS, error=[0.5] * len(STEPS))
        found.append(record(EQUAL, FullFacts(**common, full_members=64, margin_over_error=[0.1], full_model=full)))
        row = TailRow(aimed_at=1e-7, step=1000, error=1e-7, standard_error=5e-8, relative=0.5)
        law = AccuracyLaw(
            eps_and_steps=[(0.1, 300)], steps_per_decade=100.0, steps_at_eps_1=200.0, largest_residual=0.0
        )
        found.append(record(FAR, TailFacts(**common, tail=[row], time_to_accuracy=law)))
        escape = {
            "steps": [240, 320, 400],
            "error_predicted": [0.23, 0.045, 0.009],
            "error_measured": [0.2, 0.04, 0.01],
        }
        found.append(record(ESCAPE, EscapeFacts(**common, predicted_at_step=200, seeds_predicted=64, **escape)))
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
    assert ("splitting" in labels) == ("predicted (escape)" in labels) == ("full model" in labels) == tail
    assert left.get_yscale() == "log" and right.get_ylim()[0] == 0
    assert left.get_xlim()[1] > (1000 if tail else 799)
    for line in left.lines:
        assert (np.asarray(line.get_ydata(), float) > 0).all(), "a zero count has no mark"
    assert any("4,096 seeds" in text for text in texts(figure))
    svg, pdf = save_figure(figure, tmp_path, "error_curve")
    assert svg.stat().st_size > 1000 and pdf.stat().st_size > 1000


def test_without_its_claims_there_is_no_figure():
    others = [{"id": "algebra/x", "parts": []}, {"id": CURVATURE.id, "parts": [{"name": "", "evidence": {}}]}]
    assert error_curve_figure(others, title="") is None
    assert deviation_figure(others, title="") is None
    assert phase_figure(others, title="") is None
    assert threshold_figure(others, title="") is None


def deviation_records():
    scaling = Scaling(
        places=[8.0, 64.0], mean_squares=[0.1, 0.01], standard_errors=[1e-3, 1e-4], linear_noise=[0.1, 0.01], seeds=256
    )
    common = {"steps": 100, "lift": 4.0, "nearest_gate": 5.0, "nearest_gate_batch": 64, "seed": 0}
    by_step = ByStepFacts(lift=4.0, B=1024, steps=[6, 12], flow_time=1.0, seed=0, scaling=scaling)
    variances = [
        Variances(group=name, step=[10, 20], measured=[1.0, 1.1], standard_error=[0.01, 0.01], predicted=[1.0, 1.0])
        for name in ("attention", "margin", "W_Q", "W_K", "alpha", "beta")
    ]
    distances = [
        DistanceRow(batch=batch, root_mean_square=[1.0, 2.0], median=[1.0, 2.0], linear_noise=[1.0, 1.0])
        for batch in (8, 64)
    ]
    moving = MovingFacts(
        B=4096, steps=[1, 2], mean_squares=variances, distances=distances, seeds_of_distances=256, seed=0
    )
    return [
        record(
            SCALING,
            of_parts={"in the batch size": ByBatchFacts(**common, scaling=scaling), "in the step size": by_step},
        ),
        record(STABLE, StableFacts(**common, B=4096, variances=variances)),
        record(MOVING, of_parts={"averaged gates": moving}),
    ]


def phase_records():
    t = list(range(50))
    each = {name: [1.0] * 50 for name in ("maximum_curvature", "rho", "b", "W", "bound_on_error")}
    facts = CurvatureFacts(
        t=t,
        minimum_curvature=[-0.01 + 1e-4 * j for j in t],
        nearest_kink=[0.0, *[1e-5] * 49],
        error_of_path=[0.5] * 50,
        stretches=[
            Stretch(name="plateau", first_step=0),
            Stretch(name="escape", first_step=20),
            Stretch(name="late", first_step=40),
        ],
        penalty=1e-3,
        seeds_that_did_not_contract={},
        updates_that_did_not_contract={},
        **each,
    )
    return [record(CURVATURE, facts)]


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
    diagram = Diagram(
        m=[2, 4, 8],
        K1=[1, 2, 4],
        share=[[0.2, 0.2, 0.0], [0.6, 0.5, 0.0], [0.9, 0.9, 0.1]],
        starts=[64, 64, 32],
        critical_K1=[3.9, 2.8, 2.0],
        law_of_the_width=[0.25, 0.5625, 0.87890625],
        lam=1e-3,
        fixed={},
    )
    curves = [
        PenaltyCurve(m=m, lam=[1e-3, 2e-3, 4e-3], share=[1.0, 0.5, 0.0], starts=16, critical=2e-3, law_of_the_width=1.0)
        for m in (4, 16)
    ]
    ratios = [RatioMap(L=4, ratio=[[3.0, 2.0, 1.1]] * 3), RatioMap(L=2, ratio=[few] * 3)]
    times = HalfTimeMap(sigma_0=[1e-3, 1e-2, 1e-1], lam_over_lam_c=[0.1, 0.4, 0.8], m=16, ratios=ratios)
    return [
        record(SHARE, ShareFacts(law={}, shares=[], diagram=diagram)),
        record(PENALTY, PenaltyFacts(sizes=[], steps=1, sweep=PenaltySweep(K1=2, curves=curves, fixed={}))),
        record(HALF_TIMES, HalfTimeFacts(ratios=[], signal_at_onset=[], law={}, steps=1, map=times)),
    ]


def test_thresholds_have_their_boundaries_drawn_in(tmp_path):
    figure = threshold_figure(threshold_records([2.0, 1.2, 0.9]), title="x")
    assert figure is not None
    assert {"m = 4", "m = 16", "ratio 1 at L = 2", "ratio, L = 4", "width law: 0.5"} <= named(figure)
    save_figure(figure, tmp_path, "thresholds")
    # Without a change of order there is no line to draw.
    figure = threshold_figure(threshold_records([2.0, 1.5, 1.2]), title="x")
    assert figure is not None and "ratio 1 at L = 2" not in named(figure)
