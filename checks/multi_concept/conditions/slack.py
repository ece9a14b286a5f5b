"""How much slack conditions have: hypotheses in width, penalty, noise and other concepts, from sweeps across their edges."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from polyseme.checks.multi_concept.claims.dynamics.dynamics import LIGHT, MOST_DEAD, MOST_WEIGHT, WIDE
from polyseme.checks.multi_concept.claims.dynamics.predicted import PREDICTED
from polyseme.checks.multi_concept.conditions.agreement import agreement_of, critical, map_of, shares_of
from polyseme.checks.multi_concept.conditions.brackets import CONFIDENCE, Bracket, common, reversal, slope, threshold
from polyseme.checks.multi_concept.conditions.conditions import (
    FIRM,
    LEVELS,
    WORDS,
    Condition,
    Conditions,
    Constant,
    Needed,
)
from polyseme.checks.multi_concept.conditions.scans import (
    FEWEST_STARTS,
    TYPE,
    Row,
    Scan,
    Table,
    followers,
    read_table,
    scans,
)
from polyseme.checks.multi_concept.hypotheses import FEW_EXTRAS, LOW_NOISE
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.derivation.noisy_rows import MOST_EXTRAS, MOST_NOISE
from polyseme.theory.multi_concept.outcome.thresholds import share_learnable


def conditions_of(folders: Sequence[Path]) -> Conditions:
    """What the tables of these sweeps say.

    PolysemeError if one is no such table, if two scan the same quantity, or if the starts of a place are no equal trials.
    """
    read = [read_table(folder) for folder in folders]
    for one in read:
        twice = [folder for folder, other in zip(folders, read, strict=True) if other.scanned == one.scanned]
        if len(twice) > 1:
            raise PolysemeError(
                f"got {' and '.join(map(str, twice))}, which scan the same quantity ({one.scanned}), expected one folder for each; leave one out"
            )
    found = {table.scanned: table for table in read}
    makers = {"width": _width, "penalty": _penalty, "noise": _noise, "extras": _extras}
    predicted = [table for table in read if table.source["claim"] == PREDICTED.id]
    conditions = tuple(make(found[name]) for name, make in makers.items() if name in found)
    shares = shares_of(found["width"]) if "width" in found and found["width"] in predicted else None
    return Conditions(
        confidence=CONFIDENCE,
        sources=tuple(dict(table.source) for table in read),
        conditions=conditions,
        shares=shares,
        agreement=tuple(agreement_of(table) for table in predicted),
        map=map_of(found["map"]) if "map" in found else None,
        notes=tuple(_notes(conditions, found, lacking=shares is None and found.get("width") in predicted)),
    )


def _notes(conditions: Sequence[Condition], found: Mapping[str, Table], *, lacking: bool) -> Iterator[str]:
    """What could not be said, and what would be needed."""
    for name, x in _X.items():
        follow = followers(found[name], x) if name in found else []
        if follow:
            yield (
                f"{found[name].source['sweep']}: every scan has one place only, since {' and '.join(follow)} {'changes' if len(follow) == 1 else 'change'} with "
                f"the scanned quantity ({name}); hold {'it' if len(follow) == 1 else 'them'} fixed while that goes through its values."
            )
    if not any(pair != (None, None) for one in conditions for scan in one.scans for pair in scan.brackets.values()):
        yield (
            "No condition could be bracketed: needed is a sweep that takes one of m, lam, sigma_x with sigma_y, or p_extra through several values, all else "
            f"fixed, with {FEWEST_STARTS} starts or more at each (some 40 where many values share the 95%); {TYPE}."
        )
    if lacking:
        yield "The share of concepts learned over the width was not judged: points with the same m share seeds, so their concepts are no independent trials."


# -- scans with brackets -----------------------------------------------------------------------------------------------------

_Of = Callable[[Row], float]
_X: dict[str, _Of] = {
    "width": lambda row: float(row["m"]),
    "penalty": lambda row: row["lam"] * row["m"] * row["K1"],
    "noise": lambda row: max(row["sigma_x"], row["sigma_y"]),
    "extras": lambda row: (row["L"] + 1) * (row["K1"] - 1) * row["p_extra"],
}


def _needed(
    found: Iterable[Scan], *, rising: bool, asked: _Of, law: Callable[[Row], dict[str, float]], alike: _Of | None = None
) -> tuple[Needed, ...]:
    """For each level, brackets of all scans of a condition hold together."""
    made = []
    for scan in found:
        family = scan.family
        brackets = {name: threshold(scan.places, level, rising=rising, family=family) for name, level in LEVELS.items()}
        made.append(
            Needed(
                words=scan.words,
                x=tuple(place.x for place in scan.places),
                hits=tuple(place.hits for place in scan.places),
                trials=tuple(place.trials for place in scan.places),
                lost=tuple(place.lost for place in scan.places),
                asked=asked(scan.of),
                brackets={name: bracket.as_pair() for name, bracket in brackets.items()},
                contradicted=any(bracket.contradicted for bracket in brackets.values()),
                reversal=reversal(scan.places, rising=rising, family=family),
                law=law(scan.of),
                alike=alike(scan.of) if alike else None,
            )
        )
    return tuple(made)


def _brackets(needed: Sequence[Needed], level: str) -> list[Bracket]:
    return [
        Bracket(lower=one.brackets[level][0], upper=one.brackets[level][1], contradicted=one.contradicted)
        for one in needed
    ]


def _constant(name: str, brackets: Sequence[Bracket], *, asked: float | None = None) -> Constant:
    shared = common(brackets)
    lower, upper = [one.lower for one in brackets], [one.upper for one in brackets]
    reach = (
        None if None in lower else min(x for x in lower if x is not None),
        None if None in upper else max(x for x in upper if x is not None),
    )
    return Constant(
        name=name,
        fits=shared is not None,
        common=shared.as_pair() if shared else (None, None),
        reach=reach,
        asked=asked,
    )


# -- the four conditions -----------------------------------------------------------------------------------------------------


def _asked_width(K1: int, share: float) -> float:
    """The smallest m for which 4 K1 2^-floor(m/2) is at most that share."""
    return 2.0 * math.ceil(math.log2(4 * K1 / share))


def _width_by_law(row: Row) -> dict[str, float]:
    """The smallest m at which every concept is learned in such a share of starts, by the law of the gates."""
    return {
        name: float(next(m for m in range(2, 10_000) if share_learnable(m) ** row["K1"] >= level))
        for name, level in LEVELS.items()
    }


def _width(table: Table) -> Condition:
    found = scans(table, _X["width"])
    needed = _needed(
        found,
        rising=True,
        asked=lambda row: _asked_width(row["K1"], MOST_DEAD),
        alike=lambda row: _asked_width(row["K1"], 1 - LEVELS[FIRM]),
        law=_width_by_law,
    )
    constants = []
    for name in LEVELS:
        pairs = zip(found, _brackets(needed, name), strict=True)
        line = slope({math.log(scan.of["K1"]): bracket for scan, bracket in pairs})
        ends = (line.lower, line.upper)
        constants.append(
            Constant(
                name=f"C of lines m = a + C ln K1 for {WORDS[name]}",
                fits=line.fits,
                common=ends,
                reach=ends,
                asked=2 / math.log(2),
            )
        )
    return Condition(
        key=WIDE.key,
        asked=f"4 K1 2^-(m/2) <= 1e-6, or m >= {2 * math.log2(4 / MOST_DEAD):.1f} + {2 / math.log(2):.2f} ln K1",
        quantity="m",
        rising=True,
        scans=needed,
        constants=tuple(constants),
    )


def _penalty(table: Table) -> Condition:
    found = scans(table, _X["penalty"])
    needed = _needed(
        found,
        rising=False,
        asked=lambda _: MOST_WEIGHT,
        law=lambda row: {name: critical(row) * row["m"] * row["K1"] for name in LEVELS},
    )
    rows = [scan.of for scan in found]
    # Every combination is a factor of its own for each scan over lam m K1.
    combinations: dict[str, _Of] = {
        "lam m K1": lambda _: 1.0,
        "lam K1 sqrt(m)": lambda row: row["m"] ** -0.5,
        "lam K1 sqrt(m) 2^(L/2)": lambda row: row["m"] ** -0.5 * 2 ** (row["L"] / 2),
        "lam / lam_c": lambda row: 1 / (critical(row) * row["m"] * row["K1"]),
    }
    constants = tuple(
        _constant(
            name,
            [one.times(factor(row)) for one, row in zip(_brackets(needed, "1/2"), rows, strict=True)],
            asked=MOST_WEIGHT if name == "lam m K1" else None,
        )
        for name, factor in combinations.items()
    )
    return Condition(
        key=LIGHT.key,
        asked=f"lam m K1 <= {MOST_WEIGHT:g}",
        quantity="lam m K1",
        rising=False,
        scans=needed,
        constants=constants,
    )


def _noise(table: Table) -> Condition:
    found = scans(table, _X["noise"])
    needed = _needed(found, rising=False, asked=lambda _: MOST_NOISE, law=lambda _: {})
    return Condition(
        key=LOW_NOISE.key,
        asked=f"sigma_x, sigma_y <= {MOST_NOISE:g}",
        quantity="sigma",
        rising=False,
        scans=needed,
        constants=(_constant("sigma", _brackets(needed, "1/2"), asked=MOST_NOISE),),
    )


def _extras(table: Table) -> Condition:
    found = scans(table, _X["extras"])
    needed = _needed(found, rising=False, asked=lambda _: MOST_EXTRAS, law=lambda _: {})
    brackets, rows = _brackets(needed, "1/2"), [scan.of for scan in found]
    each = [one.times(1 / ((row["L"] + 1) * (row["K1"] - 1))) for one, row in zip(brackets, rows, strict=True)]
    return Condition(
        key=FEW_EXTRAS.key,
        asked=f"(L + 1)(K1 - 1) p_extra <= {MOST_EXTRAS:g}",
        quantity="(L + 1)(K1 - 1) p_extra",
        rising=False,
        scans=needed,
        constants=(_constant("(L + 1)(K1 - 1) p_extra", brackets, asked=MOST_EXTRAS), _constant("p_extra", each)),
    )
