"""Mask AP by the rules of COCO and LVIS.

Computed by faster-coco-eval, whose figures are pycocotools' to the last digit by COCO's rules
(`benchmarks/scoring.py` compares them); the package `lvis` does not run with numpy 2. LVIS marks in
each photo some classes only. Detections of a class of which a photo says neither that it is there
nor that it is not do not count, unmatched ones of a class that is not wholly marked there do not
either, and 300 detections count for a photo instead of COCO's 100 for each class in it.

Classes are scored one by one, each on the photos that have it or where it was found: the
evaluator's tables have a cell for each photo and class, 24 million on LVIS's validation set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ovsam.errors import AnnotationError
from ovsam.formats.annotations import FREQUENCIES, Photo
from ovsam.formats.coco_results import MaskResult
from ovsam.formats.ground_truth import GroundTruth, Rules
from ovsam.geometry import rle_area, segmentation_to_rle

COCO_DETECTIONS = 100  # that count for a class in a photo
LVIS_DETECTIONS = 300  # that count for a photo
_SIZES = ("small", "medium", "large")
_GROUPS = ("rare", "common", "frequent")  # in the order of FREQUENCIES


@dataclass(frozen=True)
class AveragePrecision:
    """Mean AP in [0, 1]; None where there is no class with an object.

    Attributes:
        rules: whose they are.
        figures: AP (over IoU 0.5, 0.55, ... 0.95), AP50, AP75, AP_small, AP_medium, AP_large and,
            by LVIS's rules, AP_rare, AP_common, AP_frequent.
        by_class: AP of each class that has an object in the photos.
        beyond_best: COCO: how many results do not count, being none of the `COCO_DETECTIONS` best
            of their class in their photo.
        not_judged: LVIS: how many do not, being of a class of which their photo says nothing.
    """

    rules: Rules
    figures: Mapping[str, float | None]
    by_class: Mapping[str, float]
    beyond_best: int = 0
    not_judged: int = 0

    def as_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {**self.figures, "rules": self.rules, "by_class": dict(self.by_class)}


def average_precision(
    ground_truth: GroundTruth,
    results: Sequence[MaskResult],
    photos: Sequence[Photo],
    categories: Collection[int] | None = None,
) -> AveragePrecision:
    """Mask AP of results on some photos, those in which nothing was found included.

    Args:
        ground_truth: the annotations; its rules are the ones that are followed.
        results: of these photos; by LVIS's rules at most `LVIS_DETECTIONS` for each.
        photos: those that count.
        categories: ids of the classes that count; None = all.

    Raises:
        AnnotationError: an annotated mask is missing or malformed.
    """
    ids = sorted(ground_truth.categories if categories is None else categories)
    chosen = {photo.id: photo for photo in photos}
    images = _images(ground_truth, chosen)
    annotated = ground_truth_rows(ground_truth, chosen)
    given, beyond_best = len(results), 0
    if ground_truth.rules == "lvis":
        results = _with_known_class(annotated, results, images)
    else:
        crowded = Counter((row["image_id"], row["category_id"]) for row in results)
        beyond_best = sum(max(0, count - COCO_DETECTIONS) for count in crowded.values())
    by_id = _by_category(annotated), _by_category(_predicted_rows(results))
    ids = [i for i in ids if i in by_id[0]]  # of a class without an object there is no AP
    parts = [_precision(ground_truth, i, by_id[0][i], by_id[1].get(i, []), images) for i in ids]
    precision = np.stack(parts, axis=2) if parts else np.full((10, 101, 0, 4), -1.0)  # (T, R, K, A)
    by_class = {
        ground_truth.categories[i].name: _mean(precision[:, :, k, 0]) for k, i in enumerate(ids)
    }
    figures = {
        "AP": _mean(precision[..., 0]),
        "AP50": _mean(precision[0, ..., 0]),
        "AP75": _mean(precision[5, ..., 0]),
        **{f"AP_{size}": _mean(precision[..., a]) for a, size in enumerate(_SIZES, start=1)},
    }
    if ground_truth.rules == "lvis":
        for letter, group in zip(FREQUENCIES, _GROUPS, strict=True):
            members = [
                k for k, i in enumerate(ids) if ground_truth.categories[i].frequency == letter
            ]
            figures[f"AP_{group}"] = _mean(precision[:, :, members, 0])
    return AveragePrecision(
        rules=ground_truth.rules,
        figures=figures,
        by_class={name: ap for name, ap in by_class.items() if ap is not None},
        beyond_best=beyond_best,
        not_judged=given - len(results) if ground_truth.rules == "lvis" else 0,
    )


def _mean(precision: NDArray[np.float64]) -> float | None:
    known = precision[precision > -1]  # -1 stands for a class without an object
    return float(known.mean()) if known.size else None


def _precision(
    ground_truth: GroundTruth,
    category_id: int,
    annotated: list[dict[str, Any]],
    predicted: list[dict[str, Any]],
    images: Mapping[int, dict[str, Any]],
) -> NDArray[np.float64]:
    """Precision `(T, R, A)` at T IoU thresholds and R recalls of one class, for A sizes.

    The first of the sizes is all of them. It is -1 where there is no object.
    """
    lvis = ground_truth.rules == "lvis"
    frequency = ground_truth.categories[category_id].frequency
    seen = {row["image_id"] for rows in (annotated, predicted) for row in rows}
    sets = []
    for rows in (annotated, predicted):
        made = COCO()
        made.dataset = {
            "info": {},
            "images": [images[photo_id] for photo_id in sorted(seen)],
            "categories": [{"id": category_id, "frequency": frequency}],
            "annotations": rows,
        }
        made.createIndex()
        sets.append(made)
    run = COCOeval_faster(*sets, "segm", lvis_style=lvis, rle_iou_max_workers=1)
    if lvis:
        run.params.maxDets = [LVIS_DETECTIONS]
    run.evaluate()
    run.accumulate()
    precision: NDArray[np.float64] = np.asarray(run.eval["precision"])[..., 0, :, -1]
    return precision


def _by_category(rows: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["category_id"], []).append(row)
    return groups


def _images(ground_truth: GroundTruth, photos: Mapping[int, Photo]) -> dict[int, dict[str, Any]]:
    return {
        photo["id"]: {
            "id": photo["id"],
            "height": photo["height"],
            "width": photo["width"],
            "neg_category_ids": photo.get("neg_category_ids") or [],
            "not_exhaustive_category_ids": photo.get("not_exhaustive_category_ids") or [],
        }
        for photo in ground_truth.photo_rows
        if photo["id"] in photos
    }


def ground_truth_rows(
    ground_truth: GroundTruth, photos: Mapping[int, Photo]
) -> list[dict[str, Any]]:
    """Annotations of some photos as the evaluator wants them, with masks as run lengths.

    Their ids are from 1 on: to the evaluator, an object with the id 0 is never found.

    Raises:
        AnnotationError: names the first that is malformed, crowds among them.
    """
    rows: list[dict[str, Any]] = []
    for index, row in enumerate(ground_truth.rows):
        photo_id = row["image_id"]
        if photo_id not in photos:
            continue
        where = f"annotations[{index}] (id {row['id']}) of {ground_truth.source!r}"
        try:
            code = segmentation_to_rle(row.get("segmentation", []), photos[photo_id].size_hw)
        except AnnotationError as error:
            raise AnnotationError(f"{where}: {error} Correct it or take it out.") from error
        rows.append(
            {
                "id": len(rows) + 1,
                "image_id": photo_id,
                "category_id": row["category_id"],
                "segmentation": code,
                "area": float(rle_area(code) if row.get("area") is None else row["area"]),
                "iscrowd": int(bool(row.get("iscrowd"))),
            }
        )
    return rows


def _with_known_class(
    annotated: Sequence[Mapping[str, Any]],
    results: Sequence[MaskResult],
    images: Mapping[int, Mapping[str, Any]],
) -> list[MaskResult]:
    """The detections of classes that are marked in their photo, or known to be absent from it.

    The evaluator would leave out the others by itself, but fails where a photo has nothing else.
    """
    known = {(row["image_id"], row["category_id"]) for row in annotated}
    for photo_id, photo in images.items():
        known |= {(photo_id, category_id) for category_id in photo["neg_category_ids"]}
    return [row for row in results if (row["image_id"], row["category_id"]) in known]


def _predicted_rows(results: Sequence[MaskResult]) -> list[dict[str, Any]]:
    return [
        {
            **result,
            "id": number,
            "area": float(coco_mask.area(result["segmentation"])),
            "iscrowd": 0,
        }
        for number, result in enumerate(results, start=1)
    ]
