"""Work on photos one by one: shared out where there are workers, kept where there is a journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from ovsam.errors import OutputError
from ovsam.jobs.journal import Journal
from ovsam.jobs.processes import THREADS, Workers

Model = TypeVar("Model")
Item = TypeVar("Item")
Row = TypeVar("Row")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Done(Generic[Row]):
    """The rows of the photos in their order, and the seconds that they took."""

    rows: tuple[Row, ...]
    seconds: float


def photo_by_photo(
    predictor: Model,
    work: Callable[[Model, Item], list[Row]],
    items: Mapping[int, Item],
    row: type[Row],
    *,
    settings: Callable[[], Mapping[str, Any]],
    fits: Callable[[Item, list[Row]], bool] = lambda *_: True,
    journal: Path | None = None,
    workers: Workers | None = None,
    progress: Progress | None = None,
    enough: Callable[[list[Row]], bool] = lambda _: False,
) -> Done[Row]:
    """Do the work on each photo, but for those of which the journal has the rows.

    Args:
        predictor: does the work where there are no workers; one, or what has a predictor's name,
            fingerprint and device.
        work: the rows of one photo; with workers, a function of a module or a partial of one.
        items: what the work gets, by photo id.
        row: the type of a row.
        settings: gives what the rows depend on beside the predictor, plain JSON values.
        fits: whether rows of the journal can be those of a photo.
        journal: where rows are kept, see `Journal`; None = nowhere.
        workers: processes that the photos are shared out over; None = this one alone.
        progress: called with (photos done, photos in all) after each photo, and at first where the
            journal has some.
        enough: called with the rows of each photo in turn; after the first True none is done.

    Raises:
        OutputError: the journal is of other settings or another predictor, has rows that cannot
            be those of their photo, or cannot be used.
        OvsamError: a worker was killed; or what `work` raises.
    """
    if journal is None:
        kept: Any = nullcontext()
    else:
        kept = Journal(journal, {**settings(), **_computed_by(predictor, workers)}, row)
    rows: list[Row] = []
    seconds = 0.0
    with kept as book:
        known = {} if book is None else {i: book.rows[i] for i in items if i in book.rows}
        for photo_id, made in known.items():
            if not fits(items[photo_id], made):
                raise OutputError(
                    f"The rows of photo {photo_id} in {str(journal)!r} are not those of its "
                    "objects. Remove that line, and the photo is done again, or give the name of "
                    "a new file."
                )
        done = len(known)
        if progress is not None and known:
            progress(done, len(items))
        waiting = (items[photo_id] for photo_id in items if photo_id not in known)
        start = time.perf_counter()
        with closing(_answers(predictor, work, waiting, workers)) as answers:
            for photo_id in items:
                if photo_id in known:
                    made, took = known[photo_id], book.seconds[photo_id]
                else:
                    made = next(answers)
                    took = time.perf_counter() - start
                    if book is not None:
                        book.add(photo_id, made, took)
                    start = time.perf_counter()
                    done += 1
                    if progress is not None:
                        progress(done, len(items))
                rows += made
                seconds += took
                if enough(made):
                    break
    return Done(tuple(rows), seconds)


def _answers(
    predictor: Model,
    work: Callable[[Model, Item], list[Row]],
    items: Generator[Item],
    workers: Workers | None,
) -> Generator[list[Row]]:
    if workers is not None:
        yield from workers.map(work, items)
    else:
        for item in items:
            yield work(predictor, item)


def _computed_by(predictor: Any, workers: Workers | None) -> dict[str, Any]:
    return {
        "ovsam": metadata.version("ovsam"),
        "model": predictor.name,
        "weights": predictor.fingerprint,
        "device": str(predictor.device),
        "threads": torch.get_num_threads() if workers is None else THREADS,
    }
