"""Corrective clicks on drawn masks, with a predictor whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fakes import FakePredictor
from ovsam.errors import AnnotationError
from ovsam.evaluate.clicks import ClickReport, evaluate_clicks, next_click
from ovsam.formats.annotations import Annotations
from ovsam.formats.coco import parse_annotations
from ovsam.structures import Prompt
from photo_folder import rectangle

SIZE = (40, 60)


def mask(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    return rectangle(x0, y0, x1, y1, size_hw=SIZE)


def annotated(*boxes: tuple[int, int, int, int]) -> Annotations:
    rows = [
        {
            "id": i,
            "image_id": 1,
            "category_id": 1,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
        }
        for i, (x0, y0, x1, y1) in enumerate(boxes)
    ]
    images = [{"id": 1, "file_name": "a.png", "width": SIZE[1], "height": SIZE[0]}]
    content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "cat"}]}
    return parse_annotations(content)


class Clicked(FakePredictor):
    """The union of squares of 10 pixels around positive clicks, less those around negative ones."""

    def _mask(self, size_hw: tuple[int, int], prompt: Prompt) -> NDArray[np.bool_]:
        found = np.zeros(size_hw, np.bool_)
        for label in (1, 0):
            for x, y in prompt.points_xy[prompt.point_labels == label].astype(int):
                square = mask(x - 4, y - 4, x + 6, y + 6)
                found = found | square if label else found & ~square
        return found

    def name(self, *_: object, **__: object) -> Any:
        raise AssertionError("names play no part")

    def predict(self, *_: object, **__: object) -> Any:
        raise AssertionError("names play no part")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "a.png")
    return tmp_path


def run(images: Path, annotations: Annotations, clicks: int) -> tuple[ClickReport, list[Prompt]]:
    predictor = Clicked()
    report = evaluate_clicks(predictor.as_predictor(), annotations, images, clicks=clicks)
    return report, predictor.prompts


def test_what_is_missed_is_clicked_positive_where_it_is_thickest() -> None:
    ground_truth = mask(10, 10, 30, 20)
    point, label = next_click(mask(10, 10, 20, 20), ground_truth)  # its right half is missed
    assert label == 1
    assert 24 <= point[0] <= 26
    assert 14 <= point[1] <= 16


def test_what_is_too_much_is_clicked_negative() -> None:
    ground_truth = mask(10, 10, 20, 20)
    point, label = next_click(mask(10, 10, 40, 20) & ~mask(10, 10, 12, 12), ground_truth)
    assert label == 0
    assert 24 <= point[0] <= 36


def test_a_thin_error_counts_less_than_a_thick_one_of_the_same_area() -> None:
    ground_truth = mask(10, 10, 30, 30)
    predicted = ground_truth & ~mask(10, 10, 30, 12)  # 40 pixels are missed
    predicted |= mask(40, 10, 46, 16)  # 36 are too much
    assert next_click(predicted, ground_truth)[1] == 0


def test_the_curve_by_hand(images: Path) -> None:
    """An object of 20 x 10, of which each click finds a half; a second one is found at once."""
    report, prompts = run(images, annotated((10, 10, 30, 20), (40, 20, 50, 30)), clicks=3)
    assert report.iou.tolist() == [[0.5, 1, 1], [1, 1, 1]]
    assert report.curve == [0.75, 1, 1]
    first, second, other = prompts
    assert first.points_xy.tolist() == [[14.5, 14.5]]
    assert first.mask_logits is None
    assert second.points_xy.tolist() == [[14.5, 14.5], [24.5, 14.5]]
    assert second.point_labels.tolist() == [1, 1]
    assert second.mask_logits is not None
    seen = second.mask_logits[: SIZE[0], : SIZE[1]] > 0  # the fake's low resolution is the photo's
    assert (seen == mask(10, 10, 20, 20)).all(), "the first answer"
    assert other.points_xy.tolist() == [[44.5, 24.5]]


def test_an_object_that_is_found_needs_no_more_clicks(images: Path) -> None:
    report, prompts = run(images, annotated((10, 10, 20, 20)), clicks=5)
    assert report.iou.shape == (1, 5)
    assert report.curve[-1] == 1
    assert len(prompts) < 5


def test_clicks_to_a_goal() -> None:
    iou = np.array([[0.5, 0.86, 0.95], [0.9, 0.9, 0.9], [0.1, 0.2, 0.3]])
    report = ClickReport("fake", False, 1, 0.0, iou)
    assert report.clicks_to(0.85) == (2 + 1 + 3) / 3
    assert report.clicks_to(0.9) == (3 + 1 + 3) / 3
    assert (report.never(0.85), report.never(0.9)) == (1, 1)
    content = json.loads(json.dumps(report.as_dict()))
    assert (content["clicks"], content["never85"], content["never90"]) == (3, 1, 1)
    assert content["noc85"] == 2
    assert content["iou_after_clicks"] == pytest.approx([0.5, 1.96 / 3, 2.15 / 3])
    assert content["instances"] == 3


def test_no_photo(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"1 photos are missing.*a\.png"):
        run(tmp_path, annotated((10, 10, 20, 20)), clicks=1)
