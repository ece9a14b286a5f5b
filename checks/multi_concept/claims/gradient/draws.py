"""Claims of the family gradient about what the simulation draws: the start of neurons, noise, other concepts (section 1)."""

from collections.abc import Callable

import numpy as np
from scipy.stats import norm, uniform

from polyseme.checks.core.claim import Claim, NegativeControl, Plan
from polyseme.checks.core.evidence import Distance, Estimated, Evidence
from polyseme.checks.core.provenance import STATISTICS
from polyseme.checks.core.rules.distribution import Distribution
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.hypotheses import MLP_STARTS
from polyseme.theory.multi_concept.coefficients import concept_vectors
from polyseme.theory.multi_concept.regime import Regime

Law = Callable[[np.ndarray], np.ndarray]

LAW = Distribution(
    margin=0.01,
    reason="a hundredth of all draws: a uniform law of the same variance is six times as far, a scale that is off by a tenth "
    "more than twice",
)


def _distance(sample: np.ndarray, law: Law) -> float:
    """sup |F_n - F| of a sample in any order, at both sides of its steps."""
    ordered = np.sort(sample.ravel())
    stated, n = law(ordered), ordered.size
    return float(np.maximum(np.arange(1, n + 1) / n - stated, stated - np.arange(n) / n).max())


# -- the start of neurons ----------------------------------------------------------------------------------


def _neuron_plan(context: TrainingContext) -> Plan:
    return LAW.design(rows=2, level=context.level)


def _neurons(context: TrainingContext, law: Law) -> Evidence:
    regime, samples = context.one, _neuron_plan(context).samples
    each = regime.model.m * regime.concepts.K1
    members = -(-samples // each)

    def draw() -> dict[str, np.ndarray]:
        # Neurons drawn each on its own: of a mirrored pair one says what the other is.
        free = regime.replace(model={"neurons": "independent"}, ensemble={"seeds": max(members, 2)})
        state = context.draw(free)
        unit = concept_vectors(state["Q"], regime.concepts.K1)
        unit = unit / np.linalg.norm(unit, axis=-1, keepdims=True)
        along = np.einsum("emd,ksd->semk", state["W_O"], unit) / regime.model.sigma_1
        return {name: part.ravel()[:samples] for name, part in zip(("alpha", "beta"), along, strict=True)}

    drawn = context.cached("neurons at the start", draw)
    rows = tuple(Distance(name=name, distance=_distance(part, law), samples=samples) for name, part in drawn.items())
    return Evidence(rows=rows, facts={"members": members, "seed": regime.ensemble.seed})


NEURONS = Claim.single(
    id="gradient/neurons_start_gaussian",
    statement="The coefficients alpha and beta of the neurons that the simulation draws are normal with standard deviation sigma_1.",
    formula=r"\alpha_{i,k}(0),\ \beta_{i,k}(0) \sim N(0, \sigma_1^2)",
    section="1",
    hypotheses=(MLP_STARTS,),
    asserts=lambda: norm.cdf,
    measure=_neurons,
    rule=LAW,
    plan=_neuron_plan,
    controls=(
        NegativeControl(
            name="uniform",
            statement="a uniform law of the same variance",
            asserts=lambda: uniform(-np.sqrt(3), 2 * np.sqrt(3)).cdf,
        ),
    ),
    rests_on=(STATISTICS,),
)

# -- noise -------------------------------------------------------------------------------------------------

NOISY = Regime().replace(
    concepts={"K1": 2, "K2": 1, "d_x": 6, "d_y": 5}, prompt={"L": 3, "sigma_x": 0.3, "sigma_y": 0.7}
)


def _noise_plan(context: TrainingContext) -> Plan:
    return LAW.design(rows=3, level=context.level)


def _noise(context: TrainingContext, deviation: Callable[[float], float]) -> Evidence:
    samples = _noise_plan(context).samples

    def draw() -> dict[str, np.ndarray]:
        prompt, concepts = NOISY.prompt, NOISY.concepts
        count = -(-samples // min(concepts.d_x, concepts.d_y * prompt.L))
        state = context.draw(NOISY)
        drawn = context.prompts(NOISY, state, count=count)
        column = 2 * drawn["concept"].astype(int)
        demonstration = column[:, None] + (drawn["signs"] < 0)
        query = column + (drawn["e"] < 0)
        return {
            "words": (drawn["x"] - state["M"].T[demonstration]).ravel()[:samples],
            "query words": (drawn["x_query"] - state["M"].T[query]).ravel()[:samples],
            "labels": (drawn["y"] - state["Q"].T[demonstration]).ravel()[:samples],
        }

    noise = context.cached("noise", draw)
    sigma = {
        "words": NOISY.prompt.sigma_x,
        "query words": NOISY.prompt.sigma_x,
        "labels": NOISY.prompt.sigma_y,
    }
    rows = tuple(
        Distance(
            name=name,
            distance=_distance(part, lambda x, name=name: norm.cdf(x, scale=deviation(sigma[name]))),
            samples=samples,
        )
        for name, part in noise.items()
    )
    return Evidence(rows=rows, facts={"regime": "sizes of its own", "seed": NOISY.ensemble.seed})


NOISE = Claim.single(
    id="gradient/noise_is_gaussian_with_the_stated_deviation",
    statement="What the simulation adds to words and labels is normal noise with standard deviations sigma_x and sigma_y.",
    formula=r"x_l - M z_l \sim N(0, \sigma_x^2 I),\qquad y_l - Q z_l \sim N(0, \sigma_y^2 I)",
    section="1",
    scope="any regime",
    asserts=lambda: lambda sigma: sigma,
    measure=_noise,
    rule=LAW,
    plan=_noise_plan,
    controls=(
        NegativeControl(
            name="variance for deviation",
            statement="standard deviations sigma_x^2 and sigma_y^2",
            asserts=lambda: lambda sigma: sigma**2,
        ),
    ),
    rests_on=(STATISTICS,),
)

# -- other concepts and features ---------------------------------------------------------------------------

EXTRA = 0.3
MIXED = Regime().replace(
    concepts={"K1": 3, "K2": 2, "d_x": 9, "d_y": 7, "kappa_x": 0.2, "kappa_y": 0.3},
    prompt={"L": 2, "p_extra": EXTRA, "p_plus": 0.4},
)
EXTRAS = Equivalence(
    margin=0.01,
    reason="one in a hundred of all words: a dependence of two extras, or a sign that is not p_plus, moves some row by three "
    "times as much at p_extra = 0.3",
)
# The rows of `_extras`: four frequencies and a disagreement.
EXTRA_ROWS = 5


def _extras_plan(context: TrainingContext) -> Plan:
    return EXTRAS.design(spread=0.5, rows=EXTRA_ROWS, level=context.level)


def _presence(vectors: np.ndarray, features: np.ndarray) -> np.ndarray:
    """How often each feature is in each noise-free vector: rounded solutions of vector = features z."""
    return np.rint(vectors @ np.linalg.pinv(features).T)


def _extras(context: TrainingContext, probability: Callable[[float, float], float]) -> Evidence:
    prompts, K1 = _extras_plan(context).samples, MIXED.concepts.K1
    plus = MIXED.prompt.p_plus

    def draw() -> dict[str, np.ndarray]:
        state = context.draw(MIXED)
        drawn = context.prompts(MIXED, state, count=prompts)
        # One word of each prompt, and in it one other concept, so that samples are independent.
        words, labels = (_presence(drawn[name][:, 0], state[key]) for name, key in (("x", "M"), ("y", "Q")))
        other = (drawn["concept"].astype(int) + 1) % K1
        rows = np.arange(prompts)
        positive, negative = words[rows, 2 * other], words[rows, 2 * other + 1]
        first, second = words[:, 2 * K1], words[:, 2 * K1 + 1]
        return {
            "another concept, +": positive,
            "another concept, -": negative,
            "an irrelevant feature": first,
            "two irrelevant features": first * second,
            "a label that differs from its word": (labels != words[:, : 2 * K1]).any(axis=1).astype(float),
        }

    seen = context.cached("extras", draw)
    stated = {
        "another concept, +": probability(EXTRA, plus),
        "another concept, -": probability(EXTRA, 1 - plus),
        "an irrelevant feature": EXTRA,
        "two irrelevant features": EXTRA**2,
        "a label that differs from its word": 0.0,
    }
    rows = tuple(
        Estimated(
            name=name,
            estimate=float(sample.mean() - stated[name]),
            standard_error=float(sample.std(ddof=1) / np.sqrt(prompts)),
            samples=prompts,
            scale=1.0,
        )
        for name, sample in seen.items()
    )
    return Evidence(rows=rows, facts={"regime": "sizes of its own", "seed": MIXED.ensemble.seed})


OTHER_CONCEPTS = Claim.single(
    id="gradient/other_concepts_follow_the_law",
    statement="A word that the simulation draws carries each other concept with probability p_extra and a sign of its own, each "
    "irrelevant feature with p_extra, independently; its label carries the same concepts and signs.",
    formula=r"\Pr(\mu_{k'}^{\pm} \in x_l) = p_{\mathrm{extra}}\, p_{\pm},\qquad \Pr(\nu_r \in x_l) = p_{\mathrm{extra}}",
    section="1",
    scope="any regime",
    asserts=lambda: lambda p_extra, p_sign: p_extra * p_sign,
    measure=_extras,
    rule=EXTRAS,
    plan=_extras_plan,
    controls=(
        NegativeControl(
            name="each sign with p_extra",
            statement="each of the two features of another concept with probability p_extra",
            asserts=lambda: lambda p_extra, _p_sign: p_extra,
        ),
    ),
    rests_on=(STATISTICS,),
)

CLAIMS = (NEURONS, NOISE, OTHER_CONCEPTS)
