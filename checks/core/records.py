"""Reading the records of claims, as results.json holds them: which part decides, which controls were tried."""

import math
from collections.abc import Mapping
from typing import Any

from polyseme.checks.core.claim import Verdict
from polyseme.checks.core.provenance import Record

DECISIVE = (
    Verdict.REFUTED,
    Verdict.ERROR,
    Verdict.MISSING,
    Verdict.INCONCLUSIVE,
    Verdict.SUPPORTED,
    Verdict.NOT_APPLICABLE,
)
"""Of several verdicts on one claim the first of these that occurs is the claim's: a part that does not apply says nothing."""


def decisive(record: Mapping[str, Any]) -> Record:
    """The part on which the verdict of a claim rests: of the worst verdict, and of those the one nearest to its bound."""
    return min(record["parts"], key=lambda part: (DECISIVE.index(Verdict(part["verdict"])), -share_of(part)))


def share_of(part: Mapping[str, Any]) -> float:
    """Measured over allowed, or what was measured where nothing is allowed; 0 where there is no number."""
    if part["measured"] is None or part["bound"] is None:
        return 0.0
    measured, bound = float(part["measured"]), float(part["bound"])
    share = measured / bound if bound else measured
    return 0.0 if math.isnan(share) else share


def controls_of(record: Mapping[str, Any]) -> list[Record]:
    """The negative controls of all parts."""
    return [control for part in record["parts"] for control in part["controls"]]


def hypotheses_of(record: Mapping[str, Any]) -> list[Record]:
    """The hypotheses of the claim and of all its parts."""
    return [*record["hypotheses"], *(x for part in record["parts"] for x in part["hypotheses"])]


def traceback_in(record: Mapping[str, Any]) -> str:
    """The traceback of the first part or control that broke; nothing if none did."""
    broken = (x["traceback"] for part in record["parts"] for x in (part, *part["controls"]) if "traceback" in x)
    return next(broken, "")


def is_statistical(record: Mapping[str, Any]) -> bool:
    """Whether chance has a part in the verdict."""
    return any(part["statistics"] for part in record["parts"])
