"""A detector's boxes as prompts: masks by us, names by us or by the detector, and their mask AP.

Protocol: every box is a prompt, its photo's boxes are asked together. The detector's score ranks in
either case. With our names, a detection's class is the one that our first name stands for; a
name that stands for no class of the annotation file drops the detection. Photos in which the
detector found nothing count too, as what was missed there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ovsam.errors import AnnotationError, OvsamError
from ovsam.evaluate.average_precision import (
    LVIS_DETECTIONS,
    AveragePrecision,
    average_precision,
    right_rows,
)
from ovsam.evaluate.instances import check_photos, read_annotated_photo, right_name
from ovsam.evaluate.left_out import LeftOut, beyond
from ovsam.formats.annotations import Photo
from ovsam.formats.coco_results import Detection, Detections, MaskResult
from ovsam.formats.ground_truth import Rules, Truth
from ovsam.geometry import encode_rle
from ovsam.jobs.processes import Workers
from ovsam.jobs.run import Progress, photo_by_photo
from ovsam.structures import Prompt
from ovsam.vocabulary.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovsam.predictor.predictor import Predictor

LabelSource = Literal["detector", "ours"]
BOXES_AT_ONCE = 32  # bounds the memory of masks before they are run lengths


@dataclass(frozen=True)
class DetectionReport:
    """What `evaluate_detections` found.

    Attributes:
        model: its name.
        labels: who named the objects.
        vocabulary: what we named them from; None where the detector did.
        zoom: whether the model looked again at each object.
        photos: how many counted, those without a box included.
        boxes: how many were asked about.
        left_out: names of the classes that the vocabulary never answers, which do not count.
        seconds: that all took.
        not_counted: what of the files is in no figure.
        warnings: what is said of the detector's file, see `Detections`.
        precision: the mask AP.
        results: masks in the order of the photos.
    """

    model: str
    labels: LabelSource
    vocabulary: str | None
    zoom: bool
    photos: int
    boxes: int
    left_out: tuple[str, ...]
    seconds: float
    not_counted: LeftOut
    warnings: tuple[str, ...]
    precision: AveragePrecision
    results: tuple[MaskResult, ...]

    @property
    def unlisted(self) -> int:
        """How many boxes are missing because our name is no class of the file."""
        return self.not_counted.boxes_unlisted

    def as_dict(self) -> dict[str, object]:
        """Plain JSON values; without the masks."""
        return {
            **self.precision.as_dict(),
            "model": self.model,
            "labels": self.labels,
            "vocabulary": self.vocabulary,
            "zoom": self.zoom,
            "photos": self.photos,
            "boxes": self.boxes,
            "unlisted": self.unlisted,
            "left_out": list(self.left_out),
            "not_counted": self.not_counted.as_dict(),
            "warnings": list(self.warnings),
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True, eq=False)
class Plan:
    """What is asked about and what counts, all of it checked.

    Attributes:
        photos: those that count.
        items: those with a box, and their boxes that count, by photo id.
        labels: whose names count.
        names: with our names, the category id that each stands for; None = the detector's.
        categories: ids of the classes that count.
        not_counted: what does not, as far as it is known beforehand.
    """

    photos: Sequence[Photo]
    items: Mapping[int, tuple[Photo, Sequence[Detection]]]
    labels: LabelSource
    names: Mapping[str, int] | None
    categories: frozenset[int]
    not_counted: LeftOut


def plan(
    truth: Truth,
    detections: Detections,
    images_dir: Path,
    vocabulary: Vocabulary,
    *,
    labels: LabelSource,
    limit: int | None = None,
) -> Plan:
    """Choose photos and boxes, and check all that the work needs, before a model is loaded.

    Args:
        truth: what is right.
        detections: a detector's boxes.
        images_dir: the folder of the photos; those without a box are not read.
        vocabulary: what our names are from.
        labels: whose names count.
        limit: only the first so many photos of the annotation file.

    Raises:
        AnnotationError: a photo is missing or of another size, an annotated mask is malformed,
            there is no box, or the vocabulary lacks the class of an annotated object.
    """
    every = truth.annotations.photos
    photos = every[:limit]
    if not photos:
        raise AnnotationError(
            f"There is no photo to evaluate: {truth.source!r} lists none. Give a file that does."
        )
    boxes = detections.by_photo
    with_boxes = [photo for photo in photos if photo.id in boxes]
    asked = check_photos(truth.source, with_boxes, images_dir)
    names = _categories_by_name(truth, photos, vocabulary) if labels == "ours" else None
    counted = _answered(truth, names, vocabulary)
    if not asked:
        raise AnnotationError(
            f"There is no box to evaluate: the results have none in the {len(photos):,} photos of "
            f"{truth.source!r} that count. Check that both are of the same photos."
        )
    right = right_rows(truth, {photo.id: photo for photo in photos})  # or refuse it
    items = {photo.id: (photo, _chosen(boxes[photo.id], truth.rules)) for photo in asked}
    late = every[len(photos) :]
    never = sum(not row["iscrowd"] and row["category_id"] not in counted for row in right)
    not_counted = replace(
        beyond(truth.annotations, late),
        objects_never_answered=never,
        boxes_beyond_limit=sum(len(boxes.get(photo.id, ())) for photo in late),
        boxes_beyond_best=sum(len(boxes[i]) - len(kept) for i, (_, kept) in items.items()),
    )
    return Plan(photos, items, labels, names, counted, not_counted)


def evaluate_detections(
    predictor: Predictor,
    truth: Truth,
    detections: Detections,
    images_dir: Path,
    *,
    labels: LabelSource,
    zoom: bool | None = None,
    limit: int | None = None,
    planned: Plan | None = None,
    journal: Path | None = None,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> DetectionReport:
    """Prompt with every box, measure the mask AP.

    Args:
        predictor: its own vocabulary is the one that our names are from.
        truth: what is right.
        detections: a detector's boxes.
        images_dir: the folder of the photos; those without a box are not read.
        labels: whose names count.
        zoom: as for `Predictor.predict`; None = the model's own default.
        limit: only the first so many photos of the annotation file.
        planned: what `plan` gave for these; None = it is made, and all is checked, now.
        journal: a file of the masks of each photo, as for `run.evaluate`.
        workers: processes that the photos are shared out over.
        progress: called with (photos done, photos in all) after each photo with a box.

    Raises:
        AnnotationError: see `plan`.
        OvsamError: our names are asked of an oracle.
        OutputError: the journal is of other settings, or cannot be used.
    """
    if labels == "ours" and predictor.has_oracle:
        raise OvsamError(
            f"{predictor.name} is told the names of annotated objects, and a detector's boxes are "
            "none. Take the detector's names, or another model."
        )
    if planned is None:
        planned = plan(
            truth, detections, images_dir, predictor.vocabulary, labels=labels, limit=limit
        )
    names, items, counted = planned.names, planned.items, planned.categories
    zoomed = predictor.zoom if zoom is None else zoom
    done = photo_by_photo(
        predictor,
        partial(_photo_results, images_dir=images_dir, names=names, zoom=zoom),
        items,
        MaskResult,
        fits=partial(_fits, names=names),
        settings=lambda: {
            "measures": "masks for boxes",
            "annotations": truth.annotations.fingerprint,
            "boxes": _fingerprint(detections.by_photo),
            "labels": labels,
            "vocabulary": None if names is None else predictor.vocabulary.fingerprint,
            "categories": None if names is None else sorted(map(list, names.items())),
            "zoom": zoomed,
        },
        journal=journal,
        workers=workers,
        progress=progress,
    )
    results = done.rows
    boxes = sum(len(chosen) for _, chosen in items.values())
    precision = average_precision(truth, results, planned.photos, counted)
    return DetectionReport(
        model=predictor.name,
        labels=labels,
        vocabulary=None if names is None else predictor.vocabulary.name,
        zoom=zoomed,
        photos=len(planned.photos),
        boxes=boxes,
        left_out=tuple(c.name for i, c in truth.categories.items() if i not in counted),
        seconds=done.seconds,
        not_counted=replace(
            planned.not_counted,
            boxes_unlisted=boxes - len(results),
            boxes_beyond_best=planned.not_counted.boxes_beyond_best + precision.beyond_best,
            boxes_not_judged=precision.not_judged,
        ),
        warnings=detections.warnings,
        precision=precision,
        results=results,
    )


def _chosen(detections: Sequence[Detection], rules: Rules) -> Sequence[Detection]:
    """Those that count."""
    if rules == "coco":
        return detections
    return sorted(detections, key=lambda found: found.score, reverse=True)[:LVIS_DETECTIONS]


def _fingerprint(detections: Mapping[int, Sequence[Detection]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for found in detections.values():
        digest.update(repr(found).encode())
    return digest.hexdigest()


def _fits(
    asked: tuple[Photo, Sequence[Detection]],
    rows: Sequence[MaskResult],
    names: Mapping[str, int] | None,
) -> bool:
    """Whether these are masks for the photo's boxes."""
    photo, detections = asked
    sizes = list(photo.size_hw)
    if any(row["image_id"] != photo.id or row["segmentation"]["size"] != sizes for row in rows):
        return False
    if names is None:
        found = [(row["category_id"], row["score"]) for row in rows]
        return found == [(box.category_id, box.score) for box in detections]
    known = set(names.values())
    return len(rows) <= len(detections) and all(row["category_id"] in known for row in rows)


def _photo_results(
    predictor: Predictor,
    asked: tuple[Photo, Sequence[Detection]],
    images_dir: Path,
    names: Mapping[str, int] | None,
    zoom: bool | None,
) -> list[MaskResult]:
    """A mask for each detection; `names` are category ids by our names, None = the detector's."""
    photo, detections = asked
    encoded = predictor.encode(read_annotated_photo(photo, images_dir))
    results: list[MaskResult] = []
    for first in range(0, len(detections), BOXES_AT_ONCE):
        group = detections[first : first + BOXES_AT_ONCE]
        prompts = [Prompt(box_xyxy=np.array(detection.box_xyxy)) for detection in group]
        predictions = predictor.predict(encoded, prompts, zoom=zoom, top=1)
        for detection, prediction in zip(group, predictions, strict=True):
            category_id = detection.category_id if names is None else names.get(prediction.name)
            if category_id is not None:
                results.append(
                    {
                        "image_id": photo.id,
                        "category_id": category_id,
                        "segmentation": encode_rle(prediction.mask),
                        "score": detection.score,
                    }
                )
    return results


def _categories_by_name(
    truth: Truth, photos: Sequence[Photo], vocabulary: Vocabulary
) -> dict[str, int]:
    """The category id that each name of the vocabulary stands for, where it stands for one."""
    found: dict[str, int] = {}
    names = truth.annotations.names_in(vocabulary)
    for number, category in truth.categories.items():
        name = names[category.name]
        if name is not None and found.setdefault(name, number) != number:
            raise AnnotationError(
                f"The classes {truth.categories[found[name]].name!r} and {category.name!r} of "
                f"{truth.source!r} are both {name!r} in the vocabulary {vocabulary.name!r}. Give "
                "one that tells them apart, such as the annotation file itself."
            )
    for photo in photos:
        for instance in truth.annotations.by_photo.get(photo.id, ()):
            right_name(truth.annotations, instance, vocabulary, names)  # or refuse it
    return found


def _answered(
    truth: Truth, names: Mapping[str, int] | None, vocabulary: Vocabulary
) -> frozenset[int]:
    """Ids of the classes that count: all but those that we never answer."""
    if names is None:
        return frozenset(truth.categories)
    answerable = dict(zip(vocabulary.classes, vocabulary.answerable, strict=True))
    never = {number for name, number in names.items() if not answerable[name]}
    return frozenset(truth.categories) - never
