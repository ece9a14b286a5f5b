"""Training the full model in a folder that keeps it, so that it survives an interruption (`polyseme.sim.ensemble.run_folder`)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyseme.processes import cores
from polyseme.sim.ensemble.run_folder import SECONDS_BETWEEN_CHECKPOINTS, Arrays, Interrupted, Part, Plan, run_in_folder
from polyseme.theory.multi_concept.regime import Regime

__all__ = ["Interrupted", "train"]


def train(
    regime: Regime,
    start: Arrays,
    folder: Path,
    *,
    processes: int | None = None,
    save_every: float = SECONDS_BETWEEN_CHECKPOINTS,
    keep_weights: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Arrays:
    """Train the model of `regime` from `start`, or go on with what the folder holds of it; the trajectory of `simulate`.

    Chunks of members run in `processes` processes, by default one for each core if that is worth it. Every
    `save_every` seconds each is kept. `keep_weights` is that of `polyseme.sim.multi_concept.training.train.simulate`.
    PolysemeError if the folder holds another run, is at work, or cannot be written; Interrupted after Ctrl-C, once everything
    is kept.
    """
    from polyseme.sim.ensemble.device import is_on_gpu
    from polyseme.sim.multi_concept.plan import check_fits, members_in_process, takes_long
    from polyseme.sim.multi_concept.training.engine import means_of
    from polyseme.sim.multi_concept.training.train import chunks, joined

    on_gpu, means = is_on_gpu(regime.ensemble.device), means_of(regime)
    side_by_side = processes or (cores() if takes_long(regime) and not on_gpu else 1)
    together = members_in_process(regime, processes=side_by_side, on_gpu=on_gpu)
    at_once = min(side_by_side * together, regime.ensemble.seeds)
    check_fits(regime, keep_weights=keep_weights, together=at_once)

    def parts(at_most: int) -> list[Part]:
        return chunks(regime, start, at_most=at_most)

    options = {"weights at every record": keep_weights}
    plan = Plan(regime=regime, start=start, together=together, means=means, options=options)
    results = run_in_folder(
        folder,
        FullModel(regime=regime, keep_weights=keep_weights),
        plan,
        parts,
        processes=side_by_side,
        save_every=save_every,
        progress=progress,
    )
    return joined(regime, start, results)


@dataclass(frozen=True, kw_only=True)
class FullModel:
    """An `Ensemble` of full models of one regime; torch is imported in the process that trains them."""

    regime: Regime
    keep_weights: bool = False
    """Whether the weights at every record are kept, which changes no other number."""

    @property
    def steps(self) -> int:
        """How many updates a member has in all."""
        return self.regime.training.steps

    def begin(self, state: Arrays, members: range, kept: Arrays | None) -> Any:
        """A `Run` of members from their initial state, or from what it kept."""
        from polyseme.sim.multi_concept.training.train import Run

        return Run(self.regime, state, members=members, keep_weights=self.keep_weights, kept=kept)

    def recorded(self, kept: Arrays) -> Arrays:
        """The trajectory so far, with an ensemble axis, of what a `Run` kept."""
        from polyseme.sim.multi_concept.training.train import recorded

        return recorded(kept)
