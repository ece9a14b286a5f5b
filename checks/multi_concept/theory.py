"""The multi-concept theory, as the core asks for it."""

from importlib.resources import files
from pathlib import Path

from polyseme.checks.core.theory import Source, Theory
from polyseme.checks.multi_concept.audit.plants import AUDIT
from polyseme.checks.multi_concept.boundaries import BOUNDARIES
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.presentation import present
from polyseme.checks.multi_concept.search import SEARCH
from polyseme.checks.multi_concept.steps import FIGURE_CLAIMS, STEPS
from polyseme.theory.multi_concept.regime import NAME, Regime

_HERE = "polyseme.checks.multi_concept"
_MATHEMATICS = "polyseme.theory.multi_concept"
_SOURCES = (
    Source(package="polyseme.theory.calculus"),
    Source(package="polyseme.theory.calculus", pattern="*.h"),  # what machine code calls
    Source(package=_MATHEMATICS, pattern="*.py"),
    *(
        Source(package=f"{_MATHEMATICS}.{name}")
        for name in ("derivation", "dynamics", "fluctuation", "model", "numerics", "outcome", "prompts", "reference")
    ),
    Source(package="polyseme.sim"),
    *(
        Source(package=_HERE, pattern=f"{name}.py")
        for name in ("__init__", "context", "controls", "hypotheses", "phase_diagrams", "theory")
    ),
    *(Source(package=f"{_HERE}.out_of_distribution", pattern=f"{name}.py") for name in ("models", "scenarios")),
    *(Source(package=f"{_HERE}.{name}") for name in ("claims", "round_off", "sampling", "stochastic")),
)
"""All that a verdict may depend on: the mathematics, the simulation, the claims; not how results are shown or documented."""


def _prepare() -> None:
    """One thread in each process: two threads spike at random on small machines."""
    from polyseme.sim.ensemble.device import one_thread

    one_thread()


THEORY = Theory(
    name=NAME,
    title="multi-concept word semantics (arXiv 2411.02199)",
    regime=Regime,
    claims=CLAIMS,
    steps=STEPS,
    context=TrainingContext,
    default=Path(str(files("polyseme.regimes") / "default.toml")),
    search=SEARCH,
    audit=AUDIT,
    boundaries=BOUNDARIES,
    present=present,
    figure_claims=FIGURE_CLAIMS,
    sources=_SOURCES,
    libraries=("mpmath", "numpy", "python-flint", "scipy", "statsmodels", "sympy", "torch"),
    packages=("numpy", "scipy", "sympy", "torch"),
    prepare=_prepare,
)
