"""The false-alarm budget of the whole suite, and how it is divided over the statistical claims.

Half of it is for refuting true claims, half for supporting false ones. The family of tests is fixed before the run: it is
every statistical claim that is registered, whether or not it is tried, and a claim that is not tried spends nothing.
Samples are planned for an even share (Bonferroni), so that a claim is judged alike alone and in company. Holm's
procedure then gives what decided claims leave over to those that are still open. It needs no independence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from polyseme.checks.core.claim import Claim, Judgement, Verdict

SUITE_FALSE_ALARM = 1e-3
"""Probability that a run of the whole suite refutes any true statistical claim, or supports any that is off by its margin."""


def family_size(claims: Iterable[Claim]) -> int:
    """How many parts of claims share the budget."""
    return max(1, sum(part.rule.is_statistical for claim in claims for part in claim.parts))


def even_share(family: int) -> float:
    """The level that each statistical claim is planned for and first judged at, in each of the two directions."""
    return SUITE_FALSE_ALARM / 2 / family


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A judgement after the whole family is known; p-values are adjusted for the family, to compare with half the budget."""

    judgement: Judgement
    adjusted_support: float
    adjusted_refute: float


def settle(judgements: Sequence[Judgement], family: int) -> list[Settled]:
    """Holm's procedure over the statistical judgements of a run, which are some or all of a family of that size.

    A verdict can only become firmer: Holm rejects all that Bonferroni does. ValueError for a judgement without p-values.
    """
    if any(judgement.p_support is None or judgement.p_refute is None for judgement in judgements):
        raise ValueError("expected judgements of statistical rules, with p-values")
    support = _adjusted([judgement.p_support or 0.0 for judgement in judgements], family)
    refute = _adjusted([judgement.p_refute or 0.0 for judgement in judgements], family)
    return [
        Settled(judgement=_firmer(judgement, s, r), adjusted_support=s, adjusted_refute=r)
        for judgement, s, r in zip(judgements, support, refute, strict=True)
    ]


def _adjusted(p_values: Sequence[float], family: int) -> list[float]:
    """Holm's adjusted p-values; those of the family that are not at hand count as 1."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests

    padded = [*p_values, *[1.0] * (family - len(p_values))]
    return [float(p) for p in multipletests(padded, method="holm")[1][: len(p_values)]]


def _firmer(judgement: Judgement, support: float, refute: float) -> Judgement:
    half = SUITE_FALSE_ALARM / 2
    if judgement.verdict != Verdict.INCONCLUSIVE or (support <= half) == (refute <= half):
        return judgement
    verdict = Verdict.SUPPORTED if support <= half else Verdict.REFUTED
    return replace(
        judgement,
        verdict=verdict,
        sentence=f"{verdict} by Holm's procedure, with what decided claims leave of the budget ({judgement.sentence})",
    )
