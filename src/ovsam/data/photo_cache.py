"""Decoded photos in memory: training draws the same ones again and again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovsam.errors import AnnotationError, PhotoError
from ovsam.formats.listing import ListedPhoto
from ovsam.images.read import read_photo

CACHED_BYTES = 2 * 2**30  # of decoded photos in each process


class UnusablePhotoError(Exception):
    """A photo cannot be read, or is of another size than it is listed with."""

    def __init__(self, photo: ListedPhoto, why: str) -> None:
        super().__init__(why)
        self.photo = photo


class PhotoCache:
    """Decoded photos, the first ones that fit: with random draws no other choice is better."""

    def __init__(self, most_bytes: int) -> None:
        self.photos: dict[ListedPhoto, NDArray[np.uint8]] = {}
        self.left = most_bytes

    def read(self, photo: ListedPhoto) -> NDArray[np.uint8]:
        """The photo `(H, W, 3)`; raises `PhotoError`."""
        if photo in self.photos:
            return self.photos[photo]
        pixels = read_photo(photo.open())
        if pixels.nbytes <= self.left:
            self.left -= pixels.nbytes
            self.photos[photo] = pixels
        return pixels


_CACHE = PhotoCache(CACHED_BYTES)


def read_cached(photo: ListedPhoto) -> NDArray[np.uint8]:
    """A photo `(H, W, 3)` uint8 RGB, from memory if it was read before.

    Raises:
        UnusablePhotoError: it cannot be read, or is of another size than it is listed with.
    """
    try:
        pixels = _CACHE.read(photo)
        photo.check_size((pixels.shape[0], pixels.shape[1]))
    except (PhotoError, AnnotationError) as error:
        raise UnusablePhotoError(photo, str(error)) from error
    return pixels
