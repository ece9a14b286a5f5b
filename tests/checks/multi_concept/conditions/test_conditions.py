import json
import math
from pathlib import Path

import numpy as np
import pytest
from made_up_sweeps import BY_SGD, by_sgd, fates, write_sweep
from typer.testing import CliRunner

from polyseme.checks.command_line import app
from polyseme.checks.multi_concept.claims.dynamics.dynamics import LIGHT, MOST_DEAD, MOST_WEIGHT, WIDE
from polyseme.checks.multi_concept.conditions.agreement import critical
from polyseme.checks.multi_concept.conditions.conditions import (
    FIRM,
    LEVELS,
    SHIPPED,
    Conditions,
    load_conditions,
    shipped,
)
from polyseme.checks.multi_concept.conditions.formatting import (
    between,
    factor,
    markdown,
    sentences,
    short_rows,
)
from polyseme.checks.multi_concept.conditions.slack import conditions_of
from polyseme.checks.multi_concept.documentation import conditions_parts, write_conditions
from polyseme.checks.multi_concept.hypotheses import FEW_EXTRAS, LOW_NOISE
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.outcome.thresholds import share_learnable
from polyseme.theory.multi_concept.regime import Regime

ROOT = Path(__file__).parents[4]


def regime(**changes: dict) -> Regime:
    K1 = changes.get("concepts", {}).get("K1", 2)
    even = {"K2": 0, "d_x": 2 * K1, "d_y": 2 * K1}
    return (
        Regime()
        .replace(ensemble={"seeds": 1})
        .replace(**{**changes, "concepts": {**even, **changes.get("concepts", {})}})
    )


def over_width(folder: Path, law) -> Path:
    """80 starts at each of ten widths, for one concept and for eight, whose concepts are learned with the probability of a law."""
    rng = np.random.default_rng(3)
    regimes = [
        regime(
            concepts={"K1": K1}, model={"m": m}, training={"lam": 1e-6}, ensemble={"seed": 1000 * m + 5 * j + K1 // 8}
        )
        for K1 in (1, 8)
        for m in range(2, 22, 2)
        for j in range(80)
    ]
    return write_sweep(
        folder, regimes, lambda of: fates(int(rng.binomial(of.concepts.K1, law(of.model.m))), of.concepts.K1)
    )


def over_penalty(folder: Path, ratio) -> Path:
    """30 starts at each of seven penalties about a threshold, for three widths."""
    regimes = [
        regime(model={"m": m}, training={"lam": ratio(m) * factor}, ensemble={"seed": m * 1000 + 30 * i + j})
        for m in (16, 64, 256)
        for i, factor in enumerate((0.7, 0.8, 0.9, 0.97, 1.1, 1.2, 1.3))
        for j in range(30)
    ]
    return write_sweep(folder, regimes, lambda of: fates(2 * (of.training.lam < ratio(of.model.m)), 2))


def up_to(folder: Path, key: str, values: list[float], most: float) -> Path:
    """60 starts of SGD at each value of a key of [prompt], supported up to one of them."""
    regimes = [
        regime(prompt={key: x}, concepts={"d_x": d}, ensemble={"seed": 10000 * i + 100 * d + j})
        for i, x in enumerate(values)
        for d in ((8, 32) if key == "sigma_x" else (8,))
        for j in range(60)
    ]
    return write_sweep(folder, regimes, lambda of: by_sgd(getattr(of.prompt, key) <= most), claim=BY_SGD)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    root = tmp_path_factory.mktemp("sweeps")
    typical = lambda m: critical(  # noqa: E731
        {"L": 4, "m": m, "K1": 2, "kappa_x": Regime().concepts.kappa_x, "kappa_y": Regime().concepts.kappa_y}
    )
    return [
        over_width(root / "width", share_learnable),
        over_penalty(root / "penalty", typical),
        up_to(root / "noise", "sigma_x", [0.1, 0.3, 0.5, 0.8, 1.2], 0.5),
        up_to(root / "extras", "p_extra", [0.1, 0.4, 0.7, 1.0], 1.0),
    ]


@pytest.fixture(scope="module")
def found(folders: list[Path]) -> Conditions:
    return conditions_of(folders)


def by_key(found: Conditions, key: str):
    (one,) = [one for one in found.conditions if one.key == key]
    return one


def test_what_is_asked_is_what_the_hypotheses_ask(found: Conditions):
    """At the number that is called asked each hypothesis holds, and a little beyond it does not."""
    for scan, K1 in zip(by_key(found, WIDE.key).scans, (1, 8), strict=True):
        wide, narrow = (regime(concepts={"K1": K1}, model={"m": int(scan.asked) - off}) for off in (0, 1))
        assert WIDE.holds(wide) and not WIDE.holds(narrow)
        assert f"{MOST_DEAD:g}" == "1e-06" and "1e-6" in WIDE.name
    (weight,) = {scan.asked for scan in by_key(found, LIGHT.key).scans}
    edge = [regime(model={"m": 10}, training={"lam": x * weight / 20}) for x in (0.999, 1.001)]
    assert weight == MOST_WEIGHT and [LIGHT.holds(of) for of in edge] == [True, False]
    (most,) = {scan.asked for scan in by_key(found, LOW_NOISE.key).scans}
    assert [LOW_NOISE.holds(regime(prompt={"sigma_y": most * x})) for x in (1.0, 1.001)] == [True, False]
    (scan,) = by_key(found, FEW_EXTRAS.key).scans
    p = scan.asked / 5
    assert [FEW_EXTRAS.holds(regime(prompt={"p_extra": p * x})) for x in (1.0, 1.001)] == [True, False]


def test_the_width_has_the_brackets_and_the_slack_of_its_law(found: Conditions):
    one = by_key(found, WIDE.key)
    for scan, K1 in zip(one.scans, (1, 8), strict=True):
        for name, level in LEVELS.items():
            lower, upper = scan.brackets[name]
            assert lower is not None and upper is not None
            assert share_learnable(int(lower)) ** K1 < level < share_learnable(int(upper)) ** K1
            assert lower < scan.law[name] <= upper
        assert scan.slack(FIRM, rising=True) == (
            scan.asked / scan.brackets[FIRM][1],
            scan.asked / scan.brackets[FIRM][0],
        )
    assert all(
        constant.fits and constant.common[0] < 2 / math.log(2) < constant.common[1] for constant in one.constants
    )


def test_slack_in_neurons_is_what_all_scans_have_in_common(found: Conditions):
    scans = by_key(found, WIDE.key).scans
    assert [scan.alike for scan in scans] == [8.0, 14.0]  # 4 K1 2^-(m/2) <= 1/4
    (told,) = [sentence for sentence in sentences(found) if sentence.startswith("In neurons")]
    ends = [[asked - end for asked, end in zip(pair, ends, strict=True)] for pair, ends in _asked_and_ends(scans)]
    assert f"wide asks for {max(ends[0]):g} to {min(ends[1]):g} more" in told
    assert f"it would ask for {max(ends[2]):g} to {min(ends[3]):g} more" in told


def _asked_and_ends(scans):
    for asked in ([scan.asked for scan in scans], [scan.alike for scan in scans]):
        for j in (1, 0):
            yield asked, [scan.brackets[FIRM][j] for scan in scans]


def test_a_wrong_law_of_the_width_is_reported(tmp_path: Path, found: Conditions):
    assert found.shares and found.shares.inside and found.shares.p > 0.05
    wrong = conditions_of([over_width(tmp_path / "width", lambda m: 1 - 2.0 ** -(m / 2))])
    assert wrong.shares and not wrong.shares.inside and wrong.shares.p < 1e-3
    assert "outside the simultaneous bounds" in " ".join(sentences(wrong))


def test_the_penalty_has_one_threshold_in_the_right_combination_alone(found: Conditions, tmp_path: Path):
    one = by_key(found, LIGHT.key)
    fits = {constant.name: constant.fits for constant in one.constants}
    assert fits == {"lam m K1": False, "lam K1 sqrt(m)": True, "lam K1 sqrt(m) 2^(L/2)": True, "lam / lam_c": True}
    (ratio,) = [constant for constant in one.constants if constant.name == "lam / lam_c"]
    assert ratio.common == (pytest.approx(0.97), pytest.approx(1.1))
    for scan in one.scans:
        lower, upper = scan.brackets["1/2"]
        assert lower < scan.law["1/2"] < upper
    other = by_key(conditions_of([over_penalty(tmp_path / "penalty", lambda m: 0.1 / m)]), LIGHT.key)
    assert {constant.name: constant.fits for constant in other.constants}["lam m K1"] is True


def test_noise_and_extras_are_bracketed_and_what_never_fails_is_open(found: Conditions):
    noise, extras = by_key(found, LOW_NOISE.key), by_key(found, FEW_EXTRAS.key)
    assert [scan.brackets[FIRM] for scan in noise.scans] == [(0.5, 0.8)] * 2
    assert noise.slack() == (pytest.approx(2.5), pytest.approx(4.0))
    assert extras.scans[0].brackets["1/2"] == (pytest.approx(5.0), None)
    assert extras.slack() == (pytest.approx(20.0), None)
    assert factor(extras.slack()) == "at least 20 times"


def test_success_that_is_not_monotone_is_reported(tmp_path: Path):
    """Learned up to 0.4, not at 0.7, and at 1 again: two crossings."""
    shares = {0.1: 1.0, 0.4: 1.0, 0.7: 0.0, 1.0: 0.6}
    regimes = [
        regime(prompt={"p_extra": p}, ensemble={"seed": 100 * i + j}) for i, p in enumerate(shares) for j in range(60)
    ]
    verdict = lambda of: by_sgd(of.ensemble.seed % 100 < 60 * shares[of.prompt.p_extra])  # noqa: E731
    found = conditions_of([write_sweep(tmp_path / "extras", regimes, verdict, claim=BY_SGD)])
    (scan,) = found.conditions[0].scans
    assert scan.reversal == (pytest.approx(3.5), pytest.approx(5.0)) and not scan.contradicted
    assert "not to be monotone, it rises between (L + 1)(K1 - 1) p_extra = 3.5 and 5" in " ".join(sentences(found))


def test_agreement_counts_points_near_and_far(tmp_path: Path):
    """Two points near the critical penalty and one far from it have not the fate that was predicted."""
    ratios = (0.01, 0.1, 0.6, 0.9, 1.1, 3.0)
    regimes = [regime(training={"lam": 1e-3 * x}, ensemble={"seed": j}) for j, x in enumerate(ratios)]
    off = {0.9: (1, 2), 1.1: (2, 1), 3.0: (1, 0)}

    def outcome(of: Regime):
        x = round(of.training.lam / 1e-3, 6)
        learned, predicted = off.get(x, (2, 2))
        return fates(learned, 2, predicted=predicted, ratio=x)

    found = conditions_of([write_sweep(tmp_path / "map", regimes, outcome)])
    (one,) = found.agreement
    assert (one.points, one.agreeing, one.near, one.near_agreeing) == (6, 3, 3, 1)
    assert (one.more, one.fewer, one.concepts, one.largest) == (2, 1, 12, pytest.approx(3.0))
    assert found.map is not None and found.map.learned[0] == (1.0, 1.0, 1.0, 0.5, 1.0, 0.5)
    assert "3 of 6 points, 2 of 3 where the penalty is off" in sentences(found)[0]


def test_an_open_end_of_one_scan_is_open_in_the_slack_of_all(found: Conditions):
    one = by_key(found, WIDE.key)
    first, second = one.scans
    assert None not in one.slack()
    for pair, slack in (((None, 20.0), (True, False)), ((2.0, None), (False, True))):
        bracket = first.model_copy(update={"brackets": {**first.brackets, FIRM: pair}})
        told = one.model_copy(update={"scans": (bracket, second)}).slack()
        # More asked than needed: the upper end of the bracket is the lower of the slack.
        assert (told[1] is None, told[0] is None) == slack


def test_ranges_order_scans_by_what_is_asked_or_not_at_all(found: Conditions):
    """Open brackets have no order: those of most and least asked are reported, or what was shown of all."""
    wide, noise = by_key(found, WIDE.key), by_key(found, LOW_NOISE.key)

    def ranged(one, *pairs) -> str:
        scans = [
            scan.model_copy(update={"brackets": {"1/2": pair, FIRM: pair}})
            for scan, pair in zip(one.scans, pairs, strict=True)
        ]
        (row,) = short_rows(found.model_copy(update={"conditions": (one.model_copy(update={"scans": tuple(scans)}),)}))
        return row[2]

    assert ranged(wide, (13.0, None), (3.0, None)) == "m: above 13 (K1 = 1); above 3 (K1 = 8)"
    assert ranged(wide, (1.0, 2.0), (None, None)) == "m: 1 to 2 (K1 = 1); not shown (K1 = 8)"
    assert ranged(noise, (0.4, 1.0), (0.5, 2.0)) == "sigma: 0.4 to 2 (2 scans)"
    assert ranged(noise, (0.4, 1.0), (0.5, None)) == "sigma: above 0.4 (2 scans)"
    assert ranged(noise, (0.4, 1.0), (None, None)) == "sigma: 0.4 to 1 (1 of 2 scans)"
    assert ranged(noise, (None, None), (None, None)) == "not shown"


def test_words_of_brackets():
    assert [between(pair) for pair in ((1.0, 2.5), (None, 2.5), (0.123456, None), (None, None), (3.0, 3.0))] == [
        "1 to 2.5",
        "below 2.5",
        "above 0.123",
        "not shown",
        "3",
    ]
    assert [factor(pair) for pair in ((2.0, 4.0), (None, 4.0), (None, None))] == [
        "2 to 4 times",
        "at most 4 times",
        "not shown",
    ]
    assert markdown(("a", "b"), [("x|y", "z")]).splitlines() == ["| a | b |", "|---|---|", "| x\\|y | z |"]


def invoke(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["conditions", *words])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_prints_the_tables_and_keeps_them(folders: list[Path], found: Conditions, tmp_path: Path):
    out = tmp_path / "c.json"
    status, said, _ = invoke(*map(str, folders), "--out", str(out))
    assert status == 0 and "three of four as well: each level on its own" in said
    assert load_conditions(out) == found
    assert all(row[0] in said for row in short_rows(found)) and "at least 20 times" in said
    assert "/some/where" not in out.read_text()


@pytest.mark.parametrize("case", ["nowhere", "empty", "no table", "twice", "what", "two claims", "no verdict"])
def test_bad_input_is_one_sentence(case: str, folders: list[Path], tmp_path: Path):
    fixed = [regime(ensemble={"seed": j}) for j in range(3)]
    words = {
        "nowhere": lambda: [tmp_path / "nowhere"],
        "empty": lambda: [tmp_path],
        "no table": lambda: [_broken(tmp_path)],
        "twice": lambda: [folders[0], folders[0]],
        "what": lambda: [write_sweep(tmp_path / "x", fixed, lambda _: fates(2, 2))],
        "two claims": lambda: [_two_claims(tmp_path / "x", fixed)],
        "no verdict": lambda: [write_sweep(tmp_path / "x", fixed, lambda _: ("missing", {}))],
    }
    told = {
        "nowhere": "got no such folder",
        "empty": "got a folder without results.parquet, expected a folder that",
        "no table": "no table of a sweep",
        "twice": "scan the same quantity (width)",
        "what": "got a sweep over seed",
        "two claims": "got 2 claims",
        "no verdict": "got no point that was supported or refuted",
    }
    status, said, problem = invoke(*map(str, words[case]()), "--out", str(tmp_path / "c.json"))
    assert (status, said) == (2, "")
    assert told[case] in problem and problem.count("\n") == 1 and not (tmp_path / "c.json").exists()


def _broken(folder: Path) -> Path:
    (folder / "results.parquet").write_text("no")
    return folder


def _two_claims(folder: Path, regimes: list[Regime]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    one = write_sweep(folder, regimes, lambda _: fates(2, 2)) / "results.parquet"
    first = pq.read_table(one)
    other = first.set_column(first.schema.get_field_index("claim"), "claim", pa.array([BY_SGD] * len(first)))
    pq.write_table(pa.concat_tables([first, other]), one)
    return folder


@pytest.mark.parametrize("text", ["", "{}", '{"form": "another"}', None])
def test_a_damaged_file_of_conditions_is_a_sentence(text: str | None, tmp_path: Path):
    path = tmp_path / "c.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PolysemeError, match=r"expected the conditions as JSON; type polyseme conditions"):
        load_conditions(path)


def test_levels_of_another_version_are_a_sentence(found: Conditions, tmp_path: Path):
    path = tmp_path / "c.json"
    path.write_text(found.model_dump_json().replace(f'"{FIRM}":[', '"99/100":['))
    with pytest.raises(PolysemeError, match="expected brackets for 1/2"):
        load_conditions(path)


def test_the_page_and_its_figure_are_written_the_same_twice(tmp_path: Path):
    page = tmp_path / "conditions.md"
    page.write_text("a\n<!-- conditions:begin (x) -->\nold\n<!-- conditions:end -->\nb\n")
    with pytest.raises(ValueError, match="found:begin"):
        write_conditions(page)
    assert "old" in page.read_text(), "a page without all markers is left alone"
    found = shipped()
    assert found is not None
    shown = (ROOT / "docs" / "conditions.md").read_text(encoding="utf-8")
    page.write_text(shown.replace(conditions_parts(found)["found"], "old"), encoding="utf-8")
    write_conditions(page)
    assert page.read_text(encoding="utf-8") == shown
    first = page.with_suffix(".svg").read_bytes()
    write_conditions(page)
    assert first == page.with_suffix(".svg").read_bytes() and b"<svg" in first


def test_what_is_shipped_is_whole_and_the_page_says_it():
    found = shipped()
    assert found is not None and [one.key for one in found.conditions] == [
        x.key for x in (WIDE, LIGHT, LOW_NOISE, FEW_EXTRAS)
    ]
    assert all(one["points"] == one["planned"] and not one["left out"] for one in found.sources)
    assert len({one["code"] for one in found.sources}) == 1
    page = (ROOT / "docs" / "conditions.md").read_text(encoding="utf-8")
    for part, content in conditions_parts(found).items():
        assert (
            f"<!-- {part}:begin (generated by `make readme`; do not edit) -->\n{content}\n<!-- {part}:end -->" in page
        )
    assert "/" not in "".join(str(one["sweep"]) for one in json.loads(SHIPPED.read_text())["sources"])
