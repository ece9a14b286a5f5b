"""What tests of profiles share: sweeps over one key, with every verdict and margins of every kind."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sweep_tables import LEARNED, WIDTHS, Record, a_record, over_grid, write_sweep

from polyseme.theory.multi_concept.regime import Regime


def one_key(line: str, *, design: str = "", seeds: bool = True) -> str:
    """A GRID.toml over one key of [model] or [training], with seeds of its own."""
    section = "model" if line.startswith("m ") else "training"
    seed = "[ensemble]\nseed = { starts = 20 }\n" if seeds else ""
    claims = f'[sweep]\nclaims = ["{LEARNED}"]\ndrop = ["wide", "light_penalty"]\n'
    return f"{claims}{design}[{section}]\n{line}\n{seed}"


WIDTH = "m = { values = [2, 4, 8, 16, 32, 64] }"


def write_profile(
    folder: Path,
    records: "Callable[[Regime], list[Record]] | None" = None,
    *,
    seeds: Sequence[int] = range(20),
    total: int = 0,
) -> Path:
    """The folder of a sweep over the width."""
    points = over_grid(m=WIDTHS, seed=seeds)
    text = one_key(WIDTH, seeds=len(seeds) > 1)
    return write_sweep(folder, points, records or mixed, text=text, total=total or len(points))


def mixed(regime: Regime) -> list[Record]:
    """All six verdicts over WIDTHS and twenty seeds; at m = 64 nothing is decided. Margins of 0, infinite ones, and none."""
    m, seed = regime.model.m, regime.ensemble.seed
    verdict = "supported" if (seed * 7 + m) % 20 < m else "refuted"
    if m == 16 and seed % 3 == 0:
        verdict = "inconclusive"
    if m == 64:
        verdict = "not_applicable" if seed < 12 else "inconclusive"
    if m == 4 and seed == 0:
        verdict = "missing"
    if m == 2 and seed < 2:
        verdict = "error"
    if verdict not in ("supported", "refuted", "inconclusive"):
        return [a_record(LEARNED, verdict)]
    measured, allowed = a_margin(regime), 1.0
    if seed == 3 or (m == 32 and seed < 12):
        measured = 0.0
    if seed == 5:
        measured, allowed = 1.0, 0.0
    facts = {"share_learned": min(1.0, (seed + 1) / m), "growth": 3.0 * seed * m}
    return [a_record(LEARNED, verdict, abs(measured), allowed, **facts)]


def a_margin(regime: Regime) -> float:
    """A positive number, but for one seed."""
    m, seed = regime.model.m, regime.ensemble.seed
    return (-1 if seed == 1 else 1) * 0.02 * m * 1.13 ** ((seed * 13) % 20)
