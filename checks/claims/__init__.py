"""The registry: every claim, in the order of the argument. Adding a claim is one line in its family's file."""

from checks.claim import Claim
from checks.claims import algebra, closure, complement, forms, gradient, levels, sampling, softmax, trajectories

CLAIMS: tuple[Claim, ...] = (
    *algebra.CLAIMS,
    *softmax.CLAIMS,
    *gradient.CLAIMS,
    *sampling.CLAIMS,
    *closure.CLAIMS,
    *levels.CLAIMS,
    *trajectories.CLAIMS,
    *complement.CLAIMS,
    *forms.CLAIMS,
)
