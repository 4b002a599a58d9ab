"""Times of parts that no command shows, each beside its limit and a reference of the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Figure:
    """One line of the table; `ratio` is the median over that of the reference."""

    what: str
    unit: str
    median: float
    limit: float | None
    ratio: float | None = None
    runs: int = 1


def reference() -> Callable[[], object]:
    """A fixed piece of work (1.2 G multiply-adds of convolution) that tells machines apart."""
    torch.manual_seed(0)
    image, kernel = torch.randn(1, 64, 128, 128), torch.randn(128, 64, 3, 3)
    return lambda: torch.nn.functional.conv2d(image, kernel, padding=1)


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def measured(what: str, limit: float | None, runs: int, work: Callable[[], object]) -> Figure:
    """The median of `work`, run by turns with the reference, so that both meet the same noise."""
    unit = reference()
    for _ in range(2):  # warm up
        work(), unit()
    pairs = [(milliseconds(work), milliseconds(unit)) for _ in range(runs)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Figure(what, "ms", mine, limit, mine / theirs, runs)


def print_table(figures: list[Figure]) -> None:
    print(f"{'':36}{'median':>12}{'limit':>8}{'x reference':>13}{'runs':>6}")
    for figure in figures:
        limit = "" if figure.limit is None else f"{figure.limit:g}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.1f}"
        over = "  over" if figure.limit is not None and figure.median > figure.limit else ""
        value = f"{figure.median:.{1 if figure.unit == 'ms' else 2}f} {figure.unit:2}"
        print(f"{figure.what:36}{value:>12}{limit:>8}{ratio:>13}{figure.runs:>6}{over}")
