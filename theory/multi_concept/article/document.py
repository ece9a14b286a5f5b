"""A derived recursion as JSON with a schema (docs/derivation.schema.json), and the way back to SymPy objects.

Nothing of a file is executed: `from_json` builds expressions from the parse tree of their srepr, out of a closed list of
classes. Strings may only name symbols, since SymPy executes the strings that other constructors are given.
"""

import ast
import json
from collections.abc import Callable
from typing import Any, Literal

import sympy as sp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polyseme.errors import PolysemeError
from polyseme.theory.calculus import functions
from polyseme.theory.multi_concept.article.notation import fates, latex, notation, text
from polyseme.theory.multi_concept.derivation.derive import Recursion
from polyseme.theory.multi_concept.derivation.stages import commuted, definitions, equations, gradients, shorten, stages
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.model.letters import whole_range

VERSION: Literal[1] = 1
"""The version of the schema; it grows when a field changes its meaning."""

_Builder = Callable[..., sp.Basic]
_CLASSES: dict[str, _Builder] = {
    one.__name__: one
    for one in (
        *(sp.Add, sp.Mul, sp.Pow, sp.Sum, sp.Tuple, sp.Indexed, sp.IndexedBase, sp.Symbol, sp.Integer, sp.Rational),
        *(sp.exp, sp.tanh, functions.Gate, functions.ReLU, functions.LeakyReLU, functions.Sigmoid, functions.Logistic),
        *(functions.HalfLogOdds, functions.SignSum, functions.AttentionMean, functions.SmoothReLU, functions.LogTotal),
    )
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Letter(_Part):
    """An index letter and its whole range."""

    symbol: str = Field(description="the letter, as it is written in `text`")
    latex: str = Field(description="the letter in LaTeX")
    first: str = Field(description="first value")
    last: str = Field(description="last value, a number or a size of the setting")
    step: int = Field(description="from one value to the next: 2 for the sign e, which is -1 or 1, else 1")


class Coefficient(_Part):
    """A coefficient of the state at generic indices."""

    symbol: str = Field(description="the coefficient as text, such as W_Q^{ba}[k]; equations refer to it by this")
    latex: str = Field(description="the coefficient in LaTeX")
    srepr: str = Field(description="the coefficient as SymPy's srepr")
    indices: list[str] = Field(description="its index letters in order; their ranges are in `letters`")


class Block(_Part):
    """The fate of one kind of block of an attention matrix (THEORY.md section 4)."""

    matrix: Literal["W_Q", "W_K"] = Field(description="the matrix")
    row: str = Field(description="direction of the row: a, b, nu or perp")
    column: str = Field(description="direction of the column; a prime marks another concept, or another feature")
    lives: bool = Field(description="whether the block is ever other than zero")
    reason: str = Field(description="why")
    witness: float | None = Field(
        description="gradient of the block at the point that proves it lives, relative to the largest; "
        "null if no gradient reaches it"
    )


class Row(_Part):
    """An expression and its name: `symbol` stands for, or becomes in one step, what the other fields print."""

    symbol: str = Field(description="left-hand side as text")
    symbol_latex: str = Field(description="left-hand side in LaTeX")
    symbol_srepr: str = Field(description="left-hand side as SymPy's srepr")
    text: str = Field(description="right-hand side as one line of text")
    latex: str = Field(description="right-hand side in LaTeX")
    srepr: str = Field(
        description="right-hand side as SymPy's srepr, which `polyseme.theory.multi_concept.article.document.from_json` reads back"
    )
    meaning: str = Field(description="what it is, in words")


class Notation(_Part):
    """A symbol and what it means."""

    latex: str = Field(description="the symbol in LaTeX")
    meaning: str = Field(description="what it means, in words")


class Derivation(_Part):
    """A coefficient recursion, as `polyseme derive --format json` writes it."""

    schema_version: Literal[1] = Field(description="version of this schema")
    level: Literal["S", "B", "N", "Z"] = Field(description="level of reduction (THEORY.md section 4)")
    loss: str = Field(description="loss of the margin e f: logistic, squared or exponential")
    activation: str = Field(description="activation of the MLP: relu, leaky_relu or identity")
    truncated: bool = Field(description="whether only the diagonal of level Z is kept, which is not exact")
    hypotheses: list[str] = Field(description="what is assumed of prompts, neurons and start, as sentences")
    letters: list[Letter] = Field(description="the index letters of the state and of the definitions")
    state: list[Coefficient] = Field(description="the coefficients that the recursion updates")
    blocks: list[Block] = Field(description="every kind of block of W_Q and W_K, living or dead, with the reason")
    definitions: list[Row] = Field(
        description="names of the stages of the forward pass and of the gradient; each uses those before it"
    )
    risk: Row = Field(description="expected loss without the penalty, in the names of the forward pass")
    penalty: Row = Field(description="the L2 penalty of the state")
    gradients: list[Row] = Field(description="derivative of the risk in each coefficient, in the defined names")
    equations: list[Row] = Field(description="each coefficient after one step of size eta, in the defined names")
    notation: list[Notation] = Field(description="what the remaining symbols mean")


def schema() -> str:
    """The JSON schema, as docs/derivation.schema.json holds it."""
    return json.dumps(Derivation.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def _row(left: sp.Basic, right: sp.Basic, meaning: str) -> Row:
    return Row(
        symbol=text(left),
        symbol_latex=latex(left),
        symbol_srepr=sp.srepr(left),
        text=text(right),
        latex=latex(right),
        srepr=sp.srepr(right),
        meaning=meaning,
    )


def derivative_symbol(coefficient: sp.Indexed) -> sp.Symbol:
    """The name of the derivative of the risk in a coefficient."""
    return sp.Symbol(f"dR/d{text(coefficient)}")


RISK, PENALTY = sp.symbols("R Omega")
"""The names of the risk and of the penalty."""


def _letters(recursion: Recursion) -> list[Letter]:
    """The indices of names and coefficients, with their ranges."""
    used = {at for name in (*recursion.state, *(stage.name for stage in stages(recursion))) for at in name.indices}
    found = []
    for letter in sorted(used, key=str):
        if letter == fw.e:
            first, last = -1, 1
        else:
            first, last = whole_range(letter)
        ends = {"first": str(first), "last": str(last), "step": 2 if letter == fw.e else 1}
        found.append(Letter(symbol=text(letter), latex=latex(letter), **ends))
    return found


def document(recursion: Recursion) -> Derivation:
    """A recursion as a document: state, blocks and equations, each in LaTeX, text and srepr (THEORY.md section 4)."""
    words = {stage.name: stage.words for stage in stages(recursion)}
    return Derivation(
        schema_version=VERSION,
        level=recursion.level,
        loss=recursion.loss,
        activation=recursion.activation,
        truncated=recursion.truncated,
        hypotheses=list(recursion.closure.hypotheses.words),
        letters=_letters(recursion),
        state=[
            Coefficient(symbol=text(x), latex=latex(x), srepr=sp.srepr(x), indices=[text(at) for at in x.indices])
            for x in recursion.state
        ],
        blocks=[
            Block(
                matrix=matrix,
                row=s,
                column=t,
                lives=lives,
                reason=reason,
                witness=recursion.closure.fates[matrix][s, t].witness,
            )
            for matrix, lives, blocks, reason in fates(recursion)
            for s, t in blocks
        ],
        definitions=[_row(name, right, words[name]) for name, right in definitions(recursion)],
        risk=_row(RISK, shorten(recursion, recursion.risk, forward=True), "expected loss"),
        penalty=_row(PENALTY, commuted(recursion.penalty), "L2 penalty of the state"),
        gradients=[
            _row(derivative_symbol(x), right, f"derivative of the risk in {text(x)}")
            for x, right in gradients(recursion)
        ],
        equations=[_row(x, right, "after one step") for x, right in equations(recursion)],
        notation=[Notation(latex=symbol, meaning=meaning) for symbol, meaning in notation(recursion)],
    )


def as_json(recursion: Recursion) -> str:
    """The document of a recursion, in the schema of docs/derivation.schema.json."""
    return document(recursion).model_dump_json(indent=2) + "\n"


def from_json(written: str) -> dict[str, sp.Expr]:
    """The SymPy expressions of a document by the `symbol` of their rows: definitions, risk, penalty, gradients, equations.

    PolysemeError for a file that no derivation has written.
    """
    read = parsed(written)
    rows = [*read.definitions, read.risk, read.penalty, *read.gradients, *read.equations]
    return {row.symbol: expression(row.srepr) for row in rows}


def parsed(written: str) -> Derivation:
    """The validated document of a JSON text; PolysemeError that names the first field which is wrong."""
    try:
        return Derivation.model_validate_json(written)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise PolysemeError(
            f"got a file that is no derivation ({where}: {first['msg']}); "
            "expected the output of `polyseme derive --format json`"
        ) from None


def expression(srepr: str) -> sp.Expr:
    """The expression of an srepr; PolysemeError if it has anything but the classes, symbols and numbers of the theory."""
    try:
        return _built(ast.parse(srepr, mode="eval").body)
    except PolysemeError:
        raise
    except Exception as error:  # SymPy answers impossible arguments with nearly every kind of error
        raise _foreign(srepr, next(iter(str(error).splitlines()), type(error).__name__)) from None


def _foreign(srepr: str, why: str) -> PolysemeError:
    shown = srepr if len(srepr) <= 60 else f"{srepr[:57]}..."
    return PolysemeError(
        f"got the expression {shown!r}, which no derivation writes ({why}); export the recursion again"
    )


def _built(node: ast.AST) -> Any:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in _CLASSES:
        raise _foreign(ast.unparse(node), "expected a class of the theory")
    name = node.func.id
    if name == "Symbol":
        (label,) = node.args
        return sp.Symbol(_constant(label, str), **{str(at.arg): _constant(at.value, bool) for at in node.keywords})
    if node.keywords:
        raise _foreign(ast.unparse(node), "only symbols take keywords")
    if name in ("Integer", "Rational"):
        return _CLASSES[name](*(_constant(argument, int) for argument in node.args))
    args = [_built(argument) for argument in node.args]
    if name == "Pow" and all(argument.is_Number for argument in args):
        # SymPy would compute it, with as many digits as it takes; it never writes one.
        raise _foreign(ast.unparse(node), "a power of numbers")
    return _CLASSES[name](*args)


def _constant(node: ast.AST, kind: type) -> Any:
    if kind is int and isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_constant(node.operand, kind)
    if not isinstance(node, ast.Constant) or type(node.value) is not kind:
        raise _foreign(ast.unparse(node), f"expected {kind.__name__}")
    return node.value
