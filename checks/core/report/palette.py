"""The colours of the pages, light and dark, and which of them is written on which."""

COLOURS: dict[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#14171b"),
    "card": ("#ffffff", "#1a1e23"),
    "soft": ("#f4f5f7", "#20252b"),
    "ink": ("#1d2024", "#e4e6e9"),
    "quiet": ("#59606a", "#a3abb4"),
    "line": ("#dfe3e7", "#333a42"),
    "link": ("#0a5a9c", "#7fbcf2"),
    "focus": ("#b84c00", "#ff9a4d"),
    "plate": ("#ffffff", "#ffffff"),
    "good": ("#00684c", "#6fdcb4"),
    "good-soft": ("#dff3ea", "#123328"),
    "bad": ("#a33a00", "#ffa477"),
    "bad-soft": ("#fdeae0", "#3d2013"),
    "mid": ("#735000", "#f0c765"),
    "mid-soft": ("#fdf2d4", "#362b0e"),
    "off": ("#525961", "#b4bbc3"),
    "off-soft": ("#eceef1", "#2a2f35"),
    "odd": ("#8a2a6b", "#f0a6d6"),
    "odd-soft": ("#f9e6f2", "#3a1b30"),
}
"""Each colour as (light, dark). Figures are drawn in dark ink, so `plate`, on which they lie, is light in both."""

WRITTEN: dict[str, tuple[str, ...]] = {
    "ink": ("paper", "card", "soft"),
    "quiet": ("paper", "card", "soft"),
    "link": ("paper", "card", "soft"),
    "good": ("paper", "card", "good-soft"),
    "bad": ("paper", "card", "bad-soft"),
    "mid": ("paper", "card", "mid-soft"),
    "off": ("paper", "card", "off-soft"),
    "odd": ("paper", "card", "odd-soft"),
}
"""Which colour of text stands on which grounds; the contrast of each pair is at least 4.5 (WCAG 2.2, AA)."""


def variables(dark: bool) -> str:
    """The colours as CSS variables."""
    return " ".join(f"--{name}: {pair[dark]};" for name, pair in COLOURS.items())


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours written #rrggbb, from 1 to 21 (WCAG 2.2, relative luminance)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
