"""Photos shared out over processes, each with a model of its own.

Every process computes with one thread. So the digits do not depend on how many processes there
are: with another number of threads a model rounds differently in the last place.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from ovsam.errors import OvsamError

Item = TypeVar("Item")
Row = TypeVar("Row")

THREADS = 1  # of each process
_AHEAD = 2  # items for each process that are handed out before the oldest one is done


@dataclass(frozen=True)
class Workers:
    """How many processes there are, and what each of them begins with.

    Attributes:
        load: gives what does the work, a `Segmenter` or several that have its `use_threads`; it
            must be picklable, as functions of modules and their `functools.partial` are.
        count: of processes, 1 or more.
    """

    load: Callable[[], Any]
    count: int

    def map(
        self, work: Callable[[Any, Item], list[Row]], items: Iterable[Item]
    ) -> Generator[list[Row]]:
        """The rows of each item, in the order of the items.

        Args:
            work: a function of a module, or its `functools.partial`.
            items: what is done; only a few are held at a time.

        Raises:
            OvsamError: a process ended before its work did; or what `load` or `work` raises.
        """
        pool = ProcessPoolExecutor(
            self.count,
            mp_context=get_context("spawn"),  # threads of a backend do not survive a fork
            initializer=_begin,
            initargs=(self.load,),
        )
        rest, waiting = iter(items), deque[Future[list[Row]]]()
        try:
            for item in islice(rest, _AHEAD * self.count):
                waiting.append(pool.submit(_done, work, item))
            while waiting:
                rows = waiting.popleft().result()
                waiting.extend(pool.submit(_done, work, item) for item in islice(rest, 1))
                yield rows
        except BrokenProcessPool as error:
            raise OvsamError(
                "A worker process ended before its work was done, perhaps for want of memory. Try "
                "again with fewer --workers."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


_loaded: Any  # by this process, where it is a worker: the model, or why there is none


def _begin(load: Callable[[], Any]) -> None:
    global _loaded
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and ends the workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.getLogger("ovsam").setLevel(logging.ERROR)  # the parent has given the warnings
    try:
        _loaded = load()
        _loaded.use_threads(THREADS)
    except OvsamError as error:  # raised here, the parent would not learn it
        _loaded = error


def _end_with_parent() -> None:
    """A parent that is killed cannot tell its workers to end."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _done(work: Callable[[Any, Any], Any], item: Any) -> Any:
    if isinstance(_loaded, OvsamError):
        raise _loaded
    return work(_loaded, item)
