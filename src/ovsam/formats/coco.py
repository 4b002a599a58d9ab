"""COCO's instance annotations (also LVIS, Objects365, V3Det), read once, checked, frozen."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ovsam.errors import AnnotationError, OvsamError, quoted
from ovsam.formats.annotations import (
    FREQUENCIES,
    Annotations,
    Category,
    Instance,
    Photo,
    named_category,
)
from ovsam.formats.crowds import Crowds, crowds_as_objects
from ovsam.formats.json_rows import as_float, integer_of, read_json, size_hw_of, table_of, text_of
from ovsam.formats.listing import ListedPhoto, Listing, Photos, Report, as_listed
from ovsam.geometry import check_segmentation, segmentation_to_rle
from ovsam.images.folder import PhotoFolder, leaves_folder
from ovsam.structures import LARGEST
from ovsam.vocabulary.class_lists import heading_ids

_log = logging.getLogger(__name__)


def read_annotations(path: Path, crowds: Crowds = "left-out") -> Annotations:
    """Read a COCO instance file; crowd regions are left out, or taken for objects.

    Raises:
        AnnotationError: no such file, no JSON, or a part that does not follow COCO's layout.
    """
    content = read_json(path)
    if crowds == "objects":
        content = crowds_as_objects(content)
    return parse_annotations(content, str(path))


def list_coco(path: Path, images: Path, report: Report) -> Listing:
    """The photos of an annotation file.

    Args:
        path: the file.
        images: the folder of the photos.
        report: called with each thing that is wrong, which is left out.

    Raises:
        AnnotationError: the file is no annotation file.
    """
    content = collect_annotations(read_json(path), str(path), report)
    folder = PhotoFolder(images)
    photos = tuple(
        ListedPhoto(
            path=folder.find(photo.file_name) or images / photo.file_name,
            size_hw=photo.size_hw,
            instances=content.by_photo.get(photo.id, ()),
            negative_classes=photo.negative_classes,
            not_exhaustive_classes=photo.not_exhaustive_classes,
        )
        for photo in content.photos
    )
    return Listing(
        "COCO", content.categories, content.crowds, Photos(photos, as_listed), content.headings
    )


def parse_annotations(content: object, source: str = "annotations") -> Annotations:
    """The same from already parsed JSON; `source` names it in errors."""
    return collect_annotations(content, source, refuse)


def collect_annotations(
    content: object, source: str, report: Callable[[AnnotationError], None]
) -> Annotations:
    """The same, with what is wrong handed to `report`; rows that cannot be used are left out.

    Two categories of one name are reported, and taken for one class; a heading of others is none.

    Raises:
        AnnotationError: one of the three tables is missing.
    """
    tables = {
        key: table_of(content, key, source) for key in ("images", "annotations", "categories")
    }
    headings = _headings(tables["categories"], tables["annotations"])
    categories: dict[int, Category] = {}
    named: dict[str, int] = {}  # the first category of a name
    photos: dict[int, Photo] = {}
    instances: list[Instance] = []
    crowds: Counter[int] = Counter()
    for key in ("categories", "images", "annotations"):
        ids: set[int] = set()
        for index, row in enumerate(tables[key]):
            where = f"{key}[{index}] of {source!r}"
            try:
                number = integer_of(row, "id", where)
                if number in ids:
                    raise AnnotationError(f"{where} repeats the id {number}.")
                ids.add(number)
                where = f"{key}[{index}] (id {number}) of {source!r}"
                if key == "categories":
                    categories[number] = category = _category(row, where)
                    if number in headings:
                        continue
                    first = named.setdefault(category.name, number)
                    if first != number:
                        raise AnnotationError(
                            f"{where} repeats the name {quoted(category.name)} of the category "
                            f"{first}."
                        )
                elif key == "images":
                    photos[number] = _photo(row, categories, where)
                else:
                    instance = _instance(row, categories, photos, where)
                    if _is_crowd(row, where):
                        crowds[instance.photo_id] += 1
                    else:
                        instances.append(instance)
            except AnnotationError as error:
                report(error)
    _warn_of_shares(instances, photos.values(), source)
    classes = {number: one for number, one in categories.items() if number not in headings}
    return Annotations(
        photos=tuple(photos.values()),
        instances=tuple(instances),
        categories=tuple(classes.values()),
        category_ids=tuple(classes),
        headings=tuple(categories[number].name for number in categories if number in headings),
        crowds_by_photo=crowds,
        source=source,
    )


def _warn_of_shares(instances: Sequence[Instance], photos: Iterable[Photo], source: str) -> None:
    """Say so where boxes seem to be shares of the photo's sides: all within its first pixel."""
    boxes = np.array([one.box_xyxy for one in instances]).reshape(-1, 4)
    low, sides = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    # What is thinner than a pixel has been widened to one, see `_box_xyxy`.
    within = bool(((low >= 0) & (low <= 1) & (sides <= 1.001)).all())
    if len(boxes) and within and any(max(photo.size_hw) > 2 for photo in photos):
        _log.warning(
            "All boxes of %r lie within one pixel, so they seem to be shares of the photo. A bbox "
            "must be x, y, width, height in pixels: multiply by the photo's sides.",
            source,
        )


def _headings(
    categories: Sequence[Mapping[str, Any]], annotations: Sequence[Mapping[str, Any]]
) -> frozenset[int]:
    sound = [
        row for row in categories if type(row.get("id")) is int and isinstance(row.get("name"), str)
    ]
    return heading_ids(sound, annotations)


def refuse(error: OvsamError) -> None:
    """Raise what is wrong, with what to do about it, where all of a data set must be right."""
    raise AnnotationError(
        f"{error} Correct it or take it out; 'ovsam data check' lists all that is wrong."
    ) from error


def _category(row: Mapping[str, Any], where: str) -> Category:
    name, more = text_of(row, "name", where), row.get("synonyms", [])
    if not isinstance(more, list) or not all(isinstance(text, str) for text in more):
        raise AnnotationError(
            f"{where} must have a list of texts as 'synonyms', got {quoted(more)}."
        )
    frequency = row.get("frequency")
    return named_category(name, [name, *more], where, frequency if frequency in FREQUENCIES else "")


def _photo(row: Mapping[str, Any], categories: Mapping[int, Category], where: str) -> Photo:
    size_hw = size_hw_of(row, where)
    if "file_name" not in row and isinstance(row.get("coco_url"), str):  # LVIS: .../train2017/1.jpg
        file_name = "/".join(row["coco_url"].split("/")[-2:])
    else:
        file_name = text_of(row, "file_name", where)
    if leaves_folder(file_name):
        raise AnnotationError(
            f"{where} must have a path within the folder of the photos as 'file_name', got "
            f"{quoted(file_name)}."
        )
    return Photo(
        integer_of(row, "id", where),
        file_name,
        size_hw,
        _class_names(row, "neg_category_ids", categories, where),
        _class_names(row, "not_exhaustive_category_ids", categories, where) or (),
    )


def _class_names(
    row: Mapping[str, Any], key: str, categories: Mapping[int, Category], where: str
) -> tuple[str, ...] | None:
    ids = row.get(key)
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(type(i) is int and i in categories for i in ids):
        raise AnnotationError(
            f"{where} must have a list of listed categories as {key!r}, got {quoted(ids)}."
        )
    return tuple(categories[i].name for i in ids)


def _instance(
    row: Mapping[str, Any],
    categories: Mapping[int, Category],
    photos: Mapping[int, Photo],
    where: str,
) -> Instance:
    photo_id = integer_of(row, "image_id", where)
    if photo_id not in photos:
        raise AnnotationError(f"{where} is of photo {photo_id}, which is not listed in 'images'.")
    category_id = integer_of(row, "category_id", where)
    if category_id not in categories:
        raise AnnotationError(
            f"{where} has the category {category_id}, which is not listed in 'categories'."
        )
    number, name = integer_of(row, "id", where), categories[category_id].name
    instance = instance_of(row, number, photo_id, name, photos[photo_id].size_hw, where)
    if instance.segmentation == []:  # how many tools write that there are boxes only
        instance = replace(instance, segmentation=None)
    (x0, y0, x1, y1), (height, width) = instance.box_xyxy, photos[photo_id].size_hw
    # A box of no size on the edge is one pixel just outside: COCO's own files have such.
    if x0 > width or y0 > height or x1 < 0 or y1 < 0:
        bbox = row.get("bbox") or [x0, y0, x1 - x0, y1 - y0]
        raise AnnotationError(
            f"{where} has the bbox {quoted(bbox)} (x, y, width, height), which lies outside of its "
            f"photo of {width} x {height} pixels."
        )
    return instance


def _is_crowd(row: Mapping[str, Any], where: str) -> bool:
    crowd = row.get("iscrowd", 0)
    if crowd not in (0, 1) or isinstance(crowd, float):
        raise AnnotationError(f"{where} must have 0 or 1 as 'iscrowd', got {quoted(crowd)}.")
    return bool(crowd)


def instance_of(
    row: Mapping[str, Any],
    number: int,
    photo_id: int,
    category: str,
    size_hw: tuple[int, int] | None,
    where: str,
) -> Instance:
    """An object of a row of `annotations`, as COCO and SA-1B write them.

    Args:
        row: with `bbox`, `segmentation` or both, and perhaps `area`.
        number: its id.
        photo_id: of its photo.
        category: its class name.
        size_hw: of its photo, pixels; None = unknown.
        where: names the row in errors.

    Raises:
        AnnotationError: a value is malformed, or there is no box and none can be found.
    """
    given = row.get("area")
    area = math.nan if given is None else as_float(given)
    if given is not None and not 0 <= area < math.inf:  # nor is NaN
        raise AnnotationError(f"{where} must have an area of 0 or more, got {quoted(given)}.")
    bbox, segmentation = row.get("bbox"), row.get("segmentation")
    if bbox in (None, []):
        box_xyxy = _box_of_mask(segmentation, size_hw, where)
    else:
        box_xyxy = _box_xyxy(bbox, where)
    return Instance(number, photo_id, category, box_xyxy, area, segmentation)


def _box_of_mask(
    segmentation: Any, size_hw: tuple[int, int] | None, where: str
) -> tuple[float, float, float, float]:
    """The box of an object that has a mask only: around its polygons, as COCO's are."""
    if size_hw is None or segmentation in (None, [], {}):
        raise AnnotationError(f"{where} lacks 'bbox', and 'segmentation' to find it from.")
    try:
        if isinstance(segmentation, Mapping):
            box = coco_mask.toBbox(segmentation_to_rle(segmentation, size_hw))
            if not box[2:].all():
                raise AnnotationError("its mask covers no pixel.")
            return _at_least_a_pixel(*box.tolist())
        check_segmentation(segmentation, size_hw)
    except AnnotationError as error:
        raise AnnotationError(f"{where} lacks 'bbox', and {error}") from error
    points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in segmentation])
    least, sides = points.min(axis=0), np.ptp(points, axis=0)
    return _at_least_a_pixel(*least.tolist(), *sides.tolist())


def _box_xyxy(bbox: object, where: str) -> tuple[float, float, float, float]:
    numbers = [as_float(value) for value in bbox] if isinstance(bbox, list) else []
    if len(numbers) != 4 or not all(abs(n) <= LARGEST for n in numbers) or min(numbers[2:]) < 0:
        raise AnnotationError(
            f"{where} must have a bbox of four numbers x, y, width, height, got {quoted(bbox)}."
        )
    return _at_least_a_pixel(*numbers)


def _at_least_a_pixel(
    x: float, y: float, width: float, height: float
) -> tuple[float, float, float, float]:
    return x, y, x + max(width, 1.0), y + max(height, 1.0)
