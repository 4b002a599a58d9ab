"""The file of outcomes: what is kept, what is refused, and what a cut line costs."""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovsam.errors import OutputError
from ovsam.evaluate.metrics import Outcome
from ovsam.jobs.journal import Journal

SETTINGS = {"prompts": "box", "zoom": False}
CAT = Outcome("cat", 9.5, 1 / 3, 0.1, 0, 0.7)
DOG = Outcome("dog", 1e-300, 2 / 3, 0.30000000000000004, -1, 0.25)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of photo 7 with two objects and photo 8 with none."""
    with Journal(tmp_path / "run.jsonl", SETTINGS, Outcome) as journal:
        journal.add(7, [CAT, DOG], 0.5)
        journal.add(8, [], 0.25)
    return tmp_path / "run.jsonl"


def reopened(path: Path, settings: dict[str, Any] = SETTINGS) -> Journal[Outcome]:
    with Journal(path, settings, Outcome) as journal:
        return journal


def test_rows_come_back_to_the_last_bit(path: Path) -> None:
    journal = reopened(path)
    assert journal.rows == {7: [CAT, DOG], 8: []}
    assert journal.seconds == {7: 0.5, 8: 0.25}


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_last_line_that_was_cut_is_done_again(path: Path, kept: int) -> None:
    whole = path.read_bytes()
    *lines, last = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines) + last[:kept])
    with Journal(path, SETTINGS, Outcome) as journal:
        assert journal.rows == {7: [CAT, DOG]}
        journal.add(8, [], 0.25)
    assert path.read_bytes() == whole


def test_a_last_line_of_zeros_is_done_again(path: Path) -> None:
    """What some file systems leave of a line when the power fails."""
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 50 + b"\n")
    assert reopened(path).rows == {7: [CAT, DOG], 8: []}
    assert path.read_bytes() == whole


def no_photo(line: dict[str, Any]) -> None:
    del line["photo"]


def odd_photo(line: dict[str, Any]) -> None:
    line["photo"] = "7"


def odd_rows(line: dict[str, Any]) -> None:
    line["rows"][0]["iou"] = "much"


def lost_field(line: dict[str, Any]) -> None:
    del line["rows"][0]["rank"]


def odd_seconds(line: dict[str, Any]) -> None:
    line["seconds"] = float("nan")


def with_row(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda line: line["rows"][1].update(values)


NAN = float("nan")
IMPOSSIBLE = (
    {"iou": NAN},
    {"iou": 7.5},
    {"iou": -0.1},
    {"boundary_iou": float("inf")},
    {"score": 1.01},
    {"area": NAN},
    {"area": -1},
    {"rank": -2},
)


@pytest.mark.parametrize(
    "spoil",
    [no_photo, odd_photo, odd_seconds, odd_rows, lost_field, *(with_row(**v) for v in IMPOSSIBLE)],
)
def test_a_damaged_line_before_the_last_is_named(
    path: Path, spoil: Callable[[dict[str, Any]], None]
) -> None:
    head, first, last = path.read_text().splitlines()
    line = json.loads(first)
    spoil(line)
    path.write_text("\n".join([head, json.dumps(line), last, ""]))
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"Line 2 of '.*run\.jsonl' is damaged\. Remove"):
        reopened(path)
    assert path.read_bytes() == before


def test_other_settings_are_named(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(OutputError, match="begun with prompts 'box', not 'point'; zoom False, not"):
        reopened(path, {"prompts": "point", "zoom": True})
    assert path.read_bytes() == before


def test_a_journal_that_keeps_other_things_is_of_another_version(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(OutputError) as caught:
        reopened(path, {**SETTINGS, "ovsam": "0.2.0"})
    assert "begun by another version of ovsam" in str(caught.value)
    assert "None" not in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"[1]\n", b"notes\n", b'{"settings": 1}\n', b"[" * 100_000 + b"\n"]
)
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="holds no outcomes of an evaluation"):
        reopened(path)
    assert path.read_bytes() == content


def test_a_folder_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Cannot write"):
        reopened(tmp_path)


def test_a_journal_in_use_is_left_alone(path: Path) -> None:
    before = path.read_bytes()
    with Journal(path, SETTINGS, Outcome):
        with pytest.raises(OutputError, match="in use by another process"):
            reopened(path)
    assert path.read_bytes() == before
    assert reopened(path).rows.keys() == {7, 8}


def test_of_two_that_begin_at_once_one_has_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second has looked for the file before the first made it."""
    path = tmp_path / "run.jsonl"
    with Journal(path, SETTINGS, Outcome) as first:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "exists", lambda _: False)
            with pytest.raises(OutputError, match="in use by another process"):
                reopened(path)
        first.add(7, [CAT, DOG], 0.5)
    assert reopened(path).rows == {7: [CAT, DOG]}
    assert [found.name for found in tmp_path.iterdir()] == ["run.jsonl"]


class FullDisk(io.RawIOBase):
    """A file on a disk with room for so many bytes more; what fits is written, as systems do."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, content: Any) -> int:
        part = bytes(content)[: self.room]
        if not part:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(part)
        return int(self.file.write(part))

    def __getattribute__(self, name: str) -> Any:
        if name in ("file", "room", "write", "__class__"):
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "file"), name)


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_full_disk_costs_the_photo_alone(path: Path, room: int) -> None:
    before = path.read_bytes()
    with Journal(path, SETTINGS, Outcome) as journal:
        monkeyed: Any = FullDisk(journal._file, room)
        journal._file = monkeyed
        with pytest.raises(OutputError, match=r"No space left on device\. Check"):
            journal.add(9, [CAT, DOG], 0.5)
        assert 9 not in journal.rows
        assert path.read_bytes() == before
        monkeyed.room = 10**6
        journal.add(9, [CAT], 0.5)
    assert reopened(path).rows == {7: [CAT, DOG], 8: [], 9: [CAT]}


def test_a_write_in_two_parts_is_one_line(path: Path) -> None:
    with Journal(path, SETTINGS, Outcome) as journal:
        write = journal._file.write

        class Halves(FullDisk):
            def write(self, content: Any) -> int:
                return write(bytes(content)[: len(content) // 2 + 1])

        halves: Any = Halves(journal._file, 0)
        journal._file = halves
        journal.add(9, [CAT, DOG], 0.5)
    assert reopened(path).rows == {7: [CAT, DOG], 8: [], 9: [CAT, DOG]}


def test_a_journal_that_vanishes_or_is_replaced_is_said(path: Path) -> None:
    with Journal(path, SETTINGS, Outcome) as journal:
        path.rename(path.with_suffix(".old"))
        with pytest.raises(OutputError, match=r"Cannot write .*run\.jsonl'"):
            journal.add(9, [CAT], 0.5)
        path.write_text("notes")
        with pytest.raises(OutputError, match="replaced by another file while it was in use"):
            journal.add(9, [CAT], 0.5)
    assert path.read_text() == "notes"
