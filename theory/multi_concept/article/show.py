"""Print a derived recursion as text, LaTeX or JSON: the very objects that are executed.

Equations are shortened by names for the stages (`stages.py`) and ordered for a reader (`polyseme.theory.calculus.printing`); the article is in
`article.py`, JSON in `document.py`.
"""

import re

import sympy as sp

from polyseme.regime import LEAK
from polyseme.theory.multi_concept.article.article import as_latex
from polyseme.theory.multi_concept.article.document import PENALTY, RISK, as_json, from_json
from polyseme.theory.multi_concept.article.notation import NOTATION, fates, latex, notation, text
from polyseme.theory.multi_concept.derivation.closure import LEVELS
from polyseme.theory.multi_concept.derivation.derive import Recursion
from polyseme.theory.multi_concept.derivation.stages import definitions, equations, expand, gradients, shorten, stages

__all__ = [
    "HYPOTHESES",
    "NOTATION",
    "as_json",
    "as_latex",
    "as_text",
    "definitions",
    "equations",
    "expand",
    "from_json",
    "gradients",
    "latex",
    "latex_equations",
    "notation",
    "shorten",
    "text",
]

HYPOTHESES = {level: hypotheses.words for level, hypotheses in LEVELS.items()}
"""What each level assumes, as sentences."""

_FUNCTIONS = {
    "Sigmoid": "Sigmoid(z) = 1/(1 + exp(-z))",
    "Logistic": "Logistic(z) = log(1 + exp(-z))",
    "LeakyReLU": f"LeakyReLU(h) = h for h > 0, {sp.Rational(LEAK)} h for h <= 0",
    "ReLU": "ReLU(h) = max(h, 0)",
    "Gate": "Gate(h) = 1[h > 0]",
    "SmoothReLU": "SmoothReLU(n, h, V): the n-th derivative in h of the mean of max(x, 0), x normal with mean h and variance V",
    "HalfLogOdds": "HalfLogOdds(n, L) = (1/2) log(n/(L - n)), -oo at n = 0 and +oo at n = L",
    "SignSum": "SignSum(x, e = +-1): the sum of x over e = +1 and e = -1",
    "Sum": "Sum(x, (i, 1, m)): the sum of x over i = 1, ..., m",
}
"""What the functions of the text mean, by their names."""


def latex_equations(recursion: Recursion) -> list[tuple[str, str, str]]:
    """(left, relation, right) in LaTeX: the definitions with =, then the updates with an arrow (docs/THEORY.md section 4)."""
    rows = [(latex(name), "=", latex(meaning)) for name, meaning in definitions(recursion)]
    return rows + [(latex(x), r"\leftarrow", latex(right)) for x, right in equations(recursion)]


def as_text(recursion: Recursion) -> str:
    """Readable text: hypotheses, blocks, stages, risk and one line per equation (docs/THEORY.md section 4)."""
    title = f"Level {recursion.level}: the coefficient recursion"
    words = {stage.name: stage.words for stage in stages(recursion)}
    body = ["Stages, each with what it is"]
    for name, meaning in definitions(recursion):
        body += [f"  {text(name)} = {text(meaning)}", f"      {words[name]}"]
    body += ["", "Risk and penalty"]
    body += [f"  {RISK} = {text(shorten(recursion, recursion.risk, forward=True))}"]
    body += [f"  {PENALTY} = {text(recursion.penalty)}", "", "One step of size eta"]
    body += [f"  {text(x)} <- {text(right)}" for x, right in equations(recursion)]
    used = set(re.findall(r"\w+(?=\()", "\n".join(body)))
    known = [f"  {meaning}" for function, meaning in _FUNCTIONS.items() if function in used]
    if recursion.level == "N":
        known.append("  delta_s[...]: the derivative of the risk in the stage s")
    if recursion.level == "Z":
        known.append(
            "  <x>_l: the mean of x over demonstrations l = 1, ..., L with the softmax weights of their logits z"
        )
    head = [
        title,
        f"loss {recursion.loss}, activation {recursion.activation}{_truncation(recursion)}",
        "",
        "Hypotheses",
    ]
    head += [f"  {hypothesis}" for hypothesis in recursion.closure.hypotheses.words]
    return "\n".join([*head, "", *_blocks(recursion), "", *body, "", "With", *known]) + "\n"


def _truncation(recursion: Recursion) -> str:
    return ", truncated to the diagonal blocks (not exact)" if recursion.truncated else ""


def _blocks(recursion: Recursion) -> list[str]:
    rows = ["Kinds of blocks (row column; ' is another concept or feature)"]
    for matrix, lives, blocks, reason in fates(recursion):
        kinds = ", ".join(f"{s} {t}" for s, t in blocks)
        rows.append(f"  {matrix} {'lives' if lives else 'dead '} {kinds}: {reason}")
    return rows
