"""The one boundary from symbols to arrays: a derived recursion as vectorised NumPy.

Index letters become array axes, in the fixed order

    (ensemble member, concept k, query sign e, count n+, neuron i),

and a sum over a letter becomes a contraction of its axis. A bound letter and a free letter of one name share
their axis, so pre-activations and gates are computed once and used in the risk and in every gradient. The
cost of one evaluation is a few passes over K1 * 2 (L + 1) * m numbers; `integrate.py` calls it in blocks.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any, Protocol, runtime_checkable

import numpy as np
import sympy as sp
from jaxtyping import Float
from sympy.printing.numpy import NumPyPrinter
from sympy.printing.precedence import PRECEDENCE

from polyseme.theory.calculus.elementwise import ELEMENTWISE
from polyseme.theory.calculus.functions import SignSum
from polyseme.theory.multi_concept.derivation.derive import Level, Recursion, derive
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.regime import Regime

Array = Float[np.ndarray, "#member #concept #sign #count #neuron"]


def _identifier(symbol: sp.Basic) -> str:
    """A Python name: W_Q^{ba} becomes W_Q_ba, n_+ becomes n_plus."""
    name = str(symbol).replace("^{", "_").replace("}", "").replace("+", "plus")
    return {"lambda": "lam", "K_1": "K1"}.get(name, name)


def _name(symbol: sp.Basic) -> sp.Symbol:
    return sp.Symbol(_identifier(symbol))


K_AXIS, E_AXIS, N_AXIS, I_AXIS = (_name(letter) for letter in (fw.k, fw.e, fw.n_plus, fw.i))
AXES = {K_AXIS: 1, E_AXIS: 2, N_AXIS: 3, I_AXIS: 4}
GRADIENT = "gradient_"  # before a coefficient's name: the array of its gradient, summed over prompts

Axes = dict[sp.Symbol, frozenset[sp.Symbol]]


def _axes_of_arrays(expressions: Iterable[sp.Expr]) -> Axes:
    """Along which letters each array varies: those of its indices, as it is written in the expressions."""
    axes: Axes = {letter: frozenset({letter}) for letter in (E_AXIS, N_AXIS)}
    for indexed in set[sp.Indexed]().union(*(expression.atoms(sp.Indexed) for expression in expressions)):
        letters = frozenset(_name(index) for index in indexed.indices)
        if axes.setdefault(_name(indexed.base.label), letters) != letters:
            raise ValueError(f"{indexed.base.label} is indexed by different letters: it cannot be one array")
    return axes


# How many values a letter takes: a sum over a letter that its body does not contain is a product.
SIZES = {K_AXIS: _name(fw.K1), E_AXIS: sp.Integer(2), N_AXIS: _name(fw.L) + 1, I_AXIS: _name(fw.m)}


class Contraction(sp.Function):
    """Contraction(full, weight, letter, ...): the sum of full * weight over the axes of the letters.

    `full` gathers the factors that vary over prompts and neurons at once, so that the sum is a matrix product.
    """


def axes_of(expression: sp.Basic, table: Mapping[sp.Symbol, frozenset[sp.Symbol]]) -> frozenset[sp.Symbol]:
    """The letters along whose axes an array expression varies, given those of its names."""
    if isinstance(expression, sp.Symbol):
        return table.get(expression, frozenset())
    letters = frozenset[sp.Symbol]().union(*(axes_of(argument, table) for argument in expression.args))
    return letters - frozenset(expression.args[2:]) if isinstance(expression, Contraction) else letters


def _as_array_expression(expression: sp.Expr, axes: Axes) -> sp.Expr:
    """Replace indexed coefficients by array names, and sums by contractions."""
    if isinstance(expression, sp.Indexed):
        return _name(expression.base.label)
    if isinstance(expression, sp.Sum):
        body, *limits = expression.args
        body = _as_array_expression(body, axes)
        for letter, *ends in limits:
            if tuple(ends) != fw.RANGES[letter]:
                raise ValueError(
                    f"a sum over {letter} from {ends[0]} to {ends[1]} cannot be lowered: an axis is summed whole"
                )
            body = _contraction(body, _name(letter), axes)
        return body
    if isinstance(expression, SignSum):
        body, sign = expression.args
        return _contraction(_as_array_expression(body, axes), _name(sign), axes)
    if isinstance(expression, sp.Symbol):
        return _name(expression)
    if not expression.args:
        return expression
    return expression.func(*(_as_array_expression(argument, axes) for argument in expression.args))


def _contraction(body: sp.Expr, letter: sp.Symbol, table: Axes) -> sp.Expr:
    """sum_letter body; nested sums over prompts become one: sum_e e sum_n x = sum_{e, n} e x."""
    letters = {letter}
    factors = list(sp.Mul.make_args(body))
    inner = [x for x in factors if isinstance(x, Contraction) and I_AXIS not in x.args]
    if letter != I_AXIS and len(inner) == 1:
        factors.remove(inner[0])
        full, weight, *bound = inner[0].args
        factors += [*sp.Mul.make_args(full), *sp.Mul.make_args(weight)]
        letters |= set(bound)
    axes = {x: axes_of(x, table) for x in factors}
    missing = letters.difference(*axes.values())
    factors += [SIZES[x] for x in missing]
    both = [x for x in factors if I_AXIS in axes.get(x, ()) and axes[x] & {E_AXIS, N_AXIS}]
    rest = [x for x in factors if x not in both]
    bound = sorted(letters - missing, key=AXES.__getitem__)
    return Contraction(sp.Mul(*both), sp.Mul(*rest), *bound) if bound else sp.Mul(*factors)


class _ArrayPrinter(NumPyPrinter):
    """Prints products smallest axes first, and contractions as matrix products."""

    def __init__(self, axes: Axes) -> None:
        """Starts from the axes of the arrays; those of common subexpressions are added as they are named."""
        super().__init__({"fully_qualified_modules": False, "allow_unknown_functions": True})
        self.axes = dict(axes)

    def name_subexpressions(self, expressions: Iterable[sp.Expr]) -> Any:
        """SymPy's cse, keeping along which axes each named subexpression varies."""
        named, reduced = sp.cse(list(expressions))
        for symbol, expression in named:
            self.axes[symbol] = axes_of(expression, self.axes)
        return named, reduced

    def _grouped(self, factors: Iterable[sp.Expr]) -> list[str]:
        """Factors gathered by their axes, smallest first: few passes over full-size arrays."""
        groups: dict[frozenset[sp.Symbol], list[sp.Expr]] = {}
        for factor in factors:
            groups.setdefault(axes_of(factor, self.axes), []).append(factor)
        ordered = sorted(groups.items(), key=lambda item: (len(item[0]), str(sorted(map(str, item[0])))))
        printed = (
            ["*".join(self.parenthesize(x, PRECEDENCE["Mul"]) for x in group), len(group)] for _, group in ordered
        )
        return [f"({text})" if size > 1 else text for text, size in printed]

    def _print_Mul(self, expr: sp.Mul) -> str:
        if len({axes_of(factor, self.axes) for factor in expr.args}) < 2:
            return super()._print_Mul(expr)
        sign = "-" if expr.args[0] == -1 else ""
        return sign + "*".join(self._grouped(x for x in expr.args if x != -1))

    def _print_Contraction(self, expr: sp.Expr) -> str:
        full, weight, *bound = expr.args
        over = "".join(str(AXES[letter]) for letter in bound)
        if full == 1 or over not in ("4", "23"):
            return f"total{over}({self._print(full * weight)})"
        return f"contract{over}({self._print(full)}, {self._print(weight)})"


def _contract_neurons(full: Array, weight: Array | float | int) -> Array:
    """sum_i full[.., e, n+, i] weight[.., i] as a matrix-vector product."""
    weight = np.reshape(weight, np.shape(weight) or (1,) * 5)
    column = np.broadcast_to(weight, (*weight.shape[:2], 1, 1, full.shape[-1]))
    return np.matmul(full, np.swapaxes(column, -1, -2))


def _contract_prompts(full: Array, weight: Array | float | int) -> Array:
    """sum_{e, n+} full[.., e, n+, i] weight[.., e, n+] as a vector-matrix product."""
    weight = np.reshape(weight, np.shape(weight) or (1,) * 5)
    prompts = np.broadcast_shapes(full.shape[2:4], weight.shape[2:4])
    full = np.broadcast_to(full, (*full.shape[:2], *prompts, full.shape[-1]))
    row = np.broadcast_to(weight, (*weight.shape[:2], *prompts, 1)).reshape(*weight.shape[:2], 1, -1)
    flat = np.matmul(row, full.reshape(*full.shape[:2], -1, full.shape[-1]))
    return flat[:, :, :, None, :]


def _total(axes: tuple[int, ...]) -> Callable[[Array], Array]:
    """The sum over some of the five axes, which stay with size 1."""
    return lambda x: np.sum(x, axis=axes, keepdims=True)


Runtime = Mapping[str, Callable[..., Any]]

FLOAT64: Runtime = {
    **ELEMENTWISE,
    "contract4": _contract_neurons,
    "contract23": _contract_prompts,
    **{
        f"total{''.join(axes)}": _total(tuple(map(int, axes)))
        for size in (1, 2, 3, 4)
        for axes in combinations("1234", size)
    },
}


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """A compiled set of expressions. `names` are the array arguments, `outputs` the names of the results."""

    names: tuple[str, ...]
    outputs: tuple[str, ...]
    function: Callable[..., list[Array]]
    whole: bool = False  # whether all counts of a concept have to be given at once

    @property
    def source(self) -> str:
        """The generated Python source."""
        return inspect.getsource(self.function)

    def __call__(self, arrays: Mapping[str, Array | float]) -> dict[str, Array | float | int]:
        """Evaluate at arrays laid out along the five axes; missing names are an error of the caller."""
        values = self.function(*(arrays[name] for name in self.names))
        return dict(zip(self.outputs, values, strict=True))


@runtime_checkable
class ArrayFunction(Protocol):
    """Named expressions, evaluated at arrays along the five axes; `whole` if all counts have to be given at once."""

    @property
    def names(self) -> tuple[str, ...]:
        """What it takes."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """What it gives."""
        ...

    @property
    def whole(self) -> bool:
        """As above."""
        ...

    def __call__(self, arrays: Mapping[str, Array | float]) -> Mapping[str, Array | float | int]:
        """The results by name."""
        ...


Rewrite = Callable[[sp.Expr, Axes], sp.Expr]


def lower(expressions: Mapping[str, sp.Expr], *, runtime: Runtime = FLOAT64, rewrite: Rewrite | None = None) -> Lowered:
    """Compile named SymPy expressions over (k, e, n+, i) to one NumPy function with shared subexpressions.

    `runtime` gives the functions that the generated source calls; the same source with another runtime computes with
    other numbers, such as balls, in arrays of objects. `rewrite` is a pass over the array expressions, given their axes.
    """
    axes = _axes_of_arrays(expressions.values())
    bodies = [_as_array_expression(expression, axes) for expression in expressions.values()]
    if rewrite is not None:
        bodies = [rewrite(body, axes) for body in bodies]
    symbols = sorted(set().union(*(body.free_symbols for body in bodies)) - {K_AXIS, I_AXIS}, key=str)
    printer = _ArrayPrinter(axes)
    function = sp.lambdify(
        symbols, bodies, modules=[dict(runtime), "numpy"], printer=printer, cse=printer.name_subexpressions
    )
    return Lowered(names=tuple(map(str, symbols)), outputs=tuple(expressions), function=function)


def coefficient_name(coefficient: sp.Indexed) -> str:
    """The array name of a coefficient, such as W_Q_ba or alpha."""
    return _identifier(coefficient.base.label)


@dataclass(frozen=True, kw_only=True)
class System:
    """A recursion compiled: gradients, updates given gradients, observables and pre-activations, as array functions.

    `step`: the whole right-hand sides, where they are evaluated at once.
    """

    recursion: Recursion
    gradient: ArrayFunction
    update: ArrayFunction
    observables: ArrayFunction
    preactivation: ArrayFunction
    step: ArrayFunction | None = None


@dataclass(frozen=True, kw_only=True)
class NumpySystem(System):
    """A recursion compiled to NumPy's functions, which take other numbers too, such as balls."""

    gradient: Lowered
    update: Lowered
    observables: Lowered
    preactivation: Lowered


def compile_recursion(
    recursion: Recursion, *, runtime: Runtime = FLOAT64, rewrite: Rewrite | None = None
) -> NumpySystem:
    """Lower every part of a recursion."""

    def by_name(part: Mapping[sp.Indexed, sp.Expr]) -> dict[str, sp.Expr]:
        return {coefficient_name(x): expression for x, expression in part.items()}

    def given(x: sp.Indexed) -> sp.Indexed:
        return sp.IndexedBase(f"{GRADIENT}{coefficient_name(x)}")[x.indices]

    return NumpySystem(
        recursion=recursion,
        gradient=lower(by_name(recursion.gradient), runtime=runtime, rewrite=rewrite),
        update=lower(by_name({x: recursion.update(x, given(x)) for x in recursion.state}), runtime=runtime),
        observables=lower(recursion.observables, runtime=runtime, rewrite=rewrite),
        preactivation=lower({"h": recursion.counted.h}, runtime=runtime),
    )


def system(level: Level = "B", *, loss: str = "logistic", activation: str = "relu") -> NumpySystem:
    """The compiled recursion of a level (section 4); derived and compiled once per process."""
    return _compiled(level, loss, activation)


@cache
def _compiled(level: Level, loss: str, activation: str) -> NumpySystem:
    return compile_recursion(derive(level, loss=loss, activation=activation))


def system_of(regime: Regime, level: Level = "B") -> NumpySystem:
    """The compiled recursion of a level with the loss and the activation of a regime."""
    return system(level, loss=regime.training.loss, activation=regime.model.activation)


def stepped(
    system: System, numbers: Mapping[str, Array | float], state: Mapping[str, Array]
) -> dict[str, Float[np.ndarray, "..."]]:
    """One update of every coefficient of the state, with eta among the numbers: the printed right-hand sides."""
    given = {**numbers, **state}
    if system.step is not None:
        values = system.step(given)
    else:
        gradient = system.gradient({name: given[name] for name in system.gradient.names})
        values = system.update({**given, **{f"{GRADIENT}{name}": np.asarray(x) for name, x in gradient.items()}})
    return {name: np.asarray(values[name]) if name in values else state[name] for name in state}
