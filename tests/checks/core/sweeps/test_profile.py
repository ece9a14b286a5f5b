"""`polyseme map` of a sweep over one key: shares and intervals, what is open, lines, which keys are accepted."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from one_key import WIDTH, mixed, one_key, write_profile
from sweep_tables import KEYS, LEARNED, WIDTHS, a_record, over_grid, read_sweep, write_sweep

from polyseme.checks.core.claim import Verdict
from polyseme.checks.core.sweeps.boundaries import Plane, asked
from polyseme.checks.core.sweeps.mapped import chosen_keys, profile_of, share_supported
from polyseme.theory.multi_concept.regime import Regime

pytestmark = pytest.mark.usefixtures("unchecked_types")
STEM = "every_concept_is_learned"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_profile(tmp_path_factory.mktemp("sweep"))


def numbers(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_sweep_over_one_key_has_a_profile_at_the_place_of_a_map(folder, tmp_path):
    status, said, _ = call("map", folder, "--out", tmp_path)
    files = [tmp_path / f"{STEM}.{kind}" for kind in ("svg", "pdf", "json")]
    assert status == 0 and said.splitlines() == [f"Written to {path}" for path in files]
    found = numbers(files[2])
    assert found["x"] == {"key": "m", "scale": "log", "values": [float(m) for m in WIDTHS]} and "y" not in found
    assert "120 points, 20 to a value (over seed)." in found["note"] and "Clopper" in found["note"]
    counts = {verdict: sum(cell[verdict] for cell in found["cells"]) for verdict in Verdict}
    assert min(counts.values()) > 0 and sum(counts.values()) == 120


def test_shares_are_of_what_was_decided_alone(folder, tmp_path):
    """At m = 16 thirteen of twenty are supported and seven inconclusive; at m = 64 nothing is decided."""
    assert call("map", folder, "--out", tmp_path)[0] == 0
    cells = {cell["x"]: cell for cell in numbers(tmp_path / f"{STEM}.json")["cells"]}
    for cell in cells.values():
        decided = cell["supported"] + cell["refuted"]
        assert cell["share supported"] == (cell["supported"] / decided if decided else None)
        assert (cell["interval"] is None) == (decided == 0)
    assert cells[16]["inconclusive"] == 7 and cells[64]["share supported"] is None
    share, low, high = share_supported(cells[16]["supported"], 20 - 7)
    assert [cells[16]["share supported"], cells[16]["interval"]] == [share, [low, high]]


def test_intervals_are_exact():
    """Clopper and Pearson's: of 0 or n of n one end is a root of 0.025; 5 of 10 from their table."""
    assert share_supported(0, 20) == pytest.approx((0, 0, 1 - 0.025 ** (1 / 20)))
    assert share_supported(20, 20) == pytest.approx((1, 0.025 ** (1 / 20), 1))
    assert share_supported(5, 10) == pytest.approx((0.5, 0.1871, 0.8129), abs=5e-5)


def test_where_nothing_was_decided_no_bars_are_spoken_of(tmp_path):
    folder = write_profile(tmp_path / "sweep", lambda _: [a_record(LEARNED, "not_applicable")])
    assert call("map", folder, "--out", tmp_path)[0] == 0
    note = numbers(tmp_path / f"{STEM}.json")["note"]
    assert "Nothing was decided." in note and "Clopper" not in note


def test_one_point_at_a_value_has_no_share_nor_interval(tmp_path):
    of = write_profile(tmp_path, seeds=range(1))
    assert call("map", of)[0] == 0
    found = numbers(of / "maps" / f"{STEM}.json")
    assert len(found["cells"]) == len(WIDTHS) and all("interval" not in cell for cell in found["cells"])
    assert "6 points, 1 to a value." in found["note"] and "Clopper" not in found["note"]


def test_margins_keep_zeros_and_infinite_ones(folder, tmp_path):
    assert call("map", folder, "--show", "margin", "--out", tmp_path)[0] == 0
    cells = {cell["x"]: cell for cell in numbers(tmp_path / f"{STEM}-margin.json")["cells"]}
    # Twelve of twenty at m = 32 are told to be 0, and one of these is infinite instead: the median is 0.
    assert cells[32]["numbers"].count(0.0) == 11 and cells[32]["numbers"].count("Infinity") == 1
    assert cells[2]["numbers"].count(None) == 2
    for m, cell in cells.items():
        known = [float(x) for x in cell["numbers"] if x is not None]
        assert float(cell["margin"]) == pytest.approx(np.median(known)), m
    assert cells[32]["margin"] == 0.0


def test_facts_are_means(folder, tmp_path):
    assert call("map", folder, "--show", "growth", "--out", tmp_path)[0] == 0
    (cell,) = [cell for cell in numbers(tmp_path / f"{STEM}-growth.json")["cells"] if cell["x"] == 8]
    assert cell["growth"] == pytest.approx(3 * 8 * np.mean(range(20)))


def test_a_sweep_that_still_runs_says_where_no_point_is(tmp_path):
    def only(regime):
        return mixed(regime) if regime.model.m > 2 else []

    of = write_profile(tmp_path, only, seeds=range(4), total=40)
    assert call("map", of)[0] == 0
    found = numbers(of / "maps" / f"{STEM}.json")
    assert "of 40 so far" in found["note"] and [cell["x"] for cell in found["cells"]] == list(WIDTHS[1:])


def test_lines_cut_the_key_where_the_hypothesis_does(folder, tmp_path):
    """Just below and just above its line the hypothesis is asked itself."""
    from polyseme.checks.multi_concept.claims import CLAIMS

    assert call("map", folder, "--out", tmp_path)[0] == 0
    found = numbers(tmp_path / f"{STEM}.json")["asked"]
    swept = read_sweep(folder)
    plane = Plane.along(swept, profile_of(swept, LEARNED, "m", "verdict").x, Regime)
    hypotheses = {each.key: each for claim in CLAIMS if claim.id == LEARNED for each in claim.hypotheses}
    assert set(found) == {"wide", "light_penalty"} and {edge["towards"] for edge in found.values()} == {-1, 1}
    for key, edge in found.items():
        (place,) = edge["line"]
        below, above = (plane.holds(hypotheses[key].holds, place * factor, 0) for factor in (0.99, 1.01))
        assert (below, above) == ((False, True) if edge["towards"] == 1 else (True, False)), key
    assert not asked(plane, list(hypotheses.values()), ())


def test_points_of_a_random_design_keep_their_places(tmp_path):
    text = one_key('lam = { from = 1e-4, to = 1e-2, scale = "log" }', design="design = 'random'\npoints = 30\n")
    rng = np.random.default_rng(0)
    points = [{"lam": float(10 ** rng.uniform(-4, -2)), "seed": j} for j in range(30)]
    for show in ("verdict", "margin", "share learned"):
        of = write_sweep(tmp_path / show, points, mixed, text=text)
        assert call("map", of, "--show", show)[0] == 0
        (path,) = (of / "maps").glob("*.json")
        found = numbers(path)
        assert found["at"] == [point["lam"] for point in points] and len(found["verdicts"]) == 30
        assert "30 points of a random design" in found["note"] and "cells" not in found


def test_values_of_a_list_are_shared_in_a_random_design_too(tmp_path):
    text = one_key(WIDTH, design="design = 'random'\npoints = 120\n")
    of = write_sweep(tmp_path, over_grid(m=WIDTHS, seed=range(20)), mixed, text=text)
    assert call("map", of)[0] == 0
    assert len(numbers(of / "maps" / f"{STEM}.json")["cells"]) == len(WIDTHS)


def test_names_are_a_direction_too_and_have_no_lines(tmp_path):
    text = one_key("batch = { values = ['population', 8, 16] }")
    of = write_sweep(tmp_path, over_grid(batch=("population", 8, 16), seed=range(4)), mixed, text=text)
    assert call("map", of)[0] == 0
    found = numbers(of / "maps" / f"{STEM}.json")
    assert [cell["x"] for cell in found["cells"]] == [8.0, 16.0, "population"]
    assert found["asked"] == found["predicted"] == {} and "No lines between names" in found["note"]


def test_keys_that_move_with_it_do_not_count_and_can_be_named(tmp_path):
    text = one_key(WIDTH) + "[concepts]\nd_x = { formula = '2 * m + 10' }\n"
    points = [{"m": m, "d_x": 2 * m + 10, "seed": seed} for m in WIDTHS for seed in range(3)]
    of = write_sweep(tmp_path, points, mixed, text=text)
    swept = read_sweep(of, KEYS)
    assert chosen_keys(swept, None, None) == chosen_keys(swept, "m", None) == ("m",)
    assert chosen_keys(swept, "d_x", None) == ("d_x",) and chosen_keys(swept, "m", "seed") == ("m", "seed")
    assert call("map", of, "--x", "d_x")[0] == 0
    found = numbers(of / "maps" / f"{STEM}-d_x.json")
    assert [cell["x"] for cell in found["cells"]] == [2.0 * m + 10 for m in WIDTHS]


@pytest.mark.parametrize(
    ("line", "points", "arguments", "words"),
    [
        (
            WIDTH,
            over_grid(m=WIDTHS, seed=(0, 1)),
            ["--y", "m"],
            "for a sweep over m alone, expected none, since one key",
        ),
        (WIDTH, over_grid(m=WIDTHS, seed=(0, 1)), ["--y", "lam"], "--y lam: got a key that does not vary"),
        (WIDTH, over_grid(m=WIDTHS, seed=(0, 1)), ["--x", "lam"], "expected one of m, seed"),
        ("m = 4", over_grid(m=(4,), seed=(0, 1)), [], "got a sweep over seed alone, expected a key besides the seed"),
        ("m = 4", over_grid(m=(4,), seed=(0, 1)), ["--x", "seed"], "got a sweep over seed alone"),
        ("m = 4", over_grid(m=(4,), seed=(0,)), [], "got a sweep in which no key takes several values, expected a key"),
    ],
)
def test_what_makes_no_picture_is_refused_with_what_to_do(tmp_path, line, points, arguments, words):
    of = write_sweep(tmp_path, points, lambda _: [a_record(LEARNED, "supported")], text=one_key(line))
    status, said, told = call("map", of, *arguments)
    assert status == 2 and said == "" and words in told and told.count("\n") == 1
    assert not (of / "maps").exists()
