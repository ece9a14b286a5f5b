"""Random regimes for searches and property tests, from what a theory declares (`SearchSpace`): simplest first, so that they shrink well.

The hypotheses of a claim narrow the lists of values (`Hypothesis.suggests`), and what they still let through is filtered.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from hypothesis import strategies as st

from polyseme.checks.core.claim import Claim, Hypothesis
from polyseme.checks.core.theory import SearchSpace, Theory
from polyseme.errors import PolysemeError, RegimeError
from polyseme.regime import BaseRegime

Values = dict[str, dict[str, Sequence[Any]]]


def regimes(claim: Claim, theory: Theory, *, drop: Collection[str] = ()) -> st.SearchStrategy[Any]:
    """Regimes of a theory in which the claim's hypotheses hold, but for those whose key is in `drop`, of which one at least fails.

    What a check arranges by itself is not asked for; where it is dropped, it has to fail. Without a dropped hypothesis
    every regime is one that the claim speaks about. PolysemeError for a theory that declares no search space, and for a hypothesis
    that suggests values of a key that its regimes do not have.
    """
    if theory.search is None:
        raise PolysemeError(
            f"the theory {theory.name} declares no search space, so no regimes can be drawn; give it search = SearchSpace(values=...)"
        )
    asked = [x for x in claim.hypotheses if x.key not in drop and not x.arranged]
    of_parts = [[x for x in part.hypotheses if x.key not in drop and not x.arranged] for part in claim.parts]
    dropped = [x for x in claim.asked if x.key in drop]
    for hypothesis in claim.asked:
        _require_known_keys(claim, hypothesis, theory)

    def wanted(regime: BaseRegime | None) -> bool:
        if regime is None or not all(x.holds(regime) for x in asked):
            return False
        if not any(all(x.holds(regime) for x in own) for own in of_parts):
            return False  # no part would be judged
        return not dropped or not all(x.holds(regime) for x in dropped)

    values = narrowed(theory.search, [*asked, *of_parts[0]], dropped)
    return _any_regime(theory.regime, theory.search, values).filter(wanted)


def _require_known_keys(claim: Claim, hypothesis: Hypothesis, theory: Theory) -> None:
    known = theory.regime.keys()
    for section, keys in hypothesis.suggests.items():
        for key in keys:
            if key not in known or known[key].table != section:
                home = f"[{known[key].table}] {key}" if key in known else f"one of {', '.join(known)}"
                raise PolysemeError(
                    f"{claim.id}: the hypothesis '{hypothesis.key}' suggests values of [{section}] {key}, expected a key of the "
                    f"regime; type {home}"
                )


def narrowed(space: SearchSpace, asked: Collection[Hypothesis], dropped: Collection[Hypothesis] = ()) -> Values:
    """The lists of values after every suggestion; ones that a hypothesis gives for a key shorten those of another.

    A key that a dropped hypothesis speaks of keeps its whole list, and what was suggested besides.
    """
    values: Values = {section: dict(keys) for section, keys in space.values.items()}
    free = {(section, key) for x in dropped for section, keys in x.suggests.items() for key in keys}
    for hypothesis in asked:
        for section, keys in hypothesis.suggests.items():
            for key, suggested in keys.items():
                before: Sequence[Any] = values.setdefault(section, {}).get(key, ())
                both = [value for value in suggested if value in before]
                if (section, key) in free:
                    values[section][key] = (*before, *(value for value in suggested if value not in before))
                else:
                    narrower = before is not space.values.get(section, {}).get(key, ()) and both
                    values[section][key] = tuple(both) if narrower else tuple(suggested)
    return values


@st.composite
def _any_regime(
    draw: Callable[..., Any], regime: type[BaseRegime], space: SearchSpace, values: Values
) -> BaseRegime | None:
    """One regime of those values, or None where two keys cannot go together."""

    def one_of(choices: Sequence[Any]) -> Any:
        return draw(st.sampled_from(list(choices)))

    tables = {section: {key: one_of(choices) for key, choices in keys.items()} for section, keys in values.items()}
    if space.complete is not None:
        tables = space.complete(tables, one_of)
    try:
        return regime.parse(tables, source="a search")
    except RegimeError:
        return None
