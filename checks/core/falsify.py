"""The search for a counterexample: a regime that satisfies the hypotheses of a claim and breaks it.

Hypothesis draws regimes, climbs towards the edge of what the claim allows, and shrinks what it finds. A counterexample is a
regime in which the claim's own rule says `refuted`; what is inconclusive, missing or broken is counted and is none.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, reject, settings, target
from hypothesis import seed as seeded
from hypothesis.errors import Unsatisfiable

from polyseme.checks.core.claim import Claim, Verdict
from polyseme.checks.core.differences import changed, in_words
from polyseme.checks.core.outcome import Outcome, trial
from polyseme.checks.core.search_space import regimes
from polyseme.checks.core.theory import Theory
from polyseme.errors import PolysemeError, RegimeError
from polyseme.regime import BaseRegime

# A confirmation draws everything afresh: another seed, far from those of the search.
FRESH = 10**6


@dataclass(kw_only=True, frozen=True)
class Search:
    """What a search has seen so far; it fills up as the search goes on, so that an interrupted one still tells."""

    claim: Claim
    drop: frozenset[str]
    outcomes: dict[str, tuple[BaseRegime, Outcome]] = field(default_factory=dict)
    smallest: list[tuple[BaseRegime, Outcome]] = field(default_factory=list)
    interrupts: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        """What was tried and what became of it, in a line or two."""
        counts = ", ".join(f"{number} {verdict}" for verdict, number in self.counts.items()) or "none"
        line = f"{self.claim.id}: {len(self.outcomes)} regimes: {counts}"
        if self.counterexample is None:
            return line
        regime, outcome = self.counterexample
        return f"{line}\nrefuted in {in_words(regime)}: {outcome.sentence}"

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the search."""
        return bool(self.interrupts)

    @property
    def decided(self) -> int:
        """How many regimes were supported or refuted."""
        return self.counts[Verdict.SUPPORTED] + self.counts[Verdict.REFUTED]

    @property
    def troubles(self) -> dict[Verdict, tuple[str, int]]:
        """The first sentence and the number of what could not be decided, broke, or lacked evidence."""
        seen: dict[Verdict, tuple[str, int]] = {}
        for _, outcome in self.outcomes.values():
            if outcome.verdict in (Verdict.INCONCLUSIVE, Verdict.MISSING, Verdict.ERROR):
                first, number = seen.get(outcome.verdict, (outcome.sentence, 0))
                seen[outcome.verdict] = first, number + 1
        return seen

    @property
    def counts(self) -> Counter[Verdict]:
        """How many different regimes had each verdict."""
        return Counter(outcome.verdict for _, outcome in self.outcomes.values())

    @property
    def counterexample(self) -> tuple[BaseRegime, Outcome] | None:
        """The smallest regime found that breaks the claim."""
        return self.smallest[-1] if self.smallest else None

    @property
    def nearest(self) -> tuple[BaseRegime, Outcome] | None:
        """The regime in which the claim came nearest to its bound, of those that were decided."""
        decided = [x for x in self.outcomes.values() if math.isfinite(x[1].share)]
        return max(decided, key=lambda x: x[1].share, default=None)


class _Broken(Exception):
    """Raised at a counterexample, for Hypothesis to shrink."""


def search(
    claim: Claim,
    theory: Theory,
    *,
    budget: int,
    level: float,
    drop: Collection[str] = (),
    seed: int = 0,
    shrink: bool = True,
    progress: Callable[[Search], None] | None = None,
) -> Search:
    """Try up to `budget` regimes of the theory in which the hypotheses hold, those with a key in `drop` excepted, which fail.

    `level` is what a whole search may spend on a false alarm: each example of a statistical claim is judged at an even
    share of it, and a counterexample is confirmed with fresh draws. Shrinking takes examples of its own. An interrupt
    ends the search early; what was found until then is returned. PolysemeError for a budget below 1 or a seed below 0.
    """
    for name, value, least, example in (("budget", budget, 1, 200), ("seed", seed, 0, 0)):
        if value < least:
            raise PolysemeError(f"got a {name} of {value}, expected a whole number of at least {least}; type {example}")
    found = Search(claim=claim, drop=frozenset(drop))
    try:
        strategy = regimes(claim, theory, drop=drop)
    except PolysemeError:
        raise
    except Exception as problem:  # a hypothesis of a user's own may suggest anything
        raise _no_regime(claim, problem) from None
    phases = (Phase.generate, Phase.target, *((Phase.shrink,) if shrink else ()))
    share = level / budget if claim.is_statistical else level

    @seeded(seed)
    @settings(
        max_examples=budget,
        phases=phases,
        database=None,
        deadline=None,
        derandomize=False,
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]  (its metaclass iterates)
    )
    @given(strategy)
    def examine(regime: Any) -> None:
        outcome = tried(regime)
        if outcome.verdict not in (Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE):
            reject()
        if outcome.verdict == Verdict.REFUTED:
            found.smallest.append((regime, outcome))
            raise _Broken
        if math.isfinite(outcome.share) and outcome.share > 0:
            target(max(-20.0, min(20.0, math.log10(outcome.share))), label="share of the bound")

    def tried(regime: BaseRegime) -> Outcome:
        key = regime.digest()
        if key not in found.outcomes:
            outcome = trial(claim, theory.context(regime, level=share), drop=drop)
            if outcome.verdict == Verdict.REFUTED and claim.is_statistical:
                fresh = regime.reseeded(regime.seed_value + FRESH)
                again = trial(claim, theory.context(fresh, level=share), drop=drop)
                outcome = outcome if again.verdict == Verdict.REFUTED else again
            found.outcomes[key] = (regime, outcome)
            if progress:
                progress(found)
        return found.outcomes[key][1]

    try:
        with suppress(_Broken, Unsatisfiable):  # shrunk, or no regime of the search satisfies the hypotheses
            examine()
        if shrink and found.smallest:
            regime, outcome = found.smallest[-1]
            plainer = without_idle_keys(claim, theory, regime, outcome, drop=drop, level=share)
            found.smallest.append((plainer, outcome))
    except KeyboardInterrupt:
        found.interrupts.append("Ctrl-C")
    except Exception as problem:  # trials do not raise: it is a hypothesis that cannot be searched
        raise _no_regime(claim, problem) from None
    return found


def without_idle_keys(
    claim: Claim, theory: Theory, regime: BaseRegime, outcome: Outcome, *, drop: Collection[str], level: float
) -> BaseRegime:
    """The regime with the default of each key that has no say: with it the outcome is the same, to the last digit.

    Sizes stay as they are, since their defaults are larger than what a search finds.
    """
    known = type(regime).keys()
    for section, keys in changed(regime).items():
        for key in (key for key in keys if known[key].role == "physics"):
            try:
                plainer = regime.replace(**{section: {key: known[key].default}})
            except RegimeError:
                continue
            if trial(claim, theory.context(plainer, level=level), drop=drop) == outcome:
                regime = plainer
    return regime


def _no_regime(claim: Claim, problem: Exception) -> PolysemeError:
    return PolysemeError(
        f"{claim.id}: no regime could be drawn, because a hypothesis raised {type(problem).__name__} ({problem}); expected "
        "`holds` to take a regime, and `suggests` to map keys of its tables to values; see docs/own_claims.md"
    )
