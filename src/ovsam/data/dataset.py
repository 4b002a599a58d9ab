"""A data set as a training run draws from it: photos by index, classes by number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from ovsam.errors import AnnotationError
from ovsam.formats.annotations import Category
from ovsam.formats.crowds import IN_FILE, many_crowds
from ovsam.formats.layouts import Split, list_photos
from ovsam.formats.listing import ListedPhoto, Photos
from ovsam.formats.skipped import Skipped


@dataclass(frozen=True, eq=False)
class DataSet:
    """Photos and the classes that their objects are of.

    `data_set[i]` reads what is marked on photo i. A corrupt annotation does not raise: it is left
    out, and the photo's `problems` say so. Masks are not decoded before `Instance.mask` asks,
    which raises for a malformed one.

    Attributes:
        name: what to call it in reports.
        categories: its classes, each name once; empty where objects have no names.
        photos: in the data set's order; `photos.listed` is what is known without reading.
        problems: a sentence for each thing that was wrong when listing and is left out.
        crowds: how many crowd regions its file has, which are left out.
        ignored: what is no part of the data set, by what it is.
    """

    name: str
    categories: tuple[Category, ...]
    photos: Photos
    problems: tuple[str, ...] = ()
    crowds: int = 0
    ignored: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> ListedPhoto:
        return self.photos[index]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes as the data set writes them, in the order of `class_index`."""
        return tuple(category.name for category in self.categories)

    @property
    def synonyms(self) -> tuple[tuple[str, ...], ...]:
        """For each class the names that are embedded."""
        return tuple(category.synonyms for category in self.categories)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {category.name: index for index, category in enumerate(self.categories)}

    def class_index(self, category: str) -> int:
        """The number of a class; -1 for what has no name, and for a class that is left out."""
        return self._index.get(category, -1)

    def verified_classes(self, photo: ListedPhoto) -> tuple[int, ...] | None:
        """The classes of which it is known whether the photo shows them, by number; None = all.

        LVIS: those known to be absent, and those of which every object is marked. Of a class that
        is not looked for, or not marked exhaustively, an object of another class may be one, too.
        """
        if photo.negative_classes is None:
            return None
        marked = {instance.category for instance in photo.instances}
        known = {*photo.negative_classes, *marked}.difference(photo.not_exhaustive_classes)
        return tuple(sorted(self._index[name] for name in known if name in self._index))

    def listed_classes(self, index: int) -> frozenset[str]:
        """The classes on a photo, by its label or its objects, without reading a file."""
        photo = self.photos.listed[index]
        names = {instance.category for instance in photo.instances} | {photo.label or ""}
        return frozenset(names - {""})

    @property
    def fingerprint(self) -> str:
        """BLAKE2b of what is listed: classes, names of photos, and all that is said of each."""
        digest = hashlib.blake2b(repr(self.synonyms).encode(), digest_size=16)
        for photo in self.photos.listed:
            objects = [
                (one.category, one.box_xyxy, one.area, one.segmentation) for one in photo.instances
            ]
            classes = photo.negative_classes, photo.not_exhaustive_classes
            said = photo.path.name, photo.member, photo.label, classes, objects
            digest.update(repr(said).encode())
        return digest.hexdigest()

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was left out when listing."""
        return tuple(Skipped(self.name, why, annotation=True) for why in self.problems)

    @property
    def many_crowds(self) -> str | None:
        """What to say where so many of its annotations are crowd regions that objects may be meant.

        Of a data set that is cut down to some photos or classes, the objects are those that remain.
        """
        objects = sum(len(photo.instances) for photo in self.photos.listed)
        return many_crowds(self.crowds, objects, IN_FILE)

    @cached_property
    def annotations(self) -> int | None:
        """How many are listed, those that are left out among them.

        None where they are not listed but read with each photo, as SA-1B's.
        """
        if not self.photos.whole:
            return None
        listed = self.photos.listed
        marked = sum(len(photo.instances) + (photo.label is not None) for photo in listed)
        return marked + len(self.problems)

    def where(self, keep: Callable[[ListedPhoto], bool]) -> DataSet:
        """The photos for which `keep` holds; it is given them as they are listed, unread.

        Raises:
            AnnotationError: no photo is left.
        """
        return self._with_photos([photo for photo in self.photos.listed if keep(photo)])

    def with_classes(self, names: Collection[str]) -> DataSet:
        """Only these classes: no object, label, negative or name of another remains.

        A photo whose objects are all left out stays, unless its label was; `where` drops it.

        Raises:
            AnnotationError: a name is none of the classes, or nothing is left.
        """
        unknown = [name for name in names if name not in self._index]
        if unknown or not names:
            raise AnnotationError(
                f"Data set '{self.name}' has no class {unknown[0] if unknown else ''!r}. "
                "Give names as the data set writes them, at least one."
            )
        kept = frozenset(names)
        narrowed = [
            _narrowed(photo, kept)
            for photo in self.photos.listed
            if photo.label is None or photo.label in kept
        ]
        categories = tuple(category for category in self.categories if category.name in kept)
        return replace(self._with_photos(narrowed), categories=categories)

    def without_rare(self) -> DataSet:
        """LVIS's common and frequent classes: the rare ones are kept for measuring."""
        return self.with_classes([c.name for c in self.categories if c.frequency != "r"])

    def _with_photos(self, listed: list[ListedPhoto]) -> DataSet:
        if not listed:
            raise AnnotationError(f"No photo of data set '{self.name}' is left. Choose others.")
        return replace(self, photos=Photos(listed, self.photos.read))


def all_annotations(data_sets: Iterable[DataSet]) -> int | None:
    """How many several data sets have; None where one does not know."""
    counts = [data_set.annotations for data_set in data_sets]
    return None if None in counts else sum(count or 0 for count in counts)


def read_data_set(
    path: Path, images: Path | None = None, name: str | None = None, split: Split = "train"
) -> DataSet:
    """The data set at `path`, in any layout of `layouts`.

    Args:
        path: an annotation file or a folder.
        images: the photos of an annotation file; None = beside it.
        name: what to call it; None = as the file or the folder.
        split: the part of a `data.yaml` that lists several.

    Raises:
        AnnotationError: nothing there can be used.
    """
    problems: list[str] = []
    listing = list_photos(path, images, lambda error: problems.append(str(error)), split)
    if not len(listing.photos):
        why = f" First: {problems[0]}" if problems else ""
        raise AnnotationError(f"'{path}' lists no photo that can be used.{why}")
    # Two categories of one name are one class.
    categories = {category.name: category for category in listing.categories}
    return DataSet(
        name or path.stem,
        tuple(categories.values()),
        listing.photos,
        tuple(problems),
        listing.crowds,
        listing.ignored,
    )


def _narrowed(photo: ListedPhoto, names: frozenset[str]) -> ListedPhoto:
    negative = photo.negative_classes
    return replace(
        photo,
        instances=tuple(i for i in photo.instances if not i.category or i.category in names),
        negative_classes=negative and tuple(name for name in negative if name in names),
        not_exhaustive_classes=tuple(n for n in photo.not_exhaustive_classes if n in names),
    )
