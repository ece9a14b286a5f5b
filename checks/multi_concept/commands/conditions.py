"""Commands about what sweeps found: conditions."""

from pathlib import Path
from typing import Annotated

import typer

from polyseme.checks.core.terminal import plain_errors


def conditions(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Folders that polyseme sweep wrote, one for each scanned quantity."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.json", help="Write the conditions here.")] = Path("out")
    / "conditions.json",
) -> None:
    """How much slack have the hypotheses? What each asks beside what was needed, from sweeps across its edge.

    Width, penalty, noise and other concepts in the words: between which values every concept is learned in half of all starts, and in three of
    four (exact simultaneous bounds, at 95% for each level on its own; an end that the starts do not show stays open), which combination
    of keys has one threshold everywhere, and how many points came out as the closed forms predict. `make sweeps` makes the folders of all.

    Each folder is of a sweep that takes one of m, lam, sigma_x with sigma_y, or p_extra through several values, with many starts at each; other keys may
    go through values of their own, each of which is a scan. A start whose outcome was lost (error, missing, inconclusive) counts against what would be shown.

    Example: polyseme conditions out/sweeps/width out/sweeps/penalty --out out/conditions.json
    """
    with plain_errors():
        from polyseme.checks.multi_concept.conditions.conditions import save_conditions
        from polyseme.checks.multi_concept.conditions.formatting import (
            FULL_HEAD,
            columns,
            full_rows,
            provenance,
            sentences,
        )
        from polyseme.checks.multi_concept.conditions.slack import conditions_of
        from polyseme.files import require_writable

        require_writable(out)
        found = conditions_of(folders)
        save_conditions(out, found)
        for one in found.conditions:
            typer.echo(f"{one.key} asks for {one.asked}; {one.quantity}:")
            typer.echo(columns(FULL_HEAD, full_rows(one)) + "\n")
        if found.conditions:
            typer.echo(
                f"Brackets of half of all starts hold together at {found.confidence:.0%}, those of three of four as well: each level on its own, over all scans of "
                "one hypothesis."
            )
        for sentence in (*sentences(found), *provenance(found)):
            typer.echo(sentence)
        typer.echo(f"Conditions: {out}")
