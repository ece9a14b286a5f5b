"""Tables of sweeps whose outcomes are made up, written as `polyseme sweep` writes them."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from polyseme.checks.core.sweeps.folder import TABLE
from polyseme.checks.core.sweeps.table import rows_of, write_table
from polyseme.theory.multi_concept.regime import Regime

PREDICTED, BY_SGD = "dynamics/concepts_learned_are_those_foreseen", "dynamics/sgd_learns_every_concept"
Outcome = tuple[str, dict[str, Any]]
"""A verdict and its facts."""


def write_sweep(
    folder: Path, regimes: Iterable[Regime], outcome: Callable[[Regime], Outcome], *, claim: str = PREDICTED
) -> Path:
    """The folder of a sweep of one claim."""
    rows = []
    for number, regime in enumerate(regimes):
        verdict, facts = outcome(regime)
        empty = {
            "sentence": "",
            "measured": None,
            "bound": None,
            "seconds": 0.1,
            "control": "refuted",
            "statistics": None,
        }
        record = {"id": claim, "verdict": verdict, "facts": facts, **empty}
        kept = {"regime": regime.model_dump(mode="json"), "records": [record], "quarantined": False}
        rows += list(rows_of(number, f"{number:064x}", kept, Regime.keys(), code="c" * 64))
    plan = {"source": f"/some/where/{folder.name}.toml", "points": len(rows), "code": "c" * 64}
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / TABLE, iter(rows), {"polyseme.plan": json.dumps(plan), "polyseme.grid": ""}, Regime)
    return folder


def fates(learned: int, concepts: int, *, predicted: int | None = None, ratio: float = 0.01) -> Outcome:
    """What the claim about which concepts are learned says, with so many of them."""
    expected = learned if predicted is None else predicted
    facts = {
        "share learned": learned / concepts,
        "all learned": int(learned == concepts),
        "learned though not predicted": max(learned - expected, 0),
        "predicted and not learned": max(expected - learned, 0),
        "lam over typical lam_c": ratio,
    }
    return ("supported" if learned == expected else "refuted"), facts
