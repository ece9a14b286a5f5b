"""What randomness is for: purposes and variables, and NumPy's generators of what is drawn once (no torch).

Whatever is drawn at every step has an address instead (`polyseme.sim.ensemble.philox`): the same two words, and member, step and place.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What randomness is for. The numbers are part of every seed: add to them, never change one."""

    DICTIONARY = 0  # the frames of words and labels, shared by all members
    INIT = 1  # W_O of a member
    DATA = 2  # training prompts of a member
    EVALUATION = 3  # the fixed evaluation sample, shared by all members
    PROBE = 4  # minibatches of `polyseme.sim.multi_concept.measurements.probe.minibatch_gradients`
    SAMPLE = 5  # prompts of `polyseme.sim.multi_concept.measurements.probe.sample_prompts`
    DRIFT = 6  # noise of `polyseme.sim.multi_concept.measurements.drift`
    FRESH = 7  # prompts of `polyseme.sim.multi_concept.measurements.probe.fresh_outcomes`
    TRANSFER = 8  # prompts of `polyseme.sim.multi_concept.measurements.out_of_distribution`


class Variable(IntEnum):
    """Which random variable of a purpose. The numbers are part of every seed, as above."""

    WORDS = 0
    LABELS = 1
    OUTPUT_WEIGHTS = 2
    CONCEPT = 3
    QUERY_SIGN = 4
    FIRST_MATCH = 5
    DEMONSTRATION_SIGNS = 6
    EXTRA_CONCEPTS = 7
    EXTRA_FEATURES = 8
    WORD_NOISE = 9
    LABEL_NOISE = 10
    # The reduced sampler's (`polyseme.sim.multi_concept.training.samplers`).
    POSITIVE_COUNT = 11
    QUERY_NOISE = 12
    LOGIT_NOISE = 13
    WORD_SUM_NOISE = 14
    LABEL_SUM_NOISE = 15
    SCORE_NOISE = 16


def generator(seed: int, purpose: Purpose, variable: Variable, *, member: int = 0) -> np.random.Generator:
    """The stream of one variable, at its beginning.

    SFC64 in double precision: it is the fastest NumPy generator of normals, and its tails are not truncated
    as those of 24-bit float32 normals are. Draw uniforms and normals in C order from it and nothing else:
    they use whole 64-bit words.
    """
    key = (int(purpose), member, int(variable))
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key)))
