"""What is asked of a model about annotated objects, and what is not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from coco_rows import polygon, row
from evaluate.drawn import TWO, annotated
from fakes import FakePredictor
from ovsam.errors import OutputError, OvsamError
from ovsam.evaluate.instances import evaluate
from ovsam.evaluate.kinds import EvaluationKind
from ovsam.jobs.run import Job
from ovsam.structures import Label, Names


class Broken(FakePredictor):
    """A predictor whose weights make no numbers."""

    def _names(self, *arguments: Any) -> Names:
        names = super()._names(*arguments)
        labels = tuple(Label(name, math.nan) for name, _ in names.labels[0])
        return replace(names, labels=(labels,))


def test_a_report_never_holds_what_is_no_number(images: Path, tmp_path: Path) -> None:
    journal = tmp_path / "run.jsonl"
    with pytest.raises(OvsamError, match="fake gives scores that are no finite numbers"):
        evaluate(Broken().as_predictor(), annotated(*TWO), images, prompts="box", job=Job(journal))
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


def test_names_come_from_the_true_box_in_the_authors_variant_alone(images: Path) -> None:
    kinds: tuple[EvaluationKind, ...] = ("point", "point-true-box")
    fakes = [FakePredictor() for _ in kinds]
    reports = [
        evaluate(fake.as_predictor(), annotated(*TWO), images, prompts=kind)
        for fake, kind in zip(fakes, kinds, strict=True)
    ]
    ours, theirs = fakes
    assert ours.named == []
    assert np.array_equal(np.array(theirs.named), [(10, 10, 30, 20)] * 2)
    asked = [[(p.points_xy.tolist(), p.box_xyxy) for p in fake.prompts] for fake in fakes]
    assert asked[0] == asked[1], "the mask is found from the point alone"
    assert [report.prompts for report in reports] == list(kinds)


class Nameless(FakePredictor):
    """It makes masks alone, and fails where it is to name them."""

    def name(self, *_: object, **__: object) -> Any:
        raise AssertionError("nothing is to be named")

    def predict(self, *_: object, **__: object) -> Any:
        raise AssertionError("nothing is to be named")


@pytest.mark.parametrize("kind", get_args(EvaluationKind))
def test_an_oracle_s_names_take_masks_alone(images: Path, kind: Any) -> None:
    """The masks are those that are found without an oracle; each has rank 0 and score 1."""
    oracle = evaluate(
        Nameless(names_objects=False).as_predictor(),
        annotated(*TWO),
        images,
        prompts=kind,
        oracle_names=True,
    )
    own = evaluate(FakePredictor().as_predictor(), annotated(*TWO), images, prompts=kind)
    assert [one.iou for one in oracle.outcomes] == [one.iou for one in own.outcomes]
    assert [one.name for one in oracle.outcomes] == ["cat", "coffee mug"]
    assert [(one.rank, one.score) for one in oracle.outcomes] == [(0, 1.0)] * 2
    assert oracle.summary.accuracy == 1.0
    assert oracle.as_dict()["oracle_names"] is True


def test_a_model_without_names_has_none_to_measure(images: Path) -> None:
    fake = FakePredictor(names_objects=False)
    with pytest.raises(OvsamError, match=r"^fake makes masks and has no names .*--oracle-names"):
        evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box")
    assert fake.encode_calls == 0


def test_a_journal_of_names_is_none_of_masks(images: Path, tmp_path: Path) -> None:
    journal = tmp_path / "run.jsonl"
    fake = FakePredictor().as_predictor()
    evaluate(fake, annotated(*TWO), images, prompts="box", job=Job(journal))
    with pytest.raises(
        OutputError, match="begun with measures 'masks and names, also by meaning', not 'masks'"
    ):
        evaluate(fake, annotated(*TWO), images, prompts="box", oracle_names=True, job=Job(journal))
