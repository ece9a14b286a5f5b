"""Drift, noise of single prompts and curvature of the regularised population risk of pure prompts (THEORY.md section 5).

Everything is packed into one vector of all coefficients of level B for each member: their lengths are those of the weights,
since the blocks are orthonormal. The gradient is the one that is compiled for the recursion, at other prompts or points.
"""

from collections.abc import Mapping
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from theory.coefficients import Arrays
from theory.derive import derive
from theory.ensemble import MEMBERS_LAST, Ensemble
from theory.lower import Lowered, Runtime, compile_recursion

Vectors = Float[np.ndarray, "N member"]

# Members' axes of a neuron and of a concept; those of the prompt, sign e and count n+, are left as they are.
_AXIS = {"1": 1, "4": 0}
# Steps of the differences along a coefficient: far above round-off in a gradient of order one, far below a curvature.
STEP = 1e-6
# One-sided differences further apart than this, relative to the larger, have a kink between them.
KINK = 1e-2


def _left_apart(axes: tuple[str, ...]) -> Any:
    over = tuple(_AXIS[axis] for axis in axes if axis in _AXIS)
    return lambda x: np.sum(x, axis=over, keepdims=True) if over else x


PROMPTS_APART: Runtime = {
    **MEMBERS_LAST,
    "contract23": lambda full, weight: full * weight,
    **{f"total{''.join(axes)}": _left_apart(axes) for size in (1, 2, 3, 4) for axes in combinations("1234", size)},
}
"""Members last, and sums over the prompts of a concept not carried out: a gradient is a sum over prompts, outermost."""


@cache
def prompts_apart(loss: str, activation: str) -> Lowered:
    """The gradient of level B, each prompt's part by itself; once per process."""
    return compile_recursion(derive("B", loss=loss, activation=activation), runtime=PROMPTS_APART).gradient


# -- points ---------------------------------------------------------------------------------------------------


def pack(arrays: Mapping[str, Any], members: Ensemble) -> Vectors:
    """Coefficients, or gradients in them, as one vector for each member, in the order of the ensemble's state."""
    parts = [
        np.broadcast_to(arrays[name], (*x.shape[:-1], members.members)).reshape(-1, members.members)
        for name, x in members.state.items()
    ]
    return np.concatenate(parts)


def position(members: Ensemble) -> Vectors:
    """Where the members are."""
    return pack(members.state, members)


def placed(members: Ensemble, points: Vectors) -> Ensemble:
    """An ensemble at the given points, at the same step."""
    other = members.pick(np.zeros(points.shape[1], dtype=int))
    start = 0
    for name, x in members.state.items():
        size = int(np.prod(x.shape[:-1]))
        other.state[name] = np.ascontiguousarray(points[start : start + size]).reshape(*x.shape[:-1], -1)
        start += size
    return other


def parts(delta: Vectors, members: Ensemble) -> Float[np.ndarray, "K1 member"]:
    """The length of each concept's part of packed vectors."""
    square, start = np.zeros((members.regime.concepts.K1, delta.shape[1])), 0
    for x in members.state.values():
        size = int(np.prod(x.shape[:-1]))
        square += np.sum(delta[start : start + size].reshape(x.shape[0], x.shape[1], -1) ** 2, axis=0)
        start += size
    return np.sqrt(square)


# -- drift and noise ------------------------------------------------------------------------------------------


def drift(members: Ensemble) -> Vectors:
    """g, the gradient of the regularised population risk, of each member."""
    return pack(members.gradient(), members) + members.regime.training.lam * position(members)


def possible(members: Ensemble) -> Int[np.ndarray, "prompt 3"]:
    """The prompts (k, sign, n+) that occur."""
    return np.argwhere(members.law > 0)


def deviations(one: Ensemble) -> Float[np.ndarray, "N prompt"]:
    """Each possible prompt's gradient less their mean at a single member, by listing the prompts."""
    cells = possible(one)
    each = np.zeros((1, *one.law.shape, len(cells)))
    each[(0, *cells.T, np.arange(len(cells)))] = 1.0
    listed = one.pick(np.zeros(len(cells), dtype=int))
    gradients = pack(listed.gradient(each), listed)
    return gradients - (gradients @ one.law[tuple(cells.T)])[:, None]


def drift_and_noise(members: Ensemble) -> tuple[Vectors, Float[np.ndarray, " member"]]:
    """g, and the largest deviation of a possible prompt's gradient from it, of each member, in one evaluation."""
    lowered = prompts_apart(members.regime.training.loss, members.regime.model.activation)
    given = members.numbers | {"p": np.ones_like(members.numbers["p"])} | members.state
    each = lowered({name: given[name] for name in lowered.names})
    law = members.law[..., None]
    square, cross, whole = np.zeros((*members.law.shape, members.members)), 0.0, 0.0
    means: Arrays = {}
    for name in members.state:
        part = np.asarray(each[name])
        if part.ndim == 0:  # a coefficient without any gradient
            means[name] = part
            continue
        mean = np.sum(part * law, axis=(2, 3), keepdims=True)
        means[name] = mean
        square = square + np.sum(part * part, axis=0)
        cross = cross + np.sum(part * mean, axis=0)
        whole = whole + np.sum(mean * mean, axis=(0, 1))[0, 0]
    # A prompt's gradient lies in its own concept; the mean lies in all of them.
    squares = square - 2 * cross + whole
    largest = np.sqrt(np.where(law > 0, squares, 0.0).max(axis=(0, 1, 2)))
    return pack(means, members) + members.regime.training.lam * position(members), largest


# -- curvature ----------------------------------------------------------------------------------------------


def jacobian(one: Ensemble, *, step: float = STEP) -> Float[np.ndarray, "N N"]:
    """d g / d theta at a single member by differences of the compiled gradient; column j is the derivative in coefficient j.

    Central, but one-sided away from a kink that lies within the step: a jump is no curvature.
    """
    here = position(one)
    size = len(here)
    g = drift(placed(one, np.concatenate([here, here + step * np.eye(size), here - step * np.eye(size)], axis=1)))
    ahead, behind = (g[:, 1 : size + 1] - g[:, :1]) / step, (g[:, :1] - g[:, size + 1 :]) / step
    long, back = np.linalg.norm(ahead, axis=0), np.linalg.norm(behind, axis=0)
    kinked = np.linalg.norm(ahead - behind, axis=0) > KINK * np.maximum(1.0, np.maximum(long, back))
    return np.where(kinked, np.where(long <= back, ahead, behind), (ahead + behind) / 2)


def curvature(one: Ensemble) -> tuple[float, float]:
    """Smallest and largest eigenvalue of the symmetrised Jacobian of g at a single member."""
    J = jacobian(one)
    values = np.linalg.eigvalsh((J + J.T) / 2)
    return float(values[0]), float(values[-1])
