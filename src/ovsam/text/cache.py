"""Text embeddings on disk: computed once for a name, whatever vocabularies it is part of."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger(__name__)
_TIMEOUT_S = 30.0  # how long to wait while another process writes
_QUERY = 500  # texts per query; SQLite limits the number of parameters
_SCHEMA = """CREATE TABLE IF NOT EXISTS embedding (
    model TEXT NOT NULL, text TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (model, text)
)"""


class TextStore:
    """Unit vectors of texts in one SQLite file, shared by any number of processes and threads.

    It is a cache: a file that is damaged is moved away, one that cannot be written is made up for
    in memory, both with a warning in the log. Each call opens the file for a short transaction.

    Args:
        path: the file, made with its folder when first written; None keeps all in memory.
        seed: embeddings that came with the checkpoint, by the text model and the prompt templates
            that this store is used with. Looked at first, never written.

    Attributes:
        writes: whether what is new is kept on disk.
    """

    def __init__(
        self, path: Path | None, seed: Mapping[str, NDArray[np.floating]] | None = None
    ) -> None:
        self._path = path
        self.writes = path is not None
        self._seed = seed or {}
        self._memory: dict[tuple[str, str], NDArray[np.float32]] = {}
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path | None:
        """Where the file is; None if all is kept in memory."""
        return None if self._path is None else self._path.parent

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
            if not self._start_anew(self._path, error):
                self._path, self.writes = None, False  # said once is enough
            return found
        for text, blob in rows:
            if len(blob) == 4 * dim:
                vector = np.frombuffer(blob, "<f4")
                if abs(vector @ vector - 1) < 1e-3:  # not if bits were lost
                    found[text] = vector
        return found

    def put(self, model: str, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep vectors `(dim,)` by their texts, under the key `model`."""
        if self._path is not None and self.writes:
            try:
                self._write(self._path, model, vectors)
                return
            except (sqlite3.Error, OSError) as error:
                if not self._start_anew(self._path, error):
                    self.writes = False  # said once is enough; what is there can still be read
        with self._lock:
            self._memory.update({(model, text): vector for text, vector in vectors.items()})

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

    def _start_anew(self, path: Path, error: Exception) -> bool:
        """Log why the file was of no use; whether it was damaged, and is moved away."""
        # Damage is a plain DatabaseError; its subclass OperationalError is a lock, a full disk…
        if type(error) is not sqlite3.DatabaseError:
            _log.warning("Text embeddings are not kept on disk: %s: %s.", path, error)
            return False
        spoilt = path.with_name(f"{path.name}.damaged")
        _log.warning("Text embeddings start anew: %s: %s. Moved to %s.", path, error, spoilt)
        try:
            path.replace(spoilt)
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
