"""Claims that look at nothing of the regime, tried in a second process while the first trains and tries the others."""

import signal
from collections.abc import Collection, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection

from checks.claim import Claim
from checks.claims import CLAIMS
from checks.laboratory import Effort, Laboratory
from checks.ledger import Record
from checks.runs.processes import cores, without_interrupts
from theory.setting import Regime

FEWEST = 10
"""Fewer claims than this are not worth the second or two that a process takes to start."""


def _work(regime: Regime, level: float, effort: Effort, ids: Sequence[str], replay: str, answer: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process, which ends this one
    from checks.court import try_claim
    from sim.device import one_thread

    one_thread()
    laboratory, known = Laboratory(regime, level=level, effort=effort), {claim.id: claim for claim in CLAIMS}
    with suppress(OSError):  # nobody is left to be answered
        for name in ids:
            answer.send(try_claim(known[name], laboratory, replay=replay))


class Aside:
    """Some claims tried in a second process; none if there is one core, or too few claims to be worth it.

    Only our own claims of scope `any regime` are taken, and none where hypotheses are dropped. As a context it starts the
    process, and ends it whatever it does then.
    """

    def __init__(self, claims: Sequence[Claim], laboratory: Laboratory, *, replay: str, drop: Collection[str]) -> None:
        """Chooses the claims; `ids` are those taken."""
        ours = {claim.id: claim for claim in CLAIMS}
        taken = tuple(claim.id for claim in claims if claim.scope == "any regime" and ours.get(claim.id) is claim)
        worth_it = len(taken) >= FEWEST and cores() >= 2 and not drop
        self.ids = frozenset(taken if worth_it else ())
        context = get_context("spawn")
        self._receive, self._send = context.Pipe(duplex=False)
        self._left = len(self.ids)
        self._process = context.Process(
            target=_work,
            args=(laboratory.regime, laboratory.level, laboratory.effort, taken, replay, self._send),
            daemon=True,
        )

    def __enter__(self) -> "Aside":
        """One thread for each process from here on."""
        if self.ids:
            from sim.device import one_thread

            one_thread()
            with without_interrupts():
                self._process.start()
            self._send.close()
        return self

    def __exit__(self, *_problem: object) -> None:
        """End the process."""
        if self.ids:
            self._process.terminate()
            self._process.join()

    def is_working(self) -> bool:
        """Whether records are still to come; never again once the process has died."""
        return self._left > 0

    def collect(self, *, seconds: float = 0.0) -> list[Record]:
        """The records that are ready, or become so within some seconds."""
        found: list[Record] = []
        while self._left and self._receive.poll(0.0 if found else seconds):
            try:
                found.append(self._receive.recv())
                self._left -= 1
            except (EOFError, OSError):
                self._left = 0
        return found
