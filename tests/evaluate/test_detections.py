"""Masks and names for a detector's boxes, with a predictor whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fakes import FakeEncodedImage, FakePredictor
from ovsam.candidates import Candidates
from ovsam.errors import AnnotationError, OvsamError
from ovsam.evaluate.detection_plan import plan
from ovsam.evaluate.detections import BOXES_AT_ONCE, DetectionReport, evaluate_detections
from ovsam.evaluate.kinds import LabelSource
from ovsam.formats.coco_results import parse_detections
from ovsam.formats.ground_truth import GroundTruth, parse_ground_truth
from ovsam.geometry import decode_rle
from ovsam.jobs.run import HERE, Job
from ovsam.structures import Prompt
from ovsam.vocabulary.load import load_vocabulary
from photo_folder import rectangle

CAT, DOG, MUG = 3, 18, 40
CATEGORIES = [{"id": CAT, "name": "cat"}, {"id": DOG, "name": "dog"}, {"id": MUG, "name": "mug"}]
NAMES = load_vocabulary("cat, dog, mug, emu")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in "abc":
        Image.new("RGB", (60, 40)).save(tmp_path / f"{name}.png")
    return tmp_path


def right(photo: int, category: int, bbox: Sequence[float]) -> dict[str, Any]:
    x, y, w, h = bbox
    return {
        "image_id": photo,
        "category_id": category,
        "bbox": list(bbox),
        "area": w * h,
        "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
    }


def box(photo: int, category: int, bbox: Sequence[float], score: float = 0.9) -> dict[str, Any]:
    return {"image_id": photo, "category_id": category, "bbox": list(bbox), "score": score}


def ground_truth(*rows: dict[str, Any], **more: Any) -> GroundTruth:
    photos = [
        {"id": i, "file_name": f"{name}.png", "width": 60, "height": 40, **more}
        for i, name in enumerate("abc")
    ]
    often = [{**row, "frequency": "f"} for row in CATEGORIES] if more else CATEGORIES
    annotations = [{"id": i, **row} for i, row in enumerate(rows)]
    return parse_ground_truth({"images": photos, "categories": often, "annotations": annotations})


def evaluated(
    fake: FakePredictor,
    what: GroundTruth,
    rows: Sequence[dict[str, Any]],
    images: Path,
    labels: LabelSource = "detector",
    limit: int | None = None,
    job: Job = HERE,
) -> DetectionReport:
    found = parse_detections(rows, what)
    planned = None
    if limit is not None:
        vocabulary = fake.vocabulary if labels == "ours" else None
        planned = plan(what, found, images, vocabulary, limit=limit)
    return evaluate_detections(
        fake.as_predictor(), what, found, images, labels=labels, planned=planned, job=job
    )


A, B = (10, 10, 20, 10), (5, 5, 30, 30)
TWO = ground_truth(right(0, CAT, A), right(1, DOG, B))


def test_the_detectors_names(images: Path) -> None:
    ticks: list[tuple[int, int]] = []
    rows = [box(1, DOG, B, 0.4), box(0, CAT, A), box(0, DOG, A, 0.2)]
    report = evaluated(
        FakePredictor(vocabulary=load_vocabulary("object,")),
        TWO,
        rows,
        images,
        job=Job(progress=lambda done, total: ticks.append((done, total))),
    )
    assert [(r["image_id"], r["category_id"], r["score"]) for r in report.results] == [
        (0, CAT, 0.9),
        (0, DOG, 0.2),
        (1, DOG, 0.4),
    ], "photo by photo"
    mask = decode_rle(report.results[0]["segmentation"])
    assert (mask == rectangle(10, 10, 30, 20, size_hw=(40, 60))).all()
    assert report.precision.by_class == pytest.approx({"cat": 1, "dog": 1})
    assert ticks == [(1, 2), (2, 2)]
    content = report.as_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    shown = {"model": "fake", "labels": "detector", "vocabulary": None, "photos": 3, "boxes": 3}
    assert shown.items() <= content.items()
    assert (content["unlisted"], content["left_out"]) == (0, [])


def test_our_names(images: Path) -> None:
    """The detector says mug twice; we say dog first and then emu, which is no class of the file."""
    fake = FakePredictor(vocabulary=NAMES, answers=("dog", "emu"))
    what, rows = ground_truth(right(0, DOG, A)), [box(0, MUG, A, 0.7), box(0, MUG, B, 0.3)]
    report = evaluated(fake, what, rows, images, labels="ours")
    assert [(r["category_id"], r["score"]) for r in report.results] == [(DOG, 0.7)]
    assert report.precision.by_class == pytest.approx({"dog": 1})
    assert (report.boxes, report.unlisted, report.vocabulary) == (2, 1, "custom")
    theirs = evaluated(fake, what, rows, images)
    assert theirs.precision.by_class == pytest.approx({"dog": 0})
    assert [r["category_id"] for r in theirs.results] == [MUG, MUG]


def test_names_map_to_the_files_classes(images: Path) -> None:
    """A vocabulary writes coffee mug what the file writes coffee_mug."""
    what = parse_ground_truth(
        {
            "images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}],
            "categories": [{"id": 5, "name": "coffee_mug"}, {"id": 6, "name": "Cat,kitten"}],
            "annotations": [{"id": 1, **right(1, 5, A)}],
        }
    )
    fake = FakePredictor(answers=("coffee mug", "cat"))
    report = evaluated(fake, what, [box(1, 6, A), box(1, 6, A)], images, labels="ours")
    assert [r["category_id"] for r in report.results] == [5, 6]


def test_classes_that_are_never_answered_do_not_count(images: Path) -> None:
    some = load_vocabulary("cat, !dog, mug, emu")
    fake = FakePredictor(vocabulary=some)
    report = evaluated(fake, TWO, [box(0, MUG, A)], images, labels="ours")
    assert report.precision.by_class == pytest.approx({"cat": 1})
    assert report.left_out == ("dog",)
    assert evaluated(fake, TWO, [box(0, CAT, A)], images).precision.by_class == pytest.approx(
        {"cat": 1, "dog": 0}
    )


def test_no_box_is_no_score_of_nought(images: Path) -> None:
    with pytest.raises(AnnotationError, match=r"no box .* in the 1 photos of 'annotations' that"):
        evaluated(FakePredictor(), TWO, [box(1, DOG, B)], images, limit=1)


def test_a_bad_mask_is_named_before_any_work(images: Path) -> None:
    what = ground_truth(
        right(0, CAT, A), {**right(1, DOG, B), "iscrowd": 1, "segmentation": [[1, 2]]}
    )
    fake = FakePredictor()
    message = r"annotations\[1\] \(id 1\) of 'annotations': A polygon .* take it out"
    with pytest.raises(AnnotationError, match=message):
        evaluated(fake, what, [box(0, CAT, A)], images)
    assert fake.encode_calls == 0


def test_a_vocabulary_must_have_the_annotated_classes(images: Path) -> None:
    fake = FakePredictor(vocabulary=load_vocabulary("cat, emu"))
    with pytest.raises(
        AnnotationError, match="Annotation 1 of 'annotations' is of the class 'dog'"
    ):
        evaluated(fake, TWO, [], images, labels="ours")
    first = [box(0, CAT, A)]
    assert evaluated(fake, TWO, first, images, labels="ours", limit=1).photos == 1
    alike = {**CATEGORIES[1], "name": "CAT"}
    photo = {"id": 1, "file_name": "a.png", "width": 60, "height": 40}
    what = parse_ground_truth(
        {"images": [photo], "categories": [CATEGORIES[0], alike], "annotations": []}
    )
    with pytest.raises(AnnotationError, match=r"'cat' and 'CAT' .* are both 'cat'"):
        evaluated(FakePredictor(), what, [], images, labels="ours")


class Counting(FakePredictor):
    """Remembers how many prompts came at once; it makes masks, and fails where it is to name."""

    at_once: tuple[int, ...] = ()

    def segment(
        self, encoded: FakeEncodedImage, prompts: Prompt | Sequence[Prompt], **options: Any
    ) -> list[Candidates]:
        assert not isinstance(prompts, Prompt)
        self.at_once += (len(prompts),)
        return super().segment(encoded, prompts, **options)

    def predict(self, *_: object, **__: object) -> Any:
        raise AssertionError("the detector's names count")


def test_a_photo_is_encoded_once_and_many_boxes_are_segmented_in_groups(images: Path) -> None:
    fake = Counting(names_objects=False)
    report = evaluated(fake, TWO, [box(0, CAT, A)] * (BOXES_AT_ONCE + 1), images)
    assert fake.encode_calls == 1
    assert fake.at_once == (BOXES_AT_ONCE, 1)
    assert len(report.results) == report.boxes == BOXES_AT_ONCE + 1
    with pytest.raises(OvsamError, match="fake makes masks and has no names to measure"):
        evaluated(fake, TWO, [box(0, CAT, A)], images, labels="ours")


def test_lvis_takes_the_best_300_of_a_photo(images: Path) -> None:
    what = ground_truth(right(0, CAT, A), right(0, DOG, B), neg_category_ids=[MUG])
    rows = [box(0, DOG, B, 0.1), *[box(0, MUG, A, 0.5)] * 299, box(0, CAT, A, 0.9)]
    report = evaluated(FakePredictor(), what, rows, images)
    assert report.boxes == 300
    assert report.results[0]["category_id"] == CAT
    assert report.precision.by_class == pytest.approx({"cat": 1, "dog": 0})
    assert report.precision.rules == "lvis"


def test_only_photos_with_a_box_are_read(images: Path) -> None:
    (images / "b.png").unlink()
    fake = FakePredictor()
    report = evaluated(fake, TWO, [box(0, CAT, A)], images)
    assert report.precision.by_class == pytest.approx({"cat": 1, "dog": 0}), (
        "what was missed counts"
    )
    rows = [box(0, CAT, A), box(1, DOG, B)]
    assert evaluated(fake, TWO, rows, images, limit=1).precision.by_class == pytest.approx(
        {"cat": 1}
    )
    fake.encode_calls = 0
    with pytest.raises(AnnotationError, match=r"1 of 2 photos are missing .* first 'b.png'"):
        evaluated(fake, TWO, rows, images)
    assert fake.encode_calls == 0


def test_no_photo(images: Path) -> None:
    what = parse_ground_truth({"images": [], "categories": CATEGORIES, "annotations": []})
    with pytest.raises(AnnotationError, match="There is no photo to evaluate"):
        evaluated(FakePredictor(), what, [], images)
