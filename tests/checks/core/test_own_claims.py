"""Claims from users' files: what is wrong with a file or an entry costs only that, and is reported in a sentence."""

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polyseme.checks.command_line import app
from polyseme.checks.core.own_claims import load_claims
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.theory.multi_concept.regime import Regime

# Whole commands: the types of what they call are checked by the tests of each module.
pytestmark = pytest.mark.usefixtures("unchecked_types")

ROOT = Path(__file__).parents[3]
GOOD = """
from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Compared, Evidence
from polyseme.checks.core.provenance import ROUND_OFF
from polyseme.checks.core.rules.exact import RoundOff

def measure(context, asserted):
    return Evidence(rows=(Compared(name="L", difference=float(abs(asserted - context.regime.prompt.L)), scale=1.0, roundings=1.0),))

ONE = Claim.single(
    id="mine/there_are_four_demonstrations",
    statement="There are four demonstrations in this regime.",
    formula="L = 4",
    section="1",
    asserts=lambda: 4,
    measure=measure,
    rule=RoundOff(reason="whole numbers"),
    controls=(NegativeControl(name="five", statement="There are five.", asserts=lambda: 5),),
    rests_on=(ROUND_OFF,),
)
CLAIMS = (ONE,)
"""
TINY = """
[concepts]
K1 = 1
K2 = 0
d_x = 2
d_y = 2
[model]
m = 2
[training]
steps = 2
batch = "population"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY)
    Path("good.py").write_text(GOOD)
    return tmp_path


def edited(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


BAD = {
    "missing": (None, "expected a Python file with claims; type the path"),
    "not Python": ("CLAIMS = (", "line 1 is not Python"),
    "raises": ("x = 1\nraise RuntimeError('no')", "raised RuntimeError at line 2 while it was loaded (no)"),
    "imports what there is not": ("import nothing_of_this_name", "raised ModuleNotFoundError at line 1"),
    "leaves": ("import sys\nsys.exit(0)", "raised SystemExit at line 2"),
    "empty": ("", "got a file without CLAIMS"),
    "no claims": ("CLAIMS = ()", "got CLAIMS = (), expected a tuple with at least one claim"),
    "a number": ("CLAIMS = (3,)", "entry 1 of CLAIMS is 3, expected a Claim"),
    "no control": (
        edited(
            '    controls=(NegativeControl(name="five", statement="There are five.", asserts=lambda: 5),),\n',
            "",
        ),
        "needs controls = (NegativeControl(...),)",
    ),
    "control is None": (
        edited('NegativeControl(name="five", statement="There are five.", asserts=lambda: 5)', "None"),
        "has no negative control",
    ),
    "no parts": (
        edited("CLAIMS = (ONE,)", "import dataclasses\nCLAIMS = (dataclasses.replace(ONE, parts=()),)"),
        "has the parts ()",
    ),
    "two parts of one name": (
        edited("CLAIMS = (ONE,)", "import dataclasses\nCLAIMS = (dataclasses.replace(ONE, parts=ONE.parts * 2),)"),
        "has parts of one name",
    ),
    "an id of ours": (
        edited("mine/there_are_four_demonstrations", "closure/complement_decays_exactly"),
        "has the id 'closure/complement_decays_exactly', which another claim has",
    ),
    "twice": (edited("CLAIMS = (ONE,)", "CLAIMS = (ONE, ONE)"), "which another claim has"),
    "a bad id": (edited("mine/there_are_four_demonstrations", "Mine"), "has the id 'Mine', expected family/conclusion"),
    "asserts a number": (edited("asserts=lambda: 4", "asserts=4"), "needs functions for asserts and measure"),
    "a rule of straw": (edited('RoundOff(reason="whole numbers")', "'straw'"), "has the rule straw, expected one of"),
    "no basis": (edited("rests_on=(ROUND_OFF,)", "rests_on=()"), "rests on nothing"),
    "a hypothesis of straw": (edited('section="1",', 'section="1", hypotheses=("pure",),'), "that are no Hypothesis"),
    "uses what there is not": (
        edited("rests_on=(ROUND_OFF,)", 'rests_on=(ROUND_OFF,), uses=("closure/nothing",)'),
        "uses 'closure/nothing', which is no claim",
    ),
    "uses itself": (
        edited("rests_on=(ROUND_OFF,)", 'rests_on=(ROUND_OFF,), uses=("mine/there_are_four_demonstrations",)'),
        "use each other in a circle",
    ),
    "no plan": (
        edited(
            'RoundOff(reason="whole numbers")',
            "__import__('polyseme.checks.core.rules.equivalence', fromlist=['x']).Equivalence(margin=0.1, reason='r')",
        ),
        "is statistical and has no plan",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_sentence_and_the_good_one_beside_it_is_loaded(name, folder):
    text, sentence = BAD[name]
    bad = folder / "bad.py"
    if text is not None:
        bad.write_text(text.replace("there_are_four", "there_are_4") if "ours" not in name else text)
    loaded = load_claims([bad, folder / "good.py"], CLAIMS)
    expected = sentence.replace("there_are_four", "there_are_4")
    # In the tests a wrong type is refused as soon as the claim is built, which users do not have.
    assert any(expected in problem or "TypeCheckError" in problem for problem in loaded.problems), loaded.problems
    assert all("\n" not in problem and problem.count("Traceback") == 0 for problem in loaded.problems)
    assert "mine/there_are_four_demonstrations" in {claim.id for claim in loaded.claims}


def verify(*arguments: str):
    return CliRunner().invoke(app, ["verify", "tiny.toml", "--only", "mine/*", "--out", "out", *arguments])


def records(folder: Path) -> dict[str, dict]:
    return {x["id"]: x for x in json.loads((folder / "out" / "results.json").read_text())}


def test_a_claim_of_ones_own_is_tried_like_any_other(folder):
    result = verify("--claims", "good.py")
    assert result.exit_code == 0, result.output
    (record,) = records(folder).values()
    assert (record["verdict"], record["parts"][0]["controls"][0]["verdict"]) == ("supported", "refuted")
    assert record["replay"] == ("polyseme verify tiny.toml --claims good.py --only mine/there_are_four_demonstrations")
    assert "mine/there_are_four_demonstrations" in (folder / "out" / "report.html").read_text()


def test_a_bad_file_costs_exit_status_2_and_the_others_still_run(folder):
    (folder / "bad.py").write_text("raise RuntimeError('no')")
    result = verify("--claims", "bad.py", "--claims", "good.py")
    assert result.exit_code == 2
    assert result.stderr.count("raised RuntimeError at line 1") == 2, "at the start, and again at the end"
    assert records(folder)["mine/there_are_four_demonstrations"]["verdict"] == "supported"


CHEATS = {
    "ignores what is asserted": "asserted = 4",
    "no rows": "return Evidence(rows=())",
    "no evidence": "return 3",
    "not a number": "asserted = float('nan')",
    "leaves": "import sys; sys.exit(0)",
    "infinite scale": "return Evidence(rows=(Compared(name='x', difference=1.0, scale=float('inf'), roundings=1.0),))",
}


def test_checks_that_cannot_fail_are_never_supported(folder):
    head, files = "def measure(context, asserted):\n", []
    for name, line in CHEATS.items():
        ours = name.replace(" ", "_")
        (folder / f"{ours}.py").write_text(edited(head, head + f"    {line}\n").replace("there_are_four", ours))
        files += ["--claims", f"{ours}.py"]
    result = verify(*files, "--claims", "good.py")
    assert result.exit_code == 1, result.output
    found = records(folder)
    wrong = {f"mine/{name.replace(' ', '_')}_demonstrations": "error" for name in CHEATS}
    wrong["mine/not_a_number_demonstrations"] = "refuted"
    assert {name: found[name]["verdict"] for name in wrong} == wrong
    assert found["mine/there_are_four_demonstrations"]["verdict"] == "supported"


def test_claims_lists_ones_own(folder):
    result = CliRunner().invoke(app, ["claims", "--claims", str(folder / "good.py")])
    assert result.exit_code == 0 and "mine/there_are_four_demonstrations" in result.stdout
    assert "needs: pure, fair, distinct" in result.stdout
    assert "judged: equivalence, statistical; about this regime" in result.stdout
    assert "judged: exact; about any regime" in result.stdout


def test_an_unknown_key_to_drop_is_answered_with_the_known_ones(folder):
    result = CliRunner().invoke(app, ["verify", "tiny.toml", "--only", "closure/complement*", "--drop", "purity"])
    assert result.exit_code == 2
    assert "--drop 'purity' is no hypothesis of what is tried; type one of pure, " in result.stderr
    assert not (folder / "out").exists()


# -- the documented example --------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchecked_types")
def test_the_documented_lemma_is_false_as_first_stated_and_holds_corrected():
    from polyseme.checks.core.falsify import search
    from polyseme.checks.core.outcome import trial

    examples = ROOT / "docs" / "examples"
    loaded = load_claims([examples / "error_floor_first.py", examples / "error_floor.py"], CLAIMS)
    assert loaded.problems == ()
    first, corrected = loaded.claims
    regime, outcome = search(first, THEORY, budget=60, level=1e-4).counterexample
    assert outcome.verdict == "refuted" and regime.prompt.p_plus != 0.5
    assert trial(corrected, TrainingContext(regime, level=1e-4), drop=()).verdict == "supported"
    fair = Regime().replace(prompt={"law": "iid"}, training={"steps": 50})
    assert trial(first, TrainingContext(fair, level=1e-4), drop=()).verdict == "supported"
    assert search(corrected, THEORY, budget=15, level=1e-4).counterexample is None


def test_a_loaded_claim_is_an_ordinary_claim(folder):
    (claim,) = load_claims([folder / "good.py"], CLAIMS).claims
    assert dataclasses.replace(claim, id="mine/other").family == "mine"


def test_two_files_may_have_helpers_of_one_name_and_none_hides_a_module_of_ours(folder):
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "helper.py").write_text(f"NAME = 'mine/from_{name}'")
        (folder / name / "polyseme.py").write_text("raise RuntimeError('not ours')")
        text = "import helper\nimport polyseme\n" + edited('id="mine/there_are_four_demonstrations"', "id=helper.NAME")
        (folder / name / "claims.py").write_text(text)
    loaded = load_claims([folder / "one" / "claims.py", folder / "two" / "claims.py"], CLAIMS)
    assert loaded.problems == ()
    assert [claim.id for claim in loaded.claims] == ["mine/from_one", "mine/from_two"]


def test_uses_that_are_no_ids_cost_the_claim_only(folder):
    (folder / "uses.py").write_text(edited("CLAIMS = (ONE,)", "object.__setattr__(ONE, 'uses', 3)\nCLAIMS = (ONE,)"))
    (problem,) = load_claims([folder / "uses.py"], CLAIMS).problems
    assert "uses 3, expected a tuple of the ids" in problem


def test_a_claim_that_spoils_what_its_context_has_cached_spoils_no_other(folder):
    spoils = """
def measure(context, asserted):
    known = context.cached("known", lambda: [4])
    found = known[0]
    known[0] = 5
    context.__dict__["regime"] = None
    return Evidence(rows=(Compared(name="L", difference=float(abs(asserted - found)), scale=1.0, roundings=1.0),))
"""
    head, tail = GOOD.split("def measure", 1)
    text = head + spoils + "\nONE = " + tail.split("ONE = ", 1)[1]
    text = text.replace(
        "CLAIMS = (ONE,)", "import dataclasses\nCLAIMS = (ONE, dataclasses.replace(ONE, id='mine/two'))"
    )
    (folder / "spoils.py").write_text(text.replace("lambda: 5", "lambda: 6"))
    command = ["verify", "tiny.toml", "--claims", "spoils.py", "--only", "mine", "--out", "out"]
    result = CliRunner().invoke(app, command)
    verdicts = {record["id"]: record["verdict"] for record in json.loads(Path("out/results.json").read_text())}
    assert verdicts == {"mine/there_are_four_demonstrations": "supported", "mine/two": "supported"}, result.output
