"""The generated parts of the pages in docs/: tables of results, of regime keys and of test laws.

Run by `make readme`, which also copies the figures that the pages show.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polyseme.checks.core.claim import VERDICTS, Verdict
from polyseme.checks.core.theory import step_of
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.out_of_distribution.models import ScenarioFacts
from polyseme.checks.multi_concept.steps import STEPS
from polyseme.files import write_atomic
from polyseme.theory.multi_concept.regime import Regime

DOCS = Path(__file__).resolve().parents[2] / "docs"


def results_table(records: list[dict[str, Any]], others: Mapping[str, dict[str, Any]], name: str) -> str:
    """A Markdown table with a row per part of a claim: verdict, measured, allowed, and what its negative controls measured.

    A claim that is not applicable has the record of another regime, of that name, if it applies there.
    """
    lines = [
        "| claim | verdict | measured | allowed | its negative controls | which measured |",
        "|---|---|---|---|---|---|",
    ]
    for record, from_others in _where_it_applies(records, others):
        note = f" ({name})" if from_others else ""
        for part in record["parts"]:
            verdict = Verdict(part["verdict"])
            cells = (
                f"`{record['id']}`{', ' if part['name'] else ''}{part['name']}",
                f"{VERDICTS[verdict][0]} {verdict}{note}",
                _number(part["measured"]),
                _number(part["bound"]),
                "; ".join(f"{control['name']}: {control['verdict']}" for control in part["controls"]),
                "; ".join(_number(control["measured"]) for control in part["controls"]),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _where_it_applies(
    records: list[dict[str, Any]], others: Mapping[str, dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], bool]]:
    """Each record, or that of the other regime where the claim applies there alone, and whether it is that one."""
    for record in records:
        other = others.get(record["id"])
        outside = record["verdict"] == Verdict.NOT_APPLICABLE
        from_others = bool(outside and other and other["verdict"] != Verdict.NOT_APPLICABLE)
        yield (other if from_others and other else record), from_others


def steps_table(records: list[dict[str, Any]], others: Mapping[str, dict[str, Any]]) -> str:
    """A Markdown table with a row per step of the argument: its question, and how many of its claims have which verdict."""
    lines = ["| step | what is asked | claims |", "|---|---|---|"]
    applied = [record for record, _ in _where_it_applies(records, others)]
    for number, step in enumerate(STEPS, start=1):
        own = Counter(record["verdict"] for record in applied if step_of(record["id"], STEPS).key == step.key)
        counts = ", ".join(f"{own[verdict]} {verdict.replace('_', ' ')}" for verdict in VERDICTS if own[verdict])
        lines.append(f"| {number}. {step.title} | {step.question} | {counts} |")
    return "\n".join(lines)


LENGTHS = "ood/any_length_has_its_closed_form"
SCENARIOS = "ood/every_scenario_is_foreseen_from_the_coefficients"
BY_SGD = "ood/noisy_sgd_does_elsewhere_what_level_n_says"


def scenarios_table(records: Mapping[str, dict[str, Any]], *claims: str) -> str:
    """A Markdown table of the scenarios in the facts of some claims: what was predicted and what was measured on each.

    A claim without evidence has no rows.
    """
    lines = [
        "| scenario | after step | 0-1 error predicted | measured | correct attention predicted | measured |",
        "|---|---|---|---|---|---|",
    ]
    for claim in claims:
        facts = ScenarioFacts.of(records[claim])
        for row in facts.table if facts else ():
            numbers = (row.error_predicted, row.error_measured, row.attention_predicted, row.attention_measured)
            lines.append(f"| `{row.scenario}` | {row.step} | {' | '.join(f'{x:.4f}' for x in numbers)} |")
    return "\n".join(lines)


def regime_table() -> str:
    """A Markdown table of every regime key: its default, its meaning, what is accepted."""
    lines = ["| key | default | meaning | accepted |", "|---|---|---|---|"]
    for table, section in Regime().model_dump().items():
        fields = type(getattr(Regime(), table)).model_fields
        for key, default in section.items():
            extra = fields[key].json_schema_extra
            accepted = extra["accepts"] if isinstance(extra, dict) else ""
            shown = "absent" if default is None else json.dumps(default)
            lines.append(f"| `[{table}] {key}` | `{shown}` | {fields[key].description} | {accepted} |")
    return "\n".join(lines)


def rewrite(page: Path, parts: Mapping[str, str]) -> None:
    """Write new contents between the markers of some parts of a page; ValueError, and no change, if a marker is missing."""
    text = page.read_text(encoding="utf-8")
    for part, content in parts.items():
        text = replaced(text, part, content)
    write_atomic(page, text)


def replaced(text: str, part: str, content: str) -> str:
    """`text` with what stands between the markers of a generated part replaced; ValueError if they are not there."""
    pattern = re.compile(rf"(<!-- {part}:begin[^>]*-->\n).*?(<!-- {part}:end -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"expected the markers '<!-- {part}:begin -->' and '<!-- {part}:end -->'")
    return pattern.sub(lambda found: f"{found[1]}{content}\n{found[2]}", text)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, int | float) else str(value)


def main(results: Path, second: Path) -> None:
    """Rewrite the generated parts of docs/ from `results`, a results.json, and `second`, that of another regime; copy the figures shown there."""
    records = json.loads(results.read_text(encoding="utf-8"))
    if [record["id"] for record in records] != [claim.id for claim in CLAIMS]:
        sys.exit(f"{results}: expected every registered claim, got {len(records)} of {len(CLAIMS)}; type make verify")
    others = {record["id"]: record for record in json.loads(second.read_text(encoding="utf-8"))}
    here = {record["id"]: record for record in records}
    pages = {
        "regime.md": {"regime": regime_table()},
        "results.md": {
            "steps": steps_table(records, others),
            "results": results_table(records, others, second.parent.name),
        },
        "out_of_distribution.md": {
            "scenarios": scenarios_table(others, SCENARIOS, LENGTHS),
            "trained": scenarios_table(here, BY_SGD),
        },
    }
    for name, parts in pages.items():
        rewrite(DOCS / name, parts)
    drawn = dict.fromkeys(("learning_dynamics", "out_of_distribution", "thresholds"), results.parent)
    for stem, folder in (drawn | {"error_curve": second.parent}).items():
        write_atomic(DOCS / f"{stem}.svg", (folder / "figures" / f"{stem}.svg").read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
