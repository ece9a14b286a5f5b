"""polyseme: a verifier for theories of how transformers learn in context.

The paper's theory, multi-concept word semantics (arXiv 2411.02199)
    Regime, load_regime     one point of its parameter space, and the same from a TOML file
    derive                  which coefficients live, and their recursion, by SymPy
    draw_initial            a random initial state: dictionaries and weights
    integrate               the reduced system, at the level that the regime asks for
    simulate                the full transformer, a whole ensemble at once

On trial
    verify                  evaluate the claims of a theory at a regime: a table of verdicts
    falsify                 search regimes for one that breaks a claim
    sweep                   judge claims at many regimes: where do they hold?

Claims of your own (docs/own_claims.md)
    Claim, Part, Hypothesis, NegativeControl, Evidence, Plan, Basis, Ground, ROUND_OFF, STATISTICS
    rows of evidence        Exact, Compared, Estimated, Fitted, Bounded, Counted, Points, Distance
    rules                   ExactZero, RoundOff, Order, Equivalence, UpperBound, Rate, Distribution

A theory of your own (docs/own_theory.md)
    Theory, Context, Step, SearchSpace, Boundary, AuditMaterial, Plant, Detection
    BaseRegime, Section, key, impossible    its regime

Errors
    PolysemeError, RegimeError, Diverged    one sentence each: what was got, what was expected, what to type

Nothing is loaded before it is used. `polyseme.theory`, `polyseme.sim` and `polyseme.checks` hold all the rest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyseme.checks.core.claim import Claim as Claim
    from polyseme.checks.core.claim import Hypothesis as Hypothesis
    from polyseme.checks.core.claim import NegativeControl as NegativeControl
    from polyseme.checks.core.claim import Part as Part
    from polyseme.checks.core.claim import Plan as Plan
    from polyseme.checks.core.context import Context as Context
    from polyseme.checks.core.evidence import Bounded as Bounded
    from polyseme.checks.core.evidence import Compared as Compared
    from polyseme.checks.core.evidence import Counted as Counted
    from polyseme.checks.core.evidence import Distance as Distance
    from polyseme.checks.core.evidence import Estimated as Estimated
    from polyseme.checks.core.evidence import Evidence as Evidence
    from polyseme.checks.core.evidence import Exact as Exact
    from polyseme.checks.core.evidence import Fitted as Fitted
    from polyseme.checks.core.evidence import Points as Points
    from polyseme.checks.core.library import falsify as falsify
    from polyseme.checks.core.library import sweep as sweep
    from polyseme.checks.core.library import verify as verify
    from polyseme.checks.core.provenance import ROUND_OFF as ROUND_OFF
    from polyseme.checks.core.provenance import STATISTICS as STATISTICS
    from polyseme.checks.core.provenance import Basis as Basis
    from polyseme.checks.core.provenance import Ground as Ground
    from polyseme.checks.core.rules.bound import UpperBound as UpperBound
    from polyseme.checks.core.rules.distribution import Distribution as Distribution
    from polyseme.checks.core.rules.equivalence import Equivalence as Equivalence
    from polyseme.checks.core.rules.exact import ExactZero as ExactZero
    from polyseme.checks.core.rules.exact import Order as Order
    from polyseme.checks.core.rules.exact import RoundOff as RoundOff
    from polyseme.checks.core.rules.rate import Rate as Rate
    from polyseme.checks.core.theory import AuditMaterial as AuditMaterial
    from polyseme.checks.core.theory import Boundary as Boundary
    from polyseme.checks.core.theory import Detection as Detection
    from polyseme.checks.core.theory import Plant as Plant
    from polyseme.checks.core.theory import SearchSpace as SearchSpace
    from polyseme.checks.core.theory import Step as Step
    from polyseme.checks.core.theory import Theory as Theory
    from polyseme.errors import Diverged as Diverged
    from polyseme.errors import PolysemeError as PolysemeError
    from polyseme.errors import RegimeError as RegimeError
    from polyseme.regime import BaseRegime as BaseRegime
    from polyseme.regime import Section as Section
    from polyseme.regime import impossible as impossible
    from polyseme.regime import key as key
    from polyseme.sim.multi_concept.training.initial import draw_initial as draw_initial
    from polyseme.sim.multi_concept.training.train import simulate as simulate
    from polyseme.theory.multi_concept.derivation.derive import derive as derive
    from polyseme.theory.multi_concept.dynamics.run import integrate as integrate
    from polyseme.theory.multi_concept.regime import Regime as Regime
    from polyseme.theory.multi_concept.regime import load_regime as load_regime

_CORE, _PAPER = "polyseme.checks.core", "polyseme.theory.multi_concept"
_HOMES = {
    f"{_PAPER}.regime": ("Regime", "load_regime"),
    f"{_PAPER}.derivation.derive": ("derive",),
    "polyseme.sim.multi_concept.training.initial": ("draw_initial",),
    f"{_PAPER}.dynamics.run": ("integrate",),
    "polyseme.sim.multi_concept.training.train": ("simulate",),
    f"{_CORE}.library": ("verify", "falsify", "sweep"),
    f"{_CORE}.claim": ("Claim", "Hypothesis", "NegativeControl", "Part", "Plan"),
    f"{_CORE}.provenance": ("Basis", "Ground", "ROUND_OFF", "STATISTICS"),
    f"{_CORE}.evidence": (
        *("Evidence", "Exact", "Compared", "Estimated"),
        *("Fitted", "Bounded", "Counted", "Points", "Distance"),
    ),
    f"{_CORE}.rules.exact": ("ExactZero", "RoundOff", "Order"),
    f"{_CORE}.rules.equivalence": ("Equivalence",),
    f"{_CORE}.rules.bound": ("UpperBound",),
    f"{_CORE}.rules.rate": ("Rate",),
    f"{_CORE}.rules.distribution": ("Distribution",),
    f"{_CORE}.theory": ("Theory", "Step", "SearchSpace", "Boundary", "AuditMaterial", "Plant", "Detection"),
    f"{_CORE}.context": ("Context",),
    "polyseme.regime": ("BaseRegime", "Section", "key", "impossible"),
    "polyseme.errors": ("PolysemeError", "RegimeError", "Diverged"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = list(_HOME_OF)  # pyright: ignore[reportUnsupportedDunderAll]  (the names of the table above)


def __getattr__(name: str) -> Any:
    """A public name, loaded when it is first used; SymPy computes with Python's own integers from then on."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'polyseme' has no attribute '{name}'")
    import os

    # SymPy switches to flint silently where it is installed, and two threads in one process wait for each other.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    os.environ.setdefault("SYMPY_GROUND_TYPES", "python")
    globals()[name] = value = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    """The public names alone, for completion."""
    return sorted(__all__)
