"""COCO's instance annotations (also LVIS, Objects365, V3Det), read once, checked, frozen."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ovsam.bounded_json import read_json_file
from ovsam.errors import AnnotationError, VocabularyError, quoted
from ovsam.formats.crowds import Crowds, crowds_as_objects
from ovsam.geometry import check_segmentation, segmentation_to_mask, segmentation_to_rle
from ovsam.images.folder import leaves_folder
from ovsam.images.read import DEFAULT_MAX_PIXELS
from ovsam.structures import LARGEST
from ovsam.vocabulary.class_lists import heading_ids, is_labelme
from ovsam.vocabulary.entry import Entry
from ovsam.vocabulary.vocabulary import Vocabulary

_log = logging.getLogger(__name__)

# COCO's sizes, by the annotated area in pixels: small < 32² <= medium < 96² <= large.
SMALL_AREA = 32.0**2
LARGE_AREA = 96.0**2
_INTEGERS = 2**63  # the evaluators count with 64 bits
FREQUENCIES = ("r", "c", "f")  # LVIS: rare, common and frequent classes


@dataclass(frozen=True)
class Category:
    """A class of objects.

    Attributes:
        name: as the file writes it.
        synonyms: what it is called, lower case: the whole name with blanks for underscores, then
            the synonyms that the file lists.
        frequency: LVIS's rare "r", common "c" or frequent "f"; "" where the file does not say.
    """

    name: str
    synonyms: tuple[str, ...]
    frequency: str = ""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of the annotation file.

    Attributes:
        id: its id.
        file_name: with the folders that the file gives.
        size_hw: what the file says of its size, in pixels.
        negative_classes: LVIS: names of classes known to be absent from it; None where the file
            does not say, as COCO's, which marks every class everywhere.
        not_exhaustive_classes: LVIS: names of classes of which not every object is marked.
    """

    id: int
    file_name: str
    size_hw: tuple[int, int]
    negative_classes: tuple[str, ...] | None = None
    not_exhaustive_classes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Instance:
    """One annotated object.

    Attributes:
        id: the annotation's id.
        photo_id: the photo that it is in.
        category: its class name as the file writes it.
        box_xyxy: photo pixels, max corner exclusive, at least one pixel wide and high.
        area: photo pixels, as annotated (COCO's sizes go by it); NaN where the file has none.
        segmentation: polygons or run lengths, as the file has them; None where it has boxes only.
    """

    id: int
    photo_id: int
    category: str
    box_xyxy: tuple[float, float, float, float]
    area: float
    segmentation: Any

    def mask(self, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """The mask `(H, W)`, rasterised as COCO does.

        Raises:
            AnnotationError: the segmentation is malformed.
        """
        try:
            return segmentation_to_mask(self.segmentation, size_hw)
        except AnnotationError as error:
            raise AnnotationError(f"Annotation {self.id}: {error}") from error


def unnumbered_instance(
    category: str, segmentation: Any, box_xyxy: tuple[float, float, float, float]
) -> Instance:
    """An object of a file that numbers neither objects nor photos; both ids are 0.

    Args:
        category: its class name.
        segmentation: as `Instance` has it.
        box_xyxy: around it, photo pixels; made at least one pixel wide and high.
    """
    x0, y0, x1, y1 = box_xyxy
    box = x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)
    return Instance(0, 0, category, box, float("nan"), segmentation)


@dataclass(frozen=True, eq=False)
class Annotations:
    """Photos and their instances, crowd regions left out.

    Attributes:
        photos: in the file's order.
        instances: in the file's order.
        categories: the classes, in the file's order.
        category_ids: the id of each.
        headings: names of categories that are no classes, see `class_lists.heading_ids`.
        crowds_by_photo: how many crowd regions each photo has; photos without are not in it.
        source: the file's name, for messages.
        ignored: what is no part of the data set, by what it is.
    """

    photos: tuple[Photo, ...]
    instances: tuple[Instance, ...]
    categories: tuple[Category, ...] = ()
    category_ids: tuple[int, ...] = ()
    headings: tuple[str, ...] = ()
    crowds_by_photo: Mapping[int, int] = field(default_factory=dict)
    source: str = "annotations"
    ignored: Mapping[str, int] = field(default_factory=dict)

    @property
    def crowds(self) -> int:
        """How many crowd regions the file has."""
        return sum(self.crowds_by_photo.values())

    @cached_property
    def by_photo(self) -> Mapping[int, tuple[Instance, ...]]:
        """Instances by photo id; photos without any are not in it."""
        groups: dict[int, list[Instance]] = defaultdict(list)
        for instance in self.instances:
            groups[instance.photo_id].append(instance)
        return {photo_id: tuple(group) for photo_id, group in groups.items()}

    def check_masks(self, photos: Iterable[Photo]) -> None:
        """Refuse masks that cannot be drawn, before anything is done with the others.

        Raises:
            AnnotationError: names the first, of these photos, that is malformed or missing.
        """
        for photo in photos:
            for one in self.by_photo.get(photo.id, ()):
                try:
                    check_segmentation(one.segmentation, photo.size_hw)
                except AnnotationError as error:
                    what = "Correct it or take it out of the file."
                    if one.segmentation is None:
                        boxes = sum(other.segmentation is None for other in self.instances)
                        what = (
                            f"A box alone is no mask, which evaluation needs: {boxes:,} of "
                            f"{len(self.instances):,} objects here have no more."
                        )
                    raise AnnotationError(
                        f"Annotation {one.id} of {self.source!r}, photo {quoted(photo.file_name)}: "
                        f"{error} {what}"
                    ) from error

    def names_in(self, vocabulary: Vocabulary) -> dict[str, str | None]:
        """What a vocabulary calls each class of the file; None = it has no such class."""
        return {
            category.name: vocabulary.class_of(category.name, category.synonyms)
            for category in self.categories
        }

    @cached_property
    def fingerprint(self) -> str:
        """BLAKE2b of photos and instances: what tells two annotation files apart."""
        digest = hashlib.blake2b(digest_size=16)
        for photo in self.photos:
            digest.update(repr(photo).encode())
        for one in self.instances:
            content = one.id, one.photo_id, one.category, one.box_xyxy, one.area, one.segmentation
            digest.update(json.dumps(content).encode())
        return digest.hexdigest()


def read_annotations(path: Path, crowds: Crowds = "left-out") -> Annotations:
    """Read a COCO instance file; crowd regions are left out, or taken for objects.

    Raises:
        AnnotationError: no such file, no JSON, or a part that does not follow COCO's layout.
    """
    content = read_json(path)
    if crowds == "objects":
        content = crowds_as_objects(content)
    return parse_annotations(content, str(path))


def read_json(path: Path) -> object:
    """The content of an annotation file.

    Raises:
        AnnotationError: no such file, or no JSON.
    """
    try:
        return read_json_file(path)
    except OSError as error:
        raise AnnotationError(
            f"Cannot read the annotations {str(path)!r}: {error.strerror or error}. Check the path."
        ) from error
    except ValueError as error:  # or a path that is none, as with a null byte
        raise AnnotationError(
            f"{str(path)!r} is not JSON that can be read ({error}); it may be cut short. Copy or "
            "download it again."
        ) from error


def parse_annotations(content: object, source: str = "annotations") -> Annotations:
    """The same from already parsed JSON; `source` names it in errors."""
    return collect_annotations(content, source, _refuse)


def collect_annotations(
    content: object, source: str, report: Callable[[AnnotationError], None]
) -> Annotations:
    """The same, with what is wrong handed to `report`; rows that cannot be used are left out.

    Two categories of one name are reported, and taken for one class; a heading of others is none.

    Raises:
        AnnotationError: one of the three tables is missing.
    """
    tables = {key: _table(content, key, source) for key in ("images", "annotations", "categories")}
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
                number = _integer(row, "id", where)
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


def parse_sa1b(
    content: object, source: str, report: Callable[[AnnotationError], None]
) -> tuple[tuple[int, int] | None, tuple[Instance, ...]]:
    """A JSON file of SA-1B: the photo's (H, W), where it says so, and its masks without names."""
    table = _table(content, "annotations", source, "SA-1B's files")
    image = content.get("image") if isinstance(content, dict) else None
    size_hw = None
    if isinstance(image, dict):
        size_hw = _size_hw(image, f"the image of {source!r}")
    instances = []
    ids: set[int] = set()
    for index, row in enumerate(table):
        where = f"annotations[{index}] of {source!r}"
        try:
            number = _integer(row, "id", where) if "id" in row else index
            if number in ids and "id" in row:
                raise AnnotationError(f"{where} repeats the id {number}.")
            ids.add(number)
            instances.append(_mask(row, number, 0, "", size_hw, where))
        except AnnotationError as error:
            report(error)
    return size_hw, tuple(instances)


def _refuse(error: AnnotationError) -> None:
    raise AnnotationError(
        f"{error} Correct it or take it out; 'ovsam data check' lists all that is wrong."
    ) from error


def _category(row: Mapping[str, Any], where: str) -> Category:
    name, more = _text(row, "name", where), row.get("synonyms", [])
    if not isinstance(more, list) or not all(isinstance(text, str) for text in more):
        raise AnnotationError(
            f"{where} must have a list of texts as 'synonyms', got {quoted(more)}."
        )
    frequency = row.get("frequency")
    return named_category(name, [name, *more], where, frequency if frequency in FREQUENCIES else "")


def named_category(name: str, texts: Sequence[str], where: str, frequency: str = "") -> Category:
    """A class that is called by each of these texts, whole; `where` names it in errors.

    Raises:
        AnnotationError: a text is no name.
    """
    called = [" ".join(text.replace("_", " ").split()) for text in texts]
    synonyms = tuple(dict.fromkeys(text.lower() for text in called if text))
    try:
        Vocabulary(where, (Entry(called[0], synonyms),))
    except VocabularyError as error:
        raise AnnotationError(
            f"{where} has a name that is none, {quoted(','.join(texts))}: it must be plain text."
        ) from error
    return Category(name, synonyms, frequency)


def _photo(row: Mapping[str, Any], categories: Mapping[int, Category], where: str) -> Photo:
    size_hw = _size_hw(row, where)
    if "file_name" not in row and isinstance(row.get("coco_url"), str):  # LVIS: .../train2017/1.jpg
        file_name = "/".join(row["coco_url"].split("/")[-2:])
    else:
        file_name = _text(row, "file_name", where)
    if leaves_folder(file_name):
        raise AnnotationError(
            f"{where} must have a path within the folder of the photos as 'file_name', got "
            f"{quoted(file_name)}."
        )
    return Photo(
        _integer(row, "id", where),
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


def _size_hw(row: Mapping[str, Any], where: str) -> tuple[int, int]:
    size_hw = (_integer(row, "height", where), _integer(row, "width", where))
    if min(size_hw) < 1:
        raise AnnotationError(f"{where} must have a height and width above 0, got {size_hw}.")
    if size_hw[0] * size_hw[1] > DEFAULT_MAX_PIXELS:
        raise AnnotationError(
            f"{where} must have a height and width of {DEFAULT_MAX_PIXELS:,} pixels at most in "
            f"all, got {size_hw}."
        )
    return size_hw


def _instance(
    row: Mapping[str, Any],
    categories: Mapping[int, Category],
    photos: Mapping[int, Photo],
    where: str,
) -> Instance:
    photo_id = _integer(row, "image_id", where)
    if photo_id not in photos:
        raise AnnotationError(f"{where} is of photo {photo_id}, which is not listed in 'images'.")
    category_id = _integer(row, "category_id", where)
    if category_id not in categories:
        raise AnnotationError(
            f"{where} has the category {category_id}, which is not listed in 'categories'."
        )
    number, name = _integer(row, "id", where), categories[category_id].name
    instance = _mask(row, number, photo_id, name, photos[photo_id].size_hw, where)
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


def _mask(
    row: Mapping[str, Any],
    number: int,
    photo_id: int,
    category: str,
    size_hw: tuple[int, int] | None,
    where: str,
) -> Instance:
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


def as_float(value: object) -> float:
    """A number of a JSON file; NaN for what is none, or too large to be one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # of Python's long integers
        return math.nan


def _table(
    content: object,
    key: str,
    source: str,
    expected: str = "COCO's instance annotations (images, annotations, categories)",
) -> list[Mapping[str, Any]]:
    table = content.get(key) if isinstance(content, dict) else None
    if is_labelme(content):
        raise AnnotationError(
            f"{source!r} is LabelMe's file of one photo: give the folder that it lies in."
        )
    if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
        raise AnnotationError(
            f"{source!r} has no list of objects {key!r}, as {expected} have: give such a file."
        )
    return table


def _value(row: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in row:
        raise AnnotationError(f"{where} lacks {key!r}.")
    return row[key]


def _integer(row: Mapping[str, Any], key: str, where: str) -> int:
    value = _value(row, key, where)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _INTEGERS:
        raise AnnotationError(f"{where} must have a whole number as {key!r}, got {quoted(value)}.")
    return value


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    value = _value(row, key, where)
    if not isinstance(value, str) or not value:
        raise AnnotationError(f"{where} must have a text as {key!r}, got {quoted(value)}.")
    return value
