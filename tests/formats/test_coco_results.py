"""COCO results of a detector: what is read, and what is refused with which sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from ovsam.errors import AnnotationError
from ovsam.formats.coco_results import (
    BoxResult,
    Detection,
    parse_detections,
    read_detections,
    results_to_json,
)
from ovsam.formats.ground_truth import parse_ground_truth, read_ground_truth

CONTENT: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "val/a.jpg", "width": 60, "height": 40},
        {"id": 8, "file_name": "val/b.jpg", "width": 60, "height": 40},
        {"id": 9, "file_name": "train/b.jpg", "width": 60, "height": 40},
    ],
    "annotations": [],
    "categories": [{"id": 3, "name": "cat"}, {"id": 18, "name": "dog"}],
}
TRUTH = parse_ground_truth(CONTENT, "truth.json")
ROW: dict[str, Any] = {"image_id": 7, "category_id": 18, "bbox": [10, 5, 20, 10.5], "score": 0.5}
PHOTO_ID = "it must be the id of a photo, or as a text the name of its file without suffix."
CLASS_ID = "its ids are whole numbers from 3 to 18."
DETECTION = Detection(7, 18, (10, 5, 30, 15.5), 0.5)


def test_boxes_by_photo_in_the_files_order() -> None:
    rows = [ROW, {**ROW, "image_id": 8}, {**ROW, "score": 1, "category_id": 3}]
    assert parse_detections(rows, TRUTH).by_photo == {
        7: [DETECTION, Detection(7, 3, (10, 5, 30, 15.5), 1.0)],
        8: [Detection(8, 18, (10, 5, 30, 15.5), 0.5)],
    }
    assert parse_detections([], TRUTH).by_photo == {}


def test_what_else_detectors_write_is_not_looked_at() -> None:
    row = {**ROW, "segmentation": {"size": [1, 1], "counts": "?"}, "id": 4, "area": "?"}
    assert parse_detections([row], TRUTH).by_photo == {7: [DETECTION]}


def test_a_box_that_sticks_out_is_cut() -> None:
    found = parse_detections([{**ROW, "bbox": [-5, 30, 100, 30]}], TRUTH).by_photo
    assert found[7][0].box_xyxy == (0, 30, 60, 40)


def test_boxes_in_another_format_are_told() -> None:
    shares = [{**ROW, "bbox": [0.1, 0.2, 0.5, 1.0]}, {**ROW, "bbox": [0, 0, 1, 1]}]
    with pytest.raises(AnnotationError, match=r"All boxes of 'results' .* shares of the photo"):
        parse_detections(shares, TRUTH)
    found = parse_detections([*shares, ROW], TRUTH)
    assert len(found.by_photo[7]) == 3
    assert not found.warnings
    corners = [{**ROW, "bbox": [30, 20, 50, 35]}, ROW, ROW]
    [warning] = parse_detections(corners, TRUTH).warnings
    assert warning.startswith("1 of the 3 boxes of 'results' stick out of their photo")
    assert not parse_detections([*corners, ROW], TRUTH).warnings  # one in four may


@pytest.mark.parametrize(
    "change",
    [
        {"image_id": "a"},
        {"image_id": "a.jpg"},
        {"image_id": "val/a.jpg"},
        {"file_name": "a.jpg"},
        {"image_id": 8, "file_name": "a.jpg"},  # the name decides
        {"image_id": 1, "file_name": "a.jpg"},
        {"image_id": 9, "file_name": "val/a.jpg"},
        {"image_id": None, "file_name": "D:\\val\\a.jpg"},
        {"file_name": None},
    ],
)
def test_a_photo_is_known_by_its_name(change: dict[str, Any]) -> None:
    assert parse_detections([{**ROW, **change}], TRUTH).by_photo == {7: [DETECTION]}


def test_a_name_that_two_photos_have_needs_its_folder_or_the_id() -> None:
    for change in ({"file_name": "val/b.jpg"}, {"image_id": 8, "file_name": "b.jpg"}):
        assert list(parse_detections([{**ROW, **change}], TRUTH).by_photo) == [8]
    with pytest.raises(AnnotationError, match=r"image_id 7 and the file_name 'b\.jpg', but that"):
        parse_detections([{**ROW, "file_name": "b.jpg"}], TRUTH)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image_id": 1},
            "has the image_id 1, which 'truth.json' does not list: " + PHOTO_ID,
        ),
        (
            {"image_id": "c"},
            "has the image_id 'c', which 'truth.json' does not list: " + PHOTO_ID,
        ),
        (
            {"image_id": "b"},
            "has the image_id 'b', which 'truth.json' does not list: " + PHOTO_ID,
        ),
        (
            {"image_id": 7.0},
            "has the image_id 7.0, which 'truth.json' does not list: " + PHOTO_ID,
        ),
        (
            {"image_id": [7]},
            "has the image_id [7], which 'truth.json' does not list: " + PHOTO_ID,
        ),
        (
            {"file_name": "b.jpg"},  # which two photos have
            "has the image_id 7 and the file_name 'b.jpg', but that photo is 'val/a.jpg' in "
            "'truth.json'.",
        ),
        (
            {"file_name": "c.jpg"},
            "has the image_id 7 and the file_name 'c.jpg', but that photo is 'val/a.jpg' in "
            "'truth.json'.",
        ),
        (
            {"category_id": 1},
            "has the category_id 1, which 'truth.json' does not list; " + CLASS_ID,
        ),
        (
            {"category_id": None},
            "has the category_id None, which 'truth.json' does not list; " + CLASS_ID,
        ),
        ({"score": 1.01}, "must have a score from 0 to 1, got 1.01."),
        ({"score": -0.1}, "must have a score from 0 to 1, got -0.1."),
        ({"score": math.nan}, "must have a score from 0 to 1, got nan."),
        ({"score": "high"}, "must have a score from 0 to 1, got 'high'."),
        ({"score": True}, "must have a score from 0 to 1, got True."),
        (
            {"bbox": [1, 2, 3]},
            "must have a bbox of four numbers x, y, width, height, got [1, 2, 3].",
        ),
        (
            {"bbox": [1, 2, 3, "4"]},
            "must have a bbox of four numbers x, y, width, height, got [1, 2, 3, '4'].",
        ),
        (
            {"bbox": [1, math.nan, 3, 4]},
            "must have finite numbers as bbox, got [1, nan, 3, 4].",
        ),
        (
            {"bbox": [1, 2, math.inf, 4]},
            "must have finite numbers as bbox, got [1, 2, inf, 4].",
        ),
        (
            {"bbox": [1, 2, 3, 0]},
            "must have a bbox x, y, width, height of some size, got [1, 2, 3, 0].",
        ),
        (
            {"bbox": [1, 2, -3, 4]},
            "must have a bbox x, y, width, height of some size, got [1, 2, -3, 4].",
        ),
        (
            {"bbox": [60, 2, 3, 4]},
            "has the bbox [60, 2, 3, 4] (x, y, width, height), which lies outside of its photo of "
            "60 x 40 pixels.",
        ),
    ],
)
def test_a_faulty_entry_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnotationError) as caught:
        parse_detections([ROW, {**ROW, **change}], TRUTH, "boxes.json")
    assert str(caught.value) == (
        f"Entry 1 of 'boxes.json' {message} Correct the entry or take it out, or give the "
        "annotations that the detector was asked with."
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"annotations": []}, "'boxes.json' must be a list of detections {image_id, category_id"),
        (None, "as COCO's results are, got null."),
        ([[1, 2]], "Entry 0 of 'boxes.json' must be an object, got a list."),
        ([{"image_id": 7, "bbox": [1, 2, 3, 4]}], "lacks 'category_id' and 'score'."),
    ],
)
def test_not_a_list_of_detections(content: object, message: str) -> None:
    with pytest.raises(AnnotationError) as caught:
        parse_detections(content, TRUTH, "boxes.json")
    assert message in str(caught.value)


def test_files(tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text(json.dumps(CONTENT))
    truth = read_ground_truth(tmp_path / "truth.json")
    rows: list[BoxResult] = [
        {"image_id": 7, "category_id": 18, "bbox": [10, 5, 20, 10.5], "score": 0.5}
    ]
    (tmp_path / "boxes.json").write_bytes(results_to_json(rows))
    assert json.loads((tmp_path / "boxes.json").read_text()) == rows
    assert read_detections(tmp_path / "boxes.json", truth).by_photo == {7: [DETECTION]}
    assert json.loads(results_to_json([])) == []
    (tmp_path / "cut.json").write_text('[{"image_id": 7')
    for name, message in (("none.json", "Cannot read"), ("cut.json", "is not JSON")):
        with pytest.raises(AnnotationError, match=rf"{message}.*{name}|{name}.*{message}"):
            read_detections(tmp_path / name, truth)


def test_ids_and_rules() -> None:
    assert {number: c.name for number, c in TRUTH.categories.items()} == {3: "cat", 18: "dog"}
    assert sorted(TRUTH.photos) == [7, 8, 9]
    assert TRUTH.rules == "coco"
    federated = {
        **CONTENT,
        "images": [{**row, "neg_category_ids": []} for row in CONTENT["images"]],
        "categories": [{**row, "frequency": "r"} for row in CONTENT["categories"]],
    }
    assert parse_ground_truth(federated).rules == "lvis"
    assert parse_ground_truth({**federated, "categories": CONTENT["categories"]}).rules == "coco"
    assert parse_ground_truth({**federated, "images": CONTENT["images"]}).rules == "coco"
