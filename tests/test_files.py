"""Writing results: checked first, whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ovsam.errors import OutputError
from ovsam.files import (
    check_output,
    unfinished,
    write_atomically,
    write_beside_others,
    write_picture,
)
from ovsam.formats.prediction import to_json_bytes


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


def test_a_file_that_is_protected_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # to root all files are open
    with pytest.raises(OutputError, match="write-protected"):
        check_output(path, (".png",))
    check_output(tmp_path / "new.png", (".png",))


@pytest.mark.parametrize("links", [True, False])
def test_pictures_beside_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    pixels = np.zeros((2, 3, 3), np.uint8)
    (tmp_path / "a.png").write_bytes(b"mine")
    (tmp_path / "a-3.png").write_bytes(b"mine, too")
    written = [write_beside_others(tmp_path / "a.png", pixels).name for _ in range(3)]
    assert written == ["a-2.png", "a-4.png", "a-5.png"]
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    assert (tmp_path / "a-3.png").read_bytes() == b"mine, too"
    assert len(list(tmp_path.iterdir())) == 5, "nothing is left over"


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    left = tmp_path / ".out.json.0a1b2c3d.part"
    left.write_bytes(b"half")
    other = tmp_path / ".else.json.0a1b2c3d.part"
    other.write_bytes(b"half of something else")
    with unfinished(tmp_path / "out.json") as mine:
        assert not left.exists()
        write_atomically(tmp_path / "out.json", b"theirs")
        assert mine.exists()
        mine.write_bytes(b"ours")
        mine.replace(tmp_path / "out.json")
    assert (tmp_path / "out.json").read_bytes() == b"ours"
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "out.json"]


@pytest.mark.parametrize("moment", ["before it is renamed", "after it got a second name"])
def test_killed_as_it_writes(moment: str, tmp_path: Path) -> None:
    """The same command, run again, leaves the file alone."""
    writes = {
        "a checkpoint": "save_atomically(path / 'a.safetensors', {'a': torch.ones(3)})",
        "a journal": "Journal(path / 'a.jsonl', {}, int)",
        "a picture": "write_picture(path / 'a.png', np.zeros((2, 3, 3), np.uint8))",
        "another picture": "write_beside_others(path / 'b.png', np.zeros((2, 3, 3), np.uint8))",
    }
    kill = "os.kill(os.getpid(), signal.SIGKILL)"
    kills = {
        "before it is renamed": f"os.fsync = lambda file: {kill}",
        "after it got a second name": (
            f"link = os.link; os.link = lambda *both: (link(*both), {kill})"
        ),
    }
    # Each step is done in a copy of one process, which has imported all that takes time.
    steps = [step for write in writes.values() for step in (f"{kills[moment]}\n{write}", write)]
    script = """
import os, signal, sys
from pathlib import Path
import numpy as np, torch
from ovsam.jobs.journal import Journal
from ovsam.model.checkpoint import save_atomically
from ovsam.files import write_beside_others, write_picture
path = Path(sys.argv[1])
for step in sys.argv[2:]:
    child = os.fork()
    if not child:
        exec(step)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    command = [sys.executable, "-c", script, str(tmp_path), *steps]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    killed, whole = str(-signal.SIGKILL), "0"
    before = killed if moment == "before it is renamed" else whole
    # A second name is what journals and pictures beside others have for a moment.
    assert done.stdout.split() == [before, whole, killed, whole] * 2
    assert not list(tmp_path.glob(".*"))
    assert {"a.safetensors", "a.jsonl", "a.png", "b.png"} <= {p.name for p in tmp_path.iterdir()}


def test_names_of_long_letters(tmp_path: Path) -> None:
    """80 letters of three bytes each, of the 255 bytes that a name may have."""
    path = tmp_path / ("図" * 80 + ".json")
    write_atomically(path, b"{}")
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_too_large_for_its_format(tmp_path: Path) -> None:
    wide = np.zeros((1, 70_000, 3), np.uint8)
    for name in ("wide.webp", "wide.jpg"):
        with pytest.raises(OutputError, match=r"cannot hold 70000 x 1 pixels\. Give .* \.png"):
            write_picture(tmp_path / name, wide)
    assert write_picture(tmp_path / "wide.png", wide) == tmp_path / "wide.png"


def test_json_is_utf_8_whatever_the_names_are() -> None:
    names = ["caf\udce9.png", "ko\u010dka", 'a "quoted\\udce9"']
    written = to_json_bytes({"names": names})
    written.decode("utf-8")
    assert json.loads(written) == {"names": names}


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
