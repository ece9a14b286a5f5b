"""The registry: its form, and every claim with its negative control on regimes of every kind."""

import dataclasses
import re
from functools import lru_cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import numpy as np
import pytest

from polyseme.checks.core.budget import even_share, family_size
from polyseme.checks.core.evaluation import evaluate_claim
from polyseme.checks.core.report.mathematics import mathml
from polyseme.checks.multi_concept import claims
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.claims.decomposition import algebra, softmax
from polyseme.checks.multi_concept.claims.fluctuation import noise, noisy_runs
from polyseme.checks.multi_concept.claims.gradient.gradient import drift
from polyseme.checks.multi_concept.claims.gradient.sampling import gradient_state
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.theory.multi_concept.numerics.lower import system_of
from polyseme.theory.multi_concept.regime import Regime, load_regime

MINIMAL = Path(__file__).parents[3] / "regimes" / "minimal.toml"
BY_ID = {claim.id: claim for claim in CLAIMS}
FILES = {
    found.name.rpartition(".")[2]: import_module(found.name)
    for found in walk_packages(claims.__path__, f"{claims.__name__}.")
    if not found.ispkg
}
"""The files of claims, by their names without the folder."""

# -- form --------------------------------------------------------------------------------------------------


def test_ids_are_unique():
    assert len(BY_ID) == len(CLAIMS) >= 20


def test_an_id_is_area_and_conclusion():
    for claim in CLAIMS:
        assert re.fullmatch(
            r"(algebra|gradient|closure|dynamics|fluctuation|exponential|ood)/[a-z][a-z0-9_]+", claim.id
        )
        assert claim.family == claim.id.split("/")[0]


def test_the_texts_say_something():
    for claim in CLAIMS:
        assert claim.section in {"1", "2", "3", "4", "5", "6", "7"}, (
            f"{claim.id}: the sections of THEORY.md that state mathematics"
        )
        assert re.fullmatch(r"[A-Z].{20,}\.", claim.statement, re.DOTALL), f"{claim.id}: a sentence"
        for part in claim.parts:
            assert all(x.name.strip() and x.statement.strip() != claim.statement for x in part.controls)
            assert all(x.statement.strip() for x in part.controls)
            assert len(part.rule.reason) > 10 and part.rule.measures and part.rule.name
        assert claim.rests_on, f"{claim.id}: the basis that a verdict rests on"


def test_the_formula_becomes_mathml():
    for claim in CLAIMS:
        drawn = mathml(claim.formula)
        assert drawn.startswith("<math"), f"shown as source: {claim.formula}"


def test_nothing_is_labelled_as_the_papers_value():
    for claim in CLAIMS:
        texts = (
            claim.id,
            claim.statement,
            claim.formula,
            *(part.rule.reason for part in claim.parts),
            *(basis.text for basis in claim.rests_on),
            *(control.statement for part in claim.parts for control in part.controls),
        )
        assert not re.search(r"paper|\bBu et al|\(P\d?\)|lemma|theorem", " ".join(texts), re.IGNORECASE)


def test_what_is_used_is_registered_without_cycles_and_before_its_users():
    graph = {claim.id: set(claim.uses) for claim in CLAIMS}
    assert set().union(*graph.values()) <= set(BY_ID)
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError on a cycle
    assert len(order) == len(CLAIMS)
    place = {claim.id: j for j, claim in enumerate(CLAIMS)}
    assert all(place[used] < place[claim.id] for claim in CLAIMS for used in claim.uses), "the order of the argument"


# -- verdicts ----------------------------------------------------------------------------------------------

# Decided in symbols or at sizes of its own: the same in every regime, so tried in one.
FIXED = {claim.id for claim in algebra.CLAIMS + softmax.CLAIMS} - {
    "algebra/drawn_dictionary_has_the_stated_overlaps"
} | {
    "gradient/closed_forms_equal_derivatives",
    "gradient/any_prompt_matches_autograd",
    "closure/generic_neurons_reach_level_b",
    "closure/mirrored_neurons_stay_in_level_s",
    "closure/uneven_signs_break_level_s",
    "closure/exchanging_signs_leaves_the_risk_alone",
    "closure/window_of_counts_leaves_out_what_it_says",
    "gradient/noise_is_gaussian_with_the_stated_deviation",
    "gradient/other_concepts_follow_the_law",
    "gradient/fast_step_equals_autograd",
}
DICTIONARY = "algebra/drawn_dictionary_has_the_stated_overlaps"
DRIFT = "gradient/level_b_drift_matches_population_autograd"
MINIBATCHES = "gradient/level_b_drift_matches_minibatches"
LEVEL_B = "closure/population_descent_equals_level_b"
DEAD, POPULATION, ANY_START = (
    f"{LEVEL_B}, {x}" for x in ("blocks outside the closure", "from the start", "from any blocks")
)
MIRRORED = "closure/mirrored_population_descent_equals_level_s"
STOCHASTIC, COMPLEMENT = "closure/stochastic_recursion_equals_sgd", "closure/complement_decays_exactly"
FLOW = "closure/flow_limit_has_order_one"
LAW = "gradient/drawn_prompts_follow_the_law"
CHEAPER = "closure/cheaper_evaluation_equals_the_generic_one"
CERTIFIED = "closure/float64_path_is_certified"
NEURONS = "gradient/neurons_start_gaussian"
NOISE_RATE = "fluctuation/gradient_noise_falls_as_root_batch"
NOISE_TAIL = "fluctuation/minibatch_noise_has_the_tail_of_bounded_vectors"
OF_MINIBATCHES = {MINIBATCHES, NOISE_RATE, NOISE_TAIL}
VARIABLE = (
    NEURONS,
    NOISE_RATE,
    NOISE_TAIL,
    DICTIONARY,
    CHEAPER,
    CERTIFIED,
    LAW,
    LEVEL_B,
    DRIFT,
    MINIBATCHES,
    MIRRORED,
    STOCHASTIC,
    COMPLEMENT,
    FLOW,
)
PURE_ONLY = set(VARIABLE) - {DICTIONARY, LAW, NEURONS}
MIXED_ONLY = OF_MINIBATCHES | {CHEAPER, CERTIFIED, DRIFT, DEAD, POPULATION, ANY_START, MIRRORED}

BASE = Regime().replace(
    concepts={"K1": 1, "K2": 1, "d_x": 4, "d_y": 3},
    prompt={"L": 3},
    model={"m": 8, "sigma_0": 0.3, "sigma_1": 0.3},
    training={"steps": 60, "batch": 8, "lam": 1e-3, "gamma": 200.0},
    ensemble={"seed": 3},
)
CONSTANT = {"schedule": "constant", "eta": 2.0}
THREE = {"K1": 3, "K2": 2, "d_x": 9, "d_y": 7, "weights": [0.6, 0.3, 0.1]}

REGIMES: dict[str, tuple[dict[str, dict], set[str]]] = {
    "one concept": ({}, set()),
    "three uneven concepts, iid": ({"concepts": THREE, "prompt": {"law": "iid", "L": 4}}, set()),
    "constant steps": ({"concepts": THREE, "training": CONSTANT}, set()),
    "no penalty": ({"training": {**CONSTANT, "lam": 0.0}}, {COMPLEMENT, ANY_START}),
    "one demonstration": ({"prompt": {"L": 1}}, MIXED_ONLY),
    "uneven signs": ({"concepts": THREE, "prompt": {"p_plus": 0.3}}, {MIRRORED}),
    "leaky neurons, squared loss": (
        {"model": {"activation": "leaky_relu"}, "training": {**CONSTANT, "loss": "squared"}},
        set(),
    ),
    "linear neurons, exponential loss": (
        {"model": {"activation": "identity"}, "training": {**CONSTANT, "loss": "exponential"}},
        OF_MINIBATCHES | {CHEAPER},
    ),
    "orthogonal features": ({"concepts": {"kappa_x": 0.0, "kappa_y": 0.0}}, set()),
    "odd width": ({"model": {"m": 7}}, {MIRRORED}),
    "population": ({"training": {"batch": "population"}}, set()),
    "an ensemble in float32": ({"ensemble": {"seeds": 3, "dtype": "float32"}}, set()),
    "two steps": ({"training": {"steps": 2}}, set()),
    "no step": ({"training": {"steps": 0}}, {CERTIFIED, DEAD, POPULATION, ANY_START, MIRRORED, STOCHASTIC, COMPLEMENT}),
    "no attention at the start": (
        {"model": {"sigma_0": 0.0}},
        {CERTIFIED, DEAD, POPULATION, MIRRORED, STOCHASTIC, COMPLEMENT, FLOW},
    ),
    "no MLP at the start": (
        {"model": {"sigma_1": 0.0}},
        OF_MINIBATCHES | {CERTIFIED, NEURONS, DEAD, POPULATION, MIRRORED, STOCHASTIC, COMPLEMENT, FLOW},
    ),
    "noisy labels": ({"prompt": {"sigma_y": 0.1}}, PURE_ONLY),
    "noisy words": ({"prompt": {"sigma_x": 0.1}}, PURE_ONLY),
    "other concepts in the words": ({"prompt": {"p_extra": 0.1}}, PURE_ONLY),
    "a concept that never occurs": ({"concepts": THREE | {"weights": [0.5, 0.5, 0.0]}}, set()),
    # Regimes at the edge of a hypothesis, each of which once made a check claim too much or too little.
    "one step": ({"training": {"steps": 1}}, set()),
    "nothing outside the state": ({"concepts": {"K2": 0, "d_x": 2, "d_y": 2}}, {COMPLEMENT}),
    "hardly any penalty": ({"training": {**CONSTANT, "lam": 1e-12}}, {COMPLEMENT, ANY_START}),
    "tiny steps": ({"training": {"gamma": 1e9}}, {COMPLEMENT, ANY_START}),
    "a step that forgets everything": (
        {"training": {"lam": 0.1, "gamma": 2.0}},
        {CERTIFIED, DEAD, POPULATION, ANY_START, MIRRORED, STOCHASTIC, COMPLEMENT},
    ),
    "nearly equal features": ({"concepts": {"kappa_x": 0.999, "kappa_y": 0.999}}, set()),
    "equal features to nine digits": ({"concepts": {"kappa_x": 1 - 1e-9}}, PURE_ONLY),
    "many demonstrations": ({"prompt": {"L": 12}}, {LAW}),
    "mirrored neurons and fair signs": ({"model": {"neurons": "mirrored"}}, {DEAD, POPULATION}),
    "mirrored neurons and uneven signs": ({"model": {"neurons": "mirrored"}, "prompt": {"p_plus": 0.3}}, {MIRRORED}),
    "mirrored neurons that are all dead": (
        {
            "concepts": {"K2": 2, "d_x": 7, "d_y": 4, "kappa_x": 0.42, "kappa_y": 0.25},
            "prompt": {"L": 6, "law": "iid"},
            "model": {"m": 6, "sigma_0": 0.5, "sigma_1": 0.2},
            "ensemble": {"seed": 462177494},
        },
        {LAW},
    ),
}


@lru_cache(2)  # cases go regime by regime, and each keeps its runs
def context(name: str) -> TrainingContext:
    return TrainingContext(BASE.replace(**REGIMES[name][0]), level=even_share(family_size(CLAIMS)))


# To gradients of minibatches at a state these are the regime of one concept over again: they differ in when and how often a step
# is taken, and in the precision of runs.
SAME_GRADIENTS = (
    "no penalty",
    "an ensemble in float32",
    "two steps",
    "one step",
    "hardly any penalty",
    "tiny steps",
    "a step that forgets everything",
)
# Where run-time types are checked too: one concept and several, both laws. In the others they would cost more than what is tried.
TYPED = ("one concept", "three uneven concepts, iid", "noisy words")


# What takes seconds is measured where its formula has other terms, and asked everywhere whether it applies.
SECONDS = OF_MINIBATCHES | {FLOW}
OTHER_TERMS = (
    "one concept",
    "three uneven concepts, iid",
    "uneven signs",
    "leaky neurons, squared loss",
    "linear neurons, exponential loss",
    "a concept that never occurs",
    "mirrored neurons and uneven signs",
    "mirrored neurons that are all dead",
)


def cases():
    for identifier in sorted(FIXED):
        yield pytest.param("one concept", identifier, id=identifier)
    for name, (_, outside) in REGIMES.items():
        for identifier in VARIABLE:
            if identifier not in SECONDS or identifier in outside or name in OTHER_TERMS:
                yield pytest.param(name, identifier, id=f"{name}-{identifier}")


# Modules whose claims are tried in regimes of their own, by the test that tries them.
MODULES = {
    "test_bayes": ("bayes",),
    "test_deviation": ("covariance", "deviation", "kinks"),
    "test_dynamics": ("dynamics",),
    "test_predicted": ("predicted",),
    "test_error_curve": ("error_curve", "escape", "extinction", "full_and_reduced", "rare", "rate_of_error"),
    "test_invariants": ("balance", "identities", "invariants", "penalty"),
    "test_noise": ("noise", "noisy_runs"),
    "test_sgd_learns": ("sgd_learns",),
    "test_pinelis": ("pinelis",),
    "test_transfer": ("laws", "lengths", "noisy_laws", "robustness"),
    "test_concepts": ("concepts",),
    "test_verify": ("noise_scaling",),
}
# Claims about any regime that take seconds: once in the suite is enough, by the test at the end of this file.
COSTLY = {
    "closure/diagonal_truncation_is_leading_order_in_extras",
    "closure/full_model_makes_exactly_the_computed_blocks_live",
    "closure/level_b_holds_in_random_regimes",
    "closure/flow_keeps_its_tolerance_across_gate_events",
    "closure/population_descent_equals_level_z",
    "closure/recursion_converges_to_the_sliding_flow",
    "exponential/training_ends_above_the_bayes_error",
    "gradient/recursion_equals_dense_enumeration",
} | {
    claim.id
    for name in (
        *("attention_growth", "critical_penalty", "half_times", "signs", "width"),
        *("extinction", "extras", "noise", "noise_order", "noisy_runs", "sizes"),
    )
    for claim in FILES[name].CLAIMS
    if claim.scope == "any regime"
}
BY_TEST_ENGINES = {"gradient/reduced_noise_has_the_law_of_literal_noise"}
IN_OTHER_TESTS = (
    COSTLY
    | BY_TEST_ENGINES
    | {claim.id for names in MODULES.values() for name in names for claim in FILES[name].CLAIMS}
)


def test_every_claim_is_tried():
    assert FIXED | set(VARIABLE) == set(BY_ID) - IN_OTHER_TESTS
    assert {claim.id for claim in CLAIMS if claim.scope == "any regime" and claim.id not in IN_OTHER_TESTS} == FIXED


def test_every_claim_of_a_module_is_registered():
    assert len(FILES) > 40
    assert {claim.id for module in FILES.values() for claim in getattr(module, "CLAIMS", ())} == set(BY_ID)


@pytest.mark.parametrize(("name", "identifier"), [*cases()])
def test_a_claim_is_supported_with_its_control_refuted_or_outside_its_hypotheses(name, identifier, request):
    if name not in TYPED or (name != "one concept" and identifier in {MINIBATCHES, FLOW}):
        request.getfixturevalue("unchecked_types")
    record = evaluate_claim(BY_ID[identifier], context(name), replay="")
    for part in record["parts"]:
        if {identifier, f"{identifier}, {part['name']}"} & REGIMES[name][1]:
            assert part["verdict"] == "not_applicable", part["sentence"]
        else:
            assert (part["verdict"], part["sentence"]) == ("supported", part["sentence"])
            assert {control["verdict"] for control in part["controls"]} == {"refuted"}


@pytest.mark.parametrize("name", SAME_GRADIENTS)
def test_gradients_of_minibatches_are_those_of_one_concept(name):
    one, other = context("one concept"), context(name)
    states = [gradient_state(each) for each in (one, other)]
    for drawn in zip(*(each.items() for each in states), strict=True):
        assert drawn[0][0] == drawn[1][0] and np.array_equal(drawn[0][1], drawn[1][1])
    drawn = [
        each.minibatch_gradients(state, batches=3, batch=4, stream=0)
        for each, state in zip((one, other), states, strict=True)
    ]
    drifts = [drift(each, state, system_of(each.one)) for each, state in zip((one, other), states, strict=True)]
    for first, second in (drawn, drifts):
        assert first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


def test_the_flow_of_the_negative_control_stays_on_the_stretch_that_was_found_smooth():
    assert 0 < BY_ID[FLOW].part().controls[0].asserts() <= 1


def test_a_path_that_amplifies_everything_is_allowed_no_more():
    # Steps so large that a nudge of the start grows without bound: the allowance would grow with it, and let all pass.
    wild = TrainingContext(BASE.replace(concepts={"K1": 1}, model={"m": 4}, training={"gamma": 4.0, "steps": 100}))
    record = evaluate_claim(BY_ID[STOCHASTIC], wild, replay="")
    assert record["verdict"] == "supported" and record["parts"][0]["bound"] < 1e-8


# -- once in the suite -------------------------------------------------------------------------------------


@lru_cache(1)
def minimal() -> TrainingContext:
    return TrainingContext(load_regime(MINIMAL), level=even_share(family_size(CLAIMS)))


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("module", sorted({BY_ID[x].parts[0].measure.__module__.rpartition(".")[2] for x in COSTLY}))
def test_a_costly_claim_is_supported_with_its_control_refuted(module, monkeypatch):
    """By modules, whose claims share what they run; `make verify` tries them at all sizes."""
    monkeypatch.setattr(noise, "NOISE_LEVELS", (0.05, 0.1))
    monkeypatch.setattr(noisy_runs, "GRID", (0.05,))
    for claim in CLAIMS:
        if claim.id in COSTLY and claim.parts[0].measure.__module__.endswith(f".{module}"):
            # What ends with one concept is measured as what ends with two, which says more.
            parts = tuple(part for part in claim.parts if part.name != "one concept")
            record = evaluate_claim(dataclasses.replace(claim, parts=parts), minimal(), replay="")
            assert (claim.id, record["verdict"], record["sentence"]) == (claim.id, "supported", record["sentence"])
            assert {x["verdict"] for part in record["parts"] for x in part["controls"]} == {"refuted"}
