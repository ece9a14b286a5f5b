"""Conditions in words: the rows of their tables, sentences on what was found, and Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from polyseme.checks.multi_concept.conditions.brackets import Bracket, common
from polyseme.checks.multi_concept.conditions.conditions import (
    FIRM,
    LEVELS,
    Agreement,
    Condition,
    Conditions,
    Constant,
    Needed,
    Pair,
    Shares,
)

SHORT_HEAD = ("hypothesis", "asks", "threshold for half of all starts", "for three of four", "slack (three of four)")
FULL_HEAD = (
    "scan",
    "asked",
    "threshold for half of all starts",
    "for three of four",
    "in closed form",
    "slack (three of four)",
)
NOT_SHOWN = "not shown"


def plain(x: float) -> str:
    """Three digits, without a power of ten where that is as short."""
    return f"{x:.3g}" if abs(x) < 1000 else f"{x:.0f}"


def between(pair: Pair) -> str:
    """A bracket in words; an open end is what was not shown, and not infinity."""
    lower, upper = pair
    if lower is not None and upper is not None:
        return plain(lower) if lower == upper else f"{plain(lower)} to {plain(upper)}"
    if lower is not None:
        return f"above {plain(lower)}"
    return NOT_SHOWN if upper is None else f"below {plain(upper)}"


def factor(pair: Pair) -> str:
    """A slack in words."""
    lower, upper = pair
    if lower is not None and upper is not None:
        return f"{plain(lower)} to {plain(upper)} times"
    if lower is not None:
        return f"at least {plain(lower)} times"
    return NOT_SHOWN if upper is None else f"at most {plain(upper)} times"


def _range(condition: Condition, level: str) -> str:
    """The brackets of the scans of which least and most is asked; of as much in all, what was shown of all together.

    Brackets themselves need have no order: an open one may reach over any other.
    """
    scans = condition.scans
    least, most = (choose(scans, key=lambda scan: scan.asked) for choose in (min, max))
    if least.asked < most.asked or len(scans) == 1:
        ends = [least, most] if len(scans) > 1 else [least]
        said = "; ".join(f"{between(scan.brackets[level])} ({scan.words})" for scan in ends)
        return f"{condition.quantity}: {said}"
    known = [scan.brackets[level] for scan in scans if scan.brackets[level] != (None, None)]
    lower, upper = [pair[0] for pair in known], [pair[1] for pair in known]
    hull = (
        None if None in lower else min((x for x in lower if x is not None), default=None),
        None if None in upper else max((x for x in upper if x is not None), default=None),
    )
    number = len(scans) if len(known) == len(scans) else f"{len(known)} of {len(scans)}"
    return f"{condition.quantity}: {between(hull)} ({number} scans)" if known else NOT_SHOWN


def short_rows(found: Conditions) -> list[tuple[str, ...]]:
    """A row for each hypothesis."""
    return [
        (one.key, one.asked, _range(one, "1/2"), _range(one, FIRM), factor(one.slack(FIRM))) for one in found.conditions
    ]


def full_rows(condition: Condition) -> list[tuple[str, ...]]:
    """A row for each scan of a hypothesis."""
    return [
        (
            scan.words,
            plain(scan.asked),
            between(scan.brackets["1/2"]),
            between(scan.brackets[FIRM]),
            _law(scan),
            factor(scan.slack(FIRM, rising=condition.rising)),
        )
        for scan in condition.scans
    ]


def _law(scan: Needed) -> str:
    values = list(dict.fromkeys(plain(scan.law[name]) for name in LEVELS if name in scan.law))
    return " and ".join(values) or "none"


def sentences(found: Conditions) -> list[str]:
    """What was found, beyond the rows."""
    said = [" ".join(_constant(one, x) for x in one.constants) for one in found.conditions]
    said += [_alike(one) for one in found.conditions]
    said += [_reversal(one, scan) for one in found.conditions for scan in one.scans]
    said += [_agreement(one) for one in found.agreement]
    if found.shares:
        said.append(_shares(found.shares))
    said += found.notes
    return [sentence for sentence in said if sentence]


def _constant(condition: Condition, one: Constant) -> str:
    asked = f" (asked: {plain(one.asked)})" if one.asked is not None else ""
    number = len(condition.scans)
    if number == 1:
        return f"One scan alone: whether {one.name} has one threshold everywhere was not asked."
    if one.fits and one.common == (None, None):
        return f"{one.name}: nothing was shown."
    if condition.rising:
        return f"{one.name}: {between(one.common) if one.fits else 'no line'} agrees with all {number} brackets{asked}."
    if one.fits:
        return f"One threshold in {one.name} (half of all starts) agrees with all {number} scans: {between(one.common)}{asked}."
    return f"No one threshold in {one.name} does: brackets reach {'from ' if None not in one.reach else ''}{between(one.reach)}{asked}."


def _alike(condition: Condition) -> str:
    """For the width: how many neurons more are asked, and how many of them because fewer failures are allowed."""
    scans = [scan for scan in condition.scans if scan.alike is not None]
    if not scans:
        return ""
    spare = {
        kind: common([_below(asked, scan.brackets[FIRM]) for asked, scan in zip(numbers, scans, strict=True)])
        for kind, numbers in (("all", [x.asked for x in scans]), ("alike", [x.alike or 0.0 for x in scans]))
    }
    whole, alike = (between(one.as_pair()) if one else "no one number of" for one in (spare["all"], spare["alike"]))
    return (
        f"In neurons, {condition.key} asks for {whole} more than the threshold for three of four (what all {len(scans)} scans have in common). Allowed to fail as "
        f"often as that, in one start of four instead of one in a million, it would ask for {alike} more."
    )


def _below(asked: float, pair: Pair) -> Bracket:
    """By how much a threshold in a bracket is below what is asked."""
    lower, upper = (None if end is None else asked - end for end in reversed(pair))
    return Bracket(lower=lower, upper=upper)


def _reversal(condition: Condition, scan: Needed) -> str:
    if scan.contradicted:
        return f"{condition.key}, {scan.words}: success was shown to cross a level the wrong way, so there is no threshold."
    if scan.reversal is None:
        return ""
    low, high = map(plain, scan.reversal)
    more, less = ("falls", "rises") if condition.rising else ("rises", "falls")
    return (
        f"{condition.key}, {scan.words}: success was shown not to be monotone, it {more} between {condition.quantity} = {low} and {high}, where it "
        f"was assumed that it {less}; the bracket is of one crossing of the level, and there may be others."
    )


def _agreement(one: Agreement) -> str:
    far, far_agreeing = one.points - one.near, one.agreeing - one.near_agreeing
    text = f"{one.sweep}: all concepts had the fate that their starts predict at {one.agreeing} of {one.points} points"
    if one.near:
        text += f", {far_agreeing} of {far} where the penalty is off the critical one by a factor of two or more, and {one.near_agreeing} of {one.near} nearer"
    if one.largest is not None:
        text += f"; the farthest exception is off by a factor of {plain(one.largest)}"
    return f"{text}. Of {one.concepts} concepts {one.more} {'was' if one.more == 1 else 'were'} learned though not predicted, and {one.fewer} predicted and not learned."


def _shares(shares: Shares) -> str:
    places = shares.places
    off = max(places, key=lambda one: abs(one.learned / one.concepts - one.law))
    verdict = (
        "the law is within the simultaneous bounds of all of them"
        if shares.inside
        else "the law is outside the simultaneous bounds of some of them"
    )
    return (
        f"The share of concepts learned beside (1 - 2^-ceil(m/2)) (1 - 2^-floor(m/2)), {sum(one.concepts for one in places)} concepts at {len(places)} widths "
        f"from {places[0].m} to {places[-1].m}: {verdict} (least p, times their number: {plain(shares.p)}). Largest difference: "
        f"{plain(off.learned / off.concepts - off.law)}, at m = {off.m}, with {off.concepts} concepts."
    )


def shares_rows(found: Conditions) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The share of concepts learned at each width, as a table; no rows if it was not swept."""
    head = ("m", "concepts", "learned", "share", "bounds", "law of the gates")
    rows = [
        (
            str(one.m),
            str(one.concepts),
            str(one.learned),
            f"{one.learned / one.concepts:.4f}",
            f"{one.bounds[0]:.4f} to {one.bounds[1]:.4f}",
            f"{one.law:.4f}",
        )
        for one in (found.shares.places if found.shares else ())
    ]
    return head, rows


def provenance(found: Conditions) -> list[str]:
    """A sentence for each sweep: what it judged, how many points, from which starts, by which code."""
    return [
        f"{one['sweep']}: {_judged(one)} of {one['claim']}, "
        + (
            "each from a start of its own"
            if one["different seeds"] == one["points"]
            else f"from {one['different seeds']} different seeds, so that points share random numbers (the bounds hold all the same)"
        )
        + f"; code {str(one['code'])[:12]}"
        for one in found.sources
    ]


def _judged(one: Mapping[str, Any]) -> str:
    if one["planned"] == one["points"]:
        return f"{one['points']} points"
    said = f"{one['points']} points judged of {one['planned']}"
    if one["left out"]:
        kinds = one.get("left out as") or {}
        said += f" ({one['left out']} left out" + (
            ": " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()) + ")" if kinds else ")"
        )
    absent = one["planned"] - one["points"] - one["left out"]
    return said + (f" ({absent} not yet tried)" if absent else "")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)])


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal."""
    widths = [max(len(row[j]) for row in (head, *rows)) for j in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
