"""Seeds of the stochastic reduced recursion: drawn, run side by side in processes, and the error curve that they have.

Every chunk of seeds has a stream of its own, named by the regime's seed, a purpose and the chunk's number, so a curve does
not depend on how many processes there were.
"""

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from multiprocessing import current_process, get_context
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from polyseme.processes import cores
from polyseme.theory.multi_concept.coefficients import Arrays
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.regime import Regime

Answer = TypeVar("Answer")
Law = Float[np.ndarray, "K1 2 counts"]

# Numbers in one array of a chunk: measured, a step is fastest while a few such arrays fit into the second-level cache.
CHUNK_NUMBERS = 2**17
# Up to this batch a prompt is drawn one by one; beyond it the counts of a batch are drawn at once, cell by cell.
ONE_BY_ONE = 64


class Stream(IntEnum):
    """What seeds are drawn for. The numbers are part of every stream: add to them, never change one."""

    PILOT = 0
    CURVE = 1
    TEST_PROMPTS = 2
    SPLITTING = 3
    FLOOR = 4
    GRID = 5
    DEVIATION = 6
    TAIL = 7
    PREDICTION = 8
    DYNAMICS = 9


def generator(regime: Regime, stream: Stream, *numbers: int) -> np.random.Generator:
    """A stream of its own for a purpose and some numbers. SFC64 in double precision: its tails are not truncated."""
    seeds = np.random.SeedSequence(regime.ensemble.seed, spawn_key=(1000 + int(stream), *numbers))
    return np.random.Generator(np.random.SFC64(seeds))


def draw_counts(
    rng: np.random.Generator, law: Law, *, batch: int, members: int
) -> Int[np.ndarray, "member K1 2 counts"]:
    """How many of the prompts of each member's minibatch are (k, e, n+): multinomial with the prompt law."""
    cells = law.ravel() / law.sum()
    if batch > ONE_BY_ONE:
        drawn = rng.multinomial(batch, cells, size=members)
    else:
        edges = np.cumsum(cells)
        edges /= edges[-1]
        cell = np.searchsorted(edges, rng.random((members, batch)), side="right")
        rows = len(cells) * np.arange(members)[:, None]
        drawn = np.bincount((cell + rows).ravel(), minlength=members * len(cells))
    return drawn.reshape(members, *law.shape)


def draw_at(rng: np.random.Generator, members: Ensemble) -> Int[np.ndarray, "member K1 2 counts"]:
    """The minibatches of an ensemble's next step."""
    batch = members.regime.training.batch
    assert isinstance(batch, int), "hypotheses ask for minibatches"
    return draw_counts(rng, members.law, batch=batch, members=members.members)


@cache
def _pool() -> ProcessPoolExecutor:
    """One pool for the whole process: starting one takes seconds."""
    return ProcessPoolExecutor(cores(), mp_context=get_context("spawn"), initializer=_begin)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process
    from polyseme.sim.ensemble.memory import keep_freed_memory

    keep_freed_memory()


def side_by_side(work: Callable[[Any], Answer], tasks: Sequence[Any]) -> list[Answer]:
    """`work` of each task, in their order: in processes where there are cores for them, else one after the other."""
    if len(tasks) < 2 or cores() < 2 or current_process().daemon:
        from polyseme.sim.ensemble.memory import keep_freed_memory

        keep_freed_memory()
        return [work(task) for task in tasks]
    try:
        return list(_pool().map(work, tasks))
    except BrokenProcessPool:  # a process ended by itself; the next call starts another pool
        _pool.cache_clear()
        return [work(task) for task in tasks]
    except KeyboardInterrupt:
        _pool().shutdown(wait=False, cancel_futures=True)
        _pool.cache_clear()
        raise


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """A chunk of seeds of one regime: from one start, or each from its own (`coefficients` with a member axis)."""

    regime: Regime
    r: Float[np.ndarray, " m"]
    coefficients: Arrays
    members: int
    stream: Stream
    number: tuple[int, ...]
    every: int

    def start(self) -> Ensemble:
        """The members at step 0."""
        alone = self.coefficients["alpha"].ndim == 2
        return Ensemble(self.regime, self.r, self.coefficients, members=self.members if alone else None)


def chunk_size(regime: Regime) -> int:
    """How many seeds are run together."""
    cells = 2 * regime.concepts.K1 * (regime.prompt.L + 1) * regime.model.m
    return int(np.clip(CHUNK_NUMBERS // cells, 16, 512))


def in_chunks(
    regime: Regime,
    r: Float[np.ndarray, " m"],
    coefficients: Arrays,
    *,
    members: int,
    every: int,
    stream: Stream,
    number: tuple[int, ...] = (),
) -> list[Seeds]:
    """`members` seeds in chunks; `coefficients` of one start for all, or with a member axis."""
    size = chunk_size(regime)
    alone = coefficients["alpha"].ndim == 2
    return [
        Seeds(
            regime=regime,
            r=r,
            coefficients=coefficients if alone else {name: x[a : a + size] for name, x in coefficients.items()},
            members=min(size, members - a),
            stream=stream,
            number=(*number, a // size),
            every=every,
        )
        for a in range(0, members, size)
    ]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The exact 0-1 error of each seed at some steps, and whether a concept of it has gone extinct by then."""

    steps: Int[np.ndarray, " records"]
    errors: Float[np.ndarray, "records seed"]
    extinct: Bool[np.ndarray, "records seed"]

    @property
    def seeds(self) -> int:
        """How many."""
        return self.errors.shape[1]

    @property
    def excess(self) -> Float[np.ndarray, "records seed"]:
        """The error of seeds that survive to the end of the run, and 0 for the others."""
        return self.errors * ~self.extinct[-1]

    @property
    def floor(self) -> Float[np.ndarray, " seed"]:
        """The error that extinction leaves each seed with at the end, and 0 for survivors."""
        return self.errors[-1] * self.extinct[-1]


def _curve(task: Seeds) -> tuple[np.ndarray, np.ndarray]:
    members, rng = task.start(), generator(task.regime, task.stream, *task.number)
    errors, extinct = [], []
    for t in range(task.regime.training.steps + 1):
        if t % task.every == 0:
            errors.append(members.error())
            extinct.append(members.is_extinct().any(axis=(0, 1)))
        if t < task.regime.training.steps:
            members.advance(draw_at(rng, members))
    return np.array(errors), np.array(extinct)


def error_curve(chunks: Sequence[Seeds]) -> Curve:
    """The curve of all chunks of a regime, recorded at multiples of their `every`."""
    parts = side_by_side(_curve, chunks)
    first = chunks[0]
    return Curve(
        steps=np.arange(0, first.regime.training.steps + 1, first.every),
        errors=np.concatenate([errors for errors, _ in parts], axis=1),
        extinct=np.concatenate([extinct for _, extinct in parts], axis=1),
    )
