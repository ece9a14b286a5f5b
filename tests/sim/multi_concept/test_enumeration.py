"""The exact expectation over noise-free prompts with extra features, against a loop over all ordered prompts."""

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch

from polyseme.sim.multi_concept.measurements.probe import population_gradient, sample_prompts, sequence_of_prompts
from polyseme.sim.multi_concept.plan import enumerated_prompts
from polyseme.sim.multi_concept.prompts.enumeration import enumerate_prompts
from polyseme.sim.multi_concept.prompts.tensors import Dictionaries
from polyseme.sim.multi_concept.training.evaluate import _sample
from polyseme.sim.multi_concept.training.initial import WEIGHTS, draw_initial
from polyseme.sim.multi_concept.training.train import simulate

# Sums of some thousand float64 terms of order 1, which a factor of 10 covers.
ROUND_OFF = 1e-12
# A standardised deviation of 5 has probability 6e-7, and there are some dozens of them.
SIGMAS = 5
# Fractions of powers of two, so that floats hold them exactly; no two of the probabilities of a sign are equal.
PLUS, EXTRA = Fraction(5, 16), Fraction(3, 8)
SMALL = {"K1": 2, "K2": 1, "d_x": 6, "d_y": 5, "weights": [0.25, 0.75]}


@pytest.fixture
def small_regime(random_regime):
    def make(law, **changes):
        prompt = {"L": 2, "law": law, "p_plus": float(PLUS), "p_extra": float(EXTRA)}
        sections = {"concepts": SMALL, "prompt": prompt, "training": {"batch": "population", "steps": 0}}
        sections["model"] = {}
        return random_regime(3, **{name: table | changes.get(name, {}) for name, table in sections.items()})

    return make


def ordered_prompts(law, L):
    """All prompts of K1 = 2, K2 = 1, word by word as section 1 has it: [(k, e, words), probability].

    A word is (own sign, sign of the other concept or 0, whether nu_1 is there); the query is the last.
    """
    of_sign = {1: PLUS, -1: 1 - PLUS}
    of_other = {0: 1 - EXTRA, 1: EXTRA * PLUS, -1: EXTRA * (1 - PLUS)}
    of_nu = {0: 1 - EXTRA, 1: EXTRA}
    extras = list(itertools.product(of_other, of_nu))
    prompts = []
    for k, e, *signs in itertools.product((0, 1), (1, -1), *[(1, -1)] * L):
        own = math.prod(of_sign[sign] for sign in signs)
        if law == "match":
            own = own / (1 - of_sign[-e] ** L) if e in signs else 0
        if not own:
            continue
        for carried in itertools.product(extras, repeat=L + 1):
            weight = math.prod(of_other[other] * of_nu[nu] for other, nu in carried)
            words = tuple((sign, *extra) for sign, extra in zip((*signs, e), carried, strict=True))
            prompts.append(((k, e, words), Fraction(SMALL["weights"][k]) * of_sign[e] * own * weight))
    return prompts


def vectors(state, prompts):
    """x (N, L, d_x), y (N, L, d_y), x_query (N, d_x), e (N,), signs (N, L) of ordered prompts."""
    z = np.zeros((len(prompts), len(prompts[0][2]), 5))
    for n, (k, _, words) in enumerate(prompts):
        for position, (sign, other, nu) in enumerate(words):
            z[n, position, 2 * k + (sign < 0)] = 1
            z[n, position, 4] = nu
            if other:
                z[n, position, 2 * (1 - k) + (other < 0)] = 1
    x, y = z @ state["M"].T, z[..., :4] @ state["Q"].T
    e = np.array([prompt[1] for prompt in prompts], dtype=float)
    signs = np.array([[word[0] for word in prompt[2][:-1]] for prompt in prompts])
    return x[:, :-1], y[:, :-1], x[:, -1], e, signs


def outcomes(state, x, y, x_query, e, signs, activation="relu"):
    """Logistic loss, 0-1 error and correct attention of every prompt, (N,) each: section 1 in NumPy."""
    s = np.einsum("nli,ni->nl", x @ state["W_K"].T, x_query @ state["W_Q"].T)
    p = np.exp(s) / np.exp(s).sum(1, keepdims=True)
    h = np.einsum("nl,nlj->nj", p, y) @ state["W_O"].T
    f = (np.maximum(h, 0) if activation == "relu" else h) @ state["r"]
    return {
        "loss": np.log1p(np.exp(-e * f)),
        "error": (e * f <= 0).astype(float),
        "attention": (p * (signs == e[:, None])).sum(1),
    }


def expectations(state, law, activation="relu"):
    prompts, weights = zip(*ordered_prompts(law, 2), strict=True)
    weights = np.array([float(weight) for weight in weights])
    values = outcomes(state, *vectors(state, prompts), activation)
    return {name: weights @ value for name, value in values.items()}


def enumerated(regime, state):
    return enumerate_prompts(regime, Dictionaries.of(state, device=torch.device("cpu"), dtype=torch.float64))


def read(vectors, matrix):
    """z of x = M z, whole numbers without noise."""
    z = vectors @ np.linalg.pinv(matrix).T
    np.testing.assert_allclose(z, np.rint(z), atol=1e-12)
    return np.rint(z).astype(int)


@pytest.mark.parametrize("law", ["match", "iid"])
@pytest.mark.parametrize("L", [1, 2, 3])  # with three, the two signs can have different numbers of words
def test_enumeration_is_all_ordered_prompts_gathered(L, law, small_regime):
    ordered = ordered_prompts(law, L)
    assert sum(weight for _, weight in ordered) == 1
    expected = Counter()
    for (k, e, words), weight in ordered:
        expected[k, e, tuple(sorted(words[:-1])), words[-1]] += weight
    regime = small_regime(law, prompt={"L": L})
    state = draw_initial(regime)
    prompts = enumerated(regime, state)
    words, labels = read(prompts.x[0].numpy(), state["M"]), read(prompts.y[0].numpy(), state["Q"])
    queries = read(prompts.x_query[0].numpy(), state["M"])
    np.testing.assert_array_equal(labels, words[..., :4])  # the same concepts and signs, and no nu

    def word(k, z):
        other = 2 * (1 - k)
        return int(z[2 * k] - z[2 * k + 1]), int(z[other] - z[other + 1]), int(z[4])

    got = {}
    for b, (k, e) in enumerate(zip(prompts.concept[0].tolist(), prompts.e[0].tolist(), strict=True)):
        demonstrations = [word(k, z) for z in words[b]]
        assert [sign for sign, _, _ in demonstrations] == prompts.signs[0, b].tolist()
        got[k, int(e), tuple(sorted(demonstrations)), word(k, queries[b])] = float(prompts.probability[0, b])
    assert len(got) == prompts.e.shape[1] == enumerated_prompts(regime)  # no prompt twice
    assert got.keys() == expected.keys()
    for key, probability in got.items():
        assert probability == pytest.approx(float(expected[key]), rel=1e-14)  # some tens of roundings


@pytest.mark.parametrize("law", ["match", "iid"])
def test_population_runs_record_the_expectation_over_all_ordered_prompts(law, small_regime, generic_state):
    regime = small_regime(law, training={"steps": 1, "schedule": "constant", "eta": 0.5, "lam": 0.01})
    state = generic_state(regime, 3)
    path = simulate(regime, state, keep_final=True)
    gradient = population_gradient(regime, state)
    after = state | {name: path[f"final_{name}"] for name in WEIGHTS}
    for step, weights in enumerate((state, after)):
        expected = expectations(weights, law)
        for name, value in expected.items():
            assert path[name][step] == pytest.approx(value, abs=ROUND_OFF)
            if step == 0:
                assert path[f"train_{name}"][step] == pytest.approx(value, abs=ROUND_OFF)
    assert gradient["loss"] == pytest.approx(path["loss"][0], abs=ROUND_OFF)
    for name in WEIGHTS:
        moved = (1 - 0.5 * 0.01) * state[name] - 0.5 * gradient[name]
        np.testing.assert_allclose(after[name], moved, rtol=0, atol=ROUND_OFF)
    assert abs(path["loss"][1] - path["loss"][0]) > 1e-4


@pytest.mark.parametrize("law", ["match", "iid"])
def test_population_gradient_is_the_slope_of_the_expectation(law, small_regime, generic_state):
    # Without kinks: of all the pre-activations, some change their sign within a difference quotient.
    regime = small_regime(law, model={"activation": "identity"})
    state = generic_state(regime, 3)
    gradient, h = population_gradient(regime, state), 1e-5
    for name in WEIGHTS:
        direction = np.random.default_rng(len(name)).standard_normal(state[name].shape)
        above, below = (
            expectations(state | {name: state[name] + t * direction}, law, "identity")["loss"] for t in (h, -h)
        )
        # Round-off of the difference, 1e-15 / h = 1e-10, and a cubic term of order h^2 = 1e-10.
        assert (gradient[name] * direction).sum() == pytest.approx((above - below) / (2 * h), abs=1e-8)


@pytest.mark.parametrize("law", ["match", "iid"])
def test_the_mean_over_a_sample_tends_to_the_enumeration(law, small_regime, generic_state):
    regime = small_regime(law, prompt={"L": 3, "p_plus": 0.7, "p_extra": 0.25})
    state, count = generic_state(regime, 5), 20_000
    exact = simulate(regime, state)
    sample = sample_prompts(regime, state, count=count)
    seen = outcomes(state, *(sample[name] for name in ("x", "y", "x_query", "e", "signs")))
    for name, values in seen.items():
        assert abs(values.mean() - exact[name][0]) <= SIGMAS * values.std() / math.sqrt(count)
    # The standard error is far below what fair signs would change.
    fair = simulate(regime.replace(prompt={"p_plus": 0.5}), state)
    assert abs(seen["loss"].mean() - fair["loss"][0]) > 2 * SIGMAS * seen["loss"].std() / math.sqrt(count)


def test_minibatch_runs_with_extras_keep_the_evaluation_sample(small_regime, generic_state):
    regime = small_regime("match", training={"batch": 4})
    state = generic_state(regime, 3)
    sample = _sample(regime, Dictionaries.of(state, device=torch.device("cpu"), dtype=torch.float64))
    arrays = (getattr(sample, name)[0].numpy() for name in ("x", "y", "x_query", "e", "signs"))
    path = simulate(regime, state)
    for name, values in outcomes(state, *arrays).items():
        assert path[name][0] == pytest.approx(values.mean(), abs=ROUND_OFF)
    assert abs(path["loss"][0] - expectations(state, "match")["loss"]) > 1e-6


@pytest.mark.parametrize("law", ["match", "iid"])
@pytest.mark.parametrize(
    ("K1", "K2", "L", "p_extra"), [(1, 0, 4, 0.3), (1, 2, 3, 0.3), (3, 0, 1, 0.2), (3, 1, 2, 0.6), (2, 1, 4, 1.0)]
)
def test_prompts_are_counted_and_their_probabilities_sum_to_one(K1, K2, L, p_extra, law, random_regime):
    sizes = {"K1": K1, "K2": K2, "d_x": 8, "d_y": 6, "weights": [1 / K1] * K1}
    regime = random_regime(1, concepts=sizes, prompt={"L": L, "law": law, "p_extra": p_extra, "p_plus": 0.35})
    prompts = enumerated(regime, draw_initial(regime))
    assert prompts.e.shape[1] == enumerated_prompts(regime)
    probability = prompts.probability[0]
    assert probability.sum().item() == pytest.approx(1, abs=1e-13)
    assert (probability * (prompts.e[0] > 0)).sum().item() == pytest.approx(0.35, abs=1e-13)
    # Orders apart, all prompts together: T^L ordered ones are C(T + L - 1, L) multisets of T = 2 3^(K1-1) 2^K2 words.
    T = 2 * 3 ** (K1 - 1) * 2**K2
    multisets = [list(words) for words in itertools.combinations_with_replacement(range(T), L)]
    # Kinds 0 .. T/2 - 1 have the other sign than the query.
    allowed = sum(law == "iid" or max(words) >= T // 2 for words in multisets)
    assert enumerated_prompts(regime) == K1 * T * allowed


def test_without_anything_to_add_p_extra_changes_nothing(random_regime):
    sizes = {"K1": 1, "K2": 0, "d_x": 4, "d_y": 3, "weights": [1.0]}
    pure = random_regime(1, concepts=sizes, prompt={"L": 5, "p_plus": 0.35})
    state = draw_initial(pure)
    one, other = (enumerated(regime, state) for regime in (pure, pure.replace(prompt={"p_extra": 0.5})))
    for name in ("x", "y", "x_query", "e", "concept", "signs", "probability"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_sequence_of_prompts_is_that_of_member_0_whatever_the_run(random_regime):
    regime = random_regime(3, prompt={"p_extra": 0.3, "sigma_x": 0.1, "L": 2}, training={"batch": 4})
    state = draw_initial(regime)
    long, short, none = (sequence_of_prompts(regime, state, steps=steps) for steps in (70, 7, 0))
    assert long["x"].shape == (70, 4, 2, regime.concepts.d_x)
    assert long["y"].shape == (70, 4, 2, regime.concepts.d_y)
    assert long["x_query"].shape == (70, 4, regime.concepts.d_x)
    assert long["e"].shape == long["concept"].shape == (70, 4)
    assert long["signs"].shape == (70, 4, 2)
    for name in long:
        np.testing.assert_array_equal(long[name][:7], short[name])
        assert none[name].shape == (0, *long[name].shape[1:])
    single = sequence_of_prompts(regime.replace(ensemble={"dtype": "float32"}), state, steps=7)
    assert single["x"].dtype == np.float64
    np.testing.assert_allclose(single["x"], short["x"], rtol=0, atol=1e-5)
    assert (single["x"] != short["x"]).any()
