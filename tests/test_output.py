"""Writing results: checked first, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovsam.errors import OutputError
from ovsam.output import check_output, write_atomically


def test_writes_and_replaces_without_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.json"
    path.write_bytes(b"old")

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device", str(self), None, str(target))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OutputError, match="No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.txt", r"must end in \.png or \.jpg, got '\.txt'"),
        ("out", "got 'no suffix'"),
        ("missing/out.png", "does not exist"),
        ("folder.png", "is a folder"),
    ],
)
def test_bad_paths(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match=message):
        check_output(tmp_path / name, (".png", ".jpg"))


def test_upper_case_suffix_is_fine(tmp_path: Path) -> None:
    check_output(tmp_path / "out.PNG", (".png",))


def test_input_is_never_overwritten_even_through_a_link(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"photo")
    link = tmp_path / "link.png"
    link.symlink_to(photo)
    for path in (photo, link):
        with pytest.raises(OutputError, match="the input itself"):
            check_output(path, (".png",), [photo])
    check_output(tmp_path / "other.png", (".png",), [photo, tmp_path / "not-there"])


def test_names_too_long_for_the_system(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_bytes(b"old")
    check_output(path, (".json",), [Path("cat, " * 2000)])  # such as a long list of names
    too_long = tmp_path / ("x" * 300 + ".json")
    check_output(too_long, (".json",))
    with pytest.raises(OutputError, match="File name too long"):
        write_atomically(too_long, b"new")
