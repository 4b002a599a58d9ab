"""COCO results, the file that detectors write: read and checked entry by entry, and written.

A file is a list of `{image_id, category_id, bbox, score}` with `bbox` = x, y, width, height in
photo pixels. Detectron2, MMDetection, Ultralytics and torchvision's reference write it; whatever
else stands in an entry, such as a detector's own masks, is not looked at. Ultralytics takes the
name of a photo's file for its id: a text as `image_id` is such a name without folder and suffix,
and where there is a `file_name` it must be the photo's.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator
from typing_extensions import TypedDict  # which pydantic can check before Python 3.12

from ovsam.data.coco import Photo, as_float, read_json
from ovsam.errors import AnnotationError, quoted
from ovsam.evaluate.metrics import Share
from ovsam.evaluate.truth import Truth
from ovsam.geometry import Rle, clip_box_xyxy, rle_area

_log = logging.getLogger(__name__)
STICKS = 2  # pixels; rounding moves a side by less

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


def read_detections(path: Path, truth: Truth) -> dict[int, list[Detection]]:
    """A detector's boxes by photo id, in the file's order; photos without any are not in it.

    Raises:
        AnnotationError: no such file, or an entry that cannot be used, which it names.
    """
    return parse_detections(read_json(path), truth, str(path))


def parse_detections(
    content: object, truth: Truth, source: str = "results"
) -> dict[int, list[Detection]]:
    """The same from already parsed JSON; `source` names it in errors."""
    if not isinstance(content, list):
        raise AnnotationError(
            f"{source!r} must be a list of detections {{{', '.join(KEYS)}}}, as COCO's results "
            f"are, got {_kind(content)}. Give such a file."
        )
    stems = _photos_by_stem(truth.annotations.photos)
    found: dict[int, list[Detection]] = {}
    photos = []
    for index, row in enumerate(content):
        try:
            detection = _detection(row, truth, stems, f"Entry {index} of {source!r}")
        except AnnotationError as error:
            raise AnnotationError(
                f"{error} Correct the entry or take it out, or give the annotations that the "
                "detector was asked with."
            ) from error
        found.setdefault(detection.photo_id, []).append(detection)
        photos.append(truth.photos[detection.photo_id])
    _check_format(content, photos, source)
    return found


def _check_format(rows: Sequence[Mapping[str, Any]], photos: Sequence[Photo], source: str) -> None:
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
        x + width > photo.size_hw[1] + STICKS or y + height > photo.size_hw[0] + STICKS
        for (x, y, width, height), photo in zip(boxes, photos, strict=True)
    )
    if out > len(boxes) / 4:
        _log.warning(
            "%d of the %d boxes of '%s' stick out of their photo by more than %d pixels and are "
            "cut. A bbox must be x, y, width, height, not two corners.",
            out,
            len(boxes),
            source,
            STICKS,
        )


def results_to_json(results: Iterable[BoxResult] | Iterable[MaskResult]) -> bytes:
    """COCO results as a file, one entry on each line."""
    rows = (json.dumps(row, allow_nan=False) for row in results)
    return ("[\n" + ",\n".join(rows) + "\n]\n").encode()


def _detection(
    row: object, truth: Truth, stems: Mapping[str, Photo | None], where: str
) -> Detection:
    if not isinstance(row, dict):
        raise AnnotationError(f"{where} must be an object, got {_kind(row)}.")
    missing = [key for key in KEYS if key not in row]
    if missing:
        raise AnnotationError(f"{where} lacks {' and '.join(map(repr, missing))}.")
    photo = _photo(row, truth, stems, where)
    category_id = row["category_id"]
    if type(category_id) is not int or category_id not in truth.categories:
        raise AnnotationError(
            f"{where} has the category_id {quoted(category_id)}, which {truth.source!r} does not "
            f"list; its ids are whole numbers from {min(truth.categories, default=0)} to "
            f"{max(truth.categories, default=0)}."
        )
    score = row["score"]
    if not _is_number(score) or not 0 <= score <= 1:  # nor is NaN
        raise AnnotationError(f"{where} must have a score from 0 to 1, got {quoted(score)}.")
    return Detection(photo.id, category_id, _box_xyxy(row["bbox"], photo, where), float(score))


def _photo(
    row: Mapping[str, Any], truth: Truth, stems: Mapping[str, Photo | None], where: str
) -> Photo:
    image_id, file_name = row["image_id"], row.get("file_name")
    photo = None
    if type(image_id) is int:
        photo = truth.photos.get(image_id)
    elif isinstance(image_id, str):
        photo = stems.get(image_id)
    if photo is None:
        raise AnnotationError(
            f"{where} has the image_id {quoted(image_id)}, which {truth.source!r} does not list: "
            "it must be the id of a photo, or as a text the name of its file without suffix."
        )
    if isinstance(file_name, str) and _name(file_name) != _name(photo.file_name):
        raise AnnotationError(
            f"{where} has the image_id {image_id!r} and the file_name {quoted(file_name)}, but "
            f"that photo is {photo.file_name!r} in {truth.source!r}."
        )
    return photo


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


def _photos_by_stem(photos: Iterable[Photo]) -> dict[str, Photo | None]:
    """Photos by their name without folder and suffix; None for a name that several have."""
    stems: dict[str, Photo | None] = {}
    for photo in photos:
        stem = PurePosixPath(photo.file_name).stem
        stems[stem] = None if stem in stems else photo
    return stems


def _name(file_name: str) -> str:
    return file_name.replace("\\", "/").rpartition("/")[2]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return names.get(type(value), f"{value!r:.60}")
