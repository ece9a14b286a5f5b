"""The name of a point is made of every file that its verdict may depend on, and of no other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyseme.checks.core.sweeps.task import code_of, sources
from polyseme.checks.core.theories import reference_to
from polyseme.checks.multi_concept.theory import THEORY

ROOT = Path(__file__).parents[4]
FILES = [
    *(ROOT / "polyseme").glob("*.py"),
    *(file for top in ("theory", "sim", "checks") for file in (ROOT / top).rglob("*.py")),
]


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if parts[0] == "polyseme" else ("polyseme", *parts)).removesuffix(".__init__")


MODULES = {name_of(file): file for file in FILES}
CLAIMS = [name for name in MODULES if name.startswith("polyseme.checks.multi_concept.claims")]
JUDGING = (
    *CLAIMS,
    "polyseme.checks.multi_concept.context",
    "polyseme.checks.core.evaluation",
    "polyseme.checks.core.sweeps.task",
)
SHOWING = (
    "polyseme.checks.command_line",
    "polyseme.checks.core.audit",
    "polyseme.checks.core.commands",
    "polyseme.checks.core.figures",
    "polyseme.checks.core.report",
    "polyseme.checks.core.figures.maps",
    "polyseme.checks.core.terminal",
    "polyseme.checks.core.verify",
    "polyseme.checks.multi_concept.audit",
    "polyseme.checks.multi_concept.boundaries",
    "polyseme.checks.multi_concept.commands",
    "polyseme.checks.multi_concept.curves",
    "polyseme.checks.multi_concept.documentation",
    "polyseme.checks.multi_concept.drawings",
    "polyseme.checks.multi_concept.figures",
    "polyseme.checks.multi_concept.out_of_distribution.curves",
    "polyseme.checks.multi_concept.out_of_distribution.table",
    "polyseme.checks.multi_concept.presentation",
    "polyseme.checks.multi_concept.report_figures",
    "polyseme.checks.multi_concept.search",
    "polyseme.checks.multi_concept.steps",
    "polyseme.theory.multi_concept.article",
)
"""Modules and packages that show results, write documentation, or serve commands; and those that only other commands use."""


def executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those below `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from executed(node)


SHOWS_ITSELF = ("polyseme.theory.multi_concept.derivation.derive", "polyseme.theory.multi_concept.article.show")
"""A recursion prints itself with the module that prints it: it is imported when one looks, never when one judges."""


def imported_by(path: Path) -> set[str]:
    """Modules of polyseme that a file imports, in functions, too."""
    found = set()
    for node in executed(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & MODULES.keys()


def reached_from(*names: str) -> set[str]:
    seen, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += {one for one in imported_by(MODULES[name]) if (name, one) != SHOWS_ITSELF}
    return seen


def hashed() -> set[Path]:
    return {file.resolve() for _, _, file in sources(THEORY)}


def shows(name: str) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in SHOWING)


def test_every_module_that_a_claim_reaches_is_part_of_the_name():
    reached, known = reached_from(*JUDGING), hashed()
    assert {
        "polyseme.regime",
        "polyseme.theory.multi_concept.derivation.derive",
        "polyseme.sim.multi_concept.training.train",
        "polyseme.checks.multi_concept.context",
        "polyseme.checks.core.rules.exact",
    } < reached
    assert sorted(name for name in reached if MODULES[name].resolve() not in known) == []
    assert MODULES["polyseme.checks.multi_concept.theory"].resolve() in known, "it says what claims measure with"
    headers = [file.resolve() for folder in ("theory", "sim", "checks") for file in (ROOT / folder).rglob("*.h")]
    assert headers and set(headers) <= known, "machine code is compiled with them"


def test_how_results_are_shown_is_not():
    known = hashed()
    assert sorted(name for name, file in MODULES.items() if shows(name) and file.resolve() in known) == []
    assert sorted(name for name in reached_from(*JUDGING) if shows(name)) == []
    assert [one for one in SHOWING if one not in MODULES] == []


def digest_with(monkeypatch: pytest.MonkeyPatch, *changed: Path) -> str:
    """The digest of the code with another line in some files."""
    plain, files = Path.read_bytes, {file.resolve() for file in changed}

    def read(self: Path) -> bytes:
        return plain(self) + (b"# one more line\n" if self.resolve() in files else b"")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", read)
        return code_of.__wrapped__(reference_to(THEORY))


def test_a_changed_figure_report_command_or_page_changes_no_name(monkeypatch):
    shown = [file for name, file in MODULES.items() if shows(name)]
    others = [
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "README.md",
        *(ROOT / "checks").rglob("*.j2"),
        *(ROOT / "checks").rglob("*.mplstyle"),
        *(ROOT / "tests").rglob("*.py"),
    ]
    assert len(shown) > 50 and len(others) > 50
    before = digest_with(monkeypatch)
    assert digest_with(monkeypatch, *shown, *others) == before


@pytest.mark.parametrize(
    "name",
    [
        "polyseme.regime",
        "polyseme.theory.multi_concept.derivation.derive",
        "polyseme.sim.multi_concept.training.train",
        "polyseme.checks.multi_concept.claims.dynamics.dynamics",
        "polyseme.checks.core.rules.exact",
        "polyseme.checks.core.sweeps.task",
    ],
)
def test_a_change_of_what_judges_changes_every_name(monkeypatch, name):
    assert digest_with(monkeypatch, MODULES[name]) != digest_with(monkeypatch)
