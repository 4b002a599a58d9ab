"""Temperature and threshold on scores made by hand, and of models whose answers are known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakes import FakePredictor
from ovsam.config import CalibrationConfig
from ovsam.errors import AnnotationError
from ovsam.evaluate.scores import Scores, collect_scores
from ovsam.evaluate.temperature import HOTTEST, fit, fit_temperature
from ovsam.formats.coco import parse_annotations
from photo_folder import write_photo
from tiny_model import TINY, tiny_predictor


def scores(confidence: float, wrong_every: int, count: int) -> Scores:
    """Each first name of two has the log odds `confidence`; every so many is the wrong one."""
    logs = np.tile([confidence, 0.0, -np.inf], (count, 1))
    logs[:, 2] = -1e9  # none of these
    right = (np.arange(count) % wrong_every == 0).astype(np.int64)
    return Scores(logs, right, np.arange(count), ("cat", "dog"))


def fitted(made: Scores) -> float:
    return fit_temperature(made.logs, made.ground_truth)


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_the_temperature_gives_back_the_odds(scale: float) -> None:
    """Three of four are right, so their odds are 3 : 1, whatever the model thought of itself."""
    found = fitted(scores(scale * math.log(3), 4, 40))
    assert found == pytest.approx(scale, rel=1e-6)


def test_no_temperature_is_more_likely() -> None:
    random = np.random.default_rng(5)
    logs = random.normal(0, 3, (50, 7))
    right = (logs[:, :-1] + random.gumbel(0, 2, (50, 6))).argmax(1)
    found = fit_temperature(logs, right)

    def likelihood(temperature: float) -> float:
        made = Scores(logs, right, np.arange(50), tuple("abcdef"))
        return float(np.log(made.probabilities(temperature)[np.arange(50), right]).mean())

    assert likelihood(found) >= max(likelihood(found * 1.01), likelihood(found / 1.01))


def test_a_constant_of_each_row_does_not_matter() -> None:
    made = scores(2.0, 4, 40)
    moved = made.logs + np.random.default_rng(0).normal(0, 9, (40, 1))
    assert fit_temperature(moved, made.ground_truth) == pytest.approx(fitted(made))


def test_ends_where_all_or_the_wrong_half_is_right() -> None:
    made = scores(2.0, 4, 40)
    assert fit_temperature(made.logs, np.zeros(40, np.int64)) == pytest.approx(1 / HOTTEST)
    assert fit_temperature(made.logs, np.ones(40, np.int64)) == pytest.approx(HOTTEST)


def test_each_half_is_evaluated_on_the_other() -> None:
    """Photos 0, 2, 4, ... are right three times of four, all others always wrong by halves."""
    sure, unsure = scores(math.log(3), 4, 40), scores(math.log(3), 2, 40)
    logs = np.concatenate([sure.logs, unsure.logs])
    right = np.concatenate([sure.ground_truth, unsure.ground_truth])
    photos = np.concatenate([2 * sure.photos, 2 * unsure.photos + 1])
    found = fit(Scores(logs, right, photos, sure.classes))
    one, other = found.halves
    assert found.instances == 80
    assert (one.instances, other.instances) == (40, 40)
    assert one.fitted.temperature == pytest.approx(1.0)
    assert one.error_before == one.error == pytest.approx(0.25)  # says 0.75, half is right
    assert other.fitted.temperature == pytest.approx(HOTTEST)  # a coin: no odds at all
    assert other.error_before == pytest.approx(0, abs=1e-9)
    assert other.error == pytest.approx(0.75 - 1 / (1 + 3 ** (-1 / HOTTEST)), abs=1e-3)
    assert found.calibration.classes == 2
    assert one.as_dict()["ece"] == one.error
    assert (one.correct, other.correct) == (30, 20)


def test_the_threshold_keeps_nineteen_of_twenty_right_names() -> None:
    """Right first names have the odds 1 to 101, all of them alike likely; wrong ones 1 and 2."""
    odds = np.linspace(1, 101, 101)
    logs = np.stack([np.log(odds), np.zeros(101), np.full(101, -1e9)], 1)
    low = np.tile([math.log(1.5), 0, -1e9], (30, 1))
    made = Scores(
        np.concatenate([logs, low]),
        np.concatenate([np.zeros(101, np.int64), np.ones(30, np.int64)]),
        np.zeros(131, np.int64),
        ("cat", "dog"),
    )
    calibration = fit(replace(made, photos=np.arange(131) % 2)).calibration
    first, right = made.first(calibration.temperature)
    assert (first[right] >= calibration.threshold).sum() == 96
    assert (first[~right] < calibration.threshold).all()


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
