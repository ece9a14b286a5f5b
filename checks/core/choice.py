"""Which claims a user asks for, and which hypotheses shall not be asked for: from patterns and keys to what they name.

`said` is how the user wrote it ("--only", "only", "grid.toml: [sweep] claims"): a refusal begins with it.
"""

import fnmatch
from collections.abc import Collection, Sequence

from polyseme.checks.core.claim import Claim
from polyseme.checks.core.spelling import nearest
from polyseme.errors import PolysemeError


def select(pattern: str, claims: Sequence[Claim], *, said: str = "--only") -> tuple[Claim, ...]:
    """The claims whose id matches a glob, or whose family is named; PolysemeError if there is none."""
    families = list(dict.fromkeys(claim.family for claim in claims))
    if pattern in families:
        pattern = f"{pattern}/*"
    chosen = tuple(claim for claim in claims if fnmatch.fnmatchcase(claim.id, pattern))
    if not chosen:
        a_family = not pattern or pattern.endswith("/")
        globs = ", ".join(f"'{family}/*'" for family in families)
        expected = (None if a_family else nearest(pattern, [x.id for x in claims])) or f"a claim id or a glob: {globs}"
        raise PolysemeError(f"{said} '{pattern}' matches no claim; type {expected} (`polyseme claims` lists them)")
    return chosen


def chosen_claims(
    patterns: Sequence[str], claims: Sequence[Claim], *, this_regime: bool, said: tuple[str, str]
) -> tuple[Claim, ...]:
    """The claims that one of several patterns selects, in their order; all if there is no pattern.

    `this_regime` leaves out those that look at no regime. `said`: how the user writes the patterns and this.
    PolysemeError for a pattern without a claim, and if nothing remains.
    """
    found = {claim.id for pattern in patterns for claim in select(pattern, claims, said=said[0])}
    chosen = [claim for claim in claims if claim.id in found or not patterns]
    remaining = tuple(claim for claim in chosen if claim.scope == "this regime" or not this_regime)
    if not remaining:
        those = " and ".join(f"'{one}'" for one in patterns or ("*",))
        raise PolysemeError(f"{said[0]} {those} matches claims about any regime alone; type it without {said[1]}")
    return remaining


def claim_to_break(name: str, claims: Sequence[Claim]) -> Claim:
    """The claim with an id, if some regime could break it; PolysemeError else."""
    by_id = {claim.id: claim for claim in claims}
    if name not in by_id:
        close = nearest(name, by_id)
        expected = f", expected an id such as {close}" if close else ""
        raise PolysemeError(f"got {name}, which is no claim{expected}; `polyseme claims` lists all")
    return about_a_regime(by_id[name])


def about_a_regime(claim: Claim) -> Claim:
    """The claim itself; PolysemeError if it looks at no regime, so that none could break it."""
    if claim.scope == "any regime":
        raise PolysemeError(
            f"{claim.id} looks at nothing of the regime, so no regime can break it; type the id of a claim about a regime"
        )
    return claim


def dropped_keys(keys: Collection[str], claims: Sequence[Claim], *, said: str = "--drop") -> tuple[str, ...]:
    """The keys of hypotheses that shall not be asked for, sorted; PolysemeError for one that none of the claims has."""
    known = dict.fromkeys(hypothesis.key for claim in claims for hypothesis in claim.asked)
    for key in keys:
        if key not in known:
            expected = f"type one of {', '.join(known)}" if known else "it has none; leave it out"
            raise PolysemeError(f"{said} '{key}' is no hypothesis of what is tried; {expected}")
    return tuple(sorted(set(keys)))
