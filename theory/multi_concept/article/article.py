"""A derived recursion as a LaTeX article: setting, blocks, forward pass, risk, derivatives, recursion.

The words are written here; every formula of a step is printed from the objects of the recursion, or from their
derivatives, and broken into lines that fit the page. The article needs amsmath and amssymb alone, and one run of LaTeX.
"""

from collections.abc import Iterable

import sympy as sp

from polyseme.theory.calculus.derivative import differentiate
from polyseme.theory.calculus.functions import ACTIVATIONS, LOSSES, AttentionMean, Logistic, ReLU, Sigmoid
from polyseme.theory.calculus.printing import width
from polyseme.theory.multi_concept.article import prose
from polyseme.theory.multi_concept.article.notation import fates, latex, lines, notation
from polyseme.theory.multi_concept.derivation.derive import Recursion
from polyseme.theory.multi_concept.derivation.stages import (
    Stage,
    activation_slope,
    definitions,
    equations,
    gradients,
    pull,
    shorten,
    stages,
)
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.model import noisy as noise
from polyseme.theory.multi_concept.model import span
from polyseme.theory.multi_concept.model.letters import RANGES
from polyseme.theory.multi_concept.prompts.law import LAWS, SAME, SIGN

_ROOM = 66.0
"""Letters of a formula that fit into a line next to its number; the test of the page measures it."""

_Formula = tuple[str, str, sp.Expr]


class _Article:
    """The text so far, and the number of the last equation."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.last = 0

    def say(self, *words: str) -> None:
        """A paragraph."""
        self.text += [" ".join(words), ""]

    def section(self, title: str) -> None:
        self.text += [rf"\section*{{{title}}}", ""]

    def align(self, formulas: Iterable[_Formula], *, numbered: bool = True) -> str:
        """Formulas below each other, aligned at their relations; returns their numbers, as they are referred to."""
        first, rows = self.last + 1, []
        for left, relation, right in formulas:
            head, *more = lines(right, _ROOM - width(left))
            rows += [rf"{left} &{relation} {head}", *(rf"&\qquad {line}" for line in more)]
            if numbered:
                self.last += 1
                rows[-1] += rf" \tag{{{self.last}}}"
        # A broken formula stays on one page.
        shown = " \\\\\n".join(rows)
        self._close()
        self.text += ["\\begin{align*}", shown, "\\end{align*}"]
        return f"({first})" if first == self.last else rf"({first})--({self.last})"

    def _close(self) -> None:
        """No empty line before a formula: it belongs to the paragraph."""
        if self.text and not self.text[-1]:
            self.text.pop()

    def beside(self, formulas: Iterable[_Formula]) -> None:
        """Short formulas, two in a line."""
        cells = [f"{left} &{relation} {latex(right)}" for left, relation, right in formulas]
        self._close()
        pairs = [cells[at : at + 2] for at in range(0, len(cells), 2)]
        self.text += ["\\begin{align*}", " \\\\\n".join(" & ".join(pair) for pair in pairs), "\\end{align*}"]

    def table(self, columns: str, rows: Iterable[tuple[str, ...]], heading: tuple[str, ...] = ()) -> None:
        """A table on one page."""
        body = [" & ".join(row) + r" \\" for row in rows]
        head = [" & ".join(heading) + r" \\ \hline"] if heading else []
        self.text += [r"\begin{center}\small", rf"\begin{{tabular}}{{{columns}}}", *head, *body]
        self.text += [r"\end{tabular}", r"\end{center}", ""]


def as_latex(recursion: Recursion) -> str:
    """A LaTeX article that compiles as it stands (docs/THEORY.md sections 1 to 4)."""
    article = _Article()
    _setting(article, recursion)
    _blocks(article, recursion)
    _forward(article, recursion)
    _risk(article, recursion)
    _derivatives(article, recursion)
    _step(article, recursion)
    article.section("What is exact")
    article.say(*prose.exactness(recursion))
    return prose.opening(recursion) + "\n".join(article.text) + "\\end{document}\n"


def _named(recursion: Recursion, *, forward: bool) -> list[tuple[Stage, _Formula]]:
    """Stages of one kind, with their definitions."""
    return [
        (stage, (latex(name), "=", meaning))
        for stage, (name, meaning) in zip(stages(recursion), definitions(recursion), strict=True)
        if stage.forward == forward
    ]


def _in_words(numbers: str, known: list[Stage]) -> str:
    """What numbered stages are."""
    first = int(numbers.split(")")[0].lstrip("("))
    words = [f"({number}) is {prose.escaped(stage.words)}" for number, stage in enumerate(known, start=first)]
    return f"Here {'; '.join(words)}."


def _setting(article: _Article, recursion: Recursion) -> None:
    article.section("Setting and hypotheses")
    article.say(*prose.setting(recursion))
    items = [rf"\item {prose.escaped(words)}" for words in recursion.closure.hypotheses.words]
    article.say("The hypotheses of this level are", r"\begin{itemize}", *items, r"\end{itemize}")
    article.section("Definitions")
    article.say(*prose.definitions(recursion))
    rows = [(f"${symbol}$", prose.escaped(meaning)) for symbol, meaning in notation(recursion)]
    article.table(r"@{}l@{\qquad}p{112mm}@{}", rows)
    _law(article, recursion)


def _law(article: _Article, recursion: Recursion) -> None:
    """How likely each prompt is."""
    article.say(*prose.NUMBERED_LAW.get(recursion.level, prose.LAW))
    if recursion.level == "Z":
        return
    article.align(((latex(one.name), "=", one.meaning) for one in (SIGN, SAME)), numbered=False)
    named = ", and ".join(f"${latex(one.name)}$ is {prose.escaped(one.words)}" for one in (SIGN, SAME))
    article.say(f"Here {named}. Under the two laws the probability of a pure prompt is")
    name = latex(fw.P[fw.k, fw.e, fw.n_plus])
    article.align(((rf"\text{{{law}:}}\quad {name}", "=", LAWS[law]) for law in LAWS), numbered=False)


def _blocks(article: _Article, recursion: Recursion) -> None:
    article.section("Step 1: which blocks live")
    article.say(*prose.closure(recursion))
    rows, before = [], ""
    for matrix, lives, blocks, reason in fates(recursion):
        kinds = ",\\; ".join(prose.kind(*block) for block in blocks)
        rule = r"\hline " if before not in ("", matrix) else ""
        rows.append(
            (
                rule + (f"${matrix}$" if matrix != before else ""),
                rf"\raggedright ${kinds}$",
                "yes" if lives else "no",
                prose.escaped(reason),
            )
        )
        before = matrix
    article.table(r"@{}lp{45mm}lp{88mm}@{}", rows, ("", "blocks", "lives", "because"))
    symbols = ",\\; ".join(latex(x) for x in recursion.state)
    article.say(prose.state(recursion), rf"\[ {symbols} . \]")


def _forward(article: _Article, recursion: Recursion) -> None:
    article.section("Step 2: the forward pass of one prompt")
    article.say(*prose.forward_pass(recursion))
    rows = _named(recursion, forward=True)
    numbers = article.align(formula for _, formula in rows)
    article.say(_in_words(numbers, [stage for stage, _ in rows]))
    weight = shorten(recursion, recursion.stages.attention, forward=True)
    article.say(r"The correct attention weight is \[ p^* =", latex(weight) + r" . \]")


def _risk(article: _Article, recursion: Recursion) -> None:
    article.section("Step 3: the risk and the penalty")
    article.say(*prose.risk(recursion))
    z = sp.Symbol("z", real=True)
    loss = LOSSES[recursion.loss](z)
    article.align(
        [
            (r"\ell(z)", "=", loss.rewrite(sp.exp) if isinstance(loss, Logistic) else loss),
            ("R", "=", shorten(recursion, recursion.risk, forward=True)),
            (r"\Omega", "=", recursion.penalty),
        ]
    )


def _derivatives(article: _Article, recursion: Recursion) -> None:
    article.section("Step 4: the derivatives, one by one")
    h, z = sp.Symbol("h", real=True), sp.Symbol("z", real=True)
    slope = pull(recursion, z)
    known: list[_Formula] = [(r"-\ell'(z)", "=", slope)]
    if slope.has(Sigmoid):
        known.append((r"\varsigma(z)", "=", Sigmoid(z).rewrite(sp.exp)))
    activation = ACTIVATIONS[recursion.activation](h)
    plain = activation.rewrite(ReLU)
    phi = r"\phi(h)" if plain == activation else rf"\phi(h) = {latex(activation)}"
    known += [(phi, "=", plain), (r"\phi'(h)", "=", activation_slope(recursion, h))]
    article.say("The loss and the activation have the slopes")
    article.beside(known)
    article.say(*prose.kink(recursion))
    if isinstance(recursion.stages, noise.NoisePass):
        article.say(*prose.CHAIN_OF_STAGES)
        article.align(formula for _, formula in _named(recursion, forward=False))
        article.say(prose.IN_COEFFICIENTS)
        article.align((rf"\frac{{\partial R}}{{\partial {latex(x)}}}", "=", right) for x, right in gradients(recursion))
        return
    if isinstance(recursion.stages, fw.ForwardPass):
        article.say(*prose.CHAIN_OF_COUNTS)
        article.beside(_chain_of_counts(recursion))
    else:
        article.say(*prose.CHAIN_OF_PROMPTS)
        article.align(_chain_of_prompts(recursion), numbered=False)
    article.say(prose.NAMES)
    names = _named(recursion, forward=False)
    numbers = article.align(formula for _, formula in names)
    article.say(_in_words(numbers, [stage for stage, _ in names]), *prose.averaged(numbers))
    article.align((rf"\frac{{\partial R}}{{\partial {latex(x)}}}", "=", right) for x, right in gradients(recursion))


def _chain_of_counts(recursion: Recursion) -> list[_Formula]:
    """Derivatives of each stage in the one before it."""
    parts, named = recursion.counted, {str(stage.name.base): stage.name for stage in stages(recursion)}
    H, mean, gap = sp.symbols("H mean gap", real=True)
    (summand, *_), neuron = parts.f.args, parts.h.xreplace({parts.ebar: mean})
    slope_of_f = shorten(recursion, summand.xreplace({parts.h: H}).diff(H).xreplace({H: parts.h}))
    slope_of_mean = parts.ebar.xreplace({parts.g: gap}).diff(gap).xreplace({gap: parts.g})
    rows = [("f", "h", slope_of_f), ("h", "ebar", neuron.diff(mean)), ("ebar", "g", shorten(recursion, slope_of_mean))]
    shown: list[_Formula] = [(_partial(named[of], named[by]), "=", right) for of, by, right in rows]
    for x in recursion.state:
        of, whole = ("h", neuron) if x.base in (fw.alpha, fw.beta) else ("g", parts.g)
        right = whole.diff(x).xreplace({mean: named["ebar"]})
        shown.append((_partial(named[of], x), "=", sp.factor_terms(right)))
    return shown


def _chain_of_prompts(recursion: Recursion) -> list[_Formula]:
    parts, named = recursion.stages, {str(stage.name.base): stage.name for stage in stages(recursion)}
    assert isinstance(parts, span.SpanPass)
    H, theta = sp.symbols("H theta", real=True)
    summand, direction = parts.f.args[0], sp.IndexedBase("zeta")[span.q, span.ell]
    slope_of_f = shorten(recursion, summand.xreplace({parts.h: H}).diff(H).xreplace({H: parts.h}))
    row = recursion.state[2]
    # The derivative of a mean when the logits move along any direction zeta.
    moved = AttentionMean(span.y[span.q, span.ell, span.v], theta * direction, span.ell, span.L).diff(theta)
    rows: list[_Formula] = [
        (_partial(named["f"], named["h"]), "=", slope_of_f),
        (_partial(named["h"], row), "=", shorten(recursion, parts.h.args[0].diff(row))),
        (_partial(named["ybar"], theta), "=", moved),
    ]
    attention = recursion.state[:2]
    return rows + [
        (_partial(named["z"], x), "=", shorten(recursion, differentiate(parts.logit, x, RANGES))) for x in attention
    ]


def _partial(of: sp.Basic, by: sp.Basic) -> str:
    return rf"\frac{{\partial {latex(of)}}}{{\partial {latex(by)}}}"


def _step(article: _Article, recursion: Recursion) -> None:
    article.section("Step 5: the recursion")
    article.say(*prose.STEP)
    article.align((latex(x), r"\leftarrow", right) for x, right in equations(recursion))
