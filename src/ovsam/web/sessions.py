"""The photos a running page holds: a bounded store of encoded images, and the model's lock."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovsam.encoded_photo_cache import EncodedPhotoCache
from ovsam.errors import OvsamError, VocabularyError
from ovsam.segmenter import Segmenter
from ovsam.structures import Prediction, Prompt
from ovsam.vocabulary.load import typed_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary
from ovsam.web.guard import BUSY

MAX_CLASSES = 10_000
ENCODED_BYTES = 2**29  # of photos that may be opened once more

PREVIEW_WAIT_S = 1.0
"""A preview that is not begun by then is of no use: the pointer has moved on."""


class BusyError(OvsamError):
    """The model is busy with other requests: try again."""


class PhotoNotHeldError(OvsamError):
    """The photo was dropped to make room for newer ones, or was never opened here."""


@dataclass(frozen=True, eq=False)
class HeldPhoto:
    """An encoded photo, ready for prompts.

    Attributes:
        id: unguessable, so that one user cannot name another's photo.
        image: `(H, W, 3)` uint8 RGB, EXIF orientation applied.
        encoded: what the predictor made of it.
    """

    id: str
    image: NDArray[np.uint8]
    encoded: Any

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]


class Sessions:
    """Opens photos, answers prompts about them, and forgets the least recently used ones.

    Safe to call from many threads. The model runs one call at a time: each already spreads over
    all cores, and its working memory is paid once.

    Args:
        predictor: the model.
        capacity: how many photos are held at most.
        capacity_pixels: how many pixels they may have together; the newest is held regardless.
    """

    def __init__(
        self, predictor: Segmenter, *, capacity: int = 8, capacity_pixels: int = 2**28
    ) -> None:
        self.predictor = predictor
        self._capacity = capacity
        self._capacity_pixels = capacity_pixels
        self._photos: OrderedDict[str, HeldPhoto] = OrderedDict()
        self._photos_lock = Lock()
        self._model_lock = Lock()
        self._encoded: EncodedPhotoCache[Any] = EncodedPhotoCache(
            predictor, most_bytes=ENCODED_BYTES
        )

    def open(self, image: NDArray[np.uint8]) -> HeldPhoto:
        """Encode a photo `(H, W, 3)` RGB and hold it; the least recently used make room.

        One that was opened not long ago is not encoded again.
        """
        with self._model_lock:
            encoded = self._encoded.encode(image)
        photo = HeldPhoto(secrets.token_urlsafe(16), image, encoded)
        with self._photos_lock:
            self._photos[photo.id] = photo
            while len(self._photos) > 1 and self._is_over_capacity():
                self._photos.popitem(last=False)
        return photo

    def get(self, photo_id: str) -> HeldPhoto:
        """The photo of that id, now the most recently used.

        Raises:
            PhotoNotHeldError: it was dropped, or the id is not one of ours.
        """
        with self._photos_lock:
            if photo_id not in self._photos:
                raise PhotoNotHeldError("This photo is no longer held: open it again.")
            self._photos.move_to_end(photo_id)
            return self._photos[photo_id]

    def predict(
        self,
        photo_id: str,
        prompt: Prompt,
        *,
        vocabulary: Vocabulary | None,
        multimask: bool,
        top: int,
        preview: bool = False,
    ) -> Prediction:
        """Answer one prompt about a held photo; without names if the model has masks alone.

        A preview has the answer of a click, so that a click changes nothing, but gives up sooner.

        Raises:
            BusyError: it is a preview, and others are still at work.
        """
        photo = self.get(photo_id)
        prompt.check_inside(photo.size_hw)
        if not self._model_lock.acquire(timeout=PREVIEW_WAIT_S if preview else -1):
            raise BusyError(BUSY)
        try:
            if not self.predictor.names_objects:
                [found] = self.predictor.segment(photo.encoded, prompt, multimask=multimask)
                return found.painted()
            return self.predictor.predict(
                photo.encoded, prompt, vocabulary=vocabulary, multimask=multimask, top=top
            )[0]
        finally:
            self._model_lock.release()

    def prepare(self, vocabulary: Vocabulary) -> Vocabulary:
        """Compute a vocabulary's embeddings now, so that the next prompt is fast.

        Returns:
            The vocabulary as it is answered from.
        """
        if not self.predictor.names_objects:
            return vocabulary
        with self._model_lock:
            return self.predictor.prepare(vocabulary)

    def _is_over_capacity(self) -> bool:
        pixels = sum(photo.size_hw[0] * photo.size_hw[1] for photo in self._photos.values())
        return len(self._photos) > self._capacity or pixels > self._capacity_pixels


@lru_cache(maxsize=16)
def parse_vocabulary(spec: str) -> Vocabulary:
    """A built-in vocabulary's name, or class names: what a person types, see `typed_vocabulary`.

    Text from a browser never names a file of the server.

    Raises:
        VocabularyError: no names, something wrong with them, or more than the page takes.
    """
    names = spec.count(",") + spec.count("\n") + 1
    if names > MAX_CLASSES:
        raise VocabularyError(
            f"This page takes at most {MAX_CLASSES:,} class names, got {names:,}: "
            "use `ovsam segment --vocabulary FILE` for more."
        )
    return typed_vocabulary(spec)
