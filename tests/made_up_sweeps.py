"""Tables of sweeps whose outcomes are made up, written as `polyseme sweep` writes them."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from checks.sweeps.folder import TABLE
from checks.sweeps.table import rows_of, write_table
from theory.setting import Regime

FORESEEN, BY_SGD = "dynamics/concepts_learned_are_those_foreseen", "dynamics/sgd_learns_every_concept"
Outcome = tuple[str, dict[str, Any]]
"""A verdict and its facts."""


def write_sweep(
    folder: Path, regimes: Iterable[Regime], outcome: Callable[[Regime], Outcome], *, claim: str = FORESEEN
) -> Path:
    """The folder of a sweep of one claim."""
    rows = []
    for number, regime in enumerate(regimes):
        verdict, facts = outcome(regime)
        empty = {"sentence": "", "measured": None, "bound": None, "seconds": 0.1, "twin": "refuted", "statistics": None}
        record = {"id": claim, "verdict": verdict, "facts": facts, **empty}
        kept = {"regime": regime.model_dump(mode="json"), "records": [record], "aside": False}
        rows += list(rows_of(number, f"{number:064x}", kept, code="c" * 64))
    plan = {"source": f"/some/where/{folder.name}.toml", "points": len(rows), "code": "c" * 64}
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / TABLE, iter(rows), {"polyseme.plan": json.dumps(plan), "polyseme.grid": ""})
    return folder


def fates(learned: int, concepts: int, *, foreseen: int | None = None, ratio: float = 0.01) -> Outcome:
    """What the claim about which concepts are learned says, with so many of them."""
    expected = learned if foreseen is None else foreseen
    facts = {
        "share learned": learned / concepts,
        "all learned": int(learned == concepts),
        "learned though not foreseen": max(learned - expected, 0),
        "foreseen and not learned": max(expected - learned, 0),
        "lam over typical lam_c": ratio,
    }
    return ("supported" if learned == expected else "refuted"), facts
