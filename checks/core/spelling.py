"""What somebody may have meant who typed a name that does not exist."""

from collections.abc import Iterable
from difflib import get_close_matches

# More alike than most two claims of one family are by chance, and still enough for a word that was left out.
ALIKE = 0.5
BEGUN = 0.9


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like a mistyped one; None if none is at all like it, or it is a glob."""
    if any(sign in name for sign in "*?["):
        return None
    names = list(known)
    # The beginning of a long name, mistyped, is most like the name that begins so.
    for begun in get_close_matches(
        name, [one[: len(name)] for one in names if len(one) > len(name)], n=1, cutoff=BEGUN
    ):
        return next(one for one in names if one.startswith(begun))
    close = get_close_matches(name, names, n=1, cutoff=ALIKE)
    return close[0] if close else None
