"""Print a derived recursion as text, LaTeX or JSON: the very object that `lower.py` compiles (DESIGN rule 2).

Equations are shortened by names for the stages of the forward pass, g, ebar, h and f. The names are put in
mechanically and `expand` takes them out again, to the identical object.
"""

import json

import sympy as sp

from theory import forward as fw
from theory.derive import Recursion

g_, ebar_, h_, f_ = (sp.IndexedBase(name) for name in ("g", "ebar", "h", "f"))
_SHORT = {
    "f": f_[fw.k, fw.e, fw.n_plus],
    "h": h_[fw.i, fw.k, fw.e, fw.n_plus],
    "ebar": ebar_[fw.k, fw.e, fw.n_plus],
    "g": g_[fw.k, fw.e],
}

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

_PREAMBLE = r"""\documentclass{article}
\usepackage[a4paper, landscape, margin=15mm]{geometry}
\usepackage{amsmath}
\allowdisplaybreaks
\begin{document}
"""


def shorten(recursion: Recursion, expression: sp.Expr) -> sp.Expr:
    """The expression with f, h, ebar and g named, outermost first."""
    stages = recursion.stages
    for stage, name in _SHORT.items():
        expression = expression.xreplace({getattr(stages, stage): name})
    # SymPy flattens g + log-odds into one sum, so g is also named inside that sum.
    logit = stages.ebar.args[0]
    return expression.xreplace({logit: _SHORT["g"] + logit - stages.g})


def expand(recursion: Recursion, expression: sp.Expr) -> sp.Expr:
    """The inverse of `shorten`: the identical executed object."""
    for stage, name in reversed(_SHORT.items()):
        expression = expression.xreplace({name: getattr(recursion.stages, stage)})
    return expression


def definitions(recursion: Recursion) -> list[tuple[sp.Expr, sp.Expr]]:
    """(name, meaning) of the stages in the order of the forward pass; each meaning uses the names before it."""
    stages, rows = recursion.stages, []
    for stage in ("g", "ebar", "h", "f"):
        meaning = getattr(stages, stage)
        # Only the arguments are shortened, or the stage would be replaced by its own name.
        rows.append(
            (
                _SHORT[stage],
                meaning if stage == "g" else meaning.func(*(shorten(recursion, x) for x in meaning.args)),
            )
        )
    return rows


def equations(recursion: Recursion) -> list[tuple[sp.Indexed, sp.Expr]]:
    """(coefficient, shortened right-hand side) of x(t + 1) for each coefficient of the state."""
    return [(x, shorten(recursion, recursion.update(x))) for x in recursion.state]


def latex_equations(recursion: Recursion) -> list[tuple[str, str, str]]:
    """(left, relation, right) in LaTeX: the definitions with =, then the updates with an arrow."""
    rows = [(sp.latex(name), "=", sp.latex(meaning)) for name, meaning in definitions(recursion)]
    return rows + [(sp.latex(x), r"\leftarrow", sp.latex(right)) for x, right in equations(recursion)]


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
    lines += [f"  {name} = {meaning}" for name, meaning in definitions(recursion)]
    lines += ["", "One step of size eta"]
    lines += [f"  {x} <- {right}" for x, right in equations(recursion)]
    return "\n".join(lines) + "\n"


def as_json(recursion: Recursion) -> str:
    """JSON: level, hypotheses, state, definitions and equations, each as text, LaTeX and srepr."""

    def entry(left: sp.Expr, right: sp.Expr) -> dict[str, str]:
        return {"symbol": str(left), "latex": sp.latex(right), "text": str(right), "srepr": sp.srepr(right)}

    document = {
        "level": recursion.level,
        "hypotheses": list(HYPOTHESES[recursion.level]),
        "state": [str(x) for x in recursion.state],
        "definitions": [entry(name, meaning) for name, meaning in definitions(recursion)],
        "equations": [entry(x, right) for x, right in equations(recursion)],
    }
    return json.dumps(document, indent=2) + "\n"
