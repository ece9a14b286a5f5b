"""Random concepts of pure prompts from a declared law, and what is seen of them along population descent (THEORY.md section 7).

A statement about "every regime" of the dynamics is put on trial as one about the share of exceptions among concepts drawn from
a law: overlaps, penalty, weight of the concept, sizes of the start, step size. Groups share the number of demonstrations and
the width, and have as many members each, so the draws are a stratified sample, whose count of exceptions scatters less than a binomial one.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.stochastic.ensembles import Stream, generator
from polyseme.theory.multi_concept.dynamics.concepts import Concepts, Numbers, Row, Start
from polyseme.theory.multi_concept.outcome.thresholds import critical_penalty, learnable, lives_on
from polyseme.theory.multi_concept.regime import Regime

Range = tuple[float, float]
Curve = Float[np.ndarray, "steps member"]

# One step takes off at most this share of a weight.
MOST_DECAY = 0.02


@dataclass(frozen=True, kw_only=True)
class Law:
    """Where concepts are drawn from: uniform overlaps, all else log-uniform; penalties relative to lam_c, steps to m / pi_k."""

    groups: tuple[tuple[int, int], ...]
    """(L, m) of each."""
    kappa_x: Range = (0.0, 0.8)
    kappa_y: Range = (0.05, 0.8)
    weight: Range = (0.1, 1.0)
    sigma_0: Range = (0.05, 0.5)
    sigma_1: Range = (0.02, 0.2)
    penalty: Range = (0.02, 0.5)
    step: Range = (0.1, 0.5)
    prompts: str = "match"
    mirrored: bool = False
    learnable: bool = True
    """Starts with living neurons of both signs alone (`polyseme.theory.multi_concept.outcome.thresholds`)."""

    def in_words(self) -> dict[str, object]:
        """The law as facts for results.json."""
        return {
            "L, m": [list(group) for group in self.groups],
            "kappa_x, kappa_y (uniform)": [list(self.kappa_x), list(self.kappa_y)],
            "pi_k, sigma_0, sigma_1 (log-uniform)": [list(self.weight), list(self.sigma_0), list(self.sigma_1)],
            "lam / lam_c (log-uniform)": list(self.penalty),
            "eta pi_k / m (log-uniform)": list(self.step),
            "prompts": self.prompts,
        }


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Concepts at their start, with lam / lam_c of each, and which have living neurons of both signs."""

    concepts: Concepts
    penalty: Row
    learnable: Bool[np.ndarray, " member"]


def alternating(m: int) -> Float[np.ndarray, " m"]:
    """r of section 1: +1/m, -1/m, ..."""
    return np.where(np.arange(m) % 2 == 0, 1.0, -1.0) / m


def draw(law: Law, group: tuple[int, int], *, members: int, number: int) -> Drawn:
    """Members of one group; `number` names their stream."""
    (L, m), r = group, alternating(group[1])
    rng = generator(Regime(), Stream.DYNAMICS, number, L, m)
    # Of m >= 8 neurons both signs have a living one with probability 0.87 or more: twice as many are enough.
    drawn = 2 * members + 16 if law.learnable else members

    def uniform(ends: Range) -> Row:
        return rng.uniform(*ends, drawn)

    def scale(ends: Range) -> Row:
        return np.exp(rng.uniform(np.log(ends[0]), np.log(ends[1]), drawn))

    kappa_x, kappa_y, weight = uniform(law.kappa_x), uniform(law.kappa_y), scale(law.weight)
    sigma_0, sigma_1, penalty, step = (scale(x) for x in (law.sigma_0, law.sigma_1, law.penalty, law.step))
    alpha, beta = (rng.normal(size=(m, drawn)) * sigma_1 for _ in range(2))
    if law.mirrored:
        alpha[1::2], beta[1::2] = alpha[0::2], -beta[0::2]
    lives = lives_on(alpha, beta, r, kappa_y)
    both = learnable(lives, r)
    chosen = np.flatnonzero(both)[:members] if law.learnable else np.arange(members)
    kappa_x, kappa_y, weight, sigma_0, penalty, step, alpha, beta, lives, both = (
        x[..., chosen] for x in (kappa_x, kappa_y, weight, sigma_0, penalty, step, alpha, beta, lives, both)
    )
    live = np.maximum(lives.mean(axis=0), 1 / m)
    lam = penalty * critical_penalty(L=L, m=m, live=live, weight=weight, kappa_x=kappa_x, kappa_y=kappa_y)
    eta = np.minimum(step * m / weight, MOST_DECAY / lam)
    numbers = Numbers(kappa_x=kappa_x, kappa_y=kappa_y, lam=lam, weight=weight, eta=eta)
    start = Start(sigma_0=sigma_0, alpha=alpha, beta=beta)
    concepts = Concepts(L=L, r=r, numbers=numbers, start=start, law=law.prompts)
    return Drawn(concepts=concepts, penalty=penalty, learnable=both)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What was seen of the members of one group from the first step to the last."""

    L: int
    m: int
    end: Concepts
    penalty: Row
    attention: Curve
    """Mean correct attention weight at every step."""
    signal: Curve
    """sum_i r_i beta_i."""
    onset: Int[np.ndarray, " member"]
    """The first step at which the feed of W_Q^{bb} exceeds the penalty; the last one if there is none."""
    loses_a_sign: Bool[np.ndarray, " member"]
    """Whether r_i beta_i of some neuron was positive, and was not one step later."""
    signs_watched: dict[str, int]
    """How many neurons with a right sign were watched for that from one step to the next, of each kind, summed over steps."""
    loses_the_product: Bool[np.ndarray, " member"]
    """Whether G^{bb} was not positive at some step."""
    complement: dict[str, Row]
    """The largest |G^{st}| at any step, for st = aa, ab, ba."""


KINDS: tuple[str, ...] = ("living, r > 0", "living, r < 0", "dead, r > 0", "dead, r < 0")
"""Of neurons with a right sign; dead ones are open on neither label."""


def watch(drawn: Drawn, *, steps: int) -> Watched:
    """Population descent of all members, watched at every step."""
    of = drawn.concepts
    given, sign = of.given, np.sign(of.r)[:, None]
    attention, signal, onset = [], [], np.full(of.members, steps)
    right, lived = sign * of.beta > 0, of.on_own_label() > 0
    lost, lost_product = np.zeros(of.members, dtype=bool), np.zeros(of.members, dtype=bool)
    kinds = dict.fromkeys(KINDS, 0)
    largest = {entry: np.zeros(of.members) for entry in ("aa", "ab", "ba")}
    for t in range(steps + 1):
        attention.append(of.attention())
        signal.append(of.r @ of.beta)
        if (onset == steps).any():
            onset[(onset == steps) & (of.feed() > given.lam)] = t
        now = sign * of.beta > 0
        if t:
            for kind in KINDS:  # every sign that is judged is counted
                of_kind = right & (lived == kind.startswith("living")) & ((sign > 0) == kind.endswith("> 0"))
                kinds[kind] += int(of_kind.sum())
                lost |= (of_kind & ~now).any(axis=0)
        lost_product |= of.product("b", "b") <= 0
        # With a right sign the own label is where h is largest: a gate shut there is shut on every mixture.
        right, lived = now, of.on_own_label() > 0
        for entry, most in largest.items():
            np.maximum(most, np.abs(of.product(*entry)), out=most)
        if t < steps:
            of.descend()
    return Watched(
        L=of.L,
        m=len(of.r),
        end=of,
        penalty=drawn.penalty,
        attention=np.array(attention),
        signal=np.array(signal),
        onset=onset,
        loses_a_sign=lost,
        signs_watched=kinds,
        loses_the_product=lost_product,
        complement=largest,
    )


ORDINARY = Law(groups=((2, 8), (3, 8), (4, 16), (5, 16), (6, 24)))
"""The law of the claims about whole runs: below half of the critical penalty, in steps of up to half of m / pi_k."""
MEMBERS, STEPS, IID_STEPS = 200, 2000, 1500
"""Of each group; and steps, after which nothing moves any more but where the penalty is lightest. With iid prompts signs are
lost early, and a shorter run is enough to see it."""


def ordinary(context: TrainingContext, *, prompts: str = "match") -> tuple[Watched, ...]:
    """Every group of `ORDINARY`, watched once and shared by all claims; with prompts of another law on request."""
    law = dataclasses.replace(ORDINARY, prompts=prompts)
    steps = STEPS if prompts == "match" else IID_STEPS
    return context.cached(
        f"ordinary concepts, {prompts}", lambda: watch_all(law, members=MEMBERS, number=0, steps=steps)
    )


def watch_all(law: Law, *, members: int, number: int, steps: int = STEPS) -> tuple[Watched, ...]:
    """Every group of a law."""
    return tuple(watch(draw(law, group, members=members, number=number), steps=steps) for group in law.groups)
