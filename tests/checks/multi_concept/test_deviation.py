"""The claims about the deviation of SGD from the recursion: helpers, edges, and what a small run shows."""

import json

import numpy as np
import pytest

from polyseme.checks.core.evaluation import evaluate_claim
from polyseme.checks.multi_concept.claims.fluctuation import covariance, deviation, kinks
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.theory.multi_concept.regime import Regime

LEARNS = Regime().replace(
    concepts={"K1": 1, "K2": 0, "d_x": 2, "d_y": 2},
    prompt={"L": 3},
    model={"m": 8},
    training={"steps": 500, "batch": 8, "lam": 4e-4, "gamma": 4000.0},
)
EVERY = (*deviation.CLAIMS, *covariance.CLAIMS, *kinks.CLAIMS)


@pytest.fixture(scope="module")
def context() -> TrainingContext:
    return TrainingContext(LEARNS)


@pytest.mark.parametrize("claim", EVERY, ids=lambda claim: claim.id)
@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"prompt": {"p_extra": 0.1}}, "pure"),
        ({"training": {"steps": 400}}, "long_run"),
        ({"model": {"activation": "identity"}}, "relu"),
        ({"model": {"m": 400}}, "small_state"),
        ({"training": {"batch": "population"}}, "minibatches"),
    ],
)
def test_outside_its_hypotheses_it_says_nothing(claim, changes, key):
    record = evaluate_claim(claim, TrainingContext(LEARNS.replace(**changes)), replay="")
    assert record["verdict"] == "not_applicable"
    assert [x["key"] for x in record["hypotheses"] if not x["holds"]] == [key]


def test_lifted_neurons_are_open_or_shut_on_all_prompts_of_a_concept(context):
    start = deviation.lifted(context).alone(LEARNS)
    assert (np.abs(start.state["alpha"]) >= deviation.LIFT).all()
    path = deviation.stretch(context)
    assert [moment.t for moment in path] == list(range(len(path)))
    assert not any(moment.moved for moment in path)
    assert min(moment.clearance for moment in path) * np.sqrt(deviation.FEWEST_PROMPTS) >= deviation.Z
    assert deviation._is_learned(path[-1]) and not deviation._is_learned(path[-2])


def test_gates_that_move_are_no_stretch():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deviation, "LIFT", 0.0)
        record = evaluate_claim(deviation.SCALING, TrainingContext(LEARNS), replay="")
    assert record["verdict"] == "not_applicable" and "away from their kinks" in record["sentence"]


def test_other_numbers_are_other_seeds(context):
    start = deviation.lifted(context)
    one, same, other = (start.seeds(LEARNS, (2, 4), members=5, number=(99, j)) for j in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert one.shape == (2, 8 + 2 * LEARNS.model.m, 5)
    assert np.abs(one[1] - other[1]).max() > 1e-3


def test_the_spread_of_a_gaussian_square():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(4, 3))
    squares = deviation.squares_of(factor @ rng.normal(size=(3, 200_000)))
    assert deviation.spread_of(factor @ factor.T) == pytest.approx(squares.std() / squares.mean(), rel=0.02)


@pytest.mark.parametrize("claim", deviation.CLAIMS, ids=lambda claim: claim.id)
def test_a_short_run_recovers_the_exponents(claim, context):
    record = evaluate_claim(claim, context, replay="")
    assert (record["verdict"], record["sentence"]) == ("supported", record["sentence"])
    for part in record["parts"]:
        assert part["controls"][0]["verdict"] == "refuted"
        assert part["statistics"]["power"] >= 0.98
        json.dumps(part["evidence"]["facts"])
