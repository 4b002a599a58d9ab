"""Data sets in the layouts their owners ship, listed without trust: what is wrong is reported.

| layout | what a path to it looks like |
| --- | --- |
| COCO, LVIS, Objects365, V3Det, one's own | an annotation file (`.json`) and a folder of photos |
| SA-1B | a folder with JSON files beside photos, or of such folders (`train.txt`, `val.txt`) |
| masks | `images/` and `masks/`, PNG files of the same stems: one mask each, or label maps |
| ImageNet | a folder for each class, or a tar file for each |
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovsam.data.coco import Instance, collect_annotations, parse_sa1b, read_json
from ovsam.errors import AnnotationError, OvsamError, PhotoError
from ovsam.geometry import encode_rle, mask_to_box_xyxy
from ovsam.photo import read_label_map

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
VOID = 255  # a label map's "no label" beside 0

Report = Callable[[OvsamError], None]


@dataclass(frozen=True, eq=False)
class ListedPhoto:
    """A photo as its data set lists it.

    Attributes:
        path: the photo's file, or the tar file that holds it.
        member: its name within the tar file.
        span: where its bytes begin in the tar file, and how many they are.
        size_hw: what the annotations say of its size, or None.
        instances: its objects; without `category` where they have no names.
        label: the name of the whole photo, or None.
    """

    path: Path
    member: str | None = None
    span: tuple[int, int] = (0, 0)
    size_hw: tuple[int, int] | None = None
    instances: tuple[Instance, ...] = ()
    label: str | None = None

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
                f"'{self.member}' of '{self.path}' cannot be read: {error}."
            ) from error


@dataclass(frozen=True, eq=False)
class Listing:
    """A data set.

    Attributes:
        layout: what its layout is called.
        classes: names, in the data set's order; empty where objects have none.
        crowds: crowd regions, which are left out.
        photos: gives each photo with its objects; reads as it goes.
    """

    layout: str
    classes: tuple[str, ...]
    crowds: int
    photos: Iterator[ListedPhoto]


def list_photos(path: Path, images: Path | None, report: Report) -> Listing:
    """List the data set at `path`; what is wrong is handed to `report` and left out.

    Args:
        path: an annotation file or a folder, see the module.
        images: the photos of an annotation file; None = beside it.
        report: called with each thing that is wrong.

    Raises:
        AnnotationError: there is no such path, or its layout is none of those known.
    """
    if path.is_file():
        return _coco(path, images or path.parent, report)
    if not path.is_dir():
        raise AnnotationError(f"There is no data set at '{path}'. Check the path.")
    if (path / "images").is_dir() and (path / "masks").is_dir():
        return Listing("photos with mask files", (), 0, _masks(path, report))
    folders = _sa1b_folders(path)
    if folders:
        return Listing("SA-1B", (), 0, _sa1b(folders, report))
    classes = [p for p in sorted(path.iterdir()) if p.suffix == ".tar" or _holds_photos(p)]
    if classes:
        names = tuple(item.stem if item.is_file() else item.name for item in classes)
        return Listing("classes", names, 0, _classes(classes, report))
    raise AnnotationError(
        f"'{path}' has none of the known layouts: expected an annotation file in COCO's format, "
        "JSON files beside photos (SA-1B), images/ and masks/, or a folder or tar file for each "
        "class (ImageNet)."
    )


def _coco(path: Path, images: Path, report: Report) -> Listing:
    content = collect_annotations(read_json(path), str(path), report)
    photos = (
        ListedPhoto(
            path=_found(images, photo.file_name),
            size_hw=photo.size_hw,
            instances=content.by_photo.get(photo.id, ()),
        )
        for photo in content.photos
    )
    return Listing("COCO", content.categories, content.crowds, photos)


def _found(images: Path, file_name: str) -> Path:
    """Annotation files name photos with folders that not every copy keeps (LVIS, Objects365)."""
    flat = images / Path(file_name).name
    path = images / file_name
    return flat if not path.exists() and flat.exists() else path


def _sa1b_folders(path: Path) -> list[Path]:
    named: list[str] = []
    for part in ("train.txt", "val.txt"):
        if (path / part).is_file():
            named += (path / part).read_text(encoding="utf-8").split()
    if named:
        return [path / name for name in dict.fromkeys(named)]
    jsons = list(path.glob("*.json"))
    return [path] if any(_photo_beside(file).exists() for file in jsons) else []


def _sa1b(folders: list[Path], report: Report) -> Iterator[ListedPhoto]:
    for folder in folders:
        files = sorted(folder.glob("*.json"))
        if not files:
            report(AnnotationError(f"The listed folder '{folder}' is missing or has no JSON file."))
        for file in files:
            try:
                size_hw, instances = parse_sa1b(read_json(file), str(file), report)
            except AnnotationError as error:
                report(error)
                continue
            yield ListedPhoto(_photo_beside(file), size_hw=size_hw, instances=instances)


def _photo_beside(file: Path) -> Path:
    candidates = (file.with_suffix(suffix) for suffix in PHOTO_SUFFIXES)
    return next((path for path in candidates if path.exists()), file.with_suffix(".jpg"))


def _masks(root: Path, report: Report) -> Iterator[ListedPhoto]:
    files = {file.stem: file for file in sorted((root / "masks").glob("*.png"))}
    for path in sorted((root / "images").iterdir()):
        if path.suffix.lower() not in PHOTO_SUFFIXES:
            continue
        file = files.pop(path.stem, None)
        if file is None:
            report(AnnotationError(f"Photo '{path}' has no mask '{path.stem}.png' in masks/."))
            continue
        try:
            values = read_label_map(file)
        except PhotoError as error:
            report(error)
            continue
        yield ListedPhoto(path, size_hw=values.shape, instances=tuple(_labelled(values)))
    for file in files.values():
        report(AnnotationError(f"Mask '{file}' has no photo of its stem in images/."))


def _labelled(values: NDArray[Any]) -> Iterator[Instance]:
    """An object for each value but 0 and 255; of a mask of 0 and 255 alone, what is white."""
    found = [int(value) for value in np.unique(values) if value != 0]
    for value in [v for v in found if v != VOID] or found:
        mask = values == value
        x0, y0, x1, y1 = mask_to_box_xyxy(mask).tolist()
        yield Instance(value, 0, "", (x0, y0, x1, y1), float(mask.sum()), encode_rle(mask))


def _holds_photos(path: Path) -> bool:
    return path.is_dir() and any(p.suffix.lower() in PHOTO_SUFFIXES for p in path.iterdir())


def _classes(classes: list[Path], report: Report) -> Iterator[ListedPhoto]:
    for item in classes:
        if item.is_dir():
            for path in sorted(item.iterdir()):
                if path.suffix.lower() in PHOTO_SUFFIXES:
                    yield ListedPhoto(path, label=item.name)
            continue
        try:
            with tarfile.open(item, "r:") as archive:  # not compressed: members are read in place
                members = [member for member in archive.getmembers() if member.isfile()]
        except (OSError, tarfile.TarError) as error:
            report(AnnotationError(f"'{item}' is not a whole, plain tar file: {error}."))
            continue
        for member in members:
            if Path(member.name).suffix.lower() in PHOTO_SUFFIXES:
                span = (member.offset_data, member.size)
                yield ListedPhoto(item, member=member.name, span=span, label=item.stem)
