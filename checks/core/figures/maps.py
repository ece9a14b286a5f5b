"""Maps of a sweep: a figure for each claim over two keys, or over the only one, with the lines known beforehand and the numbers behind it."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyseme.checks.core.claim import Claim, Hypothesis, Verdict
from polyseme.checks.core.evidence import in_words
from polyseme.checks.core.sweeps.boundaries import Line, Plane, asked, boundaries_of, is_map_of_numbers, predicted
from polyseme.checks.core.sweeps.mapped import (
    MARGIN,
    VERDICT,
    Profile,
    Sheet,
    Swept,
    besides,
    chosen_keys,
    counts_exactly,
    facts_of,
    profile_of,
    read_sweep,
    share_supported,
    sheet_of,
)
from polyseme.checks.core.theory import Boundary, Theory
from polyseme.errors import PolysemeError
from polyseme.files import save_json

if TYPE_CHECKING:
    import matplotlib.figure

    from polyseme.checks.core.figures.map_frame import Known

FOLDER = "maps"
_BARS = "Bars: exact 95% intervals of each share by itself (Clopper and Pearson's)."


@dataclass(frozen=True, kw_only=True)
class Map:
    """A figure, the name of its files, and the numbers behind it."""

    stem: str
    figure: "matplotlib.figure.Figure"
    numbers: Mapping[str, Any]


def draw_maps(
    folder: Path,
    out: Path,
    theory: Theory,
    registered: Sequence[Claim],
    *,
    x: str | None,
    y: str | None,
    claim: str | None,
    show: str,
) -> list[Path]:
    """Draw a map for each claim of the sweep in `folder`, or for one; the paths of what was written to `out`.

    The sweep may still run. PolysemeError with the names that would do for a key, a claim or a fact that is not there.
    """
    from polyseme.checks.core.figures.style import save_figure

    swept = read_sweep(folder, theory.regime.keys())
    if claim is not None and claim not in swept.claims:
        raise PolysemeError(f"--claim {claim}: got no claim of this sweep, expected one of {', '.join(swept.claims)}")
    keys, show = chosen_keys(swept, x, y), in_words(show)
    chosen = _with_numbers(swept, (claim,) if claim else swept.claims, show)
    written = []
    for name in chosen:
        drawn = draw_map(swept, name, keys, show, theory, registered, given=(x, y))
        written += save_figure(drawn.figure, out, drawn.stem)
        save_json(out / f"{drawn.stem}.json", drawn.numbers)
        written.append(out / f"{drawn.stem}.json")
    return written


def draw_map(
    swept: Swept,
    name: str,
    keys: Sequence[str],
    show: str,
    theory: Theory,
    registered: Sequence[Claim],
    *,
    given: tuple[str | None, str | None] = (None, None),
) -> Map:
    """The map of one claim over two keys, or its profile over one; `given` are those that were asked for."""
    if len(keys) == 2:
        sheet = sheet_of(swept, name, keys[0], keys[1], show)
        plane = Plane(swept, sheet.x, sheet.y, theory.regime)
    else:
        sheet = profile_of(swept, name, keys[0], show)
        plane = Plane.along(swept, sheet.x, theory.regime)
    sheet = replace(
        sheet,
        is_share=any(
            part.facts.is_share(show) for each in registered if each.id == name for part in each.parts if part.facts
        ),
    )
    boundaries = boundaries_of(theory.boundaries, name, show)
    hypotheses = next((each.asked for each in registered if each.id == name), ())
    known = _known(swept, plane, boundaries, hypotheses)
    note = _note(swept, plane, sheet, known, boundaries)
    return Map(
        stem=_stem(swept, sheet, keys if given != (None, None) else ()),
        figure=_figure(swept, sheet, known, note),
        numbers=_numbers(swept, plane, sheet, known, note),
    )


def _with_numbers(swept: Swept, claims: Sequence[str], show: str) -> tuple[str, ...]:
    """The claims that have what is to be shown; PolysemeError if none has."""
    if show == VERDICT:
        return tuple(claims)
    if show == MARGIN and (found := tuple(name for name in claims if not counts_exactly(swept, name))):
        return found
    facts = {name: facts_of(swept, name) for name in claims}
    if found := tuple(name for name in claims if show in facts[name]):
        return found
    names = ", ".join(dict.fromkeys(f"'{fact}'" for each in facts.values() for fact in each))
    if show == MARGIN:
        several = len(claims) > 1
        raise PolysemeError(
            f"--show {MARGIN}: {' and '.join(claims)} count{'' if several else 's'} exactly (nothing is allowed), so "
            f"{'they have' if several else 'it has'} no margin; type --show {VERDICT}{', or one of the facts: ' + names if names else ''}"
        )
    raise PolysemeError(
        f"--show '{show}': got no number of that name among the facts, expected {VERDICT}, {MARGIN}{', or one of ' + names if names else ''}"
    )


def _known(swept: Swept, plane: Plane, boundaries: Sequence[Boundary], hypotheses: Sequence[Hypothesis]) -> "Known":
    from polyseme.checks.core.figures.map_frame import Known

    if not is_map_of_numbers(plane.x, plane.y):
        return Known(predicted={}, asked={})
    lines = predicted(plane, boundaries, hypotheses, swept.drop)
    return Known(predicted=lines, asked=asked(plane, hypotheses, swept.drop))


def _figure(swept: Swept, sheet: Sheet | Profile, known: "Known", note: str) -> Any:
    from polyseme.checks.core.figures.number_map import number_map
    from polyseme.checks.core.figures.number_profile import number_profile
    from polyseme.checks.core.figures.verdict_map import verdict_map
    from polyseme.checks.core.figures.verdict_profile import verdict_profile

    words = re.sub(r"level_[a-z]\b", lambda found: f"level {found[0][-1].upper()}", sheet.claim.partition("/")[2])
    words = words.replace("_", " ")
    what = {VERDICT: "", MARGIN: ": measured over allowed"}.get(sheet.show, f": {sheet.show}")
    told: dict[str, Any] = {
        "title": f"{words[:1].upper()}{words[1:]}{what}",
        "note": note,
        "axes_of_sweep": swept.axes,
    }
    if isinstance(sheet, Profile):
        return (verdict_profile if sheet.show == VERDICT else number_profile)(sheet, known, **told)
    return (verdict_map if sheet.show == VERDICT else number_map)(sheet, known, **told)


def _stem(swept: Swept, sheet: Sheet | Profile, named: Sequence[str]) -> str:
    """The claim's last part, and what is not as it would be by default."""
    last = [name.partition("/")[2] for name in swept.claims]
    short = sheet.claim.partition("/")[2]
    stem = short if last.count(short) == 1 else sheet.claim.replace("/", "-")
    if sheet.show != VERDICT:
        stem += "-" + re.sub(r"\W+", "_", sheet.show).strip("_")
    return "-".join([stem, *named])


def _note(swept: Swept, plane: Plane, sheet: Sheet | Profile, known: "Known", boundaries: Sequence[Boundary]) -> str:
    """What a reader has to know to read the map."""
    others = besides(swept, *_keys(sheet))
    so_far = "" if swept.judged == swept.points else f" of {swept.points:,} so far"
    judged = f"{swept.judged:,} point{'s' * (swept.judged != 1)}{so_far}"
    if sheet.celled:
        sizes = sorted({len(points) for points in sheet.cells().values()})
        what = {VERDICT: "", MARGIN: ": their median, zeros included"}.get(sheet.show, ": their mean")
        what = what if sizes[-1] > 1 else ""
        number = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        over = f" (over {', '.join(others)})" if others else ""
        said = [f"{judged}, {number} to a {'cell' if isinstance(sheet, Sheet) else 'value'}{over}{what}."]
        if isinstance(sheet, Profile) and sheet.several:
            bars = _BARS if {Verdict.SUPPORTED, Verdict.REFUTED} & {*sheet.verdicts} else "Nothing was decided."
            said.append(bars if sheet.show == VERDICT else "Points of one value are drawn side by side.")
    else:
        kind = swept.design if swept.design == "random" else swept.design.title()
        too = f"; {' and '.join(others)} var{'y' if len(others) > 1 else 'ies'} besides" if others else ""
        kind = "grid" if kind == "Grid" else f"{kind} design"
        said = [f"{judged} of a {kind}{too}."]
        places, sizes = np.unique(sheet.at, axis=0, return_counts=True)
        if shared := int((sizes > 1).sum()):
            said.append(f"{shared:,} of {len(places):,} places have several points.")
        if isinstance(sheet, Profile) and sheet.show == VERDICT:
            said.append("Within a row heights say nothing.")
        if isinstance(sheet, Sheet) and sheet.contoured:
            said.append(
                "Linear between points; nothing is drawn outside their hull, nor around points without a number."
            )
    shown = [key for key in plane.settled if key not in swept.keys or swept.keys[key].role in ("physics", "size")]
    if shown and (known.predicted or known.asked):
        values = ", ".join(f"{key} = {_word(plane.settled[key])}" for key in shown)
        said.append(f"Lines are those of {values}, the middle of what was swept.")
    remarks = [x for one in boundaries if one.label in known.predicted for x in one.remark(swept.values)]
    said += dict.fromkeys(remarks)
    if not is_map_of_numbers(plane.x, plane.y):
        said.append("No lines between names.")
    return " ".join(said)


def _word(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _keys(sheet: Sheet | Profile) -> tuple[str, ...]:
    return (sheet.x.key, sheet.y.key) if isinstance(sheet, Sheet) else (sheet.x.key,)


def _numbers(swept: Swept, plane: Plane, sheet: Sheet | Profile, known: "Known", note: str) -> dict[str, Any]:
    """The numbers behind a map; lines of a profile are the places at which they cut it."""

    def places(line: Line) -> list[Any]:
        return [piece.tolist() if isinstance(sheet, Sheet) else float(piece[0, 0]) for piece in line]

    found: dict[str, Any] = {
        "claim": sheet.claim,
        "show": sheet.show,
        "points": {"judged": swept.judged, "in the design": swept.points},
        "x": _axis(sheet.x),
        **({"y": _axis(sheet.y)} if isinstance(sheet, Sheet) else {}),
        "note": note,
        "other keys at lines": plane.settled,
        "predicted": {label: places(line) for label, line in known.predicted.items()},
        "asked": {
            key: {
                "towards": list(edge.towards) if isinstance(sheet, Sheet) else edge.towards[0],
                "holds": edge.where,
                "line": places(edge.line),
            }
            for key, edge in known.asked.items()
        },
    }
    if not sheet.celled:
        numbers = {} if sheet.show == VERDICT else {"numbers": sheet.numbers}
        return found | {"at": sheet.at, "verdicts": list(sheet.verdicts), **numbers}
    if isinstance(sheet, Profile):
        return found | {"cells": [_value(sheet, j, points) for j, points in sorted(sheet.cells().items())]}
    cells = []
    for (j, i), points in sorted(sheet.cells().items()):
        cells.append({"x": sheet.x.values[j], "y": sheet.y.values[i]} | _cell(sheet, points))
    return found | {"cells": cells}


def _cell(sheet: Sheet | Profile, points: Sequence[int]) -> dict[str, Any]:
    """How many points have each verdict, and their number."""
    counts = Counter(sheet.verdicts[point] for point in points)
    number = {} if sheet.show == VERDICT else {sheet.show: _or_none(sheet.centre(points))}
    return {verdict: counts[verdict] for verdict in Verdict} | number


def _value(sheet: Profile, j: int, points: Sequence[int]) -> dict[str, Any]:
    """What a profile shows at one value."""
    cell = {"x": _axis(sheet.x)["values"][j]} | _cell(sheet, points)
    if sheet.show != VERDICT:
        return cell | {"numbers": [_or_none(number) for number in sheet.numbers[list(points)].tolist()]}
    if not sheet.several:
        return cell
    supported = cell[Verdict.SUPPORTED]
    decided = supported + cell[Verdict.REFUTED]
    share, *interval = share_supported(supported, decided) if decided else (None,)
    return cell | {"share supported": share, "interval": interval or None}


def _or_none(number: float) -> float | None:
    return None if math.isnan(number) else number


def _axis(scale: Any) -> dict[str, Any]:
    values = [scale.infinite if scale.infinite and value == math.inf else value for value in scale.values]
    return {"key": scale.key, "scale": scale.kind, "values": values}
