"""A theory of one's own in one file: SGD on a noisy quadratic (docs/own_theory.md walks through it).

The risk of x in R^d is sum_i h_i x_i^2 / 2, with curvatures h_i evenly from h_min to h_max. A step of SGD is x <- x - eta (h x + sigma xi),
xi standard normal, from x = (1, ..., 1). With q = 1 - eta h the mean is q^t, the variance eta^2 sigma^2 (1 - q^(2t)) / (1 - q^2).
"""

import numpy as np
import sympy as sp

import polyseme as ps


class Problem(ps.Section):
    d: int = ps.key(3, "dimension", role="size", ge=1, le=100)
    h_min: float = ps.key(0.5, "smallest curvature", symbol=r"$h_{\min}$", gt=0)
    condition: float = ps.key(2.0, "largest curvature over smallest", symbol=r"$\kappa$", ge=1)
    sigma: float = ps.key(0.3, "noise of the gradient", symbol=r"$\sigma$", gt=0)


class Training(ps.Section):
    steps: int = ps.key(40, "number of steps", role="size", ge=1, le=10_000)
    eta: float = ps.key(0.2, "step size", symbol=r"$\eta$", gt=0)
    seed: int = ps.key(0, "seed of all random numbers", role="seed", ge=0)


class Regime(ps.BaseRegime):
    problem: Problem = Problem()
    training: Training = Training()

    @property
    def h(self):  # curvatures (d,), the smallest first
        return self.problem.h_min * np.linspace(1, self.problem.condition, self.problem.d)


class Simulation(ps.Context):  # SGD as it is defined: it knows no closed form
    def points(self, count, steps, stream, noisy=True):  # (count, d); streams are independent
        regime, rng = self.regime, np.random.default_rng([self.regime.training.seed, stream])
        x, sigma = np.ones((count, regime.problem.d)), regime.problem.sigma * noisy
        for _ in range(steps):
            x = x - regime.training.eta * (regime.h * x + sigma * rng.standard_normal(x.shape))
        return x


# -- the theory: SymPy objects that are proved, evaluated and printed
q, t, eta, sigma = sp.symbols("q t eta sigma", positive=True)
MEAN, VARIANCE = q**t, eta**2 * sigma**2 * (1 - q ** (2 * t)) / (1 - q**2)


def at_the_end(formula, regime):  # of training, for each coordinate
    step, value = regime.training.eta, sp.lambdify((q, t, eta, sigma), formula, "numpy")
    return value(1 - step * regime.h, regime.training.steps, step, regime.problem.sigma) * np.ones(regime.problem.d)


def bound(regime, floor=1.0):  # on the expected risk
    step, slowest = regime.training.eta, (1 - regime.training.eta * regime.h[0]) ** (2 * regime.training.steps)
    rest = floor * regime.problem.d * step * regime.problem.sigma**2 / (4 - 2 * step * regime.h[-1])
    return slowest * regime.h.sum() / 2 + rest


def exact_risk(regime):
    return (regime.h * (at_the_end(MEAN, regime) ** 2 + at_the_end(VARIANCE, regime))).sum() / 2


# -- measurements: they are handed what is asserted, right or wrong, and decide nothing
def proof(_context, variance):
    rows = variance.subs(t, t + 1) - q**2 * variance - eta**2 * sigma**2, variance.subs(t, 0)
    return ps.Evidence(rows=tuple(ps.Exact(name="step and start", residual=sp.simplify(x)) for x in rows))


def mean_without_noise(context, mean):
    steps = context.regime.training.steps
    off = abs(context.points(1, steps, 0, noisy=False)[0] - at_the_end(mean, context.regime)).max()
    return ps.Evidence(rows=(ps.Compared(name="x", difference=off, scale=1.0, roundings=8.0 * steps),))


def variance_of_sgd(context, variance):
    regime, samples = context.regime, variance_plan(context).samples
    x = context.points(samples, regime.training.steps, 1) - at_the_end(MEAN, regime)
    off = (x**2 / at_the_end(variance, regime) - 1).T
    return ps.Evidence(rows=tuple(ps.Estimated.of_samples("x", y, scale=1.0) for y in off))


def risk_of_sgd(context, said):
    risk = context.points(N, context.regime.training.steps, 2) ** 2 @ context.regime.h / 2
    return ps.Evidence(rows=(ps.Bounded.of_samples("f", risk, bound=said(context.regime)),))


def mean_over_time(context, factor):  # places in units of the rate, so that the slope is -1
    rate = -factor * np.log(1 - context.regime.training.eta * context.regime.problem.h_min)
    x = {rate * step: context.points(N, step, 10 + step)[:, 0] for step in (1, 2, 3, 4, 5)}
    return ps.Evidence(rows=(ps.Points.of_samples("x_0", x),))


def variance_plan(context):  # a squared normal number has standard deviation sqrt(2) times its mean
    return WITHIN.design(spread=2**0.5, rows=context.regime.problem.d, level=context.level)


def below(key, limit):  # a hypothesis
    name, reach = f"eta h_max < {limit:g}", lambda regime: regime.training.eta * regime.h[-1]
    return ps.Hypothesis(key=key, name=name, holds=lambda r: reach(r) < limit, got=lambda r: f"{reach(r):g}")


def claim(id, statement, formula, measure, rule, right, wrong, *hypotheses, ground=ps.Ground.STATISTICS, **more):
    more["controls"] = (ps.NegativeControl(name="a near miss", asserts=lambda: wrong),)
    more["rests_on"] = (ps.Basis(ground=ground, text="SGD as it is defined" if hypotheses else "SymPy"),)
    more |= {"measure": measure, "rule": rule, "hypotheses": hypotheses}
    return ps.Claim.single(id=id, statement=statement, formula=formula, asserts=lambda: right, **more)


N, WITHIN, BELOW = 100_000, ps.Equivalence(margin=0.1, reason="a tenth"), ps.UpperBound(reason="a sum of bounds")
RATE = ps.Rate(declared=-1.0, margin=0.02, reason="2% of the rate", exponential=True)
STABLE, SMALL = below("stable", 2), below("small", 0.5)
# fmt: off
CLAIMS = (
    claim("moments/variance_solves_its_recursion", "The variance solves v <- q^2 v + eta^2 sigma^2 from 0.", sp.latex(VARIANCE),
          proof, ps.ExactZero(), VARIANCE, VARIANCE * sp.Rational(101, 100), ground=ps.Ground.PROOF, scope="any regime"),
    claim("moments/mean_is_a_power", "Without noise SGD is q^t.", sp.latex(MEAN), mean_without_noise,
          ps.RoundOff(reason="three roundings a step on either side"), MEAN, MEAN * (1 + eta / 10**6), STABLE, ground=ps.Ground.ROUND_OFF),
    claim("moments/variance_is_the_closed_form", "The variance of SGD is the closed form.", sp.latex(VARIANCE), variance_of_sgd, WITHIN,
          VARIANCE, VARIANCE * sp.Rational(5, 4), STABLE, plan=variance_plan, uses=("moments/variance_solves_its_recursion",)),
    # As first stated: `polyseme falsify` finds that eta h_max < 2 is not enough.
    claim("risk/stays_below_its_bound", "The risk is at most that of the slowest mean, and a floor.",
          r"E f \le (1 - \eta h_{\min})^{2t} f_0 + d \eta \sigma^2 / (4 - 2 \eta h_{\max})", risk_of_sgd, BELOW,
          bound, lambda regime: 0.95 * exact_risk(regime), STABLE,
          plan=lambda c: BELOW.design_means(bound=1.0, truth=0.97, spread=0.9, rows=1, level=c.level, samples=N)),
    claim("risk/slowest_mean_falls_exponentially", "The slowest mean falls at the rate -log(1 - eta h_min).", r"q^t = e^{t \log q}",
          mean_over_time, RATE, 1.0, 1.05, SMALL, plan=lambda _context: ps.Plan(samples=N, detects=0.03, power=0.99)),
)
WRONG = (("coefficient", "1% more variance", VARIANCE * sp.Rational(101, 100)), ("exponent", "q^(t+1)", q ** (t + 1)),
         ("dropped term", "variance without 1 - q^2", VARIANCE * (1 - q**2)), ("constant", "floor 5% less", lambda r: bound(r, 0.95)),
         ("rate", "5% faster", 1.05))
PLANTS = [ps.Plant(operator=operator, name=name, claims=(one.id,), asserted=lambda _part, x=wrong: x, regime=Regime())
          for one, (operator, name, wrong) in zip(CLAIMS, WRONG, strict=True)]
THEORY = ps.Theory(
    name="noisy_quadratic", title="SGD on a noisy quadratic", regime=Regime, claims=CLAIMS, context=Simulation,
    steps=(ps.Step(key="moments", title="The moments", question="What are mean and variance?", patterns=("moments/*",)),
           ps.Step(key="risk", title="The risk", question="How fast does it fall, and how far?", patterns=("risk/*",))),
    search=ps.SearchSpace(values={
        "problem": {"d": (1, 2, 3), "h_min": (0.5, 0.1, 1.0), "condition": (1.0, 1.5, 2.0), "sigma": (0.3, 0.1, 0.01)},
        "training": {"steps": (1, 2, 5, 20), "eta": (0.2, 0.8, 1.4, 1.9), "seed": tuple(range(20))}}),
    audit=ps.AuditMaterial(regime=Regime(), plants=lambda: PLANTS, true_claims=(CLAIMS[2].id,), detection=ps.Detection(
        claim=CLAIMS[1].id, delta=0.01, asserted=lambda: {"q^t times 1 + 1%": MEAN * sp.Rational(101, 100)},
        draw=lambda rng: Regime().replace(training={"eta": float(rng.uniform(0.1, 0.9)), "steps": 5}))),
    boundaries=(ps.Boundary(label=r"$\eta(h_{\min}+h_{\max})=2$", claims=(CLAIMS[3].id,), level=2.0,  # beyond it h_max is slowest
                            value=lambda r: r.training.eta * (r.h[0] + r.h[-1])),),
)
