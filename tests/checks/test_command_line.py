"""The command line: what it prints and writes, and how it refuses (THEORY.md section 8)."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import call, load, write_regime

from polyseme.checks.core.theories import default_regime
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.theory.multi_concept.regime import Regime, load_regime

# Whole commands: the types of what they call are checked by the tests of each module.
pytestmark = pytest.mark.usefixtures("unchecked_types")

ROOT = Path(__file__).parents[2]
COMMANDS = ("derive", "integrate", "simulate", "verify")


# -- derive ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["S", "B"])
def test_derive_prints_text_latex_and_json_of_one_recursion(level):
    texts = {}
    for format in ("text", "latex", "json"):
        status, texts[format], stderr = call("derive", "--level", level, "--format", format)
        assert (status, stderr) == (0, "")
    document = json.loads(texts["json"])
    assert document["level"] == level
    assert len(document["equations"]) == len(document["state"]) == {"S": 6, "B": 10}[level]
    assert texts["text"].count(" <- ") == len(document["equations"]) == texts["latex"].count(r"\leftarrow")
    assert texts["latex"].startswith(r"\documentclass") and texts["latex"].endswith("\\end{document}\n")


def test_derive_prints_level_b_as_text_by_default():
    assert call("derive") == call("derive", "--level", "B", "--format", "text")


# -- integrate and simulate --------------------------------------------------------------------------------

TRAJECTORY = {"step", "W_Q_blocks", "W_K_blocks", "alpha", "beta", "loss", "error", "attention"}


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("command", ["integrate", "simulate"])
def test_a_trajectory_has_the_names_and_shapes_of_section_8(tmp_path, command, seeds):
    regime = write_regime(tmp_path / "r.toml", ensemble={"seeds": seeds})
    np.savez(tmp_path / "initial.npz", **draw_initial(load_regime(regime)))
    assert call(command, regime, "--initial", tmp_path / "initial.npz", "--out", tmp_path / "a" / "b.npz")[0] == 0
    arrays = load(tmp_path / "a" / "b.npz")
    ensemble = (seeds,) if seeds > 1 else ()
    shapes = {
        "step": (5,),
        **dict.fromkeys(("W_Q_blocks", "W_K_blocks"), (*ensemble, 5, 2, 2, 2)),
        **dict.fromkeys(("alpha", "beta"), (*ensemble, 5, 4, 2)),
        **dict.fromkeys(("loss", "error", "attention"), (*ensemble, 5)),
    }
    assert shapes.items() <= {name: array.shape for name, array in arrays.items()}.items()
    assert arrays["step"].tolist() == [0, 10, 20, 30, 40]


@pytest.mark.parametrize("command", ["integrate", "simulate"])
def test_the_start_is_drawn_from_the_seed_if_it_is_not_given(tmp_path, command):
    regime = write_regime(tmp_path / "r.toml", ensemble={"seeds": 2, "seed": 5})
    np.savez(tmp_path / "initial.npz", **draw_initial(load_regime(regime)))
    assert call(command, regime, "--out", tmp_path / "drawn.npz")[0] == 0
    assert call(command, regime, "--initial", tmp_path / "initial.npz", "--out", tmp_path / "given.npz")[0] == 0
    drawn, given = load(tmp_path / "drawn.npz"), load(tmp_path / "given.npz")
    assert all(np.array_equal(drawn[name], given[name]) for name in drawn.keys() | given.keys())


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("law", ["match", "iid"])
def test_integrate_and_simulate_agree_under_population_descent(tmp_path, seeds, law):
    training = {"batch": "population", "steps": 200, "schedule": "constant", "eta": 4.0}
    regime = write_regime(tmp_path / "r.toml", training=training, prompt={"law": law}, ensemble={"seeds": seeds})
    np.savez(tmp_path / "initial.npz", **draw_initial(load_regime(regime)))
    runs = []
    for command in ("integrate", "simulate"):
        out = tmp_path / f"{command}.npz"
        assert call(command, regime, "--initial", tmp_path / "initial.npz", "--out", out)[0] == 0
        runs.append(load(out))
    for name in TRAJECTORY:
        assert runs[0][name].shape == runs[1][name].shape
        # 200 steps of sums of about 20 terms collect 1e-13 at most if nothing amplifies; the contract says 1e-11.
        assert np.abs(runs[0][name] - runs[1][name]).max() <= 1e-11, name
    assert np.ptp(runs[0]["beta"], axis=-3).max() > 1e-3, "a run that stands still would agree too"


# One start and several seeds: sgd needs as many members as seeds, and the recursion has but one.
def test_one_start_for_several_seeds_gives_both_trajectories_the_same_shapes(tmp_path):
    regime = write_regime(tmp_path / "r.toml", ensemble={"seeds": 3})
    np.savez(tmp_path / "one.npz", **draw_initial(load_regime(regime).replace(ensemble={"seeds": 1})))
    shapes = []
    for command in ("integrate", "simulate"):
        assert call(command, regime, "--initial", tmp_path / "one.npz", "--out", tmp_path / "out.npz")[0] == 0
        shapes.append({name: array.shape for name, array in load(tmp_path / "out.npz").items() if name in TRAJECTORY})
    assert shapes[0] == shapes[1]


# -- verify and help ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "only", "status"),
    [
        ({}, "algebra/drawn*", 0),
        ({"prompt": {"sigma_y": 0.1}}, "*/dr*", 0),  # one claim applies, one does not
        ({"prompt": {"sigma_y": 0.1}}, "closure/complement*", 3),  # nothing that is tried applies
    ],
)
def test_verify_exit_status(tmp_path, changes, only, status):
    regime = write_regime(tmp_path / "r.toml", ensemble={"seeds": 2}, **changes)
    assert call("verify", regime, "--only", only, "--out", tmp_path / "out")[0] == status
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"results.json", "report.html", "figures"}


def test_verify_takes_a_single_seed(tmp_path):
    assert (
        call("verify", write_regime(tmp_path / "r.toml"), "--only", "algebra/drawn*", "--out", tmp_path / "out")[0] == 0
    )


def test_the_shipped_default_is_a_regime():
    assert default_regime(THEORY) == load_regime(ROOT / "regimes" / "default.toml") != Regime()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_contains_an_example(command):
    status, stdout, _ = call(command, "--help")
    assert status == 0
    assert re.search(rf"Example: polyseme {command}\b", stdout)


def test_the_help_lists_every_command_and_what_has_no_command_is_refused():
    status, stdout, _ = call("--help")
    assert status == 0
    assert all(re.search(rf"^  {command} ", stdout, re.MULTILINE) for command in COMMANDS)
    assert call("nonsense")[0] == 2


def test_the_module_and_the_console_script_are_one_program():
    outputs = [
        subprocess.run([*program, "derive", "--level", "S"], capture_output=True, cwd=ROOT, check=True).stdout
        for program in (
            [sys.executable, "-m", "polyseme.checks.command_line"],
            [Path(sys.executable).with_name("polyseme")],
        )
    ]
    assert outputs[0] == outputs[1] != b""
