"""What processes of this machine share: how many there may be, and how Ctrl-C reaches them."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Protocol, runtime_checkable


@runtime_checkable
class Flag(Protocol):
    """Whether to stop: an event of threading, or something like it that processes share."""

    def is_set(self) -> bool:
        """Asked between two steps."""
        ...

    def set(self) -> None:
        """Ask everybody to keep what there is and stop."""
        ...


@contextmanager
def stopping(stop: Flag, *, after: str = "step") -> Iterator[Flag]:
    """Ctrl-C and SIGTERM ask to stop between two steps instead of ending one in the middle; a second one ends it all the same."""

    def ask(_signal: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        print(f"polyseme: stopping after this {after}; Ctrl-C again stops at once", file=sys.stderr)

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def without_interrupts() -> Iterator[None]:
    """A process that starts inherits that SIGINT waits, until it says that it ignores it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # the first process would start it, which unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
