"""The evaluation protocol on drawn photos, with a predictor whose answers are known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from fakes import FakePredictor
from ovsam.errors import AnnotationError, OvsamError, PhotoError
from ovsam.evaluate.instances import evaluate
from ovsam.evaluate.metrics import Outcome, Summary
from ovsam.evaluate.prompts import EvaluationKind
from ovsam.formats.annotations import Annotations
from ovsam.formats.coco import parse_annotations
from ovsam.structures import Label
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary


def polygon(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def row(
    number: int, photo: int, category: int, bbox: list[float], segmentation: Any
) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": photo,
        "category_id": category,
        "bbox": bbox,
        "area": bbox[2] * bbox[3],
        "segmentation": segmentation,
    }


CATEGORIES: list[dict[str, Any]] = [{"id": 1, "name": "cat"}, {"id": 2, "name": "coffee_mug"}]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "empty.png"):
        Image.new("RGB", (60, 40)).save(tmp_path / name)
    return tmp_path


def annotated(*rows: dict[str, Any], categories: list[dict[str, Any]] = CATEGORIES) -> Annotations:
    names = ("empty.png", "a.png", "b.png")
    photos = [
        {"id": number, "file_name": name, "width": 60, "height": 40}
        for number, name in enumerate(names)
    ]
    return parse_annotations(
        {"images": photos, "categories": categories, "annotations": list(rows)}
    )


TWO = (
    # The box is the whole of the first object (IoU 1) and twice the second one (IoU 0.5).
    row(1, 1, 1, [10, 10, 20, 10], polygon(10, 10, 30, 20)),
    row(2, 2, 2, [10, 10, 20, 10], polygon(10, 10, 20, 20)),
)


def test_box_prompts_by_hand(images: Path) -> None:
    fake = FakePredictor()  # always says "cat" first, "coffee mug" third
    ticks: list[tuple[int, int]] = []
    report = evaluate(
        fake.as_predictor(),
        annotated(*TWO),
        images,
        prompts="box",
        progress=lambda done, total: ticks.append((done, total)),
    )
    assert [outcome.iou for outcome in report.outcomes] == pytest.approx([1.0, 0.5])
    assert [outcome.rank for outcome in report.outcomes] == [0, 2]
    assert [outcome.score for outcome in report.outcomes] == [0.5, 0.5]
    # 60 x 40 pixels: boundaries are 1 wide. Rings of 56 and 36 pixels share 10 + 10 + 8.
    assert [outcome.boundary_iou for outcome in report.outcomes] == [1.0, 28 / (56 + 36 - 28)]
    content = report.as_dict()
    assert content["iou"] == pytest.approx(0.75)
    assert content["boundary_iou"] == pytest.approx((1 + 28 / 64) / 2)
    assert content["accuracy"] == 0.5
    assert content["accuracy_top5"] == 1.0
    assert content["instances"] == 2
    assert content["photos"] == 2  # the one without instances is not even read
    assert content["by_class"] == {
        "cat": Summary(1.0, 1.0, 1.0, 1.0, 1).as_dict(),
        "coffee mug": Summary(0.5, 28 / 64, 0.0, 1.0, 1).as_dict(),
    }
    assert content["outcomes"] == [
        {
            "annotation_id": 1 + i,
            "category": ("cat", "coffee mug")[i],
            "area": 200,
            "iou": (1.0, 0.5)[i],
            "boundary_iou": (1.0, 28 / 64)[i],
            "rank": (0, 2)[i],
            "name": "cat",
            "score": 0.5,
        }
        for i in range(2)
    ]
    assert report.calibration.error == 0  # half of what is named with 0.5 is right
    assert report.as_dict()["calibration"] == report.calibration.as_dict()
    assert ticks == [(1, 2), (2, 2)]
    assert json.loads(json.dumps(content, allow_nan=False)) == content


class Broken(FakePredictor):
    """A predictor whose weights make no numbers."""

    def _labels(self, classes: tuple[str, ...], index: int) -> tuple[Label, ...]:
        return tuple(Label(name, math.nan) for name, _ in super()._labels(classes, index))


def test_a_report_never_holds_what_is_no_number(images: Path, tmp_path: Path) -> None:
    journal = tmp_path / "run.jsonl"
    with pytest.raises(OvsamError, match="fake gives scores that are no finite numbers"):
        evaluate(Broken().as_predictor(), annotated(*TWO), images, prompts="box", journal=journal)
    assert len(journal.read_text().splitlines()) == 1


def test_each_photo_is_encoded_once(images: Path) -> None:
    fake = FakePredictor()
    same = [row(number, 1, 1, [0, 0, 9, 9], polygon(0, 0, 9, 9)) for number in range(3)]
    evaluate(fake.as_predictor(), annotated(*same), images, prompts="box")
    assert fake.encode_calls == 1
    assert len(fake.prompts) == 3


def test_point_prompt_is_all_that_the_annotation_gives(images: Path) -> None:
    fake = FakePredictor(image_size=60, radius=3)
    report = evaluate(fake.as_predictor(), annotated(TWO[0]), images, prompts="point")
    [prompt] = fake.prompts
    assert prompt.box_xyxy is None
    [[x, y]] = prompt.points_xy.tolist()
    assert 10 < x < 30
    assert 14 <= y <= 16
    assert report.outcomes[0].iou == pytest.approx(32 / 200, abs=0.03)  # a disk in 20 x 10


@pytest.mark.parametrize("kind", get_args(EvaluationKind))
def test_two_runs_give_the_same_digits_in_whatever_order(images: Path, kind: Any) -> None:
    rows = [*TWO, row(3, 1, 1, [5, 5, 40, 30], polygon(5, 5, 45, 35))]

    def digits(*chosen: dict[str, Any]) -> list[Outcome]:
        fake = FakePredictor(radius=3)
        report = evaluate(fake.as_predictor(), annotated(*chosen), images, prompts=kind)
        return sorted(report.outcomes, key=lambda outcome: (outcome.area, outcome.iou))

    assert digits(*rows) == digits(*rows) == digits(*reversed(rows))


def test_names_come_from_the_true_box_in_the_authors_variant_alone(images: Path) -> None:
    kinds: tuple[EvaluationKind, ...] = ("point", "point-true-box")
    fakes = [FakePredictor() for _ in kinds]
    reports = [
        evaluate(fake.as_predictor(), annotated(*TWO), images, prompts=kind)
        for fake, kind in zip(fakes, kinds, strict=True)
    ]
    ours, theirs = fakes
    assert ours.named == []
    assert theirs.named == [(10, 10, 30, 20), (10, 10, 30, 20)]
    asked = [[(p.points_xy.tolist(), p.box_xyxy) for p in fake.prompts] for fake in fakes]
    assert asked[0] == asked[1], "the mask is found from the point alone"
    assert [report.prompts for report in reports] == list(kinds)


def test_object_without_a_pixel_counts_as_missed(images: Path) -> None:
    thin = row(1, 1, 1, [10, 10, 0, 10], polygon(10, 10, 10, 20))
    report = evaluate(FakePredictor().as_predictor(), annotated(thin), images, prompts="point")
    assert report.outcomes[0].iou <= 10 / 300


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"bbox": [0, 0, 1, 1]}, "its box 0, 0, 1, 1 is not that of its mask, 10, 10, 20, 20"),
        ({"bbox": [10, 10, 0, 0]}, "its box 10, 10, 11, 11 is not that of its mask"),
        ({"bbox": [50, 10, 20, 10]}, "its box 50, 10, 70, 20 leaves the photo of 60 x 40 pixels"),
        ({"segmentation": [[1, 1, 5, 5, 9, 9]]}, "its mask covers no pixel"),
    ],
)
def test_an_object_that_is_annotated_wrong_counts_and_is_said(
    images: Path, change: dict[str, Any], problem: str
) -> None:
    fake = FakePredictor()
    content = annotated(TWO[0], TWO[1] | {"bbox": [10, 10, 10, 10]})
    assert evaluate(fake.as_predictor(), content, images, prompts="box").problems == ()
    content = annotated(TWO[0], TWO[1] | change)
    report = evaluate(fake.as_predictor(), content, images, prompts="box")
    [said] = report.problems
    assert said.startswith(f"Annotation 2: {problem}")
    assert report.as_dict()["problems"] == [said]
    assert report.summary.instances == 2


def test_classes_that_are_never_answered_are_left_out(images: Path) -> None:
    vocabulary = Vocabulary.from_names(["cat", "!coffee mug"], "coco-ov")
    fake = FakePredictor(vocabulary=vocabulary.with_unseen(["cat"]))
    report = evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box")
    content = report.as_dict()
    assert content["instances"] == 1
    assert content["left_out"] == 1
    assert content["novel"] == ["cat"]
    assert content["by_novelty"] == {
        "base": Summary(None, None, None, None, 0).as_dict(),
        "novel": Summary(1.0, 1.0, 1.0, 1.0, 1).as_dict(),
    }


def test_unseen_classes_are_novel(images: Path) -> None:
    rare, frequent = "cat", "dog"
    vocabulary = load_vocabulary("cat, dog").with_unseen(["cat"])
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}],
        "categories": [{"id": 1, "name": rare}, {"id": 2, "name": frequent}],
        "annotations": [
            row(1, 1, 1, [10, 10, 20, 10], polygon(10, 10, 30, 20)),
            row(2, 1, 2, [10, 10, 20, 10], polygon(10, 10, 20, 20)),
        ],
    }
    fake = FakePredictor(vocabulary=vocabulary)
    report = evaluate(fake.as_predictor(), parse_annotations(content), images, prompts="box")
    by_novelty = report.groups["by_novelty"]
    assert by_novelty["novel"].iou == 1
    assert by_novelty["base"].iou == 0.5


def test_limit_counts_photos_with_instances(images: Path) -> None:
    fake = FakePredictor().as_predictor()
    assert evaluate(fake, annotated(*TWO), images, prompts="box", limit=1).photos == 1


def test_class_outside_the_vocabulary_is_named(images: Path) -> None:
    fake = FakePredictor(vocabulary=load_vocabulary("cat, dog"))
    with pytest.raises(AnnotationError, match=r"Annotation 2 of 'annotations' is .* 'coffee_mug'"):
        evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box")


def test_the_files_own_synonyms_tell_what_its_classes_are(images: Path) -> None:
    renamed = [CATEGORIES[0] | {"name": "felid", "synonyms": ["cat", "grimalkin"]}, CATEGORIES[1]]
    content = annotated(*TWO, categories=renamed)
    report = evaluate(FakePredictor().as_predictor(), content, images, prompts="box")
    assert [outcome.category for outcome in report.outcomes] == ["cat", "coffee mug"]
    renamed[0] = CATEGORIES[0] | {"name": "felid", "synonyms": ["cat", "coffee_mug"]}  # or which?
    with pytest.raises(AnnotationError, match=r"Annotation 1 of 'annotations' is .* 'felid'"):
        evaluate(
            FakePredictor().as_predictor(),
            annotated(*TWO, categories=renamed),
            images,
            prompts="box",
        )


def test_classes_of_the_file_that_are_one_are_said(images: Path) -> None:
    fake = FakePredictor(vocabulary=Vocabulary.from_names(["cat/coffee mug", "dog"]))
    report = evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box")
    assert report.as_dict()["merged"] == ["'cat' and 'coffee_mug' are both 'cat'"]
    assert report.summary.instances == 2
    report = evaluate(FakePredictor().as_predictor(), annotated(*TWO), images, prompts="box")
    assert report.merged == ()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_photo_that_is_cut_short_is_named_before_any_work(images: Path, kind: str) -> None:
    fake = FakePredictor()
    path = images / "b.png"  # whatever is in it
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, kind)
    whole = path.read_bytes()
    path.write_bytes(whole + b"what a camera adds")
    assert evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box").photos == 2
    calls = fake.encode_calls
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(PhotoError, match=r"Photo 2 of the annotations: .*b\.png' .*cut short"):
        evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box")
    assert fake.encode_calls == calls


def test_a_class_of_that_name_with_more_behind_it_is_offered(images: Path) -> None:
    fake = FakePredictor(vocabulary=Vocabulary.from_names(["cat (animal)", "coffee mug"]))
    with pytest.raises(AnnotationError, match=r"'cat', which .* does not have \(it has 'cat \(an"):
        evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box")


def test_missing_photo_is_named_before_any_work(images: Path) -> None:
    (images / "b.png").unlink()
    fake = FakePredictor()
    with pytest.raises(AnnotationError, match=r"1 of 2 photos are missing .* first 'b.png'"):
        evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box")
    assert fake.encode_calls == 0


def test_photo_of_another_size_is_named_before_any_work(images: Path) -> None:
    Image.new("RGB", (61, 40)).save(images / "b.png")
    fake, journal = FakePredictor(), images / "run.jsonl"
    with pytest.raises(AnnotationError, match=r"'b\.png' \(id 2\) in .* is 61 x 40 pixels, but"):
        evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box", journal=journal)
    assert fake.encode_calls == 0
    assert not journal.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"segmentation": [[1, 1, 5, 5]]},
            r"Annotation 2 of 'annotations', photo 'b\.png': A poly",
        ),
        ({"bbox": [60, 10, 0, 9]}, r"Annotation 2 of 'annotations': Box .* is outside the photo"),
    ],
)
def test_a_bad_object_is_named_before_any_work(
    images: Path, change: dict[str, Any], message: str
) -> None:
    fake = FakePredictor()
    with pytest.raises(OvsamError, match=message):
        evaluate(fake.as_predictor(), annotated(TWO[0], TWO[1] | change), images, prompts="box")
    assert fake.encode_calls == 0


def test_nothing_to_evaluate(images: Path) -> None:
    crowd = row(1, 1, 1, [10, 10, 20, 10], polygon(10, 10, 30, 20)) | {"iscrowd": 1}
    with pytest.raises(AnnotationError, match=r"no instance .* in 'annotations': .* 1 crowd"):
        evaluate(FakePredictor().as_predictor(), annotated(crowd), images, prompts="box")
    with pytest.raises(AnnotationError, match=r"lists 3 photos and marks nothing on them\. Give"):
        evaluate(FakePredictor().as_predictor(), annotated(), images, prompts="box")
    never = Vocabulary.from_names(["!cat", "dog"], "mine")
    fake = FakePredictor(vocabulary=never)
    with pytest.raises(AnnotationError, match=r"in 'annotations': the vocabulary 'mine' never"):
        evaluate(fake.as_predictor(), annotated(TWO[0]), images, prompts="box")
