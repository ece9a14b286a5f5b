"""Which blocks live at level N, each with its reason (docs/THEORY.md section 4).

Noise is isotropic, so the law of prompts is unchanged by rotations of the space that no feature reaches, and there W_Q and W_K
stay multiples of the identity, apart from all else. With other concepts in the words every block between directions of
concepts is reached; that each has a gradient is shown by a witness, level N's own gradient at a point without relations.
"""

from functools import cache
from itertools import product

import numpy as np

from polyseme.theory.calculus.named import NamedAxes
from polyseme.theory.calculus.staged import derivatives
from polyseme.theory.multi_concept.derivation.closure import (
    CONCEPT_BLOCKS,
    Block,
    Closure,
    Fate,
    Hypotheses,
    kind,
    numbers,
)
from polyseme.theory.multi_concept.derivation.noisy_rows import prompt_rows
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.model import noisy as noise
from polyseme.theory.multi_concept.model.letters import RANGES
from polyseme.theory.multi_concept.regime import Regime

_NAMES = (("a", 1), ("b", 1), ("a", 2), ("b", 2))
_ALL = (*_NAMES, ("nu", 1), ("nu", 2), ("perp", 0))
_NEURONS = 6


@cache
def noise_closure(hypotheses: Hypotheses, *, loss: str, activation: str) -> Closure:
    """The fate of every kind of block under noise and few extras; AssertionError if a witness is missing."""
    slopes = _slopes(loss, activation)
    fates: dict[str, dict[Block, Fate]] = {"W_Q": {}, "W_K": {}}
    for name, (s, t) in product(fates, product(_ALL, repeat=2)):
        block, inside = kind(s, t), {s[0], t[0]} <= {"a", "b"}
        if inside:
            size = slopes[name, block]
            if size < 1e-10:  # round-off of sums of some hundred terms of order one is far below
                raise AssertionError(f"level N has no gradient in {name}^{block}")
            start = block in CONCEPT_BLOCKS
            reason = "may be non-zero at the start" if start else "another concept in a word has a part along it"
            fates[name][block] = Fate(lives=True, reason=reason, witness=size)
        elif block in (("nu", "nu"), ("perp", "perp")):
            fates[name][block] = Fate(
                lives=True,
                reason="non-zero at the start; it decays, but for terms of fourth order in sigma_x and of second in p_extra",
            )
        else:
            fates[name][block] = Fate(
                lives=False,
                reason="noise has no direction there, and features nu matter at second order in p_extra alone",
            )
    return Closure(hypotheses=hypotheses, fates=fates)


def _slopes(loss: str, activation: str) -> dict[tuple[str, Block], float]:
    """Largest gradient of each kind of block at a point where all blocks on the concepts are on, relative to the largest."""
    regime = Regime().replace(
        concepts={"K1": 2, "K2": 0, "d_x": 5, "d_y": 5, "weights": [0.4375, 0.5625]},
        prompt={"L": 3, "p_extra": 0.0625, "sigma_x": 0.125, "sigma_y": 0.25},
    )
    value = numbers()
    weights = {name: np.array([[[next(value) for _ in _NAMES] for _ in _NAMES]]) for name in ("W_Q", "W_K")}
    W_O = np.array([[[next(value) for _ in _NAMES] for _ in range(_NEURONS)]])
    W_O[:, :, 0::2] += 0.4  # most gates open
    arrays = prompt_rows(regime).arrays() | weights
    arrays |= {"W_O": W_O, "rho": np.full((1, _NEURONS), 0.5), "G_perp": np.full(1, 0.25)}
    arrays["r"] = np.array([[(-1.0) ** j / _NEURONS for j in range(_NEURONS)]])
    sizes = dict.fromkeys((noise.s, noise.t, noise.u, noise.w, noise.v), len(_NAMES))
    sizes |= {noise.q: arrays["n"].shape[1], noise.j: arrays["n"].shape[2], fw.i: _NEURONS}
    scalars = {noise.d_x: 5.0, noise.D: 4.0, noise.sigma_x: 0.125, noise.sigma_y: 0.25}
    evaluation = NamedAxes(arrays, sizes, scalars)
    stages = noise.forward_pass(activation)
    back = derivatives(stages.definitions, noise.risk(stages, loss), noise.state()[:2], RANGES)
    for definition in (*stages.definitions, *back.adjoints):
        evaluation.define(definition.name, definition.meaning)
    found: dict[tuple[str, Block], float] = {}
    for coefficient, slope in back.gradient.items():
        gradient = np.abs(evaluation(slope, coefficient.indices)[0])
        for (row, s), (column, t) in product(enumerate(_NAMES), repeat=2):
            key = (str(coefficient.base.label), kind(s, t))
            found[key] = max(found.get(key, 0.0), float(gradient[row, column]))
    largest = max(found.values())
    return {key: size / largest for key, size in found.items()}
