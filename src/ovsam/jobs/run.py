"""Work on photos one by one: shared out where there are workers, kept where there is a journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from ovsam.errors import OutputError
from ovsam.jobs.journal import Journal
from ovsam.jobs.processes import THREADS, Workers
from ovsam.segmenter import Computer

Model = TypeVar("Model")
Item = TypeVar("Item")
Row = TypeVar("Row")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Job:
    """How photos are gone through: what it takes changes nothing about what is found.

    Attributes:
        journal: a file of what became of each photo; where it is there, what it holds is not done
            again, and there may be more photos than before. None = nothing is kept.
        workers: processes that the photos are shared out over; None = this one alone.
        progress: called with (photos done, photos in all) after each photo, and at first where the
            journal has some.
    """

    journal: Path | None = None
    workers: Workers | None = None
    progress: Progress | None = None


HERE = Job()


@dataclass(frozen=True)
class Record(Generic[Row]):
    """What the rows of a journal are.

    Attributes:
        row: the type of a row.
        computer: what computes them.
        settings: gives what else they depend on, plain JSON values.
        fits: whether rows that are read back can be those of an item.
    """

    row: type[Row]
    computer: Computer
    settings: Callable[[], Mapping[str, Any]]
    fits: Callable[[Any, list[Row]], bool] = lambda *_: True

    def open(self, path: Path, workers: Workers | None) -> Journal[Row]:
        """The journal.

        Raises:
            OutputError: it is of other settings or another model, or cannot be used.
        """
        computed_by = {
            "ovsam": metadata.version("ovsam"),
            "model": self.computer.model_name,
            "weights": self.computer.fingerprint,
            "device": self.computer.device,
            "threads": self.computer.threads if workers is None else THREADS,
        }
        return Journal(path, {**self.settings(), **computed_by}, self.row)

    def known(self, journal: Journal[Row], items: Mapping[int, Any]) -> dict[int, list[Row]]:
        """The rows that are there of these photos.

        Raises:
            OutputError: they cannot be those of their photo.
        """
        known = {photo_id: journal.rows[photo_id] for photo_id in items if photo_id in journal.rows}
        for photo_id, rows in known.items():
            if not self.fits(items[photo_id], rows):
                raise OutputError(
                    f"The rows of photo {photo_id} in {str(journal.path)!r} are not those of its "
                    "objects. Remove that line, and the photo is done again, or give the name of "
                    "a new file."
                )
        return known


@dataclass(frozen=True)
class Done(Generic[Row]):
    """The rows of the photos in their order, and the seconds that they took."""

    rows: tuple[Row, ...]
    seconds: float


def photo_by_photo(
    model: Model,
    work: Callable[[Model, Item], list[Row]],
    items: Mapping[int, Item],
    *,
    job: Job = HERE,
    record: Record[Row] | None = None,
    enough: Callable[[list[Row]], bool] = lambda _: False,
) -> Done[Row]:
    """Do the work on each photo, but for those of which the journal has the rows.

    Args:
        model: what the work is done with where there are no workers.
        work: gives the rows of one photo; with workers, a function of a module or a partial of one.
        items: what the work gets, by photo id.
        job: how; with a journal there must be a record.
        record: what the rows of the journal are.
        enough: called with the rows of each photo in turn; after the first True none is done.

    Raises:
        OutputError: the journal is of other settings or another model, has rows that cannot be
            those of their photo, or cannot be used.
        OvsamError: a worker was killed; or what `work` raises.
    """
    rows: list[Row] = []
    seconds = 0.0
    opened: Any = nullcontext()
    if job.journal is not None:
        assert record is not None
        opened = record.open(job.journal, job.workers)
    with opened as journal:
        known = {} if journal is None or record is None else record.known(journal, items)
        done = len(known)
        if job.progress is not None and known:
            job.progress(done, len(items))
        waiting = (item for photo_id, item in items.items() if photo_id not in known)
        start = time.perf_counter()
        with closing(_results(model, work, waiting, job.workers)) as results:
            for photo_id in items:
                if photo_id in known:
                    made, took = known[photo_id], journal.seconds[photo_id]
                else:
                    made = next(results)
                    took = time.perf_counter() - start
                    if journal is not None:
                        journal.add(photo_id, made, took)
                    start = time.perf_counter()
                    done += 1
                    if job.progress is not None:
                        job.progress(done, len(items))
                rows += made
                seconds += took
                if enough(made):
                    break
    return Done(tuple(rows), seconds)


def _results(
    model: Model,
    work: Callable[[Model, Item], list[Row]],
    items: Generator[Item],
    workers: Workers | None,
) -> Generator[list[Row]]:
    if workers is not None:
        yield from workers.map(work, items)
    else:
        for item in items:
            yield work(model, item)
