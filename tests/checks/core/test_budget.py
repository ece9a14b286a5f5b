"""The budget over the whole family of claims, and the provenance of what verdicts rest on."""

import dataclasses
import math

import pytest
from numpy.random import default_rng
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

from polyseme.checks.core import budget
from polyseme.checks.core.claim import Judgement, Verdict
from polyseme.checks.core.evidence import Estimated, Evidence
from polyseme.checks.core.provenance import close_over_uses
from polyseme.checks.core.rules.equivalence import Equivalence

SUPPORTED, REFUTED, INCONCLUSIVE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE


@pytest.fixture(autouse=True)
def no_garbage(monkeypatch):
    # statsmodels collects garbage in each call, which takes a quarter of a second here.
    monkeypatch.setattr("gc.collect", lambda: 0)


def judgement(p_support, p_refute, verdict=INCONCLUSIVE) -> Judgement:
    return Judgement(
        verdict=verdict, measured=1.0, bound=1.0, sentence="so far", p_support=p_support, p_refute=p_refute
    )


def test_adjusted_p_values_are_holms_over_the_whole_family():
    p = [1e-5, 2e-4, 0.3]
    settled = budget.settle([judgement(x, 1.0) for x in p], 5)
    expected = multipletests([*p, 1.0, 1.0], method="holm")[1][:3]
    assert [x.adjusted_support for x in settled] == pytest.approx(list(expected))
    assert [x.adjusted_refute for x in settled] == [1.0, 1.0, 1.0]
    assert settled[0].adjusted_support == pytest.approx(5e-5) and settled[1].adjusted_support == pytest.approx(8e-4)
    other = budget.settle([judgement(1.0, x) for x in p], 5)
    assert [x.adjusted_refute for x in other] == pytest.approx(list(expected))
    assert budget.settle([], 5) == []
    (certain,) = budget.settle([judgement(0.0, 0.0)], 3)
    assert (certain.adjusted_support, certain.adjusted_refute) == (0.0, 0.0)


def test_the_budget_has_two_halves_and_even_shares():
    assert budget.SUITE_FALSE_ALARM == 1e-3
    assert budget.even_share(5) == pytest.approx(1e-4)
    assert budget.family_size([]) == 1


def test_holm_makes_open_verdicts_firm_and_leaves_firm_ones_alone():
    # Four decided claims leave the whole half of the budget, 5e-4, to the fifth, whose even share was 1e-4.
    decided = [judgement(1e-9, 1.0, SUPPORTED)] * 4
    (*_, last) = budget.settle([*decided, judgement(3e-4, 1.0)], 5)
    assert last.judgement.verdict == SUPPORTED and last.judgement.sentence.startswith("supported by Holm's procedure")
    (*_, last) = budget.settle([*decided, judgement(6e-4, 1.0)], 5)
    assert last.judgement.verdict == INCONCLUSIVE
    (*_, last) = budget.settle([*decided, judgement(3e-4, 1.0)], 9)
    assert last.judgement.verdict == INCONCLUSIVE, "claims that are not tried keep their share"
    (refuted,) = budget.settle([judgement(1.0, 4e-4)], 1)
    assert refuted.judgement.verdict == REFUTED and refuted.judgement.measured == 1.0
    (edge,) = budget.settle([judgement(5e-4, 1.0)], 1)
    assert edge.judgement.verdict == SUPPORTED
    (both,) = budget.settle([judgement(1e-9, 1e-9)], 1)
    assert both.judgement.verdict == INCONCLUSIVE
    (firm,) = budget.settle([judgement(1.0, 1e-9, SUPPORTED)], 1)
    assert firm.judgement.verdict == SUPPORTED and firm.judgement.sentence == "so far"
    for missing in ("p_support", "p_refute"):
        with pytest.raises(ValueError, match="p-values"):
            budget.settle([dataclasses.replace(judgement(0.1, 0.1), **{missing: None})], 1)


def test_the_whole_family_errs_no_more_often_than_its_budget(monkeypatch):
    # Six claims exactly at their margin: whatever is decided about any of them is wrong in one direction.
    monkeypatch.setattr(budget, "SUITE_FALSE_ALARM", 0.2)
    rule, share, rng = Equivalence(margin=0.1, reason="a test"), budget.even_share(6), default_rng(5)

    def at_the_margin() -> Judgement:
        x = 0.1 + 0.05 * rng.standard_normal(15)
        row = Estimated(
            name="x",
            estimate=float(x.mean()),
            standard_error=float(x.std(ddof=1)) / math.sqrt(15),
            samples=15,
            scale=1.0,
        )
        return rule.judge(Evidence(rows=(row,)), level=share)

    wrong = {SUPPORTED: 0, REFUTED: 0}
    for _ in range(400):
        settled = budget.settle([at_the_margin() for _ in range(6)], 6)
        for verdict in wrong:
            wrong[verdict] += any(x.judgement.verdict == verdict for x in settled)
    limit = binom.ppf(1 - 1e-6, 400, 0.1)
    assert 0 < wrong[SUPPORTED] <= limit and 0 < wrong[REFUTED] <= limit


# -- the provenance --------------------------------------------------------------------------------------------


def record(name, ground, *uses, verdict="supported"):
    return {"id": name, "verdict": verdict, "uses": list(uses), "rests_on": [{"ground": ground, "text": "t"}]}


def test_grounds_are_inherited_from_all_that_is_used_firmest_first():
    rows = [
        record("c", "statistics", "b"),
        record("b", "round-off bound", "a", "elsewhere"),
        record("a", "symbolic proof"),
    ]
    close_over_uses(rows)
    assert [row["in_the_end"] for row in rows] == [
        ["symbolic proof", "round-off bound", "statistics"],
        ["symbolic proof", "round-off bound"],
        ["symbolic proof"],
    ]
    assert [row["fully_supported"] for row in rows] == [None, None, True]


def test_full_support_is_lost_below_and_kept_beside():
    rows = [
        record("a", "statistics", verdict="refuted"),
        record("b", "statistics", "a"),
        record("c", "statistics"),
        record("d", "statistics", "c"),
        record("e", "statistics", "c", verdict="inconclusive"),
    ]
    close_over_uses(rows)
    assert [row["fully_supported"] for row in rows] == [False, False, True, True, False]


def test_a_circle_of_uses_is_refused():
    with pytest.raises(ValueError, match="cycle"):
        close_over_uses([record("a", "statistics", "b"), record("b", "statistics", "a")])
