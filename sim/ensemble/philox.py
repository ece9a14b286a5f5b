"""Random numbers by counter: Philox4x32-10 (Salmon et al., 2011) in tensor operations.

A number is a function of where it is used - seed, purpose, variable, member, step, place among how many - and of nothing else. So there
is no state to keep: a member's numbers do not depend on the ensemble, on chunks, on what was drawn before, or on the
device, and a run resumes from its step alone. Compiled, a float32 normal takes 1.0 ns on one core, of torch's own generator
2.7 ns (benchmarks/RESULTS.md).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from polyseme.sim.ensemble.streams import Purpose, Variable

MASK = 0xFFFFFFFF
# Less 2^32: a product with a 32-bit word then stays within int64, whose overflow a C++ compiler may take for impossible.
_MULTIPLIERS = (0xD2511F53 - 2**32, 0xCD9E8D57 - 2**32)
_WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Four random 32-bit words for each counter; counters, broadcast against each other, and words are int64."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        one, other = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        # The upper half of c (M - 2^32) is that of c M less c; the lower half is the same.
        c0, c1, c2, c3 = (
            ((other >> 32) + c2) ^ c1 ^ k0,
            other & MASK,
            ((one >> 32) + c0) ^ c3 ^ k1,
            one & MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & MASK, (k1 + _WEYL[1]) & MASK
    return c0, c1, c2, c3


def key_of(seed: int) -> tuple[int, int]:
    """The 64-bit key of a seed of any size, hashed so that neighbouring seeds have nothing in common."""
    first, second = np.random.SeedSequence(seed).generate_state(2, np.uint32)
    return int(first), int(second)


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where random numbers are used: T steps of E members, for one purpose."""

    key: tuple[int, int]
    purpose: Purpose
    steps: Int[Tensor, " T"]
    members: Int[Tensor, " E"]

    def uniform(self, variable: Variable, *shape: int) -> Float[Tensor, "T E ..."]:
        """Numbers in [0, 1) with 53 random bits, float64, independent over T, E and `shape`."""
        a, b, c, d = self._words(variable, _pieces(shape, 2))
        high, low = torch.cat([a, c], dim=-1), torch.cat([b, d], dim=-1)
        return _shaped(((high >> 5) * 2**26 + (low >> 6)).double() * 2**-53, shape)

    def normal(self, variable: Variable, *shape: int, dtype: torch.dtype = torch.float64) -> Float[Tensor, "T E ..."]:
        """Standard normals by Box and Muller; in float32 those of float64 up to 4e-4, and mostly up to 1e-6.

        A radius has 40 random bits, the angle the 24 others: |z| goes up to sqrt(2 ln 2^41) = 7.5, which a normal
        passes with probability 5e-14 (float32 normals of 24 bits end at 5.8, passed once in 10^8).
        """
        a, b, c, d = self._words(variable, _pieces(shape, 4))
        return _shaped(torch.cat([*_box_muller(a, b, dtype), *_box_muller(c, d, dtype)], dim=-1), shape)

    def _words(self, variable: Variable, count: int) -> tuple[Tensor, ...]:
        """`count` counters, four words each, for every step and member: (T, E, count)."""
        steps, members = self.steps[:, None, None], self.members[None, :, None]
        place = torch.arange(count, device=self.members.device)
        # Bits above 32 of step and member (at most 10^12 of either) go beside what is drawn.
        what = int(variable) | int(self.purpose) << 8
        rest = what | (steps >> 32) << 16 | (members >> 32) << 24
        # The place is no factor in the first round: inductor multiplies what it knows to be an index in 32 bits.
        counter = torch.broadcast_tensors(steps & MASK, place, members & MASK, rest)
        return philox((counter[0], counter[1], counter[2], counter[3]), self.key)


def _pieces(shape: tuple[int, ...], each: int) -> int:
    return -(-math.prod(shape) // each)


def _shaped(flat: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The first numbers of the last axis, in the given shape."""
    return flat[..., : math.prod(shape)].reshape(*flat.shape[:-1], *shape)


def _box_muller(a: Tensor, b: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two normals of two words: 32 + 8 bits for the radius, never 0, and 24 for the angle."""
    share = (a.to(dtype) + ((b & 0xFF).to(dtype) + 0.5) * 2**-8) * 2**-32
    radius = torch.sqrt(-2 * torch.log(share))
    angle = (b >> 8).to(dtype) * (2 * math.pi * 2**-24)
    return radius * torch.cos(angle), radius * torch.sin(angle)
