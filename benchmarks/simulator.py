"""The simulator against a loop of modules, torch.func and JAX, all in one run, and against what the machine can do.

.venv/bin/python -m benchmarks.simulator, or `make bench`. The unit of work is a step of SGD of 64 members, batch 32, L = 8, d_x =
d_y = 32, m = 64, with fresh noisy prompts; medians of five. Every contender has the machine to itself, in processes of its
own; polyseme runs as it does in a run folder: a process for each core, one thread each.
"""

import multiprocessing as mp
import os
import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from polyseme.theory.multi_concept.regime import Regime

UNIT = Regime().replace(
    concepts={"K1": 2, "K2": 2, "d_x": 32, "d_y": 32},
    prompt={"L": 8, "sigma_x": 0.05, "sigma_y": 0.05},
    model={"m": 64},
    training={"batch": 32, "steps": 10**6, "record_every": 10**6, "schedule": "constant", "eta": 1e-3},
    ensemble={"seeds": 64, "dtype": "float32", "device": "cpu"},
)
PURE = {"sigma_x": 0.0, "sigma_y": 0.0}
REPEATS = 5
SLOWEST = "loop of nn.Module"

Train = Callable[[int], None]


def polyseme(regime: Regime, *, fresh: bool, members: range) -> Train:
    """The compiled step of some members; compute alone takes one batch of prompts again and again."""
    import torch

    from polyseme.sim.multi_concept.prompts.tensors import Dictionaries
    from polyseme.sim.multi_concept.training.engine import FastStepper
    from polyseme.sim.multi_concept.training.initial import draw_initial
    from polyseme.sim.multi_concept.training.model import Weights

    torch.set_num_threads(1)
    start = draw_initial(regime.replace(ensemble={"seeds": max(2, len(members))}), first_member=members.start)
    cpu, dtype = torch.device("cpu"), getattr(torch, regime.ensemble.dtype)
    state = start | {name: start[name][: len(members)] for name in ("W_Q", "W_K", "W_O")}
    weights, dictionaries = (kind.of(state, device=cpu, dtype=dtype) for kind in (Weights, Dictionaries))
    stepper = FastStepper(regime, weights, dictionaries, members=members, compiled=True, pool=None if fresh else 0)

    def train(steps: int) -> None:
        for t in range(steps):
            stepper.step(t)

    return train


def contender(name: str, regime: Regime, fresh: bool, members: range) -> Train:
    """A contender by name."""
    if name == "polyseme":
        return polyseme(regime, fresh=fresh, members=members)
    from benchmarks.baselines import BASELINES

    return BASELINES[name](regime, fresh=fresh)


def _worker(barrier: Any, queue: Any, name: str, regime: Regime, fresh: bool, members: range, steps: int) -> None:
    train = contender(name, regime, fresh, members)
    train(steps)
    seconds = []
    for _ in range(REPEATS):
        barrier.wait()
        start = time.perf_counter()
        train(steps)
        seconds.append(time.perf_counter() - start)
    queue.put(seconds)


def milliseconds(name: str, regime: Regime, *, fresh: bool = True, processes: int = 1, seconds: float = 1.0) -> float:
    """Median milliseconds of a step of the whole ensemble, over processes that start together."""
    context = mp.get_context("spawn")
    seeds = regime.ensemble.seeds
    guess = {SLOWEST: 40.0, "torch.func vmap": 10.0}.get(name, 2.0) * seeds / 64
    steps = max(3, round(1e3 * seconds / guess))
    barrier, queue = context.Barrier(processes), context.Queue()
    edges = [seeds * j // processes for j in range(processes + 1)]
    workers = [
        context.Process(
            target=_worker, args=(barrier, queue, name, regime, fresh, range(edges[j], edges[j + 1]), steps)
        )
        for j in range(processes)
    ]
    for worker in workers:
        worker.start()
    times = [queue.get() for _ in workers]
    for worker in workers:
        worker.join()
    return 1e3 * statistics.median(max(of_round) for of_round in zip(*times, strict=True)) / steps


def ceilings() -> dict[str, float]:
    """What one core does: sgemm and dgemm in GF/s, a copy in GB/s, float32 normals a second of torch, in 1e6."""
    import torch

    torch.set_num_threads(1)

    def best(run: Callable[[], object]) -> float:
        seconds = []
        for _ in range(2 * REPEATS):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    single, double = torch.randn(1024, 1024), torch.randn(1024, 1024, dtype=torch.float64)
    large, other, normals = torch.randn(2**25), torch.empty(2**25), torch.empty(2**22)
    return {
        "sgemm, GF/s": 2 * 1024**3 / best(lambda: single @ single) / 1e9,
        "dgemm, GF/s": 2 * 1024**3 / best(lambda: double @ double) / 1e9,
        "copy, GB/s": 2 * 4 * 2**25 / best(lambda: other.copy_(large)) / 1e9,
        "torch.randn, 1e6/s": 2**22 / best(lambda: normals.normal_()) / 1e6,
    }


def flops(regime: Regime) -> float:
    """Floating-point operations of a step of one member without noise: products with the weights and their updates."""
    concepts = regime.concepts
    return 2.0 * int(regime.training.batch) * (5 * concepts.d_x**2 + 3 * regime.model.m * concepts.d_y)


ROWS: tuple[tuple[str, str, dict[str, Any], bool], ...] = (
    ("compute alone", SLOWEST, {}, False),
    ("compute alone", "torch.func vmap", {}, False),
    ("compute alone", "JAX vmap + scan", {}, False),
    ("compute alone", "polyseme", {}, False),
    ("fresh, literal noise", SLOWEST, {}, True),
    ("fresh, literal noise", "torch.func vmap", {}, True),
    ("fresh, literal noise", "JAX vmap + scan", {}, True),
    ("fresh, literal noise", "polyseme", {}, True),
    ("fresh, reduced noise", "polyseme", {"ensemble": {"sampler": "reduced"}}, True),
    ("fresh, pure prompts", "polyseme", {"prompt": PURE}, True),
)


def comparison(dtype: str, processes: int, seconds: float, gemm: float) -> Table:
    """All contenders in one precision; `gemm`: GF/s of all cores, of which products with weights are to reach a share."""
    table = Table(
        "prompts",
        "what",
        "ms a step",
        "model-steps/s",
        "to the loop",
        "to JAX",
        "of gemm",
        title=f"{dtype}, 64 members",
    )
    found: dict[tuple[str, bool], float] = {}
    for prompts, name, changes, fresh in ROWS:
        regime = UNIT.replace(**changes).replace(ensemble={"dtype": dtype})
        many = processes if name == "polyseme" else 1
        time_of = milliseconds(name, regime, fresh=fresh, processes=many, seconds=seconds)
        found.setdefault((name, fresh), time_of)
        ratios = [
            f"{found[base, fresh] / time_of:.1f}" if (base, fresh) in found else ""
            for base in (SLOWEST, "JAX vmap + scan")
        ]
        share = 64e3 / time_of * flops(regime) / (gemm * 1e9)
        table.add_row(prompts, name, f"{time_of:.2f}", f"{64e3 / time_of:,.0f}", *ratios, f"{share:.0%}")
    return table


def growth(processes: int, seconds: float) -> Table:
    """How the time of a step grows with each size, reduced noise, float32."""
    table = Table("size", "ms a step", "model-steps/s", title="Growth, reduced noise, float32")
    base = UNIT.replace(ensemble={"sampler": "reduced"})
    sizes: list[tuple[str, dict[str, dict[str, Any]]]] = [
        *((f"{seeds} members", {"ensemble": {"seeds": seeds}}) for seeds in (2, 16, 64, 256, 1024)),
        *((f"m = {m}", {"model": {"m": m}}) for m in (16, 256)),
        *((f"d_x = d_y = {d}", {"concepts": {"d_x": d, "d_y": d}}) for d in (16, 64, 128)),
        *((f"L = {L}", {"prompt": {"L": L}}) for L in (2, 32, 128)),
    ]
    for name, changes in sizes:
        regime = base.replace(**changes)
        time_of = milliseconds("polyseme", regime, processes=processes, seconds=seconds)
        table.add_row(name, f"{time_of:.2f}", f"{1e3 * regime.ensemble.seeds / time_of:,.0f}")
    return table


def main(
    seconds: Annotated[float, typer.Option(help="About how long each timed round takes.")] = 1.0,
    grow: Annotated[bool, typer.Option(help="Also how the time grows with each size.")] = True,
) -> None:
    """Print milliseconds per step of all contenders, ratios, the machine's ceilings, and growth with each size.

    Example: python -m benchmarks.simulator --seconds 0.3 --no-grow
    """
    processes, console = os.cpu_count() or 1, Console(width=120)
    measured = ceilings()
    console.print("One core: " + ", ".join(f"{name} {value:,.0f}" for name, value in measured.items()))
    for dtype, gemm in (("float32", "sgemm, GF/s"), ("float64", "dgemm, GF/s")):
        console.print(comparison(dtype, processes, seconds, processes * measured[gemm]))
    console.print(
        f"of gemm: the {flops(UNIT) / 1e6:.2f} MFLOP of a member's products with its weights, as a share of what {processes} cores do "
        "in large matrix products."
    )
    if grow:
        console.print(growth(processes, seconds))


if __name__ == "__main__":
    typer.run(main)
