"""Making the shards of a cache of embeddings, or of one part of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ovsam.errors import OutputError, PhotoError, TrainingError
from ovsam.formats.listing import ListedPhoto
from ovsam.formats.skipped import AT_MOST
from ovsam.images.read import read_photo
from ovsam.train.cache_shards import (
    HEADER_FILE,
    CacheHeader,
    header_of,
    photo_names,
    read_header,
    read_shard,
    shard_path,
    write_header,
    write_shard,
)
from ovsam.train.teacher import Teacher

PHOTOS_TRIED = 10  # to find two that can be read and timed


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        photos: how many are left to do.
        bytes: on disk.
        seconds: as long as the photos that were timed.
    """

    photos: int
    bytes: int
    seconds: float


class FeatureCacher:
    """One run that makes the shards of a cache, or of its part, that are missing.

    Args:
        folder: of the cache; made where there is none.
        teacher: on its device.
        photos: of the data set, by name.
        shard_size: photos in a shard.
        part: (i, n), 1 <= i <= n: which of n equal parts to make.

    Raises:
        TrainingError: the folder has a cache of another teacher, size, photo list or shard size.
        OutputError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        teacher: Teacher,
        photos: Mapping[str, ListedPhoto],
        shard_size: int,
        part: tuple[int, int] = (1, 1),
    ) -> None:
        self.folder, self.teacher, self.photos = folder, teacher, photos
        self.header = header_of(teacher, photos, shard_size)
        self.mine = range(part[0] - 1, self.header.shards, part[1])
        if folder.exists():
            _check_same(folder, self.header)

    def pending(
        self,
        *,
        verify: bool = False,
        corrupt: Callable[[str], None],
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> list[int]:
        """Indices of the shards that are to be made.

        Args:
            verify: whether to read every shard whole and compare checksums, and to make shards
                again whose skipped photos can be read by now; else their headers are checked.
            corrupt: called with a sentence for each shard that is there but has to be made again.
            progress: called with the number of shards checked, and of all.
        """
        found = []
        for done, index in enumerate(self.mine, 1):
            if not shard_path(self.folder, index).exists():
                found.append(index)
            elif (reason := self._fault(index, verify)) is not None:
                corrupt(reason)
                found.append(index)
            progress(done, len(self.mine))
        return found

    def _fault(self, index: int, verify: bool) -> str | None:
        try:
            shard = read_shard(self.folder, self.header, index)
            if verify:
                shard.check()
        except TrainingError as error:
            return str(error)
        if verify and any(self._pixels(name)[0] is not None for name in shard.skipped):
            return f"The shard '{shard.path}' lacks photos that can be read by now."
        return None

    def estimate(self, shards: Sequence[int]) -> Estimate:
        """Size and time of making these shards, from the faster of two photos: one also warms up.

        Raises:
            OutputError: the disk has no room for them.
        """
        names = [name for index in shards for name in self.header.shard(index)]
        size = len(names) * self.header.photo_bytes
        free = shutil.disk_usage(_existing(self.folder)).free
        if size > free:
            raise OutputError(
                f"Cannot cache {len(names):,} photos in '{self.folder}': they need "
                f"{in_bytes(size)}, and {in_bytes(free)} are free."
            )
        timed: list[float] = []
        for name in names[:PHOTOS_TRIED]:
            started = time.perf_counter()
            if self._embed(name)[0] is not None:
                timed.append(time.perf_counter() - started)
            if len(timed) == 2:
                break
        return Estimate(len(names), size, min(timed, default=0.0) * len(names))

    def run(
        self,
        shards: Sequence[int],
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> dict[str, str]:
        """Make these shards; returns the photos of the part that cannot be read, with the reason.

        Args:
            shards: from `pending`.
            progress: called with the number of photos done, and of all.

        Raises:
            TrainingError: more than 1% of the photos of the part cannot be read, the teacher gives
                numbers that half precision does not hold, or the folder is another cache's.
            OutputError: a shard cannot be written.
        """
        _begin(self.folder, self.header)
        total = sum(len(self.header.shard(index)) for index in shards)
        skipped = self._skipped_before(set(shards))
        done = 0
        for index in shards:
            names = self.header.shard(index)
            features = torch.empty(len(names), *self.header.feature_shape, dtype=torch.half)
            kept: list[str] = []
            lost: dict[str, str] = {}
            for name in names:
                embedding, reason = self._embed(name)
                if embedding is None:
                    lost[name] = skipped[name] = reason
                    self._check_skipped(skipped)
                else:
                    features[len(kept)] = embedding
                    kept.append(name)
                done += 1
                progress(done, total)
            made = features[: len(kept)]
            write_shard(self.folder, self.header, index, made, kept, lost)
        return skipped

    def _skipped_before(self, shards: Collection[int]) -> dict[str, str]:
        """What the shards of the part that are there do without."""
        found: dict[str, str] = {}
        for index in self.mine:
            if index not in shards and shard_path(self.folder, index).exists():
                found.update(read_shard(self.folder, self.header, index).skipped)
        return found

    def _check_skipped(self, skipped: Mapping[str, str]) -> None:
        total = sum(len(self.header.shard(index)) for index in self.mine)
        if len(skipped) > AT_MOST * total:
            raise TrainingError(
                f"Stopped, as more than {AT_MOST:.0%} of {total:,} photos cannot be read: "
                f"{photo_names(skipped)}. Mend the data set ('ovsam data check' lists "
                "what is wrong) and run the same command again with --verify."
            )

    def _embed(self, name: str) -> tuple[Tensor | None, str]:
        """The embedding `(C, h, w)` in half precision, or None and the reason."""
        pixels, reason = self._pixels(name)
        if pixels is None:
            return None, reason
        device = next(self.teacher.parameters()).device
        embedding = self.teacher(pixels.to(device))[0].half().cpu()
        if not embedding.isfinite().all():
            raise TrainingError(
                f"The teacher '{self.teacher.name}' gives numbers for the photo '{name}' that "
                "half precision does not hold: its weights are broken, or not those of a teacher."
            )
        return embedding, ""

    def _pixels(self, name: str) -> tuple[Tensor | None, str]:
        try:
            return self.teacher.pixels(read_photo(self.photos[name].open())), ""
        except PhotoError as error:
            return None, str(error)


def _begin(folder: Path, header: CacheHeader) -> None:
    """Make the folder of a cache, or go on in it.

    Raises:
        TrainingError: it is another cache's.
        OutputError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot make the folder '{folder}': {error.strerror}.") from error
    if not (folder / HEADER_FILE).exists():
        write_header(folder, header)
    _check_same(folder, header)  # another process may have written the header just now


def _existing(folder: Path) -> Path:
    """The folder, or the closest one above it that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _check_same(folder: Path, header: CacheHeader) -> None:
    """Make sure that what is in the folder, if anything, is this cache.

    Raises:
        TrainingError: it is another one.
    """
    if (folder / HEADER_FILE).exists():
        wrong = _difference(read_header(folder), header)
    else:
        wrong = f"without its {HEADER_FILE}" if any(folder.glob("shard-*.safetensors")) else ""
    if wrong:
        raise TrainingError(f"The cache '{folder}' is {wrong}. Choose another folder.")


def _difference(found: CacheHeader, wanted: CacheHeader) -> str:
    if found.fingerprint != wanted.fingerprint:
        return f"of another teacher: of '{found.teacher}', not of these weights"
    if found.image_size != wanted.image_size:
        return f"of photos at {found.image_size} pixels, not at {wanted.image_size}"
    if found.photos != wanted.photos:
        return f"of another list of photos: of {len(found.photos):,}, {_unlike(found, wanted)}"
    if found.shard_size != wanted.shard_size:
        return f"in shards of {found.shard_size} photos, not of {wanted.shard_size}"
    return ""


def _unlike(found: CacheHeader, wanted: CacheHeader) -> str:
    known = set(found.photos)
    lacking = [name for name in wanted.photos if name not in known]
    return f"without {photo_names(lacking)}" if lacking else f"not of these {len(wanted.photos):,}"


def in_bytes(size: int) -> str:
    """A size on disk as a person reads it.

    Example:
        >>> in_bytes(3 * 2**29), in_bytes(2**20)
        ('1.5 GiB', '1.0 MiB')
    """
    unit, name = (2**30, "GiB") if size >= 2**30 else (2**20, "MiB")
    return f"{size / unit:,.1f} {name}"
