"""A whole verification of one regime: simulate, integrate, try every claim, write results, figures and report."""

import platform
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from checks.budget import SUITE_FALSE_ALARM, even_share, family_size
from checks.claim import Claim
from checks.claims import CLAIMS
from checks.court import settle_records, try_claim
from checks.files import save_json, save_npz
from checks.graph import uses_graph
from checks.laboratory import PURE, Laboratory
from checks.ledger import Record, close_over_uses
from checks.plots import learning_dynamics, measured_against_allowed, save_figure
from checks.report import Equation, FigureEntry, write_report
from theory.coefficients import concept_vectors, leak
from theory.derive import Recursion, derive
from theory.integrate import integrate, step_size
from theory.notation import fates, notation
from theory.setting import Regime
from theory.show import definitions, equations, latex, text

Arrays = dict[str, np.ndarray]
Progress = Callable[[int, int], None]

_PRODUCTS = (
    "Products are the largest entries of W_K^T W_Q and of W_O: on b and d (concept-specific), on a, c and across concepts "
    "(complement), and elsewhere (noise)."
)

PACKAGES = ("jaxtyping", "jinja2", "latex2mathml", "matplotlib", "numpy", "pydantic", "scipy", "sympy", "torch")


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The trajectories behind the learning-dynamics figure; `theory` is level B of the pure regime."""

    simulation: Arrays
    theory: Arrays
    is_theory_of_simulation: bool


def simulate_ensemble(regime: Regime, *, progress: Progress | None = None) -> tuple[Arrays, Arrays]:
    """The initial states of all members and the trajectory of the full model."""
    from sim.initial import draw_initial
    from sim.train import simulate

    initial = draw_initial(regime)
    return initial, simulate(regime, initial, progress=progress)


def theory_curves(regime: Regime, initial: Mapping[str, np.ndarray], *, progress: Progress | None = None) -> Arrays:
    """Level B from the same initial states, with the products that the figure draws (P5).

    Products outside the state follow from closure/complement_decays_exactly: what the start has there, times the decay.
    """
    pure = regime.replace(prompt=PURE)
    trajectory = integrate(pure, initial, progress=progress)
    blocks_q, blocks_k = trajectory["W_Q_blocks"], trajectory["W_K_blocks"]
    products = np.abs(np.einsum("...tus,...tuv->...tsv", blocks_k, blocks_q))  # s^^T W_K^T W_Q t^
    specific = products[..., 1, 1]
    others = np.stack([products[..., 0, 0], products[..., 0, 1], products[..., 1, 0]], axis=-1)
    rest_word, rest_label = _outside(initial, regime.concepts.K1)
    decay = np.array([_decay(regime, int(t)) for t in trajectory["step"]])
    return trajectory | {
        "attention_specific": specific.max(-1),
        "attention_complement": others.max((-1, -2)),
        "attention_noise": rest_word[..., None] * decay**2,
        "mlp_specific": np.abs(trajectory["beta"]).max((-1, -2)),
        "mlp_complement": np.abs(trajectory["alpha"]).max((-1, -2)),
        "mlp_noise": rest_label[..., None] * decay,
    }


def _decay(regime: Regime, steps: int) -> float:
    return float(np.prod([1 - step_size(regime, t) * regime.training.lam for t in range(steps)]))


def _outside(initial: Mapping[str, np.ndarray], K1: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest products of the start outside all concepts, W_K^T W_Q and W_O; NaN where nothing is outside."""
    results = []
    for name, product in (("M", np.swapaxes(initial["W_K"], -1, -2) @ initial["W_Q"]), ("Q", None)):
        inside = concept_vectors(initial[name], K1).reshape(2 * K1, -1).T
        rest = np.linalg.qr(inside, mode="complete")[0][:, 2 * K1 :]
        seen = initial["W_O"] @ rest if product is None else rest.T @ product @ rest
        empty = np.full(seen.shape[:-2], np.nan)
        results.append(np.asarray(np.abs(seen).max((-1, -2)) if rest.shape[1] else empty))
    return results[0], results[1]


def verify(
    regime: Regime,
    claims: tuple[Claim, ...],
    out: Path,
    *,
    registered: Sequence[Claim],
    name: str,
    replay: str,
    announce: Callable[[Record], None],
    progress: Callable[[str], Progress],
    drop: Collection[str] = (),
) -> list[Record]:
    """Try `claims` on `regime` and write results.json, trajectories, figures and report.html into `out`.

    `registered` are all claims that share the false-alarm budget, those tried among them; hypotheses with a key in `drop`
    are not asked for. `announce` is called with each record as it is judged, and once more if the others change it;
    `progress(task)` gives a callback for a long task.
    Returns the records; see `court.exit_status`.
    """
    start = time.perf_counter()
    initial, simulation = simulate_ensemble(regime, progress=progress("train the full model"))
    curves = Curves(
        simulation=simulation,
        theory=theory_curves(regime, initial, progress=progress("integrate level B")),
        is_theory_of_simulation=regime.prompt.is_pure and leak(initial, regime.concepts.K1) < 1e-9,
    )
    family = family_size(registered)
    laboratory = Laboratory(regime, level=even_share(family))
    records = []
    ours = {claim.id for claim in CLAIMS}
    for claim in claims:
        # A laboratory shares what it has run, which a claim of unknown origin may change: such a claim has one of its own.
        here = laboratory if claim.id in ours else Laboratory(regime, level=laboratory.level)
        records.append(try_claim(claim, here, replay=replay, drop=drop))
        announce(records[-1])
    first = [record["verdict"] for record in records]
    settle_records(records, family)
    for before, record in zip(first, records, strict=True):
        if record["verdict"] != before:
            announce(record)
    close_over_uses(records)

    # First what took long, then what is drawn from it.
    save_json(out / "results.json", records)
    save_npz(out / "simulation.npz", curves.simulation)
    save_npz(out / "theory.npz", curves.theory)
    figures = list(_figures(curves, records, out, name=name))
    write_report(
        out / "report.html",
        records=records,
        equations=report_equations(regime),
        notation=notation(_level_b(regime)),
        blocks=_blocks(_level_b(regime)),
        partial=len(claims) < len(registered),
        total=len(registered),
        figures=figures,
        regime_tables=regime.model_dump(),
        provenance=_provenance(regime, laboratory, family, name=name, seconds=time.perf_counter() - start),
        replay=replay,
    )
    return records


def _figures(curves: Curves, records: list[Record], out: Path, *, name: str) -> Iterator[FigureEntry]:
    if curves.is_theory_of_simulation:
        note = "Theory: median of the level-B recursion over the members' own starts. Test: exact expectation over prompts."
    else:
        note = (
            "Level B is the theory of pure prompts, drawn beside these noisy ones as a documented disagreement. "
            "Test: a fixed evaluation sample."
        )
    dynamics = learning_dynamics(
        curves.theory,
        curves.simulation,
        title=f"Learning dynamics, {name}",
        note=note,
        theory_label="theory: level B" if curves.is_theory_of_simulation else "level B, for pure prompts",
    )
    margins = measured_against_allowed(records)
    entries = (
        ("learning_dynamics", "Learning dynamics", dynamics, f"{note} {_PRODUCTS}"),
        (
            "margins",
            "Measured against allowed",
            margins,
            "Every claim's measured and allowed value, and its wrong twin's.",
        ),
        (
            "uses",
            "What rests on what",
            uses_graph(records),
            "An arc leads from each claim to those further down that use it; a full dot is supported with all that it rests on.",
        ),
    )
    for stem, title, figure, caption in entries:
        svg, _ = save_figure(figure, out / "figures", stem)
        yield FigureEntry(title=title, caption=caption, svg=svg.read_text(encoding="utf-8"))


def report_equations(regime: Regime) -> list[Equation]:
    """The executed level-B objects of the regime's loss and activation, printed."""
    recursion = _level_b(regime)
    rows = [
        Equation(caption=f"definition of {text(name)}", latex=f"{latex(name)} = {latex(meaning)}")
        for name, meaning in definitions(recursion)
    ]
    return rows + [
        Equation(caption=f"update of {text(x)}", latex=rf"{latex(x)} \leftarrow {latex(right)}")
        for x, right in equations(recursion)
    ]


def _level_b(regime: Regime) -> Recursion:
    return derive("B", loss=regime.training.loss, activation=regime.model.activation)


def _blocks(recursion: Recursion) -> list[tuple[str, str, str, str]]:
    """Matrix, kinds of blocks, whether they live, and why."""
    return [
        (
            matrix,
            ", ".join(f"{s}{t}" if len(s + t.rstrip("'")) == 2 else f"{s} {t}" for s, t in kinds),
            "yes" if lives else "no",
            reason,
        )
        for matrix, lives, kinds, reason in fates(recursion)
    ]


def _provenance(regime: Regime, laboratory: Laboratory, family: int, *, name: str, seconds: float) -> dict[str, Any]:
    return {
        "regime": name,
        "seconds": seconds,
        "regime hash (SHA-256)": regime.digest(),
        "seeds": {"first seed": regime.ensemble.seed, "members": regime.ensemble.seeds},
        "false-alarm budget": {
            "whole suite": SUITE_FALSE_ALARM,
            "statistical claims": family,
            "each of them, true claims refuted": even_share(family),
            "each of them, false claims supported": even_share(family),
        },
        "versions": {package: version(package) for package in ("polyseme", *PACKAGES)},
        "simulation": laboratory.versions(),
        "Python": platform.python_version(),
    }
