"""Claims about prompts of other lengths: closed forms for every L, and the odds at which a match is outvoted (THEORY.md section 7)."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import sympy as sp
from jaxtyping import Float

from polyseme.checks.core.claim import Claim, NegativeControl, OutsideHypotheses
from polyseme.checks.core.evidence import Evidence, Exact
from polyseme.checks.core.provenance import ROUND_OFF
from polyseme.checks.core.rules.exact import ExactZero, RoundOff
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.hypotheses import (
    ATTENTION_STARTS,
    DISTINCT,
    GENTLE,
    MLP_STARTS,
    PURE,
    SEVERAL_DEMONSTRATIONS,
    TRAINS,
)
from polyseme.checks.multi_concept.out_of_distribution.models import (
    REASON,
    MemberFacts,
    Predict,
    Trained,
    compared,
    in_closed_form,
    output_scale,
    pure_law,
    trained,
)
from polyseme.checks.multi_concept.out_of_distribution.scenarios import Law, of_length
from polyseme.theory.multi_concept.outcome.out_of_distribution import Model, Predicted, outvoting_odds, turns_once

LENGTHS = (1, 2, 3, 4, 8, 16, 64, 256, 1024)
TRANSFER = (PURE, DISTINCT, ATTENTION_STARTS, MLP_STARTS, GENTLE, SEVERAL_DEMONSTRATIONS, TRAINS)


def _lengths(context: TrainingContext, asserted: Predict) -> Evidence:
    law = pure_law(context)
    rows, table = [], []
    for one in trained(context):
        for L in LENGTHS:
            scenario = of_length(L)
            found, line = compared(context, one, scenario.change(law), name=scenario.name, asserted=asserted)
            rows += found
            table.append(line)
    return Evidence(rows=tuple(rows), facts=MemberFacts(member=context.member, table=table))


def _without_counts(model: Model, law: Law) -> Predicted:
    """The mean sign as tanh(g), without the odds of the counts."""
    even = in_closed_form(model, replace(law, regime=law.regime.replace(prompt={"L": 2, "law": "iid"})))
    right = in_closed_form(model, law)
    L = law.regime.prompt.L
    return replace(
        right,
        f=np.repeat(even.f[..., 1:2], L + 1, axis=-1),
        attention=np.repeat(even.attention[..., 1:2], L + 1, axis=-1),
    )


ANY_LENGTH = Claim.single(
    id="ood/any_length_has_its_closed_form",
    statement="Trained with one number of demonstrations and tested with 1 to 1024, the full model has on every pure prompt the output, "
    "the attention and the 0-1 error that the reduced recursion says in closed form, half-way through learning and at its end.",
    formula=r"\bar e = \tanh\left(g_k + \tfrac12 \log\frac{n_+}{L^* - n_+}\right), \quad p^* = \frac{1 + e \bar e}{2}",
    section="7",
    hypotheses=TRANSFER,
    asserts=lambda: in_closed_form,
    measure=_lengths,
    facts=MemberFacts,
    rule=RoundOff(reason=REASON),
    controls=(
        NegativeControl(
            name="counts forgotten",
            statement="the mean sign is tanh(g), whatever the counts",
            asserts=lambda: _without_counts,
        ),
    ),
    uses=("closure/population_descent_equals_level_b", "algebra/mean_sign_is_tanh"),
    rests_on=(ROUND_OFF,),
)

# -- the odds of being outvoted -----------------------------------------------------------------------------------

MOST_ODDS = 2.0**12
"""Beyond this a single prompt is longer than anybody writes out."""
CLOSE = 1e-9
"""A prompt whose output is a smaller share of what it is summed from is not judged: round-off decides its sign."""

Odds = Callable[[Model, Law], Float[np.ndarray, "K1 2"]]


def _odds(model: Model, law: Law) -> Float[np.ndarray, "K1 2"]:
    return outvoting_odds(model, law.regime, law.M, law.Q)[0]


def _root_of_odds(model: Model, law: Law) -> Float[np.ndarray, "K1 2"]:
    return np.sqrt(_odds(model, law))


def _mismatches(odds: float) -> np.ndarray:
    """Numbers of demonstrations of the other sign beside one match: a few below the odds, and the two around them."""
    first = int(np.ceil(odds))
    grid = np.unique(np.geomspace(1, max(first, 1), 12).astype(int)) - 1
    return np.unique([*grid[grid < first], *(x for x in (first - 1, first) if x >= 0)])


def _outvoted(context: TrainingContext, asserted: Odds) -> Evidence:
    law, wrong, judged, table = pure_law(context), 0, 0, []
    _require_odds_that_tell(np.stack([_odds(one.model, law) for one in trained(context)]))
    for one in trained(context):
        odds, once = asserted(one.model, law), turns_once(one.model, law.regime, law.M, law.Q)[0]
        for (k, j), value in np.ndenumerate(odds):
            facts = {
                "step": one.step,
                "concept": int(k) + 1,
                "sign": 1 - 2 * int(j),
                "odds": float(value),
                "turns once": bool(once[k, j]),
            }
            numbers = _mismatches(min(float(value), MOST_ODDS))
            # Where the output finds its sign again beyond the odds, only what is below them is stated, and that it is lost there.
            numbers = numbers if once[k, j] else numbers[numbers < max(value, 1e-9)]
            margins = np.array([_margin(context, one, law, int(k), int(j), int(x)) for x in numbers])
            # Round-off decides the sign where terms cancel, as it does where no gate is open.
            decided = np.abs(margins) > CLOSE * output_scale(one.model, law)
            wrong += int(((margins > 0) != (numbers < value))[decided].sum())
            judged += int(decided.sum())
            table.append(facts | {"prompts": int(decided.sum())})
    if judged == 0:
        raise OutsideHypotheses("needs prompts whose answer is more than round-off, and there is none")
    row = Exact(name="prompts on the other side of the odds", residual=sp.Integer(wrong))
    return Evidence(rows=(row,), facts={"prompts": judged, "odds": table})


def _require_odds_that_tell(odds: Float[np.ndarray, "... K1 2"]) -> None:
    """OutsideHypotheses where whole numbers of demonstrations lie on the same side of all odds and of their roots."""
    first, of_root = (np.ceil(np.minimum(x, MOST_ODDS)) for x in (odds, np.sqrt(odds)))
    if (first == of_root).all():
        raise OutsideHypotheses(
            f"needs a model in which a match outvotes two others, or no number tells the odds from their root; here the odds are at most {odds.max():.3g}"
        )


def _margin(context: TrainingContext, one: Trained, law: Law, k: int, j: int, mismatches: int) -> float:
    """e f of the full model on a prompt of one match among so many others."""
    length, e = mismatches + 1, 1 - 2 * j
    seen = context.outcomes_at(
        law.regime.replace(prompt={"L": length}),
        one.weights,
        law.M,
        law.Q,
        concept=np.array([k]),
        e=np.array([e]),
        positive=np.array([1 if e > 0 else mismatches]),
    )
    return float(e * seen["f"][0, 0])


OUTVOTED = Claim.single(
    id="ood/a_match_is_outvoted_at_odds_that_do_not_depend_on_the_length",
    statement="One demonstration that shares the query's sign decides the answer until those of the other sign are more than a number "
    "that the coefficients give: two logit gaps, minus the place where the MLP changes its mind. Up to it every prompt with one match "
    "is answered; from it on none is, if the MLP changes its mind once.",
    formula=r"e f > 0 \iff \frac{L - n}{n} < R_{k,e} = \exp\left(2\,(e\, g_k - \operatorname{artanh} z_{k,e})\right)",
    section="7",
    hypotheses=TRANSFER,
    asserts=lambda: _odds,
    measure=_outvoted,
    rule=ExactZero(
        reason="a prompt is answered or not, and each is judged on one side of the odds: the count is a whole number"
    ),
    controls=(
        NegativeControl(
            name="root of the odds", statement="one logit gap in place of two", asserts=lambda: _root_of_odds
        ),
    ),
    uses=("ood/any_length_has_its_closed_form",),
    rests_on=(ROUND_OFF,),
)

CLAIMS = (ANY_LENGTH, OUTVOTED)
