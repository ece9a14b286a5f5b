"""What a report is made from, and the folder of a verification from which it can be made again."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from polyseme.checks.core.claim import Verdict
from polyseme.checks.core.provenance import Ground
from polyseme.checks.core.theory import Equation, FigureEntry, Section, Step, Theory
from polyseme.errors import PolysemeError
from polyseme.files import save_json

SCHEMA = "polyseme report 1"
"""The form of report.json; another form has another number."""

_AGAIN = "type the folder of a run of polyseme verify"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One verification, with all that its report shows.

    `records` are the claims exactly as in results.json; `regime_tables` the tables of the regime file;
    `provenance` versions, seeds and the like, in nested dicts, of which `regime` (a name) and `seconds`
    (wall time) are also told in the summary; `replay` the command that makes the report again. `notation`
    are (LaTeX, meaning) pairs that head the equations, `blocks` rows of (matrix, blocks, lives or not, reason).
    `steps` are those of the theory's argument, `meanings` what each regime key means, `sections` what the theory shows besides.
    `partial` says that only a part of the `total` claims that there are was tried. `remark` is a sentence on what is not
    known about the run.
    """

    records: Sequence[Mapping[str, Any]]
    equations: Sequence[Equation]
    figures: Sequence[FigureEntry]
    regime_tables: Mapping[str, Any]
    provenance: Mapping[str, Any]
    replay: str
    notation: Sequence[tuple[str, str]] = ()
    blocks: Sequence[tuple[str, str, str, str]] = ()
    partial: bool = False
    total: int | None = None
    remark: str = ""
    steps: Sequence[Step] = ()
    meanings: Mapping[str, str] = field(default_factory=dict)
    sections: Sequence[Section] = ()
    blocks_caption: str = ""

    @property
    def name(self) -> str:
        """What the page calls it: the name of the regime."""
        return str(self.provenance.get("regime", "unnamed"))


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _StoredEquation(_Strict):
    caption: str
    latex: str


class _StoredFigure(_Strict):
    stem: Annotated[str, Field(pattern=r"^[\w-]+$")]
    title: str
    caption: str
    claims: tuple[str, ...]


class _StoredStep(_Strict):
    key: str
    title: str
    question: str
    patterns: tuple[str, ...]


_ACTIVE = frozenset({"base", "embed", "form", "frame", "iframe", "img", "link", "meta", "object", "script", "style"})


class _Scan(HTMLParser):
    """Finds what would run or load something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Tags and attributes alike; places in the same page are no addresses."""
        self.found += [f"<{tag}>"] if tag in _ACTIVE else []
        self.found += [
            name
            for name, value in attrs
            if name.startswith("on") or (name.endswith(("href", "src")) and not (value or "").startswith("#"))
        ]


def _passive(html: str) -> str:
    """The same HTML; ValueError if it runs or loads anything, since a folder may be anybody's."""
    scan = _Scan()
    scan.feed(html)
    scan.close()
    if scan.found:
        raise ValueError(f"html has {scan.found[0]}, which a section of a stored run may not have")
    return html


class _StoredSection(_Strict):
    anchor: Annotated[str, Field(pattern=r"^[\w-]+$")]
    title: str
    html: Annotated[str, AfterValidator(_passive)]


class _Stored(_Strict):
    """report.json: a run without its records, which results.json holds, and without the SVGs."""

    form: Literal["polyseme report 1"]
    replay: str
    partial: bool
    total: int | None
    regime: dict[str, dict[str, Any]]
    provenance: dict[str, Any]
    notation: tuple[tuple[str, str], ...]
    blocks: tuple[tuple[str, str, str, str], ...]
    equations: tuple[_StoredEquation, ...]
    figures: tuple[_StoredFigure, ...]
    steps: tuple[_StoredStep, ...] | None = None
    """None in what older versions wrote."""
    meanings: dict[str, str] = {}
    sections: tuple[_StoredSection, ...] = ()
    blocks_caption: str = ""


Number = float | Literal["NaN", "Infinity", "-Infinity"] | None


class _Loose(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class _Hypothesis(_Loose):
    name: str
    got: str
    holds: bool | None


class _Control(_Loose):
    name: str
    statement: str
    sentence: str
    verdict: str
    measured: Number


class _Statistics(_Loose):
    share: Number
    p_support: Number
    p_refute: Number
    adjusted_support: Number
    adjusted_refute: Number
    samples: Number
    detects: Number
    power: Number


class _Basis(_Loose):
    ground: Ground
    text: str


class _Part(_Loose):
    """What the page reads of one part of a claim."""

    name: str
    verdict: Verdict
    sentence: str
    measured: Number
    measured_text: str
    bound: Number
    slack: Number
    reason: str
    rule: str
    statistics: _Statistics | None
    hypotheses: list[_Hypothesis]
    controls: list[_Control]
    evidence: Any


class _Record(_Loose):
    """What the page reads of a record of results.json; a later version may say more."""

    id: Annotated[str, Field(min_length=1)]
    family: str
    statement: str
    formula: str
    section: str
    verdict: Verdict
    sentence: str
    hypotheses: list[_Hypothesis]
    parts: Annotated[list[_Part], Field(min_length=1)]
    rests_on: list[_Basis]
    uses: list[str]
    fully_supported: bool | None
    in_the_end: list[str]
    seconds: float
    replay: str


def save_run(folder: Path, run: Run) -> None:
    """Write report.json: all that the page shows besides results.json and the files of `figures`, whole or not at all."""
    save_json(
        folder / "report.json",
        {
            "form": SCHEMA,
            "replay": run.replay,
            "partial": run.partial,
            "total": run.total,
            "regime": run.regime_tables,
            "provenance": run.provenance,
            "notation": run.notation,
            "blocks": run.blocks,
            "equations": [{"caption": x.caption, "latex": x.latex} for x in run.equations],
            "figures": [
                {"stem": x.stem, "title": x.title, "caption": x.caption, "claims": x.claims} for x in run.figures
            ],
            "steps": [asdict(step) for step in run.steps],
            "meanings": dict(run.meanings),
            "blocks_caption": run.blocks_caption,
            "sections": [asdict(section) for section in run.sections],
        },
    )


def load_run(folder: Path, *, older: Callable[[], Theory]) -> Run:
    """The run that lies in a folder: results.json, report.json and the SVGs in `figures`.

    A folder without report.json, as older versions wrote it, gives what can be known without it, and says so. `older()` is the
    theory of runs that do not say which steps their argument has, what their keys mean, and what is shown besides.
    PolysemeError if the folder is not that of a run, or one of its files is not what `verify` wrote.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise PolysemeError(f"{folder}: got {got}, expected a folder with results.json; {_AGAIN}")
    records = _records(folder / "results.json")
    path = folder / "report.json"
    if not path.exists():
        return _without_the_rest(folder, records, older())
    try:
        stored = _Stored.model_validate(_parsed(path))
    except ValidationError as error:
        raise PolysemeError(f"{path}: got {_first(error)}, expected what polyseme verify wrote; {_AGAIN}") from None
    about: dict[str, Any] = (
        _of(older())
        if stored.steps is None
        else {
            "steps": [Step(**dict(x)) for x in stored.steps],
            "meanings": stored.meanings,
            "sections": [Section(**dict(x)) for x in stored.sections],
        }
    )
    return Run(
        records=records,
        equations=[Equation(caption=x.caption, latex=x.latex) for x in stored.equations],
        figures=[
            FigureEntry(
                title=x.title,
                caption=x.caption,
                svg=_svg(folder / "figures" / f"{x.stem}.svg"),
                stem=x.stem,
                claims=x.claims,
            )
            for x in stored.figures
        ],
        regime_tables=stored.regime,
        provenance=stored.provenance,
        replay=stored.replay,
        notation=stored.notation,
        blocks=stored.blocks,
        blocks_caption=stored.blocks_caption,
        partial=stored.partial,
        total=stored.total,
        **about,
    )


def _of(theory: Theory) -> dict[str, Any]:
    """What a run takes from its theory."""
    meanings = {key.name: key.meaning for key in theory.regime.keys().values()}
    return {"steps": theory.steps, "meanings": meanings, "sections": tuple(theory.sections())}


def _without_the_rest(folder: Path, records: list[dict[str, Any]], theory: Theory) -> Run:
    """A run of which only results.json and figures are known."""
    return Run(
        records=records,
        equations=[],
        figures=[
            FigureEntry(
                title=path.stem.replace("_", " ").capitalize(),
                caption="",
                svg=_svg(path),
                stem=path.stem,
                claims=theory.figure_claims.get(path.stem, ()),
            )
            for path in sorted((folder / "figures").glob("*.svg"))
        ],
        regime_tables={},
        provenance={"regime": folder.resolve().name},
        replay="",
        **_of(theory),
        remark="There is no report.json in the folder: the regime, equations, versions and captions are not known.",
    )


def _records(path: Path) -> list[dict[str, Any]]:
    """The records of results.json, each of the form that the page reads, their ids all different."""
    if not path.is_file():
        raise PolysemeError(f"{path.parent}: got a folder without results.json, expected one with it; {_AGAIN}")
    records = _parsed(path)
    if isinstance(records, list):
        records = [_with_parts(x) for x in records]
    try:
        TypeAdapter(list[_Record]).validate_python(records)
    except ValidationError as error:
        raise PolysemeError(f"{path}: got {_first(error)}, expected the claims of a run; {_AGAIN}") from None
    ids = [record["id"] for record in records]
    if twice := next((name for name in ids if ids.count(name) > 1), None):
        raise PolysemeError(f"{path}: got the claim '{twice}' twice, expected each claim once; {_AGAIN}")
    if not records:
        raise PolysemeError(f"{path}: got no claims, expected at least one; {_AGAIN}")
    return records


OF_A_PART = ("measured", "measured_text", "bound", "slack", "reason", "rule", "statistics", "evidence")


def _with_parts(record: Any) -> Any:
    """A record as it is written now: older versions had one part and one control, whose fields were those of the claim."""
    if not isinstance(record, dict) or "parts" in record or not set(OF_A_PART) <= set(record):
        return record
    part = {key: record[key] for key in ("verdict", "sentence", *OF_A_PART)}
    control = record.get("control")
    part |= {"name": "", "hypotheses": [], "controls": [control] if control else []}
    return {key: x for key, x in record.items() if key not in (*OF_A_PART, "control")} | {"parts": [part]}


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PolysemeError(f"{path}: got '{error.strerror}' while reading, expected a file; {_AGAIN}") from None
    except (ValueError, RecursionError):
        raise PolysemeError(
            f"{path}: got text that is not JSON, expected what polyseme verify wrote; {_AGAIN}"
        ) from None


def _svg(path: Path) -> str:
    try:
        svg = path.read_text(encoding="utf-8")
        tag = ElementTree.fromstring(svg).tag
    except (OSError, ValueError, ElementTree.ParseError):
        raise PolysemeError(f"{path}: got no readable SVG, expected a figure of the run; {_AGAIN}") from None
    if tag != "{http://www.w3.org/2000/svg}svg":
        raise PolysemeError(f"{path}: got <{tag}>, expected a figure of the run, an SVG; {_AGAIN}")
    return svg


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"]) or "the file"
    return f"'{place}' where {problem['msg'][:1].lower()}{problem['msg'][1:]}"
