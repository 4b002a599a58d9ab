"""YOLO: `data.yaml` with the class names and folders, and a text file of objects for each photo.

A line is a class number and a polygon, `0 x y x y x y`, or a box, `0 x y width height` with its
centre; all are shares of the photo's sides. The text files lie in `labels/` where the photos lie in
`images/`, or beside them. A photo without one has nothing marked on it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ovsam.errors import AnnotationError, quoted
from ovsam.formats.annotations import Instance, unnumbered_instance
from ovsam.formats.listing import (
    ListedPhoto,
    Listing,
    Photos,
    Report,
    as_listed,
    entries_of,
    named_categories,
    numbered,
    sized_photo,
)
from ovsam.images.folder import PhotoFolder, is_photo_name, is_system_entry
from ovsam.vocabulary.class_lists import (
    find_data_yaml,
    names_list,
    read_data_yaml,
    read_names_list,
    yaml_names,
)

SPLITS = ("train", "val", "valid", "test")
_SLACK = 0.01  # of a side, by which rounding may lead out of the photo
_UP = 3  # folders above one of photos in which its data.yaml is looked for
_LONGEST = 2**26  # bytes of a label file


@dataclass(frozen=True, eq=False)
class YoloSet:
    """Which photos there are, and what the numbers of their labels mean.

    Attributes:
        names: by number.
        photos: in order.
        key_points: whether lines are boxes with key points behind them.
        splits: which of `SPLITS` were taken.
    """

    names: Mapping[int, str]
    photos: tuple[Path, ...]
    key_points: bool
    splits: tuple[str, ...]


def is_yolo(folder: Path) -> bool:
    """Whether a folder is a data set of YOLO's, or the photos of a part of one."""
    if find_data_yaml(folder) is not None:
        return True
    photos = _photos_folder(folder)
    labels = labels_folder(photos)
    if labels == photos:  # the lists of names lie beside other layouts' photos, too
        return names_list(folder).is_file() and any(
            file.with_suffix(".txt").is_file() for file in _photos_in(folder)
        )
    return _names_file(folder, labels) is not None


def find_yolo(path: Path, split: str | None, report: Report) -> YoloSet:
    """The photos of a `data.yaml` or a folder.

    Args:
        path: a `data.yaml`, a folder with one, or a folder of photos below it.
        split: which part of a data.yaml; None = all. Where it lists one part only, that.
        report: called with each folder or photo that is missing.

    Raises:
        AnnotationError: there are no names, or the data.yaml has several parts and not this one.
    """
    own = path if path.is_file() else find_data_yaml(path)
    if own is None:
        photos = _photos_folder(path)
        file = _names_file(path, labels_folder(photos))
        if file is None:
            raise AnnotationError(f"'{path}' has no data.yaml with class names. Give it one.")
        names, key_points = _read_names(file)
        return YoloSet(names, tuple(_photos_in(photos)), key_points, ())
    names, key_points = _read_names(own)
    content = read_data_yaml(own)
    parts = {key: content[key] for key in SPLITS if content.get(key) not in (None, "", [])}
    if not parts:
        folder = own.parent / "images" if (own.parent / "images").is_dir() else own.parent
        return YoloSet(names, tuple(_photos_in(folder)), key_points, ())
    if split is not None and len(parts) > 1:
        chosen = [key for key in (split, "valid" if split == "val" else "") if key in parts]
        if not chosen:
            raise AnnotationError(
                f"'{own}' lists {', '.join(parts)}, and not {split}. Give the folder of the photos "
                "that you mean."
            )
        parts = {chosen[0]: parts[chosen[0]]}
    photos_of: dict[Path, None] = {}
    for key, value in parts.items():
        for entry in value if isinstance(value, list) else [value]:
            photos_of.update(dict.fromkeys(_listed(own, content, key, entry, report)))
    return YoloSet(names, tuple(photos_of), key_points, tuple(parts))


def _read_names(file: Path) -> tuple[dict[int, str], bool]:
    """The names by their numbers, and whether lines have key points."""
    if file.suffix.lower() != ".txt":
        content = read_data_yaml(file)
        return yaml_names(content, str(file)), "kpt_shape" in content
    return read_names_list(file), False


def _names_file(folder: Path, labels: Path) -> Path | None:
    """The data.yaml, or else LabelImg's list of names, that a folder of photos belongs to."""
    above = [folder, *folder.absolute().parents[:_UP]]
    if (found := next(filter(None, map(find_data_yaml, above)), None)) is not None:
        return found
    lists = map(names_list, (labels, *above))
    return next((file for file in lists if file.is_file()), None)


def _listed(
    own: Path, content: Mapping[str, Any], part: str, entry: object, report: Report
) -> Iterator[Path]:
    """The photos of a folder or a list of photos that a data.yaml names."""
    wrong = f"'{own}' lists {quoted(entry)} as {part}, "
    if not isinstance(entry, str):
        report(AnnotationError(f"{wrong}which is no path."))
        return
    root = content.get("path")
    roots = [own.parent / root] if isinstance(root, str) and root else []
    # Roboflow writes ../train/images for train/images.
    plain = entry.strip().replace("\\", "/")
    inner = plain
    while inner.startswith(("../", "./")):
        inner = inner.partition("/")[2]
    candidates = [own.parent / inner, *(folder / plain for folder in roots), own.parent / plain]
    path = next((each for each in candidates if os.path.exists(each)), None)
    if path is None:
        report(AnnotationError(f"{wrong}which is missing."))
    elif path.is_dir():
        yield from _photos_in(path)
    else:
        yield from _in_list(path, report)


def _in_list(file: Path, report: Report) -> Iterator[Path]:
    """The photos whose paths a text file lists, within its folder."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        report(AnnotationError(f"The list of photos '{file}' cannot be read: {error}."))
        return
    folder = PhotoFolder(file.parent)
    for number, line in enumerate(lines, start=1):
        if name := line.strip():
            # On another machine: what follows the folder that both have.
            parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
            parts = parts[1:] if parts and parts[0].endswith(":") else parts
            found = folder.find("/".join(parts)) if parts else None
            if found is None:
                report(
                    AnnotationError(
                        f"Line {number} of '{file}' lists the photo {quoted(name)}, which is not "
                        "there."
                    )
                )
            else:
                yield found


def _photos_folder(folder: Path) -> Path:
    return folder / "images" if (folder / "images").is_dir() else folder


def _photos_in(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_system_entry(name))
        yield from (Path(parent, name) for name in sorted(filter(is_photo_name, files)))


def labels_folder(photos: Path) -> Path:
    """Where the label files of a folder of photos lie: `labels` for the last `images`, or there."""
    parts = photos.absolute().parts
    for index in range(len(parts) - 1, -1, -1):
        if parts[index].lower() == "images":
            labels = Path(*parts[:index], "labels", *parts[index + 1 :])
            return labels if labels.is_dir() else photos
    return photos


def yolo_objects(
    file: Path,
    size_hw: tuple[int, int],
    found: YoloSet,
    report: Report,
) -> list[Instance]:
    """The objects on a photo of `size_hw` pixels by its label file.

    Args:
        file: the label file.
        size_hw: the photo's size.
        found: what its numbers mean.
        report: called with each line that is wrong, which is left out.
    """
    try:
        if file.stat().st_size > _LONGEST:
            raise ValueError(f"it has more than {_LONGEST:,} bytes")
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = str(error).rstrip(".")
        report(AnnotationError(f"The label file '{file}' cannot be read: {reason}."))
        return []
    objects = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                objects.append(_object(line.split(), size_hw, found))
            except AnnotationError as error:
                report(AnnotationError(f"Line {number} of '{file}' {error}"))
    return objects


def _object(words: list[str], size_hw: tuple[int, int], found: YoloSet) -> Instance:
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError as error:
        raise AnnotationError(f"must have numbers, got {quoted(' '.join(words))}.") from error
    if not np.isfinite(numbers[0]) or numbers[0] != round(numbers[0]):
        raise AnnotationError(f"must begin with the number of a class, got {quoted(words[0])}.")
    name = found.names.get(int(numbers[0]))
    if name is None:
        raise AnnotationError(
            f"has the class {int(numbers[0])}, which is not listed: there are {len(found.names):,} "
            f"names, from {min(found.names)} to {max(found.names)}."
        )
    shares = numbers[1:5] if found.key_points else numbers[1:]
    if len(shares) != 4 and (len(shares) < 6 or len(shares) % 2):
        raise AnnotationError(
            "must have a class and a box (4 numbers) or a polygon (6 or more, an even count), got "
            f"{len(words)} numbers."
        )
    if not ((shares >= -_SLACK) & (shares <= 1 + _SLACK)).all():  # nor is NaN
        raise AnnotationError(
            f"must have shares of the photo from 0 to 1, got {quoted(' '.join(words[1:]))}."
        )
    height, width = size_hw
    if len(shares) == 4:
        x, y, w, h = shares
        points = np.array([[x - w / 2, y - h / 2], [x + w / 2, y + h / 2]])
    else:
        points = shares.reshape(-1, 2)
    points = np.clip(points, 0, 1) * [width, height]
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    if not (x0 < x1 and y0 < y1):
        raise AnnotationError(f"encloses nothing, got {quoted(' '.join(words[1:]))}.")
    polygons = None if len(shares) == 4 else [points.ravel().tolist()]
    return unnumbered_instance(name, polygons, (x0, y0, x1, y1))


def list_yolo(path: Path, split: str | None, report: Report) -> Listing:
    """The photos of a data set of YOLO's.

    Args:
        path: a `data.yaml`, a folder with one, or a folder of photos below it.
        split: the part of a `data.yaml` that lists several; None = all.
        report: called with each thing that is wrong, which is left out.
    """
    found = find_yolo(path, split, report)
    ignored: Counter[str] = Counter()
    photos: list[ListedPhoto] = []
    labels: dict[Path, Path] = {}
    used: set[Path] = set()
    for photo_path in found.photos:
        if photo_path.parent not in labels:
            labels[photo_path.parent] = labels_folder(photo_path.parent)
        file = labels[photo_path.parent] / f"{photo_path.stem}.txt"
        photo = sized_photo(photo_path)
        used.add(file)
        if not os.path.isfile(file):
            ignored["photos without a label file: nothing is marked on them"] += 1
        elif photo.size_hw is not None:
            objects = yolo_objects(file, photo.size_hw, found, report)
            photo = replace(photo, instances=tuple(objects))
        photos.append(photo)
    for folder in dict.fromkeys(labels.values()):
        for entry in entries_of(folder, ignored):
            if entry.suffix.lower() == ".txt" and entry not in used and entry.name != "classes.txt":
                ignored["label files without a photo that is listed"] += 1
    names = dict.fromkeys(found.names[number] for number in sorted(found.names))
    categories = named_categories(names, str(path), report)
    layout = ", ".join(("YOLO", *found.splits))
    return Listing(layout, categories, 0, Photos(numbered(photos), as_listed), ignored=ignored)
