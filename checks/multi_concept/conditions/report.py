"""How much slack the conditions have, as the page shows it: from the sweeps that polyseme ships, not from the run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from polyseme.checks.core.theory import Section
from polyseme.checks.multi_concept.conditions.conditions import FIRM, Condition, Pair, shipped
from polyseme.checks.multi_concept.conditions.formatting import (
    FULL_HEAD,
    SHORT_HEAD,
    full_rows,
    provenance,
    sentences,
    short_rows,
)

_WIDTH, _HEIGHT, _EDGE = 200, 22, 8


@dataclass(frozen=True, kw_only=True)
class ConditionView:
    """A hypothesis: what it asks, and a row and a picture for each scan."""

    key: str
    asked: str
    quantity: str
    rows: tuple[tuple[tuple[str, ...], Markup], ...]


@dataclass(frozen=True, kw_only=True)
class SlackView:
    """The section: a row for each hypothesis, then each with its scans, and what was found in sentences."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    scan_head: tuple[str, ...]
    conditions: tuple[ConditionView, ...]
    sentences: tuple[str, ...]
    provenance: tuple[str, ...]


def slack_view() -> SlackView | None:
    """What the page shows; None where the sweeps' conditions are not shipped or cannot be read."""
    found = shipped()
    if found is None:
        return None
    ends = _ends(found.conditions)
    return SlackView(
        head=SHORT_HEAD,
        rows=tuple(short_rows(found)),
        scan_head=FULL_HEAD,
        conditions=tuple(
            ConditionView(
                key=one.key,
                asked=one.asked,
                quantity=one.quantity,
                rows=tuple(
                    (
                        row,
                        slack_strip(
                            scan.slack(FIRM, rising=one.rising), scan.slack("1/2", rising=one.rising), ends, scan.words
                        ),
                    )
                    for row, scan in zip(full_rows(one), one.scans, strict=True)
                ),
            )
            for one in found.conditions
        ),
        sentences=tuple(sentences(found)),
        provenance=tuple(provenance(found)),
    )


def _ends(conditions: Sequence[Condition]) -> tuple[float, float]:
    """Of the logarithmic axis that all pictures share; 1 is on it."""
    pairs = [
        scan.slack(level, rising=one.rising) for one in conditions for scan in one.scans for level in scan.brackets
    ]
    known = [end for pair in pairs for end in pair if end is not None]
    return min(0.9, *known, 0.9) / 1.2, max(1.2, *known, 1.2) * 1.2


def slack_strip(firm: Pair, half: Pair, ends: tuple[float, float], words: str) -> Markup:
    """A small picture of one slack on a logarithmic axis with a tick at 1: thick for three starts of four, thin for half of them.

    An end that was not shown goes to the edge, with an arrow head.
    """

    def place(x: float) -> float:
        along = (math.log(x) - math.log(ends[0])) / (math.log(ends[1]) - math.log(ends[0]))
        return _EDGE + along * (_WIDTH - 2 * _EDGE)

    parts = [f'<line class="bound" x1="{place(1.0):.1f}" x2="{place(1.0):.1f}" y1="2" y2="{_HEIGHT - 2}"/>']
    for kind, pair, y in (("shown", firm, _HEIGHT / 2 - 3), ("half", half, _HEIGHT / 2 + 5)):
        if pair == (None, None):
            continue
        left, right = place(pair[0] or ends[0]), place(pair[1] or ends[1])
        parts.append(f'<line class="{kind}" x1="{left:.1f}" x2="{right:.1f}" y1="{y}" y2="{y}"/>')
        if pair[0] is None:
            parts.append(f'<path class="open" d="M{left:.1f} {y - 4}v8l-6 -4z"/>')
        if pair[1] is None:
            parts.append(f'<path class="open" d="M{right:.1f} {y - 4}v8l6 -4z"/>')
    firmly = (
        "not shown" if firm == (None, None) else " to ".join("not shown" if x is None else f"{x:.3g}" for x in firm)
    )
    return Markup('<svg class="reach" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, f"Slack, {words}: {firmly}", Markup("".join(parts))
    )


def sections() -> tuple[Section, ...]:
    """The section of the report; none where the sweeps' conditions are not shipped or cannot be read."""
    from polyseme.checks.core.report.page import environment

    view = slack_view()
    if view is None:
        return ()
    html = environment({}, Path(__file__).parent).get_template("slack.html.j2").render(view=view)
    return (Section(anchor="slack", title="How much slack the conditions have", html=html),)
