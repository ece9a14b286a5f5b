"""One integrated step at full scale, within the memory of a small machine."""

import subprocess
import sys

import pytest

# VmHWM starts anew at exec; ru_maxrss would carry the size of pytest over to the child.
SCRIPT = """
import time
import numpy as np
from theory.setting import Regime
from theory.integrate import integrate

K1, m, L = 50, 500, 10_000
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
started = time.perf_counter()
path = integrate(regime, initial)
print(time.perf_counter() - started)
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")))
print(np.abs(path["alpha"][1] - path["alpha"][0]).max(), np.isfinite(path["loss"]).all(), path["alpha"].shape)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is read from /proc")
def test_one_step_at_full_scale_fits_in_two_gibibytes():
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    seconds, kibibytes, state = run.stdout.splitlines()
    assert int(kibibytes) < 2 * 2**20
    # Ten seconds are wanted and three are measured; a busy machine is no reason to fail, a loop over prompts is.
    assert float(seconds) < 30
    moved, finite, shape = state.split(maxsplit=2)
    assert float(moved) > 1e-4
    assert (finite, shape) == ("True", "(2, 500, 50)")
