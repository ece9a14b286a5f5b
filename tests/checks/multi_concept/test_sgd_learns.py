"""The claim that SGD of the full model learns every concept: within its hypotheses, at its edges, and against wrong measurements."""

import math

import numpy as np
import pytest
from one_part import judged

from polyseme.checks.core.evaluation import evaluate_claim
from polyseme.checks.multi_concept.claims.dynamics.sgd_learns import SGD_LEARNS, time_of
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.errors import Diverged
from polyseme.theory.multi_concept.regime import Regime

ONE = Regime().replace(
    concepts={"K1": 1, "K2": 1, "d_x": 6, "d_y": 4},
    prompt={"L": 3},
    model={"m": 48},
    training={"batch": 32, "schedule": "constant", "eta": 12.0, "steps": 180, "lam": 1e-4},
)
TWO = {"K1": 2, "K2": 1, "d_x": 8, "d_y": 6}
EDGES = frozenset(
    {"wide", "light_penalty", "low_noise", "few_extras", "even_concepts", "ordinary_start", "long_enough"}
)


def tried(of: Regime, drop: frozenset[str] = frozenset()) -> dict:
    return evaluate_claim(SGD_LEARNS, TrainingContext(of), replay="", drop=drop)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prompt": {"sigma_x": 0.1, "sigma_y": 0.1}},
        {
            "concepts": TWO,
            "prompt": {"L": 2, "p_extra": 0.03},
            "training": {"steps": 240},
            "ensemble": {"seeds": 3, "dtype": "float32"},
        },
        {"training": {"schedule": "inverse", "lam": 3e-4, "gamma": 600.0, "steps": 250}},
    ],
)
def test_every_concept_is_learned_and_under_a_heavy_penalty_none(changes):
    record = tried(ONE.replace(**changes))
    facts = record["parts"][0]["evidence"]["facts"]
    assert (record["verdict"], record["sentence"]) == ("supported", record["sentence"])
    assert record["parts"][0]["controls"][0]["verdict"] == "refuted"
    assert facts["share_learned"] == facts["all_learned"] == 1 and facts["error_on_pure_prompts"] == 0
    assert facts["attention"] > 0.9 and facts["smallest_margin"] > 0


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"training": {"batch": "population"}}, "minibatches"),
        ({"prompt": {"law": "iid"}}, "matched"),
        ({"prompt": {"p_plus": 0.3}}, "fair"),
        ({"training": {"loss": "squared"}}, "logistic_relu"),
        ({"model": {"sigma_0": 0.01}}, "ordinary_start"),
        ({"model": {"m": 40}, "training": {"eta": 10.0}}, "wide"),
        ({"training": {"lam": 1e-3}}, "light_penalty"),
        ({"prompt": {"sigma_y": 0.3}}, "low_noise"),
        ({"concepts": TWO, "prompt": {"p_extra": 0.1}, "training": {"steps": 500}}, "few_extras"),
        ({"training": {"steps": 179}}, "long_enough"),
        ({"training": {"eta": 12.1}}, "long_enough"),
        ({"training": {"batch": 31}}, "long_enough"),
        ({"training": {"batch": 7, "eta": 1.0, "steps": 3000}}, "long_enough"),
    ],
)
def test_each_hypothesis_is_asked_for(changes, key):
    record = tried(ONE.replace(**changes))
    assert record["verdict"] == "not_applicable"
    assert [x["key"] for x in record["hypotheses"] if not x["holds"]] == [key]


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"model": {"m": 1}}, "refuted"),
        ({"model": {"m": 2, "sigma_0": 2.0, "sigma_1": 2.0}, "training": {"eta": 0.5}}, "refuted"),
        ({"training": {"lam": 10 / 48, "eta": 2.0}}, "refuted"),
        ({"training": {"lam": 10 / 48}}, "refuted"),
        (
            {"concepts": TWO, "prompt": {"p_extra": 0.9, "sigma_x": 2.0, "sigma_y": 2.0}, "training": {"steps": 100}},
            None,
        ),
        ({"training": {"steps": 0}}, "refuted"),
    ],
)
def test_across_its_edges_there_is_a_verdict_and_the_control_is_refuted(changes, verdict):
    record = tried(ONE.replace(**changes), EDGES)
    assert record["verdict"] in ({verdict} if verdict else {"supported", "refuted"}), record["sentence"]
    assert record["parts"][0]["controls"][0]["verdict"] == "refuted"


def test_a_run_that_diverges_has_learned_nothing():
    wild = ONE.replace(training={"lam": 10 / 48, "eta": 500.0, "steps": 160})
    start = TrainingContext(wild).draw(wild)
    with pytest.raises(Diverged, match="type a smaller value of eta"):
        TrainingContext(wild).train(wild.replace(training={"record_every": 160}), start)
    record = tried(wild, EDGES)
    facts = record["parts"][0]["evidence"]["facts"]
    assert record["verdict"] == "refuted" and "diverged" in record["sentence"]
    assert facts["share_learned"] == facts["all_learned"] == 0 and math.isnan(facts["attention"])


def test_the_time_of_a_run_is_the_sum_of_its_steps():
    assert time_of(ONE) == pytest.approx(180 * 12)
    inverse = ONE.replace(training={"schedule": "inverse", "gamma": 600.0, "steps": 250})
    steps = 2 / (inverse.training.lam * (600 + np.arange(250)))
    assert time_of(inverse) == pytest.approx(steps.sum(), rel=1e-3)


def test_a_concept_that_never_occurs_is_not_asked_for():
    at = ONE.replace(concepts=TWO | {"weights": [1.0, 0.0]})
    record = tried(at, frozenset({"even_concepts"}))
    assert record["verdict"] == "supported", record["sentence"]
    assert record["parts"][0]["evidence"]["facts"]["share_learned"] == 1


@pytest.mark.parametrize("wrong", ["r", "Q", "W_K"])
def test_a_model_that_is_read_wrongly_is_refuted(wrong, monkeypatch):
    """Readings under which a learned model is no learned model: signs of the second layer, or the two labels or words exchanged."""
    counted = TrainingContext.counted_outcomes

    def misread(self, law, weights, M, Q):
        if wrong == "r":
            weights = weights | {"r": -weights["r"]}
        exchanged = np.arange(2 * law.concepts.K1) ^ 1
        if wrong == "Q":
            Q = Q[:, exchanged]
        if wrong == "W_K":
            weights = weights | {"W_K": -weights["W_K"]}
        return counted(self, law, weights, M, Q)

    monkeypatch.setattr(TrainingContext, "counted_outcomes", misread)
    asserted = SGD_LEARNS.part().asserts()
    assert judged(SGD_LEARNS, TrainingContext(ONE), asserted, level=1e-6).verdict == "refuted"
