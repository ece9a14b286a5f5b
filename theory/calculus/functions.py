"""Functions of models as SymPy functions: losses, activations, gate, half log-odds (docs/THEORY.md sections 1 and 3).

Each carries its derivative, its definition in elementary functions (`rewrite`), and its LaTeX. They exist
because SymPy's own `Max`, `Heaviside` and `log(1 + exp(-z))` either leave 0 undecided or overflow when they
are evaluated; `elementwise.py` gives each of them a numerically stable NumPy form.

`LOSSES` and `ACTIVATIONS` name what the derivation may be given in place of l and relu; a new one is one line here.
"""

from collections.abc import Callable
from typing import Any

import sympy as sp
from sympy.printing.precedence import PRECEDENCE

from polyseme.regime import LEAK


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
        """Zero: the gate is constant wherever it is differentiable, and SGD meets its jump with probability zero."""
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


def squared(z: sp.Expr) -> sp.Expr:
    """The squared loss l(z) = (1 - z)^2 / 2 of the margin z = e f, which is (e - f)^2 / 2."""
    return (1 - z) ** 2 / 2


class LeakyReLU(sp.Function):
    """h above zero, LEAK h below: a line plus a ReLU (`rewrite(ReLU)`), so that every rule about the ReLU holds for it."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """LEAK + (1 - LEAK) 1[h > 0]."""
        del argindex
        leak = sp.Rational(LEAK)
        return leak + (1 - leak) * Gate(self.args[0])

    def _eval_rewrite_as_ReLU(self, h: sp.Expr, **hints: Any) -> sp.Expr:
        del hints
        leak = sp.Rational(LEAK)
        return leak * h + (1 - leak) * ReLU(h)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body = rf"\operatorname{{leaky}}\left({printer._print(self.args[0])}\right)"
        return body if exp is None else rf"{body}^{{{exp}}}"


LOSSES: dict[str, Callable[[sp.Expr], sp.Expr]] = {
    "logistic": Logistic,
    "squared": squared,
    "exponential": lambda z: sp.exp(-z),
}
"""Losses of the margin z = e f, by the names of the regime file."""

ACTIVATIONS: dict[str, Callable[[sp.Expr], sp.Expr]] = {"relu": ReLU, "leaky_relu": LeakyReLU, "identity": lambda h: h}
"""Activations of the MLP, by the names of the regime file."""


class SmoothReLU(sp.Function):
    """The n-th derivative in mu of E relu(mu + sqrt(V) Z), Z a standard normal number: `SmoothReLU(n, mu, V)`.

    n = 0: mu Phi(mu/tau) + tau phi(mu/tau) with tau = sqrt(V); n = 1: the gate Phi(mu/tau); n = 2: the density
    phi(mu/tau)/tau; and so on. At V = 0 it is the ReLU, its gate (shut at 0), and zero. The heat equation gives the
    derivative in V: half of the derivative of order n + 2. It holds Stein's term: V grows with the norm of a neuron.
    """

    def fdiff(self, argindex: int = 2) -> sp.Expr:
        """The next order in mu; half of the one after it in V."""
        order, mu, variance = self.args
        if argindex == 2:
            return SmoothReLU(order + 1, mu, variance)
        return SmoothReLU(order + 2, mu, variance) / 2

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        order, mu, variance = self.args
        name = {0: "R", 1: r"\Phi", 2: r"\varphi", 3: r"\varphi'"}[int(order)]
        body = rf"{name}\left({printer._print(mu)};\, {printer._print(variance)}\right)"
        return body if exp is None else rf"\left({body}\right)^{{{exp}}}"


def _smooth_leaky(order: int, mu: sp.Expr, variance: sp.Expr) -> sp.Expr:
    leak = sp.Rational(LEAK)
    line = {0: mu, 1: sp.S.One}.get(order, sp.S.Zero)
    return leak * line + (1 - leak) * SmoothReLU(order, mu, variance)


SMOOTHED: dict[str, Callable[[int, sp.Expr, sp.Expr], sp.Expr]] = {
    "relu": SmoothReLU,
    "leaky_relu": _smooth_leaky,
    "identity": lambda order, mu, _variance: {0: mu, 1: sp.S.One}.get(order, sp.S.Zero),
}
"""Derivatives of the mean of an activation at a Gaussian number of mean mu and variance V, by the names of the regime file."""


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

    is_commutative = True  # or equal factors would not be gathered

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


class LogTotal(sp.Expr):
    """log sum_j n_j exp(z_j), the logarithm of the denominator of a softmax over kinds that occur n_j times, unevaluated.

    `LogTotal(n, z, j, J)`. Its derivative is the mean of that of z under attention, sum_j n_j exp(z_j - self) dz_j.
    """

    is_commutative = True  # or equal factors would not be gathered

    def __new__(cls, count: sp.Expr, logit: sp.Expr, index: sp.Symbol, total: sp.Expr) -> "LogTotal":
        """Keep it as it is."""
        return sp.Expr.__new__(cls, sp.sympify(count), sp.sympify(logit), index, total)

    @property
    def free_symbols(self) -> set[sp.Basic]:
        """All but the index of the kinds."""
        count, logit, index, total = self.args
        return (count.free_symbols | logit.free_symbols | total.free_symbols) - {index}

    def _eval_derivative(self, wrt: sp.Expr) -> sp.Expr:
        count, logit, index, total = self.args
        return sp.Sum(count * sp.exp(logit - self) * logit.diff(wrt), (index, 1, total))

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        count, logit, index, total = (printer._print(arg) for arg in self.args)
        body = rf"\log \sum_{{{index}=1}}^{{{total}}} {count} e^{{{logit}}}"
        return body if exp is None else rf"\left({body}\right)^{{{exp}}}"

    def _sympystr(self, printer: Any) -> str:
        count, logit, index, _ = self.args
        return f"log(Sum_{printer._print(index)} {printer._print(count)} exp({printer._print(logit)}))"


class AttentionMean(sp.Expr):
    """The mean of `value` over demonstrations l = 1, ..., L with softmax weights of `logit`, unevaluated: <value>_l.

    `AttentionMean(value, logit, l, L)`. Its derivative is that of the value plus the covariance with the derivative of
    the logits, which is the softmax variance of section 3. A value that does not depend on l is its own mean.
    """

    is_commutative = True  # or equal factors would not be gathered

    def __new__(cls, value: sp.Expr, logit: sp.Expr, index: sp.Symbol, total: sp.Expr) -> sp.Expr:
        """Keep the mean as it is, but for a value that is the same for all demonstrations."""
        value = sp.sympify(value)
        if index not in value.free_symbols:
            return value
        return sp.Expr.__new__(cls, value, sp.sympify(logit), index, total)

    @property
    def free_symbols(self) -> set[sp.Basic]:
        """All but the index of the demonstrations."""
        value, logit, index, total = self.args
        return (value.free_symbols | logit.free_symbols | total.free_symbols) - {index}

    def doit(self, **hints: Any) -> sp.Expr:
        """The weights written out, for a number of demonstrations."""
        value, logit, index, total = (part.doit(**hints) for part in self.args)
        at = [{index: sp.Integer(j)} for j in range(1, int(total) + 1)]
        weights = [sp.exp(logit.subs(where)) for where in at]
        return sp.Add(*(w * value.subs(where) for w, where in zip(weights, at, strict=True))) / sp.Add(*weights)

    def _eval_derivative(self, wrt: sp.Expr) -> sp.Expr:
        value, logit, index, total = self.args
        own, pull = value.diff(wrt), logit.diff(wrt)

        def mean(body: sp.Expr) -> sp.Expr:
            return AttentionMean(body, logit, index, total)

        return mean(own) + mean(value * pull) - mean(value) * mean(pull)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        value, _, index, _ = self.args
        body = rf"\left\langle {printer._print(value)} \right\rangle_{{{printer._print(index)}}}"
        return body if exp is None else rf"{body}^{{{exp}}}"

    def _sympystr(self, printer: Any) -> str:
        value, _, index, _ = self.args
        return f"<{printer._print(value)}>_{printer._print(index)}"
