"""Level B in random regimes, its drift and its runs, so that no verdict hangs on the numbers of one (THEORY.md section 4)."""

import dataclasses
from collections.abc import Callable

import numpy as np

from polyseme.checks.core.claim import Claim, NegativeControl, Part
from polyseme.checks.core.evidence import Evidence
from polyseme.checks.core.provenance import ROUND_OFF
from polyseme.checks.multi_concept import controls
from polyseme.checks.multi_concept.claims.closure.trajectories import POPULATION
from polyseme.checks.multi_concept.claims.gradient.gradient import POPULATION_DRIFT
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.controls import Theory
from polyseme.checks.multi_concept.sampling.regimes import of_pure_prompts
from polyseme.theory.multi_concept.numerics.lower import system_of

REGIMES, SEED, STEPS = 12, 20, 12


def _in_random_regimes(part: Part, *, seed: int, steps: int) -> Callable[[TrainingContext, Theory], Evidence]:
    """The measurement of a part about one regime, in REGIMES random ones."""

    def measure(context: TrainingContext, theory: Theory) -> Evidence:
        rng, rows, grid = np.random.default_rng(seed), [], []
        for number in range(REGIMES):
            regime = of_pure_prompts(rng, steps=steps)
            found = part.measure(context.at(regime), theory).rows
            rows += [dataclasses.replace(row, name=f"{row.name}, regime {number}") for row in found]
            sizes = f"K1={regime.concepts.K1} L={regime.prompt.L} m={regime.model.m} lam={regime.training.lam:.2g}"
            grid.append(f"{sizes} {regime.prompt.law}")
        return Evidence(rows=tuple(rows), facts={"regimes": grid, "steps": steps})

    return measure


EVERYWHERE = Claim(
    id="closure/level_b_holds_in_random_regimes",
    statement="In regimes of random sizes, overlaps, weights, signs and penalties the level-B drift equals the projected autograd gradient of the "
    "exact population risk, and exact population descent from random blocks follows level B for a dozen updates: a term that vanishes at "
    "the numbers of one regime does not hide.",
    formula=r"\partial_{W^{st}} R_B = \hat s^\top (\nabla_W R)\, \hat t,\qquad \hat s^\top W(t)\, \hat t = W^{st}_{B}(t)",
    section="4",
    scope="any regime",
    uses=(POPULATION_DRIFT.id, POPULATION.id),
    rests_on=(ROUND_OFF,),
    parts=(
        Part(
            name="drift",
            asserts=lambda: system_of,
            measure=_in_random_regimes(POPULATION_DRIFT.part(), seed=SEED, steps=0),
            rule=POPULATION_DRIFT.part().rule,
            controls=(
                NegativeControl(
                    name="kappa in the wrong place",
                    statement="n_c and n_d exchanged, which are equal where kappa_y = 0",
                    asserts=controls.compiled(controls.exchange_label_norms),
                ),
            ),
        ),
        Part(
            name="runs",
            asserts=lambda: system_of,
            measure=_in_random_regimes(POPULATION.part("from any blocks"), seed=SEED + 1, steps=STEPS),
            rule=POPULATION.part("from any blocks").rule,
            controls=(
                NegativeControl(
                    name="a penalty right at three values",
                    statement="lambda moved by a term that vanishes at lambda = 1/100, 1/1000 and 1/5000",
                    asserts=controls.penalty_right_at_three_values,
                ),
            ),
        ),
    ),
)


CLAIMS = (EVERYWHERE,)
