"""What is printed is what is executed: names go in and come out, and JSON can be read back."""

import json
from itertools import product
from pathlib import Path

import pytest
import sympy as sp
from latex2mathml.converter import convert

from polyseme.errors import PolysemeError
from polyseme.theory.calculus.functions import ACTIVATIONS, LOSSES, AttentionMean
from polyseme.theory.calculus.printing import width
from polyseme.theory.multi_concept.article import show
from polyseme.theory.multi_concept.article.document import Derivation, expression, schema
from polyseme.theory.multi_concept.article.notation import lines
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.derivation.stages import commuted

ROOT = Path(__file__).parents[3]
KINDS = (("S", False), ("B", False), ("Z", False), ("Z", True))
# Level N is written in the names of its stages from the first, so that nothing is shortened.
EVERY = (*KINDS, ("N", False))
MIXED = (("logistic", "relu"), ("squared", "leaky_relu"), ("exponential", "identity"))


def recursion_of(kind, loss="logistic", activation="relu"):
    level, truncated = kind
    return derive(level, loss=loss, activation=activation, truncated=truncated)


@pytest.mark.parametrize(
    ("kind", "loss", "activation"), [*product(KINDS, LOSSES, ACTIVATIONS), *((EVERY[-1], *mixed) for mixed in MIXED)]
)
def test_json_reads_back_to_the_very_objects_that_are_executed(kind, loss, activation):
    recursion = recursion_of(kind, loss, activation)
    written = show.as_json(recursion)
    read = show.from_json(written)
    shown = [*show.definitions(recursion), *show.equations(recursion)]
    for name, right in shown:
        assert read[show.text(name)] == right, name
    for coefficient, right in show.gradients(recursion):
        assert read[f"dR/d{show.text(coefficient)}"] == right
    # From the file alone, without the names of this module: the executed right-hand sides.
    document = json.loads(written)
    names = {expression(row["symbol_srepr"]): expression(row["srepr"]) for row in document["definitions"]}
    for row, coefficient in zip(document["equations"], recursion.state, strict=True):
        right = expression(row["srepr"])
        for name, meaning in reversed(names.items()) if recursion.level != "N" else ():
            right = right.xreplace({name: meaning})
        assert commuted(right) == commuted(recursion.update(coefficient)), coefficient
    assert show.expand(recursion, read["R"]) == commuted(recursion.risk)
    assert read["Omega"] == commuted(recursion.penalty)
    # Nothing but the state, the stages and the three expressions above.
    assert len(read) == len(shown) + len(recursion.state) + 2


@pytest.mark.parametrize("kind", KINDS)
def test_expand_undoes_shorten(kind):
    recursion = recursion_of(kind)
    for executed in (*recursion.gradient.values(), *recursion.observables.values()):
        short = show.shorten(recursion, executed)
        assert show.expand(recursion, short) == commuted(executed)
        assert not short.has(sp.tanh, sp.exp), "each function of the forward pass has its name"
    meanings = {str(name.base): show.expand(recursion, meaning) for name, meaning in show.definitions(recursion)}
    first = {"z": "logit"} if recursion.level == "Z" else {"g": "g", "ebar": "ebar"}
    for name, stage in (first | {"h": "h", "f": "f"}).items():
        assert meanings[name] == commuted(getattr(recursion.stages, stage))


def test_an_expression_that_commutes_is_left_as_it_is():
    x, y, z = sp.symbols("x y z", commutative=False)
    a = sp.Symbol("a")
    assert commuted(a * (a + 1) ** 2) == a * (a + 1) ** 2
    assert commuted(z**2 * x * z**-1) == commuted(x * z) == commuted(z * x)
    assert commuted(1 + sp.Function("F")(y * x)) == commuted(1 + sp.Function("F")(x * y))


@pytest.mark.parametrize("kind", KINDS)
def test_text_has_a_line_for_every_coefficient_and_says_what_it_assumes(kind):
    recursion = recursion_of(kind, "squared", "leaky_relu")
    text = show.as_text(recursion).splitlines()
    for coefficient in recursion.state:
        assert sum(line.startswith(f"  {show.text(coefficient)} <- ") for line in text) == 1
    for hypothesis in show.HYPOTHESES[recursion.level]:
        assert f"  {hypothesis}" in text
    assert any("not exact" in line for line in text) == recursion.truncated
    assert "loss squared, activation leaky_relu" in text[1]
    assert any(line.startswith("  LeakyReLU(h) =") for line in text)
    assert not any(line.startswith("  ReLU(h) =") for line in text), "a function that does not occur is not explained"


@pytest.mark.parametrize("mixed", MIXED)
@pytest.mark.parametrize("kind", EVERY)
def test_the_report_can_show_every_equation(kind, mixed):
    rows = show.latex_equations(recursion_of(kind, *mixed))
    assert {relation for _, relation, _ in rows} == {"=", r"\leftarrow"}
    for left, relation, right in rows:
        mathml = convert(f"{left} {relation} {right}", display="block")
        assert "\\" not in mathml, f"a command that latex2mathml does not know in {left}"
        assert right.count("{") == right.count("}")
        assert right.count(r"\left") == right.count(r"\right")


@pytest.mark.parametrize("level", ["S", "B", "N", "Z"])
def test_a_notebook_shows_the_equations_that_the_article_has(level):
    recursion = derive(level)
    shown = recursion._repr_latex_()
    assert shown.startswith("$$\\begin{aligned}")
    assert shown.endswith("\\end{aligned}$$")
    rows = shown.removeprefix("$$\\begin{aligned}\n").removesuffix("\n\\end{aligned}$$").split(" \\\\\n")
    assert rows == [f"{left} &{relation} {right}" for left, relation, right in show.latex_equations(recursion)]
    for x in recursion.state:
        assert sum(row.startswith(rf"{show.latex(x)} &\leftarrow") for row in rows) == 1


def test_products_end_in_their_sums_and_sums_begin_with_numbers():
    eta, lam, x = sp.symbols("eta lambda x")
    total = sp.Sum(sp.IndexedBase("p")[sp.Symbol("q")], (sp.Symbol("q"), 1, 3))
    assert show.latex((1 - eta * lam) * x) == r"x \left(1 - \eta \lambda\right)"
    assert show.latex((1 - eta * lam) * sp.IndexedBase("W_Q^{ab}")[x]) == r"\left(1 - \eta \lambda\right) W_{Q,x}^{ab}"
    assert show.latex(sp.Mul(total, x, eta)).endswith("p_{q}")
    assert show.latex(total * sp.Sum(x**2, (x, 1, 2))).startswith(r"\left(\sum"), "else it would reach to the end"
    assert show.latex(-x) == "- x"
    assert show.text(x - eta) in ("x - eta", "-eta + x")
    assert show.latex(sp.exp(-x)) == r"\exp\left(- x\right)", "e is a sign"
    squared = sp.IndexedBase("W_Q^{ab}")[x] ** 2
    assert show.latex(squared) == r"\left(W_{Q,x}^{ab}\right)^{2}", "two superscripts do not compile"


def test_long_sums_are_broken_at_their_signs():
    terms = sp.symbols("x_1:30", positive=True)
    (x, *_) = terms
    for long in (sp.Add(*terms), sp.Symbol("lambda") * sp.Add(*terms), x**2 - sp.Add(*terms[1:])):
        broken = lines(long, 30.0)
        assert len(broken) > 1
        assert all(width(line) <= 36 for line in broken)
        joined = "".join(broken)
        assert sum(joined.count(show.latex(term)) for term in terms) >= len(terms)
        assert joined.count("(") == joined.count(")")
    assert lines(x, 30.0) == [show.latex(x)]


# -- the schema and foreign files ------------------------------------------------------------------------


def test_the_schema_file_is_up_to_date():
    command = ".venv/bin/python -c \"from polyseme.theory.multi_concept.article.document import schema; print(schema(), end='')\""
    path = ROOT / "docs" / "derivation.schema.json"
    assert path.read_text(encoding="utf-8") == schema(), f"run {command} > docs/derivation.schema.json"
    described = json.loads(schema())
    for part in (described, *described["$defs"].values()):
        assert part["additionalProperties"] is False
        assert all(field.get("description") for field in part["properties"].values()), part["title"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_says_everything_about_the_state(kind):
    recursion = recursion_of(kind)
    document = Derivation.model_validate_json(show.as_json(recursion))
    assert (document.level, document.truncated) == kind
    assert [row.symbol for row in document.equations] == [x.symbol for x in document.state]
    assert {index for x in document.state for index in x.indices} <= {letter.symbol for letter in document.letters}
    fates = recursion.closure.fates
    assert len(document.blocks) == sum(map(len, fates.values()))
    for block in document.blocks:
        fate = fates[block.matrix][block.row, block.column]
        assert (block.lives, block.reason, block.witness) == (fate.lives, fate.reason, fate.witness)


@pytest.mark.parametrize(
    "foreign",
    [
        "__import__('os').system('false')",
        "tanh('__import__(\"os\").getpid()')",  # SymPy would run this string
        "Add(Symbol('x'), Symbol('y').name)",
        "Function('F')(Symbol('x'))",
        "[Symbol('x') for x in ()]",
        "Symbol(Symbol('x'))",
        "Symbol('x', **{})",
        "Symbol('x', y=1)",
        "Symbol()",
        "Add(Symbol('x'), evaluate=False)",
        "Integer('2')",
        "Integer(2.5)",
        "Integer(True)",
        "Rational(1, 0, 0, 0)",
        "Sum(Symbol('x'))",
        "Indexed(Symbol('x'))",
        "AttentionMean(Symbol('x'))",
        "Pow(Integer(10), Integer(10000000000))",
        "Symbol('x'",
        "(" * 2000 + ")" * 2000,
        "",
    ],
)
def test_a_foreign_expression_is_an_error_in_one_sentence(foreign):
    with pytest.raises(PolysemeError, match="which no derivation writes") as caught:
        expression(foreign)
    assert "\n" not in str(caught.value)


def test_a_foreign_file_is_an_error_in_one_sentence():
    good = json.loads(show.as_json(recursion_of(("S", False))))
    broken = [good | {"schema_version": 2}, good | {"more": 1}, {x: good[x] for x in good if x != "risk"}, []]
    for written in ("", "{", *map(json.dumps, broken)):
        with pytest.raises(PolysemeError, match="no derivation") as caught:
            show.from_json(written)
        assert "\n" not in str(caught.value)
    good["risk"]["srepr"] = "open('x')"
    with pytest.raises(PolysemeError, match="which no derivation writes"):
        show.from_json(json.dumps(good))


def test_symbols_keep_their_assumptions():
    index, other = sp.Symbol("l", integer=True, positive=True), sp.Symbol("L", integer=True, positive=True)
    mean = AttentionMean(sp.IndexedBase("y")[index], sp.IndexedBase("z")[index], index, other)
    assert expression(sp.srepr(mean)) == mean
    assert expression("Symbol('l')") != index
    assert expression(sp.srepr(-sp.Rational(7, 8) * index)) == -sp.Rational(7, 8) * index
