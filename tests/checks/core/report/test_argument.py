"""What a claim lacks: the claims far below it that are not supported."""

from polyseme.checks.core.report.argument import steps_of
from polyseme.checks.multi_concept.steps import STEPS


def record(name: str, verdict: str, uses: tuple[str, ...]) -> dict:
    known = {"statement": "S.", "formula": "x", "hypotheses": [], "parts": [{"hypotheses": [], "statistics": None}]}
    return known | {"id": f"closure/{name}", "verdict": verdict, "uses": [f"closure/{used}" for used in uses]}


def views(low: str) -> dict:
    chain = [record("low", low, ()), record("middle", "supported", ("low",)), record("top", "supported", ("middle",))]
    (step,) = steps_of(chain, [], STEPS)
    return {view.record["id"]: view for view in step.claims}


def test_what_a_claim_lacks_is_named_however_far_below():
    for found in (views("refuted"), views("not_applicable")):
        assert found["closure/top"].lacking == found["closure/middle"].lacking == ("closure/low",)
        assert found["closure/low"].lacking == ()


def test_what_does_not_apply_is_told_from_what_does_not_hold():
    assert views("not_applicable")["closure/top"].lacks_what_is_outside
    assert not views("refuted")["closure/top"].lacks_what_is_outside
    assert not views("supported")["closure/top"].lacks_what_is_outside


def test_what_was_not_tried_is_not_lacking():
    (step,) = steps_of([record("top", "supported", ("absent",))], [], STEPS)
    assert step.claims[0].lacking == ()
