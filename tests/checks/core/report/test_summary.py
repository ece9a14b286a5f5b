import itertools
import re

import pytest

from polyseme.checks.core.claim import VERDICTS
from polyseme.checks.core.report.summary import failures, foundation_sentence, met, summary_sentence, unmet


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        (["supported"] * 3, "All 3 claims that apply to this regime are supported."),
        (["supported"], "The one claim that applies to this regime is supported."),
        (["not_applicable"], "No claim applies to this regime."),
        (["refuted"], "The one claim that applies to this regime is refuted."),
        (["error", "not_applicable"], "The one claim that applies to this regime is in error; 1 more does not apply."),
        (["missing"] * 2, "Both claims that apply to this regime are without evidence."),
        (
            ["refuted", "error", "error"],
            "None of the 3 claims that apply to this regime is supported; 1 is refuted; 2 are in error.",
        ),
        (
            ["supported", "supported", "inconclusive"],
            "2 of the 3 claims that apply to this regime are supported; 1 is inconclusive.",
        ),
        (
            ["supported", "error", "error", "missing", "not_applicable"],
            "1 of the 4 claims that apply to this regime is supported; 1 is without evidence; 2 are in error; "
            "1 more does not apply.",
        ),
    ],
)
def test_summary_sentence(verdicts: list[str], sentence: str):
    assert summary_sentence([{"verdict": verdict} for verdict in verdicts]) == sentence


@pytest.mark.parametrize("options", [{}, {"partial": True, "total": 30}, {"partial": True}])
def test_summary_sentence_is_grammatical_and_tells_every_verdict(options: dict):
    words = ("supported", "refuted", "inconclusive", "not apply", "without evidence", "in error")
    for counts in itertools.product(range(3), repeat=len(VERDICTS)):
        records = [{"verdict": str(v)} for v, count in zip(VERDICTS, counts, strict=True) for _ in range(count)]
        sentence = summary_sentence(records, **options)
        assert not sentence[0].islower() and sentence.endswith(".") and ("tried" in sentence) == bool(options)
        wrong = r"\b0\b|the 1\b|\b1 (are|do|more do|were)\b|\b[2-9] (is|does|more does|was)\b|All [12]\b|\bclaims is\b"
        assert not re.search(wrong, sentence)
        assert not re.search(r"(None|one|\b1 of) [^;.]* are |(All|Both|[2-9] of) [^;.]* (is|applies) ", sentence)
        applicable = len(records) - counts[3]
        for word, count in zip(words, counts, strict=True):
            assert applicable == 0 or count == 0 or word in sentence
            assert count or word not in sentence or (word == "supported" and "None of the" in sentence)


@pytest.mark.parametrize(
    ("verdicts", "scopes", "expected"),
    [
        ("ssss", "aatt", "All 4 claims that apply to this regime are supported (2 of them are about any regime)."),
        ("sss", "att", "All 3 claims that apply to this regime are supported (1 of them is about any regime)."),
        ("sss", "aaa", "All 3 claims that apply to this regime are supported (all of them are about any regime)."),
        ("ss", "aa", "Both claims that apply to this regime are supported (both of them are about any regime)."),
        ("e", "a", "The one claim that applies to this regime is in error (it is about any regime)."),
        (
            "sse",
            "taa",
            "2 of the 3 claims that apply to this regime are supported (1 of them is about any regime); 1 is in error.",
        ),
        ("ss", "tt", "Both claims that apply to this regime are supported."),
    ],
)
def test_summary_sentence_counts_what_is_about_any_regime(verdicts: str, scopes: str, expected: str):
    verdict, scope = {"s": "supported", "e": "error"}, {"a": "any regime", "t": "this regime"}
    records = [{"verdict": verdict[v], "scope": scope[s]} for v, s in zip(verdicts, scopes, strict=True)]
    assert summary_sentence(records) == expected


def record(name: str, verdict: str = "supported", full: bool | None = True, **holds: bool) -> dict:
    hypotheses = [{"name": key, "got": f"{key} = 1", "holds": value} for key, value in holds.items()]
    return {
        "id": name,
        "verdict": verdict,
        "fully_supported": full,
        "hypotheses": hypotheses,
        "parts": [],
        "sentence": f"why {name}",
    }


def test_what_does_not_hold_is_listed_with_the_worst_first():
    verdicts = ["supported", "inconclusive", "missing", "not_applicable", "refuted", "error"]
    found = failures([record(verdict, verdict) for verdict in verdicts])
    assert [x["verdict"] for x in found] == ["error", "refuted", "missing", "inconclusive"]
    assert {str(x) for x in VERDICTS} == set(verdicts)


def test_a_claim_stands_under_every_hypothesis_that_it_lacks():
    records = [
        record("a", "not_applicable", pure=False, wide=True),
        record("b", "not_applicable", pure=False, wide=False),
        record("c", "not_applicable", wide=True),
        record("d", wide=True),
        record("e", "refuted", wide=True),
    ]
    assert [(x.name, x.got, x.claims) for x in unmet(records)] == [
        ("pure", "pure = 1", ("a", "b")),
        ("wide", "wide = 1", ("b",)),
        ("why c", "", ("c",)),  # only the evidence could show it
    ]
    assert [(x.name, x.claims) for x in met(records)] == [("wide", ("d", "e"))]


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ([], ""),
        ([record("a", "refuted")], ""),
        (
            [record("a"), record("b", pure=True)],
            "1 of the supported claims asks for no hypothesis on the regime, the other 1 for those listed below; whatever a "
            "supported claim rests on is supported too.",
        ),
        (
            [record("a", pure=True), record("b", full=False, pure=True), record("c", full=None, pure=True)],
            "Every supported claim asks for hypotheses on the regime, listed below; 1 rests on a claim that does not hold or "
            "does not apply here; 1 rests on a claim that was not tried.",
        ),
        (
            [record("a"), record("b", full=None), record("c", full=None)],
            "No supported claim asks for a hypothesis on the regime; 2 rest on a claim that was not tried.",
        ),
    ],
)
def test_what_the_supported_claims_rest_on_is_said(records: list[dict], sentence: str):
    assert foundation_sentence(records) == sentence
