"""Measuring in fresh processes: the peak of one never falls, and none is helped by another."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def in_fresh_process(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work`, a function of a module, gives in a process that has done nothing before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(work, *args, **kwargs).result()
        except BrokenProcessPool:
            raise SystemExit("error: a process was killed; is there enough memory?") from None


def peak_gb(usage: resource.struct_rusage | None = None) -> float:
    """The most memory that a process has held, this one or the one whose use is given."""
    usage = usage or resource.getrusage(resource.RUSAGE_SELF)
    kilobyte = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * kilobyte / 1e9
