"""Seeds of SGD beside the path of descent from the same state: how far they are apart, and whether the bound's conditions hold.

The allowances of `polyseme.theory.multi_concept.fluctuation.bounds`, a jump of the bracket and how much noisier than on the path a prompt may be, are chosen by a
pilot of other seeds; a judged seed that needs more exits.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from polyseme.checks.multi_concept.stochastic.ensembles import Stream, chunk_size, draw_counts, generator, side_by_side
from polyseme.theory.multi_concept.coefficients import Arrays
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.fluctuation.bounds import Path, Width, follow
from polyseme.theory.multi_concept.fluctuation.curvature import drift_and_noise, parts, position
from polyseme.theory.multi_concept.regime import Regime

PILOT = 256
# The pilot's largest needs are taken this much larger, or seeds would exit as often as the pilot is small.
MORE_JUMP, MORE_NOISE = 1.2, 1.03
ROUND_OFF = 1e-12
NEAREST = 1e-3
"""A prompt counts as one that the path gets right if its distance is at least that: nearer ones are decided by the first step."""


@dataclass(frozen=True, kw_only=True)
class Fork:
    """A state of the path of descent from which seeds of SGD start, and the path from there."""

    name: str
    regime: Regime
    r: Float[np.ndarray, " m"]
    coefficients: Arrays
    path: Path

    @property
    def one(self) -> Ensemble:
        """The state."""
        return Ensemble(self.regime, self.r, self.coefficients, t=self.path.first)


def fork(name: str, one: Ensemble, steps: int) -> Fork:
    """From a single member, whose path is followed over `steps` updates."""
    return Fork(name=name, regime=one.regime, r=one.r, coefficients=one.coefficients(), path=follow(one, steps))


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """A length that is added to every bracket but the first, and a factor of the noise of one prompt."""

    jump: float
    looseness: float


@dataclass(frozen=True, kw_only=True)
class Forked:
    """Seeds along a path, at each state or update.

    `bracket` and `length`: of the bracket and of delta before each update; `noise`: the largest prompt's deviation as a share of the path's;
    `closest`: the largest D / ||delta_k|| of a prompt of concept k that a seed gets wrong; `error`: exact 0-1 errors, `excess` the part of prompts
    that the path gets right; `nearest_wrong`: whether the one of those that is nearest to being wrong is wrong.
    """

    bracket: Float[np.ndarray, "step seed"]
    length: Float[np.ndarray, "states seed"]
    noise: Float[np.ndarray, "step seed"]
    closest: float
    error: Float[np.ndarray, "states seed"]
    excess: Float[np.ndarray, "states seed"]
    nearest_wrong: Bool[np.ndarray, "states seed"]


@dataclass(frozen=True, kw_only=True)
class _Task:
    fork: Fork
    batch: int
    seeds: int
    stream: Stream
    number: tuple[int, ...]


def nearest(path: Path, law: Float[np.ndarray, "K1 2 counts"]) -> tuple[np.ndarray, np.ndarray]:
    """At each state, the number of the possible prompt that is nearest to being wrong while the path gets it right, and its D; or D = 0."""
    D = np.where((law > 0) & (path.distances >= NEAREST), path.distances, np.inf).reshape(len(path.distances), -1)
    which = D.argmin(axis=1)
    away = D[np.arange(len(D)), which]
    return which, np.where(np.isfinite(away), away, 0.0)


def _run(task: _Task) -> Forked:
    path, one = task.fork.path, task.fork.one
    members = one.pick(np.zeros(task.seeds, dtype=int))
    rng = generator(one.regime, task.stream, *task.number)
    which, _ = nearest(path, members.law)
    bracket, length, noise, error, excess, wrong_one, closest = [], [], [], [], [], [], 0.0
    for t in range(len(path.eta) + 1):
        delta = position(members) - path.positions[t][:, None]
        wrong = members.margins() <= 0
        length.append(np.linalg.norm(delta, axis=0))
        error.append(np.einsum("ken,kenj->j", members.law, wrong))
        excess.append(np.einsum("ken,kenj->j", members.law * (path.distances[t] > 0), wrong))
        wrong_one.append(wrong.reshape(-1, task.seeds)[which[t]])
        counted = wrong & ((members.law > 0) & (path.distances[t] > 0))[..., None]
        if t > 0 and counted.any():
            share = path.distances[t][..., None] / parts(delta, members)[:, None, None, :]
            closest = max(closest, float(np.max(share, where=counted, initial=0.0)))
        if t == len(path.eta):
            break
        g, b = drift_and_noise(members)
        bracket.append(np.linalg.norm(delta - path.eta[t] * (g - path.drifts[t][:, None]), axis=0))
        noise.append(b / path.noise[t])
        members.advance(draw_counts(rng, members.law, batch=task.batch, members=task.seeds))
    return Forked(
        bracket=np.array(bracket),
        length=np.array(length),
        noise=np.array(noise),
        closest=closest,
        error=np.array(error),
        excess=np.array(excess),
        nearest_wrong=np.array(wrong_one),
    )


def run_all(cases: list[tuple[Fork, int]], *, seeds: int, stream: Stream) -> list[Forked]:
    """`seeds` seeds for each fork and batch, each pair and chunk from a stream of its own, in the order of the cases."""
    size = chunk_size(cases[0][0].regime)
    chunks = [(a // size, min(size, seeds - a)) for a in range(0, seeds, size)]
    tasks = [
        _Task(fork=one, batch=batch, seeds=count, stream=stream, number=(one.path.first, batch, j))
        for one, batch in cases
        for j, count in chunks
    ]
    done = side_by_side(_run, tasks)
    return [_joined(done[i : i + len(chunks)]) for i in range(0, len(done), len(chunks))]


def _joined(of: list[Forked]) -> Forked:
    names = ("bracket", "length", "noise", "error", "excess", "nearest_wrong")
    arrays = {name: np.concatenate([getattr(one, name) for one in of], axis=1) for name in names}
    return Forked(closest=max(one.closest for one in of), **arrays)


def allowance(path: Path, pilot: Forked) -> Allowance:
    """What the pilot needs, and something more."""
    beyond = pilot.bracket - path.rho[:, None] * pilot.length[:-1]
    return Allowance(
        jump=MORE_JUMP * max(0.0, float(beyond[1:].max())), looseness=MORE_NOISE * float(pilot.noise.max())
    )


def inside(path: Path, of: Forked, allowed: Allowance) -> Bool[np.ndarray, "states seed"]:
    """Whether a seed has not exited before each state."""
    # In the first update bracket and delta are zero, to round-off.
    jump = np.where(np.arange(len(path.eta)) == 0, ROUND_OFF, allowed.jump + ROUND_OFF)[:, None]
    kept = (of.bracket <= path.rho[:, None] * of.length[:-1] + jump) & (of.noise <= allowed.looseness)
    return np.concatenate([np.ones((1, kept.shape[1]), dtype=bool), np.logical_and.accumulate(kept, axis=0)])


def width_of(path: Path, batch: float, allowed: Allowance) -> Width:
    """m_t and W_t with what is allowed."""
    return path.width(batch=batch, jump=allowed.jump, looseness=allowed.looseness)
