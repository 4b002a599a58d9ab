"""A folder of LabelMe's files and of the photos that they are of."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ovsam.errors import AnnotationError
from ovsam.formats.labelme import LabelMeFile, labelme_objects, read_labelme
from ovsam.formats.listing import (
    SYSTEM,
    UNLISTED,
    ListedPhoto,
    Listing,
    Photos,
    Report,
    as_listed,
    count_ignored,
    named_categories,
    numbered,
    sized_photo,
)
from ovsam.images.folder import PhotoFolder, is_photo_name, is_system_entry, leaves_folder
from ovsam.vocabulary.class_lists import labelme_files


def list_labelme(root: Path, images: Path | None, report: Report) -> Listing:
    """The photos of a folder of LabelMe's files.

    Args:
        root: the folder, or one with such folders in it.
        images: where else the photos may lie.
        report: called with each thing that is wrong, which is left out.
    """
    ignored: Counter[str] = Counter()
    folders: dict[Path, PhotoFolder] = {}
    photos: list[ListedPhoto] = []
    for path in labelme_files(root):
        try:
            file = read_labelme(path)
        except AnnotationError as error:
            report(error)
            continue
        photo = sized_photo(_labelme_photo(path, file, root, images, folders), file.size_hw)
        if photo.size_hw is not None:
            objects = labelme_objects(file, photo.size_hw, report, ignored)
            photo = replace(photo, instances=tuple(objects))
        photos.append(photo)
    names = sorted({one.category for photo in photos for one in photo.instances})
    listed = {photo.path for photo in photos}
    for folder, inner, files in os.walk(root):
        kept = [name for name in inner if not is_system_entry(name)]
        ignored[SYSTEM] += len(inner) - len(kept) + sum(map(is_system_entry, files))
        inner[:] = kept
        for name in files:
            if is_photo_name(name) and Path(folder, name) not in listed:
                ignored[UNLISTED] += 1
            elif not is_photo_name(name) and not name.lower().endswith(".json"):
                count_ignored([Path(folder, name)] if not is_system_entry(name) else [], ignored)
    categories = named_categories(names, str(root), report)
    return Listing("LabelMe", categories, 0, Photos(numbered(photos), as_listed), ignored=+ignored)


def _labelme_photo(
    path: Path,
    file: LabelMeFile,
    root: Path,
    images: Path | None,
    folders: dict[Path, PhotoFolder],
) -> Path:
    """The photo of a LabelMe file: where the file says, beside it, or within it."""

    def find(folder: Path, name: str) -> Path | None:
        if folder not in folders:
            folders[folder] = PhotoFolder(folder)
        return folders[folder].find(name)

    named = file.image_path.replace("\\", "/")
    last = PurePosixPath(named).name
    last = f"{path.stem}.jpg" if not last or leaves_folder(last) else last
    inside = last if leaves_folder(named) else named
    # A path that leads out of the file's folder may lead to another of the data set.
    elsewhere = os.path.normpath(Path(os.path.relpath(path.parent, root), named)).replace("\\", "/")
    found = (
        (find(images, inside) if images is not None else None)
        or find(path.parent, inside)
        or find(root, elsewhere)
        or find(path.parent, f"{path.stem}.jpg")
    )
    return found or (path if file.embedded else path.parent / last)
