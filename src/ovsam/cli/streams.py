"""Standard streams that cannot encode a name, are full, or are closed."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_WIDTH = 200  # of tables that go to a file


def prepare_streams() -> None:
    """Print what a stream cannot encode as `?`, and put something in the place of closed ones.

    Without that the next file that is opened would be the standard output.
    """
    # What is written to a closed output is refused, as any program's is; stderr's is dropped.
    for descriptor, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # gives the lowest number that is free: this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


def print_file(text: str) -> None:
    """Print what is to be kept in a file: in UTF-8 if it goes to one, bytes of names as they are.

    `text` ends in a line break.
    """
    if not sys.stdout.isatty() and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
    sys.stdout.write(text)
    sys.stdout.flush()


def explain(error: OSError) -> str:
    """What the system refused, as a sentence."""
    reason = error.strerror or str(error)
    if error.filename is None:  # else it is said there
        return f"Cannot write the output: {reason}."
    return f"The system refuses {os.fsdecode(error.filename)!r}: {reason}."


def say(sentence: str) -> None:
    """Print a line on stderr, if anything can be printed there."""
    with suppress(OSError):
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()


def give_up_on_streams() -> None:
    """Drop what a stream did not take, so that it is not tried again when the process ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)


def print_table(table: Table) -> None:
    """Print a table: as wide as the terminal, or where there is none, wide enough not to wrap."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    console.print(table)
