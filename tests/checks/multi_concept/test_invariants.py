"""Invariants and identities: every claim with its negative control on regimes of every kind, and what the claims lean on."""

from functools import cache

import numpy as np
import pytest
import sympy as sp
from one_part import judged as judged_part

from polyseme.checks.core.evaluation import evaluate_claim
from polyseme.checks.core.report.mathematics import mathml
from polyseme.checks.multi_concept.claims.closure import balance, invariants
from polyseme.checks.multi_concept.claims.closure.forms import GatesKept
from polyseme.checks.multi_concept.claims.decomposition import penalty
from polyseme.checks.multi_concept.claims.gradient import identities
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.theory.multi_concept.dynamics.gate_flow import flow
from polyseme.theory.multi_concept.regime import Regime

CLAIMS = (*penalty.CLAIMS, *identities.CLAIMS, *balance.CLAIMS, *invariants.CLAIMS)
BY_ID = {claim.id: claim for claim in CLAIMS}

# Decided in symbols or at sizes of their own.
FIXED = [claim.id for claim in CLAIMS if claim.scope == "any regime"]
DECAYS, SILENT = "closure/balance_decays_along_the_flow", "closure/no_signal_is_pure_decay"
VARIABLE = [DECAYS, SILENT]

BASE = Regime().replace(
    concepts={"K1": 1, "K2": 1, "d_x": 4, "d_y": 3},
    prompt={"L": 3},
    model={"m": 8},
    training={"steps": 120, "batch": 8, "lam": 1e-3, "gamma": 2000.0},
    ensemble={"seed": 4},
)
THREE = {"K1": 3, "K2": 2, "d_x": 9, "d_y": 7, "weights": [0.6, 0.3, 0.1]}
CONSTANT = {"schedule": "constant", "eta": 2.0}

REGIMES: dict[str, tuple[dict[str, dict], set[str]]] = {
    "one concept": ({}, set()),
    "three uneven concepts, iid": ({"concepts": THREE, "prompt": {"law": "iid", "L": 4}}, set()),
    "leaky neurons, squared loss": (
        {"model": {"activation": "leaky_relu"}, "training": {**CONSTANT, "loss": "squared"}},
        {SILENT},
    ),
    "linear neurons, exponential loss": (
        {"model": {"activation": "identity"}, "training": {**CONSTANT, "loss": "exponential"}},
        {SILENT},
    ),
    "uneven signs": ({"concepts": THREE, "prompt": {"p_plus": 0.3}}, set()),
    "one demonstration": ({"prompt": {"L": 1}}, set()),
    "no penalty": ({"training": {**CONSTANT, "lam": 0.0}}, {DECAYS, SILENT}),
    "hardly any penalty": ({"training": {**CONSTANT, "lam": 1e-12}}, {DECAYS, SILENT}),
    "a large penalty": ({"training": {**CONSTANT, "lam": 0.2, "steps": 20}}, set()),
    "a step that forgets everything": ({"training": {"lam": 0.1, "gamma": 2.0}}, {SILENT}),
    "noisy labels": ({"prompt": {"sigma_y": 0.1}}, set(VARIABLE)),
    "other concepts in the words": ({"prompt": {"p_extra": 0.1}}, set(VARIABLE)),
    "no step": ({"training": {"steps": 0}}, {SILENT}),
    "nothing at the start": ({"model": {"sigma_0": 0.0, "sigma_1": 0.0}}, set()),
    "nearly equal features": ({"concepts": {"kappa_x": 0.999, "kappa_y": 0.999}}, set()),
    "odd width": ({"model": {"m": 7}}, set()),
}


@cache
def context(name: str) -> TrainingContext:
    return TrainingContext(BASE.replace(**REGIMES[name][0]))


def cases():
    for identifier in FIXED:
        yield pytest.param("one concept", identifier, id=identifier)
    for name in REGIMES:
        for identifier in VARIABLE:
            yield pytest.param(name, identifier, id=f"{name}-{identifier}")


def test_every_claim_is_tried():
    assert {*FIXED, *VARIABLE} == set(BY_ID)
    assert len(BY_ID) == len(CLAIMS) == 10


@pytest.mark.parametrize(("name", "identifier"), [*cases()])
def test_a_claim_is_supported_with_its_control_refuted_or_outside_its_hypotheses(name, identifier, request):
    if name != "one concept":  # where run-time types are checked too
        request.getfixturevalue("unchecked_types")
    record = evaluate_claim(BY_ID[identifier], context(name), replay="")
    if identifier in REGIMES[name][1]:
        assert record["verdict"] == "not_applicable", record["sentence"]
    else:
        assert (record["verdict"], record["sentence"]) == ("supported", record["sentence"])
        assert record["parts"][0]["controls"][0]["verdict"] == "refuted"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_the_formula_becomes_mathml(claim):
    assert mathml(claim.formula).startswith("<math"), claim.formula


# -- the checks see what they are there to see -----------------------------------------------------------------


def judged(claim, asserted, *, part=""):
    return judged_part(claim, context("one concept"), asserted, level=1e-3, name=part)


def test_a_penalty_on_the_blocks_of_single_concepts_alone_is_refuted():
    def within(W):
        same = {key: x for key, x in W.terms.items() if len(key[1]) == 1}
        return sp.Add(*(sp.Sum(x**2, (letter, 1, penalty.FRAME.size_of(letter))) for (_, (letter,)), x in same.items()))

    assert judged(penalty.PENALTY, within).verdict == "refuted"


def test_a_complement_counted_once_is_refuted():
    def once(W):
        return (W.transpose() @ W).trace() + W.rest**2 * (1 - (penalty.FRAME.perp()).trace())

    judgement = judged(penalty.PENALTY, once)
    assert judgement.verdict == "refuted"
    assert judgement.measured == 2  # the two rows in which P_perp is there


def test_a_sign_in_the_balance_is_seen():
    def added(W_Q, G_Q, W_K, G_K):
        return W_Q @ G_Q.transpose() - (G_K @ W_K.transpose()).transpose()

    assert judged(balance.BALANCED, added, part="as derived").verdict == "refuted"
    assert judged(balance.BALANCED, added, part="in the full model").verdict == "refuted"


def test_an_euler_identity_without_the_slope_is_refuted():
    assert judged(identities.EULER, lambda _slope, e, f: -e * f, part="in the full model").verdict == "refuted"


@pytest.mark.parametrize("kept", ["M", "Q", "W_Q", "W_K", "W_O"])
def test_leaving_any_array_unrotated_is_refuted(kept):
    everything = invariants.ROTATED.part().asserts()
    assert judged(invariants.ROTATED, tuple(name for name in everything if name != kept)).verdict == "refuted"


def test_the_flows_meet_gates_and_start_unbalanced():
    this = balance.DECAYS.part().measure(context("three uneven concepts, iid"), 2.0).facts
    own = balance.CONSERVED.part().measure(context("one concept"), balance.CONSERVED.part().asserts()).facts
    assert this["gate events"] >= 3
    assert sum(facts["gate events"] for facts in own.values()) >= 3
    assert min(facts["largest entry at the start"] for facts in (this, *own.values())) > 0.1


def test_the_balance_is_carried_a_hundred_times_better_than_it_is_allowed():
    # The allowance is a bound on what the solver may do; it would be too loose to mean anything if it were all used.
    judgement = judged(balance.DECAYS, 2.0)
    assert judgement.measured < 0.01 * judgement.bound < 1e-10


def test_a_rate_wrong_by_one_part_in_ten_thousand_is_refuted():
    assert judged(balance.DECAYS, 2.0002).verdict == "refuted"


def test_a_solver_that_misses_gate_events_keeps_the_balance_too():
    # The identity holds for any gates: it tests the attention, and says nothing about events, which the flow's own claims do.
    start, regime = context("one concept").any_start, context("one concept").one
    path = flow(regime, start, tau=8.0, tolerance=1e-10, solver=GatesKept)(np.array([0.0, 8.0]))
    Q, K = path["W_Q_blocks"], path["W_K_blocks"]
    B = Q @ Q.swapaxes(-1, -2) - K @ K.swapaxes(-1, -2)
    assert np.abs(B[1] - np.exp(-2 * regime.training.lam * 8.0) * B[0]).max() < 1e-9


def test_the_silent_start_is_shut_and_not_empty():
    start = invariants._silent_start(context("three uneven concepts, iid"))
    assert (start["W_O"] @ start["Q"]).max() < 0
    assert np.abs(start["W_O"]).max() > 0.1


def test_the_signal_of_one_open_gate_is_seen(monkeypatch):
    plain = context("one concept")
    monkeypatch.setattr(invariants, "_silent_start", lambda context: context.any_start)
    open_gates = TrainingContext(plain.regime)
    judgement = judged_part(invariants.NO_SIGNAL, open_gates, 0, level=1e-3)
    assert judgement.verdict == "refuted"
