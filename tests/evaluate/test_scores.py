"""What models say of annotated objects, before any calibration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakes import FakePredictor
from ovsam.config import CalibrationConfig, CalibrationFit
from ovsam.errors import AnnotationError
from ovsam.evaluate.scores import Scores, collect_scores
from ovsam.evaluate.temperature import fit_temperature
from ovsam.formats.coco import parse_annotations
from ovsam.vocabulary.load import load_vocabulary
from photo_folder import write_photo
from tiny_model import TINY, tiny_predictor


def test_an_object_whose_class_is_not_listed() -> None:
    logs = np.log([[0.6, 0.3, 0.1]])
    made = Scores(logs, np.array([0]), np.eye(2, dtype=bool), np.array([0]))
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
    hot = replace(
        TINY,
        calibration=CalibrationConfig(
            fits=(CalibrationFit(temperature=3.0, threshold=0.2, classes=5),)
        ),
    )
    made = []
    for config in (TINY, hot):
        predictor = tiny_predictor(config)
        made += collect_scores(predictor, content, images, [predictor.vocabulary])
    plain, calibrated = made
    assert plain.annotated.tolist() == [0] * 40
    assert plain.right.tolist() == [[False, True, False, False, False]]
    assert plain.photos.tolist() == [0] * 20 + [1] * 20
    assert plain.logs.shape == (40, 6)
    np.testing.assert_allclose(plain.first(1)[0], calibrated.first(1)[0], atol=1e-5)
    assert fit_temperature(plain) == pytest.approx(fit_temperature(calibrated), rel=1e-3)


def test_each_vocabulary_has_its_scores(images: Path) -> None:
    """A dog is one of two classes here and two kinds of dogs of three there."""
    content = parse_annotations(annotated(0, 1))
    predictor = tiny_predictor()
    lists = [load_vocabulary("cat, dog"), load_vocabulary("dalmatian, cat, beagle")]
    two, three = collect_scores(predictor, content, images, lists)
    assert two.right.tolist() == [[False, True]]
    assert three.right.tolist() == [[True, False, True]]
    assert (two.classes, three.classes) == (2, 3)
    assert (len(two), len(three)) == (40, 40)
    alone = collect_scores(predictor, content, images, lists[1:])[0]
    np.testing.assert_allclose(three.first(1)[0], alone.first(1)[0], atol=1e-6)


def test_scores_have_the_weights(images: Path) -> None:
    """A class with nine times the weight gets log 9 more, before the temperature."""
    content = parse_annotations(annotated(0, 1))
    fits = (CalibrationFit(temperature=3.0, classes=2),)
    predictor = tiny_predictor(replace(TINY, calibration=CalibrationConfig(fits=fits)))
    lists = [load_vocabulary("cat, dog"), load_vocabulary("cat, *9 dog")]
    plain, weighted = collect_scores(predictor, content, images, lists)
    gained = weighted.logs - plain.logs
    np.testing.assert_allclose(gained[:, 1] - gained[:, 0], np.log(9), atol=1e-4)
    np.testing.assert_allclose(gained[:, 2] - gained[:, 0], 0, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "got"),
    [(annotated(0), "20 and 0 in 1"), (annotated(0, 1, each=19), "19 and 19 in")],
)
def test_too_few_objects_are_refused_before_any_work(
    images: Path, content: object, got: str
) -> None:
    fake = FakePredictor()
    with pytest.raises(AnnotationError, match=f"each needs 20 objects .* got {got}"):
        lists = [fake.vocabulary]
        collect_scores(fake.as_predictor(), parse_annotations(content), images, lists)
    assert fake.encode_calls == 0
