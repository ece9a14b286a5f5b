"""The pages in a real browser: drawn whole, searched, filtered, linked, zoomed, on a phone, in the dark, on paper.

Needs Chromium, a package of the system and not of pip; without one these tests are skipped.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from polyseme.checks.core.records import is_statistical
from polyseme.checks.core.report.compare import load_sides, write_comparison
from polyseme.checks.core.report.page import write_report
from polyseme.checks.core.report.palette import COLOURS, WRITTEN, contrast
from polyseme.checks.core.report.run import Run
from polyseme.checks.multi_concept.theory import THEORY

SHOWN = "[...document.querySelectorAll('[data-text]')].filter(x => x.checkVisibility()).length"
COUNT = "document.getElementById('shown').textContent"
WIDER = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"


@pytest.fixture(scope="module")
def files(made_up: Run, tmp_path_factory: pytest.TempPathFactory, store) -> dict[str, str]:
    """The addresses of a report and of a comparison."""
    folder = tmp_path_factory.mktemp("pages")
    write_report(folder / "report.html", made_up)
    flipped = [dict(made_up.records[0]) | {"verdict": "refuted"}, *made_up.records[1:]]
    store(made_up, folder / "one")
    store(dataclasses.replace(made_up, records=flipped), folder / "two")
    write_comparison(folder / "comparison.html", load_sides([folder / "one", folder / "two"], older=lambda: THEORY))
    assert all((folder / name).stat().st_size < 5e6 for name in ("report.html", "comparison.html"))
    return {name: (folder / f"{name}.html").as_uri() for name in ("report", "comparison")}


@pytest.fixture(autouse=True)
def quiet(browser) -> Iterator[None]:
    """Each test starts with an empty page in a common window, and ends without a complaint of the browser."""
    browser.media(prefers_color_scheme="light")
    browser.size(1280)
    browser.open("about:blank")
    browser.log.clear()
    browser.requests.clear()
    yield
    assert browser.log == []
    assert {address.partition(":")[0] for address in browser.requests} <= {"file", "about", "data"}
    assert len({address.partition("#")[0] for address in browser.requests if address.startswith("file")}) <= 1


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_every_figure_is_drawn(browser, files, name):
    browser.open(files[name])
    sizes = browser.js(
        "[...document.querySelectorAll('.plate svg, .graph, .strip')].map(x => [x.classList[0] ?? 'figure', "
        "x.getBoundingClientRect().width, x.getBoundingClientRect().height, x.querySelectorAll('path, circle').length])"
    )
    assert Counter(x[0] for x in sizes)["figure"] == {"report": 2, "comparison": 4}[name]
    assert min(min(x[1:]) for x in sizes) > 0
    # What is outside the coordinates of a figure, or has no ink, is not drawn either.
    assert browser.js("[...document.querySelectorAll('.plate svg')].every(x => x.getBBox().width > 100)")
    assert browser.js("document.querySelectorAll('math').length") >= (16 if name == "report" else 0)
    assert browser.js("[...document.querySelectorAll('math')].every(x => x.getBoundingClientRect().width > 0)")


def test_the_search_hides_the_others_and_says_how_many_are_left(browser, files, made_up):
    browser.open(files["report"])
    total = len(made_up.records)
    assert (browser.js(SHOWN), browser.js(COUNT)) == (total, f"{total} of {total} claims shown")
    browser.type("/")
    assert browser.js("document.activeElement.id") == "words"
    browser.type("flow_limit")
    assert (browser.js(SHOWN), browser.js(COUNT)) == (1, f"1 of {total} claims shown")
    assert browser.js("location.hash") == "#?q=flow_limit"
    assert not browser.js("document.getElementById('step-exponential').checkVisibility()")
    assert not browser.js("document.querySelector('.step > figure').checkVisibility()")
    browser.press("Escape")
    assert (browser.js(SHOWN), browser.js("location.hash")) == (total, "")
    assert browser.js("document.activeElement.id") != "words"


@pytest.mark.parametrize("words", ["IDEMPOTENTS identity", r"\delta_{st}", "batch is 'population'", "no such words"])
def test_statement_id_formula_and_hypotheses_are_searched(browser, files, made_up, words):
    browser.open(files["report"])
    browser.js(f"words.value = {json.dumps(words)}; words.dispatchEvent(new Event('input'))")
    texts = [
        " ".join([x["id"], x["statement"], x["formula"], *(f"{y['name']} {y['got']}" for y in x["hypotheses"])]).lower()
        for x in made_up.records
    ]
    assert browser.js(SHOWN) == sum(all(word in text for word in words.lower().split()) for text in texts)


def test_each_filter_works_and_its_address_restores_it(browser, files, made_up):
    verdicts = Counter(x["verdict"] for x in made_up.records)
    browser.open(files["report"])
    for verdict, count in verdicts.items():
        browser.click(f"input[value={verdict}]")
        assert browser.js(SHOWN) == count
        browser.click(f"input[value={verdict}]")
    browser.click("input[value=error]")
    browser.click("input[value=supported]")
    address = browser.js("location.href")
    browser.open("about:blank")
    browser.open(address)
    assert browser.js(SHOWN) == verdicts["error"] + verdicts["supported"]
    assert browser.js("document.querySelector('input[value=error]').checked")
    browser.open(f"{files['report']}#?step=closure")
    assert browser.js(SHOWN) == sum(x["family"] == "closure" for x in made_up.records)
    browser.open(f"{files['report']}#?kind=statistical")
    assert browser.js(SHOWN) == sum(is_statistical(x) for x in made_up.records)
    browser.open(f"{files['report']}#?step=nonsense&verdict=nonsense&x=y")
    assert browser.js(SHOWN) == len(made_up.records)
    browser.click(".counts a.refuted")
    assert (browser.js(SHOWN), browser.js("location.hash")) == (verdicts["refuted"], "#?verdict=refuted")
    browser.click("#clear")
    assert browser.js(SHOWN) == len(made_up.records)


def test_a_link_to_a_claim_opens_it_even_if_it_is_filtered_away(browser, files):
    browser.open(f"{files['report']}#?verdict=refuted")
    browser.js("location.hash = '#about-algebra-common_part_cancels_in_softmax'")
    browser.settle()
    claim = "document.querySelector('#about-algebra-common_part_cancels_in_softmax')"
    assert browser.js(f"{claim}.checkVisibility() && {claim}.querySelector('details').open")
    assert 0 <= browser.js(f"{claim}.getBoundingClientRect().top") < 300


def test_the_comparison_shows_only_where_runs_differ(browser, files, made_up):
    browser.open(files["comparison"])
    assert browser.js(SHOWN) == len(made_up.records)
    browser.click("input[name=differs]")
    assert (browser.js(SHOWN), browser.js("location.hash")) == (1, "#?differs=yes")


@pytest.mark.parametrize("name", ["report", "comparison"])
@pytest.mark.parametrize(("width", "zoom"), [(390, 1.0), (320, 1.0), (1280, 2.0), (1280, 1.0)])
def test_the_page_does_not_scroll_sideways(browser, files, name, width, zoom):
    browser.size(width, zoom=zoom)
    browser.open(files[name])
    assert browser.js("innerWidth") == width / zoom
    assert browser.js(WIDER) <= 0
    browser.js("document.querySelectorAll('details').forEach(x => { x.open = true; })")
    assert browser.js(WIDER) <= 0


@pytest.mark.parametrize("dark", [False, True])
def test_what_is_written_can_be_read(browser, files, dark):
    browser.media(prefers_color_scheme="dark" if dark else "light")
    browser.open(files["report"])
    variable = "getComputedStyle(document.documentElement).getPropertyValue('--{}').trim()"
    found = {name: browser.js(variable.format(name)) for name in COLOURS}
    assert found == {name: pair[dark] for name, pair in COLOURS.items()}
    assert min(contrast(found[text], found[ground]) for text in WRITTEN for ground in WRITTEN[text]) >= 4.5
    assert browser.js("getComputedStyle(document.querySelector('.plate')).backgroundColor") == "rgb(255, 255, 255)"
    browser.click("#theme")  # light, whatever the system says; the next is dark
    assert browser.js(variable.format("paper")) == COLOURS["paper"][0]
    browser.click("#theme")
    assert browser.js(variable.format("paper")) == COLOURS["paper"][1]
    browser.click("#theme")


def test_on_paper_what_applies_is_open_and_light(browser, files):
    browser.media(prefers_color_scheme="dark", medium="print")
    browser.open(files["report"])
    variable = "getComputedStyle(document.documentElement).getPropertyValue('--paper').trim()"
    assert browser.js(variable) == COLOURS["paper"][0]
    visible = (
        "[...document.querySelectorAll('{} .command pre')].filter(x => x.getBoundingClientRect().height > 0).length"
    )
    applies = "article:not([data-verdict=not_applicable])"
    assert browser.js(visible.format(applies)) == browser.js(f"document.querySelectorAll('{applies}').length")
    assert not browser.js("document.querySelector('nav').checkVisibility()")
    browser.size(690)  # A4 without its margins: what is wider would shrink all of the page
    browser.js("dispatchEvent(new Event('beforeprint'))")
    assert browser.js(WIDER) <= 0
    browser.js("dispatchEvent(new Event('afterprint'))")
    assert browser.pdf().startswith(b"%PDF")


def test_without_a_script_the_page_is_whole(browser, files, made_up):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(files["report"], scripts=False)
        tree = browser.call("DOM.getOuterHTML", nodeId=browser.call("DOM.getDocument")["root"]["nodeId"])["outerHTML"]
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert all(record["statement"] in tree for record in made_up.records)
    assert '<div class="tools" role="search" aria-label="Claims" hidden' in tree  # what would do nothing is not shown


def test_headings_are_in_order_and_controls_have_names(browser, files, made_up):
    browser.open(files["report"])
    levels = browser.js("[...document.querySelectorAll('h1, h2, h3, h4, h5')].map(x => +x.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert [b for a, b in pairwise(levels) if b > a + 1] == []
    assert levels.count(4) == len(made_up.records)
    unnamed = "[...document.querySelectorAll('input, select, button')].filter(x => !(x.labels?.[0]?.textContent ?? (x.ariaLabel || x.textContent)).trim()).length"
    assert browser.js(unnamed) == 0
    browser.press("Tab")
    assert browser.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_command_is_copied(browser, files, made_up):
    browser.open(files["report"])
    browser.js(
        "Object.defineProperty(navigator, 'clipboard', { value: { writeText: text => { window.copied = text; } } })"
    )
    browser.click("article button.copy")
    assert browser.js("copied") == made_up.records[0]["replay"]
    assert browser.js("document.querySelector('article button.copy').textContent") == "Copied"


def test_the_browser_tells_of_errors(browser, tmp_path: Path):
    path = tmp_path / "bad.html"
    path.write_text("<script>console.error('a'); missing();</script><img src='http://127.0.0.1:9/x'>")
    browser.open(path.as_uri())
    assert any("missing" in entry for entry in browser.log) and any(x.startswith("http:") for x in browser.requests)
    browser.log.clear()
    browser.requests.clear()
