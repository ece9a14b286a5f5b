"""Arguments and options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

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
