"""The registry: every claim, in the order of the argument. Adding a claim is one line here."""

from checks.claim import Claim
from checks.claims import algebra, closure, gradient

CLAIMS: tuple[Claim, ...] = (*algebra.CLAIMS, *gradient.CLAIMS, *closure.CLAIMS)
