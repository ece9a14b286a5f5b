"""Claims about extinction: gates of one sign all shut for ever, the floor of the error curve (THEORY.md section 6.7)."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from polyseme.checks.core.claim import Claim, NegativeControl, OutsideHypotheses
from polyseme.checks.core.evidence import Bounded, Evidence
from polyseme.checks.core.provenance import ROUND_OFF, STATISTICS
from polyseme.checks.core.rules.bound import UpperBound, proportion_interval
from polyseme.checks.multi_concept.claims.exponential.error_curve import CURVE, regime_of
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.stochastic.ensembles import Stream, draw_at, error_curve, generator, in_chunks
from polyseme.theory.multi_concept.coefficients import project
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.regime import Regime

# -- for ever ---------------------------------------------------------------------------------------------------

FEW_NEURONS, WATCHED, LOOK_EVERY = 8, 512, 10
NONE = UpperBound(
    reason="none: the statement is about every seed and every step, and half an exception is less than one",
    is_statistical=False,
)

Shut = Callable[[Ensemble], np.ndarray]


def _is_extinct(members: Ensemble) -> np.ndarray:
    return members.is_extinct()


def _shut_on_one_label(members: Ensemble) -> np.ndarray:
    """Whether all gates of one sign of r are shut on the label +, whatever they are on the other; (K1, 2, member)."""
    numbers, state = members.numbers, members.state
    on_plus = (numbers["n_c"] * state["alpha"] + numbers["n_d"] * state["beta"])[:, :, 0, 0]
    return np.stack([(on_plus[members.r * sign > 0] <= 0).all(axis=0) for sign in (1, -1)], axis=1)


def _for_ever(context: TrainingContext, shut: Shut) -> Evidence:
    # Few neurons, so that extinction is common; each seed has a start of its own.
    regime = regime_of(context).replace(model={"m": FEW_NEURONS}, ensemble={"seeds": WATCHED})
    start = context.draw(regime)
    members = Ensemble(regime, start["r"], project(start, regime.concepts.K1))
    rng = generator(regime, Stream.FLOOR)
    was = np.zeros((regime.concepts.K1, 2, WATCHED), dtype=bool)
    revived = right = 0
    for t in range(regime.training.steps):
        if t % LOOK_EVERY == 0:
            now = shut(members)
            revived += int((was & ~now).sum())
            # The prompts of the label that those neurons alone could vote for.
            wrong = (members.margins() <= 0) | (members.law[..., None] == 0)
            right += int((now & ~wrong.all(axis=2)).sum())
            was = now
        members.advance(draw_at(rng, members))
    if not was.any():
        raise OutsideHypotheses(
            f"needs extinction to happen; none was seen in {WATCHED} seeds of {FEW_NEURONS} neurons"
        )
    rows = (
        Bounded(name="extinct concepts that revive", value=float(revived), bound=0.5),
        Bounded(
            name="extinct concepts with a prompt of that label classified correctly", value=float(right), bound=0.5
        ),
    )
    return Evidence(rows=rows, facts={"m": FEW_NEURONS, "seeds": WATCHED, "extinct at the end": int(was.sum())})


FOR_EVER = Claim.single(
    id="exponential/extinction_is_for_ever",
    statement="Once every gate of a concept that belongs to one sign of r is shut on both labels, it stays shut, and every prompt of that "
    "concept whose label has that sign is misclassified from then on.",
    formula=r"\forall i: r_i e > 0 \Rightarrow n_c \alpha_{i,k} + n_d |\beta_{i,k}| \le 0 \ \text{ lasts, and }\ e f \le 0",
    section="6",
    hypotheses=CURVE,
    asserts=lambda: _is_extinct,
    measure=_for_ever,
    rule=NONE,
    controls=(
        NegativeControl(
            name="shut on one label",
            statement="the same once the gates are shut on the label +",
            asserts=lambda: _shut_on_one_label,
        ),
    ),
    uses=("closure/stochastic_recursion_equals_sgd",),
    rests_on=(ROUND_OFF,),
)

# -- the floor in width and batch ---------------------------------------------------------------------------------

# One concept, lam m fixed: the sizes of THEORY.md section 6.7, past the steps in which gates shut.
FLOOR = Regime().replace(
    concepts={"K1": 1, "K2": 0, "d_x": 4, "d_y": 4},
    prompt={"L": 3},
    training={"steps": 160, "gamma": 2000.0},
)
LAM_TIMES_M = 3.2e-3
WIDTHS, BATCHES = (8, 16, 32), (2, 8, 32)
JUDGED = (2, 8)
"""Batches at which the widest network still goes extinct often enough to be counted."""
STARTS = 2**13


def _extinct(context: TrainingContext, m: int, batch: int) -> Float[np.ndarray, " seed"]:
    """Whether each seed, from a start of its own, has an extinct concept at the end."""

    def run() -> np.ndarray:
        seeds = STARTS * (4 if m == WIDTHS[-1] and batch in JUDGED else 1)
        regime = FLOOR.replace(
            model={"m": m}, training={"lam": LAM_TIMES_M / m, "batch": batch}, ensemble={"seeds": seeds}
        )
        start = context.draw(regime)
        chunks = in_chunks(
            regime, start["r"], project(start, 1), members=seeds, every=160, stream=Stream.FLOOR, number=(m, batch)
        )
        return error_curve(chunks).extinct[-1].astype(np.float64)

    return context.cached(f"extinct {m} {batch}", run)


def _log_share(hits: np.ndarray) -> tuple[float, float]:
    """Logarithm of a share and its standard error."""
    share, trials = float(hits.mean()), len(hits)
    if share == 0:
        raise OutsideHypotheses("needs extinction to be counted, and none was seen")
    return float(np.log(share)), float(np.sqrt((1 - share) / (share * trials)))


def _slowing(shares: list[tuple[float, float]], places: list[float]) -> tuple[float, float]:
    """The first stretch's rate over the last one's, with its standard error; the stretches share their middle."""
    (a, sa), (b, sb), (c, sc) = shares
    first, last = (a - b) / (places[1] - places[0]), (b - c) / (places[2] - places[1])
    # By the delta method on log(first / last), whose derivatives in a, b and c are these.
    da, db, dc = 1 / (a - b), -1 / (a - b) - 1 / (b - c), 1 / (b - c)
    error = np.sqrt((da * sa) ** 2 + (db * sb) ** 2 + (dc * sc) ** 2)
    return first / last, float(first / last * error)


def _in_width(context: TrainingContext, place: Callable[[float], float]) -> Evidence:
    rows = []
    for batch in JUDGED:
        shares = [_log_share(_extinct(context, m, batch)) for m in WIDTHS]
        ratio, error = _slowing(shares, [place(m) for m in WIDTHS])
        rows.append(
            Bounded(
                name=f"B = {batch}: rate from m = 8 to 16 over that from 16 to 32",
                value=ratio,
                bound=2.0,
                standard_error=error,
                samples=STARTS,
            )
        )
    grid = {
        f"m = {m}, B = {batch}": [
            float(hits.mean()),
            *proportion_interval(int(hits.sum()), len(hits), context.level / (2 * len(WIDTHS) * len(BATCHES))),
        ]
        for m in WIDTHS
        for batch in BATCHES
        for hits in [_extinct(context, m, batch)]
    }
    return Evidence(rows=tuple(rows), facts={"share that goes extinct, with an exact interval": grid, "starts": STARTS})


SLOWER_THAN_POWERS = UpperBound(reason="two: a power of m has half the rate from 16 to 32 that it has from 8 to 16")
WIDTH_SPREAD = 9.0
"""Standard deviation of the ratio times the square root of the starts: 6.3 at B = 2 and 8.4 at B = 8 when measured."""


IN_WIDTH = Claim.single(
    id="exponential/floor_falls_faster_than_powers_of_the_width",
    statement="With starts drawn at random and lam m fixed, the probability of extinction falls faster than every power of the width, at "
    "batches of 2 and 8. Not exactly exponentially: neurons share their minibatches, which makes its logarithm convex in m.",
    formula=r"\Pr(\text{extinct}) \ll m^{-q}",
    section="6",
    scope="any regime",
    asserts=lambda: float,
    measure=_in_width,
    rule=SLOWER_THAN_POWERS,
    plan=lambda context: SLOWER_THAN_POWERS.design_means(
        bound=2.0, truth=1.3, spread=WIDTH_SPREAD, rows=len(JUDGED), level=context.level, samples=STARTS
    ),
    controls=(
        NegativeControl(
            name="in the cube of the width",
            statement="faster than every power of exp(m^3)",
            asserts=lambda: lambda m: m**3,
        ),
    ),
    rests_on=(STATISTICS,),
)

# From one start, which population descent learns.
SEEDS, CANDIDATES, CANDIDATE_SEEDS = 2**15, 40, 256
WANTED = 0.2
BATCH_SPREAD = 6.5
"""As WIDTH_SPREAD, with the square root of the seeds; 6.2 when measured."""
BATCH_WIDTH = 8


def _fragile(context: TrainingContext) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Of the starts that population descent learns, the one whose share of extinct seeds at B = 8 is nearest to a fifth."""

    def find() -> tuple[np.ndarray, dict[str, np.ndarray]]:
        regime = FLOOR.replace(
            model={"m": BATCH_WIDTH},
            training={"lam": LAM_TIMES_M / BATCH_WIDTH, "batch": 8, "steps": 600},
            ensemble={"seeds": CANDIDATES},
        )
        start = context.draw(regime)
        each = project(start, 1)
        descent = Ensemble(regime, start["r"], each)
        for _ in range(regime.training.steps):
            descent.descend()
        learned = np.flatnonzero(descent.error() == 0)
        many = {name: np.repeat(x[learned], CANDIDATE_SEEDS, axis=0) for name, x in each.items()}
        short = regime.replace(training={"steps": FLOOR.training.steps})
        chunks = in_chunks(
            short, start["r"], many, members=len(learned) * CANDIDATE_SEEDS, every=160, stream=Stream.PILOT
        )
        shares = error_curve(chunks).extinct[-1].reshape(len(learned), -1).mean(axis=1)
        best = learned[np.argmin(np.abs(shares - WANTED))]
        return start["r"], {name: x[best] for name, x in each.items()}

    return context.cached("fragile start", find)


def _in_batch(context: TrainingContext, place: Callable[[float], float]) -> Evidence:
    def run() -> dict[int, np.ndarray]:
        r, start = _fragile(context)
        found = {}
        for batch in BATCHES:
            regime = FLOOR.replace(
                model={"m": BATCH_WIDTH}, training={"lam": LAM_TIMES_M / BATCH_WIDTH, "batch": batch}
            )
            chunks = in_chunks(regime, r, start, members=SEEDS, every=160, stream=Stream.FLOOR, number=(0, batch))
            found[batch] = error_curve(chunks).extinct[-1].astype(np.float64)
        return found

    hits = context.cached("extinct in batch", run)
    ratio, error = _slowing([_log_share(hits[batch]) for batch in BATCHES], [place(batch) for batch in BATCHES])
    row = Bounded(
        name="rate from B = 2 to 8 over that from 8 to 32", value=ratio, bound=2.0, standard_error=error, samples=SEEDS
    )
    shares = {
        f"B = {batch}": [
            float(x.mean()),
            *proportion_interval(int(x.sum()), SEEDS, context.level / (2 * len(BATCHES))),
        ]
        for batch, x in hits.items()
    }
    return Evidence(
        rows=(row,), facts={"share that goes extinct, with an exact interval": shares, "seeds": SEEDS, "m": BATCH_WIDTH}
    )


HALF_THE_RATE = UpperBound(
    reason="two: a power of B would have lost three quarters of its rate, the root of B half of it"
)
IN_BATCH = Claim.single(
    id="exponential/floor_falls_faster_than_root_exponentials_of_the_batch_from_a_learnable_start",
    statement="From one start that population descent learns, the probability of extinction falls with the batch faster than every power of B "
    "and than exp(-c sqrt(B)): its rate from 8 to 32 is more than half of that from 2 to 8. With starts drawn at random it does "
    "not fall to zero: some are lost by population descent too.",
    formula=r"\Pr(\text{extinct}) \ll e^{-c \sqrt B}",
    section="6",
    scope="any regime",
    asserts=lambda: float,
    measure=_in_batch,
    rule=HALF_THE_RATE,
    plan=lambda context: HALF_THE_RATE.design_means(
        bound=2.0, truth=1.3, spread=BATCH_SPREAD, rows=1, level=context.level, samples=SEEDS
    ),
    controls=(
        NegativeControl(
            name="in the square of the batch",
            statement="as exp(-c B^2)",
            asserts=lambda: lambda batch: batch**2,
        ),
    ),
    rests_on=(STATISTICS,),
)

CLAIMS = (FOR_EVER, IN_WIDTH, IN_BATCH)
