"""Evidence: raw measurements, without a threshold and without a verdict, so that verdicts can be found again."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import numpy as np
from pydantic import TypeAdapter, ValidationError

from polyseme.errors import PolysemeError

BEYOND = 1e300
"""A difference, or a jump, that has no size: one run left the numbers, or went where only round-off decides."""


def _mean_and_error(samples: np.ndarray) -> tuple[float, float]:
    """The mean of samples (n,) and its standard error."""
    return float(samples.mean()), float(samples.std(ddof=1) / np.sqrt(len(samples)))


@dataclass(frozen=True, kw_only=True)
class Exact:
    """A quantity that must be exactly zero: `residual` is a SymPy expression, decided in symbols or rationals."""

    name: str
    residual: Any


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two computations of one array: their largest difference, the array's largest size, and unit round-offs.

    `roundings` says how many unit round-offs the two may differ by, relative to `scale`: counted by the
    measurement from the sizes of the sums involved, judged by the rule. `jump` is how far the computation moves
    by itself under tiny nudges, beyond what it moves smoothly: not zero where a gate sits on its kink.
    """

    name: str
    difference: float
    scale: float
    roundings: float
    jump: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Estimated:
    """A difference that should be zero, estimated from `samples` independent samples, and the size it is judged by."""

    name: str
    estimate: float
    standard_error: float
    samples: int
    scale: float

    @classmethod
    def of_samples(cls, name: str, samples: np.ndarray, *, scale: float) -> "Estimated":
        """The row of independent samples (n,) of the difference, n at least 2."""
        mean, error = _mean_and_error(samples)
        return cls(name=name, estimate=mean, standard_error=error, samples=len(samples), scale=scale)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """An order of convergence with the half-width of what is known about it."""

    name: str
    order: float
    half_width: float


@dataclass(frozen=True, kw_only=True)
class Bounded:
    """A quantity that should be at most `bound`: known exactly, or estimated from `samples` independent samples."""

    name: str
    value: float
    bound: float
    standard_error: float = 0.0
    samples: int = 0

    @classmethod
    def of_samples(cls, name: str, samples: np.ndarray, *, bound: float) -> "Bounded":
        """The row of independent samples (n,) of the quantity, n at least 2."""
        mean, error = _mean_and_error(samples)
        return cls(name=name, value=mean, bound=bound, standard_error=error, samples=len(samples))


@dataclass(frozen=True, kw_only=True)
class Counted:
    """An event that happened in `hits` of `trials` independent trials, and whose probability should be at most `bound`."""

    name: str
    hits: int
    trials: int
    bound: float


@dataclass(frozen=True, kw_only=True)
class Points:
    """Positive means with standard errors, from independent samples, at positive places: a curve whose rate is judged."""

    name: str
    places: tuple[float, ...]
    means: tuple[float, ...]
    standard_errors: tuple[float, ...]
    samples: int

    @classmethod
    def of_samples(cls, name: str, samples: Mapping[float, np.ndarray]) -> "Points":
        """The row of independent samples (n,) at each place, as many at each."""
        means, errors = zip(*map(_mean_and_error, samples.values()), strict=True)
        (count,) = {len(x) for x in samples.values()}
        return cls(name=name, places=tuple(map(float, samples)), means=means, standard_errors=errors, samples=count)


@dataclass(frozen=True, kw_only=True)
class Distance:
    """The largest distance of an empirical distribution function of `samples` from a stated one.

    `others` is the size of the second sample where that one is empirical too, else 0.
    """

    name: str
    distance: float
    samples: int
    others: int = 0


Row = Exact | Compared | Estimated | Fitted | Bounded | Counted | Points | Distance


_UNIT_INTERVAL = "between 0 and 1"
Share = Annotated[float, _UNIT_INTERVAL]
"""A fact between 0 and 1, such as a probability: pictures draw it on a scale from 0 to 1."""
Flag = Annotated[int, _UNIT_INTERVAL]
"""A fact that is 1 or 0, yes or no; its mean over several points is a share."""


_adapter = cache(TypeAdapter)
F = TypeVar("F", bound="Facts")  # typing.Self is unknown to the check of types in tests


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a check saw besides its rows, as typed fields: the base of facts that a figure, a table or another check reads.

    The names of the fields are the keys in results.json. Lines of a table within facts derive from it too. Facts that nothing
    reads may be a plain mapping.
    """

    @classmethod
    def read(cls: type[F], facts: Mapping[str, Any], *, source: str) -> F:
        """Facts from their JSON; a space and an underscore in a name are the same. PolysemeError if some are missing or are not of their type."""
        try:
            return _adapter(cls).validate_python({key.replace(" ", "_"): value for key, value in facts.items()})
        except ValidationError as problem:
            first = problem.errors()[0]
            where, got = ".".join(map(str, first["loc"])), ", ".join(map(repr, facts)) or "none"
            raise PolysemeError(
                f"{source}: got the facts {got}, expected {cls.__name__} ({where}: {first['msg'].lower()}); "
                "type the command that wrote them again, since another version of polyseme did"
            ) from None

    @classmethod
    def of(cls: type[F], record: Mapping[str, Any], part: str = "") -> F | None:
        """The facts of a record of results.json, those of a part if it has several; None if there is no evidence."""
        found = (x["evidence"] for x in record["parts"] if x["evidence"] and part in ("", x["name"]))
        evidence = next(found, None)
        return cls.read(evidence.get("facts", {}), source=record["id"]) if evidence else None

    @classmethod
    def find(cls: type[F], records: Iterable[Mapping[str, Any]], claim: str, part: str = "") -> F | None:
        """The facts of a claim among the records of results.json; None if it is not there or has no evidence."""
        return next((cls.of(record, part) for record in records if record["id"] == claim), None)

    @classmethod
    def is_share(cls, name: str) -> bool:
        """Whether the fact of that name lies between 0 and 1."""
        return _UNIT_INTERVAL in get_args(get_type_hints(cls, include_extras=True).get(name.replace(" ", "_")))


def in_words(name: str) -> str:
    """The name of a fact as a reader sees it, with spaces for underscores; a symbol such as W_Q or sigma_0 stays as it is."""
    return name if re.fullmatch(r"[A-Za-z]+_[A-Za-z0-9]", name) else name.replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Raw measurements, without a verdict: rows of one kind, and the facts of the run (grid, seeds, sizes)."""

    rows: tuple[Row, ...]
    facts: Facts | Mapping[str, Any] = field(default_factory=dict)
