"""The paper's baselines (§3.1) as scorers: the frozen encoder alone names what a mask cuts out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovsam.candidates import Candidates, FramedMasks
from ovsam.config import ModelConfig
from ovsam.images.frame import OUTSIDE, STRIDE, Frame
from ovsam.predictor.backend import Backend
from ovsam.predictor.naming import RegionScorer, Scorer, Views
from ovsam.predictor.views import (
    SQUARES_AT_ONCE,
    EncodedImage,
    View,
    encode_frames,
    whole_view,
)


class _CropScorer(ABC):
    """What both have in common: each mask is named from a view of its own.

    Args:
        backend: what encodes and scores.
    """

    reads_squares = False

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._regions = RegionScorer(backend)

    def log_probabilities(
        self,
        encoded: EncodedImage,
        candidates: Sequence[Candidates],
        views: Views,  # noqa: ARG002 - of no use
        prototypes: Any,
    ) -> list[NDArray[np.float32]]:
        """See `Scorer.log_probabilities`."""
        masks = [pair for each in candidates for pair in _one_by_one(each)]
        crops = self._crops(encoded, masks)
        alone = [
            Candidates(seen, np.full(1, np.nan, np.float32), encoded.frame, box_xyxy=box)
            for _, seen, box in crops
        ]
        seen_in = [(view,) for view, _, _ in crops]
        each = iter(self._regions.log_probabilities(encoded, alone, seen_in, prototypes))
        return [np.concatenate([next(each) for _ in range(len(c))]) for c in candidates]

    @abstractmethod
    def _crops(
        self, encoded: EncodedImage, masks: Sequence[tuple[FramedMasks, NDArray[np.float64]]]
    ) -> list[tuple[View, FramedMasks, NDArray[np.float64]]]:
        """For each mask and its box, photo pixels: a view, and mask and box that are named in it.

        Args:
            encoded: the photo.
            masks: each alone `(1, L, L)`, with the box `(4,)` of the prompt, or else its own.
        """


class FeatureCropScorer(_CropScorer):
    """Feature-Crop: a mask is named from the whole photo's features."""

    reads_photo = True

    def _crops(
        self, encoded: EncodedImage, masks: Sequence[tuple[FramedMasks, NDArray[np.float64]]]
    ) -> list[tuple[View, FramedMasks, NDArray[np.float64]]]:
        whole, frame = whole_view(encoded), encoded.frame
        return [(whole, FramedMasks(frame, mask.in_frame(frame)), box) for mask, box in masks]


class ImageCropScorer(_CropScorer):
    """Image-Crop: the square around a mask is encoded, whatever lies behind it included.

    Args:
        backend: what encodes and scores.
        size: side of the square as the encoder sees it, that its own head was made for.
    """

    reads_photo = False

    def __init__(self, backend: Backend, size: int) -> None:
        super().__init__(backend)
        self._size = size

    def _crops(
        self, encoded: EncodedImage, masks: Sequence[tuple[FramedMasks, NDArray[np.float64]]]
    ) -> list[tuple[View, FramedMasks, NDArray[np.float64]]]:
        size, cells = self._size, self._size // STRIDE
        frames = [Frame.square_around(box.tolist(), 1.0, size) for _, box in masks]
        views: list[View] = []
        for start in range(0, len(frames), SQUARES_AT_ONCE):
            some = frames[start : start + SQUARES_AT_ONCE]
            views += encode_frames(self._backend, encoded.photo, some, masked=False)
        everything = np.full((1, cells, cells), -OUTSIDE, np.float32)  # all of the crop is named
        corners = np.array([[0, 0], [size, size]])
        return [
            (view, FramedMasks(view.frame, everything), view.frame.to_photo(corners).ravel())
            for view in views
        ]


def _one_by_one(candidates: Candidates) -> list[tuple[FramedMasks, NDArray[np.float64]]]:
    """Each mask on its own, and the box `(4,)` that it is named from, photo pixels."""
    boxes = candidates.found.boxes_xyxy
    if candidates.box_xyxy is not None:
        boxes = np.tile(candidates.box_xyxy, (len(candidates), 1))
    masks = candidates.mask_logits[:, None]
    return [(FramedMasks(candidates.frame, m), b) for m, b in zip(masks, boxes, strict=True)]


def scorer_of(backend: Backend, config: ModelConfig) -> Scorer | None:
    """What compares masks with names; None for a model that has masks alone."""
    if config.baseline is None:
        return RegionScorer(backend) if config.region is not None else None
    match config.baseline.cuts:
        case "image":
            return ImageCropScorer(backend, 32 * config.encoder.pool_size)
        case "features":
            return FeatureCropScorer(backend)
        case _:
            return None
