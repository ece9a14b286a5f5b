"""What the house is built like, where import-linter and ruff do not look (docs and DESIGN: rooms, habits)."""

import ast
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("theory", "sim", "checks", "regimes")
MODULES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
WRITTEN = sorted([*MODULES, *(ROOT / "tests").rglob("*.py")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

every_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))


def loaded_by(code: str) -> set[str]:
    """The modules that are loaded in a fresh Python after `code`."""
    child = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(child.stdout.splitlines()[-1]))


def test_every_folder_with_python_is_known():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == {*PACKAGES, "benchmarks"}
    assert len(MODULES) > 30


def test_importing_any_module_of_checks_and_theory_loads_no_torch():
    names = [
        module.name
        for package in ("theory", "checks")
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}.")
    ]
    assert {
        "polyseme.checks.command_line",
        "polyseme.checks.core.verify",
        "polyseme.checks.multi_concept.claims.closure.closure",
        "polyseme.theory.multi_concept.numerics.lower",
    } <= set(names)
    loaded = loaded_by(f"import theory, checks, sim, {', '.join(names)}")
    assert set(names) <= loaded
    assert "torch" not in loaded


def test_torch_is_seen_where_it_is():
    assert "torch" in loaded_by("import polyseme.sim.multi_concept.training.train"), (
        "or the tests beside this one could not fail"
    )


@pytest.mark.parametrize("arguments", [["--help"], ["verify", "--help"], ["derive", "--help"]])
def test_help_is_instant(arguments):
    code = f"from typer.testing import CliRunner\nfrom polyseme.checks.command_line import app\nassert CliRunner().invoke(app, {arguments}).exit_code == 0"
    loaded = loaded_by(code)
    assert "typer" in loaded
    assert not {"torch", "sympy", "scipy", "matplotlib", "numpy"} & loaded


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_no_longer_than_a_noun_needs(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@every_module
def test_a_module_says_what_it_is(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring and len(docstring.splitlines()[0]) > 20


def dataclass_decorators(tree: ast.AST):
    """(class name, keywords of its @dataclass) of every dataclass in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for decorator in node.decorator_list:
                call = decorator.func if isinstance(decorator, ast.Call) else decorator
                if ast.unparse(call).split(".")[-1] == "dataclass":
                    keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
                    yield node.name, {keyword.arg: ast.unparse(keyword.value) for keyword in keywords}


def test_dataclasses_are_frozen_and_keyword_only():
    found = {
        f"{path.relative_to(ROOT)}:{name}": keywords
        for path in MODULES
        for name, keywords in dataclass_decorators(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert len(found) >= 15
    assert {name: keywords for name, keywords in found.items() if keywords.get("frozen") != "True"} == {}
    assert {name: keywords for name, keywords in found.items() if keywords.get("kw_only") != "True"} == {}


@every_module
def test_torch_and_sympy_stay_in_their_rooms(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    room = path.relative_to(ROOT).parts[0]
    forbidden = {
        "theory": {"torch", "sim", "checks"},
        "checks": {"torch"},
        "sim": {"sympy", "checks"},
        "regimes": {"theory"},
    }
    assert not imported & (forbidden[room] | {"tests"})


def test_the_protected_modules_are_all_of_theory_but_the_setting():
    (contract,) = [c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "protected"]
    files = {f"theory.{path.stem}" for path in (ROOT / "theory").glob("*.py")} - {
        "theory.__init__",
        "polyseme.theory.multi_concept.regime",
    }
    assert set(contract["protected_modules"]) == files


def test_packages_do_no_work_on_import():
    for package in ("theory", "sim", "checks"):
        tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
        assert [type(node) for node in tree.body] == [ast.Expr], f"{package}/__init__.py is a table of contents"


@pytest.mark.parametrize("package", ["theory", "sim", "checks"])
def test_a_table_of_contents_names_every_module(package):
    text = importlib.import_module(package).__doc__ or ""
    folder = ROOT / package
    names = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    missing = {name for name in names - {"__init__"} if name not in text}
    assert missing == set()
