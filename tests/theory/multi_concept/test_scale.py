"""One step at full scale: what it needs in memory, and that the cheaper evaluation and its window change nothing there."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from polyseme.theory.multi_concept.coefficients import constants, from_layout, to_layout
from polyseme.theory.multi_concept.dynamics.integrate import evaluate
from polyseme.theory.multi_concept.numerics.fast import fast_system
from polyseme.theory.multi_concept.numerics.lower import system
from polyseme.theory.multi_concept.prompts.tail import Window, left_out_bounds, window
from polyseme.theory.multi_concept.regime import Regime

EPS = np.finfo(np.float64).eps
LARGE = ((50, 500, 10_000), (2, 500, 1_000_000))

# VmHWM starts anew at exec; ru_maxrss would carry the size of pytest over to the child.
SCRIPT = """
import sys
import numpy as np
from polyseme.theory.multi_concept.regime import Regime
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b

K1, m, L = map(int, sys.argv[1:])
regime = Regime().replace(
    concepts={"K1": K1, "K2": 0, "d_x": 2 * K1, "d_y": 2 * K1}, prompt={"L": L}, model={"m": m},
    training={"steps": 1, "schedule": "constant", "eta": 100.0},
)
features = np.eye(2 * K1)
for k in range(K1):
    features[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = [[0.8, 0.8], [0.6, -0.6]]
rng = np.random.default_rng(0)
initial = {"W_Q": 0.3 * np.eye(2 * K1), "W_K": 0.3 * np.eye(2 * K1), "W_O": 0.1 * rng.standard_normal((m, 2 * K1)),
           "r": np.where(np.arange(m) % 2, -1.0, 1.0) / m, "M": features, "Q": features}
path = integrate_b(regime, initial)
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")))
print(np.abs(path["alpha"][1] - path["alpha"][0]).max(), np.isfinite(path["loss"]).all(), path["alpha"].shape)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is read from /proc")
@pytest.mark.parametrize("size", LARGE, ids=str)
def test_one_step_at_full_scale_fits_in_half_a_gibibyte(size):
    run = subprocess.run([sys.executable, "-c", SCRIPT, *map(str, size)], capture_output=True, text=True, check=True)
    kibibytes, state = run.stdout.splitlines()
    # The libraries alone take 0.15 GiB; one array over all prompts and neurons would take 4 and 15.
    assert int(kibibytes) < 2**19
    moved, finite, shape = state.split(maxsplit=2)
    assert float(moved) > 1e-4
    assert (finite, shape) == ("True", f"(2, {size[1]}, {size[0]})")


def regime_of(K1, m, L):
    return Regime().replace(concepts={"K1": K1, "K2": 0, "d_x": 2 * K1, "d_y": 2 * K1}, prompt={"L": L}, model={"m": m})


def random_coefficients(K1, m):
    rng = np.random.default_rng(0)
    shapes = {"W_Q_blocks": (K1, 2, 2), "W_K_blocks": (K1, 2, 2), "alpha": (m, K1), "beta": (m, K1)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def peak_bytes(m, L):
    """Traced at the peak of one gradient of one concept, over all counts."""
    state = to_layout(random_coefficients(1, m))
    numbers = constants(regime_of(1, m, L), np.ones(m) / m)
    form = fast_system().gradient
    evaluate(form, state, numbers)  # compiled by now
    tracemalloc.start()
    try:
        evaluate(form, state, numbers)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("unchecked_types")
def test_memory_grows_with_prompts_plus_neurons_and_not_with_their_product():
    sizes = ((250, 2_500), (1000, 10_000), (4000, 40_000))
    # Arrays of float64 over the prompts and over the neurons of both signs, a dozen of each alive at once.
    arrays = [peak_bytes(m, L) / (8 * 2 * (m + L)) for m, L in sizes]
    assert max(arrays) < 24
    # The generic form without its blocks would hold at least one array over both: here 227 and more of those.
    assert min(m * L / (m + L) for m, L in sizes) > 9 * 24


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("size", [LARGE[0], (2, 500, 50_000)], ids=str)
def test_the_window_of_the_cheaper_evaluation_changes_nothing_at_scale(size):
    K1, m, L = size
    regime, coefficients = regime_of(*size), random_coefficients(K1, m)
    r, within = np.where(np.arange(m) % 2, -1.0, 1.0) / m, window(regime)
    assert len(within.counts) < L / 9
    layout = to_layout(coefficients)
    cheap = from_layout(evaluate(fast_system().gradient, layout, constants(regime, r, within=within)))
    whole = from_layout(evaluate(system().gradient, layout, constants(regime, r)))
    # A certificate for nothing left in bounds every summand: terms added in order carry a round-off each of that size.
    sizes = left_out_bounds(regime, r, coefficients, Window(first=0, last=L, left_out=1.0))
    left_out = left_out_bounds(regime, r, coefficients, within)
    for name, array in whole.items():
        rounding = (2 * len(within.counts) + m) * EPS * sizes[name]
        difference = np.abs(cheap[name] - array).max()
        assert difference <= rounding + left_out[name], name
        assert np.abs(array).max() > 1e3 * rounding, name  # and the comparison is one of numbers, not of zeros
