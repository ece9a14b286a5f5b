"""The command line (THEORY.md section 8). Commands import what they need, so that help is instant."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from checks.terminal import plain_errors, progress_bar
from theory.setting import PolysemeError, Regime, load_regime

app = typer.Typer(
    name="polyseme",
    help="Put a theory of how transformers learn in context on trial: derive, integrate, simulate, verify.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool | None) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"polyseme {version('polyseme')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop."),
    ] = None,
) -> None:
    """Put a theory of how transformers learn in context on trial: derive, integrate, simulate, verify."""
    del version


RegimeFile = Annotated[
    Path, typer.Argument(metavar="REGIME.toml", help="The regime, for example regimes/minimal.toml.")
]
InitialFile = Annotated[
    Path | None,
    typer.Option(
        "--initial",
        metavar="INIT.npz",
        help="Start from W_Q, W_K, W_O, r, M, Q in this file; drawn from the seed if absent.",
    ),
]
OutFile = Annotated[Path, typer.Option("--out", metavar="OUT.npz", help="Write the trajectory to this file.")]


def main() -> None:
    """Entry point of the console script."""
    # One thread per process: two threads spike at random on small machines. SymPy would switch to flint silently.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    os.environ.setdefault("SYMPY_GROUND_TYPES", "python")
    app()


@app.command()
def derive(
    level: Annotated[
        str,
        typer.Option(
            help="Level of reduction: S (pure prompts, mirrored neurons), B (pure prompts, any neurons) or Z (extra concepts, no noise)."
        ),
    ] = "B",
    loss: Annotated[str, typer.Option(help="logistic, squared or exponential, of the margin e f.")] = "logistic",
    activation: Annotated[str, typer.Option(help="relu, leaky_relu or identity.")] = "relu",
    truncated: Annotated[bool, typer.Option("--truncated", help="Level Z: keep the diagonal blocks alone.")] = False,
    format: Annotated[str, typer.Option(help="latex (an article that compiles), text or json.")] = "text",
) -> None:
    """Find which coefficients live, and print their recursion: all derived by SymPy from the forward pass.

    Example: polyseme derive --level B --format latex > recursion.tex

    Example: polyseme derive --level Z --loss squared --activation leaky_relu
    """
    with plain_errors():
        from theory import show
        from theory.closure import LEVELS
        from theory.derive import derive as derive_level
        from theory.functions import ACTIVATIONS, LOSSES

        printers = {"latex": show.as_latex, "text": show.as_text, "json": show.as_json}
        level = level.upper()
        if level == "N":
            raise PolysemeError(
                "got --level N: the level of noisy prompts is not derived yet; type --level S, --level B or --level Z"
            )
        for option, got, known in (
            ("level", level, LEVELS),
            ("loss", loss, LOSSES),
            ("activation", activation, ACTIVATIONS),
            ("format", format, printers),
        ):
            if got not in known:
                first = "B" if option == "level" else "text" if option == "format" else next(iter(known))
                raise PolysemeError(
                    f"got --{option} {got}, expected one of {', '.join(known)}; type --{option} {first}"
                )
        if truncated and level != "Z":
            raise PolysemeError(
                f"got --truncated with --level {level}, which is exact as it is; type --level Z --truncated"
            )
        recursion = derive_level(level, loss=loss, activation=activation, truncated=truncated)  # pyright: ignore[reportArgumentType]
        typer.echo(printers[format](recursion), nl=False)


def _start(regime: Regime, initial: Path | None) -> dict[str, Any]:
    if initial is not None:
        from checks.initial_state import load_initial

        return load_initial(initial, regime)
    from sim.initial import draw_initial

    return draw_initial(regime)


def _one_member(regime: Regime, initial: Path | None) -> dict[str, Any]:
    """A start without an ensemble axis: of the file, or the first member drawn."""
    return _start(regime.replace(ensemble={"seeds": 1}), initial)


@app.command()
def draw(regime_file: RegimeFile, out: OutFile) -> None:
    """Draw an initial state from the seed, to be edited or fed to `--initial`.

    Example: polyseme draw regimes/default.toml --out start.npz
    """
    with plain_errors():
        regime = load_regime(regime_file)
        from checks.files import require_writable, save_npz

        require_writable(out)
        save_npz(out, _start(regime, None))


@app.command()
def integrate(
    regime_file: RegimeFile,
    out: OutFile,
    initial: InitialFile = None,
    level: Annotated[
        str, typer.Option(help="B (pure prompts) or Z (extra concepts, no noise); the one that is exact if absent.")
    ] = "",
) -> None:
    """Integrate the recursion that is exact for a noise-free regime: level B, or level Z when p_extra > 0.

    Example: polyseme integrate regimes/default.toml --out theory.npz
    """
    with plain_errors():
        regime = load_regime(regime_file)
        from checks.files import require_writable, save_npz
        from theory.coefficients import require_level_b
        from theory.integrate import for_members
        from theory.integrate import integrate as run

        extras = regime.prompt.p_extra > 0 and regime.prompt.is_noise_free
        chosen = level.upper() or ("Z" if extras else "B")
        if chosen not in ("B", "Z"):
            raise PolysemeError(
                f"got --level {level}, expected B or Z; type --level B, or leave it out for the level that is exact"
            )
        require_writable(out)
        state = _start(regime, initial)
        if chosen == "B":
            require_level_b(regime, state, source=str(initial or regime_file))
        with progress_bar(f"integrate level {chosen}") as progress:
            if chosen == "B":
                trajectory = run(regime, state, progress=progress)
            else:
                from theory.span_run import integrate_span

                trajectory = integrate_span(regime, state, progress=progress)
        save_npz(out, for_members(trajectory, regime.ensemble.seeds))


@app.command()
def simulate(regime_file: RegimeFile, out: OutFile, initial: InitialFile = None) -> None:
    """Train the full transformer, a whole ensemble at once.

    Example: polyseme simulate regimes/default.toml --out simulation.npz
    """
    with plain_errors():
        regime = load_regime(regime_file)
        from checks.files import require_writable, save_npz
        from sim.train import simulate as run

        require_writable(out)
        state = _start(regime, initial)
        with progress_bar("train the full model") as progress:
            trajectory = run(regime, state, progress=progress)
        save_npz(out, trajectory)


@app.command()
def flow(
    regime_file: RegimeFile,
    out: OutFile,
    initial: InitialFile = None,
    tolerance: Annotated[float, typer.Option(help="Relative and absolute error of the coefficients.")] = 1e-9,
) -> None:
    """Solve the gradient flow of level B across its gate events, at the times tau = sum of eta_t of the recorded steps.

    Writes the coefficients under the names of `integrate`, `time`, and the events: event_time, event_kind, and event_gate,
    the numbers (from 0) of concept, sign (0: both), count n+ and neuron.

    Example: polyseme flow regimes/minimal.toml --out flow.npz
    """
    with plain_errors():
        regime = load_regime(regime_file)
        import numpy as np

        from checks.files import require_writable, save_npz
        from theory.coefficients import require_level_b
        from theory.gate_flow import flow as run
        from theory.gate_flow import schedule_times

        if not 1e-12 <= tolerance < 1:
            raise PolysemeError(
                f"got --tolerance {tolerance:g}, expected a number from 1e-12 to 1; type --tolerance 1e-9"
            )
        require_writable(out)
        state = _one_member(regime, initial)
        require_level_b(regime, state, source=str(initial or regime_file))
        times = schedule_times(regime)
        with progress_bar("solve the flow, per mille of its time") as progress:
            solved = run(regime, state, tau=float(times[-1]), tolerance=tolerance, progress=progress)
        events = {
            "event_time": np.array([event.time for event in solved.events]),
            "event_kind": np.array([event.kind for event in solved.events], dtype=str),
            "event_gate": np.array([tuple(event.group) for event in solved.events], dtype=int).reshape(-1, 4),
        }
        save_npz(out, {"step": np.asarray(regime.training.record_steps()), "time": times, **solved(times), **events})
        typer.echo(f"{len(solved.events)} gate events up to tau = {times[-1]:g}")


@app.command()
def certify(
    regime_file: RegimeFile,
    out: OutFile,
    initial: InitialFile = None,
    steps: Annotated[int, typer.Option(help="How many steps to certify, at most those of the regime.")] = 200,
    bits: Annotated[int, typer.Option(help="Precision of the balls, in bits.")] = 256,
) -> None:
    """Enclose the level-B recursion in balls, and prove how far the float64 trajectory is from it.

    Writes midpoints under the names of `integrate`, radii as NAME_radius, and the proven error of the float64 path as
    NAME_error. Exit status 3 if a gate could not be decided before the last step.

    Example: polyseme certify regimes/minimal.toml --steps 200 --out certificate.npz
    """
    with plain_errors():
        regime = load_regime(regime_file)
        from checks.files import require_writable, save_npz
        from theory.certified import certify as run
        from theory.integrate import integrate as integrate_b

        if steps < 1:
            raise PolysemeError(f"got --steps {steps}, expected a whole number of at least 1; type --steps 200")
        require_writable(out)
        state = _one_member(regime, initial)
        steps = min(steps, regime.training.steps)
        short = regime.replace(training={"steps": steps})
        with progress_bar("certify level B") as progress:
            certificate = run(short, state, steps=steps, bits=bits, progress=progress)
        errors = certificate.error_bar(integrate_b(short, state))
        arrays = {"step": certificate.records, **certificate.midpoint}
        arrays |= {f"{name}_radius": array for name, array in certificate.radius.items()}
        arrays |= {f"{name}_error": array for name, array in errors.items() if name != "step"}
        save_npz(out, arrays)
        typer.echo(str(certificate))
        for name in ("W_Q_blocks", "W_K_blocks", "alpha", "beta"):
            typer.echo(f"  {name:<10} float64 is within {errors[name].max():.2g} of the exact recursion")
    if certificate.steps < certificate.asked:
        raise typer.Exit(3)


@app.command()
def claims() -> None:
    """List the registered claims: id and statement.

    Example: polyseme claims
    """
    with plain_errors():
        from checks.claims import CLAIMS

        for claim in CLAIMS:
            typer.echo(f"{claim.id}\n    {claim.statement}")


@app.command()
def verify(
    regime_file: Annotated[
        Path | None, typer.Argument(metavar="[REGIME.toml]", help="The regime; the shipped default if absent.")
    ] = None,
    only: Annotated[
        str, typer.Option(metavar="GLOB", help="Try only the claims whose id matches, for example 'closure/*'.")
    ] = "*",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write results.json, figures and report.html here; out/NAME if absent, out/NAME-part with --only.",
        ),
    ] = None,
) -> None:
    """Try every claim on a regime, each with its wrong twin, and write the report.

    Exit status: 0 all applicable claims supported; 1 some claim refuted or some check broken; 2 bad input;
    3 inconclusive, missing, or nothing to try; 130 interrupted.

    Example: polyseme verify regimes/minimal.toml --only 'gradient/*' --out out/gradient
    """
    with plain_errors():
        path = regime_file or default_regime()
        regime, name = load_regime(path), path.stem
        from checks.files import require_writable

        # A part never overwrites the whole unless it is told to.
        folder = out or Path("out") / (name if only == "*" else f"{name}-part")
        require_writable(folder, folder=True)
        from checks.claims import CLAIMS
        from checks.court import exit_status, select
        from checks.report import summary_sentence
        from checks.verify import verify as run

        chosen = select(only)
        with _announced() as (announce, progress):
            replay = shlex.join(["polyseme", "verify", *([os.path.relpath(path)] if regime_file else [])])
            records = run(regime, chosen, folder, name=name, replay=replay, announce=announce, progress=progress)
        sentence = summary_sentence(records, partial=len(chosen) < len(CLAIMS), total=len(CLAIMS))
        typer.echo(f"\n{sentence}\nReport: {folder / 'report.html'}")
    raise typer.Exit(exit_status(records))


@contextmanager
def _announced() -> Iterator[tuple[Any, Any]]:
    """Callbacks for a verification: a line on standard output per verdict, and progress on standard error."""
    from checks.claim import VERDICTS, Verdict

    colours = {Verdict.SUPPORTED: "green", Verdict.REFUTED: "red", Verdict.ERROR: "magenta"}
    with ExitStack() as bar:

        def progress(task: str) -> Any:
            bar.close()  # one bar at a time
            return bar.enter_context(progress_bar(task))

        def announce(record: dict[str, Any]) -> None:
            bar.close()
            verdict = Verdict(record["verdict"])
            typer.secho(f"{VERDICTS[verdict][0]} {verdict:<14}", fg=colours.get(verdict, "yellow"), nl=False)
            typer.echo(f" {record['id']}" + ("" if verdict == Verdict.SUPPORTED else f": {record['sentence']}"))

        yield announce, progress


def default_regime() -> Path:
    """The shipped regime that is judged when none is named."""
    from importlib.resources import files

    return Path(str(files("regimes") / "default.toml"))


if __name__ == "__main__":
    sys.exit(main())
