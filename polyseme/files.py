"""Files that are whole or absent, and numpy archives read with suspicion (THEORY.md section 8)."""

import json
import math
import os
import secrets
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import Shaped

from polyseme.errors import PolysemeError

# What a damaged or foreign file makes numpy and zipfile raise.
_FOREIGN = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to `path`, whole or not at all; a missing parent folder is created.

    Whatever interrupts the write, `path` holds either its former content or all of `data`, and no other
    file is left behind. PolysemeError if the file system refuses.
    """
    with replacing(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def save_npz(path: Path, arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> None:
    """Write named arrays to `path`, whole or not at all; the path is used as it is, without '.npz' appended.

    TypeError if an array holds Python objects, which `load_npz` would refuse to read back.
    """
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"array '{name}' holds Python objects (dtype {array.dtype}); expected numbers")
    with replacing(path) as file:
        np.savez(file, **dict(arrays))  # pyright: ignore[reportArgumentType]  (its stub takes '**' for allow_pickle)


def as_json(obj: object) -> str:
    """`obj` as strict JSON; the same object gives the same text.

    Keys keep their order. JSON has no NaN and no infinity, and `null` already says "was not measured", so
    they are written as the strings "NaN", "Infinity" and "-Infinity", which `float` reads back. Numpy
    numbers and arrays become numbers and lists; TypeError for anything else that JSON does not know.
    """
    return json.dumps(_plain(obj), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def save_json(path: Path, obj: object) -> None:
    """Write `obj` as `as_json` gives it, whole or not at all."""
    write_atomic(path, as_json(obj))


def load_npz(
    path: Path, required: Mapping[str, str] | Sequence[str], what: str
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The numeric arrays of an npz file, which must hold exactly the names in `required`.

    `required` lists the names, or maps each to its meaning; `what` names the content in errors, for example
    "an initial state". PolysemeError with one sentence if the file is missing, is not an npz archive, lacks
    an array, or holds anything but real numbers there. Other arrays are left alone. Nothing is ever unpickled.
    """
    expected = f"expected {what}, an npz file with {', '.join(required)}"
    if not path.is_file():
        got = "a folder" if path.is_dir() else "no such file"
        raise PolysemeError(f"{path}: got {got}, {expected}; type the path of one")
    arrays = _read_archive(path, f"{expected}; type the path of a file that numpy.savez wrote")
    if missing := [name for name in required if name not in arrays]:
        raise PolysemeError(
            f"{path}: got {', '.join(arrays) or 'no arrays'}, {expected}; add {_described(missing, required)}"
        )
    chosen = {name: arrays[name] for name in required}
    for name, array in chosen.items():
        if array.dtype.kind not in "biuf":
            raise PolysemeError(
                f"{path}: got {name} of dtype {array.dtype}, expected real numbers; "
                f"write it with {name}=numpy.asarray({name}, dtype=float)"
            )
    return chosen


def load_all(path: Path, what: str) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Every array of an npz file; PolysemeError if it is damaged or holds anything but arrays. Nothing is ever unpickled."""
    return _read_archive(path, f"expected {what}")


def _read_archive(path: Path, expected: str) -> dict[str, np.ndarray]:
    """Every array of the archive; an object array or a foreign member is an error that names it."""
    member = ""
    try:
        # Opened here, because numpy leaves the file open when the archive is damaged.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise PolysemeError(f"{path}: got a single array (npy), {expected}")
            arrays: dict[str, np.ndarray] = {}
            for member in archive.files:
                value = archive[member]
                if not isinstance(value, np.ndarray):
                    raise PolysemeError(f"{path}: got a member '{member}' that is no array, {expected}")
                arrays[member] = value
    except _FOREIGN:
        if member:
            raise PolysemeError(
                f"{path}: got {member} as Python objects or damaged, {expected} from arrays of real numbers"
            ) from None
        raise PolysemeError(f"{path}: got a file that is not an npz archive, {expected}") from None
    return arrays


def _described(names: Sequence[str], required: Mapping[str, str] | Sequence[str]) -> str:
    """Array names as text, each with its meaning where one is known."""
    meanings = required if isinstance(required, Mapping) else {}
    texts = [f"{name} ({meanings[name]})" if meanings.get(name) else name for name in names]
    return f"array{'s' if len(texts) > 1 else ''} {', '.join(texts)}"


def require_writable(path: Path, *, folder: bool = False) -> None:
    """PolysemeError, before any work is done, if `path` cannot become a file (or, with `folder`, hold files).

    Nothing is created. A device or a link is refused, since replacing it would destroy it.
    """
    kind = "folder" if folder else "file"
    existing = next(place for place in (path, *path.absolute().parents) if place.exists() or place.is_symlink())
    if existing is path and not (path.is_dir() if folder else path.is_file() and not path.is_symlink()):
        got = (
            "a link"
            if path.is_symlink()
            else "a folder"
            if path.is_dir()
            else "a file"
            if path.is_file()
            else "a device"
        )
        raise PolysemeError(f"{path}: got {got}, expected a new or existing {kind}; type another path after --out")
    if existing is not path and not existing.is_dir():
        raise PolysemeError(f"{path}: got '{existing}' on the way, which is no folder; type another path after --out")
    place = existing if existing.is_dir() else existing.parent
    try:
        with tempfile.TemporaryFile(dir=place):  # rights alone do not tell: nobody can write into /proc
            pass
    except OSError as problem:
        raise PolysemeError(
            f"{path}: expected a place where a {kind} can be written, got '{problem.strerror}' for '{place}'; type another path after --out"
        ) from None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that becomes `path` if the block ends well, and never existed otherwise."""
    # In the same folder, because a rename is atomic only within one file system.
    part = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("xb") as file:
                yield file
                file.flush()
                # Without it, a crash after the rename can leave an empty file under the final name.
                os.fsync(file.fileno())
            part.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PolysemeError(
            f"{path}: got '{error.strerror or error}' while writing, expected a place where a file can be "
            "written; type another path after --out"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut; only POSIX systems can open a folder for this."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(obj: object) -> Any:
    """`obj` in JSON's own types, with non-finite numbers as strings."""
    if isinstance(obj, np.ndarray | np.generic):
        obj = obj.tolist()
    if isinstance(obj, float) and not math.isfinite(obj):
        return "NaN" if math.isnan(obj) else "Infinity" if obj > 0 else "-Infinity"
    if isinstance(obj, Mapping):
        if wrong := [key for key in obj if not isinstance(key, str)]:
            raise TypeError(f"got the key {wrong[0]!r}, expected text: JSON keys are text")
        return {key: _plain(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_plain(value) for value in obj]
    return str(obj) if isinstance(obj, Path) else obj


@contextmanager
def locked(path: Path, *, timeout: float = -1.0) -> Iterator[None]:
    """Nobody else holds the lock; waits for it, or PolysemeError after `timeout` seconds."""
    lock = FileLock(path, timeout=timeout)
    try:
        lock.acquire()
    except Timeout:
        raise PolysemeError(
            f"{path.parent}: another process is at work on this run; wait for it, or type another --out"
        ) from None
    except OSError as error:
        raise PolysemeError(
            f"{path.parent}: got '{error.strerror or error}', expected a folder that can be written; type another --out"
        ) from None
    try:
        yield
    finally:
        lock.release()
