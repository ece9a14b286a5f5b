"""The registry: every claim, in the order of the argument. Adding a claim is one line in its family's file."""

from checks.claim import Claim
from checks.claims import (
    algebra,
    anywhere,
    balance,
    closure,
    complement,
    draws,
    dynamics,
    engines,
    fluctuation,
    forms,
    gradient,
    identities,
    invariants,
    levels,
    penalty,
    sampling,
    softmax,
    trajectories,
)

CLAIMS: tuple[Claim, ...] = (
    *algebra.CLAIMS,
    *penalty.CLAIMS,
    *softmax.CLAIMS,
    *gradient.CLAIMS,
    *engines.CLAIMS,
    *identities.CLAIMS,
    *draws.CLAIMS,
    *sampling.CLAIMS,
    *fluctuation.CLAIMS,
    *closure.CLAIMS,
    *levels.CLAIMS,
    *trajectories.CLAIMS,
    *anywhere.CLAIMS,
    *complement.CLAIMS,
    *balance.CLAIMS,
    *invariants.CLAIMS,
    *forms.CLAIMS,
    *dynamics.CLAIMS,
)
