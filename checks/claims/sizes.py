"""A claim about the number of demonstrations and the batch size (P8 of THEORY.md): what they cost."""

from collections.abc import Callable

import numpy as np

from checks.claim import Claim, Plan, WrongTwin
from checks.claims.error_curve import learnable
from checks.ensembles import Curve, Stream, error_curve, in_chunks
from checks.evidence import Counted, Evidence
from checks.laboratory import Laboratory
from checks.ledger import STATISTICS
from checks.rules.bound import UpperBound
from theory.coefficients import project
from theory.setting import Regime, parse_regime

# The regime of the error curve (THEORY.md section 6.5), with other L and B.
BASE = parse_regime(
    {
        "concepts": {"K1": 2, "K2": 0, "d_x": 6, "d_y": 6},
        "model": {"m": 16},
        "training": {"steps": 1200, "lam": 2e-4, "gamma": 4000.0},
    },
    source="sizes",
)
DEMONSTRATIONS = {"small": (1, 2, 4, 16), "full": (1, 2, 4, 8, 16, 64)}
BATCHES = (1, 8, 64, 256)
SEEDS = 256
MOST_LEFT, MOST_DONE = 0.1, 0.5

Expected = Callable[[int, int], bool | None]
"""Whether survivors with L demonstrations and batch B have learned by the end; None where nothing is said."""


def _expected(L: int, batch: int) -> bool | None:
    if L <= 4:
        return True
    return False if L >= 16 and batch <= 8 else None


def _always(L: int, batch: int) -> bool | None:
    del L, batch
    return True


def _curve(laboratory: Laboratory, L: int, batch: int) -> Curve:
    """Seeds from a start of L = 4 that population descent learns, with other prompts."""

    def run() -> Curve:
        of_four = laboratory.at(BASE.replace(prompt={"L": 4}))
        _, start = learnable(of_four)
        regime: Regime = BASE.replace(prompt={"L": L}, training={"batch": batch})
        chunks = in_chunks(
            regime, start["r"], project(start, 2), members=SEEDS, every=40, stream=Stream.GRID, number=(L, batch)
        )
        return error_curve(chunks)

    return laboratory.remembered(f"curve at L = {L}, B = {batch}", run)


def _grid(laboratory: Laboratory, expected: Expected) -> Evidence:
    rows, table = [], {}
    for L in DEMONSTRATIONS[laboratory.effort]:
        for batch in BATCHES:
            of = _curve(laboratory, L, batch)
            survives, wrong = ~of.extinct[-1], of.errors[-1] > 0
            error = of.excess.sum(axis=1) / max(1, survives.sum())
            below = np.flatnonzero(error <= 0.1)
            table[f"L = {L}, B = {batch}"] = {
                "share that goes extinct": float(1 - survives.mean()),
                "error of survivors at the end": float(error[-1]),
                "first record with an error of at most 0.1": int(of.steps[below[0]]) if len(below) else None,
            }
            if (learned := expected(L, batch)) is None:
                continue
            event, bound = (survives & wrong, MOST_LEFT) if learned else (survives & ~wrong, MOST_DONE)
            name = f"L = {L}, B = {batch}: survives and has {'not ' if learned else ''}learned"
            rows.append(Counted(name=name, hits=int(event.sum()), trials=SEEDS, bound=bound))
    return Evidence(rows=tuple(rows), facts={"seeds": SEEDS, "steps": BASE.training.steps, "grid": table})


RULE = UpperBound(
    reason="a tenth: within the run all but a few have learned; one half: most have not, which a law without requirements would not allow"
)


def _plan(laboratory: Laboratory) -> Plan:
    rows = sum(_expected(L, batch) is not None for L in DEMONSTRATIONS[laboratory.effort] for batch in BATCHES)
    return RULE.design_counts(bound=MOST_LEFT, truth=0.003, rows=rows, level=laboratory.level, samples=SEEDS)


SIZES = Claim(
    id="exponential/demonstrations_and_batch_set_how_long_it_takes",
    statement="In 1200 steps (K1 = 2, m = 16) survivors with up to 4 demonstrations have learned at every batch size from 1 to 256; with 16 "
    "and batches of up to 8 most have not. What `match` gives to the first steps, E[e ebar] = 1 / (2^L - 1) with even attention, is soon lost in "
    "the noise of small batches.",
    formula=r"\Pr(\text{not learned at } T \mid \text{survival}) \approx 0 \ (L \le 4),\quad > \tfrac12 \ (L = 16,\, B \le 8)",
    section="7",
    hypotheses=(),
    scope="any regime",
    asserts=lambda: _expected,
    measure=_grid,
    rule=RULE,
    plan=_plan,
    wrong_twin=WrongTwin(
        name="no requirement", statement="in every cell of the grid survivors have learned", asserts=lambda: _always
    ),
    rests_on=(STATISTICS,),
)

CLAIMS = (SIZES,)
