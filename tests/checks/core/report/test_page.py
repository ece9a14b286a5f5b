import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from polyseme.checks.core.claim import VERDICTS
from polyseme.checks.core.report.page import write_report
from polyseme.checks.core.report.run import Run
from polyseme.checks.core.report.summary import summary_sentence
from polyseme.checks.core.theory import Equation, FigureEntry, Section
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import Regime

RECORDS = json.loads((Path(__file__).parents[1] / "example_results.json").read_text(encoding="utf-8"))
"""A made-up verification with every verdict, as results.json holds it."""

LONG = (
    r"\mathtt{W\_Q}^{ba}_{k}(t+1) = \left(1-\eta_t\lambda\right) \mathtt{W\_Q}^{ba}_{k}(t) - \eta_t n_a n_b "
    + " + ".join(
        rf"\sum_{{e}}\sum_{{n_+=0}}^{{L}} \frac{{1}}{{{k}}} \left(1 - \tanh^{{2}}{{\left(g + \log{{\left(n_+ \right)}} \right)}}\right)"
        for k in range(2, 9)
    )
)
LATEX = {
    "query weights, level B": LONG,
    "key weights, level B": LONG.replace("Q", "K"),
    "softmax average of the signs": r"\bar{e} = \tanh{\left(g + \frac{1}{2}\log{\left(\frac{n_{+}}{n_{-}} \right)} \right)}",
    "value": r"v = c_k + \bar{e} d_k",
    "gate": r"\mathbf{1}\left[h_i > 0\right] = \begin{cases} 1 & \text{for}\: h_{i} > 0 \\0 & \text{otherwise} \end{cases}",
    "idempotents": r"P_s P_t = \delta_{st} P_s, \qquad \sum_s P_s = I",
    "level N": r"\mathbb{E}\,\mathrm{relu}(h) = \mu\,\Phi\left(\frac{\mu}{\tau}\right)",
    "decay": r"\prod_{t} \left(1 - \eta_t \lambda\right)",
    "softmax derivative": r"1 - \bar{e}^{2}",
    "blocks": r"\left[\begin{matrix}W^{aa} & W^{ab}\\W^{ba} & W^{bb}\end{matrix}\right]",
    "in lines": r"\begin{align*} f &= r^{T} h \\ &+ 0 \end{align*}",
    "unknown <command>": r"\foo{b} < 1",
}

SVG = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns:xlink="http://www.w3.org/1999/xlink" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9" version="1.1">
<metadata><a href="https://matplotlib.org/">made</a></metadata>
<defs><style type="text/css">*{stroke-linecap: butt}</style><path id="glyph" d="M0 0"/></defs>
<defs><clipPath id="clip"><rect width="9" height="9"/></clipPath></defs>
<g id="axes_1" clip-path="url(#clip)"><use xlink:href="#glyph" style="clip-path: url(#clip)"/></g></svg>"""

REPLAY = "polyseme verify regimes/default.toml --out out"


def written(path: Path, **changes) -> str:
    """The report of the made-up verification, with some arguments changed."""
    arguments = {
        "records": RECORDS,
        "equations": [Equation(caption=caption, latex=latex) for caption, latex in LATEX.items()],
        "figures": [FigureEntry(title=f"Figure {k}", caption="What it shows.", svg=SVG) for k in "AB"],
        "regime_tables": Regime().model_dump(),
        "provenance": {"regime": "default", "seconds": 192.4, "versions": {"numpy": "2.3"}, "seeds": [0, 1]},
        "replay": REPLAY,
        "steps": THEORY.steps,
        "meanings": {key.name: key.meaning for key in Regime.keys().values()},
        "sections": THEORY.sections(),
    }
    write_report(path, Run(**(arguments | changes)))
    return path.read_text(encoding="utf-8")


class Page(HTMLParser):
    """Tags, attributes and words of a page; an unbalanced tag is an error."""

    VOID = frozenset({"meta", "input", "br", "wbr", "link", "img", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"<{tag}> repeats an attribute"
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert {"svg", "math"} & set(self.open) or tag in self.VOID, f"<{tag}/> does not close itself in HTML"
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    def all(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.tags if attribute in attributes]

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> str:
    return written(tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_made_up_records_cover_every_verdict():
    assert {record["verdict"] for record in RECORDS} == set(VERDICTS)
    assert len(RECORDS) >= 16 and len(LATEX) >= 12


def test_every_claim_is_there_once(page: Page):
    for record in RECORDS:
        assert page.text.count(record["id"]) >= 3  # its own head, what uses it or it uses, replay command
        assert record["statement"] in page.text
        assert record["replay"] in page.text
    verdicts = [attributes["data-verdict"] for tag, attributes in page.tags if tag == "article"]
    assert verdicts == [record["verdict"] for record in RECORDS]


def test_the_summary_comes_first_and_says_what_does_not_hold(page: Page):
    assert page.text.index("11 of the 15 claims that apply to this regime are supported") < page.text.index("algebra/")
    assert "Wall time 3 min 12 s" in page.text and REPLAY in page.text


def test_a_part_of_the_claims_says_so(tmp_path: Path, page: Page):
    part = Page(written(tmp_path / "r.html", records=RECORDS[:1], partial=True, total=21)).text
    assert part.count("Only 1 of 21 claims was tried.") == 3  # summary, table, legend
    assert "The one tried claim that applies to this regime is supported" in part
    assert "were tried" not in page.text and "tried claim" not in page.text
    assert "Only 2 of the claims were tried. Both tried" in summary_sentence(
        [{"verdict": "supported"}] * 2, partial=True
    )
    assert summary_sentence([{"verdict": "supported"}], partial=True, total=1).startswith("The one claim")
    assert summary_sentence([], partial=True, total=21) == "No claim was tried."


def of_one_part(**changes: Any) -> dict[str, Any]:
    """The first record with changes of its part."""
    (part,) = RECORDS[0]["parts"]
    return RECORDS[0] | {"parts": [part | changes]}


def articles(html: str) -> list[str]:
    return re.findall(r"<article.*?</article>", html, re.DOTALL)


def test_the_head_of_a_claim_shows_formula_scope_and_numbers(html: str, tmp_path: Path):
    for article, record in zip(articles(html), RECORDS, strict=True):
        head = article.partition("<details")[0]
        assert ("<math" in head) == bool(record["formula"])
        assert (">any regime</span>" in head) == (record.get("scope") == "any regime")
        numbered = any(part["measured"] is not None or part["bound"] is not None for part in record["parts"])
        assert ("<dt>measured</dt>" in head) == numbered
        assert ("reason" in head) == (record["verdict"] != "supported")
    latex = r"a = \left\{ b \quad c \right\},\qquad \sum_s P_s = I,\quad d"
    (whole,) = articles(written(tmp_path / "r.html", records=[RECORDS[0] | {"formula": latex}]))
    assert whole.count("<math") == 1  # a cut inside a pair of braces would break the formula
    (cut,) = articles(written(tmp_path / "r.html", records=[RECORDS[0] | {"formula": r"a = b,\qquad c = d"}]))
    assert cut.count("<math") == 2


def test_claims_stand_in_the_steps_of_the_argument_and_users_own_come_last(tmp_path: Path):
    names = ["mine/x", "exponential/x", "gradient/level_n_x", "gradient/x", "algebra/x"]
    uses = {"exponential/x": ["algebra/x", "gradient/x", "closure/not_tried"]}
    records = [RECORDS[0] | {"id": name, "uses": uses.get(name, [])} for name in names]
    html = written(tmp_path / "r.html", records=records)
    page = Page(html)
    assert re.findall(r'<section class="step" id="step-([^"]+)"', html) == [
        "decomposition",
        "gradient",
        "fluctuation",
        "exponential",
        "own-mine",
    ]
    assert "Rests on ✓ 1 The decomposition (1×), ✓ 2 The gradient (1×)." in page.text
    assert "Used by ✓ 6 Exponential bounds (1×)." in page.text
    assert "closure/not_tried (not tried here)" in page.text
    assert "step 6 rests on 1, 2." in html


def test_a_section_that_a_theory_adds_stands_below_its_title_and_is_linked(tmp_path: Path):
    made = Section(anchor="more", title="More & less", html="<p>It is <em>so</em>.</p>")
    html = written(tmp_path / "r.html", sections=[made])
    assert "<h2>More &amp; less</h2>\n<p>It is <em>so</em>.</p>" in html.partition('<section id="more">')[2]
    assert '<a href="#more">More &amp; less</a>' in html
    Page(html)
    assert 'href="#more"' not in written(tmp_path / "r.html", sections=[])


def test_a_figure_stands_with_its_step_and_is_linked_both_ways(tmp_path: Path):
    one, both = "exponential/*", "*/*"
    figures = [FigureEntry(title=pattern, caption="", svg=SVG, claims=(pattern,)) for pattern in (both, one)]
    html = written(tmp_path / "r.html", figures=figures)
    step = html.partition('id="step-exponential"')[2].partition("<article")[0]
    assert 'id="figure-2"' in step and 'id="figure-1"' in html.partition('<section id="figures">')[2]
    assert 'href="#about-exponential-pinelis_bound_holds"' in step
    linked = [article.count('href="#figure-2"') for article in articles(html)]
    assert linked == [int(record["family"] == "exponential") for record in RECORDS]
    assert all('href="#figure-1"' in article for article in articles(html))


def test_a_figure_runs_and_loads_nothing(tmp_path: Path):
    evil = '<script>alert(1)</script><image href="http://x/y"/><a xlink:href="http://x"><path onclick="f()"/></a></g></svg>'
    html = written(
        tmp_path / "r.html", figures=[FigureEntry(title="T", caption="", svg=SVG.replace("</g></svg>", evil))]
    )
    shown = html.partition('<section id="figures">')[2].partition("</section>")[0]
    assert "<path" in shown
    assert not re.search(r"script|onclick|http://x|<image", shown)


def evidence_of(tmp_path: Path, evidence: object) -> str:
    """The part of a report that shows this evidence."""
    html = written(tmp_path / "r.html", records=[of_one_part(evidence=evidence)])
    Page(html)
    return html.partition('class="more rows"')[2].partition("</summary>")[2].partition("</article>")[0]


def cells(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [[re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def compared(name: str, difference) -> dict:
    return {"kind": "compared", "name": name, "difference": difference, "scale": 2.0, "roundings": 64.0}


def test_evidence_is_a_table_with_the_worst_first_and_the_rest_folded(tmp_path: Path):
    rows = [compared(f"row {k}", k * 1e-3) for k in range(40)] + [compared("broken", "NaN")]
    shown, _, folded = evidence_of(
        tmp_path, {"rows": rows, "facts": {"steps": 400, "points": [[1, 2], [3]]}}
    ).partition("<details")
    assert cells(shown)[0] == ["name", "difference", "scale", "allowed round-offs"]
    assert cells(shown)[1] == ["broken", "not a number", "2", "64"]
    assert [row[0] for row in cells(shown)[2:]] == [f"row {k}" for k in range(39, 28, -1)]
    assert "the other 29 rows" in folded and " open" not in folded.partition(">")[0]
    assert [row[0] for row in cells(folded)[1:30]] == [f"row {k}" for k in range(28, -1, -1)]
    assert cells(folded)[30:] == [["steps", "400"], ["points", "(1, 2), (3)"]]


def test_evidence_of_other_kinds(tmp_path: Path):
    estimated = {"kind": "estimated", "estimate": -0.5, "standard_error": 0.1, "samples": 9, "scale": 1.0}
    fitted = {"kind": "fitted", "name": "order", "order": 1.0, "half_width": 0.01, "steps": [1, 2]}
    html = evidence_of(tmp_path, {"rows": [estimated | {"name": "a"}, fitted, estimated | {"name": "b", "scale": 0.1}]})
    assert cells(html) == [
        ["name", "estimate", "standard error", "samples", "scale"],
        ["b", "−0.5", "0.1", "9", "0.1"],
        ["a", "−0.5", "0.1", "9", "1"],
        ["name", "order", "half width", "steps"],
        ["order", "1", "0.01", "1, 2"],
    ]


def test_facts_with_the_same_keys_are_a_table(tmp_path: Path):
    table = [{"scenario": "skewed", "error": 0.25}, {"scenario": "lying", "error": 1.0}]
    rows = [compared("row", 1e-3)]
    html = evidence_of(tmp_path, {"rows": rows, "facts": {"seeds": 3, "table": table, "uneven": [{"a": 1}, {"b": 2}]}})
    assert cells(html)[:3] == [["scenario", "error"], ["skewed", "0.25"], ["lying", "1"]]
    assert cells(html)[5][0] == "seeds"
    assert "<h6>Table</h6>" in html


def test_residuals_that_are_zero_are_one_line(tmp_path: Path):
    def exact(*residuals: str) -> dict:
        return {"rows": [{"kind": "exact", "name": f"r{k}", "residual": x} for k, x in enumerate(residuals)]}

    html = evidence_of(tmp_path, exact(*["0"] * 148))
    assert "<summary>all 148 residuals are exactly zero</summary>" in html and "<table" not in html
    assert html.count("<li>") == 148
    assert "the one residual is exactly zero" in evidence_of(tmp_path, exact("0"))
    mixed = evidence_of(tmp_path, exact("0", "x + " * 200 + "1", "0", "0"))
    assert cells(mixed)[1][0] == "r1" and len(cells(mixed)[1][1]) < 310
    assert "the other 3 residuals are exactly zero" in mixed


@pytest.mark.parametrize(
    "evidence", [{"rows": [{"kind": "new", "x": 71}]}, {"rows": [{"kind": "exact", "y": 71}]}, [71]]
)
def test_evidence_of_an_unknown_shape_is_still_shown(tmp_path: Path, evidence: object):
    assert "71" in evidence_of(tmp_path, evidence)


def test_notation_heads_the_equations(tmp_path: Path, html: str):
    pairs = [(r"\bar e", "the mean <sign>"), (r"\gamma_i", "gate")]
    text = written(tmp_path / "r.html", notation=pairs).partition('<section id="equations">')[2]
    head = text.partition('class="equation"')[0]
    assert head.count("<math") == 2 and "the mean &lt;sign&gt;" in head and "<dl" in head
    assert '<dl class="notation"' not in html


def test_verdicts_have_symbol_text_and_meaning_and_only_supported_is_green(html: str, page: Page):
    for verdict, (symbol, meaning) in VERDICTS.items():
        assert f"{symbol} {verdict.replace('_', ' ')}" in page.text
        assert meaning[1:] in page.text
    green = re.findall(
        r"([^{}]+) \{[^{}]*var\(--good", html.partition("color-scheme: dark; --paper")[2].partition("</style>")[0]
    )
    supported = '[data-verdict="supported"]'
    # 'yes' marks a hypothesis that holds.
    assert {x.strip() for x in green} == {".supported", ".yes", f".claim{supported}", f"{supported} .strip .measured"}


def test_a_control_that_survives_is_loud(tmp_path: Path):
    (control,) = RECORDS[0]["parts"][0]["controls"]
    survivor = of_one_part(controls=[control | {"verdict": "supported"}])
    page = Page(written(tmp_path / "r.html", records=[survivor]))
    assert "not refuted: supported" in page.text and "as it must be" not in page.text.replace(control["sentence"], "")


def test_every_part_and_every_control_of_a_claim_is_shown(tmp_path: Path):
    (part,) = RECORDS[0]["parts"]
    (control,) = part["controls"]
    other = part | {"name": "in numbers", "controls": [control, control | {"name": "a near miss", "measured": 0.125}]}
    record = RECORDS[0] | {"parts": [part | {"name": "in symbols"}, other | {"measured": 0.0625, "bound": 0.5}]}
    text = Page(written(tmp_path / "r.html", records=[record])).text
    for said in ("In symbols: supported", "In numbers: supported", "a near miss:", "Negative controls: in numbers"):
        assert said in text, said
    assert "0.0625" in text, "the part that decides stands in the head"


def test_numbers_can_be_read(page: Page):
    assert "2.2 × 10−14" in page.text and "2.2e-14 " not in page.text
    assert "−0.31" in page.text and "∞" in page.text
    assert "0, 100, 200, 300, … 2900 (30 values)" in page.text


def test_the_page_loads_nothing(html: str, page: Page):
    for name in ("src", "href", "action", "data", "poster", "srcset"):
        assert [value for value in page.all(name) if not value.startswith("#")] == []
    assert not [tag for tag, _ in page.tags if tag in {"link", "img", "iframe", "object", "embed", "base"}]
    assert "@import" not in html
    assert [value for value in re.findall(r"url\(([^)]*)\)", html) if not value.startswith("#")] == []
    names = {"http://www.w3.org/2000/svg", "http://www.w3.org/1998/Math/MathML"}
    assert set(re.findall(r"https?://[^\s\"'<>]+", html)) == names
    assert "default-src 'none'" in html


def test_identifiers_are_unique_and_every_link_has_its_target(html: str, page: Page):
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    targets = [value[1:] for value in page.all("href")] + re.findall(r"url\(#([^)]*)\)", html)
    assert {"f1-clip", "f2-clip", "f1-glyph", "f2-glyph"} <= set(targets)
    assert set(targets) <= set(ids)


def test_figures_have_a_text_alternative_and_keep_their_styles_to_themselves(html: str, page: Page):
    drawn = [attributes for tag, attributes in page.tags if tag == "svg" and attributes.get("role") == "img"]
    labels = [attributes["aria-label"] for attributes in drawn if attributes.get("class") not in ("strip", "reach")]
    assert labels == ["Figure A. What it shows.", "Figure B. What it shows."]
    assert "#f1 { *{stroke-linecap: butt} }" in html
    assert "made" not in page.words


def test_equations_are_mathml_and_what_cannot_be_converted_is_shown(html: str, page: Page):
    math = [tag for tag, _ in page.tags if tag == "math"]
    # The formula of a claim is in pieces that a narrow column can hold.
    formulas = [record["formula"] for record in RECORDS if record["formula"]]
    assert len(math) == len(LATEX) - 1 + len(formulas) + sum(formula.count("quad") for formula in formulas)
    assert r"\foo{b} < 1" in page.text and "&lt;command&gt;" in html
    assert "\\_" not in page.text
    for attributes in (attributes for tag, attributes in page.tags if attributes.get("class") == "formula"):
        assert attributes["tabindex"] == "0" and attributes["aria-label"]


def test_text_from_outside_is_escaped(tmp_path: Path):
    evil = "<script>alert(1)</script>"
    record = of_one_part(name=evil, reason=evil, sentence=evil, evidence={evil: [evil]})
    record |= {"statement": evil, "sentence": evil, "formula": evil}
    text = written(tmp_path / "r.html", records=[record], provenance={"regime": evil}, replay=evil)
    assert evil not in text
    assert len([tag for tag, _ in Page(text).tags if tag == "script"]) == 1


def test_numbers_as_results_json_writes_them_are_accepted(tmp_path: Path):
    record = of_one_part(measured="NaN", bound="Infinity", evidence={"x": math.nan, "y": [-math.inf] * 9})
    text = Page(written(tmp_path / "r.html", records=[record])).text
    assert "not a number" in text and "−∞" in text


def test_nothing_at_all_still_makes_a_page(tmp_path: Path):
    page = Page(written(tmp_path / "r.html", records=[], equations=[], figures=[], regime_tables={}, provenance={}))
    assert "No claim applies to this regime." in page.text and "No figure was made." in page.text


def test_the_same_verification_gives_the_same_bytes(tmp_path: Path, html: str):
    assert written(tmp_path / "again.html") == html
    assert [path.name for path in tmp_path.iterdir()] == ["again.html"]


@pytest.mark.parametrize("svg", ["no xml", "<html></html>"])
def test_a_figure_that_is_no_svg_is_an_error_that_names_it(tmp_path: Path, svg: str):
    with pytest.raises(ValueError, match=r"figure 'T': got .*, expected an SVG"):
        written(tmp_path / "r.html", figures=[FigureEntry(title="T", caption="", svg=svg)])
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(PolysemeError, match="type another path after --out"):
        written(tmp_path / "file" / "report.html")
