"""What the letters of the printed equations mean, and the fates of blocks by reason (docs/THEORY.md sections 1 to 4)."""

from collections.abc import Sequence

from polyseme.theory.calculus.functions import Sigmoid
from polyseme.theory.calculus.printing import Printer
from polyseme.theory.multi_concept.derivation.closure import Block, Matrix
from polyseme.theory.multi_concept.derivation.derive import Recursion

PRINTER = Printer(first=("eta",), early=("pi", "p", "e", "r"), words=("match", "plus"), superscripts=("query",))
"""Prints expressions of this theory: the step size first, probabilities and signs before other arrays."""
latex, text, lines = PRINTER.latex, PRINTER.text, PRINTER.lines

_STEP = ((r"\eta,\ \lambda", "step size and L2 coefficient"),)
_SIGMOID = ((r"\varsigma(z) = 1/(1 + e^{-z})", "minus the slope of the loss at -z"),)

_COUNTED = (
    (r"k,\ i", "concept, from 1 to K_1, and neuron, from 1 to m"),
    (r"e,\ n_{+}", "sign of the query, and number of demonstrations of sign +1 among L"),
    (r"p_{k,e,n_{+}}", "probability of such a prompt; its frequency in a minibatch gives the stochastic recursion"),
    (
        r"W_{Q,k}^{st} = \hat s_k^\top W_Q\, \hat t_k",
        "coefficient of W_Q on the unit vectors of a_k, b_k, and the same for W_K",
    ),
    (r"\alpha_{i,k},\ \beta_{i,k}", "components of neuron i along the unit vectors of c_k and d_k"),
    (r"n_a,\ n_b,\ n_c,\ n_d", "norms of a_k, b_k (words) and c_k, d_k (labels)"),
)

_NUMBERED = (
    (r"q,\ l,\ i", "prompt, from 1 to N, demonstration, from 1 to L, and neuron, from 1 to m"),
    (r"s,\ t,\ u,\ v", "directions: s, t, u (and u', u'') of the D of the words, v of the D_y of the labels"),
    (r"p_q,\ e_q", "probability of prompt q and the sign of its query; frequencies in a minibatch give SGD"),
    (
        r"x_{q,l,u},\ x^{\mathrm{query}}_{q,u},\ y_{q,l,v}",
        "components of the words, the query word and the labels along unit directions",
    ),
    (r"W_{Q,s,t} = \hat s^\top W_Q\, \hat t", "coefficient of W_Q on unit directions of the words; the same for W_K"),
    (r"W_{O,i,v}", "component of neuron i along the label direction v"),
    (r"\mathrm{match}_{q,l}", "1 if demonstration l has the sign of the query, else 0"),
    (r"\langle x_l \rangle_l", "mean over demonstrations with the softmax weights of their logits z_l"),
)


def notation(recursion: Recursion) -> tuple[tuple[str, str], ...]:
    """What the letters of a recursion mean, as (LaTeX, words); its named stages have their definitions."""
    rows = {"N": _NOISY, "Z": _NUMBERED}.get(recursion.level, _COUNTED)
    if recursion.truncated:
        rows = tuple((symbol.replace("W_{Q,s,t}", "W_{Q,s}").replace(r"\hat t", r"\hat s"), it) for symbol, it in rows)
    logistic = any(slope.has(Sigmoid) for slope in recursion.gradient.values())
    return rows + (_SIGMOID if logistic else ()) + _STEP


_NOISY = (
    (
        r"q,\ j,\ i",
        "row of the table of prompts, from 1 to N, kind of demonstration, from 1 to J, and neuron, from 1 to m",
    ),
    (
        r"s,\ t,\ u,\ v",
        "unit directions of the concepts: s, t, u (and u') of the D of the words, v of the D_y of the labels",
    ),
    (r"p_q,\ e_q", "probability of row q, to first order in p_extra, and the sign of its query"),
    (r"n_{q,j},\ \mathrm{match}_{q,j}", "demonstrations of kind j, and 1 if they have the sign of the query, else 0"),
    (
        r"x_{q,j,u},\ x^{\mathrm{query}}_{q,u},\ y_{q,j,v}",
        "components of the words of a kind, the query word and the labels of a kind, without noise",
    ),
    (r"\sigma_x,\ \sigma_y", "standard deviations of the noise on words and labels"),
    (r"W_{Q,s,t} = \hat s^\top W_Q\, \hat t", "coefficient of W_Q on unit directions; the same for W_K"),
    (r"W_{O,i,v},\ \rho_i", "component of neuron i along label direction v, and the norm of the rest of it"),
    (
        r"G_\perp,\ d_x",
        "the product of W_K and W_Q outside the concepts, a multiple of the identity that decays, and the word dimension",
    ),
    (
        r"R(\mu; V),\ \Phi,\ \varphi",
        "mean of the ReLU of a normal number of mean mu and variance V, and its derivatives in mu",
    ),
    (r"\delta_{s}", "derivative of the risk in the stage s"),
)

_NAMED = (
    (r"\omega_{k,e,n_{+}}", "minus the slope of the loss at the margin e f"),
    (r"s_{k,e,n_{+}}", "slope of f in the mean sign, over n_d"),
    (r"A_{k,e}", "what reaches the attention through the softmax variance, by the sign of the query"),
)

NOTATION = _COUNTED + _NAMED + _SIGMOID + _STEP
"""The same at level B with the logistic loss, and what is named there besides the forward pass."""


def fates(recursion: Recursion) -> list[tuple[Matrix, bool, Sequence[Block], str]]:
    """(matrix, lives, kinds of blocks, reason): blocks with one reason together, the living ones first (section 4).

    The order is that of the directions; the closure finds blocks in no particular one.
    """
    place = {s: at for at, s in enumerate(("a", "b", "nu", "perp"))}

    def order(block: Block) -> tuple[bool, int, int, str]:
        row, column = block
        return column.endswith("'"), place[row], place[column.rstrip("'")], column

    together: dict[tuple[Matrix, bool, str], list[Block]] = {}
    matrices: tuple[Matrix, ...] = ("W_Q", "W_K")
    for matrix in matrices:
        known = recursion.closure.fates[matrix].items()
        for block, fate in sorted(known, key=lambda item: (not item[1].lives, *order(item[0]))):
            together.setdefault((matrix, fate.lives, fate.reason), []).append(block)
    return [(matrix, lives, blocks, reason) for (matrix, lives, reason), blocks in together.items()]
