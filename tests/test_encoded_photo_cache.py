from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier, Event
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fakes import FakeEncodedImage, FakePredictor
from ovsam.encoded_photo_cache import EncodedPhotoCache
from ovsam.errors import PhotoError
from ovsam.structures import Prompt
from predictor.scenes import BOX, assert_same, blobs
from tiny_model import tiny_predictor

PHOTO_BYTES = 3 * 4 * 5


def photo(value: int) -> NDArray[np.uint8]:
    return np.full((4, 5, 3), value, np.uint8)


def test_the_same_pixels_are_encoded_once() -> None:
    predictor = FakePredictor()
    cache = EncodedPhotoCache(predictor)
    first = cache.encode(photo(1))
    assert cache.encode(photo(1)) is first
    mirrored = np.ascontiguousarray(photo(1)[:, ::-1])[:, ::-1]
    assert cache.encode(mirrored) is first, "however the pixels lie in memory"
    assert (predictor.encode_calls, len(cache), cache.nbytes) == (1, 1, PHOTO_BYTES)


def test_other_pixels_are_another_photo() -> None:
    cache = EncodedPhotoCache(FakePredictor())
    first = cache.encode(photo(1))
    changed = photo(1)
    changed[3, 4, 2] += 1
    assert cache.encode(changed) is not first
    turned = cache.encode(photo(1).reshape(5, 4, 3))
    assert turned is not first and turned.size_hw == (5, 4)
    assert len(cache) == 3


def test_what_was_not_used_for_longest_makes_room() -> None:
    predictor = FakePredictor()
    cache = EncodedPhotoCache(predictor, most_bytes=2 * PHOTO_BYTES)
    first, second = cache.encode(photo(1)), cache.encode(photo(2))
    cache.encode(photo(1))
    cache.encode(photo(3))
    assert (len(cache), cache.nbytes) == (2, 2 * PHOTO_BYTES)
    assert cache.encode(photo(1)) is first
    assert cache.encode(photo(2)) is not second
    assert predictor.encode_calls == 4


def test_what_is_larger_than_the_bound_is_not_kept() -> None:
    predictor = FakePredictor()
    cache = EncodedPhotoCache(predictor, most_bytes=PHOTO_BYTES)
    small = cache.encode(photo(1))
    large = np.zeros((5, 5, 3), np.uint8)
    assert cache.encode(large).size_hw == (5, 5)
    cache.encode(large)
    assert predictor.encode_calls == 3
    assert cache.encode(photo(1)) is small, "it has not made room for what does not fit"


@dataclass
class Slow(FakePredictor):
    """Encodes when it is told to, and refuses what is black."""

    begun: Event = field(default_factory=Event)
    go_on: Event = field(default_factory=Event)

    def encode(self, image: NDArray[np.uint8]) -> FakeEncodedImage:
        encoded = super().encode(image)
        self.begun.set()
        assert self.go_on.wait(10)
        if not image.any():
            raise PhotoError("all black")
        return encoded


def test_threads_wait_for_one_encoding() -> None:
    predictor = Slow()
    cache = EncodedPhotoCache(predictor)
    together = Barrier(4)

    def ask(_: int) -> Any:
        together.wait(10)
        return cache.encode(photo(1))

    with ThreadPoolExecutor(4) as pool:
        asked = pool.map(ask, range(4))
        assert predictor.begun.wait(10)
        predictor.go_on.set()
        answers = list(asked)
    assert all(answer is answers[0] for answer in answers)
    assert predictor.encode_calls == 1


def test_a_photo_does_not_wait_for_another() -> None:
    predictor = Slow()
    cache = EncodedPhotoCache(predictor)
    predictor.go_on.set()
    known = cache.encode(photo(1))
    predictor.go_on.clear()
    predictor.begun.clear()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(cache.encode, photo(2))
        assert predictor.begun.wait(10)
        assert cache.encode(photo(1)) is known
        assert not slow.done()
        predictor.go_on.set()
        slow.result()


def test_a_failure_is_not_kept() -> None:
    predictor = Slow()
    cache = EncodedPhotoCache(predictor)
    predictor.go_on.set()
    for _ in range(2):
        with pytest.raises(PhotoError, match="all black"):
            cache.encode(photo(0))
    assert (predictor.encode_calls, len(cache)) == (2, 0)


def test_of_a_real_predictor() -> None:
    predictor = tiny_predictor()
    cache = EncodedPhotoCache(predictor)
    encoded = cache.encode(blobs(0))
    assert cache.encode(blobs(0)) is encoded
    assert cache.nbytes == encoded.nbytes > encoded.photo.nbytes + encoded.features.embedding.nbytes
    box = Prompt(box_xyxy=BOX)
    alone = predictor.encode(blobs(0))
    assert_same(predictor.predict(encoded, box)[0], predictor.predict(alone, box)[0])
    for wrong in (blobs(0).astype(np.float32), None):
        with pytest.raises(PhotoError, match="A photo must be an RGB array"):
            cache.encode(wrong)  # type: ignore[arg-type]
