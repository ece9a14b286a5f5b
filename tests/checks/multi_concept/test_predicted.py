"""The claim that a start predicts which concepts are learned: in regimes of every kind, at its edges, and against wrong theories."""

from collections.abc import Callable

import numpy as np
import pytest

from polyseme.checks.core.evaluation import evaluate_claim
from polyseme.checks.multi_concept.claims.dynamics import predicted as predicted
from polyseme.checks.multi_concept.claims.dynamics.predicted import (
    PREDICTED,
    Learned,
    by_thresholds,
    living,
    over_critical,
)
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.theory.multi_concept.dynamics.concepts import Concepts
from polyseme.theory.multi_concept.outcome.thresholds import critical_penalty, learnable, lives_on
from polyseme.theory.multi_concept.regime import Regime

THREE = {"K1": 3, "K2": 0, "d_x": 6, "d_y": 6, "weights": [0.6, 0.3, 0.1]}


def regime(*, ratio: float = 0.1, **changes: dict) -> Regime:
    """With that many times the critical penalty of the most frequent concept."""
    of = Regime().replace(training={"schedule": "constant", "lam": 1.0}, model={"sigma_1": 0.04}).replace(**changes)
    return of.replace(training={"lam": ratio / float(over_critical(of).min())})


def tried(of: Regime, drop: frozenset[str] = frozenset()) -> dict:
    return evaluate_claim(PREDICTED, TrainingContext(of), replay="", drop=drop)


@pytest.mark.parametrize(
    ("changes", "learned"),
    [
        ({"model": {"m": 64}}, 1.0),
        ({"model": {"m": 64}, "ratio": 2.0}, 0.0),
        ({"model": {"m": 64}, "ratio": 0.0}, 1.0),
        ({"model": {"m": 64}, "ratio": 0.3, "concepts": THREE | {"weights": [0.90, 0.08, 0.02]}}, 1 / 3),
        ({"model": {"m": 64}, "concepts": THREE | {"weights": [0.5, 0.5, 0.0]}}, 1.0),
        ({"model": {"m": 1}}, 0.0),
        ({"model": {"m": 2}, "concepts": THREE | {"K1": 8, "d_x": 16, "d_y": 16, "weights": None}}, 0.375),
        ({"model": {"m": 6, "neurons": "mirrored"}, "prompt": {"L": 3}}, 1.0),
    ],
)
def test_what_is_learned_was_predicted(changes, learned):
    record = tried(regime(**changes))
    facts = record["parts"][0]["evidence"]["facts"]
    assert (record["verdict"], record["sentence"]) == ("supported", record["sentence"])
    assert record["parts"][0]["controls"][0]["verdict"] == "refuted"
    assert facts["share_learned"] == facts["share_predicted"] == pytest.approx(learned)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"prompt": {"p_extra": 0.1}}, "pure"),
        ({"prompt": {"law": "iid"}}, "matched"),
        ({"prompt": {"p_plus": 0.3}}, "fair"),
        ({"training": {"loss": "squared"}}, "logistic_relu"),
        ({"prompt": {"L": 2}}, "three_to_five_demonstrations"),
        ({"concepts": {"kappa_y": 0.0}}, "some_overlap_of_labels"),
        ({"prompt": {"L": 5}, "model": {"sigma_1": 0.06}}, "small_start"),
        ({"model": {"sigma_0": 0.3}}, "small_start"),
        ({"ratio": 1.0}, "off_threshold"),
        ({"ratio": 0.4, "concepts": {"weights": [0.7, 0.3]}}, "off_threshold"),
    ],
)
def test_each_hypothesis_is_asked_for(changes, key):
    record = tried(regime(**changes))
    assert record["verdict"] == "not_applicable"
    assert [x["key"] for x in record["hypotheses"] if not x["holds"]] == [key]


@pytest.mark.parametrize(
    "changes",
    [
        {"ratio": 1.0},
        {"model": {"m": 1, "sigma_0": 2.0, "sigma_1": 2.0}, "ratio": 100.0},
        {"model": {"m": 2, "sigma_0": 0.0, "sigma_1": 0.0}},
        {"prompt": {"L": 1}},
        {"prompt": {"L": 9, "law": "iid"}, "concepts": {"kappa_x": 0.99, "kappa_y": 0.0}},
    ],
)
def test_across_its_edges_there_is_a_verdict_and_the_control_is_refuted(changes):
    drop = {"off_threshold", "small_start", "three_to_five_demonstrations", "some_overlap_of_labels", "matched"}
    record = tried(regime(**changes), frozenset(drop))
    assert record["verdict"] in {"supported", "refuted"}, record["sentence"]
    assert record["parts"][0]["controls"][0]["verdict"] == "refuted"


def test_a_large_start_is_learned_beyond_the_critical_penalty():
    beyond = regime(ratio=1.4, model={"m": 16, "sigma_0": 1.0})
    record = tried(beyond, frozenset({"off_threshold", "small_start"}))
    assert record["verdict"] == "refuted"
    assert record["parts"][0]["evidence"]["facts"]["learned_though_not_predicted"] > 0


@pytest.mark.parametrize("changes", [{"prompt": {"p_plus": 0.3}}, {"training": {"loss": "squared"}}])
def test_what_the_thresholds_were_not_derived_for_is_no_evidence(changes):
    record = tried(regime(**changes), frozenset({"fair", "logistic_relu"}))
    assert record["verdict"] == "missing" and "type p_plus = 0.5" in record["sentence"]


# -- wrong theories ------------------------------------------------------------------------------------------------------


def _critical(of: Concepts, **other) -> np.ndarray:
    given = of.given
    numbers = {"weight": given.weight, "kappa_x": given.kappa_x, "kappa_y": given.kappa_y}
    return critical_penalty(**{"L": of.L, "m": len(of.r), "live": living(of).mean(axis=0), **numbers, **other})


def _with(critical: Callable[[Concepts], np.ndarray]) -> Callable[[Concepts], Learned]:
    return lambda of: learnable(living(of), of.r) & (of.given.lam < critical(of))


def _gated(lives: Callable[[Concepts], np.ndarray]) -> Callable[[Concepts], Learned]:
    return lambda of: learnable(lives(of), of.r) & (of.given.lam < _critical(of))


def _on(of: Concepts, r: np.ndarray, kappa_y: np.ndarray) -> np.ndarray:
    return lives_on(of.alpha, of.beta, r, kappa_y)


WRONG: dict[str, Callable[[Concepts], Learned]] = {
    "own label swapped": _gated(lambda of: _on(of, -of.r, of.given.kappa_y)),
    "open on either label": _gated(lambda of: living(of) | _on(of, -of.r, of.given.kappa_y)),
    "open on both labels": _gated(lambda of: living(of) & _on(of, -of.r, of.given.kappa_y)),
    "the label + for all": _gated(lambda of: _on(of, np.abs(of.r), of.given.kappa_y)),
    "the sign of beta alone": _gated(lambda of: np.sign(of.r)[:, None] * of.beta > 0),
    "the sign of alpha alone": _gated(lambda of: of.alpha > 0),
    "norms of labels exchanged": _gated(lambda of: _on(of, of.r, -of.given.kappa_y)),
    "one sign is enough": lambda of: living(of).any(axis=0) & (of.given.lam < _critical(of)),
    "the penalty alone": lambda of: of.given.lam < _critical(of, live=np.ones(of.members) / 2),
    "the gates alone": lambda of: learnable(living(of), of.r),
    "above the critical penalty": lambda of: learnable(living(of), of.r) & (of.given.lam > _critical(of)),
    "three times the critical penalty": _with(lambda of: 3 * _critical(of)),
    "a third of it": _with(lambda of: _critical(of) / 3),
    "no root of m": _with(lambda of: _critical(of, m=16)),
    "m without a root": _with(lambda of: _critical(of) * (16 / len(of.r)) ** 0.5),
    "no pi_k": _with(lambda of: _critical(of, weight=np.ones(of.members) / of.members)),
    "no L": _with(lambda of: _critical(of, L=3)),
    "2^L - 1 without a root": _with(lambda of: _critical(of) * ((2**4 - 1) / (2**of.L - 1)) ** 0.5 / 2),
    "no kappa_x": _with(lambda of: _critical(of, kappa_x=np.zeros(of.members))),
    "n_b squared": _with(lambda of: _critical(of) * ((1 - of.given.kappa_x) / 2) ** 0.5),
    "no q": _with(lambda of: _critical(of) * 2.5),
}


@pytest.fixture(scope="module")
def fates() -> list[tuple[dict[str, Learned], Learned]]:
    """What each theory predicts, and what is learned, in 25 regimes within the hypotheses."""
    rng, found = np.random.default_rng(8), []
    for m in (2, 3, 5, 16, 160):
        for ratio in (0.02, 0.3, 0.5, 2.0, 20.0):
            at = TrainingContext(
                regime(
                    ratio=ratio,
                    concepts=THREE
                    | {"weights": [0.9, 0.08, 0.02] if ratio == 0.3 else None}
                    | {"kappa_x": float(rng.choice([0.0, 0.8])), "kappa_y": float(rng.choice([0.05, 0.3, 0.8]))},
                    prompt={"L": int(rng.choice([3, 5]))},
                    model={"m": m},
                    ensemble={"seed": int(rng.integers(10**6))},
                )
            )
            of = predicted.concepts_of(at.one, at)
            before = {name: rule(of) for name, rule in (WRONG | {"right": by_thresholds}).items()}
            found.append((before, predicted.learned_by(of)))
    return found


def test_the_right_theory_predicts_every_fate(fates):
    assert sum(int((before["right"] != learned).sum()) for before, learned in fates) == 0


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_theory_is_refuted_in_a_modest_sweep(fates, name):
    assert sum(int((before[name] != learned).sum()) for before, learned in fates) > 0
