"""Derived expressions as statements: named values at the points of some letters, and totals over others.

The expressions are those that are printed: sums over letters, indexed arrays, and stages, which are named sums
(`polyseme.theory.calculus.staged`). Reading them names every sum and every shared subexpression, once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sympy as sp

from polyseme.theory.calculus.functions import AttentionMean, LogTotal, SignSum, SmoothReLU


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


@dataclass(frozen=True, kw_only=True)
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

    def renamed(self, plain: sp.Expr, target: str, letters: Letters) -> bool:
        """Give the last statement the name of a stage that is nothing else; whether it is so."""
        last = self.statements[-1] if self.statements else None
        if (
            last is None
            or not last.bound
            or plain != sp.IndexedBase(last.target)[last.letters or (sp.S.Zero,)]
            or last.letters != letters
        ):
            return False
        self.statements[-1] = replace(last, target=target)
        self.members[target] = last.members
        named = sp.IndexedBase(target)[letters or (sp.S.Zero,)]
        self.known.update({expression: named for expression, name in self.known.items() if name == plain})
        return True

    def without_totals(self, node: sp.Basic) -> sp.Expr:
        """The expression with a name for each total, and for each function of numbers in which members do not differ."""
        if isinstance(node, sp.Indexed) or not node.args:
            return node
        if node in self.known:
            return self.known[node]
        if isinstance(node, (Total, Largest)):
            body, *bound = node.args
            body = self.without_totals(body)
            found = self.name(
                body, f"s{len(self.statements)}", bound=self.sorted(bound), largest=isinstance(node, Largest)
            )
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
        if not target.startswith("out_") and reader.renamed(plain, target, letters):
            continue
        reader.members[target] = reader.has_members(plain) or target.startswith("out_")
        reader.statements.append(Statement(target=target, letters=letters, body=plain, members=reader.members[target]))
    return reader.statements


def _closure(body: sp.Expr, shared: Mapping[sp.Symbol, sp.Expr]) -> set[sp.Symbol]:
    """The shared symbols that an expression needs, and those that they need."""
    found, new = set[sp.Symbol](), body.free_symbols & shared.keys()
    while new:
        found |= new
        new = set[sp.Symbol]().union(*(shared[x].free_symbols & shared.keys() for x in new)) - found
    return found


def nesting(expressions: Iterable[sp.Expr], *, outermost: sp.Symbol, innermost: sp.Symbol) -> Letters:
    """An order for the loops over all letters of expressions: indices, and those that they sum over."""
    found = set[sp.Symbol]()
    for expression in map(totalled, expressions):
        found |= {x for array in expression.atoms(sp.Indexed) for x in array.indices if isinstance(x, sp.Symbol)}
    return (outermost, *sorted(found - {outermost, innermost}, key=str), innermost)


def totalled(expression: sp.Expr) -> sp.Expr:
    """The expression with totals in place of the theory's sums: letters and their arrays alone are left, and no ranges."""
    return _Reader(members={}, numbers={}, order={}).sums(expression)


def free_letters(expression: sp.Expr, order: Sequence[sp.Symbol]) -> Letters:
    """The letters along which an expression varies, in an order; those that it sums over are not among them."""
    as_arrays = {letter: sp.IndexedBase("letter")[letter] for letter in order}
    reader = _Reader(members={}, numbers=as_arrays, order={letter: at for at, letter in enumerate(order)})
    return reader.sorted(reader.letters_of(reader.sums(expression)))


def needed(statements: Sequence[Statement]) -> list[Statement]:
    """Without those that no output needs."""
    wanted, found = set[str](), []
    for one in reversed(statements):
        if one.target.startswith("out_") or one.target in wanted:
            wanted |= one.needs
            found.append(one)
    return found[::-1]
