"""What the core asks of a theory: one record, `Theory`, and the parts that it is made of.

A theory gives its regime, its claims and the steps of its argument. All else has a default: what it leaves out, such as errors for
the audit or boundaries for maps, is left out where it would be shown. The core imports no theory; it finds them
(`polyseme.checks.core.theories`) by an entry point, by the key `theory` of a regime file, or in a file of the user's.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from polyseme.checks.core.claim import Claim, Part
from polyseme.checks.core.context import Context
from polyseme.regime import BaseRegime

if TYPE_CHECKING:
    import numpy as np

    from polyseme.checks.core.provenance import Record

Tables = Mapping[str, Mapping[str, Any]]
"""Keys and values of a regime by the tables that they stand in."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of the argument: the question that its claims answer, and patterns of their ids. The most specific pattern decides."""

    key: str
    title: str
    question: str
    patterns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """What searches draw regimes from: for each key a list of values, the simplest first, and how a regime is made of them.

    Keys that are not listed keep their defaults. `complete(tables, draw)` may derive some keys from others or draw more
    (`draw(values)` gives one of a sequence); it returns the tables of a regime, which need not exist: then it is passed over.
    """

    values: Mapping[str, Mapping[str, Sequence[Any]]]
    complete: (
        Callable[[dict[str, dict[str, Any]], Callable[[Sequence[Any]], Any]], dict[str, dict[str, Any]]] | None
    ) = None


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """A line that the theory predicts on maps of some claims: where `value` of the regime is `level`.

    `label` is for a legend, in mathematics. It is drawn only where `predicted_for` holds, and only on maps that show one of `shows`
    ('verdict', 'margin', or the name of a fact; all if empty). `remark` gives sentences for the map's note, from the values that
    each key takes in the sweep.
    """

    label: str
    claims: tuple[str, ...]
    value: Callable[[Any], float]
    level: float
    predicted_for: Callable[[Any], bool] = lambda _regime: True
    shows: tuple[str, ...] = ()
    remark: Callable[[Mapping[str, Mapping[Any, int]]], Sequence[str]] = lambda _values: ()


@dataclass(frozen=True, kw_only=True)
class Plant:
    """One planted error. `asserted(part)` is what a part of a claim asserts with the error in it.

    `claims` are the ids of those that it can reach. A quantifier widened past its hypotheses has a `regime` where they fail, and the
    `dropped` keys; its claim asserts what it always does. `more_regimes`: where else it is tried until it is refuted. `proof` gives
    the proof that it is no error after all, or nothing. `separable`: if nothing refutes it, a regime that tells it from the truth is
    searched.
    """

    operator: str
    name: str
    claims: tuple[str, ...]
    asserted: Callable[[Part], Any]
    regime: BaseRegime
    kind: str = "statement"
    dropped: frozenset[str] = frozenset()
    proof: Callable[[], str] | None = None
    more_regimes: tuple[BaseRegime, ...] = ()
    separable: bool = False


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How an audit measures how often an error of a known size is caught, over random regimes.

    `claim`: the id of the claim that judges, by its part of the name `part` if it has several. `asserted()`: by name, what it asserts with an error of relative size `delta` in one
    coefficient. `draw(rng)`: a random regime.
    """

    claim: str
    delta: float
    asserted: Callable[[], Mapping[str, Any]]
    draw: Callable[["np.random.Generator"], BaseRegime]
    part: str = ""


@dataclass(frozen=True, kw_only=True)
class AuditMaterial:
    """What an audit of this theory plants and judges.

    `plants()` are the planted errors. `true_claims`: ids of statistical claims that are true at `regime`, judged with many seeds.
    `detection`: rates of detection over random regimes. `from_user(name, patch)` makes a plant of a user's function; TypeError
    or ValueError if it gives none. `separating_claim` with `separating_regime` (which makes a drawn regime one that plants are about)
    look for a regime that tells a plant from the truth.
    """

    regime: BaseRegime
    plants: Callable[[], Iterable[Plant]]
    true_claims: tuple[str, ...] = ()
    detection: Detection | None = None
    from_user: Callable[[str, Callable[..., Any]], Plant] | None = None
    separating_claim: str = ""
    separating_regime: Callable[[Any], Any] = lambda regime: regime


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the report that a theory adds: finished HTML below a title; `anchor` is its place in the page."""

    anchor: str
    title: str
    html: str


@dataclass(frozen=True, kw_only=True)
class Equation:
    """A derived equation as the report shows it.

    caption: what it says, one phrase. latex: SymPy's print of the executed object, without dollar signs.
    """

    caption: str
    latex: str


@dataclass(frozen=True, kw_only=True)
class FigureEntry:
    """A figure of the report. svg: the text of an SVG file; caption: also its long text alternative.

    Text in the SVG with the id `note` that equals the caption is not shown a second time. `stem` is the name of its file
    in the folder `figures`; `claims` are patterns of the ids that it belongs to, none for a figure of the whole run.
    """

    title: str
    caption: str
    svg: str
    stem: str = ""
    claims: tuple[str, ...] = ()


@runtime_checkable
class Presentation(Protocol):
    """What a verification shows besides its verdicts: trajectories, figures, equations. Made once for a run, before claims are judged."""

    @property
    def arrays(self) -> Mapping[str, Mapping[str, "np.ndarray"]]:
        """Named archives, written as NAME.npz."""
        ...

    @property
    def equations(self) -> Sequence[Equation]:
        """The executed equations, printed."""
        ...

    @property
    def notation(self) -> Sequence[tuple[str, str]]:
        """(LaTeX, meaning) of the letters in the equations."""
        ...

    @property
    def blocks(self) -> Sequence[tuple[str, str, str, str]]:
        """Rows of (matrix, parts, whether they live, why)."""
        ...

    @property
    def blocks_caption(self) -> str:
        """How to read these rows, in a sentence."""
        ...

    def figures(self, records: "Sequence[Record]", out: Path, *, name: str) -> Iterator[FigureEntry]:
        """Draw what these records and the trajectories show, and write it into `out`/figures."""
        ...


Progress = Callable[[int, int], None]


@runtime_checkable
class Present(Protocol):
    """Makes the presentation of a run."""

    def __call__(self, regime: Any, claims: Sequence[Claim], *, progress: Callable[[str], Progress]) -> Presentation:
        """Run what is shown; `progress(task)` gives a callback for a long task."""
        ...


@dataclass(frozen=True, kw_only=True)
class Source:
    """Files on which results depend: those of an importable package that match a pattern."""

    package: str
    pattern: str = "**/*.py"


def _nothing() -> None:
    """Nothing has to be done."""


@dataclass(frozen=True, kw_only=True)
class Theory:
    """A theory on trial.

    name:        how regime files and commands name it
    title:       what it is, in a phrase
    regime:      its regime; each key with symbol, label and role (`polyseme.regime.key`)
    claims:      in the order of the argument; explicit, nothing is discovered
    steps:       the steps of the argument; claims of no step form one of their family
    context:     what claims measure with
    default:     the regime file that is judged when none is named; the regime's defaults if absent
    search:      what `falsify` draws regimes from
    audit:       what `audit` plants
    boundaries:  lines that the theory predicts on maps
    present:     trajectories, figures and equations of a verification
    figure_claims:  which claims a figure belongs to, by the name of its file: patterns of ids
    sections:    sections that the report shows besides
    sources:     packages on which its results depend, for the names of kept results
    libraries:   distributions whose versions results depend on
    packages:    distributions whose versions the report shows
    prepare:     what a fresh process does before it judges, such as to import what takes long
    file:        the file that it was loaded from; set by the loader
    """

    name: str
    title: str
    regime: type[BaseRegime]
    claims: tuple[Claim, ...]
    steps: tuple[Step, ...] = ()
    context: type[Context] = Context
    default: Path | None = None
    search: SearchSpace | None = None
    audit: AuditMaterial | None = None
    boundaries: tuple[Boundary, ...] = ()
    present: Present | None = None
    figure_claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sections: Callable[[], Sequence[Section]] = tuple
    sources: tuple[Source, ...] = ()
    libraries: tuple[str, ...] = ("numpy", "scipy", "statsmodels", "sympy")
    packages: tuple[str, ...] = ("numpy", "scipy", "sympy")
    prepare: Callable[[], None] = _nothing
    file: str = ""

    def claim(self, identifier: str) -> Claim:
        """The claim of an id; KeyError if it has none."""
        return {claim.id: claim for claim in self.claims}[identifier]

    def step_of(self, identifier: str) -> Step:
        """The step that a claim belongs to; one of its own, under the name of its family, for a claim of no step."""
        return step_of(identifier, self.steps)


def step_of(identifier: str, steps: Sequence[Step]) -> Step:
    """The step of a claim among some steps; one of its own, under the name of its family, if it belongs to none."""
    fitting = [(len(p), step) for step in steps for p in step.patterns if fnmatchcase(identifier, p)]
    if fitting:
        return max(fitting, key=lambda pair: pair[0])[1]
    family = identifier.partition("/")[0]
    return Step(
        key=f"own-{family}",
        title=family,
        question="Claims from outside the argument, with the same rules, negative controls and budget."
        if steps
        else "",
        patterns=(f"{family}/*",),
    )
