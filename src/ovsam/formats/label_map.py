"""Objects in a picture of masks: one mask in black and white, or a map with a number for each.

A mask may have grey rims (drawn smoothly, resized, kept as JPEG): it is cut at half of white. A map
whose numbers were mixed so looks like one with more objects, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from ovsam.errors import AnnotationError
from ovsam.geometry import Rle

VOID = 255  # "no label" beside 0, in maps of eight bits
# Shares of the pixels at borders that lie between a lower and a higher number. Of sound maps with
# thin objects a few; where numbers were mixed, a fifth and more; in a wide blur, most.
_MIXED, _BLURRED = 0.13, 0.6
_FEW = 8  # pixels, which say nothing
_MANY, _IN_ORDER = 8, 0.9  # numbers, and the share of their steps, that make a gradient
_PLATEAU = 0.02  # even grey in a mask of black and white, beside even white
_COLOURS = 256  # more of them are a photo that is cut out, not numbers


@dataclass(frozen=True, eq=False, slots=True)
class MapObject:
    """An object of a map.

    Attributes:
        number: what stands at its pixels; the white of a mask.
        rle: its mask.
        box_xyxy: tight around it, max corner exclusive.
        area: in pixels.
    """

    number: int
    rle: Rle
    box_xyxy: tuple[float, float, float, float]
    area: int


@dataclass(frozen=True, eq=False, slots=True)
class MapObjects:
    """What a picture of masks holds.

    Attributes:
        objects: by their numbers.
        notes: what was done to the picture, to be said once for a data set.
    """

    objects: tuple[MapObject, ...]
    notes: tuple[str, ...] = ()


CUT = "masks with grey rims, cut at half of white"
WITH_VOID = f"label maps in which {VOID} is no object but void"


def map_numbers(image: Image.Image) -> NDArray[Any]:
    """The number `(H, W)` at each pixel of an opened picture; 0 where it is transparent.

    They are its grey values, or a palette's indices where its colours are not shades of grey. A
    picture in colour has a number for each colour (red + 256 green + 65536 blue), black is 0.
    """
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode == "P":
        return _of_palette(image)
    if image.mode in ("PA", "La", "RGBa"):
        image = image.convert("RGBA")
    elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        image = image.convert("RGB")
    values = np.asarray(image)
    alpha = None
    if image.mode in ("LA", "RGBA"):
        values, alpha = values[..., :-1], values[..., -1]
    if values.ndim == 3:
        values = _of_colours(values, image.format == "JPEG")
    if alpha is None or (alpha == 255).all():
        return values
    seen = values[alpha > 0]
    if not seen.size or (seen == seen[0]).all() or len(np.unique(seen)) > _COLOURS:
        return alpha  # the mask is what is opaque
    return np.where(alpha > 127, values, 0)


def _of_palette(image: Image.Image) -> NDArray[Any]:
    indices = np.asarray(image)
    palette = image.getpalette("RGB") or []
    used = np.unique(indices)
    if 3 * (int(used[-1]) + 1) > len(palette):
        return indices
    colours = np.array(palette, dtype=np.uint8).reshape(-1, 3)
    greys = colours[used, 0]
    if (colours[used] == greys[:, None]).all() and len(np.unique(greys)) == len(used):
        indices = colours[indices, 0]
    return indices


def _of_colours(values: NDArray[Any], lossy: bool) -> NDArray[Any]:
    colours = values.reshape(-1, values.shape[-1])
    used = colours.any(axis=0)
    if (colours == colours[:, :1]).all() or values.shape[-1] == 1:
        return values[..., 0]  # grey saved as colour
    if lossy:
        return np.asarray(Image.fromarray(values.astype(np.uint8)).convert("L"))
    if used.sum() == 1:
        return values[..., int(np.flatnonzero(used)[0])]
    numbers: NDArray[np.int32] = values.astype(np.int32) @ np.array([1, 256, 65536], np.int32)
    return numbers


def map_objects(numbers: NDArray[Any]) -> MapObjects:
    """An object for each number of a map `(H, W)` but 0, and but 255 in eight bits with others.

    Raises:
        AnnotationError: the numbers are none that can stand for objects, or are mixed with one
            another where they meet.
    """
    if numbers.dtype.kind not in "ui" or (numbers.size and numbers.min() < 0):
        raise AnnotationError(
            f"its values must be whole numbers from 0 on, got {numbers.dtype.name} from "
            f"{numbers.min()} to {numbers.max()}. Save it as PNG with 8 or 16 bits."
        )
    found, ranks = np.unique(numbers, return_inverse=True)
    labels = found[found != 0]
    if len(labels) < 2:
        return MapObjects(tuple(_objects(numbers)))
    borders = _borders(numbers, ranks.reshape(numbers.shape).astype(np.float32))
    white = 255 if labels[-1] <= 255 else 65535
    if _is_grey_mask(labels, borders, white):
        inside = numbers.astype(np.int64) * 2 > white
        return MapObjects(tuple(_objects(inside.astype(np.uint8) * 255)), (CUT,))
    mixed = borders.between >= _MIXED and borders.pixels >= _FEW and borders.numbers > 1
    if mixed or _is_gradient(numbers, len(labels)) or _is_unclear(labels, borders):
        raise AnnotationError(
            f"its {len(labels):,} numbers run into one another where they meet, as after resizing "
            "or in a JPEG file, and which of them are objects cannot be told. Resize label maps "
            "with nearest neighbour and keep them as PNG; a mask must be black and white."
        )
    if numbers.dtype == np.uint8 and labels[-1] == VOID:
        numbers = np.where(numbers == VOID, 0, numbers)
        return MapObjects(tuple(_objects(numbers)), (WITH_VOID,))
    return MapObjects(tuple(_objects(numbers)))


@dataclass(frozen=True, eq=False)
class _Borders:
    """How the numbers of a map meet.

    Attributes:
        even: `(N,)` the numbers of pixels whose 8 neighbours have the same.
        between: the share of the other pixels that have both lower and higher neighbours, and lie
            in no square of 3 x 3 pixels of their number.
        pixels: how many those are.
        numbers: how many different ones they have.
    """

    even: NDArray[Any]
    between: float
    pixels: int
    numbers: int


def _borders(numbers: NDArray[Any], ranks: NDArray[np.float32]) -> _Borders:
    around, edge = np.ones((3, 3), np.uint8), cv2.BORDER_REPLICATE
    least = cv2.erode(ranks, around, borderType=edge)
    greatest = cv2.dilate(ranks, around, borderType=edge)
    uneven = least < greatest
    thick = cv2.dilate((~uneven).astype(np.uint8), around) > 0
    between = (least < ranks) & (ranks < greatest) & ~thick
    pixels = int(np.count_nonzero(between))
    share = pixels / max(1, int(np.count_nonzero(uneven)))
    return _Borders(numbers[~uneven], share, pixels, len(np.unique(ranks[between])))


def _is_grey_mask(labels: NDArray[Any], borders: _Borders, white: int) -> bool:
    """Whether white and black are all that is even, and grey is where they meet.

    In a map of numbers, most numbers have pixels in the midst of their object.
    """
    if 2 * int(labels[-1]) < white:
        return False
    dark, light = white / 10, white * 9 / 10
    even = borders.even
    few = _PLATEAU * np.count_nonzero(even >= light)
    if np.count_nonzero((even >= dark) & (even < light)) > few:
        return False
    # The number 1 of a map with void in white, if not the last of a wide blur.
    if np.count_nonzero((even > 0) & (even < dark)) > few and borders.between < _BLURRED:
        return False
    greys = (labels >= dark) & (labels < light)
    off_white = (labels >= light) & (labels < white)
    return bool(greys.any() or off_white.any())


def _is_unclear(labels: NDArray[Any], borders: _Borders) -> bool:
    """Whether small numbers beside an even 255 may be objects in void as well as JPEG's traces."""
    if borders.even.dtype != np.uint8 or labels[-1] != VOID or labels[-2] >= VOID / 10:
        return False
    return bool((borders.even == VOID).any()) and not np.isin(borders.even, labels[:-1]).any()


def _is_gradient(numbers: NDArray[Any], count: int) -> bool:
    """Whether many numbers lie in their order: neighbours differ by one, as in a wide blur."""
    if count < _MANY:
        return False
    signed = numbers.astype(np.int64)
    steps = np.abs(np.concatenate([np.diff(signed, axis=axis).ravel() for axis in (0, 1)]))
    return bool(np.count_nonzero(steps == 1) > _IN_ORDER * np.count_nonzero(steps))


def _objects(numbers: NDArray[Any]) -> Iterator[MapObject]:
    """Each number but 0, by runs along columns: one sweep however many there are."""
    height, width = numbers.shape
    if not numbers.size:
        return
    columns_first = numbers.ravel(order="F")
    starts = np.flatnonzero(np.r_[True, columns_first[1:] != columns_first[:-1]])
    lengths = np.diff(np.r_[starts, columns_first.size])
    values = columns_first[starts]
    order = np.argsort(values, kind="stable")
    cuts = np.flatnonzero(np.diff(values[order])) + 1
    for rows in np.split(order, cuts):
        number = int(values[rows[0]])
        if number == 0:
            continue
        ends = starts[rows] + lengths[rows]
        counts = np.zeros(2 * len(rows) + 1, dtype=np.int64)  # outside and inside in turns
        counts[1::2] = lengths[rows]
        counts[0:-1:2] = starts[rows] - np.r_[0, ends[:-1]]
        counts[-1] = columns_first.size - ends[-1]
        plain = {"size": [height, width], "counts": counts.tolist()}
        code = coco_mask.frPyObjects(plain, height, width)
        x, y, w, h = coco_mask.toBbox(code).tolist()
        rle: Rle = {"size": [height, width], "counts": code["counts"].decode("ascii")}
        yield MapObject(number, rle, (x, y, x + w, y + h), int(lengths[rows].sum()))
