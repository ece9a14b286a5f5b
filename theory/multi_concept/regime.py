"""The regime: every hypothesis of the theory, as validated numbers (docs/THEORY.md sections 1 and 8).

This is the problem statement, the one thing that `theory` and `sim` share. It holds no mathematics:
step sizes, prompt probabilities and dictionaries are written once on each side, so that the two sides
can be wrong independently.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from polyseme.errors import RegimeError
from polyseme.regime import LEAK, BaseRegime, Section, impossible, key, read_tables

NAME = "multi_concept"
"""How regime files name this theory."""


Real = Annotated[float, Field(allow_inf_nan=False)]
_OVERLAP = "a number in [0, 1), for example {} = 0.2"
# No machine holds more; without a limit, whole numbers too large for floating point would pass.
_MOST = 10**12
_AT_LEAST_ONE = "a whole number from 1 to 10^12, for example {} = {}"
_POSITIVE = "a number above 0, for example {} = {}"
_NOT_NEGATIVE = "a number of at least 0, for example {} = {}"


class Concepts(Section):
    """The dictionaries (section 1): sizes, overlaps and concept weights."""

    K1: int = key(
        2,
        "number of concepts",
        _AT_LEAST_ONE.format("K1", 2),
        ge=1,
        le=_MOST,
        label="number of concepts",
        symbol=r"$K_1$",
        role="size",
    )
    K2: int = key(
        2,
        "number of task-irrelevant features",
        "a whole number from 0 to 10^12, for example K2 = 2",
        ge=0,
        le=_MOST,
        label="number of irrelevant features",
        symbol=r"$K_2$",
        role="size",
    )
    d_x: int = key(
        16,
        "word dimension",
        "a whole number from 2 K1 + K2 to 10^12, for example d_x = 16",
        ge=2,
        le=_MOST,
        label="word dimension",
        symbol=r"$d_x$",
        role="size",
    )
    d_y: int = key(
        12,
        "label dimension",
        "a whole number from 2 K1 to 10^12, for example d_y = 12",
        ge=2,
        le=_MOST,
        label="label dimension",
        symbol=r"$d_y$",
        role="size",
    )
    kappa_x: Real = key(
        0.2,
        "overlap <mu_k^+, mu_k^-> of the two words of a concept",
        _OVERLAP.format("kappa_x"),
        ge=0,
        lt=1,
        label="overlap of words",
        symbol=r"$\kappa_x$",
    )
    kappa_y: Real = key(
        0.3,
        "overlap <q_k^+, q_k^-> of the two labels of a concept",
        _OVERLAP.format("kappa_y"),
        ge=0,
        lt=1,
        label="overlap of labels",
        symbol=r"$\kappa_y$",
    )
    weights: Annotated[
        tuple[Annotated[Real, Field(ge=0)], ...] | None,
        BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    ] = key(
        None,
        "probability pi_k of each concept; uniform when absent",
        "K1 probabilities that sum to 1, for example weights = [0.75, 0.25]",
        label="weights of concepts",
        symbol=r"$\pi$",
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> "Concepts":
        if self.d_x < (least := 2 * self.K1 + self.K2):
            raise impossible("d_x", self.d_x, f"at least 2 K1 + K2 = {least}; type d_x = {least} or more")
        if self.d_y < (least := 2 * self.K1):
            raise impossible("d_y", self.d_y, f"at least 2 K1 = {least}; type d_y = {least} or more")
        if self.weights is not None:
            if len(self.weights) != self.K1:
                raise impossible(
                    "weights",
                    list(self.weights),
                    f"one probability per concept; type K1 = {self.K1} of them, not {len(self.weights)}",
                )
            total = math.fsum(self.weights)
            # A probability typed with nine or more digits sums to 1 within this; a forgotten one does not.
            if abs(total - 1) > 1e-9:
                raise impossible(
                    "weights",
                    list(self.weights),
                    f"probabilities that sum to 1, and these sum to {total:.10g}; type each divided by that",
                )
        return self

    @property
    def probabilities(self) -> tuple[float, ...]:
        """pi_k, uniform when `weights` is absent; length K1."""
        return self.weights if self.weights is not None else (1 / self.K1,) * self.K1


class Prompt(Section):
    """The prompt law (section 1)."""

    L: int = key(
        4,
        "number of demonstrations",
        _AT_LEAST_ONE.format("L", 4),
        ge=1,
        le=_MOST,
        label="number of demonstrations",
        symbol=r"$L$",
        role="size",
    )
    law: Literal["match", "iid"] = key(
        "match",
        "condition on a demonstration that shares the query's sign, or not",
        "'match' or 'iid', for example law = 'match'",
        label="prompt law",
    )
    p_plus: Real = key(
        0.5,
        "probability that a sign is +1: of the query's label, of each demonstration, of each extra concept",
        "a probability strictly between 0 and 1, for example p_plus = 0.5, which makes signs fair",
        gt=0,
        lt=1,
        label="probability of a positive sign",
        symbol=r"$p_+$",
    )
    p_extra: Real = key(
        0.0,
        "probability of each other concept and of each irrelevant feature in a word",
        "a probability in [0, 1], for example p_extra = 0.1",
        ge=0,
        le=1,
        label="probability of other features",
        symbol=r"$p_{\mathrm{extra}}$",
    )
    sigma_x: Real = key(
        0.0,
        "standard deviation of the noise on words",
        _NOT_NEGATIVE.format("sigma_x", 0.05),
        ge=0,
        label="noise on words",
        symbol=r"$\sigma_x$",
    )
    sigma_y: Real = key(
        0.0,
        "standard deviation of the noise on labels",
        _NOT_NEGATIVE.format("sigma_y", 0.05),
        ge=0,
        label="noise on labels",
        symbol=r"$\sigma_y$",
    )

    @property
    def is_pure(self) -> bool:
        """A pure prompt has no extra concepts and no noise (section 1)."""
        return self.p_extra == 0 and self.is_noise_free

    @property
    def is_noise_free(self) -> bool:
        """Whether words and labels carry no Gaussian noise."""
        return self.sigma_x == self.sigma_y == 0


class Model(Section):
    """Width, activation and init scales (section 1)."""

    m: int = key(
        16,
        "number of hidden neurons",
        _AT_LEAST_ONE.format("m", 16),
        ge=1,
        le=_MOST,
        label="width",
        symbol=r"$m$",
        role="size",
    )
    activation: Literal["relu", "leaky_relu", "identity"] = key(
        "relu",
        f"activation of the MLP; the leaky ReLU has slope {LEAK} below zero",
        "'relu', 'leaky_relu' or 'identity', for example activation = 'relu'",
        label="activation",
    )
    neurons: Literal["independent", "mirrored"] = key(
        "independent",
        "how neurons start: each on its own, or in mirrored pairs (r, alpha, beta) and (-r, alpha, -beta), which takes m even",
        "'independent' or 'mirrored', for example neurons = 'mirrored'",
        label="start of neurons",
    )
    sigma_0: Real = key(
        0.1,
        "W_Q = W_K = sigma_0 I at the start",
        _NOT_NEGATIVE.format("sigma_0", 0.1),
        ge=0,
        label="size of attention at the start",
        symbol=r"$\sigma_0$",
    )
    sigma_1: Real = key(
        0.1,
        "standard deviation of the entries of W_O at the start",
        _NOT_NEGATIVE.format("sigma_1", 0.1),
        ge=0,
        label="size of neurons at the start",
        symbol=r"$\sigma_1$",
    )

    @model_validator(mode="after")
    def _pairs_fit(self) -> "Model":
        if self.neurons == "mirrored" and self.m % 2:
            raise impossible("m", self.m, f"an even number with neurons = 'mirrored'; type m = {self.m + 1}")
        return self


class Training(Section):
    """Online SGD or exact population descent (section 1)."""

    steps: int = key(
        1000,
        "number of updates",
        "a whole number from 0 to 10^12, for example steps = 1000",
        ge=0,
        le=_MOST,
        label="number of updates",
        symbol=r"$T$",
        role="size",
    )
    batch: Literal["population"] | Annotated[int, Field(ge=1, le=_MOST)] = key(
        16,
        "prompts per update, or the exact expectation",
        "a whole number from 1 to 10^12 or 'population', for example batch = 16",
        label="batch size",
        symbol=r"$B$",
        infinite="population",
    )
    loss: Literal["logistic", "squared", "exponential"] = key(
        "logistic",
        "loss of the margin z = e f: log(1 + exp(-z)), (1 - z)^2 / 2 or exp(-z)",
        "'logistic', 'squared' or 'exponential', for example loss = 'logistic'",
        label="loss",
    )
    lam: Real = key(
        2e-4, "L2 coefficient lambda", _NOT_NEGATIVE.format("lam", 2e-4), ge=0, label="L2 penalty", symbol=r"$\lambda$"
    )
    schedule: Literal["inverse", "constant"] = key(
        "inverse",
        "eta_t = 2 / (lam (gamma + t)), or eta",
        "'inverse' or 'constant', for example schedule = 'inverse'",
        label="schedule of steps",
    )
    gamma: Real = key(
        2000.0,
        "offset of the inverse schedule, in steps",
        _POSITIVE.format("gamma", 2000),
        gt=0,
        label="offset of the steps",
        symbol=r"$\gamma$",
    )
    eta: Real = key(
        5.0,
        "step size of the constant schedule",
        _POSITIVE.format("eta", 5.0),
        gt=0,
        label="step size",
        symbol=r"$\eta$",
    )
    record_every: Literal["log"] | Annotated[int, Field(ge=1, le=_MOST)] = key(
        10,
        "steps between records, or a logarithmic grid",
        "a whole number from 1 to 10^12 or 'log', for example record_every = 10",
        label="steps between records",
    )

    @model_validator(mode="after")
    def _schedule_is_finite(self) -> "Training":
        first = self.lam * self.gamma  # zero, or so small that its inverse overflows, has no first step
        if self.schedule == "inverse" and (first == 0 or math.isinf(2 / first)):
            raise impossible(
                "lam",
                self.lam,
                "a number well above 0 with schedule = 'inverse', whose step size is 2 / (lam (gamma + t)); "
                "or type schedule = 'constant'",
            )
        return self

    def record_count(self) -> int:
        """The number of records without listing them; an upper bound for the logarithmic grid."""
        if self.record_every == "log":
            return 3 + 20 * len(str(self.steps))
        return 1 + -(-self.steps // self.record_every)

    def record_steps(self) -> tuple[int, ...]:
        """The steps at which a trajectory is recorded: 0, the grid, and always the last step."""
        if self.record_every == "log":
            # Twenty points a decade look continuous in print.
            count = 1 + round(20 * math.log10(max(self.steps, 1)))
            grid = {round(self.steps ** (j / max(count - 1, 1))) for j in range(count)} if self.steps else set()
        else:
            grid = set(range(0, self.steps + 1, self.record_every))
        return tuple(sorted(grid | {0, self.steps}))


class Ensemble(Section):
    """How many independent runs, and where (section 8)."""

    seeds: int = key(
        1,
        "number of members; more than one adds a leading ensemble axis",
        _AT_LEAST_ONE.format("seeds", 64),
        ge=1,
        le=_MOST,
        label="number of members",
        role="run time",
    )
    seed: int = key(
        0,
        "the seed that all random streams are derived from",
        "a whole number of at least 0, for example seed = 0",
        ge=0,
        label="seed",
        role="seed",
    )
    dtype: Literal["float64", "float32"] = key(
        "float64",
        "precision of the simulation",
        "'float64' or 'float32', for example dtype = 'float64'",
        label="precision",
        role="run time",
    )
    device: Literal["auto", "cpu", "cuda"] = key(
        "auto",
        "where the simulation runs",
        "'auto', 'cpu' or 'cuda', for example device = 'auto'",
        label="device",
        role="run time",
    )
    sampler: Literal["literal", "reduced"] = key(
        "literal",
        "draw every word and label, or only what a step sees of them: the same law from fewer numbers",
        "'literal' or 'reduced', for example sampler = 'literal'",
        label="sampler",
        role="run time",
    )
    engine: Literal["auto", "autograd", "analytic", "compiled"] = key(
        "auto",
        "how a step is taken: autograd of the plain model, the gradient in closed form, or the latter compiled; 'auto' compiles "
        "long runs of minibatches",
        "'auto', 'autograd', 'analytic' or 'compiled', for example engine = 'auto'",
        label="engine",
        role="run time",
    )


class Regime(BaseRegime):
    """One point of the theory's parameter space; the keys of a regime file (section 8)."""

    concepts: Concepts = Concepts()
    prompt: Prompt = Prompt()
    model: Model = Model()
    training: Training = Training()
    ensemble: Ensemble = Ensemble()


def parse_regime(tables: dict[str, Any], *, source: str) -> Regime:
    """A Regime from nested tables; RegimeError with one sentence if it cannot exist."""
    return Regime.parse(tables, source=source)


def load_regime(path: str | Path) -> Regime:
    """A Regime from a TOML file (section 8); RegimeError if it is missing, is not TOML or cannot exist."""
    tables = read_tables(path)
    if (name := tables.pop("theory", NAME)) != NAME:
        raise RegimeError(
            f"{path}: theory = {name!r} is another theory than this is for, expected a regime of '{NAME}'; type the path of one, or use verify, falsify, sweep, map, audit or report"
        )
    return Regime.parse(tables, source=str(path))
