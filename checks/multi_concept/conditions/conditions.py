"""What sweeps say of the conditions of the claims, as it is kept: hypotheses beside what was needed, and how the closed forms fare.

Each condition is a list of scans, with brackets of the places at which every concept is learned in half of all starts and in
three of four, and what the hypothesis asks there. The brackets of one level hold together at 95%, each level on its own; so do
reversals, and the bounds of shares. Beside that: which combinations of keys have one threshold for all scans, the share
of concepts learned over the width with its closed form, and how many points came out as the closed forms predict.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from polyseme import regimes
from polyseme.errors import PolysemeError
from polyseme.files import save_json

SHIPPED = Path(regimes.__path__[0]) / "sweeps" / "conditions.json"

Pair = tuple[float | None, float | None]
LEVELS = {"1/2": 0.5, "3/4": 0.75}
"""Of all starts, in how many every concept is learned. Half is the threshold. Three of four is as far as forty starts at each of eighty
places can tell: were all of forty learned, 0.83 would be shown to be exceeded, and with one failure 0.78."""
WORDS = {"1/2": "half of all starts", "3/4": "three of four"}
FIRM = "3/4"
_AGAIN = "type polyseme conditions DIR... --out FILE.json, with the folders of sweeps"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Needed(_Model):
    """One scan: at each x how many of the starts learned every concept; what is asked; brackets of what is needed, by level.

    `lost`: starts whose outcome is not known, each counted as whatever widens the brackets. `law`: the same in closed form, where there is one. `reversal`: between which x success was shown not to be monotone.
    """

    words: str
    x: tuple[float, ...]
    hits: tuple[int, ...]
    trials: tuple[int, ...]
    asked: float
    brackets: dict[str, Pair]
    contradicted: bool
    reversal: tuple[float, float] | None
    law: dict[str, float]
    lost: tuple[int, ...] = ()
    alike: float | None = None
    """For the width: what the hypothesis would ask for if it allowed one start in four to fail, as the bracket of 3/4 does."""

    @field_validator("brackets")
    @classmethod
    def _of_all_levels(cls, brackets: dict[str, Pair]) -> dict[str, Pair]:
        if brackets.keys() != LEVELS.keys():
            raise ValueError(f"expected brackets for {', '.join(LEVELS)}")
        return brackets

    def slack(self, level: str, *, rising: bool) -> Pair:
        """By which factor more is asked than is needed."""
        lower, upper = self.brackets[level]
        if rising:
            return (None if upper is None else self.asked / upper, None if lower is None else self.asked / lower)
        return (None if lower is None else lower / self.asked, None if upper is None else upper / self.asked)


class Constant(_Model):
    """Whether a combination of keys has one threshold in all scans: what all brackets have in common, and how far they reach."""

    name: str
    fits: bool
    common: Pair
    reach: Pair
    asked: float | None = None


class Condition(_Model):
    """A hypothesis: its key, what it asks in words, the quantity, and whether more of it is better."""

    key: str
    asked: str
    quantity: str
    rising: bool
    scans: tuple[Needed, ...]
    constants: tuple[Constant, ...]

    def slack(self, level: str = FIRM) -> Pair:
        """The least and the largest that was shown of any scan; None where nothing was."""
        pairs = [scan.slack(level, rising=self.rising) for scan in self.scans]
        lower, upper = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        return (
            None if None in lower else min(x for x in lower if x is not None),
            None if None in upper else max(x for x in upper if x is not None),
        )


class Agreement(_Model):
    """Of a sweep: at how many points all concepts had the fate that their starts predict.

    Near: the penalty is within a factor of two of the critical one. `largest`: the farthest from it, as a factor of
    at least 1, at which a point did not.
    """

    sweep: str
    points: int
    agreeing: int
    near: int
    near_agreeing: int
    more: int
    """Concepts learned though not predicted."""
    fewer: int
    """Concepts predicted and not learned."""
    concepts: int
    largest: float | None


class Share(_Model):
    """Concepts learned at one width: counts, simultaneous bounds, and the law of the initial gates."""

    m: int
    learned: int
    concepts: int
    bounds: tuple[float, float]
    law: float


class Shares(_Model):
    """The share of concepts learned over the width.

    `inside`: the law is within the bounds at every width. `p`: the smallest p-value of all widths (exact binomial, two-sided), times
    their number.
    """

    places: tuple[Share, ...]
    inside: bool
    p: float


class Map(_Model):
    """The share of concepts learned at each width (rows) and penalty, and the critical penalty of each width."""

    K1: int
    L: int
    m: tuple[int, ...]
    lam: tuple[float, ...]
    learned: tuple[tuple[float, ...], ...]
    starts: int
    critical: tuple[float, ...]


class Conditions(_Model):
    """All that `polyseme conditions` finds."""

    form: Literal["polyseme conditions 1"] = "polyseme conditions 1"
    confidence: float
    sources: tuple[dict[str, Any], ...]
    conditions: tuple[Condition, ...]
    shares: Shares | None
    agreement: tuple[Agreement, ...]
    map: Map | None
    notes: tuple[str, ...] = ()
    """What could not be said, and what would be needed."""


def load_conditions(path: Path) -> Conditions:
    """What `save_conditions` wrote; PolysemeError if it is not that."""
    try:
        return Conditions.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PolysemeError(f"{path}: got '{error.strerror}', expected the conditions as JSON; {_AGAIN}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise PolysemeError(
            f"{path}: got a bad '{place}' ({first['msg']}), expected the conditions as JSON; {_AGAIN}"
        ) from None
    except ValueError:
        raise PolysemeError(f"{path}: got text that is no JSON, expected the conditions; {_AGAIN}") from None


def save_conditions(path: Path, found: Conditions) -> None:
    """As JSON, whole or not at all."""
    save_json(path, found.model_dump(mode="json"))


def shipped() -> Conditions | None:
    """Those of the sweeps in regimes/sweeps, as `make sweeps` found them; None if the file is not there or cannot be read."""
    try:
        return load_conditions(SHIPPED)
    except PolysemeError:
        return None
