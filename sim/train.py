"""Training the full model: online SGD or exact population descent of a whole ensemble (section 1)."""

from collections.abc import Callable, Iterator
from itertools import chain, islice, repeat

import numpy as np
import torch

from sim import observe
from sim.device import resolve
from sim.draws import PromptStream
from sim.enumeration import enumerate_prompts
from sim.evaluate import OUTCOMES, Evaluation
from sim.initial import WEIGHTS, check_initial
from sim.model import Functions, Outcome, Weights, outcome
from sim.plan import MEMBERS_PER_CHUNK, check_fits
from sim.prompts import Dictionaries, Prompts, batches
from sim.streams import Purpose
from theory.setting import PolysemeError, Regime, Training

# Seldom enough that drawing a progress bar never shows in the time of a run.
STEPS_BETWEEN_PROGRESS = 64


def simulate(
    regime: Regime,
    initial: dict[str, np.ndarray],
    *,
    progress: Callable[[int, int], None] | None = None,
    keep_final: bool = False,
    keep_counts: bool = False,
    first_member: int = 0,
) -> dict[str, np.ndarray]:
    """Train the model of `regime` from `initial` and return the trajectory of section 8.

    step (records,), and with a leading ensemble axis iff the state has one or there is more than one
    seed: W_Q_blocks, W_K_blocks (records, K1, 2, 2), alpha, beta (records, m, K1); loss, error,
    attention (records,) of the prompt law, exact for pure prompts and in population descent, else over a
    fixed sample; train_loss, train_error, train_attention (records,), which are means over the steps since
    the last record, each step before its update (record 0: the first batch); and the products of
    `sim.observe.products`. `keep_final` adds final_W_Q, final_W_K, final_W_O. `keep_counts` adds counts
    (steps, K1, 2, L+1): how many prompts of a step have concept k, query sign + (0) or - (1), and n+
    demonstrations of sign +.

    A state without an ensemble axis is copied to all seeds, who then differ in their data alone. Data
    belong to (seed, member), members are numbered from `first_member`. `progress(done, total)` is
    called now and then, in steps over all chunks of members. Raises PolysemeError if the run is
    impossible or does not fit into memory.
    """
    check_fits(regime, keep_counts=keep_counts)
    if keep_counts:
        _check_countable(regime)
    has_axis = check_initial(regime, initial)
    seeds, steps = regime.ensemble.seeds, regime.training.steps
    weights = {name: initial[name] if has_axis else np.repeat(initial[name][None], seeds, axis=0) for name in WEIGHTS}
    starts = range(0, seeds, MEMBERS_PER_CHUNK)
    runs = []
    for number, start in enumerate(starts):
        part = slice(start, min(start + MEMBERS_PER_CHUNK, seeds))
        run = Run(
            regime,
            initial | {name: weights[name][part] for name in WEIGHTS},
            members=range(first_member + part.start, first_member + part.stop),
            tick=_in_all_chunks(progress, before=number * steps, total=len(starts) * steps),
        )
        runs.append(run.train(keep_final=keep_final, keep_counts=keep_counts))
    result = {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}
    if not has_axis and seeds == 1:
        result = {name: array[0] for name, array in result.items()}
    return {"step": np.array(regime.training.record_steps())} | result


def training_prompts(regime: Regime, dictionaries: Dictionaries, *, members: range, steps: int) -> Iterator[Prompts]:
    """The prompts of every step of training, without end: the exact enumeration, or fresh batches (section 1).

    Batches have an axis over `members`, each with its own stream; `steps` says how many are wanted.
    """
    if regime.training.batch == "population":
        return repeat(enumerate_prompts(regime, dictionaries))
    stream = PromptStream(regime, purpose=Purpose.DATA, members=members, batch=regime.training.batch)
    return batches(stream, dictionaries, members=len(members), steps=steps)


def step_size(training: Training, t: int) -> float:
    """eta_t of update t = 0, 1, ...: 2 / (lam (gamma + t)) or eta (section 1)."""
    if training.schedule == "inverse":
        return 2 / (training.lam * (training.gamma + t))
    return training.eta


def _in_all_chunks(progress: Callable[[int, int], None] | None, *, before: int, total: int) -> Callable[[int], None]:
    """`progress` as one chunk of members sees it, which knows its own steps alone."""
    if progress is None:
        return lambda _done: None
    return lambda done: progress(before + done, total)


def _divergence(training: Training, step: int) -> str:
    change = "larger value of gamma" if training.schedule == "inverse" else "smaller value of eta"
    key = "gamma" if training.schedule == "inverse" else "eta"
    return (
        f"the run diverged before step {step}: expected finite weights and loss, got infinities; "
        f"type a {change} in [training], which has {key} = {getattr(training, key)}"
    )


class Run:
    """One chunk of members on its way through training."""

    def __init__(
        self, regime: Regime, state: dict[str, np.ndarray], *, members: range, tick: Callable[[int], None]
    ) -> None:
        """`state` has an ensemble axis; `tick(done_steps)` is called now and then."""
        self.regime = regime
        self.members = members
        self.tick = tick
        device, dtype = resolve(regime)
        self.state = state
        self.functions = Functions.of(regime)
        self.weights = Weights.of(state, device=device, dtype=dtype)
        self.dictionaries = Dictionaries.of(state, device=device, dtype=dtype)
        self.evaluation = Evaluation(regime, state, device=device)
        self.basis = observe.frame(state["M"], state["Q"])
        self.records: list[dict[str, np.ndarray]] = []

    def train(self, *, keep_final: bool, keep_counts: bool) -> dict[str, np.ndarray]:
        """All steps; the trajectory with an ensemble axis, without `step`."""
        steps = self.regime.training.steps
        prompts = training_prompts(self.regime, self.dictionaries, members=self.members, steps=steps)
        first = next(prompts)
        with torch.no_grad():
            self._record(0, _stacked(outcome(self.weights, first, self.functions)))
        to_record = set(self.regime.training.record_steps())
        since, last, counts = torch.zeros((), dtype=torch.float64), 0, []
        for t, batch in enumerate(islice(chain([first], prompts), steps)):
            since = since + self._update(batch, t)
            if keep_counts:
                counts.append(_counts(batch, self.regime.concepts.K1))
            if t + 1 in to_record:
                self._record(t + 1, since / (t + 1 - last))
                since, last = torch.zeros_like(since), t + 1
            if (t + 1) % STEPS_BETWEEN_PROGRESS == 0 or t + 1 == steps:
                self.tick(t + 1)
        result = {name: np.stack([record[name] for record in self.records], axis=1) for name in self.records[0]}
        if keep_final:
            result |= {f"final_{name}": array for name, array in self.weights.numpy().items()}
        if keep_counts:
            shape = (len(self.members), 0, self.regime.concepts.K1, 2, self.regime.prompt.L + 1)
            result["counts"] = np.stack(counts, axis=1) if counts else np.zeros(shape, dtype=np.int32)
        return result

    def _update(self, batch: Prompts, t: int) -> torch.Tensor:
        """W <- W - eta_t (grad + lam W) for all members; returns (3, E) loss, error, attention before it.

        No weight of one member enters the loss of another, so the gradient of the sum of the losses
        holds the gradient of each.
        """
        before = outcome(self.weights, batch, self.functions)
        gradients = torch.autograd.grad(before.loss.sum(), self.weights.trained)
        eta = step_size(self.regime.training, t)
        with torch.no_grad():
            for weight, gradient in zip(self.weights.trained, gradients, strict=True):
                weight.mul_(1 - eta * self.regime.training.lam).sub_(gradient, alpha=eta)
        return _stacked(before)

    def _record(self, step: int, training: torch.Tensor) -> None:
        """Append what is observed at the weights as they are, and (3, E) of the training batches."""
        weights, expected = self.weights.numpy(), self.evaluation(self.weights)
        if not all(np.isfinite(array).all() for array in (*weights.values(), *expected.values())):
            raise PolysemeError(_divergence(self.regime.training, step))
        self.records.append(
            observe.project(self.state["M"], self.state["Q"], weights)
            | expected
            | {f"train_{name}": value for name, value in zip(OUTCOMES, training.cpu().numpy(), strict=True)}
            | observe.products(self.basis, weights)
        )


def _stacked(means: Outcome) -> torch.Tensor:
    return torch.stack([getattr(means, name).detach() for name in OUTCOMES]).double()


def _counts(batch: Prompts, K1: int) -> np.ndarray:
    """How often each (concept, query sign, n+) occurs in the batch of each member: (E, K1, 2, L+1)."""
    members, _, L = batch.signs.shape
    positive = (batch.signs > 0).sum(-1)
    member = torch.arange(members, device=positive.device).unsqueeze(-1)
    cell = ((member * K1 + batch.concept) * 2 + (batch.e < 0)) * (L + 1) + positive
    cells = members * K1 * 2 * (L + 1)
    counts = torch.bincount(cell.flatten(), minlength=cells)
    return counts.reshape(members, K1, 2, L + 1).to("cpu", torch.int32).numpy()


def _check_countable(regime: Regime) -> None:
    prompt = regime.prompt
    if regime.training.batch == "population":
        raise PolysemeError(
            "prompts can be counted only when they are drawn, and got batch = 'population'; type a number "
            "for batch in [training]"
        )
    if not prompt.is_pure:
        raise PolysemeError(
            f"counts describe pure prompts only, and got p_extra = {prompt.p_extra}, sigma_x = {prompt.sigma_x}, "
            f"sigma_y = {prompt.sigma_y}; type 0 for all three in [prompt], or leave keep_counts out"
        )
