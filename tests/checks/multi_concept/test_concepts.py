"""Random concepts, what is seen of them, and the claims about them at small sizes; at full size they are tried by test_claims.py."""

import dataclasses

import numpy as np
import pytest

from polyseme.checks.core.evaluation import evaluate_claim
from polyseme.checks.multi_concept import phase_diagrams
from polyseme.checks.multi_concept.claims.dynamics import (
    attention_growth,
    concepts,
    critical_penalty,
    half_times,
    signs,
    width,
)
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.sampling.concepts import KINDS, ORDINARY, Law, draw, watch
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import Regime

SMALL = Law(groups=((3, 8),))


@pytest.fixture(scope="module")
def watched():
    return watch(draw(SMALL, (3, 8), members=24, number=90), steps=600)


def test_a_draw_is_reproducible_and_within_its_law():
    first, again = (draw(SMALL, (3, 8), members=12, number=90) for _ in range(2))
    np.testing.assert_array_equal(first.concepts.alpha, again.concepts.alpha)
    given = first.concepts.given
    assert first.learnable.all() and first.concepts.members == 12
    assert ((given.kappa_y >= 0.05) & (given.kappa_y <= 0.8)).all()
    assert ((first.penalty >= 0.02) & (first.penalty <= 0.5)).all() and (given.eta * given.lam <= 0.02 + 1e-15).all()
    another = draw(SMALL, (3, 8), members=12, number=91)
    assert not np.array_equal(first.concepts.alpha, another.concepts.alpha)


def test_mirrored_concepts_are_mirrored():
    of = draw(dataclasses.replace(SMALL, mirrored=True), (3, 8), members=6, number=90).concepts
    np.testing.assert_array_equal(of.alpha[0::2], of.alpha[1::2])
    np.testing.assert_array_equal(of.beta[0::2], -of.beta[1::2])


def test_what_is_watched(watched):
    assert watched.attention.shape == watched.signal.shape == (601, 24)
    assert not watched.loses_a_sign.any() and not watched.loses_the_product.any()
    assert all(watched.signs_watched[kind] > 0 for kind in KINDS)
    assert (watched.onset < 600).all() and watched.attention[-1].min() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_signs_of_a_kind_that_was_not_watched_are_not_judged(watched, kind, monkeypatch):
    blind = dataclasses.replace(watched, signs_watched=watched.signs_watched | {kind: 0})
    monkeypatch.setattr(signs, "ordinary", lambda *_, **__: (blind,))
    with pytest.raises(PolysemeError, match=kind):
        signs.SIGNS.part().measure(TrainingContext(Regime()), "match")


def test_a_fall_is_seen_inside_its_stretch_alone(watched):
    moved = watched.attention.copy()
    moved[300, 0] += 0.1
    bent = dataclasses.replace(watched, attention=moved)
    first, last = np.zeros(24, dtype=int), np.full(24, 299)
    rises = np.minimum.accumulate(moved[::-1], axis=0)[::-1]
    assert not attention_growth.falls(dataclasses.replace(watched, attention=rises), first, last).any()
    assert attention_growth.falls(bent, np.full(24, 299), np.full(24, 302))[0]
    assert attention_growth.falls(bent, last, last).all()  # nothing in between is no evidence


def test_half_times_of_known_curves(watched):
    t = np.repeat(np.linspace(0, 1, 11)[:, None], 24, axis=1)
    known = dataclasses.replace(watched, attention=0.5 + t**0.5, signal=t**2)
    assert [int(x[0]) for x in half_times.half_times(known)] == [3, 8]


def test_single_concepts_are_supported_and_their_control_refuted():
    record = evaluate_claim(concepts.SINGLE_CONCEPTS, TrainingContext(Regime()), replay="")
    assert (record["verdict"], record["sentence"]) == ("supported", record["sentence"])
    assert record["parts"][0]["controls"][0]["verdict"] == "refuted"


@pytest.mark.parametrize(
    "claim",
    [
        *signs.CLAIMS,
        attention_growth.MONOTONE,
        half_times.HALF_TIMES,
        width.WHICH,
        width.SHARE,
        critical_penalty.PENALTY,
    ],
    ids=lambda claim: claim.id,
)
def test_plans_have_power(claim):
    plan = claim.part().plan(TrainingContext(Regime()))
    assert plan.power >= 0.98 and plan.samples >= 800


@pytest.mark.parametrize("wrong", ["kappa_y", "weight", "lam", "eta"])
def test_single_concepts_with_any_number_wrong_are_not_those_of_the_full_model(wrong):
    def given(numbers):
        of = getattr(numbers, wrong)
        return dataclasses.replace(numbers, **{wrong: -of if wrong == "kappa_y" else of * (1 + 1e-6)})

    claim = concepts.SINGLE_CONCEPTS.part()
    evidence = claim.measure(TrainingContext(Regime()), given)
    assert claim.rule.judge(evidence, level=1e-6).verdict == "refuted"
    # A wrong penalty of that size is seen in every array but the 0-1 error, which is made of steps.
    off = {row.name.split(",")[0] for row in evidence.rows if row.difference > row.scale * row.roundings * 1.2e-16}
    assert {"W_Q_blocks", "W_K_blocks", "alpha", "beta", "loss", "attention", "product", "fed"} <= off


def test_the_threshold_separates_at_a_few_draws(monkeypatch):
    monkeypatch.setattr(critical_penalty, "MEMBERS", 12)
    below, above = critical_penalty._outcome((4, 4), critical_penalty._root)
    assert below.all() and not above.any()
    wrong, _ = critical_penalty._outcome((4, 4), critical_penalty._width)
    assert not wrong.any()


def test_the_diagrams_boundary_is_the_critical_penalty():
    at = phase_diagrams.typical_critical_penalty
    assert at(16, 1) == pytest.approx(0.0246 / 4, rel=2e-3)
    assert at(64, 3) == pytest.approx(at(16, 1) / 6)
    shares, members = phase_diagrams._shares(16, at(16, 2) * np.array([0.5, 2.0]), np.full(2, 0.5), number=92)
    assert members == 16 and shares[0] >= 0.9 and shares[1] == 0


def test_the_law_in_words_is_plain():
    words = ORDINARY.in_words()
    assert words["L, m"] == [[2, 8], [3, 8], [4, 16], [5, 16], [6, 24]]
