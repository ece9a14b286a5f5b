"""Which share of concepts is learned, over the width, the number of concepts and the penalty: what the figure of thresholds draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from polyseme.checks.core.evidence import Facts
from polyseme.checks.multi_concept.sampling.concepts import alternating
from polyseme.checks.multi_concept.stochastic.ensembles import Stream, generator
from polyseme.theory.multi_concept.dynamics.concepts import Concepts, Numbers, Start
from polyseme.theory.multi_concept.outcome.thresholds import critical_penalty, share_learnable
from polyseme.theory.multi_concept.regime import Regime

L, KAPPA_X, KAPPA_Y, SIGMA_0, SIGMA_1 = 4, 0.2, 0.3, 0.1, 0.05
FIXED = {"L": L, "kappa_x": KAPPA_X, "kappa_y": KAPPA_Y, "sigma_0": SIGMA_0, "sigma_1": SIGMA_1}
# At least 40 / lam near the critical penalty, where learning is slowest.
STEPS, LARGEST_DECAY = 1000, 0.04
# Starts of a cell: this many neurons in all, since wide networks hardly differ.
NEURONS = 256
WIDTHS, CONCEPTS, LAM = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64), (1, 2, 3, 4, 6, 8, 12, 16, 24, 32), 1e-3
SWEPT_WIDTHS, SWEPT_CONCEPTS = (4, 16, 64), 2
RATIOS = tuple(float(x) for x in np.round(np.geomspace(0.25, 2.5, 19), 4))


@dataclass(frozen=True, kw_only=True)
class Diagram(Facts):
    """Shares of concepts learned at one penalty: `share` has a row for each width m and a column for each number K1.

    Of each width: from how many starts, the K1 at which the penalty is critical, and the share by the law of the width.
    """

    m: Sequence[int]
    K1: Sequence[int]
    share: Sequence[Sequence[float]]
    starts: Sequence[int]
    critical_K1: Sequence[float]
    law_of_the_width: Sequence[float]
    lam: float
    fixed: Mapping[str, float | int]


@dataclass(frozen=True, kw_only=True)
class PenaltyCurve(Facts):
    """The share of concepts learned over the penalty at one width, each from so many starts; lam_c, and the law of the width."""

    m: int
    lam: Sequence[float]
    share: Sequence[float]
    starts: int
    critical: float
    law_of_the_width: float


@dataclass(frozen=True, kw_only=True)
class PenaltySweep(Facts):
    """Such curves for several widths."""

    K1: int
    curves: Sequence[PenaltyCurve]
    fixed: Mapping[str, float | int]


def learned(of: Concepts, steps: int) -> Bool[np.ndarray, " member"]:
    """Whether no prompt of a concept is misclassified after that many steps."""
    for _ in range(steps):
        of.descend()
    return of.error() == 0


def typical_critical_penalty(m: int, K1: int) -> float:
    """lam_c of the fixed overlaps with even concepts, half of the neurons living."""
    one = np.ones(1)
    weight, kappa_x, kappa_y = one / K1, KAPPA_X * one, KAPPA_Y * one
    return float(critical_penalty(L=L, m=m, live=one / 2, weight=weight, kappa_x=kappa_x, kappa_y=kappa_y)[0])


def _shares(
    m: int, lam: Float[np.ndarray, " place"], weight: Float[np.ndarray, " place"], *, number: int
) -> tuple[list[float], int]:
    """The share learned at each place, a penalty and a weight, of random starts, learnable or not; and how many of them."""
    members = max(8, NEURONS // m)
    size, r = len(lam) * members, alternating(m)
    rng = generator(Regime(), Stream.DYNAMICS, number, L, m)
    alpha, beta = (SIGMA_1 * rng.normal(size=(m, size)) for _ in range(2))
    lam, weight = np.repeat(lam, members), np.repeat(weight, members)
    numbers = Numbers(
        kappa_x=np.full(size, KAPPA_X),
        kappa_y=np.full(size, KAPPA_Y),
        lam=lam,
        weight=weight,
        eta=np.minimum(m / weight, LARGEST_DECAY / lam),
    )
    start = Start(sigma_0=np.full(size, SIGMA_0), alpha=alpha, beta=beta)
    found = learned(Concepts(L=L, r=r, numbers=numbers, start=start), STEPS)
    return [float(x) for x in found.reshape(-1, members).mean(axis=1)], members


def over_width_and_concepts() -> Diagram:
    """The share of concepts learned over (m, K1) at one penalty, and the K1 at which that penalty is critical."""
    K1 = np.array(CONCEPTS, dtype=np.float64)
    found = [_shares(m, np.full(len(K1), LAM), 1 / K1, number=7) for m in WIDTHS]
    return Diagram(
        m=WIDTHS,
        K1=CONCEPTS,
        share=[shares for shares, _ in found],
        starts=[members for _, members in found],
        critical_K1=[typical_critical_penalty(m, 1) / LAM for m in WIDTHS],
        law_of_the_width=[share_learnable(m) for m in WIDTHS],
        lam=LAM,
        fixed=FIXED,
    )


def over_penalty() -> PenaltySweep:
    """The share of concepts learned over the penalty for several widths, with the critical one of each."""
    curves = []
    for m in SWEPT_WIDTHS:
        critical = typical_critical_penalty(m, SWEPT_CONCEPTS)
        lam = critical * np.array(RATIOS)
        shares, members = _shares(m, lam, np.full(len(lam), 1 / SWEPT_CONCEPTS), number=8)
        curves.append(
            PenaltyCurve(
                m=m,
                lam=[float(x) for x in lam],
                share=shares,
                starts=members,
                critical=critical,
                law_of_the_width=share_learnable(m),
            )
        )
    return PenaltySweep(K1=SWEPT_CONCEPTS, curves=curves, fixed=FIXED)
