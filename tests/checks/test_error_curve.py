"""Claims about the error curve, tried on a regime that is quick, with smaller ensembles and a larger share of the budget."""

import numpy as np
import pytest

from checks.claims import error_curve, escape, extinction, full_and_reduced, rare, rate_of_error
from checks.claims.error_curve import Design
from checks.claims.extinction import FOR_EVER
from checks.claims.rare import Effort
from checks.court import try_claim
from checks.laboratory import Laboratory
from theory.setting import Regime

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
def laboratory():
    patch = pytest.MonkeyPatch()
    patch.setitem(error_curve.DESIGNS, "small", Design(seeds=2**13, pilot=2**11, full_members=256, stretches=2))
    patch.setitem(rare.EFFORTS, "small", Effort(populations=16, particles=64, counted=(2,), decades=(4,)))
    yield Laboratory(QUICK, level=LEVEL)
    patch.undo()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_is_supported_and_its_twin_refuted(claim, laboratory):
    record = try_claim(claim, laboratory, replay="")
    assert (record["verdict"], record["sentence"]) == ("supported", record["sentence"])
    assert record["control"]["verdict"] == "refuted"


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
    record = try_claim(rate_of_error.AT_LEAST, Laboratory(QUICK.replace(**changes), level=LEVEL), replay="")
    assert record["verdict"] == "not_applicable" and named in record["sentence"]


def test_the_floor_needs_extinction():
    wide = Laboratory(QUICK.replace(model={"m": 32}, training={"lam": 1e-4}), level=LEVEL)
    record = try_claim(error_curve.FLOOR_CLAIM, wide, replay="")
    assert record["verdict"] == "not_applicable" and "needs a floor" in record["sentence"]


def test_the_widths_and_batches_of_the_floor_are_those_asked_for():
    assert (extinction.WIDTHS, extinction.BATCHES) == ((8, 16, 32), (2, 8, 32))


@pytest.mark.parametrize("steps", [(60, 200), (150, 190)])
def test_an_escape_that_noise_does_not_spread_is_not_foreseen(steps, laboratory, monkeypatch):
    of, end = error_curve.pilot(laboratory), escape.plateau_end(laboratory)
    assert steps[0] <= end or steps[1] - steps[0] < escape.SPREAD * end
    edges = np.array([int(np.argmin(np.abs(of.steps - t))) for t in steps])
    monkeypatch.setattr(escape, "window", lambda _laboratory: edges)
    record = try_claim(escape.ESCAPE, laboratory, replay="")
    assert record["verdict"] == "not_applicable" and "beyond the plateau" in record["sentence"]


@pytest.mark.parametrize("claim", rate_of_error.CLAIMS, ids=lambda claim: claim.id)
def test_an_error_that_falls_as_steeply_as_the_twin_says_is_not_judged(claim, laboratory):
    # Small steps, and little noise: a single concept escapes within ninety steps of step 430, and rates more than double.
    slow = {"model": {"m": 16}, "training": {"steps": 560, "batch": 8, "lam": 2e-4, "gamma": 16000.0}}
    record = try_claim(claim, Laboratory(laboratory.regime.replace(**slow), level=LEVEL), replay="")
    assert record["verdict"] == "not_applicable" and "more slowly than exp(-c t^6)" in record["sentence"]
