"""Chunks of a run: one after the other here, or side by side in processes of their own; stopped between two steps."""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from polyseme.errors import PolysemeError
from polyseme.processes import Flag, stopping, without_interrupts


@runtime_checkable
class Chunk(Protocol):
    """A part of a run that keeps itself in a file."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def steps(self) -> int:
        """How many steps it has in all."""
        ...

    def run(self, stop: Flag, report: Callable[[int], None]) -> bool:
        """Go on to the end, or until it is asked to stop; whether it reached the end."""
        ...


def here(tasks: Sequence[Chunk], report: Callable[[list[int]], None]) -> bool:
    """One chunk after the other in this process."""
    done, seen = [0] * len(tasks), [0.0]

    def of_task(number: int, steps: int) -> None:
        done[number] = steps
        if time.monotonic() - seen[0] > 0.1 or steps == tasks[number].steps:
            report(done)
            seen[0] = time.monotonic()

    with stopping(threading.Event()) as stop:
        return all(
            task.run(stop, lambda steps, number=number: of_task(number, steps)) for number, task in enumerate(tasks)
        )


@dataclass(frozen=True, kw_only=True)
class SharedFlag:
    """A flag between processes without a lock, which a process that is killed could leave taken."""

    value: Any

    def is_set(self) -> bool:
        """As in `Flag`."""
        return bool(self.value.value)

    def set(self) -> None:
        """As in `Flag`."""
        self.value.value = 1


def _work(task: Chunk, number: int, stop: Any, done: Any, answer: Connection) -> None:
    """One chunk in a process of its own: one thread, Ctrl-C is for the first process to answer, and it stops if that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from polyseme.sim.ensemble.device import one_thread

    one_thread()
    flag = SharedFlag(value=stop)
    first = parent_process()
    assert first is not None

    def stop_with_the_first() -> None:
        first.join()
        flag.set()

    threading.Thread(target=stop_with_the_first, daemon=True).start()

    def report(steps: int) -> None:
        done[number] = steps

    try:
        outcome: bool | str = task.run(flag, report)
    except PolysemeError as problem:
        outcome = str(problem)
    with suppress(OSError):  # nobody is left to be answered
        answer.send(outcome)


def in_processes(tasks: Sequence[Chunk], report: Callable[[list[int]], None], workers: int) -> bool:
    """Chunks side by side, each in a process with one thread: two threads in one would wait for each other."""
    context = get_context("spawn")
    stop, done = context.RawValue("b", 0), context.RawArray("q", len(tasks))
    waiting, running, outcomes = list(enumerate(tasks)), {}, []
    with stopping(SharedFlag(value=stop)) as flag:
        try:
            while running or (waiting and not flag.is_set()):
                while waiting and len(running) < workers and not flag.is_set():
                    number, task = waiting.pop(0)
                    receive, send = context.Pipe(duplex=False)
                    process = context.Process(target=_work, args=(task, number, stop, done, send))
                    with without_interrupts():
                        process.start()
                    send.close()
                    running[number] = process, receive
                wait([process.sentinel for process, _ in running.values()], timeout=0.2)
                report(list(done))
                for number, (process, receive) in list(running.items()):
                    if not process.is_alive():
                        outcomes.append(_answer(receive, tasks[number].path.parent))
                        del running[number]
                        if isinstance(outcomes[-1], str):
                            flag.set()
        finally:
            for process, _ in running.values():  # only after a second Ctrl-C; checkpoints are whole whenever it comes
                process.terminate()
    if problems := [outcome for outcome in outcomes if isinstance(outcome, str)]:
        raise PolysemeError(problems[0])
    return not waiting and all(outcomes)


def _answer(receive: Connection, folder: Path) -> bool | str:
    """What a process that has ended said: whether it reached the end, or a sentence about what went wrong."""
    with suppress(EOFError, OSError):
        if receive.poll():
            return receive.recv()
    return (
        f"a process of the run in {folder} ended by itself (was there enough memory?), expected an answer; the run is kept: type "
        "the same command, with --processes 1 if it happens again"
    )
