"""Single concepts under population descent, many side by side, each with numbers of its own (docs/THEORY.md sections 3 and 4).

Pure prompts of one concept never meet another's coefficients: the level-B descent of a regime is that of each of its concepts
alone, with its gradient times pi_k. So concepts of different regimes (overlaps, penalty, weight pi_k, start, step size) can be
the members of one ensemble, as long as they share the number of demonstrations, the width and the prompt law. The derived
source is that of `ensemble.py`; here its numbers have an entry for each member, too.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from polyseme.theory.calculus.elementwise import half_log_odds
from polyseme.theory.multi_concept.coefficients import Arrays
from polyseme.theory.multi_concept.dynamics.ensemble import members_last
from polyseme.theory.multi_concept.numerics.lower import stepped
from polyseme.theory.multi_concept.prompts.law import prompt_probabilities
from polyseme.theory.multi_concept.regime import Regime

Row = Float[np.ndarray, " member"]
Neurons = Float[np.ndarray, "m member"]
Prompts = Float[np.ndarray, "2 counts member"]

_SIGNS = np.array([1.0, -1.0])[:, None, None]


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What differs from member to member: overlaps, penalty, weight pi_k of the concept, and a constant step size."""

    kappa_x: Row
    kappa_y: Row
    lam: Row
    weight: Row
    eta: Row


@dataclass(frozen=True, kw_only=True)
class Start:
    """W_Q = W_K = sigma_0 I and the neurons' coefficients on one concept."""

    sigma_0: Row
    alpha: Neurons
    beta: Neurons


def on_own_label(alpha: Neurons, beta: Neurons, r: Float[np.ndarray, " m"], kappa_y: Row) -> Neurons:
    """h_i on the label whose sign is that of r_i: n_c alpha + sgn(r_i) n_d beta."""
    n_c, n_d = np.sqrt((1 + kappa_y) / 2), np.sqrt((1 - kappa_y) / 2)
    return n_c * alpha + np.sign(r)[:, None] * n_d * beta


class Concepts:
    """Single concepts after `t` steps of population descent; logistic loss, ReLU, fair signs."""

    def __init__(
        self, *, L: int, r: Float[np.ndarray, " m"], numbers: Numbers, start: Start, law: str = "match"
    ) -> None:
        """`law` is that of section 1, the same for all."""
        regime = Regime().replace(concepts={"K1": 1, "K2": 0, "d_x": 2, "d_y": 2}, prompt={"L": L, "law": law})
        self.L, self.r, self.given, self.t = L, np.asarray(r, dtype=np.float64), numbers, 0
        self.law: Float[np.ndarray, "2 counts"] = prompt_probabilities(regime)[0]
        self._norms = {
            "n_a": np.sqrt((1 + numbers.kappa_x) / 2),
            "n_b": np.sqrt((1 - numbers.kappa_x) / 2),
            "n_c": np.sqrt((1 + numbers.kappa_y) / 2),
            "n_d": np.sqrt((1 - numbers.kappa_y) / 2),
        }
        self._numbers = {name: _as_row(row) for name, row in {**self._norms, "lam": numbers.lam}.items()} | {
            "r": self.r[:, None, None, None, None],
            "e": _SIGNS[None, None],
            "n_plus": np.arange(L + 1.0)[None, None, None, :, None],
            "L": float(L),
            "p": self.law[None, None, :, :, None] * _as_row(numbers.weight),
        }
        self._system, self._f = members_last("logistic", "relu")
        self._state: Arrays = {
            f"{name}_{entry}": _as_row(start.sigma_0 * (entry in ("aa", "bb")))
            for name in ("W_Q", "W_K")
            for entry in ("aa", "ab", "ba", "bb")
        }
        self._state |= {"alpha": start.alpha[:, None, None, None], "beta": start.beta[:, None, None, None]}

    @property
    def members(self) -> int:
        """How many there are."""
        return len(self.given.lam)

    @property
    def alpha(self) -> Neurons:
        """Coefficients of the neurons on c^."""
        return self._state["alpha"][:, 0, 0, 0]

    @property
    def beta(self) -> Neurons:
        """Coefficients of the neurons on d^."""
        return self._state["beta"][:, 0, 0, 0]

    def weight(self, name: str, entry: str) -> Row:
        """One coefficient of W_Q or W_K, such as ("W_Q", "bb")."""
        return self._state[f"{name}_{entry}"][0, 0, 0, 0]

    def product(self, s: str, t: str) -> Row:
        """G^{st} of G = W_K^T W_Q, for s, t in "ab"."""
        return np.sum([self.weight("W_K", u + s) * self.weight("W_Q", u + t) for u in "ab"], axis=0)

    def descend(self) -> None:
        """One update of every member by the exact expectation, with its own step size."""
        self._state = stepped(self._system, self._numbers | {"eta": _as_row(self.given.eta)}, self._state)
        self.t += 1

    def mean_sign(self) -> Prompts:
        """ebar of each prompt (e, n+), by its closed form (section 3)."""
        n_a, n_b, n = self._norms["n_a"], self._norms["n_b"], np.arange(self.L + 1.0)[None, :, None]
        g = n_b * (n_a * self.product("b", "a") + _SIGNS * n_b * self.product("b", "b"))
        return np.tanh(g + half_log_odds(n, self.L))

    def attention(self) -> Row:
        """The mean correct attention weight of the concept's prompts."""
        return np.einsum("en,enj->j", self.law, (1 + _SIGNS * self.mean_sign()) / 2)

    def output(self) -> Prompts:
        """f of each prompt (e, n+)."""
        arguments = self._numbers | self._state
        f = np.asarray(self._f({name: arguments[name] for name in self._f.names})["f"])
        return np.broadcast_to(f, (*f.shape[:-1], self.members))[0, 0]

    def error(self) -> Row:
        """The exact 0-1 error P(e f <= 0) on the concept's prompts."""
        return np.einsum("en,enj->j", self.law, self.output() * _SIGNS <= 0)

    def on_own_label(self) -> Neurons:
        """h_i on the label whose sign is that of r_i."""
        return on_own_label(self.alpha, self.beta, self.r, self.given.kappa_y)

    def feed(self) -> Row:
        """-n_b^2 Gamma_k, what multiplies W_K^{bb} in the update of W_Q^{bb}, written out from the forward pass (section 3)."""
        ebar, f = self.mean_sign(), self.output()
        n_c, n_d = self._norms["n_c"], self._norms["n_d"]
        h = n_c * self.alpha[:, None, None] + n_d * ebar * self.beta[:, None, None]
        slope = -_SIGNS / (1 + np.exp(_SIGNS * f))
        Lam = n_d * slope * np.einsum("i,ij,ienj->enj", self.r, self.beta, h > 0)
        Gamma = np.einsum("en,enj->j", self.law, _SIGNS * Lam * (1 - ebar**2)) * self.given.weight
        return -(self._norms["n_b"] ** 2) * Gamma


def _as_row(row: Row) -> Float[np.ndarray, "1 1 1 1 member"]:
    return np.asarray(row, dtype=np.float64)[None, None, None, None, :].copy()
