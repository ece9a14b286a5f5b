"""One point of a sweep as a task: a name made of all that its outcome depends on, and the work itself.

A task is idempotent: it writes nothing, and tried anywhere again it gives the same records. Importing this module loads neither
SymPy nor torch, so that a worker of a cluster can be told how these compute before it does.
"""

import hashlib
import importlib
import json
import math
import os
import platform
import signal
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from polyseme.checks.core.context import ONE_OF_A_HUNDRED
from polyseme.checks.core.records import controls_of, decisive, traceback_in
from polyseme.checks.core.theories import TheoryReference, reference_to
from polyseme.checks.core.theory import Source, Theory
from polyseme.errors import PolysemeError
from polyseme.regime import BaseRegime

# Changes with whatever makes a kept point mean something else.
FORMAT = 2
_JUDGING = (
    "budget",
    "claim",
    "context",
    "evaluation",
    "evidence",
    "own_claims",
    "provenance",
    "records",
    "spelling",
    "theories",
    "theory",
    "user_files",
)
CORE = (
    Source(package="polyseme", pattern="*.py"),
    *(Source(package="polyseme.checks.core", pattern=f"{name}.py") for name in _JUDGING),
    Source(package="polyseme.checks.core.rules"),
    Source(package="polyseme.checks.core.sweeps", pattern="task.py"),
)
"""What a verdict may depend on besides its theory: evidence, evaluation, rules; not how results are shown."""


class OverTime(BaseException):
    """A claim took longer than the sweep allows; no Exception, so that a check that catches these does not go on with a wrong number."""


class OtherCode(PolysemeError):
    """The process that should try a point runs another version of polyseme, or of what it rounds by."""


def sources(theory: Theory) -> Iterator[tuple[str, Path, Path]]:
    """The files that verdicts of a theory depend on, each with its package and the folder of that."""
    for source in (*CORE, *theory.sources):
        (folder,) = map(Path, importlib.import_module(source.package).__path__)
        yield from ((source.package, folder, file) for file in sorted(folder.glob(source.pattern)))


def code_digest(theory: Theory) -> str:
    """SHA-256 of the source that verdicts depend on, and of the versions of the libraries that they round by."""
    return code_of(reference_to(theory))


@cache
def code_of(reference: TheoryReference) -> str:
    """The same of a theory that is found again; what a worker of a cluster is asked."""
    pin()
    theory = reference.load()
    digest = hashlib.sha256()
    for package, folder, file in sources(theory):
        digest.update(f"{package} {file.relative_to(folder).as_posix()}\n".encode() + file.read_bytes())
    if theory.file:
        digest.update(content_digest(Path(theory.file)).encode())
    versions = {name: version(name) for name in sorted(theory.libraries)} | {"Python": platform.python_version()}
    digest.update(json.dumps(versions).encode())
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What is judged at each point, the same for all."""

    theory: TheoryReference
    claims: tuple[str, ...]
    drop: tuple[str, ...]
    effort: Literal["small", "full"]
    level: float | None
    """Each statistical claim's share of the budget at each point; None if none of the claims is statistical."""
    code: str
    files: tuple[tuple[str, str], ...] = ()
    """Files with claims of a user's own, each with the SHA-256 of its content and of its folder's Python files."""
    seconds: float | None = None
    """A claim that takes longer is given up; no part of the name, since it changes no verdict that is reached."""

    def canonical(self) -> dict[str, Any]:
        """What of it an outcome depends on."""
        return {
            "format": FORMAT,
            "theory": self.theory.name,
            "claims": list(self.claims),
            "drop": sorted(self.drop),
            "effort": self.effort,
            "level": self.level,
            "code": self.code,
            "files": [content for _, content in self.files],
        }


@dataclass(frozen=True, kw_only=True)
class Task:
    """One point: `judged` at `regime`."""

    regime: str
    """Canonical JSON."""
    judged: Judged

    @property
    def digest(self) -> str:
        """SHA-256 of everything that the outcome depends on: the name of the point's file."""
        canonical = self.judged.canonical() | {"regime": json.loads(self.regime)}
        return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()


def task_of(regime: BaseRegime, judged: Judged) -> Task:
    """The task of one point."""
    return Task(regime=json.dumps(regime.model_dump(mode="json"), sort_keys=True), judged=judged)


def try_point(task: Task) -> dict[str, Any]:
    """The records of all claims at one point, cut down to what a table holds, and a traceback for each check that broke.

    A check that breaks costs its own verdict alone. OtherCode if this process does not run the code that the task names.
    """
    theory = prepare(task.judged.theory)
    if code_digest(theory) != task.judged.code:
        raise OtherCode(
            "a worker runs another version of polyseme, Python, numpy, scipy, sympy or torch than this process, expected the same; install the same on both"
        )
    regime = theory.regime.parse(json.loads(task.regime), source="a point of the sweep")
    known = _known(theory, task.judged.files)
    context = theory.context(regime, level=task.judged.level or ONE_OF_A_HUNDRED, effort=task.judged.effort)
    records, broke = [], {}
    for name in task.judged.claims:
        record, trace = _tried(known[name], context, task.judged)
        records.append(record)
        if record["verdict"] == "error":
            broke[name] = trace or record["sentence"]
    return {"records": records, "broke": broke}


def _tried(claim: Any, context: Any, judged: Judged) -> tuple[dict[str, Any], str]:
    """The slim record of one claim, and the traceback if the check broke or took too long."""
    from polyseme.checks.core.evaluation import evaluate_claim

    late: list[str] = []
    try:
        with _at_most(judged.seconds, late):
            record = evaluate_claim(claim, context, replay="", drop=judged.drop)
            if not late:  # whatever a check makes of an interruption is no verdict
                return slim(record), traceback_in(record)
    except OverTime:  # raised beside the check, while its record was written
        pass
    trace, *_ = late
    return _without_verdict(claim.id, f"given up after {judged.seconds:g} s, which is all that the sweep allows"), trace


def pin() -> None:
    """Python's own integers in SymPy, which switches to flint silently, and one thread, as in `polyseme.checks.command_line.main`.

    Before a theory is loaded, which imports SymPy. OtherCode if SymPy is there already and computes otherwise.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    os.environ.setdefault("SYMPY_GROUND_TYPES", "python")
    from sympy.external.gmpy import GROUND_TYPES

    if GROUND_TYPES != "python":
        raise OtherCode(
            f"a worker computes with SYMPY_GROUND_TYPES={GROUND_TYPES}, expected python; set SYMPY_GROUND_TYPES=python where workers are started"
        )


def prepare(reference: TheoryReference) -> Theory:
    """The theory, in a process that computes as the first one does and has imported what takes long."""
    pin()
    theory = reference.load()
    theory.prepare()
    return theory


def slim(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a table holds of a record: no evidence but facts that are single numbers, words or yes and no."""
    part = decisive(record)
    fates = {control["verdict"] for control in controls_of(record)}
    facts: dict[str, Any] = {}
    for one in record["parts"]:
        facts |= one["evidence"].get("facts", {})
    return {
        **{key: record[key] for key in ("id", "verdict", "sentence", "seconds")},
        **{key: part[key] for key in ("measured", "bound")},
        "control": min(fates, key=lambda fate: fate == "refuted") if fates else None,
        "statistics": _p_values(part),
        "parts": [_slim_part(one) for one in record["parts"]],
        "facts": {key: x for key, x in facts.items() if isinstance(x, bool | int | float | str)},
    }


def _slim_part(part: Mapping[str, Any]) -> dict[str, Any]:
    """What Holm's procedure needs of a part."""
    return {
        **{key: part[key] for key in ("name", "verdict", "sentence", "measured", "bound")},
        "statistics": _p_values(part),
        "controls": [{"verdict": control["verdict"]} for control in part["controls"]],
    }


def _p_values(part: Mapping[str, Any]) -> dict[str, Any] | None:
    statistics = part["statistics"]
    return {key: statistics[key] for key in ("p_support", "p_refute", "samples")} if statistics else None


def failed(task: Task, sentence: str, trace: str = "") -> dict[str, Any]:
    """The outcome of a point that could not be tried: every check is broken, and says why; `trace` is kept beside it."""
    return {
        "records": [_without_verdict(name, sentence) for name in task.judged.claims],
        "broke": dict.fromkeys(task.judged.claims, trace or sentence),
    }


def _without_verdict(name: str, sentence: str) -> dict[str, Any]:
    nothing = {"measured": None, "bound": None, "seconds": math.nan, "control": None, "statistics": None, "facts": {}}
    return {"id": name, "verdict": "error", "sentence": sentence, **nothing, "parts": []}


def _known(theory: Theory, files: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Every claim by its id, those of a user's files among them."""
    from polyseme.checks.core.own_claims import load_claims

    if not files:
        return {claim.id: claim for claim in theory.claims}
    for path, content in files:
        if content_digest(Path(path)) != content:
            raise OtherCode(
                f"{path}: got another content here than where the sweep was begun, expected the same; type the same command again"
            )
    loaded = load_claims([Path(path) for path, _ in files], theory.claims)
    if loaded.problems:
        raise OtherCode(loaded.problems[0])
    return {claim.id: claim for claim in (*theory.claims, *loaded.claims)}


def content_digest(path: Path) -> str:
    """SHA-256 of a file with claims, and of the Python files beside and below it, which it may import."""
    digest = hashlib.sha256(f"{path.name}\n".encode())
    beside = sorted(file.relative_to(path.parent) for file in path.parent.rglob("*.py"))
    shown = [file for file in beside if not any(part.startswith(".") or part == "__pycache__" for part in file.parts)]
    for file in (Path(path.name), *shown):
        with suppress(OSError):  # gone meanwhile
            content = (path.parent / file).read_bytes()
            digest.update(f"{file.as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def files_of(paths: Sequence[Path] | None) -> tuple[tuple[str, str], ...]:
    """Files with claims, as a task names them."""
    return tuple((str(path.resolve()), content_digest(path)) for path in paths or ())


@contextmanager
def _at_most(seconds: float | None, late: list[str]) -> Iterator[None]:
    """OverTime in the block after so long, again and again until it ends, and the place in `late`.

    Only where there are alarms, in a main thread: such are processes of this machine.
    """
    if seconds is None or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(_signal: int, frame: FrameType | None) -> None:
        late.append("".join(traceback.format_stack(frame)))
        raise OverTime

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        while signal.getsignal(signal.SIGALRM) is over:
            with suppress(OverTime):  # one more, just now
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)


def traceback_of(problem: BaseException) -> str:
    """The whole traceback as text."""
    return "".join(traceback.format_exception(problem))
