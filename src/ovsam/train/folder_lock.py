"""One run at a time in a folder, by a lock that ends with the process, however that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovsam.errors import TrainingError


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder, made where there is none, against other processes; leaves no file behind.

    Where the system or the drive knows no such locks, nothing is held.

    Raises:
        TrainingError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(
                f"Another run is going on in '{folder}'. Wait for it, or choose another output "
                "folder."
            ) from None
        except OSError:
            pass  # a drive without locks
        yield
    finally:
        os.close(handle)
