"""Names for the stages of the forward pass and of its derivatives, put into the executed expressions and taken out again.

A derived equation written out fills a page. Here each stage has a name and the very expression that it stands for,
found in the derived objects and never typed: `shorten` replaces one by the other, `expand` takes the names out again, to
the identical object.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import sympy as sp

from polyseme.theory.calculus.derivative import differentiate
from polyseme.theory.calculus.functions import ACTIVATIONS, LOSSES, AttentionMean
from polyseme.theory.multi_concept.derivation.derive import Recursion
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.model import noisy as noise
from polyseme.theory.multi_concept.model import span
from polyseme.theory.multi_concept.model.letters import RANGES

# The indices of a name, in this order.
_LETTERS = (fw.i, fw.k, fw.e, fw.n_plus, span.q, span.ell, span.v, span.s, span.t)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A name, what it stands for with no other name in it, and what that is in words.

    `forward` says whether it belongs to the forward pass, or to the derivatives.
    """

    name: sp.Indexed
    meaning: sp.Expr
    words: str
    forward: bool


def _stage(label: str, meaning: sp.Expr, words: str, *, forward: bool = False) -> Stage:
    meaning = commuted(meaning)
    where = tuple(letter for letter in _LETTERS if letter in meaning.free_symbols)
    return Stage(name=sp.IndexedBase(label)[where], meaning=meaning, words=words, forward=forward)


@cache
def stages(recursion: Recursion) -> tuple[Stage, ...]:
    """The stages of a recursion; each needs only those before it (docs/THEORY.md sections 3 and 4)."""
    if _in_stages(recursion):
        return _staged(recursion)
    return _counted(recursion) if isinstance(recursion.stages, fw.ForwardPass) else _numbered(recursion)


def _in_stages(recursion: Recursion) -> bool:
    """Whether the recursion is written in the names of its stages from the first (level N)."""
    return isinstance(recursion.stages, noise.NoisePass)


def _staged(recursion: Recursion) -> tuple[Stage, ...]:
    """Level N: each meaning is in the names before it."""
    parts = ((recursion.noisy.definitions, True), (recursion.adjoints, False))
    return tuple(
        Stage(name=x.name, meaning=commuted(x.meaning), words=x.words, forward=forward)
        for definitions, forward in parts
        for x in definitions
    )


def activation_slope(recursion: Recursion, h: sp.Expr) -> sp.Expr:
    """The derivative of the activation at h: the gate, for the ReLU."""
    at = sp.Dummy("h", real=True)
    return ACTIVATIONS[recursion.activation](at).diff(at).xreplace({at: h})


def pull(recursion: Recursion, margin: sp.Expr) -> sp.Expr:
    """Minus the derivative of the loss at a margin."""
    z = sp.Dummy("z", real=True)
    return (-LOSSES[recursion.loss](z).diff(z)).xreplace({z: margin})


def _counted(recursion: Recursion) -> tuple[Stage, ...]:
    """Levels S and B."""
    parts = recursion.counted
    slope = sp.Sum(fw.r[fw.i] * activation_slope(recursion, parts.h) * fw.beta[fw.i, fw.k], (fw.i, 1, fw.m))
    attention = [x for x in recursion.state if x.base not in (fw.alpha, fw.beta)]
    (passed_on,) = {
        total
        for x in attention
        for total in recursion.gradient[x].atoms(sp.Sum)
        if [limits[0] for limits in total.limits] == [fw.n_plus]
    }
    return (
        _stage("g", parts.g, "half the gap between the logits of the two kinds of demonstration", forward=True),
        _stage("ebar", parts.ebar, "the mean sign of the demonstrations under attention", forward=True),
        _stage("h", parts.h, "the pre-activation of neuron i", forward=True),
        _stage("f", parts.f, "the output of the model", forward=True),
        _stage("omega", pull(recursion, fw.e * parts.f), "minus the slope of the loss at the margin e f"),
        _stage("s", slope, "the slope of f in the mean sign, over n_d"),
        _stage("A", passed_on, "what reaches the attention through the softmax variance, by the sign of the query"),
    )


def _numbered(recursion: Recursion) -> tuple[Stage, ...]:
    """Level Z."""
    parts = recursion.stages
    assert isinstance(parts, span.SpanPass)
    query, key = recursion.state[:2]
    pooled = AttentionMean(span.y[span.q, span.ell, span.v], parts.logit, span.ell, span.L)
    found = [
        _stage("z", parts.logit, "the attention logit of demonstration l", forward=True),
        _stage("ybar", pooled, "component v of the label that attention pools", forward=True),
        _stage("h", parts.h, "the pre-activation of neuron i", forward=True),
        _stage("f", parts.f, "the output of the model", forward=True),
        _stage("omega", pull(recursion, span.e[span.q] * parts.f), "minus the slope of the loss at the margin e f"),
    ]
    for label, coefficient, words in (
        ("K", query, "component s of the key W_K x of demonstration l"),
        ("Q", key, "component s of W_Q x of the query word"),
    ):
        # The derivative of a logit is a component of a word times a component of the other word's image.
        image = differentiate(parts.logit, coefficient, RANGES).atoms(sp.Sum)
        # On the diagonal there is one component, and no sum to name.
        found += [_stage(label, meaning, words) for meaning in image]
    reach = {"Q": _reach(recursion, query), "K": _reach(recursion, key)}
    same = reach["Q"] == reach["K"]
    for side, slope in {"": reach["Q"]}.items() if same else reach.items():
        above = f"^{{{side}}}" if side else ""
        what = {"Q": "keys", "K": "words"}.get(side, "words")
        (covariance,) = {total for total in slope.atoms(sp.Add) if all(x.has(AttentionMean) for x in total.args)}
        found.append(_stage(f"C{above}", covariance, f"the covariance of labels and {what} under attention"))
        found.append(_stage(f"Lambda{above}", slope, f"the slope of f when logits move along the {what}"))
    return tuple(found)


def _reach(recursion: Recursion, coefficient: sp.Indexed) -> sp.Expr:
    """The derivative of f in a logit's coefficient, which is a sum over neurons."""
    sums = {x for x in recursion.gradient[coefficient].atoms(sp.Sum) if [at[0] for at in x.limits] == [fw.i]}
    (slope,) = sums - {recursion.stages.f}
    return slope


def _replaced(expression: sp.Basic, known: Sequence[Stage]) -> sp.Basic:
    """Outermost first: the meaning of a stage has no names in it."""
    for stage in reversed(known):
        expression = expression.xreplace({stage.meaning: stage.name})
    return expression


def commuted(expression: sp.Basic) -> sp.Basic:
    """The same expression with its factors in one order, and powers of one base together.

    It is the expression itself if SymPy knows that all factors commute, and then expressions are compared as they are.
    """
    if not expression.args or expression.is_commutative:
        return expression
    args = tuple(commuted(argument) for argument in expression.args)
    if isinstance(expression, sp.Mul):
        powers: dict[sp.Expr, sp.Expr] = {}
        for base, power in (factor.as_base_exp() for factor in args):
            powers[base] = powers.get(base, sp.S.Zero) + power
        return sp.Mul(*sorted((base**power for base, power in powers.items()), key=sp.default_sort_key))
    return expression if args == expression.args else expression.func(*args)


def shorten(recursion: Recursion, expression: sp.Basic, *, forward: bool = False) -> sp.Basic:
    """The expression with its stages named; `forward` uses the names of the forward pass alone.

    Level N is written in names from the first, and nothing is left to be named there.
    """
    if _in_stages(recursion):
        return commuted(expression)
    return _replaced(commuted(expression), [stage for stage in stages(recursion) if stage.forward or not forward])


def expand(recursion: Recursion, expression: sp.Basic) -> sp.Basic:
    """The inverse of `shorten`: the identical executed object (as `commuted` writes it)."""
    if _in_stages(recursion):
        return commuted(expression)
    return commuted(expression.xreplace({stage.name: stage.meaning for stage in stages(recursion)}))


def definitions(recursion: Recursion) -> list[tuple[sp.Indexed, sp.Expr]]:
    """(name, meaning) of each stage; each meaning uses the names before it."""
    known = stages(recursion)
    if _in_stages(recursion):
        return [(stage.name, stage.meaning) for stage in known]
    return [(stage.name, _replaced(stage.meaning, known[:position])) for position, stage in enumerate(known)]


def equations(recursion: Recursion) -> list[tuple[sp.Indexed, sp.Expr]]:
    """(coefficient, shortened right-hand side) of x(t + 1) for each coefficient of the state."""
    return [(x, shorten(recursion, recursion.update(x))) for x in recursion.state]


def gradients(recursion: Recursion) -> list[tuple[sp.Indexed, sp.Expr]]:
    """(coefficient, shortened derivative of the risk in it)."""
    return [(x, shorten(recursion, right)) for x, right in recursion.gradient.items()]
