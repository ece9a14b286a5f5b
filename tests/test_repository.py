"""What the repository promises in its own files: paths, regimes, commands."""

import ast
import re
import tomllib
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from setuptools import find_packages
from typer.testing import CliRunner

from polyseme.checks.command_line import app
from polyseme.checks.core.choice import select
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.documentation import regime_table, replaced
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.theory.multi_concept.regime import Regime, load_regime

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOOLS = PROJECT["tool"]


def test_every_path_named_in_pyproject_exists():
    pytest_options = TOOLS["pytest"]["ini_options"]
    folders = [*pytest_options["testpaths"], *pytest_options["pythonpath"], *TOOLS["basedpyright"]["include"]]
    folders += TOOLS["importlinter"]["root_packages"]
    folders += [name for name in TOOLS["ruff"]["extend-exclude"] if "/" in name]
    assert len(folders) >= 10
    assert [name for name in folders if not (ROOT / name).is_dir()] == []
    assert (ROOT / PROJECT["project"]["readme"]).is_file()
    assert [name for name in PROJECT["project"]["license-files"] if not (ROOT / name).is_file()] == []
    for pattern in TOOLS["ruff"]["lint"]["per-file-ignores"]:
        assert list(ROOT.glob(pattern)), pattern


SHIPPED = set(find_packages(str(ROOT), include=TOOLS["setuptools"]["packages"]["find"]["include"]))
"""The packages that a wheel would have."""


def folder_of(package: str) -> Path:
    return ROOT / package.replace(".", "/")


def test_every_package_is_shipped_below_one_name():
    folders = {path.parent for name in ("theory", "sim", "checks", "regimes") for path in (ROOT / name).rglob("*.py")}
    names = {f"polyseme.{str(folder.relative_to(ROOT)).replace('/', '.')}" for folder in folders}
    assert {"polyseme.theory.multi_concept", "polyseme.sim.ensemble", "polyseme.checks.core.rules"} <= names
    assert names | {"polyseme"} == SHIPPED


def test_every_file_that_is_no_python_is_shipped():
    data = TOOLS["setuptools"]["package-data"]
    assert set(data) <= SHIPPED
    matched = {
        package: {pattern: set(folder_of(package).glob(pattern)) for pattern in patterns}
        for package, patterns in data.items()
    }
    assert all(found for patterns in matched.values() for found in patterns.values()), matched
    shipped = {path for patterns in matched.values() for found in patterns.values() for path in found}
    kept = {
        path
        for package in SHIPPED
        for path in (*folder_of(package).glob("*"), *folder_of(package).glob("*/*"))
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert {path.resolve() for path in kept} - {path.resolve() for path in shipped} == set()


def test_every_module_named_in_pyproject_exists():
    named = [
        name for c in TOOLS["importlinter"]["contracts"] for key in c if key.endswith("modules") for name in c[key]
    ]
    assert len(named) > 15
    assert [name for name in named if name not in ("sympy", "torch") and not _is_module(name)] == []
    (option,) = [x for x in TOOLS["pytest"]["ini_options"]["addopts"] if x.startswith("--jaxtyping-packages=")]
    typed = option.partition("=")[2].split(",")
    assert typed[-1] == "beartype.beartype"
    assert typed[:-1] == ["polyseme"]
    offered = PROJECT["project"]["entry-points"]["polyseme.theories"]
    assert {name: _object(value) for name, value in offered.items()} == {"multi_concept": THEORY}
    assert [(x.name, x.value) for x in entry_points(group="polyseme.theories")] == list(offered.items())
    module, _, function = PROJECT["project"]["scripts"]["polyseme"].partition(":")
    assert callable(getattr(import_module(module), function))
    assert [entry.value for entry in entry_points(group="console_scripts", name="polyseme")] == [f"{module}:{function}"]


def _object(reference: str) -> object:
    """What an entry point refers to."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def _is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_the_suite_is_strict():
    options = TOOLS["pytest"]["ini_options"]
    assert options["xfail_strict"] is True
    strictest, *excused = options["filterwarnings"]
    assert strictest == "error"
    # One warning is about the tests' own type checks.
    assert len(excused) == 1 and excused[0].startswith("ignore:Do not use the `random` module")
    assert "--strict-markers" in options["addopts"]


REGIMES = sorted((ROOT / "regimes").glob("*.toml"))


@pytest.mark.parametrize("path", REGIMES, ids=lambda path: path.stem)
def test_a_shipped_regime_loads_and_says_what_it_is_for(path):
    assert load_regime(path) != Regime()
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_the_named_regimes_are_there_and_are_what_they_are_called():
    pure = {path.stem: load_regime(path).prompt.is_pure for path in REGIMES}
    assert {"default", "pure", "minimal", "noisy"} <= set(pure)
    assert pure["pure"] and pure["minimal"] and not pure["default"] and not pure["noisy"]


# -- commands that are written down ------------------------------------------------------------------------


def commands(text: str) -> list[str]:
    """The lines of fenced blocks that call make or polyseme, without comments and prompts."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [re.sub(r"\s#.*", "", line).strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line for line in lines if re.match(r"(\S*/)?(make|polyseme)\b", line)]


def problem(command: str) -> str:
    """Why a written command would not be understood, or nothing."""
    program, *words = command.partition(" > ")[0].split()
    if program.endswith("make"):
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        unknown = [word for word in words if "=" not in word and word not in targets]
        return f"no target {unknown[0]}" if unknown else ""
    if not words or words[0].startswith("-"):
        return ""
    helped = CliRunner().invoke(app, [words[0], "--help"])
    if helped.exit_code:
        return f"no command {words[0]}"
    known = re.findall(r"--[a-z-]+", helped.stdout)
    for word, after in pairwise([*words[1:], ""]):
        if word.startswith("--") and word not in known:
            return f"no option {word}"
        if word == "--only" and words[0] == "verify" and not after.strip("'\"").startswith("mine/"):
            select(after.strip("'\""), CLAIMS)
        if word.endswith((".toml", ".py")) and word.startswith(("regimes/", "docs/")) and not (ROOT / word).is_file():
            return f"no file {word}"
    return ""


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("make verify", ""),
        ("make nonsense", "no target nonsense"),
        ("polyseme verify regimes/minimal.toml --only 'closure/*' --out out/x", ""),
        ("polyseme nonsense", "no command nonsense"),
        ("polyseme verify --nonsense", "no option --nonsense"),
        ("polyseme verify regimes/nonsense.toml", "no file regimes/nonsense.toml"),
        (".venv/bin/polyseme derive --level B --format latex > recursion.tex", ""),
    ],
)
def test_the_reader_of_commands_can_tell_right_from_wrong(command, expected):
    assert commands(f"text\n```sh\n$ {command}   # why\nls\n```\nmake more\n") == [command]
    assert problem(command) == expected


PAGES = sorted(
    str(path.relative_to(ROOT)) for folder in (".", "docs", "benchmarks") for path in (ROOT / folder).glob("*.md")
)
READERS_PAGES = [name for name in PAGES if name != "CHANGELOG.md"]  # which also names what is gone


@pytest.mark.parametrize("name", PAGES)
def test_written_commands_exist(name):
    written = commands((ROOT / name).read_text(encoding="utf-8"))
    assert {command: problem(command) for command in written} == dict.fromkeys(written, "")
    if name == "README.md":
        assert {"make verify", "make test"} <= set(written)


def test_examples_in_docstrings_of_the_commands_exist():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "checks").glob("*/commands/*.py")]
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    examples = re.findall(r"Example: (.+)", "\n".join(ast.get_docstring(node) or "" for node in functions))
    assert len(examples) >= 4
    assert {example: problem(example) for example in examples} == dict.fromkeys(examples, "")


@pytest.mark.parametrize("name", PAGES)
def test_links_of_a_page_lead_to_files(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert [link for link in links if not ((ROOT / name).parent / link).exists()] == []


@pytest.mark.parametrize("name", READERS_PAGES)
def test_paths_claims_and_modules_that_a_page_names_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    quoted = set(re.findall(r"`([^`\n]+)`", text))
    paths = {
        word
        for word in quoted
        if re.fullmatch(r"(theory|sim|checks|regimes|tests|docs|benchmarks|polyseme)/[\w./-]+", word)
    }
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    families = "|".join({claim.id.partition("/")[0] for claim in CLAIMS})
    claims = {word for word in quoted if re.fullmatch(rf"({families})/\w+", word)}
    assert sorted(claims - {claim.id for claim in CLAIMS} - {"algebra/prompt_probabilities_sum_to_one"}) == []
    modules = re.findall(r"^(?:from|import) (polyseme[\w.]*)", text, re.MULTILINE)
    assert [module for module in modules if find_spec(module) is None] == []


def test_generated_parts_stand_in_the_pages_that_make_readme_writes():
    written = {"regime.md": "regime", "results.md": "steps results", "out_of_distribution.md": "scenarios trained"}
    for page, parts in written.items():
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        assert re.findall(r"<!-- (\w+):begin", text) == parts.split()
        assert re.findall(r"<!-- (\w+):end", text) == parts.split()
    assert replaced((ROOT / "docs" / "regime.md").read_text(encoding="utf-8"), "regime", regime_table()) == (
        ROOT / "docs" / "regime.md"
    ).read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="steps:begin"):
        replaced("no markers", "steps", "new")
