"""Scans in the tables of sweeps: one quantity goes through its values, all else fixed, with many starts at each.

What a table scans follows from which keys vary in it (`Scanned`). Points that are alike but for the seed and what follows the
quantity, such as the step size, are a scan; its places are counts of starts all of whose concepts were learned. Bounds over these
counts are those of independent trials of one probability, so at one place only the seed may vary, and each occurs once.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from polyseme.checks.core.claim import Verdict
from polyseme.checks.core.sweeps.folder import TABLE
from polyseme.checks.core.sweeps.table import columns_of
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.claims.dynamics.learned import LearnedFacts
from polyseme.checks.multi_concept.conditions.brackets import Place
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import Regime

Row = dict[str, Any]
"""A point: its regime keys, the verdict, and as `facts` what the claim says of its concepts (`LearnedFacts`), or None."""
KEYS = tuple(Regime.keys())
Scanned = Literal["width", "penalty", "noise", "extras", "map"]

# With fewer starts at each value nothing can be shown at it: a half is not excluded by as many successes, whatever the family.
FEWEST_STARTS = 10
# Keys that may follow the quantity and make no scan of their own; at one place each of them but the seed has one value.
FOLLOWING = ("seed", "seeds", "eta", "gamma", "steps", "record_every", "device", "engine", "sampler", "dtype")
_QUANTITIES: dict[Scanned, tuple[str, ...]] = {
    "width": ("m",),
    "penalty": ("lam",),
    "map": ("m", "lam"),
    "noise": ("sigma_x", "sigma_y"),
    "extras": ("p_extra",),
}
_NAMED: dict[Scanned, tuple[str, ...]] = {
    "width": ("K1",),
    "penalty": ("m", "K1", "L"),
    "map": ("K1", "L"),
    "noise": ("d_x", "noise on"),
    "extras": ("K1", "L"),
}
TYPE = "type polyseme sweep regimes/sweeps/width.toml --out DIR"
_JUDGED = (Verdict.SUPPORTED, Verdict.REFUTED)
# A claim that does not hold for a start says nothing of it; of these it is not known what would have come out.
_LOST = (Verdict.ERROR, Verdict.MISSING, Verdict.INCONCLUSIVE)


@dataclass(frozen=True, kw_only=True)
class Table:
    """What was read of one sweep: its points with their facts, what it scans, and where it comes from.

    `lost`: points whose outcome is not known (error, missing, inconclusive), without facts.
    """

    scanned: Scanned
    rows: tuple[Row, ...]
    lost: tuple[Row, ...]
    source: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Points that differ in the quantity and the seed alone. `of`: one of them; `words`: how it differs from other scans.

    `family`: how many places all scans of the table have together, those included at which every outcome was lost.
    """

    words: str
    of: Row
    places: tuple[Place, ...]
    family: int


def read_table(folder: Path) -> Table:
    """The table of a sweep; PolysemeError if there is none, if it judges several claims, or if it scans nothing that is known."""
    path = folder / TABLE
    if not path.is_file():
        got = f"a folder without {TABLE}" if folder.is_dir() else "a file" if folder.exists() else "no such folder"
        raise PolysemeError(f"{folder}: got {got}, expected a folder that polyseme sweep has written; {TYPE}")
    names = (*KEYS, "claim", "verdict", "facts", "code_hash")
    try:
        import pyarrow.parquet as pq

        plan = json.loads(pq.read_schema(path).metadata[b"polyseme.plan"])
        columns = columns_of(path, names)
    except (OSError, ValueError, KeyError, TypeError):
        raise PolysemeError(
            f"{path}: got a file that is no table of a sweep, expected one that polyseme sweep has written; {TYPE}"
        ) from None
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    claims = sorted({row["claim"] for row in rows})
    if len(claims) != 1:
        raise PolysemeError(f"{path}: got {len(claims)} claims ({', '.join(claims)}), expected a table of one; {TYPE}")
    facts = next((part.facts for claim in CLAIMS if claim.id == claims[0] for part in claim.parts), None)
    facts = facts if facts and issubclass(facts, LearnedFacts) else None
    judged = [_with_facts(row, facts, path) for row in rows if row["verdict"] in _JUDGED]
    lost = [_with_facts(row, None, path) for row in rows if row["verdict"] in _LOST]
    if not judged:
        raise PolysemeError(f"{path}: got no point that was supported or refuted, expected some; {TYPE}")
    seeds = [row["seed"] for row in judged]
    source = {
        "sweep": Path(plan["source"]).name,
        "claim": claims[0],
        "points": len(judged),
        "left out": len(rows) - len(judged),
        "left out as": dict(sorted(Counter(row["verdict"] for row in rows if row["verdict"] not in _JUDGED).items())),
        "planned": plan["points"],
        "seeds": [min(seeds), max(seeds)],
        "different seeds": len(set(seeds)),
        "code": plan["code"],
    }
    return Table(scanned=_scanned([*judged, *lost], path), rows=tuple(judged), lost=tuple(lost), source=source)


def _with_facts(row: Row, facts: type[LearnedFacts] | None, path: Path) -> Row:
    """With what the claim's facts say of the concepts, None if they say nothing; and with the side on which there is noise."""
    sides = [word for key, word in (("sigma_x", "words"), ("sigma_y", "labels")) if row[key] > 0]
    found = facts.read(json.loads(row["facts"]) or {}, source=str(path)) if facts else None
    return row | {"facts": found, "noise on": " and ".join(sides) or "nothing"}


def _scanned(rows: Sequence[Row], path: Path) -> Scanned:
    several = {key for key in KEYS if len({repr(row[key]) for row in rows}) > 1}
    if several & {"sigma_x", "sigma_y"}:
        return "noise"
    if "p_extra" in several:
        return "extras"
    if "lam" in several:
        groups = _grouped(rows, "penalty").values()
        scanned = [group for group in groups if len({row["lam"] for row in group}) > 1]
        if scanned:
            starts = min(_least(group, "lam") for group in scanned)
            return "penalty" if starts >= FEWEST_STARTS else "map"
    if "m" in several:
        return "width"
    raise PolysemeError(
        f"{path}: got a sweep over {', '.join(sorted(several)) or 'nothing'}, expected one over m, lam, sigma_x, sigma_y or p_extra; {TYPE}"
    )


def _least(rows: Sequence[Row], key: str) -> int:
    counts: dict[Any, int] = defaultdict(int)
    for row in rows:
        counts[_written(row[key])] += 1
    return min(counts.values())


def _fixed(scanned: Scanned) -> list[str]:
    """The keys that a scan is over at one value."""
    ignored = {*FOLLOWING, *_QUANTITIES[scanned]}
    return [*(key for key in KEYS if key not in ignored), *(["noise on"] if scanned == "noise" else [])]


def _grouped(rows: Sequence[Row], scanned: Scanned, *, without: str = "") -> dict[tuple[str, ...], list[Row]]:
    keys = [key for key in _fixed(scanned) if key != without]
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(repr(row[key]) for key in keys)].append(row)
    return groups


def scans(table: Table, x: Callable[[Row], float]) -> list[Scan]:
    """The scans of a table, in the order of their keys; `x`: the quantity at a point. PolysemeError for places of no equal trials.

    A scan all of whose outcomes were lost is not among them, but its places are of the family.
    """
    lost = {id(row) for row in table.lost}
    groups = list(_grouped([*table.rows, *table.lost], table.scanned).values())
    naming = _NAMED[table.scanned]
    groups.sort(key=lambda group: tuple(group[0][key] for key in naming))
    named = [key for key in naming if len({group[0][key] for group in groups}) > 1] or list(naming[:1])
    words = [", ".join(_words(key, group[0][key]) for key in named) for group in groups]
    if len(set(words)) < len(words):
        others = [key for key in _fixed(table.scanned) if key not in named]
        others = [key for key in others if len({repr(group[0][key]) for group in groups}) > 1]
        words = [
            ", ".join([word, *(_words(key, group[0][key]) for key in others)])
            for word, group in zip(words, groups, strict=True)
        ]
    placed = [_placed(group, x) for group in groups]
    for places in placed:
        for at in places.values():
            require_trials(at, table, of=(*FOLLOWING, *_QUANTITIES[table.scanned]))
    family = sum(map(len, placed))
    return [
        Scan(words=word, of=group[0], places=counts, family=family)
        for word, group, places in zip(words, groups, placed, strict=True)
        if (
            counts := tuple(
                _counted(at, rows, lost)
                for at, rows in sorted(places.items())
                if not all(id(row) in lost for row in rows)
            )
        )
    ]


def followers(table: Table, x: Callable[[Row], float]) -> list[str]:
    """Keys that change with the quantity, if they leave every scan with one place; empty otherwise."""
    rows = [*table.rows, *table.lost]

    def apart(without: str = "") -> bool:
        return all(len(_placed(group, x)) == 1 for group in _grouped(rows, table.scanned, without=without).values())

    if len(_placed(rows, x)) == 1 or not apart():
        return []
    several = [key for key in _fixed(table.scanned) if len({repr(row[key]) for row in rows}) > 1]
    return [key for key in several if not apart(key)] or several


def require_trials(rows: Sequence[Row], table: Table, *, of: Sequence[str]) -> None:
    """PolysemeError unless these points of one place differ in their seeds, and in no other of the keys `of`."""
    quantity = " and ".join(_QUANTITIES[table.scanned])
    place = ", ".join(_words(key, rows[0][key]) for key in _QUANTITIES[table.scanned])
    for key in of:
        values = sorted({_written(row[key]) for row in rows})
        if key != "seed" and len(values) > 1:
            raise PolysemeError(
                f"{table.source['sweep']}: got {len(values)} values of {key} ({', '.join(values[:3])}{', ...' if len(values) > 3 else ''}) beside {place}, "
                f"expected one, since the starts there are counted as trials of one probability; set {key} to one value or to a formula in "
                f"{quantity} and sweep again"
            )
    seed, times = Counter(row["seed"] for row in rows).most_common(1)[0]
    if times > 1:
        raise PolysemeError(
            f"{table.source['sweep']}: got seed {seed} {times} times at {place}, expected a start of its own for every point there; "
            f"type seed = {{ starts = {len(rows)} }} below [ensemble] and sweep again"
        )


def _words(key: str, value: Any) -> str:
    if key == "noise on":
        return f"noise on {value}"
    return f"{key} = {value:g}" if isinstance(value, float) else f"{key} = {value}"


def _written(value: Any) -> str:
    # As many digits as tell places apart.
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _placed(rows: Sequence[Row], x: Callable[[Row], float]) -> dict[float, list[Row]]:
    found: dict[float, list[Row]] = defaultdict(list)
    for row in rows:
        # Twelve digits: a formula may give the same number in two ways.
        found[float(f"{x(row):.12g}")].append(row)
    return found


def _counted(x: float, rows: Sequence[Row], lost: Collection[int]) -> Place:
    judged = [row for row in rows if id(row) not in lost]
    return Place(x=x, hits=sum(map(all_learned, judged)), trials=len(judged), lost=len(rows) - len(judged))


def all_learned(row: Row) -> bool:
    """Whether every concept of a point was learned: a fact of claims about which are, the verdict of those that say so of all."""
    return bool(row["facts"].all_learned) if row["facts"] else row["verdict"] == Verdict.SUPPORTED


def concepts_learned(row: Row) -> tuple[int, int]:
    """How many concepts of a point were learned, and of how many that occur."""
    occurring = concepts_occurring(row)
    hits = row["facts"].share_learned * occurring
    assert math.isclose(hits, round(hits), abs_tol=1e-6)
    return round(hits), occurring


def concepts_occurring(row: Row) -> int:
    """How many concepts of a point occur."""
    return row["K1"] if row["weights"] is None else sum(weight > 0 for weight in row["weights"])
