"""The generated parts of the README: the table of results and the regime keys. Run by `make readme`."""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checks.claim import VERDICTS, Verdict
from checks.claims import CLAIMS
from theory.setting import Regime

ROOT = Path(__file__).resolve().parent.parent


def results_table(records: list[dict[str, Any]], elsewhere: Mapping[str, dict[str, Any]], name: str) -> str:
    """A Markdown table with a row per claim: verdict, measured, allowed, and what its wrong twin measured.

    A claim that is not applicable has the record of another regime, of that name, if it applies there.
    """
    lines = ["| claim | verdict | measured | allowed | its wrong twin | which measured |", "|---|---|---|---|---|---|"]
    for record in records:
        note, other = "", elsewhere.get(record["id"])
        if record["verdict"] == Verdict.NOT_APPLICABLE and other and other["verdict"] != Verdict.NOT_APPLICABLE:
            record, note = other, f" ({name})"
        verdict = Verdict(record["verdict"])
        twin = record["control"]
        cells = (
            f"`{record['id']}`",
            f"{VERDICTS[verdict][0]} {verdict}{note}",
            _number(record["measured"]),
            _number(record["bound"]),
            f"{twin['name']}: {twin['verdict']}" if twin else "",
            _number(twin["measured"]) if twin else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


LENGTHS = "ood/any_length_has_its_closed_form"
SCENARIOS = "ood/every_scenario_is_foreseen_from_the_coefficients"
BY_SGD = "ood/noisy_sgd_does_elsewhere_what_level_n_says"


def scenarios_table(records: Mapping[str, dict[str, Any]], *claims: str) -> str:
    """A Markdown table of the tables in the facts of some claims: what was foreseen and what was measured, a row per scenario.

    A claim without evidence has no rows.
    """
    lines = [
        "| scenario | after step | 0-1 error foreseen | measured | correct attention foreseen | measured |",
        "|---|---|---|---|---|---|",
    ]
    for claim in claims:
        facts = (records[claim]["evidence"] or {}).get("facts", {})
        for line in facts.get("table", ()):
            step = line.get("step", facts.get("steps", ""))
            numbers = (
                f"{line[f'{what} {side}']:.4f}" for what in ("error", "attention") for side in ("foreseen", "measured")
            )
            lines.append(f"| `{line['scenario']}` | {step} | {' | '.join(numbers)} |")
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


def replaced(text: str, part: str, content: str) -> str:
    """`text` with what stands between the markers of a generated part replaced; ValueError if they are not there."""
    pattern = re.compile(rf"(<!-- {part}:begin[^>]*-->\n).*?(<!-- {part}:end -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"expected the markers '<!-- {part}:begin -->' and '<!-- {part}:end -->'")
    return pattern.sub(lambda found: f"{found[1]}{content}\n{found[2]}", text)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, int | float) else str(value)


def main(results: Path, others: Path) -> None:
    """Rewrite README.md and the tables of docs/ from results.json and that of another regime, and copy the figure shown."""
    from checks.files import write_atomic

    readme = ROOT / "README.md"
    text = replaced(readme.read_text(encoding="utf-8"), "regime", regime_table())
    records = json.loads(results.read_text(encoding="utf-8"))
    if [record["id"] for record in records] != [claim.id for claim in CLAIMS]:
        sys.exit(f"{results}: expected every registered claim, got {len(records)} of {len(CLAIMS)}; type make verify")
    elsewhere = {record["id"]: record for record in json.loads(others.read_text(encoding="utf-8"))}
    text = replaced(text, "results", results_table(records, elsewhere, others.parent.name))
    write_atomic(readme, text)
    page = ROOT / "docs" / "out_of_distribution.md"
    text = replaced(page.read_text(encoding="utf-8"), "scenarios", scenarios_table(elsewhere, SCENARIOS, LENGTHS))
    trained = scenarios_table({record["id"]: record for record in records}, BY_SGD)
    write_atomic(page, replaced(text, "trained", trained))
    figure = results.parent / "figures" / "learning_dynamics.svg"
    write_atomic(ROOT / "docs" / "learning_dynamics.svg", figure.read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
