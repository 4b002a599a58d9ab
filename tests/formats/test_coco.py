"""Reading COCO's annotation files, good and bad."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coco_rows import polygon, row
from ovsam.errors import AnnotationError
from ovsam.formats.coco import parse_annotations, read_annotations
from ovsam.formats.ground_truth import parse_ground_truth
from ovsam.vocabulary.class_lists import heading_ids
from ovsam.vocabulary.load import load_vocabulary

GOOD: dict[str, Any] = {
    "images": [
        {"id": 1, "file_name": "a.png", "width": 8, "height": 6},
        {"id": 2, "file_name": "b.png", "width": 4, "height": 4},
    ],
    "categories": [{"id": 7, "name": "cat"}],
    "annotations": [
        row(10, 1, 7, [1, 2, 3, 2], polygon(1, 2, 4, 4), iscrowd=0),
        row(11, 1, 7, [0, 0, 8, 6], {"size": [6, 8], "counts": [0, 48]}, iscrowd=1),
    ],
}


def changed(path: str, value: object) -> dict[str, Any]:
    """GOOD with one value set, or taken away when it is `...`: `annotations.0.bbox`."""
    content = copy.deepcopy(GOOD)
    *parents, key = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = content
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return content


def test_reads_instances_and_leaves_crowds_out(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(GOOD))
    annotations = read_annotations(path)
    assert [photo.size_hw for photo in annotations.photos] == [(6, 8), (4, 4)]
    [instance] = annotations.instances
    assert instance.category == "cat"
    assert instance.box_xyxy == (1, 2, 4, 4)
    assert instance.area == 6
    assert annotations.by_photo == {1: (instance,)}
    expected = np.zeros((6, 8), dtype=bool)
    expected[2:4, 1:4] = True
    assert np.array_equal(instance.mask((6, 8)), expected)


def test_box_is_at_least_one_pixel() -> None:
    annotations = parse_annotations(changed("annotations.0.bbox", [1.0, 2.0, 0.0, 0.25]))
    assert annotations.instances[0].box_xyxy == (1, 2, 2, 3)


def test_a_frequency_that_is_not_of_lvis_says_nothing() -> None:
    for value, frequency in (("r", "r"), ("rc", ""), (3, ""), ([], "")):
        annotations = parse_annotations(changed("categories.0.frequency", value))
        assert annotations.categories[0].frequency == frequency


def test_area_may_be_missing() -> None:
    annotations = parse_annotations(changed("annotations.0.area", ...))
    assert np.isnan(annotations.instances[0].area)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("images", ..., "no list of objects 'images'"),
        ("annotations", ..., "no list of objects 'annotations'"),
        ("categories", {}, "no list of objects 'categories'"),
        ("annotations", [1], "no list of objects 'annotations'"),
        ("images.0.id", ..., r"images\[0\] of 'annotations' lacks 'id'"),
        ("images.0.width", 0, "above 0"),
        ("images.0.height", "6", "whole number as 'height'"),
        ("images.0.file_name", "", "a text as 'file_name'"),
        ("images.1.id", 1, r"images\[1\] of 'annotations' repeats the id 1"),
        ("categories.0.name", None, "a text as 'name'"),
        (
            "categories.0.name",
            "  ",
            r"\(id \d+\) of 'annotations' has a name that is none, '  ': it must be plain text\. "
            r"Correct it or take it out; 'ovsam data check' lists all that is wrong\.$",
        ),
        ("categories.0.name", " _ ", "has a name that is none, ' _ '"),
        ("categories.0.synonyms", ["a\0b"], r"has a name that is none, '.*,a\\x00b': it must"),
        ("categories.0.synonyms", "puss", "a list of texts as 'synonyms', got 'puss'"),
        ("images.0.neg_category_ids", [8], "listed categories as 'neg_category_ids'"),
        ("images.0.not_exhaustive_category_ids", 7, "as 'not_exhaustive_category_ids'"),
        ("annotations.0.category_id", 8, "category 8, which is not listed"),
        ("annotations.0.image_id", 3, "photo 3, which is not listed"),
        ("annotations.0.bbox", [1, 2, 3], "four numbers"),
        ("annotations.0.bbox", [1, 2, -3, 4], "four numbers"),
        ("annotations.0.bbox", [1, 2, float("nan"), 4], "four numbers"),
        ("annotations.0.bbox", "1,2,3,4", "four numbers"),
        ("annotations.0.segmentation", None, "lacks 'bbox', and 'segmentation' to find it from"),
        ("annotations.0.segmentation", [], "lacks 'bbox', and 'segmentation' to find it from"),
        (
            "annotations.0.segmentation",
            [[1, 2]],
            r"lacks 'bbox', and A polygon must be .* 3 points",
        ),
        ("annotations.0.segmentation", {"size": [6, 8], "counts": [48]}, "mask covers no pixel"),
        ("annotations.0.area", -1, "area of 0 or more"),
        ("annotations.0.area", "6", "area of 0 or more"),
    ],
)
def test_broken_parts_are_named(path: str, value: object, message: str) -> None:
    content = changed(path, value)
    if "lacks 'bbox'" in message or "no pixel" in message:
        del content["annotations"][0]["bbox"]
    with pytest.raises(AnnotationError, match=message):
        parse_annotations(content)


@pytest.mark.parametrize("bbox", [..., None, []])
@pytest.mark.parametrize(
    ("segmentation", "box_xyxy"),
    [
        ([[1, 2, 4, 2, 4, 4.5, 1, 4]], (1, 2, 4, 4.5)),
        ([[1, 2, 4, 2, 4, 4], [0, 3, 1, 3, 1, 5]], (0, 2, 4, 5)),
        ({"size": [6, 8], "counts": [8, 2, 4, 2, 32]}, (1, 2, 3, 4)),
    ],
)
def test_a_missing_box_is_that_of_the_mask(
    bbox: object, segmentation: object, box_xyxy: tuple[float, ...]
) -> None:
    content = changed("annotations.0.bbox", bbox)
    content["annotations"][0] |= {"segmentation": segmentation, "area": None}
    [instance] = parse_annotations(content).instances
    assert instance.box_xyxy == box_xyxy
    assert np.isnan(instance.area)


@pytest.mark.parametrize(
    ("name", "synonyms"),
    [
        ("w/o helmet", ("w/o helmet",)),
        ("N/A", ("n/a",)),
        ("24/7 shop", ("24/7 shop",)),
        ("bag, paper", ("bag, paper",)),
        ("hot_or_cold", ("hot or cold",)),
        ("coffee_mug", ("coffee mug",)),
        ("!dog", ("!dog",)),
    ],
)
def test_a_name_is_one_name_and_is_not_split(name: str, synonyms: tuple[str, ...]) -> None:
    [category] = parse_annotations(changed("categories.0.name", name)).categories
    assert (category.name, category.synonyms) == (name, synonyms)


def test_synonyms_that_the_file_lists_are_names_each() -> None:
    content = changed("categories.0.synonyms", ["Puss", "cat, house", "CAT", " "])
    assert parse_annotations(content).categories[0].synonyms == ("cat", "puss", "cat, house")


@pytest.mark.parametrize("written", ["Flower/Other", "flower_or_other", "Other,flower"])
def test_a_name_of_several_parts_is_the_class_of_a_part(written: str) -> None:
    annotations = parse_annotations(changed("categories.0.name", written))
    assert annotations.names_in(load_vocabulary("flower, dog")) == {written: "flower"}


CAT = {"id": 7, "name": "cat", "supercategory": "cat"}


@pytest.mark.parametrize(
    ("others", "headings"),
    [
        ([{"id": 0, "name": "cat", "supercategory": "none"}], ("cat",)),
        ([{"id": 0, "name": "cat"}], ("cat",)),
        ([{"id": 0, "name": "Cat_"}], ("Cat_",)),
        ([{"id": 0, "name": "dog", "supercategory": "none"}], ()),
        (
            [
                {"id": 0, "name": "pets", "supercategory": "none"},
                {"id": 1, "name": "dog", "supercategory": "pets"},
            ],
            ("pets",),
        ),
        (
            [
                {"id": 0, "name": "dog", "supercategory": "dog"},  # a class, also of puppies
                {"id": 1, "name": "puppy", "supercategory": "dog"},
            ],
            (),
        ),
    ],
)
def test_a_heading_that_no_object_has_is_no_class(
    others: list[dict[str, Any]], headings: tuple[str, ...]
) -> None:
    content = changed("categories", [*others, CAT])
    found = parse_annotations(content)
    kept = [row for row in [*others, CAT] if row is CAT or row["name"] not in headings]
    assert found.headings == headings
    assert [category.name for category in found.categories] == [row["name"] for row in kept]
    assert found.category_ids == tuple(row["id"] for row in kept)
    truth = parse_ground_truth(content)
    assert {number: one.name for number, one in truth.categories.items()} == {
        row["id"]: row["name"] for row in kept
    }


def test_a_heading_that_objects_have_is_a_class() -> None:
    content = changed("categories", [{"id": 0, "name": "pets", "supercategory": "none"}, CAT])
    content["categories"][1]["supercategory"] = "pets"
    content["annotations"][1]["category_id"] = 0
    assert parse_annotations(content).headings == ()


def test_without_any_object_only_what_is_marked_is_a_heading() -> None:
    categories = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        CAT | {"supercategory": "pets"},
    ]
    assert heading_ids(categories, []) == {0}
    assert heading_ids([{"id": 0, "name": "pets"}, categories[1]], []) == frozenset()
    assert heading_ids([{"id": 0, "name": "pets"}, categories[1]], [{"category_id": 7}]) == {0}


@pytest.mark.parametrize(
    ("bbox", "side", "warned"),
    [
        ([0.2, 0.3, 0.5, 0.25], 8, True),
        ([0, 0, 1, 1], 8, True),
        ([0.2, 0.3, 0.5, 0.25], 1, False),  # all of the photo is one pixel
        ([0.2, 0.3, 1.5, 0.25], 8, False),
        ([3, 3, 1, 1], 8, False),
        ([-1, 0, 1, 1], 8, False),
    ],
)
def test_boxes_in_shares_of_the_photo_are_warned_of(
    bbox: list[float], side: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    content = changed("annotations.0.bbox", bbox)
    content["annotations"] = content["annotations"][:1]
    content["images"] = [{"id": 1, "file_name": "a.png", "width": side, "height": side}]
    with caplog.at_level(logging.WARNING):
        parse_annotations(content, "mine.json")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == warned
    if warned:
        assert said[0].startswith("All boxes of 'mine.json' lie within one pixel")


def test_an_empty_segmentation_means_a_box_alone() -> None:
    annotations = parse_annotations(changed("annotations.0.segmentation", []))
    assert annotations.instances[0].segmentation is None


def test_malformed_segmentation_names_the_annotation() -> None:
    annotations = parse_annotations(changed("annotations.0.segmentation", "x"))
    with pytest.raises(AnnotationError, match="Annotation 10: "):
        annotations.instances[0].mask((6, 8))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"is not JSON that can be read \(Expecting value"),
        (b'{"images": [', r"is not JSON that can be read \(Expecting value"),
        (b"\xff\xfe\x00", r"is not JSON that can be read \(it holds null bytes"),
        (b"[" * 100_000, r"is not JSON that can be read \(it is nested too deeply"),
        (b"[]", "has no list of objects 'images'"),
    ],
    ids=["empty", "cut short", "no text", "deep", "a list"],
)
def test_broken_files(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "instances.json"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=reason):
        read_annotations(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(AnnotationError, match="Cannot read the annotations"):
            read_annotations(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
PATHS = [
    *("images", "images.0", "images.0.id", "images.0.width", "images.0.neg_category_ids"),
    *("categories", "categories.0", "categories.0.synonyms", "categories.0.frequency"),
    *("annotations", "annotations.0", "annotations.0.bbox", "annotations.0.area"),
]


@given(st.sampled_from(PATHS), json_values)
def test_any_value_is_read_or_refused(path: str, value: object) -> None:
    try:
        parse_annotations(changed(path, value))
    except AnnotationError as error:
        assert str(error)
