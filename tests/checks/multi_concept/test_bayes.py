"""The claims about the Bayes error that need no training; test_claims.py tries the other."""

import dataclasses

import pytest

from polyseme.checks.core.budget import even_share, family_size
from polyseme.checks.core.claim import Verdict
from polyseme.checks.core.evaluation import evaluate_claim
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.claims.exponential.bayes import ABOVE_BAYES, CALIBRATED, CALIBRATION
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.theory.multi_concept.outcome.bayes import posterior
from polyseme.theory.multi_concept.regime import Regime

LEVEL = even_share(family_size(CLAIMS))


@pytest.fixture(scope="module")
def context():
    return TrainingContext(Regime(), level=LEVEL)


SHARPEST = dataclasses.replace(ABOVE_BAYES, parts=(ABOVE_BAYES.part("sharpest attention"),))
"""Without its training, which test_claims.py runs."""


@pytest.mark.parametrize("claim", [CALIBRATED, SHARPEST], ids=lambda claim: claim.id)
def test_it_is_supported_and_its_negative_control_refuted(claim, context):
    record = evaluate_claim(claim, context, replay="")
    assert record["verdict"] == "supported", record["sentence"]
    assert record["parts"][0]["controls"][0]["verdict"] == "refuted"
    assert record["parts"][0]["statistics"]["power"] >= 0.98


def query_alone(regime, M, Q, prompts):
    # Words and labels of zero are as likely under every code of one size.
    return posterior(regime, M, Q, prompts | {name: 0 * prompts[name] for name in ("x", "y")})


def other_law(regime, M, Q, prompts):
    return posterior(regime.replace(prompt={"law": "iid"}), M, Q, prompts)


def other_signs(regime, M, Q, prompts):
    return posterior(regime.replace(prompt={"p_plus": 1 - regime.prompt.p_plus}), M, Q, prompts)


@pytest.mark.parametrize("believed", [query_alone, other_law, other_signs])
def test_posteriors_of_less_or_of_another_law_are_refuted(believed, context):
    judgement = CALIBRATION.judge(CALIBRATED.part().measure(context, believed), level=LEVEL)
    assert judgement.verdict == Verdict.REFUTED
    if believed is query_alone:  # it is calibrated in its own bins, and only the labels tell
        assert "labels lean" in judgement.sentence
