"""Trying one claim: hypotheses, and for each part evidence, rule, and the negative controls that must be refuted."""

import dataclasses
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import sympy as sp

from polyseme.checks.core.budget import settle
from polyseme.checks.core.claim import (
    Claim,
    Hypothesis,
    Judgement,
    NegativeControl,
    OutsideHypotheses,
    Part,
    Plan,
    Verdict,
)
from polyseme.checks.core.context import Context
from polyseme.checks.core.evidence import Evidence, Facts
from polyseme.checks.core.provenance import Record
from polyseme.checks.core.records import decisive
from polyseme.errors import PolysemeError
from polyseme.files import as_json

_DECIDED = (Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why there is no judgement: the verdict that this makes, in a sentence, and a traceback if the check broke."""

    verdict: Verdict
    sentence: str
    traceback: str = ""


def attempted(call: Callable[[], T]) -> T | Failure:
    """What a call of unknown origin returns, or why it did not. KeyboardInterrupt is let through.

    Outside the hypotheses nothing applies; evidence that cannot be gathered is missing; all else that is raised is an error.
    """
    try:
        return call()
    except OutsideHypotheses as problem:
        return Failure(verdict=Verdict.NOT_APPLICABLE, sentence=str(problem))
    except PolysemeError as problem:
        return Failure(verdict=Verdict.MISSING, sentence=str(problem))
    except KeyboardInterrupt:
        raise
    except BaseException as problem:  # one broken check must not cost the verdicts of the others; it is reported
        sentence = f"{type(problem).__name__}: {problem}"
        return Failure(verdict=Verdict.ERROR, sentence=sentence, traceback=traceback.format_exc())


def evaluate_claim(claim: Claim, context: Context, *, replay: str, drop: Collection[str] = ()) -> Record:
    """The record of one claim as results.json holds it; what needs the other claims is still open (`settle_records`).

    A claim outside its hypotheses is not_applicable. Evidence that cannot be gathered makes it missing, a broken
    check or a surviving negative control makes it an error; neither stops the other claims. Hypotheses whose key is in `drop`
    are not asked for. Statistical parts are judged at the level of the context. A part has a `traceback` only if its
    check broke.
    """
    start = time.perf_counter()
    granted = attempted(lambda: grant(claim.hypotheses, context, drop))
    here, hypotheses = (context, []) if isinstance(granted, Failure) else granted
    outside = granted if isinstance(granted, Failure) else _outside(hypotheses)
    parts = [_evaluate_part(part, here, drop, outside) for part in claim.parts]
    dropped = "".join(f" --drop {key}" for key in sorted(drop))
    record: Record = {
        "id": claim.id,
        "family": claim.family,
        "statement": claim.statement,
        "formula": claim.formula,
        "section": claim.section,
        "scope": claim.scope,
        "verdict": "",
        "sentence": "",
        "hypotheses": hypotheses,
        "parts": parts,
        "rests_on": [{"ground": str(basis.ground), "text": basis.text} for basis in claim.rests_on],
        "uses": list(claim.uses),
        "fully_supported": None,
        "in_the_end": [],
        "seconds": time.perf_counter() - start,
        "replay": f"{replay} --only {claim.id}{dropped}",
    }
    _conclude(record)
    return record


def _conclude(record: Record) -> None:
    """The verdict on a claim and its sentence, from those on its parts."""
    part = decisive(record)
    record["verdict"], record["sentence"] = part["verdict"], part["sentence"]
    if len(record["parts"]) > 1 and part["verdict"] != Verdict.NOT_APPLICABLE:
        silent = [x["name"] for x in record["parts"] if x["verdict"] == Verdict.NOT_APPLICABLE]
        without = f" (not applicable: {', '.join(silent)})" if silent else ""
        record["sentence"] = f"{part['name']}: {part['sentence']}{without}"


def _evaluate_part(part: Part, context: Context, drop: Collection[str], outside: Failure | None) -> Record:
    """The record of one part; `outside` says why it is not even tried."""
    hypotheses: list[Record] = []
    plan: Plan | None = None

    def measured() -> tuple[Plan | None, Evidence, Judgement, list[Record]] | Failure:
        nonlocal plan
        here, granted = grant(part.hypotheses, context, drop)
        hypotheses.extend(granted)
        if failed := _outside(granted):
            return failed
        plan = _planned(part, here)
        evidence, judgement = judge(part, here, part.asserts())
        if plan and (taken := _samples(evidence)) != {plan.samples}:
            raise ValueError(f"planned {plan.samples} samples for each row and took {sorted(taken)}")
        return plan, evidence, judgement, [_judge_control(control, part, here) for control in part.controls]

    found = outside or attempted(measured)
    record: Record = {
        "name": part.name,
        "verdict": "",
        "sentence": "",
        "measured": None,
        "measured_text": part.rule.measures,
        "bound": None,
        "slack": None,
        "reason": part.rule.reason,
        "rule": part.rule.name,
        "statistics": _statistics(None, None, context.level) if part.rule.is_statistical else None,
        "hypotheses": hypotheses,
        "controls": [],
        "evidence": {},
    }
    if isinstance(found, Failure):
        broke = "the check broke: " if found.verdict == Verdict.ERROR else ""
        record |= {"verdict": str(found.verdict), "sentence": broke + found.sentence}
        if part.rule.is_statistical and found.verdict != Verdict.NOT_APPLICABLE:
            record["statistics"] = _statistics(None, plan, context.level)
        return record | ({"traceback": found.traceback} if found.traceback else {})
    plan, evidence, judgement, controls = found
    verdict, sentence = judgement.verdict, judgement.sentence
    for control in controls:
        verdict, sentence = _with_control(verdict, sentence, control)
    return record | {
        "verdict": str(verdict),
        "sentence": sentence,
        "measured": judgement.measured,
        "bound": judgement.bound,
        "slack": judgement.slack,
        "statistics": _statistics(judgement, plan, context.level) if part.rule.is_statistical else None,
        "controls": controls,
        "evidence": as_plain(evidence),
    }


def _outside(hypotheses: Iterable[Record]) -> Failure | None:
    """That the first of some hypotheses which does not hold does not."""
    for one in hypotheses:
        if one["holds"] is False:
            return Failure(verdict=Verdict.NOT_APPLICABLE, sentence=f"needs {one['name']}; here {one['got']}")
    return None


def grant(
    hypotheses: Iterable[Hypothesis], context: Context, drop: Collection[str] = ()
) -> tuple[Context, list[Record]]:
    """The context of the regime with what checks arrange, and what became of each hypothesis.

    `holds` is true, false, or None for a hypothesis that is dropped. Nothing is arranged once one has failed.
    """
    regime, records, failed = context.regime, [], False
    for hypothesis in hypotheses:
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


def judge(part: Part, context: Context, asserted: Any) -> tuple[Evidence, Judgement]:
    """Evidence for what is asserted, and the judgement on it at the level of the context.

    TypeError or ValueError for what is no evidence, cannot be written down, or is no judgement: a check of unknown origin
    may give anything.
    """
    evidence = part.measure(context, asserted)
    if not isinstance(evidence, Evidence):
        raise TypeError(f"measured {type(evidence).__name__}, expected Evidence")
    as_json(as_plain(evidence))
    judgement = part.rule.judge(evidence, level=context.level)
    if not isinstance(judgement, Judgement) or judgement.verdict not in _DECIDED:
        raise TypeError(f"judged {judgement}, expected a Judgement that supports, refutes or leaves open")
    numbers = [judgement.measured, judgement.bound]
    if part.rule.is_statistical:
        numbers += [judgement.p_support, judgement.p_refute]
        if not all(isinstance(p, float) and 0 <= p <= 1 for p in numbers[2:]):
            raise ValueError(f"a statistical rule gave the p-values {numbers[2:]}, expected two probabilities")
    if not all(isinstance(number, float) for number in numbers):
        raise TypeError(f"judged {numbers}, expected numbers")
    return evidence, judgement


def _planned(part: Part, context: Context) -> Plan | None:
    """The plan of a statistical part, which has to have one; nothing for others."""
    plan = part.plan(context) if part.plan else None
    if part.rule.is_statistical and not isinstance(plan, Plan):
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


def _judge_control(control: NegativeControl, part: Part, context: Context) -> Record:
    """What became of a negative control, with the traceback if it broke the check."""
    found = attempted(lambda: judge(part, context, control.asserts())[1])
    verdict = Verdict.MISSING if found.verdict == Verdict.NOT_APPLICABLE else found.verdict
    numbers = (None, None) if isinstance(found, Failure) else (found.measured, found.bound)
    record: Record = {
        "name": control.name,
        "statement": control.statement or control.name,
        "verdict": str(verdict),
        "measured": numbers[0],
        "bound": numbers[1],
        "sentence": found.sentence,
    }
    return record | ({"traceback": found.traceback} if isinstance(found, Failure) and found.traceback else {})


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
    """Holm's procedure over the statistical parts of a run (`budget.settle`): open verdicts may become firm."""
    records = list(records)
    tried = [part for record in records for part in record["parts"]]
    tried = [x for x in tried if x["statistics"] and x["statistics"]["p_support"] is not None]
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
    for part, settled in zip(tried, settle(judgements, family), strict=True):
        part["statistics"] |= {
            "adjusted_support": settled.adjusted_support,
            "adjusted_refute": settled.adjusted_refute,
        }
        # A control that is still open cannot be what made the check able to fail.
        if all(control["verdict"] == Verdict.REFUTED for control in part["controls"]):
            part |= {"verdict": str(settled.judgement.verdict), "sentence": settled.judgement.sentence}
    for record in records:
        _conclude(record)


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
