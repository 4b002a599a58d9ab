"""The paper's baselines (§3.1) as scorers: the frozen encoder alone names what a mask cuts out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovsam.candidates import STRIDE, Candidates, FramedMasks
from ovsam.images.frame import OUTSIDE, Frame
from ovsam.predictor.backend import Backend
from ovsam.predictor.naming import RegionScorer
from ovsam.predictor.views import (
    SQUARES_AT_ONCE,
    EncodedImage,
    View,
    encode_frames,
    whole_view,
)


class FeatureCropScorer:
    """Feature-Crop: a mask is named from the whole photo's features.

    Args:
        backend: what scores.
    """

    reads_photo, reads_squares = True, False

    def __init__(self, backend: Backend) -> None:
        self._regions = RegionScorer(backend)

    def log_probabilities(
        self,
        encoded: EncodedImage,
        candidates: Sequence[Candidates],
        views: Sequence[Sequence[View]] | None,  # noqa: ARG002 - of no use
        prototypes: Any,
    ) -> list[NDArray[np.float32]]:
        """See `Scorer.log_probabilities`."""
        crops = [
            _cropped(encoded, box, FramedMasks(encoded.frame, mask.seen_from(encoded.frame)))
            for each in candidates
            for mask, box in _one_by_one(each)
        ]
        whole = [(whole_view(encoded),)] * len(crops)
        scores = self._regions.log_probabilities(encoded, crops, whole, prototypes)
        return _joined(scores, candidates)


class ImageCropScorer:
    """Image-Crop: the square around a mask is encoded, whatever lies behind it included.

    Args:
        backend: what encodes and scores.
        size: side of the square as the encoder sees it, that its own head was made for.
    """

    reads_photo = reads_squares = False

    def __init__(self, backend: Backend, size: int) -> None:
        self._backend, self._size = backend, size
        self._regions = RegionScorer(backend)

    def log_probabilities(
        self,
        encoded: EncodedImage,
        candidates: Sequence[Candidates],
        views: Sequence[Sequence[View]] | None,  # noqa: ARG002 - of no use
        prototypes: Any,
    ) -> list[NDArray[np.float32]]:
        """See `Scorer.log_probabilities`."""
        side, cells = self._size, self._size // STRIDE
        everything = np.full((1, cells, cells), -OUTSIDE, np.float32)  # all of the crop is named
        frames = [
            Frame.square_around(box.tolist(), 1.0, side)
            for each in candidates
            for _, box in _one_by_one(each)
        ]
        corners = np.array([[0, 0], [side, side]])
        crops = [
            _cropped(encoded, frame.to_photo(corners).ravel(), FramedMasks(frame, everything))
            for frame in frames
        ]
        seen_in: list[tuple[View]] = []
        for start in range(0, len(frames), SQUARES_AT_ONCE):
            some = frames[start : start + SQUARES_AT_ONCE]
            encoded_crops = encode_frames(self._backend, encoded.photo, some, masked=False)
            seen_in += [(view,) for view in encoded_crops]
        scores = self._regions.log_probabilities(encoded, crops, seen_in, prototypes)
        return _joined(scores, candidates)


def _one_by_one(
    candidates: Candidates,
) -> list[tuple[FramedMasks, NDArray[np.float64]]]:
    """Each mask on its own, and the box `(4,)` that it is named from, photo pixels."""
    boxes = candidates.found.boxes_xyxy
    if candidates.box_xyxy is not None:
        boxes = np.tile(candidates.box_xyxy, (len(candidates), 1))
    masks = candidates.mask_logits[:, None]
    return [(FramedMasks(candidates.frame, m), b) for m, b in zip(masks, boxes, strict=True)]


def _cropped(encoded: EncodedImage, box_xyxy: NDArray[np.float64], seen: FramedMasks) -> Candidates:
    """One mask that is named from a box in one view."""
    unknown = np.full(1, np.nan, np.float32)
    return Candidates(seen, unknown, encoded.frame, box_xyxy=box_xyxy)


def _joined(
    scores: Sequence[NDArray[np.float32]], candidates: Sequence[Candidates]
) -> list[NDArray[np.float32]]:
    """Scores `(1, C + 1)` of each mask -> those `(M, C + 1)` of each of the candidates."""
    each = iter(scores)
    return [np.concatenate([next(each) for _ in range(len(c))]) for c in candidates]
