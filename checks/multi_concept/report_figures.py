"""The figures of a verification, each with the caption that belongs under it and the claims that it shows."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polyseme.checks.core.figures.style import save_figure
from polyseme.checks.core.provenance import Record
from polyseme.checks.core.theory import FigureEntry
from polyseme.checks.multi_concept.curves import Curves
from polyseme.checks.multi_concept.drawings import Drawing, learning_drawing, transfer_drawing
from polyseme.checks.multi_concept.figures.error_curve import error_curve_figure, error_curve_note
from polyseme.checks.multi_concept.figures.fluctuation import deviation_figure, phase_figure
from polyseme.checks.multi_concept.figures.thresholds import threshold_figure
from polyseme.checks.multi_concept.out_of_distribution.curves import OtherLaw
from polyseme.theory.multi_concept.regime import Regime

if TYPE_CHECKING:
    import matplotlib.figure

_PRODUCTS = (
    "Products are the largest entries of W_K^T W_Q and of W_O: on b and d (concept-specific), on a, c and across concepts "
    "(complement), and elsewhere (noise)."
)

_CURVE = (
    "Dots: an independent ensemble of the full model; squares: splitting, with two standard errors; crosses: what delayed escape "
    "predicts from the states at the end of the plateau alone. Right: local rates of survivors with simultaneous intervals."
)

_DEVIATION = (
    "Distance of SGD of the reduced recursion from the deterministic one. a, b: from a lifted start whose gates never move; lines: linear "
    "noise. c: variances over those of linear noise, two standard errors; shaded: what the claim allows. d: from an ordinary start, where "
    "gates move and neurons sit on kinks: 256 seeds."
)
_PHASES = (
    "Along the deterministic path: a, the least curvature of the regularised risk (the contraction that the bound assumes asks for a "
    "positive one); b, distance of the nearest gate from its kink; c, the bound on the error without any allowance for kinks, and the "
    "error of the path."
)

_STARTS = (
    "Level B by population descent, law of section 1 with matching prompts; random starts, 256 neurons or 8 starts at least for each cell or "
    "dot (d: 5 starts, m = 16)."
)
_THRESHOLDS = (
    "Shares of concepts that are learned. a: line, the penalty is critical; dotted and dashed, the law of the width at .5 and .9. b, c: three "
    "widths, K1 = 2; dashed, lam_c; dotted, the law of the width. d: the MLP's half-time over attention's, medians; line: where they are equal with "
    "two demonstrations."
)


def report_figures(
    regime: Regime,
    curves: Curves,
    found: Sequence[OtherLaw],
    records: Sequence[Record],
    out: Path,
    *,
    name: str,
) -> Iterator[FigureEntry]:
    """Draw, write into `out`/figures, and yield one figure after the other; those whose numbers were not measured are left out.

    `found`: the ensemble on other laws, or nothing.
    """
    drawings = [learning_drawing(regime, curves, name)]
    if found:
        drawings.append(transfer_drawing(regime, curves, found, name))
    titles = {"learning_dynamics": "Learning dynamics", "out_of_distribution": "Out of distribution"}
    of_runs = [(one.stem, titles[one.stem], one.figure, _caption(one)) for one in drawings]
    for stem, title, figure, caption in (*_of_curves(records, name), *of_runs, *_of_claims(records, name)):
        if figure is None:
            continue
        svg, _ = save_figure(figure, out / "figures", stem)
        yield FigureEntry(
            title=title,
            caption=caption,
            svg=svg.read_text(encoding="utf-8"),
            stem=stem,
        )


Entry = tuple[str, str, "matplotlib.figure.Figure | None", str]


def _caption(one: Drawing) -> str:
    return f"{one.caption} {_PRODUCTS}" if one.stem == "learning_dynamics" else one.caption


def _of_curves(records: Sequence[Record], name: str) -> list[Entry]:
    curve = error_curve_figure(records, title=f"The error curve, {name}")
    note = f"{error_curve_note(records)} {_CURVE}" if curve else ""
    return [("error_curve", "The error curve", curve, note)]


def _of_claims(records: Sequence[Record], name: str) -> list[Entry]:
    thresholds = "What is learned, and in which order"
    return [
        (
            "deviation",
            "SGD beside the recursion",
            deviation_figure(records, title=f"SGD beside the recursion, {name}"),
            _DEVIATION,
        ),
        (
            "phases",
            "Where the bound's hypotheses hold",
            phase_figure(records, title=f"The bound's hypotheses, {name}"),
            _PHASES,
        ),
        (
            "thresholds",
            thresholds,
            threshold_figure(records, title=thresholds, note=_STARTS),
            f"{_STARTS} {_THRESHOLDS}",
        ),
    ]
