"""The notebook runs from a clean process, says what is true, and leaves nothing behind."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "walkthrough.py"

# Runs every cell, as `python docs/walkthrough.py` does, and prints what the test looks at. The hook sees every file that Python
# opens to write, every folder that it makes, and every name that it changes.
DRIVER = """
import importlib.util, json, os, sys
touched = []
def hook(event, arguments):
    if event == "open":
        path, _, flags = arguments
        if not isinstance(path, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            touched.append(os.path.abspath(os.fsdecode(path)))
    elif event == "shutil.rmtree":
        touched.append(os.path.abspath(arguments[0]))
    elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.link", "os.symlink", "os.truncate"):
        # Names relative to an open folder are rmtree's, which has said which folder it removes.
        if not any(isinstance(x, int) and x >= 0 for x in arguments if event in ("os.remove", "os.rmdir")):
            touched.extend(os.path.abspath(os.fsdecode(x)) for x in arguments if isinstance(x, str | bytes | os.PathLike))
sys.addaudithook(hook)
spec = importlib.util.spec_from_file_location("walkthrough", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
outputs, names = module.app.run()
found = {name: names[name] for name in ("peirce_laws", "split_is_exact", "differences", "bound", "record", "outside", "transfer")}
found["living"] = {level: [sorted(map(list, known.live(name))) for name in ("W_Q", "W_K")] for level, known in names["living"].items()}
found["verdict"] = str(names["judgement"].verdict)
found["odds"] = {t: odds.ravel().tolist() for t, odds in names["odds"].items()}
found["by_length"] = {t: table.tolist() for t, table in names["by_length"].items()}
found |= {name: list(names[name]) for name in ("lengths", "moments")}
found["errors"] = [names["theory"]["error"].tolist(), names["full"]["error"].tolist()]
found["pages"] = [output.text if hasattr(output, "text") else "" for output in outputs]
# What its last cell proposes to try, all at once; from the changed regime the other cells follow.
changed = names["regime"].replace(
    model={"m": 9}, prompt={"law": "iid"}, training={"lam": 1e-3, "gamma": 200.0, "steps": 80, "record_every": 7}
)
again, names = module.app.run(defs={"regime": changed})
found["changed"] = [len(again), str(names["judgement"].verdict), names["record"]["verdict"], names["outside"]["verdict"]]
print(json.dumps(found | {"touched": touched}, default=str))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a home, a temporary folder and a place to run in."""
    made = tmp_path_factory.mktemp("walkthrough")
    for name in ("home", "temporary", "here"):
        (made / name).mkdir()
    return made


@pytest.fixture(scope="module")
def found(folder):
    """What the notebook found, run in a process of its own, in a home and a temporary folder of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    here = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "temporary")}
    child = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", DRIVER, str(NOTEBOOK)],
        cwd=folder / "here",
        env=kept | here | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    *said, last = child.stdout.splitlines()
    return json.loads(last) | {"said": said}


def cells() -> list[ast.AST]:
    """The setup and the functions of the notebook that are cells."""
    tree = ast.parse(NOTEBOOK.read_text(encoding="utf-8"))
    return [
        node
        for node in tree.body
        if isinstance(node, ast.With)
        or (isinstance(node, ast.FunctionDef) and any("app.cell" in ast.unparse(x) for x in node.decorator_list))
    ]


def test_it_is_about_twenty_cells():
    assert 15 <= len(cells()) <= 25


@pytest.mark.slow
def test_every_cell_runs_and_shows_something(found):
    assert len(found["pages"]) == len(cells()) - 1, "all but the setup"
    assert [number for number, page in enumerate(found["pages"]) if not page] == []
    assert not any(word in page for page in found["pages"] for word in ("Traceback", "marimo-error"))


# marimo keeps a log and an empty settings file in the home of whoever runs any notebook, and matplotlib, which marimo imports,
# its list of fonts; machine code is kept in the cache folder, too.
KEPT = ("marimo", "matplotlib", "polyseme")
OF_OTHERS = tuple(f"home/.{kind}{name}" for kind in ("cache", "config") for name in ("", *(f"/{x}" for x in KEPT)))


@pytest.mark.slow
def test_it_writes_in_its_temporary_folder_alone_and_leaves_it_empty(found, folder):
    others = [folder / name for name in OF_OTHERS]
    outside = [
        path
        for path in map(Path, found["touched"])
        if path != Path(os.devnull)
        and not path.is_relative_to(folder / "temporary")
        and path not in others
        and not any(path.is_relative_to(place) for place in others if place.name in KEPT)
    ]
    assert outside == []
    assert any(path.endswith("walkthrough.svg") for path in found["touched"]), "or the hook saw nothing"
    assert [*(folder / "temporary").iterdir(), *(folder / "here").iterdir()] == []


@pytest.mark.slow
def test_the_algebra_holds_exactly(found):
    assert set(found["peirce_laws"].values()) == set(found["split_is_exact"].values()) == {True}
    assert found["living"]["S"][0] != found["living"]["B"][0] != found["living"]["Z"][0]


@pytest.mark.slow
def test_the_full_model_follows_the_recursion_to_round_off(found):
    assert found["verdict"] == "supported"
    # The bound is derived, and must not be so wide that the difference of a wrong theory would fit in.
    assert (
        max(found["differences"].values())
        <= found["bound"]
        < 1e-9
        < found["record"]["parts"][0]["controls"][0]["measured"]
    )
    theory, full = found["errors"]
    assert full[0] > full[-1] == theory[-1] == 0


@pytest.mark.slow
def test_the_claim_is_supported_its_control_refuted_and_outside_it_says_nothing(found):
    assert found["record"]["verdict"] == "supported"
    assert found["record"]["parts"][0]["controls"][0]["verdict"] == "refuted"
    assert found["outside"]["verdict"] == "not_applicable"


# A sum of probabilities of at most 2 K1 (L + 1) prompts, of one in all.
SUMMED = 2 * 2 * (64 + 1) * 2.0**-52


@pytest.mark.slow
def test_what_is_predicted_out_of_distribution_is_measured(found):
    for name, (predicted, measured, gap) in found["transfer"].items():
        assert abs(predicted - measured) <= SUMMED, name
        assert gap <= found["bound"], name
    errors = {name: measured for name, (_, measured, _) in found["transfer"].items()}
    assert errors["length=64"] == errors["word_signs"] == 0
    assert errors["lying"] > 0.5 < 2 * errors["unseen_words"]


@pytest.mark.slow
def test_a_match_is_outvoted_at_the_predicted_odds(found):
    erred = 0
    for t in map(str, found["moments"]):
        table = dict(zip(found["lengths"], found["by_length"][t], strict=True))
        assert all(abs(predicted - measured) <= SUMMED for predicted, measured in table.values())
        for length, (_, measured) in table.items():
            # Some prompt with one match fails if and only if L - 1 others reach the smallest odds.
            assert (measured > 0) == (length - 1 >= min(found["odds"][t])), (t, length)
            erred += measured > 0
    assert erred > 3, "or nothing was outvoted"


@pytest.mark.slow
def test_run_as_a_script_it_says_what_was_found_and_how_to_open_it(found):
    assert len(found["said"]) == 8, "four lines, and four of the changed regime"
    paths, errors, claim, opened = found["said"][:4]
    assert paths.endswith(
        f"{max(found['differences'].values()):.1e} of the largest coefficient; round-off may make it {found['bound']:.1e}: supported."
    )
    assert all(f"{name} {said:.2g} and {seen:.2g}" in errors for name, (said, seen, _) in found["transfer"].items())
    assert claim.endswith(f"{found['record']['id']} is supported, its negative control refuted.")
    assert opened.endswith("make notebook")


@pytest.mark.slow
def test_the_cells_follow_another_regime(found):
    assert found["changed"] == [len(found["pages"]) - 1, "supported", "supported", "not_applicable"], "all but its own"
