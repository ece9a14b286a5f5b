"""The gradient flow, the recursion's limit as the step size goes to zero (THEORY.md section 4).

d x / d tau = -(gradient + shrinkage) with the same compiled object as the recursion, tau = sum of eta_t.
ReLU kinks make the field discontinuous; `smooth_horizon` says up to where it is smooth.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from scipy.integrate import solve_ivp

from theory.coefficients import Arrays, constants, project, to_layout
from theory.integrate import step
from theory.lower import System, system
from theory.setting import PolysemeError, Regime

# A smooth stretch takes hundreds; at a gate event the adaptive step shrinks without end.
MOST_EVALUATIONS = 100_000


def _flatten(state: Mapping[str, Float[np.ndarray, "..."]]) -> Float[np.ndarray, " n"]:
    return np.concatenate([array.ravel() for array in state.values()])


def _unflatten(vector: Float[np.ndarray, " n"], like: Mapping[str, Float[np.ndarray, "..."]]) -> Arrays:
    ends = np.cumsum([array.size for array in like.values()])[:-1]
    return {
        name: part.reshape(array.shape)
        for (name, array), part in zip(like.items(), np.split(vector, ends), strict=True)
    }


def flow_end(
    regime: Regime, initial: Mapping[str, Float[np.ndarray, "..."]], tau: float, *, tolerance: float = 1e-12
) -> Float[np.ndarray, " n"]:
    """All coefficients of the gradient flow at time `tau`, flattened; DOP853 at a relative and absolute `tolerance`.

    PolysemeError if the solver gives up, as it does when a gate event lies inside (0, tau).
    """
    compiled, state, numbers = _start(regime, initial)

    calls = 0

    def field(_time: float, vector: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        nonlocal calls
        calls += 1
        if calls > MOST_EVALUATIONS:
            raise PolysemeError(
                f"the gradient flow was not solved up to tau = {tau:g}: a gate event stalls the solver; type a shorter time"
            )
        # One Euler step of size 1 from x is x + field(x): the field is the recursion's own increment.
        now = _unflatten(vector, state)
        return _flatten(step(now, numbers, 1.0, compiled)) - vector

    solution = solve_ivp(field, (0.0, tau), _flatten(state), method="DOP853", rtol=tolerance, atol=tolerance)
    if not solution.success:
        raise PolysemeError(f"the gradient flow was not solved up to tau = {tau:g}: {solution.message}")
    return solution.y[:, -1]


def recursion_end(
    regime: Regime, initial: Mapping[str, Float[np.ndarray, "..."]], tau: float, steps: int
) -> Float[np.ndarray, " n"]:
    """All coefficients of the recursion after `steps` equal steps of size tau / steps, flattened like `flow_end`."""
    compiled, state, numbers = _start(regime, initial)
    for _ in range(steps):
        state = step(state, numbers, tau / steps, compiled)
    return _flatten(state)


def smooth_horizon(
    regime: Regime, initial: Mapping[str, Float[np.ndarray, "..."]], tau: float, *, steps: int = 64
) -> float:
    """Half the time of the first gate event within `tau`, or `tau` if no gate flips; 0.0 if one flips at once.

    Up to there the field is smooth, so that orders of convergence mean what they say. The event is located by
    the recursion with `steps` steps, again on a shorter stretch while it falls into the first few of them.
    """
    compiled, start, numbers = _start(regime, initial)
    before = _gates(compiled, start, numbers)
    for _ in range(20):
        state, event = start, None
        for count in range(1, steps + 1):
            state = step(state, numbers, tau / steps, compiled)
            if not np.array_equal(before, _gates(compiled, state, numbers)):
                event = count
                break
        if event is None:
            return tau
        if event > steps // 8:
            return (event - 1) * tau / steps / 2
        tau /= 8
    return 0.0


def _gates(compiled: System, state: Arrays, numbers: dict) -> Bool[np.ndarray, "..."]:
    """1[h > 0] for every (member, k, e, n+, i), from the executed pre-activation."""
    arguments = {**numbers, **state}
    values = compiled.preactivation({name: arguments[name] for name in compiled.preactivation.names})
    return np.asarray(values["h"]) > 0


def _start(regime: Regime, initial: Mapping[str, Float[np.ndarray, "..."]]) -> tuple[System, Arrays, dict]:
    return system("B"), to_layout(project(initial, regime.concepts.K1)), constants(regime, initial["r"])
