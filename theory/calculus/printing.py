"""LaTeX and text of SymPy expressions of a theory, in the order in which a person writes them, and broken into lines.

A theory gives in a `Printer` which of its letters stand first and which names are words. Only the order of terms and
factors is chosen here; what is printed is the expression. Products go from scalars to sums, so that a sum reaches to the end
of its product; sums go from short to long terms: 1 - eta lambda.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sympy as sp
from sympy.printing.latex import LatexPrinter
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.str import StrPrinter

from polyseme.theory.calculus.functions import SignSum

_LABEL = re.compile(r"(?P<head>[A-Za-z]+)(?:_(?P<sub>\w+))?(?:\^(?P<sup>\{.*\}))?")


@dataclass(frozen=True, kw_only=True)
class Printer:
    """Prints the expressions of a theory, by the names of its symbols and arrays."""

    first: tuple[str, ...] = ()
    """Symbols that stand first in a product, such as a step size."""
    early: tuple[str, ...] = ()
    """Arrays that stand before other arrays in a product, such as probabilities."""
    words: tuple[str, ...] = ()
    """Names of arrays, and words after the underscore of a symbol, that are set upright."""
    superscripts: tuple[str, ...] = ()
    """Words after the underscore of a name that are set upright above it, as in x_query."""

    def latex(self, expression: sp.Basic) -> str:
        """LaTeX of an expression."""
        return _Latex(self).doprint(expression)

    def text(self, expression: sp.Basic) -> str:
        """One line of text of an expression."""
        return _Text(self).doprint(expression)

    def lines(self, expression: sp.Expr, room: float) -> list[str]:
        """LaTeX in lines of about `room` letters, broken before the signs of a sum, or of a sum in brackets."""
        whole = self.latex(expression)
        if width(whole) <= room:
            return [whole]
        if isinstance(expression, sp.Add):
            return _packed([self.latex(term) for term in terms(expression)], room)
        if isinstance(expression, sp.Mul):
            number, factors = self.factors(expression)
            longest = max(factors, key=lambda factor: width(self.latex(factor)))
            if isinstance(longest, sp.Add):
                printer = _Latex(self)
                others = [printer.factor(x, last=False) for x in factors if x is not longest]
                front = signed(number, others, self.latex, " ")
                pieces = [self.latex(term) for term in terms(longest)]
                first, *rest = _packed(pieces, room - width(front))
                broken = [rf"{front} \Bigl( {first}", *(rf"\quad {line}" for line in rest)]
                return [*broken[:-1], rf"{broken[-1]} \Bigr)"]
        return [whole]

    def factors(self, product: sp.Expr) -> tuple[sp.Expr, list[sp.Expr]]:
        """The number in front of a product, and its other factors in the order in which they are printed."""
        number, rest = product.as_coeff_Mul()
        return number, sorted(sp.Mul.make_args(rest), key=self._place)

    def _place(self, factor: sp.Expr) -> tuple[int, str]:
        """Where a factor stands: first symbols, other symbols by name, early arrays, arrays, functions, sums."""
        base = factor.base if isinstance(factor, sp.Pow) else factor
        if isinstance(base, sp.Symbol):
            return (0, "") if base.name in self.first else (1, base.name)
        if isinstance(base, sp.Indexed):
            return (2 if str(base.base.label) in self.early else 3), ""
        if base.is_Add and not base.has(sp.Indexed):  # 1 - eta lambda
            return 1, "~"
        return (5 if _is_open(base) else 4), ""


def terms(total: sp.Add) -> list[sp.Expr]:
    """The terms of a sum in the order in which they are printed: sums last, and what is short first."""

    def place(term: sp.Expr) -> tuple[bool, bool, int]:
        return term.has(sp.Sum, SignSum), bool(term.as_coeff_Mul()[0] < 0), int(term.count_ops())

    return sorted(total.args, key=place)


def _is_open(factor: sp.Expr) -> bool:
    """Whether what is written to its right would be read as a part of it."""
    return isinstance(factor, (sp.Sum, SignSum))


class _Latex(LatexPrinter):
    def __init__(self, notation: Printer) -> None:
        super().__init__({"order": "none"})
        self._notation = notation

    def _print_Indexed(self, expr: sp.Indexed) -> str:
        """Coefficients as W_{Q,k}^{ba}."""
        found = _LABEL.fullmatch(str(expr.base.label))
        assert found is not None, f"a base named {expr.base.label}"
        head, below, above = found["head"], found["sub"], found["sup"]
        indices = ",".join(self._print(index) for index in expr.indices)
        if below in self._notation.superscripts:
            above, below = rf"{{\mathrm{{{below}}}}}", None
        # One letter, a Greek one or ebar; a longer name is a word.
        stem = rf"\mathrm{{{head}}}" if head in self._notation.words else self._print(sp.Symbol(head))
        below = below and self._print(sp.Symbol(below))
        return f"{stem}_{{{f'{below},' if below else ''}{indices}}}" + (f"^{above}" if above else "")

    def _print_Symbol(self, expr: sp.Symbol, style: str = "plain") -> str:
        printed = super()._print_Symbol(expr, style).replace("{perp}", r"{\perp}")
        for word in self._notation.words:
            printed = printed.replace(f"{{{word}}}", rf"{{\mathrm{{{word}}}}}")
        return printed

    def _print_Pow(self, expr: sp.Pow) -> str:
        base = self._print(expr.base)
        if isinstance(expr.base, sp.Indexed) and base.endswith("}") and "^" in base:
            return rf"\left({base}\right)^{{{self._print(expr.exp)}}}"
        return super()._print_Pow(expr)

    def _print_ExpBase(self, expr: sp.Expr, exp: str | None = None) -> str:
        """Not e^x: e is a sign."""
        body = rf"\exp\left({self._print(expr.args[0])}\right)"
        return body if exp is None else rf"{body}^{{{exp}}}"

    _print_exp = _print_ExpBase

    def _print_Mul(self, expr: sp.Expr) -> str:
        number, factors = self._notation.factors(expr)  # SymPy prints 1/x as a product of one
        if any(factor.is_Pow and factor.exp.could_extract_minus_sign() for factor in factors):
            return super()._print_Mul(expr)
        return signed(number, [self.factor(factor, last=factor is factors[-1]) for factor in factors], self._print, " ")

    def factor(self, factor: sp.Expr, *, last: bool) -> str:
        """A factor of a product, in brackets where its end could not be seen."""
        body = self._print(factor)
        return rf"\left({body}\right)" if factor.is_Add or (_is_open(factor) and not last) else body

    def _print_Add(self, expr: sp.Add, order: str | None = None) -> str:
        del order
        return joined([self._print(term) for term in terms(expr)])


class _Text(StrPrinter):
    def __init__(self, notation: Printer) -> None:
        super().__init__({"order": "none"})
        self._notation = notation

    def _print_Mul(self, expr: sp.Expr) -> str:
        number, factors = self._notation.factors(expr)
        if number.is_Rational and not number.is_Integer:
            return super()._print_Mul(expr)
        shown = [self.parenthesize(factor, PRECEDENCE["Mul"]) for factor in factors]
        return signed(number, shown, self._print, "*")

    def _print_Add(self, expr: sp.Add, order: str | None = None) -> str:
        del order
        return joined([self._print(term) for term in terms(expr)])


def signed(number: sp.Expr, factors: Sequence[str], printed: Callable[[sp.Expr], str], times: str) -> str:
    """A product; a number 1 is left out."""
    size = abs(number)
    return ("- " if times == " " else "-") * bool(number < 0) + times.join(
        [*([printed(size)] if size != 1 else []), *factors]
    )


def joined(pieces: Sequence[str]) -> str:
    """A sum of printed terms, whose signs they bring."""
    first, *rest = pieces
    return first + "".join(f" - {x[1:].lstrip()}" if x.startswith("-") else f" + {x}" for x in rest)


# -- lines -----------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"\\[A-Za-z]+|[_^{}]|[^\s\\]")
_SILENT = {r"\left", r"\right", r"\Bigl", r"\Bigr", r"\mathrm", r"\mathbf", r"\operatorname", r"\bar"}
_WIDE = {r"\sum": 1.6, r"\tanh": 2.4, r"\log": 1.8, r"\exp": 2.2, "+": 1.9, "-": 1.9, "=": 1.9, ">": 1.9}


def width(printed: str) -> float:
    """How wide a printed formula is, in letters, roughly: indices count for less, and limits of sums for half of that."""
    total, scale, depth = 0.0, [1.0], 0
    for token in _TOKEN.findall(printed):
        if token in "_^":
            depth = 1
        elif token == "{":
            scale.append(scale[-1] * (0.62 if depth else 1.0))
            depth = 0
        elif token == "}":
            scale.pop()
        elif token not in _SILENT:
            total += _WIDE.get(token, 1.0) * scale[-1] * (0.62 if depth else 1.0)
            depth = 0
    return total


def _packed(pieces: Sequence[str], room: float) -> list[str]:
    packed = [pieces[0]]
    for piece in pieces[1:]:
        longer = joined([packed[-1], piece])
        if width(longer) <= room:
            packed[-1] = longer
        else:
            packed.append(joined(["{}", piece]))
    return packed
