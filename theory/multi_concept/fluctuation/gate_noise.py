"""Noise that moves gates: mean and covariance of SGD with every gate averaged over the noise (docs/THEORY.md sections 5 and 6.4).

Active neurons end at their kinks, where the gradient jumps and linear noise does not exist. With h Gaussian of mean
hbar and variance V, the averages over the noise do exist,

    E 1[h > 0] = Phi(hbar / tau),      E relu(h) = hbar Phi(hbar / tau) + tau phi(hbar / tau),      tau^2 = V,

and V is what the covariance of the coefficients makes of it. The recursion of the mean and the covariance,

    mu_{t+1} = mu_t - eta_t (g(mu_t; V_t) + lam mu_t),     Sigma_{t+1} = A_t Sigma_t A_t^T + eta_t^2 C_t / B,

has the form of linear noise, with averaged gates in the gradient g, in its Jacobian H and in C. H then holds the density
phi(hbar / tau) / tau of neurons at their kink: a stiff force across the kink, that of the jump of the gradient there, which
keeps the noise in. It is a closure, not a theorem: h is not quite Gaussian at a kink, gates of different neurons are
averaged one by one, and the curvature of the loss between the kinks is left out. At V = 0 it is linear noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import sympy as sp
from jaxtyping import Float

from polyseme.theory.calculus.functions import SMOOTHED, Gate, LeakyReLU, ReLU, SmoothReLU
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.dynamics.integrate import step_size
from polyseme.theory.multi_concept.fluctuation.linear_noise import (
    FIRST_ORDER,
    TINY,
    Gates,
    Square,
    at_numbers,
    carried,
    covariance_of,
    gate_variance,
    nudged,
    pack,
    preactivations,
    single_prompts,
    unpack,
)
from polyseme.theory.multi_concept.numerics.lower import AXES, Axes, Lowered, compile_recursion

VARIANCE = sp.Symbol("gate_variance")


def _averaged(expression: sp.Expr, axes: Axes) -> sp.Expr:
    """Every activation and every gate of a pre-activation replaced by its mean over the noise."""
    axes[VARIANCE] = frozenset(AXES)
    kinks = {
        ReLU: lambda h: SMOOTHED["relu"](0, h, VARIANCE),
        LeakyReLU: lambda h: SMOOTHED["leaky_relu"](0, h, VARIANCE),
        Gate: lambda h: SmoothReLU(1, h, VARIANCE),
    }
    for kink, mean in kinks.items():
        expression = expression.replace(kink, mean)
    return expression


@cache
def averaged_gradient(loss: str, activation: str) -> Lowered:
    """The gradient of level B with averaged gates, for first-order numbers and members on the last axis."""
    return compile_recursion(
        derive("B", loss=loss, activation=activation), runtime=FIRST_ORDER, rewrite=_averaged
    ).gradient


def _where_it_matters(one: Ensemble, variance: Gates) -> Float[np.ndarray, "m K1 2 counts 1"]:
    """The variance of h, or 0 where h is a hundred standard deviations from its kink: there float64 sees no difference."""
    h = preactivations(one)
    return np.where(np.abs(h) > 100 * np.sqrt(variance)[..., None], 0.0, variance[..., None])


@dataclass(frozen=True, kw_only=True)
class Averaged:
    """Mean and covariance of the coefficients at step t."""

    t: int
    mean: Float[np.ndarray, " dimension"]
    covariance: Square


def averaged_noise(start: Ensemble, batch: int) -> Iterator[Averaged]:
    """Moments at steps start.t, start.t + 1, ... without end, of SGD from the state of an ensemble of one member."""
    one = start.pick(slice(None))
    lowered = averaged_gradient(one.regime.training.loss, one.regime.model.activation)
    single, chance = single_prompts(one)
    size = len(pack(one.state))
    K1, covariance = one.regime.concepts.K1, np.zeros((size, size))
    while True:
        mean = pack(one.state)[:, 0]
        yield Averaged(t=one.t, mean=mean, covariance=covariance)
        eta, lam = step_size(one.regime, one.t), one.regime.training.lam
        given = one.numbers | {str(VARIANCE): _where_it_matters(one, gate_variance(one, covariance))}
        gradient = at_numbers(lowered, given | nudged(one), size // K1)
        each = at_numbers(lowered, given | one.state | {"p": single}, len(chance))
        H = np.imag(gradient).reshape(K1, size // K1, -1) / TINY
        covariance = carried(covariance, eta, H, lam) + eta**2 / batch * covariance_of(np.real(each), chance)
        mean = mean - eta * (np.real(gradient[:, 0]) + lam * mean)
        one.state, one.t = unpack(mean[:, None], one.state), one.t + 1
