"""What listing a data set gives, whatever its layout, and what all layouts share.

Hidden files and those that systems leave are no part of a data set; what is left out is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from ovsam.errors import AnnotationError, OvsamError, PhotoError
from ovsam.formats.annotations import Category, Instance, named_category
from ovsam.formats.labelme import photo_source
from ovsam.formats.skipped import Skipped
from ovsam.images.folder import is_photo_name, is_system_entry
from ovsam.images.read import read_photo_size

Report = Callable[[OvsamError], None]

UNLISTED = "photos without a JSON file, not annotated"
SYSTEM = "hidden files and folders, and those of a system"


@dataclass(frozen=True, eq=False, slots=True)
class ListedPhoto:
    """A photo as its data set lists it.

    Attributes:
        path: the photo's file, or the tar file that holds it.
        member: its name within the tar file.
        span: where its bytes begin in the tar file, and how many they are.
        size_hw: what the annotations say of its size, or None.
        instances: its objects; without `category` where they have no names.
        label: the name of the whole photo, or None.
        negative_classes: names of classes known to be absent; None where the data set does not
            say, see `annotations.Photo`.
        not_exhaustive_classes: names of classes of which not every object is marked.
        problems: a sentence for each thing wrong with its annotations; that part is left out.
        notes: what was done to its annotations, in words that are the same for all photos.
    """

    path: Path
    member: str | None = None
    span: tuple[int, int] = (0, 0)
    size_hw: tuple[int, int] | None = None
    instances: tuple[Instance, ...] = ()
    label: str | None = None
    negative_classes: tuple[str, ...] | None = None
    not_exhaustive_classes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What to call it in messages: its file, and its place within a tar file."""
        return str(self.path) if self.member is None else f"{self.path}:{self.member}"

    @property
    def skipped(self) -> list[Skipped]:
        """What is wrong with its annotations; if none can be used, with the photo."""
        return [Skipped(self.name, why, bool(self.instances)) for why in self.problems]

    def check_size(self, size_hw: tuple[int, int]) -> None:
        """Refuse pixels of another size than the annotations say.

        Raises:
            AnnotationError: says both.
        """
        if self.size_hw not in (None, size_hw):
            raise AnnotationError(
                f"Photo {self.name!r} is {size_hw[1]} x {size_hw[0]} pixels, its annotations say "
                f"{self.size_hw[1]} x {self.size_hw[0]}."
            )

    def open(self) -> Path | bytes:
        """What `read_photo` wants.

        Raises:
            PhotoError: the tar file cannot be read, or LabelMe's file holds no photo.
        """
        if self.member is None:
            return photo_source(self.path)
        start, length = self.span
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(length)
        except OSError as error:
            raise PhotoError(
                f"'{self.member}' of '{self.path}' cannot be read: {error}. Copy it again."
            ) from error


@dataclass(frozen=True, eq=False)
class Photos:
    """Photos in order; `photos[i]` reads what is marked on one, and never raises for what it reads.

    Attributes:
        listed: what is known of each without opening a file of its own.
        read: adds the rest.
    """

    listed: Sequence[ListedPhoto]
    read: Callable[[ListedPhoto], ListedPhoto]

    @property
    def whole(self) -> bool:
        """Whether all is known as it is listed, and no photo has a file of annotations."""
        return self.read is as_listed

    def __len__(self) -> int:
        return len(self.listed)

    def __getitem__(self, index: int) -> ListedPhoto:
        return self.read(self.listed[index])

    def __iter__(self) -> Iterator[ListedPhoto]:
        return map(self.read, self.listed)


@dataclass(frozen=True, eq=False)
class Listing:
    """A data set.

    Attributes:
        layout: what its layout is called.
        categories: its classes, in the data set's order; empty where objects have no names.
        crowds: crowd regions, which are left out.
        photos: each with its objects, read when it is taken.
        headings: categories that are no classes, see `class_lists.heading_ids`.
        ignored: what is no part of the data set, by what it is.
    """

    layout: str
    categories: tuple[Category, ...]
    crowds: int
    photos: Photos
    headings: tuple[str, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)


def as_listed(photo: ListedPhoto) -> ListedPhoto:
    """What reads nothing more of a photo: all is known as it is listed."""
    return photo


def entries_of(folder: Path, ignored: Counter[str] | None = None) -> list[Path]:
    """What is in a folder, sorted, but for a system's own entries, which are counted."""
    kept = []
    for path in sorted(folder.iterdir()):
        if not is_system_entry(path.name):
            kept.append(path)
        elif ignored is not None:
            ignored[SYSTEM] += 1
    return kept


def count_ignored(paths: Iterable[Path], ignored: Counter[str]) -> None:
    """Count files and folders that are no part of a data set, by what they are."""
    for path in paths:
        if path.is_dir():
            ignored["folders that are no part of the layout"] += 1
        else:
            ignored[f"files that are no photos ({path.suffix.lower() or 'no suffix'})"] += 1


def is_photo(path: Path) -> bool:
    """Whether a path is that of a photo by its name."""
    return is_photo_name(path.name)


def sized_photo(path: Path, size_hw: tuple[int, int] | None = None) -> ListedPhoto:
    """A photo whose size is needed to read its annotations; without objects yet."""
    try:
        return ListedPhoto(path, size_hw=size_hw or read_photo_size(photo_source(path)))
    except PhotoError as error:
        return ListedPhoto(path, problems=(str(error),))


def numbered(photos: Iterable[ListedPhoto]) -> list[ListedPhoto]:
    """Photos of LabelMe or YOLO, their objects numbered through the data set."""
    ids = count(1)
    return [
        replace(photo, instances=tuple(replace(one, id=next(ids)) for one in photo.instances))
        for photo in photos
    ]


def named_categories(names: Iterable[str], source: str, report: Report) -> tuple[Category, ...]:
    """Classes that have one name each; a name that is none is reported and left out."""
    found = []
    for name in names:
        try:
            found.append(named_category(name, [name], f"The class {name!r} of {source!r}"))
        except AnnotationError as error:
            report(error)
    return tuple(found)
