"""A whole verification as a user runs it: in a process of its own, without a home, a terminal or a network."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from polyseme.checks.core.budget import SUITE_FALSE_ALARM
from polyseme.checks.core.claim import Verdict
from polyseme.checks.core.provenance import STATISTICS
from polyseme.checks.core.report.page import page
from polyseme.checks.core.report.run import load_run
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.claims.exponential.error_curve import LONG
from polyseme.checks.multi_concept.curves import theory_curves
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.multi_concept.regime import load_regime

ROOT = Path(__file__).parents[3]
MINIMAL, NOISY = ROOT / "regimes" / "minimal.toml", ROOT / "regimes" / "noisy.toml"
FIELDS = {
    "scope": str,
    "id": str,
    "family": str,
    "statement": str,
    "formula": str,
    "section": str,
    "verdict": str,
    "sentence": str,
    "hypotheses": list,
    "parts": list,
    "rests_on": list,
    "uses": list,
    "in_the_end": list,
    "seconds": float,
    "replay": str,
}
OF_A_PART = {
    "name": str,
    "verdict": str,
    "sentence": str,
    "measured": float,
    "measured_text": str,
    "bound": float,
    "reason": str,
    "rule": str,
    "hypotheses": list,
    "controls": list,
    "evidence": dict,
}
# Python runs this before the program; whoever asks for a connection or a name is refused, and is written down.
NO_NETWORK = """
import pathlib, socket
def refuse(*arguments, **options):
    with pathlib.Path({log!r}).open("a") as file:
        file.write(repr(arguments) + "\\n")
    raise OSError("no network in this test")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
"""


class Place:
    """Empty folders for a run to stand in, and what was found in them afterwards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("home", "tmp", "cwd", "site"):
            (folder / name).mkdir(parents=True)
        self.log = folder / "network"
        (folder / "site" / "sitecustomize.py").write_text(NO_NETWORK.format(log=str(self.log)))
        self.out = folder / "out"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL")}
        places = {name: str(self.folder / "home") for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
        places |= {name: str(self.folder / "tmp") for name in ("TMPDIR", "TEMP", "TMP")}
        python = {
            "PYTHONPATH": f"{self.folder / 'site'}:{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "default",
        }
        return subprocess.run(
            [sys.executable, "-m", "polyseme.checks.command_line", *arguments, "--out", str(self.out)],
            cwd=self.folder / "cwd",
            env=kept | places | python,
            capture_output=True,
            text=True,
        )

    def left(self) -> list[Path]:
        return [path for name in ("home", "tmp", "cwd") for path in (self.folder / name).rglob("*")]

    def records(self) -> list[dict]:
        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        return json.loads((self.out / "results.json").read_text(encoding="utf-8"), parse_constant=refuse)


# Every claim about a regime, and enough others for processes of their own to be started; what takes long is tried by test_claims.py.
QUICK = (
    "algebra/concept_vectors_are_orthogonal",
    "algebra/gradient_and_projection_commute",
    "algebra/idempotents_resolve_identity",
    "closure/generic_neurons_reach_level_b",
    "closure/mirrored_neurons_stay_in_level_s",
    "closure/uneven_signs_break_level_s",
    "dynamics/unanimous_prompts_alone_drive_neurons_on_the_plateau",
    "exponential/posterior_is_calibrated_on_drawn_prompts",
    "gradient/any_prompt_matches_autograd",
    "gradient/noise_is_gaussian_with_the_stated_deviation",
    "gradient/other_concepts_follow_the_law",
)
SLOW = ("closure/flow_limit_has_order_one", "fluctuation/gradient_noise_falls_as_root_batch")
CHOSEN = [claim for claim in CLAIMS if claim.id in QUICK or (claim.scope == "this regime" and claim.id not in SLOW)]


def test_the_chosen_claims_are_of_every_family():
    assert {claim.id for claim in CHOSEN} >= set(QUICK)
    assert {claim.family for claim in CHOSEN} == {claim.family for claim in CLAIMS}


def test_the_network_guard_bites(tmp_path):
    place = Place(tmp_path / "place")
    code = "import urllib.request as u\ntry:\n u.urlopen('http://localhost:1')\nexcept OSError as e:\n print(e)"
    environment = {"PYTHONPATH": str(place.folder / "site")}
    child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "no network in this test" in child.stdout
    assert place.log.exists()


# One test for all that one run shows, so that parallel workers do not repeat it.
@pytest.mark.slow
def test_the_minimal_regime_passes_and_leaves_nothing_but_its_report(tmp_path):
    place = Place(tmp_path / "place")
    run = place.run("verify", str(MINIMAL), *(word for claim in CHOSEN for word in ("--only", claim.id)))
    assert (run.returncode, run.stderr.strip()) == (0, "")
    assert not place.log.exists(), "it asked for the network"
    # Machine code is kept for the next run.
    assert [path for path in place.left() if path.suffix != ".so" and path != place.folder / "home" / "polyseme"] == []
    names = {str(path.relative_to(place.out)) for path in place.out.rglob("*") if path.is_file()}
    drawn = ("learning_dynamics", "margins", "out_of_distribution", "uses")
    figures = {f"figures/{name}.{kind}" for name in drawn for kind in ("svg", "pdf")}
    assert names == figures | {"results.json", "report.json", "report.html", "simulation.npz", "theory.npz"}
    assert page(load_run(place.out, older=lambda: THEORY)) == (place.out / "report.html").read_text(encoding="utf-8")
    assert (place.out / "report.html").stat().st_size < 5e6
    _records_have_the_fields_of_the_contract(place.records())
    _same_numbers_in_a_second_run(place, Place(tmp_path / "again"))


def _records_have_the_fields_of_the_contract(records: list[dict]) -> None:
    assert [record["id"] for record in records] == [claim.id for claim in CHOSEN]
    # Three of the dynamics ask for more neurons, or for linear ones; SGD beside level N for noise; the error curve for a longer run.
    outside = [record["id"] for record in records if record["verdict"] == "not_applicable"]
    assert set(outside) == {
        "dynamics/every_concept_is_learned",
        "dynamics/end_of_training_is_smooth",
        "dynamics/sgd_learns_every_concept",
        "fluctuation/noisy_sgd_follows_level_n",
        "ood/noisy_sgd_does_elsewhere_what_level_n_says",
        "ood/tasks_in_the_cone_of_several_concepts_are_answered",
        *(claim.id for claim in CLAIMS if LONG in claim.hypotheses),
    }
    whole: set[str] = set()
    for record in records:
        if record["id"] in outside:
            continue
        # What a claim rests on may not have been tried here; it stands before its users.
        assert record.pop("fully_supported") is (True if set(record["uses"]) <= whole else None), record["id"]
        whole |= {record["id"]} if set(record["uses"]) <= whole else set()
        assert {name: type(value) for name, value in record.items()} == FIELDS, record["id"]
        assert record["verdict"] == "supported"
        grounds = {basis["ground"] for basis in record["rests_on"]}
        assert any(part["statistics"] for part in record["parts"]) == (STATISTICS.ground in grounds)
        for part in record["parts"]:
            _part_has_the_fields_of_the_contract(part)
        assert record["replay"].endswith(f"--only {record['id']}")


def _part_has_the_fields_of_the_contract(part: dict) -> None:
    numbers, _slack = part.pop("statistics"), part.pop("slack")
    assert {name: type(value) for name, value in part.items()} == OF_A_PART
    if numbers is not None:
        assert None not in numbers.values(), "the budget is settled, and a plan was made"
        assert numbers["adjusted_support"] <= SUITE_FALSE_ALARM / 2 < numbers["adjusted_refute"]
        assert numbers["power"] >= 0.98
    assert part["verdict"] == "supported" and part["evidence"]["rows"]
    for control in part["controls"]:
        assert control["verdict"] == "refuted"
        assert set(control) == {"name", "statement", "verdict", "measured", "bound", "sentence"}


def _same_numbers_in_a_second_run(first: Place, second: Place) -> None:
    """Run again from other folders; the claims about drifts draw states and minibatches, the ensemble prompts."""
    assert second.run("verify", str(MINIMAL), "--only", "gradient/level_b_drift*").returncode == 0

    def comparable(records: list[dict]) -> list[dict]:
        chosen = [record for record in records if record["id"].startswith("gradient/level_b_drift")]
        assert len(chosen) >= 2
        open_parts = ("seconds", "fully_supported", "in_the_end")  # what the other claims have a say in
        for part in (part for record in chosen for part in record["parts"]):
            part.pop("statistics", None)
        return [{k: v for k, v in r.items() if k not in open_parts} for r in chosen]

    assert comparable(first.records()) == comparable(second.records())
    for name in ("simulation.npz", "theory.npz"):
        with np.load(first.out / name) as one, np.load(second.out / name) as two:
            assert set(one.files) == set(two.files)
            assert all(np.array_equal(one[key], two[key], equal_nan=True) for key in one.files)
    for figure in ("learning_dynamics.svg", "learning_dynamics.pdf"):
        assert (first.out / "figures" / figure).read_bytes() == (second.out / "figures" / figure).read_bytes()


@pytest.mark.slow
def test_a_noisy_regime_supports_nothing_that_needs_pure_prompts(tmp_path):
    # The shipped noisy regime, shorter.
    text = re.sub(r"steps = \d+", "steps = 40", NOISY.read_text(encoding="utf-8"))
    noisy = tmp_path / "noisy.toml"
    noisy.write_text(re.sub(r"seeds = \d+", "seeds = 2", text))
    place = Place(tmp_path / "place")
    run = place.run("verify", str(noisy), "--only", "[cfg]*", "--this-regime")
    assert (run.returncode, run.stderr.strip()) == (0, "")
    tried = [x for x in CLAIMS if x.family in ("closure", "fluctuation", "gradient") and x.scope == "this regime"]
    pure = {claim.id for claim in tried if any("pure prompts" in x.name for x in claim.hypotheses)}
    assert len(pure) >= 8
    records = place.records()
    assert pure < {record["id"] for record in records}
    for record in records:
        outside = record["id"] in pure or record["id"] == "fluctuation/noisy_sgd_follows_level_n"  # low noise
        assert record["verdict"] == ("not_applicable" if outside else "supported"), record["id"]
        if record["id"] in pure:
            assert all(x["measured"] is x["bound"] is None and x["controls"] == [] for x in record["parts"])
            assert record["fully_supported"] is False
            assert "sigma_x = 0.3, sigma_y = 0.5" in record["sentence"]
    assert "No claim" not in run.stdout and str(Verdict.NOT_APPLICABLE) in run.stdout


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_products_of_the_theory_are_those_of_the_full_model(seeds):
    training = {"steps": 60, "batch": "population", "record_every": 20}
    regime = load_regime(MINIMAL).replace(training=training, ensemble={"seeds": seeds})
    initial = draw_initial(regime)
    theory, full = theory_curves(regime, initial), simulate(regime, initial)
    products = [name for name in theory if name.startswith(("attention_", "mlp_"))]
    assert len(products) == 6
    for name in products:
        assert theory[name].shape == full[name].shape
        # 60 steps of sums of at most 20 terms: 1e-13 at most, with room.
        np.testing.assert_allclose(theory[name], full[name], rtol=0, atol=1e-12, err_msg=name)
