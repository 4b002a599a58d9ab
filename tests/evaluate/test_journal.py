"""The file of outcomes: what is kept, what is refused, and what a cut line costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovsam.errors import OutputError
from ovsam.evaluate.journal import Journal
from ovsam.evaluate.metrics import Outcome

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
