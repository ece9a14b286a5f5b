"""The claims of the family dynamics in regimes within their hypotheses, and at their edges."""

import pytest

from polyseme.checks.core.evaluation import evaluate_claim
from polyseme.checks.multi_concept.claims.dynamics import dynamics
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.theory.multi_concept.regime import Regime

SMALL = {"K1": 1, "K2": 0, "d_x": 2, "d_y": 2}
WIDE = Regime().replace(model={"m": 48}, training={"lam": 1e-4})
LINEAR = Regime().replace(
    concepts=SMALL, prompt={"L": 2}, model={"m": 4, "activation": "identity"}, training={"lam": 5e-3}
)


def tried(claim, regime: Regime) -> dict:
    return evaluate_claim(claim, TrainingContext(regime), replay="")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"concepts": {"K1": 3, "K2": 0, "d_x": 6, "d_y": 6, "kappa_x": 0.8}, "model": {"m": 64}},
        {"concepts": SMALL, "prompt": {"L": 2}, "ensemble": {"seed": 7}},
        {"training": {"lam": 0.0, "schedule": "constant"}},
    ],
)
def test_every_concept_is_learned_where_the_hypotheses_hold(changes):
    record = tried(dynamics.LEARNED, WIDE.replace(**changes))
    assert (record["verdict"], record["sentence"]) == ("supported", record["sentence"])
    assert record["parts"][0]["controls"][0]["verdict"] == "refuted"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"model": {"m": 16}}, "wide"),
        ({"training": {"lam": 1e-3}}, "light_penalty"),
        ({"prompt": {"law": "iid"}}, "matched"),
        ({"prompt": {"p_plus": 0.3}}, "fair"),
        ({"prompt": {"L": 1}}, "several_demonstrations"),
        ({"prompt": {"p_extra": 0.1}}, "pure"),
        ({"training": {"loss": "squared"}}, "logistic_relu"),
        ({"concepts": {"weights": [0.9, 0.1]}}, "even_concepts"),
        ({"model": {"sigma_0": 0.0}}, "ordinary_start"),
    ],
)
def test_each_hypothesis_is_asked_for(changes, key):
    record = tried(dynamics.LEARNED, WIDE.replace(**changes))
    assert record["verdict"] == "not_applicable"
    assert [x["key"] for x in record["hypotheses"] if not x["holds"]] == [key]


def test_the_width_hypothesis_is_the_chance_of_a_label_without_open_neurons():
    # 4 K1 pairs of a label and a sign of r, each with m / 2 neurons that are open with probability 1/2.
    assert dynamics._lacking(Regime().replace(model={"m": 20})) == 8 / 1024
    assert dynamics.WIDE.holds(Regime().replace(model={"m": 48}))
    assert not dynamics.WIDE.holds(Regime().replace(model={"m": 44}))


@pytest.mark.usefixtures("unchecked_types")
def test_linear_neurons_end_smoothly_and_gated_ones_do_not():
    record = tried(dynamics.END, LINEAR)
    assert record["verdict"] == "supported" and record["parts"][0]["controls"][0]["verdict"] == "refuted", record[
        "sentence"
    ]
    gated = LINEAR.replace(model={"activation": "relu", "sigma_0": 0.3, "sigma_1": 0.3})
    assert tried(dynamics.END, gated)["verdict"] == "not_applicable"
    dropped = evaluate_claim(dynamics.END, TrainingContext(gated), replay="", drop={"no_gates"})
    assert dropped["verdict"] == "refuted"
    assert [x["holds"] for x in dropped["hypotheses"]] == [True, True, True, None]


def test_a_flow_that_is_not_at_rest_is_no_evidence():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamics, "REST", 0.5)
        record = tried(dynamics.END, LINEAR)
    assert record["verdict"] == "missing" and "come to rest" in record["sentence"]
