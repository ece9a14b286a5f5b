"""Linear noise: the covariance of SGD about the deterministic recursion, to leading order in 1/B (docs/THEORY.md section 5).

With delta_t the deviation of SGD's coefficients theta_t from the recursion's thetabar_t,

    Sigma_{t+1} = A_t Sigma_t A_t^T + eta_t^2 C_t / B,        A_t = I - eta_t (H_t + lam I),

where H_t is the Jacobian of the expected gradient and C_t the covariance of the gradient of one prompt, both at thetabar_t
with its gates as they are. Sigma is proportional to 1/B, so what is computed here is `B Sigma`, the same for all B.

H_t is exact to round-off: the compiled gradient is run over numbers x + i d, |d| of order 1e-30, of which only the first
order in d survives (d^2 is 1e-30 of it, 14 orders below the last bit of the real part). Every factor then follows the product
rule of float64 numbers, so an entry errs by about as many unit round-offs, relative to the sum of its terms, as the gradient
itself does. No gate is opened or shut by d: `Gate` looks at the real part, and what a moving gate would add is left out.
`clearance` says where that is justified: how many standard deviations each pre-activation is away from its kink. Where it is
not, `gate_noise` averages the gates over the noise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Complex, Float, Int

from polyseme.regime import LEAK
from polyseme.theory.calculus.elementwise import smooth_relu
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.dynamics.ensemble import MEMBERS_LAST, Ensemble, members_last
from polyseme.theory.multi_concept.dynamics.integrate import step_size
from polyseme.theory.multi_concept.numerics.lower import Lowered, NumpySystem, Runtime, compile_recursion

Vectors = Float[np.ndarray, "dimension member"]
Nudged = Complex[np.ndarray, "..."]
Square = Float[np.ndarray, "dimension dimension"]
Blocks = Float[np.ndarray, "K1 d d"]
Gates = Float[np.ndarray, "m K1 2 counts"]

TINY = 1e-30
"""The imaginary part that stands for an infinitesimal."""

# -- first-order numbers ----------------------------------------------------------------------------------------


def _chain(value: Any, slope: Any, z: Any) -> Any:
    """phi(x) + i phi'(x) d for z = x + i d. At an infinite x, where sigmoid and tanh are flat, nothing is left of d."""
    return value + 1j * np.where(np.isfinite(np.real(z)), slope * np.imag(z), 0.0)


def _sigmoid(z: Any) -> Any:
    value, other = MEMBERS_LAST["Sigmoid"](np.real(z)), MEMBERS_LAST["Sigmoid"](-np.real(z))
    return _chain(value, value * other, z)


def _tanh(z: Any) -> Any:
    value = np.tanh(np.real(z))
    return _chain(value, 1 - value**2, z)


def _smooth_relu(order: Any, mean: Any, variance: Any) -> Any:
    value, slope = (smooth_relu(np.add(order, more), np.real(mean), variance) for more in (0, 1))
    return _chain(value, slope, mean)


FIRST_ORDER: Runtime = {
    **MEMBERS_LAST,
    "Sigmoid": _sigmoid,
    "tanh": _tanh,
    "SmoothReLU": _smooth_relu,
    "Gate": lambda h: np.greater(np.real(h), 0.0).astype(np.float64),
    "ReLU": lambda h: np.where(np.real(h) > 0, h, 0.0),
    "LeakyReLU": lambda h: np.where(np.real(h) > 0, h, LEAK * h),
}


@cache
def first_order(loss: str, activation: str) -> NumpySystem:
    """Level B compiled for first-order numbers, members on the last axis; once per process."""
    return compile_recursion(derive("B", loss=loss, activation=activation), runtime=FIRST_ORDER)


def system_of(one: Ensemble) -> NumpySystem:
    """The same, with the loss and the activation of an ensemble's regime."""
    return first_order(one.regime.training.loss, one.regime.model.activation)


# -- coefficients as vectors ------------------------------------------------------------------------------------


def _pack(state: Mapping[str, Any]) -> Any:
    joined = np.concatenate([array[:, :, 0, 0] for array in state.values()])  # (8 + 2 m, K1, member)
    return np.ascontiguousarray(np.swapaxes(joined, 0, 1)).reshape(-1, joined.shape[-1])


def _unpack(vectors: Any, like: Mapping[str, Any]) -> dict[str, Any]:
    sizes = [len(array) for array in like.values()]
    K1 = next(iter(like.values())).shape[1]
    joined = np.swapaxes(vectors.reshape(K1, sum(sizes), -1), 0, 1)
    parts = np.split(joined, np.cumsum(sizes)[:-1])
    return {name: np.ascontiguousarray(part)[:, :, None, None] for name, part in zip(like, parts, strict=True)}


def pack(state: Mapping[str, Float[np.ndarray, "..."]]) -> Vectors:
    """An ensemble's state as vectors: for each concept 8 entries of attention, m alpha, m beta; members on the last axis."""
    return _pack(state)


def unpack(vectors: Vectors, like: Mapping[str, Float[np.ndarray, "..."]]) -> dict[str, Float[np.ndarray, "..."]]:
    """The inverse of `pack`, with the names and sizes of a state that it is like."""
    return _unpack(vectors, like)


def pack_gradient(
    gradient: Mapping[str, Float[np.ndarray, "..."]], like: Mapping[str, Float[np.ndarray, "..."]], members: int
) -> Vectors:
    """A gradient in the coefficients of a state as vectors, for that many members, where its arrays may have but one."""
    return _pack_gradient(gradient, like, members)


def _pack_gradient(gradient: Mapping[str, Any], like: Mapping[str, Any], members: int) -> Any:
    return _pack({name: np.broadcast_to(gradient[name], (*x.shape[:-1], members)) for name, x in like.items()})


def places(like: Mapping[str, Float[np.ndarray, "..."]]) -> dict[str, np.ndarray]:
    """Where each array of a state lies in the vector: indices of shape (1 or m, K1)."""
    size = sum(array.shape[0] * array.shape[1] for array in like.values())
    numbered = _unpack(np.arange(size)[:, None], like)
    return {name: array[:, :, 0, 0, 0] for name, array in numbered.items()}


# -- what linear noise is made of -------------------------------------------------------------------------------


def nudged(one: Ensemble) -> dict[str, Nudged]:
    """The state with each of the d = 8 + 2 m coefficients of a concept nudged in turn, on the member axis.

    All concepts at once: a pure prompt sees the coefficients of its own concept alone.
    """
    vector = pack(one.state)[:, 0].reshape(one.regime.concepts.K1, -1)
    each = vector[:, :, None] + 1j * TINY * np.eye(vector.shape[1])
    return _unpack(each.reshape(-1, vector.shape[1]), one.state)


def at_numbers(lowered: Lowered, given: Mapping[str, Any], members: int) -> Nudged:
    """A compiled gradient at first-order numbers, packed. For that many members, where the arrays may have but one."""
    values = lowered.function(*(given[name] for name in lowered.names))
    like = {name: given[name] for name in lowered.outputs}
    return _pack_gradient(dict(zip(lowered.outputs, values, strict=True)), like, members)


def jacobian(one: Ensemble) -> Blocks:
    """H of an ensemble of one member: a block per concept, entry (i, j) the derivative of coefficient i's gradient in coefficient j.

    Exact to round-off, with the gates as they are. The penalty is not part of it.
    """
    state = nudged(one)
    gradient = at_numbers(system_of(one).gradient, one.numbers | state, state["alpha"].shape[-1])
    return np.imag(gradient).reshape(one.regime.concepts.K1, -1, gradient.shape[-1]) / TINY


def possible(members: Ensemble) -> Int[np.ndarray, "prompt 3"]:
    """The prompts (k, sign, n+) that can occur; sign + first."""
    return np.argwhere(members.law > 0)


def single_prompts(one: Ensemble) -> tuple[Float[np.ndarray, "1 K1 2 counts prompt"], Float[np.ndarray, " prompt"]]:
    """Every possible prompt as frequencies in a minibatch of nothing else, and its probability."""
    cells = possible(one)
    single = np.zeros((1, *one.law.shape, len(cells)))
    single[(0, *cells.T, np.arange(len(cells)))] = 1.0
    return single, one.law[tuple(cells.T)]


def prompt_gradients(one: Ensemble) -> tuple[Float[np.ndarray, "dimension prompt"], Float[np.ndarray, " prompt"]]:
    """The gradient of the risk on each possible prompt at a single member, without the penalty, and the prompt's probability."""
    single, chance = single_prompts(one)
    return pack_gradient(one.gradient(single), one.state, len(chance)), chance


def covariance_of(each: Vectors, chance: Float[np.ndarray, " member"]) -> Square:
    """The covariance of vectors that occur with given probabilities."""
    centred = each - (each @ chance)[:, None]
    return (centred * chance) @ centred.T


def prompt_covariance(one: Ensemble) -> Square:
    """C: the covariance of the gradient of one prompt, by listing the prompts."""
    return covariance_of(*prompt_gradients(one))


def preactivations(members: Ensemble) -> Float[np.ndarray, "m K1 2 counts member"]:
    """h of every neuron on every prompt (k, e, n+)."""
    lowered = members_last(members.regime.training.loss, members.regime.model.activation)[0].preactivation
    given = members.numbers | members.state
    return np.asarray(lowered({name: given[name] for name in lowered.names})["h"])


def gate_variance(one: Ensemble, covariance: Square) -> Gates:
    """The variance of h of every neuron on every prompt, to first order, if the coefficients have that covariance."""
    lowered, state = system_of(one).preactivation, nudged(one)
    given = one.numbers | state
    (h,) = lowered.function(*(given[name] for name in lowered.names))
    slope, K1 = np.imag(h) / TINY, one.regime.concepts.K1  # (m, K1, 2, counts, d)
    d = slope.shape[-1]
    blocks = np.einsum("kikj->kij", covariance.reshape(K1, d, K1, d))
    variance = np.einsum("mkeni,kij,mkenj->mken", slope, blocks, slope, optimize=True)
    return np.maximum(variance, 0.0)


def clearance(one: Ensemble, covariance: Square) -> Gates:
    """|h| over its standard deviation, for every gate and prompt (k, e, n+); with B Sigma given, multiply by sqrt(B).

    Infinite for prompts that cannot occur, and where nothing has moved yet: a gate that noise cannot reach.
    """
    variance = gate_variance(one, covariance)
    reached = (variance > 0) & (one.law > 0)
    away = np.abs(preactivations(one)[..., 0])
    return np.where(reached, away / np.sqrt(np.where(reached, variance, 1.0)), np.inf)


def carried(covariance: Square, eta: float, H: Blocks, lam: float) -> Square:
    """A Sigma A^T for A = I - eta (H + lam I), which has a block for each concept."""
    K1, d, size = len(H), H.shape[1], len(covariance)
    A = np.eye(d) - eta * (H + lam * np.eye(d))
    half = (A @ covariance.reshape(K1, d, size)).reshape(size, size)
    return (A @ half.T.reshape(K1, d, size)).reshape(size, size)


# -- along the recursion ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The recursion and its linear noise at step t: thetabar, B Sigma, and the state itself as an ensemble of one.

    `clearance`: of the gate nearest to its kink, at B = 1. `moved`: how many gates of the recursion opened or shut at this step.
    """

    t: int
    mean: Float[np.ndarray, " dimension"]
    covariance: Square
    clearance: float
    moved: int
    at: Ensemble


def linear_noise(start: Ensemble, *, carries: bool = True) -> Iterator[Moment]:
    """Moments at steps start.t, start.t + 1, ... without end, of SGD from the state of an ensemble of one member.

    Unless it `carries`, H is left out: the noise of the steps is added up and decays with the penalty. `start` is not changed.
    """
    one = start.pick(slice(None))
    size, K1 = len(pack(one.state)), one.regime.concepts.K1
    covariance, before = np.zeros((size, size)), preactivations(one) > 0
    while True:
        now = preactivations(one) > 0
        yield Moment(
            t=one.t,
            mean=pack(one.state)[:, 0],
            covariance=covariance,
            clearance=float(clearance(one, covariance).min()),
            moved=int((now != before)[:, one.law > 0].sum()),
            at=one.pick(slice(None)),
        )
        before, eta = now, step_size(one.regime, one.t)
        H = jacobian(one) if carries else np.zeros((K1, size // K1, size // K1))
        covariance = carried(covariance, eta, H, one.regime.training.lam) + eta**2 * prompt_covariance(one)
        one.descend()
