"""A sweep read back for a map: which keys vary and how, and the rows of a claim over two of them, or over the only one."""

import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from polyseme.checks.core.rules.bound import proportion_interval
from polyseme.checks.core.sweeps.axes import Axis, Range, Values
from polyseme.checks.core.sweeps.folder import TABLE
from polyseme.checks.core.sweeps.grid import LET
from polyseme.checks.core.sweeps.scales import Scale, as_column, scale_of
from polyseme.checks.core.theories import KEY
from polyseme.errors import PolysemeError
from polyseme.regime import Key

if TYPE_CHECKING:
    import pyarrow as pa

VERDICT, MARGIN = "verdict", "margin"
"""What a map can show besides facts."""
LEAST_VALUES, LEAST_POINTS = 4, 30


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What a table of a sweep says about the sweep; it may be that of one that still runs."""

    path: Path
    keys: Mapping[str, Key]
    """Those of the theory's regime."""
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

    @property
    def seed(self) -> str:
        """The name of the key that random streams derive from."""
        return next(key.name for key in self.keys.values() if key.role == "seed")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What a picture of one claim shows: a verdict and a number for each point, with a key across."""

    claim: str
    show: str
    """`verdict`, `margin` or the name of a fact."""
    x: Scale
    celled: bool
    """Whether points lie on a grid, and share cells."""
    verdicts: tuple[str, ...]
    numbers: Float[np.ndarray, " point"]
    """The margin or the fact; NaN where there is none. Where nothing is allowed a margin is 0 if nothing was measured, or infinite."""

    def centre(self, points: Sequence[int]) -> float:
        """The median of the margins of these points, zeros and infinite ones among them, or the mean of a fact; NaN if there is none."""
        numbers = self.numbers[list(points)]
        if self.show == MARGIN:
            numbers = numbers[~np.isnan(numbers)]
            return float(np.median(numbers)) if numbers.size else math.nan
        numbers = numbers[np.isfinite(numbers)]
        return float(numbers.mean()) if numbers.size else math.nan


@dataclass(frozen=True, kw_only=True)
class Profile(Rows):
    """Rows over one key; `celled` ones share its values."""

    at: Float[np.ndarray, " point"]

    def cells(self) -> Mapping[int, list[int]]:
        """The points at each value, by its number among the values."""
        columns = {value: j for j, value in enumerate(self.x.places(self.x.values).tolist())}
        found: dict[int, list[int]] = {}
        for number, x in enumerate(self.at.tolist()):
            found.setdefault(columns[x], []).append(number)
        return found

    @property
    def several(self) -> bool:
        """Whether some value has several points, so that there are shares and means."""
        return self.celled and len(set(self.at.tolist())) < len(self.at)


@dataclass(frozen=True, kw_only=True)
class Sheet(Rows):
    """Rows over two keys."""

    y: Scale
    at: Float[np.ndarray, "point 2"]
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


def read_sweep(folder: Path, keys: Mapping[str, Key]) -> Swept:
    """What the table in a folder says about its sweep, of regimes with these keys; PolysemeError if there is none, or nothing in it yet."""
    import pyarrow.parquet as pq

    path = folder / TABLE
    if not path.is_file():
        raise PolysemeError(
            f"{folder}: got no {TABLE} in it, expected the folder of a sweep; type the DIR of `polyseme sweep GRID.toml --out DIR`"
        )
    with _parquet(path):
        found = pq.read_table(path, columns=["point", "claim", *keys])
        metadata = found.schema.metadata or {}
        plan, text = json.loads(metadata[b"polyseme.plan"]), metadata[b"polyseme.grid"].decode()
        file = tomllib.loads(text)
    if not found.num_rows:
        raise PolysemeError(
            f"{path}: got a table without rows, expected a point that is judged; wait for the first ones"
        )
    names = _axes({LET: file.pop(LET, {})}, keys)[0]
    file.pop(KEY, None)
    axes, formulas = _axes(file, keys)
    values = {key: _counted(found, key) for key in keys}
    design = file["sweep"].get("design", "grid")
    several = [key for key in plan["varied"] if len(_known(values[key], axes.get(key), design)) > 1]
    return Swept(
        path=path,
        keys=keys,
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


def _axes(file: Mapping[str, Any], keys: Mapping[str, Key]) -> tuple[dict[str, Axis], dict[str, str]]:
    """Axes and formulas of a GRID.toml that a sweep has read and found to be one."""
    axes: dict[str, Axis] = {}
    formulas: dict[str, str] = {}
    for section, values in file.items():
        for key, value in values.items() if section != "sweep" else ():
            if not isinstance(value, dict):
                continue
            if "formula" in value:
                formulas[key] = value["formula"]
            elif "starts" in value:
                continue
            elif "values" in value:
                axes[key] = Values(
                    key=key, values=tuple(as_column(keys[key], x) if key in keys else x for x in value["values"])
                )
            else:
                scale, count = value.get("scale", "linear"), value.get("count")
                axes[key] = Range(
                    key=key,
                    whole=key in keys and keys[key].is_whole,
                    first=float(value["from"]),
                    last=float(value["to"]),
                    scale=scale,
                    count=count,
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


def chosen_keys(swept: Swept, x: str | None, y: str | None) -> tuple[str, ...]:
    """The two keys of a map, or the key of a profile if only one varies; the seed and what moves with others do not count.

    Those asked for, or the first that take several values. PolysemeError for what is no key that varies, and if there is none.
    """
    named = ", ".join(swept.varied) or "none"
    for option, key in (("--x", x), ("--y", y)):
        if key is not None and key not in swept.varied:
            got = "does not vary in this sweep" if key in swept.keys else "is no key of a regime"
            raise PolysemeError(f"{option} {key}: got a key that {got}, expected one of {named}")
    if x is not None and x == y:
        raise PolysemeError(f"got --x {x} and --y {y}, expected two different keys of {named}")
    # A formula moves with other keys, unless it has a name of its own.
    own = [key for key, text in swept.formulas.items() if _words(text) & set(swept.names)]
    order = [*(key for key in swept.varied if key not in swept.formulas), *(key for key in swept.varied if key in own)]
    seed = swept.seed
    keys = [key for key in order if key != seed]
    if y is None and x != seed and len(keys) < 2 and (x or keys):
        return (x or keys[0],)
    if x is None and y not in (None, seed) and len(keys) < 2:
        raise PolysemeError(
            f"--y {y}: got a key upwards for a sweep over {' and '.join(keys) or 'the seed'} alone, "
            f"expected none, since one key is drawn across; leave it out, or type --x {y}"
        )
    free = [key for key in keys if key not in (x, y)]
    chosen = [key or (free.pop(0) if free else None) for key in (x, y)]
    if chosen[0] is None or chosen[1] is None:
        got = f"a sweep over {named} alone" if swept.varied else "a sweep in which no key takes several values"
        raise PolysemeError(
            f"{swept.path.parent}: got {got}, expected a key besides the seed that does; "
            "sweep one, such as m = { values = [4, 8, 16] } below [model]"
        )
    return chosen[0], chosen[1]


def _words(formula: str) -> set[str]:
    return set(re.findall(r"\w+", formula))


def besides(swept: Swept, *drawn: str) -> tuple[str, ...]:
    """What varies besides the keys that are drawn: other keys, and names that none of them follows."""
    used = set[str]().union(*(_words(swept.formulas.get(key, "")) for key in drawn))
    keys = [key for key in swept.varied if key not in (*drawn, *swept.formulas)]
    return (*keys, *(name for name in swept.names if name not in used))


def sheet_of(swept: Swept, claim: str, x: str, y: str, show: str) -> Sheet:
    """The rows of a claim over two keys."""
    celled = swept.design == "grid" and {x, y} <= set(swept.axes)
    (across, up), at, verdicts, numbers = _read(swept, claim, (x, y), show, celled=celled)
    return Sheet(
        claim=claim,
        show=show,
        x=across,
        y=up,
        celled=celled,
        at=np.stack(at, axis=1),
        verdicts=verdicts,
        numbers=numbers,
        alone=set(besides(swept, x, y)) <= {swept.seed},
    )


def profile_of(swept: Swept, claim: str, x: str, show: str) -> Profile:
    """The rows of a claim over one key; they share its values on a grid, and wherever they are drawn from a list."""
    celled = swept.design == "grid" or isinstance(swept.axes.get(x), Values)
    (across,), (at,), verdicts, numbers = _read(swept, claim, (x,), show, celled=celled)
    return Profile(claim=claim, show=show, x=across, celled=celled, at=at, verdicts=verdicts, numbers=numbers)


def _read(
    swept: Swept, claim: str, keys: Sequence[str], show: str, *, celled: bool
) -> tuple[list[Scale], list[Float[np.ndarray, " point"]], tuple[str, ...], Float[np.ndarray, " point"]]:
    """Of each key its scale and where the points lie; their verdicts and numbers."""
    import pyarrow.parquet as pq

    columns = ["verdict", *keys, *({VERDICT: (), MARGIN: ("measured", "allowed")}.get(show, ("facts",)))]
    with _parquet(swept.path):
        found = pq.read_table(swept.path, columns=columns, filters=[("claim", "=", claim)]).to_pydict()

    def columns_of(key: str, values: Iterable[Any]) -> list[Any]:
        return [as_column(swept.keys[key], value) for value in values]

    # Of the whole table, so that all claims have the same map.
    scales = [
        scale_of(swept.keys[key], swept.axes.get(key), columns_of(key, swept.values[key]), celled=celled)
        for key in keys
    ]
    at = [scale.places(columns_of(scale.key, found[scale.key])) for scale in scales]
    verdicts = tuple(found["verdict"])
    if show == VERDICT:
        numbers = np.full(len(verdicts), math.nan)
    elif show == MARGIN:
        numbers = np.array(list(map(_margin, found["measured"], found["allowed"])), dtype=np.float64)
    else:
        numbers = np.array([_fact(json.loads(text).get(show)) for text in found["facts"]], dtype=np.float64)
    return scales, at, verdicts, numbers


def share_supported(supported: int, decided: int) -> tuple[float, float, float]:
    """The share supported of so many decided points, and the ends of its exact 95% interval (Clopper and Pearson's)."""
    return supported / decided, *proportion_interval(supported, decided, 0.025)


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
