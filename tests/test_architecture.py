"""What the house is built like, where import-linter and ruff do not look: packages, imports, habits."""

import ast
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import polyseme

ROOT = Path(__file__).parents[1]
FOLDERS = ("theory", "sim", "checks", "regimes")
"""At the top level, and linked from polyseme/."""
BASE = ("errors", "files", "processes", "regime")
"""The modules of polyseme that all folders share."""
MODULES = sorted(
    [*(path for name in FOLDERS for path in (ROOT / name).rglob("*.py")), *(ROOT / "polyseme").glob("*.py")]
)
PACKAGES = sorted(path.parent for path in MODULES if path.name == "__init__.py" and path.parent != ROOT / "polyseme")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HEAVY = {"torch", "sympy", "scipy", "matplotlib", "numpy"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


every_package = pytest.mark.parametrize("folder", PACKAGES, ids=name_of)


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


def package_of(path: Path) -> str:
    """The package that a file's relative imports start from."""
    parts = path.parent.relative_to(ROOT).parts
    return ".".join(parts if parts[0] == "polyseme" else ("polyseme", *parts))


def imports_of(source: str, package: str = "polyseme") -> set[str]:
    """Every module that a file imports, those inside functions too; of `from x import y` both x and x.y."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            whole = ".".join([*above, *filter(None, [node.module])])
            found |= {whole, *(f"{whole}.{alias.name}" for alias in node.names)}
    return found


def within(names: set[str], packages: tuple[str, ...]) -> list[str]:
    """Those names that are one of the packages or lie in one."""
    return sorted(name for name in names if any(f"{name}.".startswith(f"{package}.") for package in packages))


# -- one package -------------------------------------------------------------------------------------------


def test_there_is_one_package_with_four_folders_linked_into_it():
    assert Path(polyseme.__file__).parent == ROOT / "polyseme"
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == {"polyseme", *FOLDERS, "benchmarks"}
    links = {path.name: path.resolve() for path in (ROOT / "polyseme").iterdir() if path.is_symlink()}
    assert links == {name: ROOT / name for name in FOLDERS}
    assert not any((ROOT / name).is_symlink() for name in FOLDERS)
    assert {path.stem for path in (ROOT / "polyseme").glob("*.py")} == {"__init__", *BASE}
    assert len(MODULES) > 150 and len(PACKAGES) > 30


def test_every_folder_with_python_is_a_package():
    assert sorted({path.parent for path in MODULES} - {ROOT / "polyseme"}) == PACKAGES


# -- what is loaded ----------------------------------------------------------------------------------------


def test_importing_any_module_of_checks_and_theory_loads_no_torch():
    names = [
        module.name
        for package in ("theory", "checks")
        for module in pkgutil.walk_packages([str(ROOT / "polyseme" / package)], f"polyseme.{package}.")
    ]
    assert {
        "polyseme.checks.command_line",
        "polyseme.checks.core.verify",
        "polyseme.checks.multi_concept.claims.closure.closure",
        "polyseme.theory.multi_concept.numerics.lower",
    } <= set(names)
    loaded = loaded_by(f"import polyseme.theory, polyseme.checks, polyseme.sim, {', '.join(names)}")
    assert set(names) <= loaded
    assert "torch" not in loaded


def test_torch_is_seen_where_it_is():
    assert "torch" in loaded_by("import polyseme.sim.multi_concept.training.train"), (
        "or the tests beside this one could not fail"
    )


def test_importing_polyseme_is_instant():
    loaded = loaded_by("import polyseme")
    assert "polyseme" in loaded
    assert not HEAVY & loaded


@pytest.mark.parametrize("arguments", [["--help"], ["verify", "--help"], ["derive", "--help"]])
def test_help_is_instant(arguments):
    code = f"from typer.testing import CliRunner\nfrom polyseme.checks.command_line import app\nassert CliRunner().invoke(app, {arguments}).exit_code == 0"
    loaded = loaded_by(code)
    assert "typer" in loaded
    assert not HEAVY & loaded


# -- who may import what -----------------------------------------------------------------------------------

MAY_NOT_IMPORT = {
    "theory": ("torch", "polyseme.sim", "polyseme.checks"),
    "sim": ("sympy", "polyseme.checks"),
    "checks": ("torch",),
    "checks/core": ("torch", "polyseme.theory", "polyseme.sim", "polyseme.checks.multi_concept"),
    "regimes": ("torch", "polyseme.theory", "polyseme.sim", "polyseme.checks"),
    **{f"polyseme/{name}.py": ("torch", "polyseme.theory", "polyseme.sim", "polyseme.checks") for name in BASE},
}
"""The core finds theories by name and imports none; what all share knows nobody."""
UNLINKED = (*FOLDERS, "tests", "benchmarks")
"""Nobody imports these by their names at the top level, where a folder of a user's own may have the same."""


def test_a_module_imports_only_what_it_may_also_inside_functions():
    found = {}
    for path in MODULES:
        imported = imports_of(path.read_text(encoding="utf-8"), package_of(path))
        places = [forbidden for place, forbidden in MAY_NOT_IMPORT.items() if path.is_relative_to(ROOT / place)]
        found[name_of(path)] = [name for forbidden in (UNLINKED, *places) for name in within(imported, forbidden)]
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f():\n    from polyseme.theory.multi_concept import regime", ["polyseme.theory.multi_concept"]),
        ("import polyseme.theory.multi_concept as m", ["polyseme.theory.multi_concept"]),
        ("from polyseme import theory", ["polyseme.theory"]),
        ("from ...theory import calculus", ["polyseme.theory", "polyseme.theory.calculus"]),
        ("from polyseme.checks.core import theory", []),
        ("from . import theory", []),
        ("from polyseme.theory_of import x", []),
    ],
)
def test_the_reader_of_imports_sees_every_kind(source, found):
    names = within(imports_of(source, "polyseme.checks.core"), ("polyseme.theory",))
    assert names[: len(found)] == found
    assert bool(names) == bool(found)


def test_import_linter_says_the_same():
    contracts = {
        (source, bad)
        for contract in PROJECT["tool"]["importlinter"]["contracts"]
        if contract["type"] == "forbidden"
        for source in contract["source_modules"]
        for bad in contract["forbidden_modules"]
    }
    for place, forbidden in MAY_NOT_IMPORT.items():
        module = place.removesuffix(".py").replace("/", ".")
        source = module if module.startswith("polyseme.") else f"polyseme.{module}"
        if place != "regimes":  # which holds no code
            assert {(source, bad) for bad in forbidden if bad != "torch" or place in ("theory", "checks")} <= contracts


# -- habits ------------------------------------------------------------------------------------------------


def test_a_module_says_what_it_is():
    trees = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
    first = {name: (ast.get_docstring(tree) or "").partition("\n")[0] for name, tree in trees.items()}
    assert [name for name, line in first.items() if len(line) <= 20] == []


def dataclass_decorators(tree: ast.AST) -> Iterator[tuple[str, dict[str | None, str]]]:
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
        f"{name_of(path)}:{name}": keywords
        for path in MODULES
        for name, keywords in dataclass_decorators(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert len(found) >= 100
    assert {name: keywords for name, keywords in found.items() if keywords.get("frozen") != "True"} == {}
    assert {name: keywords for name, keywords in found.items() if keywords.get("kw_only") != "True"} == {}


REGISTRY = ROOT / "checks" / "multi_concept" / "claims"
"""Its table of contents is the registry itself, in the order of the argument."""


@every_package
def test_packages_do_no_work_on_import(folder):
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    kinds = {type(node) for node in tree.body}
    if folder == REGISTRY:
        assert kinds == {ast.Expr, ast.ImportFrom, ast.AnnAssign}
    else:
        assert [type(node) for node in tree.body] == [ast.Expr], "a table of contents"


@every_package
def test_a_table_of_contents_names_every_module(folder):
    source = (folder / "__init__.py").read_text(encoding="utf-8")
    text = source if folder == REGISTRY else ast.get_docstring(ast.parse(source)) or ""
    names = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    words = set(re.findall(r"\w+", text))
    assert names - {"__init__"} - words == set()
