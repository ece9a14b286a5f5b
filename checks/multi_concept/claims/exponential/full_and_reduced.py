"""Claims that the full model and the reduced recursion have one error curve: path by path, and as independent ensembles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from polyseme.checks.core.claim import Claim, NegativeControl, Plan
from polyseme.checks.core.evidence import Compared, Estimated, Evidence, Facts
from polyseme.checks.core.provenance import ROUND_OFF, STATISTICS
from polyseme.checks.core.rules.common import POWER
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.core.rules.exact import RoundOff
from polyseme.checks.multi_concept.claims.exponential.error_curve import (
    CURVE,
    CurveFacts,
    design,
    end_of_curve,
    every,
    facts_of,
    learnable,
    main_curve,
    pilot,
    regime_of,
    window,
)
from polyseme.checks.multi_concept.context import Arrays, TrainingContext
from polyseme.checks.multi_concept.stochastic.ensembles import Curve
from polyseme.theory.multi_concept.coefficients import project
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble

# -- path by path -----------------------------------------------------------------------------------------------

PATHS = 64


def _shared(context: TrainingContext) -> Arrays:
    """SGD of the full model from the learnable start, with the prompts it was fed."""

    def run() -> Arrays:
        regime, (_, start) = regime_of(context), learnable(context)
        of = regime.replace(training={"record_every": every(regime)}, ensemble={"seeds": PATHS})
        return context.train_counted(of, start)

    return context.cached("full paths", run)


def _paths(context: TrainingContext, fed: Callable[[np.ndarray], np.ndarray]) -> Evidence:
    regime, (_, start) = regime_of(context), learnable(context)
    full = _shared(context)
    members = Ensemble(regime, start["r"], project(start, regime.concepts.K1), members=PATHS)
    steps, errors, counts = full["step"], [], fed(full["counts"])
    for t in range(regime.training.steps + 1):
        if t == steps[len(errors)]:
            errors.append(members.error())
        if t < regime.training.steps:
            members.advance(counts[:, t])
    difference = np.abs(np.array(errors).T - full["error"])
    cells = 2 * regime.concepts.K1 * (regime.prompt.L + 1)
    # The error is a sum of probabilities of prompts, in another order on each side: equal to round-off, or off by a whole prompt.
    row = Compared(
        name="0-1 error of every seed at every record",
        difference=float(difference.max()),
        scale=1.0,
        roundings=float(cells),
    )
    facts = {"seeds": PATHS, "records": len(steps), "mean error at the end": float(full["error"][:, -1].mean())}
    return Evidence(rows=(row,), facts=facts)


PATHWISE = Claim.single(
    id="exponential/full_and_reduced_errors_are_equal_path_by_path",
    statement="Fed the same prompts, the full model and the reduced recursion misclassify the same pure prompts at every record of every seed.",
    formula=r"\Pr(e f \le 0 \mid \text{minibatches})_{\mathrm{full}} = \Pr(e f \le 0 \mid \text{minibatches})_{B}",
    section="5",
    hypotheses=CURVE,
    asserts=lambda: lambda counts: counts,
    measure=_paths,
    rule=RoundOff(reason="the probabilities of the misclassified prompts, added in another order"),
    controls=(
        NegativeControl(
            name="a step late",
            statement="each step is driven by the minibatch of the step before",
            asserts=lambda: lambda counts: np.roll(counts, 1, axis=1),
        ),
    ),
    uses=("closure/stochastic_recursion_equals_sgd",),
    rests_on=(ROUND_OFF,),
)

# -- as independent ensembles -------------------------------------------------------------------------------------

PLACES = 9
ROOM = 1.2
"""Times the smallest margin that the two sizes can decide, for what the pilot does not know of their spread."""


def _full(context: TrainingContext) -> np.ndarray:
    """The exact error of each member of an independent full-model ensemble at each record."""

    def run() -> np.ndarray:
        regime, (_, start) = regime_of(context), learnable(context)
        of = regime.replace(
            training={"record_every": every(regime), "steps": end_of_curve(context)},
            ensemble={"seeds": design(context).full_members, "engine": "auto", "seed": regime.ensemble.seed + 1},
        )
        return context.train(of, start)["error"]

    return context.cached("full ensemble", run)


def _places(context: TrainingContext) -> np.ndarray:
    """Records from where learning begins to the end of the window."""
    error, edges = pilot(context).errors.mean(axis=1), window(context)
    first = int(np.flatnonzero(error <= 0.9 * error[0])[0])
    return np.unique(np.round(np.linspace(first, edges[-1], PLACES)).astype(int))


def _margins(context: TrainingContext) -> np.ndarray:
    """The smallest differences that ensembles of these sizes can decide, from the pilot's spread, at each place."""
    of, places = design(context), _places(context)
    spread = pilot(context).errors[places].std(axis=1, ddof=1)
    quantiles = norm.isf(context.level) + norm.isf((1 - POWER) / (2 * len(places)))
    return ROOM * quantiles * spread * np.sqrt(1 / of.full_members + 1 / of.seeds)


Reduced = Callable[[TrainingContext], tuple[np.ndarray, np.ndarray]]


def _of_ensemble(context: TrainingContext) -> tuple[np.ndarray, np.ndarray]:
    """Mean error at each record and its standard error."""
    of: Curve = main_curve(context)
    return of.errors.mean(axis=1), of.errors.std(axis=1, ddof=1) / np.sqrt(of.seeds)


def _of_descent(context: TrainingContext) -> tuple[np.ndarray, np.ndarray]:
    """The error of the deterministic recursion."""
    regime, (_, start) = regime_of(context), learnable(context)
    one = Ensemble(regime, start["r"], project(start, regime.concepts.K1), members=1)
    errors = []
    for t in range(regime.training.steps + 1):
        if t % every(regime) == 0:
            errors.append(float(one.error()[0]))
        one.descend()
    return np.array(errors), np.zeros(len(errors))


@dataclass(frozen=True, kw_only=True)
class FullCurve(Facts):
    """Mean 0-1 error of the full model at recorded steps."""

    step: Sequence[int]
    error: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class FullFacts(CurveFacts):
    """The curve of so many full models, and at each place of the claim the margin as a share of the error."""

    full_members: int
    margin_over_error: Sequence[float]
    full_model: FullCurve


def _curves(context: TrainingContext, reduced: Reduced) -> Evidence:
    mean, error = reduced(context)
    full, places = _full(context), _places(context)
    steps, margins = main_curve(context).steps, _margins(context)
    rows = tuple(
        Estimated(
            name=f"error at step {int(steps[j])}, full less reduced",
            estimate=float(full[:, j].mean() - mean[j]),
            standard_error=float(np.hypot(full[:, j].std(ddof=1) / np.sqrt(len(full)), error[j])),
            samples=len(full),
            scale=float(margin),
        )
        for j, margin in zip(places, margins, strict=True)
    )
    facts = FullFacts(
        **vars(facts_of(context)),
        full_members=len(full),
        margin_over_error=[float(x) for x in margins / full[:, places].mean(axis=0)],
        full_model=FullCurve(step=[int(t) for t in steps], error=[float(x) for x in full.mean(axis=0)[: len(steps)]]),
    )
    return Evidence(rows=rows, facts=facts)


SAME = Equivalence(
    margin=1.0,
    reason="the smallest difference that ensembles of these sizes can decide, by the spread of the pilot, at all places at once",
)
EQUAL = Claim.single(
    id="exponential/full_and_reduced_ensembles_have_the_same_error_curve",
    statement="An ensemble of full models and an independent one of the reduced recursion have the same mean error, simultaneously from the "
    "start of learning to the end of the window, within what their sizes can decide.",
    formula=r"\Pr(e f \le 0)_{\mathrm{full}}(t) = \Pr(e f \le 0)_{B}(t)",
    section="5",
    hypotheses=CURVE,
    asserts=lambda: _of_ensemble,
    measure=_curves,
    facts=FullFacts,
    rule=SAME,
    plan=lambda context: _planned(context),
    controls=(
        NegativeControl(
            name="without minibatch noise",
            statement="that of the deterministic recursion",
            asserts=lambda: _of_descent,
        ),
    ),
    uses=("exponential/full_and_reduced_errors_are_equal_path_by_path",),
    rests_on=(STATISTICS,),
)


def _planned(context: TrainingContext) -> Plan:
    of, places = design(context), _places(context)
    spread = pilot(context).errors[places].std(axis=1, ddof=1) * np.sqrt(1 + of.full_members / of.seeds)
    relative = float((spread / _margins(context)).max())
    size = of.full_members
    return SAME.design(spread=relative, rows=len(places), level=context.level, fewest=size, most=size)


CLAIMS = (PATHWISE, EQUAL)
