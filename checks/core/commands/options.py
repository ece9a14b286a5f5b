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
ClaimFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--claims",
        metavar="FILE.py",
        help="Claims of your own, beside the registered ones; may be given several times. The file is run: only one that you trust.",
    ),
]
Dropped = Annotated[
    list[str] | None,
    typer.Option(
        "--drop",
        metavar="HYPOTHESIS",
        help="Do not ask for this hypothesis, by its key (`polyseme claims` lists them); may be given several times.",
    ),
]
TheoryFile = Annotated[
    Path | None,
    typer.Option(
        "--theory",
        metavar="FILE.py",
        help="Put the theory of this file on trial, a polyseme.Theory named THEORY. The file is run: only one that you trust. If absent, the "
        "theory that the regime file names by its key `theory`; the multi-concept theory if it names none.",
    ),
]
