"""The numbers that a derived recursion may be run over besides float64: balls, and decimals of many digits.

`lower.py` generates one NumPy source; arrays of objects run that very source over other numbers. An `Arithmetic` says how
such numbers are made from exact data and what the functions of the source do to them. Balls (midpoint and radius,
Arb in python-flint) enclose every rounding and decide a gate only if all their points agree; decimals (mpmath) share no
code with them, and round.

Exact data are doubles, which are dyadic rationals, and fractions of them. Only what is irrational or not dyadic, the norms,
the step size and the prompt probabilities (docs/THEORY.md section 1), is computed here, once for every kind of number.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import sympy as sp
from jaxtyping import Float, Shaped

from polyseme.regime import LEAK
from polyseme.theory.multi_concept.derivation.derive import Recursion
from polyseme.theory.multi_concept.numerics.lower import (
    FLOAT64,
    GRADIENT,
    Lowered,
    NumpySystem,
    Runtime,
    compile_recursion,
)
from polyseme.theory.multi_concept.prompts.law import exact_count_probability
from polyseme.theory.multi_concept.regime import Regime

Objects = dict[str, Shaped[np.ndarray, "..."]]  # arrays of numbers of one Arithmetic


class UndecidedSign(Exception):
    """A gate whose sign a ball does not decide: its place in the five axes of `lower.py`, and the ball."""

    def __init__(self, place: tuple[int, ...], ball: Any) -> None:
        """The first such place, in the order of the axes."""
        super().__init__(f"the sign of {ball} at {place} is not decided")
        self.place = place
        self.ball = ball


@dataclass(frozen=True, kw_only=True, eq=False)
class Arithmetic:
    """One kind of number: how it is made, its elementary functions, and when its sign is known.

    `number` takes an int, a double or a Fraction; `positive` answers True, False (zero included) or None (not decided);
    `hull` is the smallest number that contains two; `working` sets the precision for as long as it lasts.
    """

    number: Callable[[int | float | Fraction], Any]
    sqrt: Callable[[Any], Any]
    exp: Callable[[Any], Any]
    log: Callable[[Any], Any]
    tanh: Callable[[Any], Any]
    positive: Callable[[Any], bool | None]
    hull: Callable[[Any, Any], Any]
    working: Callable[[], AbstractContextManager[Any]]


@cache
def balls(bits: int) -> Arithmetic:
    """Ball arithmetic with midpoints of `bits` bits: every result contains the exact one, whatever the precision."""
    import flint  # here, so that who never asks for balls never loads them

    arb = flint.arb

    def number(value: int | float | Fraction) -> Any:
        if isinstance(value, Fraction):
            return arb(flint.fmpq(value.numerator, value.denominator))
        return arb(value)

    def tanh(z: Any) -> Any:
        # An infinite midpoint is no rounding: it is the half log-odds of counts of which one is zero (section 3).
        if z.is_finite() or z.is_nan():
            return z.tanh()
        return arb(1) if z > 0 else arb(-1) if z < 0 else z.tanh()

    return Arithmetic(
        number=number,
        sqrt=lambda z: z.sqrt(),
        exp=lambda z: z.exp(),
        log=lambda z: z.log(),
        tanh=tanh,
        positive=lambda z: True if z > 0 else False if z <= 0 else None,  # neither comparison holds across 0
        hull=lambda one, other: one.union(other),
        working=lambda: flint.ctx.workprec(bits),
    )


@cache
def decimals(digits: int) -> Arithmetic:
    """Rounded arithmetic with `digits` decimal digits, in a context of its own: no one else's precision changes."""
    import mpmath

    context = mpmath.mp.clone()
    context.dps = digits

    def number(value: int | float | Fraction) -> Any:
        if isinstance(value, Fraction):
            return context.mpf(value.numerator) / value.denominator
        return context.mpf(value)

    return Arithmetic(
        number=number,
        sqrt=context.sqrt,
        exp=context.exp,
        log=context.log,
        tanh=context.tanh,
        positive=lambda z: bool(z > 0),
        hull=lambda one, _same: one,  # never asked for: every sign is decided
        working=nullcontext,
    )


def runtime_of(arithmetic: Arithmetic, *, strict: bool = True) -> Runtime:
    """The functions that generated source calls, for arrays of the numbers of an Arithmetic.

    A gate that is not decided raises UndecidedSign if `strict`, else it is the hull of 0 and 1: an enclosure, for what is
    only recorded and decides nothing.
    """
    zero, one, half = arithmetic.number(0), arithmetic.number(1), arithmetic.number(0.5)
    infinity = arithmetic.number(float("inf"))
    exp, log, positive, hull = arithmetic.exp, arithmetic.log, arithmetic.positive, arithmetic.hull

    def each(function: Callable[..., Any], arguments: int = 1) -> Callable[..., np.ndarray]:
        return np.frompyfunc(function, arguments, 1)

    def piecewise(below: Callable[[Any], Any], above: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A monotone function that changes its form at 0."""

        def value(h: Any) -> Any:
            sign = positive(h)
            return hull(below(h), above(h)) if sign is None else above(h) if sign else below(h)

        return value

    def gate(h: np.ndarray) -> np.ndarray:
        signs = each(positive)(h)
        undecided = each(lambda sign: sign is None)(signs).astype(bool)
        if strict and undecided.any():
            place = tuple(map(int, np.argwhere(undecided)[0]))
            raise UndecidedSign(place, h[place])
        return each(lambda sign: hull(zero, one) if sign is None else one if sign else zero)(signs)

    def half_log_odds(plus: Any, total: Any) -> Any:
        if plus == 0:
            return -infinity
        return infinity if plus == total else half * (log(plus) - log(total - plus))

    def contract(*axes: int) -> Callable[..., np.ndarray]:
        return lambda full, weight: np.sum(full * weight, axis=axes, keepdims=True)

    return {
        **{name: function for name, function in FLOAT64.items() if name.startswith("total")},
        "ReLU": each(piecewise(lambda _h: zero, lambda h: h)),
        "LeakyReLU": each(piecewise(lambda h: LEAK * h, lambda h: h)),
        "Gate": gate,
        "Sigmoid": each(lambda z: 1 / (1 + exp(-z))),
        "Logistic": each(lambda z: log(1 + exp(-z))),
        "HalfLogOdds": each(half_log_odds, 2),
        "tanh": each(arithmetic.tanh),
        "exp": each(exp),
        "contract4": contract(4),
        "contract23": contract(2, 3),
    }


def compiled_in(arithmetic: Arithmetic, recursion: Recursion, *, strict: bool = True) -> NumpySystem:
    """A recursion over other numbers; ValueError if its literals would not be exact as the doubles they are printed as."""
    literals = set[sp.Basic]().union(
        *(
            expression.atoms(sp.Number, sp.NumberSymbol)
            for part in (recursion.gradient, recursion.shrinkage, recursion.observables)
            for expression in part.values()
        )
    )
    for literal in literals:
        if not (
            isinstance(literal, sp.Rational) and int(literal.q).bit_count() == 1 and int(literal.p).bit_length() <= 53
        ):
            raise ValueError(
                f"{literal} in the recursion is not a dyadic rational: printed as a double, it would be rounded"
            )
    return compile_recursion(recursion, runtime=runtime_of(arithmetic, strict=strict))


def array_of(arithmetic: Arithmetic, exact: np.ndarray) -> np.ndarray:
    """An array of doubles or fractions, number by number."""
    return np.frompyfunc(lambda value: arithmetic.number(_plain(value)), 1, 1)(np.asarray(exact))


def _plain(value: Any) -> int | float | Fraction:
    return value if isinstance(value, Fraction | int) else float(value)


def _single(arithmetic: Arithmetic, value: Any) -> np.ndarray:
    """One number with the five axes: an array, so that NumPy and not the number leads every product."""
    array = np.empty((1,) * 5, dtype=object)
    array[...] = arithmetic.number(value) if isinstance(value, int | float | Fraction) else value
    return array


def constants_in(arithmetic: Arithmetic, regime: Regime, r: Float[np.ndarray, " m"]) -> Objects:
    """What `coefficients.constants` gives in float64, from the regime's doubles as exact rationals.

    Five-axis arrays. Uniform concept weights are 1 / K1 and not a double near it.
    """
    concepts, prompt = regime.concepts, regime.prompt
    overlaps = {"a": (concepts.kappa_x, 1), "b": (concepts.kappa_x, -1)}
    overlaps |= {"c": (concepts.kappa_y, 1), "d": (concepts.kappa_y, -1)}
    with arithmetic.working():
        norms = {
            f"n_{letter}": _single(arithmetic, arithmetic.sqrt(arithmetic.number((1 + sign * Fraction(kappa)) / 2)))
            for letter, (kappa, sign) in overlaps.items()
        }
        return {
            **norms,
            "lam": _single(arithmetic, regime.training.lam),
            "r": array_of(arithmetic, r)[None, None, None, None, :],
            "e": array_of(arithmetic, np.array([1.0, -1.0]))[None, None, :, None, None],
            "n_plus": array_of(arithmetic, np.arange(prompt.L + 1.0))[None, None, None, :, None],
            "L": _single(arithmetic, prompt.L),
            "p": array_of(arithmetic, _exact_probabilities(regime))[None, :, :, :, None],
        }


def _exact_probabilities(regime: Regime) -> np.ndarray:
    """p[k, e, n+] as fractions, of shape (K1, 2, L + 1) with e = +1 first."""
    concepts, prompt = regime.concepts, regime.prompt
    plus = Fraction(prompt.p_plus)
    weights = (
        [Fraction(1, concepts.K1)] * concepts.K1 if concepts.weights is None else list(map(Fraction, concepts.weights))
    )
    given_sign = np.empty((2, prompt.L + 1), dtype=object)
    for (row, sign), n_plus in product(enumerate((1, -1)), range(prompt.L + 1)):
        of_sign = plus if sign == 1 else 1 - plus
        given_sign[row, n_plus] = of_sign * exact_count_probability(prompt.L, prompt.law, sign, n_plus, plus)
    return np.array(weights, dtype=object)[:, None, None] * given_sign


def step_size_in(
    arithmetic: Arithmetic, regime: Regime, t: int
) -> Shaped[np.ndarray, "#member #concept #sign #count #neuron"]:
    """eta_t of the update from step t to step t + 1 (section 1), from the regime's doubles as exact rationals."""
    training = regime.training
    if training.schedule == "constant":
        return _single(arithmetic, training.eta)
    return _single(arithmetic, 2 / (Fraction(training.lam) * (Fraction(training.gamma) + t)))


def evaluate_in(lowered: Lowered, state: Objects, numbers: Mapping[str, np.ndarray]) -> Objects:
    """A lowered function at arrays of other numbers, all prompts at once."""
    arguments = {**numbers, **state}
    values = lowered.function(*(arguments[name] for name in lowered.names))
    return dict(zip(lowered.outputs, values, strict=True))


def step_in(state: Objects, numbers: Mapping[str, np.ndarray], eta: np.ndarray, compiled: NumpySystem) -> Objects:
    """One update, as `integrate.step` makes it; UndecidedSign if a gate is not decided."""
    gradient = evaluate_in(compiled.gradient, state, numbers)
    named = {f"{GRADIENT}{name}": array for name, array in gradient.items()}
    updated = evaluate_in(compiled.update, state, {**numbers, "eta": eta, **named})
    return state | {name: np.broadcast_to(value, state[name].shape) for name, value in updated.items()}
