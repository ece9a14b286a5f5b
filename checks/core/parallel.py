"""Claims that look at nothing of the regime, tried in processes of their own while the first trains and tries the others."""

import signal
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, cast

from polyseme.checks.core.claim import Claim
from polyseme.checks.core.context import Context, Effort
from polyseme.checks.core.provenance import Record
from polyseme.checks.core.theories import TheoryReference, reference_to
from polyseme.checks.core.theory import Theory
from polyseme.processes import cores, without_interrupts

FEWEST = 10
"""Fewer claims than this are not worth the second or two that a process takes to start."""
MOST = 8
"""So many processes at most: each holds what its claims have run, some hundred megabytes."""

SECONDS_TO_TAKE = 10.0
"""The lock of the next group is held for microseconds; one that is held so long belongs to nobody."""

Groups = Sequence[tuple[str, ...]]
"""Ids of claims that are tried by one process, one after the other."""


@dataclass(frozen=True, kw_only=True)
class _About:
    """What a process has to know; plain data, since a class of a user's file cannot be unpickled before the file is loaded."""

    theory: TheoryReference
    tables: dict[str, Any]
    level: float
    effort: Effort
    groups: Groups
    replay: str


def _work(about: _About, taken: Any, answer: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process, which ends this one
    from polyseme.checks.core.evaluation import evaluate_claim

    theory, groups = about.theory.load(), about.groups
    theory.prepare()
    known = {claim.id: claim for claim in theory.claims}
    regime = theory.regime.parse(about.tables, source="regime")
    context = theory.context(regime, level=about.level, effort=about.effort)
    with suppress(OSError):  # nobody is left to be answered
        while True:
            # A process that was killed may have left the lock taken: then the first process tries what is left.
            if not taken.get_lock().acquire(timeout=SECONDS_TO_TAKE):
                return
            number = taken.get_obj().value
            taken.get_obj().value = number + 1
            taken.get_lock().release()
            if number >= len(groups):
                return
            for name in groups[number]:
                answer.send(evaluate_claim(known[name], context, replay=about.replay))


class ParallelClaims:
    """Some claims tried in other processes; none if there is one core, or too few claims to be worth it.

    Only our own claims of scope `any regime` are taken, and none where hypotheses are dropped. As a context it starts a
    process for every core but the one of the first process, and ends them whatever they do then.
    """

    def __init__(
        self, claims: Sequence[Claim], context: Context, theory: Theory, *, replay: str, drop: Collection[str]
    ) -> None:
        """Chooses the claims; `ids` are those taken."""
        ours = {claim.id: claim for claim in theory.claims}
        taken = [claim for claim in claims if claim.scope == "any regime" and ours.get(claim.id) is claim]
        worth_it = len(taken) >= FEWEST and cores() >= 2 and not drop
        self.ids = frozenset(claim.id for claim in taken if worth_it)
        self._groups = _groups(taken)
        self._start_method = get_context("spawn")
        # Which group is next, whoever is free: how long each takes is not known before.
        self._taken = self._start_method.Value("q", 0)
        self._theory = theory
        self._about = _About(
            theory=reference_to(theory),
            tables=context.regime.model_dump(),
            level=context.level,
            effort=context.effort,
            groups=self._groups,
            replay=replay,
        )
        self._processes: list[Any] = []
        self._open: list[Any] = []

    def __enter__(self) -> "ParallelClaims":
        """One thread for each process from here on."""
        if self.ids:
            self._theory.prepare()
            for _ in range(min(cores() - 1, MOST, len(self._groups))):
                self._start()
        return self

    def __exit__(self, *_problem: object) -> None:
        """End the processes."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def one_more(self) -> None:
        """The first process has nothing else to do: another in its place, if there is a group that nobody has begun."""
        if self.ids and self._taken.get_obj().value < len(self._groups):
            self._start()

    def is_working(self) -> bool:
        """Whether records are still to come; never again once every process has ended."""
        return bool(self._open)

    def collect(self, *, seconds: float = 0.0) -> list[Record]:
        """The records that are ready, or become so within some seconds."""
        found: list[Record] = []
        while ready := wait(self._open, timeout=0.0 if found else seconds):
            for one in ready:
                try:
                    found.append(cast(Connection, one).recv())
                except (EOFError, OSError):
                    self._open.remove(one)
            if not self._open:
                break
        return found

    def _start(self) -> None:
        receive, send = self._start_method.Pipe(duplex=False)
        process = self._start_method.Process(target=_work, args=(self._about, self._taken, send), daemon=True)
        with without_interrupts():
            process.start()
        send.close()
        self._processes.append(process)
        self._open.append(receive)


def _groups(claims: Sequence[Claim]) -> Groups:
    """Ids of claims that stay together: those of one file share what they run.

    The last of the registry first, for they take longest, and what is long should not be begun last.
    """
    found: dict[str, list[str]] = {}
    for claim in claims:
        found.setdefault(claim.parts[0].measure.__module__, []).append(claim.id)
    return tuple(tuple(ids) for ids in reversed(found.values()))
