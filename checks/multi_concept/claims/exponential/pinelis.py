"""Claims about an exponential bound on the 0-1 error of SGD: every step of its proof, and where it says anything (THEORY.md section 5).

The bound, its proof and its constants are those of `polyseme.theory.multi_concept.fluctuation.bounds`; the seeds, and where they start, those of `polyseme.checks.multi_concept.claims.exponential.starts`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polyseme.checks.core.claim import Claim, NegativeControl, Part
from polyseme.checks.core.evidence import Bounded, Counted, Evidence, Facts
from polyseme.checks.core.provenance import ROUND_OFF, STATISTICS, Basis, Ground
from polyseme.checks.core.rules.bound import UpperBound
from polyseme.checks.core.rules.exact import UNIT
from polyseme.checks.multi_concept.claims.exponential.error_curve import CURVE, learnable, regime_of
from polyseme.checks.multi_concept.claims.exponential.starts import (
    EXPONENTIAL,
    RESOLVED,
    TAILS,
    as_list,
    cases,
    descent,
    facts_of,
    forks,
    plan,
    times,
    whole_path,
)
from polyseme.checks.multi_concept.context import Arrays, TrainingContext
from polyseme.checks.multi_concept.stochastic.deviations import nearest, width_of
from polyseme.checks.multi_concept.stochastic.ensembles import Stream, generator
from polyseme.theory.multi_concept.coefficients import concept_vectors, project
from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.fluctuation.bounds import Path
from polyseme.theory.multi_concept.fluctuation.curvature import deviations
from polyseme.theory.multi_concept.fluctuation.linear_noise import possible

# -- the noise of one prompt ----------------------------------------------------------------------------------

DETERMINISTIC = "known to round-off at every state that was looked at"


def _weights(context: TrainingContext, one: Ensemble) -> Arrays:
    """Weights of the full model that have a member's coefficients."""
    _, start = learnable(context)
    K1 = one.regime.concepts.K1
    words, labels = concept_vectors(start["M"], K1), concept_vectors(start["Q"], K1)
    before, after = project(start, K1), {name: x[0] for name, x in one.coefficients().items()}
    moved = {
        name: np.einsum("kst,ksd,kte->de", after[f"{name}_blocks"] - before[f"{name}_blocks"], words, words)
        for name in ("W_Q", "W_K")
    }
    moved["W_O"] = sum(
        (after[name] - before[name]) @ labels[:, side] for side, name in enumerate(("alpha", "beta"))
    ) + np.zeros_like(start["W_O"])
    return {**start, **{name: start[name] + change for name, change in moved.items()}}


def _autograd(context: TrainingContext, one: Ensemble) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the full model on each possible prompt (prompt, weight), and that of the population risk (weight,)."""
    regime, weights = one.regime, _weights(context, one)
    names, L = ("W_Q", "W_K", "W_O"), one.regime.prompt.L
    each = []
    for k, j, n in possible(one):
        signs = np.arange(L) >= n  # n+ of the columns are those of +, which come first
        prompt = {
            "x": weights["M"].T[2 * k + signs][None],
            "y": weights["Q"].T[2 * k + signs][None],
            "x_query": weights["M"].T[2 * k + j][None],
            "e": np.array([1.0 - 2.0 * j]),
        }
        gradient = context.autograd(weights, prompt, activation=regime.model.activation, loss=regime.training.loss)
        each.append(np.concatenate([gradient[name].ravel() for name in names]))
    population = context.population_gradient_of(regime, weights)
    return np.array(each), np.concatenate([population[name].ravel() for name in names])


def _largest(lengths: np.ndarray, law: np.ndarray) -> float:
    del law
    return float(lengths.max())


def _root_mean_square(lengths: np.ndarray, law: np.ndarray) -> float:
    return float(np.sqrt(law @ lengths**2))


def _noise(context: TrainingContext, size: Callable[[np.ndarray, np.ndarray], float]) -> Evidence:
    rows, facts = [], {}
    for at in forks(context):
        one, law = at.one, at.one.law[tuple(possible(at.one).T)]
        each, mean = context.cached(f"autograd of prompts, {at.name}", lambda one=one: _autograd(context, one))
        scale = float(np.linalg.norm(each, axis=1).max())
        lengths = np.linalg.norm(deviations(one), axis=0)
        b = size(lengths, law)
        rows += [
            Bounded(
                name=f"{at.name}: length of the mean",
                value=float(np.linalg.norm(law @ each - mean)),
                bound=64 * len(each) * UNIT * scale,
            ),
            Bounded(
                name=f"{at.name}: largest length",
                value=float(np.linalg.norm(each - mean, axis=1).max()),
                bound=b + 64 * len(each) * UNIT * scale,
            ),
        ]
        facts[at.name] = {"b": b, "root mean square": _root_mean_square(lengths, law), "t": at.path.first}
    return Evidence(rows=tuple(rows), facts=facts)


NOISE = Claim.single(
    id="exponential/noise_of_one_prompt_is_a_bounded_martingale_difference",
    statement="At states of the path the gradient of the full model on one prompt differs from the population gradient by a vector "
    "with mean zero, whose length in all weights is at most b, the largest deviation in the coefficients of level B.",
    formula=r"\mathbb E\, \zeta = 0,\qquad \|\zeta\| \le b = \max_{k, e, n_+} \|\nabla \ell_{k, e, n_+} - \nabla R\|",
    section="5",
    hypotheses=CURVE,
    asserts=lambda: _largest,
    measure=_noise,
    rule=UpperBound(reason=f"the largest prompt, {DETERMINISTIC}", is_statistical=False),
    controls=(
        NegativeControl(
            name="the root mean square",
            statement="the same with the root mean square of the deviation for its largest length",
            asserts=lambda: _root_mean_square,
        ),
    ),
    uses=("gradient/level_b_drift_matches_population_autograd",),
    rests_on=(ROUND_OFF,),
)

# -- one step of the hyperbolic cosine ------------------------------------------------------------------------

SIZES = (0.1, 0.5, 1.0, 3.0)
"""s b: how strongly the cosine weighs a step."""
PLACES = (0.0, 0.5, 2.0, 8.0)
"""s ||x||."""


def _cosine(context: TrainingContext, shrunk: float) -> Evidence:
    rows = []
    rng = np.random.default_rng(context.regime.ensemble.seed)
    for at in forks(context):
        one = at.one
        law, noise = one.law[tuple(possible(one).T)], deviations(one)
        lengths = np.linalg.norm(noise, axis=0)
        b = shrunk * float(lengths.max())
        principal = np.linalg.svd(noise * np.sqrt(law), full_matrices=False)[0][:, 0]
        longest = noise[:, lengths.argmax()] / lengths.max()
        directions = np.stack([longest, -longest, principal, -principal, *rng.normal(size=(8, len(noise)))])
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        for size in SIZES:
            s = size / b
            ratios = [
                law @ np.cosh(s * np.linalg.norm(x[:, None] + noise, axis=0)) / (np.cosh(place) * np.cosh(size))
                for place in PLACES
                for x in directions * (place / s)
            ]
            rows.append(Bounded(name=f"{at.name}, s b = {size:g}", value=float(max(ratios)), bound=1 + 1e-12))
    return Evidence(rows=tuple(rows), facts={"s b": list(SIZES), "s ||x||": list(PLACES), "directions": 12})


COSINE = Claim.single(
    id="exponential/hyperbolic_cosine_grows_by_at_most_that_of_the_largest_prompt",
    statement="Under the law of one prompt's noise at states of the path, the expectation of cosh(s ||x + zeta||) is at most cosh(s ||x||) cosh(s b), for "
    "small and large s, at x = 0 and along and against the largest and the principal noise, and in random directions.",
    formula=r"\mathbb E \cosh(s \|x + \zeta\|) \le \cosh(s \|x\|) \cosh(s b) \le \cosh(s \|x\|)\, e^{s^2 b^2 / 2}",
    section="5",
    hypotheses=CURVE,
    asserts=lambda: 1.0,
    measure=_cosine,
    rule=UpperBound(
        reason="one: the right side is what bounded vectors of mean zero in a Hilbert space can reach, and two opposite ones do",
        is_statistical=False,
    ),
    controls=(NegativeControl(name="half of b", statement="the same with b/2 for b", asserts=lambda: 0.5),),
    uses=("exponential/noise_of_one_prompt_is_a_bounded_martingale_difference",),
    rests_on=(ROUND_OFF,),
)

# -- the distance to a mistake --------------------------------------------------------------------------------


def _distance(context: TrainingContext, factor: float) -> Evidence:
    rows = tuple(Bounded(name=case.name, value=factor * case.seeds.closest, bound=1.0) for case in cases(context))
    states = sum(case.seeds.length.size for case in cases(context))
    return Evidence(rows=rows, facts={"states": states, "prompts": len(possible(forks(context)[0].one))})


DISTANCE = Claim.single(
    id="exponential/wrong_prompts_are_far_from_the_path",
    statement="No state of any seed gets a prompt wrong that the path gets right unless the coefficients of its concept are at least the computed "
    "distance D away from the path: margin over Lipschitz bound, with the growth of the bound on the way.",
    formula=r"e f(\theta) \le 0 \;\Rightarrow\; \|\delta_k\| \ge D,\qquad "
    r"\frac{1}{\sqrt m}\Bigl(D + n_d \|\bar\beta_k\|\, \Delta\bar e(D)\Bigr) = e \bar f",
    section="5",
    hypotheses=CURVE,
    asserts=lambda: 1.0,
    measure=_distance,
    rule=UpperBound(reason=f"one: the distance itself, {DETERMINISTIC}", is_statistical=False),
    controls=(NegativeControl(name="three times as far", statement="the same with 3 D for D", asserts=lambda: 3.0),),
    uses=("closure/stochastic_recursion_equals_sgd",),
    rests_on=(ROUND_OFF,),
)

# -- the tail -------------------------------------------------------------------------------------------------


def _tails(context: TrainingContext) -> dict[str, dict[str, list[float]]]:
    """Measured and stated probability that ||delta|| is at least x, at the last step that seeds are followed to."""
    found = {}
    for case in cases(context):
        x = np.linspace(0.0, float(case.width.exceeded(RESOLVED)[-1]), 25)
        beyond = case.inside[-1] & (case.seeds.length[-1] >= x[:, None])
        stated = case.width.tail(np.broadcast_to(x, (len(case.path.errors), len(x))))[-1]
        found[case.name] = {"x": as_list(x), "measured": as_list(beyond.mean(axis=1)), "bound": as_list(stated)}
    return found


def _tail(context: TrainingContext, effective: Callable[[int], float]) -> Evidence:
    rows = []
    for case in cases(context):
        width = width_of(case.path, effective(case.batch), case.allowed)
        seeds = case.inside.shape[1]
        for tail in TAILS:
            beyond = case.inside & (case.seeds.length >= width.exceeded(tail)[:, None])
            ever = (case.inside & (case.seeds.length >= width.ever_exceeded(tail)[:, None]))[1:].any(axis=0)
            events = {f"t = {case.path.first + t}": beyond[t] for t in times(case.fork)} | {"at any t": ever}
            rows += [
                Counted(name=f"{case.name}, {when}, a tail of {tail:g}", hits=int(hit.sum()), trials=seeds, bound=tail)
                for when, hit in events.items()
            ]
    exits = {case.name: float(1 - case.inside[-1].mean()) for case in cases(context)}
    facts = {"exit fraction": exits, "tails at the end": _tails(context), "seed": context.regime.ensemble.seed}
    return Evidence(rows=tuple(rows), facts=facts)


# -- the error ------------------------------------------------------------------------------------------------


def _informative(path: Path, law: np.ndarray) -> float:
    """The smallest batch 2^j whose bound on the error at the path's end is below 0.1, for seeds that need no allowance at all."""
    fine = (2.0**j for j in range(80) if path.error_bound(law, path.width(batch=2.0**j))[-1] < 0.1)
    return next(fine, float("inf"))


def _error(context: TrainingContext, factor: float) -> Evidence:
    rows, informative, vacuous = [], {}, 0
    rng = generator(regime_of(context), Stream.TEST_PROMPTS, 1)
    for case in cases(context):
        width, law, seeds = case.width, case.fork.one.law, case.inside.shape[1]
        far = width.tail(factor * case.path.distances)
        beyond = np.einsum("ken,tken->t", law, np.where(case.path.distances > 0, far, 0.0))
        one = width.tail(factor * nearest(case.path, law)[1])
        drawn = rng.random(seeds) < case.seeds.excess  # one prompt of each seed: it is wrong with the seed's own error
        events = {"a drawn prompt": (drawn, beyond), "the nearest prompt": (case.seeds.nearest_wrong, one)}
        # A bound of one is no statement: it is counted among the facts, and not among the rows.
        vacuous += sum(bound[t] >= 1 for _, bound in events.values() for t in times(case.fork))
        rows += [
            Counted(
                name=f"{case.name}, t = {case.path.first + t}, {name}",
                hits=int((wrong[t] & case.inside[t]).sum()),
                trials=seeds,
                bound=max(float(bound[t]), RESOLVED),
            )
            for name, (wrong, bound) in events.items()
            for t in times(case.fork)
            if bound[t] < 1
        ]
        informative[case.fork.name] = _informative(case.path, law)
    whole = whole_path(context)
    informative["from the start to the end of the run"] = _informative(whole, forks(context)[0].one.law)
    facts = facts_of(context) | {
        "smallest bound that is judged": RESOLVED,
        "bounds of one, which say nothing": int(vacuous),
        "smallest batch of a bound below 0.1, without allowances": informative,
    }
    return Evidence(rows=tuple(rows), facts=facts)


ERROR = Claim(
    id="exponential/error_stays_below_the_bound_of_the_deviation",
    statement="From states on the plateau, in the escape and after it, and for minibatches of all sizes, the probability that SGD is x or more away from "
    "the path at step t, without having exited, is at most 2 exp(-(x - m_t)^2 / (2 W_t)), and so it is for all t at once, in units of the path's growth. "
    "SGD without an exit gets a prompt wrong that the path gets right with at most the probability that its deviation reaches the prompt's distance, "
    "for a drawn prompt and for the nearest one, as far as an ensemble can see: the 0-1 error is at most that of the path, plus that, plus the chance of an exit.",
    formula=r"\Pr(\|\delta_t\| \ge x,\ \text{no exit}) \le 2 e^{-(x - m_t)^2 / (2 W_t)},\quad W_{t+1} = \rho_t^2 W_t + \eta_t^2 b_t^2 / B,\quad "
    r"m_{t+1} = \rho_t m_t + j_t,\qquad "
    r"\Pr(e f \le 0) \le \Pr(e \bar f \le 0) + \sum_{D > 0} p_{k, e, n_+} \min\bigl(1, 2 e^{-(D - m_t)^2 / (2 W_t)}\bigr) + \Pr(\text{exit})",
    section="5",
    hypotheses=CURVE,
    uses=(
        "exponential/hyperbolic_cosine_grows_by_at_most_that_of_the_largest_prompt",
        "exponential/wrong_prompts_are_far_from_the_path",
        "closure/stochastic_recursion_equals_sgd",
    ),
    rests_on=(STATISTICS,),
    parts=(
        Part(
            name="tail of the deviation",
            asserts=lambda: float,
            measure=_tail,
            rule=EXPONENTIAL,
            plan=plan,
            controls=(
                NegativeControl(
                    name="averaged too well",
                    statement="the same with B^2 for B, as if noise fell as the inverse of the batch size",
                    asserts=lambda: lambda batch: float(batch) ** 2,
                ),
            ),
        ),
        Part(
            name="error",
            asserts=lambda: 1.0,
            measure=_error,
            rule=EXPONENTIAL,
            plan=plan,
            controls=(
                NegativeControl(
                    name="no noise",
                    statement="SGD gets no prompt wrong that the path gets right: infinite distances",
                    asserts=lambda: 1e9,
                ),
            ),
        ),
    ),
)


# -- curvature ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Stretch(Facts):
    """A part of the path, from a step to the next part's."""

    name: str
    first_step: int


@dataclass(frozen=True, kw_only=True)
class CurvatureFacts(Facts):
    """Along the path at each step t: curvatures of the risk, rho and b of the bound, the nearest gate's distance from its kink.

    W and the bound on the 0-1 error are those at the regime's batch, without any allowance for kinks; `error_of_path` is the
    path's own. Of each case: the shares of seeds with an update that did not contract, and of such updates.
    """

    t: Sequence[int]
    stretches: Sequence[Stretch]
    minimum_curvature: Sequence[float]
    maximum_curvature: Sequence[float]
    penalty: float
    rho: Sequence[float]
    b: Sequence[float]
    nearest_kink: Sequence[float]
    W: Sequence[float]
    bound_on_error: Sequence[float]
    error_of_path: Sequence[float]
    seeds_that_did_not_contract: Mapping[str, float]
    updates_that_did_not_contract: Mapping[str, float]


def _curvature(context: TrainingContext, expansion: Callable[[np.ndarray], np.ndarray]) -> Evidence:
    path, (_, learned) = whole_path(context), descent(context)
    stretches = {"plateau": (0, learned // 2), "escape": (learned // 2, learned), "late": (learned, len(path.eta))}
    rows = tuple(
        Bounded(name=name, value=float(expansion(path.rho[start:stop]).max()), bound=1.0)
        for name, (start, stop) in stretches.items()
        if start < stop
    )
    batch = regime_of(context).training.batch
    assert isinstance(batch, int), "hypotheses ask for minibatches"
    law, ideal = forks(context)[0].one.law, path.width(batch=float(batch))
    expanded = {case.name: (case.seeds.bracket > case.seeds.length[:-1])[1:] for case in cases(context)}
    facts = CurvatureFacts(
        t=list(range(len(path.eta))),
        stretches=[Stretch(name=name, first_step=start) for name, (start, _) in stretches.items()],
        minimum_curvature=as_list(path.lowest),
        maximum_curvature=as_list(path.highest),
        penalty=regime_of(context).training.lam,
        rho=as_list(path.rho),
        b=as_list(path.noise),
        nearest_kink=as_list(path.kinks),
        W=as_list(ideal.W[:-1]),
        bound_on_error=as_list(path.error_bound(law, ideal)[:-1]),
        error_of_path=as_list(path.errors[:-1]),
        seeds_that_did_not_contract={name: float(one.any(axis=0).mean()) for name, one in expanded.items()},
        updates_that_did_not_contract={name: float(one.mean()) for name, one in expanded.items()},
    )
    return Evidence(rows=rows, facts=facts)


CURVATURE = Claim.single(
    id="exponential/risk_is_nowhere_convex_while_it_is_learned",
    statement="At every step of the path, on the plateau, in the escape and late, until half as long again as learning takes, the regularised risk has "
    "negative curvature in some direction: an update stretches some difference there, and no rho_t below 1 holds.",
    formula=r"\|I - \eta_t \nabla^2 R_\lambda(\bar\theta_t)\| \ge 1",
    section="5",
    hypotheses=CURVE,
    asserts=lambda: lambda rho: 1 / rho,
    measure=_curvature,
    facts=CurvatureFacts,
    rule=UpperBound(
        reason="one: the largest inverse of the factor by which an update can stretch a difference, from the Hessian with the gates as they are",
        is_statistical=False,
    ),
    controls=(
        NegativeControl(
            name="everywhere",
            statement="positive curvature everywhere, as the contraction 1 - eta mu assumes: rho_t at most 1",
            asserts=lambda: lambda rho: rho,
        ),
    ),
    uses=("gradient/level_b_drift_matches_population_autograd",),
    rests_on=(
        Basis(
            ground=Ground.ROUND_OFF,
            text="one computation in float64: second derivatives exact to round-off, with every gate as it is",
        ),
    ),
)

CLAIMS = (NOISE, COSINE, DISTANCE, ERROR, CURVATURE)
