"""Mask AP worked out by hand, by COCO's rules and by LVIS's."""

from __future__ import annotations

import contextlib
import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ovsam.errors import AnnotationError
from ovsam.evaluate.average_precision import AveragePrecision, average_precision
from ovsam.formats.coco_results import MaskResult
from ovsam.formats.ground_truth import GroundTruth, parse_ground_truth, read_ground_truth
from ovsam.geometry import encode_rle
from photo_folder import rectangle

SIZE = (150, 150)
CAT, DOG, EMU = 3, 18, 40
Box = tuple[int, int, int, int]
SMALL, LARGE, ELSEWHERE = (10, 10, 30, 30), (40, 40, 140, 140), (100, 0, 120, 20)


def right(photo: int, category: int, box: Box, **more: Any) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    return {
        "image_id": photo,
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
        **more,
    }


def found(photo: int, category: int, box: Box, score: float = 0.9) -> MaskResult:
    segmentation = encode_rle(rectangle(*box, size_hw=SIZE))
    return MaskResult(image_id=photo, category_id=category, segmentation=segmentation, score=score)


def ground_truth(
    *rows: dict[str, Any], lvis: dict[int, dict[str, Any]] | None = None
) -> GroundTruth:
    """Two photos, 0 and 1; by LVIS's rules cats are rare, dogs common, emus frequent."""
    images: list[dict[str, Any]] = [
        {"id": i, "file_name": f"{i}.jpg", "height": SIZE[0], "width": SIZE[1]} for i in (0, 1)
    ]
    names = ((CAT, "cat", "r"), (DOG, "dog", "c"), (EMU, "emu", "f"))
    categories = [{"id": i, "name": name, "frequency": often} for i, name, often in names]
    if lvis is None:
        categories = [{"id": row["id"], "name": row["name"]} for row in categories]
    else:
        images = [{**row, "neg_category_ids": [], **lvis.get(row["id"], {})} for row in images]
    annotations = [{"id": number, **row} for number, row in enumerate(rows)]
    return parse_ground_truth(
        {"images": images, "annotations": annotations, "categories": categories}
    )


def measured(what: GroundTruth, *results: MaskResult, **options: Any) -> AveragePrecision:
    return average_precision(what, results, what.annotations.photos, **options)


TWO = (right(0, CAT, SMALL), right(1, DOG, LARGE))


def test_perfect_masks() -> None:
    ap = measured(ground_truth(*TWO), found(0, CAT, SMALL), found(1, DOG, LARGE))
    expected = {"AP": 1, "AP50": 1, "AP75": 1, "AP_small": 1, "AP_medium": None, "AP_large": 1}
    assert ap.figures == pytest.approx(expected)
    assert ap.by_class == pytest.approx({"cat": 1, "dog": 1}), "there is no emu"
    assert ap.as_dict() == {**ap.figures, "rules": "coco", "by_class": dict(ap.by_class)}


def test_a_wrong_class_is_nothing_for_its_own() -> None:
    ap = measured(ground_truth(*TWO), found(0, CAT, SMALL), found(1, CAT, LARGE, 0.5))
    assert ap.by_class == pytest.approx({"cat": 1, "dog": 0})
    assert ap.figures["AP"] == pytest.approx(0.5)


def test_nothing_found() -> None:
    assert measured(ground_truth(*TWO)).by_class == pytest.approx({"cat": 0, "dog": 0})
    assert measured(ground_truth(*TWO, lvis={})).by_class == pytest.approx({"cat": 0, "dog": 0})
    assert measured(ground_truth(), found(0, CAT, SMALL)).figures["AP"] is None


@pytest.mark.parametrize("lvis", [None, {1: {"neg_category_ids": [CAT]}}])
def test_two_photos_by_hand(lvis: dict[int, dict[str, Any]] | None) -> None:
    """Right, wrong, and right with IoU 0.5: two cats in two photos.

    Up to a recall of 0.5 (51 of the 101 points) the precision is 1; up to 1 (the other 50) it is
    2/3 where an IoU of 0.5 will do, else there is no such recall.
    """
    half = (40, 40, 90, 140)
    ap = measured(
        ground_truth(right(0, CAT, SMALL), right(1, CAT, LARGE), lvis=lvis),
        found(1, CAT, half, 0.7),
        found(0, CAT, SMALL, 0.9),
        found(0, CAT, ELSEWHERE, 0.8),
    )
    loose, strict = (51 + 50 * 2 / 3) / 101, 51 / 101
    assert ap.figures["AP50"] == pytest.approx(loose)
    assert ap.figures["AP75"] == pytest.approx(strict)
    assert ap.figures["AP"] == pytest.approx((loose + 9 * strict) / 10)


def test_photos_and_classes_that_do_not_count() -> None:
    what = ground_truth(*TWO)
    results = [found(0, CAT, SMALL)]
    one = average_precision(what, results, what.annotations.photos[:1])
    assert one.by_class == pytest.approx({"cat": 1})
    assert measured(what, *results, categories=[CAT, EMU]).by_class == pytest.approx({"cat": 1})


def test_what_is_in_a_crowd_is_not_wrong() -> None:
    crowd = right(0, CAT, LARGE, iscrowd=1)
    results = found(0, CAT, (50, 50, 60, 60), 0.9), found(0, CAT, SMALL, 0.5)
    assert measured(ground_truth(TWO[0], crowd), *results).by_class == pytest.approx({"cat": 1})
    assert measured(ground_truth(TWO[0]), *results).by_class == pytest.approx({"cat": 0.5})


def test_an_area_that_is_not_annotated_is_the_masks() -> None:
    row = right(0, CAT, LARGE)
    del row["area"]
    assert measured(ground_truth(row), found(0, CAT, LARGE)).figures["AP_large"] == pytest.approx(1)


def drawn(seed: int) -> tuple[list[dict[str, Any]], list[MaskResult]]:
    """Ten objects, two of them crowds, and about two guesses at each: moved, some misnamed."""
    rng = np.random.default_rng(seed)
    rows, results = [], []
    for i in range(10):
        x, y = (int(v) for v in rng.integers(20, 90, 2))
        side = int(rng.integers(8, 60))
        photo, category = i % 2, (CAT, DOG)[i // 5]
        rows.append(right(photo, category, (x, y, x + side, y + side), iscrowd=int(i % 5 == 4)))
        for _ in range(rng.integers(0, 4)):
            dx, dy = (int(v) for v in rng.integers(-side // 6, side // 6 + 1, 2))
            box = (x + dx, y + dy, x + dx + side, y + dy + side)
            guess = category if rng.random() < 0.8 else EMU
            results.append(found(photo, guess, box, float(rng.random())))
    return rows, results


def by_pycocotools(what: GroundTruth, results: list[MaskResult]) -> list[float]:
    """Its own way from files to figures; its ids must begin with 1: 0 is never found."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [dict(row) for row in what.photo_rows],
            "categories": [{"id": i, "name": c.name} for i, c in what.categories.items()],
            "annotations": [{**row, "id": row["id"] + 1} for row in what.rows],
        }
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(copy.deepcopy(results)), "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float(value) for value in run.stats[:6]]


def assert_as_pycocotools(what: GroundTruth, results: list[MaskResult]) -> None:
    figures = [
        -1 if value is None else value for value in measured(what, *results).figures.values()
    ]
    theirs = by_pycocotools(what, results)
    assert 0 < theirs[0] < 1
    assert [-1 if f is None else f for f in figures] == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_as_pycocotools(seed: int) -> None:
    rows, results = drawn(seed)
    assert_as_pycocotools(ground_truth(*rows), results)


@pytest.mark.data
def test_as_pycocotools_on_photos(photos_root: Path) -> None:
    """Every object of COCO's sample is found a little to the side, some under another name."""
    path = photos_root / "coco_sample/annotations/instances_val2017.json"
    if not path.exists():
        pytest.skip(f"needs the optional photos: no {path}")
    what = read_ground_truth(path)
    rng = np.random.default_rng(0)
    names = {category.name: number for number, category in what.categories.items()}
    results = []
    for instance in what.annotations.instances:
        mask = instance.mask(what.photos[instance.photo_id].size_hw)
        moved = np.roll(mask, rng.integers(-6, 7, 2), (0, 1))
        results.append(
            MaskResult(
                image_id=instance.photo_id,
                category_id=names[instance.category] if rng.random() < 0.8 else 1,
                segmentation=encode_rle(moved),
                score=float(rng.random()),
            )
        )
    assert_as_pycocotools(what, results)


ABSENT, PARTLY = {"neg_category_ids": [DOG]}, {"not_exhaustive_category_ids": [DOG]}


@pytest.mark.parametrize(
    ("photo", "dogs"),
    [({}, 1), (ABSENT, 0.5)],
    ids=["not said", "absent"],
)
def test_lvis_counts_what_a_photo_says_is_absent(photo: dict[str, Any], dogs: float) -> None:
    """A dog is found with more certainty in photo 0, where there is a cat."""
    ap = measured(
        ground_truth(*TWO, lvis={0: photo}),
        found(0, DOG, ELSEWHERE, 0.9),
        found(1, DOG, LARGE, 0.5),
        found(0, CAT, SMALL),
    )
    assert ap.by_class == pytest.approx({"cat": 1, "dog": dogs})
    assert ap.figures["AP_rare"] == pytest.approx(1)
    assert ap.figures["AP_common"] == pytest.approx(dogs)
    assert ap.figures["AP_frequent"] is None
    assert ap.rules == "lvis"


@pytest.mark.parametrize(("photo", "dogs"), [({}, 0.5), (PARTLY, 1)])
def test_lvis_forgives_where_not_all_are_marked(photo: dict[str, Any], dogs: float) -> None:
    results = found(1, DOG, ELSEWHERE, 0.9), found(1, DOG, LARGE, 0.5)
    assert measured(ground_truth(*TWO, lvis={1: photo}), *results).by_class == pytest.approx(
        {"cat": 0, "dog": dogs}
    )


def test_how_many_of_a_class_count_in_a_photo() -> None:
    """100 by COCO's rules and 300 by LVIS's: the right one comes after 150 that are wrong."""
    results = [*[found(0, CAT, ELSEWHERE, 0.9)] * 150, found(0, CAT, SMALL, 0.5)]
    assert measured(ground_truth(TWO[0]), *results).figures["AP"] == 0
    assert measured(ground_truth(TWO[0], lvis={}), *results).figures["AP"] == pytest.approx(1 / 151)


def test_lvis_where_a_photo_has_nothing_that_is_judged() -> None:
    ap = measured(ground_truth(TWO[0], lvis={}), found(0, CAT, SMALL), found(1, DOG, SMALL))
    assert ap.by_class == pytest.approx({"cat": 1})


def test_annotations_without_a_mask_are_named() -> None:
    row = right(1, DOG, LARGE)
    del row["segmentation"]
    with pytest.raises(
        AnnotationError, match=r"annotations\[1\] \(id 1\) of 'annotations'.*polygons"
    ):
        measured(ground_truth(TWO[0], row))
    unlisted = right(1, 99, LARGE, iscrowd=1)
    with pytest.raises(AnnotationError, match=r"annotations\[0\].* category 99, .* not listed"):
        measured(ground_truth(unlisted))
