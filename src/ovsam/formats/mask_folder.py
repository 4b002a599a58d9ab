"""Photos in `images/` and, of the same stems, pictures of their masks in `masks/`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from ovsam.errors import AnnotationError, PhotoError
from ovsam.formats.annotations import Instance
from ovsam.formats.label_map import map_objects
from ovsam.formats.listing import (
    ListedPhoto,
    Listing,
    Photos,
    Report,
    count_ignored,
    entries_of,
    is_photo,
)
from ovsam.images.folder import by_key, name_key
from ovsam.images.read import read_label_map, read_photo_size

_LOSSY = (".jpg", ".jpeg", ".jfif", ".jpe")


def list_masks(root: Path, report: Report) -> Listing:
    """The photos in `images/` that have a mask in `masks/`, which is read with each photo.

    Args:
        root: where both folders lie.
        report: called with each photo or mask that lacks the other, which is left out.
    """
    ignored: Counter[str] = Counter()
    entries = entries_of(root / "masks", ignored)
    # Of several masks of a stem, the PNG file.
    masks = sorted(filter(is_photo, entries), key=lambda path: path.suffix.lower() != ".png")
    files: dict[str, Path] = {}
    for path in masks:
        if files.setdefault(path.stem, path) is not path:
            report(
                AnnotationError(f"Mask '{path}' is a second one beside '{files[path.stem].name}'.")
            )
    alike = by_key(files.values())
    photos = []
    beside = {}
    inside = entries_of(root / "images", ignored)
    for path in filter(is_photo, inside):
        mask = files.get(path.stem) or alike.get(name_key(path.stem))
        if mask is None or files.pop(mask.stem, None) is None:
            its = f"{path.stem}.png"
            report(AnnotationError(f"Photo {str(path)!r} has no mask {its!r} in masks/."))
        else:
            photos.append(ListedPhoto(path))
            beside[path] = mask
    for file in files.values():
        report(AnnotationError(f"Mask '{file}' has no photo of its stem in images/."))
    count_ignored((entry for entry in [*inside, *entries] if not is_photo(entry)), ignored)
    read = partial(_with_mask, masks=beside)
    return Listing("photos with mask files", (), 0, Photos(photos, read), ignored=ignored)


def _with_mask(photo: ListedPhoto, masks: Mapping[Path, Path]) -> ListedPhoto:
    file = masks[photo.path]
    try:
        numbers = read_label_map(file)
        try:
            found = map_objects(numbers)
        except AnnotationError as error:
            raise AnnotationError(f"Mask '{file}' cannot be used: {error}") from error
        if len(found.objects) > 1 and file.suffix.lower() in _LOSSY:
            raise AnnotationError(
                f"Mask '{file}' cannot be used: it has {len(found.objects):,} numbers, and JPEG "
                "changes numbers. Keep label maps as PNG; a mask must be black and white."
            )
        if not found.objects and (size_hw := read_photo_size(photo.path)) != numbers.shape:
            raise AnnotationError(  # with objects, whoever uses them says so
                f"Mask '{file}' is {numbers.shape[1]} x {numbers.shape[0]} pixels and blank, its "
                f"photo is {size_hw[1]} x {size_hw[0]}."
            )
    except (PhotoError, AnnotationError) as error:
        return replace(photo, problems=(str(error),))
    instances = tuple(
        Instance(one.number, 0, "", one.box_xyxy, float(one.area), one.rle) for one in found.objects
    )
    size_hw = numbers.shape[0], numbers.shape[1]
    return replace(photo, size_hw=size_hw, instances=instances, notes=found.notes)
