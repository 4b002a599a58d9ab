"""Data sets in the layouts their owners ship, listed without trust: what is wrong is reported.

| layout | what a path to it looks like |
| --- | --- |
| COCO, LVIS, Objects365, V3Det, one's own | an annotation file (`.json`) and a folder of photos |
| SA-1B | a folder with JSON files beside photos, or of such folders (`train.txt`, `val.txt`), or |
| | one of these lists (`.txt`) |
| masks | `images/` and `masks/`, PNG files of the same stems: one mask each, or label maps |
| ImageNet | a folder for each class, or a tar file for each; `words.txt` names them |

Listing opens no photo and, of SA-1B and masks, no annotation: these are read with each photo.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovsam.data.coco import (
    Category,
    Instance,
    collect_annotations,
    named_category,
    parse_sa1b,
    read_json,
)
from ovsam.data.skipped import Skipped
from ovsam.errors import AnnotationError, OvsamError, PhotoError
from ovsam.geometry import encode_rle, mask_to_box_xyxy
from ovsam.photo import PHOTO_SUFFIXES, read_label_map, read_photo_size

VOID = 255  # a label map's "no label" beside 0

Report = Callable[[OvsamError], None]


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
            say, see `coco.Photo`.
        not_exhaustive_classes: names of classes of which not every object is marked.
        problems: a sentence for each thing wrong with its annotations; that part is left out.
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
                f"Photo '{self.name}' is {size_hw[1]} x {size_hw[0]} pixels, its annotations say "
                f"{self.size_hw[1]} x {self.size_hw[0]}."
            )

    def open(self) -> Path | bytes:
        """What `read_photo` wants.

        Raises:
            PhotoError: the tar file cannot be read.
        """
        if self.member is None:
            return self.path
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
        return self.read is _as_listed

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
        photos: each with its objects, read as it is asked for.
    """

    layout: str
    categories: tuple[Category, ...]
    crowds: int
    photos: Photos


def list_photos(path: Path, images: Path | None, report: Report) -> Listing:
    """List the data set at `path`; what is wrong is handed to `report` and left out.

    What is wrong with files that are read later comes with their photo, as its `problems`.

    Args:
        path: an annotation file, a list of folders or a folder, see the module.
        images: the photos of an annotation file; None = beside it.
        report: called with each thing that is wrong.

    Raises:
        AnnotationError: there is no such path, or its layout is none of those known.
    """
    if path.is_file() and path.suffix == ".txt":
        return _sa1b(_named_folders(path), report)
    if path.is_file():
        return _coco(path, images or path.parent, report)
    if not path.is_dir():
        raise AnnotationError(f"There is no data set at '{path}'. Check the path.")
    if (path / "images").is_dir() and (path / "masks").is_dir():
        return _masks(path, report)
    folders = _sa1b_folders(path)
    if folders:
        return _sa1b(folders, report)
    classes = [p for p in sorted(path.iterdir()) if p.suffix == ".tar" or _holds_photos(p)]
    if classes:
        return _classes(classes, report)
    raise AnnotationError(
        f"'{path}' has none of the known layouts: expected an annotation file in COCO's format, "
        "JSON files beside photos (SA-1B), images/ and masks/, or a folder or tar file for each "
        "class (ImageNet). Give the path of one of these."
    )


def _as_listed(photo: ListedPhoto) -> ListedPhoto:
    return photo


def _coco(path: Path, images: Path, report: Report) -> Listing:
    content = collect_annotations(read_json(path), str(path), report)
    folder = cache(partial(_folder, images))
    photos = tuple(
        ListedPhoto(
            path=folder(Path(photo.file_name).parent) / Path(photo.file_name).name,
            size_hw=photo.size_hw,
            instances=content.by_photo.get(photo.id, ()),
            negative_classes=photo.negative_classes,
            not_exhaustive_classes=photo.not_exhaustive_classes,
        )
        for photo in content.photos
    )
    return Listing("COCO", content.categories, content.crowds, Photos(photos, _as_listed))


def _folder(images: Path, named: Path) -> Path:
    """Where the photos of a folder that file names give really lie.

    Not every copy keeps the leading folders (LVIS: train2017/, Objects365: images/v1/). Looked up
    for each folder, not for each photo: there are millions.
    """
    ends = (images.joinpath(*named.parts[start:]) for start in range(len(named.parts)))
    return next((folder for folder in ends if folder.is_dir()), images)


def _sa1b_folders(path: Path) -> list[Path]:
    named: list[Path] = []
    for part in ("train.txt", "val.txt"):
        if (path / part).is_file():
            named += _named_folders(path / part)
    if named:
        return list(dict.fromkeys(named))
    jsons = path.glob("*.json")
    return [path] if any(_photo_beside(file) is not None for file in jsons) else []


def _named_folders(file: Path) -> list[Path]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(
            f"The list of folders '{file}' cannot be read: {error}. Save it as UTF-8 text."
        ) from error
    # One folder on each line, whose name may have blanks, or several between blanks.
    named = (line.strip() for line in lines)
    several = ([line] if os.path.isdir(file.parent / line) else line.split() for line in named)
    return [file.parent / name for names in several for name in names if name]


def _sa1b(folders: list[Path], report: Report) -> Listing:
    photos: list[ListedPhoto] = []
    for folder in folders:
        try:
            files = sorted(folder.glob("*.json"))
        except (OSError, ValueError):  # a name that is none, such as one with a null byte
            files = []
        if not files:
            report(AnnotationError(f"The listed folder '{folder}' is missing or has no JSON file."))
        photos += [ListedPhoto(_photo_beside(file) or file.with_suffix(".jpg")) for file in files]
    return Listing("SA-1B", (), 0, Photos(photos, _with_regions))


def _photo_beside(file: Path) -> Path | None:
    candidates = (file.with_suffix(suffix) for suffix in PHOTO_SUFFIXES)
    return next((path for path in candidates if path.exists()), None)


def _with_regions(photo: ListedPhoto) -> ListedPhoto:
    file = photo.path.with_suffix(".json")
    problems: list[str] = []
    try:
        size_hw, instances = parse_sa1b(
            read_json(file), str(file), lambda error: problems.append(str(error))
        )
    except AnnotationError as error:
        return replace(photo, problems=(str(error),))
    return replace(photo, size_hw=size_hw, instances=instances, problems=tuple(problems))


def _masks(root: Path, report: Report) -> Listing:
    files = {file.stem: file for file in sorted((root / "masks").glob("*.png"))}
    photos = []
    for path in sorted((root / "images").iterdir()):
        if path.suffix.lower() not in PHOTO_SUFFIXES:
            continue
        if files.pop(path.stem, None) is None:
            report(AnnotationError(f"Photo '{path}' has no mask '{path.stem}.png' in masks/."))
        else:
            photos.append(ListedPhoto(path))
    for file in files.values():
        report(AnnotationError(f"Mask '{file}' has no photo of its stem in images/."))
    return Listing("photos with mask files", (), 0, Photos(photos, _with_mask))


def _with_mask(photo: ListedPhoto) -> ListedPhoto:
    file = photo.path.parents[1] / "masks" / f"{photo.path.stem}.png"
    try:
        values = read_label_map(file)
        instances = tuple(_labelled(values))
        if not instances and (size_hw := read_photo_size(photo.path)) != values.shape:
            raise AnnotationError(  # with objects, whoever uses them says so
                f"Mask '{file}' is {values.shape[1]} x {values.shape[0]} pixels and blank, its "
                f"photo is {size_hw[1]} x {size_hw[0]}."
            )
    except (PhotoError, AnnotationError) as error:
        return replace(photo, problems=(str(error),))
    return replace(photo, size_hw=values.shape, instances=instances)


def _labelled(values: NDArray[Any]) -> Iterator[Instance]:
    """An object for each value but 0 and 255; of a mask of 0 and 255 alone, what is white."""
    found = [int(value) for value in np.unique(values) if value != 0]
    for value in [v for v in found if v != VOID] or found:
        mask = values == value
        x0, y0, x1, y1 = mask_to_box_xyxy(mask).tolist()
        yield Instance(value, 0, "", (x0, y0, x1, y1), float(mask.sum()), encode_rle(mask))


def _holds_photos(path: Path) -> bool:
    return path.is_dir() and any(p.suffix.lower() in PHOTO_SUFFIXES for p in path.iterdir())


def _classes(classes: list[Path], report: Report) -> Listing:
    words = _words(classes[0].parent / "words.txt", report)
    categories, photos = [], []
    for item in classes:
        name = item.name if item.is_dir() else item.stem
        try:
            categories.append(named_category(name, [words.get(name, name)], f"The class '{item}'"))
        except AnnotationError as error:
            report(error)
            continue
        if item.is_dir():
            photos += [
                ListedPhoto(path, label=name)
                for path in sorted(item.iterdir())
                if path.suffix.lower() in PHOTO_SUFFIXES
            ]
        else:
            photos += _members(item, report)
    return Listing("classes", tuple(categories), 0, Photos(photos, _as_listed))


def _words(file: Path, report: Report) -> Mapping[str, str]:
    """ImageNet's list of what its numbers mean: `n02084071<tab>dog, domestic dog`."""
    if not file.is_file():
        return {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        report(AnnotationError(f"The names of the classes in '{file}' cannot be read: {error}."))
        return {}
    return {parts[0]: parts[1] for line in lines if len(parts := line.split(maxsplit=1)) == 2}


def _members(item: Path, report: Report) -> list[ListedPhoto]:
    try:
        with tarfile.open(item, "r:") as archive:  # not compressed: members are read in place
            members = [member for member in archive.getmembers() if member.isfile()]
    except (OSError, tarfile.TarError) as error:
        report(AnnotationError(f"'{item}' is not a whole, plain tar file: {error}."))
        return []
    return [
        ListedPhoto(
            item, member=member.name, span=(member.offset_data, member.size), label=item.stem
        )
        for member in members
        if Path(member.name).suffix.lower() in PHOTO_SUFFIXES
    ]
