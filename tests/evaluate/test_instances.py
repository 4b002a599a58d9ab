"""The evaluation protocol on drawn photos, with a predictor whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from coco_rows import polygon, row
from evaluate.drawn import TWO, annotated
from fakes import FakePredictor
from ovsam.evaluate.instances import Report, evaluate, evaluate_vocabularies
from ovsam.evaluate.kinds import EvaluationKind
from ovsam.evaluate.metrics import Outcome, Summary
from ovsam.formats.coco import parse_annotations
from ovsam.jobs.run import Job
from ovsam.vocabulary.load import load_vocabulary


def test_box_prompts_by_hand(images: Path) -> None:
    fake = FakePredictor()  # always says "cat" first, "coffee mug" third
    ticks: list[tuple[int, int]] = []
    report = evaluate(
        fake.as_predictor(),
        annotated(*TWO),
        images,
        prompts="box",
        job=Job(progress=lambda done, total: ticks.append((done, total))),
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
        "cat": Summary(1.0, 1.0, 1.0, 1.0, 1, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0).as_dict(),
        "coffee mug": Summary(0.5, 28 / 64, 0.0, 1.0, 1, 0.0, 0.0, 0.0, 1.0).as_dict(),
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
            "rank_by_meaning": (0, 2)[i],
            "levels_below": (0, None)[i],
        }
        for i in range(2)
    ]
    assert report.calibration.error == 0  # half of what is named with 0.5 is right
    assert report.as_dict()["calibration"] == report.calibration.as_dict()
    assert ticks == [(1, 2), (2, 2)]
    assert json.loads(json.dumps(content, allow_nan=False)) == content


@pytest.mark.parametrize("kind", get_args(EvaluationKind))
def test_two_runs_give_the_same_digits_in_whatever_order(images: Path, kind: Any) -> None:
    rows = [*TWO, row(3, 1, 1, [5, 5, 40, 30], polygon(5, 5, 45, 35))]

    def digits(*chosen: dict[str, Any]) -> list[Outcome]:
        fake = FakePredictor(radius=3)
        report = evaluate(fake.as_predictor(), annotated(*chosen), images, prompts=kind)
        return sorted(report.outcomes, key=lambda outcome: (outcome.area, outcome.iou))

    assert digits(*rows) == digits(*rows) == digits(*reversed(rows))


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


def test_a_kind_of_the_annotated_class_is_right_by_meaning(images: Path) -> None:
    """Of "dalmatian, tiger cat, coffee mug" the first is wrong for a cat, and the second right."""
    vocabulary = load_vocabulary("dalmatian, tiger cat, cat, coffee mug")
    fake = FakePredictor(vocabulary=vocabulary)
    report = evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box")
    assert [(one.rank, one.rank_by_meaning) for one in report.outcomes] == [(2, 1), (3, 3)]
    fake = FakePredictor(vocabulary=vocabulary, answers=["tiger cat"])
    report = evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box")
    cat, mug = report.outcomes
    assert (cat.rank, cat.rank_by_meaning, cat.levels_below) == (2, 0, 2)
    assert (mug.rank_by_meaning, mug.levels_below) == (3, None)
    content: Any = report.as_dict()
    assert (content["accuracy"], content["accuracy_by_meaning"]) == (0.0, 0.5)
    assert (content["right_itself"], content["right_levels_below"]) == (0.0, 2.0)
    assert content["calibration"]["ece"] == 0.5  # the score 0.5 and never right
    assert content["calibration_by_meaning"]["ece"] == 0.0


def test_several_vocabularies_name_the_same_masks(images: Path, tmp_path: Path) -> None:
    """The first has no mug, so that object counts in the second alone."""
    lists = [load_vocabulary("cat, dog"), load_vocabulary("dog, coffee mug, tiger cat")]
    fake = FakePredictor(vocabulary=lists[0])
    journal = tmp_path / "run.jsonl"

    def both() -> tuple[Report, ...]:
        return evaluate_vocabularies(
            fake.as_predictor(), annotated(*TWO), images, lists, prompts="box", job=Job(journal)
        )

    reports = both()
    assert fake.encode_calls == 2
    assert len(fake.prompts) == 2, "each object is segmented once"
    first, second = reports
    assert [(one.annotation_id, one.rank) for one in first.outcomes] == [(1, 0)]
    assert first.not_counted.objects_unlisted == 1
    assert [(one.annotation_id, one.rank, one.rank_by_meaning) for one in second.outcomes] == [
        (1, -1, 2),
        (2, 1, 1),
    ]
    assert [one.iou for one in second.outcomes] == [1.0, 0.5]
    assert second.kinds_alone == ("cat",)
    assert [one.outcomes for one in both()] == [first.outcomes, second.outcomes]
    assert fake.encode_calls == 2, "the journal has them"
