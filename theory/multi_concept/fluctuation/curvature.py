"""Drift, noise of single prompts and curvature of the regularised population risk of pure prompts (docs/THEORY.md section 5).

All coefficients of level B are packed into one vector for each member, as for `linear_noise`: their lengths are those of the weights,
since the blocks are orthonormal. The gradient is the one that is compiled for the recursion, at other prompts or points.
"""

from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from polyseme.theory.multi_concept.coefficients import Arrays
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.dynamics.ensemble import MEMBERS_LAST, Ensemble
from polyseme.theory.multi_concept.fluctuation.linear_noise import (
    Vectors,
    jacobian,
    pack,
    pack_gradient,
    prompt_gradients,
    unpack,
)
from polyseme.theory.multi_concept.numerics.lower import Lowered, Runtime, compile_recursion

# Members' axes of a neuron and of a concept; those of the prompt, sign e and count n+, are left as they are.
_AXIS = {"1": 1, "4": 0}


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


def position(members: Ensemble) -> Vectors:
    """Where the members are."""
    return pack(members.state)


def placed(members: Ensemble, points: Vectors) -> Ensemble:
    """An ensemble at the given points, at the same step."""
    other = members.pick(np.zeros(points.shape[1], dtype=int))
    other.state = unpack(points, members.state)
    return other


def parts(delta: Vectors, members: Ensemble) -> Float[np.ndarray, "K1 member"]:
    """The length of each concept's part of packed vectors."""
    return np.linalg.norm(delta.reshape(members.regime.concepts.K1, -1, delta.shape[1]), axis=1)


# -- drift and noise ------------------------------------------------------------------------------------------


def drift(members: Ensemble) -> Vectors:
    """g, the gradient of the regularised population risk, of each member."""
    gradient = pack_gradient(members.gradient(), members.state, members.members)
    return gradient + members.regime.training.lam * position(members)


def deviations(one: Ensemble) -> Float[np.ndarray, "dimension prompt"]:
    """Each possible prompt's gradient less their mean at a single member, by listing the prompts."""
    each, chance = prompt_gradients(one)
    return each - (each @ chance)[:, None]


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
    gradient = pack_gradient(means, members.state, members.members)
    return gradient + members.regime.training.lam * position(members), largest


# -- curvature ----------------------------------------------------------------------------------------------


def curvature(one: Ensemble) -> tuple[float, float]:
    """Smallest and largest eigenvalue of the Hessian of the regularised risk at a single member, with its gates as they are.

    A block for each concept: exact to round-off, and symmetrised, since round-off is not symmetric. What a gate that moves would
    add is left out; where none is at its kink, nothing is.
    """
    H = jacobian(one)
    values = np.linalg.eigvalsh((H + H.swapaxes(1, 2)) / 2) + one.regime.training.lam
    return float(values.min()), float(values.max())
