"""A folder or a tar file for each class, and what is ignored in them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from layout_folders import no_report
from ovsam.data.check import Contents, check
from ovsam.errors import AnnotationError
from ovsam.formats.layouts import list_photos
from photo_folder import write_photo


def classes(root: Path) -> Contents:
    for name in ("cat/a.jpg", "cup/b.jfif", ".ipynb_checkpoints/a.jpg", "bag, paper/c.JPG"):
        write_photo(root / "x.jpg")
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "x.jpg").rename(root / name)
    (root / "__MACOSX/cat").mkdir(parents=True)
    for name in ("cat/._a.jpg", "__MACOSX/cat/._a.jpg", "cat/.DS_Store", "cat/notes.txt", "x.csv"):
        (root / name).write_text("x")
    (root / "cat/more").mkdir()
    (root / "empty").mkdir()
    return check(root)


def test_what_is_ignored_beside_classes(tmp_path: Path) -> None:
    found = classes(tmp_path / "set")
    assert found.classes == ("bag, paper", "cat", "cup")
    assert (found.photos, found.problems) == (3, [])
    assert found.ignored == {
        "hidden files and folders, and those of a system": 4,
        "files that are no photos (.csv)": 1,
        "files that are no photos (.txt)": 1,
        "folders that are no part of the layout": 2,
    }
    [paper, *_] = list_photos(tmp_path / "set", None, no_report).categories
    assert paper.synonyms == ("bag, paper",)


def test_what_is_ignored_in_a_tar_file(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg")
    with tarfile.open(tmp_path / "cat.tar", "w") as archive:
        for name in ("a.JPG", "./b.jpg", "._a.jpg", "__MACOSX/a.jpg", "notes.txt"):
            archive.add(tmp_path / "a.jpg", name)
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "._cat.tar").write_text("x")
    found = check(tmp_path)
    assert (found.photos, found.classes, found.problems) == (2, ("cat",), [])
    assert found.ignored == {
        "hidden files and folders, and those of a system": 3,
        "files that are no photos (.txt)": 1,
    }


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "valid", "test"),  # Roboflow's, with an annotation file in each
        ("JPEGImages", "SegmentationClass", "SegmentationObject"),  # Pascal VOC's
        ("JPEGImages", "Visualization"),
        ("train2017", "val2017"),
        ("photos",),
    ],
)
def test_folders_of_another_layout_are_no_classes(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for folder in folders:
        write_photo(tmp_path / folder / "a.jpg")
    with pytest.raises(AnnotationError, match=r"none of the known layouts.*Give the path of one"):
        list_photos(tmp_path, None, no_report)
    (tmp_path / folders[0] / "._x.json").touch()
    (tmp_path / folders[0] / "_annotations.coco.json").touch()
    with pytest.raises(AnnotationError, match=rf"such as '.*{folders[0]}/_annotations.coco.json'"):
        list_photos(tmp_path, None, no_report)
    write_photo(tmp_path / "bus" / "a.jpg")  # a train beside other classes
    assert len(list_photos(tmp_path, None, no_report).categories) == len(folders) + 1


def named_classes(root: Path) -> None:
    """Two classes that `classes.json` names, the first with two photos, and two parts."""
    for name in ("n02/a.jpg", "n02/b.jpg", "n01/c.jpg"):
        write_photo(root / name)
    names = {"n01": "cup or mug", "n02": "bag, paper", "n03": "absent"}
    (root / "classes.json").write_text(json.dumps({"info": {}, "classes": names}))
    (root / "train.txt").write_text("n02/b.jpg\n\nn01/c.jpg\n")
    (root / "test.txt").write_text("n02/a.jpg\n")


def test_classes_that_a_json_file_names(tmp_path: Path) -> None:
    named_classes(tmp_path)
    for path, expected in (
        (tmp_path, ["n01/c.jpg", "n02/a.jpg", "n02/b.jpg"]),
        (tmp_path / "train.txt", ["n02/b.jpg", "n01/c.jpg"]),
        (tmp_path / "test.txt", ["n02/a.jpg"]),
    ):
        found = list_photos(path, None, no_report)
        called = [(each.name, each.synonyms) for each in found.categories]
        assert called == [("n01", ("cup or mug",)), ("n02", ("bag, paper",))]
        listed = found.photos.listed
        assert [str(photo.path.relative_to(tmp_path)) for photo in listed] == expected
        assert [photo.label for photo in listed] == [name[:3] for name in expected]
        assert found.ignored == {}


def test_a_list_of_photos_that_are_none_of_a_class(tmp_path: Path) -> None:
    named_classes(tmp_path)
    (tmp_path / "train.txt").write_text("n01/c.jpg\nn01/gone.jpg\n../n02/a.jpg\n")
    found = check(tmp_path / "train.txt")
    assert found.photos == 1
    assert [problem.rpartition("lists ")[2] for problem in found.problems] == [
        f"'{tmp_path}/n01/gone.jpg', which is no photo of a class.",
        f"'{tmp_path}/../n02/a.jpg', which is no photo of a class.",
    ]
    (tmp_path / "classes.json").write_text('{"classes": ["n01"]}')  # of another kind
    with pytest.raises(AnnotationError, match="lists photos, as YOLO's lists do"):
        list_photos(tmp_path / "train.txt", None, no_report)
