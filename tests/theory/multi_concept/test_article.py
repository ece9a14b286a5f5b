"""The exported article: it compiles as it stands, nothing runs out of the page, and it says the same at each run."""

import os
import re
import shutil
import subprocess
import sys
from fractions import Fraction
from itertools import product

import pytest
import sympy as sp

from polyseme.theory.calculus.functions import SignSum
from polyseme.theory.calculus.printing import width
from polyseme.theory.multi_concept.article import show
from polyseme.theory.multi_concept.article.article import _ROOM, _chain_of_counts, _partial
from polyseme.theory.multi_concept.article.notation import lines
from polyseme.theory.multi_concept.article.prose import escaped
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.derivation.stages import gradients, stages
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.prompts.law import (
    LAWS,
    SAME,
    SIGN,
    exact_count_probability,
    p_plus,
    pi,
    prompt_probabilities,
)
from polyseme.theory.multi_concept.regime import Regime

KINDS = (("S", False), ("B", False), ("N", False), ("Z", False), ("Z", True))
# The widest formulas of each level, and its plainest.
WIDEST = ("squared", "leaky_relu")


def article(kind, loss="squared", activation="leaky_relu"):
    level, truncated = kind
    return show.as_latex(derive(level, loss=loss, activation=activation, truncated=truncated))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed, so no page can be set")
@pytest.mark.parametrize(("kind", "mixed"), [*product(KINDS, [WIDEST]), (("B", False), ("logistic", "relu"))])
def test_it_compiles_in_one_run_and_stays_on_the_page(kind, mixed, tmp_path):
    (tmp_path / "article.tex").write_text(article(kind, *mixed), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "article.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    log = (tmp_path / "article.log").read_text(encoding="utf-8", errors="replace")
    assert run.returncode == 0, re.findall(r"^!.*", log, re.MULTILINE)
    assert not re.findall(r"^LaTeX Warning.*", log, re.MULTILINE)
    wide = [float(size) for size in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)]
    assert not [size for size in wide if size > 5], "a line runs out of the page"


@pytest.mark.parametrize("kind", KINDS)
def test_it_has_every_equation_once_and_needs_no_more_than_amsmath(kind):
    level, truncated = kind
    recursion = derive(level, loss="squared", activation="leaky_relu", truncated=truncated)
    written = show.as_latex(recursion)
    assert set(re.findall(r"\\usepackage\{(\w+)\}", written)) == {"amsmath", "amssymb"}
    assert written.count("{") == written.count("}")
    for environment in re.findall(r"\\begin\{(.*?)\}", written):
        assert written.count(rf"\begin{{{environment}}}") == written.count(rf"\end{{{environment}}}")
    for x in recursion.state:
        assert written.count(rf"{show.latex(x)} &\leftarrow") == 1
    for x, right in gradients(recursion):
        assert rf"\frac{{\partial R}}{{\partial {show.latex(x)}}} &= {show.latex(right)}" in written
    for name, meaning in show.definitions(recursion):
        whole = f"{show.latex(name)} &= {show.latex(meaning)}"
        head, *_ = lines(meaning, _ROOM - width(show.latex(name)))  # what is broken into lines begins in the same way
        assert whole in written or f"{show.latex(name)} &= {head}" in written
    numbers = [int(number) for number in re.findall(r"\\tag\{(\d+)\}", written)]
    assert numbers == list(range(1, len(numbers) + 1))
    for hypothesis in recursion.closure.hypotheses.words:
        assert rf"\item {escaped(hypothesis)}" in written
    assert (r"\emph{not} exact" in written) == truncated


@pytest.mark.parametrize("activation", ["leaky_relu", "identity"])
@pytest.mark.parametrize("level", ["S", "B"])
def test_the_derivatives_of_step_4_multiply_to_the_gradient(level, activation):
    recursion = derive(level, loss="squared", activation=activation)
    named = {str(stage.name.base): stage.name for stage in stages(recursion)}
    partial = {left: right for left, _, right in _chain_of_counts(recursion)}
    e, n = fw.e, fw.n_plus
    pull = -fw.P[fw.k, e, n] * e * named["omega"]
    meanings = dict(show.definitions(recursion))
    for x, gradient in gradients(recursion):
        if x.base in (fw.alpha, fw.beta):
            chain = partial[_partial(named["f"], named["h"])] * partial[_partial(named["h"], x)]
        else:
            through = partial[_partial(named["f"], named["h"])] * partial[_partial(named["h"], named["ebar"])]
            chain = sp.Sum(through, (fw.i, 1, fw.m))
            chain *= partial[_partial(named["ebar"], named["g"])] * partial[_partial(named["g"], x)]
        product_of_steps = SignSum(sp.Sum(pull * chain, (n, 0, fw.L)), e)
        printed = gradient.xreplace({named["A"]: meanings[named["A"]]}).xreplace({named["s"]: meanings[named["s"]]})
        gap = (product_of_steps - printed).subs({fw.L: 2, fw.m: 2}).doit()
        assert sp.expand(gap) == 0, x


@pytest.mark.parametrize("law", ["match", "iid"])
@pytest.mark.parametrize("plus", [Fraction(1, 2), Fraction(7, 8)])
@pytest.mark.parametrize("L", [2, 5])
def test_the_printed_law_has_the_probabilities_of_the_recursion(L, plus, law):
    weights = [Fraction(1, 4), Fraction(3, 4)]
    concepts = {"K1": 2, "weights": [float(weight) for weight in weights]}
    regime = Regime().replace(concepts=concepts, prompt={"L": L, "law": law, "p_plus": float(plus)})
    table = prompt_probabilities(regime)
    whole = LAWS[law].xreplace({SIGN.name: SIGN.meaning, SAME.name: SAME.meaning})
    for (j, e), n in product(enumerate((1, -1)), range(L + 1)):
        numbers = {fw.L: sp.Integer(L), fw.e: sp.Integer(e), fw.n_plus: sp.Integer(n), p_plus: sp.Rational(plus)}
        for k, weight in enumerate(weights):
            value = whole.xreplace({pi[fw.k]: sp.Rational(weight), **numbers})
            exact = weight * (plus if e == 1 else 1 - plus) * exact_count_probability(L, law, e, n, plus)
            assert value == sp.Rational(exact)
            assert table[k, j, n] == pytest.approx(float(value), rel=1e-13, abs=0)


@pytest.mark.parametrize("level", ["S", "B", "N"])
def test_every_symbol_of_the_probability_of_a_prompt_is_defined(level):
    written = show.as_latex(derive(level))
    for one in (SIGN, SAME):
        assert rf"{show.latex(one.name)} &= {show.latex(one.meaning)}" in written
        assert f"${show.latex(one.name)}$ is {escaped(one.words)}" in written
    for law, probability in LAWS.items():
        assert rf"\text{{{law}:}}\quad p_{{k,e,n_{{+}}}} &= {show.latex(probability)}" in written
    for symbol in (r"\pi_k$", r"$p_{\mathrm{plus}}$", r"\texttt{iid}", r"\texttt{match}"):
        assert symbol in written.partition("Definitions")[0], "in the setting, in words"


def test_every_block_is_in_the_table_with_its_reason():
    recursion = derive("S")
    written = show.as_latex(recursion)
    for fates in recursion.closure.fates.values():
        for fate in fates.values():
            assert escaped(fate.reason) in written
    assert r"a a,\; \nu \nu,\; \perp \perp" in written


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("p_extra > 0, sigma_x = sigma_y = 0", r"$p_{\mathrm{extra}} >$ 0, $\sigma_x = \sigma_y =$ 0"),
        ("(r, alpha, beta), (-r, alpha, -beta)", r"($r$, $\alpha$, $\beta$), ($-r$, $\alpha$, $-\beta$)"),
        ("reached from W_K^{a nu'}", r"reached from $W_K^{a \nu'}$"),
        ("no word has a component along perp", r"no word has a component along $\perp$"),
        ("a prompt share a, which", "a prompt share $a$, which"),
        ("sends no word to a, so", "sends no word to $a$, so"),
        ("exchanging + and - of every concept", "exchanging $+$ and $-$ of every concept"),
        ("100% of x & more_", r"100\% of $x$ \& more\_"),
    ],
)
def test_words_become_latex(words, expected):
    assert escaped(words) == expected


def test_another_process_prints_the_same_article():
    # Sets of strings come in another order in each process; the article may not.
    program = "from polyseme.theory.multi_concept.derivation.derive import derive; from polyseme.theory.multi_concept.article import show; print(show.as_latex(derive('S')), end='')"
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == show.as_latex(derive("S"))
