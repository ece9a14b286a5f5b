"""Claims of the family dynamics about the correct attention weight (P4): when it grows, and in which phase always."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Bounded, Evidence, Facts, Share
from polyseme.checks.core.provenance import ROUND_OFF, STATISTICS
from polyseme.checks.core.rules.bound import UpperBound
from polyseme.checks.multi_concept.claims.dynamics.concepts import SINGLE_CONCEPTS
from polyseme.checks.multi_concept.claims.dynamics.signs import ONE_CONCEPT, RARE, exceptions, rare_plan
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.sampling.concepts import ORDINARY, STEPS, Law, Watched, draw, ordinary

# -- the criterion, exact at level S --------------------------------------------------------------------------

MIRRORED = Law(groups=((2, 8), (4, 8), (6, 16)), mirrored=True)
MIRRORED_MEMBERS, MIRRORED_STEPS = 64, 1000
# A factor 1 + eta (feed - lam) this near to 1 is decided by the roundings of the update, of which there are tens.
UNDECIDED = 1e-13
NONE = UpperBound(
    reason="none: the statement is about every step, and half an exception is less than one", is_statistical=False
)

Grows = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From feed and penalty, by how much per unit of time the weight W_Q^bb should grow, at least in sign."""


def _criterion(context: TrainingContext, grows: Grows) -> Evidence:
    del context
    against = backwards = decided = rises = 0
    for group in MIRRORED.groups:
        of = draw(MIRRORED, group, members=MIRRORED_MEMBERS, number=1).concepts
        given = of.given
        for _ in range(MIRRORED_STEPS):
            push, product, attention = given.eta * grows(of.feed(), given.lam), of.product("b", "b"), of.attention()
            of.descend()
            change = of.product("b", "b") - product
            clear = np.abs(push) > UNDECIDED
            against += int((clear & (np.sign(change) != np.sign(push))).sum())
            moved = of.attention() - attention
            backwards += int(((np.abs(moved) > UNDECIDED) & (np.sign(moved) != np.sign(change))).sum())
            decided, rises = decided + int(clear.sum()), rises + int((change > 0).sum())
    rows = (
        Bounded(name="steps at which G^bb moves against the criterion", value=float(against), bound=0.5),
        Bounded(
            name="steps at which the correct attention weight moves against G^bb", value=float(backwards), bound=0.5
        ),
    )
    steps = MIRRORED_MEMBERS * MIRRORED_STEPS * len(MIRRORED.groups)
    facts = {"law": MIRRORED.in_words() | {"neurons": "mirrored"}, "steps": steps, "decided": decided, "rises": rises}
    return Evidence(rows=rows, facts=facts)


CRITERION = Claim.single(
    id="dynamics/correct_attention_rises_if_and_only_if_its_feed_exceeds_the_penalty",
    statement="From mirrored neurons and W_Q = W_K (level S), the correct attention weight of a concept rises at a step if and only if "
    "-n_b^2 Gamma_k > lam, and falls if it is less: at every step of every concept drawn.",
    formula=r"p^*_k(t + 1) > p^*_k(t) \iff -n_b^2 \Gamma_k(t) > \lambda",
    section="7",
    scope="any regime",
    asserts=lambda: lambda feed, lam: feed - lam,
    measure=_criterion,
    rule=NONE,
    controls=(
        NegativeControl(
            name="penalty forgotten",
            statement="it rises if and only if it is fed at all",
            asserts=lambda: lambda feed, lam: feed + 0 * lam,
        ),
    ),
    uses=(SINGLE_CONCEPTS.id,),
    rests_on=(ROUND_OFF, ONE_CONCEPT),
)

# -- the phase in which it is monotone ---------------------------------------------------------------------------

Phase = Callable[[Watched], tuple[Int[np.ndarray, " member"], Int[np.ndarray, " member"]]]
"""The first and the last step of the stretch on which the correct attention weight is said not to fall."""
SHARE = 0.8


def _reaches(of: Watched, level: Float[np.ndarray, " member"]) -> Int[np.ndarray, " member"]:
    return (of.attention >= level).argmax(axis=0)


def _learning(of: Watched) -> tuple[np.ndarray, np.ndarray]:
    first = of.onset
    low = np.take_along_axis(of.attention, first[None], axis=0)[0]
    return first, _reaches(of, low + SHARE * (of.attention[-1] - low))


def _from_the_start(of: Watched) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros_like(of.onset), _learning(of)[1]


def falls(of: Watched, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Whether the correct attention weight of each member falls at some step from `first` to `last`, or never gets to `last`."""
    step = np.arange(len(of.attention) - 1)[:, None]
    inside = (step >= first) & (step < last)
    return ((np.diff(of.attention, axis=0) < 0) & inside).any(axis=0) | (last <= first)


@dataclass(frozen=True, kw_only=True)
class FallFacts(Facts):
    """Of concepts drawn by a law: where the correct attention weight falls outside the phase of the claim, and by how much at most.

    The shares are of concepts in which it falls somewhere in the run, and before its onset.
    """

    share_that_falls_in_the_run: Share
    share_that_falls_before_the_onset: Share
    largest_fall_before_the_onset: float
    largest_fall_from_the_peak_to_the_end: float
    last_step_of_the_onset: int
    law: Mapping[str, Any]
    steps: int


def _monotone(context: TrainingContext, phase: Phase) -> Evidence:
    groups = ordinary(context)
    row = exceptions("concepts whose correct attention weight falls", *(falls(x, *phase(x)) for x in groups))
    whole = [falls(x, np.zeros_like(x.onset), np.full_like(x.onset, STEPS)) for x in groups]
    dips = [x.attention[0] - np.take_along_axis(x.attention, x.onset[None], axis=0)[0] for x in groups]
    late = [(x.attention.max(axis=0) - x.attention[-1]).max() for x in groups]
    facts = FallFacts(
        share_that_falls_in_the_run=float(np.concatenate(whole).mean()),
        share_that_falls_before_the_onset=float((np.concatenate(dips) > 0).mean()),
        largest_fall_before_the_onset=float(np.concatenate(dips).max()),
        largest_fall_from_the_peak_to_the_end=float(max(late)),
        last_step_of_the_onset=int(max(x.onset.max() for x in groups)),
        law=ORDINARY.in_words(),
        steps=STEPS,
    )
    return Evidence(rows=(row,), facts=facts)


MONOTONE = Claim.single(
    id="dynamics/correct_attention_grows_monotonically_from_its_onset_to_four_fifths",
    statement="From its onset, the first step at which its feed exceeds the penalty, until it has gone four fifths of the way to its end, the "
    "correct attention weight never falls, in at least 98 of 100 concepts of the declared law.",
    formula=r"p^*_k(t + 1) \ge p^*_k(t) \quad\text{for}\quad t_{\text{onset}} \le t < t_{4/5}",
    section="7",
    scope="any regime",
    asserts=lambda: _learning,
    measure=_monotone,
    facts=FallFacts,
    rule=RARE,
    plan=rare_plan(1),
    controls=(
        NegativeControl(name="from the start", statement="the same from step 0 on", asserts=lambda: _from_the_start),
    ),
    uses=(
        SINGLE_CONCEPTS.id,
        "dynamics/correct_attention_rises_if_and_only_if_its_feed_exceeds_the_penalty",
        "dynamics/right_signs_persist",
    ),
    rests_on=(STATISTICS, ONE_CONCEPT),
)

CLAIMS = (CRITERION, MONOTONE)
