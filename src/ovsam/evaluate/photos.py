"""The annotated photos that are evaluated: chosen, checked and read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovsam.errors import AnnotationError, PhotoError, quoted
from ovsam.evaluate.left_out import LeftOut, beyond_limit
from ovsam.formats.annotations import Annotations, Photo
from ovsam.formats.crowds import IF_OBJECTS, OPTION
from ovsam.formats.labelme import photo_source
from ovsam.images.folder import PhotoFolder
from ovsam.images.read import check_whole, read_photo


def chosen_photos(
    annotations: Annotations, images_dir: Path, limit: int | None = None
) -> Sequence[Photo]:
    """The first photos that have instances, named as they lie in the folder.

    All of them are there and of the annotated size.

    Raises:
        AnnotationError: no photo has an instance, one is missing or of another size, or a mask is
            malformed.
        PhotoError: a photo is none.
    """
    photos = [photo for photo in annotations.photos if photo.id in annotations.by_photo][:limit]
    if not photos:
        but, so = "", "Give a file with objects."
        if annotations.crowds:
            but = f" but {annotations.crowds:,} crowd regions (iscrowd 1), which do not count"
            so = f"{IF_OBJECTS} {OPTION}."
        raise AnnotationError(
            f"There is no instance to evaluate in {annotations.source!r}: it lists "
            f"{len(annotations.photos):,} photos and marks nothing on them{but}. {so}"
        )
    annotations.check_masks(photos)
    return check_photos(annotations.source, photos, images_dir)


def photos_left_out(annotations: Annotations, photos: Sequence[Photo]) -> LeftOut:
    """What `chosen_photos` left out, where it chose these."""
    marked = [photo for photo in annotations.photos if photo.id in annotations.by_photo]
    return replace(
        beyond_limit(annotations, marked[len(photos) :]),
        photos_without_objects=len(annotations.photos) - len(marked),
    )


def check_photos(source: str, photos: Sequence[Photo], images_dir: Path) -> Sequence[Photo]:
    """The photos, named as they lie in the folder; all must be there and the annotated ones.

    Every photo is decoded: what passes here is read in the run, which takes far longer.

    Raises:
        AnnotationError: says how many are missing and names the first, or the first of another
            size.
        PhotoError: a photo is none, or cut short.
    """
    folder = PhotoFolder(images_dir)
    places = [folder.find(photo.file_name) for photo in photos]
    missing = [photo for photo, place in zip(photos, places, strict=True) if place is None]
    if missing:
        raise AnnotationError(
            f"{len(missing)} of {len(photos)} photos are missing in {str(images_dir)!r}, first "
            f"{quoted(missing[0].file_name)} (id {missing[0].id} of {source!r}). Give the folder "
            "of the photos with --images."
        )
    found = []
    for photo, place in zip(photos, places, strict=True):
        assert place is not None
        with _named(photo):
            size_hw = check_whole(photo_source(place))
        _check_size(photo, images_dir, size_hw)
        found.append(replace(photo, file_name=place.relative_to(images_dir).as_posix()))
    return found


def read_annotated_photo(photo: Photo, images_dir: Path) -> NDArray[np.uint8]:
    """The photo `(H, W, 3)`.

    Raises:
        AnnotationError: its size is not that of the annotations.
        PhotoError: it cannot be read.
    """
    with _named(photo):
        pixels = read_photo(photo_source(images_dir / photo.file_name))
    _check_size(photo, images_dir, pixels.shape)
    return pixels


@contextmanager
def _named(photo: Photo) -> Iterator[None]:
    """Say which photo of the annotations cannot be read."""
    try:
        yield
    except PhotoError as error:
        raise PhotoError(f"Photo {photo.id} of the annotations: {error}") from error


def _check_size(photo: Photo, images_dir: Path, size_hw: tuple[int, ...]) -> None:
    if size_hw[:2] != photo.size_hw:
        raise AnnotationError(
            f"Photo {quoted(photo.file_name)} (id {photo.id}) in {str(images_dir)!r} is "
            f"{size_hw[1]} x {size_hw[0]} pixels, but the annotations say {photo.size_hw[1]} x "
            f"{photo.size_hw[0]}. Give the photos that were annotated with --images."
        )
