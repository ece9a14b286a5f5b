"""The folder of a sweep: one file for each point, whole or absent, and what was quarantined."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyseme.checks.core.differences import as_toml
from polyseme.checks.core.sweeps.task import Judged, Task
from polyseme.checks.core.theories import DEFAULT, TheoryReference, key_for
from polyseme.checks.core.theory import Theory
from polyseme.errors import PolysemeError
from polyseme.files import as_json, locked, write_atomic
from polyseme.regime import BaseRegime

POINTS, QUARANTINE, PLAN, GRID, TABLE = "points", "quarantine", "sweep.json", "grid.toml", "results.parquet"


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Where a sweep is kept. Points are named by all that their outcome depends on, so sweeps may share a folder."""

    path: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else is at work here; PolysemeError else. A folder that was refused before anything was kept is removed."""
        existed = self.path.exists()
        try:
            (self.path / POINTS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PolysemeError(
                f"{self.path}: got '{error.strerror or error}', expected a place for the folder of the sweep; type another --out"
            ) from None
        try:
            with locked(self.path / ".lock", timeout=0.0):
                for part in (
                    *self.path.glob(".*.part"),
                    *(self.path / POINTS).glob(".*.part"),
                ):  # of a process that was killed
                    part.unlink(missing_ok=True)
                yield
        finally:
            if not existed and not self.done() and not (self.path / PLAN).exists():
                (self.path / ".lock").unlink(missing_ok=True)
                (self.path / POINTS).rmdir()
                self.path.rmdir()

    def exists(self) -> bool:
        """Whether any sweep was begun here."""
        return (self.path / POINTS).is_dir()

    def theory(self) -> Theory:
        """The theory that the sweep is of; the default one for a folder that does not say."""
        try:
            plan = json.loads((self.path / PLAN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            plan = {}
        return TheoryReference(name=plan.get("theory", DEFAULT), file=plan.get("theory file", "")).load()

    def done(self) -> set[str]:
        """The names of all points that are kept."""
        with os.scandir(self.path / POINTS) as files:
            return {file.name.removesuffix(".json") for file in files if file.name.endswith(".json")}

    def keep(self, task: Task, outcome: dict[str, Any]) -> None:
        """Keep the outcome of a point; if a check broke, put its regime and the traceback quarantined, else nothing of it is quarantined any more."""
        for kind in ("txt", "toml"):
            (self.path / QUARANTINE / f"{task.digest}.{kind}").unlink(missing_ok=True)
        if outcome["broke"]:
            theory = task.judged.theory.load()
            regime = theory.regime.parse(json.loads(task.regime), source="a point of the sweep")
            text = "\n\n".join(f"{name}\n{trace}" for name, trace in outcome["broke"].items())
            write_atomic(self.path / QUARANTINE / f"{task.digest}.txt", text)
            write_atomic(self.path / QUARANTINE / f"{task.digest}.toml", as_toml(regime, key_for(theory)))
        content = {
            "point": task.digest,
            "records": outcome["records"],
            "quarantined": bool(outcome["broke"]),
            "regime": json.loads(task.regime),
        }
        write_atomic(self.path / POINTS / f"{task.digest}.json", as_json(content))

    def outcome(self, digest: str, judged: Judged) -> dict[str, Any] | None:
        """What is kept of a point; None if nothing is, PolysemeError if the file is no such thing or another point's."""
        path = self.path / POINTS / f"{digest}.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            regime = json.dumps(found["regime"], sort_keys=True)
            its_own = found["point"] == digest == Task(regime=regime, judged=judged).digest
            if not its_own or [record["id"] for record in found["records"]] != list(judged.claims):
                raise ValueError
            _ = found["quarantined"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            raise PolysemeError(
                f"{path}: got a file that is damaged or not this point of a sweep; delete it and type the same command, which tries the point again"
            ) from None
        return found

    def forget_quarantined(self) -> int:
        """Forget the points that were quarantined, so that they are tried again; how many there were."""
        digests = {path.stem for path in (self.path / QUARANTINE).glob("*.txt")}
        for path in (self.path / POINTS).glob("*.json"):  # those, too, whose traceback was deleted
            with suppress(OSError, ValueError, KeyError, TypeError):
                if json.loads(path.read_text(encoding="utf-8"))["quarantined"]:
                    digests.add(path.stem)
        for digest in digests:
            (self.path / POINTS / f"{digest}.json").unlink(missing_ok=True)
            for kind in ("txt", "toml"):
                (self.path / QUARANTINE / f"{digest}.{kind}").unlink(missing_ok=True)
        return len(digests)

    def regime_of(self, number: int, kind: type[BaseRegime]) -> BaseRegime:
        """The regime of a point, by its number in the table and of that kind; PolysemeError if there is no table or no such point."""
        import pyarrow.parquet as pq

        try:
            rows = pq.read_table(self.path / TABLE, columns=["point", "point_hash"]).to_pydict()
        except OSError:
            raise PolysemeError(
                f"{self.path}: got a folder without {TABLE}, expected that of a sweep; type another --out"
            ) from None
        digests = dict(zip(rows["point"], rows["point_hash"], strict=True))
        if number not in digests:
            raise PolysemeError(
                f"got --point {number}, expected the number of a point in {self.path / TABLE}, which has {len(digests)} from {min(digests, default=0)} "
                f"to {max(digests, default=0)}; type one of its column point"
            )
        found = json.loads((self.path / POINTS / f"{digests[number]}.json").read_text(encoding="utf-8"))
        return kind.parse(found["regime"], source=f"point {number}")
