"""Trying one claim: hypotheses, evidence, rule, and the negative control that must be refuted."""

import dataclasses
import time
import traceback
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import sympy as sp

from polyseme.checks.core.budget import settle
from polyseme.checks.core.claim import Claim, Judgement, OutsideHypotheses, Plan, Verdict
from polyseme.checks.core.context import Context
from polyseme.checks.core.evidence import Evidence, Facts
from polyseme.checks.core.provenance import Record
from polyseme.errors import PolysemeError
from polyseme.files import as_json

_DECIDED = (Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE)


def evaluate_claim(claim: Claim, context: Context, *, replay: str, drop: Collection[str] = ()) -> Record:
    """The record of one claim as results.json holds it; what needs the other claims is still open (`settle_records`).

    A claim outside its hypotheses is not_applicable. Evidence that cannot be gathered makes it missing, a broken
    check or a surviving negative control makes it an error; neither stops the other claims. Hypotheses whose key is in `drop`
    are not asked for. Statistical claims are judged at the level of the context. A record has a `traceback` only if the
    check broke.
    """
    start = time.perf_counter()
    hypotheses: list[Record] = []
    verdict, sentence = Verdict.NOT_APPLICABLE, ""
    evidence: Evidence | None = None
    judgement: Judgement | None = None
    control: Record | None = None
    plan: Plan | None = None
    where: Record = {}
    try:
        here, hypotheses = grant(claim, context, drop)
        if failed := [x for x in hypotheses if x["holds"] is False]:
            sentence = f"needs {failed[0]['name']}; here {failed[0]['got']}"
        else:
            plan = _planned(claim, here)
            evidence, judgement = judge(claim, here, claim.asserts())
            verdict, sentence = judgement.verdict, judgement.sentence
            if plan and (taken := _samples(evidence)) != {plan.samples}:
                raise ValueError(f"planned {plan.samples} samples for each row and took {sorted(taken)}")
            control, where = _judge_control(claim, here)
            verdict, sentence = _with_control(verdict, sentence, control)
    except OutsideHypotheses as problem:
        verdict, sentence, plan = Verdict.NOT_APPLICABLE, str(problem), None
    except PolysemeError as problem:
        verdict, sentence = Verdict.MISSING, str(problem)
    except KeyboardInterrupt:
        raise
    except BaseException as problem:  # one broken check must not cost the verdicts of the others; it is reported
        verdict, sentence = Verdict.ERROR, f"the check broke: {type(problem).__name__}: {problem}"
        where = {"traceback": traceback.format_exc()}
    dropped = "".join(f" --drop {key}" for key in sorted(drop))
    return {
        "id": claim.id,
        "family": claim.family,
        "statement": claim.statement,
        "formula": claim.formula,
        "section": claim.section,
        "scope": claim.scope,
        "verdict": str(verdict),
        "sentence": sentence,
        "measured": judgement.measured if judgement else None,
        "measured_text": claim.rule.measures,
        "bound": judgement.bound if judgement else None,
        "slack": judgement.slack if judgement else None,
        "reason": claim.rule.reason,
        "rule": claim.rule.name,
        "statistics": _statistics(judgement, plan, context.level) if claim.rule.is_statistical else None,
        "hypotheses": hypotheses,
        "control": control,
        "evidence": as_plain(evidence) if evidence else {},
        "rests_on": [{"ground": str(basis.ground), "text": basis.text} for basis in claim.rests_on],
        "uses": list(claim.uses),
        "fully_supported": None,
        "in_the_end": [],
        "seconds": time.perf_counter() - start,
        "replay": f"{replay} --only {claim.id}{dropped}",
        **where,
    }


def grant(claim: Claim, context: Context, drop: Collection[str] = ()) -> tuple[Context, list[Record]]:
    """The context of the regime with what the check arranges, and what became of each hypothesis.

    `holds` is true, false, or None for a hypothesis that is dropped. Nothing is arranged once one has failed.
    """
    regime, records, failed = context.regime, [], False
    for hypothesis in claim.hypotheses:
        record: Record = {"key": hypothesis.key, "name": hypothesis.name, "holds": None, "got": "dropped"}
        if hypothesis.key not in drop:
            arranged = bool(hypothesis.arranged) and not failed and not hypothesis.holds(regime)
            if arranged:
                regime = regime.replace(**{name: dict(changes) for name, changes in hypothesis.arranged.items()})
            holds = bool(hypothesis.holds(regime))
            failed = failed or not holds
            record |= {"holds": holds, "got": hypothesis.got(regime) + (", arranged by the check" if arranged else "")}
        records.append(record)
    return context.at(regime), records


def judge(claim: Claim, context: Context, asserted: Any) -> tuple[Evidence, Judgement]:
    """Evidence for what is asserted, and the judgement on it at the level of the context.

    TypeError or ValueError for what is no evidence, cannot be written down, or is no judgement: a check of unknown origin
    may give anything.
    """
    evidence = claim.measure(context, asserted)
    if not isinstance(evidence, Evidence):
        raise TypeError(f"measured {type(evidence).__name__}, expected Evidence")
    as_json(as_plain(evidence))
    judgement = claim.rule.judge(evidence, level=context.level)
    if not isinstance(judgement, Judgement) or judgement.verdict not in _DECIDED:
        raise TypeError(f"judged {judgement}, expected a Judgement that supports, refutes or leaves open")
    numbers = [judgement.measured, judgement.bound]
    if claim.rule.is_statistical:
        numbers += [judgement.p_support, judgement.p_refute]
        if not all(isinstance(p, float) and 0 <= p <= 1 for p in numbers[2:]):
            raise ValueError(f"a statistical rule gave the p-values {numbers[2:]}, expected two probabilities")
    if not all(isinstance(number, float) for number in numbers):
        raise TypeError(f"judged {numbers}, expected numbers")
    return evidence, judgement


def _planned(claim: Claim, context: Context) -> Plan | None:
    """The plan of a statistical claim, which has to have one; nothing for others."""
    plan = claim.plan(context) if claim.plan else None
    if claim.rule.is_statistical and not isinstance(plan, Plan):
        raise TypeError(f"planned {plan}, expected a Plan: the size of a sample is fixed before it is taken")
    return plan


def _with_control(verdict: Verdict, sentence: str, control: Record) -> tuple[Verdict, str]:
    """The verdict once the negative control has been tried too.

    A control that could not be run leaves a refutation as it is: what was refuted shows that the check can fail. It makes
    every other verdict as good as the control's. A control that survives makes the check an error, whatever it says.
    """
    fate, name = control["verdict"], f"the negative control '{control['name']}'"
    if fate == Verdict.REFUTED or verdict == fate == Verdict.INCONCLUSIVE:
        return verdict, sentence
    if fate in (Verdict.MISSING, Verdict.ERROR):
        note = f"{name} could not be tried: {control['sentence']}"
        return (verdict, f"{sentence} ({note})") if verdict == Verdict.REFUTED else (Verdict(fate), note)
    return Verdict.ERROR, f"{name} was not refuted ({control['sentence']})"


def _samples(evidence: Evidence) -> set[int]:
    """How many samples the rows that have any were made of."""
    sizes = {getattr(row, "samples", getattr(row, "trials", 0)) for row in evidence.rows}
    return sizes - {0}


def _judge_control(claim: Claim, context: Context) -> tuple[Record, Record]:
    """What became of the negative control, and the traceback if it broke the check."""
    record: Record = {
        "name": claim.negative_control.name,
        "statement": claim.negative_control.statement or claim.negative_control.name,
    }
    try:
        _, judgement = judge(claim, context, claim.negative_control.asserts())
    except PolysemeError as problem:
        return record | {"verdict": str(Verdict.MISSING), "measured": None, "bound": None, "sentence": str(problem)}, {}
    except KeyboardInterrupt:
        raise
    except BaseException as problem:  # as for the claim itself
        broke = f"{type(problem).__name__}: {problem}"
        record |= {"verdict": str(Verdict.ERROR), "measured": None, "bound": None, "sentence": broke}
        return record, {"traceback": traceback.format_exc()}
    return record | {
        "verdict": str(judgement.verdict),
        "measured": judgement.measured,
        "bound": judgement.bound,
        "sentence": judgement.sentence,
    }, {}


def _statistics(judgement: Judgement | None, plan: Plan | None, share: float) -> Record:
    """What a statistical claim spends of the budget, and what it sees for it; adjusted p-values are still open."""
    return {
        "share": share,
        "p_support": judgement.p_support if judgement else None,
        "p_refute": judgement.p_refute if judgement else None,
        "adjusted_support": None,
        "adjusted_refute": None,
        "samples": plan.samples if plan else None,
        "detects": plan.detects if plan else None,
        "power": plan.power if plan else None,
    }


def settle_records(records: Iterable[Record], family: int) -> None:
    """Holm's procedure over the statistical claims of a run (`budget.settle`): open verdicts may become firm."""
    tried = [x for x in records if x["statistics"] and x["statistics"]["p_support"] is not None]
    tried = [x for x in tried if x["verdict"] in _DECIDED]
    judgements = [
        Judgement(
            verdict=Verdict(x["verdict"]),
            measured=x["measured"],
            bound=x["bound"],
            sentence=x["sentence"],
            p_support=x["statistics"]["p_support"],
            p_refute=x["statistics"]["p_refute"],
        )
        for x in tried
    ]
    for record, settled in zip(tried, settle(judgements, family), strict=True):
        record["statistics"] |= {
            "adjusted_support": settled.adjusted_support,
            "adjusted_refute": settled.adjusted_refute,
        }
        # A control that is still open cannot be what made the check able to fail.
        if record["control"]["verdict"] == Verdict.REFUTED:
            record |= {"verdict": str(settled.judgement.verdict), "sentence": settled.judgement.sentence}


def exit_status(records: Iterable[Mapping[str, Any]]) -> int:
    """0 all applicable claims supported; 1 some claim refuted or some check broken; 3 inconclusive, missing or nothing tried."""
    verdicts = [record["verdict"] for record in records if record["verdict"] != Verdict.NOT_APPLICABLE]
    if Verdict.REFUTED in verdicts or Verdict.ERROR in verdicts:
        return 1
    return 0 if verdicts and all(verdict == Verdict.SUPPORTED for verdict in verdicts) else 3


def as_plain(value: Any) -> Any:
    """Evidence as nested plain data for JSON: dataclasses as dicts with their kind, facts without one, expressions as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: as_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return fields if isinstance(value, Evidence | Facts) else {"kind": type(value).__name__.lower(), **fields}
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    if isinstance(value, sp.Basic):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    return value
