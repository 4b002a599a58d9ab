"""A predictor for tests of the page, and photos for it."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fakes import FakeEncodedImage, FakePredictor
from ovsam.structures import Prompt

LOCAL = "http://127.0.0.1:7860"


@dataclass
class PagePredictor(FakePredictor):
    """Answers with the box or disks around all points on the object, less those around the rest."""

    def _mask(self, size_hw: tuple[int, int], prompt: Prompt) -> NDArray[np.bool_]:
        height, width = size_hw
        y, x = np.mgrid[:height, :width] + 0.5
        mask = np.zeros(size_hw, dtype=bool)
        if prompt.box_xyxy is not None:
            x0, y0, x1, y1 = prompt.box_xyxy
            mask = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
        assert prompt.point_labels is not None
        for label in (1, 0):
            for centre_x, centre_y in prompt.points_xy[prompt.point_labels == label]:
                mask[np.hypot(x - centre_x, y - centre_y) <= self.radius] = bool(label)
        return mask

    def encode(self, image: NDArray[np.uint8]) -> FakeEncodedImage:
        assert image.dtype == np.uint8 and image.ndim == 3
        return super().encode(image)


def png_bytes(width: int = 60, height: int = 40, colour: tuple[int, int, int] = (9, 9, 9)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()
