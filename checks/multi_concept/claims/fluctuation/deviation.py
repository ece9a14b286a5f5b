"""Claims of the family fluctuation: how far SGD strays from the recursion (THEORY.md sections 5, 6.4 and 7).

Two starts. From the *lifted* one, every neuron is far from its kinks: gates stay as they are through the plateau and the growth
of attention, and SGD's deviation is linear noise. From the ordinary start, gates move from the first steps on and living
neurons come to sit on their kinks: linear noise is then wrong by large factors, and averaging each gate over the noise is not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from polyseme.checks.core.claim import Claim, Hypothesis, NegativeControl, OutsideHypotheses, Part, Plan
from polyseme.checks.core.evidence import Evidence, Facts, Points
from polyseme.checks.core.provenance import STATISTICS
from polyseme.checks.core.rules.rate import Rate
from polyseme.checks.multi_concept.claims.exponential.error_curve import CURVE, learnable
from polyseme.checks.multi_concept.context import Arrays, TrainingContext
from polyseme.checks.multi_concept.stochastic.ensembles import (
    Seeds,
    Stream,
    draw_at,
    generator,
    in_chunks,
    side_by_side,
)
from polyseme.theory.multi_concept.coefficients import project
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.dynamics.integrate import step_size
from polyseme.theory.multi_concept.fluctuation.escape import LEARNED, plateau
from polyseme.theory.multi_concept.fluctuation.linear_noise import Moment, linear_noise, pack
from polyseme.theory.multi_concept.regime import Regime

SMALL_STATE = Hypothesis(
    key="small_state",
    name="a covariance matrix that is quick to carry: K1 (8 + 2 m) <= 400",
    holds=lambda regime: regime.concepts.K1 * (8 + 2 * regime.model.m) <= 400,
    got=lambda regime: f"K1 (8 + 2 m) = {regime.concepts.K1 * (8 + 2 * regime.model.m)}",
)
HYPOTHESES = (*CURVE, SMALL_STATE)
USES = ("closure/stochastic_recursion_equals_sgd", "fluctuation/gradient_noise_falls_as_root_batch")

Vectors = Float[np.ndarray, "steps dimension seed"]

# -- seeds and their coefficients -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Followed:
    """Seeds whose coefficients are looked at after some steps."""

    seeds: Seeds
    steps: tuple[int, ...]


def _follow(task: Followed) -> Vectors:
    members, rng = task.seeds.start(), generator(task.seeds.regime, task.seeds.stream, *task.seeds.number)
    seen = []
    for t in range(max(task.steps) + 1):
        if t in task.steps:
            seen.append(pack(members.state))
        if t < max(task.steps):
            members.advance(draw_at(rng, members))
    return np.stack(seen)


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start of the reduced recursion."""

    r: Float[np.ndarray, " m"]
    coefficients: Arrays

    def alone(self, regime: Regime) -> Ensemble:
        """An ensemble of one member there."""
        return Ensemble(regime, self.r, self.coefficients, members=1)

    def seeds(self, regime: Regime, steps: Sequence[int], *, members: int, number: tuple[int, ...]) -> Vectors:
        """The coefficients of independent seeds from there; other numbers, other seeds."""
        chunks = in_chunks(
            regime,
            self.r,
            self.coefficients,
            members=members,
            every=1,
            stream=Stream.DEVIATION,
            number=number,
        )
        followed = [Followed(seeds=chunk, steps=tuple(steps)) for chunk in chunks]
        return np.concatenate(side_by_side(_follow, followed), axis=-1)


LIFT = 4.0
"""Added to the size of every alpha: as much as coefficients grow to when a concept is learned (section 6.6). Ours."""


def ordinary(context: TrainingContext) -> Start:
    """The start of the error curve."""
    _, start = learnable(context)
    return Start(r=start["r"], coefficients=project(start, context.one.concepts.K1))


def lifted(context: TrainingContext) -> Start:
    """The same, with every neuron moved away from its kinks along c_k: open, or shut, on all prompts of a concept."""
    start = ordinary(context)
    alpha = start.coefficients["alpha"]
    return Start(r=start.r, coefficients=start.coefficients | {"alpha": alpha + LIFT * np.sign(alpha)})


def with_batch(regime: Regime, batch: int) -> Regime:
    """The regime at another batch size."""
    return regime.replace(training={"batch": batch})


def squares_of(x: Float[np.ndarray, "dimension seed"]) -> Float[np.ndarray, " seed"]:
    """Squared lengths."""
    return (x**2).sum(axis=0)


def spread_of(covariance: Float[np.ndarray, "dimension dimension"]) -> float:
    """The relative standard deviation of ||delta||^2 of a Gaussian delta."""
    return float(np.sqrt(2 * (covariance**2).sum()) / np.trace(covariance))


def _mean(x: Float[np.ndarray, " seed"]) -> tuple[float, float]:
    return float(x.mean()), float(x.std(ddof=1) / np.sqrt(len(x)))


# -- the stretch on which gates are stable ------------------------------------------------------------------------

FEWEST_PROMPTS = 64
Z = 4.0
"""Standard deviations between a gate and its kink from which on it counts as stable."""


def _stable(moments: Iterator[Moment], batch: int, until: Callable[[Moment], bool], most: int) -> list[Moment]:
    """Moments up to the first one that `until` names; OutsideHypotheses if a gate comes near its kink before, or never."""
    found = []
    for moment in moments:
        found.append(moment)
        if moment.moved or moment.clearance * np.sqrt(batch) < Z:
            raise OutsideHypotheses(
                f"needs gates that stay {Z:g} standard deviations away from their kinks at batch {batch}; here one does not at step "
                f"{moment.t}"
            )
        if until(moment):
            return found
        if moment.t >= most:
            break
    raise OutsideHypotheses(
        f"needs a run in which a concept is learned from neurons that are lifted; here none is by step {most}"
    )


def _is_learned(moment: Moment) -> bool:
    return bool(plateau(moment.at).log_product.max() >= LEARNED)


def stretch(context: TrainingContext) -> list[Moment]:
    """Linear noise from the lifted start until the first concept is learned: the plateau, and the growth of its attention."""

    def find() -> list[Moment]:
        regime = with_batch(context.one, FEWEST_PROMPTS)
        start = lifted(context).alone(regime)
        return _stable(linear_noise(start), FEWEST_PROMPTS, _is_learned, regime.training.steps)

    return context.cached("linear noise of the lifted start", find)


@dataclass(frozen=True, kw_only=True)
class StretchFacts(Facts):
    """What the claims about the lifted start have in common: so many steps to the end of the stretch on which gates are stable.

    `lift` is added to the size of every alpha; `nearest_gate` is the least distance of a gate from its kink, in standard
    deviations, at batch `nearest_gate_batch`; `seed` is that of the regime.
    """

    steps: int
    lift: float
    nearest_gate: float
    nearest_gate_batch: int
    seed: int


def stretch_facts(context: TrainingContext) -> StretchFacts:
    """Of the stretch; `vars` of it fill the claims' own facts."""
    path = stretch(context)
    nearest = min(moment.clearance for moment in path) * np.sqrt(FEWEST_PROMPTS)
    return StretchFacts(
        steps=path[-1].t,
        lift=LIFT,
        nearest_gate=float(nearest),
        nearest_gate_batch=FEWEST_PROMPTS,
        seed=context.regime.ensemble.seed,
    )


# -- the batch size -----------------------------------------------------------------------------------------------

BATCHES = tuple(FEWEST_PROMPTS * 8**j for j in range(5))
POWER = 0.98
IN_BATCH = Rate(
    declared=-1.0,
    margin=0.06,
    reason="three hundredths of the exponent of the root mean square, over a range of 4096",
)
IN_STEP = Rate(
    declared=1.0,
    margin=0.06,
    reason="three hundredths of the exponent of the root mean square: the coarsest path takes six steps, and its sums are that "
    "far from integrals",
)


def _batch_plan(context: TrainingContext) -> Plan:
    spread = spread_of(stretch(context)[-1].covariance)
    places = tuple(map(float, BATCHES))
    return IN_BATCH.design(places=places, spread=spread, rows=1, level=context.level, power=POWER)


def _points(name: str, places: Sequence[float], squares: Sequence[tuple[float, float]], samples: int) -> Points:
    means, errors = zip(*squares, strict=True)
    return Points(name=name, places=tuple(places), means=means, standard_errors=errors, samples=samples)


@dataclass(frozen=True, kw_only=True)
class Scaling(Facts):
    """Mean squares of the deviation at several places (batch or step sizes), with standard errors, and those of linear noise."""

    places: Sequence[float]
    mean_squares: Sequence[float]
    standard_errors: Sequence[float]
    linear_noise: Sequence[float]
    seeds: int


@dataclass(frozen=True, kw_only=True)
class ByBatchFacts(StretchFacts):
    """The deviation at the end of the stretch, by batch size."""

    scaling: Scaling


@dataclass(frozen=True, kw_only=True)
class ByStepFacts(Facts):
    """The deviation at one flow time, by step size, with so many steps each, at batch B."""

    lift: float
    B: int
    steps: Sequence[int]
    flow_time: float
    seed: int
    scaling: Scaling


def _scaling(row: Points, places: Sequence[float], linear: Sequence[float]) -> Scaling:
    return Scaling(
        places=places,
        mean_squares=row.means,
        standard_errors=row.standard_errors,
        linear_noise=linear,
        seeds=row.samples,
    )


def _in_batch(context: TrainingContext, effective: Callable[[float], float]) -> Evidence:
    samples, last = _batch_plan(context).samples, stretch(context)[-1]

    def run() -> list[tuple[float, float]]:
        start, found = lifted(context), []
        for j, batch in enumerate(BATCHES):
            seen = start.seeds(with_batch(context.one, batch), (last.t,), members=samples, number=(1, j))
            found.append(_mean(squares_of(seen[0] - last.mean[:, None])))
        return found

    squares = context.cached("deviation by batch size", run)
    places = [float(batch) for batch in BATCHES]
    row = _points("mean of ||theta - thetabar||^2 against B", list(map(effective, places)), squares, samples)
    scaling = _scaling(row, places, [float(np.trace(last.covariance) / batch) for batch in BATCHES])
    return Evidence(rows=(row,), facts=ByBatchFacts(**vars(stretch_facts(context)), scaling=scaling))


# -- the step size --------------------------------------------------------------------------------------------------

STEP_BATCH = 1024
COARSEST = 6  # steps of the coarsest path
HALVINGS = 5


def _by_step(context: TrainingContext) -> list[tuple[Regime, Moment]]:
    """Paths from the lifted start to one flow time with constant steps, each half of the one before: regime and end."""

    def find() -> list[tuple[Regime, Moment]]:
        first, found = 2 * step_size(context.one, 0), []
        for j in range(HALVINGS):
            steps = COARSEST * 2**j
            training = {"schedule": "constant", "eta": first / 2**j, "steps": steps, "batch": STEP_BATCH}
            regime = context.one.replace(training=training)
            moments = linear_noise(lifted(context).alone(regime))
            found.append((regime, _stable(moments, STEP_BATCH, lambda m, T=steps: m.t == T, steps)[-1]))
        return found

    return context.cached("linear noise by step size", find)


def _step_plan(context: TrainingContext) -> Plan:
    paths = _by_step(context)
    spread = max(spread_of(end.covariance) for _, end in paths)
    places = tuple(regime.training.eta for regime, _ in paths)
    return IN_STEP.design(places=places, spread=spread, rows=1, level=context.level, power=POWER)


def _in_step(context: TrainingContext, effective: Callable[[float], float]) -> Evidence:
    samples, paths = _step_plan(context).samples, _by_step(context)

    def run() -> list[tuple[float, float]]:
        start, found = lifted(context), []
        for j, (regime, end) in enumerate(paths):
            seen = start.seeds(regime, (end.t,), members=samples, number=(2, j))
            found.append(_mean(squares_of(seen[0] - end.mean[:, None])))
        return found

    squares = context.cached("deviation by step size", run)
    etas = [regime.training.eta for regime, _ in paths]
    row = _points("mean of ||theta - thetabar||^2 against eta", list(map(effective, etas)), squares, samples)
    facts = ByStepFacts(
        lift=LIFT,
        B=STEP_BATCH,
        steps=[end.t for _, end in paths],
        flow_time=etas[0] * COARSEST,
        seed=context.regime.ensemble.seed,
        scaling=_scaling(row, etas, [float(np.trace(end.covariance) / STEP_BATCH) for _, end in paths]),
    )
    return Evidence(rows=(row,), facts=facts)


SCALING = Claim(
    id="fluctuation/deviation_scales_as_the_root_of_step_over_batch",
    statement="While gates are stable, the root mean square distance of SGD from the recursion falls as the inverse square root of the batch "
    "size, from a lifted start until the first concept is learned, and at one flow time grows as the square root of a constant step size.",
    formula=r"\mathbb E \|\theta_t - \bar\theta_t\|^2 \propto B^{-1}, \qquad \propto \eta \quad \text{at fixed } \tau = \eta t",
    section="7",
    hypotheses=HYPOTHESES,
    uses=USES,
    rests_on=(STATISTICS,),
    parts=(
        Part(
            name="in the batch size",
            asserts=lambda: float,
            measure=_in_batch,
            facts=ByBatchFacts,
            rule=IN_BATCH,
            plan=_batch_plan,
            controls=(
                NegativeControl(
                    name="the fourth root",
                    statement="as the inverse fourth root of the batch size",
                    asserts=lambda: lambda batch: batch**0.5,
                ),
            ),
        ),
        Part(
            name="in the step size",
            asserts=lambda: float,
            measure=_in_step,
            facts=ByStepFacts,
            rule=IN_STEP,
            plan=_step_plan,
            controls=(
                NegativeControl(
                    name="the step size", statement="in proportion to the step size", asserts=lambda: lambda eta: eta**2
                ),
            ),
        ),
    ),
)


CLAIMS = (SCALING,)
