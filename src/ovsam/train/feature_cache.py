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

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ovsam.bounded_json import parse_json
from ovsam.errors import OutputError, PhotoError, TrainingError, first_few
from ovsam.files import write_atomically
from ovsam.formats.layouts import ListedPhoto, Report, list_photos
from ovsam.formats.skipped import AT_MOST
from ovsam.images.read import read_photo
from ovsam.train.teacher import Teacher

HEADER = "cache.json"
TRIED = 10  # photos, to find two that can be read and timed
NAMED = 3  # photos that an error names
BYTES = 2  # of a number in half precision

_FEATURES = "features"
_Length = Annotated[int, Field(gt=0, le=2**20)]


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class Contents:
    """Whose embeddings a cache holds, and of what."""

    teacher: str
    """What a person calls the teacher."""
    fingerprint: str
    """Of the teacher's weights."""
    image_size: Annotated[int, Field(gt=0)]
    """The photo's longest side as the teacher sees it, in pixels."""
    feature_shape: tuple[_Length, _Length, _Length]
    """(C, h, w) of a photo's embedding."""
    shard_size: Annotated[int, Field(gt=0)]
    """Photos in a shard; the last one has fewer."""
    photos: tuple[str, ...]
    """Their names, in the order of the shards."""
    format: str = "ovsam-features-1"

    @property
    def shards(self) -> int:
        """How many there are when the cache is complete."""
        return -(-len(self.photos) // self.shard_size)

    def shard(self, index: int) -> tuple[str, ...]:
        """The photos of a shard."""
        return self.photos[index * self.shard_size : (index + 1) * self.shard_size]

    @property
    def photo_bytes(self) -> int:
        """What the embedding of one photo takes on disk."""
        channels, height, width = self.feature_shape
        return channels * height * width * BYTES


_CONTENTS = TypeAdapter(Contents)


def contents_of(teacher: Teacher, photos: Collection[str], shard_size: int) -> Contents:
    """What a cache of a teacher's embeddings of these photos holds."""
    return Contents(
        teacher=teacher.name,
        fingerprint=teacher.fingerprint,
        image_size=teacher.image_size,
        feature_shape=teacher.feature_shape,
        shard_size=shard_size,
        photos=tuple(photos),
    )


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
    """Reads a cache; nothing is opened until it is asked for.

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
        self.contents = _read_contents(folder)
        self._places = {
            name: number // self.contents.shard_size
            for number, name in enumerate(self.contents.photos)
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
        found = self.contents
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
                f"The cache '{self.folder}' is of other photos: it lacks {_some(lacking)}. "
                "Make one of this data set with 'ovsam cache-features'."
            )
        needed = sorted({self._places[name] for name in photos})
        missing = [index for index in needed if not _shard_path(self.folder, index).exists()]
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
        for index in range(self.contents.shards):
            if _shard_path(self.folder, index).exists():
                found.update(_read_shard(self.folder, self.contents, index).skipped)
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
        # Opened anew each time, in a fraction of a millisecond: a loader's workers share nothing.
        shard = _read_shard(self.folder, self.contents, self._places[photo])
        if photo in shard.skipped:
            raise PhotoError(
                f"The cache '{self.folder}' has no embedding of the photo '{photo}': "
                f"{shard.skipped[photo]}"
            )
        return shard.row(shard.photos.index(photo))


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
        self.contents = contents_of(teacher, photos, shard_size)
        self.mine = range(part[0] - 1, self.contents.shards, part[1])
        if folder.exists():
            _check_same(folder, self.contents)

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
                again whose skipped photos can be read by now; else their headers are looked at.
            corrupt: called with a sentence for each shard that is there but has to be made again.
            progress: called with the number of shards looked at, and of all.
        """
        found = []
        for done, index in enumerate(self.mine, 1):
            if not _shard_path(self.folder, index).exists():
                found.append(index)
            elif (reason := self._fault(index, verify)) is not None:
                corrupt(reason)
                found.append(index)
            progress(done, len(self.mine))
        return found

    def _fault(self, index: int, verify: bool) -> str | None:
        try:
            shard = _read_shard(self.folder, self.contents, index)
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
        names = [name for index in shards for name in self.contents.shard(index)]
        size = len(names) * self.contents.photo_bytes
        free = shutil.disk_usage(_existing(self.folder)).free
        if size > free:
            raise OutputError(
                f"Cannot cache {len(names):,} photos in '{self.folder}': they need "
                f"{in_bytes(size)}, and {in_bytes(free)} are free."
            )
        timed: list[float] = []
        for name in names[:TRIED]:
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
        _begin(self.folder, self.contents)
        total = sum(len(self.contents.shard(index)) for index in shards)
        skipped = self._skipped_before(set(shards))
        done = 0
        for index in shards:
            path = _shard_path(self.folder, index)
            for leftover in self.folder.glob(f".{path.name}.*.part"):
                leftover.unlink(missing_ok=True)  # of a run that was killed as it wrote
            names = self.contents.shard(index)
            features = torch.empty(len(names), *self.contents.feature_shape, dtype=torch.half)
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
            write_atomically(path, _shard_bytes(self.contents, features[: len(kept)], kept, lost))
        return skipped

    def _skipped_before(self, shards: Collection[int]) -> dict[str, str]:
        """What the shards of the part that are there do without."""
        found: dict[str, str] = {}
        for index in self.mine:
            if index not in shards and _shard_path(self.folder, index).exists():
                found.update(_read_shard(self.folder, self.contents, index).skipped)
        return found

    def _check_skipped(self, skipped: Mapping[str, str]) -> None:
        total = sum(len(self.contents.shard(index)) for index in self.mine)
        if len(skipped) > AT_MOST * total:
            raise TrainingError(
                f"Stopped, as more than {AT_MOST:.0%} of {total:,} photos cannot be read: "
                f"{_some(skipped)}. Mend the data set ('ovsam data check' lists "
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


@dataclass(frozen=True)
class _Shard:
    """A shard whose header has been believed."""

    path: Path
    photos: tuple[str, ...]  # of its rows
    skipped: dict[str, str]
    checksum: str

    def row(self, index: int) -> Tensor:
        with _opened(self.path) as file:
            row: Tensor = file.get_slice(_FEATURES)[index]
        return row

    def check(self) -> None:
        """Read it whole.

        Raises:
            TrainingError: it is not what was written.
        """
        with _opened(self.path) as file:
            found = _checksum(file.get_tensor(_FEATURES))
        if found != self.checksum:
            raise _corrupt(self.path, "its checksum is another")


def _read_shard(folder: Path, contents: Contents, index: int) -> _Shard:
    path = _shard_path(folder, index)
    if not path.exists():
        raise TrainingError(
            f"The cache '{folder}' is not finished: '{path.name}' is missing. Run "
            "'ovsam cache-features' again, it goes on where it was."
        )
    with _opened(path) as file:
        try:
            metadata = file.metadata() or {}
            kept, skipped = parse_json(metadata["photos"]), parse_json(metadata["skipped"])
            rows = file.get_slice(_FEATURES)
            shape, is_half = tuple(rows.get_shape()), rows.get_dtype() == "F16"
            if not isinstance(kept, list) or not isinstance(skipped, dict) or not is_half:
                raise TypeError("what a shard has")
            shard = _Shard(path, tuple(kept), skipped, metadata["checksum"])
            fingerprint = metadata["fingerprint"]
        except (SafetensorError, LookupError, ValueError, TypeError) as error:
            raise _corrupt(path, f"it lacks {error}") from error
    wanted = [name for name in contents.shard(index) if name not in shard.skipped]
    if (
        fingerprint != contents.fingerprint
        or shape != (len(shard.photos), *contents.feature_shape)
        or list(shard.photos) != wanted
    ):
        raise _corrupt(path, "it is of another teacher, size or photo list")
    return shard


def _opened(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise _corrupt(path, str(error)) from error


def _corrupt(path: Path, reason: str) -> TrainingError:
    return TrainingError(
        f"The shard '{path}' is corrupt ({reason}). "
        "Make it again with 'ovsam cache-features --verify'."
    )


def _shard_path(folder: Path, index: int) -> Path:
    return folder / f"shard-{index:05d}.safetensors"


def _shard_bytes(
    contents: Contents, features: Tensor, photos: Sequence[str], skipped: Mapping[str, str]
) -> bytes:
    metadata = {
        "fingerprint": contents.fingerprint,
        "photos": json.dumps(photos),
        "skipped": json.dumps(skipped),
        "checksum": _checksum(features),
    }
    return save({_FEATURES: features}, metadata)


def _checksum(features: Tensor) -> str:
    numbers = features.reshape(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(numbers.data, digest_size=16).hexdigest()


def _begin(folder: Path, contents: Contents) -> None:
    """Make the folder of a cache, or go on in it.

    Raises:
        TrainingError: it is another cache's.
        OutputError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot make the folder '{folder}': {error.strerror}.") from error
    if not (folder / HEADER).exists():
        write_atomically(folder / HEADER, _CONTENTS.dump_json(contents))
    _check_same(folder, contents)  # another process may have written the header just now


def _existing(folder: Path) -> Path:
    """The folder, or the closest one above it that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _check_same(folder: Path, contents: Contents) -> None:
    """Make sure that what is in the folder, if anything, is this cache.

    Raises:
        TrainingError: it is another one.
    """
    if (folder / HEADER).exists():
        wrong = _difference(_read_contents(folder), contents)
    else:
        wrong = f"without its {HEADER}" if any(folder.glob("shard-*.safetensors")) else ""
    if wrong:
        raise TrainingError(f"The cache '{folder}' is {wrong}. Choose another folder.")


def _difference(found: Contents, wanted: Contents) -> str:
    if found.fingerprint != wanted.fingerprint:
        return f"of another teacher: of '{found.teacher}', not of these weights"
    if found.image_size != wanted.image_size:
        return f"of photos at {found.image_size} pixels, not at {wanted.image_size}"
    if found.photos != wanted.photos:
        return f"of another list of photos: of {len(found.photos):,}, {_unlike(found, wanted)}"
    if found.shard_size != wanted.shard_size:
        return f"in shards of {found.shard_size} photos, not of {wanted.shard_size}"
    return ""


def _unlike(found: Contents, wanted: Contents) -> str:
    known = set(found.photos)
    lacking = [name for name in wanted.photos if name not in known]
    return f"without {_some(lacking)}" if lacking else f"not of these {len(wanted.photos):,}"


def _read_contents(folder: Path) -> Contents:
    try:
        return _CONTENTS.validate_json((folder / HEADER).read_bytes())
    except OSError as error:
        raise TrainingError(
            f"There is no cache of features in '{folder}': make one with 'ovsam cache-features'."
        ) from error
    except ValidationError as error:
        raise TrainingError(
            f"'{folder / HEADER}' is damaged or of another version of ovsam. "
            "Delete the folder and run 'ovsam cache-features' again."
        ) from error


def _some(names: Iterable[str]) -> str:
    return first_few((f"'{name}'" for name in names), NAMED)


def in_bytes(size: int) -> str:
    """A size on disk as a person reads it.

    Example:
        >>> in_bytes(3 * 2**29), in_bytes(2**20)
        ('1.5 GiB', '1.0 MiB')
    """
    unit, name = (2**30, "GiB") if size >= 2**30 else (2**20, "MiB")
    return f"{size / unit:,.1f} {name}"
