"""Claims of the family fluctuation: how far the gradient of a minibatch is from the drift (THEORY.md sections 5 and 7)."""

from collections.abc import Callable, Mapping

import numpy as np

from polyseme.checks.core.claim import Claim, Hypothesis, NegativeControl, Plan
from polyseme.checks.core.evidence import Counted, Evidence, Points
from polyseme.checks.core.provenance import STATISTICS
from polyseme.checks.core.rules.bound import UpperBound
from polyseme.checks.core.rules.rate import Rate
from polyseme.checks.multi_concept.claims.gradient.gradient import drift
from polyseme.checks.multi_concept.claims.gradient.sampling import gradient_state
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.hypotheses import DISTINCT, MLP_STARTS, PURE, SEVERAL_DEMONSTRATIONS, TAME_LOSS
from polyseme.theory.multi_concept.coefficients import constants, from_layout, project, to_layout
from polyseme.theory.multi_concept.dynamics.integrate import evaluate
from polyseme.theory.multi_concept.numerics.lower import system_of

COEFFICIENTS = ("W_Q_blocks", "W_K_blocks", "alpha", "beta")
# Streams of the probe that no other claim draws from.
PILOT_STREAM, FIRST_STREAM, TAIL_STREAM = 10, 11, 20


def _deviations(context: TrainingContext, *, batches: int, batch: int, stream: int) -> np.ndarray:
    """||zeta||, the distance of each minibatch gradient from the drift over all coefficients of level B; shape (batches,)."""
    state = gradient_state(context)
    mean = drift(context, state, system_of(context.one))
    drawn = context.minibatch_gradients(state, batches=batches, batch=batch, stream=stream)
    return np.sqrt(_squares(drawn, mean))


def _squares(each: Mapping[str, np.ndarray], mean: Mapping[str, np.ndarray]) -> np.ndarray:
    """Squared distances of gradients from one, over all coefficients."""
    parts = (((each[name] - mean[name]) ** 2).reshape(len(each[name]), -1).sum(axis=1) for name in COEFFICIENTS)
    return sum(parts, start=np.zeros(len(each["alpha"])))


# -- the rate ----------------------------------------------------------------------------------------------

BATCHES = (1, 4, 16, 64)
PILOT = 256
ROOT = Rate(
    declared=-1.0,
    margin=0.1,
    reason="a tenth of the exponent of the mean square: noise that batches share, or prompts drawn without replacement, bend "
    "the curve by more over a range of 64",
)


def _rate_plan(context: TrainingContext) -> Plan:
    """Batches of each size, from the relative spread of ||zeta||^2: for single prompts that of a pilot, and for many at most
    sqrt(2), that of the square of one normal number.
    """

    def plan() -> Plan:
        squares = _deviations(context, batches=PILOT, batch=1, stream=PILOT_STREAM) ** 2
        # The logarithm of a mean needs its standard error below a tenth of it (`Rate`); a twentieth leaves room.
        spread = max(float(squares.std(ddof=1) / squares.mean()), float(np.sqrt(2)))
        plan = ROOT.design(places=tuple(map(float, BATCHES)), spread=spread, rows=1, level=context.level, most=2**16)
        return Plan(samples=max(plan.samples, int((20 * spread) ** 2) + 1), detects=plan.detects, power=plan.power)

    return context.cached("plan of the noise's rate", plan)


def _root(context: TrainingContext, effective: Callable[[int], float]) -> Evidence:
    samples = _rate_plan(context).samples

    def squares() -> list[tuple[float, float]]:
        drawn = [
            _deviations(context, batches=samples, batch=batch, stream=FIRST_STREAM + j) ** 2
            for j, batch in enumerate(BATCHES)
        ]
        return [(float(x.mean()), float(x.std(ddof=1) / np.sqrt(samples))) for x in drawn]

    means, errors = zip(*context.cached("mean squares of the noise", squares), strict=True)
    row = Points(
        name="mean of ||zeta||^2",
        places=tuple(effective(batch) for batch in BATCHES),
        means=means,
        standard_errors=errors,
        samples=samples,
    )
    return Evidence(rows=(row,), facts={"batch sizes": list(BATCHES), "seed": context.regime.ensemble.seed})


NOISE_RATE = Claim.single(
    id="fluctuation/gradient_noise_falls_as_root_batch",
    statement="At a random state the distance of a minibatch gradient of the full model from the drift of level B falls as the "
    "inverse square root of the batch size.",
    formula=r"\mathbb E \|\zeta\|^2 \propto B^{-1}",
    section="5",
    hypotheses=(PURE, DISTINCT, SEVERAL_DEMONSTRATIONS, MLP_STARTS, TAME_LOSS),
    asserts=lambda: float,
    measure=_root,
    rule=ROOT,
    plan=_rate_plan,
    controls=(
        NegativeControl(
            name="the fourth root",
            statement="as the fourth root of the batch size",
            asserts=lambda: lambda batch: float(batch) ** 0.5,
        ),
    ),
    uses=("gradient/level_b_drift_matches_minibatches",),
    rests_on=(STATISTICS,),
)

# -- the tail ----------------------------------------------------------------------------------------------

TAIL_BATCH = 64
TAILS = (0.5, 0.1, 0.02)

LISTED = Hypothesis(
    key="listed",
    name="few enough prompts to look at each: K1 (L + 1) <= 500",
    holds=lambda regime: regime.concepts.K1 * (regime.prompt.L + 1) <= 500,
    got=lambda regime: f"K1 (L + 1) = {regime.concepts.K1 * (regime.prompt.L + 1)}",
)
PINELIS = UpperBound(
    reason="Pinelis' inequality for sums of independent, bounded vectors, with the largest possible prompt"
)


def _tail_plan(context: TrainingContext) -> Plan:
    """Batches that show even the rarest tail to be rarer than stated, if it is ten times rarer."""
    return PINELIS.design(bound=min(TAILS), truth=min(TAILS) / 10, rows=len(TAILS), level=context.level)


def _largest_deviation(context: TrainingContext) -> float:
    """b = max over prompts of ||g - drift||, by listing the prompts (k, e, n+)."""
    state = gradient_state(context)
    compiled, numbers = system_of(context.one), constants(context.one, state["r"])
    layout, p = to_layout(project(state, context.one.concepts.K1)), np.asarray(numbers["p"])
    cells = np.argwhere(p[0, ..., 0] > 0)
    single = np.zeros((len(cells), *p.shape[1:]))
    single[(np.arange(len(cells)), *cells.T)] = 1.0
    members = {name: np.broadcast_to(x, (len(cells), *x.shape[1:])) for name, x in layout.items()}
    each = from_layout(evaluate(compiled.gradient, members, numbers | {"p": single}))
    mean = drift(context, state, compiled)
    return float(np.sqrt(_squares(each, mean).max()))


def _tail(context: TrainingContext, effective: Callable[[int], float]) -> Evidence:
    samples = _tail_plan(context).samples
    deviations = context.cached(
        "tail of the noise",
        lambda: _deviations(context, batches=samples, batch=TAIL_BATCH, stream=TAIL_STREAM),
    )
    largest = context.cached("largest deviation", lambda: _largest_deviation(context))
    rows = tuple(
        Counted(
            name=f"a tail of {tail:g}",
            # Where the stated bound 2 exp(-B x^2 / (2 b^2)) is the tail.
            hits=int((deviations >= largest * np.sqrt(2 * np.log(2 / tail) / effective(TAIL_BATCH))).sum()),
            trials=samples,
            bound=tail,
        )
        for tail in TAILS
    )
    facts = {
        "b": largest,
        "root mean square of one prompt": float(np.sqrt((deviations**2).mean() * TAIL_BATCH)),
        "B": TAIL_BATCH,
    }
    return Evidence(rows=rows, facts=facts | {"seed": context.regime.ensemble.seed})


TAIL = Claim.single(
    id="fluctuation/minibatch_noise_has_the_tail_of_bounded_vectors",
    statement="At a random state the distance of a minibatch gradient from the drift exceeds x with probability at most "
    "2 exp(-B x^2 / (2 b^2)), where b is the largest distance that a single prompt can have.",
    formula=r"\Pr(\|\zeta\| \ge x) \le 2 \exp\!\bigl(-B x^2 / (2 b^2)\bigr)",
    section="5",
    hypotheses=(PURE, DISTINCT, SEVERAL_DEMONSTRATIONS, MLP_STARTS, TAME_LOSS, LISTED),
    asserts=lambda: float,
    measure=_tail,
    rule=PINELIS,
    plan=_tail_plan,
    controls=(
        NegativeControl(
            name="averaged too well",
            statement="the same with B^2 for B, as if noise fell as the inverse of the batch size",
            asserts=lambda: lambda batch: float(batch) ** 2,
        ),
    ),
    uses=("gradient/level_b_drift_matches_minibatches", "gradient/level_b_drift_matches_population_autograd"),
    rests_on=(STATISTICS,),
)

CLAIMS = (NOISE_RATE, TAIL)
