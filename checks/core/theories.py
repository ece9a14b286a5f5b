"""Finding theories: by an entry point, by the key `theory` of a regime file, or in a file of the user's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from polyseme.checks.core.claim import Claim
from polyseme.checks.core.context import Context
from polyseme.checks.core.own_claims import complaint_about
from polyseme.checks.core.spelling import nearest
from polyseme.checks.core.theory import Theory
from polyseme.checks.core.user_files import run_file, short
from polyseme.errors import PolysemeError, RegimeError
from polyseme.regime import BaseRegime, read_tables

GROUP = "polyseme.theories"
"""The group of entry points under which installed packages offer theories, each a `Theory`."""
DEFAULT = "multi_concept"
"""The theory of a regime file that names none."""
KEY = "theory"
EXAMPLE = "see docs/own_theory.md for an example"


@dataclass(frozen=True, kw_only=True)
class TheoryReference:
    """Where a theory is found, for other processes: the name of an entry point, or a file."""

    name: str
    file: str = ""

    def load(self) -> Theory:
        """The theory; PolysemeError if it is not there."""
        return theory_in(Path(self.file)) if self.file else theory_named(self.name)


def key_for(theory: Theory) -> str:
    """What a regime file has to say to be of this theory; nothing for the default one."""
    return theory.file or ("" if theory.name == DEFAULT else theory.name)


def reference_to(theory: Theory) -> TheoryReference:
    """Where a theory that was found can be found again."""
    return TheoryReference(name=theory.name, file=theory.file)


@cache
def theory_named(name: str) -> Theory:
    """An installed theory; PolysemeError with the names that there are."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        close = nearest(name, found) or DEFAULT
        raise PolysemeError(
            f"got the theory '{name}', expected one of {', '.join(sorted(found)) or 'none, for none is installed'}, or the path of a "
            f'Python file; type {KEY} = "{close}", or --theory FILE.py'
        )
    theory = found[name].load()
    _require_theory(theory, f"the entry point '{name}' of {GROUP}")
    return theory


def theory_in(path: Path) -> Theory:
    """The theory of a user's file, which is run; PolysemeError with one sentence for whatever is wrong with it."""
    return _theory_in(path.resolve(), path.stat().st_mtime_ns if path.is_file() else 0)


@cache
def _theory_in(path: Path, _changed: int) -> Theory:
    module = run_file(path, "a theory", EXAMPLE)
    theory = getattr(module, "THEORY", None)
    if theory is None:
        raise PolysemeError(
            f"{path}: got a file without THEORY, expected a polyseme.Theory by that name; type THEORY = Theory(...) at its end ({EXAMPLE})"
        )
    _require_theory(theory, str(path))
    return replace(theory, file=str(path))


def _require_theory(theory: Any, source: str) -> None:
    if not isinstance(theory, Theory):
        raise PolysemeError(f"{source}: got THEORY = {short(theory)}, expected a polyseme.Theory; {EXAMPLE}")
    if not (isinstance(theory.regime, type) and issubclass(theory.regime, BaseRegime)):
        raise PolysemeError(
            f"{source}: got regime = {short(theory.regime)}, expected a subclass of polyseme.BaseRegime; {EXAMPLE}"
        )
    try:
        theory.regime.seed_key()
        theory.regime()
    except Exception as problem:  # whatever a user's regime does when it is made from its defaults
        raise PolysemeError(
            f"{source}: its regime cannot be made from its defaults ({short(problem)}); {EXAMPLE}"
        ) from None
    if not (isinstance(theory.context, type) and issubclass(theory.context, Context)):
        raise PolysemeError(
            f"{source}: got context = {short(theory.context)}, expected polyseme.Context or a subclass of it; {EXAMPLE}"
        )
    taken: set[str] = set()
    for place, entry in enumerate(theory.claims, start=1):
        if complaint := complaint_about(entry, taken):
            raise PolysemeError(f"{source}: entry {place} of its claims {complaint}; {EXAMPLE}")
        taken.add(entry.id)
    if not taken:
        raise PolysemeError(f"{source}: got a theory without claims, expected at least one; {EXAMPLE}")
    _require_known_uses(theory.claims, source)
    for step in theory.steps:
        if not any(fnmatchcase(identifier, pattern) for identifier in taken for pattern in step.patterns):
            raise PolysemeError(
                f"{source}: the step '{step.title}' has the patterns {', '.join(step.patterns)}, which match no claim; type for example "
                f"patterns=('{theory.claims[0].family}/*',); {EXAMPLE}"
            )
    _require_known_values(theory, source)


def _require_known_values(theory: Theory, source: str) -> None:
    """PolysemeError for values of the search space that no regime can have; those that it completes itself may be any."""
    if theory.search is None:
        return
    known = theory.regime.keys()
    for table, values in theory.search.values.items():
        for name, listed in values.items():
            if name not in known or known[name].table != table:
                home = f"[{known[name].table}] {name}" if name in known else f"one of {', '.join(known)}"
                raise PolysemeError(
                    f"{source}: its search space has [{table}] {name}, which is no key of its regime; expected {home}; {EXAMPLE}"
                )
            if not listed:
                raise PolysemeError(
                    f"{source}: its search space has no values for [{table}] {name}, expected at least one; {EXAMPLE}"
                )
            for value in listed if theory.search.complete is None else ():
                try:
                    theory.regime().replace(**{table: {name: value}})
                except RegimeError as problem:
                    if "impossible" not in str(problem):  # of keys that do not fit together one may be drawn, too
                        raise PolysemeError(
                            f"{source}: its search space has a value that is refused ({problem}); {EXAMPLE}"
                        ) from None


def _require_known_uses(claims: Sequence[Claim], source: str) -> None:
    known = {claim.id for claim in claims}
    for claim in claims:
        if unknown := sorted(set(claim.uses) - known):
            raise PolysemeError(
                f"{source}: claim {claim.id} uses '{unknown[0]}', which is no claim of the theory; {EXAMPLE}"
            )


def theory_of(regime_file: str | Path | None = None, theory_file: str | Path | None = None) -> Theory:
    """The theory that a file of the user's holds, or that a regime file names; the default one if neither says any.

    A name of a regime file that ends in .py is a path, relative to the regime file.
    """
    if theory_file is not None:
        return theory_in(Path(theory_file))
    if regime_file is None:
        return theory_named(DEFAULT)
    name = read_tables(regime_file).get(KEY, DEFAULT)
    if not isinstance(name, str):
        raise RegimeError(
            f'{regime_file}: {KEY} = {name!r} is not accepted: expected the name of a theory or a path, for example {KEY} = "{DEFAULT}"'
        )
    return theory_in(Path(regime_file).parent / name) if name.endswith(".py") else theory_named(name)


def theory_for(regime: BaseRegime) -> Theory:
    """The installed theory that a regime belongs to; PolysemeError if none has regimes of its kind."""
    for point in entry_points(group=GROUP):
        theory = theory_named(point.name)
        if isinstance(regime, theory.regime):
            return theory
    raise PolysemeError(
        f"got a {type(regime).__name__} of no installed theory, expected one of {DEFAULT}; name its theory, for example theory='FILE.py'"
    )


def default_regime(theory: Theory) -> BaseRegime:
    """The regime that is judged when none is named."""
    return theory.regime.load(theory.default) if theory.default else theory.regime()
