"""What is in the files and in no figure: counted by its reason, in one place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace

from ovsam.formats.annotations import Annotations, Photo
from ovsam.formats.labelme import NO_OBJECT
from ovsam.formats.listing import UNLISTED


def _count(one: str, several: str, which: str = "") -> int:
    """A field that counts something, with what stands behind its number in a sentence."""
    words = {"one": f"{one} {which}".strip(), "several": f"{several} {which}".strip()}
    count: int = field(default=0, metadata=words)
    return count


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """How much of what was given does not count; the names of the fields are those in reports."""

    crowd_regions: int = _count("crowd region", "crowd regions")
    """In the photos that are evaluated; detections in them are neither right nor wrong."""
    objects_never_answered: int = _count(
        "object of a class that is never answered", "objects of classes that are never answered"
    )
    """Of classes that the vocabulary never answers."""
    objects_unlisted: int = _count(
        "object of a class that is not in the vocabulary",
        "objects of classes that are not in the vocabulary",
    )
    """Nor is a kind of it; of several vocabularies another has it."""
    objects_without_pixel: int = _count(
        "object whose mask covers no pixel", "objects whose masks cover no pixel"
    )
    """They cannot be clicked."""
    objects_beyond_largest: int = _count("object", "objects", "beyond --objects")
    """Smaller than the largest of their photo, as many as `compare --objects` takes."""
    objects_beyond_limit: int = _count("object", "objects", "on photos beyond --limit")
    photos_beyond_limit: int = _count("photo", "photos", "beyond --limit")
    photos_without_objects: int = _count("photo", "photos", "on which nothing is marked")
    """Or crowd regions alone."""
    photos_not_annotated: int = _count("photo", "photos", "without a file of annotations")
    """LabelMe, SA-1B: those without a JSON file."""
    shapes_no_objects: int = _count("shape that is no object", "shapes that are no objects")
    """LabelMe: lines, points, and what is called __ignore__ or _background_."""
    boxes_beyond_limit: int = _count("box", "boxes", "in photos beyond --limit")
    """A detector's, as all boxes here."""
    boxes_beyond_best: int = _count("box", "boxes", "beyond the best ones that the rules count")
    """After the 100 best of a class in a photo (COCO), or the 300 best of a photo (LVIS)."""
    boxes_unlisted: int = _count("box", "boxes", "named as no class of the annotation file")
    """By our names."""
    boxes_not_judged: int = _count(
        "box of a class of which its photo says nothing",
        "boxes of classes of which their photos say nothing",
    )
    """LVIS: whether such a class is on the photo is not known."""

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
_WORDS = {one.name: one.metadata for one in fields(LeftOut)}


def sentence_of(counts: Mapping[str, int]) -> str:
    """The same from a report's JSON."""
    parts = [
        f"{count:,} {_WORDS[name]['one' if count == 1 else 'several']}"
        for name, count in counts.items()
        if count and name in _WORDS
    ]
    return f"do not count: {', '.join(parts)}" if parts else ""


def of_listing(ignored: Mapping[str, int]) -> LeftOut:
    """What of a data set was drawn or photographed, and is no object or not annotated."""

    def count(prefix: str) -> int:
        return sum(number for reason, number in ignored.items() if reason.startswith(prefix))

    return LeftOut(photos_not_annotated=count(UNLISTED), shapes_no_objects=count(NO_OBJECT))


def beyond_limit(annotations: Annotations, photos: Collection[Photo]) -> LeftOut:
    """What is no object of a data set, and all that is on some photos beyond a limit."""
    crowds = annotations.crowds_by_photo
    return replace(
        of_listing(annotations.ignored),
        crowd_regions=annotations.crowds - sum(crowds.get(photo.id, 0) for photo in photos),
        objects_beyond_limit=sum(len(annotations.by_photo.get(p.id, ())) for p in photos),
        photos_beyond_limit=len(photos),
    )
