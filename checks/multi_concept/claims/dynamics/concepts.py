"""A claim of the family dynamics: what its runs of single concepts have to do with the full model (THEORY.md sections 3 and 4)."""

from collections.abc import Callable

import numpy as np

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import BEYOND, Compared, Evidence
from polyseme.checks.core.provenance import ROUND_OFF
from polyseme.checks.core.rules.exact import RoundOff
from polyseme.checks.multi_concept.context import Arrays, TrainingContext
from polyseme.checks.multi_concept.round_off.paths import (
    COLLECTED,
    STATE,
    Reference,
    population_reference,
    records_of,
    roundings_of,
)
from polyseme.theory.multi_concept.coefficients import project
from polyseme.theory.multi_concept.dynamics.concepts import Concepts, Numbers, Start
from polyseme.theory.multi_concept.regime import Regime

LEVEL_B = "closure/level_b_holds_in_random_regimes"
STEPS, SEED = 40, 22
# What concepts side by side have to share: demonstrations, width and law. Three demonstrations at least, as in `random_regimes.py`.
GROUPS = ((3, 8, "match"), (4, 7, "iid"))
SIGMA_0, SIGMA_1 = 0.3, 0.5

Given = Callable[[Numbers], Numbers]
"""What the concepts are run with, from what the regimes say."""


def as_given(numbers: Numbers) -> Numbers:
    """What the regimes say."""
    return numbers


def word_norms_exchanged(numbers: Numbers) -> Numbers:
    """n_a and n_b exchanged: the overlap with the other sign."""
    return Numbers(
        kappa_x=-numbers.kappa_x, kappa_y=numbers.kappa_y, lam=numbers.lam, weight=numbers.weight, eta=numbers.eta
    )


def random_regimes() -> list[list[Regime]]:
    """Two regimes of each group, of two and three uneven concepts: overlaps, penalty and constant step size of its own for each."""
    rng = np.random.default_rng(SEED)
    return [[_random(rng, K1=K1, group=group) for K1 in (2, 3)] for group in GROUPS]


def _random(rng: np.random.Generator, *, K1: int, group: tuple[int, int, str]) -> Regime:
    L, m, law = group
    weights = rng.dirichlet(np.full(K1, 3.0))
    overlaps = {"kappa_x": float(rng.uniform(0.1, 0.4)), "kappa_y": float(rng.uniform(0.5, 0.8))}
    return Regime().replace(
        concepts={"K1": K1, "K2": 1, "d_x": 2 * K1 + 3, "d_y": 2 * K1 + 2, "weights": list(weights / weights.sum())}
        | overlaps,
        prompt={"L": L, "law": law},
        model={"m": m, "sigma_0": SIGMA_0, "sigma_1": SIGMA_1},
        training={
            "steps": STEPS,
            "batch": "population",
            "schedule": "constant",
            "eta": float(rng.uniform(2, 6)),
            "lam": float(rng.uniform(2e-3, 1e-2)),
            "record_every": 1,
        },
        ensemble={"seeds": 1, "seed": int(rng.integers(2**31))},
    )


def _side_by_side(contexts: list[TrainingContext], given: Given) -> Concepts:
    """All concepts of some regimes as the members of one ensemble, each from what the full model starts with."""
    regimes, starts = [x.population_regime for x in contexts], [x.initial for x in contexts]
    each = [project(start, of.concepts.K1) for of, start in zip(regimes, starts, strict=True)]

    def row(of_regime: Callable[[Regime], float]) -> np.ndarray:
        return np.concatenate([np.full(of.concepts.K1, of_regime(of)) for of in regimes])

    numbers = Numbers(
        kappa_x=row(lambda of: of.concepts.kappa_x),
        kappa_y=row(lambda of: of.concepts.kappa_y),
        lam=row(lambda of: of.training.lam),
        weight=np.concatenate([np.array(of.concepts.weights) for of in regimes]),
        eta=row(lambda of: of.training.eta),
    )
    start = Start(
        sigma_0=row(lambda of: of.model.sigma_0),
        alpha=np.concatenate([x["alpha"] for x in each], axis=1),
        beta=np.concatenate([x["beta"] for x in each], axis=1),
    )
    of = regimes[0].prompt
    return Concepts(L=of.L, r=starts[0]["r"], numbers=given(numbers), start=start, law=of.law)


def _seen(of: Concepts) -> Arrays:
    """The state of every member, concepts first, and what the claims read from it."""
    blocks = {
        f"{name}_blocks": np.array([of.weight(name, entry) for entry in ("aa", "ab", "ba", "bb")]).T.reshape(-1, 2, 2)
        for name in ("W_Q", "W_K")
    }
    product = np.array([of.product(s, t) for s in "ab" for t in "ab"]).T.reshape(-1, 2, 2)
    e = np.array([1.0, -1.0])[:, None, None]
    loss = np.einsum("en,enj->j", of.law, np.logaddexp(0, -e * of.output()))
    # What the feed makes of W_Q^{bb} in one step.
    W_Q, W_K, given = of.weight("W_Q", "bb"), of.weight("W_K", "bb"), of.given
    fed = (1 - given.eta * given.lam) * W_Q + given.eta * of.feed() * W_K
    means = {"loss": loss, "attention": of.attention(), "error": of.error()}
    return blocks | {"alpha": of.alpha.T, "beta": of.beta.T, "product": product, "fed": fed} | means


def _path(of: Concepts) -> Arrays:
    """That at every step from 0 to STEPS: (step, member, ...)."""
    seen = [_seen(of)]
    for _ in range(STEPS):
        of.descend()
        seen.append(_seen(of))
    return {name: np.array([x[name] for x in seen]) for name in seen[0]}


def _of_the_full_model(run: Arrays) -> Arrays:
    """The same from a run of the full model; `fed` is W_Q^{bb} one step later."""
    alone = {name: np.swapaxes(run[name], 1, 2) for name in ("alpha", "beta")}
    blocks = {name: run[name] for name in ("W_Q_blocks", "W_K_blocks")}
    product = np.einsum("tkus,tkuv->tksv", run["W_K_blocks"], run["W_Q_blocks"])
    means = {name: run[name] for name in ("loss", "attention", "error")}
    return blocks | alone | means | {"product": product, "fed": run["W_Q_blocks"][1:, :, 1, 1]}


def _rows(name: str, regime: Regime, reference: Reference, path: Arrays, full: Arrays) -> list[Compared]:
    """Members of one regime against its run, over the records before a nudge decides where it goes."""
    roundings, tame, weights = roundings_of(regime, reference), reference.tame, np.array(regime.concepts.weights)
    # Both factors of the two terms of each product have roundings.
    W_Q, W_K = (float(np.abs(full[f"{x}_blocks"]).max()) for x in ("W_Q", "W_K"))
    scales, factors = {"product": 2 * W_Q * W_K}, {"product": 2.0}
    rows = []
    for x, right in full.items():
        found = path[x] @ weights if x in {"loss", "attention", "error"} else path[x]
        difference = np.abs(found[: len(right)] - right)[:tame]
        rows.append(
            Compared(
                name=f"{x}, {name}",
                difference=float(difference.max()),
                scale=scales.get(x, float(np.abs(right).max()) or 1.0),
                roundings=factors.get(x, 1.0) * roundings,
                jump=max(reference.jumps[y] for y in ((x,) if x in reference.jumps else STATE)),
            )
        )
    if tame < records_of(reference.trajectory):
        rows.append(Compared(name=f"the rest, {name}", difference=BEYOND, scale=1.0, roundings=1.0, jump=BEYOND))
    return rows


def _measure(context: TrainingContext, given: Given) -> Evidence:
    rows, grid = [], []
    for group in random_regimes():
        contexts = [context.at(regime) for regime in group]
        path, first = _path(_side_by_side(contexts, given)), 0
        for at in contexts:
            regime = at.population_regime
            last = first + regime.concepts.K1
            members = {name: array[:, first:last] for name, array in path.items()}
            rows += _rows(
                f"regime {len(grid)}",
                regime,
                population_reference(at),
                members,
                _of_the_full_model(dict(at.population_run)),
            )
            of, first = regime.concepts, last
            grid.append(
                f"K1={of.K1} L={regime.prompt.L} m={regime.model.m} kappa_x={of.kappa_x:.2f} kappa_y={of.kappa_y:.2f} "
                f"lam={regime.training.lam:.2g} eta={regime.training.eta:.2g} {regime.prompt.law}"
            )
    return Evidence(rows=tuple(rows), facts={"regimes": grid, "steps": STEPS})


SINGLE_CONCEPTS = Claim.single(
    id="dynamics/single_concepts_descend_as_the_full_model_does",
    statement="Concepts of several regimes run side by side, each alone with its overlaps, penalty, step size and weight pi_k, have the state, attention, "
    "loss, error and feed that exact population descent of the full model has: in four random regimes of two or three uneven concepts, for 40 constant steps.",
    formula=r"\hat s_k^\top W(t)\, \hat t_k = W^{st}_{k}(t)\quad\text{of concept } k \text{ alone, its gradient times } \pi_k",
    section="4",
    scope="any regime",
    asserts=lambda: as_given,
    measure=_measure,
    rule=RoundOff(reason=COLLECTED),
    controls=(
        NegativeControl(
            name="norms of words exchanged",
            statement="the same with n_a and n_b exchanged",
            asserts=lambda: word_norms_exchanged,
        ),
    ),
    uses=(LEVEL_B,),
    rests_on=(ROUND_OFF,),
)

CLAIMS = (SINGLE_CONCEPTS,)
