"""The trajectories behind the learning-dynamics figure: the trained ensemble, and the theory of its regime."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polyseme.checks.multi_concept.context import PURE
from polyseme.checks.multi_concept.hypotheses import FEW_EXTRAS, LOW_NOISE
from polyseme.theory.multi_concept.coefficients import concept_vectors, leak
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b, step_size
from polyseme.theory.multi_concept.dynamics.noisy_run import integrate_noise
from polyseme.theory.multi_concept.regime import Regime

Arrays = dict[str, np.ndarray]
Progress = Callable[[int, int], None]
NOISY_MEMBERS = 4
"""Members whose own level N is integrated for the figure: four have nearly the median of all, and a step for each is 2 ms."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The trajectories behind the learning-dynamics figure, and which level `theory` is.

    Where no level is the theory of the regime, it is level B of the pure regime, drawn beside it.
    """

    simulation: Arrays
    theory: Arrays
    level: Literal["B", "N"] | None


def simulate_ensemble(
    regime: Regime, *, keep_weights: bool = False, progress: Progress | None = None
) -> tuple[Arrays, Arrays]:
    """The initial states of all members and the trajectory of the full model, with the weights at every record if asked for."""
    from polyseme.sim.multi_concept.training.initial import draw_initial
    from polyseme.sim.multi_concept.training.train import simulate

    initial = draw_initial(regime)
    return initial, simulate(regime, initial, keep_weights=keep_weights, progress=progress)


def level_of(regime: Regime, initial: Mapping[str, np.ndarray]) -> Literal["B", "N"] | None:
    """The level whose trajectory is the theory of a regime and a start, if there is one."""
    if leak(initial, regime.concepts.K1) >= 1e-9:
        return None
    if regime.prompt.is_pure:
        return "B"
    return "N" if LOW_NOISE.holds(regime) and FEW_EXTRAS.holds(regime) else None


def noisy_curves(regime: Regime, initial: Mapping[str, np.ndarray], *, progress: Progress | None = None) -> Arrays:
    """Level N from the first few of the members' starts, with the products that the figure draws (P5)."""
    members = (
        {name: initial[name][:NOISY_MEMBERS] for name in ("W_Q", "W_K", "W_O")} if regime.ensemble.seeds > 1 else {}
    )
    trajectory = integrate_noise(regime, {**initial, **members}, progress=progress)
    products = np.abs(np.einsum("...us,...ut->...st", trajectory["W_K_concepts"], trajectory["W_Q_concepts"]))
    at = np.arange(products.shape[-1])
    own = (at[:, None] == at) & (at % 2 == 1)
    decay = np.array([_decay(regime, int(t)) for t in trajectory["step"]])
    rest_word, _ = _outside(initial, regime.concepts.K1)
    return trajectory | {
        "attention_specific": np.where(own, products, 0.0).max((-1, -2)),
        "attention_complement": np.where(own, 0.0, products).max((-1, -2)),
        "attention_noise": rest_word[:NOISY_MEMBERS, None] * decay**2 if members else rest_word * decay**2,
        "mlp_specific": np.abs(trajectory["beta"]).max((-1, -2)),
        "mlp_complement": np.abs(trajectory["alpha"]).max((-1, -2)),
    }


def theory_curves(regime: Regime, initial: Mapping[str, np.ndarray], *, progress: Progress | None = None) -> Arrays:
    """Level B from the same initial states, with the products that the figure draws (P5).

    Products outside the state follow from closure/complement_decays_exactly: what the start has there, times the decay.
    """
    pure = regime.replace(prompt=PURE)
    trajectory = integrate_b(pure, initial, progress=progress)
    blocks_q, blocks_k = trajectory["W_Q_blocks"], trajectory["W_K_blocks"]
    products = np.abs(np.einsum("...tus,...tuv->...tsv", blocks_k, blocks_q))  # s^^T W_K^T W_Q t^
    specific = products[..., 1, 1]
    others = np.stack([products[..., 0, 0], products[..., 0, 1], products[..., 1, 0]], axis=-1)
    rest_word, rest_label = _outside(initial, regime.concepts.K1)
    decay = np.array([_decay(regime, int(t)) for t in trajectory["step"]])
    return trajectory | {
        "attention_specific": specific.max(-1),
        "attention_complement": others.max((-1, -2)),
        "attention_noise": rest_word[..., None] * decay**2,
        "mlp_specific": np.abs(trajectory["beta"]).max((-1, -2)),
        "mlp_complement": np.abs(trajectory["alpha"]).max((-1, -2)),
        "mlp_noise": rest_label[..., None] * decay,
    }


def _decay(regime: Regime, steps: int) -> float:
    return float(np.prod([1 - step_size(regime, t) * regime.training.lam for t in range(steps)]))


def _outside(initial: Mapping[str, np.ndarray], K1: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest products of the start outside all concepts, W_K^T W_Q and W_O; NaN where nothing is outside."""
    results = []
    for name, product in (("M", np.swapaxes(initial["W_K"], -1, -2) @ initial["W_Q"]), ("Q", None)):
        inside = concept_vectors(initial[name], K1).reshape(2 * K1, -1).T
        rest = np.linalg.qr(inside, mode="complete")[0][:, 2 * K1 :]
        seen = initial["W_O"] @ rest if product is None else rest.T @ product @ rest
        empty = np.full(seen.shape[:-2], np.nan)
        results.append(np.asarray(np.abs(seen).max((-1, -2)) if rest.shape[1] else empty))
    return results[0], results[1]
