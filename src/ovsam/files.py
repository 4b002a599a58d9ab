"""Where results go: checked before any work is done, written whole or not at all."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import secrets
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ovsam.errors import OutputError, OutputNameError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def check_output(path: Path, suffixes: Collection[str], inputs: Collection[Path] = ()) -> None:
    """Refuse a path that could not be written, or that would destroy an input.

    Args:
        path: the file to be written.
        suffixes: the allowed suffixes, lower case with their dot.
        inputs: files that must stay as they are, and folders of which all files must.

    Raises:
        OutputNameError: an unknown suffix.
        OutputError: a folder that is missing or cannot be written to, a folder or a write-protected
            file in the file's place, or an input.
    """
    if path.suffix.lower() not in suffixes:
        raise OutputNameError(
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
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise OutputError(
            f"Cannot write {str(path)!r}: it is there already and write-protected. Choose another "
            "name."
        )
    try:
        with unfinished(path):
            pass
    except OSError as error:
        raise _refused(path, error) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, then rename it there: readers never see half a file.

    Raises:
        OutputError: the system refused (no permission, no space, ...).
    """
    try:
        replace_file(path, content)
    except OSError as error:
        raise _refused(path, error) from error


def replace_file(path: Path, content: bytes) -> None:
    """As `write_atomically`.

    Raises:
        OSError: the system refused.
    """
    with unfinished(path) as temporary:
        _fill(temporary, content)
        temporary.replace(path)


def write_new(path: Path, content: bytes) -> bool:
    """Write a file whole, unless one of its name is there, or comes meanwhile.

    Returns:
        Whether it was written.

    Raises:
        OutputError: the system refused (no permission, no space, ...).
    """
    return _write_to_first_free(path, [path], content) is not None


def write_beside_others(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """Write a picture `(H, W, 3)` as `write_picture` does, but replace none.

    If `path` is there, it is written to the first of `NAME-2`, `NAME-3`, ... that is not, whatever
    other processes do at the same time.

    Returns:
        Where it was written.

    Raises:
        OutputError: the system refused (no permission, no space, ...).
    """
    written = _write_to_first_free(path, numbered(path), picture_bytes(path, pixels))
    assert written is not None, "there is always a further number"
    return written


def _write_to_first_free(path: Path, names: Iterable[Path], content: bytes) -> Path | None:
    """Write `content`, prepared beside `path`, to the first name that is free; None = none is."""
    try:
        with unfinished(path) as temporary:
            _fill(temporary, content)
            return next((name for name in names if _take_name(temporary, name)), None)
    except OSError as error:
        raise _refused(path, error) from error


@contextmanager
def unfinished(path: Path) -> Generator[Path]:
    """An empty file beside `path`, for what is not yet whole: gone at the end unless renamed.

    What processes that were killed have left of the same kind is removed.

    Raises:
        OSError: the system refused.
    """
    remove_left_over(path)
    temporary, descriptor = _made_beside(path)
    try:
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        os.close(descriptor)


def _made_beside(path: Path) -> tuple[Path, int]:
    """A new file and a descriptor that holds its lock, which tells others that it is in use."""
    while True:
        # 50 letters of the name: a letter takes up to 4 bytes, and a name may have 255.
        temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}.part")
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        _lock(descriptor)
        if os.path.lexists(temporary):  # else another process was faster, and took it for left over
            return temporary, descriptor
        os.close(descriptor)


def remove_left_over(path: Path) -> None:
    """Remove what processes that were killed while they wrote `path` have left beside it."""
    pattern = f".{glob.escape(path.name[:50])}.????????.part"
    for left in path.parent.glob(pattern):
        with suppress(OSError):
            descriptor = os.open(left, os.O_RDWR)
            try:
                if _lock(descriptor):
                    left.unlink()
            finally:
                os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Whether nobody else has the lock, and now we have; a process that ends gives it back."""
    try:
        import fcntl
    except ImportError:  # Windows, where a file in use cannot be removed, and none is
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # or a file system without locks
        return False
    return True


def _fill(temporary: Path, content: bytes) -> None:
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def numbered(path: Path) -> Iterator[Path]:
    """The names that `write_beside_others` tries: `a.png`, `a-2.png`, `a-3.png`, ..."""
    yield path
    for number in count(2):
        yield path.with_stem(f"{path.stem}-{number}")


def _take_name(temporary: Path, name: Path) -> bool:
    """Give a whole file a name that is free; False = the name is taken."""
    try:
        os.link(temporary, name)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links, such as FAT
        try:
            name.touch(exist_ok=False)
        except FileExistsError:
            return False
        temporary.replace(name)
    return True


def _refused(path: Path, error: OSError) -> OutputError:
    advice = "Check the folder's permissions and free space."
    if isinstance(error, FileNotFoundError):
        advice = "Its folder is gone; make it again."
    return OutputError(f"Cannot write {str(path)!r}: {error.strerror or error}. {advice}")


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """Write `(H, W, 3)` RGB in the format that the suffix says (one of `PICTURE_SUFFIXES`).

    Returns:
        `path`.

    Raises:
        OutputError: see `write_atomically`; or the format has no room for so large a picture.
    """
    write_atomically(path, picture_bytes(path, pixels))
    return path


def picture_bytes(path: Path, pixels: NDArray[np.uint8]) -> bytes:
    """`(H, W, 3)` RGB in the format that the suffix of `path` says (one of `PICTURE_SUFFIXES`).

    Raises:
        OutputError: the format has no room for so large a picture.
    """
    buffer = io.BytesIO()
    kind = Image.registered_extensions()[path.suffix.lower()]
    try:
        Image.fromarray(pixels).save(buffer, kind, quality=92)
    except (OSError, ValueError) as error:  # JPEG ends at 65,535 pixels, WebP at 16,383
        raise OutputError(
            f"Cannot write {str(path)!r}: {kind} cannot hold {pixels.shape[1]} x {pixels.shape[0]} "
            "pixels. Give a name that ends in .png."
        ) from error
    return buffer.getvalue()


def sha256_of(path: Path) -> str | None:
    """SHA-256 of a file's content; None where there is no such file."""
    try:
        if not path.is_file():  # a device, such as a report may name, can be without an end
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):  # names instead of a path may be too long, or hold a null byte
        return None
