"""Commands that compute: derive, draw, integrate, simulate, flow, certify."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from polyseme.checks.core.commands.options import InitialFile, OutFile, RegimeFile
from polyseme.checks.core.terminal import plain_errors, progress_bar
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import Regime, load_regime


def derive(
    level: Annotated[
        str,
        typer.Option(
            help="Level of reduction: S (pure prompts, mirrored neurons), B (pure prompts, any neurons), N (low noise, few extra "
            "concepts) or Z (extra concepts, no noise)."
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
        from polyseme.theory.multi_concept.article import show
        from polyseme.theory.multi_concept.derivation.derive import derive as derive_level

        printers = {"latex": show.as_latex, "text": show.as_text, "json": show.as_json}
        if format not in printers:
            raise PolysemeError(f"got --format {format}, expected one of {', '.join(printers)}; type --format text")
        with _arguments_as_options():
            recursion = derive_level(level.upper(), loss=loss, activation=activation, truncated=truncated)
        typer.echo(printers[format](recursion), nl=False)


@contextmanager
def _arguments_as_options() -> Iterator[None]:
    """What a function says of its arguments, such as level='B', is said of the options, as --level B."""
    try:
        yield
    except PolysemeError as problem:
        said = re.sub(r"\b(level|loss|activation)='([^']*)'", r"--\1 \2", str(problem))
        said = said.replace(", truncated=True", " --truncated").replace("truncated=True", "--truncated")
        raise type(problem)(said) from None


def _start(regime: Regime, initial: Path | None) -> dict[str, Any]:
    if initial is not None:
        from polyseme.sim.multi_concept.initial_file import load_initial

        return load_initial(initial, regime)
    from polyseme.sim.multi_concept.training.initial import draw_initial

    return draw_initial(regime)


def _one_member(regime: Regime, initial: Path | None) -> dict[str, Any]:
    """A start without an ensemble axis: of the file, or the first member drawn."""
    return _start(regime.replace(ensemble={"seeds": 1}), initial)


def draw(regime_file: RegimeFile, out: OutFile) -> None:
    """Draw an initial state from the seed, to be edited or fed to `--initial`.

    Example: polyseme draw regimes/default.toml --out start.npz
    """
    with plain_errors():
        regime = load_regime(regime_file)
        from polyseme.files import require_writable, save_npz

        require_writable(out)
        save_npz(out, _start(regime, None))


def integrate(
    regime_file: RegimeFile,
    out: OutFile,
    initial: InitialFile = None,
    level: Annotated[
        str,
        typer.Option(
            help="B (pure prompts), N (low noise, few extra concepts) or Z (extra concepts, no noise); if absent, the one that is "
            "exact, or N if none is."
        ),
    ] = "",
) -> None:
    """Integrate the recursion of a regime: level B for pure prompts, level N under noise, level Z for extras without noise.

    What level N leaves out is in docs/level_n.md; it is refused where that is no longer small.

    Example: polyseme integrate regimes/default.toml --out theory.npz

    Example: polyseme integrate regimes/paper_scale.toml --level N --out theory.npz
    """
    with plain_errors():
        regime = load_regime(regime_file)
        from polyseme.files import require_writable, save_npz
        from polyseme.theory.multi_concept.dynamics.run import choose_level
        from polyseme.theory.multi_concept.dynamics.run import integrate as run

        require_writable(out)
        with _arguments_as_options():
            chosen = choose_level(regime, level.upper() or None)
        state = _start(regime, initial)
        names = {"regime_name": str(regime_file), "start_name": str(initial or regime_file)}
        with progress_bar(f"integrate level {chosen}") as progress:
            trajectory = run(regime, state, level=chosen, progress=progress, **names)
        save_npz(out, trajectory)


def simulate(
    regime_file: RegimeFile,
    out: OutFile,
    initial: InitialFile = None,
    save_every: Annotated[
        float, typer.Option(metavar="SECONDS", help="Keep the run so often, so that it can be taken up again.")
    ] = 15.0,
    processes: Annotated[
        int | None,
        typer.Option(
            help="Side by side, with one thread each if there are several; if absent, one for each core if the run is long."
        ),
    ] = None,
) -> None:
    """Train the full transformer, a whole ensemble at once.

    The run is kept in a folder beside the trajectory (simulation.run for simulation.npz). After Ctrl-C or a crash, type the
    same command again: it goes on from there, to the same numbers. A run that is finished is not repeated.

    Example: polyseme simulate regimes/default.toml --out simulation.npz
    """
    with plain_errors():
        regime = load_regime(regime_file)
        from polyseme.files import require_writable, save_npz
        from polyseme.sim.multi_concept.run_folder import Interrupted, train

        if not save_every >= 0:
            raise PolysemeError(f"got --save-every {save_every}, expected a number of seconds; type --save-every 15")
        if processes is not None and processes < 1:
            raise PolysemeError(
                f"got --processes {processes}, expected a whole number of at least 1; type --processes 1"
            )
        require_writable(out)
        state, folder = _start(regime, initial), out.with_name(f"{out.name.removesuffix('.npz')}.run")
        try:
            with progress_bar("train the full model") as progress:
                trajectory = train(regime, state, folder, processes=processes, save_every=save_every, progress=progress)
        except Interrupted:
            typer.echo(f"polyseme: interrupted; the run is kept in {folder}: type the same command to go on", err=True)
            raise typer.Exit(130) from None
        save_npz(out, trajectory)
        typer.echo(f"Written to {out}; the run is kept in {folder}")


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

        from polyseme.files import require_writable, save_npz
        from polyseme.theory.multi_concept.coefficients import require_level_b
        from polyseme.theory.multi_concept.dynamics.gate_flow import flow as run
        from polyseme.theory.multi_concept.dynamics.gate_flow import schedule_times

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
        from polyseme.files import require_writable, save_npz
        from polyseme.theory.multi_concept.dynamics.certified import certify as run
        from polyseme.theory.multi_concept.dynamics.integrate import integrate_b

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
