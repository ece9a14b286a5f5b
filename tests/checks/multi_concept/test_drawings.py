"""`polyseme figures` and `polyseme transfer`: what they write and print, and how they refuse."""

import json

import pytest
from command_line import call, load, write_regime

from polyseme.checks.multi_concept.drawings import FIGURES
from polyseme.checks.multi_concept.out_of_distribution.curves import DEFAULT
from polyseme.sim.multi_concept import run_folder

# -- figures -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    regime = write_regime(folder / "tiny.toml", ensemble={"seeds": 3})
    status, said, _ = call("figures", regime, "--out", folder / "out")
    return folder, regime, status, said


def test_figures_writes_both_figures_and_the_numbers_behind_them(drawn):
    folder, _, status, said = drawn
    assert status == 0
    names = {f"{stem}.{kind}" for stem in FIGURES for kind in ("svg", "pdf")} | {"figures.npz", "figures.json"}
    assert {path.name for path in (folder / "out").iterdir()} == names | {"ensemble.run"}
    assert all(str(folder / "out" / name) in said for name in names)
    facts = json.loads((folder / "out" / "figures.json").read_text())
    assert facts["regime"]["name"] == "tiny" and facts["seeds"] == {"first seed": 0, "members": 3}
    assert list(facts["figures"]["out_of_distribution"]["scenarios"]) == list(DEFAULT)
    for one in facts["figures"].values():
        for word in ("3 full transformers", "10–90 %", "Regime tiny", "level B"):
            assert word in one["caption"]
    assert "n = 8, 64, 12, 12 pure prompts" in facts["figures"]["out_of_distribution"]["caption"]
    arrays = load(folder / "out" / "figures.npz")
    assert arrays["length=16.simulation.error"].shape == (3, 41)
    assert arrays["word_signs.theory.margin"].shape == (3, 41)
    assert "learning.simulation.attention_specific" in arrays and "learning.theory.loss" in arrays


def test_other_scenarios_need_no_new_training_and_one_figure_can_be_drawn_alone(drawn, monkeypatch):
    folder, regime, _, _ = drawn
    monkeypatch.setattr(
        "polyseme.sim.multi_concept.training.train.Run.steps", lambda _self: pytest.fail("trained again")
    )
    before = (folder / "out" / "learning_dynamics.svg").stat().st_mtime_ns
    arguments = ("--only", "out_of_distribution", "--scenario", "length=64+skewed", "--scenario", "cone")
    assert call("figures", regime, "--out", folder / "out", *arguments)[0] == 0
    assert (folder / "out" / "learning_dynamics.svg").stat().st_mtime_ns == before
    facts = json.loads((folder / "out" / "figures.json").read_text())
    assert list(facts["figures"]) == ["out_of_distribution"]
    assert list(facts["figures"]["out_of_distribution"]["scenarios"]) == ["length=64+skewed", "cone"]


def test_laws_that_need_several_concepts_are_named_where_there_is_one(drawn, tmp_path):
    said = "The same law as in training, in this regime, which has one concept (K1 = 1): skewed, cone.\n"
    one = write_regime(tmp_path / "one.toml", concepts={"K1": 1, "K2": 0, "d_x": 5, "d_y": 3})
    scenarios = [x for name in ("training", "skewed", "word_signs", "cone") for x in ("--scenario", name)]
    status, shown, _ = call("figures", one, "--out", tmp_path / "out", "--only", "out_of_distribution", *scenarios)
    assert status == 0 and shown.endswith(said)
    facts = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert said.strip() in facts["figures"]["out_of_distribution"]["caption"]
    folder, _, _, shown = drawn
    several = json.loads((folder / "out" / "figures.json").read_text())["figures"]["out_of_distribution"]
    assert "same law" not in shown + several["caption"]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("--scenario", "nope"), "there is no scenario 'nope'; type one of training, skewed"),
        (("--scenario", "length=x"), "got 'x', expected a number; type for example length=16"),
        (("--scenario", "noise=0.3"), "expected pure ones"),
        (("--only", "learning_dynamics", "--scenario", "skewed"), "leave out one of them"),
        (("--processes", "0"), "got --processes 0"),
        (("--scenario", "unseen_words"), "there is no direction outside the features"),
    ],
)
def test_bad_arguments_are_one_sentence_before_anything_is_trained(arguments, shown, tmp_path):
    regime = write_regime(tmp_path / "r.toml", concepts={"K1": 2, "K2": 3, "d_x": 7, "d_y": 5})
    status, said, wrong = call("figures", regime, "--out", tmp_path / "out", *arguments)
    assert status == 2 and said == "" and shown in wrong and wrong.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_ctrl_c_keeps_the_run_and_writes_no_figure(tmp_path, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise run_folder.Interrupted

    regime = write_regime(tmp_path / "r.toml")
    monkeypatch.setattr("polyseme.sim.multi_concept.run_folder.train", interrupted)
    status, _, wrong = call("figures", regime, "--out", tmp_path / "out")
    assert status == 130 and "type the same command to go on" in wrong
    assert not (tmp_path / "out").exists()


# -- transfer ------------------------------------------------------------------------------------------------------


def test_transfer_lists_every_scenario():
    status, said, _ = call("transfer", "--list")
    assert status == 0
    for name in ("training", "word_signs", "length=16", "noise=0.3", "lying"):
        assert f"{name}\n    " in said
    assert "(expected to break the skill)" in said


def test_transfer_prints_what_is_predicted_beside_what_is_measured(tmp_path):
    regime = write_regime(tmp_path / "r.toml")
    status, said, _ = call("transfer", regime, "--scenario", "length=16+skewed", "--scenario", "training")
    assert status == 0
    rows = [line.split() for line in said.splitlines() if line.strip().startswith(("length=16+skewed", "training"))]
    assert [row[0] for row in rows] == ["length=16+skewed", "training"]
    for _, error, measured, attention, weight, difference in rows:
        assert error == measured and attention == weight and float(difference) < 1e-10


def test_transfer_under_noise_is_one_member_of_sgd_beside_level_n(tmp_path):
    regime = write_regime(tmp_path / "r.toml", prompt={"L": 3, "sigma_x": 0.05, "sigma_y": 0.05})
    status, said, _ = call("transfer", regime)
    assert status == 0 and "SGD" in said and "level N" in said and "its own fluctuations" in said
    assert "unseen_words" in said and "length=64" in said


def test_transfer_refuses_what_it_cannot_list(tmp_path):
    regime = write_regime(tmp_path / "r.toml")
    status, _, wrong = call("transfer", regime, "--scenario", "extra=0.1")
    assert status == 2 and wrong.count("\n") == 1
