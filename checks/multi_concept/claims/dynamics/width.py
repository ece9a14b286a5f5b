"""Claims of the family dynamics about the width: which concepts are learned, from their initial gates alone (THEORY.md section 6.3)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
from jaxtyping import Bool

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Counted, Estimated, Evidence, Exact, Facts
from polyseme.checks.core.provenance import STATISTICS, Basis, Ground
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.core.rules.exact import ExactZero
from polyseme.checks.multi_concept.claims.dynamics.concepts import SINGLE_CONCEPTS
from polyseme.checks.multi_concept.claims.dynamics.signs import MOST_EXCEPTIONS, ONE_CONCEPT, RARE, rare_plan
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.phase_diagrams import Diagram, over_width_and_concepts
from polyseme.checks.multi_concept.phase_diagrams import learned as learned_after
from polyseme.checks.multi_concept.sampling.concepts import Drawn, Law, draw
from polyseme.theory.multi_concept.outcome.thresholds import learnable, lives_on, share_learnable, spread, unanimous
from polyseme.theory.multi_concept.prompts.law import exact_count_probability

# -- what drives a neuron on the plateau -----------------------------------------------------------------------------

MOST_DEMONSTRATIONS = 8


def _gates(L: int) -> list[list[int]]:
    """Every half-line of n+ = 0, ..., L on which a gate can be open."""
    return [[int(n >= edge) for n in range(L + 1)] for edge in range(L + 2)] + [
        [int(n < edge) for n in range(L + 1)] for edge in range(1, L + 1)
    ]


def _driven(context: TrainingContext, law: str) -> Evidence:
    del context
    rows = []
    for L in range(2, MOST_DEMONSTRATIONS + 1):
        share = {(e, n): exact_count_probability(L, law, e, n) / 2 for e in (1, -1) for n in range(L + 1)}
        ebar, u = [Fraction(2 * n - L, L) for n in range(L + 1)], unanimous(L)
        off = [sum(p * (1 - ebar[n] ** 2) for (_, n), p in share.items()) - spread(L)]
        for gate in _gates(L):
            along_c = sum(e * gate[n] * p for (e, n), p in share.items())
            along_d = sum(e * ebar[n] * gate[n] * p for (e, n), p in share.items())
            off += [along_c - u * (gate[L] - gate[0]), along_d - u * (gate[L] + gate[0])]
        worst = max(off, key=abs)
        rows.append(Exact(name=f"L = {L}", residual=sp.Rational(worst.numerator, worst.denominator)))
    return Evidence(
        rows=tuple(rows), facts={"gates tried": [len(_gates(L)) for L in range(2, MOST_DEMONSTRATIONS + 1)]}
    )


DRIVEN = Claim.single(
    id="dynamics/unanimous_prompts_alone_drive_neurons_on_the_plateau",
    statement="While outputs are small and attention is even, what prompts that match give to a neuron cancels but for the two unanimous ones, whatever its "
    "gate: E[e gate] = u (g+ - g-) and E[e ebar gate] = u (g+ + g-), with u = 1/(2 (2^L - 1)) and its gates g+, g- on the labels. And E[1 - ebar^2] is (1 - 1/L) / (1 - 2^-L).",
    formula=r"\mathbb E[e\, 1_{h_i > 0}] = u\,(g_i^+ - g_i^-), \quad \mathbb E[e\, \bar e\, 1_{h_i > 0}] = u\,(g_i^+ + g_i^-), \quad u = \frac{1}{2 (2^L - 1)}",
    section="6",
    scope="any regime",
    asserts=lambda: "match",
    measure=_driven,
    rule=ExactZero(reason="fractions, over every half-line of counts on which a gate can be open"),
    controls=(NegativeControl(name="any prompts", statement="the same for iid prompts", asserts=lambda: "iid"),),
    rests_on=(Basis(ground=Ground.EXACT, text="fractions, for 2 to 8 demonstrations and every gate"),),
)

# -- which concepts are learned ---------------------------------------------------------------------------------------

WIDTHS = (2, 3, 4, 6, 8)
NARROW = Law(
    groups=tuple((3, m) for m in WIDTHS),
    kappa_y=(0.1, 0.8),
    sigma_0=(0.02, 0.1),
    sigma_1=(0.01, 0.1),
    penalty=(0.05, 0.2),
    step=(0.5, 1.0),
    learnable=False,
)
NARROW_MEMBERS, NARROW_STEPS = 2560, 800

Predicted = Callable[[Drawn], Bool[np.ndarray, " member"]]
"""Which members are learned, from their starts alone."""


def _own_label(of: Drawn) -> Bool[np.ndarray, " member"]:
    return of.learnable


def _either_label(of: Drawn) -> Bool[np.ndarray, " member"]:
    """A neuron of each sign that is open on some label, whichever."""
    at, other = of.concepts, np.sign(of.concepts.r)
    opened = lives_on(at.alpha, at.beta, other, at.given.kappa_y) | lives_on(
        at.alpha, at.beta, -other, at.given.kappa_y
    )
    return learnable(opened, at.r)


def _narrow(context: TrainingContext, predicted: Predicted) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Of each width: which members are learned, and which were predicted."""

    def run() -> dict[int, tuple[np.ndarray, dict[Predicted, np.ndarray]]]:
        found = {}
        for group in NARROW.groups:
            drawn = draw(NARROW, group, members=NARROW_MEMBERS, number=4)
            before = {rule: rule(drawn) for rule in (_own_label, _either_label)}
            found[group[1]] = (learned_after(drawn.concepts, NARROW_STEPS), before)
        return found

    runs = context.cached("narrow networks", run)
    return {m: (learned, before[predicted]) for m, (learned, before) in runs.items()}


def _which(context: TrainingContext, predicted: Predicted) -> Evidence:
    rows, table = [], {}
    for m, (learned, expected) in _narrow(context, predicted).items():
        missed, more = expected & ~learned, learned & ~expected
        rows.append(
            Counted(
                name=f"m = {m}: predicted and not learned, or learned and not predicted",
                hits=int((missed | more).sum()),
                trials=NARROW_MEMBERS,
                bound=MOST_EXCEPTIONS,
            )
        )
        table[f"m = {m}"] = {"not learned though predicted": int(missed.sum()), "learned all the same": int(more.sum())}
    return Evidence(rows=tuple(rows), facts={"law": NARROW.in_words(), "steps": NARROW_STEPS, "exceptions": table})


WHICH = Claim.single(
    id="dynamics/concept_is_learned_if_and_only_if_each_label_has_an_open_neuron",
    statement="With three demonstrations, a start with sigma_1 from 0.01 to 0.1 and sigma_0 from 0.02 to 0.1, and 0.05 to 0.2 of the critical penalty, a concept is learned if and only if some neuron with r_i > 0 is open on its label + at the "
    "start, and some neuron with r_i < 0 on its label -, up to exceptions rarer than one in fifty. Neurons open on the other label alone die.",
    formula=r"\text{learned} \iff \exists i, j:\ r_i > 0,\ n_c \alpha_i + n_d \beta_i > 0,\ \ r_j < 0,\ n_c \alpha_j - n_d \beta_j > 0 \quad (t = 0)",
    section="6",
    scope="any regime",
    asserts=lambda: _own_label,
    measure=_which,
    rule=RARE,
    plan=rare_plan(len(WIDTHS), NARROW_MEMBERS),
    controls=(
        NegativeControl(
            name="open on either label",
            statement="learned if and only if a neuron of each sign is open on some label",
            asserts=lambda: _either_label,
        ),
    ),
    uses=(SINGLE_CONCEPTS.id, "dynamics/unanimous_prompts_alone_drive_neurons_on_the_plateau"),
    rests_on=(STATISTICS, ONE_CONCEPT),
)

SHARES = Equivalence(
    margin=0.08,
    reason="0.08 of all concepts: what 2560 starts can tell; between two widths on trial the law itself changes by up to 0.3",
)


@dataclass(frozen=True, kw_only=True)
class WidthRow(Facts):
    """The share of concepts learned at a width, measured and by the law of the claim."""

    m: int
    learned: float
    law: float


@dataclass(frozen=True, kw_only=True)
class ShareFacts(Facts):
    """Shares over the widths of the claim, of concepts drawn by a law; and a diagram over widths and numbers of concepts."""

    law: Mapping[str, Any]
    shares: Sequence[WidthRow]
    diagram: Diagram


def _shares(context: TrainingContext, law: Callable[[int], float]) -> Evidence:
    rows, table = [], []
    for m, (learned, _) in _narrow(context, _own_label).items():
        hits = learned.astype(np.float64)
        # The scatter that the law of the statement gives, where the sample happens to have none.
        error = max(float(hits.std(ddof=1)), NARROW_MEMBERS**-0.5) / NARROW_MEMBERS**0.5
        rows.append(
            Estimated(
                name=f"m = {m}: share learned, less that of the law",
                estimate=float(hits.mean()) - law(m),
                standard_error=error,
                samples=NARROW_MEMBERS,
                scale=1.0,
            )
        )
        table.append(WidthRow(m=m, learned=float(hits.mean()), law=law(m)))
    diagram = context.cached("phase diagram", over_width_and_concepts)
    return Evidence(rows=tuple(rows), facts=ShareFacts(law=NARROW.in_words(), shares=table, diagram=diagram))


SAME_RUNS = Basis(
    ground=Ground.STATISTICS,
    text="the runs of the claim about which concepts are learned, not other ones: the two verdicts are not independent",
)

SHARE = Claim.single(
    id="dynamics/share_of_concepts_learned_follows_from_the_width",
    statement="The share of concepts learned from random small starts is (1 - 2^-ceil(m/2)) (1 - 2^-floor(m/2)), within 0.08: the failure is all "
    "or nothing for each concept, and has the law of the initial gates.",
    formula=r"\Pr(\text{learned}) = (1 - 2^{-\lceil m/2 \rceil})(1 - 2^{-\lfloor m/2 \rfloor})",
    section="6",
    scope="any regime",
    asserts=lambda: share_learnable,
    measure=_shares,
    facts=ShareFacts,
    rule=SHARES,
    plan=lambda context: SHARES.design(
        spread=0.5, rows=len(WIDTHS), level=context.level, fewest=NARROW_MEMBERS, most=NARROW_MEMBERS
    ),
    controls=(
        NegativeControl(
            name="any neuron",
            statement="one neuron open on both, of whatever sign: 1 - 2^-m",
            asserts=lambda: lambda m: 1 - 2.0**-m,
        ),
    ),
    uses=(SINGLE_CONCEPTS.id, "dynamics/concept_is_learned_if_and_only_if_each_label_has_an_open_neuron"),
    rests_on=(STATISTICS, SAME_RUNS, ONE_CONCEPT),
)

CLAIMS = (DRIVEN, WHICH, SHARE)
