"""The lines that the theory predicts on maps: where learning ends over width and penalty (docs/THEORY.md, section 6)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polyseme.checks.core.theory import Boundary
from polyseme.checks.multi_concept.hypotheses import FAIR, LOGISTIC_RELU, MATCHED, SEVERAL_DEMONSTRATIONS
from polyseme.theory.multi_concept.outcome.thresholds import critical_penalty
from polyseme.theory.multi_concept.regime import Regime

# Half a cell beyond the last overlap may be more than one.
MOST_OVERLAP = 1 - 1e-9
LEARNING = (
    "dynamics/every_concept_is_learned",
    "dynamics/concepts_learned_are_those_foreseen",
    "dynamics/sgd_learns_every_concept",
)
SHARE_LEARNED = "share learned"


def _of_pure_prompts(values: Mapping[str, Mapping[Any, int]]) -> Sequence[str]:
    """What a note says where prompts are not pure."""
    noisy = any(set(values[key]) != {0.0} for key in ("p_extra", "sigma_x", "sigma_y"))
    return ("What is predicted is that of pure prompts.",) if noisy else ()


def critical(regime: Regime) -> float:
    """lam_c of the concept of smallest weight, half of the neurons living (polyseme.theory.multi_concept.outcome.thresholds).

    It is proportional to 1 / sqrt(m); between whole numbers of demonstrations it is interpolated geometrically.
    """
    L = regime.prompt.L
    # The edge of a map may lie below two demonstrations, where none is left to be mixed.
    low = max(2, math.floor(L))
    rest = L - low
    return _critical(regime, low) ** (1 - rest) * _critical(regime, low + 1) ** rest if rest else _critical(regime, low)


def _critical(regime: Regime, L: int) -> float:
    """The same with another number of demonstrations; the width may be a fraction."""
    concepts = regime.concepts
    weight = min(concepts.weights) if concepts.weights else 1 / concepts.K1
    kappa_x, kappa_y = (np.array([min(x, MOST_OVERLAP)]) for x in (concepts.kappa_x, concepts.kappa_y))
    live, of = np.array([0.5]), np.array([weight])
    one = critical_penalty(L=L, m=1, live=live, weight=of, kappa_x=kappa_x, kappa_y=kappa_y)
    return float(one[0]) / math.sqrt(regime.model.m)


def share_of_widths(m: float | int) -> float:
    """The probability that a concept has living neurons of both signs, m/2 of each: share_learnable of even m, and between them."""
    return (1 - 2.0 ** -(m / 2)) ** 2


def _plateau(regime: Regime) -> bool:
    """Whether the plateau is that of the derivation: the loss, the law and the signs of polyseme.theory.multi_concept.outcome.thresholds."""
    return all(x.holds(regime) for x in (LOGISTIC_RELU, MATCHED, FAIR, SEVERAL_DEMONSTRATIONS))


def _independent(regime: Regime) -> bool:
    """Whether neurons start each on its own: of mirrored ones two live or die together."""
    return _plateau(regime) and regime.model.neurons == "independent"


PENALTY = Boundary(
    claims=LEARNING,
    label=r"$\lambda = \lambda_c$",
    value=lambda regime: regime.training.lam / critical(regime),
    level=1.0,
    predicted_for=_plateau,
    remark=lambda values: (
        *_of_pure_prompts(values),
        r"$\lambda_c$: half of the neurons living, the concept of smallest weight.",
    ),
)


def _width(share: float, label: str) -> Boundary:
    return Boundary(
        claims=LEARNING,
        shows=(SHARE_LEARNED,),
        remark=_of_pure_prompts,
        label=label,
        value=lambda regime: share_of_widths(regime.model.m),
        level=share,
        predicted_for=_independent,
    )


EVERY_CONCEPT = Boundary(
    claims=LEARNING,
    shows=("verdict",),
    remark=_of_pure_prompts,
    label="width law: every concept from half of the starts",
    value=lambda regime: share_of_widths(regime.model.m) ** regime.concepts.K1,
    level=0.5,
    predicted_for=_independent,
)
SHARES = tuple(_width(share, f"width law: {share:g} of the concepts") for share in (0.5, 0.9))

BOUNDARIES = (PENALTY, EVERY_CONCEPT, *SHARES)
