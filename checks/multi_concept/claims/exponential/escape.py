"""Claims about the mechanism of the rate: delayed escape from the initial plateau (THEORY.md section 5c)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from polyseme.checks.core.claim import Claim, Hypothesis, NegativeControl, OutsideHypotheses, Plan
from polyseme.checks.core.evidence import Estimated, Evidence
from polyseme.checks.core.provenance import STATISTICS
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.multi_concept.claims.exponential.error_curve import (
    CURVE,
    CurveFacts,
    design,
    facts_of,
    learnable,
    main_curve,
    pilot,
    regime_of,
    window,
)
from polyseme.checks.multi_concept.claims.exponential.rate_of_error import rates
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.hypotheses import FAIR
from polyseme.checks.multi_concept.stochastic.ensembles import (
    Seeds,
    Stream,
    draw_at,
    generator,
    in_chunks,
    side_by_side,
)
from polyseme.theory.multi_concept.coefficients import project
from polyseme.theory.multi_concept.fluctuation.escape import Horizon, Plateau, plateau, predicted_error

ALIKE = Hypothesis(
    key="alike",
    name="concepts leave the plateau together: equal weights",
    holds=lambda regime: len(set(regime.concepts.probabilities)) == 1,
    got=lambda regime: f"pi = {', '.join(f'{p:.3g}' for p in regime.concepts.probabilities[:5])}",
    suggests={"concepts": {"weights": (None,)}},
)
ON_PLATEAU = 0.4
"""Mean error down to which nothing is learned yet: the plateau ends at the pilot's last record above it."""
SPREAD = 0.4
"""Length of the window as a share of the plateau's, from which on noise and not the drift says when a concept escapes."""
PREDICTED = {"small": 2**12, "full": 2**14}


def plateau_end(context: TrainingContext) -> int:
    """The last step of the plateau, by the pilot's mean error."""
    of = pilot(context)
    return int(of.steps[np.flatnonzero(of.errors.mean(axis=1) > ON_PLATEAU)[-1]])


def _require_spread(context: TrainingContext) -> None:
    """OutsideHypotheses unless the window lies beyond the plateau, and noise spreads the escapes widely enough.

    When a concept counts as learned is a convention, off by a few steps: rates that change within so few cannot be predicted.
    """
    first, last = (int(pilot(context).steps[edge]) for edge in window(context)[[0, -1]])
    end = plateau_end(context)
    if first <= end or last - first < SPREAD * end:
        raise OutsideHypotheses(
            f"needs a window beyond the plateau, and at least {SPREAD:g} of its length; here the plateau ends at step {end}, and "
            f"the window goes from {first} to {last}"
        )


Believed = Callable[[Plateau], Plateau]
"""What the prediction believes of the plateau: what it is, or something else for a negative control."""


def _as_it_is(at: Plateau) -> Plateau:
    return at


def _not_fed(at: Plateau) -> Plateau:
    return replace(at, drift=np.zeros_like(at.drift))


def _predict(task: tuple[Seeds, Believed, tuple[int, ...]]) -> np.ndarray:
    """Predicted errors of a chunk's members at the horizons, from their states at the end of the chunk's run: (horizon, member)."""
    chunk, believed, horizons = task
    members, rng = chunk.start(), generator(chunk.regime, chunk.stream, *chunk.number)
    for _ in range(chunk.regime.training.steps):
        members.advance(draw_at(rng, members))
    at, alive = believed(plateau(members)), ~members.is_extinct().any(axis=(0, 1))
    return np.array([predicted_error(at, members.law, Horizon(chunk.regime, T)) * alive for T in horizons])


def prediction(context: TrainingContext, believed: Believed, horizons: tuple[int, ...]) -> np.ndarray:
    """The expected error of each of some seeds at later steps, predicted from its state at the end of the plateau: (horizon, seed)."""

    def run() -> np.ndarray:
        regime, (_, start) = regime_of(context), learnable(context)
        until = regime.replace(training={"steps": plateau_end(context)})
        chunks = in_chunks(
            until,
            start["r"],
            project(start, regime.concepts.K1),
            members=PREDICTED[context.effort],
            every=1,
            stream=Stream.PREDICTION,
        )
        tasks = [(chunk, believed, horizons) for chunk in chunks]
        return np.concatenate(side_by_side(_predict, tasks), axis=1)

    return context.cached(f"predicted {believed.__name__} {horizons}", run)


@dataclass(frozen=True, kw_only=True)
class EscapeFacts(CurveFacts):
    """The error of survivors at the edges of the window: predicted from so many seeds' states at one step, and measured."""

    predicted_at_step: int
    seeds_predicted: int
    steps: Sequence[int]
    error_predicted: Sequence[float]
    error_measured: Sequence[float]


def _rates(context: TrainingContext, believed: Believed) -> Evidence:
    of, edges = main_curve(context), window(context)
    steps = of.steps[edges]
    predicted = prediction(context, believed, tuple(int(t) for t in steps))
    mean = predicted.mean(axis=1)
    share = predicted / np.maximum(mean, np.finfo(np.float64).tiny)[:, None]
    passed = np.diff(steps)
    expected = -np.diff(np.log(np.maximum(mean, np.finfo(np.float64).tiny))) / passed
    spread = np.diff(share, axis=0).std(axis=1, ddof=1) / passed
    found = rates(of, edges)
    rows = tuple(
        Estimated(
            name=f"rate from step {int(a)} to {int(b)}, measured less predicted",
            estimate=float(found.values[i] - expected[i]),
            standard_error=float(np.hypot(found.errors[i], spread[i] / np.sqrt(predicted.shape[1]))),
            samples=of.seeds,
            scale=float(found.values[i]),
        )
        for i, (a, b) in enumerate(pairwise(steps))
    )
    facts = EscapeFacts(
        **vars(facts_of(context)),
        predicted_at_step=plateau_end(context),
        seeds_predicted=predicted.shape[1],
        steps=[int(t) for t in steps],
        error_predicted=[float(x) for x in mean],
        error_measured=[float(x) for x in of.excess[edges].mean(axis=1)],
    )
    return Evidence(rows=rows, facts=facts)


QUARTER = Equivalence(
    margin=0.25,
    reason="a quarter of the rate: the prediction leaves out gates that move after the plateau, and how escape feeds on itself at its end",
)


def _plan(context: TrainingContext) -> Plan:
    """From the pilot's spread, and as much again for the prediction's own."""
    _require_spread(context)
    of = pilot(context)
    found = rates(of, window(context))
    seeds = design(context).seeds
    own = found.influence.std(axis=1, ddof=1) / found.values
    relative = float(np.hypot(own, PREDICTION_SPREAD * np.sqrt(seeds / PREDICTED[context.effort])).max())
    return QUARTER.design(spread=relative, rows=len(own), level=context.level, fewest=seeds, most=seeds)


PREDICTION_SPREAD = 2.5
"""Relative standard deviation of a predicted rate, for one seed: up to 2.1 when measured."""


ESCAPE = Claim.single(
    id="exponential/rate_is_that_of_delayed_escape",
    statement="Where noise spreads the escapes over at least two fifths of the length of the plateau, the local rates of the error of surviving seeds are, within "
    "a quarter, those of delayed escape: predicted from the states at the end of the plateau alone, as the chance that the twice summed minibatch noise "
    "holds a concept's attention product back.",
    formula=r"\Pr(e f \le 0)(T) \approx \tfrac12 \textstyle\sum_k \pi_k\, \mathbb E\, \Phi\!\bigl((\log c - \mathbb E_t \log W_Q^{bb} W_K^{bb}(T)) / "
    r"\sqrt{\mathrm{Var}_t}\bigr)",
    section="5",
    hypotheses=(*CURVE, FAIR, ALIKE),
    asserts=lambda: _as_it_is,
    measure=_rates,
    facts=EscapeFacts,
    rule=QUARTER,
    plan=_plan,
    controls=(
        NegativeControl(
            name="not fed",
            statement="the same with a signal that nothing feeds after the plateau",
            asserts=lambda: _not_fed,
        ),
    ),
    uses=("exponential/error_falls_at_least_exponentially_above_its_floor",),
    rests_on=(STATISTICS,),
)

CLAIMS = (ESCAPE,)
