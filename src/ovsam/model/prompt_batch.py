"""Prompts of one kind as arrays: what the mask decoder takes, in torch or in any other engine.

This file imports no torch, so that what stands above the engines can make prompts: it computes with
numpy arrays and with tensors alike. It alone knows two conventions of the prompt encoder: SAM's
half pixel, and that a box may also come as the coarse mask that it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from ovsam.config import DecoderConfig

NOT_A_POINT = -1  # the label of a point that only fills a batch up

A = TypeVar("A")
B = TypeVar("B")
"""`NDArray` or `torch.Tensor`."""


@dataclass(frozen=True, eq=False)
class PromptBatch(Generic[A]):
    """N prompts of one kind, in model pixels; the corner of the first pixel is (0, 0).

    Attributes:
        points_xy: `(N, P, 2)`, or None.
        point_labels: `(N, P)` int: 1 = on the object, 0 = not on it, -1 = no point at all, which
            only fills a batch up. None where there are no points.
        boxes_xyxy: `(N, 4)`, or None.
        mask_logits: `(N, H / 4, W / 4)` coarse masks, positive = object, or None.
    """

    points_xy: A | None = None
    point_labels: A | None = None
    boxes_xyxy: A | None = None
    mask_logits: A | None = None

    def __len__(self) -> int:
        given: Any = (self.points_xy, self.boxes_xyxy, self.mask_logits)
        return next(len(part) for part in given if part is not None)

    def map(self, convert: Callable[[A], B]) -> PromptBatch[B]:
        """The same with each array converted."""
        parts = (self.points_xy, self.point_labels, self.boxes_xyxy, self.mask_logits)
        return PromptBatch(*(None if part is None else convert(part) for part in parts))

    def sam_points_xy(self) -> A | None:
        """Points `(N, P, 2)` as SAM's prompt encoder takes them: pixel centres by their index.

        The encoder adds half a pixel to all it is given. To the corners of boxes, too: SAM was
        trained with them as they are, so they are given as they are.
        """
        points: Any = self.points_xy
        if points is None or not points.shape[1]:
            return None
        shifted: A = points - 0.5
        return shifted

    def come_with_masks(self, decoder: DecoderConfig) -> bool:
        """Whether the prompt encoder is given coarse masks (`dense_logits`)."""
        return self.mask_logits is not None or (self.boxes_xyxy is not None and decoder.box_as_mask)

    def dense_logits(self, decoder: DecoderConfig, size_hw: tuple[int, int]) -> A | None:
        """The coarse masks `(N, 1, H / 4, W / 4)` that the prompt encoder is given; None = none.

        Where the decoder was made for it (`box_as_mask`), a box without a mask is its own.

        Args:
            decoder: tells whether a box also comes as a mask.
            size_hw: the model's input (H, W), padding included.
        """
        masks: Any = self.mask_logits
        if masks is None and self.boxes_xyxy is not None and decoder.box_as_mask:
            masks = box_mask_logits(self.boxes_xyxy, size_hw)
        given: A | None = None if masks is None else masks[:, None]
        return given


def box_mask_logits(boxes_xyxy: A, size_hw: tuple[int, int]) -> A:
    """Boxes `(N, 4)` in model pixels as coarse masks: logits `(N, H / 4, W / 4)` in [-4, 4].

    A cell's logit tells how much of it the box covers, so that a box keeps its exact edges.

    Args:
        boxes_xyxy: an array or a tensor of floats.
        size_hw: the model's input (H, W), padding included.
    """
    boxes: Any = boxes_xyxy
    low, high = boxes[:, :2] / 4, boxes[:, 2:] / 4

    def coverage(axis: int, count: int) -> Any:
        cells = _indices(count, boxes)
        before_end = (high[:, axis, None] - cells).clip(0, 1)
        before_start = (low[:, axis, None] - cells).clip(0, 1)
        return (before_end - before_start).clip(0, 1)  # (N, count); a turned box covers nothing

    rows, columns = coverage(1, size_hw[0] // 4), coverage(0, size_hw[1] // 4)
    logits: A = coverage_logits(rows[:, :, None] * columns[:, None, :])
    return logits


def coverage_logits(coverage: A) -> A:
    """How much of each cell of a mask is the object's, in [0, 1] -> mask logits in [-4, 4]."""
    cells: Any = coverage
    logits: A = 8 * cells - 4
    return logits


def _indices(count: int, like: Any) -> Any:
    """0, 1, ... `count` - 1 as an array of the same kind, type and device as `like`."""
    if isinstance(like, np.ndarray):
        return np.arange(count, dtype=like.dtype)
    return like.new_ones(count).cumsum(0) - 1
