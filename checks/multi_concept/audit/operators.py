"""Operators that plant an error: each takes the right theory and gives wrong ones, by name.

Three kinds of material are worked on: the derived recursion (its SymPy gradients, penalties and observables), the compiled
system (its time stepping and its constants), and the statements that claims assert (expressions, tables of them,
numbers, functions that return them). None touches a check.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import sympy as sp

from polyseme.theory.calculus.functions import Gate, HalfLogOdds, SignSum
from polyseme.theory.multi_concept.derivation.derive import Recursion
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.numerics.lower import Lowered, NumpySystem

Variant = tuple[str, Recursion]
DELTA = sp.Rational(1, 100)
"""The size of a planted error in a coefficient: one part in a hundred."""


def _with(recursion: Recursion, *, gradient: Mapping | None = None, shrinkage: Mapping | None = None) -> Recursion:
    return dataclasses.replace(
        recursion,
        gradient=recursion.gradient | dict(gradient or {}),
        shrinkage=recursion.shrinkage | dict(shrinkage or {}),
    )


def _everywhere(recursion: Recursion, edit: Callable[[sp.Expr], sp.Expr]) -> Recursion:
    return dataclasses.replace(recursion, gradient={x: edit(right) for x, right in recursion.gradient.items()})


def _mean_sign(recursion: Recursion, wrong: sp.Expr) -> Recursion:
    """Another mean sign ebar in every gradient."""
    right = recursion.counted.ebar
    return _everywhere(recursion, lambda x: x.xreplace({right: wrong}))


def _signed(delta: sp.Expr) -> Iterator[tuple[str, sp.Expr]]:
    yield f"1 + {float(delta):g}", 1 + delta
    yield f"1 - {float(delta):g}", 1 - delta


def coefficient(recursion: Recursion, delta: sp.Expr = DELTA) -> Iterator[Variant]:
    """One additive term, of a gradient, a penalty, the logit gap, the pre-activation or the variance, times 1 +- delta."""
    stages = recursion.counted
    gap, odds = stages.g, HalfLogOdds(fw.n_plus, fw.L)
    terms = sp.Add.make_args(sp.expand(gap))
    for sign, factor in _signed(delta):
        for x, right in recursion.gradient.items():
            if right != 0:
                yield f"gradient in {x} times {sign}", _with(recursion, gradient={x: factor * right})
        for x, right in recursion.shrinkage.items():
            yield f"penalty on {x} times {sign}", _with(recursion, shrinkage={x: factor * right})
        for term in terms:
            wrong = sp.tanh(sp.expand(gap) - term + factor * term + odds)
            yield f"{term} in the logit gap times {sign}", _mean_sign(recursion, wrong)
        yield f"the log-odds times {sign}", _mean_sign(recursion, sp.tanh(gap + factor * odds))
        for term in sp.Add.make_args(stages.h):
            wrong_h = stages.h - term + factor * term
            yield (
                f"{_head(term)} in the pre-activation times {sign}",
                _everywhere(recursion, lambda x, wrong_h=wrong_h: x.xreplace({stages.h: wrong_h})),
            )
        variance = {1 - stages.ebar**2: 1 - factor * stages.ebar**2}
        yield (
            f"ebar^2 in the softmax variance times {sign}",
            _everywhere(recursion, lambda x, variance=variance: x.xreplace(variance)),
        )


def _head(term: sp.Expr) -> str:
    """A term of the pre-activation by its coefficient, alpha or beta."""
    return "n_c alpha" if term.has(fw.alpha) else "n_d ebar beta"


def dropped_term(recursion: Recursion) -> Iterator[Variant]:
    """A penalty, the softmax variance, the gate, or a cross block left out."""
    stages = recursion.counted
    for x in recursion.state:
        yield f"no penalty on {x}", _with(recursion, shrinkage={x: sp.S.Zero})
    yield "no softmax variance", _everywhere(recursion, lambda x: x.xreplace({1 - stages.ebar**2: sp.S.One}))
    yield "no gate", _everywhere(recursion, lambda x: x.replace(Gate, lambda _h: sp.S.One))
    for x, right in recursion.gradient.items():
        if right != 0:
            yield f"no gradient in {x}", _with(recursion, gradient={x: sp.S.Zero})
    for term in sp.Add.make_args(sp.expand(stages.g)):
        rest = sp.expand(stages.g) - term
        yield f"no {term} in the logit gap", _mean_sign(recursion, sp.tanh(rest + HalfLogOdds(fw.n_plus, fw.L)))


def sign(recursion: Recursion) -> Iterator[Variant]:
    """A sign turned: of a gradient, a penalty, the variance, the log-odds, the query."""
    stages = recursion.counted
    for x, right in recursion.gradient.items():
        if right != 0:
            yield f"minus the gradient in {x}", _with(recursion, gradient={x: -right})
    for x, right in recursion.shrinkage.items():
        yield f"minus the penalty on {x}", _with(recursion, shrinkage={x: -right})
    square = stages.ebar**2
    yield "1 + ebar^2 for 1 - ebar^2", _everywhere(recursion, lambda x: x.xreplace({1 - square: 1 + square}))
    yield "minus the log-odds", _mean_sign(recursion, sp.tanh(stages.g - HalfLogOdds(fw.n_plus, fw.L)))
    yield (
        "l'(e f) for e l'(e f)",
        _everywhere(recursion, lambda x: x.replace(SignSum, lambda body, e: SignSum(e * body, e))),
    )


def exponent(recursion: Recursion) -> Iterator[Variant]:
    """A power too many or too few: of n_b, of n_d, of the mean sign, of the probability, of the query's sign."""
    ebar = recursion.counted.ebar
    for norm in (fw.n_a, fw.n_b, fw.n_c, fw.n_d):
        yield f"one {norm} too many", _everywhere(recursion, lambda x, norm=norm: norm * x)
    yield "ebar^4 for ebar^2", _everywhere(recursion, lambda x: x.xreplace({1 - ebar**2: 1 - ebar**4}))
    yield "ebar^3 for ebar", _mean_sign(recursion, ebar**3)
    p = fw.P[fw.k, fw.e, fw.n_plus]
    yield "p^2 for p", _everywhere(recursion, lambda x: x.xreplace({p: p**2}))
    # e^2 = 1, so that this one is no error: the audit has to prove it.
    yield (
        "e^3 for e",
        _everywhere(recursion, lambda x: x.replace(SignSum, lambda body, e: SignSum(e**2 * body, e))),
    )


def index(recursion: Recursion) -> Iterator[Variant]:
    """An index transposed, shifted, or of the other matrix."""
    stages = recursion.counted
    for family, name in ((fw.W_Q, "W_Q"), (fw.W_K, "W_K")):
        swap = {family["ab"][fw.k]: family["ba"][fw.k], family["ba"][fw.k]: family["ab"][fw.k]}
        yield f"{name} transposed", _everywhere(recursion, lambda x, swap=swap: x.xreplace(swap))
    yield "L + 1 for L in the log-odds", _mean_sign(recursion, sp.tanh(stages.g + HalfLogOdds(fw.n_plus, fw.L + 1)))
    yield "n_- for n_+ in the log-odds", _mean_sign(recursion, sp.tanh(stages.g + HalfLogOdds(fw.L - fw.n_plus, fw.L)))
    queries = {fw.W_Q[entry][fw.k]: fw.W_K[entry][fw.k] for entry in fw.BLOCK_ENTRIES}
    keys = {right: left for left, right in queries.items()}
    yield "W_Q and W_K exchanged", _everywhere(recursion, lambda x: x.xreplace(queries | keys))
    pairs = [(fw.W_Q[entry][fw.k], fw.W_K[entry][fw.k]) for entry in ("ab", "bb")]
    crossed = {q: recursion.gradient[k] for q, k in pairs} | {k: recursion.gradient[q] for q, k in pairs}
    yield "gradients of W_Q and W_K exchanged", _with(recursion, gradient=crossed)


def exchanged(recursion: Recursion) -> Iterator[Variant]:
    """a for b, c for d, alpha for beta."""
    i, k = fw.i, fw.k
    swaps = {
        "n_a and n_b": {fw.n_a: fw.n_b, fw.n_b: fw.n_a},
        "n_c and n_d": {fw.n_c: fw.n_d, fw.n_d: fw.n_c},
        "alpha and beta": {fw.alpha[i, k]: fw.beta[i, k], fw.beta[i, k]: fw.alpha[i, k]},
        "W_Q^{ab} and W_Q^{bb}": {fw.W_Q["ab"][k]: fw.W_Q["bb"][k], fw.W_Q["bb"][k]: fw.W_Q["ab"][k]},
        "W_Q^{aa} and W_Q^{ba}": {fw.W_Q["aa"][k]: fw.W_Q["ba"][k], fw.W_Q["ba"][k]: fw.W_Q["aa"][k]},
        "W_K^{ab} and W_K^{bb}": {fw.W_K["ab"][k]: fw.W_K["bb"][k], fw.W_K["bb"][k]: fw.W_K["ab"][k]},
    }
    for name, swap in swaps.items():
        yield f"{name} exchanged", _everywhere(recursion, lambda x, swap=swap: x.xreplace(swap))


def maximum_for_mean(recursion: Recursion) -> Iterator[Variant]:
    """Attention that takes the largest logit alone, or that ignores the logits, in place of the softmax mean."""
    stages = recursion.counted
    logit = stages.g + HalfLogOdds(fw.n_plus, fw.L)
    yield "the largest logit alone", _mean_sign(recursion, sp.sign(logit))
    yield "uniform attention", _mean_sign(recursion, sp.tanh(HalfLogOdds(fw.n_plus, fw.L)))


# -- on the compiled system: time and constants ------------------------------------------------------------

Arrays = Mapping[str, Any]


def _given(lowered: Lowered, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Lowered:
    """A compiled function that sees other arguments than it is given."""

    def wrong(*values: Any) -> Any:
        arrays = dict(zip(lowered.names, values, strict=True))
        arrays |= {name: value for name, value in change(arrays).items() if name in arrays}
        return lowered.function(*(arrays[name] for name in lowered.names))

    return dataclasses.replace(lowered, function=wrong)


def time(system: NumpySystem) -> Iterator[tuple[str, NumpySystem]]:
    """Another step size: of the next step, twice, half, or a constant one."""
    changes: dict[str, Callable[[dict[str, Any]], Mapping[str, Any]]] = {
        # 2 / eta_t = lam (gamma + t), so the next one has lam more.
        "step t + 1 for t": lambda x: {"eta": 2 / (2 / x["eta"] + x["lam"])},
        "2 eta for eta": lambda x: {"eta": 2 * x["eta"]},
        "eta / 2 for eta": lambda x: {"eta": x["eta"] / 2},
        "1% larger steps": lambda x: {"eta": 1.01 * x["eta"]},
        "the penalty without its step size": lambda x: {"lam": x["lam"] / x["eta"]},
    }
    for name, change in changes.items():
        yield name, dataclasses.replace(system, update=_given(system.update, change))


def constant(system: NumpySystem) -> Iterator[tuple[str, NumpySystem]]:
    """kappa in the wrong place, 1/K1 or pi dropped, a flat law of counts."""

    def flat(p: np.ndarray) -> np.ndarray:
        mass = p.sum(axis=(2, 3), keepdims=True)
        return np.where(p > 0, mass / np.maximum((p > 0).sum(axis=(2, 3), keepdims=True), 1), 0.0)

    def uniform(p: np.ndarray) -> np.ndarray:
        each = p.sum(axis=(2, 3), keepdims=True)
        return np.divide(p, each, out=np.zeros_like(p), where=each > 0) / p.shape[1]

    changes: dict[str, Callable[[dict[str, Any]], Mapping[str, Any]]] = {
        "kappa_x with the other sign": lambda x: {"n_a": x["n_b"], "n_b": x["n_a"]},
        "kappa_y with the other sign": lambda x: {"n_c": x["n_d"], "n_d": x["n_c"]},
        "kappa_x forgotten": lambda _x: {"n_a": np.sqrt(0.5), "n_b": np.sqrt(0.5)},
        "kappa_y forgotten": lambda _x: {"n_c": np.sqrt(0.5), "n_d": np.sqrt(0.5)},
        "1/K1 dropped": lambda x: {"p": x["p"] * x["p"].shape[1]} if "p" in x else {},
        "weights pi dropped": lambda x: {"p": uniform(x["p"])} if "p" in x else {},
        "every count n+ alike": lambda x: {"p": flat(x["p"])} if "p" in x else {},
        "1/m dropped": lambda x: {"r": np.sign(x["r"])} if "r" in x else {},
    }
    for name, change in changes.items():
        yield name, dataclasses.replace(system, gradient=_given(system.gradient, change))


RECURSION: dict[str, Callable[[Recursion], Iterator[Variant]]] = {
    "coefficient": coefficient,
    "dropped term": dropped_term,
    "sign": sign,
    "exponent": exponent,
    "index": index,
    "exchanged": exchanged,
    "maximum for mean": maximum_for_mean,
}
SYSTEM: dict[str, Callable[[NumpySystem], Iterator[tuple[str, NumpySystem]]]] = {"time": time, "constant": constant}
