"""The core on a theory that is not the paper's, in one file: verify, falsify, sweep, map, audit, report, from the shell and from Python."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import polyseme
from polyseme.checks.command_line import app
from polyseme.checks.core.theories import default_regime, theory_in, theory_named, theory_of
from polyseme.checks.core.theory import Theory
from polyseme.errors import PolysemeError

# Whole commands: the types of what they call are checked by the tests of each module.
pytestmark = pytest.mark.usefixtures("unchecked_types")

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
QUADRATIC = EXAMPLES / "noisy_quadratic.py"
BOUND = "risk/stays_below_its_bound"


def run(*arguments: object):
    return CliRunner().invoke(app, [str(x) for x in arguments])


@pytest.fixture(scope="module")
def verified(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verified")
    result = run("verify", "--theory", QUADRATIC, "--out", folder)
    return result, folder


def test_every_claim_is_supported_and_every_near_miss_refuted(verified):
    result, folder = verified
    assert result.exit_code == 0, result.output
    records = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert len(records) == 5
    assert {record["verdict"] for record in records} == {"supported"}
    assert {record["parts"][0]["controls"][0]["verdict"] for record in records} == {"refuted"}


def test_the_report_is_in_the_steps_of_the_argument_and_can_be_written_again(verified):
    _, folder = verified
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.index("The moments") < page.index("The risk")
    assert "smallest curvature" in page
    again = run("report", folder, "--out", folder / "again.html")
    assert again.exit_code == 0, again.output
    assert (folder / "again.html").read_text(encoding="utf-8") == page


def test_the_planted_weakness_is_found_and_its_regime_file_names_the_theory(tmp_path):
    out = tmp_path / "found.toml"
    result = run("falsify", BOUND, "--theory", QUADRATIC, "--out", out)
    assert result.exit_code == 1, result.output
    text = out.read_text(encoding="utf-8")
    assert f'theory = "{QUADRATIC}"' in text
    regime = theory_in(QUADRATIC).regime.load(out)
    assert regime.training.eta * (regime.h[0] + regime.h[-1]) > 2
    replayed = run("verify", out, "--only", BOUND, "--out", tmp_path / "replayed")
    assert replayed.exit_code == 1, replayed.output
    assert "It will say: refuted" in result.output and "refuted" in replayed.output


def test_a_claim_that_is_true_is_not_broken():
    found = polyseme.falsify("moments/mean_is_a_power", theory=QUADRATIC, budget=30)
    assert found.counterexample is None and found.decided >= 10


def test_a_sweep_and_its_map_show_the_predicted_boundary(tmp_path):
    out, file = tmp_path / "sweep", tmp_path / "sweep.toml"
    text = (EXAMPLES / "noisy_quadratic_sweep.toml").read_text(encoding="utf-8")
    for old, new in (
        ('"noisy_quadratic.py"', f'"{QUADRATIC}"'),
        ("count = 9 ", "count = 5 "),
        ("count = 10 ", "count = 6 "),
    ):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")
    result = run("sweep", file, "--out", out, "--processes", 1)
    assert result.exit_code == 0, result.output
    drawn = run("map", out)
    assert drawn.exit_code == 0, drawn.output
    numbers = json.loads((out / "maps" / "stays_below_its_bound.json").read_text(encoding="utf-8"))
    (line,) = numbers["predicted"].values()
    assert line and all(abs(0.5 * (1 + x) * y - 2) < 1e-3 for piece in line for x, y in piece)
    refuted = [cell for cell in numbers["cells"] if cell["refuted"]]
    supported = [cell for cell in numbers["cells"] if cell["supported"]]
    assert refuted and supported
    keys = ("x", "y") if numbers["x"]["key"] == "eta" else ("y", "x")
    assert all(0.5 * (1 + cell[keys[1]]) * cell[keys[0]] > 2 for cell in refuted)
    # A second call goes on with nothing to do.
    assert "30 of 30 points judged (30 of them before)" in run("sweep", file, "--out", out, "--processes", 1).output


def test_the_audit_catches_what_is_planted(tmp_path):
    result = run("audit", "--theory", QUADRATIC, "--trials", 20, "--runs", 60, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert [plant["caught"] for plant in found["plants"]] == [True] * 5
    assert found["rates"][0]["caught"] == found["rates"][0]["tried"] == 20


def test_verdicts_from_python_are_those_of_the_command(verified):
    _, folder = verified
    records = {x["id"]: x for x in json.loads((folder / "results.json").read_text(encoding="utf-8"))}
    table = polyseme.verify(theory=QUADRATIC)
    assert list(table) == list(records)
    for name, one in table.items():
        here, there = one.record["parts"][0], records[name]["parts"][0]
        assert (here["measured"], here["bound"]) == (there["measured"], there["bound"])
    assert table.exit_status == 0
    html = table._repr_html_()
    assert html.count("<tr>") == 6 and "✓ supported" in html and BOUND in html


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"only": "nothing/*"}, "matches no claim"),
        ({"only": "moments/variance_solves*", "this_regime": True}, "any regime alone"),
        ({"drop": ["stabel"]}, "no hypothesis"),
    ],
)
def test_bad_arguments_are_answered_in_a_sentence(arguments, sentence):
    with pytest.raises(PolysemeError, match=re.escape(sentence)):
        polyseme.verify(theory=QUADRATIC, **arguments)


def test_a_regime_of_another_theory_is_refused():
    with pytest.raises(PolysemeError, match="expected its Regime"):
        polyseme.verify(polyseme.Regime(), theory=QUADRATIC)


def test_a_misspelt_claim_is_answered_with_the_nearest():
    with pytest.raises(PolysemeError, match=BOUND):
        polyseme.falsify("risk/stay_below_its_bound", theory=QUADRATIC)


def test_a_regime_file_names_its_theory_by_a_key(tmp_path):
    shutil.copy(QUADRATIC, tmp_path / "mine.py")
    file = tmp_path / "mine.toml"
    file.write_text('theory = "mine.py"\n[training]\neta = 0.1\n', encoding="utf-8")
    assert theory_of(file).name == "noisy_quadratic"
    assert theory_of(file).regime.load(file).training.eta == 0.1
    file.write_text('theory = "multi_concept"\n', encoding="utf-8")
    assert theory_of(file) is theory_named("multi_concept") is theory_of()
    result = run("integrate", EXAMPLES / "noisy_quadratic_sweep.toml", "--out", tmp_path / "x.npz")
    assert result.exit_code == 2 and "another theory" in result.output


@pytest.mark.parametrize(
    ("theory", "sentence"),
    [
        ('theory = "multiconcept"', 'type theory = "multi_concept"'),
        ("theory = 3", "expected the name of a theory or a path"),
        ('theory = "absent.py"', "expected a Python file with a theory"),
    ],
)
def test_a_theory_that_there_is_not_is_one_sentence(tmp_path, theory, sentence):
    file = tmp_path / "regime.toml"
    file.write_text(theory + "\n", encoding="utf-8")
    result = run("verify", file, "--out", tmp_path / "out")
    assert result.exit_code == 2 and sentence in result.output and len(result.output.splitlines()) == 1
    assert not (tmp_path / "out").exists()


BAD = {
    "no theory": ("THEORY = ps.Theory(", "OTHER = ps.Theory(", "a file without THEORY"),
    "no Theory": ("THEORY = ps.Theory(", "THEORY = dict(", "expected a polyseme.Theory"),
    "no seed": ('role="seed", ', "", "no key with role='seed'"),
    "an id twice": ("risk/slowest_mean_falls_exponentially", BOUND, "which another claim has"),
    "unknown uses": (
        'uses=("moments/variance_solves',
        'uses=("moments/variance_solved',
        "which is no claim of the theory",
    ),
    "not Python": ("import numpy as np", "import numpy as", "is not Python"),
    "a key twice": ("eta: float", "sigma: float", "expected unique names"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_with_a_theory_file_is_one_sentence(tmp_path, kind):
    old, new, sentence = BAD[kind]
    text = QUADRATIC.read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / "theory.py"
    file.write_text(text.replace(old, new), encoding="utf-8")
    result = run("verify", "--theory", file, "--out", tmp_path / "out")
    assert result.exit_code == 2 and sentence in result.output, result.output
    assert "Traceback" not in result.output and not (tmp_path / "out").exists()


def test_what_a_theory_leaves_out_is_refused_in_a_sentence_where_it_is_asked_for(tmp_path):
    text = QUADRATIC.read_text(encoding="utf-8")
    text = text[: text.index("    search=ps.SearchSpace")] + ")\n"
    file = tmp_path / "bare.py"
    file.write_text(text, encoding="utf-8")
    assert run("verify", "--theory", file, "--only", "moments/*", "--out", tmp_path / "out").exit_code == 0
    searched = run("falsify", BOUND, "--theory", file)
    assert searched.exit_code == 2 and "declares no search space" in searched.output
    audited = run("audit", "--theory", file, "--out", tmp_path / "audit")
    assert audited.exit_code == 2 and "plants no errors" in audited.output


def test_the_default_regime_of_a_theory_is_its_file_or_its_defaults():
    theory = theory_in(QUADRATIC)
    assert isinstance(theory, Theory) and default_regime(theory) == theory.regime()
    paper = theory_named("multi_concept")
    assert default_regime(paper) == paper.regime.load(paper.default) != paper.regime()


def test_the_page_shows_the_file_as_it_is():
    page = (EXAMPLES.parent / "own_theory.md").read_text(encoding="utf-8")
    text = QUADRATIC.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    assert lines <= 150 and f"{lines} lines" in page
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)[:2]:
        assert block in text
