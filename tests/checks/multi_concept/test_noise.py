"""Claims about noise and extras where their hypotheses decide; test_claims.py tries those about any regime."""

import pytest

from polyseme.checks.core.budget import even_share, family_size
from polyseme.checks.core.evaluation import evaluate_claim
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.theory.multi_concept.regime import Regime

(SGD,) = (claim for claim in CLAIMS if claim.id == "fluctuation/noisy_sgd_follows_level_n")
SMALL = Regime().replace(
    concepts={"K1": 2, "K2": 1, "d_x": 8, "d_y": 8},
    prompt={"L": 4, "sigma_x": 0.05, "sigma_y": 0.05, "p_extra": 0.02},
    model={"m": 32},
    training={"steps": 600, "batch": 64, "gamma": 800.0, "lam": 2e-4},
)


def judged(regime):
    return evaluate_claim(SGD, TrainingContext(regime, level=even_share(family_size(CLAIMS))), replay="")


@pytest.mark.usefixtures("unchecked_types")
def test_sgd_follows_level_n():
    record = judged(SMALL)
    assert record["verdict"] == "supported", record["sentence"]
    assert (
        record["parts"][0]["controls"][0]["verdict"] == "refuted"
        and record["parts"][0]["controls"][0]["measured"] > 0.1
    )
    names = [row["name"] for row in record["parts"][0]["evidence"]["rows"]]
    assert names == [f"{name} after 600 steps" for name in ("margin", "loss", "attention")]


@pytest.mark.parametrize(
    ("prompt", "key"),
    [
        ({"sigma_x": 0.0, "sigma_y": 0.0, "p_extra": 0.0}, "not_pure"),
        ({"sigma_y": 0.5}, "low_noise"),
        ({"p_extra": 0.1}, "few_extras"),
        ({"L": 1}, "several_demonstrations"),
    ],
)
def test_outside_its_hypotheses_it_says_nothing(prompt, key):
    record = judged(SMALL.replace(prompt=prompt))
    assert record["verdict"] == "not_applicable"
    assert [x["key"] for x in record["hypotheses"] if not x["holds"]][:1] == [key]
