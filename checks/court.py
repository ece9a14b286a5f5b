"""Trying one claim: hypotheses, evidence, rule, and the wrong twin that must be refuted."""

import dataclasses
import fnmatch
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import sympy as sp

from checks.claim import Claim, Evidence, Judgement, Verdict
from checks.claims import CLAIMS
from checks.laboratory import Laboratory
from checks.rules import SUITE_FALSE_ALARM, Equivalence
from theory.setting import PolysemeError

Record = dict[str, Any]


def level_per_claim(claims: Iterable[Claim] = CLAIMS) -> float:
    """Each statistical claim's even share of the suite's false-alarm budget, over all registered claims."""
    return SUITE_FALSE_ALARM / max(1, sum(isinstance(claim.rule, Equivalence) for claim in claims))


def select(pattern: str) -> tuple[Claim, ...]:
    """The registered claims whose id matches a glob, or whose family is named; PolysemeError if there is none."""
    if pattern in {claim.family for claim in CLAIMS}:
        pattern = f"{pattern}/*"
    chosen = tuple(claim for claim in CLAIMS if fnmatch.fnmatchcase(claim.id, pattern))
    if not chosen:
        families = ", ".join(dict.fromkeys(f"'{claim.family}/*'" for claim in CLAIMS))
        raise PolysemeError(
            f"--only '{pattern}' matches no claim; type a claim id or a glob such as {families} (`polyseme claims` lists them)"
        )
    return chosen


def try_claim(claim: Claim, laboratory: Laboratory, *, replay: str) -> Record:
    """The record of one claim as results.json holds it, `fully_supported` still open.

    A claim outside its hypotheses is not_applicable. Evidence that cannot be gathered makes it missing, a broken
    check or a surviving wrong twin makes it an error; neither stops the other claims.
    """
    start = time.perf_counter()
    hypotheses: list[Record] = []
    verdict, sentence = Verdict.NOT_APPLICABLE, ""
    evidence: Evidence | None = None
    judgement: Judgement | None = None
    control: Record | None = None
    try:
        hypotheses += [
            {"name": x.name, "holds": x.holds(laboratory.regime), "got": x.got(laboratory.regime)}
            for x in claim.hypotheses
        ]
        if failed := [x for x in hypotheses if not x["holds"]]:
            sentence = f"needs {failed[0]['name']}; here {failed[0]['got']}"
        else:
            evidence, judgement = _judge(claim, laboratory, claim.asserts())
            verdict, sentence = judgement.verdict, judgement.sentence
            control = _try_twin(claim, laboratory)
            undecided = verdict == control["verdict"] == Verdict.INCONCLUSIVE
            if control["verdict"] != Verdict.REFUTED and not undecided:
                verdict = Verdict.ERROR
                sentence = f"the wrong twin '{claim.wrong_twin.name}' was not refuted ({control['sentence']})"
    except PolysemeError as problem:
        verdict, sentence = Verdict.MISSING, str(problem)
    except Exception as problem:  # one broken check must not cost the verdicts of the others; it is reported
        verdict, sentence = Verdict.ERROR, f"the check broke: {type(problem).__name__}: {problem}"
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
        "reason": claim.rule.reason,
        "rule": claim.rule.name,
        "hypotheses": hypotheses,
        "control": control,
        "evidence": as_plain(evidence) if evidence else {},
        "rests_on": _rests_on(claim),
        "uses": list(claim.uses),
        "fully_supported": None,
        "seconds": time.perf_counter() - start,
        "replay": f"{replay} --only {claim.id}",
    }


def _judge(claim: Claim, laboratory: Laboratory, asserted: Any) -> tuple[Evidence, Judgement]:
    evidence = claim.measure(laboratory, asserted)
    return evidence, claim.rule.judge(evidence, level=level_per_claim())


def _try_twin(claim: Claim, laboratory: Laboratory) -> Record:
    _, judgement = _judge(claim, laboratory, claim.wrong_twin.asserts())
    return {
        "name": claim.wrong_twin.name,
        "statement": claim.wrong_twin.statement,
        "verdict": str(judgement.verdict),
        "measured": judgement.measured,
        "bound": judgement.bound,
        "sentence": judgement.sentence,
    }


def _rests_on(claim: Claim) -> list[str]:
    level = f"statistics at level {level_per_claim():.2g}"
    return [level if basis == "statistics" else basis for basis in claim.rests_on]


def close_over_uses(records: list[Record]) -> None:
    """Fill in `fully_supported`: the claim and every claim that it uses are supported, over the whole graph.

    None where a claim that is needed was not tried in this run.
    """
    by_id = {record["id"]: record for record in records}

    def fully(identifier: str) -> bool | None:
        if identifier not in by_id:
            return None
        record = by_id[identifier]
        if record["verdict"] != Verdict.SUPPORTED:
            return False
        below = [fully(used) for used in record["uses"]]
        return False if False in below else None if None in below else True

    for record in records:
        record["fully_supported"] = fully(record["id"])


def exit_status(records: Iterable[Mapping[str, Any]]) -> int:
    """0 all applicable claims supported; 1 some claim refuted or some check broken; 3 inconclusive, missing or nothing tried."""
    verdicts = [record["verdict"] for record in records if record["verdict"] != Verdict.NOT_APPLICABLE]
    if Verdict.REFUTED in verdicts or Verdict.ERROR in verdicts:
        return 1
    return 0 if verdicts and all(verdict == Verdict.SUPPORTED for verdict in verdicts) else 3


def as_plain(value: Any) -> Any:
    """Evidence as nested plain data for JSON: dataclasses as dicts with their kind, expressions as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: as_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return fields if isinstance(value, Evidence) else {"kind": type(value).__name__.lower(), **fields}
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    if isinstance(value, sp.Basic):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    return value
