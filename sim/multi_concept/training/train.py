"""Training the full model: online SGD or exact population descent of a whole ensemble (section 1)."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch

from polyseme.errors import Diverged, PolysemeError
from polyseme.sim.ensemble.device import is_on_gpu, resolve
from polyseme.sim.multi_concept import observe
from polyseme.sim.multi_concept.plan import MEMBERS_PER_CHUNK, MEMBERS_PER_LAUNCH, check_fits, member_chunks
from polyseme.sim.multi_concept.prompts.tensors import Dictionaries, Prompts
from polyseme.sim.multi_concept.training.engine import AutogradStepper, choose, step_size, stepper
from polyseme.sim.multi_concept.training.evaluate import OUTCOMES, Evaluation
from polyseme.sim.multi_concept.training.initial import WEIGHTS, check_initial, draw_initial
from polyseme.sim.multi_concept.training.model import Weights
from polyseme.theory.multi_concept.regime import Regime, Training

__all__ = ["Run", "chunks", "joined", "recorded", "simulate", "step_size"]

# Seldom enough that drawing a progress bar never shows in the time of a run.
STEPS_BETWEEN_PROGRESS = 64
# Before the name of a recorded array, where it stands beside the state of the run.
_RECORD = "record_"


def simulate(
    regime: Regime,
    initial: dict[str, np.ndarray] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    keep_final: bool = False,
    keep_counts: bool = False,
    keep_weights: bool = False,
    first_member: int = 0,
) -> dict[str, np.ndarray]:
    """Train the model of `regime` from `initial`, by default the start that `draw_initial` gives, and return the trajectory of section 8.

    step (records,), and with a leading ensemble axis iff the state has one or there is more than one
    seed: W_Q_blocks, W_K_blocks (records, K1, 2, 2), alpha, beta (records, m, K1); loss, error,
    attention (records,) of the prompt law, exact for pure prompts and in population descent, else over a
    fixed sample; train_loss, train_error, train_attention (records,), which are means over the steps since
    the last record, each step before its update (record 0: the first batch); and the products of
    `polyseme.sim.multi_concept.observe.products`. `keep_final` adds final_W_Q, final_W_K, final_W_O. `keep_counts` adds counts
    (steps, K1, 2, L+1): how many prompts of a step have concept k, query sign + (0) or - (1), and n+
    demonstrations of sign +. `keep_weights` adds recorded_W_Q, recorded_W_K (records, d_x, d_x) and recorded_W_O
    (records, m, d_y), the weights at every record.

    A state without an ensemble axis is copied to all seeds, who then differ in their data alone. Data
    belong to (seed, member), members are numbered from `first_member`. `progress(done, total)` is
    called now and then, in steps over all chunks of members. Raises PolysemeError if the run is
    impossible or does not fit into memory, and its kind Diverged if it diverges.
    """
    Regime.require(regime)
    together = MEMBERS_PER_LAUNCH if is_on_gpu(regime.ensemble.device) else MEMBERS_PER_CHUNK
    check_fits(regime, keep_counts=keep_counts, keep_weights=keep_weights, together=together)
    if keep_counts:
        _check_countable(regime)
    if initial is None:
        initial = draw_initial(regime, first_member=first_member)
    parts, results = chunks(regime, initial, at_most=together), []
    for number, (members, state) in enumerate(parts):
        shifted = range(first_member + members.start, first_member + members.stop)
        run = Run(regime, state, members=shifted, keep_counts=keep_counts, keep_weights=keep_weights)
        for done in run.steps():
            if progress and (done % STEPS_BETWEEN_PROGRESS == 0 or done == regime.training.steps):
                progress(number * regime.training.steps + done, len(parts) * regime.training.steps)
        results.append(run.result(keep_final=keep_final))
    return joined(regime, initial, results)


def chunks(
    regime: Regime, initial: dict[str, np.ndarray], *, at_most: int
) -> list[tuple[range, dict[str, np.ndarray]]]:
    """Members that are trained together, numbered from 0, with their initial states; PolysemeError for a wrong state."""
    has_axis = check_initial(regime, initial)
    seeds = regime.ensemble.seeds
    weights = {name: initial[name] if has_axis else np.repeat(initial[name][None], seeds, axis=0) for name in WEIGHTS}
    return [
        (members, initial | {name: weights[name][members.start : members.stop] for name in WEIGHTS})
        for members in member_chunks(regime, at_most=at_most)
    ]


def joined(
    regime: Regime, initial: dict[str, np.ndarray], results: list[dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The trajectories of all chunks as one, with its steps, in the shapes of `simulate`."""
    result = {name: np.concatenate([part[name] for part in results]) for name in results[0]}
    if np.ndim(initial["W_Q"]) == 2 and regime.ensemble.seeds == 1:
        result = {name: array[0] for name, array in result.items()}
    return {"step": np.array(regime.training.record_steps())} | result


def recorded(kept: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The trajectory so far, with an ensemble axis, of what `Run.keep` gave."""
    return {name[len(_RECORD) :]: array for name, array in kept.items() if name.startswith(_RECORD)}


def _divergence(training: Training, step: int) -> str:
    change = "larger value of gamma" if training.schedule == "inverse" else "smaller value of eta"
    key = "gamma" if training.schedule == "inverse" else "eta"
    return (
        f"the run diverged before step {step}: expected finite weights and loss, got infinities; "
        f"type a {change} in [training], which has {key} = {getattr(training, key)}"
    )


class Run:
    """One chunk of members on its way through training; what it is at any step can be kept, and taken up again."""

    def __init__(
        self,
        regime: Regime,
        state: dict[str, np.ndarray],
        *,
        members: range,
        keep_counts: bool = False,
        keep_weights: bool = False,
        kept: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """`state` has an ensemble axis; `kept` is what `keep` gave, of the same regime, state and members."""
        self.regime, self.members, self.state = regime, members, state
        device, dtype = resolve(regime.ensemble.device, regime.ensemble.dtype)
        self.engine = choose(regime, device=device, keep_counts=keep_counts)
        weights = Weights.of(
            state if kept is None else state | {name: kept[name] for name in WEIGHTS}, device=device, dtype=dtype
        )
        self.done = 0 if kept is None else int(kept["done"])
        dictionaries = Dictionaries.of(state, device=device, dtype=dtype)
        self._stepper = stepper(self.engine, regime, weights, dictionaries, members=members, first=self.done)
        self._evaluation = Evaluation(regime, state, device=device)
        self._basis = observe.frame(state["M"], state["Q"])
        self._to_record = set(regime.training.record_steps())
        self._keep_counts, self._counts = keep_counts, []
        self._keep_weights = keep_weights
        self._records: list[dict[str, np.ndarray]] = []
        self._since, self._last = torch.zeros((3, len(members)), dtype=torch.float64, device=device), 0
        if kept is None:
            self._record(self._stepper.measure(0))
        else:
            self._since, self._last = torch.from_numpy(kept["since"]).to(device), int(kept["last"])
            of_run = recorded(kept)
            count = next(iter(of_run.values())).shape[1]
            self._records = [{name: array[:, j] for name, array in of_run.items()} for j in range(count)]

    def steps(self) -> Iterator[int]:
        """Train to the end; yields after every update how many have been done. Between two it is safe to stop."""
        total = self.regime.training.steps
        while self.done < total:
            self._since = self._since + self._stepper.step(self.done)
            if self._keep_counts:
                assert isinstance(self._stepper, AutogradStepper) and self._stepper.prompts is not None
                self._counts.append(_counts(self._stepper.prompts, self.regime.concepts.K1))
            self.done += 1
            if self.done in self._to_record:
                self._record(self._since / (self.done - self._last))
                self._since, self._last = torch.zeros_like(self._since), self.done
            yield self.done

    def keep(self) -> dict[str, np.ndarray]:
        """All that a run needs to go on from here to the same numbers, in arrays. Prompts have addresses, and no state."""
        kept = {name: np.stack([record[name] for record in self._records], axis=1) for name in self._records[0]}
        numbers = {"done": np.array(self.done), "last": np.array(self._last), "since": self._since.cpu().numpy()}
        return {f"{_RECORD}{name}": array for name, array in kept.items()} | numbers | self._stepper.weights.numpy()

    def result(self, *, keep_final: bool = False) -> dict[str, np.ndarray]:
        """The trajectory with an ensemble axis, without `step`."""
        result = {name: np.stack([record[name] for record in self._records], axis=1) for name in self._records[0]}
        if keep_final:
            result |= {f"final_{name}": array for name, array in self._stepper.weights.numpy().items()}
        if self._keep_counts:
            shape = (len(self.members), 0, self.regime.concepts.K1, 2, self.regime.prompt.L + 1)
            result["counts"] = np.stack(self._counts, axis=1) if self._counts else np.zeros(shape, dtype=np.int32)
        return result

    def _record(self, training: torch.Tensor) -> None:
        """Append what is observed at the weights as they are, and (3, E) of the training batches."""
        of_run = self._stepper.weights
        weights, expected = of_run.numpy(), self._evaluation(of_run)
        if not all(np.isfinite(array).all() for array in (*weights.values(), *expected.values())):
            raise Diverged(_divergence(self.regime.training, self.done))
        self._records.append(
            observe.project(self.state["M"], self.state["Q"], weights)
            | expected
            | {f"train_{name}": value for name, value in zip(OUTCOMES, training.cpu().numpy(), strict=True)}
            | observe.products(self._basis, weights)
            | ({f"recorded_{name}": array for name, array in weights.items()} if self._keep_weights else {})
        )


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
