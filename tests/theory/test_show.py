"""What is printed is what is executed: names go in and come out, and JSON can be read back (DESIGN rule 2)."""

import json

import pytest
import sympy as sp

from theory import functions, show
from theory.derive import derive

LEVELS = ("S", "B")
CLASSES = ("Gate", "ReLU", "Sigmoid", "Logistic", "HalfLogOdds", "SignSum")
NAMESPACE = {name: getattr(sp, name) for name in dir(sp)} | {name: getattr(functions, name) for name in CLASSES}


@pytest.mark.parametrize("level", LEVELS)
def test_expand_undoes_shorten_to_the_identical_object(level):
    recursion = derive(level)
    updates = [recursion.update(x) for x in recursion.state]
    for executed in (*updates, *recursion.gradient.values(), *recursion.observables.values()):
        assert show.expand(recursion, show.shorten(recursion, executed)) == executed
    for (coefficient, shown), executed in zip(show.equations(recursion), updates, strict=True):
        assert show.expand(recursion, shown) == executed, coefficient
        assert not shown.has(sp.tanh), "the softmax has its name"


@pytest.mark.parametrize("level", LEVELS)
def test_definitions_expand_to_the_stages(level):
    recursion = derive(level)
    meanings = {str(name.base): show.expand(recursion, meaning) for name, meaning in show.definitions(recursion)}
    for stage in ("g", "ebar", "h", "f"):
        assert meanings[stage] == getattr(recursion.stages, stage)


@pytest.mark.parametrize("level", LEVELS)
def test_json_reads_back_to_the_same_objects(level):
    recursion = derive(level)
    document = json.loads(show.as_json(recursion))
    assert document["level"] == level
    assert document["state"] == [str(x) for x in recursion.state]
    for key, shown in (("definitions", show.definitions(recursion)), ("equations", show.equations(recursion))):
        assert [row["symbol"] for row in document[key]] == [str(left) for left, _ in shown]
        for row, (_, right) in zip(document[key], shown, strict=True):
            assert eval(row["srepr"], NAMESPACE) == right, row["symbol"]
            assert row["latex"]
            assert row["text"]
    # From the file alone, without this module: the executed right-hand sides.
    for row, coefficient in zip(document["equations"], recursion.state, strict=True):
        read = show.expand(recursion, eval(row["srepr"], NAMESPACE))
        assert read == recursion.update(coefficient)


@pytest.mark.parametrize("level", LEVELS)
def test_text_and_latex_have_a_line_for_every_coefficient(level):
    recursion = derive(level)
    text, latex = show.as_text(recursion).splitlines(), show.as_latex(recursion).splitlines()
    assert len(recursion.state) == {"S": 6, "B": 10}[level]
    for coefficient in recursion.state:
        assert sum(line.strip().startswith(f"{coefficient} <-") for line in text) == 1
        assert sum(line.startswith(show.latex(coefficient)) and r"\leftarrow" in line for line in latex) == 1
    for hypothesis in show.HYPOTHESES[level]:
        assert any(hypothesis in line for line in text)


@pytest.mark.parametrize("level", LEVELS)
def test_latex_is_balanced(level):
    latex = show.as_latex(derive(level))
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\left") - latex.count(r"\leftarrow") == latex.count(r"\right")
    for environment in ("document", "align*"):
        assert latex.count(rf"\begin{{{environment}}}") == latex.count(rf"\end{{{environment}}}") == 1
