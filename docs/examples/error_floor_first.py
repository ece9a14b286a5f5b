"""A lemma as first stated: under iid signs the 0-1 error is never below 2^-L. It is false; see docs/own_claims.md."""

import numpy as np

from polyseme.checks.core.claim import Claim, Hypothesis, NegativeControl
from polyseme.checks.core.evidence import Compared, Evidence
from polyseme.checks.core.provenance import ROUND_OFF
from polyseme.checks.core.rules.exact import RoundOff
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.hypotheses import PURE
from polyseme.theory.multi_concept.dynamics.run import integrate
from polyseme.theory.multi_concept.regime import Regime

IID = Hypothesis(
    key="iid",
    name="prompts need no match: law = iid",
    holds=lambda regime: regime.prompt.law == "iid",
    got=lambda regime: f"law = {regime.prompt.law}",
    suggests={"prompt": {"law": ("iid",)}},
)


def first_floor(regime: Regime) -> float:
    """Nobody can be right when no demonstration matches, which happens with probability 2^-L."""
    return 2.0**-regime.prompt.L


def measure(context: TrainingContext, floor) -> Evidence:
    """The lowest 0-1 error of level B along population descent, against the asserted floor."""
    regime = context.population_regime
    path = context.cached("level B", lambda: integrate(regime, context.initial))
    below = max(0.0, floor(regime) - float(np.min(path["error"])))
    terms = 2 * regime.concepts.K1 * (regime.prompt.L + 1)
    return Evidence(rows=(Compared(name="below the floor", difference=below, scale=1.0, roundings=4.0 * terms),))


FIRST = Claim.single(
    id="mine/error_is_never_below_half_to_the_l",
    statement="Along population descent of level B the 0-1 error is never below 2^-L.",
    formula=r"\Pr(e f \le 0) \ge 2^{-L}",
    section="1",
    hypotheses=(PURE, IID),
    asserts=lambda: first_floor,
    measure=measure,
    rule=RoundOff(reason="4 unit round-offs for each of the 2 K1 (L + 1) prompts whose probabilities are summed"),
    controls=(
        NegativeControl(name="never right", statement="the error is always 1", asserts=lambda: lambda _regime: 1.0),
    ),
    rests_on=(ROUND_OFF,),
)

CLAIMS = (FIRST,)
