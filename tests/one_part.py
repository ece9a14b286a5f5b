"""Judging what a part of a claim need not assert."""

from typing import Any

from polyseme.checks.core.claim import Claim


def judged(claim: Claim, context: Any, asserted: Any, *, level: float, name: str = "") -> Any:
    """What the rule of a part says of something that the claim need not assert; of the only one if it has no name."""
    part = claim.part(name)
    return part.rule.judge(part.measure(context, asserted), level=level)
