"""Zoom: encode the square around an object again (ZoomIn of RITM and f-BRS).

The square around a box is given by the box. For a point the object is searched first, in squares of
several sizes around it; for a coarse mask the square is around the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ovsam.candidates import FramedMasks
from ovsam.config import ModelConfig, ZoomConfig
from ovsam.geometry import masks_to_boxes_xyxy
from ovsam.images.frame import Frame
from ovsam.predictor.backend import Backend
from ovsam.predictor.views import (
    SQUARES_AT_ONCE,
    EncodedImage,
    View,
    decode,
    encode_frames,
    whole_view,
)
from ovsam.structures import Prompt

CROP_SCALE = 1.6  # for models that zoom only with `zoom=True`
AGREEMENT_POWER = 3  # of the overlap with which one coarse mask supports another


class Zoom:
    """Finds the squares around objects, and encodes them.

    Args:
        backend: what encodes and decodes.
        config: the model's.
    """

    def __init__(self, backend: Backend, config: ModelConfig) -> None:
        self._backend = backend
        self._config = config.zoom or ZoomConfig(size=config.image_size, crop_scales=(CROP_SCALE,))
        self._searches = bool(self._config.click_scales) and config.decoder.iou_head
        self.prompts_at_once = max(1, SQUARES_AT_ONCE // len(self._config.crop_scales))

    def frames_around(self, box_xyxy: NDArray[np.float64]) -> list[Frame]:
        """The squares around a box `(4,)`, photo pixels, the widest last."""
        box, size = box_xyxy.tolist(), self._config.size
        return [Frame.square_around(box, scale, size) for scale in self._config.crop_scales]

    def views(
        self, encoded: EncodedImage, prompts: Sequence[Prompt], *, multimask: bool, named: bool
    ) -> list[list[tuple[View, Prompt]]]:
        """For each prompt the squares around its object, each with the prompt to decode in it.

        Args:
            encoded: the photo.
            prompts: at most `prompts_at_once`.
            multimask: whether alternatives are wanted; those of two squares do not match, so only
                one is encoded then.
            named: whether names will be read from the squares.
        """
        crops: list[tuple[int, Frame, Prompt]] = []
        for i, prompt in enumerate(prompts):
            mask = self._coarse_mask(encoded, prompt)
            frames = self.frames_around(_object_box(encoded.size_hw, prompt, mask))
            for frame in frames if mask is None and not multimask else frames[-1:]:
                logits = None if mask is None else mask.in_frame(frame)[0]
                crops.append((i, frame, replace(prompt, mask_logits=logits)))
        squares = [frame for _, frame, _ in crops]
        views = encode_frames(self._backend, encoded.photo, squares, named=named)
        found: list[list[tuple[View, Prompt]]] = [[] for _ in prompts]
        for (i, _, prompt), view in zip(crops, views, strict=True):
            found[i].append((view, prompt))
        return found

    def _coarse_mask(self, encoded: EncodedImage, prompt: Prompt) -> FramedMasks | None:
        """The mask that tells where to zoom; None for a box, which tells itself."""
        if prompt.mask_logits is not None:
            return FramedMasks(encoded.frame, prompt.mask_logits[None])
        if prompt.box_xyxy is not None:
            return None
        if self._searches and (prompt.point_labels == 1).any():
            return self._search(encoded, prompt)
        [decoded] = decode(self._backend, [(whole_view(encoded), prompt)])
        return FramedMasks(encoded.frame, decoded.mask_logits[:1])

    def _search(self, encoded: EncodedImage, prompt: Prompt) -> FramedMasks:
        """The object under a click, whatever its size.

        Prompts are decoded in squares of several sizes around the click; of all their masks the
        one is taken that the others agree with most.
        """
        size, longest = self._config.click_size, max(encoded.size_hw)
        points = prompt.points_xy[prompt.point_labels == 1]
        low, high = points.min(0), points.max(0)
        middle, spread = (low + high) / 2, float((high - low).max())
        scales = self._config.click_scales
        sides = dict.fromkeys(max(scale * longest, 1.5 * spread) for scale in scales)
        frames = [
            Frame.square_around((*(middle - side / 2), *(middle + side / 2)), 1.0, size)
            for side in sides
        ]
        views = encode_frames(self._backend, encoded.photo, frames, named=False)
        decoded = decode(self._backend, [(view, prompt) for view in views])
        found = [
            FramedMasks(view.frame, mask[None])
            for view, each in zip(views, decoded, strict=True)
            for mask in each.mask_logits
        ]
        predicted_iou = np.concatenate([each.predicted_iou for each in decoded])
        return found[most_agreed(found, predicted_iou, encoded.frame)]


def averaged(found: Sequence[FramedMasks]) -> FramedMasks:
    """The first square's masks, the first of them averaged over all squares."""
    first, *others = found
    if not others:
        return first
    moved = [FramedMasks(o.frame, o.mask_logits[:1]).in_frame(first.frame)[0] for o in others]
    masks = first.mask_logits.copy()
    masks[0] = np.mean([masks[0], *moved], axis=0)
    return FramedMasks(first.frame, masks)


def most_agreed(
    masks: Sequence[FramedMasks], predicted_iou: NDArray[np.float32], frame: Frame
) -> int:
    """Which of K single masks has the most others like it, each with its predicted IoU `(K,)`.

    A high power of the overlap counts near copies alone: what squares of different sizes agree
    upon is an object, while parts and surroundings, which overlap too, differ from one to the next.
    A mask as wide as its square is cut off by it, so it is neither chosen nor counted.
    """
    seen = np.stack([mask.in_frame(frame)[0] > 0 for mask in masks]).reshape(len(masks), -1)
    boxes = masks_to_boxes_xyxy(np.stack([mask.mask_logits[0] > 0 for mask in masks]))
    extent = (boxes[:, 2:] - boxes[:, :2]).max(1)
    votes = np.sqrt(np.clip(predicted_iou, 0, None)) * (extent < masks[0].mask_logits.shape[1])
    if not votes.any():
        votes = np.sqrt(np.clip(predicted_iou, 1e-6, None))
    pixels = seen.astype(np.float32)
    overlap = pixels @ pixels.T
    area = pixels.sum(1)
    iou = overlap / np.maximum(area[:, None] + area - overlap, 1)
    return int(np.argmax(iou**AGREEMENT_POWER @ votes * (votes > 0)))


def _object_box(
    size_hw: tuple[int, int], prompt: Prompt, mask: FramedMasks | None
) -> NDArray[np.float64]:
    """The box to zoom on, photo pixels: the prompt's own, or around coarse mask and points."""
    if prompt.box_xyxy is not None:
        return prompt.box_xyxy
    corners = prompt.points_xy[prompt.point_labels == 1]
    if mask is not None and (mask.mask_logits > 0).any():
        corners = np.concatenate([corners, mask.boxes_xyxy.reshape(2, 2)])
    if not len(corners):
        height, width = size_hw
        return np.array([0.0, 0.0, width, height])
    low = corners.min(0)
    return np.concatenate([low, np.maximum(corners.max(0), low + 1)])
