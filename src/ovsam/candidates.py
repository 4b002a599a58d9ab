"""Masks before they are painted: what `Predictor.segment` gives for a prompt.

A mask of a photo of 12 megapixels has 12 MB, its low-resolution logits have some ten kilobytes.
So candidates keep these, and paint masks at the photo's size each time they are asked for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ovsam.geometry import clip_box_xyxy, masks_to_boxes_xyxy
from ovsam.images.frame import (
    OUTSIDE,
    STRIDE,
    Frame,
    move_logits,
    paste_logits,
    whole_photo_logits,
)
from ovsam.structures import Label, Names, Prediction

Size = Literal["small", "medium", "large"]
SIZES: tuple[Size, ...] = get_args(Size)


@dataclass(frozen=True, eq=False)
class FramedMasks:
    """M masks at low resolution, and the part of the photo that they show.

    Attributes:
        frame: where the masks lie on the photo.
        mask_logits: `(M, L, L)` float32, a quarter of the frame's input, positive = object.
    """

    frame: Frame
    mask_logits: NDArray[np.float32]

    def in_frame(self, frame: Frame) -> NDArray[np.float32]:
        """The same `(M, L, L)` at another frame's low resolution."""
        if frame == self.frame:
            return self.mask_logits
        moved = [move_logits(mask, self.frame, frame) for mask in self.mask_logits]
        return np.stack(moved) if moved else np.zeros((0, *frame.low_res_hw), np.float32)

    @property
    def boxes_xyxy(self) -> NDArray[np.float64]:
        """Box `(M, 4)` around each mask, photo pixels, to a cell of the low resolution.

        That of an empty mask is the frame's corner, without area.
        """
        cells = masks_to_boxes_xyxy(self.mask_logits > 0)
        return self.frame.to_photo(STRIDE * cells.reshape(-1, 2, 2)).reshape(-1, 4)


@dataclass(frozen=True, eq=False)
class Candidates:
    """The M masks for one prompt (1, or 3 with multimask output, best first), not yet painted.

    Attributes:
        found: the masks in the frame that they were found in: the whole photo's or, where the
            model zoomed, a square's.
        predicted_iou: `(M,)` the model's own estimate of each mask's IoU, in [0, 1]; NaN where the
            checkpoint has no such head.
        photo_frame: how the model sees the whole photo.
        views: the same masks as they were found in each square that was encoded; names are read
            from these. `found` alone when left out.
        box_xyxy: `(4,)` the prompt's own box, photo pixels, whose content names are read from; None
            = each mask's box.
    """

    found: FramedMasks
    predicted_iou: NDArray[np.float32]
    photo_frame: Frame
    views: tuple[FramedMasks, ...] = ()
    box_xyxy: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if not self.views:
            object.__setattr__(self, "views", (self.found,))
        for array in (
            self.predicted_iou,
            *(view.mask_logits for view in (self.found, *self.views)),
        ):
            array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.predicted_iou)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the photo in pixels."""
        height, width = self.photo_frame.window_hw
        return round(height), round(width)

    @property
    def frame(self) -> Frame:
        """Where `mask_logits` lie on the photo."""
        return self.found.frame

    @property
    def mask_logits(self) -> NDArray[np.float32]:
        """`(M, L, L)` at low resolution in `frame`, positive = object."""
        return self.found.mask_logits

    @property
    def low_res_logits(self) -> NDArray[np.float32]:
        """`(M, L, L)` in the whole photo's frame, to be given back as `Prompt.mask_logits`."""
        return self.found.in_frame(self.photo_frame)

    @property
    def boxes_xyxy(self) -> NDArray[np.float64]:
        """Box `(M, 4)` around each mask, photo pixels, zeros if it is empty.

        It is as exact as the low resolution; `geometry.masks_to_boxes_xyxy(masks)` is to the pixel.
        """
        boxes = clip_box_xyxy(self.found.boxes_xyxy, self.size_hw)
        boxes[(boxes[:, :2] >= boxes[:, 2:]).any(1)] = 0
        return boxes

    @property
    def masks(self) -> NDArray[np.bool_]:
        """`(M, H, W)` bool, photo pixels; painted now, so keep it if you need it twice."""
        masks = np.zeros((len(self), *self.size_hw), np.bool_)
        for mask, logits in zip(masks, self.mask_logits, strict=True):
            self._paint(mask, logits)
        return masks

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The best mask, `(H, W)` bool, photo pixels; painted now."""
        mask = np.zeros(self.size_hw, np.bool_)
        self._paint(mask, self.mask_logits[0])
        return mask

    @property
    def logits(self) -> NDArray[np.float32]:
        """`(M, H, W)` what `masks` are made from, photo pixels; painted now."""
        logits = np.full((len(self), *self.size_hw), OUTSIDE, np.float32)
        for whole, low_res in zip(logits, self.mask_logits, strict=True):
            part, values = self._painted(low_res)
            whole[part] = values
        return logits

    def painted(self, names: Names | None = None, *, with_logits: bool = False) -> Prediction:
        """All of it at the photo's size: what `Predictor.predict` gives.

        Args:
            names: of the M masks; None = they have none, and are none of any classes.
            with_logits: whether the prediction has `logits`, too.
        """
        count = len(self)
        if names is None:
            labels: tuple[tuple[Label, ...], ...] = ((),) * count
            no_class = np.ones(count, np.float32)
            names = Names(labels, no_class, (True,) * count, (None,) * count, calibrated=False)
        logits = self.logits if with_logits else None
        masks = self.masks if logits is None else logits > 0
        for array in (masks, logits):
            if array is not None:
                array.setflags(write=False)  # then the prediction keeps it instead of a copy
        return Prediction(
            masks=masks,
            predicted_iou=self.predicted_iou,
            boxes_xyxy=masks_to_boxes_xyxy(masks),
            low_res_logits=self.low_res_logits,
            labels=names.labels,
            none_scores=names.none_scores,
            none_of_these=names.none_of_these,
            kinds=names.kinds,
            calibrated=names.calibrated,
            logits=logits,
        )

    def _paint(self, mask: NDArray[np.bool_], low_res: NDArray[np.float32]) -> None:
        """Paint a mask `(L, L)` on an empty one `(H, W)`, in place."""
        part, values = self._painted(low_res)
        np.greater(values, 0, out=mask[part])

    def _painted(
        self, low_res: NDArray[np.float32]
    ) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
        """The part of the photo that a mask `(L, L)` shows, and its logits there."""
        if self.frame != self.photo_frame:
            return paste_logits(low_res, self.frame, self.size_hw)
        [whole] = whole_photo_logits(low_res[None], self.frame, self.size_hw)
        return (slice(None), slice(None)), whole


@dataclass(frozen=True, eq=False)
class Sizes:
    """What clicks may mean, from small to large: a part, a thing, what it is part of.

    Attributes:
        masks: one to three, each with a single mask; no two of them are alike.
        best: which of them is the one that is meant if nobody says which.
    """

    masks: tuple[Candidates, ...]
    best: int

    def of(self, size: Size) -> Candidates:
        """The smallest, the largest, or the one between; of two the best stands between."""
        match size:
            case "small":
                return self.masks[0]
            case "large":
                return self.masks[-1]
            case "medium":
                return self.masks[1 if len(self.masks) > 2 else self.best]
