"""Members of the stochastic reduced recursion side by side: microseconds per member and step, beside `integrate`.

Run: make bench, or python -m benchmarks.ensemble. Medians of five rounds, the variants in turn within each round; one thread.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np

from polyseme.sim.ensemble.memory import keep_freed_memory
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.theory.multi_concept.coefficients import project
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b
from polyseme.theory.multi_concept.prompts.law import prompt_probabilities
from polyseme.theory.multi_concept.regime import Regime

ROUNDS, MEMBERS, STEPS = 5, 512, 40
REGIME = Regime().replace(
    concepts={"K1": 2, "K2": 0, "d_x": 6, "d_y": 6},
    training={"steps": STEPS, "batch": 8, "record_every": STEPS},
    ensemble={"seeds": MEMBERS},
)


def main() -> None:
    """Print the table."""
    initial, law = draw_initial(REGIME), prompt_probabilities(REGIME)
    rng = np.random.default_rng(0)
    counts = rng.multinomial(8, law.ravel(), size=(MEMBERS, STEPS)).reshape(MEMBERS, STEPS, *law.shape)
    coefficients = project(initial, REGIME.concepts.K1)

    def members_last() -> None:
        members = Ensemble(REGIME, initial["r"], coefficients)
        for t in range(STEPS):
            members.advance(counts[:, t])

    variants: dict[str, Callable[[], object]] = {
        "integrate (baseline)": lambda: integrate_b(REGIME, initial, counts=counts),
        "members last, malloc as it is": members_last,
    }
    times = _rounds(variants)
    keep_freed_memory()
    times |= _rounds({"members last, freed memory kept": members_last})
    base = statistics.median(times["integrate (baseline)"])
    print(f"K1 = 2, m = 16, L = 4, B = 8, {MEMBERS} members, float64, one thread, medians of {ROUNDS}")
    for name, found in times.items():
        median = statistics.median(found)
        print(f"{name:34s} {1e6 * median / MEMBERS / STEPS:6.2f} us per member and step  {base / median:5.1f} x")


def _rounds(variants: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in variants}
    for run in variants.values():
        run()
    for _ in range(ROUNDS):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    main()
