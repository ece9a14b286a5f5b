"""The coefficient recursion, derived from the forward pass by differentiation (docs/THEORY.md sections 2 to 4).

Nothing of the recursion is written by hand, nor which coefficients it has: the closure finds those that live, and since the
coefficient of the gradient is the gradient in the coefficient (section 2), each equation is a derivative of the risk,
with symbolic sums over neurons and prompts.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal, cast

import sympy as sp

from polyseme.errors import PolysemeError
from polyseme.theory.calculus.derivative import differentiate
from polyseme.theory.calculus.functions import ACTIVATIONS, LOSSES
from polyseme.theory.calculus.staged import Definition, derivatives
from polyseme.theory.multi_concept.derivation.closure import LEVELS, Closure, closure
from polyseme.theory.multi_concept.derivation.noisy_closure import noise_closure
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.model import noisy as noise
from polyseme.theory.multi_concept.model import span
from polyseme.theory.multi_concept.model.letters import RANGES

Level = Literal["S", "B", "N", "Z"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Recursion:
    """A derived recursion: x(t+1) = x - eta (gradient + shrinkage) for each coefficient x of the state.

    `gradient` and `shrinkage` map each coefficient, such as W_Q^{ba}[k] or alpha[i, k], to the derivative of
    the risk and of the penalty; `observables` to what is recorded; `closure` says why these coefficients and no others.
    The same object is printed by `show.py`, compiled by `numerics` (levels S and B) and `calculus.staged_function` (levels N and Z),
    and shown in the report. `truncated`: only the diagonal of level Z is kept. Equal to nothing but itself.
    """

    level: Level
    closure: Closure
    loss: str
    activation: str
    truncated: bool
    stages: fw.ForwardPass | span.SpanPass | noise.NoisePass
    adjoints: tuple[Definition, ...] = ()
    risk: sp.Expr
    penalty: sp.Expr
    gradient: dict[sp.Indexed, sp.Expr]
    shrinkage: dict[sp.Indexed, sp.Expr]
    observables: dict[str, sp.Expr]

    @property
    def state(self) -> tuple[sp.Indexed, ...]:
        """The coefficients that live, in the order W_Q, W_K, alpha, beta."""
        return tuple(self.gradient)

    @property
    def counted(self) -> fw.ForwardPass:
        """The stages of a pure prompt in counts (levels S and B); ValueError for level Z, whose prompts are numbered."""
        if not isinstance(self.stages, fw.ForwardPass):
            raise ValueError(f"level {self.level} numbers its prompts; levels S and B count them")
        return self.stages

    @property
    def noisy(self) -> noise.NoisePass:
        """The stages of level N, in whose names its gradient is written; ValueError for another level."""
        if not isinstance(self.stages, noise.NoisePass):
            raise ValueError(f"level {self.level} has no noise; level N has")
        return self.stages

    def __str__(self) -> str:
        """The equations as text, as `polyseme derive` prints them."""
        # Here, because the printers import this module.
        from polyseme.theory.multi_concept.article.show import as_text

        return as_text(self)

    def _repr_latex_(self) -> str:
        """What a notebook shows: the named stages and the updates, as `polyseme derive --format latex` prints them."""
        # Here, because the printers import this module.
        from polyseme.theory.multi_concept.article.show import latex_equations

        rows = (f"{left} &{relation} {right}" for left, relation, right in latex_equations(self))
        return "$$\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}$$"

    def update(self, coefficient: sp.Indexed, gradient: sp.Expr | None = None) -> sp.Expr:
        """The right-hand side of one equation, x - eta (gradient + shrinkage).

        Printed with the derivative of the risk in it; compiled with an array name for `gradient`, since the sum over
        prompts is evaluated in blocks.
        """
        decay = sp.collect(coefficient - fw.eta * self.shrinkage[coefficient], coefficient)
        return decay - fw.eta * (self.gradient[coefficient] if gradient is None else gradient)


def derive(level: str = "B", *, loss: str = "logistic", activation: str = "relu", truncated: bool = False) -> Recursion:
    """Derive the recursion of a level of section 4 (S, B, N or Z), for a loss and an activation named in `functions.py`.

    The closure says which blocks live. If they stay within the concepts, the state is their entries and prompts are
    counted; else it is all of span M and prompts are numbered. `truncated` keeps the diagonal of the latter alone.
    Each is derived once per process. PolysemeError for a name that is not known, and for `truncated` without level Z.
    """
    for key, got, known, first in (
        ("level", level, LEVELS, "B"),
        ("loss", loss, LOSSES, "logistic"),
        ("activation", activation, ACTIVATIONS, "relu"),
    ):
        if got not in known:
            raise PolysemeError(f"got {key}={got!r}, expected one of {', '.join(known)}; type {key}={first!r}")
    if truncated and level != "Z":
        raise PolysemeError(
            f"got truncated=True with level={level!r}, which is exact as it is; type level='Z', truncated=True"
        )
    return _derived(cast(Level, level), loss, activation, truncated)


@cache
def _derived(level: Level, loss: str, activation: str, truncated: bool) -> Recursion:
    if level == "N":
        return _noisy(noise_closure(LEVELS[level], loss=loss, activation=activation), loss, activation)
    living = closure(LEVELS[level], loss=loss, activation=activation)
    if not living.across:
        entries = {name: living.within_concept(name) for name in ("W_Q", "W_K")}
        stages = fw.forward_pass(entries, activation)
        risk, penalty = fw.risk(stages, loss), fw.penalty(entries)
        families = {"W_Q": fw.W_Q, "W_K": fw.W_K}
        blocks = tuple(families[name][entry][fw.k] for name in families for entry in entries[name])
        state = (*blocks, fw.alpha[fw.i, fw.k], fw.beta[fw.i, fw.k])
        observables = fw.observables(stages, risk)
    else:
        stages = span.forward_pass(activation, diagonal=truncated)
        risk, penalty = span.risk(stages, loss), span.penalty(diagonal=truncated)
        state = span.state(diagonal=truncated)
        observables = span.observables(stages, risk)
    return Recursion(
        level=level,
        closure=living,
        loss=loss,
        activation=activation,
        truncated=truncated,
        stages=stages,
        risk=risk,
        penalty=penalty,
        gradient={x: differentiate(risk, x, RANGES) for x in state},
        shrinkage={x: differentiate(penalty, x, RANGES) for x in state},
        observables=observables,
    )


def _noisy(living: Closure, loss: str, activation: str) -> Recursion:
    """Level N: the same derivatives, taken stage by stage."""
    stages = noise.forward_pass(activation)
    risk, penalty, state = noise.risk(stages, loss), noise.penalty(), noise.state()
    slopes = derivatives(stages.definitions, risk, state, RANGES)
    return Recursion(
        level="N",
        closure=living,
        loss=loss,
        activation=activation,
        truncated=False,
        stages=stages,
        adjoints=slopes.adjoints,
        risk=risk,
        penalty=penalty,
        gradient=slopes.gradient,
        shrinkage={x: differentiate(penalty, x, RANGES) for x in state},
        observables=noise.observables(stages, risk),
    )
