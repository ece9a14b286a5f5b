"""Bad input gets one sentence: what was got, what was expected, what to type."""

import re
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from polyseme.errors import PolysemeError
from polyseme.sim.multi_concept.measurements.probe import population_gradient, sequence_of_prompts
from polyseme.sim.multi_concept.plan import _needs, check_fits
from polyseme.sim.multi_concept.training.initial import check_initial, draw_initial, mirrored
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.multi_concept.regime import Regime


def test_importing_sim_and_its_torch_free_rooms_loads_no_torch():
    code = "import sys, sim, polyseme.sim.ensemble.streams, polyseme.sim.multi_concept.plan, polyseme.sim.multi_concept.training.initial, polyseme.sim.multi_concept.observe; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def changed(state, name, value):
    return state | {name: value}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: {n: a for n, a in s.items() if n != "Q"},
            r"no array 'Q'; expected the arrays W_Q, W_K, W_O, r, M, Q",
        ),
        (lambda s: changed(s, "M", s["M"][:, :-1]), r"has M of shape \(16, 5\), expected \(16, 6\); type the sizes"),
        (lambda s: changed(s, "W_O", s["W_O"] * np.nan), r"has W_O with entries that are not finite.*; type"),
        (lambda s: changed(s, "r", s["r"].astype(str)), r"has r with entries that are not finite real.*dtype <U"),
        (lambda s: changed(s, "W_Q", s["W_Q"][None]), r"has W_K of shape \(16, 16\), expected \(1, 16, 16\)"),
        (
            lambda s: s | {n: np.stack([s[n]] * 3) for n in ("W_Q", "W_K", "W_O")},
            r"\(3, 16, 16\), expected \(1, 16, 16\)",
        ),
    ],
)
def test_initial_states_that_do_not_fit(change, message):
    regime = Regime()
    state = draw_initial(regime)
    assert check_initial(regime, state) is False
    with pytest.raises(PolysemeError, match=message):
        simulate(regime, change(state))


@pytest.mark.parametrize(
    ("sections", "options", "message"),
    [
        (
            {"training": {"batch": "population"}, "prompt": {"p_extra": 0.1, "sigma_y": 0.2}},
            {},
            r"'population' needs prompts without noise.*got sigma_x = 0.0, sigma_y = 0.2; type 0 for both",
        ),
        (
            {"training": {"batch": "population"}, "prompt": {"p_extra": 0.1}},
            {},
            r"p_extra = 0.1 .* too many prompts, and at most 500,000 were expected; type a smaller .*\(L = 4\)",
        ),
        ({"training": {"batch": "population"}}, {"keep_counts": True}, "got batch = 'population'; type a number"),
        ({"prompt": {"sigma_x": 0.1}}, {"keep_counts": True}, "pure prompts only, and got.*sigma_x = 0.1.*; type 0"),
    ],
)
def test_runs_that_do_not_exist(sections, options, message):
    regime = Regime().replace(**sections)
    with pytest.raises(PolysemeError, match=message):
        simulate(regime, draw_initial(regime), **options)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"schedule": "constant", "eta": 50.0, "lam": 1.0}, "diverged before step .*a smaller value of eta.*eta = 50"),
        ({"gamma": 1e-3, "lam": 1e-300}, "diverged before step .*a larger value of gamma.*gamma = 0.001"),
    ],
)
def test_a_run_that_diverges_says_so(training, message):
    regime = Regime().replace(training=training | {"steps": 500, "record_every": 1})
    with pytest.raises(PolysemeError, match=message):
        simulate(regime, draw_initial(regime))


def test_cuda_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    regime = Regime().replace(ensemble={"device": "cuda"})
    with pytest.raises(PolysemeError, match="got device = 'cuda' and torch finds no CUDA device; type device = 'cpu'"):
        simulate(regime, draw_initial(regime))


def test_an_odd_number_of_neurons_has_no_mirror():
    with pytest.raises(PolysemeError, match=r"got m = 3 neurons and expected an even number.*type m = 4"):
        mirrored(draw_initial(Regime().replace(model={"m": 3})))


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"concepts": {"d_x": 10**6}}, r"type d_x = \d+ or less in \[concepts\], which has d_x = 1000000"),
        ({"concepts": {"d_y": 10**6}}, r"type d_y = \d+ or less in \[concepts\], which has d_y = 1000000"),
        ({"model": {"m": 10**11}}, r"type m = \d+ or less in \[model\]"),
        ({"ensemble": {"seeds": 10**9}}, r"type seeds = \d+ or less in \[ensemble\], which has seeds = 1000000000"),
        ({"training": {"batch": 10**10}}, r"type batch = \d+ or less in \[training\]"),
        ({"prompt": {"L": 10**6}}, r"type L = \d+ or less in \[prompt\]"),
        ({"prompt": {"L": 10**6}, "training": {"batch": "population"}}, r"type L = \d+ or less in \[prompt\]"),
        (
            {"training": {"steps": 10**10, "record_every": 1}},
            r"type record_every = \d+ or more in \[training\], which has record_every = 1",
        ),
    ],
)
def test_runs_that_do_not_fit_say_which_key_to_change(sections, key):
    with pytest.raises(PolysemeError) as caught:
        check_fits(Regime().replace(**sections))
    assert re.search(key, str(caught.value)), str(caught.value)
    assert "available" in str(caught.value)


@pytest.mark.parametrize(
    "sections",
    [
        {"prompt": {"L": 10**12}},
        {"prompt": {"L": 10**5}, "concepts": {"K1": 3, "d_x": 8}},
        {"concepts": {"K1": 10**11, "d_x": 10**12, "d_y": 10**12}},
        {"concepts": {"K2": 10**11, "d_x": 10**12}},
    ],
)
def test_an_enumeration_that_no_memory_holds_is_refused_at_once(sections):
    # The number of prompts itself would have up to 10^11 digits.
    regime = Regime().replace(training={"batch": "population"}, **sections)
    with_extras = regime.replace(prompt={"p_extra": 0.1})
    with pytest.raises(PolysemeError, match=r"too many prompts, and at most 500,000 were expected; type a smaller"):
        check_fits(with_extras)


def test_an_enumeration_larger_than_memory_names_what_makes_its_number(monkeypatch):
    regime = Regime().replace(prompt={"p_extra": 0.1, "L": 3}, training={"batch": "population"})
    check_fits(regime)
    memory = namedtuple("memory", "available")(2**20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(
        PolysemeError,
        match=r"for the prompts of a step, .*; type a smaller value of (L|K1|K2|batch) in .*one is not enough",
    ):
        check_fits(regime)


def test_gradients_of_populations_too_large_for_memory_are_refused():
    regime = Regime()
    state = draw_initial(regime)
    with pytest.raises(PolysemeError, match=r"needs about .* of memory"):
        population_gradient(regime.replace(prompt={"L": 10**6}), state)


def test_a_sequence_of_prompts_needs_minibatches():
    regime = Regime().replace(training={"batch": "population"})
    with pytest.raises(PolysemeError, match="drawn only in minibatches, and got batch = 'population'; type a number"):
        sequence_of_prompts(regime, draw_initial(regime), steps=1)


def test_counts_are_part_of_the_estimate_and_the_initial_state_is_checked_alone():
    long = Regime().replace(training={"steps": 10**10, "record_every": "log"})
    check_fits(long)
    with pytest.raises(PolysemeError, match=r"type (steps|seeds|L|K1) = \d+ or less"):
        check_fits(long, keep_counts=True)
    often = Regime().replace(training={"steps": 10**5, "record_every": 1}, ensemble={"seeds": 8})
    wide = often.replace(concepts={"d_x": 512})
    check_fits(often)
    check_fits(wide)
    with pytest.raises(
        PolysemeError, match=r"for the weights at every record.*; type (record_every = \d+ or more|d_x)"
    ):
        check_fits(wide, keep_weights=True)
    with pytest.raises(PolysemeError, match=r"type d_x = \d+ or less"):
        draw_initial(Regime().replace(concepts={"d_x": 10**6}))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_the_estimate_covers_what_a_run_really_takes():
    # Run in a process of its own, whose peak memory above that of a tiny run is what the ensemble took.
    code = """
import pathlib, sys
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.multi_concept.regime import Regime
seeds, batch = map(int, sys.argv[1:])
regime = Regime().replace(
    training={"steps": 3, "record_every": 1, "batch": batch}, prompt={"L": 16}, ensemble={"seeds": seeds}
)
simulate(regime, draw_initial(regime))
# Not ru_maxrss, which a process inherits from the one that started it.
print(next(line.split()[1] for line in pathlib.Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line))
"""

    def peak(*sizes):
        arguments = [sys.executable, "-c", code, *map(str, sizes)]
        return int(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout) * 1024

    taken = peak(128, 64) - peak(1, 1)
    regime = Regime().replace(
        training={"steps": 3, "record_every": 1, "batch": 64}, prompt={"L": 16}, ensemble={"seeds": 128}
    )
    estimate = sum(need.bytes for need in _needs(regime))
    # An estimate is useful within a factor of three either way.
    assert taken / 3 < estimate < taken * 3
