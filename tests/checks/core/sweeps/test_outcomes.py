"""What a sweep keeps: verdicts at the layout's level, Holm's procedure, and nothing that is not what it seems."""

import dataclasses
import json
import threading
import time
from concurrent.futures import CancelledError

import pytest
from cheap import CLAIMS, FILE, Here, sweep, write_grid
from test_run import QUICK, table

from polyseme.checks.core.budget import SUITE_FALSE_ALARM
from polyseme.checks.core.sweeps import run as run_module
from polyseme.checks.core.sweeps.folder import POINTS, QUARANTINE, Folder
from polyseme.checks.core.sweeps.grid import load_grid
from polyseme.checks.core.sweeps.run import lay_out
from polyseme.checks.core.sweeps.task import files_of
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.errors import PolysemeError


def test_what_a_claim_is_given_at_a_point_is_what_the_layout_says(tmp_path):
    grid = write_grid(tmp_path / "g.toml", "told", "noisy", head='drop = ["narrow"]\neffort = "full"', widths=(2, 30))
    layout = lay_out(load_grid(grid, THEORY, CLAIMS), files=files_of([FILE]))
    sweep(grid, tmp_path / "out")
    told = table(tmp_path / "out").query("claim == 'cheap/told'")
    assert set(told.verdict) == {"supported"}  # dropped hypotheses are not asked for
    for facts in told.facts:
        assert json.loads(facts) == {"level": layout.judged.level, "effort": "full", "threads": 1}
    assert layout.inside == layout.points == 2
    assert lay_out(
        load_grid(write_grid(tmp_path / "h.toml", "told", "noisy", widths=(2, 30)), THEORY, CLAIMS)
    ).outside == {"narrow": 1}


def test_the_family_is_points_times_statistical_claims(tmp_path):
    copy = dataclasses.replace(next(x for x in CLAIMS if x.id == "cheap/noisy"), id="cheap/noisy_too")
    grid = load_grid(
        write_grid(tmp_path / "g.toml", "noisy", "noisy_too", "quick", widths=(2, 3, 4)), THEORY, (*CLAIMS, copy)
    )
    assert lay_out(grid).family == 6


def planted(tmp_path, p_support, *, control="refuted"):
    """A sweep of twenty statistical points, the first ones kept as open with these p-values."""
    seeds = "[ensemble]\nseed = {from = 0, to = 19, count = 20}\n"
    grid, out = write_grid(tmp_path / "g.toml", "noisy", widths=(3,), tail=seeds), tmp_path / "out"
    layout, folder, stop = (
        lay_out(load_grid(grid, THEORY, CLAIMS), files=files_of([FILE])),
        Folder(path=out),
        threading.Event(),
    )
    assert layout.family == 20
    stop.set()
    with folder.locked():
        for task, p in zip(layout.tasks(), p_support, strict=False):
            verdict = "supported" if p <= layout.judged.level else "inconclusive"
            statistics = {"p_support": p, "p_refute": 1.0, "samples": 9}
            numbers = {"measured": 0.1, "bound": 0.5, "seconds": 0.0, "sentence": "", "facts": {}}
            part = {"name": "", "verdict": verdict, "controls": [{"verdict": control}], "statistics": statistics}
            record = {"id": "cheap/noisy", "verdict": verdict, "control": control, "statistics": statistics, **numbers}
            record["parts"] = [part | {key: numbers[key] for key in ("measured", "bound", "sentence")}]
            folder.keep(task, {"records": [record], "broke": {}})
        state = run_module.run(layout, folder, Here(), stop, lambda _state: None)
    assert state.kept == len(p_support)
    return table(out)


def test_what_decided_points_leave_over_makes_others_firm_by_holm(tmp_path):
    half = SUITE_FALSE_ALARM / 2
    found = planted(tmp_path, [*[half / 1e3] * 18, half / 3, half / 1.5])
    # Holm: after eighteen rejections, half / 2 is asked of the next, and half of the last if that is rejected.
    assert found.verdict.tolist() == ["supported"] * 18 + ["supported" if half / 3 <= half / 2 else "", "supported"]
    assert found.margin.tolist() == [0.2] * 20


def test_points_that_are_missing_leave_nothing_over(tmp_path):
    half = SUITE_FALSE_ALARM / 2
    assert planted(tmp_path, [half / 20, half / 10]).verdict.tolist() == ["supported", "inconclusive"]
    controls = planted(tmp_path / "control", [*[half / 1e3] * 18, half / 3, half / 1.5], control="inconclusive")
    assert controls.verdict.tolist() == ["supported"] * 18 + ["inconclusive"] * 2


def test_a_point_that_cannot_be_written_is_not_counted(tmp_path, monkeypatch):
    keep = Folder.keep

    def full(self, task, outcome):
        if json.loads(task.regime)["model"]["m"] == 4:
            raise PolysemeError("no room")
        keep(self, task, outcome)

    monkeypatch.setattr(Folder, "keep", full)
    with pytest.raises(PolysemeError, match="no room"):
        sweep(write_grid(tmp_path / "g.toml", *QUICK), tmp_path / "out")
    assert len(table(tmp_path / "out")) == 2 * len(list((tmp_path / "out" / POINTS).iterdir())) < 16


def test_an_interrupt_waits_for_what_was_judged_to_be_written(tmp_path, monkeypatch):
    keep, pool = Folder.keep, Here()

    def slow(self, task, outcome):
        time.sleep(0.05)
        keep(self, task, outcome)

    def report(_state):
        if len(pool.tried) >= 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(Folder, "keep", slow)
    with pytest.raises(KeyboardInterrupt):
        sweep(write_grid(tmp_path / "g.toml", *QUICK, widths=range(1, 40)), tmp_path / "out", pool, report)
    assert len(list((tmp_path / "out" / POINTS).iterdir())) >= len(pool.tried) - 2  # but for two in hand


def test_a_cancelled_future_is_tried_again(tmp_path):
    def trouble(_task, attempt):
        if attempt == 1:
            raise CancelledError

    state = sweep(write_grid(tmp_path / "g.toml", *QUICK, widths=(1, 2)), tmp_path / "out", Here(trouble))
    assert (state.kept, state.quarantined) == (2, 0)


def test_a_point_that_cannot_be_tried_says_why(tmp_path):
    def trouble(_task, _attempt):
        raise RuntimeError("no such thing")

    pool = Here(trouble)
    state = sweep(write_grid(tmp_path / "g.toml", *QUICK, widths=(1,)), tmp_path / "out", pool)
    assert (len(pool.tried), state.quarantined) == (1, 1)
    assert table(tmp_path / "out").sentence[0] == "the point could not be tried: RuntimeError: no such thing"


def test_a_file_that_is_not_its_points_is_no_outcome(tmp_path):
    grid, out = write_grid(tmp_path / "g.toml", *QUICK), tmp_path / "out"
    sweep(grid, out)
    one, other = (out / POINTS / f"{table(out).point_hash[place]}.json" for place in (0, 2))
    whole = other.read_text()
    for text in (one.read_text(), "{}", whole.replace("cheap/quick", "cheap/slow"), whole.replace('"m": 2', '"m": 3')):
        other.write_text(text)
        with pytest.raises(PolysemeError, match="not this point of a sweep"):
            sweep(grid, out)
    other.write_text(whole)
    sweep(grid, out)


def test_claim_files_are_distinguished_with_all_that_they_import(tmp_path):
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("CLAIMS = ()\n")
    two.write_text("CLAIMS = ()\n")
    before = {path: files_of([path]) for path in (one, two)}
    assert before[one][0][1] != before[two][0][1]
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("x = 1\n")
    assert files_of([one]) != before[one]


def test_a_larger_grid_that_is_stopped_at_once_still_shows_what_is_kept(tmp_path):
    sweep(write_grid(tmp_path / "g.toml", *QUICK, widths=(5, 6, 7)), tmp_path / "out")
    stop = threading.Event()
    stop.set()
    state = sweep(write_grid(tmp_path / "g.toml", *QUICK, widths=range(1, 9)), tmp_path / "out", stop=stop)
    assert (state.kept, state.total) == (3, 8)
    assert table(tmp_path / "out").m.tolist() == [5, 5, 6, 6, 7, 7]
    assert table(tmp_path / "out").point.tolist() == [4, 4, 5, 5, 6, 6]


def test_points_quarantined_are_known_without_their_tracebacks(tmp_path):
    grid, out = write_grid(tmp_path / "g.toml", "breaks_at_13", widths=(4, 13)), tmp_path / "out"
    sweep(grid, out)
    for path in (out / QUARANTINE).iterdir():
        path.unlink()
    assert sweep(grid, out).quarantined == 1
    assert Folder(path=out).forget_quarantined() == 1
    assert sweep(grid, out).quarantined == 1
