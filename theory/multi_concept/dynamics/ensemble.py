"""The stochastic reduced recursion of many members side by side (docs/THEORY.md sections 4 and 5).

The same generated source as for one member, over arrays whose last axis is the member: neurons, concepts, signs and counts are
then a few hundred long rows of numbers, and every operation runs along the members. Nothing is random here: the counts of
prompts in each minibatch are given.
"""

from collections.abc import Mapping
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from polyseme.theory.calculus.elementwise import ELEMENTWISE
from polyseme.theory.multi_concept.coefficients import Arrays, constants, from_layout, to_layout
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.dynamics.integrate import step_size
from polyseme.theory.multi_concept.numerics.lower import ArrayFunction, Runtime, System, stepped
from polyseme.theory.multi_concept.numerics.machine import compile_machine, machine
from polyseme.theory.multi_concept.prompts.law import prompt_probabilities
from polyseme.theory.multi_concept.regime import Regime

Margins = Float[np.ndarray, "K1 2 counts member"]

# Of the five axes, (neuron, concept, sign e, count n+, member): neuron and member have changed places.
_AXIS = {"1": 1, "2": 2, "3": 3, "4": 0}


def _total(axes: tuple[str, ...]) -> Any:
    return lambda x: np.sum(x, axis=tuple(_AXIS[axis] for axis in axes), keepdims=True)


def _contract(axes: tuple[int, ...]) -> Any:
    return lambda full, weight: np.sum(full * weight, axis=axes, keepdims=True)


MEMBERS_LAST: Runtime = {
    **ELEMENTWISE,
    "contract4": _contract((0,)),
    "contract23": _contract((2, 3)),
    **{f"total{''.join(axes)}": _total(axes) for size in (1, 2, 3, 4) for axes in combinations("1234", size)},
}


@cache
def members_last(loss: str, activation: str) -> tuple[System, ArrayFunction]:
    """Level B, and its margins e f, compiled for members on the last axis; once per process."""
    recursion = derive("B", loss=loss, activation=activation)
    margins = machine({"f": recursion.counted.f}, layout="members last", runtime=MEMBERS_LAST)
    return compile_machine(recursion, layout="members last", runtime=MEMBERS_LAST), margins


def _turned(array: Num[np.ndarray, "..."]) -> Num[np.ndarray, "..."]:
    return np.ascontiguousarray(np.swapaxes(array, 0, 4))


class Ensemble:
    """Members of the stochastic reduced recursion at one step `t`, all of one regime of pure prompts."""

    def __init__(
        self,
        regime: Regime,
        r: Float[np.ndarray, " m"],
        coefficients: Mapping[str, Float[np.ndarray, "..."]],
        *,
        members: int | None = None,
        t: int = 0,
    ) -> None:
        """`coefficients` have the names of section 8, with a member axis; or none, to start `members` copies from them."""
        numbers = constants(regime, r)
        self.regime, self.t, self.r = regime, t, np.asarray(r, dtype=np.float64)
        self.law = prompt_probabilities(regime)
        self.numbers = {name: _turned(x) if isinstance(x, np.ndarray) else x for name, x in numbers.items()}
        self._system, self._f = members_last(regime.training.loss, regime.model.activation)
        self.state = {name: _turned(x) for name, x in to_layout(coefficients).items()}
        if members is not None:
            self.state = {name: np.repeat(x, members, axis=-1) for name, x in self.state.items()}

    @property
    def members(self) -> int:
        """How many there are."""
        return self.state["alpha"].shape[-1]

    def advance(self, counts: Int[np.ndarray, "member K1 2 counts"]) -> None:
        """One update of every member, each by its own minibatch: how many of its prompts are (k, e, n+)."""
        batch = counts[0].sum()
        self._update(np.moveaxis(counts, 0, -1)[None] / batch)

    def descend(self) -> None:
        """One update of every member by the exact expectation."""
        self._update(self.numbers["p"])

    def gradient(self, p: Float[np.ndarray, "1 K1 2 counts member"] | None = None) -> Arrays:
        """The gradient of the risk in each coefficient, at the frequencies `p` of prompts or under their law."""
        given = self.numbers if p is None else self.numbers | {"p": p}
        values = self._system.gradient({name: (given | self.state)[name] for name in self._system.gradient.names})
        return {name: np.asarray(value) for name, value in values.items()}

    def _update(self, p: Any) -> None:
        self.state = stepped(self._system, self.numbers | {"p": p, "eta": step_size(self.regime, self.t)}, self.state)
        self.t += 1

    def margins(self) -> Margins:
        """e f of every prompt (k, e, n+)."""
        f = np.asarray(self._f({name: (self.numbers | self.state)[name] for name in self._f.names})["f"])
        return np.broadcast_to(f * self.numbers["e"], (*f.shape[:-1], self.members))[0]

    def error(self) -> Float[np.ndarray, " member"]:
        """The exact 0-1 error P(e f <= 0) of each member under the prompt law."""
        return np.einsum("ken,kenj->j", self.law, self.margins() <= 0)

    def is_extinct(self) -> Bool[np.ndarray, "K1 2 member"]:
        """Whether every gate of a concept is shut for ever among the neurons of one sign of r, + first (section 6.7).

        h is linear in the mean sign, so a gate that is shut on both labels of a concept is shut on all mixtures; its neuron then
        gets no gradient, and its decay keeps both signs. So extinction lasts, and the prompts of that label stay wrong.
        """
        if self.regime.model.activation != "relu":
            return np.zeros((self.regime.concepts.K1, 2, self.members), dtype=bool)
        on_both = self.numbers["n_c"] * self.state["alpha"] + self.numbers["n_d"] * np.abs(self.state["beta"])
        shut = on_both[:, :, 0, 0] <= 0
        of_sign = [self.r * sign > 0 for sign in (1, -1)]
        return np.stack([shut[which].all(axis=0) for which in of_sign], axis=1)

    def pick(self, chosen: Int[np.ndarray, " n"] | slice) -> "Ensemble":
        """An ensemble of some of the members, repeated as often as they are named."""
        other = object.__new__(Ensemble)
        state = {name: np.ascontiguousarray(x[..., chosen]) for name, x in self.state.items()}
        other.__dict__ |= self.__dict__ | {"state": state}
        return other

    def coefficients(self) -> Arrays:
        """The coefficients with the names of section 8 and a member axis."""
        return from_layout({name: np.swapaxes(x, 0, 4) for name, x in self.state.items()})
