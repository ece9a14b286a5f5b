"""The folder of a run: what is stored, that the page comes out of it unchanged, and how a foreign folder is refused."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polyseme.checks.command_line import app
from polyseme.checks.core.report.page import page, write_report
from polyseme.checks.core.report.run import Run, load_run
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.errors import PolysemeError


def call(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result.exit_code, result.stderr


def test_the_page_comes_out_of_the_folder_as_it_went_in(made_up: Run, stored: Path):
    assert page(load_run(stored, older=lambda: THEORY)) == page(made_up)
    assert call(stored) == (0, "")
    assert (stored / "report.html").read_text(encoding="utf-8") == page(made_up)


def test_numbers_that_json_does_not_know_come_back_the_same(made_up: Run, tmp_path: Path, store):
    wild = [math.nan, math.inf, -math.inf, 1e300, -0.0, 3]
    evidence = {"evidence": {"rows": [], "facts": {"x": wild}}}
    records = [
        dict(record)
        | {"parts": [dict(record["parts"][0]) | dict.fromkeys(("measured", "bound", "slack"), value) | evidence]}
        for record, value in zip(made_up.records, wild, strict=False)
    ]
    run = dataclasses.replace(made_up, records=records, figures=[])
    store(run, tmp_path / "run")
    assert page(load_run(tmp_path / "run", older=lambda: THEORY)) == page(run)


def test_a_folder_of_an_older_version_gives_what_is_known(stored: Path):
    (stored / "report.json").unlink()
    run = load_run(stored, older=lambda: THEORY)
    assert (run.name, [x.title for x in run.figures]) == ("default", ["Margins", "Uses"])
    assert "There is no report.json" in page(run)
    assert run.steps == THEORY.steps


def test_records_without_parts_as_older_versions_wrote_them_are_read(made_up: Run, stored: Path):
    older = []
    for record in json.loads((stored / "results.json").read_text(encoding="utf-8")):
        (part,) = record.pop("parts")
        controls, _ = part.pop("controls"), [part.pop(key) for key in ("name", "hypotheses")]
        older.append(record | part | {"control": controls[0] if controls else None})
    (stored / "results.json").write_text(json.dumps(older), encoding="utf-8")
    assert page(load_run(stored, older=lambda: THEORY)) == page(made_up)


def test_a_run_that_does_not_say_its_steps_has_those_of_its_theory(made_up: Run, stored: Path):
    content = json.loads((stored / "report.json").read_text(encoding="utf-8"))
    for name in ("steps", "meanings", "sections"):
        del content[name]
    (stored / "report.json").write_text(json.dumps(content), encoding="utf-8")
    assert page(load_run(stored, older=lambda: THEORY)) == page(made_up)


def test_a_run_that_says_its_steps_needs_no_theory(stored: Path):
    def older():
        raise AssertionError("nobody asks")

    assert load_run(stored, older=older).steps


@pytest.mark.parametrize(
    "html",
    [
        "<script>alert(1)</script>",
        "<p onclick='alert(1)'>x</p>",
        "<a href='https://example.org'>x</a>",
        "<svg><image xlink:href='https://example.org/x.png'/></svg>",
        "<img src='x.png'>",
        "<IFRAME></IFRAME>",
    ],
)
def test_a_stored_section_that_runs_or_loads_something_is_refused(html: str, stored: Path):
    changed(stored, "report.json", sections=[{"anchor": "more", "title": "More", "html": html}])
    status, told = call(stored)
    assert status == 2 and "'sections.0.html' where" in told and told.count("\n") == 1


def changed(folder: Path, name: str, *, in_part: bool = False, **changes) -> None:
    path = folder / name
    content = json.loads(path.read_text(encoding="utf-8"))
    first = content[0] if isinstance(content, list) else content
    if in_part:
        first = first["parts"][0]
    first.update(changes)
    path.write_text(json.dumps(content), encoding="utf-8")


BREAKAGES = {
    "not a folder": (lambda f: f / "results.json", "got a file, expected a folder"),
    "no such folder": (lambda f: f / "none", "got no such folder"),
    "no results": (lambda f: (f / "results.json").unlink(), "without results.json"),
    "not JSON": (lambda f: (f / "results.json").write_text("{"), "got text that is not JSON"),
    "not UTF-8": (lambda f: (f / "results.json").write_bytes(b"\xff\xfe\x00"), "got text that is not JSON"),
    "deep JSON": (lambda f: (f / "results.json").write_text("[" * 100000), "got text that is not JSON"),
    "foreign JSON": (lambda f: (f / "results.json").write_text('{"a": 1}'), "where input should be a valid list"),
    "foreign records": (lambda f: (f / "results.json").write_text('[{"id": "x"}]'), "'0.family' where field required"),
    "unknown verdict": (lambda f: changed(f, "results.json", verdict="green"), "'0.verdict' where"),
    "text for a number": (lambda f: changed(f, "results.json", in_part=True, measured="many"), "'0.parts.0.measured"),
    "half a statistic": (
        lambda f: changed(f, "results.json", in_part=True, statistics={"share": 1}),
        "'0.parts.0.statistics.p_support' where",
    ),
    "an unknown ground": (
        lambda f: changed(f, "results.json", rests_on=[{"ground": "faith", "text": ""}]),
        "'0.rests_on",
    ),
    "odd evidence": (lambda f: changed(f, "results.json", evidence={"rows": 7}, family=1), "'0.family' where"),
    "empty": (lambda f: (f / "results.json").write_text("[]"), "got no claims"),
    "a claim twice": (lambda f: changed(f, "results.json", id="algebra/common_part_cancels_in_softmax"), "twice"),
    "another form": (lambda f: changed(f, "report.json", form="polyseme report 2"), "'form' where"),
    "a path for a figure": (
        lambda f: changed(f, "report.json", figures=[{"stem": "../x", "title": "", "caption": "", "claims": []}]),
        "'figures.0.stem' where",
    ),
    "a figure lost": (lambda f: (f / "figures" / "uses.svg").unlink(), "expected a figure of the run"),
    "a figure that is none": (
        lambda f: (f / "figures" / "uses.svg").write_text("<html/>"),
        "expected a figure of the run",
    ),
}


@pytest.mark.parametrize("name", BREAKAGES)
@pytest.mark.parametrize("several", [False, True])
def test_a_folder_that_is_not_that_of_a_run_is_refused_in_one_sentence(
    name: str, several: bool, made_up: Run, stored: Path, tmp_path: Path, store
):
    breaks, sentence = BREAKAGES[name]
    made = breaks(stored)
    folders = [made if isinstance(made, Path) else stored]
    if several:
        store(made_up, tmp_path / "other")
        folders.append(tmp_path / "other")
    before = sorted(tmp_path.rglob("*"))
    status, told = call(*folders, "--out", tmp_path / "out.html")
    assert status == 2 and sentence in told and told.count("\n") == 1, told
    assert "type the folder of a run of polyseme verify" in told
    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_that_cannot_be_written_is_refused(stored: Path, tmp_path: Path):
    status, told = call(stored, "--out", stored / "results.json" / "x.html")
    assert status == 2 and "type another path after --out" in told
    with pytest.raises(PolysemeError):
        write_report(tmp_path, load_run(stored, older=lambda: THEORY))


def test_no_folder_at_all_is_refused():
    assert call()[0] == 2
