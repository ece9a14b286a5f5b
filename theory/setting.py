"""The regime: every hypothesis of the theory, as validated numbers (THEORY.md sections 1 and 8).

This is the problem statement, the one thing that `theory` and `sim` share. It holds no mathematics:
step sizes, prompt probabilities and dictionaries are written once on each side, so that the two sides
can be wrong independently.
"""

import hashlib
import json
import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError


class PolysemeError(Exception):
    """Bad input: one sentence that says what was got, what was expected and what to type."""


class RegimeError(PolysemeError):
    """A regime that cannot exist; the message names the key, the value and what would be accepted."""


class Diverged(PolysemeError):
    """A run left the numbers: its step size is too large, or its theory is wrong."""


def _key(default: Any, meaning: str, accepts: str, **bounds: Any) -> Any:
    """One regime key: `accepts` is the sentence that a wrong value is answered with."""
    return Field(default, description=meaning, json_schema_extra={"accepts": accepts}, **bounds)


def _impossible(key: str, got: object, accepts: str) -> PydanticCustomError:
    """An error about how several keys fit together, in the same words as one about a single key."""
    return PydanticCustomError("impossible", "{accepts}", {"key": key, "got": got, "accepts": accepts})


Real = Annotated[float, Field(allow_inf_nan=False)]
_OVERLAP = "a number in [0, 1), for example {} = 0.2"
# No machine holds more; without a limit, whole numbers too large for floating point would pass.
_MOST = 10**12
_AT_LEAST_ONE = "a whole number from 1 to 10^12, for example {} = {}"
_POSITIVE = "a number above 0, for example {} = {}"
_NOT_NEGATIVE = "a number of at least 0, for example {} = {}"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Concepts(_Section):
    """The dictionaries (section 1): sizes, overlaps and concept weights."""

    K1: int = _key(2, "number of concepts", _AT_LEAST_ONE.format("K1", 2), ge=1, le=_MOST)
    K2: int = _key(
        2, "number of task-irrelevant features", "a whole number from 0 to 10^12, for example K2 = 2", ge=0, le=_MOST
    )
    d_x: int = _key(
        16, "word dimension", "a whole number from 2 K1 + K2 to 10^12, for example d_x = 16", ge=2, le=_MOST
    )
    d_y: int = _key(12, "label dimension", "a whole number from 2 K1 to 10^12, for example d_y = 12", ge=2, le=_MOST)
    kappa_x: Real = _key(
        0.2, "overlap <mu_k^+, mu_k^-> of the two words of a concept", _OVERLAP.format("kappa_x"), ge=0, lt=1
    )
    kappa_y: Real = _key(
        0.3, "overlap <q_k^+, q_k^-> of the two labels of a concept", _OVERLAP.format("kappa_y"), ge=0, lt=1
    )
    weights: Annotated[
        tuple[Annotated[Real, Field(ge=0)], ...] | None,
        BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    ] = _key(
        None,
        "probability pi_k of each concept; uniform when absent",
        "K1 probabilities that sum to 1, for example weights = [0.75, 0.25]",
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> "Concepts":
        if self.d_x < (least := 2 * self.K1 + self.K2):
            raise _impossible("d_x", self.d_x, f"at least 2 K1 + K2 = {least}; type d_x = {least} or more")
        if self.d_y < (least := 2 * self.K1):
            raise _impossible("d_y", self.d_y, f"at least 2 K1 = {least}; type d_y = {least} or more")
        if self.weights is not None:
            if len(self.weights) != self.K1:
                raise _impossible(
                    "weights",
                    list(self.weights),
                    f"one probability per concept; type K1 = {self.K1} of them, not {len(self.weights)}",
                )
            total = math.fsum(self.weights)
            # A probability typed with nine or more digits sums to 1 within this; a forgotten one does not.
            if abs(total - 1) > 1e-9:
                raise _impossible(
                    "weights",
                    list(self.weights),
                    f"probabilities that sum to 1, and these sum to {total:.10g}; type each divided by that",
                )
        return self

    @property
    def probabilities(self) -> tuple[float, ...]:
        """pi_k, uniform when `weights` is absent; length K1."""
        return self.weights if self.weights is not None else (1 / self.K1,) * self.K1


class Prompt(_Section):
    """The prompt law (section 1)."""

    L: int = _key(4, "number of demonstrations", _AT_LEAST_ONE.format("L", 4), ge=1, le=_MOST)
    law: Literal["match", "iid"] = _key(
        "match",
        "condition on a demonstration that shares the query's sign, or not",
        "'match' or 'iid', for example law = 'match'",
    )
    p_plus: Real = _key(
        0.5,
        "probability that a sign is +1: of the query's label, of each demonstration, of each extra concept",
        "a probability strictly between 0 and 1, for example p_plus = 0.5, which makes signs fair",
        gt=0,
        lt=1,
    )
    p_extra: Real = _key(
        0.0,
        "probability of each other concept and of each irrelevant feature in a word",
        "a probability in [0, 1], for example p_extra = 0.1",
        ge=0,
        le=1,
    )
    sigma_x: Real = _key(0.0, "standard deviation of the noise on words", _NOT_NEGATIVE.format("sigma_x", 0.05), ge=0)
    sigma_y: Real = _key(0.0, "standard deviation of the noise on labels", _NOT_NEGATIVE.format("sigma_y", 0.05), ge=0)

    @property
    def is_pure(self) -> bool:
        """A pure prompt has no extra concepts and no noise (section 1)."""
        return self.p_extra == 0 and self.is_noise_free

    @property
    def is_noise_free(self) -> bool:
        """Whether words and labels carry no Gaussian noise."""
        return self.sigma_x == self.sigma_y == 0


# Slope of the leaky ReLU below zero; ours.
LEAK = 0.125


class Model(_Section):
    """Width, activation and init scales (section 1)."""

    m: int = _key(16, "number of hidden neurons", _AT_LEAST_ONE.format("m", 16), ge=1, le=_MOST)
    activation: Literal["relu", "leaky_relu", "identity"] = _key(
        "relu",
        f"activation of the MLP; the leaky ReLU has slope {LEAK} below zero",
        "'relu', 'leaky_relu' or 'identity', for example activation = 'relu'",
    )
    neurons: Literal["independent", "mirrored"] = _key(
        "independent",
        "how neurons start: each on its own, or in mirrored pairs (r, alpha, beta) and (-r, alpha, -beta), which takes m even",
        "'independent' or 'mirrored', for example neurons = 'mirrored'",
    )
    sigma_0: Real = _key(0.1, "W_Q = W_K = sigma_0 I at the start", _NOT_NEGATIVE.format("sigma_0", 0.1), ge=0)
    sigma_1: Real = _key(
        0.1,
        "standard deviation of the entries of W_O at the start",
        _NOT_NEGATIVE.format("sigma_1", 0.1),
        ge=0,
    )

    @model_validator(mode="after")
    def _pairs_fit(self) -> "Model":
        if self.neurons == "mirrored" and self.m % 2:
            raise _impossible("m", self.m, f"an even number with neurons = 'mirrored'; type m = {self.m + 1}")
        return self


class Training(_Section):
    """Online SGD or exact population descent (section 1)."""

    steps: int = _key(
        1000, "number of updates", "a whole number from 0 to 10^12, for example steps = 1000", ge=0, le=_MOST
    )
    batch: Literal["population"] | Annotated[int, Field(ge=1, le=_MOST)] = _key(
        16,
        "prompts per update, or the exact expectation",
        "a whole number from 1 to 10^12 or 'population', for example batch = 16",
    )
    loss: Literal["logistic", "squared", "exponential"] = _key(
        "logistic",
        "loss of the margin z = e f: log(1 + exp(-z)), (1 - z)^2 / 2 or exp(-z)",
        "'logistic', 'squared' or 'exponential', for example loss = 'logistic'",
    )
    lam: Real = _key(2e-4, "L2 coefficient lambda", _NOT_NEGATIVE.format("lam", 2e-4), ge=0)
    schedule: Literal["inverse", "constant"] = _key(
        "inverse",
        "eta_t = 2 / (lam (gamma + t)), or eta",
        "'inverse' or 'constant', for example schedule = 'inverse'",
    )
    gamma: Real = _key(2000.0, "offset of the inverse schedule, in steps", _POSITIVE.format("gamma", 2000), gt=0)
    eta: Real = _key(5.0, "step size of the constant schedule", _POSITIVE.format("eta", 5.0), gt=0)
    record_every: Literal["log"] | Annotated[int, Field(ge=1, le=_MOST)] = _key(
        10,
        "steps between records, or a logarithmic grid",
        "a whole number from 1 to 10^12 or 'log', for example record_every = 10",
    )

    @model_validator(mode="after")
    def _schedule_is_finite(self) -> "Training":
        first = self.lam * self.gamma  # zero, or so small that its inverse overflows, has no first step
        if self.schedule == "inverse" and (first == 0 or math.isinf(2 / first)):
            raise _impossible(
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


class Ensemble(_Section):
    """How many independent runs, and where (section 8)."""

    seeds: int = _key(
        1,
        "number of members; more than one adds a leading ensemble axis",
        _AT_LEAST_ONE.format("seeds", 64),
        ge=1,
        le=_MOST,
    )
    seed: int = _key(
        0,
        "the seed that all random streams are derived from",
        "a whole number of at least 0, for example seed = 0",
        ge=0,
    )
    dtype: Literal["float64", "float32"] = _key(
        "float64", "precision of the simulation", "'float64' or 'float32', for example dtype = 'float64'"
    )
    device: Literal["auto", "cpu", "cuda"] = _key(
        "auto", "where the simulation runs", "'auto', 'cpu' or 'cuda', for example device = 'auto'"
    )
    sampler: Literal["literal", "reduced"] = _key(
        "literal",
        "draw every word and label, or only what a step sees of them: the same law from fewer numbers",
        "'literal' or 'reduced', for example sampler = 'literal'",
    )
    engine: Literal["auto", "autograd", "analytic", "compiled"] = _key(
        "auto",
        "how a step is taken: autograd of the plain model, the gradient in closed form, or the latter compiled; 'auto' compiles "
        "long runs of minibatches",
        "'auto', 'autograd', 'analytic' or 'compiled', for example engine = 'auto'",
    )


class Regime(_Section):
    """One point of the theory's parameter space; the keys of a regime file (section 8)."""

    concepts: Concepts = Concepts()
    prompt: Prompt = Prompt()
    model: Model = Model()
    training: Training = Training()
    ensemble: Ensemble = Ensemble()

    def replace(self, **sections: dict[str, Any]) -> "Regime":
        """The same regime with some keys changed, validated again: `regime.replace(prompt={"L": 8})`."""
        tables = self.model_dump()
        for name, changes in sections.items():
            tables[name] |= changes
        return parse_regime(tables, source="regime")

    def digest(self) -> str:
        """SHA-256 of the canonical JSON form, the name of this regime in evidence."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def parse_regime(tables: dict[str, Any], *, source: str) -> Regime:
    """A Regime from nested tables; RegimeError with one sentence if it cannot exist."""
    try:
        return Regime.model_validate(tables)
    except ValidationError as error:
        raise RegimeError(f"{source}: {_sentence(error, tables)}") from None


def load_regime(path: Path) -> Regime:
    """A Regime from a TOML file (section 8); RegimeError if it is missing, is not TOML or cannot exist."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RegimeError(
            f"{path}: expected a regime file (TOML), got '{error.strerror}'; type the path of one, for example regimes/minimal.toml"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RegimeError(
            f"{path}: expected TOML, got something else ({error}); see regimes/minimal.toml for an example"
        ) from None
    return parse_regime(tables, source=str(path))


def _sentence(error: ValidationError, tables: dict[str, Any]) -> str:
    """The first problem of a regime as one sentence: key, value, what would be accepted."""
    first = error.errors()[0]
    section, *rest = (str(part) for part in first["loc"]) if first["loc"] else ("", *())
    sections: dict[str, type[_Section]] = {
        "concepts": Concepts,
        "prompt": Prompt,
        "model": Model,
        "training": Training,
        "ensemble": Ensemble,
    }
    if section not in sections:
        return f"unknown table [{section}]; expected one of {', '.join(f'[{name}]' for name in sections)}"
    fields = sections[section].model_fields
    if first["type"] == "impossible":
        context = first.get("ctx", {})
        return f"[{section}] {context['key']} = {_toml(context['got'])} is impossible: expected {context['accepts']}"
    if not rest:
        return f"[{section}] is {_toml(first['input'])}: expected a table of keys, for example [{section}] with {next(iter(fields))} = ... below it"
    key = rest[0]
    if key not in fields:
        return (
            f"[{section}] has no key '{key}' (got {key} = {_toml(first['input'])}); expected one of {', '.join(fields)}"
        )
    extra = fields[key].json_schema_extra
    assert isinstance(extra, dict), f"every key is declared through _key, {key} is not"
    return f"[{section}] {key} = {_toml(tables[section][key])} is not accepted: expected {extra['accepts']}"


def _toml(value: object) -> str:
    """A value as the user wrote it in TOML, shortened when it is long."""
    try:
        text = json.dumps(value)
    except TypeError:
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
