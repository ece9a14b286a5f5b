"""Claims, their hypotheses and their evidence (THEORY.md section 7)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

import sympy as sp

from checks.laboratory import Laboratory
from theory.setting import Regime


class Verdict(StrEnum):
    """What the evidence says about a claim. Only `supported` is green."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not_applicable"
    MISSING = "missing"
    ERROR = "error"


VERDICTS: dict[Verdict, tuple[str, str]] = {
    Verdict.SUPPORTED: ("✓", "the hypotheses hold, the evidence meets the rule, and the wrong twin is refuted"),
    Verdict.REFUTED: ("✗", "the hypotheses hold, and the evidence contradicts the claim"),
    Verdict.INCONCLUSIVE: (
        "?",
        "the evidence is compatible with the claim and with its negation; more of it would tell",
    ),
    Verdict.NOT_APPLICABLE: (
        "–",
        "a hypothesis of the claim does not hold in this regime, so nothing is said about it",
    ),
    Verdict.MISSING: ("○", "the evidence that the claim needs could not be gathered"),
    Verdict.ERROR: ("!", "the check itself failed: it broke, or its wrong twin survived, so it could not have failed"),
}
"""Each verdict with its symbol and its meaning, from good to bad; only the first is green."""


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """A named predicate on the regime, with what it saw there."""

    name: str
    holds: Callable[[Regime], bool]
    got: Callable[[Regime], str]


@dataclass(frozen=True, kw_only=True)
class Exact:
    """A quantity that must be exactly zero: a SymPy expression, decided in symbols or rationals."""

    name: str
    residual: sp.Expr


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two computations of one array: their largest difference, the array's largest size, and unit round-offs.

    `roundings` says how many unit round-offs the two may differ by, relative to `scale`: counted by the
    measurement from the sizes of the sums involved, judged by the rule. `jump` is how far the computation moves
    by itself under tiny nudges, beyond what it moves smoothly: not zero where a gate sits on its kink.
    """

    name: str
    difference: float
    scale: float
    roundings: float
    jump: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Estimated:
    """A difference that should be zero, estimated from `samples` independent samples, and the size it is judged by."""

    name: str
    estimate: float
    standard_error: float
    samples: int
    scale: float


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """An order of convergence with the half-width of what is known about it."""

    name: str
    order: float
    half_width: float


Row = Exact | Compared | Estimated | Fitted


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Raw measurements, without a verdict: rows of one kind, and the facts of the run (grid, seeds, sizes)."""

    rows: tuple[Row, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict on evidence: the worst measured value, what was allowed, why that much, and one sentence."""

    verdict: Verdict
    measured: float
    bound: float
    sentence: str


@runtime_checkable
class Rule(Protocol):
    """Turns evidence into a judgement; holds every threshold and its reason, and measures nothing."""

    @property
    def name(self) -> str:
        """The word for this kind of rule in results and report."""
        ...

    @property
    def measures(self) -> str:
        """What the measured number is."""
        ...

    @property
    def reason(self) -> str:
        """Why the bound is what it is."""
        ...

    def judge(self, evidence: Evidence, *, level: float) -> Judgement:
        """The judgement; `level` is this claim's share of the suite's false-alarm budget."""
        ...


@dataclass(frozen=True, kw_only=True)
class WrongTwin:
    """A wrong theory, measured by the same function and judged by the same rule; it has to be refuted."""

    name: str
    statement: str
    asserts: Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement on trial.

    `asserts()` builds what the claim states (an expression, a formula, a compiled recursion, ...);
    `measure(laboratory, asserted)` gathers the evidence for it, and is run for the wrong twin's assertion too.
    A claim of scope `any regime` looks at nothing of the regime: it is decided in symbols or at sizes of its own.
    """

    id: str
    statement: str
    formula: str
    section: str
    hypotheses: tuple[Hypothesis, ...] = ()
    asserts: Callable[[], Any]
    measure: Callable[[Laboratory, Any], Evidence]
    rule: Rule
    wrong_twin: WrongTwin
    uses: tuple[str, ...] = ()
    rests_on: tuple[str, ...] = ()
    scope: Literal["any regime", "this regime"] = "this regime"

    @property
    def family(self) -> str:
        """The part of the id before the slash."""
        return self.id.partition("/")[0]
