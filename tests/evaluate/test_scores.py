"""What models say of annotated objects, before any calibration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakes import FakePredictor
from ovsam.config import CalibrationConfig
from ovsam.errors import AnnotationError
from ovsam.evaluate.scores import Scores, collect_scores
from ovsam.evaluate.temperature import fit_temperature
from ovsam.formats.coco import parse_annotations
from photo_folder import write_photo
from tiny_model import TINY, tiny_predictor


def test_an_object_whose_class_is_not_listed() -> None:
    logs = np.log([[0.6, 0.3, 0.1]])
    made = Scores(logs, np.array([0]), np.array([0]), ("cat", "dog"))
    first, right = made.without_annotated_classes().first(1.0)
    assert first == pytest.approx([0.75])  # 0.3 of what is left, 0.4
    assert not right.any()


ROW = {"category_id": 1, "bbox": [10, 10, 60, 50], "area": 3000, "iscrowd": 0}
SEGMENTATION = [[10, 10, 70, 10, 70, 60, 10, 60]]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        write_photo(tmp_path / name, size_hw=(90, 120))
    return tmp_path


def annotated(*photos: int, each: int = 20) -> object:
    return {
        "images": [
            {"id": i, "file_name": f"{'ab'[i]}.png", "width": 120, "height": 90} for i in photos
        ],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            {"id": each * i + k, "image_id": i, "segmentation": SEGMENTATION, **ROW}
            for i in photos
            for k in range(each)
        ],
    }


def test_scores_are_those_before_calibration(images: Path) -> None:
    """A model that is calibrated already gets the same temperature again."""
    content = parse_annotations(annotated(0, 1))
    hot = replace(TINY, calibration=CalibrationConfig(temperature=3.0, threshold=0.2, classes=5))
    plain, calibrated = (
        collect_scores(tiny_predictor(config), content, images) for config in (TINY, hot)
    )
    assert plain.ground_truth.tolist() == [1] * 40
    assert plain.photos.tolist() == [0] * 20 + [1] * 20
    assert plain.logs.shape == (40, 6)
    np.testing.assert_allclose(plain.probabilities(1), calibrated.probabilities(1), atol=1e-5)
    assert fit_temperature(plain.logs, plain.ground_truth) == pytest.approx(
        fit_temperature(calibrated.logs, calibrated.ground_truth), rel=1e-3
    )


@pytest.mark.parametrize(
    ("content", "got"),
    [(annotated(0), "20 and 0 in 1"), (annotated(0, 1, each=19), "19 and 19 in")],
)
def test_too_few_objects_are_refused_before_any_work(
    images: Path, content: object, got: str
) -> None:
    fake = FakePredictor()
    with pytest.raises(AnnotationError, match=f"each needs 20 objects .* got {got}"):
        collect_scores(fake.as_predictor(), parse_annotations(content), images)
    assert fake.encode_calls == 0
