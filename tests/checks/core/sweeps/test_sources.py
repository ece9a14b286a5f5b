"""The name of a point is made of every file that its verdict may depend on."""

import ast
from pathlib import Path

from polyseme.checks.core.sweeps.task import sources

ROOT = Path(__file__).parents[4]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for room in ("theory", "sim", "checks")
    for path in (ROOT / room).rglob("*.py")
}


def imported_by(path):
    """Modules of polyseme that a file imports, in functions, too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & MODULES.keys()


def reached_from(*names):
    seen, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += imported_by(MODULES[name])
    return seen


def test_every_module_that_a_claim_reaches_is_part_of_the_name():
    reached = reached_from(
        *(name for name in MODULES if name.startswith("polyseme.checks.multi_concept.claims")),
        "polyseme.checks.core.evaluation",
    )
    assert {
        "polyseme.theory.multi_concept.derivation.derive",
        "polyseme.sim.multi_concept.training.train",
        "polyseme.checks.multi_concept.context",
        "polyseme.checks.core.rules.exact",
    } < reached
    hashed = {file.resolve() for _, _, file in sources()}
    assert sorted(name for name in reached if MODULES[name].resolve() not in hashed) == []


def test_how_results_are_shown_is_not():
    assert not any(
        package in ("polyseme.checks.core.figures", "polyseme.checks.core.report", "polyseme.checks.core.commands")
        for package, _, _ in sources()
    )
    assert not [
        name
        for name in reached_from("polyseme.checks.core.evaluation")
        if name.startswith(("polyseme.checks.core.figures", "polyseme.checks.core.report"))
    ]
