"""ImageNet: a folder or a tar file for each class, whose name each photo in it has.

What the folders are called stands in `words.txt`, or in `classes.json` as `{"classes": {folder:
name}}`. Beside the latter, lists of photos (`train.txt`) are parts of the data set.
"""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ovsam.errors import AnnotationError
from ovsam.formats.annotations import named_category
from ovsam.formats.json_rows import read_json
from ovsam.formats.listing import (
    SYSTEM,
    ListedPhoto,
    Listing,
    Photos,
    Report,
    as_listed,
    count_ignored,
    entries_of,
    is_photo,
)
from ovsam.images.folder import is_photo_name, is_system_entry

# What other layouts call folders of photos, which are none of classes.
_PARTS = frozenset(
    "train,val,valid,validation,test,trainval,image,images,img,imgs,photo,photos,mask,masks,data,"
    "jpegimages,segmentationclass,segmentationobject,visualization,obj_train_data".split(",")
)


def is_part(name: str) -> bool:
    """Whether a folder of this name holds a part of a data set, and not a class: train2017."""
    return name.lower().rstrip("0123456789_-") in _PARTS


def holds_photos(path: Path) -> bool:
    """Whether a path is a folder in which photos lie."""
    return path.is_dir() and any(is_photo_name(name) for name in os.listdir(path))


def class_names(root: Path) -> dict[str, str] | None:
    """What a folder's `classes.json` calls its folders; None where there is no such file."""
    file = root / "classes.json"
    if not file.is_file():
        return None
    try:
        content = read_json(file)
    except AnnotationError:
        return None
    names = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        return None
    return names


def class_entries(root: Path) -> list[Path]:
    """The folders and tar files in a folder that may be those of classes."""
    return [p for p in entries_of(root) if p.suffix.lower() == ".tar" or holds_photos(p)]


def list_part(file: Path, report: Report) -> Listing:
    """The photos that a list names, `CLASS/PHOTO` on each line, beside a `classes.json`.

    The classes are those of the whole data set, whatever the list has of them.

    Args:
        file: the list.
        report: called with each line that names no photo of a class.

    Raises:
        AnnotationError: the list cannot be read.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(
            f"The list of photos '{file}' cannot be read: {error}. Save it as UTF-8 text."
        ) from error
    whole = list_classes(file.parent, class_entries(file.parent), report)
    known = {photo.path: photo for photo in whole.photos.listed}
    paths = [file.parent / line for line in dict.fromkeys(lines) if line]
    for path in paths:
        if path not in known:
            report(AnnotationError(f"'{file}' lists '{path}', which is no photo of a class."))
    photos = [known[path] for path in paths if path in known]
    return replace(whole, photos=Photos(photos, as_listed))


def list_classes(root: Path, classes: list[Path], report: Report) -> Listing:
    """The photos of a data set with a folder or a tar file for each class.

    Args:
        root: where these lie, and `words.txt` or `classes.json`, which say what they are called.
        classes: the folders and tar files.
        report: called with each thing that is wrong, which is left out.
    """
    words = _words(root / "words.txt", report)
    ignored: Counter[str] = Counter()
    used = {*classes, root / "words.txt"}
    if (names := class_names(root)) is not None:
        used |= {root / "classes.json", *root.glob("*.txt")}
    count_ignored((entry for entry in entries_of(root, ignored) if entry not in used), ignored)
    categories, photos = [], []
    for item in classes:
        name = item.name if item.is_dir() else item.stem
        texts = words[name].split(",") if name in words else [name]
        if names is not None and name in names:
            texts = [names[name]]  # whole, with its commas
        try:
            categories.append(named_category(name, texts, f"The class '{item}'"))
        except AnnotationError as error:
            report(error)
            continue
        if item.is_dir():
            entries = entries_of(item, ignored)
            photos += [ListedPhoto(path, label=name) for path in filter(is_photo, entries)]
            count_ignored((path for path in entries if not is_photo(path)), ignored)
        else:
            photos += _members(item, report, ignored)
    return Listing("classes", tuple(categories), 0, Photos(photos, as_listed), ignored=ignored)


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


def _members(item: Path, report: Report, ignored: Counter[str]) -> list[ListedPhoto]:
    try:
        with tarfile.open(item, "r:") as archive:  # not compressed: members are read in place
            members = [member for member in archive.getmembers() if member.isfile()]
    except (OSError, tarfile.TarError) as error:
        report(AnnotationError(f"'{item}' is not a whole, plain tar file: {error}."))
        return []
    photos = []
    for member in members:
        path = PurePosixPath(member.name)
        if any(part != "." and is_system_entry(part) for part in path.parts):
            ignored[SYSTEM] += 1
        elif not is_photo_name(path.name):
            ignored[f"files that are no photos ({path.suffix.lower() or 'no suffix'})"] += 1
        else:
            span = member.offset_data, member.size
            photos.append(ListedPhoto(item, member=member.name, span=span, label=item.stem))
    return photos
