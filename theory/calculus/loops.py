"""Statements as the source of a C function: fused loops over their letters, the innermost of which is vectorised.

One letter, such as the number of a prompt, is the outer loop of all statements that vary along it, so that what lies between two
stages stays in the cache. The innermost loop runs over a few members of an ensemble, which then lie side by side in memory, or over
the last letter, one member after the other. Every sum has an order of its own, whatever the processor: that of its letters, in eight
partial sums where it runs over the last one. So a member's numbers do not depend on how many there are beside it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sympy as sp
from sympy.printing.c import C99CodePrinter

from polyseme.theory.calculus.statements import Letters, Statement, identifier

LANES = 16
"""So many members are computed side by side: a few vectors of the processor, and what they need stays in its cache."""
PARTIAL = 8
"""A sum over the last letter is taken in so many parts: a few vectors of the processor."""

_CHEAP = {"Gate", "ReLU", "LeakyReLU"}


class LoopWriter:
    """Writes statements as the source of a function."""

    def __init__(
        self,
        *,
        statements: list[Statement],
        inputs: Mapping[str, Letters],
        members: Mapping[str, bool],
        outer: sp.Symbol,
        order: Mapping[sp.Symbol, int],
        lanes: bool,
    ) -> None:
        """`inputs`: the letters of the arrays that are given, `members`: in which of them members differ, `outer`: the letter of
        the outer loop, `order`: the nesting of all. `lanes`: whether members are innermost; else the last letter is.
        """
        self.statements, self.inputs, self.members = statements, inputs, members
        self.outer, self.order, self.lanes = outer, order, lanes
        self.lines: list[str] = []
        # When each statement is computed: before all members (0), or before, within or after the outer loop of one (1, 2, 3).
        self.last = max(self.order, key=self.order.__getitem__)
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

    def is_number(self, one: Statement) -> bool:
        """Whether a temporary is a single number."""
        return not (self.dims(one) or (one.members and self.lanes))

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
        arrays = [one for one in kept if not self.is_number(one)]
        if numbers := [one.target for one in kept if self.is_number(one)]:
            self.put(1, f"double {', '.join(numbers)};")
        for one in arrays:
            shape = [f"size_{identifier(x)}" for x in self.dims(one)]
            if one.members and self.lanes:
                shape.append(str(LANES))
            self.put(1, f"double *restrict {one.target} = malloc(sizeof(double) * {' * '.join(shape)});")
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
        self.put(1, "}", *(f"free({one.target});" for one in arrays))
        return "\n".join([*self.lines, "}", ""])

    def put(self, depth: int, *lines: str) -> None:
        """Write lines at a depth."""
        self.lines += ["    " * depth + line for line in lines]

    def nest(self, letters: Iterable[sp.Symbol], depth: int, body: list[str], *, members: bool = True) -> None:
        """Loops over letters, and over members inside, around a body that is computed at each place by itself."""
        loops = sorted(letters, key=self.order.__getitem__)
        for letter in loops:
            name = identifier(letter)
            if members and not self.lanes and letter == self.last:
                self.put(depth, "#pragma omp simd")
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

    def partial_sums(self, letters: Iterable[sp.Symbol], depth: int, values: list[str], places: list[str]) -> None:
        """Loops over letters around sums over the last one, each in parts, that are added to their places.

        `values`: local definitions, then as many values as places.
        """
        loops, name = sorted(letters, key=self.order.__getitem__), identifier(self.last)
        for letter in loops:
            own = identifier(letter)
            self.put(depth, f"for (long l_{own} = 0; l_{own} < size_{own}; ++l_{own}) {{")
            depth += 1
        definitions, values = values[: len(values) - len(places)], values[len(values) - len(places) :]
        self.put(depth, "{", *(f"    double part{at}[{PARTIAL}] = {{0.0}};" for at in range(len(places))))
        for head, at in (
            (
                [
                    f"for (long block = 0; block + {PARTIAL} <= size_{name}; block += {PARTIAL}) {{",
                    "#pragma omp simd",
                    f"for (long lane = 0; lane < {PARTIAL}; ++lane) {{",
                    f"const long l_{name} = block + lane;",
                ],
                "lane",
            ),
            (
                [
                    "{",
                    f"for (long l_{name} = size_{name} - size_{name} % {PARTIAL}; l_{name} < size_{name}; ++l_{name}) {{",
                ],
                f"l_{name} % {PARTIAL}",
            ),
        ):
            self.put(depth + 1, *head, *definitions)
            self.put(depth + 1, *(f"part{n}[{at}] += {value};" for n, value in enumerate(values)), "}", "}")
        for n, place in enumerate(places):
            self.put(depth + 1, f"{place} += folded(part{n});")
        self.put(depth, "}")
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
        if one.target.startswith("out_"):
            return f"{one.target}[{self.outside(one.letters, letters, differ=True)}]"
        if self.is_number(one):
            return one.target
        pairs = [
            (_index(letter), f"size_{identifier(own)}")
            for letter, own in zip(letters, one.letters, strict=True)
            if own in self.dims(one)
        ]
        if one.members and self.lanes:
            pairs.append(("j", str(LANES)))
        return f"{one.target}[{self.place(pairs)}]"

    def given(self, name: str, letters: Sequence[sp.Basic]) -> str:
        """An array that is given, at letters."""
        return f"{name}[{self.outside(self.inputs[name], letters, differ=self.members[name])}]"

    def outside(self, own: Letters, letters: Sequence[sp.Basic], *, differ: bool) -> str:
        """An index into an array that is given or returned: its letters in the order of the loops, members last or first."""
        axes = sorted(zip(own, letters, strict=True), key=lambda pair: self.order[pair[0]])
        pairs = [(_index(letter), f"size_{identifier(x)}") for x, letter in axes]
        if differ:
            pairs = [*pairs, ("j0 + j", "members")] if self.lanes else [("j0", "members"), *pairs]
        return self.place(pairs)

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
                        key = (
                            frozenset(one.letters) - outer,
                            frozenset(one.bound) - outer,
                            self.accumulates(one),
                            one.largest,
                        )
                        totals.setdefault(key, []).append(one)
                (kept, bound, carried, largest), group = next(iter(totals.items()))
                if not carried:
                    self.nest(kept, depth, [f"{self.at(one)} = {_first(one)};" for one in group], members=members)
                definitions = self.locals_of(group)
                values, places = [self.printer.doprint(x.body) for x in group], [self.at(x) for x in group]
                if members and not self.lanes and self.last in bound and not largest:
                    rest = [x for x in (*kept, *bound) if x != self.last]
                    self.partial_sums(rest, depth, [*definitions, *values], places)
                else:
                    form = "{0} = larger({0}, {1});" if largest else "{0} += {1};"
                    body = [form.format(place, value) for place, value in zip(places, values, strict=True)]
                    vectorised = members and (self.lanes or self.last not in bound)
                    self.nest([*kept, *bound], depth, [*definitions, *body], members=vectorised)
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
        return [
            f"const double {x.target} = {self.printer.doprint(x.body)};" for x in self.statements if x.target in wanted
        ]


def _first(one: Statement) -> str:
    """What a total starts from."""
    return "-INFINITY" if one.largest else "0.0"


def _index(letter: sp.Basic) -> str:
    return f"l_{identifier(letter)}" if isinstance(letter, sp.Symbol) else str(letter)


class _Printer(C99CodePrinter):
    """SymPy's C printer, with arrays at their places."""

    def __init__(self, writer: LoopWriter) -> None:
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

    def _print_Function(self, expr: sp.Expr) -> str:
        name = type(expr).__name__
        own = {"exp": "Exp", "tanh": "Tanh"}.get(name, name)
        return f"{own}({', '.join(map(self._print, expr.args))})"

    _print_tanh = _print_exp = _print_log = _print_Function

    def _print_Pow(self, expr: sp.Pow) -> str:
        base, exponent = expr.args
        if exponent.is_Integer and 2 <= exponent <= 4 and isinstance(base, (sp.Indexed, sp.Symbol)):
            return f"({' * '.join([self._print(base)] * int(exponent))})"
        return super()._print_Pow(expr)
