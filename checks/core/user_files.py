"""Users' Python files: loading them from outside the project, with one sentence for all that is wrong."""

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from polyseme.errors import PolysemeError

EXAMPLE = "see docs/own_claims.md for an example"
OURS = "polyseme"


def run_file(path: Path, content: str = "claims", example: str = EXAMPLE) -> ModuleType:
    """A user's Python file as a module of its own name, which no import can hit; its folder is on the path while it loads.

    Modules that it finds in its folder are its own: another file's helper of the same name is another module.
    PolysemeError with one sentence if it is missing, is not Python, or raises; `content` says what it should hold.
    """
    if path.suffix != ".py" or not path.is_file():
        raise PolysemeError(
            f"{path}: expected a Python file with {content}; type the path of one that ends in .py ({example})"
        )
    name = f"user_file_{re.sub(r'[^A-Za-z0-9]', '_', str(path.resolve()))}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PolysemeError(f"{path}: expected a Python file with {content}; type the path of one that ends in .py")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look a class's module up by name
    try:
        with _own_imports(path.resolve().parent):
            spec.loader.exec_module(module)
    except SyntaxError as problem:
        raise PolysemeError(
            f"{path}: line {problem.lineno} is not Python ({problem.msg}); expected a Python file with {content}, {example}"
        ) from None
    except KeyboardInterrupt:
        raise
    except BaseException as problem:  # whatever a user's file does, it costs that file only
        raise PolysemeError(
            f"{path}: raised {type(problem).__name__} at line {_line(problem, path)} while it was loaded "
            f"({short(problem)}){_hint(problem)}; {example}"
        ) from None
    return module


@contextmanager
def _own_imports(folder: Path) -> Iterator[None]:
    """The folder is searched first; what is imported from it is forgotten afterwards, except by who imported it."""
    import_module(OURS)  # ours, whatever lies in the folder by such a name
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and name.partition(".")[0] != OURS and folder in Path(file).resolve().parents:
                del sys.modules[name]


def _line(problem: BaseException, path: Path) -> int | str:
    """The last line of the file itself in a traceback."""
    frames = traceback.extract_tb(problem.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    return lines[-1] or "?" if lines else "?"


def _hint(problem: BaseException) -> str:
    """What the commonest mistake is answered with."""
    if isinstance(problem, TypeError) and "controls" in str(problem):
        return "; a claim needs controls = (NegativeControl(...),), wrong theories that its check has to refute"
    return ""


def short(value: object) -> str:
    """A value as text in one line, cut where it is longer than a sentence bears."""
    text = " ".join(str(value).split())
    return text if len(text) <= 160 else text[:157] + "..."
