"""The gradient flow is the recursion's limit, of order 1 in the step size (section 4)."""

import numpy as np
import pytest

from polyseme.errors import PolysemeError
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.theory.multi_concept.coefficients import project, to_layout
from polyseme.theory.multi_concept.dynamics.flow_limit import flow_end, recursion_end, smooth_horizon
from polyseme.theory.multi_concept.dynamics.gate_flow import Solver, flow, flows, schedule_times
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b
from polyseme.theory.multi_concept.regime import Regime

pytestmark = pytest.mark.usefixtures("unchecked_types")
REGIMES = [0, 3, 10]


@pytest.fixture
def smooth(random_regime):
    """smooth(seed): a regime, its initial state and a time before the first gate event."""

    def make(seed):
        regime = random_regime(seed)
        initial = draw_initial(regime)
        # Ten steps of the recursion's own size: long enough to move, short enough for few gate events.
        horizon = smooth_horizon(regime, initial, 10 * regime.training.eta)
        assert horizon > 0
        return regime, initial, horizon

    return make


@pytest.mark.parametrize("seed", REGIMES)
def test_the_recursion_has_order_one_before_the_first_gate_event(seed, smooth):
    regime, initial, tau = smooth(seed)
    end = flow_end(regime, initial, tau)
    counts = (50, 100, 200, 400)
    errors = [np.abs(recursion_end(regime, initial, tau, steps) - end).max() for steps in counts]
    ratios = np.divide(errors[:-1], errors[1:])
    # error = C/n + D/n^2 with D of order C: halving the step halves it up to 1/50.
    np.testing.assert_allclose(ratios, 2, rtol=2 / 50)
    assert errors[-1] > 1e-10  # above the solver's own error of some 1e-12


@pytest.mark.parametrize("seed", REGIMES)
def test_the_flow_does_not_depend_on_its_tolerance(seed, smooth):
    regime, initial, tau = smooth(seed)
    fine, coarse = flow_end(regime, initial, tau, tolerance=1e-13), flow_end(regime, initial, tau, tolerance=1e-7)
    # Over a few tolerances' worth of accepted steps the errors add up: 100 tolerances.
    assert np.abs(fine - coarse).max() < 100 * 1e-7
    assert np.abs(fine - flow_end(regime, initial, tau)).max() < 100 * 1e-12
    start = np.concatenate([x.ravel() for x in to_layout(project(initial, regime.concepts.K1)).values()])
    assert np.abs(fine - start).max() > 1e-4  # and it moved


@pytest.mark.parametrize("seed", REGIMES)
def test_richardson_extrapolation_of_the_recursion_is_the_flow(seed, smooth):
    regime, initial, tau = smooth(seed)
    coarse, fine = (recursion_end(regime, initial, tau, steps) for steps in (200, 400))
    end = flow_end(regime, initial, tau)
    # 2 x(2n) - x(n) cancels C/n; what is left is of order 1/n^2, a fiftieth of the error at least.
    assert np.abs(2 * fine - coarse - end).max() < np.abs(fine - end).max() / 50


@pytest.mark.parametrize("seed", REGIMES)
def test_the_flow_keeps_the_difference_of_gram_matrices_but_for_the_decay(seed, smooth):
    # W_Q W_Q^T - W_K W_K^T decays as exp(-2 lambda tau), block by block (section 4); W_Q != W_K at the start.
    regime, initial, tau = smooth(seed)
    regime = regime.replace(training={"lam": 0.05 / tau})
    initial = initial | {"W_K": 0.7 * initial["W_K"]}
    tau = smooth_horizon(regime, initial, tau)
    K1 = regime.concepts.K1

    def gap(vector):
        Q, K = (x.T.reshape(K1, 2, 2) for x in vector[: 8 * K1].reshape(2, 4, K1))
        return Q @ Q.swapaxes(1, 2) - K @ K.swapaxes(1, 2)

    start = np.concatenate([x.ravel() for x in to_layout(project(initial, K1)).values()])
    end = flow_end(regime, initial, tau)
    np.testing.assert_allclose(gap(end), gap(start) * np.exp(-2 * regime.training.lam * tau), rtol=0, atol=1e-10)
    assert np.abs(gap(start)).max() > 1e-3


def test_the_horizon_is_before_the_first_gate_event(random_regime):
    regime = random_regime(10)
    initial = draw_initial(regime)
    long = 200 * regime.training.eta
    horizon = smooth_horizon(regime, initial, long)
    assert 0 < horizon < long  # gates flip in so long a time
    assert smooth_horizon(regime, initial, horizon) == horizon  # and none within the horizon


# -- across gate events ------------------------------------------------------------------------------------

TAU = 200.0
# Seeds at which gates open, shut, slide along their kinks and leave them.
BUSY = (1, 2)  # iid with two concepts, match with one


def busy(seed, **changes):
    regime = Regime().replace(
        concepts={"K1": 1 + seed % 2, "K2": 0, "d_x": 6, "d_y": 5},
        prompt={"L": 3, "law": ("match", "iid")[seed % 2]},
        model={"m": 6, "sigma_0": 0.4, "sigma_1": 0.3, **changes.get("model", {})},
        training={"lam": 2e-3, **changes.get("training", {})},
        ensemble={"seed": seed},
    )
    return regime, draw_initial(regime)


@pytest.mark.parametrize("seed", BUSY)
def test_the_error_stays_within_the_tolerance_across_events(seed):
    regime, initial = busy(seed)
    reference, coarse = (flow(regime, initial, tau=TAU, tolerance=tolerance) for tolerance in (1e-12, 1e-6))
    kinds = {event.kind for event in reference.events}
    assert len(reference.events) >= 9 and "slides" in kinds and kinds & {"opens", "shuts"}
    assert [(e.group, e.kind) for e in coarse.events] == [(e.group, e.kind) for e in reference.events]
    times = np.linspace(0, TAU, 80)
    errors = [np.abs(coarse.vector(t) - reference.vector(t)).max() for t in times]
    assert 0 < max(errors) <= 1e-6


class GatesKept(Solver):
    follows_gates = False


def test_the_events_are_needed():
    regime, initial = busy(2)
    right, wrong = (flow(regime, initial, tau=TAU, tolerance=1e-8, solver=solver) for solver in (Solver, GatesKept))
    assert not wrong.events
    assert np.abs(right.vector(TAU) - wrong.vector(TAU)).max() > 1e-2


def test_a_gate_that_slides_stays_on_its_kink():
    regime, initial = busy(2)
    solved = flow(regime, initial, tau=TAU, tolerance=1e-9)
    slide = next(e for e in solved.events if e.kind == "slides")
    end = next((e.time for e in solved.events if e.group == slide.group and e.kind.startswith("leaves")), TAU)
    assert end - slide.time > 1
    kappa_x, kappa_y, L = regime.concepts.kappa_x, regime.concepts.kappa_y, regime.prompt.L
    n_a, n_b, n_c, n_d = (((1 + s * k) / 2) ** 0.5 for k in (kappa_x, kappa_y) for s in (1, -1))
    k, e, n, i = slide.group
    for time in np.linspace(slide.time, end, 9):
        state = {name: array[0] for name, array in solved(np.array([time])).items()}
        W_Q, W_K = state["W_Q_blocks"][k], state["W_K_blocks"][k]
        g = np.array([0.0, n_b]) @ W_K.T @ W_Q @ np.array([n_a, e * n_b])
        ebar = -1.0 if n == 0 else 1.0 if n == L else np.tanh(g + np.log(n / (L - n)) / 2)
        # h is kept by its derivative: it drifts no further than the path's own error.
        assert abs(n_c * state["alpha"][i, k] + ebar * n_d * state["beta"][i, k]) < 1e-9


@pytest.mark.parametrize("seed", BUSY)
def test_the_recursion_converges_to_the_sliding_flow(seed):
    regime, initial = busy(seed)
    end = flow(regime, initial, tau=TAU, tolerance=1e-9).vector(TAU)
    coarse, fine = (np.abs(recursion_end(regime, initial, TAU, steps) - end).max() for steps in (250, 8000))
    # Order one on the whole, a factor 32; across events the constant moves with the phase of the steps, by up to four.
    assert fine < coarse / 8


@pytest.mark.parametrize("seed", BUSY)
def test_the_balance_decays_exactly_across_events(seed):
    regime, initial = busy(seed)
    initial = initial | {"W_K": 0.7 * initial["W_K"]}
    path = flow(regime, initial, tau=TAU, tolerance=1e-9)(np.array([0.0, TAU / 3, TAU]))
    Q, K = path["W_Q_blocks"], path["W_K_blocks"]
    gap = Q @ Q.swapaxes(-1, -2) - K @ K.swapaxes(-1, -2)
    for time, now in zip((TAU / 3, TAU), gap[1:], strict=True):
        np.testing.assert_allclose(now, gap[0] * np.exp(-2 * regime.training.lam * time), rtol=0, atol=1e-8)
    assert np.abs(gap[0]).max() > 1e-2


@pytest.mark.parametrize("activation", ["leaky_relu", "identity"])
@pytest.mark.parametrize("loss", ["squared", "exponential"])
def test_other_losses_and_activations_have_their_flow(loss, activation):
    regime, initial = busy(1, model={"activation": activation}, training={"loss": loss})
    solved = flow(regime, initial, tau=30.0)
    assert (activation == "identity") == (not solved.events)
    coarse, fine = (np.abs(recursion_end(regime, initial, 30.0, n) - solved.vector(30.0)).max() for n in (200, 3200))
    assert fine < coarse / 6


def test_a_member_equals_its_solo_run():
    regime, _ = busy(2)
    initial = draw_initial(regime.replace(ensemble={"seeds": 2}))
    together = flows(regime, initial, tau=50.0)
    for member, solved in enumerate(together):
        alone = initial | {name: initial[name][member] for name in ("W_Q", "W_K", "W_O")}
        np.testing.assert_array_equal(solved.vector(50.0), flow(regime, alone, tau=50.0).vector(50.0))
    with pytest.raises(PolysemeError, match="expected one member"):
        flow(regime, initial, tau=1.0)


def test_the_schedule_gives_the_times_of_the_records():
    regime, initial = busy(2, training={"steps": 400, "gamma": 2e4, "record_every": 100})
    times = schedule_times(regime)
    path, recursion = flow(regime, initial, tau=float(times[-1]))(times), integrate_b(regime, initial)
    # Steps of 2 / (lam gamma) = 0.05: the recursion is within order eta of the flow at the same records.
    assert 0 < np.abs(path["beta"] - recursion["beta"]).max() < 0.05
    assert times[0] == 0 and len(times) == len(recursion["step"])
