"""`polyseme map`: cells and points, what is marked and counted, partial tables, bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from sweep_tables import (
    EQUAL,
    GRID,
    KEYS,
    LAM,
    LEARNED,
    WIDTHS,
    a_record,
    every_verdict,
    over_grid,
    read_sweep,
    write_sweep,
)

from polyseme.checks.core.claim import Verdict
from polyseme.checks.core.figures.number_map import cell_numbers
from polyseme.checks.core.sweeps.axes import Range, Values
from polyseme.checks.core.sweeps.mapped import chosen_keys, sheet_of
from polyseme.checks.core.sweeps.scales import scale_of

# Lines take thousands of regimes; run-time types are checked where all kinds of maps are drawn, in the tests of figures' colours.
pytestmark = pytest.mark.usefixtures("unchecked_types")
POINTS = over_grid(m=WIDTHS, lam=LAM, seed=range(4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_sweep(tmp_path_factory.mktemp("sweep"), POINTS, every_verdict)


def numbers(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_map_is_written_with_its_numbers(folder, tmp_path):
    status, said, _ = call("map", folder, "--out", tmp_path)
    files = [tmp_path / f"every_concept_is_learned.{kind}" for kind in ("svg", "pdf", "json")]
    assert status == 0 and said.splitlines() == [f"Written to {path}" for path in files]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    found = numbers(files[2])
    assert len(found["cells"]) == len(WIDTHS) * len(LAM)
    counts = {verdict: sum(cell[verdict] for cell in found["cells"]) for verdict in Verdict}
    assert min(counts.values()) > 0 and sum(counts.values()) == len(POINTS)
    (cell,) = [cell for cell in found["cells"] if cell["x"] == 8 and cell["y"] == 1e-2]
    assert cell["inconclusive"] == 1 and cell["refuted"] == 3
    assert (found["x"]["key"], found["y"]["key"]) == ("m", "lam") and found["x"]["scale"] == "log"
    assert len(found["predicted"]) == 2 and set(found["asked"]) == {"wide", "light_penalty"}


def test_it_is_written_into_the_folder_of_the_sweep_by_default(tmp_path):
    of = write_sweep(tmp_path, POINTS[:8], every_verdict)
    assert call("map", of)[0] == 0
    assert len(list((of / "maps").iterdir())) == 3


def test_the_same_table_gives_the_same_files(folder, tmp_path):
    for name in ("a", "b"):
        assert call("map", folder, "--out", tmp_path / name)[0] == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_margins_are_medians(folder, tmp_path):
    assert call("map", folder, "--show", "margin", "--out", tmp_path)[0] == 0
    cells = numbers(tmp_path / "every_concept_is_learned-margin.json")["cells"]
    for cell in cells:
        decided = cell["supported"] + cell["refuted"]
        assert cell["margin"] == (pytest.approx(cell["x"] * cell["y"] / 0.02) if decided else None)


@pytest.mark.parametrize(("zeros", "others", "median"), [(9, 1, 0.0), (1, 2, 5.0), (1, 1, 2.5)])
def test_margins_of_zero_count_in_the_median(tmp_path, zeros, others, median):
    """Nine points that meet the claim exactly and one that misses it are a cell that meets it."""
    points = over_grid(m=(2, 4), lam=LAM[:2], seed=range(zeros + others))

    def judged(regime):
        missed = regime.ensemble.seed >= zeros
        return [a_record(LEARNED, "refuted" if missed else "supported", 5.0 if missed else 0.0, 1.0)]

    of = write_sweep(tmp_path, points, judged)
    sheet = sheet_of(read_sweep(of, KEYS), LEARNED, "m", "lam", "margin")
    assert set(cell_numbers(sheet)[np.isfinite(cell_numbers(sheet))]) == {median}
    assert call("map", of, "--show", "margin")[0] == 0
    found = numbers(of / "maps" / "every_concept_is_learned-margin.json")
    assert {cell["margin"] for cell in found["cells"]} == {median} and "their median, zeros included" in found["note"]


def test_where_nothing_is_allowed_a_margin_is_zero_or_infinite(tmp_path):
    """Of (measured, allowed) = (0, 0), (0, 0), (1, 0) the median is 0; of (0, 0), (1, 0), (1, 0) it has no end."""
    points = over_grid(m=(2, 4), lam=LAM[:2], seed=range(3))

    def judged(regime):
        missed = regime.ensemble.seed > regime.model.m - 3
        allowed = 1.0 if regime.training.lam > LAM[0] else 0.0
        return [a_record(LEARNED, "refuted" if missed else "supported", float(missed), allowed)]

    of = write_sweep(tmp_path, points, judged)
    assert call("map", of, "--show", "margin")[0] == 0
    found = numbers(of / "maps" / "every_concept_is_learned-margin.json")["cells"]
    assert [(cell["x"], cell["y"], cell["margin"]) for cell in found] == [
        (2, LAM[0], "Infinity"), (2, LAM[1], 1.0), (4, LAM[0], 0.0), (4, LAM[1], 0.0)
    ]  # fmt: skip


def test_a_claim_that_counts_exactly_has_no_margin(tmp_path):
    of = write_sweep(tmp_path, POINTS[:8], lambda _: [a_record(LEARNED, "supported", 0.0, 0.0, share_learned=1)])
    status, said, told = call("map", of, "--show", "margin")
    assert status == 2 and said == "" and told.count("\n") == 1
    assert f"--show margin: {LEARNED} counts exactly (nothing is allowed), so it has no margin" in told
    assert "type --show verdict, or one of the facts: 'share learned'" in told and not (of / "maps").exists()


@pytest.mark.parametrize("fact", ["share learned", "share_learned"])
def test_facts_are_means(folder, tmp_path, fact):
    assert call("map", folder, "--show", fact, "--out", tmp_path)[0] == 0
    found = numbers(tmp_path / "every_concept_is_learned-share_learned.json")
    assert len(found["predicted"]) == 3
    (cell,) = [cell for cell in found["cells"] if cell["x"] == 2 and cell["y"] == 1e-3]
    assert cell["supported"] == cell["refuted"] == 2 and cell["share learned"] == pytest.approx((1 + 0.25) / 2)


def test_a_sweep_that_still_runs_has_its_whole_map(tmp_path):
    of = write_sweep(tmp_path, POINTS[:7], every_verdict, total=len(POINTS))
    swept = read_sweep(of, KEYS)
    assert (swept.judged, swept.points) == (7, 120) and chosen_keys(swept, None, None) == ("m", "lam")
    sheet = sheet_of(swept, LEARNED, "m", "lam", "verdict")
    assert sheet.x.values == WIDTHS and len(sheet.y.values) == 5 and len(sheet.cells()) == 2
    assert call("map", of)[0] == 0
    assert (
        "7 points of 120 so far, 3 to 4 to a cell (over seed)"
        in numbers(of / "maps" / "every_concept_is_learned.json")["note"]
    )


SOBOL = (
    GRID.replace("[sweep]", "[sweep]\ndesign = 'sobol'\npoints = 60")
    .replace(", count = 5", "")
    .replace(", count = 4", "")
)


def scattered(seed: int = 0) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [{"m": int(2 ** rng.integers(1, 7)), "lam": float(10 ** rng.uniform(-4, -2)), "seed": j} for j in range(60)]


@pytest.mark.parametrize("show", ["verdict", "margin", "share learned"])
def test_scattered_points_keep_their_places(tmp_path, show):
    points = scattered()
    of = write_sweep(tmp_path, points, every_verdict, text=SOBOL)
    assert call("map", of, "--show", show)[0] == 0
    (path,) = (of / "maps").glob("*.json")
    found = numbers(path)
    assert found["at"] == [[point["m"], point["lam"]] for point in points] and len(found["verdicts"]) == 60
    assert "Sobol design" in found["note"] and ("hull" in found["note"]) == (show == "margin")


def test_starts_of_their_own_are_what_a_cell_is_over(tmp_path):
    text = GRID.replace("{ from = 0, to = 3, count = 4 }", "{ starts = 4 }")
    points = [point | {"seed": 10**9 + j} for j, point in enumerate(POINTS)]
    of = write_sweep(tmp_path, points, lambda _: [a_record(LEARNED, "supported")], text=text)
    assert call("map", of)[0] == 0
    found = numbers(of / "maps" / "every_concept_is_learned.json")
    assert len(found["cells"]) == 30 and "4 to a cell (over seed)" in found["note"]


def test_a_key_that_follows_a_name_is_a_direction(tmp_path):
    text = GRID.replace('{ from = 1e-4, to = 1e-2, scale = "log", count = 5 }', '{ formula = "0.1 * ratio / m" }')
    text += "[let]\nratio = { values = [0.1, 0.2] }\n"
    points = [
        {"m": m, "lam": 0.1 * ratio / m, "seed": seed} for m in WIDTHS for ratio in (0.1, 0.2) for seed in range(4)
    ]
    of = write_sweep(tmp_path, points, every_verdict, text=text)
    assert chosen_keys(read_sweep(of, KEYS), None, None) == ("m", "lam")
    assert call("map", of)[0] == 0
    found = numbers(of / "maps" / "every_concept_is_learned.json")
    assert len(found["at"]) == 48 and found["other keys at lines"] == {"seed": 1}
    assert "48 points of a grid; seed varies besides. 12 of 12 places have several points." in found["note"]


@pytest.mark.parametrize(
    "places", [[(2, 1e-4)], [(2, 1e-4), (4, 1e-3)], [(2, 1e-4), (4, 1e-3), (8, 1e-2)], [(4, 1e-3)] * 5]
)
def test_too_few_points_or_points_in_a_line_have_no_triangles_and_are_drawn(tmp_path, places):
    points = [{"m": m, "lam": lam, "seed": j} for j, (m, lam) in enumerate(places)]
    of = write_sweep(tmp_path, points, lambda _: [a_record(LEARNED, "supported", 0.5, 1.0)], text=SOBOL)
    assert call("map", of, "--show", "margin")[0] == 0


@pytest.mark.parametrize("value", [0.0, 1.0, None])
def test_margins_that_are_all_alike_or_have_no_logarithm_are_drawn(tmp_path, value):
    of = write_sweep(tmp_path, POINTS, lambda _: [a_record(LEARNED, "supported", value, 1.0)])
    assert call("map", of, "--show", "margin")[0] == 0


def test_every_claim_has_a_map_or_the_one_that_is_named(tmp_path):
    both = write_sweep(
        tmp_path / "s", POINTS[:40], lambda r: [*every_verdict(r), a_record(EQUAL, "supported", 1.0, 2.0, growth=2.5)]
    )
    assert call("map", both)[0] == 0
    assert {path.stem for path in (both / "maps").iterdir()} == {
        "every_concept_is_learned",
        "population_descent_equals_level_b",
    }
    assert call("map", both, "--claim", EQUAL, "--out", tmp_path / "one")[0] == 0
    assert {path.stem for path in (tmp_path / "one").iterdir()} == {"population_descent_equals_level_b"}
    # A fact is drawn for the claims that have it.
    assert call("map", both, "--show", "growth", "--out", tmp_path / "fact")[0] == 0
    assert {path.stem for path in (tmp_path / "fact").iterdir()} == {"population_descent_equals_level_b-growth"}


def test_keys_can_be_chosen_and_names_are_a_direction_too(tmp_path):
    text = GRID.replace(
        "[training]",
        "[training]\nloss = { values = ['logistic', 'squared'] }\nbatch = { values = ['population', 8, 16] }",
    )
    points = over_grid(m=(2, 8), lam=LAM[:2], loss=("logistic", "squared"), batch=("population", 8, 16), seed=(0,))
    of = write_sweep(tmp_path, points, every_verdict, text=text)
    assert call("map", of, "--x", "loss", "--y", "batch")[0] == 0
    found = numbers(of / "maps" / "every_concept_is_learned-loss-batch.json")
    assert found["x"]["values"] == ["logistic", "squared"] and found["y"]["values"] == [8.0, 16.0, "population"]
    assert found["predicted"] == {} and "No lines between names" in found["note"]
    assert {cell["supported"] + cell["refuted"] + cell["missing"] + cell["error"] for cell in found["cells"]} == {4}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--x", "nonsense"], "--x nonsense: got a key that is no key of a regime, expected one of m, lam, seed"),
        (["--y", "kappa_x"], "--y kappa_x: got a key that does not vary in this sweep, expected one of m, lam, seed"),
        (["--x", "m", "--y", "m"], "two different keys of m, lam, seed"),
        (["--claim", "dynamics/nonsense"], f"expected one of {LEARNED}"),
        (["--show", "nonsense"], "expected verdict, margin, or one of 'share learned'"),
        (["--show", "word"], "expected verdict, margin, or one of 'share learned'"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(folder, tmp_path, arguments, words):
    status, said, told = call("map", folder, *arguments, "--out", tmp_path / "out")
    assert status == 2 and said == "" and words in told and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_sweep_that_names_its_theory_is_read_like_others(tmp_path):
    of = write_sweep(tmp_path, POINTS[:9], every_verdict, text='theory = "multi_concept"\n' + GRID)
    assert read_sweep(of, KEYS).varied == ("m", "lam", "seed")


def test_a_folder_without_a_table_is_refused(tmp_path):
    for of in (tmp_path, tmp_path / "nowhere"):
        status, _, told = call("map", of)
        assert status == 2 and "expected the folder of a sweep" in told and told.count("\n") == 1
    (tmp_path / "results.parquet").write_bytes(b"PAR1 and nothing else")
    status, _, told = call("map", tmp_path)
    assert status == 2 and "expected the table that `polyseme sweep` wrote" in told and told.count("\n") == 1


def test_a_table_of_something_else_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"m": [1, 2]}), tmp_path / "results.parquet")
    status, _, told = call("map", tmp_path)
    assert status == 2 and "expected the table that `polyseme sweep` wrote" in told and told.count("\n") == 1


def test_a_sweep_without_a_point_yet_is_refused(tmp_path):
    status, _, told = call("map", write_sweep(tmp_path, [], every_verdict, total=5))
    assert status == 2 and "wait" in told


def test_scales_are_those_of_the_axis():
    def kind(axis, *seen):
        return scale_of(KEYS["lam"], axis, seen, celled=True).kind

    def values(*x):
        return Values(key="lam", values=x)

    assert kind(values(1e-4, 1e-3, 1e-2)) == "log" and kind(values(1.0, 2.0, 7.0)) == "linear"
    assert kind(values(2.0, 4.0, 8.0, 16.0)) == kind(values(1.0, 2.0, 4.0)) == kind(values(1.0, 2.0, 8.0)) == "log"
    assert kind(values(100.0, 101.0, 102.0)) == kind(values(1.0, 2.0)) == kind(values(2.0, 3.0, 4.0, 5.0)) == "linear"
    assert kind(values(0.0, 1e-3, 1e-1)) == "asinh" and kind(values(0.0, 0.1, 0.2)) == "linear"
    assert kind(Range(key="lam", whole=False, first=1.0, last=100.0, scale="linear", count=5)) == "linear"
    assert kind(Range(key="lam", whole=False, first=1.0, last=2.0, scale="log", count=5)) == "log"
    assert kind(values(16, "population")) == "names" and kind(None, 0.5, 5.0) == "log"


@pytest.mark.parametrize("given", [(1.0, 10.0, 100.0), (0.0, 1e-3, 1e-1), (1.0, 2.0, 3.0), (5.0,), (0.0,)])
def test_each_value_is_in_the_middle_of_its_cell(given):
    scale = scale_of(KEYS["lam"], Values(key="lam", values=given), (), celled=True)
    edges, middle = scale.even(scale.edges()), scale.even(np.array(given))
    assert (np.diff(edges) > 0).all() and ((edges[:-1] < middle) & (middle < edges[1:])).all()
    np.testing.assert_allclose(scale.back(edges), scale.edges())
    assert (scale.first, scale.last) == (pytest.approx(scale.edges()[0]), pytest.approx(scale.edges()[-1]))
