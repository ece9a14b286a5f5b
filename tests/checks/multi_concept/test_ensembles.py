"""Seeds of the reduced recursion: their prompts, their curve, and splitting beside counting."""

import numpy as np
import pytest
from scipy.stats import chi2

from polyseme.checks.multi_concept.claims.exponential.error_curve import DESIGNS, learnable, window
from polyseme.checks.multi_concept.claims.exponential.rate_of_error import rates, single_rate
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.stochastic.ensembles import (
    Curve,
    Stream,
    chunk_size,
    draw_counts,
    error_curve,
    generator,
    in_chunks,
)
from polyseme.checks.multi_concept.stochastic.splitting import Population, _systematic, split
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.theory.multi_concept.coefficients import project
from polyseme.theory.multi_concept.prompts.law import prompt_probabilities
from polyseme.theory.multi_concept.regime import Regime, parse_regime


def _regime(**changes: dict) -> Regime:
    tables = {
        "concepts": {"K1": 1, "K2": 0, "d_x": 4, "d_y": 4},
        "prompt": {"L": 3},
        "model": {"m": 8},
        "training": {"steps": 160, "batch": 4, "lam": 4e-4, "gamma": 2000.0},
    }
    return parse_regime(
        {name: tables.get(name, {}) | changes.get(name, {}) for name in {*tables, *changes}}, source="test"
    )


@pytest.mark.parametrize("batch", [1, 7, 64, 65, 1000])
def test_counts_are_multinomial(batch):
    regime = _regime(concepts={"K1": 2, "weights": [0.7, 0.3]}, prompt={"p_plus": 0.4})
    law, members = prompt_probabilities(regime), 2000
    counts = draw_counts(np.random.default_rng(batch), law, batch=batch, members=members)
    assert counts.shape == (members, *law.shape) and (counts.sum(axis=(1, 2, 3)) == batch).all()
    total, expected = counts.sum(axis=0)[law > 0], members * batch * law[law > 0]
    statistic = ((total - expected) ** 2 / expected).sum()
    assert chi2.sf(statistic, (law > 0).sum() - 1) > 1e-4, "once in ten thousand seeds"
    assert (counts[:, law == 0] == 0).all()
    # The variance of one cell, B p (1 - p), within five standard errors.
    cell = np.unravel_index(law.argmax(), law.shape)
    p = law[cell]
    assert counts[:, *cell].var() == pytest.approx(batch * p * (1 - p), rel=5 * np.sqrt(3 / members))


def test_streams_differ_by_purpose_number_and_seed():
    regime = _regime()
    first = [
        generator(of, stream, *number).random()
        for of in (regime, regime.replace(ensemble={"seed": 1}))
        for stream in (Stream.PILOT, Stream.CURVE)
        for number in ((0,), (1,), (0, 0))
    ]
    assert len(set(first)) == len(first)


def _chunks(regime: Regime, members: int, every: int = 40):
    start = draw_initial(regime)
    return in_chunks(regime, start["r"], project(start, 1), members=members, every=every, stream=Stream.CURVE)


def test_a_curve_does_not_depend_on_processes(monkeypatch):
    regime = _regime()
    chunks = _chunks(regime, 2 * chunk_size(regime) + 3)
    assert [chunk.members for chunk in chunks] == [chunk_size(regime)] * 2 + [3]
    side = error_curve(chunks)
    monkeypatch.setattr("polyseme.checks.multi_concept.stochastic.ensembles.cores", lambda: 1)
    alone = error_curve(chunks)
    np.testing.assert_array_equal(side.errors, alone.errors)
    np.testing.assert_array_equal(side.extinct, alone.extinct)
    assert side.steps.tolist() == [0, 40, 80, 120, 160] and side.seeds == 2 * chunk_size(regime) + 3
    np.testing.assert_allclose(side.excess[-1] + side.floor, side.errors[-1])


# -- rates ------------------------------------------------------------------------------------------------------


def _binary_curve(log_error: np.ndarray, seeds: int, seed: int) -> Curve:
    """Seeds that are wrong until a random time, with a known curve."""
    u = np.random.default_rng(seed).random(seeds)
    errors = (u < np.exp(log_error)[:, None]).astype(float)
    return Curve(steps=np.arange(len(log_error)), errors=errors, extinct=np.zeros(errors.shape, dtype=bool))


def test_rates_of_an_exponential_curve_have_the_spread_that_they_say():
    log_error = -0.1 * np.arange(31.0)
    edges = np.array([0, 10, 20, 30])
    found = [rates(_binary_curve(log_error, 4000, seed), edges) for seed in range(200)]
    values, errors = np.array([of.values for of in found]), np.array([of.errors for of in found])
    # Each stretch's mean within four standard errors of 0.1, and the spread within four of its own (n = 200).
    np.testing.assert_array_less(np.abs(values.mean(axis=0) - 0.1), 4 * values.std(axis=0) / np.sqrt(200) + 2e-4)
    np.testing.assert_allclose(values.std(axis=0), errors.mean(axis=0), rtol=4 / np.sqrt(400))


def test_a_power_has_a_falling_rate_and_a_constant_one_in_its_clock():
    steps = np.arange(31.0)
    of = _binary_curve(-3 * np.log(1 + steps / 5), 200_000, 0)
    edges = np.array([0, 10, 20, 30])
    plain = rates(of, edges).values
    assert (np.diff(plain) < 0).all()
    own = rates(of, edges, lambda t: np.log(1 + t / 5))
    assert (np.abs(own.values - 3) < 5 * own.errors).all()


def test_the_single_rate_says_when_it_does_not_fit():
    edges = np.array([5, 10, 20, 30])  # at 0 every seed is wrong, without any spread
    rate, misfit, p = single_rate(_binary_curve(-0.1 * np.arange(31.0), 20_000, 1), edges)
    assert rate == pytest.approx(0.1, rel=0.05) and p > 1e-3
    assert single_rate(_binary_curve(-0.004 * np.arange(31.0) ** 2, 20_000, 1), edges)[1] > 20 * misfit


# -- splitting ----------------------------------------------------------------------------------------------------


def test_systematic_copies_are_unbiased():
    rng, weight = np.random.default_rng(0), np.array([0.0, 1.0, 2.0, 5.0])
    copies = np.array([np.bincount(_systematic(rng, weight, 16), minlength=4) for _ in range(500)])
    np.testing.assert_array_equal(copies.sum(axis=1), 16)
    expected = 16 * weight / weight.sum()
    assert (np.abs(copies - expected) <= 1).all()
    np.testing.assert_allclose(copies.mean(axis=0), expected, atol=4 * 0.5 / np.sqrt(500))


def test_splitting_agrees_with_counting_whatever_the_importance(monkeypatch):
    """A bad importance costs variance and no bias: here the plateau is said to be far too short."""
    monkeypatch.setattr("polyseme.checks.multi_concept.stochastic.ensembles.cores", lambda: 1)
    regime = _regime(model={"m": 12}, training={"batch": 8, "steps": 80})
    chunk = _chunks(regime, 4096, every=80)
    counted = error_curve(chunk).excess[-1]
    start = chunk[0]
    for length in (10, 40):
        populations = [
            Population(
                chunk=type(start)(**{**vars(start), "members": 512, "number": (9, j), "stream": Stream.SPLITTING}),
                horizon=80,
                plateau=length,
                particles=64,
            )
            for j in range(24)
        ]
        found = split(populations).estimates
        error = np.hypot(found.std(ddof=1) / np.sqrt(24), counted.std() / np.sqrt(4096))
        assert counted.mean() > 10 * counted.std() / np.sqrt(4096) / 5, "something to compare with"
        assert abs(found.mean() - counted.mean()) < 4.5 * error


# -- the design ---------------------------------------------------------------------------------------------------


def test_designs_grow_with_the_effort():
    assert DESIGNS["small"].seeds < 10**5 <= DESIGNS["full"].seeds and DESIGNS["full"].full_members >= 4096
    assert all(of.pilot * 8 == of.seeds for of in DESIGNS.values())


def test_a_start_that_descent_does_not_learn_is_outside_the_hypotheses():
    from polyseme.checks.core.claim import OutsideHypotheses

    heavy = _regime(training={"lam": 0.1, "gamma": 100.0, "steps": 480})
    with pytest.raises(OutsideHypotheses, match="population descent learns"):
        learnable(TrainingContext(heavy))
    steep = TrainingContext(_regime(model={"m": 32}, training={"steps": 480, "batch": 256, "lam": 1e-4}))
    with pytest.raises(OutsideHypotheses, match="falls from"):
        window(steep)
