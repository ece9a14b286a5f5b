"""The audit: operators change what they say, wrong theories are caught, and a blind suite is found out."""

import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from typer.testing import CliRunner

from polyseme.checks.command_line import app
from polyseme.checks.core.audit import rates, trial, true_claims
from polyseme.checks.core.audit.page import Audit
from polyseme.checks.core.evidence import Compared, Evidence
from polyseme.checks.multi_concept.audit import operators, plants
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.numerics.lower import compile_recursion, system_of

RIGHT = derive("B")
LEVEL = 6e-5
AUDIT = plants.AUDIT
ALL = list(AUDIT.plants())
ROOT = Path(__file__).parents[3]


def variants(operator: str) -> dict:
    return dict(operators.RECURSION[operator](RIGHT))


def moved(wrong) -> set[str]:
    return {str(x.base) for x in RIGHT.state if wrong.gradient[x] != RIGHT.gradient[x]} | {
        f"penalty on {x.base}" for x in RIGHT.state if wrong.shrinkage[x] != RIGHT.shrinkage[x]
    }


# -- operators ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", operators.RECURSION)
def test_every_variant_has_a_name_of_its_own_and_changes_something(operator):
    listed = list(operators.RECURSION[operator](RIGHT))
    assert len({name for name, _ in listed}) == len(listed) >= 2
    assert all(moved(wrong) for _, wrong in listed)
    assert all(wrong.observables == RIGHT.observables for _, wrong in listed)


def test_an_error_in_one_coefficient_moves_its_equation_alone():
    wrong = variants("coefficient")
    assert moved(wrong["gradient in beta[i, k] times 1 + 0.01"]) == {"beta"}
    assert moved(wrong["penalty on W_K^{ba}[k] times 1 - 0.01"]) == {"penalty on W_K^{ba}"}
    ratio = (
        wrong["gradient in beta[i, k] times 1 + 0.01"].gradient[fw.beta[fw.i, fw.k]]
        / RIGHT.gradient[fw.beta[fw.i, fw.k]]
    )
    assert sp.simplify(ratio) == sp.Rational(101, 100)


def test_every_term_of_every_equation_is_reached():
    names = " ".join(variants("coefficient"))
    for x in RIGHT.state:
        assert f"penalty on {x} times" in names
        assert (f"gradient in {x} times" in names) == (RIGHT.gradient[x] != 0)
    for term in sp.Add.make_args(sp.expand(RIGHT.counted.g)):
        assert f"{term} in the logit gap" in names


def test_time_operators_give_the_step_sizes_they_name():
    seen = []

    def update(eta, lam):
        seen.append((eta, lam))
        return []

    right = dataclasses.replace(system_of(plants.AUDIT_REGIME).update, names=("eta", "lam"), function=update)
    for _, wrong in operators.time(dataclasses.replace(system_of(plants.AUDIT_REGIME), update=right)):
        wrong.update.function(2 / (0.01 * 50), 0.01)
    assert seen[0][0] == pytest.approx(2 / (0.01 * 51), rel=1e-14)
    assert [eta for eta, _ in seen[1:4]] == pytest.approx([8.0, 2.0, 4.04], rel=1e-14)


def test_uniform_weights_and_flat_counts_are_still_probabilities():
    p = np.array([0.7, 0.3])[:, None, None] * np.array([[0.2, 0.3], [0.4, 0.1]])
    seen = {}
    right = dataclasses.replace(
        system_of(plants.AUDIT_REGIME).gradient, names=("p",), function=lambda p: seen.setdefault("p", p)
    )
    for name, wrong in operators.constant(dataclasses.replace(system_of(plants.AUDIT_REGIME), gradient=right)):
        seen.clear()
        if name.startswith("kappa"):
            continue
        wrong.gradient.function(p[None, ..., None])
        if name in ("weights pi dropped", "every count n+ alike"):
            assert seen["p"].sum() == pytest.approx(1.0, rel=1e-14)
            assert not np.allclose(seen["p"][0, ..., 0], p)
        if name == "1/K1 dropped":
            assert seen["p"].sum() == pytest.approx(2.0, rel=1e-14)


# -- plants ------------------------------------------------------------------------------------------------


def test_there_are_plants_of_every_kind():
    assert len(ALL) >= 150
    assert {plant.kind for plant in ALL} == {"recursion", "system", "statement", "quantifier"}
    assert {plant.operator for plant in ALL} == {
        *operators.RECURSION,
        *operators.SYSTEM,
        "wrong idempotent",
        "quantifier widened",
    }
    assert len({(plant.operator, plant.name) for plant in ALL}) == len(ALL)


# One of each operator; the whole list is the audit itself.
SOME = list({plant.operator: plant for plant in ALL}.values())
# Of the claims that assert the recursion, those that one state or one run decides.
DRIFT = plants.BY_ID["gradient/level_b_drift_matches_population_autograd"]
QUICK = [
    claim
    for claim in THEORY.claims
    if claim.id not in plants.RECURSION_CLAIMS or claim.id in (DRIFT.id, "closure/population_descent_equals_level_b")
]


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked_types")
def test_planted_errors_are_caught():
    results = trial.try_plants(SOME, trial.Bench(theory=THEORY, level=LEVEL), claims=QUICK)
    assert [(x.operator, x.name, x.verdicts) for x in results if x.is_missed] == []
    cells = trial.table(results)
    assert {op: row["any"].caught for op, row in cells.items()} == {op: row["any"].tried for op, row in cells.items()}


def test_an_error_that_is_none_is_proved_to_be_none():
    (plant,) = [p for p in ALL if p.name == "e^3 for e"]
    (result,) = trial.try_plants([plant], trial.Bench(theory=THEORY, level=LEVEL), claims=[DRIFT])
    assert result.equivalent == "the same equations once e^2 = 1 is used" and not result.is_missed
    assert plants.proof_of_equivalence(variants("exponent")["p^2 for p"]) == ""
    assert plants._both_signs_cancel()


def test_a_suite_that_sees_nothing_is_found_out():
    nothing = Evidence(rows=(Compared(name="x", difference=0.0, scale=1.0, roundings=1.0),))
    rule = plants.BY_ID["closure/population_descent_equals_level_b"].part("from the start").rule
    seeing = {"measure": lambda _context, _asserted: nothing, "rule": rule}
    blind = [
        dataclasses.replace(claim, parts=tuple(dataclasses.replace(part, **seeing) for part in claim.parts))
        for claim in plants.BY_ID.values()
    ]
    some = [p for p in ALL if p.name in {"no gate", "p^2 for p"}]
    results = trial.try_plants(some, trial.Bench(theory=THEORY, level=LEVEL), claims=blind)
    assert [x.is_missed for x in results] == [True, True]
    assert all(x.separated_by for x in results), "and there is a regime that tells them apart"
    assert not Audit(plants=results).is_sound
    assert "2 missed" in Audit(plants=results).sentences()[0]


# -- rates and true claims ----------------------------------------------------------------------------------------


def test_rates_count_trials_and_find_the_smallest_error():
    name, wrong = next(iter(variants("coefficient").items()))
    compiled = compile_recursion(wrong)
    detection = dataclasses.replace(AUDIT.detection, asserted=lambda: {name: lambda _regime: compiled})
    (rate,) = rates.rates(THEORY, detection, trials=4, level=LEVEL)
    assert (rate.name, rate.caught, rate.tried) == (name, 4, 4)
    assert 0.47 < rate.low < rate.high == 1.0, "0.05^(1/4)"
    assert 0 < rate.smallest < 1e-6


def test_the_bank_is_sound_and_a_crooked_rule_is_not():
    found = list(true_claims.false_alarms(THEORY, runs=60, level=LEVEL, seed=3))
    assert {x.name for x in found} == {*(a.name for a in true_claims.TRUE_CLAIMS), *AUDIT.true_claims}
    assert all(x.is_sound for x in found), found
    (honest,) = [a for a in true_claims.TRUE_CLAIMS if a.name == "equivalence"]
    crooked = dataclasses.replace(
        honest, margin=true_claims._normal(0.08)
    )  # the truth is nearer than the margin: too small p-values
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(true_claims, "TRUE_CLAIMS", (crooked,))
        synthetic = dataclasses.replace(THEORY, audit=dataclasses.replace(AUDIT, true_claims=()))
        (true_claim,) = true_claims.false_alarms(synthetic, runs=300, level=LEVEL)
    assert not true_claim.is_sound


# -- the command -------------------------------------------------------------------------------------------


def audit(*arguments: str):
    return CliRunner().invoke(app, ["audit", *arguments])


def test_the_command_writes_a_table_and_a_page(tmp_path):
    theory = ROOT / "docs" / "examples" / "noisy_quadratic.py"
    arguments = ("--only", "r*", "--trials", "0", "--runs", "0", "--out", str(tmp_path / "a"))
    result = audit("--theory", str(theory), *arguments)
    assert result.exit_code == 0, result.output
    assert "1 planted errors: 1 refuted, 0 proved to be no error, 0 missed." in result.stdout
    found = json.loads((tmp_path / "a" / "audit.json").read_text())
    assert found["sound"] and found["table"]["rate"]["any"]["caught"] == 1
    assert "5% faster" in (tmp_path / "a" / "audit.html").read_text()


@pytest.mark.usefixtures("unchecked_types")
def test_the_documented_wrong_theory_is_caught():
    patch = runpy.run_path(str(ROOT / "docs" / "examples" / "wrong_theory.py"))["patch"]
    plant = plants.from_user("wrong theory", patch)
    (result,) = trial.try_plants([plant], trial.Bench(theory=THEORY, level=LEVEL), claims=[DRIFT])
    assert result.verdicts == {DRIFT.id: "refuted"}


# kappa_x = 0.2, L <= 4: there the theory is right.
VANISHING = {"kappa_x": fw.n_a**2 - (1 + sp.Rational(1, 5)) / 2, "L": sp.Max(0, fw.L - 4)}


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("name", VANISHING)
def test_an_error_that_vanishes_in_the_regime_of_the_audit_is_found_in_other_regimes(name):
    def patch(recursion):
        gradient = {x: g * (1 + VANISHING[name]) for x, g in recursion.gradient.items()}
        return dataclasses.replace(recursion, gradient=gradient)

    plant, claims = plants.from_user("hiding", patch), [DRIFT]
    at_home = dataclasses.replace(plant, more_regimes=(), proof=None, separable=False)
    results = trial.try_plants([plant, at_home], trial.Bench(theory=THEORY, level=LEVEL), claims=claims)
    assert [x.is_caught for x in results] == [True, False]
    assert results[1].verdicts == {claims[0].id: "supported"}


HIDING = """
import dataclasses
from polyseme.theory.multi_concept.model import forward as fw

def patch(recursion):
    gradient = {x: g * (1 + fw.sp.Max(0, fw.K1 - 2)) for x, g in recursion.gradient.items()}
    return dataclasses.replace(recursion, gradient=gradient)
"""


@pytest.mark.usefixtures("unchecked_types")
def test_the_command_finds_an_error_that_hides_too(tmp_path):
    (tmp_path / "hiding.py").write_text(HIDING)
    result = audit("--plant", str(tmp_path / "hiding.py"), "--out", str(tmp_path / "out"))
    assert result.exit_code == 0 and "1 planted errors: 1 refuted" in result.stdout, result.output


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "expected a Python file with an edit of the recursion"),
        ("x = 1", "got a file without a function patch"),
        ("def patch(recursion):\n    return 3", "patch gave int, expected a Recursion"),
        ("def patch(recursion):\n    return recursion", "the patch changed nothing"),
        ("def patch(recursion):\n    raise KeyError('k')", "failed with KeyError"),
    ],
)
def test_a_bad_patch_is_one_sentence(text, sentence, tmp_path):
    path = tmp_path / "patch.py"
    if text is not None:
        path.write_text(text)
    result = audit("--plant", str(path), "--out", str(tmp_path / "out"))
    assert result.exit_code == 2 and sentence in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["--trials", "-1"], ["--runs", "-1"], ["--only", "nothing"]])
def test_bad_options_are_one_sentence(arguments, tmp_path):
    result = audit(*arguments, "--out", str(tmp_path / "out"))
    assert result.exit_code == 2 and result.stderr.startswith("polyseme: ") and "type" in result.stderr
