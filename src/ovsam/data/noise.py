"""Boxes and points with the noise of a user's hand, for training and for evaluation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovsam.geometry import clip_box_xyxy

JITTER = 0.1  # standard deviation of a jittered box's sides, as a share of them (SAM, appendix A)
JITTER_AT_MOST = 20.0  # pixels


def jittered_box(
    rng: np.random.Generator, box_xyxy: NDArray[np.float64], size_hw: tuple[int, int]
) -> NDArray[np.float64]:
    """A box `(4,)` with SAM's noise on each side: a tenth of it, 20 pixels at most (appendix A).

    Of the box the part within the picture of `size_hw` pixels counts. The result stays within it,
    too, and at least a pixel wide and high.
    """
    box_xyxy = clip_box_xyxy(box_xyxy, size_hw)
    sides = np.tile(box_xyxy[2:] - box_xyxy[:2], 2)
    noise = np.clip(rng.normal(0, JITTER * sides), -JITTER_AT_MOST, JITTER_AT_MOST)
    end = np.array(size_hw[::-1])
    low = np.clip((box_xyxy + noise)[:2], 0, end - 1)
    high = np.clip((box_xyxy + noise)[2:], low + 1, end)
    return np.concatenate([low, high])


def any_pixel_xy(rng: np.random.Generator, mask: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """The centre `(2,)` of any pixel of a mask `(H, W)`, all alike; None where it has none."""
    height, width = mask.shape
    for _ in range(8):  # quick on all but thin masks, and as even as the list of all pixels below
        row, column = int(rng.integers(height)), int(rng.integers(width))
        if mask[row, column]:
            return np.array([column + 0.5, row + 0.5])
    inside = np.flatnonzero(mask)
    if not len(inside):
        return None
    row, column = divmod(int(inside[rng.integers(len(inside))]), width)
    return np.array([column + 0.5, row + 0.5])
