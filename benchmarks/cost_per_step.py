"""The cost of one step of level B: generic evaluation, cheaper evaluation, and the latter on a window of counts.

.venv/bin/python -m benchmarks.cost_per_step
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("SYMPY_GROUND_TYPES", "python")

import statistics
import time
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from polyseme.theory.multi_concept.coefficients import constants, to_layout
from polyseme.theory.multi_concept.dynamics.integrate import step
from polyseme.theory.multi_concept.numerics.fast import fast_system
from polyseme.theory.multi_concept.numerics.lower import System, system
from polyseme.theory.multi_concept.prompts.tail import window
from polyseme.theory.multi_concept.regime import Regime

GRID = (
    *((2, 16, L) for L in (4, 64, 1000)),
    *((2, 500, L) for L in (10, 100, 1000, 10_000)),
    *((2, m, 1000) for m in (50, 5000)),
    *((K1, 500, 1000) for K1 in (8, 32)),
    (50, 500, 10_000),
    (2, 500, 1_000_000),
    (2, 500, 1_000_000_000),
)
# The generic form passes over 2 K1 m (L + 1) numbers several times: beyond this many a row takes too long to repeat.
MOST_GENERIC = 10**9
MOST_COUNTS = 2 * 10**6


def median_time(compiled: System, regime: Regime, *, windowed: bool, repeats: int) -> float:
    """Median seconds of one step from a random state."""
    rng = np.random.default_rng(0)
    K1, m = regime.concepts.K1, regime.model.m
    shapes = {"W_Q_blocks": (K1, 2, 2), "W_K_blocks": (K1, 2, 2), "alpha": (m, K1), "beta": (m, K1)}
    state = to_layout({name: rng.standard_normal(shape) for name, shape in shapes.items()})
    numbers = constants(regime, rng.choice([-1.0, 1.0], m) / m, within=window(regime) if windowed else None)
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        step(state, numbers, 0.1, compiled)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def main(repeats: Annotated[int, typer.Option(help="Steps that the median is taken of.")] = 5) -> None:
    """Print milliseconds per step, and how often faster than the generic evaluation.

    Example: python -m benchmarks.cost_per_step --repeats 9
    """
    table = Table(
        "K1", "m", "L", "generic", "cheaper", "on a window", "generic / window", title="one step of level B, in ms"
    )
    for K1, m, L in track(GRID, description="measure", console=Console(stderr=True), transient=True):
        regime = Regime().replace(
            concepts={"K1": K1, "d_x": 2 * K1 + 2, "d_y": 2 * K1}, prompt={"L": L}, model={"m": m}
        )
        generic = median_time(system(), regime, windowed=False, repeats=repeats) if K1 * m * L <= MOST_GENERIC else None
        cheaper = median_time(fast_system(), regime, windowed=False, repeats=repeats) if L <= MOST_COUNTS else None
        windowed = median_time(fast_system(), regime, windowed=True, repeats=repeats)
        cells = [f"{1000 * x:.3g}" if x is not None else "-" for x in (generic, cheaper, windowed)]
        table.add_row(f"{K1:,}", f"{m:,}", f"{L:,}", *cells, f"{generic / windowed:.2g}" if generic else "-")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
