"""Several runs as one page."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polyseme.checks.command_line import app
from polyseme.checks.core.report import compare
from polyseme.checks.core.report.compare import differing_keys, load_sides, rows_of, write_comparison
from polyseme.checks.core.report.run import Run
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import Regime

older = lambda: THEORY  # noqa: E731
ID = "closure/flow_limit_has_order_one"


@pytest.fixture
def other(made_up: Run) -> Run:
    """The same run in another regime: one claim is refuted, one was not tried, one figure was not made."""
    records = [dict(record) | ({"verdict": "refuted"} if record["id"] == ID else {}) for record in made_up.records[:-1]]
    tables = Regime().replace(prompt={"L": 9}).model_dump(mode="json")
    provenance = {"regime": "long <prompts>"}
    return dataclasses.replace(
        made_up, records=records, regime_tables=tables, figures=made_up.figures[:1], provenance=provenance
    )


@pytest.fixture
def folders(other: Run, stored: Path, tmp_path: Path, store: Callable[[Run, Path], None]) -> list[Path]:
    store(other, tmp_path / "runs" / "long")
    return [stored, tmp_path / "runs" / "long"]


def test_rows_are_claims_and_differ_where_verdicts_do(folders: list[Path]):
    rows = rows_of(load_sides(folders, older=older))
    assert [row.id for row in rows if row.differs] == [ID]
    (row,) = [row for row in rows if row.differs]
    assert row.verdicts == ("supported", "refuted")
    last = rows[-1]  # tried in one run alone, which is no disagreement
    assert last.records[1] is None and not last.differs


def test_the_keys_in_which_regimes_differ(folders: list[Path]):
    assert differing_keys(load_sides(folders, older=older)) == [("prompt", "L", (4, 9))]
    assert differing_keys(load_sides(folders[:1], older=older)) == []


def test_the_page_shows_runs_claims_and_figures_next_to_each_other(folders: list[Path], tmp_path: Path):
    write_comparison(tmp_path / "c.html", load_sides(folders, older=older))
    html = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "1 of 16 claims has different verdicts in these runs. 1 was not tried in all of them." in html
    assert "long &lt;prompts&gt;" in html and "<prompts>" not in html
    assert html.count('data-differs="yes"') == 1
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)
    margins, uses = html.partition('<section id="figures">')[2].split("<h3>")[1:]
    assert margins.count("<svg") == 2 and (uses.count("<svg"), uses.count("no such figure")) == (1, 1)
    write_comparison(tmp_path / "again.html", load_sides(folders, older=older))
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == html


def test_figures_without_room_are_left_out_and_named(folders: list[Path], tmp_path: Path, monkeypatch):
    monkeypatch.setattr(compare, "ROOM", 150_000)
    write_comparison(tmp_path / "c.html", load_sides(folders, older=older))
    html = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "Left out, since the page would be larger than 5 MB: Measured against allowed" in html


def test_runs_of_one_name_are_distinguished_by_their_folders(stored: Path, made_up: Run, tmp_path: Path, store):
    store(made_up, tmp_path / "older" / "default")
    assert [side.name for side in load_sides([stored, tmp_path / "older" / "default"], older=older)] == [
        "runs/default",
        "older/default",
    ]


def test_a_folder_named_twice_is_refused(stored: Path):
    with pytest.raises(PolysemeError, match="got this folder twice"):
        load_sides([stored, stored / ".." / "default"], older=older)


def test_the_command_compares(folders: list[Path], tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["report", *map(str, folders)])
    assert (result.exit_code, result.stdout) == (0, "Comparison: out/comparison.html\n")
    assert (tmp_path / "out" / "comparison.html").is_file()
