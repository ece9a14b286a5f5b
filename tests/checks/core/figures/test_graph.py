"""The graph of uses: every claim, every arc, and links into the report."""

import json
import re
from pathlib import Path

import pytest

from polyseme.checks.core.figures.graph import uses_graph
from polyseme.checks.core.figures.palette import RED
from polyseme.checks.core.figures.style import save_figure

RECORDS = json.loads(Path(__file__).parents[1].joinpath("example_results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> str:
    svg, _ = save_figure(uses_graph(RECORDS), tmp_path_factory.mktemp("graph"), "uses")
    return svg.read_text(encoding="utf-8")


def test_every_claim_links_to_its_place_in_the_report(drawn):
    links = re.findall(r'xlink:href="(#about-[^"]+)"', drawn)
    assert sorted(set(links)) == sorted(f"#about-{record['id'].replace('/', '-')}" for record in RECORDS)


def test_there_is_an_arc_for_each_use_of_what_is_listed():
    from matplotlib.patches import Arc

    known = {record["id"] for record in RECORDS}
    (axes,) = uses_graph(RECORDS).axes
    arcs = [patch for patch in axes.patches if isinstance(patch, Arc)]
    assert len(arcs) == sum(used in known for record in RECORDS for used in record["uses"]) > 3


def test_a_claim_that_rests_on_what_is_not_supported_is_a_ring():
    used, user = dict(RECORDS[0]), dict(RECORDS[0])
    used |= {"id": "a/used", "family": "a", "verdict": "refuted", "uses": [], "fully_supported": False}
    user |= {"id": "a/user", "family": "a", "verdict": "supported", "uses": ["a/used"], "fully_supported": False}
    (axes,) = uses_graph([used, user]).axes
    faces = [line.get_markerfacecolor() for line in axes.lines]
    assert faces == [RED, "white"]
    assert [patch.get_linestyle() for patch in axes.patches] == ["--"]


def test_no_claims_make_no_graph_that_breaks():
    assert uses_graph([]).axes
