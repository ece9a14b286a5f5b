"""Which engine a run gets, how it is cut into chunks, and what is refused."""

import pytest
import torch

import polyseme.sim.multi_concept.training.engine
from polyseme.errors import PolysemeError
from polyseme.sim.multi_concept.plan import member_chunks, members_in_process, takes_long
from polyseme.sim.multi_concept.training.engine import choose
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.multi_concept.regime import Regime

CPU = torch.device("cpu")
SHORT = Regime()
LONG = SHORT.replace(training={"steps": 10**6})


def asked(engine: str, sampler: str = "literal", base: Regime = SHORT, **training) -> Regime:
    return base.replace(ensemble={"engine": engine, "sampler": sampler}, training=training)


@pytest.mark.parametrize(
    ("regime", "engine"),
    [
        (SHORT, "autograd"),
        (LONG, "compiled"),
        (asked("auto", "reduced"), "analytic"),
        (asked("auto", "reduced", LONG), "compiled"),
        (asked("autograd", base=LONG), "autograd"),
        (asked("analytic", base=LONG), "analytic"),
        (asked("compiled"), "compiled"),
        (asked("auto", base=LONG, batch="population"), "autograd"),
    ],
)
def test_the_engine_of_a_run(regime, engine, monkeypatch):
    monkeypatch.setattr(polyseme.sim.multi_concept.training.engine, "can_compile", lambda _device: True)
    assert choose(regime, device=CPU) == engine


def test_without_a_compiler_long_runs_are_not_compiled(monkeypatch):
    monkeypatch.setattr(polyseme.sim.multi_concept.training.engine, "can_compile", lambda _device: False)
    assert choose(LONG, device=CPU) == "autograd"
    assert choose(asked("auto", "reduced", LONG), device=CPU) == "analytic"
    with pytest.raises(PolysemeError, match="found no compiler"):
        choose(asked("compiled"), device=CPU)


@pytest.mark.parametrize(
    ("regime", "keep_counts", "sentence"),
    [
        (asked("autograd", "reduced"), False, "type engine = 'auto'"),
        (asked("compiled", batch="population"), False, "got engine = 'compiled' with batch = 'population'"),
        (asked("auto", "reduced", batch="population"), False, "type sampler = 'literal'"),
        (asked("analytic"), True, "got engine = 'analytic' with kept counts"),
    ],
)
def test_what_cannot_go_together_is_one_sentence(regime, keep_counts, sentence):
    with pytest.raises(PolysemeError, match=sentence):
        choose(regime, device=CPU, keep_counts=keep_counts)


def test_how_long_a_run_takes_grows_with_every_size():
    assert not takes_long(SHORT)
    for section, changes in (
        ("training", {"steps": 10**6}),
        ("training", {"batch": 10**6}),
        ("ensemble", {"seeds": 10**6}),
        ("concepts", {"d_x": 10**4}),
        ("model", {"m": 10**6}),
    ):
        assert takes_long(SHORT.replace(**{section: changes})), changes
    noisy = SHORT.replace(prompt={"sigma_x": 0.1, "L": 2000}, training={"batch": 64})
    assert takes_long(noisy)
    assert not takes_long(LONG.replace(training={"batch": "population"}))


@pytest.mark.parametrize(("seeds", "at_most"), [(1, 1), (5, 2), (256, 256), (257, 256), (1000, 64)])
def test_chunks_are_all_members_in_order_and_of_one_size_or_two(seeds, at_most):
    parts = member_chunks(SHORT.replace(ensemble={"seeds": seeds}), at_most=at_most)
    assert [member for part in parts for member in part] == list(range(seeds))
    sizes = {len(part) for part in parts}
    assert max(sizes) <= at_most
    assert max(sizes) - min(sizes) <= 1


def test_a_process_has_its_share_of_the_members():
    many = SHORT.replace(ensemble={"seeds": 64})
    assert [members_in_process(many, processes=n) for n in (1, 2, 3, 64, 100)] == [64, 32, 22, 1, 1]
    lots = SHORT.replace(ensemble={"seeds": 10**5})
    assert members_in_process(lots, processes=2) < members_in_process(lots, processes=2, on_gpu=True)


@pytest.mark.parametrize(
    ("section", "changes", "sentence"),
    [
        ("ensemble", {"seeds": 10**9}, r"type seeds = (\d+) or less in \[ensemble\]"),
        ("concepts", {"d_x": 10**6}, r"type d_x = (\d+) or less in \[concepts\]"),
        ("model", {"m": 10**10}, r"type m = (\d+) or less in \[model\]"),
        ("training", {"batch": 10**10}, r"type batch = (\d+) or less in \[training\]"),
    ],
)
def test_a_run_that_cannot_fit_is_told_the_size_that_would(section, changes, sentence):
    from polyseme.sim.multi_concept.plan import check_fits

    regime = SHORT.replace(**{section: changes})
    with pytest.raises(PolysemeError, match=sentence) as refused:
        simulate(regime, {})
    (key,) = changes
    size = int(str(refused.value).split(f"type {key} = ")[1].split()[0])
    # Memory is shared with others, so the limit itself may have moved since.
    check_fits(regime.replace(**{section: {key: size * 9 // 10}}))
    with pytest.raises(PolysemeError):
        check_fits(regime.replace(**{section: {key: size * 2}}))
