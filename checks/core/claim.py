"""Claims, their hypotheses and their verdicts (THEORY.md section 7)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

from polyseme.checks.core.evidence import Evidence, Facts
from polyseme.checks.core.provenance import Basis
from polyseme.errors import PolysemeError


class Verdict(StrEnum):
    """What the evidence says about a claim. Only `supported` is green."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not_applicable"
    MISSING = "missing"
    ERROR = "error"


VERDICTS: dict[Verdict, tuple[str, str]] = {
    Verdict.SUPPORTED: ("✓", "the hypotheses hold, the evidence meets the rule, and the negative control is refuted"),
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
    Verdict.ERROR: (
        "!",
        "the check itself failed: it broke, or its negative control survived, so it could not have failed",
    ),
}
"""Each verdict with its symbol and its meaning, from good to bad; only the first is green."""


class OutsideHypotheses(PolysemeError):
    """A hypothesis that only the evidence can show does not hold, such as one about the start: the claim is not applicable."""


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """A predicate on the regime, with what it saw there.

    `key` is the short name that `--drop` takes. `arranged` are changes of the regime by which the check itself makes
    the hypothesis hold, so that it need not be met by the user's file; a dropped hypothesis is neither asked for nor
    arranged. `suggests` are values of regime keys among which a search finds it to hold often, the simplest first.
    """

    key: str
    name: str
    holds: Callable[[Any], bool]
    got: Callable[[Any], str]
    arranged: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    suggests: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict on evidence: the worst measured value, what was allowed, why that much, and one sentence.

    A statistical rule also says how surprising the evidence is: `p_support` bounds its probability if the claim is off by
    its margin or more, `p_refute` if it is true within it; the level decides between them. `slack` is how many times
    too large a bound is.
    """

    verdict: Verdict
    measured: float
    bound: float
    sentence: str
    p_support: float | None = None
    p_refute: float | None = None
    slack: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The size of a statistical check, fixed before it runs.

    `samples` independent samples for each row; `detects`: the smallest deviation, in the units of the judgement, that is
    refuted with probability `power` or more; `power`: the probability with which a claim that is exactly true is
    supported, less than asked for where the size had to be capped.
    """

    samples: int
    detects: float
    power: float


@runtime_checkable
class Rule(Protocol):
    """Turns evidence into a judgement; holds every threshold and its reason, and measures nothing.

    A rule whose `is_statistical` is true has a share of the suite's budget, and says how often it errs.
    """

    @property
    def is_statistical(self) -> bool:
        """Whether the evidence is random."""
        ...

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
class NegativeControl:
    """A wrong theory, measured by the same function and judged by the same rule; it has to be refuted."""

    name: str
    asserts: Callable[[], Any]
    statement: str = ""
    """What it says, where its name does not."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One measurement of a claim, with the rule that judges it and the negative controls that it has to refute.

    `asserts()` builds what the claim states (an expression, a formula, a compiled recursion, ...);
    `measure(context, asserted)` gathers the evidence for it, and is run for the assertion of each control too.
    `name`: what this part is about, where a claim has several. `hypotheses`: those that this part needs beside the claim's;
    a part outside them says nothing, and the others are judged. `plan(context)` says how many samples a statistical part will
    take; it is recorded before they are taken. `facts`: the type of the evidence's facts, where something reads them.
    """

    name: str = ""
    asserts: Callable[[], Any]
    measure: Callable[[Any, Any], Evidence]
    rule: Rule
    controls: tuple[NegativeControl, ...]
    hypotheses: tuple[Hypothesis, ...] = ()
    plan: Callable[[Any], Plan] | None = None
    facts: type[Facts] | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement on trial: supported if every part of it is that applies, refuted if one is.

    A claim of scope `any regime` looks at nothing of the regime: it is decided in symbols or at sizes of its own.
    """

    id: str
    statement: str
    formula: str
    section: str = ""
    """Where the theory's page states it."""
    hypotheses: tuple[Hypothesis, ...] = ()
    parts: tuple[Part, ...]
    uses: tuple[str, ...] = ()
    rests_on: tuple[Basis, ...] = ()
    scope: Literal["any regime", "this regime"] = "this regime"

    @classmethod
    def single(
        cls,
        *,
        id: str,
        statement: str,
        formula: str,
        asserts: Callable[[], Any],
        measure: Callable[[Any, Any], Evidence],
        rule: Rule,
        controls: tuple[NegativeControl, ...],
        plan: Callable[[Any], Plan] | None = None,
        facts: type[Facts] | None = None,
        **more: Any,
    ) -> "Claim":
        """A claim of one part, which needs no name: the arguments of both."""
        part = Part(asserts=asserts, measure=measure, rule=rule, controls=controls, plan=plan, facts=facts)
        return cls(id=id, statement=statement, formula=formula, parts=(part,), **more)

    def replace(self, **changes: Any) -> "Claim":
        """The same claim with other fields; those that a part has besides are fields of its only part."""
        of_claim = {key: changes.pop(key) for key in list(changes) if key in type(self).__dataclass_fields__}
        parts = {"parts": (replace(self.part(), **changes),)} if changes else {}
        return replace(self, **parts, **of_claim)

    @property
    def family(self) -> str:
        """The part of the id before the slash."""
        return self.id.partition("/")[0]

    @property
    def is_statistical(self) -> bool:
        """Whether chance has a say in one of its parts."""
        return any(part.rule.is_statistical for part in self.parts)

    def part(self, name: str = "") -> Part:
        """The part of that name; without a name the only one. KeyError if there is none, or are several."""
        found = [part for part in self.parts if part.name == name or (not name and len(self.parts) == 1)]
        if len(found) != 1:
            raise KeyError(f"{self.id} has the parts {', '.join(part.name for part in self.parts)}, got '{name}'")
        return found[0]

    @property
    def asked(self) -> tuple[Hypothesis, ...]:
        """The hypotheses of the claim and of its parts, each once."""
        return tuple(
            {x.key: x for x in (*self.hypotheses, *(x for part in self.parts for x in part.hypotheses))}.values()
        )
