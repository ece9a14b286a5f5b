"""Claims as the page shows them: in the steps of the argument, with what they rest on and what rests on them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from polyseme.checks.core.claim import VERDICTS
from polyseme.checks.core.records import hypotheses_of, is_statistical
from polyseme.checks.core.theory import FigureEntry, Step, step_of

Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plate:
    """A figure with its number in the page, and the ids of the claims that it belongs to."""

    number: int
    entry: FigureEntry
    claims: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ClaimView:
    """A claim: its record, the tried claims that use it, its figures, and the text that a search looks through.

    `lacking`: the tried claims that it rests on, directly or not, and that are not supported; `lacks_what_is_outside`: there
    are some, and all of them are not applicable.
    """

    record: Record
    users: tuple[str, ...]
    lacking: tuple[str, ...]
    lacks_what_is_outside: bool
    plates: tuple[Plate, ...]
    text: str

    @property
    def kind(self) -> str:
        """Whether chance has a part in the verdict."""
        return "statistical" if is_statistical(self.record) else "exact"


@dataclass(frozen=True, kw_only=True)
class Link:
    """How often claims of one step use claims of another, by its place in the argument; the worst of their verdicts."""

    place: int
    times: int
    worst: str


@dataclass(frozen=True, kw_only=True)
class StepView:
    """A step with its claims, verdicts, the figures of its claims alone, and the steps that it rests on."""

    place: int
    step: Step
    claims: tuple[ClaimView, ...]
    counts: Mapping[str, int]
    plates: tuple[Plate, ...]
    below: tuple[Link, ...]
    above: tuple[Link, ...]


def plates_of(figures: Sequence[FigureEntry], records: Sequence[Record]) -> list[Plate]:
    """The figures, numbered from 1, with those claims among the records that their patterns name."""
    return [
        Plate(
            number=number,
            entry=entry,
            claims=tuple(x["id"] for x in records if any(fnmatchcase(x["id"], pattern) for pattern in entry.claims)),
        )
        for number, entry in enumerate(figures, start=1)
    ]


def steps_of(records: Sequence[Record], plates: Sequence[Plate], steps: Sequence[Step]) -> list[StepView]:
    """The steps that have claims, in the order of the argument, those of the user's own claims last.

    Within a step claims keep their order, which is that of registration.
    """
    known = {step.key: step for step in steps} | {(s := step_of(x["id"], steps)).key: s for x in records}
    member = {x["id"]: step_of(x["id"], steps).key for x in records}
    keys = [key for key in known if key in member.values()]
    place = {key: number for number, key in enumerate(known, start=1)}
    verdicts = {x["id"]: str(x["verdict"]) for x in records}
    uses = [
        (x["id"], used) for x in records for used in x["uses"] if used in member and member[used] != member[x["id"]]
    ]
    return [
        StepView(
            place=place[key],
            step=known[key],
            claims=tuple(_view(x, records, plates) for x in records if member[x["id"]] == key),
            counts=Counter(verdicts[name] for name in member if member[name] == key),
            plates=tuple(x for x in plates if home(x, member) == key),
            below=_links([(member[used], used) for user, used in uses if member[user] == key], place, verdicts),
            above=_links([(member[user], user) for user, used in uses if member[used] == key], place, verdicts),
        )
        for key in keys
    ]


def home(plate: Plate, member: Mapping[str, str]) -> str:
    """The step in which a figure is shown: that of all its claims; "" if they are of several, or none."""
    homes = {member[name] for name in plate.claims}
    return homes.pop() if len(homes) == 1 else ""


def _links(ends: Sequence[tuple[str, str]], place: Mapping[str, int], verdicts: Mapping[str, str]) -> tuple[Link, ...]:
    order = [str(verdict) for verdict in VERDICTS]
    times = Counter(key for key, _ in ends)
    return tuple(
        Link(
            place=place[key],
            times=times[key],
            worst=max((verdicts[name] for other, name in ends if other == key), key=order.index),
        )
        for key in sorted(times, key=lambda key: place[key])
    )


def _view(record: Record, records: Sequence[Record], plates: Sequence[Plate]) -> ClaimView:
    below = _all_below(record, {x["id"]: x for x in records})
    lacking = [x for x in records if x["id"] in below and x["verdict"] != "supported"]
    hypotheses = [f"{x['name']} {x['got']}" for x in hypotheses_of(record)]
    return ClaimView(
        record=record,
        users=tuple(x["id"] for x in records if record["id"] in x["uses"]),
        lacking=tuple(x["id"] for x in lacking),
        lacks_what_is_outside=bool(lacking) and all(x["verdict"] == "not_applicable" for x in lacking),
        plates=tuple(x for x in plates if record["id"] in x.claims),
        text=" ".join([record["id"], record["statement"], record["formula"], *hypotheses]),
    )


def _all_below(record: Record, by_id: Mapping[str, Record]) -> set[str]:
    """Every claim that this one uses, or that one of them uses, as far as they were tried."""
    found: set[str] = set()
    waiting = list(record["uses"])
    while waiting:
        name = waiting.pop()
        if name in by_id and name not in found:
            found.add(name)
            waiting += by_id[name]["uses"]
    return found
