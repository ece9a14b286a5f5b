"""A sweep: every point once, whatever happens; poison quarantined; one table that everybody reads."""

import dataclasses
import json
import math
import signal
import subprocess
import sys
import threading
from itertools import pairwise

import pandas as pd
import pytest
from cheap import CLAIMS, FILE, Died, Here, sweep, write_grid
from filelock import FileLock

from polyseme.checks.core.budget import SUITE_FALSE_ALARM
from polyseme.checks.core.sweeps import run as run_module
from polyseme.checks.core.sweeps.folder import POINTS, QUARANTINE, TABLE, Folder
from polyseme.checks.core.sweeps.grid import load_grid
from polyseme.checks.core.sweeps.run import ATTEMPTS, lay_out
from polyseme.checks.core.sweeps.table import COLUMNS, schema
from polyseme.checks.core.sweeps.task import Judged, OtherCode, code_digest, files_of, task_of, try_point
from polyseme.checks.core.theories import reference_to
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import Regime, load_regime

QUICK = ("quick", "odd_widths_alone")


def table(out):
    return pd.read_parquet(out / TABLE)


def test_every_point_is_judged_once_and_has_a_row_for_each_claim(tmp_path):
    pool = Here()
    state = sweep(write_grid(tmp_path / "g.toml", *QUICK), tmp_path / "out", pool)
    found = table(tmp_path / "out")
    assert (state.total, state.kept, state.found, state.quarantined) == (8, 8, 0, 0)
    assert len(set(pool.tried)) == len(pool.tried) == 8
    assert list(zip(found.m, found.claim, strict=True)) == [(m, f"cheap/{name}") for m in range(1, 9) for name in QUICK]
    odd = found[found.claim == "cheap/odd_widths_alone"]
    assert list(odd.verdict) == ["supported", "refuted"] * 4
    assert list(odd.measured) == [0, 1] * 4
    assert (found.control == "refuted").all()
    assert found.point.tolist() == sorted([*range(8)] * 2)
    assert {path.stem for path in (tmp_path / "out" / POINTS).iterdir()} == set(found.point_hash)
    facts = [json.loads(text) for text in found[found.claim == "cheap/quick"].facts]
    assert facts[-1] == {"m": 8, "wide": False}


def test_the_same_command_again_tries_nothing_and_leaves_the_same_table(tmp_path):
    grid = write_grid(tmp_path / "g.toml", *QUICK)
    sweep(grid, tmp_path / "out")
    before, pool = table(tmp_path / "out"), Here()
    state = sweep(grid, tmp_path / "out", pool)
    assert (pool.tried, state.found, state.kept) == ([], 8, 8)
    assert before.equals(table(tmp_path / "out"))


def test_a_larger_grid_in_the_same_folder_tries_what_is_new(tmp_path):
    sweep(write_grid(tmp_path / "g.toml", *QUICK), tmp_path / "out")
    pool = Here()
    sweep(write_grid(tmp_path / "g.toml", *QUICK, widths=range(1, 12)), tmp_path / "out", pool)
    assert len(pool.tried) == 3
    assert sorted(set(table(tmp_path / "out").m)) == list(range(1, 12))


def test_what_a_grid_has_so_far_lies_evenly_over_the_whole(tmp_path):
    stop, pool = threading.Event(), Here()

    def report(state):
        if state.kept >= 10:
            stop.set()

    sweep(write_grid(tmp_path / "g.toml", *QUICK, widths=range(1, 101)), tmp_path / "out", pool, report, stop)
    seen = sorted(set(table(tmp_path / "out").m))
    assert 10 <= len(seen) < 100
    assert max(b - a for a, b in pairwise([0, *seen, 101])) <= 3 * 100 / 10


@pytest.mark.parametrize("after", [0, 1, 5])
def test_asked_to_stop_it_keeps_what_it_has_and_goes_on_to_the_same_table(tmp_path, after, monkeypatch):
    monkeypatch.setattr(run_module, "MOST_UNWRITTEN", 1)
    grid, stop, pool = write_grid(tmp_path / "g.toml", *QUICK), threading.Event(), Here()

    def report(state):
        if state.kept >= after:
            stop.set()

    state = sweep(grid, tmp_path / "out", pool, report, stop)
    assert after <= state.kept < 8
    assert len(table(tmp_path / "out")) == 2 * state.kept
    again = Here()
    sweep(grid, tmp_path / "out", again)
    assert sorted(pool.tried + again.tried) == sorted(set(table(tmp_path / "out").point_hash))
    sweep(grid, tmp_path / "whole")
    assert_same_but_for_timings(table(tmp_path / "whole"), table(tmp_path / "out"))


def assert_same_but_for_timings(one, other):
    pd.testing.assert_frame_equal(one.drop(columns="seconds"), other.drop(columns="seconds"), check_exact=True)


def test_a_point_whose_worker_ends_is_tried_again_and_at_last_quarantined(tmp_path):
    def trouble(task, attempt):
        m = json.loads(task.regime)["model"]["m"]
        if m == 3 or (m == 5 and attempt < ATTEMPTS):
            raise Died

    pool = Here(trouble)
    state = sweep(write_grid(tmp_path / "g.toml", *QUICK), tmp_path / "out", pool)
    found = table(tmp_path / "out").set_index(["m", "claim"])
    assert (state.kept, state.quarantined) == (8, 1)
    assert sorted(pool.tried.count(name) for name in set(pool.tried)) == [1] * 6 + [ATTEMPTS] * 2
    assert set(found.loc[3].verdict) == {"error"}
    assert found.loc[3].sentence.str.contains("ended by itself 3 times").all()
    assert list(found.quarantined[found.quarantined].index) == [(3, f"cheap/{name}") for name in QUICK]
    assert found.loc[5, "cheap/odd_widths_alone"].verdict == "supported"


def test_a_check_that_breaks_costs_its_own_verdict_and_leaves_its_traceback(tmp_path):
    grid = write_grid(tmp_path / "g.toml", "quick", "breaks_at_13", "lacks_at_5", widths=(4, 5, 13, 30))
    state, out = sweep(grid, tmp_path / "out"), tmp_path / "out"
    verdicts = table(out).pivot(index="m", columns="claim", values="verdict")
    assert verdicts["cheap/quick"].tolist() == ["supported", "supported", "supported", "not_applicable"]
    assert verdicts["cheap/breaks_at_13"].tolist() == ["supported", "supported", "error", "supported"]
    assert verdicts["cheap/lacks_at_5"].tolist() == ["supported", "missing", "supported", "supported"]
    assert state.quarantined == 1
    (name,) = {path.stem for path in (out / QUARANTINE).iterdir()}
    text = (out / QUARANTINE / f"{name}.txt").read_text(encoding="utf-8")
    assert "_breaks_at_13" in text
    assert text.rstrip().endswith("ZeroDivisionError: thirteen")
    assert load_regime(out / QUARANTINE / f"{name}.toml").model.m == 13


def test_what_was_quarantined_is_tried_again_on_request_alone(tmp_path):
    grid, out = write_grid(tmp_path / "g.toml", "breaks_at_13", widths=(4, 13)), tmp_path / "out"
    sweep(grid, out)
    pool = Here()
    state = sweep(grid, out, pool)
    assert pool.tried == []
    assert (state.found, state.quarantined, dict(state.verdicts)) == (2, 1, {"supported": 1, "error": 1})
    assert Folder(path=out).forget_quarantined() == 1
    assert list((out / QUARANTINE).iterdir()) == []
    sweep(grid, out, pool)
    assert len(pool.tried) == 1


def test_a_claim_that_takes_too_long_is_given_up_at_that_point_alone(tmp_path):
    names = ("hangs_at_3", "swallows_at_3", "quick")
    before = signal.getsignal(signal.SIGALRM)
    sweep(write_grid(tmp_path / "g.toml", *names, head="seconds = 0.3", widths=(2, 3, 4)), tmp_path / "out")
    assert signal.getsignal(signal.SIGALRM) is before
    found = table(tmp_path / "out").set_index(["m", "claim"])
    good = ["supported"] * 3
    assert found.verdict.tolist() == [*good, "error", "error", "supported", *good]
    assert "given up after 0.3 s" in found.loc[3, "cheap/hangs_at_3"].sentence
    (trace,) = (tmp_path / "out" / QUARANTINE).glob("*.txt")
    assert "_hangs_at_3" in trace.read_text(encoding="utf-8")


def test_a_scheduler_that_is_gone_ends_it_and_what_was_judged_is_kept(tmp_path):
    grid, pool = write_grid(tmp_path / "g.toml", *QUICK), Here(gone_after=4)
    with pytest.raises(PolysemeError, match="the scheduler is gone"):
        sweep(grid, tmp_path / "out", pool)
    kept = len(list((tmp_path / "out" / POINTS).iterdir()))
    assert 0 < kept < 8
    assert len(table(tmp_path / "out")) == 2 * kept
    again = Here()
    sweep(grid, tmp_path / "out", again)
    assert len(again.tried) == 8 - kept


def test_workers_with_other_code_end_it(tmp_path):
    def trouble(_task, _attempt):
        raise OtherCode("another version")

    with pytest.raises(OtherCode):
        sweep(write_grid(tmp_path / "g.toml", *QUICK), tmp_path / "out", Here(trouble))
    assert list((tmp_path / "out" / POINTS).iterdir()) == []


def test_an_interrupt_between_two_points_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "MOST_UNWRITTEN", 1)
    grid = write_grid(tmp_path / "g.toml", *QUICK)

    def report(state):
        if state.kept >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(grid, tmp_path / "out", report=report)
    kept = len(list((tmp_path / "out" / POINTS).iterdir()))
    assert 3 <= kept < 8
    assert len(table(tmp_path / "out")) == 2 * kept
    assert list((tmp_path / "out").glob("**/*.part")) == []


def test_a_damaged_point_is_told_and_one_of_other_code_is_not_used(tmp_path, monkeypatch):
    grid, out = write_grid(tmp_path / "g.toml", *QUICK), tmp_path / "out"
    sweep(grid, out)
    victim = out / POINTS / f"{table(out).point_hash[3]}.json"
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "code_digest", lambda _theory: "another")
        patch.setattr("polyseme.checks.core.sweeps.task.code_digest", lambda _theory: "another")
        pool = Here()
        sweep(grid, out, pool)
        assert len(pool.tried) == 8
    victim.write_text(victim.read_text()[:40])
    with pytest.raises(
        PolysemeError, match="damaged or not this point of a sweep; delete it and type the same command"
    ):
        sweep(grid, out)


def test_nobody_else_works_in_the_folder_and_a_refused_one_is_not_made(tmp_path):
    grid = write_grid(tmp_path / "g.toml", *QUICK)
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(PolysemeError, match="another process is at work"):
        sweep(grid, tmp_path / "out")
    with pytest.raises(OtherCode), Folder(path=tmp_path / "new").locked():
        raise OtherCode("refused before anything was kept")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(PolysemeError, match="expected a place for the folder"):
        sweep(grid, tmp_path / "file")


def test_the_name_of_a_point_is_made_of_all_that_its_outcome_depends_on(tmp_path):
    def names(text_of=write_grid, *, claims=CLAIMS, **changes):
        grid = load_grid(text_of(tmp_path / "g.toml", *changes.pop("names", QUICK), **changes), THEORY, claims)
        return [task.digest for task in lay_out(grid, files=files_of([FILE])).tasks()]

    plain = names(widths=(2, 3))
    assert names(widths=(2, 3, 4))[:2] == plain
    others = [
        names(widths=(2, 3), names=QUICK[:1]),
        names(widths=(2, 3), head="drop = ['pure']"),
        names(widths=(2, 3), head="effort = 'full'"),
        names(widths=(2, 3), tail="[training]\nlam = 1e-3\n"),
        names(widths=(2, 3), tail="[ensemble]\nseed = 1\n"),
    ]
    assert not set(plain) & {name for other in others for name in other}
    assert names(widths=(2, 3), head="seconds = 3.0") == plain
    assert names(widths=(2, 3), head="design = 'random'\npoints = 40") in (plain, plain[::-1])
    noisy, more = names(widths=(2, 3), names=["noisy"]), names(widths=(2, 3, 4), names=["noisy"])
    assert not set(noisy) & set(more)  # the share of the budget is another


def test_the_budget_is_shared_over_points_and_left_overs_make_verdicts_firm(tmp_path):
    seeds = "[ensemble]\nseed = {from = 0, to = 9, count = 10}\n"
    grid = write_grid(tmp_path / "g.toml", "noisy", "quick", widths=(2, 3), tail=seeds)
    layout = lay_out(load_grid(grid, THEORY, CLAIMS))
    assert (layout.points, layout.family) == (20, 20)
    assert layout.judged.level == SUITE_FALSE_ALARM / 2 / 20
    assert lay_out(load_grid(write_grid(tmp_path / "h.toml", "quick"), THEORY, CLAIMS)).judged.level is None
    sweep(grid, tmp_path / "out")
    found = table(tmp_path / "out")
    noisy = found[found.claim == "cheap/noisy"]
    assert (noisy[noisy.m == 3].verdict == "supported").all()
    # At 0.92 of the margin an even share leaves most open, and the table says so.
    near = noisy[noisy.m == 2]
    assert set(near.verdict) <= {"inconclusive", "supported"}
    assert (near.verdict == "inconclusive").any()
    assert ((near.p_support > layout.judged.level) | (near.verdict == "supported")).all()
    firm = near[near.sentence.str.contains("Holm")]
    assert (firm.p_support > layout.judged.level).all()
    assert found[found.claim == "cheap/quick"].p_support.isna().all()


def test_pandas_polars_and_duckdb_read_the_table_alike(tmp_path):
    import duckdb
    import polars

    tail = (
        "[training]\nbatch = {values = ['population', 4]}\n[concepts]\nweights = {values = [[0.5, 0.5], [0.9, 0.1]]}\n"
    )
    sweep(write_grid(tmp_path / "g.toml", *QUICK, widths=(2, 3), tail=tail), tmp_path / "out")
    path = tmp_path / "out" / TABLE
    one, two = pd.read_parquet(path), polars.read_parquet(path)
    with duckdb.connect() as database:
        query = f"select count(*) from '{path}' where verdict = 'refuted' and isinf(batch)"
        ((count,),) = database.execute(query).fetchall()
    assert count == len(two.filter((two["verdict"] == "refuted") & (two["batch"] == math.inf))) == 2
    assert ((one.verdict == "refuted") & (one.batch == math.inf)).sum() == 2
    assert list(one.columns) == two.columns == schema(Regime).names
    assert set(COLUMNS) <= set(one.columns)
    assert sorted({tuple(x) for x in one.weights}) == [(0.5, 0.5), (0.9, 0.1)]
    assert (one.code_hash == code_digest(THEORY)).all()
    assert one.regime_hash.nunique() == 8


def test_the_table_of_a_sweep_that_runs_is_written_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "SECONDS_BETWEEN_TABLES", 0.0)
    monkeypatch.setattr(run_module, "SHARE_FOR_TABLES", math.inf)
    seen = []

    def report(_state):
        if (tmp_path / "out" / TABLE).exists():
            seen.append(len(table(tmp_path / "out")))

    sweep(write_grid(tmp_path / "g.toml", *QUICK), tmp_path / "out", report=report)
    assert seen == sorted(seen)
    assert len(set(seen)) >= 3


def test_a_worker_is_told_how_to_compute_before_it_loads_anything(monkeypatch):
    code = "import sys, polyseme.checks.core.sweeps.task; print([x for x in ('sympy', 'torch') if x in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    monkeypatch.setattr("sympy.external.gmpy.GROUND_TYPES", "flint")
    judged = Judged(
        theory=reference_to(THEORY), claims=(), drop=(), effort="small", level=None, code=code_digest(THEORY)
    )
    with pytest.raises(OtherCode, match="SYMPY_GROUND_TYPES=flint, expected python; set"):
        try_point(task_of(Regime(), judged))


def test_a_worker_refuses_another_version():
    judged = Judged(theory=reference_to(THEORY), claims=(), drop=(), effort="small", level=None, code="another")
    with pytest.raises(OtherCode, match="runs another version of polyseme"):
        try_point(task_of(Regime(), judged))
    assert try_point(task_of(Regime(), dataclasses.replace(judged, code=code_digest(THEORY)))) == {
        "records": [],
        "broke": {},
    }
