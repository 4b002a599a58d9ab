"""SA-1B's folders, and what is ignored in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layout_folders import no_report
from ovsam.data.check import check
from ovsam.errors import AnnotationError
from ovsam.formats.layouts import list_photos
from photo_folder import write_photo


def test_what_is_ignored_beside_regions(tmp_path: Path) -> None:
    write_photo(tmp_path / "sa_1.jpg")
    write_photo(tmp_path / "sa_2.jpg")
    content = {"annotations": [{"bbox": [0, 0, 5, 5], "segmentation": [[0, 0, 5, 0, 5, 5]]}]}
    (tmp_path / "sa_1.JSON").write_text(json.dumps(content))
    for name in ("._sa_1.json", "._sa_1.jpg"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / "license.md").write_text("free")
    found = check(tmp_path)
    assert (found.layout, found.photos, found.problems) == ("SA-1B", 1, [])
    assert found.ignored == {
        "hidden files and folders, and those of a system": 2,
        "photos without a JSON file, not annotated": 1,
        "files that are no photos (.md)": 1,
    }


def test_a_list_of_photos_is_no_list_of_folders(tmp_path: Path) -> None:
    write_photo(tmp_path / "obj_train_data" / "a.jpg")
    (tmp_path / "train.txt").write_text("data/obj_train_data/a.jpg\n")
    for path in (tmp_path, tmp_path / "train.txt"):
        with pytest.raises(AnnotationError, match=r"train.txt' lists photos, as YOLO's .*'names'"):
            list_photos(path, None, no_report)
