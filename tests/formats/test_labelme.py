"""LabelMe's folders as people have them, and what is ignored in them."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layout_folders import (
    labelme,
    masks_of,
    no_report,
    png,
    shape,
)
from ovsam.data.check import check
from ovsam.errors import AnnotationError
from ovsam.formats.layouts import list_photos, read_annotated
from ovsam.images.read import read_photo
from photo_folder import HEIGHT, WIDTH, rectangle, write_photo


def test_labelme_is_read(tmp_path: Path) -> None:
    labelme(tmp_path / "a.json", shape(), shape("tea pot", [[0, 0], [5, 0], [5, 5]]))
    labelme(tmp_path / "b.json")
    found = check(tmp_path)
    assert (found.layout, found.photos, found.unlabelled) == ("LabelMe", 2, 1)
    assert found.instances == {"cup": 1, "tea pot": 1}
    assert (found.classes, found.problems, dict(found.ignored)) == (("cup", "tea pot"), [], {})
    assert found.sizes == {"small": 2}, "by the mask, where no area is given"
    [[(_, cup), _], []] = masks_of(tmp_path)
    assert np.array_equal(cup, rectangle(10, 20, 30, 50, size_hw=(HEIGHT, WIDTH)))


@pytest.mark.parametrize(
    ("drawn", "box"),
    [
        (shape(shape_type="rectangle", points=[[30, 50], [10, 20]]), (10, 20, 30, 50)),
        (shape(shape_type="rectangle"), (10, 20, 30, 50)),  # X-AnyLabeling: four corners
        (shape(shape_type="circle", points=[[20, 30], [20, 40]]), (10, 20, 30, 40)),
        (shape(shape_type=None), (10, 20, 30, 50)),
        (
            shape(
                shape_type="mask",
                points=[[10, 20], [29, 49]],
                mask=png(np.ones((30, 20), np.uint8)),
            ),
            (10, 20, 30, 50),
        ),
        (
            shape(shape_type="mask", points=[[10, 20], [29, 49]], mask=png(np.ones((30, 20)) > 0)),
            (10, 20, 30, 50),
        ),
        (shape(points=[[-5, 20], [30, 20], [30, 70], [-5, 70]]), (0, 20, 30, 60)),
    ],
)
def test_shapes_of_labelme(tmp_path: Path, drawn: dict[str, Any], box: tuple[int, ...]) -> None:
    labelme(tmp_path / "a.json", drawn)
    [photo] = list_photos(tmp_path, None, no_report).photos
    [one] = photo.instances
    assert one.box_xyxy == pytest.approx(box, abs=0.05)
    mask = one.mask((HEIGHT, WIDTH))
    if drawn["shape_type"] == "circle":
        assert abs(mask.sum() - 314) < 12
    else:
        x0, y0, x1, y1 = box
        assert np.array_equal(mask, rectangle(x0, y0, x1, y1, size_hw=(HEIGHT, WIDTH)))


def test_shapes_of_a_group_are_one_object(tmp_path: Path) -> None:
    right = [[40, 20], [60, 20], [60, 50], [40, 50]]
    brush = {"shape_type": "mask", "points": [[40, 20], [59, 49]]}
    brush["mask"] = png(np.ones((30, 20), np.uint8))
    for second in (shape(points=right, group_id=1), shape(group_id=1) | brush):
        labelme(
            tmp_path / "a.json",
            shape(group_id=1),
            second,
            shape("saucer", right, group_id=1),
            shape(group_id=2),
        )
        [[(name, both), (other, _), (third, _)]] = masks_of(tmp_path)
        assert (name, other, third) == ("cup", "saucer", "cup")
        assert both.sum() == 2 * 20 * 30


def test_shapes_that_are_no_objects_are_counted(tmp_path: Path) -> None:
    labelme(
        tmp_path / "a.json",
        shape(),
        shape(shape_type="line", points=[[1, 1], [5, 5]]),
        shape(shape_type="point", points=[[1, 1]]),
        shape("__ignore__"),
    )
    found = check(tmp_path)
    assert (found.instances, found.problems) == ({"cup": 1}, [])
    assert found.ignored == {
        "shapes that enclose nothing (line)": 1,
        "shapes that enclose nothing (point)": 1,
        "shapes that are called __ignore__": 1,
    }


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (7, r"shapes\[1\] of '.*a.json' must be an object, got 7"),
        (shape(label=""), "must have a text as 'label'"),
        (shape(label="a\0b"), r"shapes\[1\] of '.*a.json' has a name that is none"),
        (shape(shape_type="cuboid"), "of the unknown type 'cuboid'"),
        (shape(points=[[1, 2], [3]]), r"must have points \[x, y\]"),
        (shape(points=[[1, 2], [3, float("nan")], [4, 5]]), r"must have points \[x, y\]"),
        (shape(points=[[1, 2], [3, 4]]), "at least 3 points"),
        (shape(points=[[0, 0], [1e9, 0], [5, 5]]), "must lie on its photo"),
        (shape(points=[[200, 0], [300, 0], [300, 50]]), "encloses nothing of its photo"),
        (shape(shape_type="circle", points=[[1, 2]]), "two points as a circle"),
        (shape(shape_type="mask", points=[[1, 2], [3, 4]]), "a mask that cannot be read"),
        (shape(shape_type="mask", points=[[1, 2], [3, 4]], mask="!"), "a mask that cannot be read"),
        (
            shape(shape_type="mask", points=[[80, 2], [3, 4]], mask=png(np.ones((30, 20)) > 0)),
            "leaves its photo",
        ),
        (
            shape(shape_type="mask", points=[[1, 2], [3, 4]], mask=png(np.zeros((30, 20)) > 0)),
            "has no pixel",
        ),
    ],
)
def test_a_bad_shape_is_named_and_left_out(tmp_path: Path, bad: object, message: str) -> None:
    labelme(tmp_path / "a.json", shape(), bad)
    found = check(tmp_path)
    assert found.instances == {"cup": 1}
    [problem] = found.problems
    assert re.search(message, problem) and problem.endswith(".")
    with pytest.raises(AnnotationError, match=message):
        read_annotated(tmp_path, None)


@pytest.mark.parametrize(
    ("json_name", "photo", "named"),
    [
        ("a.json", "a.jpg", "a.jpg"),
        ("json/a.json", "images/a.jpg", "..\\images\\a.jpg"),
        ("json/a.json", "images/a.jpg", "../images/a.jpg"),
        ("a.json", "a.jpg", "C:\\Users\\me\\photos\\a.jpg"),
        ("a.json", "a.jpg", "/home/me/a.jpg"),
        ("a.json", "a.jpg", "../../outside/a.jpg"),
        ("a.json", "A.JPG", "a.jpg"),
        ("a.json", "a.png", "gone.jpg"),
        ("a.json", "a.jpg", None),
        ("train/a.json", "train/a.jpg", "a.jpg"),
    ],
)
def test_the_photo_of_a_labelme_file(
    tmp_path: Path, json_name: str, photo: str, named: str | None
) -> None:
    root = tmp_path / "set"
    write_photo(tmp_path / "outside/a.jpg", size_hw=(5, 5))
    write_photo(root / photo)
    labelme(root / json_name, shape(), photo=named)
    [listed] = list_photos(root, None, no_report).photos
    assert listed.path == root / photo


def test_photos_of_labelme_in_a_folder_of_their_own(tmp_path: Path) -> None:
    labelme(tmp_path / "json/a.json", shape(), photo="..\\..\\photos\\a.jpg")
    write_photo(tmp_path / "photos/a.jpg")
    [listed] = list_photos(tmp_path / "json", tmp_path / "photos", no_report).photos
    assert listed.path == tmp_path / "photos/a.jpg"
    [problem] = check(tmp_path / "json").problems
    assert "a.jpg' does not exist" in problem


def test_a_photo_within_labelmes_file(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").unlink()
    data = base64.b64encode(photo).decode()
    sizes = {"imageHeight": None, "imageWidth": None}
    labelme(tmp_path / "set/a.json", shape(), photo="a.png", imageData=data, **sizes)
    found = check(tmp_path / "set")
    assert (found.photos, found.problems) == (1, [])
    annotations, images = read_annotated(tmp_path / "set", None)
    assert annotations.photos[0].size_hw == (HEIGHT, WIDTH)
    [listed] = list_photos(tmp_path / "set", None, no_report).photos
    assert read_photo(listed.open()).shape == (HEIGHT, WIDTH, 3)
    from ovsam.evaluate.photos import check_photos, read_annotated_photo

    [checked] = check_photos("set", annotations.photos, images)
    assert read_annotated_photo(checked, images).shape == (HEIGHT, WIDTH, 3)
    labelme(tmp_path / "set/a.json", shape(), photo="a.png", imageData="!!!")
    [problem] = check(tmp_path / "set").problems
    assert "holds no photo as its imageData" in problem and "\n" not in problem


def test_labelmes_photos_and_files_that_do_not_belong(tmp_path: Path) -> None:
    labelme(tmp_path / "a.json", shape())
    write_photo(tmp_path / "b.jpg")
    (tmp_path / "labels.txt").write_text("cup\n")
    (tmp_path / "._a.json").write_bytes(b"\0\5\x16\7")
    (tmp_path / ".hidden").mkdir()
    labelme(tmp_path / ".hidden/c.json", shape())
    found = check(tmp_path)
    assert (found.photos, found.problems) == (1, [])
    assert found.ignored == {
        "hidden files and folders, and those of a system": 2,
        "photos without a JSON file, not annotated": 1,
        "files that are no photos (.txt)": 1,
    }


def test_labelme_in_folders_is_not_a_folder_for_each_class(tmp_path: Path) -> None:
    for part in ("train", "val"):
        labelme(tmp_path / part / f"{part}.json", shape())
    assert check(tmp_path).layout == "LabelMe"
    assert check(tmp_path / "val").photos == 1
