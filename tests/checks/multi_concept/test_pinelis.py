"""The claims of the exponential bound in a regime of one concept, and the seeds that they are judged by."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from polyseme.checks.core.budget import even_share, family_size
from polyseme.checks.core.evaluation import evaluate_claim
from polyseme.checks.core.records import controls_of
from polyseme.checks.multi_concept.claims import CLAIMS as ALL
from polyseme.checks.multi_concept.claims.exponential.pinelis import CLAIMS
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.stochastic.deviations import (
    ROUND_OFF,
    Allowance,
    allowance,
    fork,
    inside,
    nearest,
    run_all,
)
from polyseme.checks.multi_concept.stochastic.ensembles import Stream
from polyseme.theory.multi_concept.coefficients import project
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.regime import Regime

ONE_CONCEPT = Regime().replace(
    concepts={"K1": 1, "K2": 0, "d_x": 4, "d_y": 4, "kappa_x": 0.2, "kappa_y": 0.3},
    prompt={"L": 3},
    model={"m": 16, "sigma_0": 0.1, "sigma_1": 0.1},
    training={"batch": 4, "lam": 2e-4, "gamma": 2000.0, "steps": 480},
    ensemble={"seed": 3},
)


@cache
def context() -> TrainingContext:
    return TrainingContext(ONE_CONCEPT, level=even_share(family_size(ALL)))


@cache
def start(steps: int = 12):
    state = context().start_of(0)
    return fork("start", Ensemble(context().one, state["r"], project(state, 1), members=1), steps)


@cache
def seeds(batch: int = 4, stream: Stream = Stream.DEVIATION):
    return run_all([(start(), batch)], seeds=40, stream=stream)[0]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_is_supported_and_its_control_refuted(claim):
    record = evaluate_claim(claim, context(), replay="")
    assert (record["verdict"], record["sentence"]) == ("supported", record["sentence"])
    assert {x["verdict"] for x in controls_of(record)} == {"refuted"}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_short_run_is_outside_the_hypotheses(claim):
    short = TrainingContext(ONE_CONCEPT.replace(training={"steps": 100}))
    assert evaluate_claim(claim, short, replay="")["verdict"] == "not_applicable"


def test_seeds_leave_the_path_by_noise_alone():
    of, path = seeds(), start().path
    assert (of.length[0] == 0).all() and (of.length[1] > 0).all()
    assert (of.length[1] <= path.eta[0] * path.noise[0]).all(), "a mean of deviations is no longer than the longest"
    np.testing.assert_allclose(of.noise[0], 1.0)
    np.testing.assert_allclose(of.error[0], path.errors[0])
    assert (of.excess <= of.error + 1e-15).all() and (of.excess[0] == 0).all()


def test_large_batches_stay_near_the_path():
    lengths = [np.sqrt((seeds(batch).length[1] ** 2).mean()) for batch in (4, 400)]
    assert lengths[0] / lengths[1] == pytest.approx(10, rel=0.3)


def test_streams_and_batches_differ_and_repeat():
    again = run_all([(start(), 4)], seeds=40, stream=Stream.DEVIATION)[0]
    np.testing.assert_array_equal(again.length, seeds().length)
    assert (seeds(stream=Stream.TAIL).length[1] != seeds().length[1]).any()


def test_a_pilot_is_inside_of_its_own_allowance():
    path, of = start().path, seeds()
    may = allowance(path, of)
    assert inside(path, of, may).all()
    assert may.jump >= 0 and may.looseness > 1


def test_a_seed_is_out_from_its_first_exit_on():
    path, of = start().path, seeds()
    may = allowance(path, of)
    bracket, noise = of.bracket.copy(), of.noise.copy()
    bracket[3, 5] = path.rho[3] * of.length[3, 5] + may.jump + 1e-9
    noise[7, 6] = may.looseness * 1.001
    bracket[0, 7] = 10 * ROUND_OFF
    kept = inside(path, dataclasses.replace(of, bracket=bracket, noise=noise), may)
    out = [int((~kept[:, j]).argmax()) for j in (5, 6, 7)]
    assert out == [4, 8, 1], "the state after the update"
    assert (~kept).sum() == sum(13 - first for first in out)


def test_no_jump_is_declared_for_the_first_update():
    width = start().path.width(batch=4.0, jump=0.5)
    assert width.m[1] == 0 and width.m[2] == 0.5
    assert inside(start().path, seeds(), Allowance(jump=1.0, looseness=9.0)).all()


def test_the_nearest_prompt_is_possible_and_right_on_the_path():
    path, law = start().path, start().one.law
    which, D = nearest(path, law)
    for t in range(len(D)):
        if D[t] > 0:
            assert law.ravel()[which[t]] > 0
            assert path.distances[t].ravel()[which[t]] == D[t]
            others = path.distances[t][(law > 0) & (path.distances[t] >= 1e-3)]
            assert D[t] == others.min()
