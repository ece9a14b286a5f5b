"""Several verifications side by side, as one page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from polyseme.checks.core.claim import VERDICTS
from polyseme.checks.core.report.drawing import inlined
from polyseme.checks.core.report.page import environment
from polyseme.checks.core.report.run import Run, load_run
from polyseme.checks.core.report.summary import summary_sentence
from polyseme.checks.core.theory import FigureEntry, Step, Theory, step_of
from polyseme.errors import PolysemeError
from polyseme.files import write_atomic

ROOM = 4_500_000
"""How many bytes of figures the page may hold, so that all of it stays below 5 MB."""

Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the runs: the name by which the page tells it from the others, its folder, and how its verdicts count."""

    name: str
    folder: str
    run: Run
    sentence: str
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A claim with its record in each run; None where it was not tried."""

    id: str
    statement: str
    text: str
    records: tuple[Record | None, ...]

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The verdicts that it got, each once."""
        return tuple(dict.fromkeys(str(x["verdict"]) for x in self.records if x is not None))

    @property
    def differs(self) -> bool:
        """Whether the runs that tried it disagree about it."""
        return len(self.verdicts) > 1


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """The same figure of each run, as drawn; None where a run has none of that name."""

    title: str
    plates: tuple[tuple[FigureEntry, Markup] | None, ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(len(plate[1].encode()) for plate in self.plates if plate)


def load_sides(folders: Sequence[Path], *, older: Callable[[], Theory]) -> list[Side]:
    """The runs in these folders, named by as much of their paths as tells them apart.

    PolysemeError if one of them is not that of a run (`load_run`), or is named twice.
    """
    places = [folder.resolve() for folder in folders]
    if twice := next((folder for folder, place in zip(folders, places, strict=True) if places.count(place) > 1), None):
        raise PolysemeError(f"{twice}: got this folder twice, expected different runs; type each folder once")
    runs = [load_run(folder, older=older) for folder in folders]
    return [
        Side(
            name=name,
            folder=str(folder),
            run=run,
            sentence=summary_sentence(run.records, partial=run.partial, total=run.total),
            counts={verdict: sum(x["verdict"] == verdict for x in run.records) for verdict in VERDICTS},
        )
        for name, folder, run in zip(_names(places), folders, runs, strict=True)
    ]


def write_comparison(path: Path, sides: Sequence[Side]) -> None:
    """Write the page that shows the runs side by side, whole or not at all. It holds everything that it needs.

    Figures that would make it larger than 5 MB are left out, the largest first, and named.
    """
    rows = rows_of(sides)
    shelves, left_out = _fitting(_shelves(sides))
    known = list({step.key: step for side in sides for step in side.run.steps}.values())
    steps = {step.key: step for step in known} | {(s := step_of(row.id, known)).key: s for row in rows}
    groups: list[tuple[int, Step, list[Row]]] = [
        (place, step, members)
        for place, (key, step) in enumerate(steps.items(), start=1)
        if (members := [row for row in rows if step_of(row.id, known).key == key])
    ]
    page = (
        environment({key: text for side in sides for key, text in side.run.meanings.items()})
        .get_template("compare.html.j2")
        .render(
            sides=sides,
            rows=rows,
            groups=groups,
            differing=[row for row in rows if row.differs],
            partly=sum(None in row.records for row in rows),
            regime=differing_keys(sides),
            counts={verdict: sum(verdict in row.verdicts for row in rows) for verdict in VERDICTS},
            listed=[(place, step.key, step.title) for place, step, _ in groups],
            shelves=shelves,
            left_out=left_out,
        )
    )
    write_atomic(path, page)


def rows_of(sides: Sequence[Side]) -> list[Row]:
    """Every claim that some run tried, in the order of the first run that did."""
    tables = [{record["id"]: record for record in side.run.records} for side in sides]
    names = dict.fromkeys(name for table in tables for name in table)
    rows = []
    for name in names:
        records = tuple(table.get(name) for table in tables)
        first = next(record for record in records if record is not None)
        hypotheses = [x["name"] for x in first["hypotheses"]]
        text = " ".join([name, first["statement"], first["formula"], *hypotheses])
        rows.append(Row(id=name, statement=first["statement"], text=text, records=records))
    return rows


def differing_keys(sides: Sequence[Side]) -> list[tuple[str, str, tuple[Any, ...]]]:
    """Table, key and the value in each run, of the regime keys that are not the same in all."""
    regimes = [side.run.regime_tables for side in sides if side.run.regime_tables]
    pairs = dict.fromkeys((table, key) for regime in regimes for table, keys in regime.items() for key in keys)
    rows = []
    for table, key in pairs:
        values = tuple(side.run.regime_tables.get(table, {}).get(key, "not known") for side in sides)
        if any(value != values[0] for value in values):
            rows.append((table, key, values))
    return rows


def _shelves(sides: Sequence[Side]) -> list[Shelf]:
    """The figures of the same name, in the order of the first run that has them."""
    stems = dict.fromkeys(entry.stem for side in sides for entry in side.run.figures)
    shelves = []
    for number, stem in enumerate(stems, start=1):
        found = [next((x for x in side.run.figures if x.stem == stem), None) for side in sides]
        shelves.append(
            Shelf(
                title=next(x.title for x in found if x),
                plates=tuple((x, inlined(x, f"f{number}-{k}")) if x else None for k, x in enumerate(found)),
            )
        )
    return shelves


def _fitting(shelves: list[Shelf]) -> tuple[list[Shelf], list[str]]:
    """The figures that there is room for, and the titles of those left out."""
    kept = list(shelves)
    while sum(shelf.size for shelf in kept) > ROOM:
        kept.remove(max(kept, key=lambda shelf: shelf.size))
    return kept, [shelf.title for shelf in shelves if shelf not in kept]


def _names(places: Sequence[Path]) -> list[str]:
    """The ends of the paths, as long as is needed to tell them apart."""
    for length in range(1, max(len(place.parts) for place in places) + 1):
        names = ["/".join(place.parts[-length:]) for place in places]
        if len(set(names)) == len(names):
            return names
    raise AssertionError("different paths have different names")
