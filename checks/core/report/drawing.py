"""Figures among other figures in one page, and a small one for each claim."""

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from polyseme.checks.core.report.argument import StepView
from polyseme.checks.core.report.numerals import anchor, plain
from polyseme.checks.core.theory import FigureEntry

_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}href"
_UNWANTED = {f"{_SVG}{name}" for name in ("metadata", "script", "foreignObject", "image")}


def inlined(entry: FigureEntry, prefix: str) -> Markup:
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
            if child.tag in _UNWANTED:
                parent.remove(child)
            elif _is_note(child, entry.caption):
                for group in list(child.iter()):  # not the letters themselves, which others may use
                    for use in group.findall(f"{_SVG}use"):
                        group.remove(use)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag is ElementTree.Comment or child.tag is ElementTree.ProcessingInstruction:
                parent.remove(child)
    for element in root.iter():
        # HTML knows neither namespace prefixes nor the older name of href.
        if _XLINK in element.attrib:
            element.set("href", element.attrib.pop(_XLINK))
        for name, value in list(element.attrib.items()):
            if name.startswith("on") or (name == "href" and not value.startswith("#")):
                del element.attrib[name]  # the page loads nothing and runs nothing but its own script
            elif name == "id":
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
    """Whether this is the note of a figure, with which the caption begins.

    Its letters are paths; matplotlib keeps the words of each line in a comment beside them.
    """
    if element.get("id") != "note":
        return False
    lines = [comment.text or "" for comment in element.iter() if comment.tag is ElementTree.Comment]
    said = re.sub(r"\s", "", "".join(lines))  # a comment writes -- as - -
    return bool(said) and re.sub(r"\s", "", caption).startswith(said)


_WIDTH, _HEIGHT, _EDGE, _ZERO = 240, 26, 9, 26
_FAR = 6.0  # decades beyond the allowed value at which the axis ends: a wrong theory may be wrong by any amount


def strip(part: Mapping[str, Any]) -> Markup:
    """A small picture of one part of a claim on a logarithmic axis: what is allowed (bar), measured (dot), and each negative control (cross).

    Nothing where there is no allowed value, or a number that has no place on such an axis. What is not positive stands on the left
    edge, which is no part of the axis; what is off scale on the right edge.
    """
    numbers = {name: plain(x) for name, x in (("measured", part["measured"]), ("allowed", part["bound"]))}
    controls = {f"control {number}": plain(x["measured"]) for number, x in enumerate(part["controls"])}
    numbers |= controls
    if numbers["allowed"] is None or numbers["measured"] is None:
        return Markup("")
    known = {name: x for name, x in numbers.items() if x is not None}
    if any(map(math.isnan, known.values())):
        return Markup("")
    places = _places(known)
    y = _HEIGHT / 2
    parts = [
        f'<line class="axis" x1="{_EDGE}" x2="{_WIDTH - _EDGE}" y1="{y}" y2="{y}"/>',
        f'<rect class="allowed" x="{_EDGE}" width="{places["allowed"] - _EDGE:.1f}" y="{y - 4}" height="8" rx="2"/>',
        f'<line class="bound" x1="{places["allowed"]:.1f}" x2="{places["allowed"]:.1f}" y1="{y - 8}" y2="{y + 8}"/>',
    ]
    crosses = (places[name] for name in controls if name in places)
    parts += [f'<path class="control" d="M{x - 4:.1f} {y - 4}l8 8m0 -8l-8 8"/>' for x in crosses]
    parts.append(f'<circle class="measured" cx="{places["measured"]:.1f}" cy="{y}" r="4.5"/>')
    label = ", ".join(f"{'negative control' if name in controls else name} {x:.3g}" for name, x in known.items())
    return Markup(
        '<svg class="strip" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">{}</svg>'
    ).format(_WIDTH, _HEIGHT, _WIDTH, _HEIGHT, label, Markup("".join(parts)))


def _places(numbers: Mapping[str, float]) -> dict[str, float]:
    """Where the numbers stand, in pixels."""
    top = math.log10(numbers["allowed"]) + _FAR if numbers["allowed"] > 0 else math.inf
    decades = [min(math.log10(x), top) for x in numbers.values() if 0 < x < math.inf]
    low, high = (min(decades) - 0.4, max(decades) + 0.4) if decades else (0.0, 1.0)

    def place(x: float) -> float:
        if x <= 0:
            return float(_EDGE)
        along = (min(math.log10(x), top) - low) / (high - low) if x < math.inf else 1.0
        return _ZERO + along * (_WIDTH - _EDGE - _ZERO)

    return {name: place(x) for name, x in numbers.items()}


def steps_graph(steps: Sequence[StepView]) -> Markup:
    """The steps in a row, an arc from each to those that rest on it: wider for more uses, dashed where a used claim is not supported."""
    gap, rise = 84, 30
    x = {view.place: 26 + gap * number for number, view in enumerate(steps)}
    arcs = [(link.place, view.place, link) for view in steps for link in view.below]
    base = 18 + 0.85 * rise * math.sqrt(max([abs(x[a] - x[b]) / gap for a, b, _ in arcs], default=0.0))
    parts = []
    for a, b, link in arcs:
        top = base - 2 * 0.85 * rise * math.sqrt(
            abs(x[b] - x[a]) / gap
        )  # of the control point: the arc rises half as far
        width = 1 + 0.6 * math.log2(link.times)
        kind = "" if link.worst == "supported" else " broken"
        parts.append(
            f'<path class="arc{kind}" stroke-width="{width:.1f}" d="M{x[a]} {base}Q{(x[a] + x[b]) / 2} {top:.1f} {x[b]} {base}"/>'
        )
    for view in steps:
        kind = next(
            (name for name in ("error", "refuted", "missing", "inconclusive") if view.counts[name]), "supported"
        )
        kind = kind if view.counts[kind] else "not_applicable"
        parts.append(
            f'<a href="#step-{anchor(view.step.key)}"><circle class="node {kind}" cx="{x[view.place]}" cy="{base}" r="14"/>'
            f'<text x="{x[view.place]}" y="{base + 5}">{view.place}</text></a>'
        )
    told = "; ".join(
        f"step {view.place} rests on {', '.join(str(link.place) for link in view.below)}"
        for view in steps
        if view.below
    )
    wide = 26 + gap * (len(steps) - 1) + 26
    size = f'viewBox="0 0 {wide} {base + 20:.0f}" width="{1.1 * wide:.0f}"'
    return Markup('<svg class="graph" {} role="group" aria-label="{}">{}</svg>').format(
        Markup(size), f"How the steps rest on each other: {told or 'no step uses another'}.", Markup("".join(parts))
    )
