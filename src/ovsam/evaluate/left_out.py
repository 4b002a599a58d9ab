"""What is in the files and in no figure: counted by its reason, in one place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace

from ovsam.formats.annotations import Annotations, Photo
from ovsam.formats.labelme import NO_OBJECT
from ovsam.formats.listing import UNLISTED

# What stands behind each number, for one and for several.
_WORDS = {
    "crowd_regions": ("crowd region", "crowd regions"),
    "objects_never_answered": (
        "object of a class that is never answered",
        "objects of classes that are never answered",
    ),
    "objects_without_pixel": (
        "object whose mask covers no pixel",
        "objects whose masks cover no pixel",
    ),
    "objects_beyond_largest": ("object beyond --objects", "objects beyond --objects"),
    "objects_beyond_limit": ("object on photos beyond --limit", "objects on photos beyond --limit"),
    "photos_beyond_limit": ("photo beyond --limit", "photos beyond --limit"),
    "photos_without_objects": (
        "photo on which nothing is marked",
        "photos on which nothing is marked",
    ),
    "photos_not_annotated": (
        "photo without a file of annotations",
        "photos without a file of annotations",
    ),
    "shapes_no_objects": (
        "shape that is no object",
        "shapes that are no objects",
    ),
    "boxes_beyond_limit": ("box in photos beyond --limit", "boxes in photos beyond --limit"),
    "boxes_beyond_best": (
        "box beyond the best ones that the rules count",
        "boxes beyond the best ones that the rules count",
    ),
    "boxes_unlisted": (
        "box named as no class of the annotation file",
        "boxes named as no class of the annotation file",
    ),
    "boxes_not_judged": (
        "box of a class of which its photo says nothing",
        "boxes of classes of which their photos say nothing",
    ),
}


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """How much of what was given does not count.

    Attributes:
        crowd_regions: of the photos that were to be looked at; detections in them are neither
            right nor wrong.
        objects_never_answered: of classes that the vocabulary never answers.
        objects_without_pixel: objects on which nothing can be clicked.
        objects_beyond_largest: those smaller than the largest that were asked for.
        objects_beyond_limit: on photos beyond the limit.
        photos_beyond_limit: those after the first that were asked for.
        photos_without_objects: on which nothing is marked, or crowd regions alone.
        photos_not_annotated: LabelMe, SA-1B: those without a JSON file.
        shapes_no_objects: LabelMe: lines, points, and what is called __ignore__ or _background_.
        boxes_beyond_limit: a detector's, in photos beyond the limit.
        boxes_beyond_best: those after the 100 best of a class in a photo (COCO), or the 300 best
            of a photo (LVIS).
        boxes_unlisted: those that we name as no class of the annotation file.
        boxes_not_judged: LVIS: those of classes of which their photo does not say whether they
            are there.
    """

    crowd_regions: int = 0
    objects_never_answered: int = 0
    objects_without_pixel: int = 0
    objects_beyond_largest: int = 0
    objects_beyond_limit: int = 0
    photos_beyond_limit: int = 0
    photos_without_objects: int = 0
    photos_not_annotated: int = 0
    shapes_no_objects: int = 0
    boxes_beyond_limit: int = 0
    boxes_beyond_best: int = 0
    boxes_unlisted: int = 0
    boxes_not_judged: int = 0

    def as_dict(self) -> dict[str, int]:
        """Plain JSON values."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """What does not count; "" where all does.

        >>> LeftOut(crowd_regions=1, photos_beyond_limit=1200).sentence
        'do not count: 1 crowd region, 1,200 photos beyond --limit'
        """
        return sentence_of(self.as_dict())


NOTHING = LeftOut()


def sentence_of(counts: dict[str, int]) -> str:
    """The same from a report's JSON."""
    said = [
        f"{count:,} {_WORDS[what][count != 1]}"
        for what, count in counts.items()
        if count and what in _WORDS
    ]
    return f"do not count: {', '.join(said)}" if said else ""


def of_listing(ignored: Mapping[str, int]) -> LeftOut:
    """What of a data set was drawn or photographed, and is no object or not annotated."""

    def count(what: str) -> int:
        return sum(number for key, number in ignored.items() if key.startswith(what))

    return LeftOut(photos_not_annotated=count(UNLISTED), shapes_no_objects=count(NO_OBJECT))


def beyond(annotations: Annotations, photos: Collection[Photo]) -> LeftOut:
    """What is no object of a data set, and all that is on some photos beyond a limit."""
    crowds = annotations.crowds_by_photo
    return replace(
        of_listing(annotations.ignored),
        crowd_regions=annotations.crowds - sum(crowds.get(photo.id, 0) for photo in photos),
        objects_beyond_limit=sum(len(annotations.by_photo.get(p.id, ())) for p in photos),
        photos_beyond_limit=len(photos),
    )
