"""Print a derived recursion as text, LaTeX or JSON: the very object that `lower.py` compiles.

Equations are shortened by names for the stages of the forward pass, g, ebar, h, f and f's slope. The names are put in
mechanically and `expand` takes them out again, to the identical object.
"""

import json

import sympy as sp
from sympy.printing.latex import LatexPrinter

from theory import forward as fw
from theory.derive import Recursion
from theory.functions import Gate

g_, ebar_, h_, f_, slope_ = (sp.IndexedBase(name) for name in ("g", "ebar", "h", "f", "s"))
_SHORT = {
    "f": f_[fw.k, fw.e, fw.n_plus],
    "slope": slope_[fw.k, fw.e, fw.n_plus],
    "h": h_[fw.i, fw.k, fw.e, fw.n_plus],
    "ebar": ebar_[fw.k, fw.e, fw.n_plus],
    "g": g_[fw.k, fw.e],
}
_FORWARD_ORDER = ("g", "ebar", "h", "f", "slope")

HYPOTHESES = {
    "S": (
        "pure prompts (p_extra = 0, sigma_x = sigma_y = 0)",
        "mirrored neurons (r, alpha, beta), (-r, alpha, -beta)",
    ),
    "B": (
        "pure prompts (p_extra = 0, sigma_x = sigma_y = 0)",
        "W_Q and W_K map each span(a_k, b_k) into itself",
    ),
}

_FUNCTIONS = (
    "ReLU(h) = max(h, 0), Gate(h) = 1[h > 0], Sigmoid(z) = 1/(1 + exp(-z)), so that the loss has slope -Sigmoid(-z)",
    "HalfLogOdds(n, L) = (1/2) log(n/(L - n)), -oo at n = 0 and +oo at n = L",
    "SignSum(x, e = +-1): the sum of x over e = +1 and e = -1",
    "p[k, e, n_+]: the probability of a prompt of concept k, query sign e and n_+ demonstrations of sign +1",
)

NOTATION = (
    (r"k,\ i", "concept and neuron"),
    (r"e,\ n_{+}", "sign of the query, and number of demonstrations of sign +1 among L"),
    (r"p_{k,e,n_{+}}", "probability of such a prompt; its frequency in a minibatch gives the stochastic recursion"),
    (
        r"W_{Q,k}^{st} = \hat s^\top W_Q\, \hat t",
        "coefficient of W_Q on the unit vectors of a_k, b_k, and the same for W_K",
    ),
    (r"\alpha_{i,k},\ \beta_{i,k}", "components of neuron i along the unit vectors of c_k and d_k"),
    (r"n_a, n_b, n_c, n_d", "norms of a_k, b_k (words) and c_k, d_k (labels)"),
    (r"\varsigma(z) = 1/(1 + e^{-z})", "minus the slope of the loss at -z"),
    (r"s_{k,e,n_{+}}", "slope of f in the mean sign, over n_d"),
    (r"\eta,\ \lambda", "step size and L2 coefficient"),
)
"""What the letters of the printed equations mean, as (LaTeX, words)."""

_PREAMBLE = r"""\documentclass{article}
\usepackage[a4paper, landscape, margin=15mm]{geometry}
\usepackage{amsmath}
\allowdisplaybreaks
\begin{document}
"""


class _Latex(LatexPrinter):
    """Coefficients as W_{Q,k}^{ba}, and sums in the order in which they were written, so 1 - eta lambda."""

    def _print_Indexed(self, expr: sp.Indexed) -> str:
        label, indices = str(expr.base.label), ",".join(self._print(index) for index in expr.indices)
        if "^" in label:
            family, entry = label.split("^")
            return f"{family[0]}_{{{family[2:]},{indices}}}^{entry}"
        return f"{self._print(expr.base.label)}_{{{indices}}}"


def latex(expression: sp.Expr) -> str:
    """LaTeX of an expression of the theory."""
    return _Latex({"order": "none"}).doprint(expression)


def text(expression: sp.Expr) -> str:
    """One line of text of an expression of the theory."""
    return sp.sstr(expression, order="none")


def _meaning(recursion: Recursion, stage: str) -> sp.Expr:
    """What a name stands for; the slope is the derivative of f in ebar, over n_d."""
    stages = recursion.stages
    if stage == "slope":
        return sp.Sum(fw.r[fw.i] * Gate(stages.h) * fw.beta[fw.i, fw.k], (fw.i, 1, fw.m))
    return getattr(stages, stage)


def shorten(recursion: Recursion, expression: sp.Basic) -> sp.Basic:
    """The expression with f, its slope, h, ebar and g named, outermost first."""
    for stage, name in _SHORT.items():
        expression = expression.xreplace({_meaning(recursion, stage): name})
    # SymPy flattens g + log-odds into one sum, so g is also named inside that sum.
    logit = recursion.stages.ebar.args[0]
    return expression.xreplace({logit: _SHORT["g"] + logit - recursion.stages.g})


def expand(recursion: Recursion, expression: sp.Basic) -> sp.Basic:
    """The inverse of `shorten`: the identical executed object."""
    for stage, name in reversed(_SHORT.items()):
        expression = expression.xreplace({name: _meaning(recursion, stage)})
    return expression


def definitions(recursion: Recursion) -> list[tuple[sp.Expr, sp.Expr]]:
    """(name, meaning) of the stages in the order of the forward pass; each meaning uses the names before it."""
    rows = []
    for stage in _FORWARD_ORDER:
        meaning = _meaning(recursion, stage)
        # Only the arguments are shortened, or the stage would be replaced by its own name.
        rows.append(
            (_SHORT[stage], meaning if stage == "g" else meaning.func(*(shorten(recursion, x) for x in meaning.args)))
        )
    return rows


def equations(recursion: Recursion) -> list[tuple[sp.Indexed, sp.Expr]]:
    """(coefficient, shortened right-hand side) of x(t + 1) for each coefficient of the state."""
    return [(x, shorten(recursion, recursion.update(x))) for x in recursion.state]


def latex_equations(recursion: Recursion) -> list[tuple[str, str, str]]:
    """(left, relation, right) in LaTeX: the definitions with =, then the updates with an arrow."""
    rows = [(latex(name), "=", latex(meaning)) for name, meaning in definitions(recursion)]
    return rows + [(latex(x), r"\leftarrow", latex(right)) for x, right in equations(recursion)]


def as_latex(recursion: Recursion) -> str:
    """A LaTeX article that compiles as it stands."""
    hypotheses = "; ".join(HYPOTHESES[recursion.level]).replace("_", r"\_")
    rows = " \\\\\n".join(f"{left} &{relation} {right}" for left, relation, right in latex_equations(recursion))
    return (
        f"{_PREAMBLE}\\section*{{Level {recursion.level}: the coefficient recursion}}\n"
        f"Hypotheses: {hypotheses.replace('<', '$<$')}.\n\n"
        "One step of size $\\eta$ on the loss $\\ell(z) = \\log(1 + e^{-z})$, with $\\varsigma(z) = 1/(1 + e^{-z})$, "
        "$e \\in \\{+1, -1\\}$ and $p_{k,e,n_+}$ the probability of a prompt.\n"
        f"\\begin{{align*}}\n{rows}\n\\end{{align*}}\n\\end{{document}}\n"
    )


def as_text(recursion: Recursion) -> str:
    """Readable text: hypotheses, definitions, one line per equation."""
    lines = [f"Level {recursion.level}: the coefficient recursion", ""]
    lines += ["Hypotheses", *(f"  {hypothesis}" for hypothesis in HYPOTHESES[recursion.level]), "", "Where"]
    lines += [f"  {name} = {text(meaning)}" for name, meaning in definitions(recursion)]
    lines += ["", "With", *(f"  {line}" for line in _FUNCTIONS), "", "One step of size eta"]
    lines += [f"  {x} <- {text(right)}" for x, right in equations(recursion)]
    return "\n".join(lines) + "\n"


def as_json(recursion: Recursion) -> str:
    """JSON: level, hypotheses, state, definitions and equations, each as text, LaTeX and srepr."""

    def entry(left: sp.Expr, right: sp.Expr) -> dict[str, str]:
        return {"symbol": str(left), "latex": latex(right), "text": text(right), "srepr": sp.srepr(right)}

    document = {
        "level": recursion.level,
        "hypotheses": list(HYPOTHESES[recursion.level]),
        "state": [str(x) for x in recursion.state],
        "definitions": [entry(name, meaning) for name, meaning in definitions(recursion)],
        "equations": [entry(x, right) for x, right in equations(recursion)],
    }
    return json.dumps(document, indent=2) + "\n"
