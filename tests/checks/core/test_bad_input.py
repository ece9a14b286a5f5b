"""Bad input: one sentence on standard error, exit status 2, no traceback, nothing left behind."""

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from polyseme.checks.command_line import app
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.theory.multi_concept.regime import parse_regime

ROOT = Path(__file__).parents[3]
GOOD = """
[concepts]
K1 = 2
K2 = 1
d_x = 7
d_y = 5
[prompt]
L = 3
[model]
m = 4
[training]
steps = 20
batch = 4
"""
ADVICE = re.compile(r"\btype |for example|expected one of|; write it|; add |; see |; or |; start from ")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with a good regime, a good start, and nothing else."""
    monkeypatch.chdir(tmp_path)
    Path("good.toml").write_text(GOOD)
    return tmp_path


def refusal(folder: Path, *arguments: str) -> str:
    """The one sentence that a call is refused with; whatever else happens is a failure."""
    before = sorted(folder.rglob("*"))
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sorted(folder.rglob("*")) == before, "something was left behind"
    sentence = result.stderr.strip()
    assert sentence.startswith("polyseme: ") and "\n" not in sentence and "Traceback" not in sentence
    return sentence


def check(sentence: str, pattern: str) -> None:
    assert re.search(pattern, sentence), sentence
    assert ADVICE.search(sentence), f"does not say what to type: {sentence}"


REGIMES = {
    "[concepts]\nfoo = 1": r"\[concepts\] has no key 'foo' \(got foo = 1\); expected one of K1, K2",
    "[nonsense]\nL = 1": r"unknown table \[nonsense\]; expected one of \[concepts\], \[prompt\]",
    "L = 1": r"unknown table \[L\]; expected one of",
    "concepts = 1": r"\[concepts\] is 1: expected a table of keys",
    "[concepts]\nkappa_x = 1": r"kappa_x = 1 is not accepted: expected a number in \[0, 1\)",
    "[concepts]\nkappa_y = -0.1": r"kappa_y = -0.1 is not accepted: expected a number in \[0, 1\)",
    "[concepts]\nkappa_x = nan": r"kappa_x = NaN is not accepted: expected a number in \[0, 1\)",
    "[concepts]\nK1 = 3\nd_x = 6": r"d_x = 6 is impossible: expected at least 2 K1 \+ K2 = 8; type d_x = 8 or more",
    "[concepts]\nd_y = 3": r"d_y = 3 is impossible: expected at least 2 K1 = 4; type d_y = 4",
    "[concepts]\nK1 = 1000000000": r"d_x = 16 is impossible: .* type d_x = 2000000002 or more",
    "[concepts]\nK1 = 0": r"K1 = 0 is not accepted: expected a whole number",
    "[concepts]\nweights = [0.5, 0.4]": r"weights = \[0.5, 0.4\] is impossible: .* sum to 1, and these sum to 0.9",
    "[concepts]\nweights = [1.0]": r"weights = \[1.0\] is impossible: expected one probability per concept; type K1 = 2",
    "[prompt]\nL = 0": r"L = 0 is not accepted: expected a whole number .*, for example L = 4",
    "[prompt]\nL = 2.5": r"L = 2.5 is not accepted: expected a whole number",
    "[prompt]\nL = true": r"L = true is not accepted: expected a whole number",
    "[prompt]\nlaw = 'Match'": r"law = \"Match\" is not accepted: expected 'match' or 'iid'",
    "[prompt]\np_extra = 1.1": r"p_extra = 1.1 is not accepted: expected a probability",
    "[training]\nbatch = 'all'": r"batch = \"all\" is not accepted: expected a whole number .* or 'population'",
    "[training]\nlam = 0": r"lam = 0.* is impossible: .* or type schedule = 'constant'",
    "[training]\nrecord_every = 0": r"record_every = 0 is not accepted: expected a whole number",
    "[ensemble]\nseed = -1": r"seed = -1 is not accepted: expected a whole number of at least 0",
    "[ensemble]\ndevice = 'tpu'": r"device = \"tpu\" is not accepted: expected 'auto', 'cpu' or 'cuda'",
    "[prompt\nL = 1": r"expected TOML, got something else \(.*\); see ",
}


@pytest.mark.parametrize("text", REGIMES)
def test_a_regime_that_cannot_exist(folder, text):
    Path("bad.toml").write_text(text)
    for command in (["integrate", "bad.toml"], ["simulate", "bad.toml"], ["verify", "bad.toml"]):
        sentence = refusal(folder, *command, "--out", "out")
        check(sentence, REGIMES[text])
        assert "bad.toml: " in sentence


@pytest.mark.parametrize("command", ["integrate", "simulate", "verify"])
def test_a_regime_file_that_is_not_one(folder, command):
    Path("latin.toml").write_bytes(b"# \xff\xfe")
    for name, pattern in (
        ("missing.toml", "got 'No such file or directory'"),
        (".", "got 'Is a directory'"),
        ("latin.toml", "expected TOML, got something else"),
    ):
        check(refusal(folder, command, name, "--out", "out"), pattern)


def spoiled_start(**changes) -> Callable[[], None]:
    def write() -> None:
        state = draw_initial(
            parse_regime({"concepts": {"K1": 2, "K2": 1, "d_x": 7, "d_y": 5}, "model": {"m": 4}}, source="")
        )
        for name, change in changes.items():
            state[name] = change(state[name])
        np.savez("start.npz", **{name: array for name, array in state.items() if array is not None})

    return write


STARTS = {
    "NaN": (spoiled_start(W_Q=lambda W: W * np.nan), "W_Q with entries that are not finite"),
    "shape": (spoiled_start(W_O=lambda W: W[:3]), r"W_O of shape \(3, 5\), expected \(4, 5\)"),
    "missing array": (spoiled_start(Q=lambda _Q: None), "add array Q"),
    "kappa": (spoiled_start(M=lambda M: M[:, [0, 0, 2, 3, 4]]), "overlap kappa_x = 0.2 .* type the kappa_x"),
    "not an archive": (lambda: Path("start.npz").write_text("text"), "got a file that is not an npz archive"),
    "a folder": (lambda: Path("start.npz").mkdir(), "got a folder, expected initial state"),
    "absent": (lambda: None, "got no such file, expected initial state"),
}


@pytest.mark.parametrize("command", ["integrate", "simulate"])
@pytest.mark.parametrize("name", STARTS)
def test_an_initial_state_that_does_not_fit(folder, name, command):
    write, pattern = STARTS[name]
    write()
    sentence = refusal(folder, command, "good.toml", "--initial", "start.npz", "--out", "out.npz")
    check(sentence, pattern)
    assert "start.npz: " in sentence


def test_a_wrong_r(folder):
    spoiled_start(r=lambda r: 2 * r)()
    sentence = refusal(folder, "integrate", "good.toml", "--initial", "start.npz", "--out", "out.npz")
    check(sentence, r"expected every r to be \+1/m or -1/m with m = 4, got one off by 1 of that; type r = ")


def test_level_b_is_refused_where_it_is_not_the_theory(folder):
    Path("extra.toml").write_text(GOOD.replace("L = 3", "L = 3\np_extra = 0.1"))
    sentence = refusal(folder, "integrate", "extra.toml", "--level", "B", "--out", "out.npz")
    check(sentence, r"level B is the theory of pure prompts, got \[prompt\] p_extra = 0.1; type p_extra = 0")
    for key in ("sigma_x", "sigma_y"):
        Path("noisy.toml").write_text(GOOD.replace("L = 3", f"L = 3\n{key} = 0.1"))
        sentence = refusal(folder, "integrate", "noisy.toml", "--level", "B", "--out", "out.npz")
        check(sentence, rf"level B is the theory of pure prompts, got \[prompt\] {key} = 0.1; type {key} = 0")

    Path("crowded.toml").write_text(GOOD.replace("L = 3", "L = 3\np_extra = 0.5\nsigma_y = 0.1"))
    sentence = refusal(folder, "integrate", "crowded.toml", "--out", "out.npz")
    check(sentence, r"level N is the theory of few extras, got .* = 2, .*; type p_extra = 0.062 or less")
    Path("loud.toml").write_text(GOOD.replace("L = 3", "L = 3\nsigma_y = 0.5"))
    sentence = refusal(folder, "integrate", "loud.toml", "--out", "out.npz")
    check(
        sentence, r"loud.toml: level N is the theory of low noise, got \[prompt\] sigma_y = 0.5, .*; type sigma_y = 0.2"
    )

    def leak(W: np.ndarray) -> np.ndarray:
        M = draw_initial(parse_regime({"concepts": {"K1": 2, "K2": 1, "d_x": 7, "d_y": 5}}, source=""))["M"]
        return W + 1e-6 * np.outer(M[:, 2], M[:, 0])

    spoiled_start(W_Q=leak)()
    sentence = refusal(folder, "integrate", "good.toml", "--initial", "start.npz", "--out", "out.npz")
    check(
        sentence,
        r"start.npz: level B needs W_Q and W_K to map .*, got a component of relative size .* outside it; start",
    )


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (
            ("batch = 4", "batch = 'population'\n[ensemble]\ndevice = 'cpu'"),
            "batch = 'population' needs prompts without noise",
        ),
        (("batch = 4", "batch = 4\n[ensemble]\ndevice = 'cuda'"), "got device = 'cuda' and torch finds no CUDA device"),
        (("steps = 20", "steps = 900\nschedule = 'constant'\neta = 50.0\nlam = 1.0"), "diverged before step"),
    ],
)
@pytest.mark.parametrize("command", ["simulate", "verify"])
def test_a_run_that_the_simulation_refuses(folder, command, change, pattern, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    noise = "L = 3\nsigma_x = 0.1" if "population" in pattern else "L = 3"
    Path("r.toml").write_text(GOOD.replace(*change).replace("L = 3", noise))
    check(refusal(folder, command, "r.toml", "--out", "out"), pattern)


def test_options_that_match_nothing(folder):
    check(
        refusal(folder, "verify", "good.toml", "--only", "nothing/*", "--out", "out"), "'nothing/\\*' matches no claim"
    )
    check(
        refusal(folder, "verify", "good.toml", "--only", "algebra/peirce*", "--this-regime", "--out", "out"),
        "matches claims about any regime alone; type it without",
    )
    check(refusal(folder, "derive", "--level", "Q"), "got --level Q, expected one of S, B, N, Z; type --level B")
    check(
        refusal(folder, "derive", "--loss", "hinge"), "got --loss hinge, expected one of logistic, squared, exponential"
    )
    check(refusal(folder, "derive", "--activation", "tanh"), "got --activation tanh, expected one of relu, leaky_relu")
    check(refusal(folder, "derive", "--truncated"), "got --truncated with --level B, which is exact as it is")
    check(
        refusal(folder, "integrate", "good.toml", "--level", "S", "--out", "out.npz"),
        "got --level S, expected B, N or Z",
    )
    check(refusal(folder, "derive", "--format", "pdf"), "got --format pdf, expected one of latex, text, json")


@pytest.mark.parametrize("command", ["integrate", "simulate"])
def test_a_place_that_cannot_be_written(folder, command):
    Path("file").write_text("kept")
    Path("link").symlink_to("file")
    for out, got in (("file/out.npz", "no folder"), (".", "a folder"), ("link", "a link"), ("/dev/null", "a device")):
        check(refusal(folder, command, "good.toml", "--out", out), f"got .*{got}.*; type another path")
    assert Path("file").read_text() == "kept"


def test_verify_looks_at_the_place_before_it_works(folder):
    Path("file").write_text("kept")
    check(
        refusal(folder, "verify", "good.toml", "--only", "algebra/drawn*", "--out", "file"),
        "got a file, expected a new or",
    )


@pytest.mark.usefixtures("folder")
def test_a_refusal_under_way_is_one_line():
    Path("r.toml").write_text(GOOD.replace("steps = 20", "steps = 900\nschedule = 'constant'\neta = 50.0\nlam = 1.0"))
    result = CliRunner().invoke(app, ["simulate", "r.toml", "--out", "out.npz"])
    assert result.stderr.count("\n") == 1


# -- more than a machine can hold --------------------------------------------------------------------------

ENORMOUS = {
    "d_x": "[concepts]\nd_x = 1000000\n",
    "K1": "[concepts]\nK1 = 1000000000\nd_x = 3000000000\nd_y = 2000000000\n",
    "m": "[model]\nm = 1000000000000\n",
    "seeds": "[ensemble]\nseeds = 1000000000\n",
    "steps": "[training]\nsteps = 1000000000000\n",
    "L": "[prompt]\nL = 1000000000\n",
}
TRY_ALL = """
import json, sys
from typer.testing import CliRunner
from polyseme.checks.command_line import app
results = {}
for name in sys.argv[2:]:
    result = CliRunner().invoke(app, [sys.argv[1], f"{name}.toml", "--out", "out"])
    results[name] = [result.exit_code, repr(result.exception), result.stderr.strip()]
print(json.dumps(results))
"""


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("integrate", tuple(name for name in ENORMOUS if name != "L")),  # a window of counts holds any L
        ("simulate", tuple(ENORMOUS)),
        ("verify", ("K1", "seeds", "L")),
    ],
)
def test_what_no_machine_can_hold_is_refused_before_it_is_tried(tmp_path, command, names):
    # In a process that may not grow: a regression ends it, and not the machine.
    gibibytes = 2 if command == "integrate" else 8  # torch alone maps several
    for name in names:
        (tmp_path / f"{name}.toml").write_text(ENORMOUS[name])
    child = subprocess.run(
        [sys.executable, "-c", TRY_ALL, command, *names],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (gibibytes * 2**30,) * 2),
    )
    results = json.loads(child.stdout)
    for name in names:
        status, exception, sentence = results[name]
        assert (status, exception, sentence.count("\n")) == (2, "SystemExit(2)", 0), sentence
        check(sentence, "needs about .* of memory|needs .* GiB")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.toml" for name in names)
