"""An object from close up, with a mask and a prompt drawn on it: a cell of a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ovsam.evaluate.photos import read_annotated_photo
from ovsam.formats.annotations import Instance, Photo
from ovsam.geometry import clip_box_xyxy
from ovsam.images.draw import draw_mask, draw_prompt, object_colour
from ovsam.structures import Prompt

CELL = 300  # pixels
CONTEXT = 2.0  # how much wider than its object a cell is
SMALLEST = 96  # photo pixels that a cell shows at least
_LINE = 2  # of outlines, in pixels


class CloseUp:
    """The square around an object of a photo, `CELL` pixels wide.

    Attributes:
        mask: the annotated one `(H, W)`, photo pixels.
    """

    def __init__(self, photo: Photo, instance: Instance, images_dir: Path) -> None:
        self.pixels = read_annotated_photo(photo, images_dir)
        self.mask = instance.mask(photo.size_hw)
        x0, y0, x1, y1 = clip_box_xyxy(instance.box_xyxy, photo.size_hw).tolist()
        height, width = photo.size_hw
        side = max(SMALLEST, CONTEXT * max(x1 - x0, y1 - y0))
        side = min(side, max(height, width))
        # Inside the photo as far as it is large enough.
        self.x = _start((x0 + x1) / 2, side, width)
        self.y = _start((y0 + y1) / 2, side, height)
        self.scale = CELL / side

    def draw(self, mask: NDArray[np.bool_], prompt: Prompt | None) -> NDArray[np.uint8]:
        """The cell `(CELL, CELL, 3)` with a mask `(H, W)` and a prompt, both in photo pixels."""
        # Pixel centres: where the cell's centre of pixel 0 lies in the photo, and so on.
        matrix = np.array(
            [
                [self.scale, 0, (0.5 - self.x) * self.scale - 0.5],
                [0, self.scale, (0.5 - self.y) * self.scale - 0.5],
            ]
        )
        pixels, soft = self.pixels, mask.astype(np.float32)
        if self.scale < 1:  # else what is thin falls between the samples
            blur = 0.4 / self.scale
            pixels = cv2.GaussianBlur(pixels, (0, 0), blur).astype(np.uint8)
            soft = cv2.GaussianBlur(soft, (0, 0), blur).astype(np.float32)
        canvas = cv2.warpAffine(
            pixels, matrix, (CELL, CELL), flags=cv2.INTER_LINEAR, borderValue=(235, 235, 235)
        ).astype(np.uint8)
        shown = cv2.warpAffine(soft, matrix, (CELL, CELL), flags=cv2.INTER_LINEAR) > 0.5
        draw_mask(canvas, shown, object_colour(0), _LINE)
        if prompt is not None:
            draw_prompt(canvas, self._moved(prompt), object_colour(1), _LINE)
        return canvas

    def _moved(self, prompt: Prompt) -> Prompt:
        """A prompt in the cell's pixels, of its box what lies in the photo."""
        prompt = prompt.clipped((self.pixels.shape[0], self.pixels.shape[1]))
        corner = np.array([self.x, self.y])
        box = prompt.box_xyxy
        return Prompt(
            points_xy=(prompt.points_xy - corner) * self.scale,
            point_labels=prompt.point_labels,
            box_xyxy=None if box is None else (box - np.tile(corner, 2)) * self.scale,
        )


def _start(centre: float, side: float, length: int) -> float:
    """Where a window begins along one axis: in the photo, or around all of it."""
    if side >= length:
        return (length - side) / 2
    return min(max(centre - side / 2, 0.0), length - side)
