"""A teacher's embeddings of a data set on disk, so that training computes none of them twice.

A cache is a folder: `cache.json` says whose embeddings of which photos it holds, and
`shard-00000.safetensors`, ... hold the embeddings, in half precision, of a fixed number of photos
each, in the data set's order. A shard appears under its name whole or not at all, so a run that was
killed goes on with the first shard that is not there; what it loses is at most one shard's work.

Several processes or machines share the work by a fixed split: part i of n makes shards i, i + n,
... of the same folder (or of folders of its own, copied together later). Unlike claims on shards
this needs no clocks, locks or heartbeats, which network drives keep badly, and does no photo twice.
A shard that is there is never made again: where a machine has died, whoever is left runs once more
without a split and makes what is missing. Two runs of the same part at once waste work, and one may
stop with an error, but what they write is sound.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ovsam.errors import PhotoError, TrainingError
from ovsam.formats.layouts import list_photos
from ovsam.formats.listing import ListedPhoto, Report
from ovsam.train.cache_shards import photo_names, read_header, read_shard, shard_path


def named_photos(path: Path, images: Path | None, report: Report) -> dict[str, ListedPhoto]:
    """The photos of a data set, without their objects, by names that are the same on every machine.

    A name is the photo's path within the data set, and its name within the tar file if it is in
    one: "sa_000020/sa_223750.jpg", "n01440764.tar/n01440764_10026.JPEG". See `list_photos`.
    """
    root = photos_root(path, images)
    photos: dict[str, ListedPhoto] = {}
    for photo in list_photos(path, images, report).photos.listed:
        photos.setdefault(photo_name(photo, root), replace(photo, instances=()))
    return photos


def photos_root(path: Path, images: Path | None) -> Path:
    """The folder that the photos of a data set are named from; see `list_photos`."""
    return images or (path.parent if path.is_file() else path)


def photo_name(photo: ListedPhoto, root: Path) -> str:
    """A photo's name in a cache; `root` is the folder of the photos."""
    path = Path(os.path.relpath(photo.path, root)).as_posix()
    return path if photo.member is None else f"{path}/{photo.member}"


class FeatureCache:
    """Reads a cache; a shard is opened when one of its photos is read.

    Args:
        folder: where the cache is.

    Raises:
        TrainingError: there is no cache.

    Example:
        >>> cache = FeatureCache(Path("cache"))  # doctest: +SKIP
        >>> cache["sa_000020/sa_223750.jpg"].shape  # doctest: +SKIP
        torch.Size([256, 64, 64])
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header = read_header(folder)
        self._places = {
            name: number // self.header.shard_size for number, name in enumerate(self.header.photos)
        }

    def require(
        self, photos: Collection[str], image_size: int, fingerprint: str | None = None
    ) -> None:
        """Refuse a cache that training cannot learn from, before it begins.

        Args:
            photos: names that it has to hold.
            image_size: the size at which the teacher has to have seen them, in pixels.
            fingerprint: of the teacher that a run began with, or None.

        Raises:
            TrainingError: another teacher, another size, other photos, or shards that are missing.
        """
        found = self.header
        if fingerprint not in (None, found.fingerprint):
            raise TrainingError(
                f"The cache '{self.folder}' is of another teacher ('{found.teacher}') than the one "
                "that this run began with. Give that one's cache, or begin a new run."
            )
        if image_size != found.image_size:
            raise TrainingError(
                f"The cache '{self.folder}' is of photos at {found.image_size} pixels, expected "
                f"{image_size}. Make one of that size with 'ovsam cache-features --size'."
            )
        lacking = [name for name in photos if name not in self._places]
        if lacking:
            raise TrainingError(
                f"The cache '{self.folder}' is of other photos: it lacks {photo_names(lacking)}. "
                "Make one of this data set with 'ovsam cache-features'."
            )
        needed = sorted({self._places[name] for name in photos})
        missing = [index for index in needed if not shard_path(self.folder, index).exists()]
        if missing:
            raise TrainingError(
                f"The cache '{self.folder}' is not finished: {len(missing)} of {found.shards} "
                "shards are missing. Run 'ovsam cache-features' again, it goes on where it was."
            )

    def skipped(self) -> dict[str, str]:
        """Photos that could not be read, with the reason; of the shards that are there.

        Raises:
            TrainingError: a shard is corrupt or of another cache.
        """
        found = {}
        for index in range(self.header.shards):
            if shard_path(self.folder, index).exists():
                found.update(read_shard(self.folder, self.header, index).skipped)
        return found

    def __contains__(self, photo: str) -> bool:
        return photo in self._places

    def __getitem__(self, photo: str) -> Tensor:
        """The embedding `(C, h, w)` of a photo, in half precision.

        Raises:
            TrainingError: the photo is not in the cache, or its shard is missing, corrupt or of
                another cache.
            PhotoError: the photo could not be read when the cache was made.
        """
        if photo not in self._places:
            raise TrainingError(f"The cache '{self.folder}' does not hold the photo '{photo}'.")
        # Opened each time, in a fraction of a millisecond: a loader's workers share nothing.
        shard = read_shard(self.folder, self.header, self._places[photo])
        if photo in shard.skipped:
            raise PhotoError(
                f"The cache '{self.folder}' has no embedding of the photo '{photo}': "
                f"{shard.skipped[photo]}"
            )
        return shard.row(shard.photos.index(photo))
