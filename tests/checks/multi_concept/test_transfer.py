"""The claims out of distribution: supported with their controls refuted where a model has learned, and honest where it has not."""

from functools import cache

import numpy as np
import pytest

from polyseme.checks.core.evaluation import evaluate_claim
from polyseme.checks.multi_concept.claims.out_of_distribution import laws, lengths, noisy_laws, robustness
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.theory.multi_concept.regime import Regime

LEARNED = Regime().replace(
    concepts={"K1": 2, "K2": 1, "d_x": 7, "d_y": 6, "kappa_x": 0.1, "kappa_y": 0.4, "weights": [0.6, 0.4]},
    prompt={"L": 3},
    model={"m": 24, "sigma_0": 0.3, "sigma_1": 0.2},
    training={"lam": 1e-4, "schedule": "constant", "eta": 10.0, "steps": 400, "batch": 16},
)
REGIMES = {
    "learned": LEARNED,
    # Every term on: three concepts, uneven signs, leaky neurons, prompts without a match, and too few steps to learn.
    "unlearned": LEARNED.replace(
        concepts={"K1": 3, "K2": 0, "d_x": 7, "d_y": 7, "weights": [0.5, 0.3, 0.2]},
        prompt={"law": "iid", "p_plus": 0.4},
        model={"activation": "leaky_relu", "m": 10, "sigma_0": 0.9, "sigma_1": 0.6},
        training={"steps": 40},
    ),
    "full": LEARNED.replace(concepts={"d_x": 5, "d_y": 4, "K2": 1}),
}
BY_ID = {claim.id: claim for module in (lengths, laws, robustness, noisy_laws) for claim in module.CLAIMS}
EVERYWHERE = (
    "ood/any_length_has_its_closed_form",
    "ood/a_match_is_outvoted_at_odds_that_do_not_depend_on_the_length",
    "ood/every_scenario_is_foreseen_from_the_coefficients",
    "ood/any_prompt_is_foreseen_from_the_coefficients",
)
WHERE_LEARNED = (
    "ood/the_skill_carries_over_as_far_as_matches_outvote",
    "ood/tasks_in_the_cone_of_several_concepts_are_answered",
    "ood/the_skill_ends_where_features_are_new",
)
IN_LAW = "ood/noise_of_a_test_is_foreseen_in_law"


@cache
def context(name):
    return TrainingContext(REGIMES[name], level=1e-5)


@cache
def tried(name, identifier):
    return evaluate_claim(BY_ID[identifier], context(name), replay="")


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        *((name, identifier) for name in REGIMES for identifier in EVERYWHERE),
        *(("learned", x) for x in (*WHERE_LEARNED, IN_LAW)),
    ],
)
def test_a_claim_is_supported_and_its_control_refuted(name, identifier, request):
    if name != "full":  # where run-time types are checked too
        request.getfixturevalue("unchecked_types")
    record = tried(name, identifier)
    assert (record["verdict"], record["sentence"]) == ("supported", record["sentence"])
    assert record["parts"][0]["controls"][0]["verdict"] == "refuted"


@pytest.mark.parametrize("identifier", WHERE_LEARNED)
def test_what_needs_a_learned_model_is_not_said_of_another(identifier):
    assert tried("unlearned", identifier)["verdict"] == "not_applicable"


def test_where_there_is_no_room_for_new_features_nothing_is_said_of_them():
    record = tried("full", "ood/the_skill_ends_where_features_are_new")
    assert record["verdict"] == "not_applicable"
    seen = {line["scenario"] for line in tried("full", EVERYWHERE[2])["parts"][0]["evidence"]["facts"]["table"]}
    assert "lying" in seen and not seen & {"unseen_words", "unseen_labels"}


def test_lengths_agree_to_ten_digits_and_the_table_shows_both_sides():
    record = tried("learned", EVERYWHERE[0])
    rows = record["parts"][0]["evidence"]["rows"]
    assert max(row["difference"] / row["scale"] for row in rows) < 1e-10
    table = record["parts"][0]["evidence"]["facts"]["table"]
    assert [line["scenario"] for line in table[:9]] == [f"length={L}" for L in (1, 2, 3, 4, 8, 16, 64, 256, 1024)]
    # Half-way through learning some lengths have errors, which are predicted.
    assert max(line["error_measured"] for line in table) > 0.01
    assert all(np.isclose(line["error_predicted"], line["error_measured"], atol=1e-12) for line in table)


def test_lies_break_the_skill_and_the_table_says_so():
    table = tried("learned", EVERYWHERE[2])["parts"][0]["evidence"]["facts"]["table"]
    broken = {line["scenario"]: line for line in table if line["step"] == 400}
    assert broken["lying"]["error_predicted"] == pytest.approx(1)
    assert broken["lying"]["error_measured"] == pytest.approx(1)
    assert broken["unseen_words"]["error_measured"] > 0.3


@pytest.mark.usefixtures("unchecked_types")
def test_models_trained_with_noise_are_predicted_by_level_n():
    noisy = LEARNED.replace(
        concepts={"weights": None, "d_x": 6, "K2": 0},
        prompt={"sigma_x": 0.05, "sigma_y": 0.05},
        model={"m": 48},
        training={"eta": 2.0, "steps": 800},
    )
    record = evaluate_claim(
        BY_ID["ood/noisy_sgd_does_elsewhere_what_level_n_says"], TrainingContext(noisy, level=1e-5), replay=""
    )
    assert (record["verdict"], record["sentence"]) == ("supported", record["sentence"])
    assert record["parts"][0]["controls"][0]["verdict"] == "refuted"
