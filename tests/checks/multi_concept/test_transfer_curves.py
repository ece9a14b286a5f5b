"""Learning curves on other laws: the full model beside the closed forms, record by record."""

import numpy as np
import pytest

from polyseme.checks.multi_concept.curves import noisy_curves, theory_curves
from polyseme.checks.multi_concept.drawings import figure_regime
from polyseme.checks.multi_concept.out_of_distribution.curves import (
    QUANTITIES,
    member_models,
    on_other_laws,
    predicted_at,
    pure_laws,
)
from polyseme.checks.multi_concept.out_of_distribution.scenarios import scenario, training_law
from polyseme.errors import PolysemeError
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.multi_concept.regime import Regime

# From this start exact descent leaves the plateau and learns within the steps.
PURE = Regime().replace(
    concepts={"K1": 2, "K2": 1, "d_x": 8, "d_y": 6},
    prompt={"L": 3},
    model={"m": 8, "sigma_0": 0.4, "sigma_1": 0.3},
    training={"steps": 60, "batch": "population", "lam": 1e-3, "gamma": 200.0, "record_every": 15},
    ensemble={"seeds": 3, "device": "cpu"},
)
NAMES = ("length=2", "length=7", "skewed", "word_signs", "label_signs", "cone", "lying")


@pytest.fixture(scope="module")
def pure():
    """The start, the run and the theory of level B, from one member more than is drawn of level N."""
    start = draw_initial(PURE)
    return start, simulate(PURE, start, keep_weights=True), theory_curves(PURE, start)


def test_descent_of_pure_prompts_on_other_laws_is_on_the_line_of_the_theory(pure):
    start, run, theory = pure
    found = on_other_laws(PURE, start, run, theory, [scenario(name) for name in NAMES])
    assert [one.scenario.name for one in found] == list(NAMES)
    for one in found:
        np.testing.assert_array_equal(one.simulation["step"], [0, 15, 30, 45, 60])
        for name in QUANTITIES:
            assert one.simulation[name].shape == one.theory[name].shape == (3, 5)
            # Steps of round-off in numbers of order one.
            np.testing.assert_allclose(one.simulation[name], one.theory[name], atol=1e-11, err_msg=name)
    assert found[0].simulation["gap"][:, -1].min() > 0.01 + found[0].simulation["gap"][:, 0].max(), "it learns"
    assert [one.prompts for one in found[:2]] == [2 * 2 * 2, 2 * 2 * 7]


def test_curves_on_the_law_of_training_are_those_of_the_run(pure):
    start, run, theory = pure
    (one,) = on_other_laws(PURE, start, run, theory, [scenario("training")])
    for name in ("error", "attention"):
        np.testing.assert_allclose(one.simulation[name], run[name], atol=1e-13)
        np.testing.assert_allclose(one.theory[name], theory[name], atol=1e-13)


def test_a_lie_turns_the_margin_and_leaves_attention_alone(pure):
    start, run, theory = pure
    honest, lie = on_other_laws(PURE, start, run, theory, [scenario("label_signs"), scenario("lying")])
    np.testing.assert_array_equal(honest.simulation["margin"], -lie.simulation["margin"])
    np.testing.assert_array_equal(honest.simulation["attention"], lie.simulation["attention"])
    np.testing.assert_array_equal(honest.theory["margin"], -lie.theory["margin"])


def test_progress_ends_at_its_total(pure):
    start, run, theory = pure
    seen = []
    on_other_laws(
        PURE, start, run, theory, [scenario("skewed")] * 2, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (16, 16) and [done for done, _ in seen] == list(range(1, 17))


def test_under_noise_the_first_members_are_predicted_by_level_n():
    regime = PURE.replace(
        prompt={"sigma_x": 0.05, "sigma_y": 0.05}, training={"batch": 4, "steps": 6, "record_every": 3}
    ).replace(ensemble={"seeds": 6})
    start = draw_initial(regime)
    theory = noisy_curves(regime, start)
    (one,) = on_other_laws(regime, start, simulate(regime, start, keep_weights=True), theory, [scenario("length=2")])
    assert one.simulation["margin"].shape == (6, 3) and one.theory["margin"].shape == (4, 3)
    # Both sides begin at the same weights.
    np.testing.assert_allclose(one.simulation["gap"][:4, 0], one.theory["gap"][:, 0], atol=1e-13)


def test_one_seed_has_one_row():
    regime = PURE.replace(ensemble={"seeds": 1}, training={"steps": 4, "record_every": 2})
    start = draw_initial(regime)
    theory = theory_curves(regime, start)
    (one,) = on_other_laws(regime, start, simulate(regime, start, keep_weights=True), theory, [scenario("skewed")])
    assert one.simulation["error"].shape == one.theory["error"].shape == (1, 3)
    model = member_models(regime, start, theory)[0]
    law = scenario("skewed").change(training_law(regime, start, pure=True))
    np.testing.assert_array_equal(predicted_at(model, law)["margin"], one.theory["margin"][0])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("noise=0.3", "'noise=0.3': got prompts with noise or extras, expected pure ones.*; type one without"),
        ("length=2+extra=0.1", r"'length=2\+extra=0.1': got prompts with noise"),
        ("length=5000", "got 5000 demonstrations, expected at most 1024.*; type length=1024 or less"),
    ],
)
def test_laws_that_cannot_be_listed_are_refused(name, sentence):
    with pytest.raises(PolysemeError, match=sentence):
        pure_laws(PURE, draw_initial(PURE), [scenario(name)])


def test_a_figure_has_about_a_hundred_records():
    for steps, records in ((2000, 101), (40, 41), (150, 151), (0, 1)):
        assert figure_regime(PURE.replace(training={"steps": steps})).training.record_count() == records
