"""Evidence: raw measurements, without a threshold and without a verdict, so that verdicts can be found again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Raw measurements, without a verdict: rows of one kind, and the facts of the run (grid, seeds, sizes)."""

    rows: tuple[Row, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
