"""What all layouts have in common, and what evaluation takes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from layout_folders import (
    BOX,
    POLYGON,
    labelme,
    mask_folder,
    no_report,
    shape,
    yolo,
)
from ovsam.data.check import check
from ovsam.errors import AnnotationError
from ovsam.formats.layouts import list_photos, read_annotated
from photo_folder import HEIGHT, WIDTH, rectangle, write_photo


def test_annotations_are_the_same_in_all_layouts(tmp_path: Path) -> None:
    points = [[9, 12], [45, 12], [45, 48], [9, 48]]
    labelme(tmp_path / "labelme/c.json", shape("coffee mug", points))
    file = yolo(tmp_path / "yolo", train_a="", val_c=POLYGON)
    found = [read_annotated(path, None) for path in (tmp_path / "labelme", file)]
    for content, images in found:
        [photo] = content.photos
        [one] = content.instances
        assert (photo.file_name, photo.size_hw) == ("c.jpg", (HEIGHT, WIDTH))
        assert (images / photo.file_name).is_file()
        assert (one.photo_id, one.category) == (photo.id, "coffee mug")
        assert one.box_xyxy == pytest.approx((9, 12, 45, 48))
        assert one.mask(photo.size_hw).sum() == 36 * 36
        content.check_masks(content.photos)


def test_boxes_alone_are_no_masks_to_evaluate(tmp_path: Path) -> None:
    file = yolo(tmp_path / "set", train_a="", val_b=f"{POLYGON}\n{BOX}\n")
    annotations, _ = read_annotated(file, None)
    with pytest.raises(AnnotationError, match=r"A box alone is no mask.*: 1 of 2 objects here"):
        annotations.check_masks(annotations.photos)


def test_objects_are_numbered_through_a_data_set(tmp_path: Path) -> None:
    for name in "ab":
        labelme(tmp_path / f"{name}.json", shape(), shape())
    annotations, _ = read_annotated(tmp_path, None)
    assert [one.id for one in annotations.instances] == [1, 2, 3, 4]
    assert [one.photo_id for one in annotations.instances] == [1, 1, 2, 2]


def test_what_has_no_named_masks_is_not_evaluated(tmp_path: Path) -> None:
    write_photo(tmp_path / "net/cat/a.jpg")
    mask_folder(tmp_path / "masks", rectangle(1, 1, 9, 9, (HEIGHT, WIDTH)).astype(np.uint8))
    for name, lacks in (("net", "masks"), ("masks", "names")):
        with pytest.raises(AnnotationError, match=f"have no {lacks}: give a data set"):
            read_annotated(tmp_path / name, None)
    for name, message in (("none.json", "Cannot read the annotations"), ("no.yaml", "no data set")):
        with pytest.raises(AnnotationError, match=message):
            read_annotated(tmp_path / name, None)


def test_a_photo_of_coco_is_found_by_any_way_of_writing_its_name(tmp_path: Path) -> None:
    write_photo(tmp_path / "photos/images/a b.JPG")
    image = {"id": 1, "file_name": "images\\a%20b.jpg", "height": HEIGHT, "width": WIDTH}
    content = {"images": [image], "categories": [], "annotations": []}
    (tmp_path / "a.json").write_text(json.dumps(content))
    [photo] = list_photos(tmp_path / "a.json", tmp_path / "photos", no_report).photos
    assert photo.path == tmp_path / "photos/images/a b.JPG"
    from ovsam.evaluate.photos import check_photos, read_annotated_photo

    annotations, images = read_annotated(tmp_path / "a.json", tmp_path / "photos")
    [found] = check_photos("a.json", annotations.photos, images)
    assert found.file_name == "images/a b.JPG"
    assert read_annotated_photo(found, images).shape == (HEIGHT, WIDTH, 3)


def test_headings_are_said(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg")
    image = {"id": 1, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}
    categories = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "pets"},
    ]
    one = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[10, 10, 30, 10, 30, 30]]}
    content = {"images": [image], "categories": categories, "annotations": [one]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = check(tmp_path / "a.json")
    assert (found.classes, found.headings, found.problems) == (("cat",), ("pets",), [])
