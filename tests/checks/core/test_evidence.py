"""Facts as typed fields: what is written into results.json is what is read from it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from polyseme.checks.core.evaluation import as_plain
from polyseme.checks.core.evidence import Evidence, Facts, Flag, Share, in_words
from polyseme.errors import PolysemeError
from polyseme.files import as_json


@dataclass(frozen=True, kw_only=True)
class Line(Facts):
    batch: int
    values: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Seen(Facts):
    steps: int
    share_learned: Share
    all_learned: Flag
    least: float
    lines: Sequence[Line]
    of_each: Mapping[str, float]


SEEN = Seen(
    steps=3,
    share_learned=0.5,
    all_learned=0,
    least=math.inf,
    lines=[Line(batch=8, values=[1.0, 2.0]), Line(batch=64, values=(0.5,))],
    of_each={"a": 0.25},
)


def recorded(facts: Facts | Mapping) -> dict:
    """A record of results.json."""
    evidence = json.loads(as_json(as_plain(Evidence(rows=(), facts=facts))))
    return {"id": "family/claim", "parts": [{"name": "", "evidence": evidence}]}


def test_facts_are_written_by_the_names_of_their_fields_and_have_no_kind():
    facts = recorded(SEEN)["parts"][0]["evidence"]["facts"]
    assert facts["lines"] == [{"batch": 8, "values": [1.0, 2.0]}, {"batch": 64, "values": [0.5]}]
    assert list(facts) == ["steps", "share_learned", "all_learned", "least", "lines", "of_each"]


def test_what_is_read_is_what_was_written():
    found = Seen.of(recorded(SEEN))
    assert found is not None and as_json(as_plain(found)) == as_json(as_plain(SEEN))
    assert isinstance(found.lines[0], Line) and found.least == math.inf


def test_facts_are_found_by_their_claim():
    records = [{"id": "family/other", "parts": [{"name": "", "evidence": {}}]}, recorded(SEEN)]
    assert Seen.find(records, "family/claim") == Seen.of(records[1])
    assert Seen.find(records, "family/other") is None and Seen.find(records, "family/none") is None


def test_a_space_and_an_underscore_are_the_same():
    assert Line.read({"batch": 1, "values": []}, source="x") == Line.read({"batch": 1, "values": []}, source="y")
    spaced = {name.replace("_", " "): value for name, value in recorded(SEEN)["parts"][0]["evidence"]["facts"].items()}
    assert Seen.read(spaced, source="x") == Seen.of(recorded(SEEN))


@pytest.mark.parametrize("facts", [{}, {"batch": 1}, {"batch": "many", "values": []}], ids=["none", "some", "words"])
def test_what_is_missing_or_of_another_type_is_refused_in_a_sentence(facts):
    with pytest.raises(PolysemeError, match=r"^family/claim: got .*expected Line .*type "):
        Line.of(recorded(facts))


def test_which_facts_lie_between_0_and_1():
    shares = {
        name
        for name in ("steps", "share learned", "share_learned", "all_learned", "least", "nothing")
        if Seen.is_share(name)
    }
    assert shares == {"share learned", "share_learned", "all_learned"}


def test_names_in_words():
    words = {"share_learned": "share learned", "share learned": "share learned", "W_Q": "W_Q", "sigma_0": "sigma_0"}
    assert {name: in_words(name) for name in words} == words
