"""Data sets in the layouts their owners ship, listed without trust: what is wrong is reported.

| layout | what a path to it looks like |
| --- | --- |
| COCO, LVIS, Objects365, V3Det, one's own | an annotation file (`.json`) and a folder of photos |
| LabelMe | a folder with JSON files beside photos, or of such folders |
| YOLO | a `data.yaml` or its folder, or a folder of photos below it (`images/val`) |
| SA-1B | a folder with JSON files beside photos, or of such folders (`train.txt`, `val.txt`), or |
| | one of these lists (`.txt`) |
| masks | `images/` and `masks/`, pictures of the same stems: one mask each, or label maps |
| ImageNet | a folder for each class, or a tar file for each; `words.txt` or `classes.json` |
| | names them, and beside the latter a list of photos (`.txt`) is a part of them |

Listing opens no photo, but of YOLO and LabelMe those whose size is not written, and of SA-1B and
masks no annotation: these are read with each photo. Hidden files and those that systems leave are
no part of a data set; what is left out is counted.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ovsam.errors import AnnotationError
from ovsam.formats.annotations import Annotations, Photo
from ovsam.formats.class_folders import (
    class_entries,
    class_names,
    is_part,
    list_classes,
    list_part,
)
from ovsam.formats.coco import list_coco, read_annotations, refuse
from ovsam.formats.crowds import Crowds
from ovsam.formats.labelme_folder import list_labelme
from ovsam.formats.listing import Listing, Report
from ovsam.formats.mask_folder import list_masks
from ovsam.formats.sa1b import list_sa1b, named_folders, sa1b_folders
from ovsam.formats.yolo import is_yolo, list_yolo
from ovsam.images.folder import is_system_entry
from ovsam.vocabulary.class_lists import YAML_SUFFIXES, holds_labelme

Split = Literal["train", "val"]
"""Which part of a `data.yaml` a command takes."""


def list_photos(
    path: Path, images: Path | None, report: Report, split: Split | None = None
) -> Listing:
    """List the data set at `path`; what is wrong is handed to `report` and left out.

    What is wrong with files that are read later comes with their photo, as its `problems`.

    Args:
        path: an annotation file, a list or a folder, see the module.
        images: the photos of an annotation file or of LabelMe's; None = beside it.
        report: called with each thing that is wrong.
        split: the part of a `data.yaml`, where it lists several; None = all of them.

    Raises:
        AnnotationError: there is no such path, or its layout is none of those known.
    """
    suffix = path.suffix.lower()
    if path.is_file() and suffix == ".txt":
        if class_names(path.parent) is not None:
            return list_part(path, report)
        return list_sa1b(named_folders(path), report)
    if path.is_file() and suffix in YAML_SUFFIXES:
        return list_yolo(path, split, report)
    if path.is_file():
        return list_coco(path, images or path.parent, report)
    if not path.is_dir():
        raise AnnotationError(f"There is no data set at '{path}'. Check the path.")
    if (path / "images").is_dir() and (path / "masks").is_dir():
        return list_masks(path, report)
    if class_names(path) is not None:
        return list_classes(path, class_entries(path), report)
    if is_yolo(path):
        return list_yolo(path, split, report)
    if holds_labelme(path):
        return list_labelme(path, images, report)
    named = sa1b_folders(path)
    if named:
        return list_sa1b(named, report)
    classes = class_entries(path)
    if not all(is_part(item.name) for item in classes):
        return list_classes(path, classes, report)
    files = [file for pattern in ("*.json", "*/*.json") for file in sorted(path.glob(pattern))]
    named = [file for file in files if not any(map(is_system_entry, file.parts[-2:]))]
    such = f", such as '{named[0]}'" if named else ""
    raise AnnotationError(
        f"'{path}' has none of the known layouts: expected an annotation file in COCO's format, a "
        "data.yaml (YOLO), JSON files beside photos (LabelMe, SA-1B), images/ and masks/, or a "
        f"folder or tar file for each class (ImageNet). Give the path of one of these{such}."
    )


def read_annotated(
    path: Path, images: Path | None, crowds: Crowds = "left-out"
) -> tuple[Annotations, Path]:
    """Photos with named masks, in any layout that has such, and the folder that they lie in.

    Of a `data.yaml` with several parts, `val`.

    Args:
        path: as for `list_photos`.
        images: the same.
        crowds: what COCO's crowd regions are.

    Raises:
        AnnotationError: there is no such data set, something in it is wrong, or its objects have no
            names or no masks.
    """
    if not path.is_dir() and path.suffix.lower() not in (".txt", *YAML_SUFFIXES):
        return read_annotations(path, crowds), images or path.parent
    listing = list_photos(path, images, refuse, "val")
    if not listing.categories or any(photo.label is not None for photo in listing.photos.listed):
        lacks = "masks" if listing.categories else "names"
        raise AnnotationError(
            f"The objects of '{path}' ({listing.layout}) have no {lacks}: give a data set that has "
            "masks with names (COCO, LabelMe, YOLO), or compare masks with 'ovsam compare'."
        )
    found = list(listing.photos)
    for photo in found:
        for problem in photo.problems:
            refuse(AnnotationError(problem))
    paths = [photo.path.absolute() for photo in found]
    root = Path(os.path.commonpath([photo_path.parent for photo_path in paths] or [path]))
    photos = [
        Photo(number, photo_path.relative_to(root).as_posix(), photo.size_hw or (1, 1))
        for number, (photo_path, photo) in enumerate(zip(paths, found, strict=True), start=1)
    ]
    instances = [
        replace(instance, photo_id=photo.id)
        for photo, listed in zip(photos, found, strict=True)
        for instance in listed.instances
    ]
    annotations = Annotations(
        photos=tuple(photos),
        instances=tuple(instances),
        categories=listing.categories,
        category_ids=tuple(range(1, len(listing.categories) + 1)),
        source=str(path),
        ignored=listing.ignored,
    )
    return annotations, root
