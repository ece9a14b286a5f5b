"""GRID.toml: a regime file some of whose keys go through many values, with the claims to judge at each point.

A key of a regime table may have, instead of a value, one of

    lam = { from = 1e-4, to = 1e-1, scale = "log", count = 12 }     a range; `count` in a grid alone
    m = { values = [2, 4, 8, 16] }                                  a list
    d_x = { formula = "2 * K1 + K2" }                               arithmetic in other keys
    seed = { starts = 20 }                                          twenty seeds at each combination, all different

and a table [sweep] says how points are laid out and what is judged at each (`Sweep`). A table [let] may name ranges and lists that are no keys, for
formulas to use.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polyseme.checks.core.choice import dropped_keys, select
from polyseme.checks.core.claim import Claim
from polyseme.checks.core.sweeps.axes import FUNCTIONS, Axis, Range, Starts, Values, order, used_in
from polyseme.checks.core.theories import KEY
from polyseme.checks.core.theory import Theory
from polyseme.errors import PolysemeError
from polyseme.regime import BaseRegime, Key

EXAMPLE = "see regimes/sweeps/width.toml"
MOST_POINTS = 10**6
LET = "let"
_RANGE_KEYS = ("from", "to", "scale", "count")


def _option(default: Any, meaning: str, accepts: str, **bounds: Any) -> Any:
    return Field(default, description=meaning, json_schema_extra={"accepts": accepts}, **bounds)


class Sweep(BaseModel):
    """The table [sweep]."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    claims: list[str] = _option(
        None,
        "claims to judge at each point: ids or globs",
        "a list of claim ids or globs, for example claims = ['dynamics/*']",
    )
    drop: list[str] = _option(
        [],
        "hypotheses that are not asked for, by their keys: the sweep goes across their edges",
        "a list of keys of hypotheses, for example drop = ['wide'] (`polyseme claims` lists them)",
    )
    inside: bool = _option(
        False,
        "keep only points at which the other hypotheses of every claim hold",
        "true or false, for example inside = true",
    )
    design: Literal["grid", "random", "sobol", "halton", "latin"] = _option(
        "grid",
        "how points are laid out: every combination, or so many points at random or of low discrepancy",
        "'grid', 'random', 'sobol', 'halton' or 'latin', for example design = 'sobol'",
    )
    points: int | None = _option(
        None,
        "how many points; not for a grid",
        f"a whole number from 1 to {MOST_POINTS}, for example points = 500",
        ge=1,
        le=MOST_POINTS,
    )
    seed: int = _option(0, "the seed of the design", "a whole number of at least 0, for example seed = 0", ge=0)
    regime: str | None = _option(
        None,
        "a regime file, relative to this one, that gives the keys which are not named here",
        "the path of a regime file, for example regime = '../pure.toml'",
    )
    effort: Literal["small", "full"] = _option(
        "small", "that of `polyseme verify`", "'small' or 'full', for example effort = 'small'"
    )
    seconds: float | None = _option(
        None,
        "a claim that takes longer at a point is given up and quarantined",
        "a number of seconds above 0, for example seconds = 600.0",
        gt=0,
    )


class _RangeTable(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    first: float = Field(alias="from", allow_inf_nan=False)
    last: float = Field(alias="to", allow_inf_nan=False)
    scale: Literal["linear", "log"] = "linear"
    count: int | None = Field(None, ge=1, le=MOST_POINTS)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A GRID.toml that has been read: what is fixed, what varies, and what is judged."""

    source: str
    text: str
    theory: Theory
    sweep: Sweep
    base: dict[str, dict[str, Any]]
    """The tables of the regime file, with the fixed keys; how they fit together is checked at each point."""
    axes: tuple[Axis, ...]
    formulas: dict[str, str]
    claims: tuple[Claim, ...]

    @property
    def varied(self) -> tuple[str, ...]:
        """Keys that go through several values, those of formulas last."""
        return (*(axis.key for axis in self.axes if axis.key in self.keys), *self.formulas)

    @property
    def keys(self) -> Mapping[str, Key]:
        """Those of the theory's regime."""
        return self.theory.regime.keys()


def load_grid(path: Path, theory: Theory, registered: Sequence[Claim]) -> Grid:
    """A GRID.toml of a theory; PolysemeError with one sentence for whatever is wrong with it (an unknown key, an empty axis, no such claim)."""
    try:
        text = path.read_text(encoding="utf-8")
        file = tomllib.loads(text)
    except OSError as error:
        raise PolysemeError(
            f"{path}: expected a sweep file (TOML), got '{error.strerror}'; type the path of one ({EXAMPLE})"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PolysemeError(f"{path}: expected TOML, got something else ({error}); {EXAMPLE}") from None
    source = str(path)
    if not isinstance(file.get("sweep"), dict):
        raise PolysemeError(f"{source}: got no table [sweep], expected one with claims = [...]; {EXAMPLE}")
    sweep, known = _sweep(file.pop("sweep"), source), theory.regime.keys()
    file.pop(KEY, None)
    fixed, axes, formulas = _keys(file, sweep, theory.regime, source)
    base = _base(path, sweep.regime, theory.regime).model_dump()
    for section, keys in fixed.items():
        base[section] |= keys
    if sweep.design == "grid" and sweep.points is not None:
        raise PolysemeError(
            f"{source}: [sweep] points = {sweep.points} is not for a grid, whose axes say it; leave it out, or type design = 'sobol'"
        )
    if sweep.design != "grid" and sweep.points is None:
        raise PolysemeError(f"{source}: [sweep] design = '{sweep.design}' needs points; type for example points = 500")
    if sweep.design == "latin" and sweep.inside:
        raise PolysemeError(
            f"{source}: a latin design has as many points as it is made for, so none can be left out; type design = 'sobol' with inside = true"
        )
    if not axes:
        raise PolysemeError(
            f"{source}: the design is empty: no key varies; type for example m = {{ values = [2, 4, 8] }} in [model]"
        )
    if unused := [axis.key for axis in axes if axis.key not in known and not used_in(formulas, axis.key)]:
        raise PolysemeError(
            f"{source}: [{LET}] has '{unused[0]}', which no formula uses; leave it out, or use it: m = {{ formula = '2 * {unused[0]}' }}"
        )
    list(order(formulas, known, names=[axis.key for axis in axes if axis.key not in known], source=source))
    grid = Grid(
        source=source,
        text=text,
        theory=theory,
        sweep=sweep,
        base=base,
        axes=axes,
        formulas=formulas,
        claims=_claims(sweep, registered, source),
    )
    if (points := size(grid)) > MOST_POINTS:
        raise PolysemeError(
            f"{source}: got a grid of {points} points, expected at most {MOST_POINTS}; give its axes fewer values, or type design = 'sobol' with points = 500"
        )
    return grid


def _base(path: Path, regime: str | None, kind: type[BaseRegime]) -> BaseRegime:
    if regime and not (path.parent / regime).is_file():
        raise PolysemeError(
            f"{path}: [sweep] regime = '{regime}' is no file in {path.parent}, from where it is looked for, expected a regime file; type its path from "
            "there"
        )
    return kind.load(path.parent / regime) if regime else kind()


def _sweep(table: dict[str, Any], source: str) -> Sweep:
    try:
        found = Sweep.model_validate(table)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        fields = Sweep.model_fields
        if key not in fields:
            raise PolysemeError(f"{source}: [sweep] has no key '{key}'; expected one of {', '.join(fields)}") from None
        extra = fields[key].json_schema_extra
        assert isinstance(extra, dict)
        raise PolysemeError(
            f"{source}: [sweep] {key} = {table[key]!r} is not accepted: expected {extra['accepts']}"
        ) from None
    if not found.claims:
        raise PolysemeError(
            f"{source}: [sweep] names no claims, expected claims = [...] with ids or globs (`polyseme claims` lists them)"
        )
    return found


def _keys(
    file: dict[str, Any], sweep: Sweep, regime: type[BaseRegime], source: str
) -> tuple[dict[str, dict[str, Any]], tuple[Axis, ...], dict[str, str]]:
    """Fixed values by table, axes in the order of the file, and formulas."""
    fixed: dict[str, dict[str, Any]] = {}
    known = regime.keys()
    axes = _names(file.pop(LET, {}), sweep, known, source)
    formulas: dict[str, str] = {}
    sections = tuple(regime.model_fields)
    for section, keys in file.items():
        if section not in sections:
            raise PolysemeError(
                f"{source}: unknown table [{section}]; expected [sweep], [{LET}] and {', '.join(f'[{name}]' for name in sections)}"
            )
        if not isinstance(keys, dict):
            raise PolysemeError(f"{source}: [{section}] is {keys!r}: expected a table of keys")
        for key, value in keys.items():
            if key not in known or known[key].table != section:
                accepted = ", ".join(one.name for one in known.values() if one.table == section)
                home = f", or '{key}' below [{known[key].table}]" if key in known else ""
                raise PolysemeError(
                    f"{source}: [{section}] has no key '{key}' (got {key} = {value!r}); expected one of {accepted}{home}"
                )
            if isinstance(value, list) and known[key].kind != "list":
                raise PolysemeError(
                    f"{source}: {key} = {value!r} is a list; to go through its values type {key} = {{ values = {value!r} }}"
                )
            if not isinstance(value, dict):
                fixed.setdefault(section, {})[key] = value
            elif set(value) == {"formula"} and isinstance(value["formula"], str):
                formulas[key] = value["formula"]
            else:
                axes.append(_axis(key, value, sweep, source, known[key]))
    return fixed, tuple(axes), formulas


def _names(table: object, sweep: Sweep, known: Mapping[str, Key], source: str) -> list[Axis]:
    """The axes of [let]."""
    if not isinstance(table, dict):
        raise PolysemeError(
            f"{source}: [{LET}] is {table!r}: expected a table of names, for example [{LET}] with ratio = {{ values = [0.5, 2] }} below it"
        )
    for name, value in table.items():
        if name in known or not name.isidentifier() or name in FUNCTIONS:
            raise PolysemeError(
                f"{source}: [{LET}] has '{name}', which is taken or no name; type another, for example ratio"
            )
        if not isinstance(value, dict) or not set(value) <= {"values", *_RANGE_KEYS}:
            raise PolysemeError(
                f"{source}: [{LET}] {name} = {value!r}: expected {{ values = [...] }} or {{ from = ..., to = ... }}"
            )
    return [_axis(name, value, sweep, source) for name, value in table.items()]


def _axis(key: str, table: dict[str, Any], sweep: Sweep, source: str, known: Key | None = None) -> Axis:
    got = f"{source}: {key} = {table!r}"
    if set(table) == {"values"}:
        values = table["values"]
        if not isinstance(values, list) or not values:
            raise PolysemeError(
                f"{got}: the design is empty: expected a list with a value or more; type {key} = {{ values = [...] }}"
            )
        plain = [tuple(value) if isinstance(value, list) else value for value in values]
        if len({str(value) if isinstance(value, dict | tuple) else value for value in plain}) < len(plain):
            raise PolysemeError(f"{got}: expected different values, each once; leave out what is there twice")
        return Values(key=key, values=tuple(plain))
    if set(table) == {"starts"}:
        if known is None or known.role != "seed":
            raise PolysemeError(f"{got}: starts are for the seed alone; type {key} = {{ values = [...] }}")
        if type(table["starts"]) is not int or table["starts"] < 1:
            raise PolysemeError(f"{got}: expected a whole number of at least 1; type seed = {{ starts = 20 }}")
        return Starts(key=key, count=table["starts"])
    numbers = {name: float(x) if type(x) is int and name != "count" else x for name, x in table.items()}
    try:
        found = _RangeTable.model_validate(numbers)
    except ValidationError:
        raise PolysemeError(
            f"{got} is no axis: expected {{ values = [...] }}, {{ formula = '...' }}, {{ starts = 20 }} or {{ from = ..., to = ..., scale = 'log', count = ... }}"
        ) from None
    if not found.first < found.last:
        raise PolysemeError(f"{got}: the design is empty: expected from < to; type the smaller number first")
    if found.scale == "log" and found.first <= 0:
        raise PolysemeError(f"{got}: a logarithmic range starts above 0; type a larger from, or scale = 'linear'")
    if sweep.design == "grid" and found.count is None:
        raise PolysemeError(f"{got}: a grid has to know how many; type count = 10 beside from and to")
    if sweep.design != "grid" and found.count is not None:
        raise PolysemeError(
            f"{got}: count is for grids; leave it out, since [sweep] points = {sweep.points} says how many points there are"
        )
    whole = known is not None and known.is_whole
    if whole and not (found.first.is_integer() and found.last.is_integer()):
        raise PolysemeError(f"{got}: {key} takes whole numbers; type them for from and to")
    return Range(key=key, whole=whole, first=found.first, last=found.last, scale=found.scale, count=found.count)


def _claims(sweep: Sweep, registered: Sequence[Claim], source: str) -> tuple[Claim, ...]:
    """What is judged at each point, without what looks at no regime; PolysemeError for claims and hypotheses that do not exist."""
    chosen: dict[str, Claim] = {}
    for pattern in sweep.claims:
        found = select(pattern, registered, said=f"{source}: [sweep] claims")
        here = [claim for claim in found if claim.scope == "this regime"]
        if not here:
            raise PolysemeError(
                f"{source}: [sweep] claims has '{pattern}', which looks at nothing of the regime and says the same at every point; "
                "type the id of a claim about a regime"
            )
        chosen |= {claim.id: claim for claim in here}
    dropped_keys(sweep.drop, list(chosen.values()), said=f"{source}: [sweep] drop")
    return tuple(chosen.values())


def size(grid: Grid) -> int:
    """How many combinations a grid has, or how many points are asked for."""
    return grid.sweep.points or math.prod(len(axis.listed()) for axis in grid.axes)
