"""Hypotheses that claims share, as predicates on the regime."""

import math

from polyseme.checks.core.claim import Hypothesis
from polyseme.theory.multi_concept.derivation.noisy_rows import MOST_EXTRAS, MOST_NOISE, expected_extras
from polyseme.theory.multi_concept.regime import Regime

PURE = Hypothesis(
    key="pure",
    name="pure prompts: p_extra = sigma_x = sigma_y = 0",
    holds=lambda regime: regime.prompt.is_pure,
    got=lambda regime: ", ".join(
        f"{key} = {getattr(regime.prompt, key):g}" for key in ("p_extra", "sigma_x", "sigma_y")
    ),
    suggests={"prompt": {"p_extra": (0.0,), "sigma_x": (0.0,), "sigma_y": (0.0,)}},
)


def _first_decay(regime: Regime) -> float:
    """eta_0 lam, the share of the weights that the first update removes."""
    training = regime.training
    return 2 / training.gamma if training.schedule == "inverse" else training.eta * training.lam


PENALISED = Hypothesis(
    key="penalised",
    name="an L2 penalty that float64 can see: eta_0 lam >= 1e-8",
    holds=lambda regime: _first_decay(regime) >= 1e-8,
    got=lambda regime: f"eta_0 lam = {_first_decay(regime):.2g}",
)


def _forgotten(regime: Regime) -> float:
    """lam sum_t eta_t over the run (an integral of the inverse schedule): the start fades as exp of minus this."""
    training = regime.training
    if training.schedule == "inverse":
        return 2 * math.log1p(training.steps / training.gamma)
    return training.lam * training.eta * training.steps


GENTLE = Hypothesis(
    key="gentle",
    name="the penalty leaves the start above round-off: eta_0 lam <= 1/2 and lam sum_t eta_t <= 12",
    holds=lambda regime: _first_decay(regime) <= 0.5 and _forgotten(regime) <= 12,
    got=lambda regime: f"eta_0 lam = {_first_decay(regime):.2g}, lam sum_t eta_t = {_forgotten(regime):.3g}",
)

DISTINCT = Hypothesis(
    key="distinct",
    name="float64 can tell the features of a concept apart: kappa_x, kappa_y <= 0.9999",
    holds=lambda regime: max(regime.concepts.kappa_x, regime.concepts.kappa_y) <= 0.9999,
    got=lambda regime: f"kappa_x = {regime.concepts.kappa_x:.10g}, kappa_y = {regime.concepts.kappa_y:.10g}",
)

LOW_NOISE = Hypothesis(
    key="low_noise",
    name=f"low noise: sigma_x, sigma_y <= {MOST_NOISE:g}",
    holds=lambda regime: max(regime.prompt.sigma_x, regime.prompt.sigma_y) <= MOST_NOISE,
    got=lambda regime: f"sigma_x = {regime.prompt.sigma_x:g}, sigma_y = {regime.prompt.sigma_y:g}",
    suggests={"prompt": {"sigma_x": (0.0, 0.02, 0.05, 0.1), "sigma_y": (0.0, 0.02, 0.05, 0.1)}},
)

FEW_EXTRAS = Hypothesis(
    key="few_extras",
    name=f"few other concepts in a prompt: (L + 1)(K1 - 1) p_extra <= {MOST_EXTRAS:g}",
    holds=lambda regime: expected_extras(regime) <= MOST_EXTRAS,
    got=lambda regime: f"(L + 1)(K1 - 1) p_extra = {expected_extras(regime):.3g}",
    suggests={"prompt": {"p_extra": (0.0, 0.01, 0.02)}},
)

SOMETHING_OUTSIDE = Hypothesis(
    key="something_outside",
    name="a direction outside all concepts: d_x > 2 K1 or d_y > 2 K1",
    holds=lambda regime: max(regime.concepts.d_x, regime.concepts.d_y) > 2 * regime.concepts.K1,
    got=lambda regime: f"d_x = {regime.concepts.d_x}, d_y = {regime.concepts.d_y}, K1 = {regime.concepts.K1}",
)

FAIR = Hypothesis(
    key="fair",
    name="fair signs: p_plus = 1/2",
    holds=lambda regime: regime.prompt.p_plus == 0.5,
    got=lambda regime: f"p_plus = {regime.prompt.p_plus:g}",
    suggests={"prompt": {"p_plus": (0.5,)}},
)

TAME_LOSS = Hypothesis(
    key="tame_loss",
    name="gradients of single prompts have a spread that sampling can resolve: loss logistic or squared",
    holds=lambda regime: regime.training.loss != "exponential",
    got=lambda regime: f"loss = {regime.training.loss}",
)

KINKED = Hypothesis(
    key="gates",
    name="neurons have gates: activation relu or leaky_relu",
    holds=lambda regime: regime.model.activation != "identity",
    got=lambda regime: f"activation = {regime.model.activation}",
    suggests={"model": {"activation": ("relu", "leaky_relu")}},
)

EVEN_WIDTH = Hypothesis(
    key="even_width",
    name="neurons can be paired: m even",
    holds=lambda regime: regime.model.m % 2 == 0,
    got=lambda regime: f"m = {regime.model.m}",
    suggests={"model": {"m": (2, 4, 6, 8, 16, 24)}},
)

MIRRORED = Hypothesis(
    key="mirrored",
    name="neurons start in mirrored pairs",
    holds=lambda regime: regime.model.neurons == "mirrored",
    got=lambda regime: f"neurons = {regime.model.neurons}",
    arranged={"model": {"neurons": "mirrored"}},
)

GENERIC = Hypothesis(
    key="generic",
    name="level S does not hold, so cross blocks live: neurons = independent, or p_plus other than 1/2",
    holds=lambda regime: regime.model.neurons != "mirrored" or regime.prompt.p_plus != 0.5,
    got=lambda regime: f"neurons = {regime.model.neurons}, p_plus = {regime.prompt.p_plus:g}",
    suggests={"model": {"neurons": ("independent",)}},
)

ATTENTION_STARTS = Hypothesis(
    key="attention_starts",
    name="attention can learn: sigma_0 > 0",
    holds=lambda regime: regime.model.sigma_0 > 0,
    got=lambda regime: f"sigma_0 = {regime.model.sigma_0:g}",
    suggests={"model": {"sigma_0": (0.1, 0.3, 1.0)}},
)

MLP_STARTS = Hypothesis(
    key="mlp_starts",
    name="neurons start apart: sigma_1 > 0",
    holds=lambda regime: regime.model.sigma_1 > 0,
    got=lambda regime: f"sigma_1 = {regime.model.sigma_1:g}",
    suggests={"model": {"sigma_1": (0.1, 0.3, 1.0)}},
)

TRAINS = Hypothesis(
    key="trains",
    name="there are updates: steps >= 1",
    holds=lambda regime: regime.training.steps >= 1,
    got=lambda regime: f"steps = {regime.training.steps}",
    suggests={"training": {"steps": (1, 2, 5, 10, 20, 50, 100, 200)}},
)

MINIBATCHES = Hypothesis(
    key="minibatches",
    name="SGD: batch is a number",
    holds=lambda regime: regime.training.batch != "population",
    got=lambda regime: f"batch = {regime.training.batch}",
    suggests={"training": {"batch": (8, 16, 4, 32)}},
)

SEVERAL_DEMONSTRATIONS = Hypothesis(
    key="several_demonstrations",
    name="signs can be mixed: L >= 2",
    holds=lambda regime: regime.prompt.L >= 2,
    got=lambda regime: f"L = {regime.prompt.L}",
    suggests={"prompt": {"L": (2, 3, 4, 5, 6)}},
)

FEW_DEMONSTRATIONS = Hypothesis(
    key="few_demonstrations",
    name="a prompt without a match is not too rare to be missed: L <= 5",
    holds=lambda regime: regime.prompt.L <= 5,
    got=lambda regime: f"L = {regime.prompt.L}",
)

MATCHED = Hypothesis(
    key="matched",
    name="every prompt has a demonstration that shares the query's sign: law = match",
    holds=lambda regime: regime.prompt.law == "match",
    got=lambda regime: f"law = {regime.prompt.law}",
    suggests={"prompt": {"law": ("match",)}},
)

LOGISTIC_RELU = Hypothesis(
    key="logistic_relu",
    name="logistic loss and ReLU neurons",
    holds=lambda regime: regime.training.loss == "logistic" and regime.model.activation == "relu",
    got=lambda regime: f"loss = {regime.training.loss}, activation = {regime.model.activation}",
    suggests={"training": {"loss": ("logistic",)}, "model": {"activation": ("relu",)}},
)

NO_GATES = Hypothesis(
    key="no_gates",
    name="neurons are linear: activation = identity",
    holds=lambda regime: regime.model.activation == "identity",
    got=lambda regime: f"activation = {regime.model.activation}",
    suggests={"model": {"activation": ("identity",)}},
)
