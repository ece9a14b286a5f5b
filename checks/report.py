"""The report of a verification: one HTML file that needs nothing else (THEORY.md sections 7 and 8)."""

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import latex2mathml.converter
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from checks.claim import VERDICTS
from checks.files import write_atomic
from theory.setting import Regime

_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}href"


@dataclass(frozen=True, kw_only=True)
class Equation:
    """A derived equation as the report shows it.

    caption: what it says, one phrase. latex: SymPy's print of the executed object, without dollar signs.
    """

    caption: str
    latex: str


@dataclass(frozen=True, kw_only=True)
class FigureEntry:
    """A figure of the report. svg: the text of an SVG file; caption: also its long text alternative."""

    title: str
    caption: str
    svg: str


def write_report(
    path: Path,
    *,
    records: list[dict[str, Any]],
    equations: list[Equation],
    figures: list[FigureEntry],
    regime_tables: dict[str, Any],
    provenance: dict[str, Any],
    replay: str,
) -> None:
    """Write the report of one verification to `path`, whole or not at all.

    `records` are the claims exactly as in results.json; `regime_tables` the tables of the regime file;
    `provenance` versions, seeds and the like, in nested dicts, of which `regime` (a name) and `seconds`
    (wall time) are also told in the summary; `replay` the command that makes the report again. The file
    holds its styles, scripts and figures, and loads nothing. ValueError if a figure is not an SVG;
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
            sentence=summary_sentence(records),
            equations=equations,
            figures=[(entry, _inlined(entry, f"f{number}")) for number, entry in enumerate(figures, start=1)],
            regime_tables=regime_tables,
            provenance=provenance,
            replay=replay,
        )
    )
    write_atomic(path, page)


def summary_sentence(records: Iterable[Mapping[str, Any]]) -> str:
    """What holds and what does not, in one plain sentence."""
    counts = {str(verdict): 0 for verdict in VERDICTS}
    for record in records:
        counts[record["verdict"]] += 1
    outside, good = counts["not_applicable"], counts["supported"]
    applicable = sum(counts.values()) - outside
    if applicable == 0:
        return "No claim applies to this regime."
    if applicable == good == 1:
        return "The one claim that applies to this regime is supported."
    all_of = "All" if good == applicable else f"{good} of the"
    parts = [f"{all_of} {applicable} claims that apply to this regime are supported"]
    words = {
        "refuted": "refuted",
        "inconclusive": "inconclusive",
        "missing": "without evidence",
        "error": "in error",
    }
    parts += [
        f"{counts[verdict]} {'is' if counts[verdict] == 1 else 'are'} {word}"
        for verdict, word in words.items()
        if counts[verdict]
    ]
    if outside:
        parts.append(f"{outside} more {'does' if outside == 1 else 'do'} not apply")
    return "; ".join(parts) + "."


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
    }
    environment.globals |= {"meaning": _meaning}
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


def _inlined(entry: FigureEntry, prefix: str) -> Markup:
    """The SVG of a figure with its identifiers and styles made its own, ready to stand between others."""
    try:
        root = ElementTree.fromstring(entry.svg)
    except ElementTree.ParseError as error:
        raise ValueError(f"figure '{entry.title}': got text that is not XML ({error}), expected an SVG") from error
    if root.tag != f"{_SVG}svg":
        raise ValueError(f"figure '{entry.title}': got <{root.tag}>, expected an SVG")
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{_SVG}metadata":
                parent.remove(child)
    for element in root.iter():
        # HTML knows neither namespace prefixes nor the older name of href.
        if _XLINK in element.attrib:
            element.set("href", element.attrib.pop(_XLINK))
        for name, value in element.attrib.items():
            if name == "id":
                element.set(name, f"{prefix}-{value}")
            elif name == "href" and value.startswith("#"):
                element.set(name, f"#{prefix}-{value[1:]}")
            else:
                element.set(name, re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", value))
        if element.tag == f"{_SVG}style" and element.text:
            element.text = f"#{prefix} {{ {element.text} }}"  # a style inside a page holds for all of the page
    root.attrib |= {"id": prefix, "role": "img", "aria-label": f"{entry.title}. {entry.caption}"}
    ElementTree.register_namespace("", _SVG[1:-1])
    return Markup(ElementTree.tostring(root, encoding="unicode"))


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
