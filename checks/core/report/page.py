"""One verification as a page: one HTML file that needs nothing else (THEORY.md sections 7 and 8)."""

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from polyseme.checks.core.budget import SUITE_FALSE_ALARM
from polyseme.checks.core.claim import VERDICTS
from polyseme.checks.core.evidence import in_words
from polyseme.checks.core.provenance import GROUNDS
from polyseme.checks.core.records import decisive, is_statistical
from polyseme.checks.core.report.argument import home, plates_of, steps_of
from polyseme.checks.core.report.drawing import inlined, steps_graph, strip
from polyseme.checks.core.report.evidence import evidence_tables, fact_tables
from polyseme.checks.core.report.mathematics import mathml, pieces
from polyseme.checks.core.report.numerals import anchor, breakable, duration, number
from polyseme.checks.core.report.palette import variables
from polyseme.checks.core.report.run import Run
from polyseme.checks.core.report.summary import failures, foundation_sentence, met, part_tried, summary_sentence, unmet
from polyseme.checks.core.theory import step_of
from polyseme.files import write_atomic


def write_report(path: Path, run: Run) -> None:
    """Write the report of one verification to `path`, whole or not at all.

    The file holds its styles, scripts and figures, and loads nothing. ValueError if a figure is not an SVG;
    LaTeX that cannot be converted is shown as it is. PolysemeError if the file cannot be written.
    """
    write_atomic(path, page(run))


def page(run: Run) -> str:
    """The text of the report; the same run gives the same text."""
    records = list(run.records)
    plates = plates_of(run.figures, records)
    member = {record["id"]: step_of(record["id"], run.steps).key for record in records}
    steps = steps_of(records, plates, run.steps)
    return (
        environment(run.meanings)
        .get_template("report.html.j2")
        .render(
            run=run,
            records=records,
            verdict_of={record["id"]: record["verdict"] for record in records},
            counts={verdict: sum(record["verdict"] == verdict for record in records) for verdict in VERDICTS},
            sentence=summary_sentence(records, partial=run.partial, total=run.total),
            foundation=foundation_sentence(records),
            part=part_tried(len(records), run.total) if run.partial and len(records) != run.total else "",
            failures=failures(records),
            unmet=unmet(records),
            met=met(records),
            steps=steps,
            steps_listed=[(view.place, view.step.key, view.step.title) for view in steps],
            titles={view.place: (view.step.key, view.step.title) for view in steps},
            plates=[plate for plate in plates if not home(plate, member)],
            grounds={ground: sum(ground in record["in_the_end"] for record in records) for ground in GROUNDS},
            meanings=GROUNDS,
            budget=SUITE_FALSE_ALARM,
            statistical=[(record, part) for record in records for part in record["parts"] if part["statistics"]],
        )
    )


def environment(meanings: Mapping[str, str], *folders: Path) -> Environment:
    """Jinja2 with everything escaped that we did not make ourselves, and with the filters of the templates.

    `meanings` of regime keys; templates are looked for in `folders`, too.
    """
    made = Environment(
        loader=FileSystemLoader([Path(__file__).with_name("templates"), *folders]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "in_words": in_words,
        "number": number,
        "math": mathml,
        "anchor": anchor,
        "breakable": breakable,
        "duration": duration,
        "formulas": pieces,
    }
    made.globals |= {
        "meaning": lambda _table, key: meanings.get(key, ""),
        "evidence_tables": evidence_tables,
        "fact_tables": fact_tables,
        "drawn": lambda plate: inlined(plate.entry, f"f{plate.number}"),
        "decisive": decisive,
        "is_statistical": is_statistical,
        "strip": strip,
        "steps_graph": steps_graph,
        "light": variables(dark=False),
        "dark": variables(dark=True),
        "verdicts": VERDICTS,
    }
    return made
