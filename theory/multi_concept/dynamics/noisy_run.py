"""Run level N: the recursion under low noise and few extras, from its table of prompts (docs/THEORY.md section 4).

Pure prompts run as level B, to the last bit; the same recursion evaluated here without noise agrees with it to round-off.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
from jaxtyping import Float

from polyseme.errors import PolysemeError
from polyseme.theory.calculus.staged_function import StagedFunction
from polyseme.theory.calculus.statements import nesting
from polyseme.theory.multi_concept.coefficients import concept_vectors, constants, require_level_b
from polyseme.theory.multi_concept.derivation.derive import Recursion, derive
from polyseme.theory.multi_concept.derivation.noisy_rows import (
    MOST_EXTRAS,
    MOST_NOISE,
    Order,
    expected_extras,
    prompt_rows,
)
from polyseme.theory.multi_concept.dynamics.integrate import Progress, integrate_b, recorded_run, step_size
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.model import noisy as noise
from polyseme.theory.multi_concept.regime import Regime

Arrays = dict[str, Float[np.ndarray, "..."]]
_State = tuple[Arrays, Float[np.ndarray, " E"]]
MOST_NUMBERS = 2 * 10**7
"""Rows times kinds times neurons: a step then takes seconds, and its arrays a few GiB."""


def require_low_noise(regime: Regime, *, source: str) -> None:
    """PolysemeError with one sentence if noise or extras are beyond what level N is a theory of."""
    prompt = regime.prompt
    for key, value in (("sigma_x", prompt.sigma_x), ("sigma_y", prompt.sigma_y)):
        if value > MOST_NOISE:
            raise PolysemeError(
                f"{source}: level N is the theory of low noise, got [prompt] {key} = {value:g}, expected at most {MOST_NOISE:g}; "
                f"type {key} = {MOST_NOISE:g} or less, or run `polyseme simulate` for the full model"
            )
    if (expected := expected_extras(regime)) > MOST_EXTRAS:
        raise PolysemeError(
            f"{source}: level N is the theory of few extras, got (L + 1)(K1 - 1) p_extra = {expected:.3g}, expected at most "
            f"{MOST_EXTRAS:g}; type p_extra = {MOST_EXTRAS * prompt.p_extra / expected:.2g} or less, or run `polyseme simulate`"
        )


def project_noisy(initial: Mapping[str, Float[np.ndarray, "..."]], K1: int) -> tuple[Arrays, Float[np.ndarray, " E"]]:
    """Coefficients of level N with a member axis: W_Q, W_K (E, D, D) on the concepts, W_O (E, m, D), rho (E, m), D = 2 K1.

    And the size of W_K^T W_Q outside all concepts (E,), as the multiple of the identity there with its Frobenius norm.
    """
    words = concept_vectors(initial["M"], K1).reshape(2 * K1, -1)
    labels = concept_vectors(initial["Q"], K1).reshape(2 * K1, -1)
    W_Q, W_K, W_O = (np.atleast_3d(initial[name].T).T for name in ("W_Q", "W_K", "W_O"))
    state = {"W_Q": words @ W_Q @ words.T, "W_K": words @ W_K @ words.T, "W_O": W_O @ labels.T}
    outside = W_O - state["W_O"] @ labels
    rest = np.eye(words.shape[1]) - words.T @ words
    left = rest @ np.swapaxes(W_K, -1, -2) @ W_Q @ rest
    size = np.linalg.norm(left, axis=(-2, -1)) / np.sqrt(max(1, len(rest) - 2 * K1))
    return state | {"rho": np.linalg.norm(outside, axis=-1)}, size


@cache
def _function(recursion: Recursion) -> StagedFunction:
    """The gradient, the next state and the observables of a recursion, by name with a prefix."""
    outputs = {f"gradient_{x.base.label}": (x.indices, slope) for x, slope in recursion.gradient.items()}
    outputs |= {f"next_{x.base.label}": (x.indices, recursion.update(x)) for x in recursion.state}
    outputs |= {f"seen_{name}": ((), value) for name, value in recursion.observables.items()}
    stages = [(x.name, x.meaning) for x in (*recursion.noisy.definitions, *recursion.adjoints)]
    return StagedFunction(
        stages=stages,
        outputs=outputs,
        order=nesting([meaning for _, meaning in (*stages, *outputs.values())], outermost=noise.q, innermost=noise.i),
        own=frozenset({str(x.base.label) for x in recursion.state} | {"G_perp"}),
    )


class NoiseRun:
    """Level N at a regime's numbers: its gradient at a state, one step, and what is recorded."""

    def __init__(
        self,
        regime: Regime,
        r: Float[np.ndarray, " m"],
        *,
        order: Order = 1,
        recursion: Recursion | None = None,
        rows: Arrays | None = None,
    ) -> None:
        """`order` in p_extra; `recursion` and `rows` replace what is derived and listed, for negative controls.

        PolysemeError if extras are not few, or the table would be too long.
        """
        training, prompt = regime.training, regime.prompt
        self.recursion = recursion or derive("N", loss=training.loss, activation=regime.model.activation)
        _require_room(regime, order)
        self._rows = rows or prompt_rows(regime, order=order).arrays()
        numbers = constants(regime, np.asarray(r))
        D = 2 * regime.concepts.K1
        self._scalars = {
            fw.lam: float(numbers["lam"]),
            fw.eta: 0.0,
            noise.d_x: float(regime.concepts.d_x),
            noise.D: float(D),
            noise.sigma_x: prompt.sigma_x,
            noise.sigma_y: prompt.sigma_y,
        }
        self._r = np.asarray(r, dtype=np.float64)[None]
        N, J = self._rows["n"].shape[1:]
        letters = dict.fromkeys((noise.s, noise.t, noise.u, noise.w, noise.v), D)
        self._sizes = {**letters, noise.q: N, noise.j: J, noise.i: self._r.shape[1]}
        self._function = _function(self.recursion)

    def _values(self, prefix: str, state: Arrays, rest: Float[np.ndarray, " E"], eta: float = 0.0) -> Arrays:
        """Forward and back at a state; the values whose names have a prefix, without it."""
        arrays = {"r": self._r, **self._rows, **state, "G_perp": rest}
        values = self._function(arrays, self._sizes, self._scalars | {fw.eta: eta})
        return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}

    def gradient(self, state: Arrays, rest: Float[np.ndarray, " E"]) -> Arrays:
        """d risk / d state, arrays shaped as the state; `rest` as from `project_noisy`."""
        return self._values("gradient_", state, rest)

    def step(self, state: Arrays, rest: Float[np.ndarray, " E"], eta: float) -> Arrays:
        """One update: the printed right-hand sides."""
        return self._values("next_", state, rest, eta)

    def observe(self, state: Arrays, rest: Float[np.ndarray, " E"]) -> Arrays:
        """State with the names of section 8, loss, error, attention, and the mean of e f; a member axis first."""
        seen = self._values("seen_", state, rest)
        return {
            **{f"{name}_blocks": diagonal_blocks(state[name]) for name in ("W_Q", "W_K")},
            "alpha": state["W_O"][:, :, 0::2],
            "beta": state["W_O"][:, :, 1::2],
            **seen,
            "W_Q_concepts": state["W_Q"],
            "W_K_concepts": state["W_K"],
            "outside": state["rho"],
        }


def diagonal_blocks(matrix: Float[np.ndarray, "E D D"]) -> Float[np.ndarray, "E K1 2 2"]:
    """The 2 x 2 blocks on each (a_k, b_k) of a matrix on the concepts."""
    at = np.arange(matrix.shape[-1]).reshape(-1, 2)
    return matrix[:, at[:, :, None], at[:, None, :]]


def _require_room(regime: Regime, order: Order) -> None:
    concepts, prompt = regime.concepts, regime.prompt
    each = 6 * (concepts.K1 - 1) if prompt.p_extra > 0 else 0
    rows = 2 * concepts.K1 * (prompt.L + 1) * sum(each**n for n in range(order + 1))
    if rows * (2 + order) * regime.model.m > MOST_NUMBERS:
        raise PolysemeError(
            f"level N lists its prompts: got {rows} of them for {regime.model.m} neurons, expected at most "
            f"{MOST_NUMBERS // (2 + order)} of their product; type a smaller L in [prompt], K1 or m"
        )


def integrate_noise(
    regime: Regime,
    initial: Mapping[str, Float[np.ndarray, "..."]],
    *,
    order: Order = 1,
    recursion: Recursion | None = None,
    rows: Arrays | None = None,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """The trajectory of level N from an initial state (section 8), to an order in p_extra.

    Beside the arrays of section 8: `margin`, the mean of e f; `W_Q_concepts`, `W_K_concepts` (records, 2 K1, 2 K1), cross-concept
    blocks among them; `outside` (records, m), the norms of the neurons outside span Q. Pure prompts run at level B, which
    has none of these. PolysemeError as `NoiseRun`, or if the start is not that of level B; its kind Diverged if the run is.
    """
    if regime.prompt.is_pure and recursion is None:
        return integrate_b(regime, initial, progress=progress)
    require_level_b(regime.replace(prompt={"p_extra": 0.0, "sigma_x": 0.0, "sigma_y": 0.0}), initial, source="level N")
    run = NoiseRun(regime, np.asarray(initial["r"]), order=order, recursion=recursion, rows=rows)

    def step(now: _State, t: int) -> _State:
        state, rest = now
        eta = step_size(regime, t)
        # W_Q and W_K outside the concepts decay; what noise adds there is of order sigma_x^4.
        return run.step(state, rest, eta), rest * (1 - eta * regime.training.lam) ** 2

    return recorded_run(
        regime,
        project_noisy(initial, regime.concepts.K1),
        level="N",
        step=step,
        observe=lambda now: run.observe(*now),
        ensemble=initial["W_Q"].ndim == 3,
        progress=progress,
    )
