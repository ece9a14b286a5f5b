"""Settings of the whole suite: threads, exact arithmetic, hypothesis; and the versions in the header."""

import os

# Before numpy, torch and sympy are imported: as in polyseme.checks.command_line.main, with the same reasons.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("SYMPY_GROUND_TYPES", "python")

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import jaxtyping
import pytest
from hypothesis import settings

# The same examples at each run, so that a red run is a change and not a draw; no deadline on shared machines.
settings.register_profile("polyseme", deadline=None, derandomize=True, database=None)
settings.load_profile("polyseme")


def pytest_report_header() -> list[str]:
    """The versions that the results belong to."""
    return [", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "sympy", "torch"))]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first: one that is started last would keep its worker busy after all others."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@contextmanager
def without_types() -> Iterator[None]:
    """No run-time types: over thousands of steps they cost five times the arithmetic; shorter tests check them."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture
def unchecked_types():
    """A test without run-time types."""
    with without_types():
        yield


@pytest.fixture(scope="module")
def unchecked_types_of_the_module():
    """The same for what a whole module shares."""
    with without_types():
        yield
