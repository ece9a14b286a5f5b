"""Claims tried in a second process: the same records, whatever becomes of the process."""

import multiprocessing
import threading

import pytest

from checks import aside as module
from checks.aside import Aside
from checks.budget import even_share, family_size
from checks.claims import CLAIMS
from checks.court import try_claim
from checks.laboratory import Laboratory
from checks.verify import _tried
from theory.setting import Regime

QUICK = tuple(claim for claim in CLAIMS if claim.family == "algebra" and claim.scope == "any regime")[:4]
# Of several files, and quick.
ACROSS = tuple(claim for claim in CLAIMS if claim.family == "algebra" and claim.scope == "any regime")
LEVEL = even_share(family_size(CLAIMS))


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(module, "cores", lambda: 2)
    monkeypatch.setattr(module, "FEWEST", 2)


def plain(record):
    return {name: value for name, value in record.items() if name != "seconds"}


@pytest.mark.usefixtures("two_cores")
def test_the_records_are_those_of_one_process():
    regime, told, begun = Regime(), [], []
    with Aside(QUICK, Laboratory(regime, level=LEVEL), replay="r", drop=()) as aside:
        assert aside.ids == {claim.id for claim in QUICK}
        here = Laboratory(regime, level=LEVEL)
        records = _tried(QUICK, here, aside, replay="r", announce=told.append, drop=(), waiting=begun.append)
    assert [record["id"] for record in records] == [claim.id for claim in QUICK]
    assert sorted(record["id"] for record in told) == sorted(claim.id for claim in QUICK)
    assert not begun, "nothing was left to the first process"
    alone = try_claim(QUICK[0], Laboratory(regime, level=LEVEL), replay="r")
    assert plain(records[0]) == plain(alone)


@pytest.mark.usefixtures("two_cores")
def test_free_cores_share_the_claims_and_each_is_tried_once():
    regime, found = Regime(), []
    files = {claim.measure.__module__ for claim in ACROSS}
    with Aside(ACROSS, Laboratory(regime, level=LEVEL), replay="r", drop=()) as aside:
        assert len(aside._groups) == len(files) > 2
        for _ in range(3):
            aside.one_more()
        while aside.is_working():
            found += aside.collect(seconds=0.5)
        assert len(aside._processes) == 4
        aside.one_more()
        assert len(aside._processes) == 4, "nothing is left to begin"
    assert sorted(record["id"] for record in found) == sorted(claim.id for claim in ACROSS)


@pytest.mark.usefixtures("two_cores")
def test_a_lock_that_nobody_gives_back_blocks_nothing(monkeypatch):
    aside = Aside(QUICK, Laboratory(Regime(), level=LEVEL), replay="r", drop=())
    receive, send = multiprocessing.Pipe(duplex=False)
    monkeypatch.setattr(module, "SECONDS_TO_TAKE", 0.1)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with aside._taken.get_lock():  # as by a process that was killed meanwhile
        other = threading.Thread(target=module._work, args=(*aside._about, aside._groups, aside._taken, "r", send))
        other.start()
        other.join(30)
        assert not other.is_alive() and not receive.poll()


@pytest.mark.usefixtures("two_cores")
def test_a_process_that_dies_leaves_its_claims_to_the_first(monkeypatch):
    regime, told, begun = Regime(), [], []
    monkeypatch.setattr(Aside, "one_more", lambda _self: None)
    with Aside(QUICK, Laboratory(regime, level=LEVEL), replay="r", drop=()) as aside:
        for process in aside._processes:
            process.kill()
            process.join()
        here = Laboratory(regime, level=LEVEL)
        records = _tried(QUICK, here, aside, replay="r", announce=told.append, drop=(), waiting=begun.append)
    assert [record["id"] for record in records] == [claim.id for claim in QUICK]
    assert begun and begun == [record["id"] for record in told][-len(begun) :], "told before each is tried"


@pytest.mark.usefixtures("two_cores")
def test_few_claims_one_core_or_dropped_hypotheses_need_no_second_process(monkeypatch):
    laboratory = Laboratory(Regime(), level=LEVEL)
    assert not Aside(QUICK[:1], laboratory, replay="r", drop=()).ids
    assert not Aside(QUICK, laboratory, replay="r", drop=("pure",)).ids
    monkeypatch.setattr(module, "cores", lambda: 1)
    with Aside(QUICK, laboratory, replay="r", drop=()) as aside:
        assert not aside.ids and not aside.is_working() and aside.collect() == []
