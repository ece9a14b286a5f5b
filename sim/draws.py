"""What is random in a prompt, drawn for many steps at once (THEORY.md section 1; no torch)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Int8

from sim.streams import Purpose, Variable, generator
from theory.setting import Regime


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The random variables of T steps of prompts for E members; the query is the last of the L + 1 words.

    `extra` says which columns of M a word carries besides its own. It, and a noise that the law does
    not have, is None.
    """

    concept: Int[np.ndarray, "T E B"]
    e: Int8[np.ndarray, "T E B"]
    signs: Int8[np.ndarray, "T E B L"]
    extra: Bool[np.ndarray, "T E B L+1 features"] | None
    word_noise: Float[np.ndarray, "T E B L+1 d_x"] | None
    label_noise: Float[np.ndarray, "T E B L d_y"] | None


class PromptStream:
    """The prompts of some members, step after step. How many steps are drawn at once changes no number."""

    def __init__(self, regime: Regime, *, purpose: Purpose, members: range, batch: int) -> None:
        """Streams of `batch` prompts a step for each of `members`, under the law of `regime`."""
        self.regime = regime
        self.batch = batch
        self._streams = {
            variable: [generator(regime.ensemble.seed, purpose, variable, member=member) for member in members]
            for variable in Variable
            if variable >= Variable.CONCEPT
        }

    def draw(self, steps: int) -> Draws:
        """The next `steps` steps (section 1)."""
        concepts, prompt = self.regime.concepts, self.regime.prompt
        concept = self._concept(steps)
        e = _signs(self._uniform(Variable.QUERY_SIGN, steps), prompt.p_plus)
        agreement = self._agreement(steps, e)
        return Draws(
            concept=concept,
            e=e,
            signs=agreement * e[..., None],
            extra=self._extra(steps, concept) if prompt.p_extra > 0 else None,
            word_noise=self._noise(Variable.WORD_NOISE, prompt.sigma_x, steps, prompt.L + 1, concepts.d_x),
            label_noise=self._noise(Variable.LABEL_NOISE, prompt.sigma_y, steps, prompt.L, concepts.d_y),
        )

    def _uniform(self, variable: Variable, steps: int, *shape: int) -> np.ndarray:
        size = (steps, self.batch, *shape)
        return np.stack([stream.random(size) for stream in self._streams[variable]], axis=1)

    def _noise(self, variable: Variable, sigma: float, steps: int, *shape: int) -> np.ndarray | None:
        if sigma == 0:
            return None
        size = (steps, self.batch, *shape)
        return np.stack([sigma * stream.standard_normal(size) for stream in self._streams[variable]], axis=1)

    def _concept(self, steps: int) -> Int[np.ndarray, "T E B"]:
        cumulative = np.cumsum(self.regime.concepts.probabilities)
        # Weights may sum to 1 only within 1e-9: dividing makes every u in [0, 1) fall below the last entry.
        return np.searchsorted(cumulative / cumulative[-1], self._uniform(Variable.CONCEPT, steps), side="right")

    def _agreement(self, steps: int, e: Int8[np.ndarray, "T E B"]) -> Int8[np.ndarray, "T E B L"]:
        """e_l e: +1 where a demonstration has the query's sign, drawn from the exact conditional law.

        A demonstration agrees with probability q = p_plus or 1 - p_plus, by the sign of the query. Given a
        match, the first one is demonstration j with probability (1 - q)^(j-1) q / (1 - (1 - q)^L); those
        before it differ from the query, those after it are as under `iid`.
        """
        L, plus = self.regime.prompt.L, self.regime.prompt.p_plus
        agrees = np.where(e > 0, plus, 1 - plus)
        agreement = _signs(self._uniform(Variable.DEMONSTRATION_SIGNS, steps, L), agrees[..., None])
        if self.regime.prompt.law == "match":
            uniform = self._uniform(Variable.FIRST_MATCH, steps)
            # log(1 - q) from p_plus itself: 1 - p_plus rounds to 1 when p_plus is tiny, and its log would be lost.
            first = np.where(e > 0, _first_match(uniform, np.log1p(-plus), L), _first_match(uniform, np.log(plus), L))
            first = first[..., None]
            position = np.arange(L)
            agreement[position < first] = -1
            agreement[position == first] = 1
        return agreement

    def _extra(self, steps: int, concept: Int[np.ndarray, "T E B"]) -> Bool[np.ndarray, "T E B W features"]:
        """Each other concept with p_extra and a sign of its own, each nu_r with p_extra; words independent."""
        concepts, prompt = self.regime.concepts, self.regime.prompt
        u = self._uniform(Variable.EXTRA_CONCEPTS, steps, prompt.L + 1, concepts.K1)
        other = np.arange(concepts.K1) != concept[..., None, None]
        extra = np.empty((*u.shape[:-1], 2 * concepts.K1 + concepts.K2), dtype=bool)
        # One uniform decides both: below p_extra p_plus the feature mu^+, from there to p_extra the feature mu^-.
        positive = prompt.p_extra * prompt.p_plus
        extra[..., 0 : 2 * concepts.K1 : 2] = other & (u < positive)
        extra[..., 1 : 2 * concepts.K1 : 2] = other & (u >= positive) & (u < prompt.p_extra)
        features = self._uniform(Variable.EXTRA_FEATURES, steps, prompt.L + 1, concepts.K2)
        extra[..., 2 * concepts.K1 :] = features < prompt.p_extra
        return extra


def _signs(uniform: np.ndarray, plus: float | np.ndarray) -> Int8[np.ndarray, "..."]:
    """+1 with probability `plus`, which is a number or broadcasts."""
    return np.where(uniform < plus, np.int8(1), np.int8(-1))


def _first_match(uniform: np.ndarray, log_miss: float, L: int) -> Int[np.ndarray, "..."]:
    """Where the first of L trials with a success succeeds, from 0; each fails with probability exp(log_miss)."""
    cumulative = -np.expm1(log_miss * np.arange(1, L + 1))  # 1 - (1 - q)^j
    return np.searchsorted(cumulative / cumulative[-1], uniform, side="right")
