"""What is annotated on photos: classes, photos and objects, the same for every format."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovsam.errors import AnnotationError, VocabularyError, quoted
from ovsam.geometry import check_segmentation, segmentation_to_mask
from ovsam.vocabulary.entry import Entry
from ovsam.vocabulary.vocabulary import Vocabulary

# COCO's sizes, by the annotated area in pixels: small < 32² <= medium < 96² <= large.
SMALL_AREA = 32.0**2
LARGE_AREA = 96.0**2
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
        """BLAKE2b of photos and instances: which differs where two annotation files do."""
        digest = hashlib.blake2b(digest_size=16)
        for photo in self.photos:
            digest.update(repr(photo).encode())
        for one in self.instances:
            content = one.id, one.photo_id, one.category, one.box_xyxy, one.area, one.segmentation
            digest.update(json.dumps(content).encode())
        return digest.hexdigest()
