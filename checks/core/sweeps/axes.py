"""What one key of a sweep goes through: a list of values, a range, or a formula in the other keys."""

import ast
import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from simpleeval import SimpleEval

from polyseme.errors import PolysemeError
from polyseme.regime import BaseRegime, Key

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": math.sqrt,
    "log": math.log,
    "exp": math.exp,
    "min": min,
    "max": max,
    "round": round,
    "ceil": math.ceil,
    "floor": math.floor,
}
"""What a formula may call, besides + - * / // % ** and comparisons with `if`."""


@dataclass(frozen=True, kw_only=True)
class Values:
    """A list; a design that is no grid draws from it evenly."""

    key: str
    values: tuple[Any, ...]

    def at(self, share: float) -> Any:
        """The value at a share in [0, 1) of the list."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def listed(self) -> tuple[Any, ...]:
        """What a grid goes through."""
        return self.values


@dataclass(frozen=True, kw_only=True)
class Range:
    """From one number to another, both included; `count` of them in a grid."""

    key: str
    whole: bool
    """Whether numbers of the key are whole; those of a name of [let] are not."""
    first: float
    last: float
    scale: Literal["linear", "log"]
    count: int | None

    def at(self, share: float) -> float | int:
        """The number at a share in [0, 1) of the way; each whole number of a linear range has the same share."""
        if self.whole and self.scale == "linear":
            return min(math.floor(self.first + share * (self.last - self.first + 1)), int(self.last))
        return self._rounded(self._between(share))

    def listed(self) -> tuple[float | int, ...]:
        """What a grid goes through; whole numbers that round to the same count once."""
        assert self.count is not None, "checked when the file was read"
        shares = [j / max(self.count - 1, 1) for j in range(self.count)]
        return tuple(dict.fromkeys(self._rounded(self._between(share)) for share in shares))

    def _between(self, share: float) -> float:
        if share in (0.0, 1.0):  # without the rounding of exp and log
            return self.last if share else self.first
        if self.scale == "linear":
            return self.first + share * (self.last - self.first)
        return math.exp(math.log(self.first) + share * (math.log(self.last) - math.log(self.first)))

    def _rounded(self, x: float) -> float | int:
        # Twelve digits of a logarithmic grid are enough, and can be typed again.
        return round(x) if self.whole else float(f"{x:.12g}")


@dataclass(frozen=True, kw_only=True)
class Starts:
    """So many seeds at every combination of the other keys, no two points of a sweep with the same one.

    A seed follows from the other keys of its regime and from its number, so a design that is made larger keeps those it had.
    """

    key: str
    count: int

    def at(self, share: float) -> int:
        """One of the numbers, in a design that is no grid."""
        return min(int(share * self.count), self.count - 1)

    def listed(self) -> range:
        """The numbers of the starts; `seed_of` makes seeds of them."""
        return range(self.count)


def seed_of(regime: BaseRegime, number: int) -> int:
    """The seed of a start, from all other keys of its regime and from its number: 48 bits of SHA-256."""
    tables, seed = regime.model_dump(mode="json"), type(regime).seed_key()
    del tables[seed.table][seed.name]
    rest = {**tables, "number": number}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:6], "big")


LARGEST = 2.0**63
"""Numbers of a table have 64 bits."""

Axis = Values | Range | Starts


def solve(
    formulas: Mapping[str, str], known: Mapping[str, Any], keys: Mapping[str, Key], *, source: str
) -> dict[str, Any]:
    """The values of keys given by formulas, from the values of all other keys; formulas may use each other.

    `keys` are those of the regime; what is known besides are names of [let].

    PolysemeError if one cannot be computed.
    """
    values: dict[str, Any] = {}
    for key in order(formulas, keys, names=[name for name in known if name not in keys], source=source):
        names = {name: value for name, value in {**known, **values}.items() if isinstance(value, int | float)}
        try:
            value = SimpleEval(functions=FUNCTIONS, names=names).eval(formulas[key])
        except Exception as problem:  # whatever a user's formula does is a sentence about it
            given = ", ".join(f"{name} = {names[name]}" for name in sorted(_used(formulas[key]) & names.keys()))
            raise PolysemeError(
                f"{source}: {key} = {{ formula = '{formulas[key]}' }} could not be computed{' at ' + given if given else ''} ({problem}); expected arithmetic in "
                f"keys that are numbers, with {', '.join(FUNCTIONS)}; type for example formula = '2 * K1 + K2'"
            ) from None
        if not isinstance(value, bool | str) and not (isinstance(value, int | float) and -LARGEST < value < LARGEST):
            got = "a whole number of more than 64 bits" if isinstance(value, int) else str(value)[:40]
            raise PolysemeError(
                f"{source}: {key} = {{ formula = '{formulas[key]}' }} gives {got}, expected a number of at most {LARGEST:.1g}; type another formula"
            )
        if isinstance(value, float) and keys[key].is_whole and value.is_integer():
            value = int(value)
        values[key] = value
    return values


@cache
def _used(formula: str) -> frozenset[str]:
    """The names in a formula; SyntaxError if it is none."""
    if len(formula) > MOST_LETTERS:
        raise SyntaxError
    return frozenset(node.id for node in ast.walk(ast.parse(formula, mode="eval")) if isinstance(node, ast.Name))


MOST_LETTERS = 1000
"""Of a formula; longer ones are no arithmetic that anybody reads."""


def used_in(formulas: Mapping[str, str], name: str) -> bool:
    """Whether some formula uses a name; one that is no arithmetic may use anything."""
    try:
        return any(name in _used(formula) for formula in formulas.values())
    except SyntaxError:
        return True


def order(
    formulas: Mapping[str, str], keys: Mapping[str, Key], *, names: Collection[str] = (), source: str
) -> Iterable[str]:
    """The keys of formulas, each after those that its formula uses; PolysemeError for what is no formula of regime keys.

    `keys` are those of the regime, `names` those of [let], which formulas may use besides.
    """
    from graphlib import CycleError, TopologicalSorter

    graph = {}
    for key, formula in formulas.items():
        try:
            used = _used(formula) - set(FUNCTIONS)
        except SyntaxError:
            raise PolysemeError(
                f"{source}: {key} = {{ formula = '{formula}' }} is no arithmetic; type for example formula = '2 * K1 + K2'"
            ) from None
        if unknown := sorted(used - set(keys) - set(names)):
            raise PolysemeError(
                f"{source}: {key} = {{ formula = '{formula}' }} uses '{unknown[0]}', which is no key of a regime and no name in [let]; expected some of "
                f"{', '.join((*names, *keys))}"
            )
        graph[key] = used & set(formulas)
    try:
        return tuple(TopologicalSorter(graph).static_order())
    except CycleError as problem:
        raise PolysemeError(
            f"{source}: the formulas of {' -> '.join(problem.args[1])} go round in a circle; give one of these keys values of its own"
        ) from None
