"""Prompts of a training crop, and the clicks of its refinement rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor

from ovsam.config import Share
from ovsam.data.noise import any_pixel_xy, jittered_box
from ovsam.data.scene_crops import SceneCrop
from ovsam.geometry import mask_centre_xy

NO_POINT = -1  # the prompt encoder's `NOT_A_POINT`
NEGATIVE_MARGIN = 0.25  # negative points lie in the box and up to this share of its sides beyond


@checked_dataclass(
    frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False), kw_only=True
)
class PromptConfig:
    """How prompts are drawn; the defaults are those of the authors' release."""

    count: Annotated[int, Field(gt=0)] = 40
    """Prompts of a crop; objects are repeated to fill."""
    boxes: Share = 0.5
    """Share of the prompts that are a box; the others are a point of the mask."""
    jittered: Share = 0.0
    """Share of the boxes that are off by SAM's noise."""
    negatives: Share = 0.0
    """Share of the prompts, boxes as well as points, that also get a point beside the object."""


@dataclass(frozen=True, eq=False)
class Prompts:
    """N prompts of a crop, boxes first.

    Attributes:
        object_index: `(N,)` int64, the object of the scene that each means.
        is_box: `(N,)` bool, whether the prompt is the box or the point.
        boxes_xyxy: `(N, 4)` float32 crop pixels: the prompt, or a point's object's own box.
        points_xy: `(N, 2, 2)` float32 crop pixels: a point of the mask, then one beside it.
        point_labels: `(N, 2)` int64: 1, then 0; `NO_POINT` where there is none, so the first of
            every box and the second of all that got no negative point.
    """

    object_index: Tensor
    is_box: Tensor
    boxes_xyxy: Tensor
    points_xy: Tensor
    point_labels: Tensor


def draw_prompts(rng: np.random.Generator, scene: SceneCrop, config: PromptConfig) -> Prompts:
    """Prompts for the objects of a scene in a random order, again and again until they are enough.

    Objects without a mask are prompted by their box.
    """
    order = np.resize(rng.permutation(len(scene.masks)), config.count)
    has_mask, masks = scene.has_mask.numpy(), scene.masks.numpy()
    is_box = (np.arange(config.count) < round(config.boxes * config.count)) | ~has_mask[order]
    first = np.argsort(~is_box, kind="stable")
    order, is_box = order[first], is_box[first]
    exact = scene.boxes_xyxy.numpy().astype(np.float64)
    boxes = exact[order]
    points = np.zeros((config.count, 2, 2))
    labels = np.full((config.count, 2), NO_POINT)
    for n, index in enumerate(order):
        if not is_box[n]:
            points[n, 0] = _point_inside(rng, masks[index], exact[index])
            labels[n, 0] = 1
        elif rng.random() < config.jittered:
            boxes[n] = jittered_box(rng, exact[index], scene.content_hw)
        if has_mask[index] and rng.random() < config.negatives:
            beside = _point_beside(rng, masks[index], exact[index], scene.content_hw)
            if beside is not None:
                points[n, 1], labels[n, 1] = beside, 0
    return Prompts(
        object_index=torch.from_numpy(order),
        is_box=torch.from_numpy(is_box),
        boxes_xyxy=torch.from_numpy(boxes).float(),
        points_xy=torch.from_numpy(points).float(),
        point_labels=torch.from_numpy(labels),
    )


def next_click(
    mask_logits: Tensor,
    masks: Tensor,
    stride: int,
    generator: torch.Generator,
    content_hw: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The click that comes next: a random wrong pixel of each mask (SAM, appendix A).

    Where nothing is wrong the click falls anywhere and says what is there.

    Args:
        mask_logits: `(N, h, w)`, the previous prediction.
        masks: `(N, h, w)` bool, the annotated masks on the same grid.
        stride: side of a cell of the grid in model pixels (4 for what the decoder gives).
        generator: on the device of the logits.
        content_hw: `(2,)` model pixels; what lies beyond is padding, where no one can click. None =
            there is none.

    Returns:
        Points `(N, 1, 2)` in model pixels, at the centre of a cell, and labels `(N, 1)`: 1 where
        the mask was missed, 0 where it was wrong.
    """
    inside = torch.ones_like(masks[0])
    if content_hw is not None:
        cells = torch.arange(masks.shape[1], device=masks.device) * stride
        inside = (cells[:, None] < content_hw[0]) & (cells[None] < content_hw[1])
    wrong = (((mask_logits > 0) != masks) & inside).flatten(1)
    chance = torch.where(wrong.any(1, keepdim=True), wrong, inside.flatten()).float()
    pick = torch.multinomial(chance, 1, generator=generator)  # (N, 1)
    width = masks.shape[2]
    cells = torch.stack([pick % width, pick // width], 2)  # (N, 1, 2)
    return (cells + 0.5) * stride, masks.flatten(1).gather(1, pick).long()


def point_of(rng: np.random.Generator, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The centre of a mask `(H, W)` (half of the time) or any point of it: `(2,)` xy."""
    if rng.random() < 0.5:
        return mask_centre_xy(mask)
    rows, columns = np.nonzero(mask)
    pick = rng.integers(len(rows))
    return np.array([columns[pick] + 0.5, rows[pick] + 0.5])


def _point_inside(
    rng: np.random.Generator, mask: NDArray[np.bool_], box_xyxy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The centre of any pixel of a mask, all alike."""
    x0, y0, x1, y1 = box_xyxy.astype(int)
    point = any_pixel_xy(rng, mask[y0:y1, x0:x1])
    assert point is not None  # a scene has no empty masks
    return np.add(point, (x0, y0))


def _point_beside(
    rng: np.random.Generator,
    mask: NDArray[np.bool_],
    box_xyxy: NDArray[np.float64],
    size_hw: tuple[int, int],
) -> NDArray[np.float64] | None:
    """The centre of any pixel near a mask but outside of it; None where there is none."""
    margin = np.ceil(NEGATIVE_MARGIN * (box_xyxy[2:] - box_xyxy[:2]))
    x0, y0 = np.maximum(box_xyxy[:2] - margin, 0).astype(int)
    x1, y1 = np.minimum(box_xyxy[2:] + margin, size_hw[::-1]).astype(int)
    point = any_pixel_xy(rng, ~mask[y0:y1, x0:x1])
    return None if point is None else np.add(point, (x0, y0))
