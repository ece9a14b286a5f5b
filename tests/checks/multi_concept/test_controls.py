"""A wrong recursion makes the verification fail: one sign, one term, one equation at a time."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import sympy as sp
from typer.testing import CliRunner

from polyseme.checks.command_line import app
from polyseme.checks.multi_concept import controls, presentation
from polyseme.checks.multi_concept.curves import simulate_ensemble
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.numerics import fast, lower
from polyseme.theory.multi_concept.numerics.lower import Lowered, System, compile_recursion, system
from polyseme.theory.multi_concept.regime import Regime, load_regime

ROOT = Path(__file__).parents[3]
MINIMAL = ROOT / "regimes" / "minimal.toml"
RIGHT = "the derived recursion"
POPULATION = "closure/population_descent_equals_level_b"


def with_gradient(x: sp.Indexed, change: controls.Edit) -> System:
    """Level B compiled with one equation changed."""
    right = derive("B")
    gradient = right.gradient | {x: change(right.gradient[x])}
    return compile_recursion(dataclasses.replace(right, gradient=gradient))


def with_source(change: Callable[[str], str]) -> System:
    """Level B with the text of its generated gradient function edited and run."""
    right = system("B").gradient
    text = change(right.source)
    assert text != right.source
    name = right.function.__name__
    namespace = dict(right.function.__globals__)
    exec(text, namespace)
    wrong = Lowered(names=right.names, outputs=right.outputs, function=namespace[name])
    return dataclasses.replace(system("B"), gradient=wrong)


def flipped_variance(source: str) -> str:
    text, found = re.subn(r"1 - (x\d+\*\*2)", r"1 + \1", source)
    assert found == 1, "the softmax variance is one shared subexpression"
    return text


def flipped_last_sign(source: str) -> str:
    """The sign of the equation of beta, the last in the list that the function returns."""
    head, minus, tail = source.rpartition(", -")
    assert minus and tail.startswith("n_d*r*")
    return f"{head}, {tail}"


# Every equation and term is the audit's affair.
WRONG: dict[str, Callable[[], System]] = {
    "sign of W_Q^{ba}": lambda: with_gradient(fw.W_Q["ba"][fw.k], lambda g: -g),
    "no equation of W_K^{bb}": lambda: with_gradient(fw.W_K["bb"][fw.k], lambda _g: sp.S.Zero),
    "1 + ebar^2": lambda: controls.compiled(controls.flip_softmax_variance)()(Regime()),
    "1 + ebar^2 in the source": lambda: with_source(flipped_variance),
    "sign of beta in the source": lambda: with_source(flipped_last_sign),
}


def execute_instead(wrong: System, patch: pytest.MonkeyPatch) -> None:
    """Every module of the project runs `wrong` where it asks for level B of a regime, in either evaluation."""
    originals = {"system_of": lower.system_of, "system_for": fast.system_for}

    def system_of(regime: Regime, level: str = "B") -> System:
        return wrong if level == "B" else originals["system_of"](regime, level)

    def system_for(regime: Regime, counts: int, level: str = "B") -> System:
        return wrong if level == "B" else originals["system_for"](regime, counts, level)

    assert THEORY.claims, "the modules of the claims are loaded, or they would keep what they import later"
    places = set()
    for module in list(sys.modules.values()):
        for name, replaced in (("system_of", system_of), ("system_for", system_for)):
            if getattr(module, name, None) is originals[name]:
                places.add((module.__name__, name))
                patch.setattr(module, name, replaced)
    assert {
        ("polyseme.theory.multi_concept.dynamics.integrate", "system_for"),
        ("polyseme.checks.multi_concept.claims.closure.trajectories", "system_of"),
    } <= places


@cache
def simulated() -> tuple[dict, dict]:
    """What the full model does in the minimal regime, whatever the recursion."""
    return simulate_ensemble(load_regime(MINIMAL))


def verify_wrongly(name: str, out: Path) -> tuple[int, list[str]]:
    """`polyseme verify` with one wrong recursion: its exit status, and the claims that results.json calls refuted."""
    with pytest.MonkeyPatch.context() as patch:
        # Half of the time is drawing.
        patch.setattr(presentation.Shown, "figures", lambda *_args, **_options: iter(()))
        patch.setattr(presentation, "simulate_ensemble", lambda *_args, **_options: simulated())
        if name != RIGHT:
            execute_instead(WRONG[name](), patch)
        # Of the wrong ones, what has to refute each; level Z has another recursion, which nothing here touches.
        only = f"{POPULATION}*" if name == RIGHT else POPULATION
        result = CliRunner().invoke(app, ["verify", str(MINIMAL), "--only", only, "--out", str(out)])
    records = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return result.exit_code, [record["id"] for record in records if record["verdict"] == "refuted"]


@pytest.mark.slow
def test_one_wrong_sign_or_term_makes_verify_exit_with_1(tmp_path):
    # In a process of its own, without the type checks of the tests, which would take minutes in the inner loops.
    child = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    results = json.loads(child.stdout)
    assert results.pop(RIGHT) == [0, []]
    assert set(results) == set(WRONG)
    assert {name: status for name, (status, _) in results.items()} == dict.fromkeys(WRONG, 1)
    assert [name for name, (_, refuted) in results.items() if refuted != [POPULATION]] == []


# -- the edits themselves ----------------------------------------------------------------------------------


def changed(edit: controls.Edit, level: str = "B") -> set[str]:
    right = derive(level)
    wrong = controls.edited(right, edit)
    assert wrong.observables == right.observables and wrong.shrinkage == right.shrinkage
    return {str(x) for x in right.state if wrong.gradient[x] != right.gradient[x]}


def test_each_edit_changes_the_equations_that_it_names():
    moved = {"W_Q^{aa}[k]", "W_Q^{ab}[k]", "W_Q^{ba}[k]", "W_Q^{bb}[k]", "W_K^{ab}[k]", "W_K^{bb}[k]"}
    mlp = {"alpha[i, k]", "beta[i, k]"}
    assert changed(controls.flip_softmax_variance) == moved
    assert changed(controls.drop_query_sign) == moved | mlp
    assert changed(controls.exchange_label_norms) == moved | mlp
    assert changed(controls.drop_one_power_of_n_b, "S") == {"W_Q^{bb}[k]", "W_K^{bb}[k]"}


def test_the_flipped_variance_is_one_plus_the_square_wherever_it_was_one_minus():
    right = derive("B")
    ebar = right.stages.ebar
    for x, wrong in controls.edited(right, controls.flip_softmax_variance).gradient.items():
        assert wrong.xreplace({1 + ebar**2: 1 - ebar**2}) == right.gradient[x]
        assert not wrong.has(1 - ebar**2)


def test_an_edit_that_changes_nothing_is_refused():
    with pytest.raises(AssertionError, match="changed nothing"):
        controls.edited(derive("B"), lambda gradient: gradient)


def test_dropping_the_query_sign_or_exchanging_norms_twice_changes_nothing():
    right = derive("B")
    for edit in (controls.drop_query_sign, controls.exchange_label_norms):
        assert controls.edited(controls.edited(right, edit), edit).gradient == right.gradient


def test_a_multiplied_pull_of_the_penalty_moves_one_family_alone():
    wrong = controls.with_shrinkage(fw.W_K["ba"], sp.Integer(2))()(Regime()).recursion
    right = derive("B")
    assert {x.base for x in right.state if wrong.shrinkage[x] != right.shrinkage[x]} == {fw.W_K["ba"]}
    assert wrong.gradient == right.gradient


if __name__ == "__main__":
    print(
        json.dumps({name: verify_wrongly(name, Path(sys.argv[1]) / name.replace("/", "-")) for name in (RIGHT, *WRONG)})
    )
