"""Plants against claims: who catches what; and what nobody catches has to be proved equivalent, or is a miss."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from polyseme.checks.core.claim import Claim, Verdict
from polyseme.checks.core.context import Context
from polyseme.checks.core.outcome import trial
from polyseme.checks.core.rules.bound import proportion_interval
from polyseme.checks.core.theory import Plant, Theory
from polyseme.regime import BaseRegime

# Regimes in which a planted recursion that nothing caught is looked for a difference.
SEPARATING = 40


@dataclass(frozen=True, kw_only=True)
class Caught:
    """What became of one plant: the verdict of each claim that it was put to, and, if none refuted it, why."""

    operator: str
    name: str
    kind: str
    verdicts: dict[str, str]
    equivalent: str = ""
    separated_by: str = ""

    @property
    def is_caught(self) -> bool:
        """Whether some claim refuted it."""
        return str(Verdict.REFUTED) in self.verdicts.values()

    @property
    def could_not_run(self) -> bool:
        """Whether it broke every claim that it was put to: no theory, so that nothing is known of it."""
        return bool(self.verdicts) and set(self.verdicts.values()) == {str(Verdict.ERROR)}

    @property
    def is_missed(self) -> bool:
        """Neither caught nor proved to be no error."""
        return not self.is_caught and not self.equivalent


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Contexts of the regimes that plants are tried in, each made once."""

    theory: Theory
    level: float
    contexts: dict[str, Context] = field(default_factory=dict)

    def context(self, regime: BaseRegime) -> Context:
        """The one of a regime."""
        key = regime.digest()
        if key not in self.contexts:
            self.contexts[key] = self.theory.context(regime, level=self.level)
        return self.contexts[key]


def try_plants(
    plants: Iterable[Plant],
    bench: Bench,
    *,
    claims: Sequence[Claim] = (),
    announce: Callable[[Caught], None] = lambda _caught: None,
) -> list[Caught]:
    """Every plant against every claim that it can reach; `claims` restricts those. An interrupt is let through."""
    known = {claim.id: claim for claim in claims or bench.theory.claims}
    results = []
    for plant in plants:
        put_to = [known[identifier] for identifier in plant.claims if identifier in known]
        verdicts = {claim.id: _verdict(plant, claim, bench) for claim in put_to}
        if str(Verdict.REFUTED) not in verdicts.values():
            verdicts |= _in_more_regimes(plant, put_to, bench)
        caught = Caught(operator=plant.operator, name=plant.name, kind=plant.kind, verdicts=verdicts)
        if not caught.is_caught:
            proof = plant.proof() if plant.proof else ""
            look = not proof and plant.separable
            caught = replace(caught, equivalent=proof, separated_by=_separating_regime(plant, bench) if look else "")
        results.append(caught)
        announce(caught)
    return results


def _in_more_regimes(plant: Plant, claims: Sequence[Claim], bench: Bench) -> dict[str, str]:
    """The first claim that refutes the plant in another of its regimes, with that verdict; nothing if none does."""
    for claim in claims:
        for regime in plant.more_regimes if claim.scope == "this regime" else ():
            if _verdict(replace(plant, regime=regime), claim, bench) == Verdict.REFUTED:
                return {claim.id: str(Verdict.REFUTED)}
    return {}


def _verdict(plant: Plant, claim: Claim, bench: Bench) -> str:
    """What the claim's own rule says of the planted assertion; a word for what could not be judged."""
    # An error so gross that the theory cannot even be run is counted as broken, never as caught.
    return str(trial(claim, bench.context(plant.regime), drop=plant.dropped, asserted=plant.asserted).verdict)


def _separating_regime(plant: Plant, bench: Bench) -> str:
    """A regime in which a plant is refuted, in words; nothing if none of many does it."""
    from hypothesis import HealthCheck, Phase, given, settings

    from polyseme.checks.core.differences import changed
    from polyseme.checks.core.search_space import regimes

    material = bench.theory.audit
    assert material is not None, "a theory whose errors are planted says how"
    if not material.separating_claim:
        return ""
    claim, found = bench.theory.claim(material.separating_claim), []

    @settings(
        max_examples=SEPARATING,
        phases=(Phase.generate,),
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]  (its metaclass iterates)
    )
    @given(regimes(claim, bench.theory))
    def look(regime: Any) -> None:
        ordinary = material.separating_regime(regime)
        if not found and _verdict(replace(plant, regime=ordinary), claim, bench) == Verdict.REFUTED:
            found.append(str(changed(ordinary)))

    look()
    return found[0] if found else ""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One operator against one claim: caught of tried, with the ends of the exact interval, each good to 95%."""

    caught: int
    tried: int
    low: float
    high: float


def table(results: Sequence[Caught]) -> dict[str, dict[str, Cell]]:
    """Operators by claims; the column "any" counts plants that some claim caught, equivalent ones left out."""
    cells: dict[str, dict[str, Cell]] = {}
    for operator in dict.fromkeys(result.operator for result in results):
        of_it = [result for result in results if result.operator == operator and not result.equivalent]
        row = {"any": _cell([result.is_caught for result in of_it])}
        for identifier in dict.fromkeys(x for result in of_it for x in result.verdicts):
            judged = [result.verdicts[identifier] for result in of_it if identifier in result.verdicts]
            row[identifier] = _cell([verdict == Verdict.REFUTED for verdict in judged])
        cells[operator] = row
    return cells


def _cell(hits: Sequence[bool]) -> Cell:
    caught, tried = int(np.sum(hits)), len(hits)
    low, high = proportion_interval(caught, tried, 0.05) if tried else (0.0, 1.0)
    return Cell(caught=caught, tried=tried, low=low, high=high)
