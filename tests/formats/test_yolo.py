"""YOLO's data sets as people have them, and what is ignored in them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from layout_folders import (
    BOX,
    POLYGON,
    no_report,
    yolo,
)
from ovsam.data.check import check
from ovsam.data.dataset import read_data_set
from ovsam.errors import AnnotationError
from ovsam.formats.layouts import Split, list_photos, read_annotated
from photo_folder import HEIGHT, WIDTH, rectangle, write_photo


def test_yolo_is_read(tmp_path: Path) -> None:
    file = yolo(
        tmp_path / "set", train_a=f"{POLYGON}\n\n{BOX}\n", train_b="", val_c=POLYGON, val_d=None
    )
    for path in (file, file.parent):
        found = check(path)
        assert (found.layout, found.photos, found.unlabelled) == ("YOLO, train, val", 4, 2)
        assert found.instances == {"coffee mug": 2, "cat": 1}
        assert (found.classes, found.without_mask) == (("cat", "coffee mug"), 1)
        assert found.problems == []
        assert found.ignored == {"photos without a label file: nothing is marked on them": 1}
    first, *_ = list_photos(file, None, no_report).photos
    mug, cat = first.instances
    assert mug.box_xyxy == pytest.approx((9, 12, 45, 48))
    assert np.array_equal(
        mug.mask((HEIGHT, WIDTH)), rectangle(9, 12, 45, 48, size_hw=(HEIGHT, WIDTH))
    )
    assert (cat.category, cat.segmentation) == ("cat", None)
    assert cat.box_xyxy == pytest.approx((36, 18, 54, 42))


@pytest.mark.parametrize(
    ("split", "names"), [("train", ["a", "b"]), ("val", ["c"]), (None, ["a", "b", "c"])]
)
def test_each_command_takes_its_part(tmp_path: Path, split: Split | None, names: list[str]) -> None:
    file = yolo(tmp_path / "set", train_a=POLYGON, train_b=POLYGON, val_c=POLYGON)
    listing = list_photos(file, None, no_report, split)
    assert [photo.path.stem for photo in listing.photos] == names
    annotations, _ = read_annotated(file, None)
    assert [photo.file_name for photo in annotations.photos] == ["c.jpg"]
    assert len(read_data_set(file)) == 2
    for folder, count in (("images/train", 2), ("images/val", 1)):
        assert len(read_data_set(file.parent / folder)) == count
        assert check(file.parent / folder).layout == "YOLO"
    file.write_text("train: images/train\nnames: [cat, mug]\n")
    assert len(read_annotated(file, None)[0].photos) == 2
    file.write_text("train: images/train\ntest: images/val\nnames: [cat, mug]\n")
    with pytest.raises(AnnotationError, match=r"lists train, test, and not val\. Give the folder"):
        read_annotated(file, None)


@pytest.mark.parametrize(
    "content",
    [
        "path: .\ntrain: images/train\nnames: [cat, coffee mug]\n",
        "path: /content/set\ntrain: images/train\nnames: [cat, coffee mug]\nnc: 2\n",
        "path: ../set\ntrain: [images/train]\nval:\nnames: {0: cat, 1: coffee mug}\n",
        "train: ../images/train\nnames: ['cat', 'coffee mug']\n",  # Roboflow
        "train: images\\train\nnames: ['cat', 'coffee mug']\n",
        "train: train.txt\nnames: ['cat', 'coffee mug']\n",
        "names: ['cat', 'coffee mug']\n",
    ],
)
def test_how_a_data_yaml_may_name_its_photos(tmp_path: Path, content: str) -> None:
    file = yolo(tmp_path / "set", content, train_a=POLYGON)
    (tmp_path / "set/train.txt").write_text("./images/train/a.jpg\n")
    found = check(file)
    assert (found.photos, found.instances, found.problems) == (1, {"coffee mug": 1}, [])


def test_photos_that_a_list_names(tmp_path: Path) -> None:
    file = yolo(tmp_path / "set", "val: val.txt\nnames: [cat, mug]\n", val_a=POLYGON, val_b="")
    write_photo(tmp_path / "outside.jpg")
    lines = ("/home/me/set/images/val/a.jpg", "C:\\set\\images\\val\\b.jpg", "../outside.jpg", "./")
    (tmp_path / "set/val.txt").write_text("\n".join(lines))
    found = check(file)
    assert found.photos == 2
    outside, folder = found.problems
    assert "Line 3 of" in outside and "'../outside.jpg', which is not there" in outside
    assert "Line 4 of" in folder and "'./', which is not there" in folder


def test_other_places_of_labels(tmp_path: Path) -> None:
    roboflow = tmp_path / "roboflow"
    write_photo(roboflow / "valid/images/a.jpg")
    (roboflow / "valid/labels").mkdir()
    (roboflow / "valid/labels/a.txt").write_text(POLYGON)
    (roboflow / "data.yaml").write_text("val: ../valid/images\nnames: [cat, mug]\n")
    flat = tmp_path / "flat"
    write_photo(flat / "a.jpg")
    (flat / "a.txt").write_text(POLYGON)
    (flat / "classes.txt").write_text("cat\nmug\n")
    for path in (roboflow, roboflow / "valid", roboflow / "valid/images", flat):
        found = check(path)
        assert (found.photos, found.instances, found.problems) == (1, {"mug": 1}, []), path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.2 0.4", "has the class 2, which is not listed: there are 2 names"),
        ("-1 0.5 0.5 0.2 0.4", "has the class -1, which is not listed"),
        ("0.5 0.5 0.5 0.2 0.4", "must begin with the number of a class"),
        ("nan 0.5 0.5 0.2 0.4", "must begin with the number of a class"),
        ("cat 0.5 0.5 0.2 0.4", "must have numbers"),
        ("0 0.5 0.5 0.2", "a box .4 numbers. or a polygon"),
        ("0 0.5 0.5 0.2 0.4 0.9", "got 6 numbers"),
        ("0", "got 1 numbers"),
        ("0 1 2 40 30", "must have shares of the photo from 0 to 1"),
        ("0 nan 0.5 0.2 0.4", "must have shares of the photo"),
        ("0 -0.1 0.5 0.2 0.4", "must have shares of the photo"),
        ("0 0.5 0.5 0 0.4", "encloses nothing"),
        ("0 0.1 0.1 0.5 0.1 0.9 0.1", "encloses nothing"),
    ],
)
def test_a_bad_line_is_named_and_left_out(tmp_path: Path, line: str, message: str) -> None:
    file = yolo(tmp_path / "set", train_a=f"{POLYGON}\n{line}\n")
    shutil.rmtree(tmp_path / "set/images/val", ignore_errors=True)
    file.write_text("train: images/train\nnames: [cat, coffee mug]\n")
    found = check(file)
    assert found.instances == {"coffee mug": 1}
    [problem] = found.problems
    assert re.search(f"Line 2 of .*a.txt' .*{message}", problem)
    assert problem.endswith(".")
    with pytest.raises(AnnotationError, match=message):
        read_annotated(file, None)


def test_key_points_are_boxes(tmp_path: Path) -> None:
    content = "kpt_shape: [2, 3]\ntrain: images/train\nnames: [cat]\n"
    file = yolo(tmp_path / "set", content, train_a=f"{BOX} 0.4 0.4 2 0.6 0.6 1\n")
    [photo] = list_photos(file, None, no_report).photos
    [one] = photo.instances
    assert one.box_xyxy == pytest.approx((36, 18, 54, 42))
    assert one.segmentation is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("names: [cat\n", "no YAML that ovsam reads"),
        ("train: images\n", "must have the class names as 'names'"),
        ("- a\n", "must have the class names as 'names'"),
        ("names: []\n", "must have a list of texts"),
        ("names: cat\n", "must have a list of texts"),
        ("names: [[cat]]\n", "a name that is none"),
        ("names: {a: cat}\n", "must number its names from 0, got 'a'"),
        ("names: [cat, dog]\nnc: 3\n", "has 2 names, but says that there are '3'"),
        ("names: ['']\n", "a name that is none"),
        ("a: &a [x]\nb: &b [*a, *a]\nnames: [*b, *b]\n", "it has aliases"),
        ("names: " + "[" * 5000, "no YAML that ovsam reads"),
    ],
)
def test_a_data_yaml_that_is_none(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(content)
    with pytest.raises(AnnotationError, match=message) as caught:
        check(file)
    text = str(caught.value)
    assert "data.yaml" in text and "\n" not in text and text.endswith(".")


def test_no_tag_of_yaml_is_obeyed(tmp_path: Path) -> None:
    made = tmp_path / "made"
    content = f"names: !!python/object/apply:os.mkdir ['{made}']\ntrain: images/train\n"
    assert check(yolo(tmp_path / "set", content, train_a="")).classes == (str(made),)
    assert not made.exists()


def test_texts_stay_texts(tmp_path: Path) -> None:
    file = yolo(tmp_path, "train: images/train\nnames: [no, on, 1, 1.50, ~, null]\n", train_a="")
    assert check(file).classes == ("no", "on", "1", "1.50", "~", "null")


def test_label_files_without_a_photo_are_counted(tmp_path: Path) -> None:
    file = yolo(tmp_path / "set", train_a=POLYGON, val_b=POLYGON)
    (file.parent / "labels/val/gone.txt").write_text(POLYGON)
    (file.parent / "labels/val/classes.txt").write_text("cat\n")
    (file.parent / "labels/val/._b.txt").write_text("x")
    (file.parent / "images/val/._b.jpg").write_text("x")
    found = check(file)
    assert (found.photos, found.problems) == (2, [])
    assert found.ignored == {
        "label files without a photo that is listed": 1,
        "hidden files and folders, and those of a system": 1,
    }
