"""The scripts in docs/examples that are no files of claims or theories, on made-up tables."""

import subprocess
import sys
from pathlib import Path

import pytest
from made_up_sweeps import BY_SGD, by_sgd, fates, write_sweep

from polyseme.theory.multi_concept.regime import Regime

SCRIPT = Path(__file__).parents[1] / "docs" / "examples" / "conditions.py"


def thresholds(*arguments) -> tuple[int, str]:
    found = subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)
    return found.returncode, found.stdout + found.stderr


def starts(key: str, values: list[float], section: str, **changes) -> list[Regime]:
    """Forty starts at each value of a key, for one concept and for two."""
    return [
        Regime().replace(
            **{**changes, section: {key: value}, "concepts": {"K1": K1}, "ensemble": {"seeds": 1, "seed": seed}}
        )
        for K1 in (1, 2)
        for j, value in enumerate(values)
        for seed in range(1000 * K1 + 100 * j, 1000 * K1 + 100 * j + 40)
    ]


@pytest.mark.parametrize("law", ["all or none", "three of five", "backwards"])
def test_thresholds_are_bracketed_where_starts_show_it(tmp_path, law):
    widths = [2, 4, 6, 8]
    share = {
        "all or none": [0, 0, 1, 1],
        "three of five": [0, 0.6, 0.6, 1],
        "backwards": [1, 1, 0, 0],
    }[law]

    def outcome(of: Regime):
        K1 = of.concepts.K1
        return fates(K1 * (of.ensemble.seed % 100 < 40 * share[widths.index(of.model.m)]), K1)

    status, said = thresholds(write_sweep(tmp_path / "width", starts("m", widths, "model"), outcome), "m")
    expected = {
        "all or none": "4 to 6",
        "three of five": "2 to 8",  # 24 of 40 tell 0.6 neither from a half nor from three quarters
        "backwards": "not monotone",
    }[law]
    assert status == 0
    assert said.count(expected) == 4, said  # two scans, two levels


def test_lost_starts_count_as_what_shows_less(tmp_path):
    def outcome(of: Regime):
        return ("error", {}) if of.prompt.p_extra == 0.2 and of.ensemble.seed % 2 else by_sgd(of.prompt.p_extra < 0.5)

    points = starts("p_extra", [0.1, 0.2, 0.7], "prompt")
    folder = write_sweep(tmp_path / "extras", points, outcome, claim=BY_SGD)
    status, said = thresholds(folder, "p_extra", "--as", "(L + 1) * p_extra", "--falls")
    assert status == 0 and "0.5 to 3.5" in said and "1 to 3.5" not in said


def test_starts_that_are_no_trials_are_refused(tmp_path):
    points = starts("m", [2, 4], "model")
    status, said = thresholds(write_sweep(tmp_path / "twice", [*points, *points], lambda _: fates(1, 1)), "m")
    assert status == 1 and "no independent trials" in said
