"""The functions of the model, as SymPy sees them: loss, ReLU, gate, half log-odds (THEORY.md sections 1 and 3).

Each carries its derivative, its definition in elementary functions (`rewrite`), and its LaTeX. They exist
because SymPy's own `Max`, `Heaviside` and `log(1 + exp(-z))` either leave 0 undecided or overflow when they
are evaluated; `lower.py` gives each of them a numerically stable NumPy form.
"""

from typing import Any

import sympy as sp
from sympy.printing.precedence import PRECEDENCE


class Gate(sp.Function):
    """1[h > 0]: the derivative of the ReLU, with the convention of section 3 that the gate is shut at 0."""

    @classmethod
    def eval(cls, h: sp.Expr) -> sp.Expr | None:
        """Decide the gate of a number exactly; leave a symbol alone."""
        if h.is_positive:
            return sp.S.One
        if h.is_nonpositive:
            return sp.S.Zero
        return None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Zero: the gate is constant wherever it is differentiable, and SGD never sees its jump."""
        del argindex
        return sp.S.Zero

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body = rf"\mathbf{{1}}\left[{printer._print(self.args[0])} > 0\right]"
        return body if exp is None else rf"{body}^{{{exp}}}"


class ReLU(sp.Function):
    """relu(h) = h 1[h > 0], the activation of the MLP (section 1)."""

    @classmethod
    def eval(cls, h: sp.Expr) -> sp.Expr | None:
        """Decide the ReLU of a number exactly; leave a symbol alone."""
        gate = Gate(h)
        return None if isinstance(gate, Gate) else h * gate

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """The gate."""
        del argindex
        return Gate(self.args[0])

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body = rf"\operatorname{{relu}}\left({printer._print(self.args[0])}\right)"
        return body if exp is None else rf"{body}^{{{exp}}}"


class Sigmoid(sp.Function):
    """1 / (1 + exp(-z)); minus its value at -z is the slope of the logistic loss."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """s (1 - s)."""
        del argindex
        return self * (1 - self)

    def _eval_rewrite_as_exp(self, z: sp.Expr, **hints: Any) -> sp.Expr:
        del hints
        return 1 / (1 + sp.exp(-z))

    def _eval_evalf(self, prec: int) -> sp.Expr:
        return self.rewrite(sp.exp)._eval_evalf(prec)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body = rf"\varsigma\left({printer._print(self.args[0])}\right)"
        return body if exp is None else rf"{body}^{{{exp}}}"


class Logistic(sp.Function):
    """The loss l(z) = log(1 + exp(-z)) of the margin z = e f (section 1)."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """l'(z) = -sigmoid(-z)."""
        del argindex
        return -Sigmoid(-self.args[0])

    def _eval_rewrite_as_exp(self, z: sp.Expr, **hints: Any) -> sp.Expr:
        del hints
        return sp.log(1 + sp.exp(-z))

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body = rf"\ell\left({printer._print(self.args[0])}\right)"
        return body if exp is None else rf"{body}^{{{exp}}}"


class HalfLogOdds(sp.Function):
    """(1/2) log(n+ / (L - n+)), the pull of the counts on the softmax; -oo at n+ = 0 and +oo at n+ = L (section 3)."""

    def _eval_rewrite_as_log(self, plus: sp.Expr, total: sp.Expr, **hints: Any) -> sp.Expr:
        del hints
        return (sp.log(plus) - sp.log(total - plus)) / 2

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        plus, total = (printer._print(arg) for arg in self.args)
        body = rf"\tfrac{{1}}{{2}}\log\frac{{{plus}}}{{{total} - {plus}}}"
        return body if exp is None else rf"\left({body}\right)^{{{exp}}}"


class SignSum(sp.Expr):
    """The sum of `body` over e in {+1, -1}, unevaluated: the two labels of a query.

    `SignSum(body, e)`; `doit()` writes both terms out. Differentiation passes inside.
    """

    def __new__(cls, body: sp.Expr, sign: sp.Symbol) -> "SignSum":
        """Keep the sum as it is, but for e^2 = 1, which is what e in {+1, -1} means."""
        return sp.Expr.__new__(cls, sp.sympify(body).xreplace({sign**2: sp.S.One}), sign)

    @property
    def free_symbols(self) -> set[sp.Basic]:
        """All but the sign that is summed over."""
        body, sign = self.args
        return body.free_symbols - {sign}

    def doit(self, **hints: Any) -> sp.Expr:
        """Both terms, written out."""
        body, sign = self.args
        terms = (body.xreplace({sign: sp.Integer(value)}) for value in (1, -1))
        return sp.Add(*(term.doit(**hints) for term in terms))

    def _eval_derivative(self, wrt: sp.Expr) -> sp.Expr:
        body, sign = self.args
        return SignSum(body.diff(wrt), sign)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body, sign = self.args
        inner = printer.parenthesize(body, PRECEDENCE["Mul"], strict=True)
        total = rf"\sum_{{{printer._print(sign)} = \pm 1}} {inner}"
        return total if exp is None else rf"\left({total}\right)^{{{exp}}}"

    def _sympystr(self, printer: Any) -> str:
        body, sign = self.args
        return f"SignSum({printer._print(body)}, {printer._print(sign)} = +-1)"
