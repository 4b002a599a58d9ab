"""What became of each photo, kept in a file as it is found out: a run that was killed goes on.

The file has one JSON object on each line. The first says what is measured and how; each further one
holds the rows of one photo and is on the disk before the next photo counts as done. A last line
that was cut short is dropped, and its photo is done again.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from ovsam.data.coco import as_float
from ovsam.errors import OutputError
from ovsam.output import write_atomically

FORMAT = "ovsam-outcomes-1"

Row = TypeVar("Row")


class Journal(Generic[Row]):
    """The rows of each photo, on disk. Use it in a `with` block.

    Args:
        path: the file; made where there is none.
        settings: what the digits depend on, plain JSON values.
        row: the type of what a photo has a list of.

    Attributes:
        rows: of the photos that are done, by photo id.
        seconds: that each of them took.

    Raises:
        OutputError: the file is none of ours, is damaged, or is of other settings, which it names;
            or it cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], row: type[Row]) -> None:
        self.path = path
        self.rows: dict[int, list[Row]] = {}
        self.seconds: dict[int, float] = {}
        self._rows: TypeAdapter[list[Row]] = TypeAdapter(list[row])  # type: ignore[valid-type]
        head = json.dumps({"format": FORMAT, "settings": dict(settings)}).encode() + b"\n"
        if not path.exists():
            write_atomically(path, head)
        try:
            self._file: BinaryIO = path.open("r+b", buffering=0)
        except OSError as error:
            raise self._refused(error) from error
        try:
            self._lock()
            self._read(json.loads(head)["settings"])
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal[Row]:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, photo_id: int, rows: list[Row], seconds: float) -> None:
        """Keep the rows of a photo, for good once this returns.

        Raises:
            OutputError: the system refused (no space, ...).
        """
        line = {
            "photo": photo_id,
            "seconds": seconds,
            "rows": self._rows.dump_python(rows, mode="json"),
        }
        try:
            self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._refused(error) from error
        self.rows[photo_id], self.seconds[photo_id] = rows, seconds

    def _lock(self) -> None:
        """Keep other processes off the file until it is closed, where the system can."""
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"{str(self.path)!r} is in use by another process. Wait until it is done, or give "
                "the name of a new file."
            ) from error

    def _read(self, settings: Mapping[str, Any]) -> None:
        """Take over what is there; the file then ends after its last whole line."""
        self._check_head(self._file.readline(), settings)
        whole = self._file.tell()
        broken = 0  # the number of a line that is none
        for number, line in enumerate(self._file, start=2):
            if broken:
                raise OutputError(
                    f"Line {broken} of {str(self.path)!r} is damaged. Remove that line, and its "
                    "photo is done again, or give the name of a new file."
                )
            try:
                self._take(line)
            except (ValueError, KeyError, TypeError, RecursionError):
                broken = number
            else:
                whole += len(line)
        self._file.seek(whole)
        self._file.truncate()

    def _check_head(self, line: bytes, settings: Mapping[str, Any]) -> None:
        try:
            head = json.loads(line)
        except (ValueError, RecursionError):
            head = None
        there = head.get("settings") if isinstance(head, dict) else None
        if not isinstance(there, dict) or head.get("format") != FORMAT:
            raise OutputError(
                f"{str(self.path)!r} is there and holds no outcomes of an evaluation (format "
                f"{FORMAT!r}). Give the name of a new file."
            )
        other = [key for key in settings if key in there and there[key] != settings[key]]
        if other:
            pairs = (f"{key} {there[key]!r}, not {settings[key]!r}" for key in other)
            raise OutputError(
                f"{str(self.path)!r} was begun with {'; '.join(pairs)}. Ask for the same to go on, "
                "or give the name of a new file."
            )
        if there.keys() != settings.keys():
            unlike = " and ".join(map(repr, sorted(there.keys() ^ settings.keys())))
            raise OutputError(
                f"{str(self.path)!r} was begun by another version of ovsam, whose digits may be "
                f"others: only one of the two keeps {unlike}. Give the name of a new file."
            )

    def _take(self, line: bytes) -> None:
        if not line.endswith(b"\n"):
            raise ValueError("cut short")
        content = json.loads(line)
        photo_id, seconds = content["photo"], content["seconds"]
        if type(photo_id) is not int or not 0 <= as_float(seconds) < math.inf:
            raise ValueError("neither a photo nor seconds")
        try:
            self.rows[photo_id] = self._rows.validate_python(content["rows"])
        except ValidationError as error:
            raise ValueError("no rows") from error
        self.seconds[photo_id] = seconds

    def _refused(self, error: OSError) -> OutputError:
        return OutputError(
            f"Cannot write {str(self.path)!r}: {error.strerror or error}. "
            "Check the folder's permissions and free space."
        )
