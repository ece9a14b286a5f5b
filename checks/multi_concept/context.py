"""What the simulation is asked for, once each: the only door from checks to sim (and so to torch).

sim is imported inside the methods, so that importing checks, listing claims or printing a help text loads no
torch. Every method returns NumPy arrays with the names of THEORY.md section 8.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np

from polyseme.checks.core.context import Context, read_only
from polyseme.theory.multi_concept.regime import Regime

Arrays = dict[str, np.ndarray]
Activation = Literal["relu", "leaky_relu", "identity"]
Loss = Literal["logistic", "squared", "exponential"]
Sampling = Literal["literal", "reduced", "words not projected", "labels not projected"]
# Long enough to pass through the escape from the initial plateau and into saturation at the shipped regimes.
POPULATION_STEPS = 2000
STOCHASTIC_STEPS = 500
STOCHASTIC_MEMBERS = 3
# Seeds of block states below this one belong to the drift claims.
DRIFT_SEEDS = 100
# Pure prompts alone have exact expectations.
PURE = {"p_extra": 0.0, "sigma_x": 0.0, "sigma_y": 0.0}


def _has_live_neuron(state: Arrays) -> bool:
    """Whether a neuron is open on both labels of a concept, and so on every mixture of them."""
    on_labels = state["W_O"] @ state["Q"]
    return bool((np.minimum(on_labels[:, 0::2], on_labels[:, 1::2]) > 0).any())


class TrainingContext(Context):
    """Runs and probes of the full model at one regime, cached; shared arrays are read-only."""

    regime: Regime

    @cached_property
    def one(self) -> Regime:
        """The regime with a single member, in float64 on the CPU, by autograd: where claims about single runs are judged."""
        plain = {"seeds": 1, "dtype": "float64", "device": "cpu", "engine": "autograd", "sampler": "literal"}
        return self.regime.replace(ensemble=plain)

    @cached_property
    def member(self) -> int:
        """The first of a hundred members that starts with a live neuron, mirrored or not; 0 if none does.

        With every neuron shut there is no gradient, and no check could tell a theory from its negative control.
        """
        from polyseme.sim.multi_concept.training.initial import mirrored

        for member in range(100):
            state = self.start_of(member)
            paired = [mirrored(state)] if self.regime.model.m % 2 == 0 else []
            if all(_has_live_neuron(start) for start in (state, *paired)):
                return member
        return 0

    def start_of(self, member: int) -> Arrays:
        """The initial state of one member of the ensemble."""
        from polyseme.sim.multi_concept.training.initial import draw_initial

        return draw_initial(self.one, first_member=member)

    @cached_property
    def initial(self) -> Arrays:
        """The initial state of that member, with random entries in every block that acts on nu and the rest.

        Level B asks nothing of those blocks: a pure word never meets them.
        """
        state = self.start_of(self.member)
        concepts = state["M"][:, : 2 * self.regime.concepts.K1]
        rest = np.eye(len(concepts)) - concepts @ np.linalg.pinv(concepts)
        rng = np.random.default_rng([self.regime.ensemble.seed, 1])
        scale = self.regime.model.sigma_0
        moved = {name: state[name] + scale * rng.standard_normal(state[name].shape) @ rest for name in ("W_Q", "W_K")}
        return read_only(state | moved)

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

    def block_state(self, seed: int, *, neurons: float = 1.0) -> Arrays:
        """`initial` with random blocks on each concept, every entry on and of order one, and random W_O of size `neurons`.

        The first neuron is lifted along every c_k, so that it is open and there is a drift to compare.
        """
        rng = np.random.default_rng([self.regime.ensemble.seed, seed])
        state, K1 = self.initial, self.regime.concepts.K1
        plus, minus = state["M"][:, 0 : 2 * K1 : 2], state["M"][:, 1 : 2 * K1 : 2]
        frame = np.stack([plus + minus, plus - minus], axis=-1)
        frame = frame / np.linalg.norm(frame, axis=0)  # (d_x, K1, 2): a^_k, b^_k
        rest = np.eye(len(frame)) - np.einsum("dks,eks->de", frame, frame)
        full = {
            name: np.einsum("dks,kst,ekt->de", frame, rng.normal(size=(K1, 2, 2)), frame) + state[name] @ rest
            for name in ("W_Q", "W_K")
        }
        W_O = rng.normal(size=state["W_O"].shape)
        W_O[0] += 3 * (state["Q"][:, 0::2] + state["Q"][:, 1::2]).sum(axis=1)
        return read_only(state | full | {"W_O": neurons * W_O})

    @cached_property
    def any_start(self) -> Arrays:
        """A block state with neurons small enough to leave the loss its slope at the start."""
        return self.block_state(DRIFT_SEEDS, neurons=0.3)

    @cached_property
    def any_start_run(self) -> Arrays:
        """The full model under exact population descent from `any_start`."""
        return self._simulate(self.population_regime, self.any_start)

    @cached_property
    def stochastic_regime(self) -> Regime:
        """A short minibatch run of a few members, whose prompts are kept as counts."""
        batch = self.regime.training.batch
        training = {
            "batch": 16 if batch == "population" else batch,
            "steps": min(self.regime.training.steps, STOCHASTIC_STEPS),
            "record_every": 10,
        }
        return self.one.replace(training=training, ensemble={"seeds": STOCHASTIC_MEMBERS})

    @cached_property
    def stochastic_initial(self) -> Arrays:
        """`initial`, and other members' W_O beside it."""
        state = self.initial
        others = [self.start_of(self.member + j)["W_O"] for j in range(1, STOCHASTIC_MEMBERS)]
        same = {name: np.stack([state[name]] * STOCHASTIC_MEMBERS) for name in ("W_Q", "W_K")}
        return read_only(state | same | {"W_O": np.stack([state["W_O"], *others])})

    @cached_property
    def stochastic_run(self) -> Arrays:
        """SGD of the full model, with the counts of the prompts it was fed."""
        return self._simulate(self.stochastic_regime, self.stochastic_initial, counts=True)

    def descend(self, regime: Regime) -> tuple[Arrays, Arrays]:
        """Exact population descent of the full model in any noise-free regime: the start, and the run with its end."""
        start = self.draw(regime)
        return start, self._simulate(regime, start, final=True)

    def _simulate(self, regime: Regime, initial: Arrays, *, final: bool = False, counts: bool = False) -> Arrays:
        from polyseme.sim.multi_concept.training.train import simulate

        return read_only(simulate(regime, initial, keep_final=final, keep_counts=counts))

    def population_gradient(self, weights: Mapping[str, np.ndarray]) -> Arrays:
        """Autograd gradient of the exact expected loss, projected on the level-B coefficients."""
        from polyseme.sim.multi_concept.measurements import probe

        gradient = probe.population_gradient(self.one, dict(weights))
        return probe.project(weights["M"], weights["Q"], {name: gradient[name] for name in ("W_Q", "W_K", "W_O")})

    def minibatch_gradients(
        self, weights: Mapping[str, np.ndarray], *, batches: int, batch: int, stream: int
    ) -> Arrays:
        """Independent minibatch gradients at fixed weights, projected; a leading axis of length `batches`.

        Another `stream` gives independent ones.
        """
        from polyseme.sim.multi_concept.measurements.probe import minibatch_gradients

        return minibatch_gradients(self.one, dict(weights), batches=batches, batch=batch, seed_offset=stream)

    def autograd(
        self,
        weights: Mapping[str, np.ndarray],
        prompts: Mapping[str, np.ndarray],
        *,
        activation: Activation = "relu",
        loss: Loss = "logistic",
    ) -> Arrays:
        """Autograd gradient of the mean loss over given prompts."""
        from polyseme.sim.multi_concept.measurements.probe import prompt_gradients

        return prompt_gradients(dict(weights), dict(prompts), activation=activation, loss=loss)

    def forward(
        self, weights: Mapping[str, np.ndarray], prompts: Mapping[str, np.ndarray], *, activation: Activation = "relu"
    ) -> tuple[np.ndarray, np.ndarray]:
        """The full model on given prompts: its outputs f (B,) and attention weights (B, L)."""
        from polyseme.sim.multi_concept.measurements.probe import forward_pass

        return forward_pass(dict(weights), dict(prompts), activation=activation)

    def train(self, regime: Regime, initial: Mapping[str, np.ndarray]) -> Arrays:
        """The full model trained as a regime says from a given start, with its final weights."""
        return self._simulate(regime, dict(initial), final=True)

    def train_counted(self, regime: Regime, initial: Mapping[str, np.ndarray]) -> Arrays:
        """The same with the counts of the prompts of every step."""
        return self._simulate(regime, dict(initial), counts=True)

    def gradients_of_both_engines(self, regime: Regime, state: Arrays) -> tuple[Arrays, Arrays]:
        """Gradients on the same prompts: by the fast step, and by autograd of the model written out."""
        from polyseme.sim.multi_concept.measurements.laws import gradients_of_both_engines

        return gradients_of_both_engines(regime, state)

    def order_parameters(self, regime: Regime, state: Arrays, sampling: Sampling) -> Arrays:
        """Numbers that describe a short run, one of each for every member, with prompts from a sampler."""
        from polyseme.sim.multi_concept.measurements.laws import order_parameters

        return order_parameters(regime, state, sampling=sampling)

    def noisy_drifts(self, regime: Regime, state: Arrays, *, batches: int, pairs: int, first: int = 0) -> Arrays:
        """Unbiased estimates of the full model's expected gradient under noise, and of the mean of e f: a leading axis."""
        from polyseme.sim.multi_concept.measurements.drift import noisy_drifts

        return noisy_drifts(regime, state, batches=batches, pairs=pairs, first=first)

    def noisy_descent(
        self, regime: Regime, initial: Arrays, *, members: int, pairs: int, late_pairs: int, late_from: int
    ) -> Arrays:
        """The full model's final weights after descent along such estimates, for each member."""
        from polyseme.sim.multi_concept.measurements.drift import noisy_descent

        draws = {"pairs": pairs, "late_pairs": late_pairs, "late_from": late_from}
        return noisy_descent(regime, initial, members=members, **draws)

    def projected(self, state: Arrays, weights: Arrays) -> Arrays:
        """The coefficients of level B of weights or gradients with leading axes."""
        from polyseme.sim.multi_concept.measurements.probe import project

        return project(state["M"], state["Q"], weights)

    def outcome_of(self, regime: Regime, start: Arrays, weights: Arrays, *, count: int) -> Arrays:
        """Mean of e f, loss and correct attention weight of each member over `count` fresh prompts of its own."""
        from polyseme.sim.multi_concept.measurements.probe import fresh_outcomes

        return fresh_outcomes(regime, start, weights, count=count)

    def population_gradient_of(self, regime: Regime, weights: Arrays) -> Arrays:
        """Autograd gradient of the exact expected loss of any noise-free regime, in full W_Q, W_K and W_O."""
        from polyseme.sim.multi_concept.measurements.probe import population_gradient

        return population_gradient(regime, dict(weights))

    def prompt_counts(self, count: int) -> np.ndarray:
        """How many of `count` pure prompts drawn from the law fall on (k, e, n+): (K1, 2, L + 1), e = +1 first.

        Drawn by the simulation's own sampler, from a stream that no training uses.
        """
        from polyseme.sim.ensemble.streams import Purpose
        from polyseme.sim.multi_concept.prompts.draws import PromptStream

        stream = PromptStream(self.one.replace(prompt=PURE), purpose=Purpose.SAMPLE, members=range(1), batch=count)
        drawn = stream.draw(1)
        shape = (self.one.concepts.K1, 2, self.one.prompt.L + 1)
        concept, e, signs = (x.numpy() for x in (drawn.concept, drawn.e, drawn.signs))
        cells = (concept, (e < 0).astype(int), (signs > 0).sum(axis=-1))
        return np.bincount(np.ravel_multi_index(cells, shape).ravel(), minlength=int(np.prod(shape))).reshape(shape)

    def prompts(self, regime: Regime, initial: Mapping[str, np.ndarray], *, count: int, stream: int = 0) -> Arrays:
        """A sample of prompts of any regime; another `stream` gives independent ones."""
        from polyseme.sim.multi_concept.measurements.probe import sample_prompts

        return sample_prompts(regime, dict(initial), count=count, seed_offset=stream)

    def counted_outcomes(self, law: Regime, weights: Mapping[str, np.ndarray], M: np.ndarray, Q: np.ndarray) -> Arrays:
        """The full model on every pure prompt (k, e, n+) of another law: f, attention and the probability of each."""
        from polyseme.sim.multi_concept.measurements.out_of_distribution import counted_outcomes

        return counted_outcomes(law, weights, M, Q)

    def outcomes_at(
        self,
        law: Regime,
        weights: Mapping[str, np.ndarray],
        M: np.ndarray,
        Q: np.ndarray,
        *,
        concept: np.ndarray,
        e: np.ndarray,
        positive: np.ndarray,
    ) -> Arrays:
        """The full model on chosen pure prompts of another law: f and attention."""
        from polyseme.sim.multi_concept.measurements.out_of_distribution import outcomes_at

        return outcomes_at(law, weights, M, Q, concept=concept, e=e, positive=positive)

    def sampled_outcomes(
        self, law: Regime, weights: Mapping[str, np.ndarray], M: np.ndarray, Q: np.ndarray, *, count: int
    ) -> Arrays:
        """The full model on prompts drawn from another law: e f and attention of each."""
        from polyseme.sim.multi_concept.measurements.out_of_distribution import sampled_outcomes

        return sampled_outcomes(law, weights, M, Q, count=count)

    def draw(self, regime: Regime) -> Arrays:
        """A random initial state of any regime."""
        from polyseme.sim.multi_concept.training.initial import draw_initial

        return draw_initial(regime)

    def versions(self) -> dict[str, Any]:
        """Versions and device of the simulation."""
        from polyseme.sim.multi_concept.measurements.probe import versions

        return versions()
