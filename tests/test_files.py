import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from polyseme.errors import PolysemeError
from polyseme.files import load_npz, save_json, save_npz, write_atomic


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_write_creates_the_parent_folder_and_leaves_one_file(tmp_path: Path):
    path = tmp_path / "a" / "b" / "file.txt"
    write_atomic(path, "é")
    assert path.read_bytes() == "é".encode()
    assert names(path.parent) == ["file.txt"]


def test_a_file_gets_the_permissions_of_any_new_file(tmp_path: Path):
    write_atomic(tmp_path / "ours", b"")
    (tmp_path / "theirs").write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_an_exception_in_the_middle_leaves_the_old_file_alone(tmp_path: Path, monkeypatch, failure):
    path = tmp_path / "old"
    path.write_text("old")
    real = np.savez

    def half(file, **arrays):
        real(file, **arrays)
        file.flush()
        assert len(names(tmp_path)) == 2  # the temporary file is where a rename is atomic
        raise failure

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(failure):
        save_npz(path, {"a": np.arange(3)})
    assert path.read_text() == "old"
    assert names(tmp_path) == ["old"]


def test_content_is_on_disk_before_the_rename_and_the_folder_after_it(tmp_path: Path, monkeypatch):
    events = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: (events.append("sync"), sync(number))[1])
    monkeypatch.setattr(Path, "replace", lambda part, path: (events.append("rename"), replace(part, path))[1])
    write_atomic(tmp_path / "x", b"x")
    assert events == ["sync", "rename", "sync"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "below", tmp_path / "folder"):
        with pytest.raises(PolysemeError, match=r"got '.*' while writing, .*; type another path after --out"):
            write_atomic(path, "x")
    assert names(tmp_path) == ["file", "folder"]


def test_npz_uses_the_path_as_given_and_reads_back(tmp_path: Path):
    arrays = {"a": np.arange(3), "b": np.eye(2), "c": np.array(True)}
    save_npz(tmp_path / "plain", arrays)
    assert names(tmp_path) == ["plain"]
    back = load_npz(tmp_path / "plain", list(arrays), "a thing")
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)


def test_npz_refuses_to_write_what_it_would_not_read(tmp_path: Path):
    with pytest.raises(TypeError, match="'a' holds Python objects"):
        save_npz(tmp_path / "x", {"a": np.array([object()])})
    assert names(tmp_path) == []


def test_json_is_strict_and_says_nan_and_infinity(tmp_path: Path):
    values = [np.nan, np.inf, -np.inf, np.float64(0.5), np.int64(3), np.bool_(True), None]
    save_json(tmp_path / "x.json", {"b": values, "a": np.array([[1.0, np.nan]]), "p": Path("é"), "t": (1, 2)})

    def refuse(constant: str):
        raise AssertionError(f"{constant} is not JSON")

    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    back = json.loads(text, parse_constant=refuse)
    assert back == {
        "b": ["NaN", "Infinity", "-Infinity", 0.5, 3, True, None],
        "a": [[1.0, "NaN"]],
        "p": "é",
        "t": [1, 2],
    }
    assert list(back) == ["b", "a", "p", "t"]
    assert [float(x) for x in back["b"][1:3]] == [np.inf, -np.inf]


@pytest.mark.parametrize("wrong", [{1: 2}, {"a": {3}}, {"a": object()}])
def test_json_refuses_what_it_does_not_know(tmp_path: Path, wrong):
    with pytest.raises(TypeError):
        save_json(tmp_path / "x.json", wrong)
    assert names(tmp_path) == []


def foreign_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "hello")


def truncated(path: Path) -> None:
    save_npz(path, {"W": np.zeros(1000), "r": np.zeros(1000)})
    path.write_bytes(path.read_bytes()[:-200])


def corrupt(path: Path) -> None:
    save_npz(path, {"W": np.zeros(1000), "r": np.zeros(1000)})
    data = bytearray(path.read_bytes())
    data[500] ^= 255  # inside the numbers of W: only the checksum can tell
    path.write_bytes(data)


def single_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.eye(2))


def objects(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, W=np.array([None]), r=np.eye(2))


def holding(**arrays):
    return lambda path: save_npz(path, arrays)


EXPECTED = r"expected an initial state, an npz file with W, r"
NOT_NPZ = rf"got a file that is not an npz archive, {EXPECTED}; type the path of a file that numpy.savez wrote$"
ONE = np.eye(2)
BAD = {
    "missing": (lambda _: None, rf"got no such file, {EXPECTED}; type the path of one$"),
    "folder": (Path.mkdir, rf"got a folder, {EXPECTED}; type the path of one$"),
    "text": (lambda path: path.write_text("hello"), NOT_NPZ),
    "empty": (Path.touch, NOT_NPZ),
    "truncated": (truncated, NOT_NPZ),
    "corrupt": (corrupt, rf"got W as Python objects or damaged, {EXPECTED}"),
    "zip": (foreign_zip, rf"got a member 'readme' that is no array, {EXPECTED}"),
    "npy": (single_array, rf"got a single array \(npy\), {EXPECTED}"),
    "no array": (holding(), rf"got no arrays, {EXPECTED}; add arrays W \(weights\), r$"),
    "one missing": (holding(r=ONE), rf"got r, {EXPECTED}; add array W \(weights\)$"),
    "objects": (objects, rf"got W as Python objects or damaged, {EXPECTED}"),
    "letters": (
        holding(W=np.array(["x"]), r=ONE),
        r"got W of dtype <U1, expected real numbers; write it with W=numpy.asarray\(W, dtype=float\)$",
    ),
    "complex": (holding(W=ONE * 1j, r=ONE), r"got W of dtype complex128, expected real numbers"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_an_unusable_archive_is_one_sentence(tmp_path: Path, case: str):
    make, message = BAD[case]
    path = tmp_path / "init.npz"
    make(path)
    with pytest.raises(PolysemeError, match=message) as caught:
        load_npz(path, {"W": "weights", "r": ""}, "an initial state")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
