import dataclasses
import html
import re
from pathlib import Path

import pytest

from polyseme.checks.core.report.page import write_report
from polyseme.checks.core.report.run import Run
from polyseme.checks.multi_concept.conditions import conditions
from polyseme.checks.multi_concept.conditions.formatting import short_rows
from polyseme.checks.multi_concept.conditions.report import sections, slack_strip, slack_view


def written(path: Path, run: Run) -> tuple[str, str]:
    """The page of a run with the section as it is now, and its words."""
    write_report(path, dataclasses.replace(run, sections=sections()))
    page = path.read_text(encoding="utf-8")
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return page, " ".join(html.unescape(re.sub(r"<[^>]+>", "", body)).split())


def test_the_section_shows_every_hypothesis_and_scan(tmp_path: Path, made_up: Run):
    page, words = written(tmp_path / "r.html", made_up)
    view, found = slack_view(), conditions.shipped()
    assert view is not None and found is not None
    assert "How much slack the conditions have" in words and '<a href="#slack">' in page
    for row in short_rows(found):
        assert all(cell in words for cell in row)
    scans = [scan.words for one in found.conditions for scan in one.scans]
    assert scans and all(scan in words for scan in scans)
    assert page.count('aria-label="Slack, ') == len(scans)
    assert all(sentence in words for sentence in (*view.sentences, *view.provenance))


@pytest.mark.parametrize("content", [None, "", "{}"])
def test_without_a_readable_file_there_is_no_section(content, tmp_path: Path, made_up: Run, monkeypatch):
    path = tmp_path / "conditions.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(conditions, "SHIPPED", path)
    page, words = written(tmp_path / "r.html", made_up)
    assert "How much slack" not in words and 'href="#slack"' not in page


def test_the_picture_says_in_words_what_it_shows():
    whole = slack_strip((2.0, 4.0), (3.0, 5.0), (0.5, 10.0), "K1 = 1")
    assert 'aria-label="Slack, K1 = 1: 2 to 4"' in whole and whole.count("<line") == 3 and "<path" not in whole
    half = slack_strip((2.0, None), (None, None), (0.5, 10.0), "<x>")
    assert "&lt;x&gt;: 2 to not shown" in half and half.count("<line") == 2 and half.count("<path") == 1
    assert 'aria-label="Slack, x: not shown"' in slack_strip((None, None), (None, None), (0.5, 10.0), "x")
