"""Reading a safetensors file that may come from anybody, and writing one.

Its header is read within bounds and held against the file's size before memory is taken for any
tensor, and tensors are copied out of the file: one that is written over later changes no model that
is in use. It gives numpy arrays, so that an engine without torch can read weights.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ovsam.bounded_json import parse_json
from ovsam.errors import CheckpointError, first_line, quoted
from ovsam.files import unfinished
from ovsam.model.state_dict import listed

HEADER_BYTES = 8 * 2**20  # at most, of a file's header; `lite` has 50 kB
FILE_BYTES = 8 * 2**30  # at most; the largest model that can be made has 5 GiB
DTYPES = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
}
"""What weights may be stored as, by safetensors' names; whole numbers only count batches."""


@dataclass(frozen=True)
class Stored:
    """A tensor as a file's header describes it.

    Attributes:
        dtype: safetensors' name of its type.
        shape: of the tensor.
        start: its first byte in the file.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Header:
    """What a safetensors file says before its tensors.

    Attributes:
        metadata: strings by name.
        stored: its tensors by name.
    """

    metadata: dict[str, str]
    stored: dict[str, Stored]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors' shapes by name."""
        return {name: tensor.shape for name, tensor in self.stored.items()}


class SafetensorsFile:
    """An open file whose header is read: a context manager.

    Args:
        path: of the file.

    Attributes:
        header: what the file says of itself.

    Raises:
        CheckpointError: no such file, or its header is damaged or out of bounds.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._file = _opened(self._path)
        try:
            self.header = _read_header(self._file, self._path)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of its tensors by name, as they are stored.

        Raises:
            CheckpointError: the file ends before, or holds other numbers than `DTYPES`.
        """
        stored = self.header.stored
        foreign = [f"{n} {quoted(t.dtype)}" for n, t in stored.items() if t.dtype not in DTYPES]
        if foreign:
            raise CheckpointError(
                f"'{self._path}' holds numbers that are no weights: {listed(foreign)}; expected "
                f"one of {', '.join(DTYPES)}."
            )
        try:
            return {name: self._array(name, tensor) for name, tensor in stored.items()}
        except (OSError, RuntimeError, MemoryError) as error:
            raise CheckpointError(
                f"The tensors of '{self._path}' cannot be read: {first_line(error)}."
            ) from error

    def _array(self, name: str, stored: Stored) -> NDArray[Any]:
        array = np.empty(stored.shape, DTYPES[stored.dtype])
        if array.size:
            self._file.seek(stored.start)
            target = _bytes(array)
            # A buffered reader fills it but for the file's end.
            if self._file.readinto(target) < len(target):  # type: ignore[attr-defined]
                raise CheckpointError(
                    f"The checkpoint '{self._path}' ends before its tensor {name}."
                )
        return array


def write_safetensors(
    path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file, whole or not at all, one tensor after another.

    So no second copy of the weights is in memory, where safetensors' own functions make one.

    Args:
        path: where to.
        arrays: by name, of `DTYPES`.
        metadata: strings by name.

    Raises:
        OSError: the system refused.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    # The widest numbers first, so that each tensor begins at a multiple of its number's size.
    ordered = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name in ordered:
        array, start = arrays[name], end
        end += array.nbytes
        header[name] = {
            "dtype": names[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with unfinished(path) as temporary:
        with temporary.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in ordered:
                file.write(_bytes(np.ascontiguousarray(arrays[name])))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def _bytes(array: NDArray[Any]) -> memoryview:
    """The memory of a contiguous array, to be read or written."""
    return array.reshape(-1).view(np.uint8).data


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file, without reading its tensors.

    Raises:
        CheckpointError: no such file, or its header is damaged.
    """
    with SafetensorsFile(path) as file:
        return file.header.metadata


def _opened(path: Path) -> BinaryIO:
    if not os.path.exists(path):  # unlike Path's, never raises
        raise CheckpointError(f"There is no checkpoint at '{path}'.")
    if not os.path.isfile(path):
        raise CheckpointError(f"'{path}' is not a file. Give the path of a .safetensors file.")
    try:
        return path.open("rb")
    except OSError as error:
        raise CheckpointError(f"'{path}' cannot be read: {error.strerror or error}.") from error


def _read_header(file: BinaryIO, path: Path) -> Header:
    """The header of an open file, whose size is checked before it is read."""
    try:
        size = int.from_bytes(file.read(8), "little")
        whole = os.fstat(file.fileno()).st_size
        if whole > FILE_BYTES:
            raise _not_readable(path, f"it has {whole:,} bytes, {FILE_BYTES:,} at most")
        if size > HEADER_BYTES:
            raise _not_readable(path, f"its header has {size:,} bytes, {HEADER_BYTES:,} at most")
        if 8 + size > whole:
            raise _not_readable(path, "it ends within its header")
        with safe_open(path, framework="numpy"):
            pass  # safetensors holds what each tensor takes against the file's size
        content = parse_json(file.read(size))
    except CheckpointError:
        raise
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
        raise _not_readable(path, first_line(error)) from error
    if not isinstance(content, dict):
        raise _not_readable(path, "its header is no JSON object")
    metadata = content.pop("__metadata__", None) or {}
    try:
        stored = {
            name: Stored(row["dtype"], tuple(row["shape"]), 8 + size + row["data_offsets"][0])
            for name, row in content.items()
        }
        metadata = {str(name): str(text) for name, text in metadata.items()}
    except (LookupError, TypeError, AttributeError) as error:  # it was changed meanwhile
        raise _not_readable(path, "its header is not safetensors'") from error
    return Header(metadata, stored)


def _not_readable(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"'{path}' is damaged or not a safetensors file ({reason}). "
        "Fetch it again, or turn released weights into one with 'ovsam convert'."
    )
