"""Claims evaluated in a second process: the same records, whatever becomes of the process."""

import multiprocessing
import threading

import pytest

from polyseme.checks.core import parallel as module
from polyseme.checks.core.budget import even_share, family_size
from polyseme.checks.core.evaluation import evaluate_claim
from polyseme.checks.core.parallel import ParallelClaims
from polyseme.checks.core.verify import _evaluated
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.theory.multi_concept.regime import Regime

QUICK = tuple(claim for claim in CLAIMS if claim.family == "algebra" and claim.scope == "any regime")[:4]
# Of several files, and quick.
ACROSS = tuple(
    claim
    for claim in CLAIMS
    if claim.id
    in (
        "algebra/concept_vectors_are_orthogonal",
        "closure/generic_neurons_reach_level_b",
        "closure/mirrored_neurons_stay_in_level_s",
        "gradient/noise_is_gaussian_with_the_stated_deviation",
    )
)
LEVEL = even_share(family_size(CLAIMS))


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(module, "cores", lambda: 2)
    monkeypatch.setattr(module, "FEWEST", 2)


def plain(record):
    return {name: value for name, value in record.items() if name != "seconds"}


@pytest.mark.usefixtures("two_cores")
def test_the_records_are_those_of_one_process():
    regime, announced, begun = Regime(), [], []
    with ParallelClaims(QUICK, TrainingContext(regime, level=LEVEL), THEORY, replay="r", drop=()) as parallel:
        assert parallel.ids == {claim.id for claim in QUICK}
        here = TrainingContext(regime, level=LEVEL)
        records = _evaluated(
            QUICK, here, THEORY, parallel, replay="r", announce=announced.append, drop=(), waiting=begun.append
        )
    assert [record["id"] for record in records] == [claim.id for claim in QUICK]
    assert sorted(record["id"] for record in announced) == sorted(claim.id for claim in QUICK)
    assert not begun, "nothing was left to the first process"
    alone = evaluate_claim(QUICK[0], TrainingContext(regime, level=LEVEL), replay="r")
    assert plain(records[0]) == plain(alone)


@pytest.mark.usefixtures("two_cores")
def test_free_cores_share_the_claims_and_each_is_tried_once():
    regime, found = Regime(), []
    files = {claim.parts[0].measure.__module__ for claim in ACROSS}
    with ParallelClaims(ACROSS, TrainingContext(regime, level=LEVEL), THEORY, replay="r", drop=()) as parallel:
        assert len(parallel._groups) == len(files) > 2
        parallel.one_more()
        while parallel.is_working():
            found += parallel.collect(seconds=0.5)
        assert len(parallel._processes) == 2
        parallel.one_more()
        assert len(parallel._processes) == 2, "nothing is left to begin"
    assert sorted(record["id"] for record in found) == sorted(claim.id for claim in ACROSS)


@pytest.mark.usefixtures("two_cores")
def test_a_lock_that_nobody_gives_back_blocks_nothing(monkeypatch):
    parallel = ParallelClaims(QUICK, TrainingContext(Regime(), level=LEVEL), THEORY, replay="r", drop=())
    receive, send = multiprocessing.Pipe(duplex=False)
    monkeypatch.setattr(module, "SECONDS_TO_TAKE", 0.1)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with parallel._taken.get_lock():  # as by a process that was killed meanwhile
        other = threading.Thread(target=module._work, args=(parallel._about, parallel._taken, send))
        other.start()
        other.join(30)
        assert not other.is_alive() and not receive.poll()


@pytest.mark.usefixtures("two_cores")
def test_a_process_that_dies_leaves_its_claims_to_the_first(monkeypatch):
    regime, announced, begun = Regime(), [], []
    monkeypatch.setattr(ParallelClaims, "one_more", lambda _self: None)
    with ParallelClaims(QUICK, TrainingContext(regime, level=LEVEL), THEORY, replay="r", drop=()) as parallel:
        for process in parallel._processes:
            process.kill()
            process.join()
        here = TrainingContext(regime, level=LEVEL)
        records = _evaluated(
            QUICK, here, THEORY, parallel, replay="r", announce=announced.append, drop=(), waiting=begun.append
        )
    assert [record["id"] for record in records] == [claim.id for claim in QUICK]
    assert begun and begun == [record["id"] for record in announced][-len(begun) :], "announced before each is tried"


@pytest.mark.usefixtures("two_cores")
def test_few_claims_one_core_or_dropped_hypotheses_need_no_second_process(monkeypatch):
    context = TrainingContext(Regime(), level=LEVEL)
    assert not ParallelClaims(QUICK[:1], context, THEORY, replay="r", drop=()).ids
    assert not ParallelClaims(QUICK, context, THEORY, replay="r", drop=("pure",)).ids
    monkeypatch.setattr(module, "cores", lambda: 1)
    with ParallelClaims(QUICK, context, THEORY, replay="r", drop=()) as parallel:
        assert not parallel.ids and not parallel.is_working() and parallel.collect() == []
