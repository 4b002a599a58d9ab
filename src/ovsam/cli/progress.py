"""Bars that commands show while they work, on a terminal only: they would leave blanks in a log."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovsam.jobs.run import Job
    from ovsam.predictor.predictor import Predictor
    from ovsam.vocabulary.vocabulary import Vocabulary


@contextmanager
def bar(things: str, *, from_start: bool = True) -> Generator[Callable[[int, int | None], None]]:
    """A bar with the time that is left; what it gives is called with (things done, in all).

    Args:
        things: what is counted, as the bar shows it.
        from_start: show it at once, and not only when something is done.
    """
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
        task = shown.add_task(things, total=None, visible=from_start)
        yield lambda done, total: shown.update(task, completed=done, total=total, visible=True)


@contextmanager
def photo_job(journal: Path | None, workers: int | None, load: Callable[[], Any]) -> Generator[Job]:
    """How a command goes through photos, with a bar; `load` gives each worker its model."""
    from ovsam.jobs.processes import Workers
    from ovsam.jobs.run import Job

    with bar("photos") as progress:
        yield Job(journal, None if workers is None else Workers(load, workers), progress)


def loader(
    model: str,
    vocabulary: Vocabulary | None,
    *,
    device: str,
    zoom: bool | None = None,
    clean: bool = True,
) -> Callable[[], Predictor]:
    """`ovsam.load` of these, to be called here or in a worker; None = no name is wanted."""
    import ovsam

    load = partial(ovsam.load, model, device=device, zoom=zoom, clean=clean)
    return load if vocabulary is None else partial(load, vocabulary=vocabulary)


def load_predictor(
    model: str, vocabulary: Vocabulary, *, device: str, zoom: bool | None = None, clean: bool = True
) -> Predictor:
    """`ovsam.load`, with a bar while the embeddings of new names are computed.

    A model that has masks alone needs none.
    """
    predictor = loader(model, vocabulary, device=device, zoom=zoom, clean=clean)()
    if predictor.names_objects:
        embed_names(predictor)
    return predictor


def embed_names(
    predictor: Predictor, vocabularies: Sequence[Vocabulary | None] = (None,)
) -> list[Vocabulary]:
    """Compute the embeddings of names that are new, with a bar where it takes a while.

    Args:
        predictor: what answers.
        vocabularies: of names; None = its own.

    Returns:
        Each vocabulary as it is answered from.
    """
    with bar("names embedded", from_start=False) as progress:
        return [predictor.prepare(one, progress) for one in vocabularies]
