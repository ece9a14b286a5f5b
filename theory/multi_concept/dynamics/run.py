"""The reduced theory of a regime from a start: the level that fits is chosen, and what fits none is refused (docs/THEORY.md section 4)."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Shaped

from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.coefficients import require_level_b, require_start
from polyseme.theory.multi_concept.dynamics.integrate import Progress, for_members, integrate_b
from polyseme.theory.multi_concept.dynamics.noisy_run import integrate_noise, require_low_noise
from polyseme.theory.multi_concept.dynamics.span_run import integrate_span
from polyseme.theory.multi_concept.regime import Regime

RunLevel = Literal["B", "N", "Z"]


def choose_level(regime: Regime, level: str | None = None) -> RunLevel:
    """The level that a regime is integrated at: the given one, or the one that is exact, or N if none is.

    B for pure prompts, Z for extra concepts without noise, N under noise. PolysemeError for a level that is not integrated.
    """
    if level is None:
        if regime.prompt.is_pure:
            return "B"
        return "Z" if regime.prompt.is_noise_free else "N"
    for known in ("B", "N", "Z"):
        if level == known:
            return known
    raise PolysemeError(
        f"got level={level!r}, expected B, N or Z; type level='B', or leave it out for the level that fits"
    )


def integrate(
    regime: Regime,
    initial: Mapping[str, Shaped[np.ndarray, "..."]],
    *,
    level: str | None = None,
    progress: Progress | None = None,
    regime_name: str = "regime",
    start_name: str = "initial",
) -> dict[str, np.ndarray]:
    """The trajectory of the reduced system of `regime` from `initial`, at the level that fits, or at `level`: B, N or Z.

    `initial` holds W_Q, W_K, W_O, r, M, Q, in the shapes of section 8, which are those of the full model. The result holds
    `step`, W_Q_blocks, W_K_blocks, alpha, beta, loss, error and attention in the shapes that `simulate` gives them, with a
    leading ensemble axis iff the start has one or there are several seeds; levels N and Z add arrays of their own.
    `progress(done, total)` is called now and then. The names begin the sentences about the regime and the start, such as the
    files that they are from.

    PolysemeError if the start does not fit the regime, if the level is not a theory of them, or if the run would be too
    large; its kind Diverged if it diverges.
    """
    Regime.require(regime)
    if not isinstance(initial, Mapping):
        raise PolysemeError(
            f"{start_name}: got {type(initial).__name__}, expected arrays by name; type polyseme.draw_initial(regime)"
        )
    chosen = choose_level(regime, level)
    require_start(regime, initial, source=start_name)
    start = {name: np.asarray(array, dtype=np.float64) for name, array in initial.items()}
    if chosen == "Z":
        trajectory = integrate_span(regime, start, progress=progress)
    elif chosen == "B" or regime.prompt.is_pure:
        require_level_b(regime, start, source=start_name)
        trajectory = integrate_b(regime, start, progress=progress)
    else:
        require_low_noise(regime, source=regime_name)
        trajectory = integrate_noise(regime, start, progress=progress)
    return for_members(trajectory, regime.ensemble.seeds)
