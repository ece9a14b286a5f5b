"""C sources to machine code: compiled once for each processor and compiler, kept in the user's cache folder, loaded from there."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from polyseme.regime import LEAK

FLAGS = (
    "-O2",
    "-march=native",
    "-ffp-contract=off",  # no fused products and sums: they would round otherwise
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fopenmp-simd",
    "-shared",
    "-fPIC",
)


@cache
def compiler() -> str | None:
    """The path of the system's C compiler ($CC, cc, gcc or clang), if there is one that works."""
    names = (os.environ.get("CC"), "cc", "gcc", "clang")
    paths = (shutil.which(name) for name in names if name)
    return next((path for path in paths if path and _identity(path)), None)


@cache
def _identity(path: str) -> str:
    """What a compiler says of itself and of this processor; empty if it cannot be used."""
    command = [path, *FLAGS, "-dM", "-E", "-x", "c", os.devnull]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def folder() -> Path:
    """Where machine code is kept: `polyseme` in $XDG_CACHE_HOME, or in ~/.cache; it may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "polyseme"


def build(source: str) -> Any:
    """The function `kernel` of a C source. CalledProcessError if the compiler refuses it."""
    header = (Path(__file__).parent / "elementwise.h").read_text(encoding="utf-8").replace("@LEAK@", repr(float(LEAK)))
    path = compiler() or "cc"
    whole = header + source
    name = sha256("\0".join([whole, *FLAGS, _identity(path)]).encode()).hexdigest()[:32]
    try:
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = folder() / f"{name}.so"
        if not kept.exists():
            _compile(path, whole, kept)
        return _load(kept)
    except OSError:  # a cache folder that cannot be written or loaded from: compiled for this process alone
        with tempfile.TemporaryDirectory() as passing:
            return _load(_compile(path, whole, Path(passing) / f"{name}.so"))


def _compile(path: str, source: str, target: Path) -> Path:
    """Compile into a file of its own beside the target, and put it there whole."""
    with tempfile.TemporaryDirectory(dir=target.parent) as passing:
        (Path(passing) / "kernel.c").write_text(source, encoding="utf-8")
        command = [path, *FLAGS, "kernel.c", "-o", "kernel.so", "-lm"]
        subprocess.run(command, cwd=passing, check=True, capture_output=True)
        (Path(passing) / "kernel.so").replace(target)
    return target


def _load(path: Path) -> Any:
    function = ctypes.CDLL(str(path)).kernel
    function.restype = None
    return function
