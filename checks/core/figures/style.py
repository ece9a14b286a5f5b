"""Matplotlib, used so that it leaves no trace and draws the same bytes everywhere (section 8)."""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from polyseme.files import write_atomic

if TYPE_CHECKING:
    import matplotlib.figure

STYLE = Path(__file__).with_name("polyseme.mplstyle")


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Matplotlib with our style alone, imported here because its first import reads MPLCONFIGDIR.

    Matplotlib writes a font cache when it is imported. Unless the user chose a place for it, it goes to a
    folder that is gone before this returns. So does the cache of fontconfig, which it asks for fonts.
    """
    with contextlib.ExitStack() as stack:
        if "MPLCONFIGDIR" not in os.environ:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="polyseme-")))
            (folder / "fonts.conf").write_text("<fontconfig></fontconfig>")
            stack.enter_context(_environment(MPLCONFIGDIR=str(folder), FONTCONFIG_FILE=str(folder / "fonts.conf")))
        import matplotlib.backends.backend_pdf
        import matplotlib.backends.backend_svg
        import matplotlib.figure
        import matplotlib.style
    # After 'default', so that the user's matplotlibrc cannot change a figure.
    with matplotlib.style.context(["default", STYLE]):
        yield


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Environment variables for the length of a block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def save_figure(figure: "matplotlib.figure.Figure", folder: Path, stem: str) -> tuple[Path, Path]:
    """Write stem.svg and stem.pdf into `folder`, each whole or not at all, and return their paths.

    The same figure gives the same bytes: the files carry no date and no random identifier.
    """
    paths = (folder / f"{stem}.svg", folder / f"{stem}.pdf")
    undated = ({"Date": None, "Creator": "polyseme"}, {"CreationDate": None, "Creator": "polyseme"})
    with style():
        for path, metadata in zip(paths, undated, strict=True):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=path.suffix[1:], metadata=metadata)
            write_atomic(path, buffer.getvalue())
    return paths
