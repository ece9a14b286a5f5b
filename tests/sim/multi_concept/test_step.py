"""The fast step against its controls: autograd of the written-out model, and literal noise with the same sums."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from polyseme.sim.ensemble.philox import Address, key_of
from polyseme.sim.ensemble.streams import Purpose
from polyseme.sim.multi_concept.prompts.draws import PromptLaw
from polyseme.sim.multi_concept.prompts.tensors import Block, Dictionaries
from polyseme.sim.multi_concept.prompts.words import (
    LiteralLabelNoise,
    LiteralWordNoise,
    ReducedLabelNoise,
    ReducedWordNoise,
)
from polyseme.sim.multi_concept.training.model import Functions, Weights, outcome
from polyseme.sim.multi_concept.training.samplers import LiteralSampler, ReducedSampler, batch_of
from polyseme.sim.multi_concept.training.step import gradient, update

MEMBERS = 3
PROMPTS = {
    "pure": {},
    "noise": {"sigma_x": 0.3, "sigma_y": 0.4},
    "noise on words": {"sigma_x": 0.3},
    "noise on labels": {"sigma_y": 0.4},
    "extras": {"p_extra": 0.4},
    "all": {"sigma_x": 0.3, "sigma_y": 0.4, "p_extra": 0.4},
}
# Sums of at most some hundred terms of order one, each rounded a few times: measured 1e-15 to 1e-14 of the largest entry.
CLOSE = 1e-12


def at(members: int = MEMBERS, step: int = 5) -> Address:
    return Address(key=key_of(1), purpose=Purpose.DATA, steps=torch.tensor([step]), members=torch.arange(members))


def random_weights(regime, generic_state) -> Weights:
    states = [generic_state(regime, seed) for seed in range(MEMBERS)]
    stacked = {name: np.stack([state[name] for state in states]) for name in ("W_Q", "W_K", "W_O")}
    return Weights.of(states[0] | stacked, device=torch.device("cpu"), dtype=torch.float64)


def dictionaries_of(regime, generic_state) -> Dictionaries:
    return Dictionaries.of(generic_state(regime, 0), device=torch.device("cpu"), dtype=torch.float64)


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(((one - other).abs().max() / other.abs().max()).detach())


def assert_gradient(found, weights: Weights, expected) -> None:
    """`found` of the fast step is autograd of the summed `expected.loss`, and measures the same."""
    wanted = torch.autograd.grad(expected.loss.sum(), weights.trained)
    for factors, by_autograd in zip((found.W_Q, found.W_K, found.W_O), wanted, strict=True):
        assert by_autograd.abs().max() > 0
        assert relative(factors.dense(), by_autograd) < CLOSE
    for measured, name in zip(found.outcome, ("loss", "error", "attention"), strict=True):
        torch.testing.assert_close(measured, getattr(expected, name).detach().double(), rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("loss", ["logistic", "squared", "exponential"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "identity"])
@pytest.mark.parametrize("law", ["match", "iid"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_it_is_autograd_of_the_written_out_model(prompt, law, activation, loss, random_regime, generic_state):
    seed = sum(map(ord, prompt + law + activation + loss))
    regime = random_regime(
        seed,
        prompt=PROMPTS[prompt] | {"law": law, "p_plus": 0.4, "L": 2 + seed % 5},
        model={"activation": activation, "m": 12},
        training={"loss": loss, "batch": 8},
    )
    weights, dictionaries = random_weights(regime, generic_state), dictionaries_of(regime, generic_state)
    draws = PromptLaw(regime, batch=8).draw(at())
    functions = Functions.of(regime)
    expected = outcome(weights, Block(draws, dictionaries).step(0), functions)
    found = gradient(weights.trained, weights.r, batch_of(regime, dictionaries, draws), functions)
    assert_gradient(found, weights, expected)


def test_the_literal_sampler_draws_the_prompts_of_the_stream(random_regime, generic_state):
    regime = random_regime(4, prompt=PROMPTS["all"], training={"batch": 6})
    weights, dictionaries = random_weights(regime, generic_state), dictionaries_of(regime, generic_state)
    sampler = LiteralSampler(regime, dictionaries, batch=6)
    drawn = Block(PromptLaw(regime, batch=6).draw(at()), dictionaries).step(0)
    expected = outcome(weights, drawn, Functions.of(regime))
    assert_gradient(gradient(weights.trained, weights.r, sampler(at()), Functions.of(regime)), weights, expected)


def consistent(batch, weights: Weights, functions: Functions):
    """The batch with noise vectors of which the sums that it draws are sums: the control of reduced noise.

    Noise on words: along u what the logits say, across it in proportion to ds, so that the pull is the drawn one. On labels: the
    pooled vector in proportion to p, and what is left of the scores along dv.
    """
    words, labels = batch.word_noise, batch.label_noise
    W_Q, W_K, W_O = weights.trained
    q = (batch.means.query + words.query) @ W_Q.mT
    u = q @ W_K
    p = (batch.means.logits(u) + words.logits(u)).softmax(-1)
    v = batch.means.pooled(p) + labels.pooled(p)
    h = v @ W_O.mT
    found = gradient(weights.trained, weights.r, batch, functions)
    dv = found.W_O.left @ W_O
    scores = batch.means.scores(dv) + labels.scores(dv, p)
    ds = p * (scores - (p * scores).sum(-1, keepdim=True))
    assert torch.equal(h, found.W_O.right @ W_O.mT)
    unit_u, unit_p, unit_v, unit_ds = (normalize(x, dim=-1, eps=1e-200) for x in (u, p, dv, ds))
    across = words.across - unit_u * (unit_u * words.across).sum(-1, keepdim=True)
    xi = words.along.unsqueeze(-1) * unit_u.unsqueeze(-2)
    xi = xi + unit_ds.unsqueeze(-1) * across.unsqueeze(-2)
    apart = labels.apart - unit_p * (unit_p * labels.apart).sum(-1, keepdim=True)
    zeta = unit_p.unsqueeze(-1) * labels.together.unsqueeze(-2) + apart.unsqueeze(-1) * unit_v.unsqueeze(-2)
    query = words.query.unsqueeze(-2)
    return dataclasses.replace(
        batch,
        word_noise=LiteralWordNoise(1.0, torch.cat([words.sigma * xi, query], dim=-2)),
        label_noise=LiteralLabelNoise(1.0, labels.sigma * zeta),
    )


@pytest.mark.parametrize("extras", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_reduced_noise_is_literal_noise_with_the_same_sums(seed, extras, random_regime, generic_state):
    regime = random_regime(seed, prompt=PROMPTS["noise"] | {"p_extra": extras, "L": 4}, training={"batch": 5})
    weights, dictionaries = random_weights(regime, generic_state), dictionaries_of(regime, generic_state)
    functions = Functions.of(regime)
    reduced = ReducedSampler(regime, dictionaries, batch=5)(at())
    literal = consistent(reduced, weights, functions)
    one, other = (gradient(weights.trained, weights.r, batch, functions) for batch in (reduced, literal))
    for name in ("W_Q", "W_K", "W_O"):
        assert relative(getattr(one, name).dense(), getattr(other, name).dense()) < CLOSE
    torch.testing.assert_close(one.outcome, other.outcome, rtol=CLOSE, atol=CLOSE)


def test_given_the_weights_reduced_sums_have_the_covariance_of_literal_ones():
    rng = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)  # noqa: E731
    count, L, d = 200_000, 3, 4
    u, ds, p = normal(d), normal(L), normal(L).softmax(-1)
    wide = lambda x: x.expand(1, count, -1)  # noqa: E731
    word = {
        "literal": LiteralWordNoise(0.7, normal(1, count, L + 1, d)),
        "reduced": ReducedWordNoise(
            sigma=0.7, query=normal(1, count, d), along=normal(1, count, L), across=normal(1, count, d)
        ),
    }
    label = {
        "literal": LiteralLabelNoise(0.7, normal(1, count, L, d)),
        "reduced": ReducedLabelNoise(sigma=0.7, together=normal(1, count, d), apart=normal(1, count, L)),
    }
    seen = {
        name: torch.cat(
            [
                torch.cat([word[name].logits(wide(u)), word[name].pull(wide(ds), wide(u))], -1)[0],
                torch.cat([label[name].pooled(wide(p)), label[name].scores(wide(u), wide(p))], -1)[0],
            ],
            dim=-1,
        )
        for name in word
    }
    wrong = {
        "words": dataclasses.replace(word["reduced"], projected=False),
        "labels": dataclasses.replace(label["reduced"], projected=False),
    }
    seen |= {
        "words": torch.cat([word["reduced"].logits(wide(u)), wrong["words"].pull(wide(ds), wide(u))], -1)[0],
        "labels": torch.cat([label["reduced"].pooled(wide(p)), wrong["labels"].scores(wide(u), wide(p))], -1)[0],
    }
    products = {name: x.unsqueeze(-1) * x.unsqueeze(-2) for name, x in seen.items()}
    mean = {name: x.mean(0) for name, x in products.items()}
    error = ((products["literal"].var(0) + products["reduced"].var(0)) / count).sqrt()
    assert ((mean["literal"] - mean["reduced"]).abs() <= 5 * error + 1e-12).all()
    assert mean["literal"].diagonal().min() > 0.01
    # The same comparison finds either projection left out.
    of_words = slice(0, L + d), slice(0, L + d)
    of_labels = slice(L + d, None), slice(L + d, None)
    for name, part in (("words", of_words), ("labels", of_labels)):
        assert ((mean[name] - mean["literal"][part]).abs() > 20 * error[part]).any(), name


@pytest.mark.parametrize("zero", ["W_Q", "W_O"])
def test_where_there_is_no_direction_reduced_noise_is_finite(zero, random_regime, generic_state):
    regime = random_regime(2, prompt=PROMPTS["noise"], training={"batch": 5})
    weights, dictionaries = random_weights(regime, generic_state), dictionaries_of(regime, generic_state)
    with torch.no_grad():
        getattr(weights, zero).zero_()
    batch = ReducedSampler(regime, dictionaries, batch=5)(at())
    found = gradient(weights.trained, weights.r, batch, Functions.of(regime))
    assert all(x.dense().isfinite().all() for x in (found.W_Q, found.W_K, found.W_O))


def test_counts_follow_their_exact_law(random_regime, generic_state):
    from scipy import stats

    from polyseme.sim.multi_concept.prompts.enumeration import count_probabilities

    for law in ("match", "iid"):
        regime = random_regime(0, prompt={"law": law, "p_plus": 0.3, "L": 4})
        sampler = ReducedSampler(regime, dictionaries_of(regime, generic_state), batch=40_000)
        batch = sampler(at(members=1))
        n = batch.log_count[0, :, 0].exp().round().long()
        exact = count_probabilities(regime)
        keys = list(exact)
        seen = [int(((batch.e[0] > 0) == (e > 0))[n == count].sum()) for e, count in keys]
        assert sum(seen) == 40_000
        assert stats.chisquare(seen, [40_000 * exact[key] for key in keys]).pvalue > 1e-6


def test_update_is_one_step_of_descent(random_regime, generic_state):
    regime = random_regime(3, prompt=PROMPTS["all"], training={"batch": 5})
    weights, dictionaries = random_weights(regime, generic_state), dictionaries_of(regime, generic_state)
    batch, functions = LiteralSampler(regime, dictionaries, batch=5)(at()), Functions.of(regime)
    found = gradient(weights.trained, weights.r, batch, functions)
    keep, rate = torch.tensor(0.75, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)
    moved, measured = update(weights.trained, weights.r, batch, functions, keep=keep, rate=rate)
    for new, old, factors in zip(moved, weights.trained, (found.W_Q, found.W_K, found.W_O), strict=True):
        torch.testing.assert_close(new, 0.75 * old - 2 * factors.dense(), rtol=CLOSE, atol=CLOSE)
    assert torch.equal(measured, found.outcome)
