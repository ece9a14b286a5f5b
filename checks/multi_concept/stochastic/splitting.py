"""Errors too rare to be counted: a population that is thinned and copied as it goes, without bias (THEORY.md section 5).

Between resamplings the particles are seeds of the stochastic reduced recursion. At each, a particle is copied in proportion to
the growth of its importance exp(V), and the factor by which that changes the mean is kept; so the mean over particles
of error times exp(-V) times the product of the factors is the expected error, for any importance that is positive (Del
Moral's Feynman-Kac particle models). The importance asked for is the chance that a concept is not learned at a horizon T,
as delayed escape predicts it (`polyseme.theory.multi_concept.fluctuation.escape`): a poor prediction costs variance and no bias. A particle with an extinct
concept never learns, and counts for nothing among survivors: it has importance zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from polyseme.checks.multi_concept.stochastic.ensembles import Seeds, draw_at, generator, side_by_side
from polyseme.theory.multi_concept.fluctuation.escape import Horizon, plateau

# The exponent of the importance grows to this while gates still move, over one and a half times the plateau's length.
TRUST, RAMP = 0.9, 1.5
# Resamplings on the plateau, where a step changes the chance by much, and in as many steps afterwards.
EARLY, LATE = 25, 10
# Particles on the plateau for each that is kept after it.
MORE_AT_FIRST = 8
# Widens the predicted law for what gates still do.
BLUR = 1.0


@dataclass(frozen=True, kw_only=True)
class Population:
    """One population on its way to a horizon: seeds of `chunk`, `particles` of them kept after the plateau of that many steps."""

    chunk: Seeds
    horizon: int
    plateau: int
    particles: int


@dataclass(frozen=True, kw_only=True)
class Split:
    """Independent populations at one horizon: means of error times exp(-V), and logarithms of the products of their factors."""

    means: Float[np.ndarray, " population"]
    log_factors: Float[np.ndarray, " population"]

    @property
    def estimates(self) -> Float[np.ndarray, " population"]:
        """Each population's unbiased estimate of the error of survivors."""
        return self.means * np.exp(self.log_factors)


def _resamplings(task: Population) -> set[int]:
    first = 2 * task.plateau
    early, late = max(1, task.plateau // EARLY), max(1, task.plateau // LATE)
    return {*range(0, min(first, task.horizon), early), *range(first, task.horizon, late)}


def _run(task: Population) -> tuple[float, float]:
    """One population's mean of error times exp(-V) at its horizon, and the logarithm of the product of its factors."""
    chunk, T = task.chunk, task.horizon
    members, horizon = chunk.start(), Horizon(chunk.regime, T)
    rng, resamplings = generator(chunk.regime, chunk.stream, T, *chunk.number), _resamplings(task)
    log_factor, importance = 0.0, np.zeros(members.members)
    for t in range(T):
        if t in resamplings:
            alive = ~members.is_extinct().any(axis=(0, 1))
            if not alive.any():
                return 0.0, 0.0
            trust = TRUST * min(1.0, (t / task.plateau + 0.1) / RAMP)
            wanted = trust * horizon.log_chance(plateau(members), members.law, blur=BLUR).max(axis=0)
            growth = np.where(alive, wanted - importance, -np.inf)
            top = growth.max()
            weight = np.exp(growth - top)
            log_factor += float(np.log(weight.mean()) + top)
            chosen = _systematic(rng, weight, task.particles * (MORE_AT_FIRST if t < 1.3 * task.plateau else 1))
            members, importance = members.pick(chosen), wanted[chosen]
        members.advance(draw_at(rng, members))
    error = members.error() * ~members.is_extinct().any(axis=(0, 1))
    return float((error * np.exp(-importance)).mean()), log_factor


def _systematic(rng: np.random.Generator, weight: Float[np.ndarray, " n"], kept: int) -> Int[np.ndarray, " kept"]:
    """Each place expects as many copies as its share of the weight, and gets that number rounded up or down."""
    places = (rng.random() + np.arange(kept)) / kept
    return np.minimum(np.searchsorted(np.cumsum(weight) / weight.sum(), places, side="right"), len(weight) - 1)


def split(populations: Sequence[Population]) -> Split:
    """The populations, run to their horizon."""
    found = np.array(side_by_side(_run, populations))
    return Split(means=found[:, 0], log_factors=found[:, 1])
