"""What is random in a prompt, drawn at its address (docs/THEORY.md section 1)."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polyseme.sim.ensemble.philox import Address, key_of
from polyseme.sim.ensemble.streams import Purpose, Variable
from polyseme.theory.multi_concept.regime import Regime


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The random variables of T steps of prompts for E members; the query is the last of the L + 1 words.

    `extra` says which columns of M a word carries besides its own. It, and a noise that the law does
    not have, is None. Noise is in units of its standard deviation, sigma_x or sigma_y.
    """

    concept: Int[Tensor, "T E B"]
    e: Int[Tensor, "T E B"]
    signs: Int[Tensor, "T E B L"]
    extra: Bool[Tensor, "T E B L+1 features"] | None
    word_noise: Float[Tensor, "T E B L+1 d_x"] | None
    label_noise: Float[Tensor, "T E B L d_y"] | None
    sigma_x: float = 0.0
    sigma_y: float = 0.0


class PromptLaw:
    """The law of a regime's prompts, with its tables on a device."""

    def __init__(self, regime: Regime, *, batch: int, device: torch.device | None = None) -> None:
        """`batch` prompts a step for each member."""
        self.regime, self.batch, self.device = regime, batch, device
        self._concepts = _table(np.cumsum(regime.concepts.probabilities), device)
        # P(one of the first j demonstrations agrees | one does) for e = +1 and -1; log(1 - q) from p_plus itself: 1 - p_plus
        # rounds to 1 when p_plus is tiny, and its log would be lost.
        L, plus = regime.prompt.L, regime.prompt.p_plus
        miss = np.log1p(-plus), np.log(plus)
        self._first_match = tuple(_table(-np.expm1(x * np.arange(1, L + 1)), device) for x in miss)

    def draw(self, at: Address, *, dtype: torch.dtype = torch.float64) -> Draws:
        """The prompts of the steps and members of an address; noise in `dtype`."""
        concepts, prompt = self.regime.concepts, self.regime.prompt
        concept, e = self.concept(at), self.query_sign(at)
        normals = partial(self._normals, at, dtype)
        return Draws(
            concept=concept,
            e=e,
            signs=self._agreement(at, e) * e.unsqueeze(-1),
            extra=self.extra(at, concept) if prompt.p_extra > 0 else None,
            word_noise=normals(Variable.WORD_NOISE, prompt.L + 1, concepts.d_x) if prompt.sigma_x > 0 else None,
            label_noise=normals(Variable.LABEL_NOISE, prompt.L, concepts.d_y) if prompt.sigma_y > 0 else None,
            sigma_x=prompt.sigma_x,
            sigma_y=prompt.sigma_y,
        )

    def _normals(self, at: Address, dtype: torch.dtype, variable: Variable, *shape: int) -> Float[Tensor, "T E B ..."]:
        return at.normal(variable, self.batch, *shape, dtype=dtype)

    def concept(self, at: Address) -> Int[Tensor, "T E B"]:
        """k with probability pi_k."""
        return _place(at.uniform(Variable.CONCEPT, self.batch), self._concepts)

    def query_sign(self, at: Address) -> Int[Tensor, "T E B"]:
        """e = +1 with probability p_plus."""
        return _signs(at.uniform(Variable.QUERY_SIGN, self.batch), self.regime.prompt.p_plus)

    def _agreement(self, at: Address, e: Int[Tensor, "T E B"]) -> Int[Tensor, "T E B L"]:
        """e_l e: +1 where a demonstration has the query's sign, drawn from the exact conditional law.

        A demonstration agrees with probability q = p_plus or 1 - p_plus, by the sign of the query. Given a
        match, the first one is demonstration j with probability (1 - q)^(j-1) q / (1 - (1 - q)^L); those
        before it differ from the query, those after it are as under `iid`.
        """
        L, plus = self.regime.prompt.L, self.regime.prompt.p_plus
        agrees = torch.where(e > 0, plus, 1 - plus).unsqueeze(-1)
        agreement = _signs(at.uniform(Variable.DEMONSTRATION_SIGNS, self.batch, L), agrees)
        if self.regime.prompt.law == "match":
            uniform = at.uniform(Variable.FIRST_MATCH, self.batch)
            first = torch.where(e > 0, *(_place(uniform, table) for table in self._first_match)).unsqueeze(-1)
            position = torch.arange(L, device=self.device)
            agreement = torch.where(position < first, -1, torch.where(position == first, 1, agreement))
        return agreement

    def extra(self, at: Address, concept: Int[Tensor, "T E B"]) -> Bool[Tensor, "T E B words features"]:
        """Each other concept with p_extra and a sign of its own, each nu_r with p_extra; words independent."""
        concepts, prompt = self.regime.concepts, self.regime.prompt
        u = at.uniform(Variable.EXTRA_CONCEPTS, self.batch, prompt.L + 1, concepts.K1)
        other = torch.arange(concepts.K1, device=self.device) != concept[..., None, None]
        # One uniform decides both: below p_extra p_plus the feature mu^+, from there to p_extra the feature mu^-.
        positive = prompt.p_extra * prompt.p_plus
        signed = torch.stack([other & (u < positive), other & (u >= positive) & (u < prompt.p_extra)], dim=-1)
        features = at.uniform(Variable.EXTRA_FEATURES, self.batch, prompt.L + 1, concepts.K2) < prompt.p_extra
        return torch.cat([signed.flatten(-2), features], dim=-1)


class PromptStream:
    """The prompts of some members, step after step."""

    def __init__(
        self,
        regime: Regime,
        *,
        purpose: Purpose,
        members: range,
        batch: int,
        first: int = 0,
        device: torch.device | None = None,
    ) -> None:
        """Prompts of `batch` a step for each of `members`, under the law of `regime`, from step `first`."""
        self.regime, self.batch = regime, batch
        self._law, self._purpose = PromptLaw(regime, batch=batch, device=device), purpose
        self._members, self._next = torch.tensor(members, device=device), first

    def draw(self, steps: int) -> Draws:
        """The next `steps` steps (section 1)."""
        numbers = torch.arange(self._next, self._next + steps, device=self._members.device)
        self._next += steps
        key = key_of(self.regime.ensemble.seed)
        return self._law.draw(Address(key=key, purpose=self._purpose, steps=numbers, members=self._members))


def _signs(uniform: Float[Tensor, "..."], plus: float | Tensor) -> Int[Tensor, "..."]:
    """+1 with probability `plus`, which is a number or broadcasts."""
    return torch.where(uniform < plus, 1, -1)


def _place(uniform: Float[Tensor, "..."], cumulative: Float[Tensor, " n"]) -> Int[Tensor, "..."]:
    """The first entry of a cumulative distribution that lies above `uniform`."""
    return torch.bucketize(uniform.contiguous(), cumulative, right=True)


def _table(cumulative: np.ndarray, device: torch.device | None) -> Float[Tensor, " n"]:
    # Weights may sum to 1 only within 1e-9: dividing makes every u in [0, 1) fall below the last entry.
    return torch.from_numpy(cumulative / cumulative[-1]).to(device)
