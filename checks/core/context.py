"""What claims measure with: one regime, the level that they are judged at, and what has been computed for them once.

A theory's own context is a subclass that runs its derivation and its simulation; the core only makes and passes it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from polyseme.regime import BaseRegime

if TYPE_CHECKING:
    from typing import Self
else:
    Self = Any  # run-time type checks of tests know no class around a method

Effort = Literal["small", "full"]
Result = TypeVar("Result")

ONE_OF_A_HUNDRED = 5e-6
"""The share of each of a hundred statistical claims in the suite's budget, in one direction."""


def read_only(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same arrays, which nobody can write to: claims share them, and one must not change what another sees."""
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def _shared(value: Result) -> Result:
    """A cached result, its arrays read-only where it is an array or a table of them."""
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    elif isinstance(value, dict) and all(isinstance(entry, np.ndarray) for entry in value.values()):
        read_only(value)
    return value


class Context:
    """One regime and what has been computed for it, cached; shared arrays are read-only."""

    def __init__(self, regime: Any, *, level: float = ONE_OF_A_HUNDRED, effort: Effort = "small") -> None:
        """Nothing is run until it is asked for.

        `level`: each statistical claim's even share of the budget of false alarms. `effort` chooses between two declared designs
        of the claims that need large ensembles.
        """
        self.regime, self.level = regime, level
        self.effort: Effort = effort
        self._cache: dict[str, Any] = {}

    def at(self, regime: BaseRegime) -> Self:
        """The context of another regime, made once; this one for its own."""
        if regime == self.regime:
            return self
        return self.cached(f"at {regime.digest()}", lambda: type(self)(regime, level=self.level, effort=self.effort))

    def cached(self, key: str, compute: Callable[[], Result]) -> Result:
        """`compute()`, run once for this context; a claim and its negative control share what does not differ."""
        if key not in self._cache:
            self._cache[key] = _shared(compute())
        return self._cache[key]

    def versions(self) -> dict[str, Any]:
        """Versions and device of what the context runs, for the report."""
        return {}
