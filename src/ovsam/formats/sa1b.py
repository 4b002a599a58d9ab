"""SA-1B: folders with a JSON file beside each photo, masks without names; and lists of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ovsam.errors import AnnotationError
from ovsam.formats.annotations import Instance
from ovsam.formats.coco import instance_of
from ovsam.formats.json_rows import integer_of, read_json, size_hw_of, table_of
from ovsam.formats.listing import (
    UNLISTED,
    ListedPhoto,
    Listing,
    Photos,
    Report,
    count_ignored,
    entries_of,
)
from ovsam.images.folder import PhotoFolder, by_key, is_photo_name, name_key


def sa1b_folders(path: Path) -> list[Path]:
    """The folders of SA-1B's photos that a folder lists or is; empty where it is none of SA-1B."""
    named: list[Path] = []
    for part in ("train.txt", "val.txt"):
        if (path / part).is_file():
            named += named_folders(path / part)
    if named:
        return list(dict.fromkeys(named))
    files = [entry for entry in entries_of(path) if entry.suffix.lower() == ".json"]
    folder = PhotoFolder(path)
    return [path] if any(folder.find(f"{file.stem}.jpg") for file in files) else []


def named_folders(file: Path) -> list[Path]:
    """The folders that a text file lists.

    Raises:
        AnnotationError: it cannot be read, or lists photos.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(
            f"The list of folders '{file}' cannot be read: {error}. Save it as UTF-8 text."
        ) from error
    # One folder on each line, whose name may have blanks, or several between blanks.
    named = [line.strip() for line in lines]
    if any(is_photo_name(line) and not os.path.isdir(file.parent / line) for line in named):
        raise AnnotationError(
            f"'{file}' lists photos, as YOLO's lists do, and no folders of SA-1B. Give a data.yaml "
            f"with 'names' and '{file.stem}: {file.name}' beside it."
        )
    several = ([line] if os.path.isdir(file.parent / line) else line.split() for line in named)
    return [file.parent / name for names in several for name in names if name]


def list_sa1b(folders: list[Path], report: Report) -> Listing:
    """The photos of folders of SA-1B, whose masks are read with each photo.

    Args:
        folders: with JSON files beside photos.
        report: called with each folder that has none.
    """
    photos: list[ListedPhoto] = []
    ignored: Counter[str] = Counter()
    for folder in folders:
        try:
            entries = entries_of(folder, ignored)
        except (OSError, ValueError):  # a name that is none, such as one with a null byte
            entries = []
        files = [entry for entry in entries if entry.suffix.lower() == ".json"]
        if not files:
            report(AnnotationError(f"The listed folder '{folder}' is missing or has no JSON file."))
        photo_folder = PhotoFolder(folder)
        found = [
            photo_folder.find(f"{file.stem}.jpg") or file.with_suffix(".jpg") for file in files
        ]
        photos += map(ListedPhoto, found)
        rest = [entry for entry in entries if entry not in {*files, *found}]
        ignored[UNLISTED] += sum(is_photo_name(entry.name) for entry in rest)
        count_ignored((entry for entry in rest if not is_photo_name(entry.name)), ignored)
    return Listing("SA-1B", (), 0, Photos(photos, _with_regions), ignored=+ignored)


def _with_regions(photo: ListedPhoto) -> ListedPhoto:
    file = photo.path.with_suffix(".json")
    if not os.path.isfile(file):  # .JSON, or a name whose letters are composed otherwise
        beside = (
            entry for entry in entries_of(photo.path.parent) if entry.suffix.lower() == ".json"
        )
        file = by_key(beside).get(name_key(photo.path.stem), file)
    problems: list[str] = []
    try:
        size_hw, instances = parse_sa1b(
            read_json(file), str(file), lambda error: problems.append(str(error))
        )
    except AnnotationError as error:
        return replace(photo, problems=(str(error),))
    return replace(photo, size_hw=size_hw, instances=instances, problems=tuple(problems))


def parse_sa1b(
    content: object, source: str, report: Callable[[AnnotationError], None]
) -> tuple[tuple[int, int] | None, tuple[Instance, ...]]:
    """A JSON file of SA-1B: the photo's (H, W), where it says so, and its masks without names."""
    table = table_of(content, "annotations", source, "SA-1B's files")
    image = content.get("image") if isinstance(content, dict) else None
    size_hw = None
    if isinstance(image, dict):
        size_hw = size_hw_of(image, f"the image of {source!r}")
    instances = []
    ids: set[int] = set()
    for index, row in enumerate(table):
        where = f"annotations[{index}] of {source!r}"
        try:
            number = integer_of(row, "id", where) if "id" in row else index
            if number in ids and "id" in row:
                raise AnnotationError(f"{where} repeats the id {number}.")
            ids.add(number)
            instances.append(instance_of(row, number, 0, "", size_hw, where))
        except AnnotationError as error:
            report(error)
    return size_hw, tuple(instances)
