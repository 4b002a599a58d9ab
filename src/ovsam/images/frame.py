"""Photo pixels and model pixels, both ways: a `Frame` is what the model sees of a photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

STRIDE = 4  # side of a cell of low-resolution masks, in model pixels
OUTSIDE = -10.0  # the logit of what a frame does not show


@dataclass(frozen=True)
class Frame:
    """A rectangle of the photo as the model sees it: resized, then padded right and below.

    Attributes:
        origin_xy: its top-left corner in photo pixels (may lie outside the photo).
        window_hw: its height and width in photo pixels.
        content_hw: the size it is resized to, in model pixels.
        input_hw: the size of the model's input, padding included, a multiple of 32.
    """

    origin_xy: tuple[float, float]
    window_hw: tuple[float, float]
    content_hw: tuple[int, int]
    input_hw: tuple[int, int]

    @classmethod
    def whole_photo(cls, size_hw: tuple[int, int], longest_side: int) -> Frame:
        """The whole photo, its longest side at `longest_side`, padded to a square, as SAM does."""
        scale = longest_side / max(size_hw)
        content = (max(1, int(size_hw[0] * scale + 0.5)), max(1, int(size_hw[1] * scale + 0.5)))
        return cls((0.0, 0.0), (float(size_hw[0]), float(size_hw[1])), content, (longest_side,) * 2)

    @classmethod
    def square_around(cls, box_xyxy: Sequence[float], crop_scale: float, size: int) -> Frame:
        """The square around a box, `crop_scale` times its longer side, seen at `size` pixels."""
        x0, y0, x1, y1 = box_xyxy
        side = max(x1 - x0, y1 - y0, 4.0) * crop_scale  # a box of a few pixels still gets context
        origin = ((x0 + x1 - side) / 2, (y0 + y1 - side) / 2)
        return cls(origin, (side, side), (size, size), (size, size))

    @property
    def low_res_hw(self) -> tuple[int, int]:
        """Height and width of its low-resolution masks in cells."""
        return self.input_hw[0] // STRIDE, self.input_hw[1] // STRIDE

    @property
    def scale_xy(self) -> NDArray[np.float64]:
        """Model pixels per photo pixel `(2,)`, in x and y."""
        (height, width), (window_h, window_w) = self.content_hw, self.window_hw
        return np.array([width / window_w, height / window_h])

    def to_model(self, points_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Photo pixels `(..., 2)` -> model pixels."""
        return (np.asarray(points_xy) - self.origin_xy) * self.scale_xy

    def to_photo(self, points_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Model pixels `(..., 2)` -> photo pixels."""
        return np.asarray(points_xy) / self.scale_xy + self.origin_xy

    def cut(self, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The content `(h, w, 3)` of this frame out of a photo `(H, W, 3)`; grey where it ends."""
        return self._cut(photo, border=127)

    def cut_mask(self, mask: NDArray[np.bool_] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """The same for a mask `(H, W)`: coverage in [0, 1] of each model pixel, `(h, w)`."""
        return self._cut(mask.astype(np.uint8) * 255, border=0).astype(np.float32) / np.float32(255)

    def _cut(self, photo: NDArray[np.uint8], border: int) -> NDArray[np.uint8]:
        height, width = self.content_hw
        if self.origin_xy == (0, 0) and self.window_hw == tuple(map(float, photo.shape[:2])):
            return _resize(photo, (width, height))
        # Shrink first, so that the linear sampling below never skips pixels.
        shrink = max(1, int(1 / self.scale_xy.max()))
        source, corner, scale = photo, np.array(self.origin_xy), self.scale_xy
        if shrink > 1:
            low = np.maximum(np.floor(corner).astype(int) - shrink, 0)
            high = np.maximum(np.ceil(corner + self.window_hw[::-1]).astype(int) + shrink, 0)
            source = photo[low[1] : high[1], low[0] : high[0]]
            if source.size == 0:
                return np.full((height, width, *photo.shape[2:]), border, np.uint8)
            h, w = source.shape[:2]
            small = (max(1, w // shrink), max(1, h // shrink))
            ratio = np.array([small[0] / w, small[1] / h])
            source, corner, scale = _resize(source, small), (corner - low) * ratio, scale / ratio
        return np.asarray(
            resample(source, corner, 1 / scale, (width, height), border=border), np.uint8
        )


def resample(
    image: NDArray[Any],
    corner_xy: NDArray[np.float64],
    step_xy: NDArray[np.float64],
    size_wh: tuple[int, int],
    *,
    border: float | None,
    interpolation: int = cv2.INTER_LINEAR,
) -> NDArray[Any]:
    """Sample an image `(H, W)` or `(H, W, 3)` on another grid of pixels.

    Args:
        image: source pixels; the corner of the first one is (0, 0), its centre (0.5, 0.5).
        corner_xy: where the grid's top-left corner lies, in source pixels.
        step_xy: size of a pixel of the grid, in source pixels.
        size_wh: width and height of the grid.
        border: the value beyond the image; None repeats its edge.
        interpolation: OpenCV's.

    Returns:
        `(h, w)` or `(h, w, 3)`.
    """
    # A pixel is sampled at its centre; OpenCV counts from the centre of the first source pixel.
    offset = corner_xy + step_xy / 2 - 0.5
    return np.asarray(
        cv2.warpAffine(
            np.ascontiguousarray(image),
            np.array([[step_xy[0], 0, offset[0]], [0, step_xy[1], offset[1]]]),
            size_wh,
            flags=interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT,
            borderValue=(border or 0,) * 3,
        )
    )


def _resize(image: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    shrinks = size_wh[0] < image.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size_wh, interpolation=interpolation), np.uint8)


def whole_photo_logits(
    mask_logits: NDArray[np.float32], frame: Frame, size_hw: tuple[int, int]
) -> NDArray[np.float32]:
    """Mask logits of a whole photo at the photo's own size, as SAM does it.

    Args:
        mask_logits: `(M, h, w)` at a quarter of the model's input.
        frame: `Frame.whole_photo` of the photo.
        size_hw: the photo's height and width.

    Returns:
        `(M, H, W)`.
    """
    height, width = frame.content_hw
    input_wh, photo_wh = frame.input_hw[::-1], size_hw[::-1]
    whole = np.empty((len(mask_logits), *size_hw), np.float32)
    for source, target in zip(mask_logits, whole, strict=True):
        seen = cv2.resize(source, input_wh, interpolation=cv2.INTER_LINEAR)
        seen = seen[:height, :width]  # without the padding
        cv2.resize(seen, photo_wh, dst=target, interpolation=cv2.INTER_LINEAR)
    return whole


def move_logits(logits: NDArray[np.float32], source: Frame, target: Frame) -> NDArray[np.float32]:
    """Low-resolution logits `(L, L)` of one frame resampled in another's grid."""
    step = STRIDE / target.scale_xy * source.scale_xy / STRIDE  # source cells per target cell
    shift = (np.array(target.origin_xy) - source.origin_xy) * source.scale_xy / STRIDE
    return resample(logits, shift, step, target.low_res_hw[::-1], border=OUTSIDE)


def paste_logits(
    logits: NDArray[np.float32], frame: Frame, size_hw: tuple[int, int]
) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
    """A zoomed square's mask at the photo's size, where the square shows the photo.

    Args:
        logits: `(L, L)` at the frame's low resolution.
        frame: of the square.
        size_hw: height and width of the photo in pixels.

    Returns:
        The rows and columns of the photo that the square shows, and the logits of their pixels;
        outside of them the mask is False.
    """
    low = np.maximum(np.floor(frame.origin_xy).astype(int), 0)
    high = np.ceil(np.add(frame.origin_xy, frame.window_hw[::-1])).astype(int)
    high = np.minimum(high, size_hw[::-1])
    width, height = (high - low).tolist()
    if width <= 0 or height <= 0:
        return (slice(0), slice(0)), np.zeros((0, 0), np.float32)
    step = frame.scale_xy / STRIDE  # cells per photo pixel
    corner = (low - np.array(frame.origin_xy)) * step
    values = resample(
        logits, corner, step, (width, height), border=None, interpolation=cv2.INTER_CUBIC
    )
    return (slice(low[1], high[1]), slice(low[0], high[0])), values
