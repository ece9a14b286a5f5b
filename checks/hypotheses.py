"""Hypotheses that claims share, as predicates on the regime."""

from checks.claim import Hypothesis

PURE = Hypothesis(
    name="pure prompts: p_extra = sigma_x = sigma_y = 0",
    holds=lambda regime: regime.prompt.is_pure,
    got=lambda regime: ", ".join(
        f"{key} = {getattr(regime.prompt, key):g}" for key in ("p_extra", "sigma_x", "sigma_y")
    ),
)

PENALISED = Hypothesis(
    name="an L2 penalty: lam > 0",
    holds=lambda regime: regime.training.lam > 0,
    got=lambda regime: f"lam = {regime.training.lam:g}",
)

EVEN_WIDTH = Hypothesis(
    name="neurons can be paired: m even",
    holds=lambda regime: regime.model.m % 2 == 0,
    got=lambda regime: f"m = {regime.model.m}",
)

ATTENTION_STARTS = Hypothesis(
    name="attention can learn: sigma_0 > 0",
    holds=lambda regime: regime.model.sigma_0 > 0,
    got=lambda regime: f"sigma_0 = {regime.model.sigma_0:g}",
)

MLP_STARTS = Hypothesis(
    name="neurons start apart: sigma_1 > 0",
    holds=lambda regime: regime.model.sigma_1 > 0,
    got=lambda regime: f"sigma_1 = {regime.model.sigma_1:g}",
)

TRAINS = Hypothesis(
    name="there are updates: steps >= 1",
    holds=lambda regime: regime.training.steps >= 1,
    got=lambda regime: f"steps = {regime.training.steps}",
)

SEVERAL_DEMONSTRATIONS = Hypothesis(
    name="signs can be mixed: L >= 2",
    holds=lambda regime: regime.prompt.L >= 2,
    got=lambda regime: f"L = {regime.prompt.L}",
)
