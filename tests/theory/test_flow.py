"""The gradient flow is the recursion's limit, of order 1 in the step size (section 4)."""

import numpy as np
import pytest

from sim.initial import draw_initial
from theory.coefficients import project, to_layout
from theory.flow import flow_end, recursion_end, smooth_horizon

pytestmark = pytest.mark.usefixtures("unchecked_types")
REGIMES = [0, 2, 3, 10]


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
