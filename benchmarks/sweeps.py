"""What sweeps cost: 2,000 points of the reduced system, the same through a Dask cluster, deaths at random, and memory.

    python -m benchmarks.sweeps              everything; half an hour on two cores
    python -m benchmarks.sweeps speed        one part: speed, deaths or memory

A cluster here is a scheduler and two workers with one thread each on this machine, begun before the clock is. Each part prints
what benchmarks/RESULTS.md keeps.
"""

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import psutil

ROOT = Path(__file__).parents[1]
CHEAP = ROOT / "tests" / "checks" / "sweeps" / "cheap_claims.py"
REDUCED = ROOT / "regimes" / "sweeps" / "phase_map.toml"
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "SYMPY_GROUND_TYPES": "python",
    # Dask samples the stack of its workers every ten milliseconds, which costs code in Python dear; docs/sweeps.md says how to switch it off.
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}


def begin(grid: Path, out: Path, *options: str, **environment: str) -> subprocess.Popen[bytes]:
    """A sweep in a process of its own; its errors go to OUT.txt."""
    command = [sys.executable, "-m", "polyseme.checks.command_line", "sweep", str(grid), "--out", str(out), *options]
    with out.with_suffix(".txt").open("wb") as errors:
        return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT | environment, stderr=errors)


def timed(grid: Path, out: Path, *options: str) -> float:
    """Seconds of a whole sweep, its start and its table included."""
    began = time.perf_counter()
    assert begin(grid, out, *options).wait() == 0
    return time.perf_counter() - began


@contextmanager
def cluster(**environment: str) -> Iterator[tuple[str, subprocess.Popen[str], subprocess.Popen[bytes]]]:
    """The address of a scheduler with two workers, and their processes."""
    from distributed import Client

    dask = [sys.executable, "-m"]
    scheduler = subprocess.Popen(
        [*dask, "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1"],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert scheduler.stderr is not None
    address = next(line.split()[-1] for line in scheduler.stderr if "Scheduler at:" in line)
    threading.Thread(target=scheduler.stderr.read, daemon=True).start()
    options = ["--nthreads", "1", "--nworkers", "2", "--no-dashboard"]
    crew = subprocess.Popen(
        [*dask, "distributed.cli.dask_worker", address, *options],
        env=ENVIRONMENT | environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2)
        yield address, scheduler, crew
    finally:
        workers = psutil.Process(crew.pid).children(recursive=True)
        for process in (crew, scheduler, *workers):  # the nannies first: they would start their workers anew
            with suppress(psutil.NoSuchProcess):
                process.kill()


def table(out: Path) -> pd.DataFrame:
    """The table of a sweep without what differs from run to run."""
    return pd.read_parquet(out / "results.parquet").drop(columns="seconds")


def speed(folder: Path) -> None:
    """The reduced system at two thousand points: processes of this machine, and a cluster of two workers."""
    here = timed(REDUCED, folder / "here")
    with cluster() as (address, _, _):
        there = timed(REDUCED, folder / "there", "--scheduler", address)
    one, two = table(folder / "here"), table(folder / "there")
    work = pd.read_parquet(folder / "here" / "results.parquet").seconds.sum()
    print(
        f"{len(one)} rows: two processes {here:.0f} s ({work:.0f} s in claims), cluster of two workers {there:.0f} s, ratio {there / here:.3f}"
    )
    print("the same table but for timings:", one.equals(two))


def grid_of(folder: Path, points: int) -> Path:
    """A grid of claims that cost nothing, or twice CHEAP_SECONDS."""
    path = folder / f"{points}.toml"
    path.write_text(
        '[sweep]\nclaims = ["cheap/quick", "cheap/odd_widths_alone"]\ndrop = ["narrow"]\n[model]\n'
        f"m = {{from = 1, to = {points}, count = {points}}}\n",
        encoding="utf-8",
    )
    return path


def deaths(folder: Path) -> None:
    """Five hundred points; every few seconds a worker is killed, twice the first process, and once the scheduler."""
    grid, rng, killed = grid_of(folder, 500), random.Random(0), 0
    options, slow = ("--claims", str(CHEAP)), {"CHEAP_SECONDS": "0.2"}
    assert begin(grid, folder / "calm", *options).wait() == 0
    for kind in ("processes", "cluster"):
        out, starts = folder / kind, 0
        while True:
            starts += 1
            with cluster(**slow) if kind == "cluster" else _nothing() as (address, scheduler, crew):
                more = ("--scheduler", address) if address else ()
                run = begin(grid, out, *options, *more, **slow)
                until = time.monotonic() + rng.uniform(15, 30)
                while run.poll() is None:
                    time.sleep(rng.uniform(3, 8))
                    if starts <= 3 and time.monotonic() > until:
                        (scheduler if kind == "cluster" and starts == 3 else run).kill()
                        run.wait()
                        break
                    parent = psutil.Process(crew.pid if crew else run.pid)
                    with suppress(psutil.NoSuchProcess):
                        workers = [
                            x
                            for x in parent.children(recursive=True)
                            if not x.children() and "resource_tracker" not in " ".join(x.cmdline())
                        ]
                        if workers:
                            rng.choice(workers).kill()
                            killed += 1
            if run.returncode in (0, 1):
                break
            if run.returncode > 0:
                print(f"start {starts} ended with {run.returncode}: {out.with_suffix('.txt').read_text().strip()}")
        found = table(out)
        assert found.duplicated(["m", "claim"]).sum() == 0
        same = found.equals(table(folder / "calm"))
        print(
            f"{kind}: {starts} starts, {killed} workers killed; {found.m.nunique()} of 500 points, the table of a calm sweep: {same}"
        )
        killed = 0


@contextmanager
def _nothing() -> Iterator[tuple[str, None, None]]:
    yield "", None, None


def memory(folder: Path) -> None:
    """The most memory of the first process, over 100, 2,000 and 20,000 points."""
    for points in (100, 2_000, 20_000):
        began = time.perf_counter()
        run, most = begin(grid_of(folder, points), folder / str(points), "--claims", str(CHEAP)), 0
        while run.poll() is None:
            with suppress(psutil.NoSuchProcess):
                most = max(most, psutil.Process(run.pid).memory_info().rss)
            time.sleep(0.05)
        assert run.returncode == 0
        seconds = time.perf_counter() - began
        print(
            f"{points} points: at most {most / 2**20:.0f} MiB, {seconds:.0f} s, {1e3 * seconds / points:.1f} ms a point"
        )


def main() -> None:
    """Every part, or those that are named."""
    parts = {"speed": speed, "deaths": deaths, "memory": memory}
    for name in sys.argv[1:] or parts:
        print(f"-- {name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            parts[name](Path(folder))


if __name__ == "__main__":
    main()
