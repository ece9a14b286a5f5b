"""The figure that shows what each claim rests on: the graph of uses as arcs beside the list of claims."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polyseme.checks.core.figures.palette import GREEN, GREY, INK, ORANGE, ORANGE_WORDS, PURPLE, RED, STONE
from polyseme.checks.core.figures.style import style

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_COLOURS = {
    "supported": GREEN,
    "refuted": RED,
    "error": PURPLE,
    "inconclusive": ORANGE,
    "missing": ORANGE,
    "not_applicable": STONE,
}
_WORDS = {ORANGE: ORANGE_WORDS, STONE: GREY}
_ROW, _HEADING, _WIDTH = 0.185, 0.30, 7.0  # inches
_NAMES, _HEAD, _FOOT = 3.05, 0.62, 0.10


def uses_graph(records: Sequence[Mapping[str, Any]]) -> "matplotlib.figure.Figure":
    """One row per claim in the order of the argument; an arc leads from each claim down to each that uses it.

    `records` are the claims of results.json, of which `id`, `family`, `verdict`, `uses` and `fully_supported` are read.
    A full dot is fully supported: the claim and everything below it is. A ring is supported, but rests on something that is
    not, or that was not tried. Names link to the claims in the report.
    """
    rows: list[tuple[Mapping[str, Any] | None, str]] = []
    for family in dict.fromkeys(str(record["family"]) for record in records):
        rows += [(None, family), *((record, family) for record in records if record["family"] == family)]
    height = _HEAD + _FOOT + _ROW + sum(_HEADING if record is None else _ROW for record, _ in rows)
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(_WIDTH, height))
        axes = figure.add_axes((_NAMES / _WIDTH, _FOOT / height, 1 - _NAMES / _WIDTH, 1 - (_HEAD + _FOOT) / height))
        axes.set_axis_off()
        places: dict[str, float] = {}
        y = 0.0
        for record, family in rows:
            y += _HEADING if record is None else _ROW
            if record is None:
                axes.annotate(family, (0, y), (6 - 72 * _NAMES, 0), **_beside(axes), weight="bold", size=9)
            else:
                places[str(record["id"])] = y
                _draw_claim(axes, record, y)
        _draw_arcs(axes, records, places)
        axes.set_xlim(-0.12, _WIDTH - _NAMES - 0.12)  # inches, as y is
        axes.set_ylim(y + _ROW, 0.1)
        figure.text(0.06 / _WIDTH, 1 - 0.06 / height, "What rests on what", size=11, weight="bold", va="top")
        figure.legend(*_legend(), loc="upper left", bbox_to_anchor=(0, 1 - 0.27 / height), ncols=4)
    return figure


def _draw_claim(axes: "matplotlib.axes.Axes", record: Mapping[str, Any], y: float) -> None:
    name = str(record["id"]).partition("/")[2].replace("_", " ")
    name = name if len(name) <= 54 else f"{name[:53]}…"
    colour = _COLOURS.get(str(record["verdict"]), STONE)
    supported = record["verdict"] == "supported"
    text = axes.annotate(name, (0, y), (12 - 72 * _NAMES, 0), **_beside(axes), size=8, color=INK if supported else GREY)
    text.set_url(f"#about-{str(record['id']).replace('/', '-')}")
    full = record["fully_supported"] is True
    axes.plot(0, y, "o", ms=5.5, mew=1.3, mec=colour, mfc=colour if full or not supported else "white", zorder=5)
    if not supported:
        axes.annotate(
            str(record["verdict"]).replace("_", " "),
            (0, y),
            (9, 0),
            textcoords="offset points",
            va="center",
            size=8,
            color=_WORDS.get(colour, colour),
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
            zorder=4,  # over the arcs
        )


def _draw_arcs(axes: "matplotlib.axes.Axes", records: Sequence[Mapping[str, Any]], places: Mapping[str, float]) -> None:
    """Half ellipses to the right, wider for claims further apart; those of what is not supported are dashed."""
    from matplotlib.patches import Arc

    span = max(places.values(), default=1.0)
    for record in records:
        for used in record["uses"]:
            if used not in places:
                continue
            top, bottom = places[used], places[str(record["id"])]
            distance = abs(bottom - top)
            width = 2 * (_WIDTH - _NAMES - 0.35) * (distance / span) ** 0.6
            good = next(x for x in records if x["id"] == used)["verdict"] == "supported"
            axes.add_patch(
                Arc(
                    (0, (top + bottom) / 2),
                    width,
                    distance,
                    theta1=-90,
                    theta2=90,
                    lw=0.8,
                    color=STONE if good else RED,
                    ls="-" if good else "--",
                    zorder=2,
                )
            )


def _legend() -> tuple[list[Any], list[str]]:
    """What the marks mean: handles and words."""
    from matplotlib.lines import Line2D

    good, bad = _COLOURS["supported"], _COLOURS["refuted"]
    handles = [
        Line2D([], [], marker="o", ls="none", color=good, ms=5.5),
        Line2D([], [], marker="o", ls="none", mec=good, mfc="white", ms=5.5, mew=1.3),
        Line2D([], [], marker="o", ls="none", color=bad, ms=5.5),
        Line2D([], [], color=STONE, lw=0.8),
    ]
    return handles, ["fully supported", "supported, but rests on what is not", "not supported", "used by one below"]


def _beside(axes: "matplotlib.axes.Axes") -> dict[str, Any]:
    """How a word is placed in the left margin: x in axes, y in data, an offset in points."""
    return {
        "xycoords": axes.get_yaxis_transform(),
        "textcoords": "offset points",
        "va": "center",
        "annotation_clip": False,
    }
