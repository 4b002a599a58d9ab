"""Results that are well formed and mean other photos, boxes or classes than they say.

A file of boxes whose ids are shifted by one scores an AP of 0 and says nothing. What tells is the
best box of each photo: even a poor detector's mostly lies on an object. Where few do, and most
would under another reading that some tool writes, that reading is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ovsam.formats.ground_truth import GroundTruth
from ovsam.formats.photo_names import number_of
from ovsam.geometry import box_iou_xyxy, clip_box_xyxy

ON_AN_OBJECT = 0.5  # IoU
FEWEST = 2  # photos that a reading must explain
PHOTOS_WITHOUT_A_HIT = 5  # so many without any hit are reported, though no other reading fits

Number = Callable[[int], int | None]  # what an id is under another reading; None = no id
Reading = TypeVar("Reading")


@dataclass(frozen=True, slots=True)
class BestBox:
    """The box of the highest score in a photo.

    Attributes:
        photo_id: the photo that it is in.
        by_id: whether the photo is known by its id, and not by its name.
        category_id: its class.
        box_xywh: as the file has it: x, y, width, height in photo pixels.
    """

    photo_id: int
    by_id: bool
    category_id: int
    box_xywh: tuple[float, float, float, float]


def mismatches(boxes: Sequence[BestBox], ground_truth: GroundTruth, source: str) -> list[str]:
    """A sentence for each other reading under which results fit far better.

    Args:
        boxes: the best one of each photo in which there is one.
        ground_truth: the annotations of these photos.
        source: the results' name.
    """
    fit = _Fit(boxes, ground_truth, source)
    found = None
    if 2 * fit.hits < fit.marked:
        found = fit.other_photos() or fit.other_boxes() or fit.nothing_found()
    found = found or fit.other_classes()
    return [] if found is None else [found]


class _Fit:
    """How well the best boxes fit the annotations, as they stand and under other readings.

    Attributes:
        hits: of how many photos the best box lies on an object.
        marked: of how many photos with a best box an object is annotated.
    """

    def __init__(self, boxes: Sequence[BestBox], ground_truth: GroundTruth, source: str) -> None:
        self.boxes = boxes
        self.ground_truth = ground_truth
        self.source = source
        by_photo = ground_truth.annotations.by_photo
        self.objects_xyxy = {  # (N, 4) by photo id
            photo_id: np.array([instance.box_xyxy for instance in instances])
            for photo_id, instances in by_photo.items()
        }
        self.hits, self.marked = self._on_objects(boxes)

    def other_photos(self) -> str | None:
        """Says whose photos the boxes seem to be, if not those of their image_id."""
        photos = self.ground_truth.annotations.photos
        ids = [photo.id for photo in photos]
        readings: dict[str, Number] = {
            "is the number in the name of the photo's file, as Ultralytics writes it": {
                number_of(photo): photo.id for photo in photos
            }.get,
            "counts the photos of the file from 0": _counted(ids, 0),
            "counts the photos of the file from 1": _counted(ids, 1),
            "is one more than the id": lambda number: number - 1,
            "is one less than the id": lambda number: number + 1,
        }
        better = _first_better(readings, self._hits_in_photos, self.hits)
        if better is None:
            return None
        what, hits, marked = better
        return (
            f"The boxes of {self.source!r} seem to be of other photos than their image_id say: the "
            f"best box lies on an object in {self.hits:,} of {self.marked:,} photos, but in "
            f"{hits:,} of {marked:,} if image_id {what}. Give results with each photo's "
            f"'file_name', or with the ids of {self.ground_truth.source!r}."
        )

    def other_boxes(self) -> str | None:
        """Says how the boxes seem to be written, if not as x, y, width, height."""
        readings: dict[str, Callable[[BestBox], BestBox]] = {
            "two corners x0, y0, x1, y1": _from_corners,
            "centre x, centre y, width, height": _from_centre,
        }
        better = _first_better(
            readings, lambda read: self._on_objects([read(box) for box in self.boxes]), self.hits
        )
        if better is None:
            return None
        what, hits, _ = better
        return (
            f"The boxes of {self.source!r} seem to be written as {what}: the best box lies on an "
            f"object in {self.hits:,} of {self.marked:,} photos, but in {hits:,} if read so. A "
            "bbox must be x, y, width, height in pixels."
        )

    def nothing_found(self) -> str | None:
        """Says that no box lies on any object, where that is no accident."""
        if self.hits or self.marked < PHOTOS_WITHOUT_A_HIT:
            return None
        return (
            f"The best box of none of {self.marked:,} photos of {self.source!r} lies on an object "
            f"of {self.ground_truth.source!r}: check that both are of the same photos."
        )

    def other_classes(self) -> str | None:
        """Says which classes the boxes seem to be of, if not those of their category_id."""
        ids = sorted(self.ground_truth.categories)
        readings: dict[str, Number] = {
            "is one less than the id, counted from 0": lambda number: number + 1,
            "is one more than the id": lambda number: number - 1,
            "counts the classes in the order of their ids from 0": _counted(ids, 0),
            "counts the classes in the order of their ids from 1": _counted(ids, 1),
        }
        hits, found = self._hits_of_class(lambda number: number)
        if 2 * hits >= found:
            return None
        better = _first_better(readings, self._hits_of_class, hits)
        if better is None:
            return None
        what, now, _ = better
        return (
            f"The boxes of {self.source!r} seem to be of other classes than their category_id say: "
            f"{hits:,} of {found:,} best boxes that lie on an object have its class, but {now:,} "
            f"if category_id {what}. Give results with the ids of {self.ground_truth.source!r}."
        )

    def _on_objects(self, boxes: Sequence[BestBox]) -> tuple[int, int]:
        """Of how many photos the box lies on an object; and of how many it could."""
        marked = [box for box in boxes if box.photo_id in self.objects_xyxy]
        return sum(bool(self._overlaps(box).any()) for box in marked), len(marked)

    def _overlaps(self, box: BestBox) -> NDArray[np.bool_]:
        """Which objects of its photo `(N,)` a box lies on."""
        x, y, width, height = box.box_xywh
        size_hw = self.ground_truth.photos[box.photo_id].size_hw
        clipped = clip_box_xyxy((x, y, x + width, y + height), size_hw)
        iou = box_iou_xyxy(clipped, self.objects_xyxy[box.photo_id])[0]
        overlaps: NDArray[np.bool_] = iou >= ON_AN_OBJECT
        return overlaps

    def _hits_in_photos(self, read: Number) -> tuple[int, int]:
        """The same as `_on_objects`, were an image_id the id that `read` gives.

        Nothing where that is not one photo of its own for each box.
        """
        ids = [read(box.photo_id) if box.by_id else box.photo_id for box in self.boxes]
        known = [i for i in ids if i is not None and i in self.ground_truth.photos]
        if len(set(known)) < len(ids):
            return 0, 0
        moved = zip(self.boxes, known, strict=True)
        return self._on_objects([replace(box, photo_id=photo_id) for box, photo_id in moved])

    @cached_property
    def _classes(self) -> list[tuple[int, set[str]]]:
        """Of each box that lies on an object: its category_id, the names of what it lies on."""
        found = []
        for box in self.boxes:
            if box.photo_id in self.objects_xyxy:
                instances = self.ground_truth.annotations.by_photo[box.photo_id]
                names = {instances[i].category for i in np.flatnonzero(self._overlaps(box))}
                if names:
                    found.append((box.category_id, names))
        return found

    def _hits_of_class(self, read: Number) -> tuple[int, int]:
        """How many boxes that lie on an object have its class, if `read` gives it; of how many."""
        categories = self.ground_truth.categories
        known = [(read(category_id), names) for category_id, names in self._classes]
        if any(i is None or i not in categories for i, _ in known):
            return 0, len(known)
        hits = sum(i is not None and categories[i].name in names for i, names in known)
        return hits, len(known)


def _first_better(
    readings: Mapping[str, Reading], count: Callable[[Reading], tuple[int, int]], before: int
) -> tuple[str, int, int] | None:
    """The first reading that explains most, and far more than the plain one; with its counts."""
    for what, read in readings.items():
        hits, of = count(read)
        if hits >= FEWEST and 2 * hits >= of and hits > 2 * before:
            return what, hits, of
    return None


def _from_corners(box: BestBox) -> BestBox:
    x0, y0, x1, y1 = box.box_xywh
    return replace(box, box_xywh=(x0, y0, x1 - x0, y1 - y0))


def _from_centre(box: BestBox) -> BestBox:
    x, y, width, height = box.box_xywh
    return replace(box, box_xywh=(x - width / 2, y - height / 2, width, height))


def _counted(ids: Sequence[int], first: int) -> Number:
    """The id at a place of a list, counted from `first`."""
    return lambda place: ids[place - first] if 0 <= place - first < len(ids) else None
