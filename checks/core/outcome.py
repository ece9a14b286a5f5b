"""What becomes of a claim in one regime when only its rule is asked, without negative controls: for searches and audits."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from polyseme.checks.core.claim import Claim, Judgement, Part, Verdict
from polyseme.checks.core.context import Context
from polyseme.checks.core.evaluation import Failure, attempted, grant, judge
from polyseme.checks.core.records import DECISIVE

OUTSIDE = Failure(verdict=Verdict.NOT_APPLICABLE, sentence="outside the hypotheses")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one regime: the verdict of the rule, its numbers and its sentence."""

    verdict: Verdict
    sentence: str
    measured: float = math.nan
    bound: float = math.nan

    @property
    def share(self) -> float:
        """Measured over allowed; beyond 1 the claim is at its end. NaN where there is no number."""
        return self.measured / self.bound if self.bound else self.measured


def trial(
    claim: Claim,
    context: Context,
    *,
    drop: Collection[str],
    asserted: Callable[[Part], Any] = lambda part: part.asserts(),
) -> Outcome:
    """The claim in the regime of a context, without its negative controls; what goes wrong is an outcome too.

    `asserted` gives what each part asserts, if it is something else than the claim says.
    """

    def of_part(part: Part, here: Context) -> Judgement | Failure:
        there, hypotheses = grant(part.hypotheses, here, drop)
        return OUTSIDE if any(x["holds"] is False for x in hypotheses) else judge(part, there, asserted(part))[1]

    granted = attempted(lambda: grant(claim.hypotheses, context, drop))
    if isinstance(granted, Failure):
        return _outcome(granted)
    here, hypotheses = granted
    if any(x["holds"] is False for x in hypotheses):
        return _outcome(OUTSIDE)
    outcomes = [_outcome(attempted(lambda part=part: of_part(part, here))) for part in claim.parts]
    return min(outcomes, key=lambda x: (DECISIVE.index(x.verdict), -x.share if math.isfinite(x.share) else 0.0))


def _outcome(found: Judgement | Failure) -> Outcome:
    if isinstance(found, Failure):
        return Outcome(verdict=found.verdict, sentence=found.sentence)
    return Outcome(
        verdict=found.verdict,
        sentence=found.sentence,
        measured=float(found.measured),
        bound=float(found.bound),
    )
