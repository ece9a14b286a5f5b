"""What conditions count as trials: starts of their own at one place, those that were lost, and bounds that scans share."""

import math
from pathlib import Path

import pytest
from made_up_sweeps import fates, write_sweep
from typer.testing import CliRunner

from polyseme.checks.command_line import app
from polyseme.checks.multi_concept.conditions.conditions import Conditions
from polyseme.checks.multi_concept.conditions.formatting import provenance, sentences
from polyseme.checks.multi_concept.conditions.slack import conditions_of
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import Regime


def regime(**changes: dict) -> Regime:
    K1 = changes.get("concepts", {}).get("K1", 2)
    even = {"concepts": {"K1": K1, "K2": 0, "d_x": 2 * K1, "d_y": 2 * K1}}
    return Regime().replace(ensemble={"seeds": 1}).replace(**{**changes, **even})


def test_points_that_share_seeds_are_reported(tmp_path: Path):
    regimes = [regime(model={"m": m}, ensemble={"seed": j}) for m in (2, 4) for j in range(12)]
    found = conditions_of([write_sweep(tmp_path / "width", regimes, lambda _: fates(2, 2))])
    assert "from 12 different seeds, so that points share random numbers" in provenance(found)[0]


def test_points_without_a_verdict_are_left_out_and_counted(tmp_path: Path):
    regimes = [regime(model={"m": m}, ensemble={"seed": 100 * m + j}) for m in (2, 4) for j in range(12)]
    verdicts = lambda of: ("error", {}) if of.model.m == 4 and of.ensemble.seed % 2 else fates(2, 2)  # noqa: E731
    found = conditions_of([write_sweep(tmp_path / "width", regimes, verdicts)])
    assert (found.sources[0]["points"], found.sources[0]["left out"]) == (18, 6)
    (scan,) = found.conditions[0].scans
    assert (scan.trials, scan.lost) == ((12, 6), (0, 6))
    assert provenance(found)[0].startswith("width.toml: 18 points judged of 24 (6 left out: 6 error) of ")


def test_what_is_lost_widens_brackets_and_what_is_not_applicable_does_not(tmp_path: Path):
    """12 of 12 show more than a half, at two places; 12 of 12 and six lost do not."""
    regimes = [regime(model={"m": m}, ensemble={"seed": 100 * m + j}) for m in (2, 4) for j in range(18)]
    for kind, upper in (("error", None), ("missing", None), ("inconclusive", None), ("not_applicable", 2.0)):
        verdicts = lambda of, kind=kind: (kind, {}) if of.ensemble.seed % 100 >= 12 else fates(2, 2)  # noqa: E731
        found = conditions_of([write_sweep(tmp_path / kind, regimes, verdicts)])
        assert found.conditions[0].scans[0].brackets["1/2"] == (None, upper)
        assert f"(12 left out: 12 {kind})" in provenance(found)[0]
        assert found.shares and found.shares.places[0].concepts == 24
        # 24 of 24, or of 36 where the others were lost.
        assert (found.shares.places[0].bounds[0] > 0.7) == (kind == "not_applicable")


def test_points_that_are_not_there_yet_are_reported(tmp_path: Path):
    one = conditions_of([_small(tmp_path / "width")])
    source = one.sources[0] | {"planned": 30}
    told = provenance(one.model_copy(update={"sources": (source,)}))[0]
    assert told.startswith("width.toml: 24 points judged of 30 (6 not yet tried) of ")


def _small(folder: Path, **changes) -> Path:
    regimes = [
        regime(**{"model": {"m": m}, "ensemble": {"seed": 100 * m + j}, **changes}) for m in (2, 4) for j in range(12)
    ]
    return write_sweep(folder, regimes, lambda _: fates(2, 2))


SAME_SEEDS = [
    regime(model={"m": m}, ensemble={"engine": engine, "seed": 100 * m + j})
    for engine in ("auto", "autograd", "analytic")
    for m in (2, 4)
    for j in range(10)
]
STEPS = [
    regime(model={"m": m}, training={"steps": steps}, ensemble={"seed": steps * 100 + 1000 * m + j})
    for m in (2, 4)
    for steps in (1, 2)
    for j in range(20)
]
NOISES = [
    regime(prompt={"sigma_x": 0.3, "sigma_y": y}, ensemble={"seed": int(1000 * y) + j})
    for y in (0.1, 0.3)
    for j in range(20)
]
TWICE = [regime(model={"m": m}, ensemble={"seed": j % 10}) for m in (2, 4) for j in range(20)]
CELLS = [
    regime(model={"m": m}, training={"lam": lam, "steps": steps}, ensemble={"seed": j})
    for m in (2, 4)
    for lam in (1e-4, 1e-3)
    for steps in (1, 2)
    for j in range(2)
]


@pytest.mark.parametrize(
    ("regimes", "told"),
    [
        (SAME_SEEDS, "got 3 values of engine (analytic, auto, autograd) beside m = 2, expected one"),
        (STEPS, "got 2 values of steps (1, 2) beside m = 2, expected one"),
        (NOISES, "got 2 values of sigma_y (0.1, 0.3) beside sigma_x = 0.3"),
        (TWICE, "got seed 0 2 times at m = 2, expected a start of its own"),
        (CELLS, "got 2 values of steps (1, 2) beside m = 2, lam = 0.0001, expected one"),
    ],
    ids=["engine", "steps", "noise", "twice", "map"],
)
def test_only_starts_of_their_own_are_trials_of_one_probability(regimes: list[Regime], told: str, tmp_path: Path):
    with pytest.raises(PolysemeError) as problem:
        conditions_of([write_sweep(tmp_path / "sweep", regimes, lambda _: fates(2, 2))])
    assert str(problem.value).startswith("sweep.toml: " + told) and "sweep again" in str(problem.value)


def test_keys_that_follow_the_quantity_are_no_second_value(tmp_path: Path):
    """The step size follows the width, and a penalty comes out of two formulas, equal but for its last digit."""
    regimes = [
        regime(model={"m": m}, training={"eta": m / 4}, ensemble={"seed": 100 * m + j})
        for m in (2, 4)
        for j in range(12)
    ]
    found = conditions_of([write_sweep(tmp_path / "width", regimes, lambda _: fates(2, 2))])
    assert found.conditions[0].scans[0].trials == (12, 12)
    lams = [x for x in (1e-4, 1e-3) for _ in range(12)]
    regimes = [regime(training={"lam": math.nextafter(x, j % 2)}, ensemble={"seed": j}) for j, x in enumerate(lams)]
    found = conditions_of([write_sweep(tmp_path / "penalty", regimes, lambda _: fates(2, 2))])
    assert found.conditions[0].scans[0].trials == (12, 12)


def test_a_key_that_leaves_scans_with_one_place_is_named(tmp_path: Path):
    regimes = [
        regime(model={"m": m}, training={"lam": 1e-3 / m}, ensemble={"seed": 100 * m + j})
        for m in (2, 4, 8)
        for j in range(12)
    ]
    found = conditions_of([write_sweep(tmp_path / "width", regimes, lambda _: fates(2, 2))])
    assert "since lam changes with the scanned quantity (width); hold it fixed" in " ".join(sentences(found))
    assert not conditions_of([_small(tmp_path / "other")]).notes


def test_shares_are_not_pooled_over_points_that_share_seeds(tmp_path: Path):
    regimes = [
        regime(concepts={"K1": K1}, model={"m": m}, ensemble={"seed": j})
        for K1 in (1, 2)
        for m in (2, 4)
        for j in range(12)
    ]
    found = conditions_of([write_sweep(tmp_path / "width", regimes, lambda of: fates(of.concepts.K1, of.concepts.K1))])
    assert found.shares is None and "points with the same m share seeds" in " ".join(sentences(found))


def test_nothing_bracketed_is_said_with_what_is_needed(tmp_path: Path):
    regimes = [
        regime(model={"m": m}, training={"lam": lam}, ensemble={"seed": j})
        for m in (2, 4)
        for lam in (1e-4, 1e-3)
        for j in range(2)
    ]
    folder, out = write_sweep(tmp_path / "map", regimes, lambda _: fates(2, 2)), tmp_path / "c.json"
    result = CliRunner().invoke(app, ["conditions", str(folder), "--out", str(out)])
    said = result.stdout
    assert (
        result.exit_code == 0 and "No condition could be bracketed: needed is a sweep that takes one of m, lam" in said
    )
    few = [regime(model={"m": m}, ensemble={"seed": 10 * m + j}) for m in (2, 4) for j in range(3)]
    found = conditions_of([write_sweep(tmp_path / "width", few, lambda _: fates(2, 2))])
    assert "No condition could be bracketed" in " ".join(sentences(found))


def two_scans(folder: Path, starts: int, learned) -> Conditions:
    """Two numbers of concepts at two widths: how many of the starts learn everything is made up."""
    regimes = [
        regime(concepts={"K1": K1}, model={"m": m}, ensemble={"seed": 1000 * m + 100 * K1 + j})
        for K1 in (1, 2)
        for m in (2, 4)
        for j in range(starts)
    ]
    outcome = lambda of: fates(  # noqa: E731
        of.concepts.K1 * (of.ensemble.seed % 100 < learned(of.concepts.K1, of.model.m)), of.concepts.K1
    )
    return conditions_of([write_sweep(folder, regimes, outcome)])


def test_brackets_of_all_scans_hold_together(tmp_path: Path):
    """None of six shows less than a half at two places (2^-6 < 0.05 / 2), but not at the four of both scans; none of seven does."""
    for starts, lower in ((6, None), (7, 4.0)):
        found = two_scans(tmp_path / str(starts) / "width", starts, lambda *_: 0)
        assert [scan.brackets["1/2"] for scan in found.conditions[0].scans] == [(lower, None)] * 2


def test_a_place_that_was_lost_whole_is_of_the_family_and_no_place(tmp_path: Path):
    regimes = [
        regime(concepts={"K1": K1}, model={"m": m}, ensemble={"seed": 1000 * m + 100 * K1 + j})
        for K1 in (1, 2)
        for m in (2, 4)
        for j in range(6)
    ]
    lost = lambda of: ("error", {}) if of.concepts.K1 == 2 else fates(0, 1)  # noqa: E731
    (scan,) = conditions_of([write_sweep(tmp_path / "width", regimes, lost)]).conditions[0].scans
    assert scan.x == (2.0, 4.0) and scan.brackets["1/2"] == (None, None)


def test_reversals_of_all_scans_hold_together(tmp_path: Path):
    """20 and 5 of 60 show a reversal at two places, but not at the four of both scans."""
    for low, shown in ((5, None), (3, (2.0, 4.0))):
        counts = {(1, 2): 20, (1, 4): low, (2, 2): 20, (2, 4): 20}
        found = two_scans(tmp_path / str(low) / "width", 60, lambda K1, m, counts=counts: counts[K1, m])
        assert [scan.reversal for scan in found.conditions[0].scans] == [shown, None]
