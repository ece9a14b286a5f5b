"""Runs that survive: a folder with the plan of a run and a checkpoint of every chunk of members.

A run that was interrupted or killed goes on from its last checkpoints to the same trajectory, digit for digit on the same
machine: prompts have addresses (`sim.philox`), so weights, step and records are all there is to keep. A chunk that is
finished is never run again.
"""

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from filelock import FileLock, Timeout

from checks.files import as_json, load_npz, save_npz, write_atomic
from theory.setting import PolysemeError, Regime, parse_regime

Arrays = dict[str, np.ndarray]
PLAN = "plan.json"
SECONDS_BETWEEN_CHECKPOINTS = 15.0
# Changes with whatever makes an old checkpoint mean something else.
FORMAT = 1


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with everything kept; the message says how to go on."""


@runtime_checkable
class Flag(Protocol):
    """Whether to stop; an event of threading or of multiprocessing."""

    def is_set(self) -> bool:
        """Asked between two steps."""
        ...

    def set(self) -> None:
        """Ask every chunk to keep what it has and stop."""
        ...


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run folder is a run of. Two plans with one digest have the same trajectory."""

    regime: Regime
    start: Arrays
    together: int
    """How many members are trained together: batched products round by it."""

    def as_json(self) -> str:
        """The canonical plan, with its digest and, for the record, versions and the device."""
        from sim.probe import versions

        return as_json(self._canonical() | {"digest": self.digest, "versions": versions()})

    @property
    def digest(self) -> str:
        """SHA-256 of everything that the trajectory depends on."""
        return hashlib.sha256(json.dumps(self._canonical(), sort_keys=True).encode()).hexdigest()

    def _canonical(self) -> dict[str, Any]:
        arrays = hashlib.sha256()
        for name in sorted(self.start):
            array = np.ascontiguousarray(self.start[name])
            arrays.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
        regime = self.regime.model_dump(mode="json")
        return {
            "format": FORMAT,
            "regime": regime,
            "initial state": arrays.hexdigest(),
            "members together": self.together,
        }


def train(
    regime: Regime,
    start: Arrays,
    folder: Path,
    *,
    processes: int | None = None,
    save_every: float = SECONDS_BETWEEN_CHECKPOINTS,
    progress: Callable[[int, int], None] | None = None,
) -> Arrays:
    """Train the model of `regime` from `start`, or go on with what the folder holds of it; the trajectory of `sim.train.simulate`.

    Chunks of members run in `processes` processes, by default one for each core if that is worth it. Every
    `save_every` seconds each is kept. PolysemeError if the folder holds another run, is at work, or cannot be written;
    Interrupted after Ctrl-C, once everything is kept.
    """
    from sim.device import is_on_gpu
    from sim.plan import check_fits, member_chunks, members_in_process, takes_long
    from sim.train import chunks, joined

    on_gpu = is_on_gpu(regime)
    cores = processes or ((os.cpu_count() or 1) if takes_long(regime) and not on_gpu else 1)
    together = members_in_process(regime, processes=cores, on_gpu=on_gpu)
    plan = _opened(folder, Plan(regime=regime, start=start, together=together))
    workers = min(cores, len(member_chunks(regime, at_most=plan.together)))
    check_fits(regime, together=workers * plan.together)
    with _locked(folder / ".lock", timeout=0.0):
        for part in folder.glob(".*.part"):  # of a process that was killed while it wrote
            part.unlink(missing_ok=True)
        parts = chunks(regime, start, at_most=plan.together)
        tasks = [
            Task(
                regime=regime,
                state=state,
                members=members,
                path=folder / f"chunk-{number:04d}.npz",
                save_every=save_every,
            )
            for number, (members, state) in enumerate(parts)
        ]
        report = _total(progress, len(tasks), regime.training.steps)
        finished = (_in_processes if workers > 1 else _here)(tasks, report, workers)
    if not finished:
        raise Interrupted
    return joined(regime, start, [_recorded(task.path) for task in tasks])


@dataclass(frozen=True, kw_only=True)
class Task:
    """A chunk of members and the file that it is kept in."""

    regime: Regime
    state: Arrays
    members: range
    path: Path
    save_every: float

    def run(self, stop: Flag, report: Callable[[int], None]) -> bool:
        """Train to the end or until it is asked to stop, keeping what there is now and then; whether it reached the end."""
        from sim.train import Run

        steps = self.regime.training.steps
        with _locked(Path(f"{self.path}.lock")):  # an orphan of a killed run may still be about, until its next step
            run = Run(self.regime, self.state, members=self.members, kept=self._kept())
            report(run.done)
            kept_at, saved = time.monotonic(), -1
            for done in run.steps():
                report(done)
                stopping = stop.is_set()
                if stopping or done == steps or time.monotonic() - kept_at >= self.save_every:
                    save_npz(self.path, run.keep())
                    kept_at, saved = time.monotonic(), done
                if stopping:
                    break
            if run.done == steps and saved < 0:  # nothing was left to do
                save_npz(self.path, run.keep())
        return run.done == steps

    def _kept(self) -> Arrays | None:
        if not self.path.exists():
            return None
        return load_npz(self.path, _names(self.path), "a checkpoint of this run")


def _opened(folder: Path, plan: Plan) -> Plan:
    """The plan that the folder is of: this one, written there, or the one it holds, if that is of the same run."""
    path = folder / PLAN
    if not path.exists():
        if folder.exists() and any(folder.glob("chunk-*.npz")):
            raise PolysemeError(
                f"{folder}: got checkpoints without {PLAN}, expected both; type another --out, or delete the folder"
            )
        write_atomic(path, plan.as_json())
        return plan
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        regime = parse_regime(found["regime"], source=str(path))
        held = Plan(regime=regime, start=plan.start, together=int(found["members together"]))
        same_format = found["format"] == FORMAT
        digest = found["digest"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise PolysemeError(
            f"{path}: got a file that is no plan of a run; type another --out, or delete {folder}"
        ) from None
    if not same_format:
        raise PolysemeError(
            f"{path}: got a plan of another version of polyseme; type another --out, or delete {folder}"
        )
    if held.regime != plan.regime:
        raise PolysemeError(
            f"{folder}: holds a run with {_difference(held.regime, plan.regime)}; type another --out, or delete the folder"
        )
    if held.digest != digest:
        raise PolysemeError(
            f"{folder}: holds a run from another initial state; type another --out, or delete the folder"
        )
    return held


def _difference(held: Regime, wanted: Regime) -> str:
    """The first key in which two regimes differ, in words."""
    other = wanted.model_dump()
    for section, keys in held.model_dump().items():
        for key, value in keys.items():
            if value != other[section][key]:
                return f"[{section}] {key} = {value}, and this regime has {key} = {other[section][key]}"
    return "another regime"


@contextmanager
def _locked(path: Path, *, timeout: float = -1.0) -> Iterator[None]:
    """Nobody else holds the lock; waits for it, or PolysemeError after `timeout` seconds."""
    lock = FileLock(path, timeout=timeout)
    try:
        lock.acquire()
    except Timeout:
        raise PolysemeError(
            f"{path.parent}: another process is at work on this run; wait for it, or type another --out"
        ) from None
    except OSError as error:
        raise PolysemeError(
            f"{path.parent}: got '{error.strerror or error}', expected a folder that can be written; type another --out"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _total(progress: Callable[[int, int], None] | None, tasks: int, steps: int) -> Callable[[list[int]], None]:
    """Progress of the whole run from the steps that each chunk has done."""
    return lambda done: progress(sum(done), tasks * steps) if progress else None


def _here(tasks: list[Task], report: Callable[[list[int]], None], _workers: int) -> bool:
    """One chunk after the other in this process."""
    done, seen = [0] * len(tasks), [0.0]

    def of_task(number: int, steps: int) -> None:
        done[number] = steps
        if time.monotonic() - seen[0] > 0.1 or steps == tasks[number].regime.training.steps:
            report(done)
            seen[0] = time.monotonic()

    with _stopping(threading.Event()) as stop:
        return all(
            task.run(stop, lambda steps, number=number: of_task(number, steps)) for number, task in enumerate(tasks)
        )


@contextmanager
def _stopping(stop: Flag) -> Iterator[Flag]:
    """Ctrl-C asks to stop between two steps instead of ending one in the middle; a second one ends it all the same."""

    def ask(_signal: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


_shared: dict[str, Any] = {}
_busy = threading.Lock()


def _begin_process(stop: Any, done: Any) -> None:
    """In each process: one thread, Ctrl-C is for the first process to answer, and no life after that."""
    from sim.device import one_thread

    one_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _shared.update(stop=stop, done=done)
    threading.Thread(target=_end_with_the_first, daemon=True).start()


def _end_with_the_first() -> None:
    """Once the first process is gone, keep what there is and end; a pool's process would wait for work for ever."""
    first = parent_process()
    assert first is not None
    first.join()
    _shared["stop"].set()
    with _busy:
        os._exit(1)


def _run_in_process(number: int, task: Task) -> bool:
    def report(steps: int) -> None:
        _shared["done"][number] = steps

    with _busy:
        return task.run(_shared["stop"], report)


def _in_processes(tasks: list[Task], report: Callable[[list[int]], None], workers: int) -> bool:
    """Chunks side by side, each in a process with one thread: two threads in one would wait for each other."""
    context = get_context("spawn")
    stop, done = context.Event(), context.Array("q", len(tasks), lock=False)
    with (
        _stopping(stop),
        ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_process, initargs=(stop, done)) as pool,
    ):
        futures: set[Future[bool]] = {pool.submit(_run_in_process, *numbered) for numbered in enumerate(tasks)}
        left = futures
        while left:
            ended, left = wait(left, timeout=0.2)
            report(list(done))
            if any(future.exception() for future in ended):
                stop.set()
        ended_well = [future.result() for future in futures]  # the first error is raised, whatever the others did
        return all(ended_well)


def _names(path: Path) -> list[str]:
    with suppress(OSError, ValueError), np.load(path, allow_pickle=False) as archive:
        return list(archive.files)
    return ["done"]


def _recorded(path: Path) -> Arrays:
    """The trajectory of a finished chunk."""
    from sim.train import recorded

    return recorded(load_npz(path, _names(path), "a checkpoint of this run"))
