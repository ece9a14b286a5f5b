"""Users' own claims: loading them from Python files outside the project, with one sentence for all that is wrong.

A claim file is a Python file with a tuple CLAIMS of `polyseme.checks.core.claim.Claim`. Loading it runs it. A bad file, or a bad claim in a
good one, costs only itself.
"""

import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from polyseme.checks.core.claim import Claim, Hypothesis, NegativeControl, Rule
from polyseme.checks.core.provenance import Basis
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.errors import PolysemeError

EXAMPLE = "see docs/own_claims.md for an example"
OURS = ("polyseme",)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The claims that can be tried, and a sentence for each problem."""

    claims: tuple[Claim, ...]
    problems: tuple[str, ...]


def load_claims(paths: Sequence[Path], registered: Sequence[Claim] = CLAIMS) -> Loaded:
    """The claims of some files, in their order, beside those that are registered already.

    Never raises for what is in a file: each problem is one sentence that says what was got, what was expected and what to
    type. KeyboardInterrupt is let through.
    """
    claims: list[Claim] = []
    problems: list[str] = []
    for path in paths:
        try:
            entries = _entries(path)
        except PolysemeError as problem:
            problems.append(str(problem))
            continue
        for place, entry in enumerate(entries, start=1):
            taken = {claim.id for claim in (*registered, *claims)}
            if complaint := _complaint(entry, taken):
                problems.append(f"{path}: entry {place} of CLAIMS {complaint}; {EXAMPLE}")
            else:
                claims.append(entry)
    return _without_loose_ends(claims, problems, registered)


def _entries(path: Path) -> Sequence[Any]:
    """CLAIMS of one file."""
    module = run_file(path)
    if not hasattr(module, "CLAIMS"):
        raise PolysemeError(
            f"{path}: got a file without CLAIMS, expected a tuple of claims by that name; type CLAIMS = (MY_CLAIM,) at its end"
        )
    entries = module.CLAIMS
    if not isinstance(entries, tuple | list) or not entries:
        raise PolysemeError(
            f"{path}: got CLAIMS = {_short(entries)}, expected a tuple with at least one claim; type CLAIMS = (MY_CLAIM,)"
        )
    return entries


def run_file(path: Path, content: str = "claims") -> ModuleType:
    """A user's Python file as a module of its own name, which no import can hit; its folder is on the path while it loads.

    Modules that it finds in its folder are its own: another file's helper of the same name is another module.
    PolysemeError with one sentence if it is missing, is not Python, or raises; `content` says what it should hold.
    """
    if path.suffix != ".py" or not path.is_file():
        raise PolysemeError(
            f"{path}: expected a Python file with {content}; type the path of one that ends in .py ({EXAMPLE})"
        )
    name = f"own_claims_{re.sub(r'[^A-Za-z0-9]', '_', str(path.resolve()))}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PolysemeError(f"{path}: expected a Python file with {content}; type the path of one that ends in .py")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look a class's module up by name
    try:
        with _own_imports(path.resolve().parent):
            spec.loader.exec_module(module)
    except SyntaxError as problem:
        raise PolysemeError(
            f"{path}: line {problem.lineno} is not Python ({problem.msg}); expected a Python file with {content}, {EXAMPLE}"
        ) from None
    except KeyboardInterrupt:
        raise
    except BaseException as problem:  # whatever a user's file does, it costs that file only
        raise PolysemeError(
            f"{path}: raised {type(problem).__name__} at line {_line(problem, path)} while it was loaded "
            f"({_short(problem)}){_hint(problem)}; {EXAMPLE}"
        ) from None
    return module


@contextmanager
def _own_imports(folder: Path) -> Iterator[None]:
    """The folder is searched first; what is imported from it is forgotten afterwards, except by who imported it."""
    for package in OURS:
        import_module(package)  # ours, whatever lies in the folder by such a name
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and name.partition(".")[0] not in OURS and folder in Path(file).resolve().parents:
                del sys.modules[name]


def _line(problem: BaseException, path: Path) -> int | str:
    """The last line of the file itself in a traceback."""
    frames = traceback.extract_tb(problem.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    return lines[-1] or "?" if lines else "?"


def _hint(problem: BaseException) -> str:
    """What the commonest mistake is answered with."""
    if isinstance(problem, TypeError) and "negative_control" in str(problem):
        return "; a claim needs negative_control = NegativeControl(...), a wrong theory that its check has to refute"
    return ""


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 160 else text[:157] + "..."


_Check = tuple[Callable[[Claim], bool], Callable[[Claim], str]]
_CHECKS: tuple[_Check, ...] = (
    (
        lambda claim: (
            isinstance(claim.id, str) and re.fullmatch(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*", claim.id) is not None
        ),
        lambda claim: (
            f"has the id {claim.id!r}, expected family/conclusion in lower case, such as 'mine/signs_persist'"
        ),
    ),
    (
        lambda claim: isinstance(claim.negative_control, NegativeControl) and callable(claim.negative_control.asserts),
        lambda claim: (
            f"({claim.id}) has no negative control, expected negative_control = NegativeControl(...): a check that cannot fail says nothing"
        ),
    ),
    (
        lambda claim: callable(claim.asserts) and callable(claim.measure),
        lambda claim: f"({claim.id}) needs functions for asserts and measure",
    ),
    (
        lambda claim: isinstance(claim.rule, Rule),
        lambda claim: (
            f"({claim.id}) has the rule {_short(claim.rule)}, expected one of checks/core/rules, such as RoundOff(reason=...)"
        ),
    ),
    (
        lambda claim: (
            isinstance(claim.hypotheses, tuple | list) and all(isinstance(x, Hypothesis) for x in claim.hypotheses)
        ),
        lambda claim: (
            f"({claim.id}) has hypotheses that are no Hypothesis, expected a tuple of those in checks/multi_concept/hypotheses.py or your own"
        ),
    ),
    (
        lambda claim: (
            isinstance(claim.rests_on, tuple | list)
            and bool(claim.rests_on)
            and all(isinstance(x, Basis) for x in claim.rests_on)
        ),
        lambda claim: (
            f"({claim.id}) rests on nothing, expected rests_on = (Basis(...),), such as polyseme.checks.core.provenance.ROUND_OFF"
        ),
    ),
    (
        lambda claim: isinstance(claim.uses, tuple | list) and all(isinstance(x, str) for x in claim.uses),
        lambda claim: f"({claim.id}) uses {_short(claim.uses)}, expected a tuple of the ids of other claims",
    ),
    (
        lambda claim: all(isinstance(text, str) and text for text in (claim.statement, claim.formula, claim.section)),
        lambda claim: f"({claim.id}) needs a statement, a formula (LaTeX) and a section of docs/THEORY.md, as text",
    ),
    (
        lambda claim: not claim.rule.is_statistical or callable(claim.plan),
        lambda claim: (
            f"({claim.id}) is statistical and has no plan, expected plan = a function that gives rule.design(...)"
        ),
    ),
)


def _complaint(entry: Any, taken: set[str]) -> str:
    """What is wrong with one entry, or nothing."""
    if not isinstance(entry, Claim):
        return f"is {_short(entry)}, expected a Claim"
    for holds, words in _CHECKS:
        if not holds(entry):
            return words(entry)
    if entry.id in taken:
        return f"has the id '{entry.id}', which another claim has; type an id of your own"
    return ""


def _without_loose_ends(claims: list[Claim], problems: list[str], registered: Sequence[Claim]) -> Loaded:
    """Leave out claims that use what there is not, until all that is used is there; and refuse circles."""
    left = list(claims)
    while True:
        known = {claim.id for claim in (*registered, *left)}
        loose = [claim for claim in left if not set(claim.uses) <= known]
        if not loose:
            break
        for claim in loose:
            unknown = sorted(set(claim.uses) - known)[0]
            problems.append(
                f"claim {claim.id} uses '{unknown}', which is no claim; type ids that `polyseme claims` lists, or leave it out"
            )
        left = [claim for claim in left if claim not in loose]
    try:
        TopologicalSorter({claim.id: set(claim.uses) for claim in (*registered, *left)}).prepare()
    except CycleError as circle:
        names = ", ".join(dict.fromkeys(circle.args[1]))
        problems.append(f"the claims {names} use each other in a circle, expected an order; leave one `uses` out")
        left = [claim for claim in left if claim.id not in circle.args[1]]
        return _without_loose_ends(left, problems, registered)
    return Loaded(claims=tuple(left), problems=tuple(problems))
