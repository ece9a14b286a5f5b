"""Numbers, wall times and identifiers as a person reads them."""

import math
import re

from markupsafe import Markup


def number(value: object) -> Markup | str:
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


def plain(value: object) -> float | None:
    """A number of results.json as a float, which writes what is not finite as text; None for what is no number."""
    if value is None or isinstance(value, bool):
        return None
    try:
        return float(value)  # pyright: ignore[reportArgumentType]  (what it refuses is the point)
    except (TypeError, ValueError, OverflowError):
        return None


def duration(seconds: float) -> str:
    """A wall time as a person says it."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def anchor(identifier: str) -> str:
    """A claim id as an HTML id; `/` would be legal there, but not in a CSS selector."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", identifier)


def breakable(identifier: str) -> Markup:
    """A long id with places where a line may break."""
    return Markup(re.sub(r"([/_])", r"\1<wbr>", str(Markup.escape(identifier))))
