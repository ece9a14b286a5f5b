"""Claims about the simulation's own shortcuts: the fast step, and the sampler with reduced noise (THEORY.md section 1)."""

from collections.abc import Callable

import numpy as np

from polyseme.checks.core.claim import Claim, NegativeControl, Plan
from polyseme.checks.core.evidence import Compared, Estimated, Evidence
from polyseme.checks.core.provenance import ROUND_OFF, STATISTICS
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.core.rules.exact import RoundOff
from polyseme.checks.multi_concept.context import Arrays, Sampling, TrainingContext
from polyseme.checks.multi_concept.sampling.regimes import with_noise
from polyseme.theory.multi_concept.regime import Regime

REGIMES, MEMBERS, SEED = 12, 3, 40
LOSSES, ACTIVATIONS = ("logistic", "squared", "exponential"), ("relu", "leaky_relu", "identity")


def _both_engines(context: TrainingContext, stated: Callable[[Arrays], Arrays]) -> Evidence:
    rng, rows, grid = np.random.default_rng(SEED), [], []
    for number in range(REGIMES):
        functions = {"loss": LOSSES[number % 3], "activation": ACTIVATIONS[number // 3 % 3]}
        regime = with_noise(rng).replace(
            training={"batch": int(rng.integers(2, 17)), "loss": functions["loss"]},
            model={"activation": functions["activation"]},
            ensemble={"seeds": MEMBERS},
        )
        state = context.draw(regime)
        # Weights of size 1 / sqrt(d), so that a logit and an output are of order one whatever the sizes.
        state |= {
            name: rng.normal(size=state[name].shape) / np.sqrt(state[name].shape[-1]) for name in ("W_Q", "W_K", "W_O")
        }
        fast, plain = context.gradients_of_both_engines(regime, state)
        fast = stated(fast)
        concepts, L, m, batch = regime.concepts, regime.prompt.L, regime.model.m, int(regime.training.batch)
        size = f"d_x={concepts.d_x} d_y={concepts.d_y} L={L} m={m} batch={batch} {regime.prompt.law} " + " ".join(
            functions.values()
        )
        grid.append(size)
        # Two products with W_Q and W_K make a logit, of order sqrt(d_x) at most; the rest are sums of these lengths.
        roundings = 8.0 * (concepts.d_x * np.sqrt(concepts.d_x) + concepts.d_y + L + m + batch)
        rows += [
            Compared(
                name=f"d/d {name} at {size}",
                difference=float(np.abs(fast[name] - plain[name]).max()),
                scale=float(np.abs(plain[name]).max()) or 1.0,
                roundings=float(roundings),
            )
            for name in plain
        ]
    return Evidence(rows=tuple(rows), facts={"regimes": grid})


FAST_STEP = Claim.single(
    id="gradient/fast_step_equals_autograd",
    statement="On the same noisy prompts, with other concepts and irrelevant features, the fast step of the simulation has the gradient "
    "that autograd finds for the model written out, for every loss and activation, at random sizes and weights.",
    formula=r"\nabla_{W_Q} = \sum W_K z\, x_{\mathrm{query}}^\top,\quad \nabla_{W_K} = \sum W_Q x_{\mathrm{query}}\, z^\top,"
    r"\quad z = \sum_l s'_l x_l",
    section="1",
    scope="any regime",
    asserts=lambda: lambda gradient: gradient,
    measure=_both_engines,
    rule=RoundOff(reason="8 (d_x^1.5 + d_y + L + m + batch) unit round-offs: the lengths of the nested sums"),
    controls=(
        NegativeControl(
            name="keys and queries exchanged",
            statement="the gradients in W_Q and W_K exchanged",
            asserts=lambda: lambda gradient: gradient | {"W_Q": gradient["W_K"], "W_K": gradient["W_Q"]},
        ),
    ),
    rests_on=(ROUND_OFF,),
)

SHORT_RUNS = Regime().replace(
    # Noise larger than what it is added to, few dimensions and a large step: what a wrong sampler does, shows.
    concepts={"K1": 2, "K2": 1, "d_x": 5, "d_y": 5},
    prompt={"L": 4, "sigma_x": 0.5, "sigma_y": 2.0, "p_extra": 0.2, "p_plus": 0.4},
    model={"m": 8},
    training={"steps": 10, "batch": 3, "schedule": "constant", "eta": 0.3, "lam": 1e-2},
    ensemble={"seed": 5},
)
PARAMETERS = 16
LAW_RULE = Equivalence(
    margin=0.1,
    reason="a tenth of a standard deviation of each order parameter, in its mean and in its mean absolute deviation: a dropped "
    "projection moves one by a quarter (labels) or more (words)",
)


def _law_plan(context: TrainingContext) -> Plan:
    """Members of each ensemble: a difference of two means of standardised numbers has the spread sqrt(2)."""
    return LAW_RULE.design(spread=1.1 * float(np.sqrt(2)), rows=2 * PARAMETERS, level=context.level)


def _two_samplers(context: TrainingContext, sampling: Sampling) -> Evidence:
    members = _law_plan(context).samples
    regime = SHORT_RUNS.replace(ensemble={"seeds": members})
    rng, state = np.random.default_rng(SEED), context.draw(SHORT_RUNS)
    # Attention that is neither even nor all on one demonstration: it would see nothing of a score's projection.
    sizes = {"W_Q": 0.6, "W_K": 0.6, "W_O": 1.0}
    state |= {name: size * rng.normal(size=state[name].shape) for name, size in sizes.items()}
    literal = context.cached(
        "order parameters of the literal sampler", lambda: context.order_parameters(regime, state, "literal")
    )
    other, rows = context.order_parameters(regime, state, sampling), []
    for name, one in literal.items():
        # Both ensembles in the units of one of them.
        center, size = float(np.median(one)), float(one.std(ddof=1))
        for what, values in (
            ("mean", [(x - center) / size for x in (one, other[name])]),
            ("mean deviation", [np.abs(x - center) / size for x in (one, other[name])]),
        ):
            error = np.sqrt(sum(x.var(ddof=1) for x in values) / members)
            difference = float(values[1].mean() - values[0].mean())
            rows.append(
                Estimated(
                    name=f"{what}, {name}", estimate=difference, standard_error=float(error), samples=members, scale=1.0
                )
            )
    return Evidence(rows=tuple(rows), facts={"members of each": members, "seed": SHORT_RUNS.ensemble.seed})


SAMPLERS_AGREE = Claim.single(
    id="gradient/reduced_noise_has_the_law_of_literal_noise",
    statement="Short runs with the reduced sampler and runs with the literal one, from one start in a regime with much noise, agree in the "
    "mean and the mean absolute deviation of sixteen order parameters: of the first gradient, and of weights, loss and attention "
    "at the end.",
    formula=r"\xi_l \cdot u \sim \mathcal N(0, |u|^2),\quad P_u^\perp \sum_l s'_l \xi_l \sim |s'| P_u^\perp \mathcal N(0, I)",
    section="1",
    scope="any regime",
    asserts=lambda: "reduced",
    measure=_two_samplers,
    rule=LAW_RULE,
    plan=_law_plan,
    controls=(
        NegativeControl(
            name="a projection left out",
            statement="the noise of the scores is not projected across p",
            asserts=lambda: "labels not projected",
        ),
    ),
    uses=("gradient/fast_step_equals_autograd",),
    rests_on=(STATISTICS,),
)

CLAIMS = (FAST_STEP, SAMPLERS_AGREE)
