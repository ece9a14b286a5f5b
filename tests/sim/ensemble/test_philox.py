"""The generator: known answers, and numbers that depend on their address and on nothing else."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from polyseme.sim.ensemble.philox import MASK, Address, key_of, philox
from polyseme.sim.ensemble.streams import Purpose, Variable

# Random123's known answers for philox4x32 of 10 rounds: counter, key, words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((MASK,) * 4, (MASK, MASK), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
SMALLEST_P = 1e-6


def address(*, seed=0, purpose=Purpose.DATA, steps=(0,), members=(0,)) -> Address:
    return Address(key=key_of(seed), purpose=purpose, steps=torch.tensor(steps), members=torch.tensor(members))


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(counter, key, words):
    got = philox(tuple(torch.tensor([word]) for word in counter), key)
    assert tuple(int(word) for word in got) == words


def test_every_part_of_an_address_changes_the_numbers():
    far = 2**32  # steps and members beyond 32 bits
    numbers = [
        address(seed=seed, purpose=purpose, steps=(step,), members=(member,)).uniform(variable, 3).numpy().tobytes()
        for seed, purpose, step, member, variable in itertools.product(
            (0, 1, 2**40, 2**70),
            (Purpose.DATA, Purpose.PROBE),
            (0, 1, far, 200 * far),
            (0, 1, far, 200 * far),
            (Variable.CONCEPT, Variable.WORD_NOISE),
        )
    ]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("draw", [Address.uniform, Address.normal])
def test_a_block_holds_the_numbers_of_its_steps_and_members(draw):
    block = draw(address(steps=(4, 5, 6), members=(2, 0, 9)), Variable.WORD_NOISE, 5, 3)
    for (i, step), (j, member) in itertools.product(enumerate((4, 5, 6)), enumerate((2, 0, 9))):
        alone = draw(address(steps=(step,), members=(member,)), Variable.WORD_NOISE, 5, 3)
        assert torch.equal(block[i, j], alone[0, 0])


def test_uniforms_are_uniform_and_normals_normal():
    at = address(steps=tuple(range(40)), members=tuple(range(25)))
    uniform, normal = at.uniform(Variable.CONCEPT, 101), at.normal(Variable.WORD_NOISE, 101)
    assert uniform.min() >= 0 and uniform.max() < 1
    assert stats.kstest(uniform.ravel().numpy(), "uniform").pvalue > SMALLEST_P
    assert stats.kstest(normal.ravel().numpy(), "norm").pvalue > SMALLEST_P
    # Neighbours of every kind, and the two normals of one pair, are uncorrelated: a product has mean 0, deviation 1.
    for axis, lag in itertools.product(range(3), (1, 26, 52)):
        z = normal.numpy()
        if lag < z.shape[axis]:
            product = np.take(z, range(lag, z.shape[axis]), axis) * np.take(z, range(z.shape[axis] - lag), axis)
            assert abs(product.mean()) < 5 / np.sqrt(product.size)


def test_both_precisions_draw_the_same_numbers_up_to_round_off():
    at = address(steps=tuple(range(20)), members=tuple(range(20)))
    double = at.normal(Variable.WORD_NOISE, 999)
    single = at.normal(Variable.WORD_NOISE, 999, dtype=torch.float32)
    # Of a share near 1 float32 keeps 2^-24, which moves a radius of sqrt(2 (1 - share)) by up to sqrt(2^-23) = 3.5e-4.
    assert (single.double() - double).abs().max() < 4e-4
    assert (single.double() - double).abs().mean() < 1e-6


def test_tails_go_further_than_those_of_24_bits():
    words = torch.tensor([0]), torch.tensor([0]), torch.tensor([MASK]), torch.tensor([MASK])
    from polyseme.sim.ensemble.philox import _box_muller

    for dtype in (torch.float32, torch.float64):
        largest, _ = _box_muller(words[0], words[1], dtype)
        smallest = torch.stack(_box_muller(words[2], words[3], dtype))
        assert 7.5 < largest.item() < 7.6
        assert smallest.isfinite().all()
    # Ten million normals: 5.77 is passed by 0.08 of them on average, 5 by 5.7; no tail is cut below that.
    normals = address(steps=tuple(range(100)), members=tuple(range(100))).normal(Variable.WORD_NOISE, 1000)
    assert 15 > int((normals.abs() > 5).sum()) > 0
