"""LaTeX and text of SymPy expressions of the theory, in the order in which a person writes them, and broken into lines.

Only the order of terms and factors is chosen here; what is printed is the expression. Products go from scalars to sums,
so that a sum reaches to the end of its product; sums go from short to long terms: 1 - eta lambda.
"""

import re
from collections.abc import Callable, Sequence

import sympy as sp
from sympy.printing.latex import LatexPrinter
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.str import StrPrinter

from polyseme.theory.calculus.functions import SignSum

_LABEL = re.compile(r"(?P<head>[A-Za-z]+)(?:_(?P<sub>\w+))?(?:\^(?P<sup>\{.*\}))?")
_WORDS = {"query": r"\mathrm{query}"}


def _scalar_first(factor: sp.Expr) -> tuple[int, str]:
    """Where a factor stands in its product: step size, other symbols by name, probabilities, arrays, functions, sums."""
    base = factor.base if isinstance(factor, sp.Pow) else factor
    if isinstance(base, sp.Symbol):
        return (0, "") if base.name == "eta" else (1, base.name)
    if isinstance(base, sp.Indexed):
        return (2 if str(base.base.label) in ("p", "e", "r") else 3), ""
    if base.is_Add and not base.has(sp.Indexed):  # 1 - eta lambda
        return 1, "~"
    return (5 if _is_open(base) else 4), ""


def _factors(product: sp.Expr) -> tuple[sp.Expr, list[sp.Expr]]:
    """The number in front, and the other factors in the order in which they are printed."""
    number, rest = product.as_coeff_Mul()
    return number, sorted(sp.Mul.make_args(rest), key=_scalar_first)


def terms(total: sp.Add) -> list[sp.Expr]:
    """The terms of a sum in the order in which they are printed: sums last, and what is short first."""

    def place(term: sp.Expr) -> tuple[bool, bool, int]:
        return term.has(sp.Sum, SignSum), bool(term.as_coeff_Mul()[0] < 0), int(term.count_ops())

    return sorted(total.args, key=place)


def _is_open(factor: sp.Expr) -> bool:
    """Whether what is written to its right would be read as a part of it."""
    return isinstance(factor, (sp.Sum, SignSum))


class _Latex(LatexPrinter):
    def _print_Indexed(self, expr: sp.Indexed) -> str:
        """Coefficients as W_{Q,k}^{ba}."""
        found = _LABEL.fullmatch(str(expr.base.label))
        assert found is not None, f"a base named {expr.base.label}"
        head, below, above = found["head"], found["sub"], found["sup"]
        indices = ",".join(self._print(index) for index in expr.indices)
        if below in _WORDS:
            above, below = f"{{{_WORDS[below]}}}", None
        # One letter, a Greek one or ebar; a longer name is a word.
        stem = rf"\mathrm{{{head}}}" if head == "match" else self._print(sp.Symbol(head))
        below = below and self._print(sp.Symbol(below))
        return f"{stem}_{{{f'{below},' if below else ''}{indices}}}" + (f"^{above}" if above else "")

    def _print_Symbol(self, expr: sp.Symbol, style: str = "plain") -> str:
        return super()._print_Symbol(expr, style).replace("{perp}", r"{\perp}")

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
        number, factors = _factors(expr)  # SymPy prints 1/x as a product of one
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
    def _print_Mul(self, expr: sp.Expr) -> str:
        number, factors = _factors(expr)
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


def latex(expression: sp.Basic) -> str:
    """LaTeX of an expression of the theory."""
    return _Latex({"order": "none"}).doprint(expression)


def text(expression: sp.Basic) -> str:
    """One line of text of an expression of the theory."""
    return _Text({"order": "none"}).doprint(expression)


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


def lines(expression: sp.Expr, room: float) -> list[str]:
    """LaTeX in lines of about `room` letters, broken before the signs of a sum, or of a sum in brackets."""
    whole = latex(expression)
    if width(whole) <= room:
        return [whole]
    if isinstance(expression, sp.Add):
        return _packed([latex(term) for term in terms(expression)], room)
    if isinstance(expression, sp.Mul):
        number, factors = _factors(expression)
        longest = max(factors, key=lambda factor: width(latex(factor)))
        if isinstance(longest, sp.Add):
            printer = _Latex({"order": "none"})
            front = signed(number, [printer.factor(x, last=False) for x in factors if x is not longest], latex, " ")
            first, *rest = _packed([latex(term) for term in terms(longest)], room - width(front))
            broken = [rf"{front} \Bigl( {first}", *(rf"\quad {line}" for line in rest)]
            return [*broken[:-1], rf"{broken[-1]} \Bigr)"]
    return [whole]


def _packed(pieces: Sequence[str], room: float) -> list[str]:
    packed = [pieces[0]]
    for piece in pieces[1:]:
        longer = joined([packed[-1], piece])
        if width(longer) <= room:
            packed[-1] = longer
        else:
            packed.append(joined(["{}", piece]))
    return packed
