"""JSON of others: what is parsed, and what is refused with which reason, before memory is taken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing import examples
from ovsam import bounded_json
from ovsam.bounded_json import MAX_DEPTH, JsonError, parse_json, read_json_file


def nested(depth: int) -> str:
    """Lists and objects in each other, by turns."""
    text = "1"
    for level in range(depth):
        text = f"[0, {text}]" if level % 2 else f'{{"a": 0, "b": {text}}}'
    return text


@pytest.mark.parametrize("content", [None, 1, "x", [], {}, [[1], {"a": [2.5]}], {"a": "é\0"}])
def test_what_is_json_is_read(tmp_path: Path, content: object) -> None:
    text = json.dumps(content)
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert parse_json(text) == parse_json(text.encode()) == content
    assert read_json_file(tmp_path / "a.json") == content


def test_nesting_is_bounded_at_the_same_depth_everywhere() -> None:
    assert parse_json(nested(MAX_DEPTH)) == json.loads(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 500, 100_000):
        with pytest.raises(JsonError, match=r"^it is nested too deeply$"):
            parse_json("[" * depth + "]" * depth)
    with pytest.raises(JsonError, match=r"^it is nested too deeply$"):
        parse_json(nested(MAX_DEPTH + 1))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ("{'a': 1}", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[1] [2]", "Extra data: line 1 column 5 (char 4)"),
        ("9" * 5000, "it has a whole number of too many digits"),
        ("[1, -" + "9" * 5000 + "]", "it has a whole number of too many digits"),
        (b'"\xff"', "it is no text in UTF-8: invalid start byte at 1"),
    ],
)
def test_what_is_none_has_a_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(JsonError) as caught:
        parse_json(text)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\0" * 9, "it holds null bytes, so it is no text in UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "it holds null bytes, so it is no text in UTF-8"),
        (b'["\xe9"]', "it is no text in UTF-8: invalid continuation byte at 2"),
        (b"[" + b" " * 100 + b"]", "it is larger than 64 bytes"),
    ],
)
def test_a_file_that_is_none(
    tmp_path: Path, content: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_json, "MAX_BYTES", 64)
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(JsonError) as caught:
        read_json_file(tmp_path / "a.json")
    assert str(caught.value) == reason


LIMITED = """
import resource, sys
from pathlib import Path
from ovsam.bounded_json import JsonError, read_json_file
resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29))
for name in sys.argv[1:]:
    try:
        read_json_file(Path(name))
    except JsonError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a process's memory")
def test_endless_and_huge_files_are_refused_in_half_a_gigabyte(tmp_path: Path) -> None:
    with (tmp_path / "zeros.json").open("wb") as file:
        file.truncate(2**31)  # sparse: takes no space
    (tmp_path / "lists.json").write_bytes(b"[" + b"[]," * 10_000_000 + b"1]")  # 640 MB in memory
    names = "/dev/zero", tmp_path / "zeros.json", tmp_path / "lists.json"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *names], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "it holds null bytes, so it is no text in UTF-8",
        "it holds null bytes, so it is no text in UTF-8",
        "it takes more memory than there is",
    ]


@pytest.mark.fuzz
@settings(max_examples=examples(200))
@given(st.text(alphabet='[]{}",:0123456789.eE+-nulltrfsaINy \\u\n', max_size=60))
def test_any_text_is_parsed_or_has_one_short_reason(text: str) -> None:
    try:
        parse_json(text)
    except JsonError as error:
        assert str(error) and len(str(error)) <= 200 and "\n" not in str(error)
