"""Work on photos one by one: shared out where there are workers, kept where there is a journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch

from ovsam.evaluate.journal import Journal
from ovsam.evaluate.workers import THREADS, Workers

if TYPE_CHECKING:
    from ovsam.predictor import Predictor

Item = TypeVar("Item")
Row = TypeVar("Row")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Done(Generic[Row]):
    """The rows of all photos in their order, and the seconds that they took."""

    rows: tuple[Row, ...]
    seconds: float


def photo_by_photo(
    predictor: Predictor,
    work: Callable[[Predictor, Item], list[Row]],
    items: Mapping[int, Item],
    row: type[Row],
    *,
    settings: Callable[[], Mapping[str, Any]],
    journal: Path | None = None,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> Done[Row]:
    """Do the work on each photo, but for those of which the journal has the rows.

    Args:
        predictor: does the work where there are no workers.
        work: the rows of one photo; with workers, a function of a module or a partial of one.
        items: what the work gets, by photo id.
        row: the type of a row.
        settings: gives what the rows depend on beside the predictor, plain JSON values.
        journal: where rows are kept, see `Journal`; None = nowhere.
        workers: processes that the photos are shared out over; None = this one alone.
        progress: called with (photos done, photos in all) after each photo, and at first where the
            journal has some.

    Raises:
        OutputError: the journal is of other settings or another predictor, or cannot be used.
        OvsamError: a worker was killed; or what `work` raises.
    """
    if journal is None:
        kept: Any = nullcontext()
    else:
        kept = Journal(journal, {**settings(), **_computed_by(predictor, workers)}, row)
    rows: dict[int, list[Row]] = {}
    seconds = 0.0
    with kept as book:
        if book is not None:
            rows = {photo_id: book.rows[photo_id] for photo_id in items if photo_id in book.rows}
            seconds = sum(book.seconds[photo_id] for photo_id in rows)
        if progress is not None and rows:
            progress(len(rows), len(items))
        todo = [photo_id for photo_id in items if photo_id not in rows]
        waiting = (items[photo_id] for photo_id in todo)
        start = time.perf_counter()
        with closing(_answers(predictor, work, waiting, workers)) as answers:
            for photo_id, made in zip(todo, answers, strict=True):
                took = time.perf_counter() - start
                if book is not None:
                    book.add(photo_id, made, took)
                rows[photo_id] = made
                seconds += took
                start = time.perf_counter()
                if progress is not None:
                    progress(len(rows), len(items))
    return Done(tuple(one for photo_id in items for one in rows[photo_id]), seconds)


def _answers(
    predictor: Predictor,
    work: Callable[[Predictor, Item], list[Row]],
    items: Generator[Item],
    workers: Workers | None,
) -> Generator[list[Row]]:
    if workers is not None:
        yield from workers.map(work, items)
    else:
        for item in items:
            yield work(predictor, item)


def _computed_by(predictor: Predictor, workers: Workers | None) -> dict[str, Any]:
    return {
        "ovsam": metadata.version("ovsam"),
        "model": predictor.name,
        "weights": predictor.fingerprint,
        "device": str(predictor.device),
        "threads": torch.get_num_threads() if workers is None else THREADS,
    }
