"""Objects on a photo of 160 x 120 pixels, of which one lies left, so that a flip shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovsam.data.anchors import Anchor
from ovsam.geometry import encode_rle
from photo_folder import rectangle

SIZE = 64
PHOTO = (120, 160)
LEFT = rectangle(10, 20, 70, 110, size_hw=PHOTO)  # lies left, so that a flip shows
PART = rectangle(20, 30, 40, 60, size_hw=PHOTO)  # of it
RIGHT = rectangle(100, 5, 150, 55, size_hw=PHOTO)


def anchor(mask: NDArray[np.bool_], class_index: int = 0, whole: bool = True) -> Anchor:
    rows, columns = np.nonzero(mask)
    box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    x0, y0, x1, y1 = (float(value) for value in box)
    return Anchor(encode_rle(mask), (x0, y0, x1, y1), class_index, whole)
