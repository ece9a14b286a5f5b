"""Derived expressions as machine code: one function for all of them, fused loops over their letters, members innermost.

The expressions are those that are printed: sums over letters, indexed arrays, and stages, which are named sums
(`polyseme.theory.calculus.staged`). A pass over them names every sum and every shared subexpression; what is left are statements of
two kinds, values at the points of some letters and totals over others, and each becomes a loop. One letter, such as the number of a
prompt, is the outer loop of all statements that vary along it, so that what lies between two stages stays in the cache.
Members of an ensemble lie side by side in the last axis: the innermost loop runs over a few of them, and is vectorised.

The source is C, for the compiler of the system. It may not reorder sums or fuse products with them, so that a member's numbers
depend neither on how many there are beside it nor on the processor.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp
from sympy.printing.c import C99CodePrinter

from polyseme.regime import LEAK
from polyseme.theory.calculus.functions import AttentionMean, LogTotal, SignSum, SmoothReLU

LANES = 16
"""So many members are computed side by side: a few vectors of the processor, and what they need stays in its cache."""


class Total(sp.Function):
    """Total(body, letter, ...): the sum over the whole range of the letters."""


class Largest(sp.Function):
    """Largest(body, letter): the maximum over the whole range of a letter."""


class Cdf(sp.Function):
    """Cdf(mu, V): P(mu + sqrt(V) Z > 0) for a standard normal number Z; the gate of mu at V = 0."""


class Density(sp.Function):
    """Density(mu, V): the density of mu + sqrt(V) Z at 0; zero at V = 0."""


class Over(sp.Function):
    """Over(x, y): x / y, and zero where y is."""


def smooth_relu(order: int, mu: sp.Expr, variance: sp.Expr) -> sp.Expr:
    """`SmoothReLU` in its distribution function and density, which derivatives of all orders share."""
    gate, density = Cdf(mu, variance), Density(mu, variance)
    return {
        0: mu * gate + variance * density,
        1: gate,
        2: density,
        3: -Over(mu, variance) * density,
        4: (Over(mu * mu, variance) - 1) * Over(density, variance),
    }[order]


Letters = tuple[sp.Symbol, ...]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """target[letters] = body, or its total (or largest) over bound letters. `members`: whether members differ in it."""

    target: str
    letters: Letters
    body: sp.Expr
    bound: Letters = ()
    largest: bool = False
    members: bool = True

    @property
    def needs(self) -> frozenset[str]:
        """Names of the arrays in it."""
        return frozenset(identifier(x.base.label) for x in self.body.atoms(sp.Indexed))


@dataclass(kw_only=True)
class _Reader:
    """Reads expressions into statements."""

    members: dict[str, bool]  # of every array and temporary
    numbers: Mapping[sp.Symbol, sp.Expr]  # what a letter is where it stands as a number
    order: Mapping[sp.Symbol, int]  # the nesting of loops
    statements: list[Statement] = field(default_factory=list)
    known: dict[sp.Expr, sp.Indexed] = field(default_factory=dict)

    def sums(self, node: sp.Basic) -> sp.Expr:
        """The expression with totals in place of the theory's sums, and letters as numbers where they stand as such."""
        if isinstance(node, sp.Symbol):
            return self.numbers.get(node, node)
        if isinstance(node, sp.Indexed) or not node.args:
            return node
        if isinstance(node, sp.Sum):
            return _total(self.sums(node.args[0]), [limits[0] for limits in node.args[1:]])
        if isinstance(node, SignSum):
            return _total(self.sums(node.args[0]), [node.args[1]])
        if isinstance(node, LogTotal):
            count, logit, index, _ = node.args
            count, logit = self.sums(count), self.sums(logit)
            top = Largest(logit, index)
            return top + sp.log(_total(count * sp.exp(logit - top), [index]))
        if isinstance(node, AttentionMean):
            value, logit, index, _ = node.args
            value, logit = self.sums(value), self.sums(logit)
            weight = sp.exp(logit - Largest(logit, index))
            return _total(value * weight, [index]) / _total(weight, [index])
        args = [self.sums(argument) for argument in node.args]
        if isinstance(node, SmoothReLU):
            return smooth_relu(int(args[0]), args[1], args[2])
        return node.func(*args)

    def letters_of(self, node: sp.Basic) -> frozenset[sp.Symbol]:
        """Along which letters an expression varies."""
        if isinstance(node, sp.Indexed):
            return frozenset(x for x in node.indices if x in self.order)
        if isinstance(node, (Total, Largest)):
            return self.letters_of(node.args[0]) - set(node.args[1:])
        return frozenset().union(*(self.letters_of(x) for x in node.args)) if node.args else frozenset()

    def has_members(self, node: sp.Basic) -> bool:
        """Whether members differ in an expression."""
        return any(self.members[identifier(x.base.label)] for x in node.atoms(sp.Indexed))

    def sorted(self, letters: Iterable[sp.Symbol]) -> Letters:
        """In the order of the loops."""
        return tuple(sorted(letters, key=self.order.__getitem__))

    def name(self, body: sp.Expr, target: str, *, bound: Letters = (), largest: bool = False) -> sp.Indexed:
        """Write a statement; its name where it is used."""
        letters = self.sorted(self.letters_of(body) - set(bound))
        members = self.has_members(body)
        self.members[target] = members
        self.statements.append(
            Statement(target=target, letters=letters, body=body, bound=bound, largest=largest, members=members)
        )
        return sp.IndexedBase(target)[letters or (sp.S.Zero,)]

    def without_totals(self, node: sp.Basic) -> sp.Expr:
        """The expression with a name for each total, and for each function of numbers in which members do not differ."""
        if isinstance(node, sp.Indexed) or not node.args:
            return node
        if node in self.known:
            return self.known[node]
        if isinstance(node, (Total, Largest)):
            body, *bound = node.args
            body = self.without_totals(body)
            found = self.name(body, f"s{len(self.statements)}", bound=self.sorted(bound), largest=isinstance(node, Largest))
            self.known[node] = found
            return found
        node = node.func(*(self.without_totals(argument) for argument in node.args))
        if isinstance(node, sp.Function) and not self.has_members(node):
            self.known[node] = self.name(node, f"s{len(self.statements)}")
            return self.known[node]
        return node


def _total(body: sp.Expr, letters: Sequence[sp.Symbol]) -> sp.Expr:
    """The sum over letters, those factors before it that do not vary along them."""
    if isinstance(body, sp.Mul):
        inside = [x for x in body.args if _varies(x, letters)]
        outside = [x for x in body.args if x not in inside]
        body = sp.Mul(*inside)
        if isinstance(body, Total):  # nested sums become one
            return sp.Mul(*outside) * Total(body.args[0], *letters, *body.args[1:])
        return sp.Mul(*outside) * Total(body, *letters)
    if isinstance(body, Total):
        return Total(body.args[0], *letters, *body.args[1:])
    return Total(body, *letters)


def _varies(node: sp.Basic, letters: Sequence[sp.Symbol]) -> bool:
    if isinstance(node, sp.Indexed):
        return bool(set(node.indices) & set(letters))
    if isinstance(node, (Total, Largest)):
        return _varies(node.args[0], [x for x in letters if x not in node.args[1:]])
    return any(_varies(argument, letters) for argument in node.args)


def identifier(symbol: sp.Basic) -> str:
    """A Python name: W_Q^{ba} becomes W_Q_ba, n_+ becomes n_plus, u' becomes u_1."""
    name = str(symbol).replace("^{", "_").replace("}", "").replace("{", "").replace("+", "plus").replace("'", "_1")
    return {"lambda": "lam"}.get(name, name)


def read(
    stages: Sequence[tuple[sp.Indexed, sp.Expr]],
    outputs: Mapping[str, tuple[Letters, sp.Expr]],
    *,
    arrays: Mapping[str, bool],
    order: Sequence[sp.Symbol],
    numbers: Mapping[sp.Symbol, sp.Expr] | None = None,
) -> list[Statement]:
    """The statements that stages, in their order, and then outputs are made of; shared parts are named once.

    `arrays`: the names of arrays that are given, and whether members differ in them. `order`: the letters, outermost first.
    `numbers`: what a letter is where it stands as a number and not as an index.
    """
    reader = _Reader(members=dict(arrays), numbers=numbers or {}, order={letter: at for at, letter in enumerate(order)})
    meanings = [reader.sums(meaning) for _, meaning in stages]
    meanings += [reader.sums(meaning) for _, meaning in outputs.values()]
    atoms = set[sp.Indexed]().union(*(meaning.atoms(sp.Indexed) for meaning in meanings))
    held = {x: sp.Symbol(f"held{at}") for at, x in enumerate(sorted(atoms, key=str))}
    shared, reduced = sp.cse([meaning.xreplace(held) for meaning in meanings], symbols=sp.numbered_symbols("c"))
    back: dict[sp.Basic, sp.Basic] = {symbol: x for x, symbol in held.items()}
    waiting = list(shared)
    targets = [(identifier(name.base.label), tuple(name.indices), False) for name, _ in stages]
    targets += [(f"out_{name}", letters, True) for name, (letters, _) in outputs.items()]
    for (target, letters, _), body in zip(targets, reduced, strict=True):
        # What is shared is named when it is needed: it may itself need a stage.
        needed = _closure(body, dict(shared))
        for symbol, meaning in [pair for pair in waiting if pair[0] in needed]:
            named = reader.name(reader.without_totals(meaning.xreplace(back)), str(symbol))
            back[symbol] = named
            waiting.remove((symbol, meaning))
        plain = reader.without_totals(body.xreplace(back))
        reader.members[target] = reader.has_members(plain) or target.startswith("out_")
        reader.statements.append(
            Statement(target=target, letters=letters, body=plain, members=reader.members[target])
        )
    return reader.statements


def _closure(body: sp.Expr, shared: Mapping[sp.Symbol, sp.Expr]) -> set[sp.Symbol]:
    """The shared symbols that an expression needs, and those that they need."""
    found, new = set[sp.Symbol](), body.free_symbols & shared.keys()
    while new:
        found |= new
        new = set[sp.Symbol]().union(*(shared[x].free_symbols & shared.keys() for x in new)) - found
    return found


_CHEAP = {"Gate", "ReLU", "LeakyReLU"}


@dataclass(kw_only=True)
class _Writer:
    """Writes statements as the source of a function."""

    statements: list[Statement]
    inputs: Mapping[str, Letters]
    members: Mapping[str, bool]
    outer: sp.Symbol
    order: Mapping[sp.Symbol, int]
    lanes: bool
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.by_name = {x.target: x for x in self.statements}
        self.phase: dict[str, int] = {}
        for one in self.statements:
            before = [self.phase[name] for name in one.needs if name in self.phase]
            if not one.members:
                self.phase[one.target] = 0
            elif self.outer in one.letters or (self.outer in one.bound):
                if 3 in before:
                    raise ValueError(f"{one.target} would need a second pass over {self.outer}")
                self.phase[one.target] = 3 if self.outer in one.bound else 2
            else:
                self.phase[one.target] = 3 if {2, 3} & set(before) else 1
        users: dict[str, list[Statement]] = {x.target: [] for x in self.statements}
        for one in self.statements:
            for name in one.needs & users.keys():
                users[name].append(one)
        self.inline = {
            x.target
            for x in self.statements
            if not x.bound
            and x.members
            and not x.target.startswith("out_")
            and len(set(x.letters) - {self.outer}) >= 3
            and {f.func.__name__ for f in x.body.atoms(sp.Function)} <= _CHEAP
        }
        self.printer = _Printer(self)

    def accumulates(self, one: Statement) -> bool:
        """Whether it sums over the outer letter."""
        return one.members and self.outer in one.bound

    def dims(self, one: Statement) -> Letters:
        """The letters along which a temporary is kept."""
        return one.letters if self.phase[one.target] != 2 else tuple(x for x in one.letters if x != self.outer)

    def write(self, sizes: Sequence[sp.Symbol], scalars: Sequence[str]) -> str:
        """The source of a function `kernel`."""
        outputs = [x.target for x in self.statements if x.target.startswith("out_")]
        arguments = [
            *(f"const double *restrict {name}" for name in self.inputs),
            *(f"const double {name}" for name in scalars),
            *(f"const long size_{identifier(x)}" for x in sizes),
            *(f"double *restrict {name}" for name in outputs),
            "const long members",
        ]
        self.lines = [f"void kernel({', '.join(arguments)}) {{"]
        kept = [x for x in self.statements if x.target not in self.inline and not x.target.startswith("out_")]
        for one in kept:
            shape = [f"size_{identifier(x)}" for x in self.dims(one)]
            if one.members and self.lanes:
                shape.append(str(LANES))
            self.put(1, f"double *restrict {one.target} = malloc(sizeof(double) * {' * '.join(shape or ['1'])});")
        self.nests([x for x in self.statements if self.phase[x.target] == 0], 1, members=False)
        step = LANES if self.lanes else 1
        self.put(1, f"for (long j0 = 0; j0 < members; j0 += {step}) {{")
        if self.lanes:
            self.put(2, f"const long lanes = members - j0 < {step} ? members - j0 : {step};")
        of_phase = {n: [x for x in self.statements if self.phase[x.target] == n] for n in (1, 2, 3)}
        self.nests(of_phase[1], 2)
        carried = [x for x in of_phase[3] if self.accumulates(x)]
        if of_phase[2] or carried:
            for one in carried:
                self.nest(one.letters, 2, [f"{self.at(one)} = {_first(one)};"])
            outer = identifier(self.outer)
            self.put(2, f"for (long l_{outer} = 0; l_{outer} < size_{outer}; ++l_{outer}) {{")
            self.nests([*of_phase[2], *carried], 3)
            self.put(2, "}")
        self.nests([x for x in of_phase[3] if x not in carried], 2)
        self.put(1, "}", *(f"free({one.target});" for one in kept))
        return "\n".join([*self.lines, "}", ""])

    def put(self, depth: int, *lines: str) -> None:
        """Write lines at a depth."""
        self.lines += ["    " * depth + line for line in lines]

    def nest(self, letters: Iterable[sp.Symbol], depth: int, body: list[str], *, members: bool = True) -> None:
        """Loops over letters, and over members inside, around a body."""
        loops = sorted(letters, key=self.order.__getitem__)
        for letter in loops:
            name = identifier(letter)
            self.put(depth, f"for (long l_{name} = 0; l_{name} < size_{name}; ++l_{name}) {{")
            depth += 1
        if members and self.lanes:
            self.put(depth, "#pragma omp simd", "for (long j = 0; j < lanes; ++j) {")
            self.put(depth + 1, *body)
            self.put(depth, "}")
        else:
            self.put(depth, *body)
        for _ in loops:
            depth -= 1
            self.put(depth, "}")

    def place(self, indices: Sequence[tuple[str, str]]) -> str:
        """An index into an array in C's order, from (index, size) of each axis."""
        at = indices[0][0] if indices else "0"
        for index, size in indices[1:]:
            at = f"({at}) * {size} + {index}"
        return at

    def at(self, one: Statement) -> str:
        """A temporary at its letters."""
        return self.temporary(one, one.letters)

    def temporary(self, one: Statement, letters: Sequence[sp.Basic]) -> str:
        """A temporary or an output at the letters that stand for its own."""
        output = one.target.startswith("out_")
        pairs = [
            (_index(letter), f"size_{identifier(own)}")
            for letter, own in zip(letters, one.letters, strict=True)
            if output or own in self.dims(one)
        ]
        if output:
            pairs.append(("j0 + j" if self.lanes else "j0", "members"))
        elif one.members and self.lanes:
            pairs.append(("j", str(LANES)))
        return f"{one.target}[{self.place(pairs)}]"

    def given(self, name: str, letters: Sequence[sp.Basic]) -> str:
        """An array that is given, at letters."""
        pairs = [
            (_index(letter), f"size_{identifier(own)}") for letter, own in zip(letters, self.inputs[name], strict=True)
        ]
        if self.members[name]:
            pairs.append(("j0 + j" if self.lanes else "j0", "members"))
        return f"{name}[{self.place(pairs)}]"

    def nests(self, statements: Sequence[Statement], depth: int, *, members: bool = True) -> None:
        """Loops for statements of one phase: those that run over the same letters share them."""
        waiting = [x for x in statements if x.target not in self.inline]
        names = {x.target for x in statements if not self.accumulates(x)}
        done: set[str] = set()

        def ready(one: Statement, more: set[str] = frozenset()) -> bool:  # pyright: ignore[reportArgumentType]
            return all(x in done or x in more for x in self.stored(one) & names)

        while waiting:
            groups: dict[frozenset[sp.Symbol], list[Statement]] = {}
            taken = dict[frozenset[sp.Symbol], set[str]]()
            for one in waiting:
                key = frozenset(self.dims(one) if members else one.letters)
                if not one.bound and ready(one, taken.get(key, set())):
                    groups.setdefault(key, []).append(one)
                    taken.setdefault(key, set()).add(one.target)
            if groups:
                key = min(groups, key=lambda x: (len(x), sorted(map(str, x))))
                group = groups[key]
                body = self.locals_of(group)
                body += [f"{self.at(one)} = {self.printer.doprint(one.body)};" for one in group]
                self.nest(key, depth, body, members=members)
            else:
                totals: dict[Any, list[Statement]] = {}
                for one in waiting:
                    if ready(one):
                        outer = {self.outer} if members else set()
                        key = frozenset(one.letters) - outer, frozenset(one.bound) - outer, self.accumulates(one)
                        totals.setdefault(key, []).append(one)
                (kept, bound, carried), group = next(iter(totals.items()))
                if not carried:
                    self.nest(kept, depth, [f"{self.at(one)} = {_first(one)};" for one in group], members=members)
                body = self.locals_of(group)
                for one in group:
                    value, place = self.printer.doprint(one.body), self.at(one)
                    body.append(f"{place} = larger({place}, {value});" if one.largest else f"{place} += {value};")
                self.nest([*kept, *bound], depth, body, members=members)
            done |= {one.target for one in group}
            waiting = [x for x in waiting if x.target not in done]

    def stored(self, one: Statement) -> set[str]:
        """The temporaries that a statement reads, through those that are computed in its loop."""
        found: set[str] = set()
        for name in one.needs:
            if name in self.inline:
                found |= self.stored(self.by_name[name])
            else:
                found.add(name)
        return found

    def locals_of(self, group: Sequence[Statement]) -> list[str]:
        """Values that are computed in the loop in which they are used."""
        wanted: set[str] = set()

        def want(one: Statement) -> None:
            for name in one.needs & self.inline:
                if name not in wanted:
                    wanted.add(name)
                    want(self.by_name[name])

        for one in group:
            want(one)
        return [f"const double {x.target} = {self.printer.doprint(x.body)};" for x in self.statements if x.target in wanted]


def _first(one: Statement) -> str:
    """What a total starts from."""
    return "-INFINITY" if one.largest else "0.0"


def _index(letter: sp.Basic) -> str:
    return f"l_{identifier(letter)}" if isinstance(letter, sp.Symbol) else str(letter)


class _Printer(C99CodePrinter):
    """SymPy's C printer, with arrays at their places."""

    def __init__(self, writer: _Writer) -> None:
        super().__init__({"allow_unknown_functions": True})
        self._writer = writer

    def _print_Symbol(self, expr: sp.Symbol) -> str:
        return identifier(expr)

    def _print_Indexed(self, expr: sp.Indexed) -> str:
        writer, name = self._writer, identifier(expr.base.label)
        if name in writer.inline:
            return name
        if name in writer.inputs:
            return writer.given(name, expr.indices if writer.inputs[name] else ())
        one = writer.by_name[name]
        return writer.temporary(one, expr.indices if one.letters else ())

    def _print_Function(self, expr: sp.Function) -> str:
        name = type(expr).__name__
        own = {"exp": "Exp", "tanh": "Tanh"}.get(name, name)
        return f"{own}({', '.join(map(self._print, expr.args))})"

    _print_tanh = _print_exp = _print_log = _print_Function

    def _print_Pow(self, expr: sp.Pow) -> str:
        base, exponent = expr.args
        if exponent.is_Integer and 2 <= exponent <= 4:
            if isinstance(base, (sp.Indexed, sp.Symbol)):
                return f"({' * '.join([self._print(base)] * int(exponent))})"
        return super()._print_Pow(expr)


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """Derived expressions as one function of machine code.

    `inputs`: the letters of each array that it takes; arrays in which members differ have their axis last. `source`: what is compiled.
    """

    inputs: Mapping[str, Letters]
    scalars: tuple[str, ...]
    sizes: tuple[sp.Symbol, ...]
    outputs: Mapping[str, Letters]
    source: str
    function: Callable[..., None]

    def __call__(
        self, arrays: Mapping[str, Any], sizes: Mapping[sp.Symbol, int], *, members: int
    ) -> dict[str, np.ndarray]:
        """The outputs by name, their letters' axes first and the members' last; `arrays` holds numbers too."""
        values = {name: np.empty((*(sizes[x] for x in letters), members)) for name, letters in self.outputs.items()}
        given = [np.ascontiguousarray(arrays[name], dtype=np.float64) for name in self.inputs]
        self.function(
            *(ctypes.c_void_p(array.ctypes.data) for array in given),
            *(ctypes.c_double(arrays[name]) for name in self.scalars),
            *(ctypes.c_long(sizes[x]) for x in self.sizes),
            *(ctypes.c_void_p(array.ctypes.data) for array in values.values()),
            ctypes.c_long(members),
        )
        return values


def totalled(expression: sp.Expr) -> sp.Expr:
    """The expression with totals in place of the theory's sums: letters and their arrays alone are left, and no ranges."""
    return _Reader(members={}, numbers={}, order={}).sums(expression)


def free_letters(expression: sp.Expr, order: Sequence[sp.Symbol]) -> Letters:
    """The letters along which an expression varies, in an order; those that it sums over are not among them."""
    as_arrays = {letter: sp.IndexedBase("letter")[letter] for letter in order}
    reader = _Reader(members={}, numbers=as_arrays, order={letter: at for at, letter in enumerate(order)})
    return reader.sorted(reader.letters_of(reader.sums(expression)))


def compile_stages(
    stages: Sequence[tuple[sp.Indexed, sp.Expr]],
    outputs: Mapping[str, tuple[Letters, sp.Expr]],
    *,
    arrays: Mapping[str, tuple[Letters, bool]],
    order: Sequence[sp.Symbol],
    numbers: Mapping[sp.Symbol, sp.Expr] | None = None,
    lanes: bool = True,
) -> Compiled:
    """Compile outputs, with the stages that they need; the first letter of `order` is the outer loop.

    `arrays`: the letters of each array that is given, and whether members differ in it.
    """
    statements = read(
        stages, outputs, arrays={name: members for name, (_, members) in arrays.items()}, order=order, numbers=numbers
    )
    statements = _needed(statements)
    places = {letter: at for at, letter in enumerate(order)}
    used = set[str]().union(*(x.needs for x in statements))
    inputs = {name: letters for name, (letters, _) in arrays.items() if name in used}
    members = {name: differ for name, (_, differ) in arrays.items()}
    sizes = tuple(x for x in order if any(x in one.letters or x in one.bound for one in statements))
    symbols = set[sp.Symbol]().union(*(x.body.free_symbols for x in statements)) - set(order)
    labels = set[sp.Basic]().union(*(x.body.atoms(sp.Indexed) for x in statements))
    names = {x.base.label for x in labels} | {x.base for x in labels} | labels
    scalars = tuple(sorted(identifier(x) for x in symbols if x not in names))
    writer = _Writer(
        statements=statements, inputs=inputs, members=members, outer=order[0], order=places, lanes=lanes
    )
    source = writer.write(sizes, scalars)
    function = build(source)
    outs = {name: letters for name, (letters, _) in outputs.items()}
    return Compiled(inputs=inputs, scalars=scalars, sizes=sizes, outputs=outs, source=source, function=function)


def _needed(statements: Sequence[Statement]) -> list[Statement]:
    """Without those that no output needs."""
    wanted, found = set[str](), []
    for one in reversed(statements):
        if one.target.startswith("out_") or one.target in wanted:
            wanted |= one.needs
            found.append(one)
    return found[::-1]


FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-shared", "-fPIC")


@cache
def compiler() -> str | None:
    """The C compiler of the system, if there is one."""
    return next((found for name in (os.environ.get("CC", ""), "cc", "gcc", "clang") if name and (found := shutil.which(name))), None)


def build(source: str) -> Any:
    """The function `kernel` of a C source, compiled and loaded; its files are gone afterwards."""
    header = (Path(__file__).parent / "elementwise.h").read_text(encoding="utf-8").replace("@LEAK@", repr(float(LEAK)))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernel.c").write_text(header + source, encoding="utf-8")
        command = [compiler() or "cc", *FLAGS, "kernel.c", "-o", "kernel.so", "-lm"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        function = ctypes.CDLL(str(Path(folder) / "kernel.so")).kernel
    function.restype = None
    return function
