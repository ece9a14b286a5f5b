"""Runs that survive: a folder with the plan of a run and a checkpoint of every chunk of members.

A run that was interrupted or killed goes on from its last checkpoints to the same trajectory, digit for digit on the same
machine: what is drawn has addresses (`polyseme.sim.ensemble.philox`), so weights, step and records are all there is to keep. A
chunk that is finished is never run again. What is run is an `Ensemble`, which a theory's simulation gives.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from polyseme.errors import PolysemeError
from polyseme.files import as_json, load_all, locked, save_npz, write_atomic
from polyseme.processes import Flag
from polyseme.regime import BaseRegime
from polyseme.sim.ensemble.processes import here, in_processes

Arrays = dict[str, np.ndarray]
Part = tuple[range, Arrays]
"""Members that are trained together, numbered from 0, and their initial state."""
PLAN = "plan.json"
SECONDS_BETWEEN_CHECKPOINTS = 15.0
# How long a process of a killed run may take to end its step, which may have to be compiled first.
SECONDS_FOR_AN_ORPHAN = 120.0
# Changes with whatever makes an old checkpoint mean something else.
FORMAT = 1


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with everything kept; the message says how to go on."""


@runtime_checkable
class Training(Protocol):
    """Some members on their way through a run; what they are at any step can be kept, and taken up again."""

    @property
    def done(self) -> int:
        """How many steps have been done."""
        ...

    def steps(self) -> Iterator[int]:
        """Go on to the end; yields after every step how many have been done. Between two it is safe to stop."""
        ...

    def keep(self) -> Arrays:
        """All that is needed to go on from here to the same numbers, with `done` among it."""
        ...


@runtime_checkable
class Ensemble(Protocol):
    """How members of one kind of run are trained; it is sent to other processes, so it is small and can be pickled."""

    @property
    def steps(self) -> int:
        """How many steps a member has in all."""
        ...

    def begin(self, state: Arrays, members: range, kept: Arrays | None) -> Training:
        """Members from their initial state, or from what `Training.keep` gave."""
        ...

    def recorded(self, kept: Arrays) -> Arrays:
        """The trajectory, with an ensemble axis, of what `Training.keep` gave."""
        ...


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run folder is a run of. On one machine, two plans with one digest have the same trajectory."""

    regime: BaseRegime
    start: Arrays
    together: int
    """How many members are trained together: batched products round by it."""
    means: Mapping[str, str]
    """Engine, device and version of libraries, by which a run rounds too."""
    options: Mapping[str, bool]
    """What is kept besides the usual, by its description: those that are chosen are part of the plan."""

    def as_json(self) -> str:
        """The canonical plan and its digest."""
        return as_json(self._canonical() | {"digest": self.digest})

    @property
    def digest(self) -> str:
        """SHA-256 of everything that the trajectory depends on."""
        return hashlib.sha256(json.dumps(self._canonical(), sort_keys=True).encode()).hexdigest()

    @property
    def of_start(self) -> str:
        """SHA-256 of the initial state."""
        arrays = hashlib.sha256()
        for name in sorted(self.start):
            array = np.ascontiguousarray(self.start[name])
            arrays.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
        return arrays.hexdigest()

    def _canonical(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "regime": self.regime.model_dump(mode="json"),
            "initial state": self.of_start,
            "members together": self.together,
            "means": dict(self.means),
            **{name: True for name, chosen in self.options.items() if chosen},
        }


def run_in_folder(
    folder: Path,
    ensemble: Ensemble,
    plan: Plan,
    parts: Callable[[int], Sequence[Part]],
    *,
    processes: int,
    save_every: float = SECONDS_BETWEEN_CHECKPOINTS,
    progress: Callable[[int, int], None] | None = None,
) -> list[Arrays]:
    """Train the ensemble of a plan, or go on with what the folder holds of it; the trajectory of each chunk of members.

    `parts(together)` divides the members into chunks, which run in `processes` processes; every `save_every` seconds each
    is kept. A run that was begun goes on with as many members together as it was begun with. PolysemeError if the folder holds
    another run, is at work, or cannot be written; Interrupted after Ctrl-C, once everything is kept.
    """
    chunks = parts(plan.together)  # before anything is written: a wrong state is refused here
    _made(folder)
    with _removed_if_empty(folder), locked(folder / ".lock", timeout=0.0):
        held = _opened(folder, plan)
        if held.together != plan.together:
            chunks = parts(held.together)
        for part in folder.glob(".*.part"):  # of a process that was killed while it wrote
            part.unlink(missing_ok=True)
        tasks = [
            Task(
                ensemble=ensemble,
                state=state,
                members=members,
                path=folder / f"chunk-{number:04d}.npz",
                save_every=save_every,
                digest=held.digest,
            )
            for number, (members, state) in enumerate(chunks)
        ]
        report = _total(progress, len(tasks), ensemble.steps)
        workers = min(processes, len(chunks))
        try:
            finished = in_processes(tasks, report, workers) if workers > 1 else here(tasks, report)
        except PolysemeError:
            if not any(folder.glob("chunk-*.npz")):
                (folder / PLAN).unlink(missing_ok=True)  # nothing was reached that could be gone on from
            raise
        if not finished:
            raise Interrupted
        return [ensemble.recorded(task.kept() or {}) for task in tasks]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A chunk of members and the file that it is kept in."""

    ensemble: Ensemble
    state: Arrays
    members: range
    path: Path
    save_every: float
    digest: str

    @property
    def steps(self) -> int:
        """How many updates it has in all."""
        return self.ensemble.steps

    def run(self, stop: Flag, report: Callable[[int], None]) -> bool:
        """Train to the end or until it is asked to stop, keeping what there is now and then; whether it reached the end."""
        steps = self.steps
        if stop.is_set():
            return False
        # A process of a killed run may still be running, until its next step is done.
        with locked(Path(f"{self.path}.lock"), timeout=SECONDS_FOR_AN_ORPHAN):
            kept = self.kept()
            if kept is not None and int(kept["done"]) == steps:
                report(steps)
                return True
            run = self.ensemble.begin(self.state, self.members, kept)
            report(run.done)
            kept_at = time.monotonic()
            for done in run.steps():
                report(done)
                stopping = stop.is_set()
                if stopping or done == steps or time.monotonic() - kept_at >= self.save_every:
                    self._keep(run.keep())
                    kept_at = time.monotonic()
                if stopping:
                    break
            if steps == 0:
                self._keep(run.keep())
        return run.done == steps

    def kept(self) -> Arrays | None:
        """What the file holds, or nothing if there is none; PolysemeError if it is damaged or of another run."""
        if not self.path.exists():
            return None
        wrong = PolysemeError(
            f"{self.path}: got a file that is damaged or no checkpoint of this run; delete it, and its members start again"
        )
        try:
            arrays = load_all(self.path, "a checkpoint")
        except PolysemeError:
            raise wrong from None
        same = all(name in arrays and np.array_equal(arrays[name], mark) for name, mark in self._marks().items())
        if not same or not 0 <= int(arrays.get("done", np.array(-1))) <= self.steps:
            raise wrong
        return arrays

    def _keep(self, arrays: Arrays) -> None:
        try:
            save_npz(self.path, arrays | self._marks())
        except PolysemeError as problem:
            got = str(problem).partition("got ")[2].partition(",")[0]
            raise PolysemeError(
                f"{self.path}: got {got}, expected room for a checkpoint; the run is kept as it was: make room and type the same command"
            ) from None

    def _marks(self) -> Arrays:
        """What distinguishes this chunk of this run from every other."""
        digest = np.frombuffer(bytes.fromhex(self.digest), dtype=np.uint8)
        return {"plan": digest, "members": np.array([self.members.start, self.members.stop])}


@contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """A run that was refused before anything of it was kept leaves no folder."""
    try:
        yield
    finally:
        if all(path.suffix == ".lock" or path.name == ".lock" for path in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)


def _made(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PolysemeError(
            f"{folder}: got '{error.strerror or error}', expected a place for the folder of the run; type another --out"
        ) from None


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
        regime = type(plan.regime).parse(found["regime"], source=str(path))
        means = {str(key): str(value) for key, value in found["means"].items()}
        held = Plan(
            regime=regime,
            start=plan.start,
            together=int(found["members together"]),
            means=means,
            options={name: bool(found.get(name, False)) for name in plan.options},
        )
        same_format, digest, of_start = found["format"] == FORMAT, found["digest"], found["initial state"]
    except (PolysemeError, OSError, ValueError, KeyError, TypeError, AttributeError):
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
    for name, chosen in held.options.items():
        if chosen != plan.options[name]:
            raise PolysemeError(
                f"{folder}: holds a run {'with' if chosen else 'without'} the {name}; type another --out, or delete the folder"
            )
    for key, value in plan.means.items():
        if means.get(key) != value:
            raise PolysemeError(
                f"{folder}: holds a run with {key} {means.get(key)}, and here it is {value}, which rounds otherwise; type another --out, "
                "or go on where it was begun"
            )
    if of_start == plan.of_start and held.digest != digest:
        raise PolysemeError(f"{path}: got a plan that was altered; type another --out, or delete {folder}")
    if held.digest != digest:
        raise PolysemeError(
            f"{folder}: holds a run from another initial state; type another --out, or delete the folder"
        )
    return held


def _difference(held: BaseRegime, wanted: BaseRegime) -> str:
    """The first key in which two regimes differ, in words."""
    other = wanted.model_dump()
    for section, keys in held.model_dump().items():
        for key, value in keys.items():
            if value != other[section][key]:
                return f"[{section}] {key} = {value}, and this regime has {key} = {other[section][key]}"
    return "another regime"


def _total(progress: Callable[[int, int], None] | None, tasks: int, steps: int) -> Callable[[list[int]], None]:
    """Progress of the whole run from the steps that each chunk has done."""
    return lambda done: progress(sum(done), tasks * steps) if progress else None
