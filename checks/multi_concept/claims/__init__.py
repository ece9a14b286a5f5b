"""The registry: every claim, in the order of the argument. Adding a claim is one line in its family's file."""

from polyseme.checks.core.claim import Claim
from polyseme.checks.multi_concept.claims.closure import (
    balance,
    closure,
    complement,
    forms,
    invariants,
    levels,
    sizes,
    trajectories,
)
from polyseme.checks.multi_concept.claims.closure import random_regimes as anywhere
from polyseme.checks.multi_concept.claims.decomposition import algebra, penalty, softmax
from polyseme.checks.multi_concept.claims.dynamics import (
    attention_growth,
    concepts,
    critical_penalty,
    dynamics,
    half_times,
    sgd_learns,
    signs,
    width,
)
from polyseme.checks.multi_concept.claims.dynamics import predicted as predicted
from polyseme.checks.multi_concept.claims.exponential import (
    bayes,
    error_curve,
    escape,
    extinction,
    full_and_reduced,
    pinelis,
    rare,
    rate_of_error,
)
from polyseme.checks.multi_concept.claims.fluctuation import (
    covariance,
    deviation,
    extras,
    fluctuation,
    kinks,
    noise,
    noise_order,
    noise_scaling,
    noisy_runs,
)
from polyseme.checks.multi_concept.claims.gradient import draws, engines, gradient, identities, sampling
from polyseme.checks.multi_concept.claims.out_of_distribution import laws as transfer
from polyseme.checks.multi_concept.claims.out_of_distribution import lengths
from polyseme.checks.multi_concept.claims.out_of_distribution import noisy_laws as noisy_transfer
from polyseme.checks.multi_concept.claims.out_of_distribution import robustness as carrying

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
    *noise.CLAIMS,
    *noise_order.CLAIMS,
    *noisy_runs.CLAIMS,
    *extras.CLAIMS,
    *dynamics.CLAIMS,
    *concepts.CLAIMS,
    *signs.CLAIMS,
    *attention_growth.CLAIMS,
    *half_times.CLAIMS,
    *width.CLAIMS,
    *critical_penalty.CLAIMS,
    *predicted.CLAIMS,
    *sgd_learns.CLAIMS,
    *deviation.CLAIMS,
    *covariance.CLAIMS,
    *kinks.CLAIMS,
    *noise_scaling.CLAIMS,
    *extinction.CLAIMS,
    *rate_of_error.CLAIMS,
    *error_curve.CLAIMS,
    *full_and_reduced.CLAIMS,
    *escape.CLAIMS,
    *rare.CLAIMS,
    *sizes.CLAIMS,
    *pinelis.CLAIMS,
    *bayes.CLAIMS,
    *lengths.CLAIMS,
    *transfer.CLAIMS,
    *carrying.CLAIMS,
    *noisy_transfer.CLAIMS,
)
