"""Training crops of stage 2 (CLIP2SAM): a photo resized at random, a square of it, its objects.

What costs time is done once and no larger than seen: the photo is decoded once, polygons are
scaled and rasterised at the crop's resolution within their object's box, and only as many objects
are rasterised as can be prompted for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pydantic import ConfigDict, Field, PositiveFloat
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor

from ovsam.errors import AnnotationError
from ovsam.formats.annotations import Instance
from ovsam.formats.listing import ListedPhoto
from ovsam.formats.skipped import Skipped
from ovsam.geometry import (
    MAX_OUTLINE,
    MAX_POLYGONS,
    decode_rle,
    mask_to_box_xyxy,
    outline_of,
)
from ovsam.images.frame import Frame
from ovsam.images.read import read_photo, read_photo_size

CROPS = 10  # of a photo, until one shows an object


@checked_dataclass(
    frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False), kw_only=True
)
class SceneCropConfig:
    """How crops are drawn."""

    size: Annotated[int, Field(gt=0)] = 1024
    """Side of the crop in model pixels."""
    scale_range: tuple[PositiveFloat, PositiveFloat] = (0.9, 2.0)
    """The photo's longest side becomes this many times `size` (LVIS: 0.1 to 2.0)."""
    min_area: Annotated[int, Field(ge=0)] = 32
    """Objects of which the crop shows fewer pixels are dropped."""
    objects: Annotated[int, Field(gt=0)] = 40
    """Objects of a crop at most, chosen at random: more than its prompts are never needed."""

    def contradictions(self) -> Iterator[str]:
        """A sentence for each setting that others contradict."""
        least, greatest = self.scale_range
        if least > greatest:
            yield f"scale_range must be a least and a greatest scale, got {self.scale_range}"


@dataclass(frozen=True, eq=False)
class SceneCrop:
    """A crop of a photo with K objects in random order; S is `SceneCropConfig.size`.

    Attributes:
        name: the photo, for messages.
        photo: `(S, S, 3)` uint8 RGB; beyond `content_hw` padding, which is to be zero once
            normalised (see `to_pixels`).
        content_hw: height and width of what is photo.
        masks: `(K, S, S)` bool; empty for objects without a mask.
        has_mask: `(K,)` bool; False where only the box is known.
        boxes_xyxy: `(K, 4)` float32 crop pixels: tight around the mask as the crop shows it.
        categories: K class names, "" where the objects have none.
    """

    name: str
    photo: Tensor
    content_hw: tuple[int, int]
    masks: Tensor
    has_mask: Tensor
    boxes_xyxy: Tensor
    categories: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Shown:
    """An object as the crop shows it: its box and, if known, the mask in this box's pixels."""

    category: str
    box_xyxy: tuple[float, float, float, float]
    mask: NDArray[np.bool_] | None = None

    @property
    def area(self) -> float:
        x0, y0, x1, y1 = self.box_xyxy
        return (x1 - x0) * (y1 - y0) if self.mask is None else int(np.count_nonzero(self.mask))


def draw_scene_crop(
    rng: np.random.Generator, photo: ListedPhoto, config: SceneCropConfig, wrong: list[Skipped]
) -> SceneCrop | None:
    """A random crop of a photo; None where nothing is marked or CROPS crops show no object.

    Args:
        rng: of this sample alone, `np.random.default_rng((seed, index))`, so that a run can stop
            and go on anywhere.
        photo: as its data set gives it.
        config: how to draw.
        wrong: gets the objects whose masks are malformed, or made for a photo of another size;
            they are left out.

    Raises:
        PhotoError: the photo cannot be read.
        AnnotationError: it is of another size than its annotations say.
    """
    name = photo.name
    if not photo.instances and photo.label is None:
        return None
    source = photo.open()
    size_hw = photo.size_hw or read_photo_size(source)
    photo = replace(photo, size_hw=size_hw)
    for _ in range(CROPS):
        frame, flipped = _frame(rng, size_hw, config), rng.random() < 0.5
        shown = _objects(rng, photo, frame, size_hw, config, wrong)
        if shown:
            break
    else:
        return None
    pixels = read_photo(source)
    photo.check_size((pixels.shape[0], pixels.shape[1]))
    content = frame.cut(pixels)
    if flipped:
        content = content[:, ::-1]
        shown = [_mirrored(item, frame.content_hw[1]) for item in shown]
    height, width = frame.content_hw
    padded = np.zeros((*frame.input_hw, 3), np.uint8)
    padded[:height, :width] = content
    return SceneCrop(
        name=name,
        photo=torch.from_numpy(padded),
        content_hw=frame.content_hw,
        masks=torch.from_numpy(_masks(shown, config.size)),
        has_mask=torch.tensor([item.mask is not None for item in shown]),
        boxes_xyxy=torch.tensor([item.box_xyxy for item in shown], dtype=torch.float32),
        categories=tuple(item.category for item in shown),
    )


def _frame(rng: np.random.Generator, size_hw: tuple[int, int], config: SceneCropConfig) -> Frame:
    """The crop as a rectangle of the photo, its corner on a whole pixel of the resized photo."""
    longest = max(1, round(config.size * rng.uniform(*config.scale_range)))
    resized = np.array(Frame.whole_photo(size_hw, longest).content_hw)
    content = np.minimum(resized, config.size)
    corner = rng.integers(0, resized - content, endpoint=True)
    # Multiplied first, so that a crop of the whole photo is exactly the whole photo.
    top, left = (corner * size_hw / resized).tolist()
    height, width = (content * size_hw / resized).tolist()
    rows, columns = content.tolist()
    return Frame((left, top), (height, width), (rows, columns), (config.size, config.size))


def _objects(
    rng: np.random.Generator,
    photo: ListedPhoto,
    frame: Frame,
    size_hw: tuple[int, int],
    config: SceneCropConfig,
    wrong: list[Skipped],
) -> list[_Shown]:
    """Objects that the crop shows, in random order, at most `config.objects`."""
    if photo.label is not None:
        height, width = frame.content_hw
        return [_Shown(photo.label, (0.0, 0.0, float(width), float(height)))]
    found: list[_Shown] = []
    for index in rng.permutation(len(photo.instances)):
        if len(found) == config.objects:
            break
        try:
            item = _shown(photo.instances[index], frame, size_hw)
        except AnnotationError as error:
            wrong.append(Skipped(photo.name, str(error), annotation=True))
            continue
        if item is not None and item.area >= config.min_area:
            found.append(item)
    return found


def _shown(instance: Instance, frame: Frame, size_hw: tuple[int, int]) -> _Shown | None:
    """The part of an object in the crop; None where there is none."""
    corners = frame.to_model(np.array(instance.box_xyxy).reshape(2, 2))
    low, high = np.clip(corners, 0, frame.content_hw[::-1])
    if (high <= low).any():
        return None
    if instance.segmentation is None:
        seen = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        return _Shown(instance.category, seen)
    polygons = _polygons_xy(instance.segmentation, size_hw) or []
    seen_xy = [frame.to_model(points) for points in polygons]
    if not seen_xy or sum(map(outline_of, seen_xy)) > MAX_OUTLINE:
        mask, corner = _sampled(instance.mask(size_hw), frame)
    else:
        mask, corner = _rasterised(seen_xy, frame)
    x0, y0, x1, y1 = (int(side) for side in mask_to_box_xyxy(mask))
    if x0 == x1:
        return None
    left, top = corner
    box = (float(left + x0), float(top + y0), float(left + x1), float(top + y1))
    return _Shown(instance.category, box, mask[y0:y1, x0:x1])


def _polygons_xy(
    segmentation: object, size_hw: tuple[int, int]
) -> list[NDArray[np.float64]] | None:
    """Well-formed polygons as points `(P, 2)`; None for all else, which `Instance.mask` judges."""
    if not isinstance(segmentation, list) or not 0 < len(segmentation) <= MAX_POLYGONS:
        return None
    try:
        polygons = [np.asarray(polygon, np.float64).reshape(-1, 2) for polygon in segmentation]
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None
    reach = 2 * max(size_hw)
    sound = all(len(points) >= 3 and (np.abs(points) <= reach).all() for points in polygons)
    return polygons if sound else None


def _rasterised(
    polygons: list[NDArray[np.float64]], frame: Frame
) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """Polygons in crop pixels, within the part of their box in the crop: mask and its corner."""
    low, high = _within(
        np.min([points.min(0) for points in polygons], 0),
        np.max([points.max(0) for points in polygons], 0),
        frame,
    )
    width, height = (high - low).tolist()
    if not width or not height:
        return np.zeros((0, 0), np.bool_), (0, 0)
    codes = coco_mask.frPyObjects(
        [(points - low).ravel().tolist() for points in polygons], height, width
    )
    return decode_rle(coco_mask.merge(codes)), (int(low[0]), int(low[1]))


def _sampled(mask: NDArray[np.bool_], frame: Frame) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """A mask of the photo at the crop's resolution, likewise."""
    box = mask_to_box_xyxy(mask).astype(int)
    corners = frame.to_model(box.reshape(2, 2))
    low, high = _within(corners[0], corners[1], frame)
    width, height = (high - low).tolist()
    if not width or not height:
        return np.zeros((0, 0), np.bool_), (0, 0)
    left, top = (frame.to_photo(low.astype(np.float64)) - box[:2]).tolist()
    window_w, window_h = ((high - low) / frame.scale_xy).tolist()
    window = Frame((left, top), (window_h, window_w), (height, width), (height, width))
    part = window.cut_mask(mask[box[1] : box[3], box[0] : box[2]])
    return part > 0.5, (int(low[0]), int(low[1]))


def _within(
    low: NDArray[np.float64], high: NDArray[np.float64], frame: Frame
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The whole pixels of the crop that a box touches: first and one past the last, as x, y."""
    end = frame.content_hw[::-1]
    return (
        np.clip(np.floor(low), 0, end).astype(np.int64),
        np.clip(np.ceil(high), 0, end).astype(np.int64),
    )


def _mirrored(item: _Shown, width: int) -> _Shown:
    x0, y0, x1, y1 = item.box_xyxy
    mask = None if item.mask is None else item.mask[:, ::-1]
    return replace(item, mask=mask, box_xyxy=(width - x1, y0, width - x0, y1))


def _masks(shown: list[_Shown], size: int) -> NDArray[np.bool_]:
    masks = np.zeros((len(shown), size, size), np.bool_)
    for mask, item in zip(masks, shown, strict=True):
        if item.mask is not None:
            x0, y0, x1, y1 = (int(side) for side in item.box_xyxy)
            mask[y0:y1, x0:x1] = item.mask
    return masks
