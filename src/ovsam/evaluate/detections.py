"""A detector's boxes as prompts: masks by us, names by us or by the detector, and their mask AP.

Protocol: every box is a prompt. The detector's score ranks in either case, and where its names
count, too, the model only segments. With our names, a detection's class is the one that our first
name stands for; a name that stands for no class of the annotation file drops the detection. Photos
in which the detector found nothing count too, as what was missed there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ovsam.evaluate.answers import check_names_objects
from ovsam.evaluate.average_precision import AveragePrecision, average_precision
from ovsam.evaluate.detection_plan import Plan, plan
from ovsam.evaluate.kinds import LabelSource
from ovsam.evaluate.left_out import LeftOut
from ovsam.evaluate.photos import read_annotated_photo
from ovsam.formats.annotations import Photo
from ovsam.formats.coco_results import Detection, Detections, MaskResult
from ovsam.formats.ground_truth import GroundTruth
from ovsam.geometry import Rle, encode_rle
from ovsam.jobs.run import HERE, Job, Record, photo_by_photo
from ovsam.segmenter import Segmenter
from ovsam.structures import Prompt

BOXES_AT_ONCE = 32  # bounds the memory of masks before they are run lengths


@dataclass(frozen=True)
class DetectionReport:
    """What `evaluate_detections` found.

    Attributes:
        model: its name.
        labels: who named the objects.
        vocabulary: what we named them from; None where the detector did.
        zoom: whether the model zoomed on each object.
        photos: how many counted, those without a box included.
        boxes: how many were prompts.
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


def evaluate_detections(
    predictor: Segmenter,
    ground_truth: GroundTruth,
    detections: Detections,
    images_dir: Path,
    *,
    labels: LabelSource,
    planned: Plan | None = None,
    job: Job = HERE,
) -> DetectionReport:
    """Prompt with every box, measure the mask AP.

    Args:
        predictor: its own vocabulary is the one that our names are from; with the detector's
            names neither a vocabulary nor a text model is needed.
        ground_truth: the annotations.
        detections: a detector's boxes.
        images_dir: the folder of the photos; those without a box are not read.
        labels: whose names count.
        planned: what `plan` gave for these; None = it is made now, of all photos.
        job: how the photos with a box are gone through.

    Raises:
        AnnotationError: see `plan`.
        OvsamError: our names count, and the model makes masks alone.
        OutputError: the journal is of other settings, or cannot be used.
    """
    if labels == "ours":
        check_names_objects(predictor)
    if planned is None:
        vocabulary = predictor.vocabulary if labels == "ours" else None
        planned = plan(ground_truth, detections, images_dir, vocabulary)
    vocabulary, names, items = planned.vocabulary, planned.names, planned.items
    done = photo_by_photo(
        predictor,
        partial(_photo_results, images_dir=images_dir, names=names),
        items,
        job=job,
        record=Record(
            MaskResult,
            predictor,
            settings=lambda: {
                "measures": "masks for boxes",
                "annotations": ground_truth.annotations.fingerprint,
                "boxes": _fingerprint(detections.by_photo),
                "labels": labels,
                "vocabulary": None if vocabulary is None else vocabulary.fingerprint,
                "categories": None if names is None else sorted(map(list, names.items())),
                "zoom": predictor.zoom,
            },
            fits=partial(_fits, names=names),
        ),
    )
    results = done.rows
    boxes = sum(len(chosen) for _, chosen in items.values())
    evaluated = planned.evaluated_classes
    precision = average_precision(ground_truth, results, planned.photos, evaluated)
    return DetectionReport(
        model=predictor.model_name,
        labels=labels,
        vocabulary=None if vocabulary is None else vocabulary.name,
        zoom=predictor.zoom,
        photos=len(planned.photos),
        boxes=boxes,
        left_out=tuple(c.name for i, c in ground_truth.categories.items() if i not in evaluated),
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


def _fingerprint(detections: Mapping[int, Sequence[Detection]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for found in detections.values():
        digest.update(repr(found).encode())
    return digest.hexdigest()


def _fits(
    item: tuple[Photo, Sequence[Detection]],
    rows: Sequence[MaskResult],
    names: Mapping[str, int] | None,
) -> bool:
    """Whether these are masks for the photo's boxes."""
    photo, detections = item
    sizes = list(photo.size_hw)
    if any(row["image_id"] != photo.id or row["segmentation"]["size"] != sizes for row in rows):
        return False
    if names is None:
        found = [(row["category_id"], row["score"]) for row in rows]
        return found == [(box.category_id, box.score) for box in detections]
    known = set(names.values())
    return len(rows) <= len(detections) and all(row["category_id"] in known for row in rows)


def _photo_results(
    predictor: Segmenter,
    item: tuple[Photo, Sequence[Detection]],
    images_dir: Path,
    names: Mapping[str, int] | None,
) -> list[MaskResult]:
    """A mask for each detection; `names` are category ids by our names, None = the detector's."""
    photo, detections = item
    encoded = predictor.encode(read_annotated_photo(photo, images_dir))
    results: list[MaskResult] = []
    for first in range(0, len(detections), BOXES_AT_ONCE):
        some = detections[first : first + BOXES_AT_ONCE]
        masks = _masks(predictor, encoded, some, names is not None)
        for detection, (mask, name) in zip(some, masks, strict=True):
            category_id = detection.category_id if names is None else names.get(name)
            if category_id is not None:
                results.append(
                    {
                        "image_id": photo.id,
                        "category_id": category_id,
                        "segmentation": mask,
                        "score": detection.score,
                    }
                )
    return results


def _masks(
    predictor: Segmenter,
    encoded: Any,
    detections: Sequence[Detection],
    named: bool,
) -> Iterator[tuple[Rle, str]]:
    """The mask of each detection, and its first name; "" where there is none, or not `named`."""
    prompts = [Prompt(box_xyxy=np.array(detection.box_xyxy)) for detection in detections]
    if named:
        for prediction in predictor.predict(encoded, prompts, top=1):
            yield encode_rle(prediction.mask), prediction.name
    else:
        for candidates in predictor.segment(encoded, prompts):
            yield encode_rle(candidates.mask), ""
