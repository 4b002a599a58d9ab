"""What a data set contains, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovsam.errors import AnnotationError, OvsamError
from ovsam.formats.annotations import LARGE_AREA, SMALL_AREA, Instance
from ovsam.formats.layouts import list_photos
from ovsam.formats.listing import ListedPhoto
from ovsam.geometry import mask_to_box_xyxy
from ovsam.images.read import check_whole

SIZES = ("small", "medium", "large")
SAMPLES = 24  # photos, for a contact sheet
BOX_TOLERANCE = 2.0  # pixels by which a box may miss its mask


@dataclass
class Contents:
    """The findings of a check.

    Attributes:
        layout: how the data set is laid out.
        classes: its class names.
        photos: listed photos.
        unlabelled: photos on which nothing is marked.
        crowds: crowd regions.
        instances: objects by class name; "" where they have no names.
        sizes: objects by `SIZES`.
        without_mask: objects that have a box only.
        headings: categories that are no classes.
        ignored: what is no part of the data set, by what it is.
        notes: how many photos something was done to, by what.
        problems: one sentence for each thing that is wrong.
        samples: some photos, chosen evenly at random.
    """

    layout: str
    classes: tuple[str, ...]
    photos: int = 0
    unlabelled: int = 0
    crowds: int = 0
    instances: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    without_mask: int = 0
    headings: tuple[str, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    samples: list[ListedPhoto] = field(default_factory=list)


def check(
    path: Path,
    images: Path | None = None,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> Contents:
    """Read all of a data set, every photo of it.

    Args:
        path: an annotation file or a folder, see `formats.layouts`.
        images: the photos of an annotation file; None = beside it.
        progress: called with the number of photos done.

    Raises:
        AnnotationError: the layout is not known, or the file cannot be read at all.
    """
    problems: list[str] = []
    listing = list_photos(path, images, lambda error: problems.append(str(error)))
    found = Contents(
        layout=listing.layout,
        classes=tuple(category.name for category in listing.categories),
        crowds=listing.crowds,
        headings=listing.headings,
        ignored=listing.ignored,
        problems=problems,
    )
    rng = np.random.default_rng(0)
    seen: set[tuple[Path, str | None]] = set()
    for photo in listing.photos:
        if (key := (photo.path, photo.member)) in seen:
            problems.append(f"Photo {_named(photo)} is listed twice.")
        seen.add(key)
        usable = _check_photo(photo, found)
        found.photos += 1
        # Reservoir sampling: every photo has the same chance, however many follow.
        if usable and len(found.samples) < SAMPLES:
            found.samples.append(photo)
        elif usable and (kept := int(rng.integers(found.photos))) < SAMPLES:
            found.samples[kept] = photo
        progress(found.photos)
    return found


def _check_photo(photo: ListedPhoto, found: Contents) -> bool:
    """Count the photo and its objects; whether the photo can be used."""
    found.problems += photo.problems
    found.notes.update(photo.notes)
    name = _named(photo)
    if photo.label is not None:
        found.instances[photo.label] += 1
    elif not photo.instances:
        found.unlabelled += 1
    size_hw = None
    try:
        size_hw = check_whole(photo.open())
    except OvsamError as error:
        problem = str(error) if photo.member is None else f"{name}: {error}"
        if problem not in photo.problems:
            found.problems.append(problem)
    usable = size_hw is not None and photo.size_hw in (None, size_hw)
    if size_hw is not None and not usable:
        found.problems.append(
            f"Photo {name} is {_wide(size_hw)}, its annotations say {_wide(photo.size_hw)}."
        )
    size_hw = photo.size_hw or size_hw
    if size_hw is None:
        return False
    for instance in photo.instances:
        mask = None
        try:
            mask = None if instance.segmentation is None else instance.mask(size_hw)
            check_instance(instance, size_hw, mask)
        except AnnotationError as error:
            found.problems.append(f"Photo {name}: {error}")
        _count(instance, found, mask)
    return usable


def _named(photo: ListedPhoto) -> str:
    path = repr(str(photo.path))  # one line, whatever a file is called
    return path if photo.member is None else f"{photo.member!r} of {path}"


def _count(instance: Instance, found: Contents, mask: NDArray[np.bool_] | None) -> None:
    x0, y0, x1, y1 = instance.box_xyxy
    area = instance.area
    if not np.isfinite(area):
        area = (x1 - x0) * (y1 - y0) if mask is None else float(np.count_nonzero(mask))
    found.instances[instance.category] += 1
    found.sizes[SIZES[int(area >= SMALL_AREA) + int(area >= LARGE_AREA)]] += 1
    found.without_mask += instance.segmentation is None


def check_instance(
    instance: Instance, size_hw: tuple[int, int], mask: NDArray[np.bool_] | None = None
) -> None:
    """Whether mask, box and photo belong together.

    Args:
        instance: what is annotated.
        size_hw: of its photo, in pixels.
        mask: its mask `(H, W)`; drawn when left out.

    Raises:
        AnnotationError: they do not, or the mask is malformed.
    """
    height, width = size_hw
    x0, y0, x1, y1 = instance.box_xyxy
    if (
        x0 < -BOX_TOLERANCE
        or y0 < -BOX_TOLERANCE
        or x1 > width + BOX_TOLERANCE
        or y1 > height + BOX_TOLERANCE
    ):
        raise AnnotationError(
            f"Annotation {instance.id}: its box {_rounded(instance.box_xyxy)} leaves the photo of "
            f"{_wide(size_hw)}."
        )
    if instance.segmentation is None:
        return
    mask = instance.mask(size_hw) if mask is None else mask
    if not mask.any():
        raise AnnotationError(f"Annotation {instance.id}: its mask covers no pixel.")
    tight = mask_to_box_xyxy(mask)
    off = float(np.abs(tight - instance.box_xyxy).max())
    if off > max(BOX_TOLERANCE, 0.02 * max(size_hw)):
        raise AnnotationError(
            f"Annotation {instance.id}: its box {_rounded(instance.box_xyxy)} is not that of its "
            f"mask, {_rounded(tight.tolist())}."
        )


def _wide(size_hw: tuple[int, int] | None) -> str:
    return "of unknown size" if size_hw is None else f"{size_hw[1]} x {size_hw[0]} pixels"


def _rounded(box: tuple[float, ...] | list[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in box)
