"""What tests of maps share: the folder of a sweep that never ran, written row by row."""

import json
import tomllib
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from polyseme.checks.core.sweeps import mapped
from polyseme.checks.core.sweeps.table import rows_of, write_table
from polyseme.theory.multi_concept.regime import Regime

LEARNED = "dynamics/every_concept_is_learned"
EQUAL = "closure/population_descent_equals_level_b"
KEYS = Regime.keys()
Record = dict[str, Any]


def a_record(claim: str, verdict: str, measured: float | None = None, bound: float | None = None, **facts) -> Record:
    """A record as a point's file has it."""
    common = {"sentence": "", "seconds": 0.1, "control": None, "statistics": None}
    return {"id": claim, "verdict": verdict, "measured": measured, "bound": bound, "facts": facts} | common


GRID = """
[sweep]
claims = ["dynamics/every_concept_is_learned"]
drop = ["wide", "light_penalty"]
[model]
m = { values = [2, 4, 8, 16, 32, 64] }
[training]
lam = { from = 1e-4, to = 1e-2, scale = "log", count = 5 }
[ensemble]
seed = { from = 0, to = 3, count = 4 }
"""
LAM = (1e-4, 0.000316227766017, 1e-3, 0.00316227766017, 1e-2)
WIDTHS = (2, 4, 8, 16, 32, 64)


def write_sweep(
    folder: Path,
    points: Sequence[dict[str, Any]],
    records: Callable[[Regime], list[Record]],
    *,
    text: str = GRID,
    total: int = 0,
) -> Path:
    """The folder of a sweep with these points (values of regime keys each) and what `records` says of each."""
    file = tomllib.loads(text)
    sweep, *_ = file.pop("sweep"), file.pop("let", {}), file.pop("theory", "")
    varied = [key for keys in file.values() for key, value in keys.items() if isinstance(value, dict)]
    varied.sort(key=lambda key: "formula" in file[KEYS[key].table][key])
    plan = {"varied": varied, "drop": sweep.get("drop", []), "points": total or len(points)}

    def rows() -> Iterator[dict[str, Any]]:
        for number, keys in enumerate(points):
            sections: dict[str, dict[str, Any]] = {}
            for key, value in keys.items():
                sections.setdefault(KEYS[key].table, {})[key] = value
            regime = Regime().replace(**sections)
            outcome = {"regime": regime.model_dump(mode="json"), "records": records(regime), "quarantined": False}
            yield from rows_of(number, f"{number:064x}", outcome, KEYS, code="0" * 64)

    metadata = {"polyseme.grid": text, "polyseme.plan": json.dumps(plan)}
    write_table(folder / "results.parquet", rows(), metadata, Regime)
    return folder


def read_sweep(folder: Path, keys=KEYS) -> mapped.Swept:
    """What the table of such a folder says."""
    return mapped.read_sweep(folder, keys)


def over_grid(**values: Sequence[Any]) -> list[dict[str, Any]]:
    """Every combination."""
    return [dict(zip(values, each, strict=True)) for each in product(*values.values())]


def every_verdict(regime: Regime) -> list[Record]:
    """All six verdicts over WIDTHS and LAM, some cells mixed, one inconclusive throughout, one with nothing that applies."""
    m, lam, seed = regime.model.m, regime.training.lam, regime.ensemble.seed
    verdict = "supported" if m * lam < 0.02 and seed < m else "refuted"
    if m == 16 and lam > 1e-3:
        verdict = "inconclusive"
    if m == 8 and lam > 1e-3 and seed == 1:
        verdict = "inconclusive"
    if m == 64 and lam > 5e-3:
        verdict = "not_applicable"
    if m == 4 and lam < 2e-4 and seed == 0:
        verdict = "missing"
    if m == 2 and lam < 2e-4:
        verdict = "error"
    if verdict in ("supported", "refuted"):
        margin = m * lam / 0.02
        return [
            a_record(LEARNED, verdict, margin, 1.0, share_learned=1.0 if verdict == "supported" else 0.25, word="x")
        ]
    return [a_record(LEARNED, verdict)]
