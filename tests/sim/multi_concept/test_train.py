"""What a run is: members, records, schedules, counts and precision."""

import numpy as np
import pytest
import torch

import polyseme.sim.multi_concept.training.train
from polyseme.errors import PolysemeError
from polyseme.sim.ensemble.streams import Purpose
from polyseme.sim.multi_concept import observe, plan
from polyseme.sim.multi_concept.plan import EVALUATION_PROMPTS
from polyseme.sim.multi_concept.prompts.draws import PromptStream
from polyseme.sim.multi_concept.training import evaluate
from polyseme.sim.multi_concept.training.initial import WEIGHTS, draw_initial
from polyseme.sim.multi_concept.training.train import simulate, step_size
from polyseme.theory.multi_concept.regime import Regime

NOISY = {"p_extra": 0.2, "sigma_x": 0.1, "sigma_y": 0.2}
# A batched product may be summed in another order in an ensemble of another size: some eps = 2e-16 in each of
# some tens of steps, relative to weights of order 1. A member with foreign data differs by 1e-3.
OTHER_ORDER = 1e-11


def assert_same(one, other, tolerance=OTHER_ORDER):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("prompt", [{}, NOISY], ids=["pure", "noisy"])
def test_a_member_equals_its_solo_run(prompt, random_regime):
    regime = random_regime(1, prompt=prompt, ensemble={"seeds": 4}, training={"record_every": 7})
    together = simulate(regime, draw_initial(regime), keep_final=True)
    solo = regime.replace(ensemble={"seeds": 1})
    for member in range(4):
        alone = simulate(solo, draw_initial(solo, first_member=member), keep_final=True, first_member=member)
        of_member = {name: array if name == "step" else array[member] for name, array in together.items()}
        assert_same(of_member, alone)
    assert np.abs(together["train_loss"][0] - together["train_loss"][1]).max() > 1e-3


def test_without_a_start_it_begins_where_the_seed_says(random_regime):
    regime = random_regime(1, ensemble={"seeds": 2})
    assert_same(simulate(regime), simulate(regime, draw_initial(regime)), tolerance=0.0)
    solo = regime.replace(ensemble={"seeds": 1})
    assert_same(
        simulate(solo, first_member=1),
        simulate(solo, draw_initial(solo, first_member=1), first_member=1),
        tolerance=0.0,
    )


@pytest.mark.parametrize("name", ["W_Q", "W_O", "r", "M", "Q"])
def test_a_start_of_another_size_is_refused_in_one_sentence(name, random_regime):
    regime = random_regime(1)
    start = draw_initial(regime)
    with pytest.raises(PolysemeError, match=f"the initial state has {name} of shape .*, expected .*; type the sizes"):
        simulate(regime, start | {name: start[name][:-1]})


def test_chunks_of_members_change_nothing(random_regime, monkeypatch):
    regime = random_regime(2, prompt=NOISY, ensemble={"seeds": 5})
    whole = simulate(regime, draw_initial(regime), keep_final=True)
    monkeypatch.setattr(polyseme.sim.multi_concept.training.train, "MEMBERS_PER_CHUNK", 2)
    seen = []
    chunked = simulate(regime, draw_initial(regime), keep_final=True, progress=lambda *done: seen.append(done))
    assert_same(whole, chunked)
    assert seen == [(20, 60), (40, 60), (60, 60)]


@pytest.mark.parametrize("prompt", [{}, NOISY], ids=["pure", "noisy"])
def test_evaluating_more_often_changes_no_bit_of_the_path(prompt, random_regime):
    runs = []
    for record_every in (1, 7, "log"):
        regime = random_regime(3, prompt=prompt, ensemble={"seeds": 2}, training={"record_every": record_every})
        runs.append(simulate(regime, draw_initial(regime), keep_final=True))
    for run in runs[1:]:
        for name in WEIGHTS:
            np.testing.assert_array_equal(run[f"final_{name}"], runs[0][f"final_{name}"])
        for name in ("loss", "error", "attention", "alpha", "W_Q_blocks"):
            np.testing.assert_array_equal(run[name], runs[0][name][:, run["step"]])


def test_drawing_and_evaluating_in_smaller_pieces_changes_nothing(random_regime, monkeypatch):
    regime = random_regime(3, prompt=NOISY)
    whole = simulate(regime, draw_initial(regime))
    monkeypatch.setattr(plan, "STEPS_PER_BLOCK", 3)
    monkeypatch.setattr(plan, "BYTES_PER_EVALUATION", 5 * 2**10)
    assert_same(whole, simulate(regime, draw_initial(regime)))


def test_records_are_the_states_of_a_run_of_that_length(random_regime):
    regime = random_regime(4, training={"steps": 9, "record_every": 4})
    path = simulate(regime, draw_initial(regime))
    assert path["step"].tolist() == [0, 4, 8, 9]
    for j, steps in enumerate(path["step"].tolist()):
        short = simulate(regime.replace(training={"steps": steps}), draw_initial(regime), keep_final=True)
        weights = {name: short[f"final_{name}"] for name in WEIGHTS}
        state = draw_initial(regime)
        for name, value in observe.project(state["M"], state["Q"], weights).items():
            np.testing.assert_array_equal(path[name][j], value)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("state_has_axis", [False, True])
def test_shapes_and_the_ensemble_axis(seeds, state_has_axis, random_regime):
    regime = random_regime(5, ensemble={"seeds": seeds}, training={"steps": 4, "record_every": 2})
    initial = draw_initial(regime.replace(ensemble={"seeds": 1}))
    if state_has_axis:
        initial |= {name: np.repeat(initial[name][None], seeds, axis=0) for name in WEIGHTS}
    path = simulate(regime, initial, keep_final=True, keep_counts=True)
    K1, m, L = regime.concepts.K1, regime.model.m, regime.prompt.L
    lead = (seeds,) if state_has_axis or seeds > 1 else ()
    shapes = {"W_Q_blocks": (3, K1, 2, 2), "alpha": (3, m, K1), "loss": (3,), "train_attention": (3,)}
    shapes |= {"final_W_O": (m, regime.concepts.d_y), "counts": (4, K1, 2, L + 1), "mlp_noise": (3,)}
    for name, shape in shapes.items():
        assert path[name].shape == lead + shape
    assert path["step"].shape == (3,)
    assert all(array.dtype == np.float64 for name, array in path.items() if name not in ("step", "counts"))
    if seeds > 1:  # copies of one state differ in their data alone
        np.testing.assert_array_equal(path["alpha"][0, 0], path["alpha"][1, 0])
        assert (path["train_loss"][0] != path["train_loss"][1]).any()


def test_no_steps_is_one_record_of_the_initial_state(random_regime):
    regime = random_regime(5, training={"steps": 0})
    initial = draw_initial(regime)
    path = simulate(regime, initial, keep_final=True, keep_counts=True)
    np.testing.assert_array_equal(path["final_W_O"], initial["W_O"])
    assert path["loss"].shape == (1,)
    assert np.isfinite(path["train_loss"]).all()
    assert path["counts"].shape[0] == 0


def test_simulate_leaves_the_initial_state_alone(random_regime):
    regime = random_regime(5)
    initial = draw_initial(regime)
    kept = {name: array.copy() for name, array in initial.items()}
    simulate(regime, initial)
    for name in kept:
        np.testing.assert_array_equal(initial[name], kept[name])


def test_counts_are_the_prompts_that_were_used(random_regime):
    regime = random_regime(6, ensemble={"seeds": 3}, training={"steps": 8, "batch": 5})
    counts = simulate(regime, draw_initial(regime), keep_counts=True)["counts"]
    draws = PromptStream(regime, purpose=Purpose.DATA, members=range(3), batch=5).draw(8)
    expected = np.zeros_like(counts)
    for t, member, b in np.ndindex(draws.e.shape):
        sign = 0 if draws.e[t, member, b] == 1 else 1
        positive = draws.signs[t, member, b].tolist().count(1)
        expected[member, t, draws.concept[t, member, b], sign, positive] += 1
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("prompt", [{}, NOISY], ids=["pure", "noisy"])
def test_weights_at_every_record_are_those_of_the_coefficients_and_of_the_end(
    prompt, seeds, random_regime, monkeypatch
):
    monkeypatch.setattr(polyseme.sim.multi_concept.training.train, "MEMBERS_PER_CHUNK", 2)
    regime = random_regime(7, prompt=prompt, ensemble={"seeds": seeds}, training={"steps": 9, "record_every": 4})
    state = draw_initial(regime)
    path = simulate(regime, state, keep_final=True, keep_weights=True)
    lead, records = ((seeds,) if seeds > 1 else ()), 4
    recorded = {name: path[f"recorded_{name}"] for name in WEIGHTS}
    for name, array in recorded.items():
        assert array.shape == (*lead, records, *state[name].shape[-2:]) and array.dtype == np.float64
        np.testing.assert_array_equal(array[..., 0, :, :], state[name])
        np.testing.assert_array_equal(array[..., -1, :, :], path[f"final_{name}"])
    for name, value in observe.project(state["M"], state["Q"], recorded).items():
        # The same products, batched over the records as well: a few roundings of numbers of order one.
        np.testing.assert_allclose(path[name], value, rtol=0, atol=1e-14)
    without = simulate(regime, state, keep_final=True)
    assert path.keys() - without.keys() == {f"recorded_{name}" for name in WEIGHTS}
    for name in without:
        np.testing.assert_array_equal(without[name], path[name])


def test_minibatch_mean_tends_to_the_expectation(random_regime, generic_state):
    regime = random_regime(2, training={"steps": 0, "batch": 20_000})
    state = generic_state(regime, 2)
    path = simulate(regime, state)
    # 5 standard errors; loss at weights of order 0.5 has a standard deviation below 1, attention and error below 1/2.
    assert abs(path["train_loss"][0] - path["loss"][0]) < 5 / np.sqrt(20_000)
    for name in ("error", "attention"):
        assert abs(path[f"train_{name}"][0] - path[name][0]) < 2.5 / np.sqrt(20_000)


def test_evaluation_sample_agrees_with_enumeration(random_regime, generic_state, monkeypatch):
    regime = random_regime(2, training={"steps": 0})
    state = generic_state(regime, 2)
    exact = simulate(regime, state)
    # Noise too small to matter sends the same law down the sampled path.
    sampled = simulate(regime.replace(prompt={"sigma_x": 1e-13}), state)
    for name in ("loss", "error", "attention"):
        difference = abs(exact[name][0] - sampled[name][0])
        assert difference < 5 / np.sqrt(EVALUATION_PROMPTS)
        if name == "loss":
            assert difference > 1e-9  # a sample, indeed
    monkeypatch.setattr(evaluate, "EVALUATION_PROMPTS", 60_000)
    larger = simulate(regime.replace(prompt={"sigma_x": 1e-13}), state)
    assert abs(exact["loss"][0] - larger["loss"][0]) < 5 / np.sqrt(60_000)


def test_float32_stays_close_to_float64(random_regime):
    # Float32 rounds at 6e-8; 20 steps of size 2 on weights of order 1 keep that below 1e-4.
    double = random_regime(8, prompt=NOISY, training={"batch": 16})
    single = double.replace(ensemble={"dtype": "float32"})
    paths = [simulate(regime, draw_initial(regime)) for regime in (double, single)]
    for name in ("alpha", "beta", "W_Q_blocks", "W_K_blocks", "loss", "train_loss", "attention"):
        np.testing.assert_allclose(paths[0][name], paths[1][name], rtol=0, atol=1e-4)
    assert (paths[0]["alpha"] != paths[1]["alpha"]).any()


def test_step_sizes():
    inverse = Regime().replace(training={"schedule": "inverse", "lam": 0.5, "gamma": 3.0}).training
    assert [step_size(inverse, t) for t in (0, 1, 5)] == [4 / 3, 1.0, 0.5]
    constant = Regime().replace(training={"schedule": "constant", "eta": 0.25}).training
    assert [step_size(constant, t) for t in (0, 9)] == [0.25, 0.25]


def test_progress_is_reported_now_and_then(random_regime):
    regime = random_regime(1, training={"steps": 150, "record_every": 1})
    seen = []
    simulate(regime, draw_initial(regime), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(64, 150), (128, 150), (150, 150)]


def test_rotating_both_spaces_changes_nothing(random_regime):
    regime = random_regime(9, ensemble={"seeds": 2})
    initial = draw_initial(regime)
    rng = np.random.default_rng(0)
    turn_x, turn_y = (
        np.linalg.qr(rng.standard_normal((d, d)))[0] for d in (initial["M"].shape[0], initial["Q"].shape[0])
    )
    turned = initial | {
        "M": turn_x @ initial["M"],
        "Q": turn_y @ initial["Q"],
        "W_Q": turn_x @ initial["W_Q"] @ turn_x.T,
        "W_K": turn_x @ initial["W_K"] @ turn_x.T,
        "W_O": initial["W_O"] @ turn_y.T,
    }
    paths = [simulate(regime, state) for state in (initial, turned)]
    for name in ("alpha", "beta", "W_Q_blocks", "loss", "error", "attention", "attention_specific", "mlp_specific"):
        np.testing.assert_allclose(paths[0][name], paths[1][name], rtol=0, atol=1e-10)


def test_no_tf32():
    # TF32 keeps 10 bits of a product: float32 runs on a GPU would not be float32.
    assert not torch.backends.cuda.matmul.allow_tf32
