"""The one importable package: its public names, what it loads when, and folders of a user's that bear our names."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import polyseme

ROOT = Path(__file__).parents[1]


def in_a_fresh_process(code: str, folder: Path) -> str:
    child = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    return child.stdout


def test_importing_the_package_loads_none_of_the_libraries(tmp_path):
    loaded = in_a_fresh_process("import json, sys, polyseme; print(json.dumps(sorted(sys.modules)))", tmp_path)
    assert not {"torch", "sympy", "scipy", "numpy", "matplotlib", "pydantic"} & set(json.loads(loaded))


def test_every_public_name_is_there_and_documented():
    assert len(polyseme.__all__) == len(set(polyseme.__all__)) > 12
    assert dir(polyseme) == sorted(polyseme.__all__)
    for name in polyseme.__all__:
        assert getattr(polyseme, name) is not None
        assert name in polyseme.__doc__, f"{name} stands in no line of help(polyseme)"


def test_what_type_checkers_see_is_what_there_is():
    tree = ast.parse((ROOT / "polyseme" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {(node.module, alias.name) for node in block.body for alias in node.names}
    homes = {(home, name) for home, names in polyseme._HOMES.items() for name in names}
    assert seen == homes


def test_a_name_that_there_is_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'verfy'"):
        polyseme.verfy  # noqa: B018


def test_folders_of_a_users_own_beside_a_script_hide_nothing_of_ours(tmp_path):
    for name in ("sim", "theory", "checks", "regimes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('a folder of the user')\n", encoding="utf-8")
    (tmp_path / "script.py").write_text(
        "import polyseme as ps\n"
        "regime = ps.Regime().replace(concepts={'K1': 1, 'K2': 0, 'd_x': 2, 'd_y': 2}, model={'m': 4},\n"
        "                             training={'steps': 5, 'batch': 'population'})\n"
        "start = ps.draw_initial(regime)\n"
        "theory, full = ps.integrate(regime, start), ps.simulate(regime, start)\n"
        "print(len(ps.derive('B').state), float(abs(theory['alpha'] - full['alpha']).max()))\n",
        encoding="utf-8",
    )
    child = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    size, off = child.stdout.split()
    assert int(size) > 4 and float(off) < 1e-12


def test_sympy_computes_with_pythons_own_integers(tmp_path):
    code = "import polyseme; polyseme.derive; from sympy.external.gmpy import GROUND_TYPES; print(GROUND_TYPES)"
    assert in_a_fresh_process(code, tmp_path).strip() == "python"
