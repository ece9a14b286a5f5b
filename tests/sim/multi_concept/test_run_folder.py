"""Runs that survive: killed, interrupted, refused, finished; always the trajectory of a run that nothing happened to."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

import polyseme.sim.multi_concept.training.train
from polyseme.errors import PolysemeError
from polyseme.sim.ensemble import run_folder
from polyseme.sim.multi_concept.run_folder import train
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.multi_concept.regime import Regime

ROOT = Path(__file__).parents[3]
NOISY = Regime().replace(
    concepts={"K1": 2, "K2": 1, "d_x": 6, "d_y": 5},
    prompt={"L": 3, "sigma_x": 0.1, "sigma_y": 0.1, "p_extra": 0.1},
    model={"m": 6},
    training={"steps": 60, "batch": 4, "record_every": 7, "lam": 1e-3},
    ensemble={"seeds": 5},
)


def assert_identical(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.fixture
def state():
    return draw_initial(NOISY)


def stop_after(monkeypatch, steps: int) -> None:
    """The next run is asked to stop after so many steps of its first chunk, as by Ctrl-C."""
    task = run_folder.Task.run

    def run(self, stop, report):
        def seen(done):
            report(done)
            if done == steps:
                stop.set()

        return task(self, stop, seen)

    monkeypatch.setattr(run_folder.Task, "run", run)


def test_it_is_the_run_of_simulate_and_a_finished_one_is_not_repeated(tmp_path, state, monkeypatch):
    seen = []
    found = train(NOISY, state, tmp_path / "run", progress=lambda *done: seen.append(done))
    assert_identical(found, simulate(NOISY, state))
    assert seen[-1] == (60, 60)
    monkeypatch.setattr(polyseme.sim.multi_concept.training.train.Run, "steps", lambda _self: iter(()))
    assert_identical(train(NOISY, state, tmp_path / "run"), found)
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["regime"] == NOISY.model_dump(mode="json")
    assert len(plan["digest"]) == 64
    assert plan["means"]["engine"] == "autograd"


@pytest.mark.parametrize("engine", ["autograd", "analytic"])
@pytest.mark.parametrize("at", [1, 7, 31, 59])
def test_an_interrupted_run_goes_on_to_the_same_numbers(at, engine, tmp_path, state, monkeypatch):
    regime = NOISY.replace(ensemble={"engine": engine})
    with monkeypatch.context() as patch, pytest.raises(run_folder.Interrupted):
        stop_after(patch, at)
        train(regime, state, tmp_path)
    with np.load(tmp_path / "chunk-0000.npz") as kept:
        assert int(kept["done"]) == at
    begun = []
    found = train(regime, state, tmp_path, progress=lambda done, _total: begun.append(done))
    assert begun[0] >= at
    assert_identical(found, simulate(regime, state))


def test_population_descent_and_reduced_noise_go_on_too(tmp_path, state, monkeypatch):
    population = NOISY.replace(prompt={"sigma_x": 0.0, "sigma_y": 0.0}, training={"batch": "population", "steps": 12})
    for name, regime in (("population", population), ("reduced", NOISY.replace(ensemble={"sampler": "reduced"}))):
        with monkeypatch.context() as patch, pytest.raises(run_folder.Interrupted):
            stop_after(patch, 5)
            train(regime, state, tmp_path / name)
        assert_identical(train(regime, state, tmp_path / name), simulate(regime, state))


def test_no_steps_are_a_finished_run(tmp_path, state):
    regime = NOISY.replace(training={"steps": 0})
    assert_identical(train(regime, state, tmp_path), simulate(regime, state))


def test_a_full_disk_is_told_and_leaves_the_last_checkpoint_whole(tmp_path, state, monkeypatch):
    fsync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 6:  # the plan, then two checkpoints; two calls each, for the file and its folder
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch, pytest.raises(PolysemeError, match="No space left on device"):
        patch.setattr(os, "fsync", full)
        train(NOISY, state, tmp_path, save_every=0.0)
    with np.load(tmp_path / "chunk-0000.npz") as kept:
        assert int(kept["done"]) == 2
    assert not list(tmp_path.glob("*.part"))
    assert_identical(train(NOISY, state, tmp_path), simulate(NOISY, state))


def test_a_folder_that_cannot_be_written_is_reported(tmp_path, state):
    (tmp_path / "file").write_text("")
    with pytest.raises(PolysemeError, match="expected a place for the folder of the run"):
        train(NOISY, state, tmp_path / "file" / "run")


def test_what_cannot_run_leaves_no_folder(tmp_path, state):
    for regime, start in (
        (NOISY.replace(ensemble={"seeds": 10**11}), state),
        (NOISY, state | {"W_O": state["W_O"][:1]}),
    ):
        with pytest.raises(PolysemeError):
            train(regime, start, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_another_run_is_never_mixed_in(tmp_path, state):
    train(NOISY, state, tmp_path / "run")
    for changed, start, told in (
        (NOISY.replace(training={"lam": 2e-3}), state, r"\[training\] lam = 0.001, and this regime has lam = 0.002"),
        (NOISY, state | {"W_O": state["W_O"] + 1}, "from another initial state"),
    ):
        with pytest.raises(PolysemeError, match=told):
            train(changed, start, tmp_path / "run")
    plan = tmp_path / "run" / "plan.json"
    written = plan.read_text()
    for old, new, told in (
        ('"members together": 5', '"members together": 4', "a plan that was altered"),
        ('"engine": "autograd"', '"engine": "compiled"', "holds a run with engine compiled, and here it is autograd"),
        ('"steps": 60', '"paces": 60', "no plan of a run"),
        (f'"format": {run_folder.FORMAT}', '"format": 0', "another version of polyseme"),
    ):
        assert old in written
        # The engine is named twice, in the regime and in what the run was done with.
        plan.write_text(new.join(written.rsplit(old, 1)))
        with pytest.raises(PolysemeError, match=told):
            train(NOISY, state, tmp_path / "run")
    plan.write_text("[]")
    with pytest.raises(PolysemeError, match="no plan of a run"):
        train(NOISY, state, tmp_path / "run")
    (tmp_path / "run" / "plan.json").unlink()
    with pytest.raises(PolysemeError, match=r"checkpoints without plan\.json"):
        train(NOISY, state, tmp_path / "run")


def test_a_chunk_that_is_damaged_or_of_another_run_is_refused(tmp_path, state):
    train(NOISY, state, tmp_path / "run")
    other = NOISY.replace(ensemble={"seed": 9})
    train(other, draw_initial(other), tmp_path / "other")
    chunk = tmp_path / "run" / "chunk-0000.npz"
    whole = chunk.read_bytes()
    foreign = (tmp_path / "other" / "chunk-0000.npz").read_bytes()
    for content in (b"", b"half", whole[: len(whole) // 2], whole[:-10], foreign):
        chunk.write_bytes(content)
        with pytest.raises(PolysemeError, match="damaged or no checkpoint of this run; delete it"):
            train(NOISY, state, tmp_path / "run")
    np.savez(chunk, done=np.array(60))
    with pytest.raises(PolysemeError, match="damaged or no checkpoint"):
        train(NOISY, state, tmp_path / "run")
    chunk.unlink()
    assert_identical(train(NOISY, state, tmp_path / "run"), simulate(NOISY, state))


def test_a_finished_run_is_read_and_not_written(tmp_path, state):
    train(NOISY, state, tmp_path)
    before = (tmp_path / "chunk-0000.npz").stat()
    train(NOISY, state, tmp_path)
    after = (tmp_path / "chunk-0000.npz").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_two_processes_do_not_write_one_run(tmp_path, state):
    with FileLock(tmp_path / ".lock"), pytest.raises(PolysemeError, match="another process is at work"):
        train(NOISY, state, tmp_path)


def test_remains_of_a_killed_write_are_cleared(tmp_path, state):
    part = tmp_path / ".0123.part"
    part.write_text("half")
    train(NOISY, state, tmp_path)
    assert not part.exists()


def test_a_diverging_run_says_so(tmp_path, state):
    regime = NOISY.replace(
        training={"schedule": "constant", "eta": 1e9, "loss": "squared"}, model={"activation": "identity"}
    )
    with pytest.raises(PolysemeError, match="diverged"):
        train(regime, state, tmp_path)


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
from polyseme.sim.multi_concept.run_folder import train
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.multi_concept.regime import load_regime

folder = Path(sys.argv[1])
regime = load_regime(folder / "regime.toml")
state = draw_initial(regime)
wanted = simulate(regime, state)
start = time.monotonic()
train(regime, state, folder / "whole", save_every=0.0)
takes = time.monotonic() - start
moments, found = random.Random(1), []
for trial in range(10):
    here = folder / str(trial)
    child = os.fork()
    if child == 0:
        train(regime, state, here, save_every=0.0)
        os._exit(0)
    time.sleep(moments.uniform(0, takes))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    path = here / "chunk-0000.npz"
    found.append(int(np.load(path)["done"]) if path.exists() else -1)
    resumed = train(regime, state, here)
    assert all(np.array_equal(resumed[name], wanted[name]) for name in wanted), trial
    assert not list(here.glob(".*.part"))
print(*found)
"""


@pytest.fixture
def regime_file(tmp_path):
    import tomli_w

    tables = NOISY.model_dump(exclude_none=True)
    (tmp_path / "regime.toml").write_text(tomli_w.dumps(tables))
    return tmp_path / "regime.toml"


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_killed_at_random_moments_it_goes_on_to_the_same_numbers(regime_file):
    command = [sys.executable, "-c", KILLED, str(regime_file.parent)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    steps = [int(word) for word in ended.stdout.split()]
    assert len(set(steps)) > 3, "the kills came at different moments"
    assert any(0 < step < 60 for step in steps)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads Linux's /proc")
def test_processes_that_are_interrupted_or_die_while_they_start_are_reported_in_a_sentence(regime_file):
    regime_file.write_text(regime_file.read_text().replace("steps = 60", "steps = 100000"))
    out = regime_file.parent / "out.npz"
    command = [
        sys.executable,
        "-m",
        "polyseme.checks.command_line",
        "simulate",
        str(regime_file),
        "--out",
        str(out),
        "--processes",
        "2",
    ]
    for sent, status, sentence in (
        (signal.SIGINT, 130, "type the same command"),
        (signal.SIGKILL, 2, "ended by itself"),
    ):
        first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True)
        children = Path(f"/proc/{first.pid}/task/{first.pid}/children")
        spawned: list[int] = []
        while len(spawned) < 2:
            assert first.poll() is None
            lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in children.read_text().split()}
            spawned = [pid for pid, line in lines.items() if "spawn_main" in line]
            time.sleep(0.05)
        if sent == signal.SIGINT:
            os.killpg(first.pid, sent)
        else:
            os.kill(spawned[-1], sent)
        told = first.communicate(timeout=60)[1]
        assert first.returncode == status, told
        assert sentence in told
        assert "Traceback" not in told


LONG = 2000  # steps: a second or so, so that the run is still at work when its first checkpoint is seen


@cache
def undisturbed() -> dict[str, np.ndarray]:
    """The long run in one go."""
    regime = NOISY.replace(training={"steps": LONG})
    return simulate(regime, draw_initial(regime))


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(("processes", "sent", "status"), [(1, signal.SIGKILL, -9), (2, signal.SIGINT, 130)])
def test_the_command_goes_on_after_an_interrupt_and_after_a_kill(processes, sent, status, regime_file):
    out = regime_file.parent / "out.npz"
    long = regime_file.read_text().replace("steps = 60", f"steps = {LONG}")
    regime_file.write_text(long)
    command = [sys.executable, "-m", "polyseme.checks.command_line", "simulate", str(regime_file), "--out", str(out)]
    command += ["--save-every", "0.1", "--processes", str(processes)]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True)
    while not list(out.with_suffix(".run").glob("chunk-*.npz")):
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.02)
    # A terminal sends Ctrl-C to every process of the group.
    (os.killpg if sent == signal.SIGINT else os.kill)(first.pid, sent)
    told = first.communicate(timeout=60)[1]
    assert first.returncode == status, told
    assert not out.exists()
    if sent == signal.SIGINT:
        assert "type the same command to go on" in told
    subprocess.run(command, env=environment(), timeout=200, check=True)
    wanted = undisturbed()
    with np.load(out) as found:
        assert set(found.files) == set(wanted)
        # Two processes train two and three members together, and batched products round by that.
        close = {"rtol": 0, "atol": 0 if processes == 1 else 1e-9}
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], err_msg=name, **close)


def test_weights_at_every_record_survive_an_interruption(tmp_path, state, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(run_folder.Interrupted):
        stop_after(patch, 31)
        train(NOISY, state, tmp_path / "run", keep_weights=True)
    found = train(NOISY, state, tmp_path / "run", keep_weights=True)
    assert_identical(found, simulate(NOISY, state, keep_weights=True))
    assert found["recorded_W_O"].shape == (5, 10, 6, 5)
    with pytest.raises(PolysemeError, match="holds a run with the weights at every record; type another --out"):
        train(NOISY, state, tmp_path / "run")
    train(NOISY, state, tmp_path / "other")
    with pytest.raises(PolysemeError, match="holds a run without the weights at every record"):
        train(NOISY, state, tmp_path / "other", keep_weights=True)
