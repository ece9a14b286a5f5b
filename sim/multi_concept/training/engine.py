"""How a step is taken: autograd of the written-out model, or the fast step, eager or compiled (section 1)."""

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from types import FunctionType, MethodType
from typing import Literal, Protocol, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from polyseme.errors import PolysemeError
from polyseme.sim.ensemble.device import resolve
from polyseme.sim.ensemble.memory import keep_freed_memory
from polyseme.sim.ensemble.philox import Address, key_of
from polyseme.sim.ensemble.streams import Purpose
from polyseme.sim.multi_concept.plan import steps_at_once, takes_long
from polyseme.sim.multi_concept.prompts.draws import PromptStream
from polyseme.sim.multi_concept.prompts.enumeration import enumerate_prompts
from polyseme.sim.multi_concept.prompts.tensors import Dictionaries, Prompts, batches
from polyseme.sim.multi_concept.training.model import Functions, Outcome, Weights, outcome
from polyseme.sim.multi_concept.training.samplers import SAMPLERS
from polyseme.sim.multi_concept.training.step import Gradient, gradient, update
from polyseme.theory.multi_concept.regime import Regime, Training

Engine = Literal["autograd", "analytic", "compiled"]
Step = TypeVar("Step", int, Tensor)


def step_size(training: Training, t: Step) -> Step | float:
    """eta_t of update t = 0, 1, ...: 2 / (lam (gamma + t)) or eta (section 1); of a number, or of one in a tensor."""
    if training.schedule == "inverse":
        return 2 / (training.lam * (training.gamma + t))
    return training.eta


def choose(regime: Regime, *, device: torch.device, keep_counts: bool = False) -> Engine:
    """The engine of a run: what [ensemble] asks for, or for 'auto' one that its length is worth.

    Population descent and kept counts need prompts written out, and so autograd. PolysemeError if what is asked for
    cannot be had.
    """
    ensemble = regime.ensemble
    written_out = "batch = 'population'" if regime.training.batch == "population" else "kept counts"
    if regime.training.batch == "population" or keep_counts:
        if ensemble.engine not in ("auto", "autograd") or ensemble.sampler != "literal":
            key, value, instead = (
                ("sampler", ensemble.sampler, "literal")
                if ensemble.sampler != "literal"
                else ("engine", ensemble.engine, "auto")
            )
            raise PolysemeError(
                f"got {key} = '{value}' with {written_out}, which writes prompts out; type {key} = '{instead}' in [ensemble]"
            )
        return "autograd"
    if ensemble.engine == "autograd" and ensemble.sampler == "reduced":
        raise PolysemeError(
            "got engine = 'autograd' with sampler = 'reduced', which writes no prompts out; type engine = 'auto' in [ensemble]"
        )
    if ensemble.engine == "compiled" and not can_compile(device):
        raise PolysemeError(
            "got engine = 'compiled' and found no compiler for it (g++ on a CPU, Triton on a GPU); install one, or type engine = "
            "'auto' in [ensemble]"
        )
    if ensemble.engine != "auto":
        return ensemble.engine
    if (takes_long(regime) or device.type == "cuda") and can_compile(device):
        return "compiled"
    return "autograd" if ensemble.sampler == "literal" else "analytic"


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile finds what it needs on this machine."""
    if device.type == "cuda":
        from importlib.util import find_spec

        return find_spec("triton") is not None
    return shutil.which(os.environ.get("CXX", "g++")) is not None


class Stepper(Protocol):
    """Takes the steps of a chunk of members, one after the other, and records nothing."""

    def measure(self, t: int) -> Float[Tensor, "3 E"]:
        """Loss, 0-1 error and attention on the prompts of step t at the weights as they are, without an update."""
        ...

    def step(self, t: int) -> Float[Tensor, "3 E"]:
        """Update t; what was measured before it."""
        ...


class AutogradStepper:
    """The plain model: prompts written out, and the gradient by autograd."""

    def __init__(
        self, regime: Regime, weights: Weights, dictionaries: Dictionaries, *, members: range, first: int = 0
    ) -> None:
        """Steps from number `first` on."""
        self.weights, self._training, self._functions = weights, regime.training, Functions.of(regime)
        self.prompts: Prompts | None = None
        self._at, self._prompts = -1, training_prompts(regime, dictionaries, members=members, first=first)

    def measure(self, t: int) -> Tensor:
        """As in `Stepper`."""
        with torch.no_grad():
            return stacked(outcome(self.weights, self.prompts_of(t), self._functions))

    def step(self, t: int) -> Tensor:
        """As in `Stepper`; in place.

        No weight of one member enters the loss of another, so the gradient of the sum of the losses
        holds the gradient of each.
        """
        before = outcome(self.weights, self.prompts_of(t), self._functions)
        gradients = torch.autograd.grad(before.loss.sum(), self.weights.trained)
        eta = step_size(self._training, t)
        with torch.no_grad():
            for weight, of_weight in zip(self.weights.trained, gradients, strict=True):
                weight.mul_(1 - eta * self._training.lam).sub_(of_weight, alpha=eta)
        return stacked(before)

    def prompts_of(self, t: int) -> Prompts:
        """The prompts of step t, which is the last one asked for or the next."""
        if self.prompts is None or t != self._at:
            self.prompts, self._at = next(self._prompts), t
        return self.prompts


class FastStepper:
    """The fast step, with the prompts of its address; compiled as a whole, or eager."""

    def __init__(
        self,
        regime: Regime,
        weights: Weights,
        dictionaries: Dictionaries,
        *,
        members: range,
        compiled: bool,
        pool: int | None = None,
    ) -> None:
        """Nothing is compiled before the first step. `pool`: take the prompts of this step at every one, to time what is left."""
        self.weights, self._training, self._functions = weights, regime.training, Functions.of(regime)
        self.sampler = SAMPLERS[regime.ensemble.sampler](regime, dictionaries, batch=int(regime.training.batch))
        self._key, self._device = key_of(regime.ensemble.seed), dictionaries.words.device
        self._members = torch.tensor(members, device=self._device)
        self._take, self._pool = self._update, None
        if pool is not None:
            self._pool = self.sampler(self._address(self._number(pool)))
        if compiled:
            keep_freed_memory()
            # Its shapes and its regime never change, so nothing has to be looked up again before each step.
            no_guards: dict[str, str | int | bool | Callable[..., object]] = {
                "guard_filter_fn": lambda guards: [False] * len(guards)
            }
            self._take = torch.compile(
                MethodType(_own_code(self._update), self), fullgraph=True, dynamic=False, options=no_guards
            )

    def measure(self, t: int) -> Tensor:
        """As in `Stepper`."""
        return self.gradient(t).outcome

    def step(self, t: int) -> Tensor:
        """As in `Stepper`."""
        with torch.no_grad():
            moved, before = self._take(*self.weights.trained, self._number(t))
            self.weights = Weights(W_Q=moved[0], W_K=moved[1], W_O=moved[2], r=self.weights.r)
        return before

    def gradient(self, t: int) -> Gradient:
        """The gradient on the prompts of step t at the weights as they are."""
        with torch.no_grad():
            batch = self.sampler(self._address(self._number(t)))
            return gradient(self.weights.trained, self.weights.r, batch, self._functions)

    def _number(self, t: int) -> Tensor:
        return torch.full((1,), t, dtype=torch.int64, device=self._device)

    def _address(self, t: Tensor) -> Address:
        return Address(key=self._key, purpose=Purpose.DATA, steps=t, members=self._members)

    def _update(self, W_Q: Tensor, W_K: Tensor, W_O: Tensor, t: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """One update: all of it in tensors, the step's number too, so that nothing waits for the host."""
        training = self._training
        rate = torch.zeros_like(t, dtype=torch.float64) + step_size(training, t.double())
        keep = 1 - rate * training.lam
        batch, dtype = self._pool or self.sampler(self._address(t)), W_Q.dtype
        return update((W_Q, W_K, W_O), self.weights.r, batch, self._functions, keep=keep.to(dtype), rate=rate.to(dtype))


_compiled = count()


def _own_code(method: MethodType) -> FunctionType:
    """The same function with a code object of its own: torch keeps what it compiled by that, and no guard distinguishes two regimes."""
    function = method.__func__
    code = function.__code__.replace(co_name=f"{function.__code__.co_name}_{next(_compiled)}")
    return FunctionType(code, function.__globals__, code.co_name, function.__defaults__, function.__closure__)


def means_of(regime: Regime) -> dict[str, str]:
    """By what a run of this regime rounds, besides its numbers: engine, device and version of torch."""
    device, _ = resolve(regime.ensemble.device, regime.ensemble.dtype)
    engine = choose(regime, device=device)
    return {"engine": engine, "device": device.type, "torch": str(torch.__version__)}


def stepper(
    engine: Engine, regime: Regime, weights: Weights, dictionaries: Dictionaries, *, members: range, first: int
) -> AutogradStepper | FastStepper:
    """The stepper of an engine, whose next step is `first`."""
    if engine == "autograd":
        return AutogradStepper(regime, weights, dictionaries, members=members, first=first)
    return FastStepper(regime, weights, dictionaries, members=members, compiled=engine == "compiled")


def training_prompts(
    regime: Regime, dictionaries: Dictionaries, *, members: range, first: int = 0, steps: int | None = None
) -> Iterator[Prompts]:
    """The prompts of every step of training from `first` on, without end: the exact enumeration, or fresh batches (section 1).

    Batches have an axis over `members`; `steps` says how many are wanted, all that are left if it is None.
    """
    if regime.training.batch == "population":
        return _forever(enumerate_prompts(regime, dictionaries))
    wanted = regime.training.steps - first if steps is None else steps
    stream = PromptStream(
        regime,
        purpose=Purpose.DATA,
        members=members,
        batch=regime.training.batch,
        first=first,
        device=dictionaries.words.device,
    )
    ahead = min(max(wanted, 1), steps_at_once(regime, members=len(members), batch=stream.batch))
    return batches(stream, dictionaries, ahead=ahead)


def stacked(means: Outcome) -> Float[Tensor, "3 E"]:
    """Loss, error and attention in one tensor of float64."""
    return torch.stack([means.loss, means.error, means.attention]).detach().double()


def _forever(prompts: Prompts) -> Iterator[Prompts]:
    while True:
        yield prompts
