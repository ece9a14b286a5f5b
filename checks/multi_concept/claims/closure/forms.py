"""Claims of the family closure about the forms that the recursion is run in: flow, balls, cheaper evaluation (section 4)."""

from fractions import Fraction
from math import comb

import numpy as np
import sympy as sp

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Bounded, Compared, Evidence, Exact
from polyseme.checks.core.provenance import ROUND_OFF, Basis, Ground
from polyseme.checks.core.rules.bound import UpperBound
from polyseme.checks.core.rules.exact import ExactZero, RoundOff
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.hypotheses import (
    ATTENTION_STARTS,
    DISTINCT,
    GENTLE,
    KINKED,
    MLP_STARTS,
    PURE,
    SEVERAL_DEMONSTRATIONS,
    TRAINS,
)
from polyseme.checks.multi_concept.round_off.paths import COLLECTED, STATE, population_reference, roundings_of
from polyseme.checks.multi_concept.round_off.scale import before_cancellation
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.coefficients import constants, from_layout, project, to_layout
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.dynamics.certified import certify
from polyseme.theory.multi_concept.dynamics.flow_limit import recursion_end
from polyseme.theory.multi_concept.dynamics.gate_flow import Solver, flow
from polyseme.theory.multi_concept.dynamics.integrate import evaluate, integrate_b
from polyseme.theory.multi_concept.numerics.fast import Edges, compile_fast
from polyseme.theory.multi_concept.numerics.lower import system_of
from polyseme.theory.multi_concept.prompts.tail import EPSILON, Window, window
from polyseme.theory.multi_concept.regime import Regime

# -- the flow across gate events ---------------------------------------------------------------------------

# Small enough to be solved at 1e-12 in a second, long enough for a dozen gates to flip and some to slide.
FLOW_REGIMES = tuple(
    Regime().replace(
        concepts={"K1": K1, "K2": 0, "d_x": 6, "d_y": 5},
        prompt={"L": 3, "law": law},
        model={"m": 6, "sigma_0": 0.4, "sigma_1": 0.3},
        training={"lam": 2e-3},
        ensemble={"seed": seed},
    )
    for K1, law, seed in ((1, "match", 2), (2, "iid", 3))
)
FLOW_TIME, REFERENCE, TOLERANCES = 300.0, 1e-12, (1e-6, 1e-8)


class GatesKept(Solver):
    """Gates stay as they are at the start."""

    follows_gates = False


class ShutAtKinks(Solver):
    """Gates that should slide along their kinks are taken to be shut there."""

    def values_at_kinks(self, matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Zero, whatever keeps the pre-activations where they are."""
        del matrix
        return np.zeros_like(right)


def _flow_start(context: TrainingContext, number: int) -> tuple[Regime, dict[str, np.ndarray]]:
    regime = FLOW_REGIMES[number]
    return regime, context.cached(f"flow start {number}", lambda: context.draw(regime))


def _across_events(context: TrainingContext, solver: type[Solver]) -> Evidence:
    rows, events = [], []
    times = np.linspace(0.0, FLOW_TIME, 60)
    for number in range(len(FLOW_REGIMES)):
        regime, initial = _flow_start(context, number)
        reference = context.cached(
            f"flow {number}",
            lambda regime=regime, initial=initial: flow(regime, initial, tau=FLOW_TIME, tolerance=REFERENCE),
        )
        events.append([f"{event.time:.4g} {event.kind}" for event in reference.events])
        for tolerance in TOLERANCES:
            path = flow(regime, initial, tau=FLOW_TIME, tolerance=tolerance, solver=solver)
            error = max(float(np.abs(path.vector(time) - reference.vector(time)).max()) for time in times)
            # In units of the tolerance that was asked for, plus that of the reference.
            rows.append(
                Bounded(name=f"regime {number}, tolerance {tolerance:g}", value=error, bound=tolerance + REFERENCE)
            )
    return Evidence(rows=tuple(rows), facts={"events": events, "time": FLOW_TIME})


ACROSS_EVENTS = Claim.single(
    id="closure/flow_keeps_its_tolerance_across_gate_events",
    statement="Solved with frozen gates, cut at every gate event, and sliding along kinks where both sides point towards them, the "
    "gradient flow stays within the tolerance that was asked for of a reference at 1e-12.",
    formula=r"\max_\tau \|W_{\mathrm{tol}}(\tau) - W_{10^{-12}}(\tau)\|_\infty \le \mathrm{tol}",
    section="4",
    scope="any regime",
    asserts=lambda: Solver,
    measure=_across_events,
    rule=UpperBound(
        reason="one tolerance, absolute: the sizes of the coefficients are of order one", is_statistical=False
    ),
    controls=(
        NegativeControl(
            name="events ignored", statement="gates stay as they are at the start", asserts=lambda: GatesKept
        ),
    ),
    uses=("gradient/recursion_equals_dense_enumeration",),
    rests_on=(Basis(ground=Ground.CONVERGENCE, text="the same solver at a tolerance 10^4 to 10^6 times finer"),),
)

COARSE, FINE = 250, 8000


def _recursion_beside(context: TrainingContext, solver: type[Solver]) -> Evidence:
    """How far the recursion is from the flow at the end, with few steps and with 32 times as many."""
    rows, facts = [], {}
    for number in range(len(FLOW_REGIMES)):
        regime, initial = _flow_start(context, number)
        solved = flow(regime, initial, tau=FLOW_TIME, tolerance=1e-8, solver=solver)
        ends = context.cached(
            f"recursion {number}",
            lambda regime=regime, initial=initial: [
                recursion_end(regime, initial, FLOW_TIME, steps) for steps in (COARSE, FINE)
            ],
        )
        coarse, fine = (float(np.abs(end - solved.vector(FLOW_TIME)).max()) for end in ends)
        facts[f"regime {number}"] = {"distances": [coarse, fine], "kinds": sorted({e.kind for e in solved.events})}
        # One quarter of what order one promises, FINE / COARSE: the phase of the steps at each event moves the constant.
        allowed = 4 * COARSE / FINE * coarse
        rows.append(Bounded(name=f"regime {number}", value=fine, bound=allowed))
    return Evidence(rows=tuple(rows), facts=facts | {"steps": [COARSE, FINE]})


BESIDE = Claim.single(
    id="closure/recursion_converges_to_the_sliding_flow",
    statement="Across gate events the recursion converges to the flow that slides along kinks: with 32 times as many steps it is at "
    "least eight times nearer to it.",
    formula=r"\|W(\tau/\eta) - W_{\mathrm{flow}}(\tau)\| = O(\eta)",
    section="4",
    scope="any regime",
    asserts=lambda: Solver,
    measure=_recursion_beside,
    rule=UpperBound(
        reason="a factor 8 of the 32 that order one promises; at each event the phase of the steps moves the constant",
        is_statistical=False,
    ),
    controls=(
        NegativeControl(
            name="gates shut at their kinks",
            statement="a gate that cannot cross its kink is shut there, and does not slide",
            asserts=lambda: ShutAtKinks,
        ),
    ),
    uses=("closure/flow_keeps_its_tolerance_across_gate_events",),
    rests_on=(Basis(ground=Ground.CONVERGENCE, text="the recursion itself, which has no events"),),
)

# -- certified runs ----------------------------------------------------------------------------------------

CERTIFIED_STEPS, BITS = 200, 256


def _certified(context: TrainingContext, detuned: float) -> Evidence:
    """The proven distance of the float64 path from the exact recursion, against the round-off that claims allow for."""
    steps = min(CERTIFIED_STEPS, context.regime.training.steps)
    regime = context.population_regime.replace(training={"steps": steps, "record_every": max(1, steps // 20)})
    certificate = context.cached("certificate", lambda: certify(regime, context.initial, steps=steps, bits=BITS))
    if certificate.undecided is not None:
        raise PolysemeError(
            f"a gate is undecided at {BITS} bits after {certificate.steps} certified steps; type another seed in [ensemble]"
        )
    path = integrate_b(_faster(regime, detuned), context.initial)
    bar, roundings = certificate.error_bar(path), roundings_of(regime, population_reference(context))
    rows = [
        Compared(
            name=name,
            difference=float(np.max(bar[name])),
            scale=float(np.abs(path[name]).max()) or 1.0,
            roundings=roundings,
        )
        for name in STATE
    ]
    return Evidence(rows=tuple(rows), facts={"certified steps": certificate.steps, "bits": BITS})


def _faster(regime: Regime, by: float) -> Regime:
    """The regime with step sizes larger by a relative amount."""
    training = regime.training
    if training.schedule == "constant":
        return regime.replace(training={"eta": training.eta * (1 + by)})
    return regime.replace(training={"gamma": training.gamma / (1 + by)})


CERTIFIED = Claim.single(
    id="closure/float64_path_is_certified",
    statement="The float64 trajectory of level B is within the round-off that the trajectory claims allow for of the exact "
    "recursion, by a proof in ball arithmetic from exact initial data, for two hundred steps.",
    formula=r"|W_{\mathrm{float64}}(t) - W(t)| \le |W_{\mathrm{float64}}(t) - \mathrm{mid}| + \mathrm{rad},\quad t \le 200",
    section="4",
    hypotheses=(PURE, DISTINCT, ATTENTION_STARTS, MLP_STARTS, GENTLE, SEVERAL_DEMONSTRATIONS, TRAINS),
    asserts=lambda: 0.0,
    measure=_certified,
    rule=RoundOff(reason=COLLECTED),
    controls=(
        NegativeControl(
            name="another step size", statement="steps larger by one part in a million", asserts=lambda: 1e-6
        ),
    ),
    uses=("gradient/recursion_equals_dense_enumeration",),
    rests_on=(Basis(ground=Ground.ENCLOSURE, text="ball arithmetic: every rounding enclosed"),),
)

# -- the cheaper evaluation --------------------------------------------------------------------------------

STATES = 3


class AllRising(Edges):
    """Half-lines of which every one is taken to be open above its kink."""

    @property
    def rising(self) -> np.ndarray:
        """True, also for gates that shut as n+ grows."""
        return np.ones_like(self.B, dtype=bool)


def _cheaper(context: TrainingContext, edges: type[Edges]) -> Evidence:
    regime, rows = context.one, []
    generic = system_of(regime)
    fast = compile_fast(derive("B", loss=regime.training.loss, activation=regime.model.activation), edges=edges)
    for seed in range(STATES):
        state = context.block_state(seed)
        coefficients = project(state, regime.concepts.K1)
        layout, numbers = to_layout(coefficients), constants(regime, state["r"])
        one, other = (from_layout(evaluate(form.gradient, layout, numbers)) for form in (fast, generic))
        sizes = before_cancellation(regime, state["r"], coefficients)
        rows += [
            Compared(
                name=f"{name}, state {seed}",
                difference=float(np.abs(one[name] - other[name]).max()),
                scale=float(sizes[name]),
                # Cumulative sums over neurons, then over prompts, each with one rounding a term.
                roundings=8.0 * (regime.model.m + 2 * (regime.prompt.L + 1)),
            )
            for name in one
        ]
    return Evidence(rows=tuple(rows), facts={"random states": STATES})


CHEAPER = Claim.single(
    id="closure/cheaper_evaluation_equals_the_generic_one",
    statement="Gates found by bisection, and sums over open gates as cumulative sums, give the gradient of the generic evaluation.",
    formula=r"\sum_i w_i\, \mathbf 1[\alpha_i + \bar e\, \beta_i > 0] = \sum_{\text{opened}} w_i + \sum_{\text{not yet shut}} w_i",
    section="3",
    hypotheses=(PURE, DISTINCT, KINKED, SEVERAL_DEMONSTRATIONS),
    asserts=lambda: Edges,
    measure=_cheaper,
    rule=RoundOff(
        reason="8 (m + 2 (L + 1)) unit round-offs of one prompt's gradient: the lengths of the cumulative sums"
    ),
    controls=(
        NegativeControl(
            name="every gate rising",
            statement="gates with beta < 0 open above their kink too",
            asserts=lambda: AllRising,
        ),
    ),
    uses=("gradient/recursion_equals_dense_enumeration",),
    rests_on=(ROUND_OFF,),
)

# -- the window of counts ----------------------------------------------------------------------------------

WINDOWS = ((2000, Fraction(1, 2), "match"), (3000, Fraction(1, 4), "iid"))


def _exact_tail(L: int, plus: Fraction, within: Window) -> Fraction:
    """The probability of the counts outside a window, in fractions."""
    up, down, scale = plus.numerator, plus.denominator - plus.numerator, plus.denominator**L
    outside = (n for n in range(L + 1) if not within.first <= n <= within.last)
    return Fraction(sum(comb(L, n) * up**n * down ** (L - n) for n in outside), scale)


def _tail(_context: TrainingContext, narrower: int) -> Evidence:
    rows, facts = [], {}
    for L, plus, law in WINDOWS:
        regime = Regime().replace(prompt={"L": L, "p_plus": float(plus), "law": law})
        right = window(regime)
        middle, half = (right.first + right.last) // 2, (right.last - right.first) // (2 * narrower)
        within = Window(first=middle - half, last=middle + half, left_out=right.left_out)
        tail = _exact_tail(L, plus, within)
        excess = max(Fraction(0), tail - Fraction(EPSILON))
        rows.append(
            Exact(
                name=f"L = {L}, p = {plus}: tail beyond its bound",
                residual=sp.Rational(excess.numerator, excess.denominator),
            )
        )
        facts[f"L = {L}"] = f"{within.last - within.first + 1} of {L + 1} counts, exact tail {float(tail):.2g}"
    return Evidence(rows=tuple(rows), facts=facts)


TAIL = Claim.single(
    id="closure/window_of_counts_leaves_out_what_it_says",
    statement="The counts outside the window that Hoeffding's inequality grants have, in exact arithmetic, no more than the "
    "probability 2^-80 that the window is allowed to leave out.",
    formula=r"\Pr(|n_+ - L p_+| \ge t) \le 2 e^{-2 t^2 / L} = 2^{-80}",
    section="3",
    scope="any regime",
    asserts=lambda: 1,
    measure=_tail,
    rule=ExactZero(),
    controls=(NegativeControl(name="a third of the window", statement="a window a third as wide", asserts=lambda: 3),),
    rests_on=(Basis(ground=Ground.EXACT, text="exact rational arithmetic"),),
)

CLAIMS = (TAIL, CHEAPER, CERTIFIED, ACROSS_EVENTS, BESIDE)
