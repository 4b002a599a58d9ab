"""The command in fresh processes: what a person waits for who types it, and the memory it takes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovsam.benchmark.machine import in_bytes
from ovsam.benchmark.rounds import Progress
from ovsam.benchmark.scene import cases
from ovsam.errors import OvsamError, UsageError, first_line
from ovsam.files import write_picture

COMMAND = (sys.executable, "-m", "ovsam")
SOURCE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Start:
    """One process from its start to its end.

    Attributes:
        milliseconds: by the clock.
        peak_bytes: the most memory that it held.
    """

    milliseconds: float
    peak_bytes: int


def check_measurable() -> None:
    """Refuse where nobody says how much memory one process took.

    Raises:
        UsageError: this system is one of those.
    """
    if not hasattr(os, "wait4"):
        raise UsageError(
            "--cold needs a system that tells how much memory one process took, such as Linux or "
            "macOS. Leave it out."
        )


def cold_starts(
    models: Sequence[str],
    photo: NDArray[np.uint8],
    repeats: int,
    threads: int | None,
    progress: Progress,
) -> list[list[Start]]:
    """Start `ovsam segment` with a box for each model by turns.

    Args:
        models: names, or paths of checkpoints.
        photo: `(H, W, 3)` uint8 RGB.
        repeats: starts of each model that count, after one that does not.
        threads: that each process computes with; None = as it does by itself.
        progress: called with (processes done, processes in all).

    Returns:
        For each model its starts.

    Raises:
        OvsamError: a process failed.
    """
    box = cases((photo.shape[0], photo.shape[1]))[0].prompts[0].box_xyxy
    assert box is not None
    corners = ",".join(f"{number:g}" for number in box.tolist())
    found: list[list[Start]] = [[] for _ in models]
    total, done = (repeats + 1) * len(models), 0
    with tempfile.TemporaryDirectory() as name:
        path = write_picture(Path(name) / "photo.png", photo)
        output = str(path.with_name("overlay.png"))
        for number in range(repeats + 1):
            for i, model in enumerate(models):
                arguments = ["segment", str(path), "--box", corners, "-o", output, "--model", model]
                start = start_command(arguments, environment(threads))
                if number:  # the first one fills the caches of system and names
                    found[i].append(start)
                done += 1
                progress(done, total)
    return found


def environment(threads: int | None) -> dict[str, str]:
    """Of a process that finds this ovsam, and computes with so many threads."""
    paths = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
    given = {"PYTHONPATH": os.pathsep.join(paths)}
    if threads is not None:
        given["OMP_NUM_THREADS"] = str(threads)
    return {**os.environ, **given}


def start_command(arguments: Sequence[str], env: Mapping[str, str]) -> Start:
    """Run `ovsam` with these arguments to its end in a process of its own.

    Linux gives a process a peak that is no smaller than what the one that starts it has held, so
    call this before anything large is loaded.

    Raises:
        OvsamError: it failed; with what it said.
    """
    with tempfile.TemporaryFile() as said:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C: it is not to go on without us
            process.kill()
            process.wait()
            raise
        milliseconds = (time.perf_counter() - begun) * 1e3
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise OvsamError(
                f"'ovsam {arguments[0]}' failed in a process of its own (exit code "
                f"{process.returncode}): {first_line(OSError(lines[-1]))}."
            )
    return Start(milliseconds, in_bytes(usage.ru_maxrss))
