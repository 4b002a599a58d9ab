"""Zoom: encode the square around an object again (ZoomIn of RITM and f-BRS).

The square around a box is given by the box. For a point the object is searched first, in squares of
several sizes around it; for a coarse mask the square is around the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ovsam.candidates import SIZES, FramedMasks
from ovsam.config import ModelConfig, ZoomConfig
from ovsam.errors import CheckpointError
from ovsam.images.frame import Frame
from ovsam.predictor.backend import Backend
from ovsam.predictor.click_ranking import (
    FEATURES,
    agreement,
    distinct,
    expected_worth,
    features,
    overlaps,
)
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


class Zoom:
    """Finds the squares around objects, and encodes them.

    Args:
        backend: what encodes and decodes.
        config: the model's.

    Raises:
        CheckpointError: what ranks the masks under a click takes other features.
    """

    def __init__(self, backend: Backend, config: ModelConfig) -> None:
        self._backend = backend
        self._config = config.zoom or ZoomConfig(size=config.image_size, crop_scales=(CROP_SCALE,))
        ranking = self._config.click_ranking
        if ranking is not None and len(ranking.weights) != FEATURES:
            raise CheckpointError(
                f"zoom.click_ranking must have weights for {FEATURES} features of a mask, "
                f"got {len(ranking.weights)}; fit it again with python -m tools.click_ranking"
            )
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
            if prompt.box_xyxy is not None and prompt.mask_logits is None:
                frames = self.frames_around(prompt.box_xyxy)
                crops += [(i, frame, prompt) for frame in (frames[-1:] if multimask else frames)]
            else:
                [mask] = self.coarse_masks(encoded, prompt)
                crops.append((i, *self._around(encoded.size_hw, prompt, mask)))
        squares = [frame for _, frame, _ in crops]
        views = encode_frames(self._backend, encoded.photo, squares, named=named)
        found: list[list[tuple[View, Prompt]]] = [[] for _ in prompts]
        for (i, _, prompt), view in zip(crops, views, strict=True):
            found[i].append((view, prompt))
        return found

    def views_of_sizes(self, encoded: EncodedImage, prompt: Prompt) -> list[tuple[View, Prompt]]:
        """The squares around what clicks may mean, the likeliest first, each with its prompt."""
        masks = self.coarse_masks(encoded, prompt, len(SIZES))
        crops = [self._around(encoded.size_hw, prompt, mask) for mask in masks]
        views = encode_frames(self._backend, encoded.photo, [f for f, _ in crops], named=False)
        return [(view, refined) for view, (_, refined) in zip(views, crops, strict=True)]

    def _around(
        self, size_hw: tuple[int, int], prompt: Prompt, mask: FramedMasks
    ) -> tuple[Frame, Prompt]:
        """The square around a coarse mask, and the prompt to decode in it."""
        frame = self.frames_around(_object_box(size_hw, prompt, mask))[-1]
        return frame, replace(prompt, mask_logits=mask.in_frame(frame)[0])

    def coarse_masks(
        self, encoded: EncodedImage, prompt: Prompt, most: int = 1
    ) -> list[FramedMasks]:
        """What tells where to zoom, a mask each: the likeliest one, then others unlike it.

        Args:
            encoded: the photo.
            prompt: points, or a mask.
            most: how many are wanted; there may be fewer.
        """
        if prompt.mask_logits is not None:
            return [FramedMasks(encoded.frame, prompt.mask_logits[None])]
        if self._searches and (prompt.point_labels == 1).any():
            squares, predicted_iou = self.search(encoded, prompt)
            ranks = self._ranks(encoded, prompt, squares, predicted_iou)
        else:
            [decoded] = decode(self._backend, [(whole_view(encoded), prompt)])
            squares = [FramedMasks(encoded.frame, decoded.mask_logits)]
            ranks = decoded.clear_mask_first
        masks = [FramedMasks(s.frame, mask[None]) for s in squares for mask in s.mask_logits]
        if most == 1:
            return [masks[int(np.argmax(ranks))]]
        return [masks[i] for i in distinct(ranks, overlaps(squares), most)]

    def search(
        self, encoded: EncodedImage, prompt: Prompt
    ) -> tuple[list[FramedMasks], NDArray[np.float32]]:
        """The masks under clicks, whatever their size, in squares of several sizes around these.

        Returns:
            For each square, the narrowest first, its masks; and the predicted IoU `(K,)` of all.
        """
        size, longest = self._config.click_size, max(encoded.size_hw)
        points = prompt.points_xy[prompt.point_labels == 1]
        low, high = points.min(0), points.max(0)
        middle, spread = (low + high) / 2, float((high - low).max())
        sides = {max(scale * longest, 1.5 * spread) for scale in self._config.click_scales}
        frames = [
            Frame.square_around((*(middle - side / 2), *(middle + side / 2)), 1.0, size)
            for side in sorted(sides)
        ]
        views = encode_frames(self._backend, encoded.photo, frames, named=False)
        decoded = decode(self._backend, [(view, prompt) for view in views])
        squares = [
            FramedMasks(view.frame, each.mask_logits)
            for view, each in zip(views, decoded, strict=True)
        ]
        return squares, np.concatenate([each.predicted_iou for each in decoded])

    def _ranks(
        self,
        encoded: EncodedImage,
        prompt: Prompt,
        squares: Sequence[FramedMasks],
        predicted_iou: NDArray[np.float32],
    ) -> NDArray[np.float64]:
        """How likely each of K masks that `search` found is the object, only to be compared."""
        common, ranking = overlaps(squares), self._config.click_ranking
        if ranking is None:
            return agreement(squares, predicted_iou, common)
        clicks = prompt.points_xy[prompt.point_labels == 1]
        seen = features(squares, predicted_iou, common, clicks, encoded.size_hw)
        return expected_worth(ranking, seen, common)


def averaged(found: Sequence[FramedMasks]) -> FramedMasks:
    """The first square's masks, the first of them averaged over all squares."""
    first, *others = found
    if not others:
        return first
    moved = [FramedMasks(o.frame, o.mask_logits[:1]).in_frame(first.frame)[0] for o in others]
    masks = first.mask_logits.copy()
    masks[0] = np.mean([masks[0], *moved], axis=0)
    return FramedMasks(first.frame, masks)


def _object_box(size_hw: tuple[int, int], prompt: Prompt, mask: FramedMasks) -> NDArray[np.float64]:
    """The box to zoom on, photo pixels: the prompt's own, or around coarse mask and points."""
    if prompt.box_xyxy is not None:
        return prompt.box_xyxy
    corners = prompt.points_xy[prompt.point_labels == 1]
    if (mask.mask_logits > 0).any():
        corners = np.concatenate([corners, mask.boxes_xyxy.reshape(2, 2)])
    if not len(corners):
        height, width = size_hw
        return np.array([0.0, 0.0, width, height])
    low = corners.min(0)
    return np.concatenate([low, np.maximum(corners.max(0), low + 1)])
