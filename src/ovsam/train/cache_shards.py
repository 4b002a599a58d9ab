"""The files of a cache of embeddings: its header, and shards of a fixed number of photos each.

`cache.json` says whose embeddings of which photos the cache holds; `shard-00000.safetensors`, ...
hold them in half precision, in the data set's order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ovsam.bounded_json import parse_json
from ovsam.errors import TrainingError, first_few
from ovsam.files import write_atomically
from ovsam.train.teacher import Teacher

HEADER_FILE = "cache.json"
PHOTOS_SHOWN = 3  # photos that an error names
BYTES_OF_NUMBER = 2  # half precision

_FEATURES = "features"
_Length = Annotated[int, Field(gt=0, le=2**20)]


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class CacheHeader:
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
        return channels * height * width * BYTES_OF_NUMBER


_HEADER = TypeAdapter(CacheHeader)


def header_of(teacher: Teacher, photos: Collection[str], shard_size: int) -> CacheHeader:
    """What a cache of a teacher's embeddings of these photos holds."""
    return CacheHeader(
        teacher=teacher.name,
        fingerprint=teacher.fingerprint,
        image_size=teacher.image_size,
        feature_shape=teacher.feature_shape,
        shard_size=shard_size,
        photos=tuple(photos),
    )


def read_header(folder: Path) -> CacheHeader:
    """The header of a cache.

    Raises:
        TrainingError: there is none, or it is damaged.
    """
    try:
        return _HEADER.validate_json((folder / HEADER_FILE).read_bytes())
    except OSError as error:
        raise TrainingError(
            f"There is no cache of features in '{folder}': make one with 'ovsam cache-features'."
        ) from error
    except ValidationError as error:
        raise TrainingError(
            f"'{folder / HEADER_FILE}' is damaged or of another version of ovsam. "
            "Delete the folder and run 'ovsam cache-features' again."
        ) from error


def write_header(folder: Path, header: CacheHeader) -> None:
    """Write the header of a cache.

    Raises:
        OutputError: it cannot be written.
    """
    write_atomically(folder / HEADER_FILE, _HEADER.dump_json(header))


def shard_path(folder: Path, index: int) -> Path:
    """The file of a shard."""
    return folder / f"shard-{index:05d}.safetensors"


@dataclass(frozen=True)
class Shard:
    """A shard whose header has been checked."""

    path: Path
    photos: tuple[str, ...]  # of its rows
    skipped: dict[str, str]
    checksum: str

    def row(self, index: int) -> Tensor:
        """The embedding `(C, h, w)` of photo `index` of the shard."""
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


def read_shard(folder: Path, header: CacheHeader, index: int) -> Shard:
    """A shard, its header checked, its embeddings not yet read.

    Raises:
        TrainingError: it is missing, corrupt or of another cache.
    """
    path = shard_path(folder, index)
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
            shard = Shard(path, tuple(kept), skipped, metadata["checksum"])
            fingerprint = metadata["fingerprint"]
        except (SafetensorError, LookupError, ValueError, TypeError) as error:
            raise _corrupt(path, f"it lacks {error}") from error
    wanted = [name for name in header.shard(index) if name not in shard.skipped]
    if (
        fingerprint != header.fingerprint
        or shape != (len(shard.photos), *header.feature_shape)
        or list(shard.photos) != wanted
    ):
        raise _corrupt(path, "it is of another teacher, size or photo list")
    return shard


def write_shard(
    folder: Path,
    header: CacheHeader,
    index: int,
    features: Tensor,
    photos: Sequence[str],
    skipped: Mapping[str, str],
) -> None:
    """Write a shard whole, or not at all.

    Args:
        folder: of the cache.
        header: of the cache.
        index: of the shard.
        features: `(N, C, h, w)` in half precision.
        photos: the names of the N photos.
        skipped: the shard's other photos, each with the reason why it could not be read.

    Raises:
        OutputError: it cannot be written.
    """
    metadata = {
        "fingerprint": header.fingerprint,
        "photos": json.dumps(photos),
        "skipped": json.dumps(skipped),
        "checksum": _checksum(features),
    }
    write_atomically(shard_path(folder, index), save({_FEATURES: features}, metadata))


def _checksum(features: Tensor) -> str:
    numbers = features.reshape(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(numbers.data, digest_size=16).hexdigest()


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


def photo_names(names: Iterable[str]) -> str:
    """The first of some photos' names, as an error lists them."""
    return first_few((f"'{name}'" for name in names), PHOTOS_SHOWN)
