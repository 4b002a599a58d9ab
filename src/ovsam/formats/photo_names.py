"""Photos by the names of their files, as detectors' results and annotation files write them."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Sequence
from pathlib import PurePosixPath
from typing import Any

from ovsam.formats.annotations import Photo


class PhotoNames:
    """The photos of an annotation file by their files' names; None for what several have.

    Attributes:
        by_path: by the name with its folders.
        by_name: by the name without folders.
        by_stem: by the name without folders and suffix.
        by_number: by the number that is that stem; those of no number have the key None.
    """

    def __init__(self, photos: Sequence[Photo]) -> None:
        self.by_path: dict[str, Photo | None] = {}
        self.by_name: dict[str, Photo | None] = {}
        self.by_stem: dict[str, Photo | None] = {}
        self.by_number: dict[int | None, Photo | None] = {}
        for photo in photos:
            path = as_posix(photo.file_name)
            for photos_by, key in (
                (self.by_path, path),
                (self.by_name, PurePosixPath(path).name),
                (self.by_stem, PurePosixPath(path).stem),
            ):
                photos_by[key] = None if key in photos_by else photo
            number = number_of(photo)
            self.by_number[number] = None if number in self.by_number else photo

    def find(self, file_name: object) -> Photo | None:
        """The photo of a name, with or without its folders; None where that is not one."""
        if not isinstance(file_name, str):
            return None
        path = as_posix(file_name)
        return self.by_path.get(path) or self.by_name.get(PurePosixPath(path).name)

    def are_numbers(self, rows: Sequence[Any], ids: Container[int]) -> bool:
        """Whether the ids of rows without a name are numbers of files, and not ids of photos."""
        numbers = {
            row["image_id"]
            for row in rows
            if isinstance(row, dict)
            and type(row.get("image_id")) is int
            and self.find(row.get("file_name")) is None
        }
        return not all(number in ids for number in numbers) and all(
            self.by_number.get(number) is not None for number in numbers
        )


def number_of(photo: Photo) -> int | None:
    """The number that is the name of a photo's file, without folder and suffix."""
    stem = PurePosixPath(photo.file_name.replace("\\", "/")).stem
    return int(stem) if stem.isascii() and stem.isdecimal() and len(stem) < 19 else None


def as_posix(file_name: str) -> str:
    """A name with slashes, in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", file_name.replace("\\", "/"))


def base_name(file_name: str) -> str:
    """The same without its folders."""
    return PurePosixPath(as_posix(file_name)).name
