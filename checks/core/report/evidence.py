"""Rows of evidence as tables, the worst first."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polyseme.checks.core.evidence import in_words

_COLUMNS = {
    "exact": {"name": "name", "residual": "residual"},
    "compared": {
        "name": "name",
        "difference": "difference",
        "scale": "scale",
        "roundings": "allowed round-offs",
    },
    "estimated": {
        "name": "name",
        "estimate": "estimate",
        "standard_error": "standard error",
        "samples": "samples",
        "scale": "scale",
    },
    "fitted": {"name": "name", "order": "order", "half_width": "half width"},
    "bounded": {
        "name": "name",
        "value": "value",
        "bound": "bound",
        "standard_error": "standard error",
        "samples": "samples",
    },
    "counted": {"name": "name", "hits": "hits", "trials": "trials", "bound": "bound"},
    "points": {
        "name": "name",
        "places": "places",
        "means": "means",
        "standard_errors": "standard errors",
        "samples": "samples",
    },
    "distance": {"name": "name", "distance": "distance", "samples": "samples", "others": "samples of the other"},
}
"""The kinds of evidence rows (`polyseme.checks.core.claim.Row`), with the heading of each field."""


@dataclass(frozen=True, kw_only=True)
class EvidenceTable:
    """Evidence rows of one kind, as a table: the worst first where `order` says what that is.

    `zeros` names the residuals that are exactly zero, which need no row each.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    order: str = ""
    zeros: tuple[str, ...] = ()


def evidence_tables(evidence: Any) -> list[EvidenceTable] | None:
    """The rows of a claim's evidence as one table for each kind; None if they are not of a shape known here."""
    rows = evidence.get("rows") if isinstance(evidence, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        return None
    if not all(row.keys() >= _COLUMNS.get(str(row.get("kind")), {"no such kind": ""}).keys() for row in rows):
        return None
    kinds = dict.fromkeys(row["kind"] for row in rows)
    return [_evidence_table(kind, [row for row in rows if row["kind"] == kind]) for kind in kinds]


def fact_tables(facts: Mapping[str, Any]) -> dict[str, EvidenceTable]:
    """Facts that are lists of lines with the same keys, such as what was predicted and measured of each scenario, as tables."""
    tables = {}
    for key, value in facts.items():
        lines = value if isinstance(value, list) and all(isinstance(line, Mapping) for line in value) else []
        if len(lines) > 1 and all(line.keys() == lines[0].keys() for line in lines):
            tables[key] = EvidenceTable(
                columns=tuple(map(in_words, lines[0])), rows=[tuple(line.values()) for line in lines]
            )
    return tables


def _evidence_table(kind: str, rows: list[Mapping[str, Any]]) -> EvidenceTable:
    """Rows of one kind with their known columns first, then whatever else they hold."""
    others = {key: key.replace("_", " ") for row in rows for key in row if key not in {"kind", *_COLUMNS[kind]}}
    columns = _COLUMNS[kind] | others
    zeros = [row for row in rows if _is_zero(row)]
    shown = sorted((row for row in rows if not _is_zero(row)), key=_badness, reverse=True)
    orders = {"compared": "nearest to its bound first", "estimated": "largest share of its scale first"}
    return EvidenceTable(
        columns=tuple(columns.values()),
        rows=[tuple(_clipped(row.get(key)) for key in columns) for row in shown],
        order=orders.get(kind, "") if len(shown) > 1 else "",
        zeros=tuple(str(row["name"]) for row in zeros),
    )


def _is_zero(row: Mapping[str, Any]) -> bool:
    return row["kind"] == "exact" and str(row["residual"]) in {"0", "0.0"}


def _badness(row: Mapping[str, Any]) -> float:
    """What a row of numbers is sorted by; what is not a number counts as the worst."""
    try:
        if row["kind"] == "compared":
            value = float(row["difference"]) / (float(row["scale"]) * float(row["roundings"]))
        elif row["kind"] == "estimated":
            value = abs(float(row["estimate"])) / float(row["scale"])
        else:
            return 0.0
    except (TypeError, ValueError, ZeroDivisionError):
        return math.inf
    return math.inf if math.isnan(value) else value


def _clipped(value: Any) -> Any:
    """Text that is longer than anybody reads, cut; results.json has all of it."""
    return f"{value[:297]}…" if isinstance(value, str) and len(value) > 300 else value
