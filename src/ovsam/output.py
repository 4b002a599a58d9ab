"""Where results go: checked before any work is done, written whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ovsam.errors import OutputError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def check_output(path: Path, suffixes: Collection[str], inputs: Collection[Path] = ()) -> None:
    """Refuse a path that could not be written, or that would destroy an input.

    Args:
        path: the file to be written.
        suffixes: the allowed suffixes, lower case with their dot.
        inputs: files that must stay as they are, and folders of which all files must.

    Raises:
        OutputError: an unknown suffix, a folder that is missing or cannot be written to, a folder
            in the file's place, or an input.
    """
    if path.suffix.lower() not in suffixes:
        raise OutputError(
            f"Cannot write {str(path)!r}: its name must end in {' or '.join(suffixes)}, "
            f"got {path.suffix or 'no suffix'!r}."
        )
    if not os.path.isdir(path.parent):  # unlike Path's, never raises
        raise OutputError(
            f"Cannot write {str(path)!r}: the folder {str(path.parent)!r} does not exist. "
            "Make it first."
        )
    if os.path.isdir(path):
        raise OutputError(f"Cannot write {str(path)!r}: it is a folder. Give a file name.")
    for source in inputs:
        if not os.path.exists(path) or not os.path.exists(source):
            continue
        if path.samefile(source):
            raise OutputError(
                f"Cannot write {str(path)!r}: it is the input itself. Choose another name."
            )
        if source.resolve() in path.resolve().parents:
            raise OutputError(
                f"Cannot write {str(path)!r}: it is there already, in the folder {str(source)!r} "
                "of what is read. Choose another name."
            )
    probe = _beside(path)
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise _refused(path, error) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, then rename it there: readers never see half a file.

    Raises:
        OutputError: the system refused (no permission, no space, ...).
    """
    temporary = _beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A name for what is not yet whole."""
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")


def _refused(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"Cannot write {str(path)!r}: {error.strerror or error}. "
        "Check the folder's permissions and free space."
    )


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write `(H, W, 3)` RGB in the format that the suffix says (one of `PICTURE_SUFFIXES`).

    Raises:
        OutputError: see `write_atomically`.
    """
    buffer = io.BytesIO()
    kind = Image.registered_extensions()[path.suffix.lower()]
    Image.fromarray(pixels).save(buffer, kind, quality=92)
    write_atomically(path, buffer.getvalue())
