"""Which annotated objects count, and under which names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coco_rows import polygon, row
from evaluate.drawn import CATEGORIES, TWO, annotated
from fakes import FakePredictor
from ovsam.errors import AnnotationError, OvsamError
from ovsam.evaluate.instances import evaluate
from ovsam.evaluate.metrics import Summary
from ovsam.evaluate.objects import objects_by_vocabulary
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary


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
        "novel": Summary(1.0, 1.0, 1.0, 1.0, 1, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0).as_dict(),
    }


def test_class_outside_the_vocabulary_is_named(images: Path) -> None:
    fake = FakePredictor(vocabulary=load_vocabulary("cat, dog"))
    with pytest.raises(AnnotationError, match=r"Annotation 2 of 'annotations' is .* 'coffee_mug'"):
        evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box")


def test_the_files_own_synonyms_tell_what_its_classes_are(images: Path) -> None:
    renamed = [CATEGORIES[0] | {"name": "mog", "synonyms": ["cat", "grimalkin"]}, CATEGORIES[1]]
    content = annotated(*TWO, categories=renamed)
    report = evaluate(FakePredictor().as_predictor(), content, images, prompts="box")
    assert [outcome.category for outcome in report.outcomes] == ["cat", "coffee mug"]
    renamed[0] = CATEGORIES[0] | {"name": "mog", "synonyms": ["ogg", "coffee_mug", "cat"]}  # which?
    with pytest.raises(AnnotationError, match=r"Annotation 1 of 'annotations' is .* 'mog'"):
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


def test_a_class_of_that_name_with_more_behind_it_is_offered(images: Path) -> None:
    fake = FakePredictor(vocabulary=Vocabulary.from_names(["cat (animal)", "coffee mug"]))
    with pytest.raises(AnnotationError, match=r"'cat', which .* does not have \(it has 'cat \(an"):
        evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box")


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


def test_a_class_that_is_there_by_its_meaning_alone(images: Path) -> None:
    """A feline is none of the classes, but a cat is one; the first name is right by meaning."""
    felines = [CATEGORIES[0] | {"name": "feline"}, CATEGORIES[1]]
    content = annotated(*TWO, categories=felines)
    report = evaluate(FakePredictor().as_predictor(), content, images, prompts="box")
    feline, mug = report.outcomes
    assert (feline.category, feline.rank, feline.rank_by_meaning) == ("feline", -1, 0)
    assert feline.levels_below == 1
    assert (mug.category, mug.rank, mug.rank_by_meaning) == ("coffee mug", 2, 2)
    assert mug.levels_below is None
    assert report.as_dict()["kinds_alone"] == ["feline"]
    fake = FakePredictor(vocabulary=Vocabulary.from_names(["true cat", "coffee mug"]))
    report = evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box")
    assert report.outcomes[0].category == "true cat"
    assert report.outcomes[0].rank == 0
    assert report.kinds_alone == ()


def test_of_several_vocabularies_one_may_lack_a_class() -> None:
    lists = [Vocabulary.from_names(names) for names in (["cat"], ["cat", "coffee mug"])]
    content = annotated(*TWO)
    one, other = objects_by_vocabulary(content, content.photos[1:], lists)
    assert (sorted(one.by_photo), one.unlisted) == ([1], 1)
    assert (sorted(other.by_photo), other.unlisted) == ([1, 2], 0)
    with pytest.raises(AnnotationError, match=r"Annotation 2 .* 'coffee_mug'"):
        objects_by_vocabulary(content, content.photos[1:], lists[:1])
    with pytest.raises(AnnotationError, match=r"Annotation 2 .* 'coffee_mug'"):
        objects_by_vocabulary(content, content.photos[1:], [lists[0], lists[0]])
