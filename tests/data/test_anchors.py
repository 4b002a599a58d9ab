from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ovsam.data.anchors import Anchor, anchored_photos
from ovsam.data.dataset import read_data_set
from ovsam.errors import AnnotationError
from ovsam.geometry import decode_rle
from photo_folder import HEIGHT, WIDTH, rectangle, rle, write_folder, write_photo

PHOTO = (120, 160)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("layouts"))


def test_anchors_of_coco(root: Path) -> None:
    data_set = read_data_set(
        root / "coco_sample/annotations/instances_train2017.json",
        root / "coco_sample/train2017",
        name="coco",
    )
    photos, _ = anchored_photos(data_set, whole=lambda name: name == "bicycle")
    assert [photo.photo.path.name for photo in photos] == ["1.jpg", "2.jpg"]
    assert {photo.vocabulary for photo in photos} == {"coco"}
    person, bicycle = photos[0].anchors  # without the crowd
    assert (person.class_index, person.whole, person.box_xyxy) == (0, False, (5, 10, 25, 50))
    assert (bicycle.class_index, bicycle.whole, bicycle.box_xyxy) == (1, True, (30, 10, 50, 50))
    assert bicycle.rle is not None
    expected = rectangle(30, 10, 50, 50, size_hw=(HEIGHT, WIDTH))
    assert (decode_rle(bicycle.rle) == expected).all()


def test_anchors_have_the_box_of_their_mask(tmp_path: Path) -> None:
    """Not the annotated one; and photos on which nothing is marked are left out."""
    for name, marked in (("a", (10, 10, 30, 30)), ("b", None)):
        write_photo(tmp_path / f"{name}.jpg")
        regions = [{"bbox": [8, 9, 40, 40], "segmentation": rle(*marked)}] if marked else []
        (tmp_path / f"{name}.json").write_text(json.dumps({"annotations": regions}))
    [photo], _ = anchored_photos(read_data_set(tmp_path), whole=lambda _: False)
    [region] = photo.anchors
    assert (region.class_index, region.whole, region.box_xyxy) == (-1, False, (10, 10, 30, 30))


def test_anchors_of_labelled_photos(root: Path) -> None:
    photos, _ = anchored_photos(read_data_set(root / "imagenet_sample"))
    assert [photo.photo.label for photo in photos] == ["n01", "n02"]
    for index, photo in enumerate(photos):
        assert photo.anchors == (Anchor(None, (0, 0, WIDTH, HEIGHT), index, False),)


def test_of_a_box_without_a_mask_the_part_in_the_photo_counts(tmp_path: Path) -> None:
    """One on the very edge has none, as COCO's own files have such."""
    write_photo(tmp_path / "1.jpg", [], PHOTO)
    boxes = [[-50, 100, 60, 1e6], [PHOTO[1], 5, 0, 10], [20, 10, 30, 40]]
    described = {
        "images": [{"id": 1, "file_name": "1.jpg", "height": PHOTO[0], "width": PHOTO[1]}],
        "categories": [{"id": 3, "name": "dog"}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 3, "bbox": box} for i, box in enumerate(boxes)
        ],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(described))
    photos, _ = anchored_photos(read_data_set(tmp_path / "boxes.json", tmp_path, name="coco"))
    assert [each.box_xyxy for each in photos[0].anchors] == [(0, 100, 10, 120), (20, 10, 50, 50)]


def regions(folder: Path, count: int) -> Path:
    for i in range(count):
        write_photo(folder / f"{i:03}.jpg")
        marked = [{"bbox": [8, 9, 40, 40], "segmentation": rle(10, 10, 30, 30)}]
        (folder / f"{i:03}.json").write_text(json.dumps({"annotations": marked}))
    return folder


WRONG = {
    "no JSON": ("007.json", "{", "007.json' is not JSON"),
    "no mask": (
        "007.json",
        '{"annotations": [{"bbox": [1, 2, 3, 4], "segmentation": []}]}',
        r"007.jpg: Annotation 0: A segmentation must be",
    ),
    "no photo": ("007.jpg", "x", r"007.jpg' is not"),
}


@pytest.mark.parametrize(("file", "text", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_photo_in_a_hundred_is_left_out(
    tmp_path: Path, file: str, text: str, message: str
) -> None:
    (regions(tmp_path, 100) / file).write_text(text)
    photos, skipped = anchored_photos(read_data_set(tmp_path))
    assert [int(photo.photo.path.stem) for photo in photos] == [i for i in range(100) if i != 7]
    [one] = skipped
    assert re.search(message, f"{one.name}: {one.why}")
    (tmp_path / "008.json").write_text("")
    (tmp_path / "009.json").write_text("")
    with pytest.raises(AnnotationError, match=r"of 100 photos cannot be used, more than 1%"):
        anchored_photos(read_data_set(tmp_path))
