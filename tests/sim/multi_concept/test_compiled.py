"""The compiled step, in a process without run-time type checks, which torch cannot trace through."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from polyseme.sim.multi_concept.training.engine import can_compile

ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_compile(torch.device("cpu")), reason="needs a C++ compiler"),
]

SCRIPT = """
import sys
import numpy as np
import torch
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.sim.multi_concept.training.train import Run, chunks, simulate
from polyseme.theory.multi_concept.regime import Regime

torch.set_num_threads(1)
KINDS = {
    "literal": {},
    "reduced": {"ensemble": {"sampler": "reduced"}},
}
kind, dtype = sys.argv[1:]
base = Regime().replace(
    concepts={"K1": 2, "K2": 1, "d_x": 7, "d_y": 5, "weights": [0.7, 0.3]},
    prompt={"L": 5, "p_plus": 0.4, "sigma_x": 0.1, "sigma_y": 0.2, "p_extra": 0.3},
    model={"m": 6, "sigma_0": 0.5, "sigma_1": 0.5},
    training={"steps": 40, "batch": 7, "record_every": 7, "lam": 1e-3},
    # A seed whose key has its highest bits set: 32-bit arithmetic and signed overflow would show.
    ensemble={"seeds": 3, "seed": 0, "dtype": dtype},
).replace(**KINDS[kind])
compiled = base.replace(ensemble={"engine": "compiled"})
state = draw_initial(base)

def distance(one, other):
    assert one.keys() == other.keys()
    return max(float(np.nanmax(np.abs(one[name] - other[name]))) for name in one)

eager = simulate(base.replace(ensemble={"engine": "analytic"}), state, keep_final=True)
found = simulate(compiled, state, keep_final=True)
# Order-one weights, some hundred roundings a step, forty steps.
limit = 1e-12 if dtype == "float64" else 1e-3
assert distance(eager, found) < limit, distance(eager, found)
if base.ensemble.sampler == "literal":
    plain = simulate(base.replace(ensemble={"engine": "autograd"}), state, keep_final=True)
    assert distance(plain, found) < limit, distance(plain, found)

# A member has its prompts by its number, also alone; batched products may round by the size of the ensemble.
solo = compiled.replace(ensemble={"seeds": 1})
alone = simulate(solo, draw_initial(solo, first_member=2), first_member=2, keep_final=True)
assert distance(alone, {name: x if name == "step" else x[2] for name, x in found.items()}) < limit
if kind == "reduced":
    print("fine")
    sys.exit()  # what follows compiles four times more, and does not depend on the sampler

# Evaluated at every step, kept in the middle and taken up again: the same path, bit for bit.
closely = compiled.replace(training={"record_every": 1})
(members, start), = chunks(closely, state, at_most=10)
run = Run(closely, start, members=members)
for done in run.steps():
    if done == 23:
        kept = run.keep()
        break
again = Run(closely, start, members=members, kept=kept)
for _ in again.steps():
    pass
result = again.result(keep_final=True)
for name in ("final_W_Q", "final_W_K", "final_W_O"):
    assert np.array_equal(result[name], found[name]), name

# Two compiled steppers side by side keep to their own regimes.
from polyseme.sim.multi_concept.training.engine import FastStepper
from polyseme.sim.multi_concept.training.model import Weights
from polyseme.sim.multi_concept.prompts.tensors import Dictionaries
kinds = [compiled, compiled.replace(ensemble={"seed": 7}, training={"schedule": "constant", "eta": 0.01})]
cpu, kind_of = torch.device("cpu"), getattr(torch, dtype)
def stepper(regime, compiled):
    weights, words = (kind.of(state, device=cpu, dtype=kind_of) for kind in (Weights, Dictionaries))
    return FastStepper(regime, weights, words, members=range(3), compiled=compiled)
pairs = [(stepper(regime, True), stepper(regime, False)) for regime in kinds]
for t in range(2):
    for fast, slow in pairs:
        fast.step(t), slow.step(t)
for fast, slow in pairs:
    for one, other in zip(fast.weights.trained, slow.weights.trained, strict=True):
        assert (one - other).abs().max() < limit
print("fine")
"""


@pytest.mark.parametrize(("kind", "dtype"), [("literal", "float64"), ("reduced", "float32")])
def test_compiled_runs_are_eager_runs(kind, dtype):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, kind, dtype]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.strip() == "fine"
