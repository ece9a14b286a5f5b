"""What a command shows on a terminal besides its results: errors as sentences, and progress bars."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from polyseme.errors import PolysemeError


@contextmanager
def plain_errors() -> Iterator[None]:
    """Bad input becomes one sentence and exit status 2; Ctrl-C becomes status 130, with nothing half-written."""
    try:
        yield
    except PolysemeError as error:
        typer.echo(f"polyseme: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("polyseme: interrupted; no file was left half-written", err=True)
        raise typer.Exit(130) from None


class Bar:
    """A bar on a terminal's standard error; nothing elsewhere."""

    def __init__(self, progress: Any, description: str) -> None:
        """`progress` is a `rich.progress.Progress`."""
        self._progress, self._description = progress, description
        self._task = progress.add_task(description, total=None)

    @property
    def is_shown(self) -> bool:
        """Whether anybody sees it."""
        return not self._progress.disable

    def __call__(self, done: int, total: int, *, note: str = "") -> None:
        """So many of so many steps are done; the note stands beside the description."""
        description = f"{self._description} ({note})" if note else self._description
        self._progress.update(self._task, completed=done, total=total, description=description)


@contextmanager
def progress_bar(description: str) -> Iterator[Bar]:
    """A callback (done, total) that draws a bar with steps/s and time left on a terminal's standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class StepsPerSecond(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f} steps/s" if speed else "")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        StepsPerSecond(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, description)
