"""Augmentation: what is changed in a training crop at random, its photo and its objects alike."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ovsam.data.anchors import Anchor, AnchoredPhoto
from ovsam.data.cropped_objects import CroppedObject, box_of
from ovsam.data.photo_cache import read_cached
from ovsam.geometry import decode_rle
from ovsam.images.frame import Frame


def stretched(rng: np.random.Generator, frame: Frame) -> Frame:
    """Every second frame wider or higher by up to a third, about the same middle."""
    stretch = float(np.exp(max(0.0, rng.uniform(-0.15, 0.15)) * rng.choice([-1, 1])))
    height, width = frame.window_hw
    wide, high = width * stretch, height / stretch
    origin = (frame.origin_xy[0] + (width - wide) / 2, frame.origin_xy[1] + (height - high) / 2)
    return replace(frame, origin_xy=origin, window_hw=(high, wide))


def flipped(item: CroppedObject, frame: Frame) -> CroppedObject:
    """An object in the crop mirrored left to right."""
    size = frame.content_hw[1]
    x0, y0, x1, y1 = item.box_xyxy
    mask = None if item.mask is None else item.mask[:, ::-1]
    click = None if item.click_xy is None else np.array([size - item.click_xy[0], item.click_xy[1]])
    return replace(
        item, mask=mask, box_xyxy=np.array([size - x1, y0, size - x0, y1]), click_xy=click
    )


def recoloured(rng: np.random.Generator, crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A crop `(S, S, 3)` RGB with brightness, contrast and saturation a little off.

    One in twenty is grey, one in ten blurred.
    """
    x = crop.astype(np.float32)
    grey = x.mean(2, keepdims=True)
    saturation = 0.0 if rng.random() < 0.05 else rng.uniform(0.7, 1.3)
    x = grey + (x - grey) * saturation
    x = (x - x.mean()) * rng.uniform(0.75, 1.25) + x.mean() * rng.uniform(0.8, 1.2)
    if rng.random() < 0.1:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.5, 1.5))
    recoloured: NDArray[np.uint8] = np.clip(x, 0, 255).astype(np.uint8)
    return recoloured


def noisy_box(
    rng: np.random.Generator, box_xyxy: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    """A box `(4,)` in pixels of its crop, exact or off by noise; at least a pixel wide and high.

    Three quarters are exact; of the others each side is off by a normal deviate whose standard
    deviation is up to 12% of the box's width or height.

    Args:
        rng: of the noise.
        box_xyxy: crop pixels.
        size: side of the crop, which the box stays within.
    """
    width, height = box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1]
    spread = max(0.0, rng.uniform(-0.36, 0.12))
    noise = rng.normal(0, spread, 4) * [width, height, width, height]
    box = np.clip(box_xyxy + noise, 0, size)
    low = np.maximum(np.minimum(box[:2], box[2:] - 1), 0)
    return np.array([*low, *np.maximum(box[2:], 1)])


def with_pasted(
    rng: np.random.Generator,
    crop: NDArray[np.uint8],
    objects: list[CroppedObject],
    anchored: AnchoredPhoto,
    anchor: Anchor,
    *,
    cutout: bool = False,
) -> tuple[NDArray[np.uint8], list[CroppedObject]]:
    """Paste an object of another photo over a crop, unless it would hide where the crop is clicked.

    Args:
        rng: of the place, the size, and who stands first.
        crop: `(S, S, 3)` uint8.
        objects: of the crop; what the pasted one covers is taken from their masks.
        anchored: the photo that the pasted object comes from.
        anchor: the object; has a mask.
        cutout: whether the crop is about it: it comes first, is whole, and has 0.3 to 0.9 of the
            crop's side and colours of its own. Others have a quarter to three quarters.

    Raises:
        UnusablePhotoError: the photo of the pasted object cannot be read.
    """
    size = len(crop)
    least, greatest = (1 / 0.9, 1 / 0.3) if cutout else (1.3, 4.0)
    side = size / float(np.exp(rng.uniform(np.log(least), np.log(greatest))))
    if cutout:
        centre = rng.uniform(side / 2, size - side / 2, 2)
    else:
        centre = rng.uniform(0.2, 0.8, 2) * size
    # The frame in which the object's box lands at `centre` with the longer side `side`.
    x0, y0, x1, y1 = anchor.box_xyxy
    scale = side / anchor.longer_side
    origin = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) - centre / scale
    frame = Frame(
        (float(origin[0]), float(origin[1])), (size / scale,) * 2, (size,) * 2, (size,) * 2
    )
    assert anchor.rle is not None
    source = decode_rle(anchor.rle)
    pasted = frame.cut_mask(source)
    for other in objects:
        if other.click_xy is not None and _covers(pasted, other.click_xy):
            return crop, objects  # the click would no longer be on its object
    alpha = cv2.GaussianBlur(pasted, (0, 0), 0.7)[..., None]
    above = frame.cut(read_cached(anchored.photo))
    if cutout:
        above = recoloured(rng, above)
    mixed = crop * (1 - alpha) + above * alpha
    hidden = max(0.0, float(source.sum() * scale**2 - pasted.sum()))
    item = CroppedObject(
        pasted,
        box_of(pasted),
        anchored.vocabulary,
        anchor.class_index,
        anchor.whole,
        anchored.verified_classes,
        hidden,
    )
    below = []
    for other in objects:
        mask = None if other.mask is None else other.mask * (1 - pasted)
        box = other.box_xyxy if mask is None else box_of(mask)
        below.append(replace(other, mask=mask, box_xyxy=box))
    first = cutout or rng.random() < 0.7
    return mixed.astype(np.uint8), [item, *below] if first else [*below, item]


def _covers(mask: NDArray[np.float32], point_xy: NDArray[np.float64]) -> bool:
    column, row = np.clip(point_xy.astype(int), 0, len(mask) - 1)
    return bool(mask[row, column] > 0.1)
