"""Text embeddings on disk: a row for each name, and a file for each long vocabulary.

A name is computed once, whatever vocabularies it is part of; a long vocabulary is opened
memory-mapped.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ovsam.files import replace_file
from ovsam.text.half import widened

FILES_KEPT = 8  # the last used ones; 22,000 classes of `lite` take 29 MB

_log = logging.getLogger(__name__)
_TIMEOUT_S = 30.0  # how long to wait while another process writes
_QUERY = 500  # texts per query; SQLite limits the number of parameters
_FOLDER, _SUFFIX = "banks", ".safetensors"
_TENSOR = "vectors"
_ROWS = 1024  # widened at once
_TOLERANCE = 1e-2  # of a vector's length; half precision is off by less than a thousandth
_SCHEMA = """CREATE TABLE IF NOT EXISTS embedding (
    model TEXT NOT NULL, text TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (model, text)
)"""


class TextStore:
    """Unit vectors of texts on disk, shared by any number of processes and threads.

    Those of single texts are rows of one SQLite file, which each call opens for a short
    transaction; matrices of many texts are files in a folder beside it. All is a cache: a file that
    is damaged is replaced, one that cannot be written is made up for in memory, both with a warning
    in the log.

    Args:
        path: the SQLite file, made with its folder when first written; None keeps all in memory.
        seed: embeddings that came with the checkpoint, by the text model and the prompt templates
            that this store is used with. Looked at first, never written.

    """

    def __init__(
        self, path: Path | None, seed: Mapping[str, NDArray[np.floating]] | None = None
    ) -> None:
        self._path = path
        self._writes = path is not None
        self._seed = seed or {}
        self._memory: dict[tuple[str, str], NDArray[np.float32]] = {}
        self._lock = threading.Lock()

    def with_seed(self, seed: Mapping[str, NDArray[np.floating]]) -> TextStore:
        """The same file with embeddings that came with a checkpoint."""
        return TextStore(self._path, seed)

    def without_seed(self) -> TextStore:
        """The same file for other templates than those that the seed was made with."""
        return TextStore(self._path)

    def get(self, model: str, texts: Sequence[str], dim: int) -> dict[str, NDArray[np.float32]]:
        """Those of `texts` that are known under the key `model`, as vectors `(dim,)`."""
        found: dict[str, NDArray[np.float32]] = {}
        unknown = []
        for text in texts:
            vector = self._seed.get(text)
            if vector is None:
                vector = self._memory.get((model, text))
            if vector is None:
                unknown.append(text)
            else:
                found[text] = np.asarray(vector, np.float32)
        if not unknown or self._path is None:
            return found
        try:
            if not self._path.exists():
                return found
            rows = list(self._read(self._path, model, unknown))
        except (sqlite3.Error, OSError) as error:
            if not self._replaced(self._path, error):
                self._path, self._writes = None, False  # said once is enough
            return found
        for text, blob in rows:
            if len(blob) == 4 * dim:
                vector = np.frombuffer(blob, "<f4")
                if abs(vector @ vector - 1) < 1e-3:  # not if bits were lost
                    found[text] = vector
        return found

    def put(self, model: str, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep vectors `(dim,)` by their texts, under the key `model`."""
        if self._path is not None and self._writes:
            try:
                self._write(self._path, model, vectors)
                return
            except (sqlite3.Error, OSError) as error:
                if not self._replaced(self._path, error):
                    self._writes = False  # said once is enough; what is there can still be read
        with self._lock:
            self._memory.update({(model, text): vector for text, vector in vectors.items()})

    def get_matrix(self, name: str, shape: tuple[int, int]) -> NDArray[np.float16] | None:
        """The matrix `(S, D)` of unit vectors in half precision; None = it is not there.

        It is memory-mapped. A file that is cut short, damaged or of another shape counts as none.
        """
        path = self._matrix_path(name)
        if path is None:
            return None
        try:
            vectors = _mapped(path, shape)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, RuntimeError) as error:
            _log.warning("Text embeddings are read name by name: %s: %s.", path, error)
            return None
        if vectors is None or not _are_units(vectors):
            _log.warning("Text embeddings are read name by name: %s is damaged.", path)
            return None
        with suppress(OSError):
            os.utime(path)  # used now: others are deleted first
        return vectors

    def put_matrix(self, name: str, vectors: NDArray[np.float16]) -> None:
        """Keep a matrix `(S, D)` in half precision; the last used `FILES_KEPT` are kept.

        Without a file, or where it cannot be written, it is not.
        """
        path = self._matrix_path(name)
        if path is None or not self._writes:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, save({_TENSOR: vectors}))
            files = sorted(path.parent.glob(f"*{_SUFFIX}"), key=lambda file: file.stat().st_mtime)
            for file in files[:-FILES_KEPT]:
                file.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("Text embeddings are not kept on disk: %s: %s.", path, error)

    def _matrix_path(self, name: str) -> Path | None:
        return None if self._path is None else self._path.parent / _FOLDER / f"{name}{_SUFFIX}"

    def _read(self, path: Path, model: str, texts: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        with _connected(path) as connection:
            for start in range(0, len(texts), _QUERY):
                chunk = texts[start : start + _QUERY]
                marks = ",".join("?" * len(chunk))
                yield from connection.execute(
                    f"SELECT text, vector FROM embedding WHERE model = ? AND text IN ({marks})",
                    (model, *chunk),
                )

    def _write(self, path: Path, model: str, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [(model, text, vector.astype("<f4").tobytes()) for text, vector in vectors.items()]
        with _connected(path) as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO embedding VALUES (?, ?, ?)", rows)

    def _replaced(self, path: Path, error: Exception) -> bool:
        """Log why the file was of no use; whether it was damaged, and is moved away."""
        # Damage is a plain DatabaseError; its subclass OperationalError is a lock, a full disk…
        if type(error) is not sqlite3.DatabaseError:
            _log.warning("Text embeddings are not kept on disk: %s: %s.", path, error)
            return False
        damaged = path.with_name(f"{path.name}.damaged")
        _log.warning(
            "Text embeddings are computed again: %s: %s. Moved to %s.", path, error, damaged
        )
        try:
            path.replace(damaged)
        except OSError as failure:
            _log.warning("Could not move %s: %s.", path, failure)
            return False
        return True


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=_TIMEOUT_S)
    try:
        connection.execute(_SCHEMA)
        yield connection
    finally:
        connection.close()


def _mapped(path: Path, shape: tuple[int, int]) -> NDArray[np.float16] | None:
    """The matrix in a file; None if it holds anything else. safetensors itself would copy it."""
    with safe_open(path, "np") as file:  # which holds the header against the file's size
        if list(file.keys()) != [_TENSOR]:
            return None
        stored = file.get_slice(_TENSOR)
        if tuple(stored.get_shape()) != shape or stored.get_dtype() != "F16":
            return None
    offset = path.stat().st_size - 2 * shape[0] * shape[1]  # the only tensor ends the file
    # Copied on write, which nobody does: torch warns of arrays that cannot be written.
    return np.asarray(np.memmap(path, np.float16, "c", offset, shape))


def _are_units(vectors: NDArray[np.float16]) -> bool:
    """Whether no vector has lost its length."""
    for start in range(0, len(vectors), _ROWS):
        chunk = widened(vectors[start : start + _ROWS])
        lengths = np.sqrt(np.einsum("ij,ij->i", chunk, chunk))
        if not (np.abs(lengths - 1) < _TOLERANCE).all():
            return False
    return True


def default_text_file(cache_dir: str | Path | None) -> Path | None:
    """Where embeddings of names are kept; None = nowhere, for there is no home."""
    import platformdirs

    try:
        folder = Path(cache_dir) if cache_dir else platformdirs.user_cache_path("ovsam")
    except RuntimeError:
        _log.warning("Text embeddings are not kept on disk: there is no home folder.")
        return None
    return folder / "text.sqlite"
