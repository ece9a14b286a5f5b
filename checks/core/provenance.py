"""Provenance: what each verdict rests on, and what is left of it when the claims that it uses are counted in."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from graphlib import TopologicalSorter
from typing import Any

Record = dict[str, Any]
"""A claim as results.json holds it."""


class Ground(StrEnum):
    """What a verdict can rest on, from firm to weak."""

    PROOF = "symbolic proof"
    EXACT = "exact arithmetic"
    ENCLOSURE = "enclosure"
    ROUND_OFF = "round-off bound"
    STATISTICS = "statistics"
    CONVERGENCE = "convergence"
    ASSUMPTION = "assumption"


GROUNDS: dict[Ground, str] = {
    Ground.PROOF: "decided in symbols, for every value that the symbols may take",
    Ground.EXACT: "decided in rational numbers at chosen points, without rounding",
    Ground.ENCLOSURE: "intervals that contain the exact value",
    Ground.ROUND_OFF: "two float64 computations that differ by no more than their roundings can explain",
    Ground.STATISTICS: "a sample of planned size, wrong no more often than the claim's share of the budget",
    Ground.CONVERGENCE: "a limit or a solver's error, extrapolated from finer and finer computations",
    Ground.ASSUMPTION: "taken for granted here",
}
"""Each ground with its meaning."""


@dataclass(frozen=True, kw_only=True)
class Basis:
    """One thing that a verdict rests on, in words."""

    ground: Ground
    text: str


ROUND_OFF = Basis(ground=Ground.ROUND_OFF, text="two computations, in float64")
STATISTICS = Basis(ground=Ground.STATISTICS, text="a sample of planned size")


def close_over_uses(records: Sequence[Record]) -> None:
    """Fill in `fully_supported` and `in_the_end` of results.json, over the whole graph of uses.

    `fully_supported`: the claim and every claim below it are supported; None where one of them was not tried.
    `in_the_end`: every ground that the claim or a claim below it rests on. ValueError if the graph has a cycle.
    """
    by_id = {record["id"]: record for record in records}
    for identifier in TopologicalSorter({name: set(record["uses"]) for name, record in by_id.items()}).static_order():
        if identifier not in by_id:
            continue
        record = by_id[identifier]
        below = [by_id.get(used) for used in record["uses"]]
        states = [None if used is None else used["fully_supported"] for used in below]
        record["fully_supported"] = (
            False if record["verdict"] != "supported" or False in states else None if None in states else True
        )
        grounds = {basis["ground"] for basis in record["rests_on"]}
        grounds.update(*(used["in_the_end"] for used in below if used))
        record["in_the_end"] = [str(ground) for ground in Ground if ground in grounds]
