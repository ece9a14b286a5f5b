"""An exponential bound on the 0-1 error of SGD on pure prompts, with every constant computed (docs/THEORY.md section 5).

theta_t: SGD; thetabar_t: descent on the population risk from the same state at step t_0; delta_t their difference, in all
coefficients of level B; g the gradient of the regularised population risk; zeta_t the mean over a minibatch of B independent
deviations of one prompt's gradient from g, which have mean zero given the past. Then

    delta_{t+1} = [delta_t - eta_t (g(theta_t) - g(thetabar_t))] - eta_t zeta_t.

A seed **exits** at the first step at which the bracket is longer than rho_t ||delta_t|| + j_t, or a prompt at theta_t deviates by more
than b_t. All of it is known before zeta_t, so the exit is a stopping time, whatever rho_t, j_t and b_t were declared. Until then, one prompt
at a time, the lemma below with B prompts of size eta_t b_t / B, and cosh(a + c) <= e^c cosh(a), give by induction

    E[cosh(s ||delta_t||); no exit before t] <= exp(s m_t + s^2 W_t / 2)  for every s > 0,    m_{t_0} = W_{t_0} = 0,
    m_{t+1} = rho_t m_t + j_t,    W_{t+1} = rho_t^2 W_t + eta_t^2 b_t^2 / B,

and with s = (x - m_t) / W_t, as 1 / cosh(s x) <= 2 exp(-s x):

    P(||delta_t|| >= x, no exit before t) <= 2 exp(-(x - m_t)^2 / (2 W_t))    for x >= m_t.

In units of R_t = rho_{t_0} ... rho_{t-1} the same cosh is a supermartingale after division by its bound, so with m = m_T / R_T and W = W_T / R_T^2

    P(||delta_t|| >= R_t (m + y) for some t <= T without exit before it) <= 2 exp(-y^2 / (2 W)).

Lemma (Pinelis 1994, in a Hilbert space): E cosh(s ||x + d||) <= cosh(s ||x||) cosh(s b) for E d = 0, ||d|| <= b. For the Hessian of
cosh(s ||y||) has the eigenvalues s^2 cosh(z) along y and s^2 cosh(z) tanh(z) / z across, z = s ||y||; so phi(u) = E cosh(s ||x + u d||) has phi'(0) = 0
and phi'' <= (s b)^2 phi, hence phi(1) <= phi(0) cosh(s b); and cosh(s b) <= exp(s^2 b^2 / 2).

Where this differs from the theory as stated: B enters, as b^2 / B, because a minibatch is revealed prompt by prompt. Nothing is asked of second
derivatives, which do not exist on a kink (section 6.4): rho_t is that of the path, and j_t accounts for the gates that SGD and the path hold in
different positions, whose gradient jumps by an amount that does not shrink with delta. And rho_t may exceed 1: where it does, W_t grows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from polyseme.theory.multi_concept.dynamics.ensemble import Ensemble
from polyseme.theory.multi_concept.dynamics.integrate import step_size
from polyseme.theory.multi_concept.fluctuation.curvature import curvature, deviations, drift, position

Cells = Float[np.ndarray, "K1 2 counts member"]
Steps = Float[np.ndarray, " step"]
States = Float[np.ndarray, " states"]

BISECTIONS = 60


def contraction(eta: Steps, lowest: Steps, highest: Steps) -> Steps:
    """||I - eta H|| of a symmetric H with eigenvalues from `lowest` to `highest`; above 1 where it has a negative one."""
    return np.maximum(1 - eta * lowest, eta * highest - 1)


@dataclass(frozen=True, kw_only=True)
class Width:
    """m_t, W_t and R_t at each state, one more than updates."""

    m: States
    W: States
    R: States

    def tail(self, x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """min(1, 2 exp(-(x - m)^2 / (2 W))) of lengths whose first axis is the state; at W = 0 it is 0 for x > m."""
        shape = (-1, *(1 for _ in x.shape[1:]))
        beyond, W = np.maximum(x - self.m.reshape(shape), 0.0), self.W.reshape(shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            exponent = np.where(beyond > 0, -np.square(beyond) / (2 * W), 0.0)
        return np.minimum(1.0, 2 * np.exp(exponent))

    def exceeded(self, probability: float) -> States:
        """x_t that is exceeded at a given t with at most that probability."""
        return self.m + np.sqrt(2 * self.W * np.log(2 / probability))

    def ever_exceeded(self, probability: float) -> States:
        """x_t that is exceeded at any t at all, up to the last, with at most that probability."""
        m, W = self.m[-1] / self.R[-1], self.W[-1] / self.R[-1] ** 2
        return self.R * (m + np.sqrt(2 * W * np.log(2 / probability)))


def width(rho: Steps, eta: Steps, b: Steps, *, batch: float, jump: Steps) -> Width:
    """The recursions of m and W, and the product of the factors rho."""
    m, W, R = np.zeros(len(rho) + 1), np.zeros(len(rho) + 1), np.ones(len(rho) + 1)
    for t in range(len(rho)):
        m[t + 1] = rho[t] * m[t] + jump[t]
        W[t + 1] = rho[t] ** 2 * W[t] + eta[t] ** 2 * b[t] ** 2 / batch
        R[t + 1] = rho[t] * R[t]
    return Width(m=m, W=W, R=R)


# -- from a distance to an error ------------------------------------------------------------------------------


def _attention(members: Ensemble) -> tuple[Cells, Float[np.ndarray, "K1 2 1 member"]]:
    """The argument of ebar = tanh(.) of each prompt, and sqrt(||W_K b^||^2 + ||W_Q x_query||^2)."""
    numbers, state, L = members.numbers, members.state, members.regime.prompt.L
    n_a, n_b, e = float(numbers["n_a"]), float(numbers["n_b"]), np.asarray(numbers["e"])[0]
    W = {name: x[0] for name, x in state.items() if name.startswith("W_")}
    K = (W["W_K_ab"], W["W_K_bb"])
    Q = tuple(n_a * W[f"W_Q_{row}a"] + e * n_b * W[f"W_Q_{row}b"] for row in "ab")
    plus = np.arange(L + 1.0)[:, None]
    with np.errstate(divide="ignore"):
        logit = n_b * (K[0] * Q[0] + K[1] * Q[1]) + 0.5 * (np.log(plus) - np.log(L - plus))
    return logit, np.sqrt(K[0] ** 2 + K[1] ** 2 + Q[0] ** 2 + Q[1] ** 2)


def distances(members: Ensemble) -> Cells:
    """D of each prompt (k, e, n+): no state whose coefficients of concept k are nearer than that to the member's gets it wrong.

    Zero where the member does. Let all coefficients of concept k move by at most x in length, w_i be those of neuron i, v = n_c c^ +
    ebar n_d d^, K = W_K b^ and Q = W_Q x_query. As |r_i| = 1/m, the activation has slope 1 at most, ||v|| <= 1 and ||x_query|| = 1,

        |f - fbar| <= ||W v - Wbar vbar|| / sqrt(m) <= (x + n_d ||betabar|| |ebar - ebarbar|) / sqrt(m),
        |g - gbar| <= n_b (||dK|| ||Qbar|| + ||Kbar|| ||dQ|| + ||dK|| ||dQ||) <= n_b (x sqrt(||Qbar||^2 + ||Kbar||^2) + x^2 / 2)

    by Cauchy and Schwarz; the mean sign ebar = tanh(g + log(n+/n-)/2) moves most at an end of that interval, and not at all at n+ = 0 or
    n- = 0. The right side grows with x, so where a bisection keeps it below the margin is below the distance.
    """
    n_b, n_d = float(members.numbers["n_b"]), float(members.numbers["n_d"])
    logit, lever = _attention(members)
    ebar, root = np.tanh(logit), np.sqrt(len(members.r))
    swing = n_d * np.linalg.norm(members.state["beta"], axis=0)
    margins = members.margins()
    low, high = np.zeros_like(margins), root * np.maximum(margins, 0.0)
    for _ in range(BISECTIONS):
        x = (low + high) / 2
        turn = n_b * (x * lever + x * x / 2)
        moved = np.maximum(np.tanh(logit + turn) - ebar, ebar - np.tanh(logit - turn))
        safe = (x + swing * moved) / root < margins
        low, high = np.where(safe, x, low), np.where(safe, high, x)
    return low


def kink_distance(members: Ensemble) -> Float[np.ndarray, " member"]:
    """How far the nearest gate of a possible prompt is from its kink, in (alpha_i, beta_i) at that prompt's attention."""
    numbers, state = members.numbers, members.state
    ebar = np.tanh(_attention(members)[0])
    n_c, n_d = float(numbers["n_c"]), float(numbers["n_d"])
    h = n_c * state["alpha"] + n_d * ebar * state["beta"]
    away = np.abs(h) / np.sqrt(n_c**2 + (n_d * ebar) ** 2)
    return np.where(members.law[..., None] > 0, away, np.inf).min(axis=(0, 1, 2, 3))


# -- along a path ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Path:
    """Descent on the population risk from one state, and what the bound needs of it, for each update and each state.

    `noise`: b_t by listing the prompts; `lowest` and `highest`: extreme curvatures; `kinks`: distance of the nearest gate from its kink.
    """

    first: int
    eta: Steps
    positions: Float[np.ndarray, "states N"]
    drifts: Float[np.ndarray, "step N"]
    noise: Steps
    lowest: Steps
    highest: Steps
    kinks: Steps
    distances: Float[np.ndarray, "states K1 2 counts"]
    errors: States

    @property
    def rho(self) -> Steps:
        """||I - eta_t H_t|| on the path."""
        return contraction(self.eta, self.lowest, self.highest)

    def width(self, *, batch: float, jump: float = 0.0, looseness: float = 1.0) -> Width:
        """With jumps of that length in each bracket but the first, which is zero, and noise up to `looseness` times the path's."""
        jumps = np.full(len(self.eta), jump)
        jumps[:1] = 0.0
        return width(self.rho, self.eta, looseness * self.noise, batch=batch, jump=jumps)

    def error_bound(self, law: Float[np.ndarray, "K1 2 counts"], of: Width) -> States:
        """Bound on P(a prompt of the law is wrong, no exit) at each state."""
        return np.einsum("ken,tken->t", law, of.tail(self.distances))


def follow(start: Ensemble, steps: int) -> Path:
    """The path of the first member over `steps` updates."""
    one = start.pick(slice(0, 1))
    rows: list[dict[str, Any]] = []
    positions, away, errors = [], [], []
    for t in range(steps + 1):
        positions.append(position(one)[:, 0])
        away.append(distances(one)[..., 0])
        errors.append(one.error()[0])
        if t == steps:
            break
        lowest, highest = curvature(one)
        rows.append(
            {
                "eta": step_size(one.regime, one.t),
                "drifts": drift(one)[:, 0],
                "noise": np.linalg.norm(deviations(one), axis=0).max(),
                "lowest": lowest,
                "highest": highest,
                "kinks": kink_distance(one)[0],
            }
        )
        one.descend()
    arrays = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}
    return Path(
        first=start.t, positions=np.array(positions), distances=np.array(away), errors=np.array(errors), **arrays
    )
