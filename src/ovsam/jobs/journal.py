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
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from ovsam.bounded_json import JsonError, parse_json
from ovsam.errors import OutputError, first_few, quoted
from ovsam.files import remove_left_over, write_new
from ovsam.formats.json_rows import as_float

FORMAT = "ovsam-outcomes-1"
_LONGEST = 256 * 2**20  # bytes of a line: masks of a photo's boxes as run lengths

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
        try:
            remove_left_over(path)
            if not path.exists():
                write_new(path, head)  # one that another process makes meanwhile stays
            self._file: BinaryIO = path.open("r+b", buffering=0)
        except OutputError:
            raise
        except (OSError, ValueError) as error:
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
        self._append(json.dumps(line, allow_nan=False).encode() + b"\n")
        self.rows[photo_id], self.seconds[photo_id] = rows, seconds

    def _append(self, line: bytes) -> None:
        """Write a line and make sure that it is on the disk, in the file that has our name.

        Raises:
            OutputError: the system refused, and the file ends as before; or another file is there.
        """
        end = self._file.tell()
        try:
            rest = memoryview(line)
            while rest:  # of a line that only partly fits the disk, a part is written
                rest = rest[self._file.write(rest) or 0 :]
            os.fsync(self._file.fileno())
            there = os.stat(self.path)
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._file.seek(end))
            raise self._refused(error) from error
        if not os.path.samestat(there, os.fstat(self._file.fileno())):
            raise OutputError(
                f"{str(self.path)!r} was replaced by another file while it was in use, and what it "
                "held is lost. Begin again, and leave the file alone."
            )

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
        except OSError:  # a file system without locks
            return

    def _read(self, settings: Mapping[str, Any]) -> None:
        """Take over what is there; the file then ends after its last whole line."""
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            whole = self._read_lines(lines, settings)
        self._file.seek(whole)
        self._file.truncate()

    def _read_lines(self, lines: BinaryIO, settings: Mapping[str, Any]) -> int:
        """Take over what is there; how many bytes of it are whole lines."""
        head = lines.readline(_LONGEST)
        self._check_head(head, settings)
        whole = len(head)
        broken, number = 0, 1  # the number of a line that is none
        while line := lines.readline(_LONGEST):
            number += 1
            if broken or len(line) == _LONGEST:
                raise OutputError(
                    f"Line {broken or number} of {str(self.path)!r} is damaged. Remove that line, "
                    "and its photo is done again, or give the name of a new file."
                )
            try:
                self._take(line)
            except (ValueError, KeyError, TypeError, RecursionError):
                broken = number
            else:
                whole += len(line)
        return whole

    def _check_head(self, line: bytes, settings: Mapping[str, Any]) -> None:
        try:
            head = parse_json(line)
        except JsonError:
            head = None
        there = head.get("settings") if isinstance(head, dict) else None
        if (
            not isinstance(head, dict)
            or not isinstance(there, dict)
            or head.get("format") != FORMAT
        ):
            raise OutputError(
                f"{str(self.path)!r} is there and holds no outcomes of an evaluation (format "
                f"{FORMAT!r}). Give the name of a new file."
            )
        other = [key for key in settings if key in there and there[key] != settings[key]]
        if other:
            pairs = (f"{key} {quoted(there[key])}, not {quoted(settings[key])}" for key in other)
            raise OutputError(
                f"{str(self.path)!r} was begun with {'; '.join(pairs)}. Ask for the same to go on, "
                "or give the name of a new file."
            )
        if there.keys() != settings.keys():
            unlike = first_few(map(quoted, sorted(there.keys() ^ settings.keys())))
            raise OutputError(
                f"{str(self.path)!r} was begun by another version of ovsam, whose digits may be "
                f"others: only one of the two keeps {unlike}. Give the name of a new file."
            )

    def _take(self, line: bytes) -> None:
        if not line.endswith(b"\n"):
            raise ValueError("cut short")
        content = parse_json(line)
        if not isinstance(content, dict):
            raise ValueError("no object")
        photo_id, seconds = content["photo"], content["seconds"]
        if type(photo_id) is not int or not 0 <= as_float(seconds) < math.inf:
            raise ValueError("neither a photo nor seconds")
        try:
            self.rows[photo_id] = self._rows.validate_python(content["rows"])
        except ValidationError as error:
            raise ValueError("no rows") from error
        self.seconds[photo_id] = seconds

    def _refused(self, error: BaseException) -> OutputError:
        why = getattr(error, "strerror", None) or error
        return OutputError(
            f"Cannot write {str(self.path)!r}: {why}. "
            "Check the folder's permissions and free space."
        )
