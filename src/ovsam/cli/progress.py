"""Bars that commands show while they work, on a terminal only: they would leave blanks in a log."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovsam.predictor.predictor import Predictor


@contextmanager
def bar(things: str) -> Generator[Callable[[int, int], None]]:
    """A bar with the time that is left; what it gives is called with (things done, in all)."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn(things),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        task = shown.add_task(things, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def embed_names(predictor: Predictor) -> None:
    """Compute the embeddings of names that are new, with a bar where it takes a while."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("embedding new names", total=None, visible=False)
        predictor.prepare(
            progress=lambda done, total: shown.update(
                task, completed=done, total=total, visible=True
            )
        )
