"""What holds, what does not, and under which hypotheses, in words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polyseme.checks.core.claim import VERDICTS
from polyseme.checks.core.records import hypotheses_of

_WORDS = {
    "supported": "supported",
    "refuted": "refuted",
    "inconclusive": "inconclusive",
    "missing": "without evidence",
    "error": "in error",
}


def summary_sentence(records: Iterable[Mapping[str, Any]], *, partial: bool = False, total: int | None = None) -> str:
    """What holds and what does not, in plain words; and first, if so, that only a part of `total` was tried."""
    records = list(records)
    is_part = partial and len(records) != total
    opening, tried = (f"{part_tried(len(records), total)} ", "tried ") if is_part else ("", "")
    if is_part and not records:
        return opening.strip()
    groups = {str(verdict): [record for record in records if record["verdict"] == verdict] for verdict in VERDICTS}
    found = {word: groups[verdict] for verdict, word in _WORDS.items() if groups[verdict]}
    applicable = sum(map(len, found.values()))
    if not found:
        return f"{opening}No {tried}claim applies to this regime."
    noun = f"{tried}claims that apply to this regime"
    if len(found) == 1:
        ((word, group),) = found.items()
        one = f"The one {tried}claim that applies to this regime is"
        subject = {1: one, 2: f"Both {noun} are"}.get(applicable, f"All {applicable} {noun} are")
        parts = [f"{subject} {word}{_about_any_regime(group)}"]
    else:
        good = found.pop("supported", [])
        subject = f"{len(good) or 'None'} of the {applicable} {noun} {'are' if len(good) > 1 else 'is'}"
        parts = [f"{subject} supported{_about_any_regime(good)}"]
        parts += [f"{len(group)} {'is' if len(group) == 1 else 'are'} {word}" for word, group in found.items()]
    if outside := len(groups["not_applicable"]):
        parts.append(f"{outside} more {'does' if outside == 1 else 'do'} not apply")
    return opening + "; ".join(parts) + "."


def part_tried(tried: int, total: int | None) -> str:
    """That only some claims were tried."""
    if tried == 0:
        return "No claim was tried."
    return f"Only {tried} of {'the' if total is None else total} claims {'was' if tried == 1 else 'were'} tried."


def _about_any_regime(group: Sequence[Mapping[str, Any]]) -> str:
    """How many claims of a group are about any regime, in brackets; nothing if none is."""
    count = sum(record.get("scope") == "any regime" for record in group)
    if count == 0:
        return ""
    if len(group) == 1:
        return " (it is about any regime)"
    them = ("both" if count == 2 else "all") if count == len(group) else str(count)
    return f" ({them} of them {'is' if count == 1 else 'are'} about any regime)"


_WORST = ("error", "refuted", "missing", "inconclusive")


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A hypothesis as some claims asked for it: its name, what was got, and the ids of these claims."""

    name: str
    got: str
    claims: tuple[str, ...]


def failures(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The claims that apply and do not hold, the worst first."""
    found = [record for record in records if record["verdict"] in _WORST]
    return sorted(found, key=lambda record: _WORST.index(record["verdict"]))


def unmet(records: Iterable[Mapping[str, Any]]) -> list[Condition]:
    """The hypotheses for which claims are not applicable, the most frequent first.

    A claim stands under every hypothesis that it lacks. What only the evidence can show to fail has no name but its sentence.
    """
    outside = [record for record in records if record["verdict"] == "not_applicable"]
    found: dict[tuple[str, str], list[str]] = {}
    for record in outside:
        lacking = [(x["name"], x["got"]) for x in hypotheses_of(record) if x["holds"] is False]
        for pair in dict.fromkeys(lacking or [(record["sentence"], "")]):
            found.setdefault(pair, []).append(record["id"])
    return _conditions(found)


def met(records: Iterable[Mapping[str, Any]]) -> list[Condition]:
    """The hypotheses under which claims were judged, the most frequent first."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record["verdict"] != "not_applicable":
            for pair in dict.fromkeys((x["name"], x["got"]) for x in hypotheses_of(record) if x["holds"]):
                found.setdefault(pair, []).append(record["id"])
    return _conditions(found)


def _conditions(found: Mapping[tuple[str, str], list[str]]) -> list[Condition]:
    rows = [Condition(name=name, got=got, claims=tuple(claims)) for (name, got), claims in found.items()]
    return sorted(rows, key=lambda row: -len(row.claims))


def foundation_sentence(records: Sequence[Mapping[str, Any]]) -> str:
    """How many supported claims rest on supported claims alone, and how many assume nothing under hypotheses; "" if none holds."""
    supported = [record for record in records if record["verdict"] == "supported"]
    if not supported:
        return ""
    unknown = sum(record["fully_supported"] is None for record in supported)
    broken = sum(record["fully_supported"] is False for record in supported)
    free = sum(not any(x["holds"] for x in record["hypotheses"]) for record in supported)
    parts = [
        f"{free} of the supported claims {'asks' if free == 1 else 'ask'} for no hypothesis on the regime, "
        f"the other {len(supported) - free} for those listed below"
        if 0 < free < len(supported)
        else "No supported claim asks for a hypothesis on the regime"
        if free
        else "Every supported claim asks for hypotheses on the regime, listed below"
    ]
    if broken:
        parts.append(
            f"{broken} {'rests' if broken == 1 else 'rest'} on a claim that does not hold or does not apply here"
        )
    if unknown:
        parts.append(f"{unknown} {'rests' if unknown == 1 else 'rest'} on a claim that was not tried")
    if not broken and not unknown:
        parts.append("whatever a supported claim rests on is supported too")
    return "; ".join(parts) + "."
