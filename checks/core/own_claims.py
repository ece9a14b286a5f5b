"""Users' own claims: loading them from Python files outside the project, with one sentence for all that is wrong.

A claim file is a Python file with a tuple CLAIMS of `polyseme.checks.core.claim.Claim`. Loading it runs it. A bad file, or a bad claim in a
good one, costs only itself.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from polyseme.checks.core.claim import Claim, Hypothesis, NegativeControl, Part, Rule
from polyseme.checks.core.provenance import Basis
from polyseme.checks.core.user_files import EXAMPLE, run_file, short
from polyseme.errors import PolysemeError


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The claims that can be tried, and a sentence for each problem."""

    claims: tuple[Claim, ...]
    problems: tuple[str, ...]


def load_claims(paths: Sequence[Path], registered: Sequence[Claim]) -> Loaded:
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
            if complaint := complaint_about(entry, taken):
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
            f"{path}: got CLAIMS = {short(entries)}, expected a tuple with at least one claim; type CLAIMS = (MY_CLAIM,)"
        )
    return entries


def _has_controls(part: Part) -> bool:
    controls = part.controls
    return (
        isinstance(controls, tuple | list)
        and bool(controls)
        and all(isinstance(x, NegativeControl) and callable(x.asserts) for x in controls)
    )


def _first_without_rule(claim: Claim) -> Any:
    return next(part.rule for part in claim.parts if not isinstance(part.rule, Rule))


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
        lambda claim: (
            isinstance(claim.parts, tuple | list)
            and bool(claim.parts)
            and all(isinstance(part, Part) for part in claim.parts)
        ),
        lambda claim: f"({claim.id}) has the parts {short(claim.parts)}, expected parts = (Part(...),)",
    ),
    (
        lambda claim: len({part.name for part in claim.parts}) == len(claim.parts),
        lambda claim: (
            f"({claim.id}) has parts of one name, expected a name of its own for each, such as Part(name='at the start', ...)"
        ),
    ),
    (
        lambda claim: all(_has_controls(part) for part in claim.parts),
        lambda claim: (
            f"({claim.id}) has no negative control, expected controls = (NegativeControl(...),): a check that cannot fail says nothing"
        ),
    ),
    (
        lambda claim: all(callable(part.asserts) and callable(part.measure) for part in claim.parts),
        lambda claim: f"({claim.id}) needs functions for asserts and measure",
    ),
    (
        lambda claim: all(isinstance(part.rule, Rule) for part in claim.parts),
        lambda claim: (
            f"({claim.id}) has the rule {short(_first_without_rule(claim))}, expected one of checks/core/rules, such as RoundOff(reason=...)"
        ),
    ),
    (
        lambda claim: (
            isinstance(claim.hypotheses, tuple | list)
            and all(isinstance(x, Hypothesis) for asks in (claim, *claim.parts) for x in asks.hypotheses)
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
        lambda claim: f"({claim.id}) uses {short(claim.uses)}, expected a tuple of the ids of other claims",
    ),
    (
        lambda claim: all(isinstance(text, str) and text for text in (claim.statement, claim.formula)),
        lambda claim: f"({claim.id}) needs a statement and a formula (LaTeX), as text",
    ),
    (
        lambda claim: all(not part.rule.is_statistical or callable(part.plan) for part in claim.parts),
        lambda claim: (
            f"({claim.id}) is statistical and has no plan, expected plan = a function that gives rule.design(...)"
        ),
    ),
)


def complaint_about(entry: Any, taken: set[str]) -> str:
    """What is wrong with one entry, or nothing."""
    if not isinstance(entry, Claim):
        return f"is {short(entry)}, expected a Claim"
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
