"""What the claims about which concepts are learned have in common: their facts, which the study of conditions reads."""

from dataclasses import dataclass

from polyseme.checks.core.evidence import Facts, Flag, Share


@dataclass(frozen=True, kw_only=True)
class LearnedFacts(Facts):
    """The share of concepts learned, of those that occur, and whether all were."""

    share_learned: Share
    all_learned: Flag
