"""The base of every theory's regime: named tables of validated keys, read from TOML, with what the core has to know of each key.

A theory's regime is the one thing that its derivation and its simulation share. It holds no mathematics.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from polyseme.errors import RegimeError

if TYPE_CHECKING:
    from typing import Self
else:
    Self = Any  # run-time type checks of tests know no class around a method

Role = Literal["physics", "size", "seed", "run time"]
"""What a key is for.

`physics`: a hypothesis. `size`: a dimension or a length, which searches keep small. `seed`: all random streams derive from it.
`run time`: how and where a run is computed; no theorem speaks of it.
"""

LEAK = 0.125
"""Slope of the leaky ReLU below zero, in every theory that has one; ours."""


def key(
    default: Any,
    meaning: str,
    accepts: str = "",
    *,
    label: str = "",
    symbol: str = "",
    role: Role = "physics",
    infinite: str = "",
    **bounds: Any,
) -> Any:
    """One regime key.

    `meaning` says what it is, `accepts` is what a wrong value is answered with (made of the bounds if absent), `label` and `symbol`
    (LaTeX) are what an axis says, `infinite` is a word that stands for infinitely many in a numeric key, `bounds` are those of `pydantic.Field`.
    """
    extra: dict[str, Any] = {"accepts": accepts, "label": label, "symbol": symbol, "role": role, "infinite": infinite}
    return Field(default, description=meaning, json_schema_extra=extra, **bounds)


def impossible(key: str, got: object, accepts: str) -> PydanticCustomError:
    """An error about how several keys fit together, in the same words as one about a single key; raised by validators."""
    return PydanticCustomError("impossible", "{accepts}", {"key": key, "got": got, "accepts": accepts})


class Section(BaseModel):
    """One table of a regime file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True, kw_only=True)
class Key:
    """What is known of a regime key besides its values; `table` is the table that it stands in."""

    name: str
    table: str
    default: Any
    meaning: str
    accepts: str
    label: str
    symbol: str
    role: Role
    infinite: str
    kind: Literal["whole", "real", "text", "list"]
    """Of its values: whole numbers, real numbers (so are whole ones with a word for infinitely many), text, or lists of numbers."""
    is_whole: bool
    """Whether its numbers are whole, whatever words it takes besides."""

    @property
    def axis_label(self) -> str:
        """Words and symbol for an axis."""
        return f"{self.label or self.meaning or self.name} {self.symbol}".strip()


class BaseRegime(Section):
    """One point of a theory's parameter space: tables of keys, each a `Section`. Names of keys are unique across tables."""

    @classmethod
    def keys(cls) -> Mapping[str, Key]:
        """Every key by its name, in the order of declaration."""
        return _keys(cls)

    @classmethod
    def seed_key(cls) -> Key:
        """The key that all random streams derive from; TypeError for a regime without one."""
        for one in cls.keys().values():
            if one.role == "seed":
                return one
        raise TypeError(f"{cls.__name__} has no key with role='seed', expected one, such as seed in a table [ensemble]")

    @classmethod
    def require(cls, value: Any) -> None:
        """RegimeError unless `value` is a regime of this kind."""
        if not isinstance(value, cls):
            path = repr(str(value)) if isinstance(value, str | Path) else "'regimes/minimal.toml'"
            raise RegimeError(
                f"got {type(value).__name__} {str(value)[:40]!r}, expected a {cls.__name__}; type polyseme.load_regime({path})"
            )

    @classmethod
    def parse(cls, tables: Mapping[str, Any], *, source: str) -> Self:
        """A regime from nested tables; RegimeError with one sentence if it cannot exist. `source` begins the sentence."""
        try:
            return cls.model_validate(dict(tables))
        except ValidationError as error:
            raise RegimeError(f"{source}: {_sentence(cls, error, tables)}") from None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """A regime from a TOML file; RegimeError if it is missing, is not TOML or cannot exist."""
        tables = read_tables(path)
        tables.pop("theory", None)
        return cls.parse(tables, source=str(path))

    def replace(self, **tables: Any) -> Self:
        """The same regime with some keys changed, validated again: `regime.replace(prompt={"L": 8})`.

        RegimeError for a table that there is not, for keys given without their table, and for values that are not accepted.
        """
        found = self.model_dump()
        for name, changes in tables.items():
            if name not in found:
                home = type(self).keys().get(name)
                typed = (
                    f"replace({home.table}={{'{name}': {changes!r}}})"
                    if home
                    else f"replace({next(iter(found))}={{...}})"
                )
                raise RegimeError(
                    f"regime: got replace({name}={changes!r}), expected a table of keys, one of {', '.join(found)}; type {typed}"
                )
            if not isinstance(changes, Mapping):
                raise RegimeError(
                    f"regime: got replace({name}={changes!r}), expected the keys to change; type "
                    f"replace({name}={{'{next(iter(found[name]))}': ...}})"
                )
            found[name] |= changes
        return type(self).parse(found, source="regime")

    @property
    def seed_value(self) -> int:
        """The value of the key that all random streams derive from."""
        seed = type(self).seed_key()
        return getattr(getattr(self, seed.table), seed.name)

    def reseeded(self, seed: int) -> Self:
        """The same regime with another seed."""
        where = type(self).seed_key()
        return self.replace(**{where.table: {where.name: seed}})

    def digest(self) -> str:
        """SHA-256 of the canonical JSON form, the name of this regime in evidence."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


@cache
def _keys(regime: type[BaseRegime]) -> Mapping[str, Key]:
    found: dict[str, Key] = {}
    for table, field in regime.model_fields.items():
        section = field.annotation
        assert isinstance(section, type) and issubclass(section, Section), f"{table} is a table of keys"
        for name, one in section.model_fields.items():
            if name in found:
                raise TypeError(
                    f"{regime.__name__} has '{name}' in [{found[name].table}] and in [{table}], expected unique names"
                )
            extra = one.json_schema_extra
            if not isinstance(extra, dict) or "role" not in extra:
                raise TypeError(
                    f"[{table}] {name} is declared without polyseme.regime.key, expected {name}: ... = key(...)"
                )
            if extra["role"] not in get_args(Role):
                raise TypeError(
                    f"[{table}] {name} has the role {extra['role']!r}, expected one of {', '.join(get_args(Role))}"
                )
            about: dict[str, Any] = {part: extra.get(part) or "" for part in ("accepts", "label", "symbol", "infinite")}
            about["accepts"] = about["accepts"] or _accepted(name, one)
            found[name] = Key(
                name=name,
                table=table,
                default=one.get_default(call_default_factory=True),
                meaning=one.description or "",
                role=extra.get("role") or "physics",  # pyright: ignore[reportArgumentType]  (it is one of the words)
                kind=_kind(one.annotation, bool(about["infinite"])),
                is_whole=_takes(one.annotation, int),
                **about,
            )
    return found


def _accepted(name: str, field: FieldInfo) -> str:
    """What a key accepts, from its type and its bounds, with its default as the example."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = [f"{words[at]} {getattr(one, at):g}" for one in field.metadata for at in words if hasattr(one, at)]
    kind = _kind(field.annotation, infinite=False)
    noun = {"whole": "a whole number", "real": "a number", "text": "a word", "list": "a list of numbers"}[kind]
    if kind == "text":
        choices = [repr(x) for part in _without_wrappers(field.annotation) for x in get_args(part)]
        noun = " or ".join(choices) or noun
    default = field.get_default(call_default_factory=True)
    return " ".join([noun, " and ".join(bounds)]).strip() + f", for example {name} = {json.dumps(default)}"


def _takes(annotation: object, kind: type) -> bool:
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return any(_takes(part, kind) for part in get_args(annotation))
    return annotation is kind


def _kind(annotation: object, infinite: bool) -> Literal["whole", "real", "text", "list"]:
    plain = _without_wrappers(annotation)
    if any(get_origin(part) is tuple for part in plain):
        return "list"
    if any(get_origin(part) is Literal or part is str for part in plain):
        return "real" if infinite else "text"
    return "whole" if int in plain and float not in plain else "real"


def _without_wrappers(annotation: object) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _without_wrappers(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [x for part in get_args(annotation) for x in _without_wrappers(part)]
    return [annotation]


def read_tables(path: str | Path) -> dict[str, Any]:
    """The tables of a regime file as TOML has them, the key `theory` among them; RegimeError if it is missing or is not TOML."""
    place = Path(path)
    try:
        return tomllib.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise RegimeError(
            f"{path}: expected a regime file (TOML), got '{error.strerror}'; type the path of one, for example regimes/minimal.toml"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RegimeError(
            f"{path}: expected TOML, got something else ({error}); see regimes/minimal.toml for an example"
        ) from None


def _sentence(regime: type[BaseRegime], error: ValidationError, tables: Mapping[str, Any]) -> str:
    """The first problem of a regime as one sentence: key, value, what would be accepted."""
    first = error.errors()[0]
    table, *rest = (str(part) for part in first["loc"]) if first["loc"] else ("", *())
    known = list(regime.model_fields)
    if table not in known:
        return f"unknown table [{table}]; expected one of {', '.join(f'[{name}]' for name in known)}"
    keys = [one for one in regime.keys().values() if one.table == table]
    if first["type"] == "impossible":
        context = first.get("ctx", {})
        return f"[{table}] {context['key']} = {_toml(context['got'])} is impossible: expected {context['accepts']}"
    if not rest:
        return f"[{table}] is {_toml(first['input'])}: expected a table of keys, for example [{table}] with {keys[0].name} = ... below it"
    name = rest[0]
    if name not in [one.name for one in keys]:
        return (
            f"[{table}] has no key '{name}' (got {name} = {_toml(first['input'])}); expected one of "
            f"{', '.join(one.name for one in keys)}"
        )
    return f"[{table}] {name} = {_toml(tables[table][name])} is not accepted: expected {regime.keys()[name].accepts}"


def _toml(value: object) -> str:
    """A value as the user wrote it in TOML, shortened when it is long."""
    try:
        text = json.dumps(value)
    except TypeError:
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
