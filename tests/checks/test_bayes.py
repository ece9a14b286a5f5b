"""The claims about the Bayes error that need no training; test_verify.py tries all of them."""

import pytest

from checks.budget import even_share, family_size
from checks.claim import Verdict
from checks.claims import CLAIMS
from checks.claims.bayes import CALIBRATED, CALIBRATION, SHARPEST
from checks.court import try_claim
from checks.laboratory import Laboratory
from theory.bayes import posterior
from theory.setting import Regime

LEVEL = even_share(family_size(CLAIMS))


@pytest.fixture(scope="module")
def laboratory():
    return Laboratory(Regime(), level=LEVEL)


@pytest.mark.parametrize("claim", [CALIBRATED, SHARPEST], ids=lambda claim: claim.id)
def test_it_is_supported_and_its_wrong_twin_refuted(claim, laboratory):
    record = try_claim(claim, laboratory, replay="")
    assert record["verdict"] == "supported", record["sentence"]
    assert record["control"]["verdict"] == "refuted"
    assert record["statistics"]["power"] >= 0.98


def query_alone(regime, M, Q, prompts):
    # Words and labels of zero are as likely under every code of one size.
    return posterior(regime, M, Q, prompts | {name: 0 * prompts[name] for name in ("x", "y")})


def other_law(regime, M, Q, prompts):
    return posterior(regime.replace(prompt={"law": "iid"}), M, Q, prompts)


def other_signs(regime, M, Q, prompts):
    return posterior(regime.replace(prompt={"p_plus": 1 - regime.prompt.p_plus}), M, Q, prompts)


@pytest.mark.parametrize("believed", [query_alone, other_law, other_signs])
def test_posteriors_of_less_or_of_another_law_are_refuted(believed, laboratory):
    judgement = CALIBRATION.judge(CALIBRATED.measure(laboratory, believed), level=LEVEL)
    assert judgement.verdict == Verdict.REFUTED
    if believed is query_alone:  # it is calibrated in its own bins, and only the labels tell
        assert "labels lean" in judgement.sentence
