"""A sweep read back for a map: which keys vary and how, and the rows of a claim over two of them."""

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from checks.sweeps.axes import Axis, Range, Values, tables
from checks.sweeps.folder import TABLE
from checks.sweeps.grid import LET
from checks.sweeps.scales import Scale, as_column, scale_of
from theory.setting import PolysemeError

if TYPE_CHECKING:
    import pyarrow as pa

VERDICT, MARGIN = "verdict", "margin"
"""What a map can show besides facts."""
LEAST_VALUES, LEAST_POINTS = 4, 30


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What a table of a sweep says about the sweep; it may be that of one that still runs."""

    path: Path
    axes: Mapping[str, Axis]
    """Of keys; a seed that has starts of its own has none, since each of its values is there once."""
    formulas: Mapping[str, str]
    names: Mapping[str, Axis]
    """What formulas use besides keys, which the table does not have."""
    varied: tuple[str, ...]
    """Keys that take several values, formulas last."""
    design: str
    drop: tuple[str, ...]
    claims: tuple[str, ...]
    """Claims that the table has rows of."""
    points: int
    judged: int
    """How many points the design has, and how many of them the table has."""
    values: Mapping[str, Mapping[Any, int]]
    """Of each regime key the values in the table, and how many rows have them."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What a map of one claim shows: a verdict and a number for each point, over two keys."""

    claim: str
    show: str
    """`verdict`, `margin` or the name of a fact."""
    x: Scale
    y: Scale
    celled: bool
    """Whether points lie on a grid, and share cells."""
    at: Float[np.ndarray, "point 2"]
    verdicts: tuple[str, ...]
    numbers: Float[np.ndarray, " point"]
    """The margin or the fact; NaN where there is none. Where nothing is allowed a margin is 0 if nothing was measured, or infinite."""
    alone: bool
    """Whether nothing but the seed varies besides the two keys."""

    def cells(self) -> Mapping[tuple[int, int], list[int]]:
        """The points of each cell, by its column and row."""
        columns = {value: j for j, value in enumerate(self.x.places(self.x.values).tolist())}
        rows = {value: j for j, value in enumerate(self.y.places(self.y.values).tolist())}
        found: dict[tuple[int, int], list[int]] = {}
        for number, (x, y) in enumerate(self.at.tolist()):
            found.setdefault((columns[x], rows[y]), []).append(number)
        return found

    def centre(self, points: Sequence[int]) -> float:
        """The median of the margins of these points, zeros and infinite ones among them, or the mean of a fact; NaN if there is none."""
        numbers = self.numbers[list(points)]
        if self.show == MARGIN:
            numbers = numbers[~np.isnan(numbers)]
            return float(np.median(numbers)) if numbers.size else math.nan
        numbers = numbers[np.isfinite(numbers)]
        return float(numbers.mean()) if numbers.size else math.nan

    @property
    def contoured(self) -> bool:
        """Whether a margin is known at enough places for contours between them: they are as dense as what they are drawn from.

        Four values of each key of a grid; of a scattered design thirty margins, over two keys alone.
        """
        if self.show != MARGIN:
            return False
        if self.celled:
            return min(len(self.x.values), len(self.y.values)) >= LEAST_VALUES
        return self.alone and int((np.isfinite(self.numbers) & (self.numbers > 0)).sum()) >= LEAST_POINTS


@contextmanager
def _parquet(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, KeyError, ValueError) as problem:
        words = str(problem).strip().splitlines() or [type(problem).__name__]
        raise PolysemeError(
            f"{path}: got '{words[0]}', expected the table that `polyseme sweep` wrote; type the same sweep again, which writes it anew"
        ) from None


def read_sweep(folder: Path) -> Swept:
    """What the table in a folder says about its sweep; PolysemeError if there is none, or nothing in it yet."""
    import pyarrow.parquet as pq

    path = folder / TABLE
    if not path.is_file():
        raise PolysemeError(
            f"{folder}: got no {TABLE} in it, expected the folder of a sweep; type the DIR of `polyseme sweep GRID.toml --out DIR`"
        )
    with _parquet(path):
        found = pq.read_table(path, columns=["point", "claim", *tables()])
        metadata = found.schema.metadata or {}
        plan, text = json.loads(metadata[b"polyseme.plan"]), metadata[b"polyseme.grid"].decode()
        file = tomllib.loads(text)
    if not found.num_rows:
        raise PolysemeError(
            f"{path}: got a table without rows, expected a point that is judged; wait for the first ones"
        )
    names = _axes({LET: file.pop(LET, {})})[0]
    axes, formulas = _axes(file)
    values = {key: _counted(found, key) for key in tables()}
    design = file["sweep"].get("design", "grid")
    several = [key for key in plan["varied"] if len(_known(values[key], axes.get(key), design)) > 1]
    return Swept(
        path=path,
        axes=axes,
        formulas=formulas,
        names=names,
        varied=tuple(several),
        design=design,
        drop=tuple(plan["drop"]),
        claims=tuple(_counted(found, "claim")),
        points=plan["points"],
        judged=len(_counted(found, "point")),
        values=values,
    )


def _axes(file: Mapping[str, Any]) -> tuple[dict[str, Axis], dict[str, str]]:
    """Axes and formulas of a GRID.toml that a sweep has read and found to be one."""
    axes: dict[str, Axis] = {}
    formulas: dict[str, str] = {}
    for section, keys in file.items():
        for key, value in keys.items() if section != "sweep" else ():
            if not isinstance(value, dict):
                continue
            if "formula" in value:
                formulas[key] = value["formula"]
            elif "starts" in value:
                continue
            elif "values" in value:
                axes[key] = Values(key=key, values=tuple(map(as_column, value["values"])))
            else:
                scale, count = value.get("scale", "linear"), value.get("count")
                axes[key] = Range(
                    key=key, first=float(value["from"]), last=float(value["to"]), scale=scale, count=count
                )
    return axes, formulas


def _counted(table: "pa.Table", column: str) -> dict[Any, int]:
    """The values of a column with how many rows have each."""
    import pyarrow as pa

    if pa.types.is_list(table.schema.field(column).type):
        rows = [None if x is None else tuple(x) for x in table.column(column).to_pylist()]
        return {value: rows.count(value) for value in dict.fromkeys(rows)}
    return {pair["values"]: pair["counts"] for pair in table.column(column).value_counts().to_pylist()}


def _known(seen: Mapping[Any, int], axis: Axis | None, design: str) -> set[Any]:
    """The values that a key takes or will take."""
    if isinstance(axis, Range) and design != "grid":
        return {axis.first, axis.last}
    return set(axis.listed() if axis is not None else ()) | set(seen)


def two_keys(swept: Swept, x: str | None, y: str | None) -> tuple[str, str]:
    """The keys of a map: those asked for, or the first two that take several values, the seed and what moves with others left out.

    PolysemeError for what is no key that varies, and if there are no two of them.
    """
    named = ", ".join(swept.varied) or "none"
    for option, key in (("--x", x), ("--y", y)):
        if key is not None and key not in swept.varied:
            got = "does not vary in this sweep" if key in tables() else "is no key of a regime"
            raise PolysemeError(f"{option} {key}: got a key that {got}, expected one of {named}")
    if x is not None and x == y:
        raise PolysemeError(f"got --x {x} and --y {y}, expected two different keys of {named}")
    # A formula moves with other keys, unless it has a name of its own.
    own = [key for key, text in swept.formulas.items() if _words(text) & set(swept.names)]
    order = [*(key for key in swept.varied if key not in swept.formulas), *(key for key in swept.varied if key in own)]
    free = [key for key in order if key not in (x, y, "seed")]
    chosen = [key or (free.pop(0) if free else None) for key in (x, y)]
    if chosen[0] is None or chosen[1] is None:
        raise PolysemeError(
            f"{swept.path.parent}: got a sweep over {named}, expected two keys that take several values; "
            "sweep one more key, or name --x and --y among these"
        )
    return chosen[0], chosen[1]


def _words(formula: str) -> set[str]:
    return set(re.findall(r"\w+", formula))


def besides(swept: Swept, x: str, y: str) -> tuple[str, ...]:
    """What varies besides the two keys of a map: other keys, and names that neither of the two follows."""
    used = set[str]().union(*(_words(swept.formulas.get(key, "")) for key in (x, y)))
    keys = [key for key in swept.varied if key not in (x, y, *swept.formulas)]
    return (*keys, *(name for name in swept.names if name not in used))


def sheet_of(swept: Swept, claim: str, x: str, y: str, show: str) -> Sheet:
    """The rows of a claim over two keys; PolysemeError if it has no such number."""
    import pyarrow.parquet as pq

    columns = ["verdict", x, y, *({VERDICT: (), MARGIN: ("measured", "allowed")}.get(show, ("facts",)))]
    with _parquet(swept.path):
        found = pq.read_table(swept.path, columns=columns, filters=[("claim", "=", claim)]).to_pydict()
    celled = swept.design == "grid" and {x, y} <= set(swept.axes)
    across, up = ([as_column(value) for value in found[key]] for key in (x, y))
    # Of the whole table, so that all claims have the same map.
    scales = [
        scale_of(key, swept.axes.get(key), list(map(as_column, swept.values[key])), celled=celled) for key in (x, y)
    ]
    if show == VERDICT:
        numbers = np.full(len(across), math.nan)
    elif show == MARGIN:
        numbers = np.array(list(map(_margin, found["measured"], found["allowed"])), dtype=np.float64)
    else:
        numbers = np.array([_fact(json.loads(text).get(show)) for text in found["facts"]], dtype=np.float64)
    return Sheet(
        claim=claim,
        show=show,
        x=scales[0],
        y=scales[1],
        celled=celled,
        at=np.stack([scales[0].places(across), scales[1].places(up)], axis=1),
        verdicts=tuple(found["verdict"]),
        numbers=numbers,
        alone=set(besides(swept, x, y)) <= {"seed"},
    )


def _margin(measured: float | None, allowed: float | None) -> float:
    """Measured over allowed: where nothing is allowed and nothing was measured the claim is met exactly, as far inside as can be."""
    if measured is None or allowed is None:
        return math.nan
    if allowed:
        return measured / allowed
    return math.inf if measured else 0.0


def counts_exactly(swept: Swept, claim: str) -> bool:
    """Whether nothing is allowed at any point of a claim, so that it has no margin."""
    import pyarrow.parquet as pq

    with _parquet(swept.path):
        found = pq.read_table(swept.path, columns=["allowed"], filters=[("claim", "=", claim)]).column("allowed")
    return set(found.drop_null().to_pylist()) == {0.0}


def facts_of(swept: Swept, claim: str) -> tuple[str, ...]:
    """The facts of a claim that are numbers, at one point or more."""
    import pyarrow.parquet as pq

    with _parquet(swept.path):
        texts = pq.read_table(swept.path, columns=["facts"], filters=[("claim", "=", claim)]).column("facts")
    found = [(name, value) for text in texts.to_pylist() for name, value in json.loads(text).items()]
    return tuple(dict.fromkeys(name for name, value in found if isinstance(value, bool | int | float)))


def _fact(value: Any) -> float:
    """A fact as a number; words are none."""
    return float(value) if isinstance(value, bool | int | float) else math.nan
