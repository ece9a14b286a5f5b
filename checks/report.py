"""The report of a verification: one HTML file that needs nothing else (THEORY.md sections 7 and 8)."""

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import latex2mathml.converter
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from checks.budget import SUITE_FALSE_ALARM
from checks.claim import VERDICTS
from checks.files import write_atomic
from checks.ledger import GROUNDS
from theory.setting import Regime

_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}href"

_WORDS = {
    "supported": "supported",
    "refuted": "refuted",
    "inconclusive": "inconclusive",
    "missing": "without evidence",
    "error": "in error",
}
_COLUMNS = {
    "exact": {"name": "name", "residual": "residual"},
    "compared": {
        "name": "name",
        "difference": "difference",
        "scale": "scale",
        "roundings": "allowed round-offs",
    },
    "estimated": {
        "name": "name",
        "estimate": "estimate",
        "standard_error": "standard error",
        "samples": "samples",
        "scale": "scale",
    },
    "fitted": {"name": "name", "order": "order", "half_width": "half width"},
    "bounded": {
        "name": "name",
        "value": "value",
        "bound": "bound",
        "standard_error": "standard error",
        "samples": "samples",
    },
    "counted": {"name": "name", "hits": "hits", "trials": "trials", "bound": "bound"},
    "points": {
        "name": "name",
        "places": "places",
        "means": "means",
        "standard_errors": "standard errors",
        "samples": "samples",
    },
    "distance": {"name": "name", "distance": "distance", "samples": "samples", "others": "samples of the other"},
}
"""The kinds of evidence rows (`checks.claim.Row`), with the heading of each field."""


@dataclass(frozen=True, kw_only=True)
class Equation:
    """A derived equation as the report shows it.

    caption: what it says, one phrase. latex: SymPy's print of the executed object, without dollar signs.
    """

    caption: str
    latex: str


@dataclass(frozen=True, kw_only=True)
class FigureEntry:
    """A figure of the report. svg: the text of an SVG file; caption: also its long text alternative.

    Text in the SVG with the id `note` that equals the caption is not shown a second time.
    """

    title: str
    caption: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class EvidenceTable:
    """Evidence rows of one kind, as a table: the worst first where `order` says what that is.

    `zeros` names the residuals that are exactly zero, which need no row each.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    order: str = ""
    zeros: tuple[str, ...] = ()


def write_report(
    path: Path,
    *,
    records: list[dict[str, Any]],
    equations: list[Equation],
    figures: list[FigureEntry],
    regime_tables: dict[str, Any],
    provenance: dict[str, Any],
    replay: str,
    notation: Sequence[tuple[str, str]] = (),
    blocks: Sequence[tuple[str, str, str, str]] = (),
    partial: bool = False,
    total: int | None = None,
) -> None:
    """Write the report of one verification to `path`, whole or not at all.

    `records` are the claims exactly as in results.json; `regime_tables` the tables of the regime file;
    `provenance` versions, seeds and the like, in nested dicts, of which `regime` (a name) and `seconds`
    (wall time) are also told in the summary; `replay` the command that makes the report again. `notation`
    are (LaTeX, meaning) pairs that head the equations, `blocks` rows of (matrix, blocks, lives or not, reason). `partial` says that only a part of the `total` claims
    that there are was tried. The file holds its styles, scripts and figures, and loads nothing. ValueError if a figure is not an SVG;
    LaTeX that cannot be converted is shown as it is. PolysemeError if the file cannot be written.
    """
    families = list(dict.fromkeys(record["family"] for record in records))
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            records=records,
            families={name: [record for record in records if record["family"] == name] for name in families},
            counts={verdict: sum(record["verdict"] == verdict for record in records) for verdict in VERDICTS},
            verdicts=VERDICTS,
            sentence=summary_sentence(records, partial=partial, total=total),
            part=_part(len(records), total) if partial and len(records) != total else "",
            notation=notation,
            blocks=blocks,
            equations=equations,
            figures=[(entry, _inlined(entry, f"f{number}")) for number, entry in enumerate(figures, start=1)],
            regime_tables=regime_tables,
            provenance=provenance,
            replay=replay,
            grounds={ground: sum(ground in record["in_the_end"] for record in records) for ground in GROUNDS},
            meanings=GROUNDS,
            budget=SUITE_FALSE_ALARM,
            statistical=[record for record in records if record["statistics"]],
        )
    )
    write_atomic(path, page)


def summary_sentence(records: Iterable[Mapping[str, Any]], *, partial: bool = False, total: int | None = None) -> str:
    """What holds and what does not, in plain words; and first, if so, that only a part of `total` was tried."""
    records = list(records)
    is_part = partial and len(records) != total
    opening, tried = (f"{_part(len(records), total)} ", "tried ") if is_part else ("", "")
    if is_part and not records:
        return opening.strip()
    groups = {str(verdict): [record for record in records if record["verdict"] == verdict] for verdict in VERDICTS}
    found = {word: groups[verdict] for verdict, word in _WORDS.items() if groups[verdict]}
    applicable = sum(map(len, found.values()))
    if not found:
        return f"{opening}No {tried}claim applies to this regime."
    noun = f"{tried}claims that apply to this regime"
    if len(found) == 1:
        ((word, group),) = found.items()
        one = f"The one {tried}claim that applies to this regime is"
        subject = {1: one, 2: f"Both {noun} are"}.get(applicable, f"All {applicable} {noun} are")
        parts = [f"{subject} {word}{_about_any_regime(group)}"]
    else:
        good = found.pop("supported", [])
        subject = f"{len(good) or 'None'} of the {applicable} {noun} {'are' if len(good) > 1 else 'is'}"
        parts = [f"{subject} supported{_about_any_regime(good)}"]
        parts += [f"{len(group)} {'is' if len(group) == 1 else 'are'} {word}" for word, group in found.items()]
    if outside := len(groups["not_applicable"]):
        parts.append(f"{outside} more {'does' if outside == 1 else 'do'} not apply")
    return opening + "; ".join(parts) + "."


def _part(tried: int, total: int | None) -> str:
    """That only some claims were tried."""
    if tried == 0:
        return "No claim was tried."
    return f"Only {tried} of {'the' if total is None else total} claims {'was' if tried == 1 else 'were'} tried."


def _about_any_regime(group: Sequence[Mapping[str, Any]]) -> str:
    """How many claims of a group are about any regime, in brackets; nothing if none is."""
    count = sum(record.get("scope") == "any regime" for record in group)
    if count == 0:
        return ""
    if len(group) == 1:
        return " (it is about any regime)"
    them = ("both" if count == 2 else "all") if count == len(group) else str(count)
    return f" ({them} of them {'is' if count == 1 else 'are'} about any regime)"


def _environment() -> Environment:
    """Jinja2 with everything escaped that we did not make ourselves, and with the filters of the template."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "math": _math,
        "anchor": _anchor,
        "breakable": _breakable,
        "duration": _duration,
        "formulas": _formulas,
    }
    environment.globals |= {"meaning": _meaning, "evidence_tables": _evidence_tables}
    return environment


def _number(value: object) -> Markup | str:
    """A number with four digits and a readable power of ten; other values as text; None as a dash."""
    if value is None:
        return "—"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return {"NaN": "not a number", "Infinity": "∞", "-Infinity": "−∞"}.get(str(value), str(value))
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if isinstance(value, int) and abs(value) < 10**9:
        return str(value).replace("-", "−")
    digits, _, power = f"{value:.4g}".replace("-", "−").partition("e")
    if not power:
        return digits
    exponent = power.replace("+", "").replace("−", "-")
    return Markup("{} × 10<sup>{}</sup>").format(digits, str(int(exponent)).replace("-", "−"))


def _math(latex: str) -> Markup:
    """LaTeX as MathML, which browsers draw themselves; as source if the converter does not know it."""
    try:
        mathml = latex2mathml.converter.convert(latex, display="block")
    except Exception:  # the converter has a dozen unrelated exception classes, and one formula must not cost the report
        mathml = ""
    mathml = mathml.replace(r"\_", "_")  # which it leaves in \text
    if not mathml or "\\" in mathml:  # a backslash is a command that it passed through
        return Markup('<code class="raw">{}</code>').format(latex)
    # SymPy prints `\eta \tanh`, whose space TeX would set and MathML does not.
    return Markup(re.sub(r"<mi>([a-z]{2,})</mi>", r'<mi class="fn">\1</mi>', mathml))


def _formulas(latex: str) -> list[Markup]:
    """A formula cut at its wide spaces, so that a narrow column can break it there; whole if that is not safe."""
    pieces = [piece for piece in re.split(r"\\q?quad\b", latex) if piece.strip(" ,;")]
    pairs = ((r"(?<!\\)\{", r"(?<!\\)\}"), (r"\\left\b", r"\\right\b"), (r"\\begin\b", r"\\end\b"))
    if any(len(re.findall(a, piece)) != len(re.findall(b, piece)) for piece in pieces for a, b in pairs):
        pieces = [latex]
    return [_math(piece.strip()) for piece in pieces]


def _evidence_tables(evidence: Any) -> list[EvidenceTable] | None:
    """The rows of a claim's evidence as one table for each kind; None if they are not of a shape known here."""
    rows = evidence.get("rows") if isinstance(evidence, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        return None
    if not all(row.keys() >= _COLUMNS.get(str(row.get("kind")), {"no such kind": ""}).keys() for row in rows):
        return None
    kinds = dict.fromkeys(row["kind"] for row in rows)
    return [_evidence_table(kind, [row for row in rows if row["kind"] == kind]) for kind in kinds]


def _evidence_table(kind: str, rows: list[Mapping[str, Any]]) -> EvidenceTable:
    """Rows of one kind with their known columns first, then whatever else they hold."""
    others = {key: key.replace("_", " ") for row in rows for key in row if key not in {"kind", *_COLUMNS[kind]}}
    columns = _COLUMNS[kind] | others
    zeros = [row for row in rows if _is_zero(row)]
    shown = sorted((row for row in rows if not _is_zero(row)), key=_badness, reverse=True)
    orders = {"compared": "nearest to its bound first", "estimated": "largest share of its scale first"}
    return EvidenceTable(
        columns=tuple(columns.values()),
        rows=[tuple(_clipped(row.get(key)) for key in columns) for row in shown],
        order=orders.get(kind, "") if len(shown) > 1 else "",
        zeros=tuple(str(row["name"]) for row in zeros),
    )


def _is_zero(row: Mapping[str, Any]) -> bool:
    return row["kind"] == "exact" and str(row["residual"]) in {"0", "0.0"}


def _badness(row: Mapping[str, Any]) -> float:
    """What a row of numbers is sorted by; what is not a number counts as the worst."""
    try:
        if row["kind"] == "compared":
            value = float(row["difference"]) / (float(row["scale"]) * float(row["roundings"]))
        elif row["kind"] == "estimated":
            value = abs(float(row["estimate"])) / float(row["scale"])
        else:
            return 0.0
    except (TypeError, ValueError, ZeroDivisionError):
        return math.inf
    return math.inf if math.isnan(value) else value


def _clipped(value: Any) -> Any:
    """Text that is longer than anybody reads, cut; results.json has all of it."""
    return f"{value[:297]}…" if isinstance(value, str) and len(value) > 300 else value


def _inlined(entry: FigureEntry, prefix: str) -> Markup:
    """The SVG of a figure with its identifiers and styles made its own, ready to stand between others."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    try:
        root = ElementTree.fromstring(entry.svg, parser)
    except ElementTree.ParseError as error:
        raise ValueError(f"figure '{entry.title}': got text that is not XML ({error}), expected an SVG") from error
    if root.tag != f"{_SVG}svg":
        raise ValueError(f"figure '{entry.title}': got <{root.tag}>, expected an SVG")
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{_SVG}metadata":
                parent.remove(child)
            elif _is_note(child, entry.caption):
                for group in list(child.iter()):  # not the letters themselves, which others may use
                    for use in group.findall(f"{_SVG}use"):
                        group.remove(use)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag is ElementTree.Comment:
                parent.remove(child)
    for element in root.iter():
        # HTML knows neither namespace prefixes nor the older name of href.
        if _XLINK in element.attrib:
            element.set("href", element.attrib.pop(_XLINK))
        for name, value in element.attrib.items():
            if name == "id":
                element.set(name, f"{prefix}-{value}")
            elif name == "href" and value.startswith("#") and not value.startswith("#about-"):
                element.set(name, f"#{prefix}-{value[1:]}")
            else:
                element.set(name, re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", value))
        if element.tag == f"{_SVG}style" and element.text:
            element.text = f"#{prefix} {{ {element.text} }}"  # a style inside a page holds for all of the page
    root.attrib |= {"id": prefix, "role": "img", "aria-label": f"{entry.title}. {entry.caption}"}
    ElementTree.register_namespace("", _SVG[1:-1])
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _is_note(element: ElementTree.Element, caption: str) -> bool:
    """Whether this is the note of a figure and says what the caption says.

    Its letters are paths; matplotlib keeps the words of each line in a comment beside them.
    """
    if element.get("id") != "note":
        return False
    lines = [comment.text or "" for comment in element.iter() if comment.tag is ElementTree.Comment]
    return re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", caption)  # a comment writes -- as - -


def _anchor(identifier: str) -> str:
    """A claim id as an HTML id; `/` would be legal there, but not in a CSS selector."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", identifier)


def _breakable(identifier: str) -> Markup:
    """A long id with places where a line may break."""
    return Markup(re.sub(r"([/_])", r"\1<wbr>", str(Markup.escape(identifier))))


def _duration(seconds: float) -> str:
    """A wall time as a person says it."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _meaning(table: str, key: str) -> str:
    """What a regime key means, in the words of the regime itself; nothing for a key that it does not have."""
    section = Regime.model_fields.get(table)
    fields = getattr(section.annotation, "model_fields", {}) if section else {}
    return (fields[key].description or "") if key in fields else ""
