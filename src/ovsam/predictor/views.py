"""What the model sees: the whole photo or squares of it, and the masks that it decodes there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovsam.images.frame import Frame
from ovsam.model.prompt_batch import PromptBatch
from ovsam.predictor.backend import Backend
from ovsam.structures import Prompt

PROMPTS_AT_ONCE = 64  # where the model does not zoom; bounds the memory of many prompts
SQUARES_AT_ONCE = 8  # bounds the memory of zooming on many prompts
PHOTOS_AT_ONCE = 8  # bounds the memory of encoding many photos


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """A photo ready for prompts; immutable, so threads can share it.

    Attributes:
        photo: `(H, W, 3)` uint8 RGB, read-only.
        frame: how the model sees the whole photo.
        features: of the whole photo, as the backend has them.
    """

    photo: NDArray[np.uint8]
    frame: Frame
    features: Any = field(repr=False)  # of millions of numbers

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the photo in pixels."""
        return self.photo.shape[0], self.photo.shape[1]

    @property
    def nbytes(self) -> int:
        """The memory that photo and features take."""
        return self.photo.nbytes + int(self.features.nbytes)


@dataclass(frozen=True, eq=False)
class View:
    """A part of the photo as the model sees it.

    Attributes:
        frame: which part.
        features: what the backend made of it, and perhaps of others in the same batch.
        index: its place in the batch.
    """

    frame: Frame
    features: Any
    index: int

    def box(self, box_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
        """A box `(4,)` in photo pixels -> model pixels."""
        return self.frame.to_model(box_xyxy.reshape(2, 2)).ravel()


def whole_view(encoded: EncodedImage) -> View:
    """The whole photo."""
    return View(encoded.frame, encoded.features, 0)


def encode_photos(
    backend: Backend,
    photos: Sequence[NDArray[np.uint8]],
    longest_side: int,
    *,
    named: bool,
    resized: Sequence[NDArray[Any]] | None = None,
) -> list[EncodedImage]:
    """Encode whole photos, several together.

    Args:
        backend: what encodes.
        photos: each `(H, W, 3)` uint8 RGB, read-only.
        longest_side: of each photo as the model sees it, in pixels.
        named: see `Backend.encode`.
        resized: each `(h, w, 3)` as the model sees it; None = the photos are resized.

    Returns:
        The photos in their order, each with features of its own.
    """
    frames = [Frame.whole_photo((p.shape[0], p.shape[1]), longest_side) for p in photos]
    encoded: list[EncodedImage] = []
    for start in range(0, len(photos), PHOTOS_AT_ONCE):
        some = range(start, min(start + PHOTOS_AT_ONCE, len(photos)))
        contents = [frames[i].cut(photos[i]) if resized is None else resized[i] for i in some]
        features = backend.encode(contents, frames[start].input_hw, named=named).split()
        encoded += [
            EncodedImage(photos[i], frames[i], alone)
            for i, alone in zip(some, features, strict=True)
        ]
    return encoded


def encode_frames(
    backend: Backend,
    photo: NDArray[np.uint8],
    frames: Sequence[Frame],
    *,
    masked: bool = True,
    named: bool = True,
) -> list[View]:
    """Encode frames of one input size together; see `Backend.encode`."""
    contents = [frame.cut(photo) for frame in frames]
    features = backend.encode(contents, frames[0].input_hw, masked=masked, named=named)
    return [View(frame, features, i) for i, frame in enumerate(frames)]


@dataclass(frozen=True, eq=False)
class Decoded:
    """What was found in a view for one prompt, the clear mask first, then the alternatives.

    Attributes:
        mask_logits: `(T, L, L)` in the view's frame.
        predicted_iou: `(T,)`, NaN if unknown.
    """

    mask_logits: NDArray[np.float32]
    predicted_iou: NDArray[np.float32]

    @property
    def clear_mask_first(self) -> NDArray[np.float64]:
        """`(T,)` what ranks them: the clear mask before all, the others by predicted IoU."""
        return np.array([np.inf, *self.predicted_iou[1:]])


def decode(backend: Backend, pairs: Sequence[tuple[View, Prompt]]) -> list[Decoded]:
    """Decode prompts, each in its view; views share features, prompts of a kind go together."""
    kinds: dict[tuple[int, bool, bool], list[int]] = {}
    for i, (_, prompt) in enumerate(pairs):
        kind = (
            len(prompt.points_xy),
            prompt.box_xyxy is not None,
            prompt.mask_logits is not None,
        )
        kinds.setdefault(kind, []).append(i)
    found: dict[int, Decoded] = {}
    for members in kinds.values():
        chosen = [pairs[i] for i in members]
        masks, predicted_iou = backend.decode(
            chosen[0][0].features, _batch(chosen), np.array([view.index for view, _ in chosen])
        )
        found.update(zip(members, map(Decoded, masks, predicted_iou), strict=True))
    return [found[i] for i in range(len(pairs))]


def _batch(chosen: Sequence[tuple[View, Prompt]]) -> PromptBatch[NDArray[Any]]:
    """Prompts of one kind, photo pixels -> model pixels of their views."""
    points = [view.frame.to_model(prompt.points_xy) for view, prompt in chosen]
    boxes = [view.box(p.box_xyxy) for view, p in chosen if p.box_xyxy is not None]
    masks = [p.mask_logits for _, p in chosen if p.mask_logits is not None]
    has_points = len(points[0]) > 0
    return PromptBatch(
        points_xy=np.stack(points) if has_points else None,
        point_labels=np.stack([p.point_labels for _, p in chosen]) if has_points else None,
        boxes_xyxy=np.stack(boxes) if boxes else None,
        mask_logits=np.stack(masks) if masks else None,
    )
