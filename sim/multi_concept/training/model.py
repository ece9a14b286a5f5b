"""The one-layer transformer of section 1, for a whole ensemble at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from polyseme.regime import LEAK
from polyseme.sim.multi_concept.prompts.tensors import Prompts
from polyseme.sim.multi_concept.training.initial import WEIGHTS
from polyseme.theory.multi_concept.regime import Regime

Activation = Literal["relu", "leaky_relu", "identity"]
Loss = Literal["logistic", "squared", "exponential"]

# At exactly 0 torch takes the slope of the negative side of both ReLUs, which is our convention too.
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": lambda h: functional.leaky_relu(h, LEAK),
    "identity": lambda h: h,
}

LOSSES: dict[Loss, Callable[[Tensor], Tensor]] = {
    # softplus(-z) would be the same loss, but torch replaces it by -z beyond 20, which loses 2e-9.
    "logistic": lambda z: -functional.logsigmoid(z),
    "squared": lambda z: (1 - z).square() / 2,
    "exponential": lambda z: torch.exp(-z),
}


@dataclass(frozen=True, kw_only=True)
class Functions:
    """The activation of the MLP and the loss of the margin z = e f (section 1)."""

    activation: Activation
    loss: Loss

    @classmethod
    def of(cls, regime: Regime) -> "Functions":
        """What [model] and [training] ask for."""
        return cls(activation=regime.model.activation, loss=regime.training.loss)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of E models; the signs and sizes r of the output neurons are fixed and shared."""

    W_Q: Float[Tensor, "E d_x d_x"]
    W_K: Float[Tensor, "E d_x d_x"]
    W_O: Float[Tensor, "E m d_y"]
    r: Float[Tensor, " m"]

    @classmethod
    def of(cls, state: dict[str, np.ndarray], *, device: torch.device, dtype: torch.dtype) -> "Weights":
        """Weights of a state with an ensemble axis (section 8), as fresh leaves for autograd."""
        trained = {name: torch.tensor(state[name], device=device, dtype=dtype, requires_grad=True) for name in WEIGHTS}
        return cls(**trained, r=torch.tensor(state["r"], device=device, dtype=dtype))

    @property
    def trained(self) -> tuple[Tensor, Tensor, Tensor]:
        """What the gradient is taken in."""
        return self.W_Q, self.W_K, self.W_O

    def numpy(self) -> dict[str, np.ndarray]:
        """Copies of W_Q, W_K, W_O as float64 arrays, whatever the precision of the run."""
        return {name: getattr(self, name).detach().to("cpu", torch.float64, copy=True).numpy() for name in WEIGHTS}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Means over the prompts of each member: loss l(e f) without penalty, 0-1 error, correct attention."""

    loss: Float[Tensor, " E"]
    error: Float[Tensor, " E"]
    attention: Float[Tensor, " E"]


def forward(
    weights: Weights, prompts: Prompts, activation: Activation
) -> tuple[Float[Tensor, "E B"], Float[Tensor, "E B L"]]:
    """The output f = r^T act(W_O v) and the attention weights p of every prompt (section 1).

    The attention logits are (W_K x_l)^T W_Q x_query; they are computed as x_l^T u with u = W_K^T W_Q
    x_query, so that keys need not be projected.
    """
    u = (prompts.x_query @ weights.W_Q.mT) @ weights.W_K
    p = torch.einsum("ebld,ebd->ebl", prompts.x, u).softmax(-1)
    v = torch.einsum("ebl,ebld->ebd", p, prompts.y)
    h = v @ weights.W_O.mT
    return ACTIVATIONS[activation](h) @ weights.r, p


def outcome(weights: Weights, prompts: Prompts, functions: Functions) -> Outcome:
    """Loss, 0-1 error and correct attention weight of each member, averaged over its prompts (section 1).

    A margin of exactly 0 counts as an error.
    """
    f, p = forward(weights, prompts, functions.activation)
    margin = prompts.e * f
    loss = LOSSES[functions.loss](margin)
    wrong = margin.detach() <= 0
    correct = (p.detach() * (prompts.signs == prompts.e.unsqueeze(-1))).sum(-1)
    return Outcome(
        loss=(loss * prompts.probability).sum(-1),
        error=(wrong * prompts.probability).sum(-1),
        attention=(correct * prompts.probability).sum(-1),
    )
