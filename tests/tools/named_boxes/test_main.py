"""From photos to a COCO file of named boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tools.named_boxes import __main__ as named_boxes
from tools.named_boxes.detector import Detection, Detector


class ViewDetector(Detector):
    """Finds a dog of the given box in every view, and notes the views."""

    def __init__(self, name: str = "dog") -> None:
        self.name = name
        self.views: list[tuple[Sequence[int], bool]] = []
        self.colours: set[tuple[int, ...]] = set()

    def detect(
        self,
        photo: NDArray[np.uint8],
        crop_xyxy: Sequence[int],
        mirrored: bool = False,
        least: float = 0.35,  # noqa: ARG002
    ) -> list[Detection]:
        self.views.append((list(crop_xyxy), mirrored))
        self.colours.add(tuple(photo[0, 0].tolist()))
        return [Detection(self.name, 0.6, np.array([10.04, 20, 30, 40.5]))]


def write_photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (200, 100), (255, 0, 0)).save(path)
    return path


def test_a_photo_is_seen_whole_mirrored_and_in_four_crops(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "photos" / "1.png")
    detector = ViewDetector()
    content = named_boxes.annotated(
        lambda photo, _: named_boxes.believed(detector, photo, None), tmp_path, [path]
    )
    assert detector.views == [
        ([0, 0, 200, 100], False),
        ([0, 0, 200, 100], True),
        ([0, 0, 120, 60], False),
        ([0, 40, 120, 100], False),
        ([80, 0, 200, 60], False),
        ([80, 40, 200, 100], False),
    ]
    assert detector.colours == {(0, 0, 255)}  # red last
    assert content["images"] == [
        {"id": 1, "file_name": "photos/1.png", "width": 200, "height": 100}
    ]
    assert content["annotations"] == [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 17,
            "bbox": [10.0, 20.0, 30.0, 40.5],
            "area": 1215.0,
            "iscrowd": 0,
        }
    ]
    assert content["categories"][16] == {"id": 17, "name": "dog"}


@pytest.mark.parametrize(
    ("found", "names", "kept"),
    [
        ("dog", {"dog", "beagle"}, True),
        ("dog", {"goldfish"}, False),
        ("dog", set(), False),
        ("beagle", {"beagle"}, False),  # no class of COCO
    ],
)
def test_a_photo_of_one_object_has_its_names_and_no_crops(
    found: str, names: set[str], kept: bool, tmp_path: Path
) -> None:
    path = write_photo(tmp_path / "1.png")
    detector = ViewDetector(found)
    content = named_boxes.annotated(
        lambda photo, _: named_boxes.believed(detector, photo, names), tmp_path, [path]
    )
    assert len(detector.views) == 2
    assert len(content["images"]) == len(content["annotations"]) == kept


def test_photos_of_a_set(tmp_path: Path) -> None:
    for name in ("b/0899.png", "a/0900.JPG", "a/0901.png"):
        write_photo(tmp_path / name)
    (tmp_path / "a/0001.txt").touch()
    photo_set = named_boxes.PhotoSet("unused", last="0900")
    assert named_boxes.photo_paths(tmp_path, photo_set) == {
        tmp_path / "a/0900.JPG": None,
        tmp_path / "b/0899.png": None,
    }


def test_photos_of_known_objects_have_names(tmp_path: Path) -> None:
    for i in range(1000):
        (tmp_path / f"n{i:08}").mkdir()
    beagle = write_photo(tmp_path / "n00000162" / "beagle.png")  # ImageNet-1k's class 162
    photo_set = named_boxes.PhotoSet("unused", vocabulary="imagenet1k")
    assert named_boxes.photo_paths(tmp_path, photo_set) == {beagle: {"beagle", "dog"}}
