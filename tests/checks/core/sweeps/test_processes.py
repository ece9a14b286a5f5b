"""Sweeps in processes of this machine and on a Dask cluster: killed at random, interrupted, abandoned; the same table in the end."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from cheap import FILE, sweep, write_grid
from command_line import call
from distributed.comm.core import CommClosedError
from test_run import assert_same_but_for_timings, table

from polyseme.checks.core.sweeps.folder import POINTS
from polyseme.checks.core.sweeps.pools import _require_same_code
from polyseme.checks.core.sweeps.run import ATTEMPTS
from polyseme.checks.core.sweeps.task import code_digest, code_of
from polyseme.checks.core.theories import reference_to
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.errors import PolysemeError

ROOT = Path(__file__).parents[4]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "SYMPY_GROUND_TYPES": "python",
    "CHEAP_SECONDS": "0.03",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
}


def begin(grid: Path, out: Path, *options) -> subprocess.Popen:
    arguments = ["sweep", str(grid), "--out", str(out), "--claims", str(FILE), *map(str, options)]
    return subprocess.Popen(
        [sys.executable, "-m", "polyseme.checks.command_line", *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(run: subprocess.Popen, status: int) -> str:
    said, _ = run.communicate(timeout=180)
    assert run.returncode == status, said
    return said


def command_of(process: psutil.Process) -> str:
    """Its command line; nothing where it is gone, or was just killed and nobody has waited for it yet."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def workers_of(run: subprocess.Popen) -> list[psutil.Process]:
    """Its processes that try points, once they have begun to."""
    return [one for one in psutil.Process(run.pid).children(recursive=True) if "spawn_main" in command_of(one)]


def kept(out: Path) -> int:
    return len(list((out / POINTS).glob("*.json"))) if (out / POINTS).exists() else 0


def wait_for(out: Path, points: int, run: subprocess.Popen) -> None:
    began = time.monotonic()
    while kept(out) < points:
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() - began < 120, f"{kept(out)} of {points} points"
        time.sleep(0.02)


def grid_of(tmp_path: Path, points: int, *names: str) -> Path:
    return write_grid(tmp_path / "g.toml", *(names or ("quick", "odd_widths_alone")), widths=range(1, points + 1))


def assert_complete(out: Path, points: int) -> None:
    found = table(out)
    assert found.m.tolist() == [m for m in range(1, points + 1) for _ in range(2)]
    assert found.point_hash.nunique() == points == kept(out)
    odd = found[found.claim == "cheap/odd_widths_alone"]
    assert (odd.verdict == ["supported" if m % 2 else "refuted" for m in odd.m]).all()
    assert list(out.glob("**/*.part")) == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The table of sixty points that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    ended(begin(grid_of(folder, 60), folder / "out", "--processes", 1), 0)
    return table(folder / "out")


def test_workers_and_the_first_process_are_killed_at_random(tmp_path, undisturbed):
    grid, out, rng = grid_of(tmp_path, 60), tmp_path / "out", random.Random(0)
    run = begin(grid, out, "--processes", 2)
    for points in (5, 12, 20):
        wait_for(out, points, run)
        if workers := workers_of(run):
            rng.choice(workers).kill()
    wait_for(out, 30, run)
    orphans = workers_of(run)
    run.kill()
    run.communicate()
    begun = kept(out)
    assert 30 <= begun < 60
    psutil.wait_procs(orphans, timeout=20)
    assert not any(orphan.is_running() and orphan.status() != psutil.STATUS_ZOMBIE for orphan in orphans)
    said = ended(begin(grid, out, "--processes", 2), 0)
    assert f"60 of 60 points judged ({begun} of them before)" in said
    assert_complete(out, 60)
    assert_same_but_for_timings(undisturbed, table(out))


def test_an_interrupt_ends_it_after_the_points_in_hand_and_it_goes_on(tmp_path):
    grid, out = grid_of(tmp_path, 60), tmp_path / "out"
    run = begin(grid, out, "--processes", 2)
    wait_for(out, 7, run)
    os.killpg(run.pid, signal.SIGINT)  # as from a terminal: to workers, too
    said = ended(run, 130)
    assert "stopping after this point" in said
    assert "every point that was judged is kept: type the same command to go on" in said
    assert len(table(out)) == 2 * kept(out) < 120
    ended(begin(grid, out, "--processes", 2), 0)
    assert_complete(out, 60)


def test_a_point_that_ends_its_process_is_quarantined_and_the_others_are_judged(tmp_path):
    out = tmp_path / "out"
    said = ended(begin(write_grid(tmp_path / "g.toml", "dies_at_7", widths=(5, 6, 7, 8)), out, "--processes", 1), 1)
    assert "1 points were quarantined" in said
    assert table(out).verdict.tolist() == ["supported", "supported", "error", "supported"]
    assert f"ended by itself {ATTEMPTS} times" in table(out).sentence[2]


@contextmanager
def cluster(workers: int = 2):
    """A scheduler and workers in processes of their own; gives the address and the scheduler."""
    command = [
        sys.executable,
        "-m",
        "distributed.cli.dask_scheduler",
        "--port",
        "0",
        "--no-dashboard",
        "--host",
        "127.0.0.1",
    ]
    scheduler = subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    address = next(line.split()[-1] for line in scheduler.stderr if "Scheduler at:" in line)
    command = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        address,
        "--nthreads",
        "1",
        "--nworkers",
        str(workers),
    ]
    crew = subprocess.Popen(
        [*command, "--no-dashboard"], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        from distributed import Client

        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)
        yield address, scheduler, crew
    finally:
        started = psutil.Process(crew.pid).children(recursive=True)
        for process in (crew, scheduler, *started):  # the nannies first: they would start their workers anew
            with suppress(psutil.NoSuchProcess):
                process.kill()
        scheduler.stderr.close()
        scheduler.wait()
        crew.wait()


def test_a_cluster_whose_workers_are_killed_and_whose_scheduler_goes_gives_the_same_table(tmp_path, undisturbed):
    grid, out = grid_of(tmp_path, 60), tmp_path / "out"
    with cluster() as (address, scheduler, crew):
        run = begin(grid, out, "--scheduler", address)
        wait_for(out, 10, run)
        started = psutil.Process(crew.pid).children(recursive=True)
        victims = [x for x in started if not x.children() and "resource_tracker" not in command_of(x)]
        victims[0].kill()
        wait_for(out, 25, run)
        scheduler.kill()
        said = ended(run, 2)
    assert "the scheduler is gone; what was judged is kept" in said
    assert "Traceback" not in said
    begun = kept(out)
    assert 25 <= begun < 60
    with cluster() as (address, _, _):
        said = ended(begin(grid, out, "--scheduler", address), 0)
    assert f"60 of 60 points judged ({begun} of them before)" in said
    assert_complete(out, 60)
    assert_same_but_for_timings(undisturbed, table(out))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x"])
def test_a_scheduler_that_does_not_answer_is_reported_in_a_sentence(tmp_path, monkeypatch, address):
    monkeypatch.setattr("polyseme.checks.core.sweeps.pools.SECONDS_TO_CONNECT", 0.5)
    status, _, error = call(
        "sweep", grid_of(tmp_path, 3), "--out", tmp_path / "out", "--claims", FILE, "--scheduler", address
    )
    assert status == 2
    assert f"--scheduler {address}: no scheduler answers there" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("--processes", 0), "got --processes 0, expected a whole number of at least 1"),
        (("--processes", 2, "--scheduler", "tcp://127.0.0.1:9"), "leave out one of them"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, arguments, said):
    status, _, error = call("sweep", grid_of(tmp_path, 3), "--out", tmp_path / "out", *arguments)
    assert status == 2
    assert said in error
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_what_would_be_tried_and_writes_nothing(tmp_path):
    grid = write_grid(tmp_path / "g.toml", "noisy", "quick", head='drop = ["narrow"]', widths=(1, 2, 30))
    status, output, _ = call("sweep", grid, "--out", tmp_path / "out", "--dry-run", "--claims", FILE)
    assert status == 0
    assert "3 points over m; at each: cheap/noisy, cheap/quick" in output
    assert "across the edges of: narrow" in output
    assert "3 statistical judgements share the budget of false alarms: 0.00017 each" in output
    assert not (tmp_path / "out").exists()


def test_a_bad_grid_exits_with_2_and_writes_nothing(tmp_path):
    grid = tmp_path / "g.toml"
    for text, said in {
        '[sweep]\nclaims = ["cheap/quick"]\n[model]\nwidth = {values = [1]}': "has no key 'width'",
        '[sweep]\nclaims = ["cheap/quick"]\n[model]\nm = {values = []}': "the design is empty",
        '[sweep]\nclaims = ["cheap/slow"]\n[model]\nm = {values = [1]}': "matches no claim",
    }.items():
        grid.write_text(text, encoding="utf-8")
        status, _, error = call("sweep", grid, "--out", tmp_path / "out", "--claims", FILE)
        assert (status, error.count("\n")) == (2, 1)
        assert said in error
        assert not (tmp_path / "out").exists()


def test_a_point_is_replayed_from_its_number(tmp_path):
    out = tmp_path / "out"
    sweep(write_grid(tmp_path / "g.toml", "quick", widths=(3, 5)), out)
    status, printed, _ = call("sweep", tmp_path / "g.toml", "--out", out, "--point", 1)
    assert (status, printed) == (0, "[model]\nm = 5\n")
    status, _, error = call("sweep", tmp_path / "g.toml", "--out", out, "--point", 2)
    assert status == 2
    assert "which has 2 from 0 to 1; type one of its column point" in error
    assert call("sweep", tmp_path / "g.toml", "--out", tmp_path / "none", "--point", 2)[0] == 2


def test_an_address_that_is_none_is_refused_before_anything_is_tried(tmp_path):
    status, _, error = call(
        "sweep", grid_of(tmp_path, 3), "--out", tmp_path / "out", "--claims", FILE, "--scheduler", "localhost"
    )
    assert (status, error.count("\n")) == (2, 1)
    assert "got --scheduler localhost, expected the address of a Dask scheduler" in error


class Asked:
    """A Dask client whose workers answer what they are told to."""

    def __init__(self, *answers, threads=1):
        self.answers, self.threads = answers, threads

    def nthreads(self):
        return {f"tcp://worker-{j}": self.threads for j in range(len(self.answers))}

    def run(self, function, theory, *, on_error):
        assert (function, theory, on_error) == (code_of, reference_to(THEORY), "return")
        return dict(zip(self.nthreads(), self.answers, strict=True))


def test_a_worker_that_ends_while_it_is_asked_for_its_code_is_no_obstacle():
    _require_same_code(Asked(code_digest(THEORY), CommClosedError("killed")), "tcp://a:1", reference_to(THEORY))


@pytest.mark.parametrize(
    "client, said",
    [
        (Asked(), "the cluster has no workers"),
        (Asked(code_digest(THEORY), threads=2), "worker tcp://worker-0 has 2 threads, expected one each"),
        (
            Asked(code_digest(THEORY), ModuleNotFoundError("No module named 'checks'")),
            "worker tcp://worker-1 cannot run polyseme",
        ),
        (Asked(code_digest(THEORY), FileNotFoundError("no source")), "worker tcp://worker-1 cannot run polyseme"),
        (Asked("another", code_digest(THEORY)), "worker tcp://worker-0 runs another version of polyseme"),
    ],
)
def test_workers_that_would_not_do_are_reported_in_a_sentence(client, said):
    with pytest.raises(PolysemeError, match=said):
        _require_same_code(client, "tcp://a:1", reference_to(THEORY))
