"""One step of each reduced system: machine code against the same SymPy objects evaluated with NumPy, in one run.

Usage: python -m benchmarks.reduced_systems
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.theory.calculus import staged_function
from polyseme.theory.multi_concept.coefficients import constants, project, to_layout
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.dynamics.noisy_run import NoiseRun, project_noisy
from polyseme.theory.multi_concept.dynamics.span_run import SpanRun, project_span
from polyseme.theory.multi_concept.numerics.lower import stepped, system_of
from polyseme.theory.multi_concept.numerics.machine import machine_system
from polyseme.theory.multi_concept.prompts.enumeration import enumerate_prompts
from polyseme.theory.multi_concept.regime import Regime, load_regime

MEMBERS = (1, 4, 32)
ROUNDS, SECONDS = 7, 0.2


def milliseconds(step: Callable[[], object]) -> float:
    """Of one call: the median of rounds of a fifth of a second."""
    start = time.perf_counter()
    step()
    calls = max(1, int(SECONDS / max(time.perf_counter() - start, 1e-6)))
    rounds: list[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(calls):
            step()
        rounds.append((time.perf_counter() - start) / calls * 1e3)
    return median(rounds)


def level_b(regime: Regime) -> tuple[Callable[[], object], Callable[[], object]]:
    """A step of population descent, compiled and with NumPy."""
    initial = draw_initial(regime)
    state = to_layout(project(initial, regime.concepts.K1))
    numbers = constants(regime, initial["r"]) | {"eta": 0.1}
    compiled, plain = machine_system("B", loss="logistic", activation="relu"), system_of(regime)
    return lambda: stepped(compiled, numbers, state), lambda: stepped(plain, numbers, state)


def by_name(step: Callable[[], object]) -> Callable[[], object]:
    """The same step without the compiler."""

    def run() -> object:
        compiler, staged_function.compiler = staged_function.compiler, lambda: None
        try:
            return step()
        finally:
            staged_function.compiler = compiler

    return run


def level_n(regime: Regime) -> tuple[Callable[[], object], Callable[[], object]]:
    """A step of level N."""
    initial = draw_initial(regime)
    run, (state, rest) = NoiseRun(regime, initial["r"]), project_noisy(initial, regime.concepts.K1)

    def step() -> object:
        return run.step(state, rest, 0.1)

    return step, by_name(step)


def level_z(regime: Regime) -> tuple[Callable[[], object], Callable[[], object]]:
    """A step of level Z on the table of all prompts."""
    regime = regime.replace(concepts={"K2": 0}, prompt={"L": 2, "sigma_x": 0.0, "sigma_y": 0.0})
    initial, law = draw_initial(regime), enumerate_prompts(regime).arrays()
    run = SpanRun(derive("Z"), regime, initial["r"])
    state = run.kept(project_span(initial, regime.concepts.K1))

    def step() -> object:
        return run.step(state, law, 0.1)

    return step, by_name(step)


def main() -> None:
    """Print the table."""
    default = load_regime("regimes/default.toml")
    print("| level | members | NumPy, ms per member | compiled, ms per member | ratio |\n|---|---|---|---|---|")
    for level, build in {"B": level_b, "N": level_n, "Z": level_z}.items():
        for members in MEMBERS:
            regime = default.replace(ensemble={"seeds": members})
            if level == "B":
                regime = regime.replace(prompt={"sigma_x": 0.0, "sigma_y": 0.0, "p_extra": 0.0})
            compiled, plain = (milliseconds(step) / members for step in build(regime))
            print(f"| {level} | {members} | {plain:.3g} | {compiled:.3g} | {plain / compiled:.2g} |", flush=True)


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
