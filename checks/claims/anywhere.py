"""The drift of level B in random regimes, so that no verdict hangs on the numbers of one (THEORY.md section 4)."""

import numpy as np

from checks import controls
from checks.claim import Claim, WrongTwin
from checks.claims.gradient import POPULATION_DRIFT
from checks.controls import Theory
from checks.evidence import Evidence
from checks.laboratory import Laboratory
from checks.ledger import ROUND_OFF
from theory.lower import system_of
from theory.setting import Regime

REGIMES, SEED = 12, 20


def random_regime(rng: np.random.Generator, *, steps: int = 3) -> Regime:
    """Random sizes and overlaps, uneven concepts and signs, both laws: every term on.

    L is 3 at least: with two demonstrations the half log-odds are 0 or infinite, and an error in their coefficient is none.
    """
    K1, K2 = int(rng.integers(1, 4)), int(rng.integers(0, 3))
    weights = rng.dirichlet(np.full(K1, 3.0))
    return Regime().replace(
        concepts={
            "K1": K1,
            "K2": K2,
            "d_x": 2 * K1 + K2 + int(rng.integers(0, 3)),
            "d_y": 2 * K1 + int(rng.integers(0, 3)),
            "kappa_x": float(rng.uniform(0, 0.9)),
            "kappa_y": float(rng.uniform(0, 0.9)),
            "weights": [float(x) for x in weights / weights.sum()],
        },
        prompt={
            "L": int(rng.integers(3, 7)),
            "law": str(rng.choice(["match", "iid"])),
            "p_plus": float(rng.uniform(0.2, 0.8)),
        },
        model={"m": int(rng.integers(2, 17)), "sigma_0": 0.3, "sigma_1": 0.5},
        training={"steps": steps, "batch": "population", "lam": 0.01, "gamma": 50.0, "record_every": 1},
        ensemble={"seeds": 1, "seed": int(rng.integers(2**31))},
    )


def _everywhere(laboratory: Laboratory, theory: Theory) -> Evidence:
    rng, rows, grid = np.random.default_rng(SEED), [], []
    for _ in range(REGIMES):
        regime = random_regime(rng)
        rows += POPULATION_DRIFT.measure(laboratory.at(regime), theory).rows
        grid.append(f"K1={regime.concepts.K1} L={regime.prompt.L} m={regime.model.m} {regime.prompt.law}")
    return Evidence(rows=tuple(rows), facts={"regimes": grid})


EVERYWHERE = Claim(
    id="gradient/level_b_drift_matches_autograd_in_random_regimes",
    statement="In regimes of random sizes, overlaps, weights and signs the level-B drift equals the projected autograd gradient of the "
    "exact population risk: a term that vanishes at the numbers of one regime does not hide.",
    formula=POPULATION_DRIFT.formula,
    section="4",
    scope="any regime",
    asserts=lambda: system_of,
    measure=_everywhere,
    rule=POPULATION_DRIFT.rule,
    wrong_twin=WrongTwin(
        name="kappa in the wrong place",
        statement="n_c and n_d exchanged, which are equal where kappa_y = 0",
        asserts=controls.compiled(controls.exchange_label_norms),
    ),
    uses=(POPULATION_DRIFT.id,),
    rests_on=(ROUND_OFF,),
)

CLAIMS = (EVERYWHERE,)
