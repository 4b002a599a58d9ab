"""Boundary IoU (Cheng et al., CVPR 2021): how well the outlines of two masks agree.

IoU hardly notices the outline of a large object, nearly all of whose pixels are inside. So only the
pixels of each mask within a distance d of its own outline are compared, d being 2% of the photo's
diagonal. The photo's border counts as an outline, as it does in the authors' code.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from ovsam.geometry import mask_iou

DIAGONAL_SHARE = 0.02


def boundary_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """IoU of the boundaries of two masks `(H, W)` of one photo; 0 if both are empty."""
    return mask_iou(boundary(a), boundary(b))


def boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels `(H, W)` of a mask of a whole photo that are near something outside of it.

    Near is within d pixels, counted as a king moves on a board; d is `DIAGONAL_SHARE` of the
    photo's diagonal, rounded, at least 1.

    Example:
        >>> boundary(np.ones((4, 5), dtype=bool)).astype(int)
        array([[1, 1, 1, 1, 1],
               [1, 0, 0, 0, 1],
               [1, 0, 0, 0, 1],
               [1, 1, 1, 1, 1]])
    """
    distance = max(1, round(DIAGONAL_SHARE * math.hypot(*mask.shape)))
    padded = np.pad(mask, 1).astype(np.uint8)
    # Beyond the padding OpenCV sees neither in nor out, so the padding is what erodes the border.
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    near: NDArray[np.bool_] = mask & (inner == 0)
    return near
