"""Claims about level N itself: its gates, its drift under noise, and level B without (THEORY.md section 4)."""

import dataclasses
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import sympy as sp
from scipy.integrate import quad
from scipy.stats import norm

from polyseme.checks.core.claim import Claim, NegativeControl
from polyseme.checks.core.evidence import Compared, Estimated, Evidence
from polyseme.checks.core.provenance import ROUND_OFF, STATISTICS, Basis, Ground
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.core.rules.exact import UNIT, RoundOff
from polyseme.checks.multi_concept.context import Arrays, TrainingContext
from polyseme.theory.calculus.elementwise import ELEMENTWISE
from polyseme.theory.calculus.functions import SmoothReLU
from polyseme.theory.calculus.staged import Definition
from polyseme.theory.multi_concept.coefficients import concept_vectors
from polyseme.theory.multi_concept.derivation.derive import Recursion, derive
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b
from polyseme.theory.multi_concept.dynamics.noisy_run import NoiseRun, diagonal_blocks, integrate_noise, project_noisy
from polyseme.theory.multi_concept.regime import Regime

# Every coefficient on, two or three concepts, and a direction outside them on either side.
STATES: tuple[Regime, ...] = tuple(
    Regime().replace(
        concepts={"K1": K1, "K2": 0, "d_x": 2 * K1 + 1, "d_y": 2 * K1 + 1, "kappa_x": 0.2, "kappa_y": 0.3},
        prompt={"L": L, "law": law, "p_plus": p_plus},
        model={"m": m, "activation": activation},
        ensemble={"seed": seed},
    )
    for seed, (K1, L, m, law, p_plus, activation) in enumerate(
        (
            (2, 3, 8, "match", 0.5, "relu"),
            (2, 2, 7, "iid", 0.5, "relu"),
            (2, 4, 6, "match", 0.375, "leaky_relu"),
            (3, 2, 5, "match", 0.5, "relu"),
            (2, 3, 9, "iid", 0.625, "relu"),
        )
    )
)


def random_state(context: TrainingContext, regime: Regime, *, size: float = 1.0, across: bool = False) -> Arrays:
    """Random blocks of W_Q and W_K on each concept (or across concepts too), I/2 outside, and neurons of a size."""
    rng = np.random.default_rng([regime.ensemble.seed, 6])
    state, K1 = context.draw(regime), regime.concepts.K1
    frame = concept_vectors(state["M"], K1)
    flat = frame.reshape(2 * K1, -1)
    rest = np.eye(flat.shape[1]) - flat.T @ flat
    for name in ("W_Q", "W_K"):
        if across:
            on = flat.T @ rng.normal(size=(2 * K1, 2 * K1)) @ flat
        else:
            on = np.einsum("ksd,kst,kte->de", frame, rng.normal(size=(K1, 2, 2)), frame)
        state[name] = 0.7 * on + rest / 2
    state["W_O"] = size * rng.normal(size=state["W_O"].shape)
    return state


# -- gates -------------------------------------------------------------------------------------------------

NORMALS = 40


def _by_quadrature(mean: float, variance: float) -> tuple[float, float, float]:
    """E relu, its derivative in the mean E 1[h > 0], and in the variance E 1[h > 0] Z / (2 tau), by integration."""
    tau = np.sqrt(variance)
    edge, far = -mean / tau, 12.0  # beyond twelve deviations there is less than the smallest number

    def over(integrand: Callable[[float], float]) -> float:
        if edge >= far:
            return 0.0
        return float(quad(integrand, max(edge, -far), far, epsabs=1e-13, epsrel=1e-13, limit=400)[0])

    return (
        over(lambda z: (mean + tau * z) * norm.pdf(z)),
        over(norm.pdf),
        over(lambda z: z * norm.pdf(z)) / (2 * tau),
    )


def _gates(context: TrainingContext, stated: Callable[[float, float], tuple[float, float, float]]) -> Evidence:
    del context
    rng, rows = np.random.default_rng(61), []
    for number in range(NORMALS):
        mean, variance = float(rng.normal() * 10 ** rng.uniform(-2, 0.5)), float(10 ** rng.uniform(-4, 0.5))
        wanted, found = _by_quadrature(mean, variance), stated(mean, variance)
        for name, one, other in zip(("mean", "slope in mu", "slope in V"), found, wanted, strict=True):
            rows.append(
                Compared(
                    name=f"{name} {number}",
                    difference=abs(one - other),
                    scale=max(1.0, abs(other)),
                    roundings=1e-10 / UNIT,
                )
            )
    return Evidence(rows=tuple(rows), facts={"normal numbers": NORMALS})


def _derived_gates(mean: float, variance: float) -> tuple[float, float, float]:
    """The executed functions: E relu and what SymPy says of its derivatives."""
    mu, V = sp.symbols("mu V")
    smooth = SmoothReLU(0, mu, V)
    expressions = (smooth, smooth.diff(mu), smooth.diff(V))
    function = sp.lambdify((mu, V), expressions, modules=[ELEMENTWISE, "numpy"])
    return tuple(float(x) for x in function(np.asarray(mean), np.asarray(variance)))  # pyright: ignore[reportReturnType]


def _exchanged(mean: float, variance: float) -> tuple[float, float, float]:
    tau = np.sqrt(variance)
    z = mean / tau
    return mean * norm.pdf(z) + tau * norm.cdf(z), norm.pdf(z), norm.cdf(z) / (2 * tau)


GATES = Claim.single(
    id="gradient/smooth_gates_match_quadrature",
    statement="The mean of the ReLU of a Gaussian number is mu Phi(mu/tau) + tau phi(mu/tau), its slope in mu the gate "
    "Phi(mu/tau), and its slope in the variance half the density: so says numerical integration.",
    formula=r"\mathbb E\,\mathrm{relu}(\mu + \tau Z) = \mu\, \Phi(\mu/\tau) + \tau\, \varphi(\mu/\tau),\quad "
    r"\partial_{\tau^2} = \tfrac{1}{2\tau} \varphi(\mu/\tau)",
    section="4",
    scope="any regime",
    asserts=lambda: _derived_gates,
    measure=_gates,
    rule=RoundOff(reason="1e-10: a thousand times what the quadrature is asked for"),
    controls=(
        NegativeControl(
            name="Phi and phi exchanged",
            statement="the distribution function and the density exchanged",
            asserts=lambda: _exchanged,
        ),
    ),
    rests_on=(Basis(ground=Ground.CONVERGENCE, text="adaptive quadrature"),),
)

# -- level N without noise ---------------------------------------------------------------------------------


def _without_noise(context: TrainingContext, left: float) -> Evidence:
    rows = []
    for regime in STATES:
        training = {"steps": 40, "record_every": 10, "schedule": "constant", "eta": 4.0, "lam": 1e-3}
        plain = regime.replace(training=training)
        start = random_state(context, plain, size=0.3)
        wanted = integrate_b(plain, start)
        recursion = derive("N", activation=plain.model.activation)
        found = integrate_noise(plain.replace(prompt={"sigma_y": left}), start, recursion=recursion)
        switched = integrate_noise(plain.replace(prompt={"sigma_y": left}), start)
        width = regime.concepts.d_x + regime.concepts.d_y + regime.prompt.L + regime.model.m
        for name, array in wanted.items():
            scale = float(np.abs(array).max()) or 1.0
            gap = float(np.abs(found[name] - array).max())
            rows.append(
                Compared(
                    name=f"{name}, {regime.model.activation}, K1 = {regime.concepts.K1}, L = {regime.prompt.L}",
                    difference=gap,
                    scale=scale,
                    roundings=8.0 * (width + plain.training.steps),
                )
            )
            rows.append(
                Compared(
                    name=f"{name} to the last bit, {regime.model.activation}, K1 = {regime.concepts.K1}",
                    difference=float((switched[name] != array).any()),
                    scale=1.0,
                    roundings=1.0,
                )
            )
    return Evidence(rows=tuple(rows), facts={"regimes": len(STATES)})


WITHOUT_NOISE = Claim.single(
    id="closure/level_n_without_noise_is_level_b",
    statement="Without noise and extras, level N evaluated as it is agrees with level B to round-off along random runs, and is run "
    "as level B to the last bit.",
    formula=r"N(\sigma = 0,\ p_{\mathrm{extra}} = 0) = B",
    section="4",
    scope="any regime",
    asserts=lambda: 0.0,
    measure=_without_noise,
    rule=RoundOff(
        reason="8 (d_x + d_y + L + m + steps) unit round-offs: nested sums, and one rounding of the state per step"
    ),
    controls=(
        NegativeControl(
            name="a little noise left on",
            statement="the same with sigma_y = 0.001",
            asserts=lambda: 1e-3,
        ),
    ),
    uses=("closure/population_descent_equals_level_b",),
    rests_on=(ROUND_OFF,),
)


def remainder(state: Arrays, full: Arrays, found: Arrays) -> float:
    """The distance of level N's drift, W_Q, W_K, W_O as it keeps them, from a gradient of the full model, on the concepts."""
    words, labels = (
        concept_vectors(state[x], len(found["W_Q"]) // 2).reshape(len(found["W_Q"]), -1) for x in ("M", "Q")
    )
    gaps = [words @ full[name] @ words.T - found[name] for name in ("W_Q", "W_K")]
    return float(np.sqrt(sum(np.square(gap).sum() for gap in (*gaps, full["W_O"] @ labels.T - found["W_O"]))))


def local_orders(left: Sequence[float]) -> list[float]:
    """The exponents between values at places that halve."""
    return [float(np.log2(one / other)) for one, other in pairwise(left)]


# -- the drift ---------------------------------------------------------------------------------------------

NOISE_LEVELS = (0.02, 0.05, 0.1, 0.2)
DRIFT_RULE = Equivalence(
    margin=0.5,
    reason="what level N drops is of second order in sigma where gates are within reach of the noise, wherever they are; the half is "
    "ours, five times the largest share that was seen",
)
_BATCHES = 400
# The smallest noise takes most of the time: it is tried at the two states where estimates spread least.
_SMALLEST = (1, 3)
COEFFICIENTS = ("W_Q_blocks", "W_K_blocks", "alpha", "beta")
What = Literal[
    "as derived",
    "Stein's term of the wrong sign",
    "without the variance of f",
    "without the sum of squares",
    "gates held fixed in the variance of f",
]


def wrong(recursion: Recursion, what: What) -> Recursion:
    """The derived recursion, with one thing wrong: some of its definitions changed, by their names."""
    noise = recursion.noisy.noise

    def nothing(_meaning: sp.Expr) -> sp.Expr:
        return sp.S.Zero

    changes: dict[What, dict[str, Callable[[sp.Expr], sp.Expr]]] = {
        "as derived": {},
        "Stein's term of the wrong sign": {"delta_omega": lambda meaning: -meaning},
        "gates held fixed in the variance of f": {"delta_gamma": nothing},
        # Descent on l(e F) alone.
        "without the variance of f": {
            "delta_F": nothing,
            "delta_f": lambda meaning: meaning.xreplace({noise: sp.S.Zero}),
        },
        "without the sum of squares": {"P": lambda _: sp.S.One},
    }

    def changed(known: Sequence[Definition]) -> tuple[Definition, ...]:
        by_name = changes[what]
        return tuple(
            dataclasses.replace(x, meaning=by_name[name](x.meaning))
            if (name := str(x.name.base.label)) in by_name
            else x
            for x in known
        )

    stages = dataclasses.replace(recursion.noisy, definitions=changed(recursion.noisy.definitions))
    return dataclasses.replace(recursion, stages=stages, adjoints=changed(recursion.adjoints))


def drift_of_level_n(
    regime: Regime, state: Arrays, *, recursion: Recursion | None = None, rows: Arrays | None = None
) -> Arrays:
    """Level N's drift at a state: W_Q, W_K, W_O on the concepts, and their coefficients by the names of section 8."""
    run = NoiseRun(regime, state["r"], recursion=recursion, rows=rows)
    slopes = run.gradient(*project_noisy(state, regime.concepts.K1))
    return {
        **{name: slopes[name][0] for name in ("W_Q", "W_K", "W_O", "rho")},
        **{f"{name}_blocks": diagonal_blocks(slopes[name])[0] for name in ("W_Q", "W_K")},
        "alpha": slopes["W_O"][0][:, 0::2],
        "beta": slopes["W_O"][0][:, 1::2],
    }


def _largest(regime: Regime, state: Arrays) -> dict[str, float]:
    """What the gradient of a pure prompt is at most in each kind of coefficient, by section 3 with |l'| <= 1 and attention's variance <= 1."""
    concepts, m = regime.concepts, regime.model.m
    n_c, n_d, n_b = (np.sqrt(x / 2) for x in (1 + concepts.kappa_y, 1 - concepts.kappa_y, 1 - concepts.kappa_x))
    coefficients, _ = project_noisy(state, concepts.K1)
    slope = n_d * np.abs(coefficients["W_O"][0][:, 1::2]).sum(0).max() / m
    return {
        "alpha": n_c / m,
        "beta": n_d / m,
        "W_Q_blocks": float(slope * n_b * np.abs(coefficients["W_K"]).max()),
        "W_K_blocks": float(slope * n_b * np.abs(coefficients["W_Q"]).max()),
    }


def _measured_drift(context: TrainingContext, regime: Regime, state: Arrays, pairs: int) -> dict[str, tuple[Any, Any]]:
    """Mean and standard error of each coefficient's drift of the full model."""

    def measure() -> dict[str, tuple[Any, Any]]:
        drawn = context.noisy_drifts(regime, state, batches=_BATCHES, pairs=pairs)
        return {name: (drawn[name].mean(0), drawn[name].std(0, ddof=1) / np.sqrt(_BATCHES)) for name in COEFFICIENTS}

    return context.cached(f"noisy drift {regime.digest()} {pairs}", measure)


def _drift(context: TrainingContext, what: What) -> Evidence:
    rows: list[Estimated] = []
    for number, plain in enumerate(STATES):
        state = context.cached(f"noisy state {plain.digest()}", lambda plain=plain: random_state(context, plain))
        for sigma in NOISE_LEVELS if number in _SMALLEST else NOISE_LEVELS[1:]:
            regime = plain.replace(prompt={"sigma_x": sigma, "sigma_y": sigma})
            recursion = wrong(derive("N", activation=regime.model.activation), what)
            found, largest = drift_of_level_n(regime, state, recursion=recursion), _largest(regime, state)
            # Gates within reach are fewer as sigma falls, and so is their part of the variance: as sigma^-2 against the scale.
            measured = _measured_drift(context, regime, state, int(np.ceil(20 * (0.1 / sigma) ** 2)))
            for name, (mean, error) in measured.items():
                rows += [
                    Estimated(
                        name=f"{name}{list(at)}, K1 = {plain.concepts.K1}, m = {plain.model.m}, sigma = {sigma}",
                        estimate=float(mean[at] - found[name][at]),
                        standard_error=float(error[at]),
                        samples=_BATCHES,
                        scale=sigma**2 * largest[name],
                    )
                    for at in np.ndindex(mean.shape)
                ]
    return Evidence(rows=tuple(rows), facts={"states": len(STATES), "sigma_x = sigma_y": list(NOISE_LEVELS)})


DRIFT = Claim.single(
    id="gradient/level_n_drift_matches_full_model",
    statement="At random states, under noise of several sizes on words and labels, the expected gradient of the full model, by Monte "
    "Carlo, is level N's drift up to half of sigma^2 times what the gradient of a pure prompt can be at most; so attention averages "
    "the label noise to the variance sigma_y^2 times the sum of squared attention weights.",
    formula=r"|\mathbb E\,\nabla_{\mathrm{full}} - \nabla_N| \le \tfrac12 \sigma^2 \max_{\mathrm{prompt}} |\nabla|, \qquad "
    r"\tau_i^2 = \sigma_y^2 \sum_l p_l^2\, \|w_i\|^2",
    section="4",
    scope="any regime",
    asserts=lambda: "as derived",
    measure=_drift,
    rule=DRIFT_RULE,
    plan=lambda context: DRIFT_RULE.design(spread=1.1, rows=812, level=context.level, fewest=_BATCHES, most=_BATCHES),
    controls=(
        NegativeControl(
            name="Stein's term of the wrong sign",
            statement="the growth of neurons along themselves turned round",
            asserts=lambda: "Stein's term of the wrong sign",
        ),
        NegativeControl(
            name="noise of one label",
            statement="without the sum of squared attention weights, as if the pooled label had the noise of one label",
            asserts=lambda: "without the sum of squares",
        ),
    ),
    uses=("gradient/smooth_gates_match_quadrature", "closure/level_n_without_noise_is_level_b"),
    rests_on=(STATISTICS,),
)

CLAIMS = (GATES, WITHOUT_NOISE, DRIFT)
