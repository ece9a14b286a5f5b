"""What tests of sweeps share: claims that cost nothing, a grid over widths, and a pool without processes."""

import importlib.util
import threading
from concurrent.futures import Future
from pathlib import Path

from polyseme.checks.core.sweeps.folder import Folder
from polyseme.checks.core.sweeps.grid import load_grid
from polyseme.checks.core.sweeps.run import lay_out, run
from polyseme.checks.core.sweeps.task import files_of, try_point
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.errors import PolysemeError

FILE = Path(__file__).with_name("cheap_claims.py")


def claims():
    spec = importlib.util.spec_from_file_location("cheap_claims", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CLAIMS


CLAIMS = claims()


def write_grid(path: Path, *names: str, widths=range(1, 9), head: str = "", tail: str = "") -> Path:
    chosen = ", ".join(f'"cheap/{name}"' for name in names)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"[sweep]\nclaims = [{chosen}]\n{head}\n[model]\nm = {{values = {list(widths)}}}\n{tail}", encoding="utf-8"
    )
    return path


class Died(Exception):
    """A worker ended by itself, in a pool that has none."""


class Here:
    """A pool that tries a point when it is asked for it; `trouble(task, attempt)` may raise instead."""

    def __init__(self, trouble=None, gone_after=None):
        self.tried, self.trouble, self.gone_after, self.running = [], trouble, gone_after, 0

    @property
    def room(self):
        return 2 - self.running

    def submit(self, task):
        future, self.running = Future(), self.running + 1
        self.tried.append(task.digest)
        try:
            if self.trouble:
                self.trouble(task, self.tried.count(task.digest))
            future.set_result(try_point(task))
        except BaseException as problem:
            future.set_exception(problem)
        return future

    def free(self, _future):
        self.running -= 1

    def died(self, problem):
        return isinstance(problem, Died)

    def check(self):
        if self.gone_after is not None and len(self.tried) > self.gone_after:
            raise PolysemeError("the scheduler is gone")


def sweep(grid: Path, out: Path, pool=None, report=None, stop=None):
    layout = lay_out(load_grid(grid, THEORY, CLAIMS), files=files_of([FILE]))
    folder = Folder(path=out)
    with folder.locked():
        return run(layout, folder, pool or Here(), stop or threading.Event(), report or (lambda _state: None))
