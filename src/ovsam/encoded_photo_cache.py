"""Encoded photos by their content: the same photo is encoded once, whoever brings it again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from concurrent.futures import Future
from threading import Lock
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 2**30


class _InMemory(Protocol):
    @property
    def nbytes(self) -> int:
        """The memory that it takes."""


Encoded = TypeVar("Encoded", bound=_InMemory)
Made = TypeVar("Made", covariant=True)


class _Encoder(Protocol[Made]):
    def encode(self, image: NDArray[np.uint8], /) -> Made:
        """See `Predictor.encode`."""


class EncodedPhotoCache(Generic[Encoded]):
    """Keeps what a predictor made of the photos that were used last, within a bound of bytes.

    Threads can share it; those that ask for one photo at the same time wait for one encoding.

    Args:
        predictor: what encodes, an `ovsam.Predictor`.
        most_bytes: of all that is kept, photos and features. What is larger by itself is encoded
            anew each time.
    """

    def __init__(self, predictor: _Encoder[Encoded], *, most_bytes: int = MOST_BYTES) -> None:
        self._predictor = predictor
        self._most_bytes = most_bytes
        self._kept: OrderedDict[bytes, Encoded] = OrderedDict()  # the last used is last
        self._bytes = 0
        self._begun: dict[bytes, Future[Encoded]] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """The memory that what is kept takes."""
        return self._bytes

    def encode(self, image: NDArray[np.uint8]) -> Encoded:
        """What `predictor.encode` gives for a photo `(H, W, 3)`, RGB, uint8.

        Raises:
            PhotoError: as `predictor.encode`; nothing is kept of that.
        """
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            return self._predictor.encode(image)  # which says what is wrong with it
        key = _digest(image)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            begun = self._begun.get(key)
            if begun is None:
                mine = self._begun[key] = Future()
        if begun is not None:
            return begun.result()
        try:
            encoded = self._predictor.encode(image)
        except BaseException as error:
            with self._lock:
                del self._begun[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._begun[key]
            self._keep(key, encoded)
        mine.set_result(encoded)
        return encoded

    def _keep(self, key: bytes, encoded: Encoded) -> None:
        """Make room by what was not used for longest; the lock is held."""
        if encoded.nbytes > self._most_bytes:
            return
        while self._bytes + encoded.nbytes > self._most_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.nbytes
        self._kept[key] = encoded
        self._bytes += encoded.nbytes


def _digest(image: NDArray[np.uint8]) -> bytes:
    """BLAKE2b of shape and pixels."""
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()
