"""The planted errors of an audit, and how each reaches what a claim asserts."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
from sympy.polys.matrices import DomainMatrix

from polyseme.checks.core.claim import Claim, Part
from polyseme.checks.core.theory import AuditMaterial, Detection, Plant
from polyseme.checks.multi_concept.audit.operators import DELTA, RECURSION, SYSTEM, coefficient
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.sampling.regimes import of_pure_prompts
from polyseme.theory.multi_concept.derivation.derive import Recursion, derive
from polyseme.theory.multi_concept.model import forward as fw
from polyseme.theory.multi_concept.numerics.lower import NumpySystem, System, compile_recursion, system_of
from polyseme.theory.multi_concept.regime import Regime

MORE_REGIMES = 12
"""Random regimes that a user's theory is tried in, besides the one of the audit."""

BY_ID = {claim.id: claim for claim in CLAIMS}

RECURSION_CLAIMS = (
    "gradient/recursion_equals_dense_enumeration",
    "gradient/level_b_drift_matches_population_autograd",
    "closure/population_descent_equals_level_b",
    "closure/level_b_holds_in_random_regimes",
    "gradient/level_b_drift_matches_minibatches",
)
"""Claims that assert the recursion of level B, the cheapest first; a planted recursion is put to each."""

SYSTEM_CLAIMS = RECURSION_CLAIMS[1:]
"""Those of them that run a compiled recursion."""

AUDIT_REGIME = Regime().replace(
    # Every term on: uneven concepts and signs, two overlaps, several neurons, a penalty that bites within the run.
    concepts={"K1": 2, "K2": 1, "d_x": 6, "d_y": 5, "kappa_x": 0.2, "kappa_y": 0.4, "weights": [0.7, 0.3]},
    prompt={"L": 3, "p_plus": 0.4},
    model={"m": 6, "sigma_0": 0.3, "sigma_1": 0.5},
    training={"steps": 20, "batch": "population", "lam": 0.01, "gamma": 50.0, "record_every": 2},
    ensemble={"seeds": 1, "seed": 1},
)
"""Where errors are planted, unless they name a regime of their own."""


def of_recursion(operator: str, name: str, wrong: Recursion) -> Plant:
    """A wrong level-B recursion, for the logistic loss and the ReLU, as a plant."""
    compiled = lru_cache(1)(lambda: compile_recursion(wrong))

    def asserted(part: Part) -> Any:
        return wrong if isinstance(part.asserts(), Recursion) else (lambda _regime: compiled())

    return Plant(
        operator=operator,
        name=name,
        kind="recursion",
        claims=_reached(wrong),
        asserted=asserted,
        regime=AUDIT_REGIME,
        separable=True,
        proof=lambda: proof_of_equivalence(wrong),
    )


def _reached(wrong: Recursion) -> tuple[str, ...]:
    """The claims that a planted recursion is put to.

    The exact evaluation turns the right mean sign into a fraction, and would take for ever on the powers that another
    one leaves; those plants are put to the other claims.
    """
    means = {mean for right in wrong.gradient.values() for mean in right.atoms(sp.tanh, sp.sign)}
    return RECURSION_CLAIMS if means <= {derive("B").counted.ebar} else SYSTEM_CLAIMS


def of_system(operator: str, name: str, wrong: System) -> Plant:
    """A wrong compiled system as a plant."""
    return Plant(
        operator=operator,
        name=name,
        kind="system",
        claims=SYSTEM_CLAIMS,
        regime=AUDIT_REGIME,
        asserted=lambda _part: lambda _regime: wrong,
    )


def all_plants() -> Iterator[Plant]:
    """Every planted error: recursions, systems, statements, quantifiers."""
    right = derive("B")
    for operator, variants in RECURSION.items():
        yield from (of_recursion(operator, name, wrong) for name, wrong in variants(right))
    compiled = system_of(AUDIT_REGIME)
    for operator, changes in SYSTEM.items():
        yield from (of_system(operator, name, wrong) for name, wrong in changes(compiled))
    yield from statements()
    yield from widened()


# -- statements --------------------------------------------------------------------------------------------


def scaled(value: Any, factor: sp.Rational) -> Any:
    """A statement times a factor: an expression, a number, a projection, an array, or each entry of a table."""
    if isinstance(value, Mapping):
        return {key: scaled(entry, factor) for key, entry in value.items()}
    if isinstance(value, DomainMatrix):
        return value * sp.QQ(factor.p, factor.q)
    if isinstance(value, np.ndarray | np.floating | float):
        return value * float(factor)
    if isinstance(value, sp.MatrixBase | sp.Expr):
        return value * factor
    if isinstance(value, int) and not isinstance(value, bool):
        return sp.Integer(value) * factor  # exact, as what it stands in
    if callable(value) and not isinstance(value, type):
        return lambda *arguments: scaled(value(*arguments), factor)
    raise TypeError(f"{type(value).__name__} cannot be scaled")


def _numbered(claim: Claim, part: Part) -> list[tuple[str, str, Callable[[], Any]]]:
    """(operator, name, wrong assertion) of a part that asserts a statement; nothing for one that cannot carry an error."""
    asserted = part.asserts()
    short = claim.id.partition("/")[2].replace("_", " ") + (f" {part.name}" if part.name else "")
    # What is judged from samples sees what its plan says, not one part in a hundred.
    delta = 25 * DELTA if part.rule.is_statistical else DELTA
    factors = [("coefficient", f"1 {'+' if f > 1 else '-'} {float(delta):g}", f) for f in (1 + delta, 1 - delta)]
    if claim.id not in UNSIGNED:
        factors.append(("sign", "-1", sp.S.NegativeOne))
    if claim.id in IDEMPOTENTS:
        factors = [("wrong idempotent", name, factor) for _, name, factor in factors]
    try:
        scaled(asserted, 1 + DELTA)
    except TypeError:
        return []
    return [
        (operator, f"{short}, times {name}", lambda factor=factor: scaled(part.asserts(), factor))
        for operator, name, factor in factors
    ]


IDEMPOTENTS = (
    "algebra/idempotents_resolve_identity",
    "algebra/peirce_blocks_split_the_norm",
    "algebra/gradient_and_projection_commute",
)
"""Claims that assert projections or the vectors that span them: scaled, they are no idempotents any more."""

UNSIGNED = ("gradient/noise_is_gaussian_with_the_stated_deviation", "closure/flow_limit_has_order_one")
"""A standard deviation and a time cannot be negative."""

STATEMENTS: tuple[tuple[str, str], ...] = (
    ("algebra/concept_vectors_are_orthogonal", ""),
    ("algebra/drawn_dictionary_has_the_stated_overlaps", ""),
    *((identifier, "") for identifier in IDEMPOTENTS),
    ("algebra/mean_sign_is_tanh", ""),
    ("algebra/pooled_label_is_c_plus_ebar_d", ""),
    ("algebra/attention_is_a_probability", "in counts"),
    ("gradient/closed_forms_equal_derivatives", ""),
    ("gradient/any_prompt_matches_autograd", ""),
    ("gradient/euler_identity", "as derived"),
    ("gradient/euler_identity", "in the full model"),
    ("gradient/drawn_prompts_follow_the_law", ""),
    ("gradient/noise_is_gaussian_with_the_stated_deviation", ""),
    ("closure/balance_decays_along_the_flow", ""),
    ("closure/flow_limit_has_order_one", ""),
)
"""Claims, with their parts, that assert a formula, a table of them, or a number: each is scaled by 1 +- 0.01 (0.25 for samples) and by -1."""


def statements() -> Iterator[Plant]:
    """Errors in what the other claims state, each put to its own claim."""
    for identifier, of_part in STATEMENTS:
        claim = BY_ID[identifier]
        for operator, name, wrong in _numbered(claim, claim.part(of_part)):
            yield Plant(
                operator=operator,
                name=name,
                kind="statement",
                claims=(identifier,),
                regime=AUDIT_REGIME,
                asserted=lambda part, of=of_part, wrong=wrong: wrong() if part.name == of else part.asserts(),
                proof=_both_signs_cancel if name.endswith("-1") and identifier in IDEMPOTENTS[1:] else None,
            )
    yield from _later()


def _both_signs_cancel() -> str:
    """Blocks and coefficients hold a projection, or a unit vector, on both sides: (-P) W (-P) = P W P for any matrices."""
    P, W = (sp.Matrix(3, 3, sp.symbols(f"{name}:9")) for name in "PW")
    return "(-P) W (-P) = P W P for all matrices" if sp.expand((-P) * W * (-P) - P * W * P).is_zero_matrix else ""


def _later() -> Iterator[Plant]:
    """Whole numbers of updates, off by one: step t for t + 1."""
    for identifier in ("closure/complement_decays_exactly", "closure/no_signal_is_pure_decay"):
        short = identifier.partition("/")[2].replace("_", " ")
        for late in (1, 2):
            yield Plant(
                operator="time",
                name=f"{short}, {late} update{'s' if late > 1 else ''} later",
                kind="statement",
                claims=(identifier,),
                regime=AUDIT_REGIME,
                asserted=lambda _part, late=late: late,
            )


# -- quantifiers -------------------------------------------------------------------------------------------


def widened() -> Iterator[Plant]:
    """Statements made for more regimes than their hypotheses grant."""
    mixed = AUDIT_REGIME.replace(prompt={"p_extra": 0.3, "p_plus": 0.5})
    even = AUDIT_REGIME.replace(prompt={"p_plus": 0.5})
    learning = Regime().replace(
        concepts={"K1": 1, "K2": 0, "d_x": 2, "d_y": 2}, prompt={"L": 2}, model={"m": 48}, training={"lam": 1e-4}
    )
    still = Regime().replace(
        concepts={"K1": 1, "K2": 0, "d_x": 2, "d_y": 2},
        prompt={"L": 2},
        model={"m": 4, "sigma_0": 0.3},
        training={"lam": 0.01},
    )
    cases = (
        ("level S for neurons of any kind", "closure/mirrored_population_descent_equals_level_s", "mirrored", even),
        ("level S for uneven signs", "closure/mirrored_population_descent_equals_level_s", "fair", AUDIT_REGIME),
        (
            "level B's drift with other concepts in the words",
            "gradient/level_b_drift_matches_population_autograd",
            "pure",
            mixed,
        ),
        ("level B with other concepts in the words", "closure/population_descent_equals_level_b", "pure", mixed),
        ("dead blocks with other concepts in the words", "closure/population_descent_equals_level_b", "pure", mixed),
        (
            "every concept learned at any width",
            "dynamics/every_concept_is_learned",
            "wide",
            learning.replace(model={"m": 1}),
        ),
        (
            "every concept learned under any penalty",
            "dynamics/every_concept_is_learned",
            "light_penalty",
            learning.replace(training={"lam": 0.01}),
        ),
        ("a smooth end for neurons with gates", "dynamics/end_of_training_is_smooth", "no_gates", still),
    )
    for name, identifier, key, regime in cases:
        yield Plant(
            operator="quantifier widened",
            name=name,
            kind="quantifier",
            claims=(identifier,),
            asserted=lambda part: part.asserts(),
            regime=regime,
            dropped=frozenset({key}),
        )


# -- equivalence -------------------------------------------------------------------------------------------


def proof_of_equivalence(wrong: Recursion) -> str:
    """Why a planted recursion is the right one after all, or nothing.

    Every difference of two equations has to be zero after e^n has been reduced by e^2 = 1: structurally, as polynomials in
    the atoms that are left (sums, functions, coefficients).
    """
    from polyseme.checks.multi_concept.claims.decomposition.penalty import as_atoms

    right = derive(wrong.level, loss=wrong.loss, activation=wrong.activation)  # pyright: ignore[reportArgumentType]
    if wrong.observables != right.observables:
        return ""
    for x in right.state:
        for one, other in ((right.gradient[x], wrong.gradient[x]), (right.shrinkage[x], wrong.shrinkage[x])):
            if as_atoms(sp.expand(_reduced(one) - _reduced(other))) != 0:
                return ""
    return "the same equations once e^2 = 1 is used"


def _reduced(expression: sp.Expr) -> sp.Expr:
    def parity(base: sp.Expr, power: sp.Expr) -> sp.Expr:
        return base ** (power % 2) if base == fw.e and power.is_Integer else base**power

    return expression.replace(sp.Pow, parity)


def from_user(path: str, patch: Callable[[Recursion], Recursion]) -> Plant:
    """A user's wrong recursion as a plant; TypeError or ValueError if the patch gives none, or changes nothing."""
    right = derive("B")
    # A copy: the derivation is kept, and a patch may write into the tables that it is handed.
    tables = {name: dict(getattr(right, name)) for name in ("gradient", "shrinkage", "observables")}
    wrong = patch(replace(right, **tables))
    if not isinstance(wrong, Recursion):
        raise TypeError(f"patch gave {type(wrong).__name__}, expected a Recursion")
    if (
        wrong.gradient == right.gradient
        and wrong.shrinkage == right.shrinkage
        and wrong.observables == right.observables
    ):
        raise ValueError("the patch changed nothing")
    # A term may vanish at the numbers of one regime, so a theory of unknown origin is tried in many.
    rng = np.random.default_rng(0)
    return replace(
        of_recursion("yours", path, wrong), more_regimes=tuple(of_pure_prompts(rng) for _ in range(MORE_REGIMES))
    )


# -- what the core asks for --------------------------------------------------------------------------------


def _coefficients() -> dict[str, Callable[[Regime], NumpySystem]]:
    """Every coefficient of level B with an error of 1% up and down, compiled."""
    found = {name: compile_recursion(wrong) for name, wrong in coefficient(derive("B"), DELTA)}
    return {name: lambda _regime, system=system: system for name, system in found.items()}


STEPS = 3
"""Updates in a trial of detection: penalties show after one, and what feeds on attention after two."""

AUDIT = AuditMaterial(
    regime=AUDIT_REGIME,
    plants=all_plants,
    true_claims=("gradient/drawn_prompts_follow_the_law", "gradient/neurons_start_gaussian"),
    detection=Detection(
        claim="closure/population_descent_equals_level_b",
        part="from any blocks",
        delta=float(DELTA),
        asserted=_coefficients,
        draw=lambda rng: of_pure_prompts(rng, steps=STEPS),
    ),
    from_user=from_user,
    separating_claim="gradient/level_b_drift_matches_population_autograd",
    separating_regime=lambda regime: regime.replace(training={"loss": "logistic"}, model={"activation": "relu"}),
)
