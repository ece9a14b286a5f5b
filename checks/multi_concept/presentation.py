"""What a verification of this theory shows besides its verdicts: the trained ensemble beside the theory, figures, equations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from polyseme.checks.core.claim import Claim
from polyseme.checks.core.provenance import Record
from polyseme.checks.core.theory import Equation, FigureEntry, Progress
from polyseme.checks.multi_concept.curves import Curves, level_of, noisy_curves, simulate_ensemble, theory_curves
from polyseme.checks.multi_concept.out_of_distribution.curves import (
    DEFAULT,
    OtherLaw,
    can_keep_weights,
    on_other_laws,
    thinned,
    without_weights,
)
from polyseme.checks.multi_concept.out_of_distribution.scenarios import scenario
from polyseme.checks.multi_concept.report_figures import report_figures
from polyseme.theory.multi_concept.article.notation import fates, notation
from polyseme.theory.multi_concept.article.show import definitions, equations, latex, text
from polyseme.theory.multi_concept.derivation.derive import Recursion, derive
from polyseme.theory.multi_concept.regime import Regime


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The curves of a trained ensemble with the theory beside them, the ensemble on other laws if claims are about these, and the recursion."""

    regime: Regime
    curves: Curves
    other_laws: Sequence[OtherLaw]
    recursion: Recursion

    @property
    def arrays(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        """simulation.npz and theory.npz."""
        return {"simulation": self.curves.simulation, "theory": self.curves.theory}

    @property
    def equations(self) -> list[Equation]:
        """The executed objects, printed."""
        return report_equations(self.recursion)

    @property
    def notation(self) -> Sequence[tuple[str, str]]:
        """The letters of the equations."""
        return notation(self.recursion)

    @property
    def blocks(self) -> list[tuple[str, str, str, str]]:
        """Matrix, kinds of blocks, whether they live, and why."""
        return _blocks(self.recursion)

    @property
    def blocks_caption(self) -> str:
        """What the letters of blocks are."""
        return "Rows of a block are directions of the first letter, columns of the second; a prime marks another concept or feature."

    def figures(self, records: Sequence[Record], out: Path, *, name: str) -> Iterator[FigureEntry]:
        """The figures of the trajectories and of what claims measured."""
        return report_figures(self.regime, self.curves, self.other_laws, records, out, name=name)


def present(regime: Regime, claims: Sequence[Claim], *, progress: Callable[[str], Progress]) -> Shown:
    """Train the regime's ensemble, integrate its theory, and test on other laws where claims are about those."""
    with_laws = any(claim.family == "ood" for claim in claims) and can_keep_weights(regime)
    initial, simulation = simulate_ensemble(regime, keep_weights=with_laws, progress=progress("train the full model"))
    level = level_of(regime, initial)
    integrated = noisy_curves if level == "N" else theory_curves
    theory = integrated(regime, initial, progress=progress(f"integrate level {level or 'B'}"))
    found: list[OtherLaw] = []
    if with_laws:
        laws = [scenario(each) for each in DEFAULT]
        found = on_other_laws(
            regime, initial, thinned(simulation), theory, laws, progress=progress("test on other laws")
        )
    return Shown(
        regime=regime,
        curves=Curves(simulation=without_weights(simulation), theory=theory, level=level),
        other_laws=found,
        recursion=_recursion(regime, level),
    )


def report_equations(recursion: Recursion) -> list[Equation]:
    """The executed objects, printed."""
    rows = [
        Equation(caption=f"definition of {text(name)}", latex=f"{latex(name)} = {latex(meaning)}")
        for name, meaning in definitions(recursion)
    ]
    return rows + [
        Equation(caption=f"update of {text(x)}", latex=rf"{latex(x)} \leftarrow {latex(right)}")
        for x, right in equations(recursion)
    ]


def _recursion(regime: Regime, level: Literal["B", "N"] | None) -> Recursion:
    """The recursion of the regime's loss and activation that the figure draws."""
    return derive(level or "B", loss=regime.training.loss, activation=regime.model.activation)


def _blocks(recursion: Recursion) -> list[tuple[str, str, str, str]]:
    """Matrix, kinds of blocks, whether they live, and why."""
    return [
        (
            matrix,
            ", ".join(f"{s}{t}" if len(s + t.rstrip("'")) == 2 else f"{s} {t}" for s, t in kinds),
            "yes" if lives else "no",
            reason,
        )
        for matrix, lives, kinds, reason in fates(recursion)
    ]
