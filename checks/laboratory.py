"""What the simulation is asked for, once each: the only door from checks to sim (and so to torch).

sim is imported inside the methods, so that importing checks, listing claims or printing a help text loads no
torch. Every method returns NumPy arrays with the names of THEORY.md section 8.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from theory.setting import Regime

Arrays = dict[str, np.ndarray]

# Long enough to pass through the escape from the initial plateau and into saturation at the shipped regimes.
POPULATION_STEPS = 2000
STOCHASTIC_STEPS = 500
# Pure prompts alone have exact expectations.
PURE = {"p_extra": 0.0, "sigma_x": 0.0, "sigma_y": 0.0}


class Laboratory:
    """Runs and probes of one regime, cached."""

    def __init__(self, regime: Regime) -> None:
        """Nothing is run until it is asked for."""
        self.regime = regime

    @cached_property
    def one(self) -> Regime:
        """The regime with a single member, in float64 on the CPU: where claims about single runs are judged."""
        return self.regime.replace(ensemble={"seeds": 1, "dtype": "float64", "device": "cpu"})

    @cached_property
    def initial(self) -> Arrays:
        """The first member's initial state."""
        from sim.initial import draw_initial

        return draw_initial(self.one)

    @cached_property
    def mirrored_initial(self) -> Arrays:
        """The first member's initial state with its neurons in mirrored pairs (level S)."""
        from sim.initial import mirrored

        return mirrored(self.initial)

    @cached_property
    def population_regime(self) -> Regime:
        """Exact population descent, at most POPULATION_STEPS long, recorded fifty times."""
        steps = min(self.regime.training.steps, POPULATION_STEPS)
        training = {"batch": "population", "steps": steps, "record_every": max(1, steps // 50)}
        return self.one.replace(training=training)

    @cached_property
    def population_run(self) -> Arrays:
        """The full model under exact population descent from `initial`, with its final weights."""
        return self._simulate(self.population_regime, self.initial, final=True)

    @cached_property
    def mirrored_run(self) -> Arrays:
        """The same from mirrored neurons."""
        return self._simulate(self.population_regime, self.mirrored_initial, final=True)

    @cached_property
    def stochastic_regime(self) -> Regime:
        """A short minibatch run whose prompts are kept as counts."""
        batch = self.regime.training.batch
        training = {
            "batch": 16 if batch == "population" else batch,
            "steps": min(self.regime.training.steps, STOCHASTIC_STEPS),
            "record_every": 10,
        }
        return self.one.replace(training=training)

    @cached_property
    def stochastic_run(self) -> Arrays:
        """SGD of the full model, with the counts of the prompts it was fed."""
        return self._simulate(self.stochastic_regime, self.initial, counts=True)

    def _simulate(self, regime: Regime, initial: Arrays, *, final: bool = False, counts: bool = False) -> Arrays:
        from sim.train import simulate

        return simulate(regime, initial, keep_final=final, keep_counts=counts)

    def population_gradient(self, weights: Mapping[str, np.ndarray]) -> Arrays:
        """Autograd gradient of the exact expected loss, projected on the level-B coefficients."""
        from sim import probe

        gradient = probe.population_gradient(self.one, dict(weights))
        return probe.project(weights["M"], weights["Q"], {name: gradient[name] for name in ("W_Q", "W_K", "W_O")})

    def minibatch_gradients(self, weights: Mapping[str, np.ndarray], *, batches: int, batch: int) -> Arrays:
        """Independent minibatch gradients at fixed weights, projected; a leading axis of length `batches`."""
        from sim.probe import minibatch_gradients

        return minibatch_gradients(self.one, dict(weights), batches=batches, batch=batch)

    def autograd(self, weights: Mapping[str, np.ndarray], prompts: Mapping[str, np.ndarray]) -> Arrays:
        """Autograd gradient of the mean loss over given prompts."""
        from sim.probe import prompt_gradients

        return prompt_gradients(dict(weights), dict(prompts))

    def prompts(self, regime: Regime, initial: Mapping[str, np.ndarray], *, count: int) -> Arrays:
        """A sample of prompts of any regime."""
        from sim.probe import sample_prompts

        return sample_prompts(regime, dict(initial), count=count)

    def draw(self, regime: Regime) -> Arrays:
        """A random initial state of any regime."""
        from sim.initial import draw_initial

        return draw_initial(regime)

    def versions(self) -> dict[str, Any]:
        """Versions and device of the simulation."""
        from sim.probe import versions

        return versions()
