"""Run level Z: any noise-free prompts, in all coefficients on span M (docs/THEORY.md section 4).

Exact with the table of all prompts of the law, and pathwise equal to SGD of the full model with the prompts of its
minibatches; the diagonal truncation is the same object with the other blocks left out.
"""

from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np
from jaxtyping import Float

from polyseme.errors import PolysemeError
from polyseme.theory.calculus.staged_function import StagedFunction
from polyseme.theory.calculus.statements import nesting
from polyseme.theory.multi_concept.coefficients import concept_vectors
from polyseme.theory.multi_concept.derivation.derive import Recursion, derive
from polyseme.theory.multi_concept.derivation.stages import definitions, gradients, shorten
from polyseme.theory.multi_concept.dynamics.integrate import Progress, recorded_run, step_size
from polyseme.theory.multi_concept.model import span
from polyseme.theory.multi_concept.model.forward import eta, lam
from polyseme.theory.multi_concept.prompts.enumeration import PromptTable, enumerate_prompts
from polyseme.theory.multi_concept.regime import Regime

Arrays = dict[str, Float[np.ndarray, "..."]]
STATE = ("W_Q", "W_K", "W_O")


def word_frame(M: Float[np.ndarray, "d_x columns"], K1: int) -> Float[np.ndarray, "D d_x"]:
    """The unit directions a_1, b_1, a_2, b_2, ..., nu_1, ... of span M as rows."""
    pairs = concept_vectors(M, K1).reshape(2 * K1, -1)
    return np.concatenate([pairs, M[:, 2 * K1 :].T])


def project_span(initial: Mapping[str, Float[np.ndarray, "..."]], K1: int) -> Arrays:
    """Coefficients of level Z: W_Q, W_K (members, D, D) on span M and W_O (members, m, 2 K1) on span Q.

    PolysemeError if W_Q or W_K does not map span M into itself: its image would enter the logits.
    """
    words = word_frame(np.asarray(initial["M"]), K1)
    labels = concept_vectors(np.asarray(initial["Q"]), K1).reshape(2 * K1, -1)
    members = [np.atleast_3d(initial[name].T).T for name in STATE]
    state = {name: words @ weights @ words.T for name, weights in zip(STATE[:2], members[:2], strict=True)}
    for name, weights in zip(STATE[:2], members[:2], strict=True):
        outside = float(np.abs(weights @ words.T - words.T @ state[name]).max())
        # Rounding of d_x-term products of a rotated start stays below this.
        if outside > 64 * words.shape[1] * np.finfo(float).eps * max(float(np.abs(weights).max()), 1e-300):
            raise PolysemeError(
                f"level Z needs {name} to map span M into itself, got a component of size {outside:.2g} outside it; "
                "start from W_Q = W_K = sigma_0 I, or run `polyseme simulate` for the full model"
            )
    return state | {"W_O": members[2] @ labels.T}


@cache
def _function(recursion: Recursion) -> StagedFunction:
    """The gradient, the next state and the observables of a recursion, by name with a prefix."""
    slopes = dict(gradients(recursion))
    outputs = {f"gradient_{x.base.label}": (x.indices, slope) for x, slope in slopes.items()}
    outputs |= {f"next_{x.base.label}": (x.indices, recursion.update(x, slope)) for x, slope in slopes.items()}
    outputs |= {f"seen_{name}": ((), shorten(recursion, value)) for name, value in recursion.observables.items()}
    stages = definitions(recursion)
    return StagedFunction(
        stages=stages,
        outputs=outputs,
        order=nesting([meaning for _, meaning in (*stages, *outputs.values())], outermost=span.q, innermost=span.i),
        own=frozenset(str(x.base.label) for x in recursion.state),
    )


class SpanRun:
    """A derived recursion of level Z at a regime's numbers: one step, and what is recorded."""

    def __init__(self, recursion: Recursion, regime: Regime, r: Float[np.ndarray, " m"]) -> None:
        """ValueError if the recursion is that of counted prompts."""
        if not isinstance(recursion.stages, span.SpanPass):
            raise ValueError(
                f"level {recursion.level} counts its prompts; integrate it with polyseme.theory.multi_concept.dynamics.integrate"
            )
        self.recursion, self.regime = recursion, regime
        self._r = np.asarray(r, dtype=np.float64)[None]

    def kept(self, state: Arrays) -> Arrays:
        """The part of level Z's coefficients that the recursion keeps: all, or the diagonals."""
        if not self.recursion.truncated:
            return dict(state)
        return state | {name: np.diagonal(state[name], axis1=1, axis2=2).copy() for name in STATE[:2]}

    def _values(self, prefix: str, state: Arrays, prompts: Arrays, eta_t: float = 0.0) -> Arrays:
        """Forward and back at a state; the values whose names have a prefix, without it."""
        D, D_y = prompts["x"].shape[3], prompts["y"].shape[3]
        function, found = _function(self.recursion), {"q": prompts["p"].shape[1], "l": prompts["x"].shape[2]}
        found |= {"i": self._r.shape[1], "v": D_y, "s": D, "t": D, "u": D}
        sizes = {letter: found[letter.name.rstrip("'")] for letter in function.order}
        numbers = {lam: self.regime.training.lam, eta: eta_t}
        values = function({"r": self._r, **prompts, **state}, sizes, numbers)
        return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}

    def gradient(self, state: Arrays, prompts: Arrays) -> Arrays:
        """d risk / d state, arrays shaped as the state."""
        return self._values("gradient_", state, prompts)

    def step(self, state: Arrays, prompts: Arrays, eta_t: float) -> Arrays:
        """One update: the printed right-hand sides."""
        return self._values("next_", state, prompts, eta_t)

    def observe(self, state: Arrays, prompts: Arrays) -> Arrays:
        """State with the names of section 8 and as whole matrices, loss, error and attention; a member axis first."""
        K1 = self.regime.concepts.K1
        whole = {
            name: state[name] if state[name].ndim == 3 else state[name][:, :, None] * np.eye(state[name].shape[1])
            for name in STATE[:2]
        }
        at = np.arange(2 * K1).reshape(K1, 2)
        blocks = {f"{name}_blocks": matrix[:, at[:, :, None], at[:, None, :]] for name, matrix in whole.items()}
        return {
            **blocks,
            "alpha": state["W_O"][:, :, 0::2],
            "beta": state["W_O"][:, :, 1::2],
            **self._values("seen_", state, prompts),
            "W_Q_span": whole["W_Q"],
            "W_K_span": whole["W_K"],
        }


def integrate_span(
    regime: Regime,
    initial: Mapping[str, Float[np.ndarray, "..."]],
    *,
    truncated: bool = False,
    batches: Iterable[PromptTable] | None = None,
    recursion: Recursion | None = None,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """The trajectory of level Z from an initial state (section 8), and W_Q_span, W_K_span (records, D, D) beside it.

    Exact population descent of a noise-free law; with `batches`, one table per step, the stochastic recursion driven by
    the prompts of minibatches. Loss, error and attention are exact expectations under the law in both cases.
    PolysemeError if the law has noise or too many prompts, or the start leaves span M; Diverged if the run does.
    """
    training = regime.training
    chosen = recursion or derive("Z", loss=training.loss, activation=regime.model.activation, truncated=truncated)
    run = SpanRun(chosen, regime, np.asarray(initial["r"]))
    law = enumerate_prompts(regime).arrays()
    state = run.kept(project_span(initial, regime.concepts.K1))
    fed = iter(batches) if batches is not None else None
    return recorded_run(
        regime,
        state,
        level="Z",
        step=lambda now, t: run.step(now, law if fed is None else next(fed).arrays(), step_size(regime, t)),
        observe=lambda now: run.observe(now, law),
        ensemble=initial["W_Q"].ndim == 3,
        progress=progress,
    )


def truncation_residual(
    regime: Regime, initial: Mapping[str, Float[np.ndarray, "..."]], trajectory: Mapping[str, np.ndarray]
) -> Float[np.ndarray, " records"]:
    """What the diagonal truncation leaves out, along a trajectory of one member of either form: the Frobenius norm of the
    off-diagonal part of the exact expected gradient in W_Q and W_K, relative to that of the whole.
    """
    run = SpanRun(
        derive("Z", loss=regime.training.loss, activation=regime.model.activation), regime, np.asarray(initial["r"])
    )
    law, left_out = enumerate_prompts(regime).arrays(), []
    for j in range(len(trajectory["step"])):
        W_O = np.stack([trajectory["alpha"][j], trajectory["beta"][j]], axis=-1)
        state = {"W_O": W_O.reshape(1, len(W_O), -1)}
        state |= {name: trajectory[f"{name}_span"][j][None] for name in STATE[:2]}
        gradient = run.gradient(state, law)
        whole = np.concatenate([gradient[name][0].ravel() for name in STATE[:2]])
        off = np.concatenate(
            [(gradient[name][0] * (1 - np.eye(gradient[name].shape[1]))).ravel() for name in STATE[:2]]
        )
        left_out.append(float(np.linalg.norm(off) / max(np.linalg.norm(whole), np.finfo(float).tiny)))
    return np.asarray(left_out)
