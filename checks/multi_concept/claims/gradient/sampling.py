"""Claims of the family gradient that are decided by sampling (THEORY.md sections 1, 4 and 7)."""

from collections.abc import Callable

import numpy as np
from scipy.stats import chi2

from polyseme.checks.core.claim import Claim, NegativeControl, Plan
from polyseme.checks.core.evidence import Estimated, Evidence
from polyseme.checks.core.provenance import STATISTICS
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.multi_concept import controls
from polyseme.checks.multi_concept.claims.gradient.gradient import drift
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.controls import Theory
from polyseme.checks.multi_concept.hypotheses import (
    DISTINCT,
    FEW_DEMONSTRATIONS,
    MLP_STARTS,
    PURE,
    SEVERAL_DEMONSTRATIONS,
    TAME_LOSS,
)
from polyseme.theory.multi_concept.numerics.lower import system_of
from polyseme.theory.multi_concept.prompts.law import prompt_probabilities
from polyseme.theory.multi_concept.regime import Regime

# Prompts in a batch, whose mean gradient is close to normal; batches of the pilot, which sets the size of the run by its
# spread and is then thrown away; and limits of that size. The run's own data never decide when it ends.
MC_PROMPTS, MC_PILOT, MC_FEWEST, MC_MOST = 128, 256, 512, 65536
MC_RULE = Equivalence(
    margin=0.1,
    reason="a tenth of the array's largest coefficient: a wrong prompt law or a dropped factor moves some coefficient by "
    "more, and the round-off comparisons guard what is finer",
)


def gradient_state(context: TrainingContext) -> dict[str, np.ndarray]:
    """The random state at which minibatch gradients are taken."""
    # A slope of the loss that is not bounded by 1 spreads gradients too far for batches to resolve, unless f is small.
    small = context.one.training.loss != "logistic"
    return context.block_state(0, neurons=0.3 if small else 1.0)


def _minibatch_plan(context: TrainingContext) -> Plan:
    """As many batches as the spread of a pilot asks for; its upper end, which a pilot exceeds once in a thousand."""

    def plan() -> Plan:
        pilot = context.minibatch_gradients(gradient_state(context), batches=MC_PILOT, batch=MC_PROMPTS, stream=1)
        spread = max(float((draws.std(0, ddof=1) / np.abs(draws.mean(0)).max()).max()) for draws in pilot.values())
        return MC_RULE.design(
            spread=spread * float(np.sqrt((MC_PILOT - 1) / chi2.ppf(1e-3, MC_PILOT - 1))),
            rows=sum(draws[0].size for draws in pilot.values()),
            level=context.level,
            fewest=MC_FEWEST,
            most=MC_MOST,
        )

    return context.cached("plan of the minibatches", plan)


def _monte_carlo(context: TrainingContext, theory: Theory) -> Evidence:
    state, compiled = gradient_state(context), theory(context.one)
    batches = _minibatch_plan(context).samples
    sample = context.cached(
        "minibatches", lambda: context.minibatch_gradients(state, batches=batches, batch=MC_PROMPTS, stream=0)
    )
    reduced, rows = drift(context, state, compiled), []
    for name, draws in sample.items():
        mean, error = draws.mean(0), draws.std(0, ddof=1) / np.sqrt(batches)
        scale = float(np.abs(mean).max()) or 1.0
        rows += [
            Estimated(
                name=f"{name}{list(map(int, where))}",
                estimate=float(mean[where] - reduced[name][where]),
                standard_error=float(error[where]),
                samples=batches,
                scale=scale,
            )
            for where in np.ndindex(mean.shape)
        ]
    facts = {
        "batches": batches,
        "prompts in each": MC_PROMPTS,
        "pilot": MC_PILOT,
        "seed": context.regime.ensemble.seed,
    }
    return Evidence(rows=tuple(rows), facts=facts)


LAW_RULE = Equivalence(
    margin=0.01,
    reason="one in a hundred of all prompts: the other law moves a missing match by 2^-L, three in a hundred at L = 5",
)


def _law_plan(context: TrainingContext) -> Plan:
    """Prompts that resolve a frequency of one half, the hardest."""
    return LAW_RULE.design(spread=0.5, rows=len(_events(context.one)), level=context.level)


def _events(regime: Regime) -> dict[str, np.ndarray]:
    """What is counted, as masks over (k, e, n+): a missing match, each concept, each sign with each count."""
    K1, L = regime.concepts.K1, regime.prompt.L
    shape = (K1, 2, L + 1)
    concept, sign, count = np.indices(shape)
    events = {"no demonstration matches": count == np.where(sign == 0, 0, L)}
    events |= {f"concept {k + 1}": concept == k for k in range(K1)}
    return events | {f"e = {'+-'[j]}1, n+ = {n}": (sign == j) & (count == n) for j in range(2) for n in range(L + 1)}


def _frequencies(context: TrainingContext, law: Callable[[Regime], np.ndarray]) -> Evidence:
    prompts = _law_plan(context).samples
    counts = context.cached("prompt counts", lambda: context.prompt_counts(prompts))
    probability, rows = law(context.one), []
    for name, event in _events(context.one).items():
        p, share = float(probability[event].sum()), float(counts[event].sum()) / prompts
        if p == 0:  # an impossible prompt is not a rare one: a single one is as wrong as can be
            share = float(share > 0)
        # The standard error under the asserted law, with a floor for events too rare to have happened.
        error = float(np.sqrt(max(p * (1 - p), 1 / prompts) / prompts)) if p > 0 else 0.0
        rows.append(Estimated(name=name, estimate=share - p, standard_error=error, samples=prompts, scale=1.0))
    return Evidence(rows=tuple(rows), facts={"prompts": prompts, "seed": context.regime.ensemble.seed})


def _other_law(regime: Regime) -> np.ndarray:
    other = "iid" if regime.prompt.law == "match" else "match"
    return prompt_probabilities(regime.replace(prompt={"law": other}))


PROMPT_LAW = Claim.single(
    id="gradient/drawn_prompts_follow_the_law",
    statement="The prompts that the simulation draws fall on (k, e, n+) with the probabilities of the theory, and never on an "
    "impossible one.",
    formula=r"\Pr(k, e, n_+) = \pi_k \Pr(e) \binom{L}{n_+} p_+^{n_+} (1 - p_+)^{L - n_+}\ \text{(iid), conditioned on a match (match)}",
    section="1",
    hypotheses=(FEW_DEMONSTRATIONS,),
    asserts=lambda: prompt_probabilities,
    measure=_frequencies,
    rule=LAW_RULE,
    plan=_law_plan,
    controls=(
        NegativeControl(
            name="the other law",
            statement="match for iid, or iid for match",
            asserts=lambda: _other_law,
        ),
    ),
    rests_on=(STATISTICS,),
)


MONTE_CARLO = Claim.single(
    id="gradient/level_b_drift_matches_minibatches",
    statement="At a random state the mean of minibatch gradients of the full model, on prompts drawn from the law, is the "
    "level-B drift.",
    formula=r"\mathbb E\, \hat s^\top (\nabla_W \hat R_{\mathrm{batch}})\, \hat t = \partial_{W^{st}} R_B",
    section="4",
    hypotheses=(PURE, DISTINCT, SEVERAL_DEMONSTRATIONS, MLP_STARTS, TAME_LOSS),
    asserts=lambda: system_of,
    measure=_monte_carlo,
    rule=MC_RULE,
    plan=_minibatch_plan,
    controls=(
        NegativeControl(
            name="query sign dropped",
            statement="the slope of the loss without its e: l'(e f) in place of e l'(e f)",
            asserts=controls.compiled(controls.drop_query_sign),
        ),
    ),
    uses=("gradient/level_b_drift_matches_population_autograd", "gradient/drawn_prompts_follow_the_law"),
    rests_on=(STATISTICS,),
)

CLAIMS = (PROMPT_LAW, MONTE_CARLO)
