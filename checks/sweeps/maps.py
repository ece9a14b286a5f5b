"""Maps of a sweep: a figure for each claim over two keys, with the lines known beforehand and the numbers behind it."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from checks.claim import Claim, Verdict
from checks.files import save_json
from checks.sweeps.boundaries import PENALTY, Plane, asked, foreseen, is_map_of_numbers
from checks.sweeps.mapped import (
    MARGIN,
    VERDICT,
    Sheet,
    Swept,
    besides,
    counts_exactly,
    facts_of,
    read_sweep,
    sheet_of,
    two_keys,
)
from theory.setting import PolysemeError

if TYPE_CHECKING:
    import matplotlib.figure

    from checks.figures.map_frame import Known

FOLDER = "maps"


@dataclass(frozen=True, kw_only=True)
class Map:
    """A figure, the name of its files, and the numbers behind it."""

    stem: str
    figure: "matplotlib.figure.Figure"
    numbers: Mapping[str, Any]


def draw_maps(
    folder: Path, out: Path, registered: Sequence[Claim], *, x: str | None, y: str | None, claim: str | None, show: str
) -> list[Path]:
    """Draw a map for each claim of the sweep in `folder`, or for one; the paths of what was written to `out`.

    The sweep may still run. PolysemeError with the names that would do for a key, a claim or a fact that is not there.
    """
    from checks.figures.style import save_figure

    swept = read_sweep(folder)
    if claim is not None and claim not in swept.claims:
        raise PolysemeError(f"--claim {claim}: got no claim of this sweep, expected one of {', '.join(swept.claims)}")
    keys = two_keys(swept, x, y)
    chosen = _with_numbers(swept, (claim,) if claim else swept.claims, show)
    written = []
    for name in chosen:
        drawn = draw_map(swept, name, keys, show, registered, given=(x, y))
        written += save_figure(drawn.figure, out, drawn.stem)
        save_json(out / f"{drawn.stem}.json", drawn.numbers)
        written.append(out / f"{drawn.stem}.json")
    return written


def draw_map(
    swept: Swept,
    name: str,
    keys: tuple[str, str],
    show: str,
    registered: Sequence[Claim],
    *,
    given: tuple[str | None, str | None] = (None, None),
) -> Map:
    """The map of one claim over two keys; `given` are those that were asked for."""
    sheet = sheet_of(swept, name, *keys, show)
    plane = Plane(swept, sheet.x, sheet.y)
    known = _known(swept, plane, sheet, next((each.hypotheses for each in registered if each.id == name), ()))
    note = _note(swept, plane, sheet, known)
    return Map(
        stem=_stem(swept, sheet, given=given),
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


def _known(swept: Swept, plane: Plane, sheet: Sheet, hypotheses: Sequence[Any]) -> "Known":
    from checks.figures.map_frame import Known

    if not is_map_of_numbers(sheet.x, sheet.y):
        return Known(foreseen={}, asked={})
    lines = foreseen(plane, sheet.claim, sheet.show, hypotheses, swept.drop)
    return Known(foreseen=lines, asked=asked(plane, hypotheses, swept.drop))


def _figure(swept: Swept, sheet: Sheet, known: "Known", note: str) -> Any:
    from checks.figures.number_map import number_map
    from checks.figures.verdict_map import verdict_map

    words = re.sub(r"level_[a-z]\b", lambda found: f"level {found[0][-1].upper()}", sheet.claim.partition("/")[2])
    words = words.replace("_", " ")
    what = {VERDICT: "", MARGIN: ": measured over allowed"}.get(sheet.show, f": {sheet.show}")
    draw = verdict_map if sheet.show == VERDICT else number_map
    return draw(sheet, known, title=f"{words[:1].upper()}{words[1:]}{what}", note=note, axes_of_sweep=swept.axes)


def _stem(swept: Swept, sheet: Sheet, *, given: tuple[str | None, str | None]) -> str:
    """The claim's last part, and what is not as it would be by default."""
    last = [name.partition("/")[2] for name in swept.claims]
    short = sheet.claim.partition("/")[2]
    stem = short if last.count(short) == 1 else sheet.claim.replace("/", "-")
    if sheet.show != VERDICT:
        stem += "-" + re.sub(r"\W+", "_", sheet.show).strip("_")
    if given != (None, None):
        stem += f"-{sheet.x.key}-{sheet.y.key}"
    return stem


def _note(swept: Swept, plane: Plane, sheet: Sheet, known: "Known") -> str:
    """What a reader has to know to read the map."""
    others = besides(swept, sheet.x.key, sheet.y.key)
    so_far = "" if swept.judged == swept.points else f" of {swept.points:,} so far"
    judged = f"{swept.judged:,} point{'s' * (swept.judged != 1)}{so_far}"
    if sheet.celled:
        sizes = sorted({len(points) for points in sheet.cells().values()})
        what = {VERDICT: "", MARGIN: ": their median, zeros included"}.get(sheet.show, ": their mean")
        what = what if sizes[-1] > 1 else ""
        number = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        over = f" (over {', '.join(others)})" if others else ""
        said = [f"{judged}, {number} to a cell{over}{what}."]
    else:
        kind = swept.design if swept.design == "random" else swept.design.title()
        too = f"; {' and '.join(others)} var{'y' if len(others) > 1 else 'ies'} besides" if others else ""
        kind = "grid" if kind == "Grid" else f"{kind} design"
        said = [f"{judged} of a {kind}{too}."]
        places, sizes = np.unique(sheet.at, axis=0, return_counts=True)
        if shared := int((sizes > 1).sum()):
            said.append(f"{shared:,} of {len(places):,} places have several points.")
        if sheet.contoured:
            said.append(
                "Linear between points; nothing is drawn outside their hull, nor around points without a number."
            )
    settled = {key: value for key, value in plane.settled.items() if key not in ("seed", "seeds", "device", "engine")}
    if settled and (known.foreseen or known.asked):
        values = ", ".join(f"{key} = {_word(value)}" for key, value in settled.items())
        said.append(f"Lines are those of {values}, the middle of what was swept.")
    if known.foreseen and any(set(swept.values[key]) != {0.0} for key in ("p_extra", "sigma_x", "sigma_y")):
        said.append("What is foreseen is that of pure prompts.")
    if PENALTY.label in known.foreseen:
        said.append(r"$\lambda_c$: half of the neurons living, the concept of smallest weight.")
    if not is_map_of_numbers(sheet.x, sheet.y):
        said.append("No lines between names.")
    return " ".join(said)


def _word(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _numbers(swept: Swept, plane: Plane, sheet: Sheet, known: "Known", note: str) -> dict[str, Any]:
    """The numbers behind a map."""
    found: dict[str, Any] = {
        "claim": sheet.claim,
        "show": sheet.show,
        "points": {"judged": swept.judged, "in the design": swept.points},
        **{side: _axis(scale) for side, scale in (("x", sheet.x), ("y", sheet.y))},
        "note": note,
        "other keys at lines": plane.settled,
        "foreseen": {label: [piece.tolist() for piece in line] for label, line in known.foreseen.items()},
        "asked": {
            key: {"towards": list(edge.towards), "holds": edge.where, "line": [piece.tolist() for piece in edge.line]}
            for key, edge in known.asked.items()
        },
    }
    if not sheet.celled:
        numbers = {} if sheet.show == VERDICT else {"numbers": sheet.numbers}
        return found | {"at": sheet.at, "verdicts": list(sheet.verdicts), **numbers}
    cells = []
    for (j, i), points in sorted(sheet.cells().items()):
        counts = Counter(sheet.verdicts[point] for point in points)
        cell = {"x": sheet.x.values[j], "y": sheet.y.values[i], **{verdict: counts[verdict] for verdict in Verdict}}
        cells.append(cell | ({} if sheet.show == VERDICT else {sheet.show: _or_none(sheet.centre(points))}))
    return found | {"cells": cells}


def _or_none(number: float) -> float | None:
    return None if math.isnan(number) else number


def _axis(scale: Any) -> dict[str, Any]:
    values = ["population" if value == math.inf else value for value in scale.values]
    return {"key": scale.key, "scale": scale.kind, "values": values}
