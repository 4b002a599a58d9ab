"""Timing by turns: every round does each part of every model once, so that all meet one noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ovsam.benchmark.parts import Work

Progress = Callable[[int, int], object]


def timed(
    models: Sequence[Mapping[str, Work]], repeats: int, progress: Progress
) -> tuple[list[dict[str, list[float]]], list[float]]:
    """Time the parts of several models.

    Args:
        models: of each its parts by name; a part that one has not is left out for it.
        repeats: rounds that count, after one that does not.
        progress: called with (calls done, calls in all).

    Returns:
        For each model the times of each part in milliseconds, round by round; and the times of
        the yardstick.
    """
    names = list(dict.fromkeys(name for parts in models for name in parts))
    found: list[dict[str, list[float]]] = [{name: [] for name in parts} for parts in models]
    yardsticks: list[float] = []
    total, done = (repeats + 1) * sum(map(len, models)), 0
    unit = yardstick()
    for number in range(repeats + 1):
        measured = milliseconds(unit)
        if number:
            yardsticks.append(measured)
        for name in names:
            turn = [i for i, parts in enumerate(models) if name in parts]
            for i in turn if number % 2 else reversed(turn):  # nobody is always the first
                measured = milliseconds(models[i][name])
                if number:  # the first round warms up
                    found[i][name].append(measured)
                done += 1
                progress(done, total)
    return found, yardsticks


def milliseconds(work: Work) -> float:
    """How long it takes, by the clock."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def yardstick() -> Work:
    """A fixed piece of work on one core, which tells how fast and how quiet the machine is."""
    numbers = np.random.default_rng(0).random((512, 512))
    return lambda: np.fft.fft2(numbers)
