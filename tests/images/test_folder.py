"""Names that data sets give their photos, and the files that they stand for."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzzing import examples
from ovsam.images.folder import PhotoFolder, is_photo_name, is_system_entry, leaves_folder

COMPOSED = unicodedata.normalize("NFC", "café crème")
DECOMPOSED = unicodedata.normalize("NFD", "café crème")


def touch(root: Path, *names: str) -> PhotoFolder:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return PhotoFolder(root)


@pytest.mark.parametrize(
    ("on_disk", "in_file"),
    [
        ("images/a.png", "images/a.png"),
        ("images/a.png", "images\\a.png"),
        ("images/a.png", "./images//a.png"),
        ("images\\a.png", "images/a.png"),  # unpacked by a program that knows no back slashes
        ("images\\a.png", "images\\a.png"),
        (f"{DECOMPOSED}.png", f"{COMPOSED}.png"),
        (f"{COMPOSED}.png", f"{DECOMPOSED}.png"),
        (f"{DECOMPOSED}/a.png", f"{COMPOSED}\\a.png"),
        (f"{DECOMPOSED}.png", "caf%C3%A9%20cr%C3%A8me.png"),
        ("caf%C3%A9%20cr%C3%A8me.png", f"{COMPOSED}.png"),
        ("50%20off.jpg", "50%20off.jpg"),
        ("100%.jpg", "100%.jpg"),
        ("IMG_1.JPG", "IMG_1.jpg"),
        ("img_1.jpg", "IMG_1.JPG"),
        ("Train/a.jpg", "train/a.jpg"),
        ("a.jfif", "a.jpg"),
        ("a.png", "a.jpg"),
        ("v1.2.png", "v1.2"),
        ("1.jpg", "train2017/1.jpg"),
        ("v1/1.jpg", "images\\v1\\1.jpg"),
    ],
)
def test_a_name_is_found_however_it_is_written(tmp_path: Path, on_disk: str, in_file: str) -> None:
    folder = touch(tmp_path, on_disk, "b.jpg")
    assert folder.find(in_file) == tmp_path / on_disk


@pytest.mark.parametrize(
    ("on_disk", "in_file", "found"),
    [
        (("a.jpg", "A.jpg"), "a.jpg", "a.jpg"),
        (("a.JPG", "A.jpg"), "a.jpg", "a.JPG"),
        (("A.JPG", "A.png"), "a.webp", None),
        (("a.JPG", "a.Jpg"), "a.jpg", None),
        (("a.png", "a.webp"), "a.jpg", None),
        (("a.txt", "a.png"), "a.jpg", "a.png"),
        (("._a.jpg",), "a.jpg", None),
        (("a%20b.jpg", "a b.jpg"), "a%20b.jpg", "a%20b.jpg"),
        (("1.jpg", "train2017/2.jpg"), "train2017/1.jpg", None),
        ((f"{COMPOSED}.jpg", f"{DECOMPOSED}.jpg"), f"{DECOMPOSED}.jpg", f"{DECOMPOSED}.jpg"),
    ],
)
def test_a_name_that_may_mean_several(
    tmp_path: Path, on_disk: tuple[str, ...], in_file: str, found: str | None
) -> None:
    folder = touch(tmp_path, *on_disk)
    assert folder.find(in_file) == (None if found is None else tmp_path / found)


OUTSIDE = (
    "../x.jpg,..\\..\\x.jpg,a/../../x.jpg,a\\..\\..\\x.jpg,/x.jpg,\\x.jpg,C:\\x.jpg,c:/x.jpg,"
    "%2e%2e/x.jpg,%2E%2E%5Cx.jpg,%2fx.jpg,C%3A%5Cx.jpg,\\\\server\\x.jpg,..%2fx.jpg,.."
).split(",")


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "x.jpg")
    assert leaves_folder(name)
    assert touch(tmp_path / "inner", "y.jpg").find(name) is None


@pytest.mark.parametrize("name", ["12:30.jpg", "a..jpg", "..a.jpg", "a/...", "x/..y/z.jpg"])
def test_names_that_only_look_so_stay_inside(name: str) -> None:
    assert not leaves_folder(name)


def test_a_folder_is_listed_only_where_a_name_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = touch(tmp_path, "a.JPG", "b.JPG", "c.jpg")
    listed: list[Path] = []
    scan = os.scandir

    def counted(path: Path) -> Any:
        listed.append(path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", counted)
    assert folder.find("c.jpg") == tmp_path / "c.jpg"
    assert listed == []
    assert folder.find("a.jpg") == tmp_path / "a.JPG"
    assert folder.find("b.jpg") == tmp_path / "b.JPG"
    assert listed == [tmp_path]


def test_system_entries() -> None:
    system = (
        ".ipynb_checkpoints,__MACOSX,._x.jpg,.DS_Store,Thumbs.db,@eaDir,lost+found,$RECYCLE.BIN,"
        "desktop.ini,System Volume Information,.git,~$a.jpg"
    ).split(",")
    assert all(map(is_system_entry, system))
    assert not any(map(is_system_entry, ("cat", "_x.jpg", "thumbs", "n02084071", "macosx")))
    assert list(filter(is_photo_name, ("a.JPG", "b.jfif", "._a.jpg", "c.txt", "jpg"))) == [
        "a.JPG",
        "b.jfif",
    ]


@pytest.mark.fuzz
@settings(
    max_examples=examples(300),
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    name=st.lists(
        st.sampled_from(["a", "b.jpg", "..", ".", "/", "\\", "%2e", "%5C", "%2f", "C:", "\0", "é"])
        | st.text(max_size=3),
        max_size=7,
    ).map("".join)
)
def test_any_name_is_a_file_within_or_none(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "inner"
    touch(inner, "a/b.jpg", "b.jpg", "ab.jpg")
    touch(tmp_path, "b.jpg", "a")
    found = PhotoFolder(inner).find(name)
    if found is not None:
        assert found.is_file() and found.resolve().is_relative_to(inner)
