"""Where tasks are tried: processes of this machine, or the workers of a Dask cluster. Both give futures of the standard library.

A pool takes a task when it has room, and gives a `concurrent.futures.Future` of its outcome. A worker that ends by itself is an
exception of the future (`died`); what to do about that is not the pool's business.
"""

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from typing import Any, Protocol, runtime_checkable

from polyseme.checks.core.sweeps.task import Task, code_of, prepare, try_point
from polyseme.checks.core.theories import TheoryReference
from polyseme.errors import PolysemeError
from polyseme.processes import without_interrupts

Outcome = dict[str, Any]

# Each worker of a cluster has this many points waiting, so that it need not wait for the way there and back.
WAITING = 3
SECONDS_TO_CONNECT = 10.0
# So many processes may end before they have begun, in a whole sweep.
MOST_FAILURES = 100
SECONDS_BETWEEN_COUNTS = 2.0


@runtime_checkable
class Pool(Protocol):
    """Workers with one thread each."""

    @property
    def room(self) -> int:
        """How many more tasks it takes now."""
        ...

    def submit(self, task: Task) -> "Future[Outcome]":
        """Try a point; PolysemeError if there is nobody left to try it."""
        ...

    def free(self, future: "Future[Outcome]") -> None:
        """A future is done, and its worker has room again."""
        ...

    def died(self, problem: BaseException) -> bool:
        """Whether an exception of a future says that the worker ended by itself."""
        ...

    def check(self) -> None:
        """PolysemeError if there is nobody left to try anything."""
        ...


def _begin() -> None:
    """A worker leaves Ctrl-C to the first process, and ends if that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first = parent_process()
    assert first is not None

    def end_with_the_first() -> None:
        first.join()
        os._exit(1)  # a worker waits for its next task for ever otherwise

    threading.Thread(target=end_with_the_first, daemon=True).start()


def _warm(theory: TheoryReference) -> None:
    """What takes long to import is there before a point is tried: a process that ends meanwhile ends no point."""
    prepare(theory)


class Processes:
    """Processes of this machine. Each has an executor of its own, so that it is known which point a process died of."""

    def __init__(self, workers: int, theory: TheoryReference) -> None:
        """Processes are started when they are needed; each loads the theory before it judges."""
        self._theory = theory
        self._workers, self._failures = workers, 0
        self._idle: list[tuple[ProcessPoolExecutor, Future[None]]] = []
        self._busy: dict[Future[Outcome], ProcessPoolExecutor] = {}

    @property
    def room(self) -> int:
        """How many processes have nothing to do."""
        return self._workers - len(self._busy)

    def submit(self, task: Task) -> "Future[Outcome]":
        """As in `Pool`; waits for a process that has begun. PolysemeError if none can be started."""
        executor = self._ready()
        future = executor.submit(try_point, task)
        self._busy[future] = executor
        return future

    def free(self, future: "Future[Outcome]") -> None:
        """As in `Pool`; a process that ended is replaced by another."""
        executor, problem = self._busy.pop(future), future.exception()
        if problem is not None and self.died(problem):
            executor.shutdown(wait=False)
        else:
            begun: Future[None] = Future()
            begun.set_result(None)
            self._idle.append((executor, begun))

    def _ready(self) -> ProcessPoolExecutor:
        """An executor whose process has begun; others begin meanwhile."""
        while True:
            while len(self._idle) < self.room:
                self._idle.append(self._started())
            wait([begun for _, begun in self._idle], return_when=FIRST_COMPLETED)
            place = next(j for j, (_, begun) in enumerate(self._idle) if begun.done())
            executor, begun = self._idle.pop(place)
            problem = begun.exception()
            if problem is None:
                return executor
            executor.shutdown(wait=False)
            self._failures += 1
            if not self.died(problem) or self._failures > MOST_FAILURES:
                raise PolysemeError(
                    f"processes that should try points end while they begin ({type(problem).__name__}: {problem}); what was judged is kept: type the same "
                    "command, with --processes 1 if it happens again"
                )

    def died(self, problem: BaseException) -> bool:
        """As in `Pool`."""
        return isinstance(problem, BrokenProcessPool)

    def check(self) -> None:
        """A process can always be started."""

    def close(self) -> None:
        """End all processes, at once."""
        for executor in (*(executor for executor, _ in self._idle), *self._busy.values()):
            for process in list((getattr(executor, "_processes", None) or {}).values()):
                process.terminate()
            executor.shutdown(wait=False, cancel_futures=True)

    def _started(self) -> tuple[ProcessPoolExecutor, "Future[None]"]:
        executor = ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"), initializer=_begin)
        with without_interrupts():
            return executor, executor.submit(_warm, self._theory)


@contextmanager
def processes(workers: int, theory: TheoryReference) -> Iterator[Processes]:
    """Processes of this machine, ended with the block."""
    pool = Processes(workers, theory)
    try:
        yield pool
    finally:
        pool.close()


class Cluster:
    """The workers of a Dask cluster, which may come and go."""

    def __init__(self, client: Any, address: str) -> None:
        """`client` is a `distributed.Client`."""
        self._client, self._address = client, address
        self._executor = client.get_executor(pure=False, retries=0)
        self._running: set[Future[Outcome]] = set()
        self._workers, self._counted_at = 0, -math.inf

    @property
    def room(self) -> int:
        """A few more than there are workers; PolysemeError if the scheduler is gone."""
        if time.monotonic() - self._counted_at > SECONDS_BETWEEN_COUNTS:  # it asks the scheduler
            try:
                threads = self._client.nthreads()
            except (OSError, TimeoutError):
                raise self.gone(self._address) from None
            _require_one_thread(threads, self._address)  # of those that came meanwhile, too
            self._workers, self._counted_at = len(threads), time.monotonic()
        return max(1, WAITING * self._workers) - len(self._running)

    def submit(self, task: Task) -> "Future[Outcome]":
        """As in `Pool`."""
        try:
            future = self._executor.submit(try_point, task)
        except (OSError, RuntimeError):  # closed meanwhile
            raise self.gone(self._address) from None
        self._running.add(future)
        return future

    def free(self, future: "Future[Outcome]") -> None:
        """As in `Pool`."""
        self._running.discard(future)

    def died(self, problem: BaseException) -> bool:
        """As in `Pool`: the scheduler gave up after the point had ended several workers."""
        from distributed.scheduler import KilledWorker

        return isinstance(problem, KilledWorker)

    def check(self) -> None:
        """PolysemeError if the scheduler is gone."""
        if self._client.status != "running":
            raise self.gone(self._address)

    @staticmethod
    def gone(address: str) -> PolysemeError:
        """What is said then."""
        return PolysemeError(
            f"--scheduler {address}: the scheduler is gone; what was judged is kept: start a cluster and type the same command with its "
            "address, or leave out --scheduler to go on with processes of this machine"
        )


@contextmanager
def cluster(address: str, theory: TheoryReference) -> Iterator[Cluster]:
    """The cluster whose scheduler is at an address; PolysemeError if it does not answer, or its workers are not such as are needed."""
    try:
        from distributed import Client
    except ImportError:
        raise PolysemeError(
            f"--scheduler {address}: Dask is not installed; type pip install 'polyseme[cluster]', or leave out --scheduler"
        ) from None
    # What they say of a lost scheduler is a traceback; some of them have a level of their own, which Dask sets when it is imported.
    for name in ("asyncio", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("asyncio", "distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        where: dict[str, Any] = {"address": address} if "://" in address else {"scheduler_file": address}
        client = Client(**where, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as problem:
        raise PolysemeError(
            f"--scheduler {address}: no scheduler answers there ({problem}), expected a Dask scheduler; type for example tcp://10.0.0.1:8786, or "
            "the path of its --scheduler-file"
        ) from None
    try:
        _require_same_code(client, address, theory)
        yield Cluster(client, address)
    finally:
        with suppress(Exception):  # it may be gone
            client.close(timeout=2)


def _require_same_code(client: Any, address: str, theory: TheoryReference) -> None:
    threads: dict[str, int] = client.nthreads()
    if not threads:
        raise PolysemeError(
            f"--scheduler {address}: the cluster has no workers, expected one or more; type dask worker {address} --nthreads 1 --nworkers 2"
        )
    _require_one_thread(threads, address)
    from distributed.comm.core import CommClosedError

    try:
        found: dict[str, str | Exception] = client.run(code_of, theory, on_error="return")
    except (OSError, TimeoutError):
        raise Cluster.gone(address) from None
    for worker, code in found.items():
        if isinstance(code, CommClosedError):
            continue  # it ended meanwhile; who takes its place is asked again with its first point
        if isinstance(code, Exception):  # whatever a worker lacks
            raise PolysemeError(
                f"--scheduler {address}: worker {worker} cannot run polyseme ({type(code).__name__}: {code}); install it there"
            )
        if code != code_of(theory):
            raise PolysemeError(
                f"--scheduler {address}: worker {worker} runs another version of polyseme, numpy, scipy, sympy or torch than this process, expected "
                "the same; install the same on both"
            )


def _require_one_thread(threads: Mapping[str, int], address: str) -> None:
    if many := [worker for worker, number in threads.items() if number != 1]:
        raise PolysemeError(
            f"--scheduler {address}: worker {many[0]} has {threads[many[0]]} threads, expected one each, since two in one process wait for each "
            f"other; type dask worker {address} --nthreads 1 --nworkers {threads[many[0]]}"
        )
