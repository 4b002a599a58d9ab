"""Results that mean other photos, boxes or classes than they say: which sentence tells."""

from __future__ import annotations

from typing import Any

import pytest

from ovsam.formats.coco_results import parse_detections
from ovsam.formats.ground_truth import GroundTruth, parse_ground_truth

# On each photo one object in another corner, of another class.
BOXES = ([0, 0, 20, 20], [40, 0, 20, 20], [0, 40, 20, 20], [40, 40, 20, 20])
FIRST = 10  # the id of the first photo


def truth(
    first: int = FIRST, names: str = "abcd", classes: tuple[int, ...] = (1, 2, 4, 7), **more: Any
) -> GroundTruth:
    return parse_ground_truth(
        {
            "images": [
                {"id": first + i, "file_name": f"val/{name}.jpg", "width": 60, "height": 60}
                for i, name in enumerate(names)
            ],
            "categories": [{"id": number, "name": f"class {number}"} for number in classes],
            "annotations": [
                {
                    "id": i,
                    "image_id": first + i,
                    "category_id": classes[i % len(classes)],
                    "bbox": box,
                    "segmentation": [[0, 0, 9, 0, 9, 9]],
                    **more,
                }
                for i, box in enumerate(BOXES)
            ],
        },
        "truth.json",
    )


def results(
    *ids: Any, classes: tuple[int, ...] = (1, 2, 4, 7), **more: Any
) -> list[dict[str, Any]]:
    """The right box of each photo, and one that is none with a lower score."""
    rows = [
        {"image_id": photo, "category_id": classes[i % len(classes)], "bbox": box, "score": 0.9}
        for i, (photo, box) in enumerate(zip(ids, BOXES, strict=False))
    ]
    rows += [{**row, "bbox": [25, 25, 10, 10], "score": 0.2} for row in rows]
    return [{**row, **more} for row in rows]


RIGHT = (FIRST, FIRST + 1, FIRST + 2, FIRST + 3)


def test_what_fits_is_not_warned_of() -> None:
    assert parse_detections(results(*RIGHT), truth()).warnings == ()
    assert parse_detections(results(*RIGHT[:1]), truth()).warnings == ()
    assert parse_detections(results("a", "b", "c", "d"), truth()).warnings == ()


def test_the_numbers_of_the_files_in_place_of_ids() -> None:
    numbered = truth(first=0, names="1234")
    [said] = parse_detections(results(1, 2, 3), numbered, "r.json").warnings
    assert said == (
        "The boxes of 'r.json' seem to be of other photos than their image_id say: the best box "
        "lies on an object in 0 of 3 photos, but in 3 of 3 if image_id is the number in the name "
        "of the photo's file, as Ultralytics writes it. Give results with each photo's "
        "'file_name', or with the ids of 'truth.json'."
    )


def test_one_photo_explains_nothing() -> None:
    """Its box would lie on an object were the id one less, but two photos must say so."""
    assert parse_detections(results(FIRST + 1), truth()).warnings == ()
    assert len(parse_detections(results(FIRST + 1, FIRST + 2), truth()).warnings) == 1


def test_numbers_that_are_not_all_ids_are_those_of_files() -> None:
    """4 is no id, and all are numbers of files."""
    numbered = truth(first=0, names="1234")
    found = parse_detections(results(1, 2, 3, 4), numbered, "r.json")
    assert [(i, one[0].box_xyxy[:2]) for i, one in found.by_photo.items()] == [
        (0, (0, 0)),
        (1, (40, 0)),
        (2, (0, 40)),
        (3, (40, 40)),
    ]
    [said] = found.warnings
    assert said.startswith("The image_id of 'r.json' are not all ids of 'truth.json', but each is")


@pytest.mark.parametrize(
    ("ids", "reading"),
    [
        ((11, 12, 13), "is one more than the id"),
        ((None, 10, 11, 12), "is one less than the id"),
    ],
)
def test_ids_that_are_shifted(ids: tuple[int | None, ...], reading: str) -> None:
    rows = [row for row in results(*ids) if row["image_id"] is not None]
    [said] = parse_detections(rows, truth()).warnings
    assert "seem to be of other photos" in said
    assert f"if image_id {reading}. Give" in said


@pytest.mark.parametrize(("first", "start"), [(0, 0), (1, 1)])
def test_places_in_the_file_in_place_of_ids(first: int, start: int) -> None:
    """The ids are those of the places in another order."""
    what = truth(first=first)
    rows = [
        {"id": p.id, "file_name": p.file_name, "width": 60, "height": 60}
        for p in reversed(what.annotations.photos)
    ]
    content = {
        "images": rows,
        "categories": [{"id": 1, "name": "x"}],
        "annotations": [
            {
                "id": i,
                "image_id": row["id"],
                "category_id": 1,
                "bbox": BOXES[i],
                "segmentation": [[0, 0, 9, 0, 9, 9]],
            }
            for i, row in enumerate(rows)
        ],
    }
    found = results(*(start + i for i in range(4)), classes=(1,))
    [said] = parse_detections(found, parse_ground_truth(content)).warnings
    assert (
        f"in 0 of 4 photos, but in 4 of 4 if image_id counts the photos of the file from {start}"
        in said
    )


def test_a_name_is_believed() -> None:
    """Wrong boxes of photos with names are the detector's own."""
    rows = [
        {**row, "image_id": 99, "file_name": f"{name}.jpg"}
        for row, name in zip(results(*RIGHT), "bcda" * 2, strict=True)
    ]
    assert parse_detections(rows, truth()).warnings == ()


@pytest.mark.parametrize(
    ("written", "reading"),
    [
        (([1, 1, 20, 20], [30, 1, 50, 20], [1, 30, 20, 50]), "two corners x0, y0, x1, y1"),
        (([10, 10, 20, 20], [50, 10, 20, 20], [10, 50, 20, 20]), "centre x, centre y, width"),
    ],
)
def test_boxes_that_are_written_otherwise(written: Any, reading: str) -> None:
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 99, "height": 99} for i in range(3)],
        "categories": [{"id": 1, "name": "x"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": box, "segmentation": [[0] * 6]}
            for i, box in enumerate(
                BOXES[:3]
                if "centre" in reading
                else ([1, 1, 19, 19], [30, 1, 20, 19], [1, 30, 19, 20])
            )
        ],
    }
    rows = [
        {"image_id": i, "category_id": 1, "bbox": box, "score": 0.5}
        for i, box in enumerate(written)
    ]
    [said] = parse_detections(rows, parse_ground_truth(content)).warnings
    assert f"seem to be written as {reading}" in said


@pytest.mark.parametrize(
    ("has", "written", "reading"),
    [
        ((0, 1, 2, 3), (1, 2, 3), "is one more than the id"),
        ((1, 2, 3, 4), (None, 1, 2, 3), "is one less than the id, counted from 0"),
        ((1, 2, 4, 7), (None, 1, 2, None), "counts the classes in the order of their ids from 0"),
        ((2, 3, 1, 4), (2, 3, 1, 4), None),
        ((1, 3, 4, 2), (2, 1, 3), None),
    ],
)
def test_classes_that_are_shifted(
    has: tuple[int, ...], written: tuple[int | None, ...], reading: str | None
) -> None:
    rows = [
        {"image_id": FIRST + i, "category_id": number, "bbox": BOXES[i], "score": 0.5}
        for i, number in enumerate(written)
        if number is not None
    ]
    warnings = parse_detections(rows, truth(classes=has)).warnings
    if reading is None:
        assert warnings == ()
    else:
        [said] = warnings
        assert "seem to be of other classes than their category_id say" in said
        assert f"if category_id {reading}. Give" in said


def test_nothing_that_fits_is_said_without_a_reading() -> None:
    many = [{"id": i, "file_name": f"x{i}.jpg", "width": 60, "height": 60} for i in range(6)]
    notes = [
        {
            "id": i,
            "image_id": i,
            "category_id": 1,
            "bbox": [0, 0, 9, 9],
            "segmentation": [[0, 0, 9, 0, 9, 9]],
        }
        for i in range(6)
    ]
    content = {"images": many, "annotations": notes, "categories": [{"id": 1, "name": "x"}]}
    rows = [
        {"image_id": i, "category_id": 1, "bbox": [40, 40, 9, 9], "score": 0.5} for i in range(6)
    ]
    [said] = parse_detections(rows, parse_ground_truth(content, "t.json"), "r.json").warnings
    assert said == (
        "The best box of none of 6 photos of 'r.json' lies on an object of 't.json': check that "
        "both are of the same photos."
    )
    assert parse_detections(rows[:4], parse_ground_truth(content)).warnings == (), "a poor detector"
