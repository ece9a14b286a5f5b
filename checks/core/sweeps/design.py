"""The points of a sweep: every combination of a grid, or a design at random or of low discrepancy (scipy.stats.qmc).

Points are computed from their number when they are asked for, so a design takes no memory to speak of.
"""

import itertools
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import qmc

from polyseme.checks.core.sweeps.axes import Starts, seed_of, solve
from polyseme.checks.core.sweeps.grid import Grid, size
from polyseme.errors import PolysemeError
from polyseme.regime import BaseRegime

# One in so many points has to be inside the hypotheses, or a design is not made.
RAREST = 1000
_BLOCK = 1024


class Design:
    """The points of a grid, in their order."""

    def __init__(self, grid: Grid) -> None:
        """Nothing is computed until points are asked for."""
        self.grid = grid
        self._asked = [
            x for claim in grid.claims for x in claim.hypotheses if x.key not in grid.sweep.drop and not x.arranged
        ]

    def __iter__(self) -> Iterator[BaseRegime]:
        """The regime of every point."""
        return (regime for _, regime in self.numbered())

    def at(self, number: int) -> BaseRegime:
        """The regime of a combination of a grid; IndexError if there is none of this number."""
        places = np.unravel_index(number, [len(values) for values in self._listed])
        return self._regime(tuple(values[j] for values, j in zip(self._listed, places, strict=True)))

    def numbered(self) -> Iterator[tuple[int, BaseRegime]]:
        """Every point once, with its number: regimes that come up twice are one, and those outside the hypotheses are left out if that is asked for.

        PolysemeError for a point that cannot exist, or if there are next to none inside the hypotheses.
        """
        wanted, seen, made = size(self.grid), set[bytes](), 0
        for number, values in enumerate(self._values()):
            if self.grid.sweep.design != "grid" and made == wanted:
                return
            # A grid comes to an end by itself.
            if self.grid.sweep.design != "grid" and self.grid.sweep.inside and number > RAREST * max(10, made):
                raise PolysemeError(
                    f"{self.grid.source}: the design is empty or next to it: {made} of {number} points are inside the hypotheses; "
                    f"expected one in {RAREST} at least: narrow the ranges, or name hypotheses in drop = [...]"
                )
            regime = self._regime(values)
            if self.grid.sweep.inside and not all(x.holds(regime) for x in self._asked):
                continue
            made += 1
            digest = bytes.fromhex(regime.digest())
            if digest not in seen:
                seen.add(digest)
                yield number, regime

    @cached_property
    def _listed(self) -> list[tuple[Any, ...]]:
        return [tuple(axis.listed()) for axis in self.grid.axes]

    def _values(self) -> Iterator[tuple[Any, ...]]:
        """Values of the axes, without end for designs that can be continued."""
        axes = self.grid.axes
        if self.grid.sweep.design == "grid":
            yield from itertools.product(*self._listed)
            return
        for shares in self._shares():
            yield tuple(axis.at(float(share)) for axis, share in zip(axes, shares, strict=True))

    def _shares(self) -> Iterator[np.ndarray]:
        sweep, axes = self.grid.sweep, len(self.grid.axes)
        if sweep.design == "latin":
            yield from qmc.LatinHypercube(d=axes, rng=sweep.seed).random(sweep.points or 1)
            return
        if sweep.design == "random":
            rng = np.random.default_rng(sweep.seed)
            while True:
                yield from rng.random((_BLOCK, axes))
        if axes > 21201:
            raise PolysemeError(f"{self.grid.source}: got {axes} axes, expected at most 21201; type design = 'random'")
        engine = (qmc.Sobol if sweep.design == "sobol" else qmc.Halton)(d=axes, rng=sweep.seed)
        while True:
            # Blocks of a power of two keep the balance of a Sobol sequence.
            yield from engine.random(_BLOCK)

    def _regime(self, values: tuple[Any, ...]) -> BaseRegime:
        grid, keys = self.grid, self.grid.keys
        filled = {section: dict(keys) for section, keys in grid.base.items()}
        names: dict[str, Any] = {}
        for axis, value in zip(grid.axes, values, strict=True):
            (filled[keys[axis.key].table] if axis.key in keys else names)[axis.key] = value
        if grid.formulas:
            known = {
                key: x for keys in (*filled.values(), names) for key, x in keys.items() if key not in grid.formulas
            }
            for key, value in solve(grid.formulas, known, keys, source=grid.source).items():
                filled[keys[key].table][key] = value
        try:
            regime = grid.theory.regime.parse(filled, source=grid.source)
            if not any(isinstance(axis, Starts) for axis in grid.axes):
                return regime
            return regime.reseeded(seed_of(regime, regime.seed_value))
        except PolysemeError as problem:
            at = ", ".join(f"{axis.key} = {value}" for axis, value in zip(grid.axes, values, strict=True))
            advice = "; a key that has to follow another can be a formula" if "impossible" in str(problem) else ""
            raise PolysemeError(f"{problem} (at {at}){advice}") from None


def spread(count: int) -> Iterator[int]:
    """The numbers below `count`, each once, in steps of the golden ratio: any first part of them lies evenly over the whole.

    The step has no divisor in common with `count`, so it goes through all values of each axis of a grid, too.
    """
    step = max(1, round(count * (math.sqrt(5) - 1) / 2))
    while math.gcd(step, count) > 1:
        step += 1
    return (number * step % count for number in range(count))
