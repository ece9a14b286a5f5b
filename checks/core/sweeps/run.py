"""A sweep: every point of a design tried once, each kept as soon as it is judged, and the table of all."""

import json
import time
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from polyseme.checks.core.budget import SUITE_FALSE_ALARM
from polyseme.checks.core.claim import Claim, Verdict
from polyseme.checks.core.evaluation import settle_records
from polyseme.checks.core.sweeps.design import Design, spread
from polyseme.checks.core.sweeps.folder import GRID, PLAN, TABLE, Folder
from polyseme.checks.core.sweeps.grid import Grid, size
from polyseme.checks.core.sweeps.pools import Outcome, Pool
from polyseme.checks.core.sweeps.table import rows_of, write_table
from polyseme.checks.core.sweeps.task import Judged, OtherCode, Task, code_digest, failed, task_of, traceback_of
from polyseme.checks.core.theories import reference_to
from polyseme.errors import PolysemeError
from polyseme.files import save_json, write_atomic
from polyseme.processes import Flag
from polyseme.regime import BaseRegime

# A point whose worker ended by itself so often is quarantined: the workers may have been killed for another reason.
ATTEMPTS = 3
# The table of what there is so far is written so often, or less often where that takes long.
SECONDS_BETWEEN_TABLES, SHARE_FOR_TABLES = 30.0, 0.05
_A_TICK = 0.2
# To write a file for good takes some milliseconds, in which the disk takes others, too.
WRITERS, MOST_UNWRITTEN = 8, 64

Report = Callable[["State"], None]
"""Told of the state of a sweep after each point."""


class State:
    """How far a sweep is; it changes as the sweep goes on."""

    def __init__(self, total: int) -> None:
        """`kept`: points whose outcome is in the folder; `found`: those of them that were there when the sweep was begun.

        `quarantined`: those that were quarantined. `verdicts`: of the points judged since then, and at the end those of the table.
        `digests` and `numbers`: names of all points in their order, and their numbers in the design.
        """
        self.total, self.kept, self.found, self.quarantined = total, 0, 0, 0
        self.verdicts: Counter[str] = Counter()
        self.digests: list[str] = []
        self.numbers = array("q")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The points of a sweep, counted, and what is judged at each."""

    grid: Grid
    points: int
    family: int
    """How many statistical judgements share the budget; 0 if there are none."""
    judged: Judged
    outside: Counter[str] = field(default_factory=Counter)
    """At how many points each hypothesis that is asked for fails, by its key."""
    inside: int = 0
    """Points at which all hypotheses of some claim hold, but for those dropped."""

    def tasks(self) -> Iterator[Task]:
        """Every point in its order."""
        for regime in Design(self.grid):
            yield task_of(regime, self.judged)


def lay_out(
    grid: Grid, *, files: tuple[tuple[str, str], ...] = (), progress: Callable[[int, int], None] | None = None
) -> Layout:
    """Every point made once, so that what cannot exist is told before anything is tried.

    The budget of false alarms is shared evenly over all points and statistical claims (THEORY.md section 7; `budget`).
    PolysemeError if there is no point.
    """
    points, inside, outside, most = 0, 0, Counter[str](), size(grid)
    for points, regime in enumerate(Design(grid), start=1):
        failing = [_failing(claim, regime, grid.sweep.drop) for claim in grid.claims]
        inside += not all(failing)
        outside.update({key for keys in failing for key in keys})
        if progress:
            progress(points, most)
    if not points:
        raise PolysemeError(
            f"{grid.source}: the design is empty: no point is inside the hypotheses of all claims; widen the ranges, or name hypotheses in drop = [...]"
        )
    family = points * sum(part.rule.is_statistical for claim in grid.claims for part in claim.parts)
    judged = Judged(
        theory=reference_to(grid.theory),
        claims=tuple(claim.id for claim in grid.claims),
        drop=tuple(grid.sweep.drop),
        effort=grid.sweep.effort,
        level=SUITE_FALSE_ALARM / 2 / family if family else None,
        code=code_digest(grid.theory),
        files=files,
        seconds=grid.sweep.seconds,
    )
    return Layout(grid=grid, points=points, family=family, judged=judged, outside=outside, inside=inside)


def _failing(claim: Claim, regime: BaseRegime, drop: Collection[str]) -> list[str]:
    """Keys of the hypotheses that a check asks for and that do not hold; what it arranges by itself is not asked for."""
    return [x.key for x in claim.hypotheses if x.key not in drop and not x.arranged and not x.holds(regime)]


def run(layout: Layout, folder: Folder, pool: Pool, stop: Flag, report: Report) -> State:
    """Try every point that the folder does not hold, until all are judged or `stop` is set; the state at the end.

    The table of what there is is written now and then, and at the end. PolysemeError if the workers are gone or run other
    code; what was judged until then is kept.
    """
    write_atomic(folder.path / GRID, layout.grid.text)
    save_json(folder.path / PLAN, _plan(layout))
    state = _state(layout, folder)
    waiting, table_at, table_took = _left(layout, folder, state), time.monotonic(), 0.0
    report(state)
    try:
        with _InHand(folder, pool, state) as hand:
            while True:
                if not stop.is_set():
                    hand.take(waiting)
                if hand.is_empty:
                    break
                hand.put_down()
                report(state)
                if time.monotonic() - table_at > max(SECONDS_BETWEEN_TABLES, table_took / SHARE_FOR_TABLES):
                    begun = time.monotonic()
                    write_results(layout, folder, state.digests)
                    table_at = time.monotonic()
                    table_took = table_at - begun
    finally:
        state.verdicts = write_results(layout, folder, state.digests)
    return state


class _InHand:
    """Points that are being tried, and outcomes that are being written: to be safe takes longer than to be judged."""

    def __init__(self, folder: Folder, pool: Pool, state: State) -> None:
        self._folder, self._pool, self._state = folder, pool, state
        self._tried: dict[Future[Any], tuple[Task, int]] = {}
        self._written: dict[Future[Any], Outcome] = {}
        self._again: list[tuple[Task, int]] = []
        self._writers = ThreadPoolExecutor(max_workers=WRITERS)

    def __enter__(self) -> "_InHand":
        return self

    def __exit__(self, *_problem: object) -> None:
        """What was judged is written, whatever happened."""
        self._writers.shutdown(wait=True)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is tried or written any more."""
        return not self._tried and not self._written

    def take(self, waiting: Iterator[tuple[Task, int]]) -> None:
        """As many points as the pool has room for, those last that have to be tried again."""
        room = max(0, self._pool.room) if len(self._written) < MOST_UNWRITTEN else 0
        fresh = list(islice(waiting, room))
        repeated, self._again = self._again[: room - len(fresh)], self._again[room - len(fresh) :]
        for task, attempt in (*fresh, *repeated):
            self._tried[self._pool.submit(task)] = task, attempt

    def put_down(self) -> None:
        """Wait for a moment, and count or pass on what is done."""
        self._pool.check()
        done, _ = wait([*self._tried, *self._written], timeout=_A_TICK, return_when=FIRST_COMPLETED)
        for future in done & self._written.keys():
            outcome = self._written.pop(future)
            future.result()
            self._state.kept += 1
            self._state.quarantined += bool(outcome["broke"])
            self._state.verdicts.update(record["verdict"] for record in outcome["records"])
        for future in done & self._tried.keys():
            task, attempt = self._tried.pop(future)
            self._pool.free(future)
            outcome = _outcome(future, task, attempt, self._pool)
            if outcome is None:
                self._again.append((task, attempt + 1))
            else:
                self._written[self._writers.submit(self._folder.keep, task, outcome)] = outcome


def _state(layout: Layout, folder: Folder) -> State:
    """Every point of the design, and what is kept of them already."""
    state, kept = State(layout.points), folder.done()
    for number, regime in Design(layout.grid).numbered():
        state.digests.append(task_of(regime, layout.judged).digest)
        state.numbers.append(number)
    for digest in state.digests:
        if digest in kept and (outcome := folder.outcome(digest, layout.judged)):
            state.kept, state.found, state.quarantined = (
                state.kept + 1,
                state.found + 1,
                state.quarantined + outcome["quarantined"],
            )
    return state


def _left(layout: Layout, folder: Folder, state: State) -> Iterator[tuple[Task, int]]:
    """The points that are not kept yet, each for its first attempt.

    Those of a grid evenly over the whole of it: what there is so far is a fair picture, and the time left a fair guess.
    """
    kept, design = folder.done(), Design(layout.grid)
    if layout.grid.sweep.design != "grid":
        yield from ((task, 1) for task in layout.tasks() if task.digest not in kept)
        return
    for place in spread(len(state.digests)):
        if state.digests[place] not in kept:
            yield task_of(design.at(state.numbers[place]), layout.judged), 1


def _outcome(future: "Future[Outcome]", task: Task, attempt: int, pool: Pool) -> Outcome | None:
    """What became of a point; None if it is to be tried again."""
    try:
        return future.result()
    except (OtherCode, KeyboardInterrupt):
        raise
    except BaseException as problem:
        if not pool.died(problem) and not isinstance(problem, CancelledError):
            sentence = f"the point could not be tried: {type(problem).__name__}: {problem}"
            return failed(task, sentence, traceback_of(problem))
        pool.check()
        if attempt < ATTEMPTS:
            return None
        return failed(
            task, f"the process that tried the point ended by itself {ATTEMPTS} times; was there enough memory?"
        )


def write_results(layout: Layout, folder: Folder, digests: Sequence[str]) -> Counter[str]:
    """Write the table of those of these points that are kept, in their order; how many of each verdict it has."""
    firm, verdicts = _settled(layout, folder, digests) if layout.family else {}, Counter[str]()

    def rows() -> Iterator[dict[str, Any]]:
        for number, digest in enumerate(digests):
            if (outcome := folder.outcome(digest, layout.judged)) is not None:
                for row in rows_of(number, digest, outcome, layout.grid.keys, code=layout.judged.code):
                    row |= firm.get((number, row["claim"]), {})
                    verdicts[row["verdict"]] += 1
                    yield row

    metadata = {"polyseme.grid": layout.grid.text, "polyseme.plan": json.dumps(_plan(layout))}
    write_table(folder.path / TABLE, rows(), metadata, layout.grid.theory.regime)
    return verdicts


def _settled(layout: Layout, folder: Folder, digests: Sequence[str]) -> dict[tuple[int, str], dict[str, Any]]:
    """Verdicts that Holm's procedure makes firm, with what decided points leave of the budget."""
    records, places = [], []
    for number, digest in enumerate(digests):
        outcome = folder.outcome(digest, layout.judged)
        for record in outcome["records"] if outcome else ():
            numbers = [part["statistics"] for part in record["parts"] if part["statistics"]]
            if any(x["p_support"] is not None for x in numbers):
                records.append(record)
                places.append((number, record["id"]))
    settle_records(records, layout.family)
    return {
        place: {"verdict": record["verdict"], "sentence": record["sentence"]}
        for place, record in zip(places, records, strict=True)
    }


def _plan(layout: Layout) -> dict[str, Any]:
    grid = layout.grid
    return {
        "source": grid.source,
        "theory file": grid.theory.file,
        "points": layout.points,
        "varied": list(grid.varied),
        "statistical judgements": layout.family,
        "false-alarm budget": SUITE_FALSE_ALARM,
        **layout.judged.canonical(),
    }


def counted(verdicts: Counter[str]) -> str:
    """How many of each verdict, in words, from good to bad."""
    return ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in Verdict if verdicts[verdict])
