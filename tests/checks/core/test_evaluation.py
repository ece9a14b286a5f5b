"""Evaluation, verdict by verdict: what one claim, a run of claims and an exit status become."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from polyseme.checks.core.budget import SUITE_FALSE_ALARM, even_share, family_size
from polyseme.checks.core.claim import Claim, Hypothesis, Judgement, NegativeControl, Part, Plan, Verdict
from polyseme.checks.core.evaluation import as_plain, evaluate_claim, exit_status
from polyseme.checks.core.evidence import Compared, Estimated, Evidence, Exact, Fitted
from polyseme.checks.core.provenance import STATISTICS, Basis, Ground, close_over_uses
from polyseme.checks.core.records import decisive
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.core.rules.exact import Order
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.errors import PolysemeError
from polyseme.files import save_json
from polyseme.theory.multi_concept.regime import Regime

GOOD, BAD, OPEN = (1.0, 0.01), (2.0, 0.01), (1.1, 0.05)
"""Fitted orders with half-widths that the rule below supports, refutes and leaves open."""

HOLDS = Hypothesis(key="holds", name="holds", holds=lambda _regime: True, got=lambda _regime: "fine")
FAILS = Hypothesis(key="fine", name="a fine regime", holds=lambda _regime: False, got=lambda _regime: "a bad one")


def measure(_context, asserted) -> Evidence:
    """What is asserted is what is measured; an exception is raised."""
    if isinstance(asserted, BaseException):
        raise asserted
    return Evidence(rows=(Fitted(name="order", order=asserted[0], half_width=asserted[1]),), facts={"n": 3})


CLAIM = Claim.single(
    id="toy/order_is_one",
    statement="The order is one.",
    formula="p = 1",
    section="4",
    hypotheses=(HOLDS,),
    asserts=lambda: GOOD,
    measure=measure,
    rule=Order(declared=1.0, margin=0.1, reason="a test"),
    controls=(NegativeControl(name="two", statement="The order is two.", asserts=lambda: BAD),),
    rests_on=(STATISTICS, Basis(ground=Ground.PROOF, text="a proof")),
)


def tried(asserted=GOOD, control=BAD, **changes) -> dict:
    wrong = NegativeControl(name="two", statement="The order is two.", asserts=lambda: control)
    claim = CLAIM.replace(**{"asserts": lambda: asserted, "controls": (wrong,)} | changes)
    return evaluate_claim(claim, TrainingContext(Regime()), replay="polyseme verify x.toml")


@pytest.mark.parametrize(
    ("asserted", "control", "verdict"),
    [
        (GOOD, BAD, "supported"),
        (GOOD, GOOD, "error"),
        (GOOD, OPEN, "error"),
        (BAD, BAD, "refuted"),
        (BAD, GOOD, "error"),
        (BAD, OPEN, "error"),
        (OPEN, BAD, "inconclusive"),
        (OPEN, GOOD, "error"),
        (OPEN, OPEN, "inconclusive"),
        (PolysemeError("no room"), BAD, "missing"),
        (ValueError("a bug"), BAD, "error"),
        (AssertionError("a bug"), BAD, "error"),
        (MemoryError("no room"), BAD, "error"),
        (GOOD, PolysemeError("no room"), "missing"),
        (GOOD, ZeroDivisionError("a bug"), "error"),
        # What was refuted shows that the check can fail, whatever became of the control.
        (BAD, PolysemeError("no room"), "refuted"),
        (BAD, ZeroDivisionError("a bug"), "refuted"),
        (SystemExit(0), BAD, "error"),
        (GeneratorExit(), BAD, "error"),
    ],
)
def test_the_verdict_table(asserted, control, verdict):
    record = tried(asserted, control)
    assert record["verdict"] == verdict
    assert exit_status([record]) == {"supported": 0, "refuted": 1, "error": 1, "inconclusive": 3, "missing": 3}[verdict]


def test_a_surviving_control_is_named_in_the_sentence_and_a_broken_check_names_its_exception():
    assert "the negative control 'two' was not refuted" in tried(GOOD, GOOD)["sentence"]
    assert tried(ValueError("a bug"))["sentence"] == "the check broke: ValueError: a bug"
    assert tried(PolysemeError("no room"))["sentence"] == "no room"


@pytest.mark.parametrize("hypotheses", [(FAILS,), (HOLDS, FAILS), (FAILS, HOLDS)])
def test_outside_its_hypotheses_nothing_is_measured(hypotheses):
    record = tried(SystemError("measured"), SystemError("measured"), hypotheses=hypotheses)
    assert record["verdict"] == "not_applicable"
    assert record["sentence"] == "needs a fine regime; here a bad one"
    assert [x["holds"] for x in record["hypotheses"]] == [x is HOLDS for x in hypotheses]
    (part,) = record["parts"]
    assert (part["measured"], part["bound"], part["controls"], part["evidence"]) == (None, None, [], {})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Odd(Order):
    """A rule that judges whatever it is asked to; statistical if asked."""

    gives: object = None
    is_statistical: bool = False

    def judge(self, evidence, *, level):
        return super().judge(evidence, level=level) if self.gives is None else self.gives


def judgement(**changes) -> Judgement:
    return Judgement(**({"verdict": Verdict.SUPPORTED, "measured": 0.0, "bound": 1.0, "sentence": ""} | changes))


@pytest.mark.parametrize(
    ("evidence", "rule", "sentence"),
    [
        ([1, 2], {}, "measured list, expected Evidence"),
        (Evidence(rows=(), facts={"x": object()}), {}, "TypeError"),
        (None, {"gives": "supported"}, "judged supported, expected a Judgement"),
        (None, {"gives": judgement(verdict=Verdict.NOT_APPLICABLE)}, "expected a Judgement that supports"),
        (None, {"is_statistical": True}, "expected a Plan"),
        (None, {"is_statistical": True, "gives": judgement(p_support=0.1)}, "expected two probabilities"),
        (None, {"is_statistical": True, "gives": judgement(p_support=math.nan, p_refute=0.1)}, "two probabilities"),
    ],
)
def test_what_is_no_evidence_or_no_judgement_is_an_error_and_no_crash(evidence, rule, sentence):
    odd = Odd(declared=1.0, margin=0.1, reason="a test", **rule)
    plan = None if "Plan" in sentence else lambda _context: Plan(samples=1, detects=1.0, power=1.0)
    record = tried(
        measure=lambda context, asserted: measure(context, asserted) if evidence is None else evidence,
        rule=odd,
        plan=plan,
    )
    assert record["verdict"] == "error"
    assert sentence in record["sentence"]


def of_parts(*parts, **changes) -> dict:
    named = [dataclasses.replace(part, name=part.name or f"part {number}") for number, part in enumerate(parts)]
    claim = dataclasses.replace(CLAIM, parts=tuple(named), **changes)
    return evaluate_claim(claim, TrainingContext(Regime()), replay="")


def part(asserted, *controls, **changes) -> Part:
    wrong = tuple(NegativeControl(name=f"control {j}", asserts=lambda x=x: x) for j, x in enumerate(controls or (BAD,)))
    return dataclasses.replace(CLAIM.part(), asserts=lambda: asserted, controls=wrong, **changes)


@pytest.mark.parametrize(
    ("parts", "verdict", "sentence"),
    [
        ((part(GOOD), part(GOOD)), "supported", "part 0: "),
        ((part(GOOD), part(OPEN)), "inconclusive", "part 1: "),
        ((part(OPEN), part(BAD)), "refuted", "part 1: "),
        ((part(ValueError("a bug")), part(BAD)), "refuted", "part 1: "),
        ((part(PolysemeError("no room")), part(GOOD)), "missing", "part 0: no room"),
        ((part(GOOD), part(GOOD, hypotheses=(FAILS,))), "supported", "(not applicable: part 1)"),
        ((part(BAD, hypotheses=(FAILS,)), part(OPEN)), "inconclusive", "(not applicable: part 0)"),
        ((part(GOOD, hypotheses=(FAILS,)),) * 2, "not_applicable", "needs a fine regime; here a bad one"),
        ((part(GOOD, BAD, GOOD), part(GOOD)), "error", "'control 1' was not refuted"),
        ((part(GOOD, GOOD, BAD), part(GOOD)), "error", "'control 0' was not refuted"),
    ],
)
def test_a_claim_is_as_good_as_the_worst_of_its_parts_that_apply(parts, verdict, sentence):
    record = of_parts(*parts)
    assert record["verdict"] == verdict
    assert sentence in record["sentence"]


def test_the_decisive_part_is_the_worst_and_then_the_nearest_to_its_bound():
    near = (1.04, 0.01)
    assert decisive(of_parts(part(GOOD), part(near)))["name"] == "part 1"
    assert decisive(of_parts(part(near), part(GOOD)))["name"] == "part 0"
    assert decisive(of_parts(part(near), part(BAD), part(OPEN)))["name"] == "part 1"


def test_a_part_of_its_own_hypotheses_is_judged_where_they_are_dropped():
    claim = dataclasses.replace(CLAIM, parts=(part(GOOD, hypotheses=(FAILS,)),))
    context = TrainingContext(Regime())
    assert evaluate_claim(claim, context, replay="")["verdict"] == "not_applicable"
    assert evaluate_claim(claim, context, replay="", drop=("fine",))["verdict"] == "supported"


def test_an_interrupt_is_not_a_verdict():
    with pytest.raises(KeyboardInterrupt):
        tried(KeyboardInterrupt())


def test_the_record_holds_the_evidence_the_judgement_and_the_control():
    record = tried(OPEN)
    (part,) = record["parts"]
    assert part["evidence"]["rows"] == [{"kind": "fitted", "name": "order", "order": 1.1, "half_width": 0.05}]
    assert part["evidence"]["facts"] == {"n": 3}
    assert part["bound"] == 0.1
    assert part["measured"] == pytest.approx(0.15, rel=1e-12)  # 1.1 - 1 + 0.05 in doubles
    (control,) = part["controls"]
    assert control | {"sentence": ""} == {
        "name": "two",
        "statement": "The order is two.",
        "verdict": "refuted",
        "measured": 1.01,
        "bound": 0.1,
        "sentence": "",
    }
    assert record["replay"] == "polyseme verify x.toml --only toy/order_is_one"
    assert record["rests_on"] == [
        {"ground": "statistics", "text": STATISTICS.text},
        {"ground": "symbolic proof", "text": "a proof"},
    ]
    assert record["fully_supported"] is None


def records(**graph) -> list[dict]:
    """Records from name=(verdict, used, ...); fully_supported starts out wrong."""
    return [
        {"id": name, "verdict": v, "uses": list(used), "rests_on": [], "fully_supported": "?"}
        for name, (v, *used) in graph.items()
    ]


def closed(**graph) -> dict[str, bool | None]:
    rows = records(**graph)
    close_over_uses(rows)
    return {row["id"]: row["fully_supported"] for row in rows}


YES, NO, APART = "supported", "refuted", "not_applicable"


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": (YES,)}, {"a": True}),
        ({"a": (YES, "b"), "b": (YES,)}, {"a": True, "b": True}),
        ({"a": (YES, "b"), "b": (YES, "c"), "c": (NO,)}, {"a": False, "b": False, "c": False}),
        ({"a": (YES, "b"), "b": (YES, "c")}, {"a": None, "b": None}),
        ({"a": (YES, "b", "c"), "b": (NO,)}, {"a": False, "b": False}),
        ({"a": (YES, "c", "b"), "b": (NO,)}, {"a": False, "b": False}),
        ({"a": (NO, "b")}, {"a": False}),
        ({"a": (YES, "b"), "b": (APART,)}, {"a": False, "b": False}),
        ({"a": (YES, "c"), "b": (YES, "c"), "c": (YES,)}, {"a": True, "b": True, "c": True}),
        ({"a": ("inconclusive",), "b": ("missing",), "c": ("error",)}, {"a": False, "b": False, "c": False}),
    ],
)
def test_fully_supported_is_computed_over_everything_that_is_used(graph, expected):
    assert closed(**graph) == expected


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        ([YES], 0),
        ([YES, APART, YES], 0),
        ([YES, NO], 1),
        ([NO, "inconclusive", "missing"], 1),
        (["error", YES], 1),
        (["inconclusive", "error"], 1),
        ([YES, "inconclusive"], 3),
        ([YES, "missing", APART], 3),
        ([APART, APART], 3),
        ([], 3),
    ],
)
def test_exit_status(verdicts, status):
    assert exit_status({"verdict": verdict} for verdict in verdicts) == status


def test_every_verdict_has_an_exit_status():
    assert {verdict: exit_status([{"verdict": str(verdict)}]) for verdict in Verdict} == {
        Verdict.SUPPORTED: 0,
        Verdict.REFUTED: 1,
        Verdict.ERROR: 1,
        Verdict.INCONCLUSIVE: 3,
        Verdict.MISSING: 3,
        Verdict.NOT_APPLICABLE: 3,
    }


def test_the_false_alarm_budget_is_shared_by_the_statistical_claims():
    family = family_size(CLAIMS)
    parts = [part for claim in CLAIMS for part in claim.parts]
    assert family == sum(part.plan is not None for part in parts)
    assert 1 <= sum(isinstance(part.rule, Equivalence) for part in parts) < family < len(parts)
    # Two directions for each.
    assert even_share(family) * 2 * family == pytest.approx(SUITE_FALSE_ALARM, rel=1e-15)  # one division
    two = [CLAIM.replace(rule=Equivalence(margin=0.1, reason="a test"))] * 2 + [CLAIM]
    assert family_size(two) == 2
    assert family_size([CLAIM]) == 1, "no division by zero"


ROWS = (
    Exact(name="e", residual=sp.Symbol("x") / 3),
    Compared(name="c", difference=0.5, scale=1.0, roundings=2.0),
    Estimated(name="s", estimate=0.1, standard_error=0.2, samples=3, scale=1.0),
    Fitted(name="f", order=1.0, half_width=0.1),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)
def test_evidence_becomes_strict_json(row):
    facts = {
        "k": np.int64(3),
        "nested": {"a": (np.float64(0.5), [True, None])},
        "x": sp.Rational(1, 3),
        4: Verdict.ERROR,
    }
    plain = as_plain(Evidence(rows=(row,), facts=facts))
    again = json.loads(json.dumps(plain, allow_nan=False))
    assert again == plain
    assert again["facts"] == {"k": 3, "nested": {"a": [0.5, [True, None]]}, "x": "1/3", "4": "error"}
    assert again["rows"][0]["kind"] == type(row).__name__.lower()
    assert set(again["rows"][0]) == {"kind", *(field.name for field in dataclasses.fields(row))}


def test_a_record_with_infinities_is_written_as_strict_json(tmp_path: Path):
    # As of a negative control that diverged, whose difference is infinite.
    record = tried()
    record["parts"][0] |= {"measured": float("inf"), "bound": float("nan")}
    save_json(tmp_path / "r.json", [record])

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    (again,) = json.loads((tmp_path / "r.json").read_text(), parse_constant=refuse)
    assert (again["parts"][0]["measured"], again["parts"][0]["bound"]) == ("Infinity", "NaN")
