"""LaTeX as MathML, which browsers draw themselves."""

import re

import latex2mathml.converter
from markupsafe import Markup


def mathml(latex: str) -> Markup:
    """LaTeX as MathML; as source if the converter does not know it."""
    try:
        drawn = latex2mathml.converter.convert(latex, display="block")
    except Exception:  # the converter has a dozen unrelated exception classes, and one formula must not cost the report
        drawn = ""
    drawn = drawn.replace(r"\_", "_")  # which it leaves in \text
    if not drawn or "\\" in drawn:  # a backslash is a command that it passed through
        return Markup('<code class="raw">{}</code>').format(latex)
    # SymPy prints `\eta \tanh`, whose space TeX would set and MathML does not.
    return Markup(re.sub(r"<mi>([a-z]{2,})</mi>", r'<mi class="fn">\1</mi>', drawn))


def pieces(latex: str) -> list[Markup]:
    """A formula cut at its wide spaces, so that a narrow column can break it there; whole if that is not safe."""
    parts = [part for part in re.split(r"\\q?quad\b", latex) if part.strip(" ,;")]
    pairs = ((r"(?<!\\)\{", r"(?<!\\)\}"), (r"\\left\b", r"\\right\b"), (r"\\begin\b", r"\\end\b"))
    if any(len(re.findall(a, part)) != len(re.findall(b, part)) for part in parts for a, b in pairs):
        parts = [latex]
    return [mathml(part.strip()) for part in parts]
