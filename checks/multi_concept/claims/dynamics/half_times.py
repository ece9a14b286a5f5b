"""A claim of the family dynamics: which of attention and MLP comes first, by half-times (THEORY.md section 7)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Evidence, Facts
from polyseme.checks.core.provenance import STATISTICS
from polyseme.checks.multi_concept.claims.dynamics.concepts import SINGLE_CONCEPTS
from polyseme.checks.multi_concept.claims.dynamics.signs import ONE_CONCEPT, RARE, exceptions, rare_plan
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.sampling.concepts import (
    MEMBERS,
    MOST_DECAY,
    ORDINARY,
    STEPS,
    Drawn,
    Law,
    Watched,
    alternating,
    ordinary,
    watch,
    watch_all,
)
from polyseme.checks.multi_concept.stochastic.ensembles import Stream, generator
from polyseme.theory.multi_concept.dynamics.concepts import Concepts, Numbers, Start
from polyseme.theory.multi_concept.outcome.thresholds import critical_penalty, lives_on
from polyseme.theory.multi_concept.regime import Regime

FEWEST_DEMONSTRATIONS = 3
NEAR_THE_THRESHOLD = Law(groups=((2, 8),), penalty=(0.6, 0.9))


def half_times(of: Watched) -> tuple[Int[np.ndarray, " member"], Int[np.ndarray, " member"]]:
    """The first step at which the correct attention weight has made half of its way, and at which sum_i r_i beta_i is half of its end."""
    gained = of.attention - of.attention[0]
    # A weight that gains nothing is never half-way.
    attention = np.where(gained[-1] > 0, (gained >= gained[-1] / 2).argmax(axis=0), len(gained))
    return attention, (of.signal >= of.signal[-1] / 2).argmax(axis=0)


def _several(context: TrainingContext) -> tuple[Watched, ...]:
    return tuple(x for x in ordinary(context) if x.L >= FEWEST_DEMONSTRATIONS)


def _two_near_the_threshold(context: TrainingContext) -> tuple[Watched, ...]:
    del context
    law = NEAR_THE_THRESHOLD
    return watch_all(law, members=TRIALS // len(law.groups), number=2)


TRIALS = MEMBERS * sum(L >= FEWEST_DEMONSTRATIONS for L, _ in ORDINARY.groups)

# -- the map of the figure -------------------------------------------------------------------------------------------

MAP_SIGMAS = tuple(float(x) for x in np.round(np.geomspace(1e-3, 0.5, 7), 5))
MAP_PENALTIES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
MAP_L, MAP_WIDTH, MAP_MEMBERS, MAP_STEPS = (2, 4), 16, 5, 2000


def _map(L: int) -> list[list[float]]:
    """Median of the MLP's half-time over attention's, for each sigma_0 (rows) and lam / lam_c (columns)."""
    sigma, penalty, _ = (
        x.ravel() for x in np.meshgrid(MAP_SIGMAS, MAP_PENALTIES, np.arange(MAP_MEMBERS), indexing="ij")
    )
    rng, m, size = generator(Regime(), Stream.DYNAMICS, 3, L), MAP_WIDTH, len(sigma)
    kappa_x, kappa_y, one, r = np.full(size, 0.2), np.full(size, 0.3), np.ones(size), alternating(m)
    alpha, beta = (0.1 * rng.normal(size=(m, size)) for _ in range(2))
    lives = lives_on(alpha, beta, r, kappa_y)
    lam = penalty * critical_penalty(L=L, m=m, live=lives.mean(axis=0), weight=one, kappa_x=kappa_x, kappa_y=kappa_y)
    numbers = Numbers(kappa_x=kappa_x, kappa_y=kappa_y, lam=lam, weight=one, eta=np.minimum(m / 4, MOST_DECAY / lam))
    concepts = Concepts(L=L, r=r, numbers=numbers, start=Start(sigma_0=sigma, alpha=alpha, beta=beta))
    attention, mlp = half_times(watch(Drawn(concepts=concepts, penalty=penalty, learnable=one > 0), steps=MAP_STEPS))
    ratio = mlp / np.maximum(attention, 1)
    shape = (len(MAP_SIGMAS), len(MAP_PENALTIES), MAP_MEMBERS)
    return [[float(x) for x in row] for row in np.median(ratio.reshape(shape), axis=2)]


@dataclass(frozen=True, kw_only=True)
class RatioRow(Facts):
    """The MLP's half-time over attention's, among the concepts of one number of demonstrations and width."""

    L: int
    m: int
    least: float
    median: float
    most: float


@dataclass(frozen=True, kw_only=True)
class RatioMap(Facts):
    """Medians of that ratio with L demonstrations: a row for each sigma_0, a column for each lam over lam_c."""

    L: int
    ratio: Sequence[Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class HalfTimeMap(Facts):
    """Such maps for several L, at one width."""

    sigma_0: Sequence[float]
    lam_over_lam_c: Sequence[float]
    m: int
    ratios: Sequence[RatioMap]


@dataclass(frozen=True, kw_only=True)
class HalfTimeFacts(Facts):
    """Ratios of half-times of concepts drawn by a law, after so many steps, and their map.

    `signal_at_onset`: sum_i r_i beta_i at the onset of attention over its end: least, median, most.
    """

    ratios: Sequence[RatioRow]
    signal_at_onset: Sequence[float]
    law: Mapping[str, Any]
    steps: int
    map: HalfTimeMap


def _first(context: TrainingContext, groups_of: Callable[[TrainingContext], tuple[Watched, ...]]) -> Evidence:
    groups = groups_of(context)
    times = [half_times(x) for x in groups]
    row = exceptions(
        "concepts in which the MLP is half-way as soon as attention, or sooner", *(b <= a for a, b in times)
    )
    ratios = []
    for x, (a, b) in zip(groups, times, strict=True):
        least, median, most = (float(q) for q in np.quantile(b / np.maximum(a, 1), [0, 0.5, 1]))
        ratios.append(RatioRow(L=x.L, m=x.m, least=least, median=median, most=most))
    at_onset = np.concatenate([np.take_along_axis(x.signal, x.onset[None], axis=0)[0] / x.signal[-1] for x in groups])
    maps = context.cached("map of half-times", lambda: [RatioMap(L=L, ratio=_map(L)) for L in MAP_L])
    facts = HalfTimeFacts(
        ratios=ratios,
        signal_at_onset=[float(q) for q in np.quantile(at_onset, [0, 0.5, 1])],
        law=ORDINARY.in_words(),
        steps=STEPS,
        map=HalfTimeMap(sigma_0=MAP_SIGMAS, lam_over_lam_c=MAP_PENALTIES, m=MAP_WIDTH, ratios=maps),
    )
    return Evidence(rows=(row,), facts=facts)


HALF_TIMES = Claim.single(
    id="dynamics/attention_is_half_way_before_the_mlp",
    statement="With three demonstrations or more and less than half of the critical penalty, the correct attention weight has made half of its way "
    "before sum_i r_i beta_i is half of its end, in at least 98 of 100 concepts of the declared law.",
    formula=r"t_{1/2}(p^*_k) < t_{1/2}\big(\textstyle\sum_i r_i \beta_{i,k}\big)",
    section="7",
    scope="any regime",
    asserts=lambda: _several,
    measure=_first,
    facts=HalfTimeFacts,
    rule=RARE,
    plan=rare_plan(1, TRIALS),
    controls=(
        NegativeControl(
            name="near the threshold, two demonstrations",
            statement="the same with two demonstrations and 0.6 to 0.9 of the critical penalty",
            asserts=lambda: _two_near_the_threshold,
        ),
    ),
    uses=(SINGLE_CONCEPTS.id, "dynamics/right_signs_persist"),
    rests_on=(STATISTICS, ONE_CONCEPT),
)

CLAIMS = (HALF_TIMES,)
