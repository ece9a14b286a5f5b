"""The command line (THEORY.md section 8). Commands import what they need, so that help is instant."""

import os
import sys
from typing import Annotated

import typer

from polyseme.checks.core.commands import audit, sweep
from polyseme.checks.core.commands import falsify as search
from polyseme.checks.core.commands import map as maps
from polyseme.checks.core.commands import report as show
from polyseme.checks.core.commands import verify as judge
from polyseme.checks.multi_concept.commands import compute, draw

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


for _command in (
    compute.derive,
    compute.draw,
    compute.integrate,
    compute.simulate,
    compute.flow,
    compute.certify,
    judge.claims,
    judge.verify,
    show.report,
    draw.figures,
    draw.transfer,
    search.falsify,
    sweep.sweep,
    maps.map,
    audit.audit,
):
    app.command()(_command)


def main() -> None:
    """Entry point of the console script."""
    # One thread per process: two threads spike at random on small machines. SymPy would switch to flint silently.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    os.environ.setdefault("SYMPY_GROUND_TYPES", "python")
    app()


if __name__ == "__main__":
    sys.exit(main())
