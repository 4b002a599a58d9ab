"""Results that are well formed and mean other photos, boxes or classes than they say.

A file of boxes whose ids are shifted by one scores an AP of 0 and says nothing. What tells is the
best box of each photo: even a poor detector's mostly lies on an object. Where few do, and most
would under another reading that some tool writes, that reading is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from ovsam.formats.annotations import Photo
from ovsam.formats.ground_truth import Truth
from ovsam.geometry import box_iou_xyxy, clip_box_xyxy

ON_AN_OBJECT = 0.5  # IoU
FEWEST = 2  # photos that a reading must explain
SILENT = 5  # photos of which no best box lies on an object, so that it is said without a reading

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Best:
    """The best box of a photo.

    Attributes:
        photo_id: the photo that it is in.
        by_id: whether it is known by its id, and not by its name.
        category_id: its class.
        bbox: as the file has it: x, y, width, height in photo pixels.
    """

    photo_id: int
    by_id: bool
    category_id: int
    bbox: Box


def number_of(photo: Photo) -> int | None:
    """The number that is the name of a photo's file, without folder and suffix."""
    stem = PurePosixPath(photo.file_name.replace("\\", "/")).stem
    return int(stem) if stem.isascii() and stem.isdecimal() and len(stem) < 19 else None


def mismatches(best: Sequence[Best], truth: Truth, source: str) -> list[str]:
    """A sentence for each other reading under which results fit far better.

    Args:
        best: of each photo in which there is a box.
        truth: what is right.
        source: the results' name.
    """
    objects = {i: _Objects.of(truth, i) for i in truth.annotations.by_photo}
    hits, seen = _hits([(one.photo_id, _corners(one.bbox)) for one in best], truth, objects)
    found = []
    if 2 * hits < seen:
        found = _other_photos(best, truth, objects, hits, seen, source)
        found = found or _other_boxes(best, truth, objects, hits, seen, source)
        if not found and not hits and seen >= SILENT:
            found = [
                f"The best box of none of {seen:,} photos of {source!r} lies on an object of "
                f"{truth.source!r}: check that both are of the same photos."
            ]
    return found or _other_classes(best, truth, objects, source)


@dataclass(frozen=True, eq=False)
class _Objects:
    """What is annotated on a photo: boxes `(N, 4)` and their categories' names."""

    boxes_xyxy: NDArray[np.float64]
    categories: tuple[str, ...]

    @classmethod
    def of(cls, truth: Truth, photo_id: int) -> _Objects:
        rows = truth.annotations.by_photo[photo_id]
        return cls(np.array([one.box_xyxy for one in rows]), tuple(one.category for one in rows))


def _corners(bbox: Box) -> Box:
    x, y, width, height = bbox
    return x, y, x + width, y + height


def _on(box_xyxy: Box, photo: Photo, objects: _Objects) -> NDArray[np.bool_]:
    """Which objects of the photo `(N,)` a box lies on."""
    clipped = clip_box_xyxy(box_xyxy, photo.size_hw)
    on: NDArray[np.bool_] = box_iou_xyxy(clipped, objects.boxes_xyxy)[0] >= ON_AN_OBJECT
    return on


def _hits(
    boxes: Sequence[tuple[int, Box]], truth: Truth, objects: Mapping[int, _Objects]
) -> tuple[int, int]:
    """Of how many photos the box lies on an object; and of how many it could."""
    marked = [(photo_id, box) for photo_id, box in boxes if photo_id in objects]
    hits = sum(bool(_on(box, truth.photos[i], objects[i]).any()) for i, box in marked)
    return hits, len(marked)


def _better(hits: int, seen: int, before: int) -> bool:
    return hits >= FEWEST and 2 * hits >= seen and hits > 2 * before


def _other_photos(
    best: Sequence[Best],
    truth: Truth,
    objects: Mapping[int, _Objects],
    hits: int,
    seen: int,
    source: str,
) -> list[str]:
    photos = truth.annotations.photos
    numbers = {number_of(photo): photo.id for photo in photos}
    order = [photo.id for photo in photos]
    readings: dict[str, Callable[[int], int | None]] = {
        "is the number in the name of the photo's file, as Ultralytics writes it": numbers.get,
        "counts the photos of the file from 0": _place(order, 0),
        "counts the photos of the file from 1": _place(order, 1),
        "is one more than the id": lambda number: number - 1,
        "is one less than the id": lambda number: number + 1,
    }
    for what, read in readings.items():
        moved = [
            (read(one.photo_id) if one.by_id else one.photo_id, _corners(one.bbox)) for one in best
        ]
        known = [(i, box) for i, box in moved if i is not None and i in truth.photos]
        if len(known) < len(moved) or len({i for i, _ in known}) < len(known):
            continue
        now, of = _hits(known, truth, objects)
        if _better(now, of, hits):
            return [
                f"The boxes of {source!r} seem to be of other photos than their image_id say: the "
                f"best box lies on an object in {hits:,} of {seen:,} photos, but in {now:,} of "
                f"{of:,} if image_id {what}. Give results with each photo's 'file_name', or with "
                f"the ids of {truth.source!r}."
            ]
    return []


def _other_boxes(
    best: Sequence[Best],
    truth: Truth,
    objects: Mapping[int, _Objects],
    hits: int,
    seen: int,
    source: str,
) -> list[str]:
    readings: dict[str, Callable[[Box], Box]] = {
        "two corners x0, y0, x1, y1": lambda box: box,
        "centre x, centre y, width, height": lambda box: (
            box[0] - box[2] / 2,
            box[1] - box[3] / 2,
            box[0] + box[2] / 2,
            box[1] + box[3] / 2,
        ),
    }
    for what, read in readings.items():
        now, of = _hits([(one.photo_id, read(one.bbox)) for one in best], truth, objects)
        if _better(now, of, hits):
            return [
                f"The boxes of {source!r} seem to be written as {what}: the best box lies on an "
                f"object in {hits:,} of {seen:,} photos, but in {now:,} if read so. A bbox must be "
                "x, y, width, height in pixels."
            ]
    return []


def _other_classes(
    best: Sequence[Best], truth: Truth, objects: Mapping[int, _Objects], source: str
) -> list[str]:
    found: list[tuple[int, set[str]]] = []  # the class of a box, and those of what it lies on
    for one in best:
        if one.photo_id in objects:
            there = objects[one.photo_id]
            on = np.flatnonzero(_on(_corners(one.bbox), truth.photos[one.photo_id], there))
            if on.size:
                found.append((one.category_id, {there.categories[i] for i in on}))

    def right(read: Callable[[int], int | None]) -> int:
        known = [(read(number), names) for number, names in found]
        if any(i is None or i not in truth.categories for i, _ in known):
            return 0
        return sum(i is not None and truth.categories[i].name in names for i, names in known)

    hits, ids = right(lambda number: number), sorted(truth.categories)
    readings: dict[str, Callable[[int], int | None]] = {
        "is one less than the id, counted from 0": lambda number: number + 1,
        "is one more than the id": lambda number: number - 1,
        "counts the classes in the order of their ids from 0": _place(ids, 0),
        "counts the classes in the order of their ids from 1": _place(ids, 1),
    }
    if 2 * hits >= len(found):
        return []
    for what, read in readings.items():
        now = right(read)
        if _better(now, len(found), hits):
            return [
                f"The boxes of {source!r} seem to be of other classes than their category_id say: "
                f"{hits:,} of {len(found):,} best boxes that lie on an object have its class, but "
                f"{now:,} if category_id {what}. Give results with the ids of {truth.source!r}."
            ]
    return []


def _place(ids: Sequence[int], first: int) -> Callable[[int], int | None]:
    """The id at a place of a list, counted from `first`."""
    return lambda place: ids[place - first] if 0 <= place - first < len(ids) else None
