"""COCO results, the file that detectors write: read and checked entry by entry, and written.

A file is a list of `{image_id, category_id, bbox, score}` with `bbox` = x, y, width, height in
photo pixels. Detectron2, MMDetection, Ultralytics and torchvision's reference write it; whatever
else stands in an entry, such as a detector's own masks, is ignored. Ultralytics takes the
name of a photo's file for its id: a text as `image_id` is such a name without folder and suffix,
and so is a number where not all are ids. A `file_name` decides where the photos have it once.
Files that seem to mean other photos, classes or boxes than they say are warned of.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator
from typing_extensions import TypedDict  # which pydantic can check before Python 3.12

from ovsam.config import Share
from ovsam.errors import AnnotationError, quoted
from ovsam.formats.annotations import Photo
from ovsam.formats.ground_truth import GroundTruth
from ovsam.formats.json_rows import as_float, read_json
from ovsam.formats.mismatch import BestBox, mismatches
from ovsam.formats.photo_names import PhotoNames, as_posix, base_name
from ovsam.geometry import Rle, clip_box_xyxy, rle_area

BORDER_SLACK = 2  # pixels; rounding moves a side by less

KEYS = ("image_id", "category_id", "bbox", "score")


class BoxResult(TypedDict):
    """An entry that a detector writes; `bbox` is x, y, width, height in photo pixels."""

    image_id: int
    category_id: int
    bbox: list[float]
    score: float


def _checked(rle: Rle) -> Rle:
    rle_area(rle)
    return rle


class MaskResult(TypedDict):
    """An entry with a mask of the photo's size; without a box, so that sizes go by the mask."""

    image_id: int
    category_id: int
    segmentation: Annotated[Rle, AfterValidator(_checked)]  # where it is read back
    score: Share


@dataclass(frozen=True, slots=True)
class Detection:
    """A detector's box.

    Attributes:
        photo_id: the photo that it is in.
        category_id: its class by the detector.
        box_xyxy: the part inside the photo, photo pixels, max corner exclusive, of some size.
        score: in [0, 1].
    """

    photo_id: int
    category_id: int
    box_xyxy: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True, eq=False)
class Detections:
    """A detector's boxes.

    Attributes:
        by_photo: by photo id, in the file's order; photos without any are not in it.
        warnings: a sentence for each thing that the file seems to mean otherwise.
    """

    by_photo: Mapping[int, Sequence[Detection]]
    warnings: tuple[str, ...] = ()


def read_detections(path: Path, ground_truth: GroundTruth) -> Detections:
    """Read a detector's boxes.

    Raises:
        AnnotationError: no such file, or an entry that cannot be used, which it names.
    """
    return parse_detections(read_json(path), ground_truth, str(path))


def parse_detections(
    content: object, ground_truth: GroundTruth, source: str = "results"
) -> Detections:
    """The same from already parsed JSON; `source` names it in errors."""
    if not isinstance(content, list):
        raise AnnotationError(
            f"{source!r} must be a list of detections {{{', '.join(KEYS)}}}, as COCO's results "
            f"are, got {_kind(content)}. Give such a file."
        )
    names = PhotoNames(ground_truth.annotations.photos)
    by_number = names.are_numbers(content, ground_truth.photos)
    found: dict[int, list[Detection]] = {}
    best: dict[int, tuple[float, BestBox]] = {}  # by photo id, with its score
    photos = []
    for index, row in enumerate(content):
        where = f"Entry {index} of {source!r}"
        try:
            photo, by_id = _photo(row, ground_truth, names, by_number, where)
            detection = _detection(row, ground_truth, photo, where)
        except AnnotationError as error:
            raise AnnotationError(
                f"{error} Correct the entry or take it out, or give the annotations that the "
                "detector was asked with."
            ) from error
        found.setdefault(photo.id, []).append(detection)
        if photo.id not in best or detection.score > best[photo.id][0]:
            x, y, width, height = map(float, row["bbox"])
            box = BestBox(photo.id, by_id, detection.category_id, (x, y, width, height))
            best[photo.id] = detection.score, box
        photos.append(photo)
    warnings = _format_warnings(content, photos, source)
    if by_number:
        warnings.append(
            f"The image_id of {source!r} are not all ids of {ground_truth.source!r}, but each is "
            "the number in the name of a photo's file, as Ultralytics writes it, and is taken for "
            "that."
        )
    warnings += mismatches([one for _, one in best.values()], ground_truth, source)
    return Detections(found, tuple(warnings))


def _format_warnings(
    rows: Sequence[Mapping[str, Any]], photos: Sequence[Photo], source: str
) -> list[str]:
    """Refuse shares of the photo, and warn of two corners, in place of x, y, width, height.

    Raises:
        AnnotationError: no number of any box is above 1.
    """
    boxes = [row["bbox"] for row in rows]
    if boxes and all(max(box) <= 1 for box in boxes):
        raise AnnotationError(
            f"All boxes of {source!r} lie within one pixel, so they seem to be shares of the "
            "photo. A bbox must be x, y, width, height in pixels: multiply by the photo's sides."
        )
    out = sum(
        x + width > photo.size_hw[1] + BORDER_SLACK or y + height > photo.size_hw[0] + BORDER_SLACK
        for (x, y, width, height), photo in zip(boxes, photos, strict=True)
    )
    if out <= len(boxes) / 4:
        return []
    return [
        f"{out} of the {len(boxes)} boxes of {source!r} stick out of their photo by more than "
        f"{BORDER_SLACK} pixels and are cut. A bbox must be x, y, width, height, not two corners."
    ]


def results_to_json(results: Iterable[BoxResult] | Iterable[MaskResult]) -> bytes:
    """COCO results as a file, one entry on each line."""
    rows = (json.dumps(row, allow_nan=False) for row in results)
    return ("[\n" + ",\n".join(rows) + "\n]\n").encode()


def _detection(
    row: Mapping[str, Any], ground_truth: GroundTruth, photo: Photo, where: str
) -> Detection:
    category_id = row["category_id"]
    if type(category_id) is not int or category_id not in ground_truth.categories:
        raise AnnotationError(
            f"{where} has the category_id {quoted(category_id)}, which {ground_truth.source!r} "
            "does not list; its ids are whole numbers from "
            f"{min(ground_truth.categories, default=0)} to "
            f"{max(ground_truth.categories, default=0)}."
        )
    score = row["score"]
    if not _is_number(score) or not 0 <= score <= 1:  # nor is NaN
        raise AnnotationError(f"{where} must have a score from 0 to 1, got {quoted(score)}.")
    return Detection(photo.id, category_id, _box_xyxy(row["bbox"], photo, where), float(score))


def _photo(
    row: object, ground_truth: GroundTruth, names: PhotoNames, by_number: bool, where: str
) -> tuple[Photo, bool]:
    """The photo of an entry, and whether it is known by its id."""
    if not isinstance(row, dict):
        raise AnnotationError(f"{where} must be an object, got {_kind(row)}.")
    missing = [key for key in KEYS if key not in row]
    if missing:
        raise AnnotationError(f"{where} lacks {' and '.join(map(repr, missing))}.")
    image_id, file_name = row["image_id"], row.get("file_name")
    named = names.find(file_name)
    if named is not None:
        return named, False
    photo, by_id = None, False
    if type(image_id) is int:
        by_id = not by_number
        photo = ground_truth.photos.get(image_id) if by_id else names.by_number.get(image_id)
    elif isinstance(image_id, str):
        name = as_posix(image_id)
        photo = names.by_stem.get(name) or names.find(name)
    if photo is None:
        raise AnnotationError(
            f"{where} has the image_id {quoted(image_id)}, which {ground_truth.source!r} does not "
            "list: it must be the id of a photo, or as a text the name of its file without suffix."
        )
    if isinstance(file_name, str) and base_name(file_name) != base_name(photo.file_name):
        raise AnnotationError(
            f"{where} has the image_id {quoted(image_id)} and the file_name {quoted(file_name)}, "
            f"but that photo is {quoted(photo.file_name)} in {ground_truth.source!r}."
        )
    return photo, by_id


def _box_xyxy(bbox: object, photo: Photo, where: str) -> tuple[float, float, float, float]:
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
        raise AnnotationError(
            f"{where} must have a bbox of four numbers x, y, width, height, got {quoted(bbox)}."
        )
    x, y, width, height = map(as_float, bbox)
    if not all(map(math.isfinite, (x, y, width, height))):
        raise AnnotationError(f"{where} must have finite numbers as bbox, got {quoted(bbox)}.")
    if width <= 0 or height <= 0:
        raise AnnotationError(
            f"{where} must have a bbox x, y, width, height of some size, got {quoted(bbox)}."
        )
    x0, y0, x1, y1 = clip_box_xyxy([x, y, x + width, y + height], photo.size_hw).tolist()
    if x0 >= x1 or y0 >= y1:
        raise AnnotationError(
            f"{where} has the bbox {quoted(bbox)} (x, y, width, height), which lies outside of its "
            f"photo of {photo.size_hw[1]} x {photo.size_hw[0]} pixels."
        )
    return x0, y0, x1, y1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return names.get(type(value)) or quoted(value)
