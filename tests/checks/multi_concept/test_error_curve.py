"""Claims about the error curve, tried on a regime that is quick, with smaller ensembles and a larger share of the budget."""

import numpy as np
import pytest

from polyseme.checks.core.evaluation import evaluate_claim
from polyseme.checks.multi_concept.claims.exponential import (
    error_curve,
    escape,
    extinction,
    full_and_reduced,
    rare,
    rate_of_error,
)
from polyseme.checks.multi_concept.claims.exponential.error_curve import Design
from polyseme.checks.multi_concept.claims.exponential.extinction import FOR_EVER
from polyseme.checks.multi_concept.claims.exponential.rare import Effort
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.theory.multi_concept.regime import Regime

QUICK = Regime().replace(
    concepts={"K1": 1, "K2": 0, "d_x": 4, "d_y": 4},
    prompt={"L": 4},
    model={"m": 8},
    training={"steps": 480, "batch": 4, "lam": 4e-4, "gamma": 4000.0},
)
CLAIMS = (
    *rate_of_error.CLAIMS,
    *error_curve.CLAIMS,
    *full_and_reduced.CLAIMS,
    *escape.CLAIMS,
    *rare.CLAIMS,
    FOR_EVER,
)
# A share of the budget at which these ensembles decide; what is asked for is the mechanics, not the error rates.
LEVEL = 0.01


@pytest.fixture(scope="module")
def context():
    patch = pytest.MonkeyPatch()
    patch.setitem(error_curve.DESIGNS, "small", Design(seeds=2**13, pilot=2**11, full_members=256, stretches=2))
    patch.setitem(rare.EFFORTS, "small", Effort(populations=16, particles=64, counted=(2,), decades=(4,)))
    yield TrainingContext(QUICK, level=LEVEL)
    patch.undo()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_is_supported_and_its_control_refuted(claim, context):
    record = evaluate_claim(claim, context, replay="")
    assert (record["verdict"], record["sentence"]) == ("supported", record["sentence"])
    assert record["parts"][0]["controls"][0]["verdict"] == "refuted"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"prompt": {"p_extra": 0.1}}, "pure prompts"),
        ({"prompt": {"law": "iid"}}, "shares the query's sign"),
        ({"training": {"batch": "population"}}, "batch is a number"),
        ({"training": {"steps": 100}}, "steps >= 480"),
        ({"model": {"activation": "identity"}}, "activation relu"),
        ({"training": {"lam": 0.05, "gamma": 100.0}}, "population descent learns"),
    ],
)
def test_outside_the_hypotheses_nothing_is_said(changes, named):
    record = evaluate_claim(rate_of_error.AT_LEAST, TrainingContext(QUICK.replace(**changes), level=LEVEL), replay="")
    assert record["verdict"] == "not_applicable" and named in record["sentence"]


def test_the_floor_needs_extinction():
    wide = TrainingContext(QUICK.replace(model={"m": 32}, training={"lam": 1e-4}), level=LEVEL)
    record = evaluate_claim(error_curve.FLOOR_CLAIM, wide, replay="")
    assert record["verdict"] == "not_applicable" and "needs a floor" in record["sentence"]


def test_the_widths_and_batches_of_the_floor_are_those_asked_for():
    assert (extinction.WIDTHS, extinction.BATCHES) == ((8, 16, 32), (2, 8, 32))


@pytest.mark.parametrize("steps", [(60, 200), (150, 190)])
def test_an_escape_that_noise_does_not_spread_is_not_predicted(steps, context, monkeypatch):
    of, end = error_curve.pilot(context), escape.plateau_end(context)
    assert steps[0] <= end or steps[1] - steps[0] < escape.SPREAD * end
    edges = np.array([int(np.argmin(np.abs(of.steps - t))) for t in steps])
    monkeypatch.setattr(escape, "window", lambda _context: edges)
    record = evaluate_claim(escape.ESCAPE, context, replay="")
    assert record["verdict"] == "not_applicable" and "beyond the plateau" in record["sentence"]


@pytest.mark.parametrize("claim", rate_of_error.CLAIMS, ids=lambda claim: claim.id)
def test_an_error_that_falls_as_steeply_as_the_control_says_is_not_judged(claim, context):
    # Small steps, and little noise: a single concept escapes within ninety steps of step 430, and rates more than double.
    slow = {"model": {"m": 16}, "training": {"steps": 560, "batch": 8, "lam": 2e-4, "gamma": 16000.0}}
    record = evaluate_claim(claim, TrainingContext(context.regime.replace(**slow), level=LEVEL), replay="")
    assert record["verdict"] == "not_applicable" and "more slowly than exp(-c t^6)" in record["sentence"]
