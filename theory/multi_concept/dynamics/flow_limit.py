"""The recursion beside its gradient flow: both ends of a stretch, and how long it is smooth (docs/THEORY.md section 4).

The flow itself is solved in `gate_flow.py`; the recursion converges to it with order one in the step size.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from polyseme.theory.multi_concept.coefficients import constants, project, to_layout
from polyseme.theory.multi_concept.dynamics.gate_flow import flow
from polyseme.theory.multi_concept.dynamics.integrate import step
from polyseme.theory.multi_concept.numerics.lower import system_of
from polyseme.theory.multi_concept.regime import Regime


def flow_end(
    regime: Regime, initial: Mapping[str, Float[np.ndarray, "..."]], tau: float, *, tolerance: float = 1e-12
) -> Float[np.ndarray, " n"]:
    """All coefficients of the gradient flow at time `tau`, flattened, across gate events.

    PolysemeError if the solver gives up.
    """
    return flow(regime, initial, tau=tau, tolerance=tolerance).vector(tau)


def recursion_end(
    regime: Regime, initial: Mapping[str, Float[np.ndarray, "..."]], tau: float, steps: int
) -> Float[np.ndarray, " n"]:
    """All coefficients of the recursion after `steps` equal steps of size tau / steps, flattened like `flow_end`."""
    compiled, state = system_of(regime), to_layout(project(initial, regime.concepts.K1))
    numbers = constants(regime, np.asarray(initial["r"]))
    for _ in range(steps):
        state = step(state, numbers, tau / steps, compiled)
    return np.concatenate([array.ravel() for array in state.values()])


def smooth_horizon(
    regime: Regime, initial: Mapping[str, Float[np.ndarray, "..."]], tau: float, *, tolerance: float = 1e-9
) -> float:
    """Half the time of the first gate event within `tau`, or `tau` if there is none.

    Up to there the field is smooth, and gates of the recursion do not flip either, so that orders of convergence mean what
    they say.
    """
    events = flow(regime, initial, tau=tau, tolerance=tolerance).events
    return events[0].time / 2 if events else tau
