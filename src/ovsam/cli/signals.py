"""Ctrl-C and a polite kill: at any moment no traceback, and the exit code that shells expect."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143  # 128 and the signal's number
_IMPORTING = "<frozen importlib._bootstrap>"


class Terminated(KeyboardInterrupt):
    """A SIGTERM: what is interrupted by Ctrl-C is by this, too."""


def end_quietly_on_signals() -> None:
    """From now on SIGINT raises KeyboardInterrupt, and SIGTERM `Terminated`.

    Within an `import`, where libraries in C would make a crash of the exception, and where nothing
    of ours is half-done, the process ends at once. Signals that are ignored stay so.
    """
    own = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != own:  # a forked child: it ends as it would without us
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif _is_importing(frame):
            leave(number, frame)
        else:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    _handle(stop)


def end_at_once_on_signals() -> None:
    """From now on, when all is done but Python's own end, either signal ends the process."""
    _handle(leave)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def end_interrupted(error: KeyboardInterrupt) -> int:
    """Say on stderr what ended the command; the exit code."""
    terminated = isinstance(error, Terminated)
    with suppress(Exception):
        sys.stderr.write("terminated\n" if terminated else "interrupted\n")
        sys.stderr.flush()
    return TERMINATED if terminated else INTERRUPTED


def leave(number: int, _: FrameType | None) -> None:
    """End the process at once, as a handler of a signal."""
    os._exit(end_interrupted(KeyboardInterrupt() if number == signal.SIGINT else Terminated()))


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False
